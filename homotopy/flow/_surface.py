"""`surface`: the homotopy θ(t, ε) for many constant ε at once (notes, Figure 2)."""

from typing import Annotated

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._checks import (
    Choice,
    Flag,
    Number,
    Theta,
    Times,
    Values,
    Whole,
    as_times,
    as_tolerance,
    choice,
    is_concrete,
    on_host,
    whole,
)
from .._errors import RequestError
from ..problem import Problem, on_problem
from . import _diffrax, _exact
from ._arguments import as_weights
from ._schedule import Constant
from ._simulate import MAX_STEPS, require_null_direction
from ._trajectory import Surface

# Rows of a batch wait for the slowest, but every chunk pays the loop's overhead again; at 64 rows the two balance.
BATCH = 64


@on_problem
def surface(
    problem: Problem,
    epsilons: Annotated[Values, "m"],
    theta0: Theta,
    *,
    ts: Times,
    method: Choice = "auto",
    solver: str | diffrax.AbstractSolver | None = None,
    rtol: Number = 1e-8,
    atol: Number = 1e-10,
    max_steps: Whole = MAX_STEPS,
    batch_size: Whole = BATCH,
    unrestricted: Flag = False,
) -> Surface:
    """θ(t, ε) from the same θ₀ for every constant ε in `epsilons` (m,) at the times `ts` (k,): (m, k, dim).

    Linear regression is exact and its `ts` may end with ∞ (θ(∞, ε) = θ(ε)). Otherwise one compiled solve carries all
    rows, in chunks of `batch_size` of similar stiffness. A row that fails does not stop the others: its values are
    `inf` and `failures` says why. Raises `RequestError` for
    ε outside [0, 1] without `unrestricted=True` and as `simulate` does. Source: notes, Figure 2; mathematics §5.

    Example (continues the package's):

        >>> sheet = surface(problem, [0.0, 0.5, 1.0], theta0, ts=[0.0, 0.1, jnp.inf])
        >>> print(sheet.thetas.shape, sheet.thetas[0, -1].round(3), leave_one_out(problem).theta.round(3))
        (3, 3, 2) [-1.623  1.288] [-1.623  1.288]
    """
    theta0 = problem.check_theta(theta0)
    epsilons = as_weights(epsilons, "epsilons", unrestricted, ndim=1)
    if ts is None:
        raise RequestError("ts must be a list of at least one time, but is None")
    ts = as_times(ts)
    choice(method, "method", ("auto", "exact", "diffrax"))
    rtol, atol = as_tolerance(rtol, "rtol"), as_tolerance(atol, "atol")
    max_steps, batch_size = whole(max_steps, "max_steps", 1), whole(batch_size, "batch_size", 1)
    if epsilons.shape[0] == 0:
        raise RequestError("epsilons must hold at least one value, but is empty")
    if method == "exact" and (solver is not None or not problem.least_squares):
        raise RequestError("method='exact' needs linear regression with squared loss, and no solver")
    if method == "exact" or (method == "auto" and problem.least_squares and solver is None):
        require_null_direction(problem)
        thetas = _exact_surface(problem, epsilons, theta0, ts)
        # Inside a trace a row that diverges shows by its values alone.
        diverged = np.flatnonzero(~np.isfinite(thetas).all(axis=(1, 2))) if is_concrete(thetas) else ()
        failures = {int(row): "θ(t, ε) diverges: ε < 0 makes the risk unbounded below" for row in diverged}
        return Surface(epsilons, ts, thetas, {}, failures, "exact", "eigendecomposition")
    on_host((problem, epsilons, theta0, ts), "surface by a solver")
    if not np.isfinite(ts[-1]):
        raise RequestError("ts must be finite here; θ(∞, ε) needs linear regression, or optimum(problem, ε)")
    name, chosen = _diffrax.choose_solver(problem, theta0, ts[-1], solver)
    order = np.argsort(np.asarray(epsilons))  # the Hessian grows with ε, and so does the number of steps
    sorted_epsilons = np.asarray(epsilons)[order]
    chunk = min(batch_size, len(order))
    padding = -len(order) % chunk  # whole chunks only: a remainder would be compiled again
    padded = jnp.asarray(np.append(sorted_epsilons, np.repeat(sorted_epsilons[-1], padding)))
    chunks = padded.reshape(-1, chunk)
    thetas, result, stats = _diffrax_surface(problem, chunks, theta0, ts, chosen, rtol, atol, max_steps)
    back = np.argsort(order)
    thetas, result, stats = jax.tree.map(lambda leaf: leaf[: len(order)][back], (thetas, result, stats))
    failed = np.flatnonzero(np.asarray(result != diffrax.RESULTS.successful))
    failures = {
        int(row): _diffrax.advice(jax.tree.map(lambda leaf, row=row: leaf[row], result), max_steps) for row in failed
    }
    return Surface(epsilons, ts, thetas, stats, failures, "diffrax", name)


_exact_surface = eqx.filter_jit(_exact.integrate_constant)


@eqx.filter_jit
def _diffrax_surface(problem, chunks, theta0, ts, solver, rtol, atol, max_steps):
    def row(epsilon):
        saved, _, result, stats, _ = _diffrax.integrate(
            _diffrax.flow_velocity(problem), Constant(epsilon), theta0, ts, ts[-1],
            solver=solver, rtol=rtol, atol=atol, max_steps=max_steps,
        )  # fmt: skip
        return saved, result, stats

    rows = jax.lax.map(jax.vmap(row), chunks)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), rows)
