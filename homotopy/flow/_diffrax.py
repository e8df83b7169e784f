"""The Diffrax engine: any model, any schedule, one adaptive solve per arc.

Every arc is rescaled to τ ∈ [0, 1], dy/dτ = (end − start)·velocity, so that empty arcs cost nothing special and
derivatives with respect to switch times come from the length of an arc, not from a jump inside a step.
"""

from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._checks import shown
from .._errors import RequestError
from ..problem import Problem
from ._abstract import AbstractSchedule
from ._arcs import arc_edges, walk
from ._rosenbrock import Rodas5P
from ._trajectory import Result

SOLVERS: dict[str, Callable[[], diffrax.AbstractSolver]] = {
    "tsit5": diffrax.Tsit5,
    "dopri8": diffrax.Dopri8,
    "rodas5p": Rodas5P,
    "kvaerno3": diffrax.Kvaerno3,
    "kvaerno5": diffrax.Kvaerno5,
}
# Where λ_max·t1 exceeds this times (dim + 8), an explicit solver is held back by stability and not by accuracy: it takes
# λ_max·t1/3.3 steps of 6 gradients, against some 300 implicit steps of dim + 8 (which, batched, cost about a third each).
STIFFNESS_LIMIT = 60.0
# Above this many parameters the Jacobian of an implicit step costs more than the steps that it saves.
DENSE_LIMIT = 300
# In units of an arc: below it the steps no longer change t.
_SMALLEST_STEP = 1e-15

Velocity = Callable[[Array, Array], Array]


class Dense(eqx.Module):
    """θ at any time, from the solver's own interpolation on each arc."""

    edges: Float[Array, " edges"]
    interpolation: Any  # one diffrax.DenseInterpolation, its leaves stacked over the arcs

    @property
    def t1(self) -> Float[Array, ""]:
        """The last time it knows."""
        return self.edges[-1]

    def __call__(self, t: Float[Array, ""]) -> Float[Array, " dim"]:
        arcs = self.edges.shape[0] - 1
        index = jnp.clip(jnp.searchsorted(self.edges, t) - 1, 0, arcs - 1)
        here = jax.tree.map(lambda leaf: leaf[index] if eqx.is_array(leaf) else leaf, self.interpolation)
        start, end = self.edges[index], self.edges[index + 1]
        return here.evaluate(jnp.clip((t - start) / jnp.where(end > start, end - start, 1.0), 0.0, 1.0))


def integrate(
    velocity: Velocity,
    schedule: AbstractSchedule,
    state0: Float[Array, " size"],
    ts: Float[Array, " times"],
    t1: Float[Array, ""],
    *,
    solver: diffrax.AbstractSolver,
    rtol: Any,
    atol: Any,
    max_steps: int,
    dense: bool = False,
) -> tuple[Float[Array, "times size"], Float[Array, " size"], Result, dict[str, Array], Dense | None]:
    """Solve dy/dt = velocity(ε(t), y) arc by arc. Returns y at `ts`, y(t1), the result code, statistics, dense output.

    After a failed arc the remaining values are `inf`, and the code says why it failed.
    """
    controller = diffrax.PIDController(rtol=rtol, atol=atol, dtmin=_SMALLEST_STEP, force_dtmin=False)

    def arc(state, index, start, end):
        y, result = state
        fine = result == diffrax.RESULTS.successful
        length = jnp.where(fine, end - start, 0.0)

        def field(tau, y, _):
            return length * velocity(schedule.piece(index, start + tau * length), y)

        scaled = jnp.clip((ts - start) / jnp.where(length > 0, length, 1.0), 0.0, 1.0)
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(field), solver, 0.0, 1.0, None, y,
            saveat=diffrax.SaveAt(subs=[diffrax.SubSaveAt(ts=scaled), diffrax.SubSaveAt(t1=True)], dense=dense),
            stepsize_controller=controller, max_steps=max_steps, throw=False,
        )  # fmt: skip
        values, last = solution.ys
        now = fine & (solution.result == diffrax.RESULTS.successful)
        result = diffrax.RESULTS.where(fine, solution.result, result)
        values = jnp.where(fine, values, jnp.inf)
        counts = {key: solution.stats[f"num_{key}_steps"] for key in ("accepted", "rejected")}
        return (jnp.where(now, last[0], y), result), values, (counts, solution.interpolation)

    start = (state0, diffrax.RESULTS.successful)
    (last, result), saved, (counts, interpolation) = walk(arc, start, schedule, ts, t1, state0.shape)
    last = jnp.where(result == diffrax.RESULTS.successful, last, jnp.inf)
    stats = {f"{key}_steps": jnp.sum(count) for key, count in counts.items()}
    return saved, last, result, stats, Dense(arc_edges(schedule, t1), interpolation) if dense else None


def flow_velocity(problem: Problem) -> Velocity:
    """θ̇ = −∇R⁻(θ) − ε ∇ℓ_J(θ) (notes, GF)."""
    return lambda epsilon, theta: -problem.gradient(theta, epsilon)


@eqx.filter_jit
def _largest_eigenvalue(problem: Problem, theta: Array) -> Array:
    return jnp.max(jnp.abs(jnp.linalg.eigvalsh(problem.hessian(theta))))


def choose_solver(
    problem: Problem, theta0: Any, t1: Any, solver: str | diffrax.AbstractSolver | None
) -> tuple[str, diffrax.AbstractSolver]:
    """The solver that was asked for by name or as an object, or by stiffness λ_max(∇²R(θ₀))·t1 when none was."""
    if isinstance(solver, diffrax.AbstractSolver):
        return type(solver).__name__.lower(), solver
    if solver is None:
        if problem.dim > DENSE_LIMIT:
            solver = "tsit5"
        elif any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((problem, theta0, t1))):
            solver = "rodas5p"  # no values to judge by, and it is right for stiff and non-stiff problems alike
        elif float(_largest_eigenvalue(problem, theta0) * t1) > STIFFNESS_LIMIT * (problem.dim + 8):
            solver = "rodas5p"
        else:
            solver = "tsit5"
    if not isinstance(solver, str) or solver not in SOLVERS:
        raise RequestError(f"solver must be one of {', '.join(SOLVERS)} or a Diffrax solver, but is {shown(solver)}")
    return solver, SOLVERS[solver]()


def advice(result: Result, max_steps: int) -> str:
    """What happened and what to try, in one line."""
    if result == diffrax.RESULTS.max_steps_reached:
        return (
            f"the solver took max_steps = {max_steps} steps without reaching the end; try solver='rodas5p', a looser "
            "rtol, a shorter t1 or a larger max_steps"
        )
    if result == diffrax.RESULTS.dt_min_reached:
        return (
            "the solver's step became too small: θ(t) diverges (ε < 0, or a risk unbounded below), or rtol is below "
            "what 64-bit floats carry; try a shorter t1 or a looser rtol"
        )
    messages: Any = diffrax.RESULTS
    return f"the solver failed: {messages[result]}; try another solver or a looser rtol"
