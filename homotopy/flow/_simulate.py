"""`simulate`: one trajectory θ(t, ε(t)), by whichever engine fits."""

from typing import Any, Literal, get_args

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from diffrax import RESULTS, AbstractSolver
from jaxtyping import Array, Float

from .._checks import (
    Choice,
    Flag,
    Number,
    Theta,
    Times,
    Whole,
    as_time,
    as_times,
    as_tolerance,
    choice,
    flag,
    is_concrete,
    refuse,
    whole,
)
from .._columns import null_direction_error
from .._errors import RequestError, WorkError
from ..problem import Problem, on_problem
from . import _descent, _diffrax, _exact
from ._abstract import AbstractSchedule
from ._check import check
from ._greedy import Greedy, simulate_greedy
from ._trajectory import Trajectory

Method = Literal["auto", "exact", "diffrax", "descent"]
MAX_STEPS = 100_000
MAX_DENSE_STEPS = 4096  # dense output keeps every step of an arc in memory
MOST_DESCENT_STEPS = 1e8  # of gradient descent: a minute at the least
_SIX_DIGITS = 1e-6
_ONLY_EXACT = "t1 = ∞ is for method='exact'"


@on_problem
def simulate(
    problem: Problem,
    schedule: AbstractSchedule | Greedy,
    theta0: Theta,
    *,
    t1: Number,
    ts: Times | None = None,
    method: Choice = "auto",
    solver: str | AbstractSolver | None = None,
    rtol: Number = 1e-8,
    atol: Number = 1e-10,
    step: Number | None = None,
    dense: Flag = False,
    max_steps: Whole | None = None,
) -> Trajectory:
    """θ(t) of the flow θ̇ = −∇R⁻(θ) − ε(t) ∇ℓ_J(θ) from θ(0) = θ₀ (dim,) to t1 (mathematics §5; notes, GF and eq. 0.13).

    - `ts` (k,) are the saved times (101 equal steps when not given), `dense=True` keeps all of them (`evaluate`).
    - `method`: "exact" for linear regression under a piecewise constant ε(t) (machine precision, t1 = ∞ allowed),
      "diffrax" for everything (adaptive, to `rtol`, `atol`), "descent" for gradient descent with `step` η, whose
      iterate k stands at t = kη; "auto" takes the exact engine where it applies.
    - `solver`: tsit5, dopri8, rodas5p, kvaerno3, kvaerno5, or a Diffrax solver; chosen by stiffness if not given.
      `max_steps` is counted on each arc between two discontinuities of ε(t).

    Works under `jax.jit`, `vmap` and `grad` (then nothing is checked; the Diffrax engine has reverse mode only, and
    `Greedy` runs under none of them). Raises `RequestError` for options that would be ignored, times that are negative
    or unsorted, a θ₀ of the wrong shape and a schedule that is not what it says (`flow.check`; weights outside [0, 1]
    are for schedules that ask for them by `unrestricted`); `WorkError`, saying what to try, if the solve fails.

    Example (continues the package's):

        >>> run = simulate(problem, Step(0.1), theta0, t1=0.2)
        >>> run.method, run.thetas.shape
        ('exact', (101, 2))
        >>> print(run.theta1.round(4))
        [-1.2259  0.6941]
    """
    theta0 = problem.check_theta(theta0)
    t1 = as_time(t1)
    ts = as_times(ts, t1)
    choice(method, "method", get_args(Method))
    flag(dense, "dense")
    rtol, atol = as_tolerance(rtol, "rtol"), as_tolerance(atol, "atol")
    limit = _step_limit(max_steps, dense)
    check(schedule, t1, points=problem.delete.shape[0], feedback=True)
    if isinstance(schedule, Greedy):
        refuse(method not in ("auto", "diffrax"), "a feedback schedule is integrated by method='diffrax' only")
        refuse(dense or step is not None, "a feedback schedule takes neither dense=True nor step")
        t1 = as_time(t1, finite=_ONLY_EXACT)
        return simulate_greedy(problem, schedule, theta0, ts, t1, solver=solver, rtol=rtol, atol=atol, max_steps=limit)
    exact = problem.least_squares and schedule.piecewise_constant
    if method == "auto":
        method = "exact" if exact and solver is None and max_steps is None and step is None else "diffrax"
    refuse(method != "descent" and step is not None, "step is for method='descent' only")
    if method != "diffrax":
        refuse(solver is not None, f"method={method!r} uses no ODE solver, so solver= would be ignored")
        refuse(max_steps is not None, f"method={method!r} takes a fixed number of steps; drop max_steps")
    if method == "exact":
        refuse(
            not exact,
            "method='exact' needs linear regression, squared loss and a piecewise constant schedule; use 'diffrax'",
        )
        return _exactly(problem, schedule, theta0, ts, t1, dense)
    t1 = as_time(t1, finite=_ONLY_EXACT)
    if method == "descent":
        refuse(dense, "gradient descent has no values between its steps; drop dense=True")
        return _by_descent(problem, schedule, theta0, ts, t1, _positive_step(step, t1))
    name, chosen = _diffrax.choose_solver(problem, theta0, t1, solver)
    thetas, theta1, result, stats, keep = _diffrax_job(
        problem, schedule, theta0, ts, t1, chosen, rtol, atol, limit, dense
    )
    if is_concrete(theta1) and result != RESULTS.successful:
        raise WorkError(_diffrax.advice(result, limit))
    return Trajectory(ts, thetas, schedule(ts), theta1, stats, result, "diffrax", name, keep)


