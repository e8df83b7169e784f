"""`sensitivity`: how θ(t) answers to the weight of the deleted points, during training and not only at its end."""

import diffrax
import equinox as eqx
import jax.numpy as jnp

from .._checks import Number, Theta, Times, Whole, as_time, as_times, as_tolerance, is_concrete, whole
from .._errors import WorkError
from ..problem import Problem, on_problem
from . import _diffrax
from ._abstract import AbstractSchedule
from ._check import check
from ._simulate import MAX_STEPS
from ._trajectory import Sensitivity


@on_problem
def sensitivity(
    problem: Problem,
    schedule: AbstractSchedule,
    theta0: Theta,
    *,
    t1: Number,
    ts: Times | None = None,
    solver: str | diffrax.AbstractSolver | None = None,
    rtol: Number = 1e-8,
    atol: Number = 1e-10,
    max_steps: Whole = MAX_STEPS,
) -> Sensitivity:
    """θ(t) and s(t) = ∂θ(t)/∂ε, each (k, dim), for a weight ε(t) + δ, δ → 0 (mathematics §10):

        ṡ = −∇²R_ε(θ(t)) s − ∇ℓ_J(θ(t)),   s(0) = 0.

    Solved together with θ under the same error control. As t → ∞ under constant ε, s(t) → −H_ε⁻¹∇ℓ_J, the influence
    function, where the minimum is not degenerate. `ts` (k,) are 101 equal steps when not given. Raises as `simulate`
    does.

    Example (continues the package's):

        >>> moved = sensitivity(problem, Constant(1.0), theta0, t1=20.0)
        >>> print(moved.sensitivities[-1].round(4), influence(problem).theta_dot.round(4))
        [0.0301 0.0261] [0.0301 0.0261]
    """
    theta0 = problem.check_theta(theta0)
    t1 = as_time(t1, finite="the limit t → ∞ is influence(problem)")
    ts = as_times(ts, t1)
    rtol, atol = as_tolerance(rtol, "rtol"), as_tolerance(atol, "atol")
    max_steps = whole(max_steps, "max_steps", 1)
    check(schedule, t1, points=problem.delete.shape[0])
    name, chosen = _diffrax.choose_solver(problem, theta0, t1, solver)
    states, result, stats = _job(problem, schedule, theta0, ts, t1, chosen, rtol, atol, max_steps)
    if is_concrete(states) and result != diffrax.RESULTS.successful:
        raise WorkError(_diffrax.advice(result, max_steps))
    return Sensitivity(ts, states[:, : problem.dim], states[:, problem.dim :], stats, result, name)


@eqx.filter_jit
def _job(problem, schedule, theta0, ts, t1, solver, rtol, atol, max_steps):
    dim = problem.dim

    def velocity(epsilon, state):
        theta, s = state[:dim], state[dim:]
        moved = problem.hvp(theta, s, epsilon) + problem.deleted_gradient(theta)
        return -jnp.concatenate([problem.gradient(theta, epsilon), moved])

    state0 = jnp.concatenate([theta0, jnp.zeros(dim)])
    states, _, result, stats, _ = _diffrax.integrate(
        velocity, schedule, state0, ts, t1, solver=solver, rtol=rtol, atol=atol, max_steps=max_steps
    )
    return states, result, stats
