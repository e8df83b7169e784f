"""Pontryagin's principle for ε(t): costate, switching function, residual (mathematics §7).

    ṗ = (∇²R⁻ + ε ∇²ℓ_J) p,  p(T) = θ(T) − θ*₋,   σ(t) = −⟨p(t), ∇ℓ_J(θ(t))⟩ = δE/δε(t)

An optimal ε is 1 where σ < 0 and 0 where σ > 0. The costate is carried backwards, where it is stable, along the stored
θ(t): exactly (in NumPy, without compilation) for linear regression under a piecewise constant ε, by Diffrax otherwise.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._checks import Number, Theta, Times, as_time, as_times, as_tolerance, as_window
from .._errors import WorkError
from ..flow import MAX_STEPS, AbstractSchedule, Reversed, advice, arc_edges, check, choose_solver, integrate, simulate
from ..problem import Problem, on_problem
from ._energy import resolve_target
from ._linear import linear_control, paths
from ._violation import signed_parts

_GRID = 2001  # equal steps of the integrals in the residual, besides the switch times


@on_problem
def costate(
    problem: Problem,
    schedule: AbstractSchedule,
    theta0: Theta,
    *,
    t1: Number,
    ts: Times | None = None,
    target: Theta | None = None,
    rtol: Number = 1e-8,
    atol: Number = 1e-10,
) -> tuple[Float[Array, " k"], Float[Array, "k dim"], Float[Array, "k dim"]]:
    """The times `ts` (k,) (101 equal steps when not given), θ(t) (k, dim) and the costate p(t) (k, dim) there.

    ṗ = (∇²R⁻ + ε∇²ℓ_J) p backwards from p(T) = θ(T) − θ*₋, the gradient of E by θ(t) (mathematics §7); θ*₋ is `target`,
    as in `energy`. Raises `RequestError` for t1 = ∞ and as `simulate` does, `WorkError` if the solve fails.

    Example (continues the package's):

        >>> ts, thetas, costates = costate(problem, Step(0.1), theta0, t1=0.2, ts=[0.0, 0.2])
        >>> print(costates[-1].round(4), (thetas[-1] - leave_one_out(problem).theta).round(4))
        [ 0.3973 -0.5943] [ 0.3973 -0.5943]
    """
    theta0 = problem.check_theta(theta0)
    t1 = as_time(t1, finite="p(T) is known at a finite T only")
    ts = as_times(ts, t1)
    rtol, atol = as_tolerance(rtol, "rtol"), as_tolerance(atol, "atol")
    check(schedule, t1, points=problem.delete.shape[0])
    target = resolve_target(problem, theta0, target)
    if problem.least_squares and schedule.piecewise_constant:
        thetas, costates = _exact_costate(problem, schedule, theta0, ts, t1, target)
        return ts, thetas, costates
    forward = simulate(problem, schedule, theta0, t1=t1, ts=ts, method="diffrax", rtol=rtol, atol=atol, dense=True)
    _, solver = choose_solver(problem, theta0, t1, None)
    backward = _diffrax_costate(
        problem, Reversed(schedule, t1), forward.dense, forward.theta1 - target, t1 - ts[::-1], t1, solver,
        rtol, atol,
    )  # fmt: skip
    costates, result = backward
    if not np.isfinite(costates).all():
        raise WorkError(f"costate: {advice(result, MAX_STEPS)}")
    return ts, forward.thetas, costates[::-1]


def _exact_costate(problem, schedule, theta0, ts, t1, target):
    control = linear_control(problem, np.asarray(theta0), np.asarray(target))
    edges = np.asarray(arc_edges(schedule, t1))
    values = [float(schedule.piece(k, edge)) for k, edge in enumerate(edges[:-1])]
    zs, costates = paths(control, control.start, edges, np.array(values), np.asarray(ts))
    return jnp.asarray(zs + control.target), jnp.asarray(costates)


@eqx.filter_jit
def _diffrax_costate(problem, mirrored, theta, p1, times, t1, solver, rtol, atol):
    def velocity(epsilon, state):
        # The state carries its own clock, since θ is known as a function of time.
        p, t = state[:-1], state[-1]
        # Rounding may carry the clock past T, where the solver's interpolation of θ gives NaN.
        return jnp.append(-problem.hvp(theta(jnp.clip(t1 - t, 0.0, t1)), p, epsilon), 1.0)

    saved, _, result, _, _ = integrate(
        velocity, mirrored, jnp.append(p1, 0.0), times, t1, solver=solver, rtol=rtol, atol=atol, max_steps=MAX_STEPS
    )
    return saved[:, :-1], result


@on_problem
def switching_function(
    problem: Problem,
    schedule: AbstractSchedule,
    theta0: Theta,
    *,
    t1: Number,
    ts: Times | None = None,
    target: Theta | None = None,
    rtol: Number = 1e-8,
    atol: Number = 1e-10,
) -> Float[Array, " k"]:
    """σ(t) = −⟨p(t), ∇ℓ_J(θ(t))⟩ at `ts` (k,): the change of E per unit of ε·time added at t.

    − = more weight on the deleted points at t brings θ(T) nearer to θ*₋. The functional gradient of E (mathematics §7).
    Raises as `costate` does.

    Example (continues the package's):

        >>> print(switching_function(problem, Step(0.1), theta0, t1=0.2, ts=[0.0, 0.1, 0.2]).round(4))
        [-0.0097 -0.0169 -0.0258]
    """
    _, thetas, costates = costate(problem, schedule, theta0, t1=t1, ts=ts, target=target, rtol=rtol, atol=atol)
    return -jnp.sum(costates * _deleted_gradients(problem, thetas), axis=1)


@eqx.filter_jit
def _deleted_gradients(problem, thetas):
    return jax.vmap(problem.deleted_gradient)(thetas)


@on_problem
def pontryagin_residual(
    problem: Problem,
    schedule: AbstractSchedule,
    theta0: Theta,
    *,
    s: Number = 0.0,
    t1: Number,
    target: Theta | None = None,
    rtol: Number = 1e-8,
    atol: Number = 1e-10,
) -> float:
    """∫|ε − 1[σ<0]| |σ| dt / ∫|σ| dt over the free interval [s, T]: 0 where Pontryagin's principle holds, at most 1.

    0 also where σ ≡ 0, as when θ(T) = θ*₋. θ₀ and `target` are (dim,). Mathematics §7. Raises `RequestError` unless
    0 ≤ s < T < ∞, and as `costate`.

    Example (continues the package's):

        >>> best = search(problem, theta0, t1=0.2, family="bang-bang").schedule
        >>> residuals = [pontryagin_residual(problem, schedule, theta0, t1=0.2) for schedule in (best, Step(0.2))]
        >>> residuals[0] < 1e-3, residuals[1] > 0.1
        (True, True)
    """
    s, t1 = as_window(s, t1)
    check(schedule, t1, admissible=True)
    ts = residual_times(schedule, s, t1)
    sigma = np.asarray(switching_function(problem, schedule, theta0, t1=t1, ts=ts, target=target, rtol=rtol, atol=atol))
    middle = np.asarray(schedule(0.5 * (ts[1:] + ts[:-1])))
    # On each cell σ is taken as linear, ε as its value in the middle, which no switch falls into.
    positive, negative = signed_parts(sigma[:-1], sigma[1:], np.diff(ts))
    total = float(np.sum(positive + negative))
    return float(np.sum(middle * positive + (1.0 - middle) * negative)) / total if total > 0 else 0.0


def residual_times(schedule: AbstractSchedule, s: float, t1: float) -> np.ndarray:
    """A fine grid of [s, T] with the schedule's switches in it.

    Empty cells are harmless, and a number of cells that depends on nothing but the family compiles once.
    """
    switches = np.asarray(arc_edges(schedule, jnp.asarray(t1, dtype=float)))
    return np.sort(np.concatenate([np.linspace(s, t1, _GRID), np.clip(switches, s, t1)]))