def _exactly(
    problem: Problem, schedule: AbstractSchedule, theta0: Array, ts: Array, t1: Array, dense: bool
) -> Trajectory:
    require_null_direction(problem)
    thetas, theta1 = _exact_job(problem, schedule, theta0, ts, t1)
    if is_concrete(theta1) and not np.isfinite(theta1).all():
        raise WorkError("θ(t) diverges: ε < 0 makes the risk unbounded below; try a shorter t1 or a smaller |ε|")
    keep = _ExactDense(problem, schedule, theta0, t1) if dense else None
    arcs = {"arcs": jnp.asarray(schedule.discontinuities().shape[0] + 1)}
    return Trajectory(ts, thetas, schedule(ts), theta1, arcs, RESULTS.successful, "exact", "eigendecomposition", keep)


def _by_descent(
    problem: Problem, schedule: AbstractSchedule, theta0: Array, ts: Array, t1: Array, step: Array
) -> Trajectory:
    thetas, theta1, steps = _descent_job(problem, schedule, theta0, ts, t1, step)
    if is_concrete(theta1) and not np.isfinite(theta1).all():
        raise WorkError(
            f"gradient descent diverged: step = {float(step):g} is too large; it must be below 2/λ_max(∇²R)"
        )
    counts = {"steps": steps}
    return Trajectory(ts, thetas, schedule(ts), theta1, counts, RESULTS.successful, "descent", "gradient descent")


class _ExactDense(eqx.Module):
    problem: Problem
    schedule: AbstractSchedule
    theta0: Float[Array, " dim"]
    t1: Float[Array, ""]

    def __call__(self, t):
        return _exact.integrate(self.problem, self.schedule, self.theta0, t[None], self.t1)[0][0]


_exact_job = eqx.filter_jit(_exact.integrate)


def require_null_direction(problem: Problem) -> None:
    """`RequestError` where collinear columns of very different sizes leave the exact engine no six digits."""
    if not is_concrete((problem.data.x, problem.ridge)):
        return
    off = null_direction_error(np.asarray(problem.design), float(problem.ridge))
    refuse(
        off > _SIX_DIGITS,
        f"columns of x are collinear and of very different sizes: the direction in which θ does not move would be off by "
        f"{off:.0e}; leave a column out, give all columns one size, or give the problem a ridge",
    )


_descent_job = eqx.filter_jit(_descent.integrate)


@eqx.filter_jit
def _diffrax_job(problem, schedule, theta0, ts, t1, solver, rtol, atol, max_steps, dense):
    return _diffrax.integrate(
        _diffrax.flow_velocity(problem), schedule, theta0, ts, t1,
        solver=solver, rtol=rtol, atol=atol, max_steps=max_steps, dense=dense,
    )  # fmt: skip


def _step_limit(max_steps: Any, dense: bool) -> int:
    if max_steps is None:
        return MAX_DENSE_STEPS if dense else MAX_STEPS
    return whole(max_steps, "max_steps", 1)


def _positive_step(step: Any, t1: Any) -> Float[Array, ""]:
    refuse(step is None, "method='descent' needs step=η, the length of one step")
    step = as_tolerance(step, "step")
    if is_concrete((step, t1)) and step > t1:
        raise RequestError(f"step must not exceed t1 = {float(t1):g}, but is {float(step):g}")
    if is_concrete((step, t1)) and float(t1) > MOST_DESCENT_STEPS * float(step):
        raise RequestError(f"t1/step must be at most {MOST_DESCENT_STEPS:g} steps, but t1 = {t1:g} and step = {step:g}")
    return step
