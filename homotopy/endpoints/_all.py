"""All n leave-one-out optima at once, θ*₋ᵢ = argmin Σ_{k≠i} ℓ_k, at a fraction of n refits.

* Linear regression: one factorisation, θ*₋ᵢ = θ* − H⁻¹x_i e_i/(1 − P_ii) (Hayashi 2000, §1.4), O(nd² + d³).
* Other convex risks: one predictor step of the path from ε = 1 to 0 (the leverage-corrected influence), then corrector
  steps that all share the factors of one Hessian, downdated point by point by the Woodbury formula:
  H₋ᵢ⁻¹ = H⁻¹ + H⁻¹J_iᵀ(I − W_iS_i)⁻¹W_iJ_iH⁻¹. Rows that contract too slowly get Newton steps of their own.
* Networks: the continued path of every point (`path`), or a retraining of each (start="cold", "warm").
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._checks import choice
from .._errors import RequestError, WorkError
from ..problem import Problem, on_problem
from ._endpoint import NEARNESS, STATIONARITY, Endpoint, Outcome, is_concrete, require_dense
from ._newton import minimise
from ._objectives import WeightedRisk
from ._optimum import is_convex, leave_one_out, trained
from ._path import path
from ._points import point
from ._progress import tracked
from ._separation import is_classification

# Corrector steps for all rows, then for those that need more; the rows of one batch; the unit of the slow ones.
_FEW, _CORRECTIONS = 7, 60
_BATCH = 1024
_BLOCK = 32


@on_problem
def leave_one_out_all(
    problem: Problem,
    *,
    theta: Any = None,
    start: str = "auto",
    theta0: Any = None,
    progress: bool = False,
) -> Float[Array, "n dim"]:
    """θ*₋ᵢ of every single point i (n, dim); the deleted set of `problem` plays no part.

    `theta` is θ* (needed for a network, computed otherwise). For a network `start` says which endpoint is meant: the
    "continued" branch from θ* ("auto"), or the limit of the flow from θ* ("warm") or from `theta0` ("cold").
    Rows that did not converge raise a `WorkError` that names them; `leave_one_out_proof` returns them flagged.
    """
    found = leave_one_out_proof(problem, theta=theta, start=start, theta0=theta0, progress=progress)
    if is_concrete(found):
        failed = np.flatnonzero(~np.asarray(found.converged))
        if failed.size:
            shown = ", ".join(map(str, failed[:10])) + (", …" if failed.size > 10 else "")
            raise WorkError(
                f"{failed.size} of {problem.n} leave-one-out optima did not converge (points {shown}); "
                "leave_one_out_proof returns them flagged, a ridge makes them exist"
            )
    return found.theta


@on_problem
def leave_one_out_proof(
    problem: Problem, *, theta: Any = None, start: str = "auto", theta0: Any = None, progress: bool = False
) -> Endpoint:
    """`leave_one_out_all` with its proof: one `Endpoint` with a leading axis n, unconverged rows flagged, not raised.

    Rows hold `inf` where the continued branch ends in a fold. `smallest_eigenvalue` is λ_min(H)(1 − h_i) for convex
    risks: a lower bound for least squares, an estimate where H varies with θ.
    """
    require_dense(problem, "leave_one_out_all")
    choice(start, "start", ("auto", "continued", "warm", "cold"))
    if not is_convex(problem):
        return _network(problem, theta, start, theta0, progress)
    if start != "auto" or theta0 is not None:
        raise RequestError("a convex risk has one minimum however it is reached: leave start= and theta0= out")
    return _convex(problem, theta)


def _convex(problem: Problem, theta: Any) -> Endpoint:
    theta = trained(problem, theta)
    matrix = problem.hessian(theta)
    if is_classification(problem) and float(problem.ridge) == 0:
        labels, counts = np.unique(np.asarray(problem.data.y), return_counts=True)
        if counts.min() < 2:
            raise RequestError(
                f"class {labels[counts.argmin()]:g} has one point, and without it the risk has no minimiser; "
                "give the problem a ridge"
            )
    # Every row of a batch waits for its slowest: most rows are done after a few steps, the others go on among themselves.
    found = _chord(problem, theta, matrix, jnp.arange(problem.n), jnp.asarray(_FEW))
    for again in (
        lambda rows: _chord(problem, theta, matrix, rows, jnp.asarray(_CORRECTIONS)),
        # A row that this does not bring to convergence either keeps what it reached; `converged` says so.
        lambda rows: _newton_rows(problem, theta, rows),
    ):
        slow = np.flatnonzero(~np.asarray(found.converged))
        if slow.size == 0:
            break
        # Filled up to a multiple, so that the number of slow rows does not compile anew.
        rows = jnp.asarray(np.resize(slow, -(-slow.size // _BLOCK) * _BLOCK))
        better = jax.tree.map(lambda leaf, size=slow.size: leaf[:size], again(rows))
        at = jnp.asarray(slow)
        found = jax.tree.map(lambda leaf, rows, at=at: leaf.at[at].set(rows), found, better)
    return found


@eqx.filter_jit
def _chord(problem: Problem, theta: Array, matrix: Array, rows: Int[Array, " m"], limit: Int[Array, ""]) -> Endpoint:
    """Corrector steps with the inverse of one Hessian. For least squares the first is exact and the second polishes."""
    factor = jax.scipy.linalg.cho_factor(matrix)
    # The corrector only has to contract, so an explicit inverse is accurate enough, and one product per step.
    whole = jax.scipy.linalg.cho_solve(factor, jnp.eye(theta.shape[0]))
    lowest = jnp.linalg.eigvalsh(matrix)[0]

    def one(index):
        here = point(problem, theta, problem.data.x[index], problem.data.y[index])
        pulled = jax.scipy.linalg.cho_solve(factor, here.jacobian.T)
        product = here.bend @ here.jacobian @ pulled
        back = jnp.linalg.solve(jnp.eye(product.shape[0]) - product, here.bend @ here.jacobian)
        weights = jnp.ones(problem.n).at[index].set(0.0)

        def gradient(theta):
            return jax.grad(problem.weighted_risk)(theta, weights)

        def inverse(v):
            solved = whole @ v
            return solved + pulled @ (back @ solved)

        initial = jnp.linalg.norm(here.slope @ here.jacobian)  # ‖∇R⁻(θ*)‖ = ‖∇ℓ_i(θ*)‖
        target = 1e-2 * STATIONARITY * (1.0 + initial)

        def step(state):
            # Anderson's acceleration of depth one: the error of a shared inverse lies mostly along one direction.
            theta, move, last, last_move, best, best_slope, best_norm, k = state
            turned = move - last_move
            size = turned @ turned
            share = jnp.where((k > 0) & (size > 0), (move @ turned) / jnp.where(size > 0, size, 1.0), 0.0)
            trial = theta + move - share * (theta - last + turned)
            slope = gradient(trial)
            norm = jnp.linalg.norm(slope)
            better = norm < best_norm
            best, best_slope = jnp.where(better, trial, best), jnp.where(better, slope, best_slope)
            return trial, -inverse(slope), theta, move, best, best_slope, jnp.minimum(norm, best_norm), k + 1

        def unfinished(state):
            return (state[6] > target) & (state[7] < limit)

        slope = gradient(theta)
        move = -inverse(slope)
        state = (theta, move, theta, move, theta, slope, jnp.linalg.norm(slope), jnp.zeros((), int))
        *_, end, slope, norm, steps = jax.lax.while_loop(unfinished, step, state)
        error = jnp.linalg.norm(inverse(slope))
        # In the metric of H, deleting i shrinks the Hessian by at most the largest eigenvalue of W_iS_i, ≤ its trace.
        smallest = lowest * jnp.maximum(1.0 - jnp.trace(product), 0.0)
        good = (norm <= STATIONARITY * (1.0 + initial)) & (error <= NEARNESS * (1.0 + jnp.linalg.norm(end)))
        value = problem.weighted_risk(end, weights)
        return Endpoint(
            theta=end,
            gradient_norm=norm,
            iterations=steps,
            smallest_eigenvalue=smallest,
            outcome=jnp.where(good, int(Outcome.CONVERGED), int(Outcome.NOT_STATIONARY)),
            value=value,
            error=error,
            start_gradient_norm=initial,
            residual=norm / (1.0 + initial),
            prediction_error=jnp.zeros(()),
            condition=jnp.ones(()),
            kind="all leave-one-out",
        )

    return jax.lax.map(one, rows, batch_size=_BATCH) if rows.shape[0] > _BATCH else jax.vmap(one)(rows)


@eqx.filter_jit
def _newton_rows(problem: Problem, theta: Array, rows: Int[Array, " m"]) -> Endpoint:
    def one(row):
        objective = WeightedRisk(problem.deleting(row[None]), jnp.zeros(()))
        return minimise(objective, theta, kind="all leave-one-out")

    return jax.lax.map(one, rows)


def _network(problem: Problem, theta: Any, start: str, theta0: Any, progress: bool) -> Endpoint:
    if start == "cold":
        if theta0 is None or theta is not None:
            raise RequestError("start='cold' of a network takes theta0=, and no theta=")
        begin = problem.check_theta(theta0)
    else:
        if theta0 is not None:
            raise RequestError("theta0= is for start='cold'; the continued and warm endpoints start at theta=")
        begin = trained(problem, theta)
    rows = []
    for index in tracked(range(problem.n), progress, "leave-one-out"):
        here = problem.deleting(index)
        if start == "cold":
            rows.append(leave_one_out(here, theta0=begin, throw=False))
        elif start == "warm":
            rows.append(leave_one_out(here, start="warm", theta=begin, throw=False))
        else:
            rows.append(_continued(here, begin))
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *rows)


def _continued(problem: Problem, theta: Array) -> Endpoint:
    found = path(problem, [1.0, 0.0], start=theta, on_fold="stop")
    initial = jnp.linalg.norm(problem.deleted_gradient(theta))
    end, norm, smallest = found.thetas[-1], found.gradient_norms[-1], found.smallest_eigenvalues[-1]
    reached = jnp.isfinite(norm)
    finite = jnp.where(reached, end, theta)
    good = reached & (norm <= STATIONARITY * (1.0 + initial)) & (smallest >= 0)
    return Endpoint(
        theta=end,
        gradient_norm=norm,
        iterations=found.steps[-1],
        smallest_eigenvalue=smallest,
        outcome=jnp.where(good, int(Outcome.CONVERGED), int(Outcome.FOLD)),
        value=jnp.where(reached, problem.risk(finite, 0.0), jnp.inf),
        error=jnp.where(reached, norm / jnp.abs(jnp.where(smallest == 0, 1.0, smallest)), jnp.inf),
        start_gradient_norm=initial,
        residual=norm / (1.0 + initial),
        prediction_error=jnp.zeros(()),
        condition=jnp.ones(()),
        kind="continued leave-one-out",
    )
