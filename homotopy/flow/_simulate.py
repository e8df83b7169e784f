"""`simulate`: one trajectory θ(t, ε(t)), by whichever engine fits."""

from numbers import Integral
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from diffrax import RESULTS, AbstractSolver
from jaxtyping import Array, Float

from .._errors import RequestError, WorkError
from ..problem import Problem
from ..problem._dataset import as_floats
from . import _descent, _diffrax, _exact
from ._greedy import Greedy, simulate_greedy
from ._schedule import AbstractSchedule
from ._trajectory import Trajectory

Method = Literal["auto", "exact", "diffrax", "descent"]
MAX_STEPS = 100_000
MAX_DENSE_STEPS = 4096  # dense output keeps every step of an arc in memory


def simulate(
    problem: Problem,
    schedule: AbstractSchedule | Greedy,
    theta0: Any,
    *,
    t1: Any,
    ts: Any = None,
    method: Method = "auto",
    solver: str | AbstractSolver | None = None,
    rtol: Any = 1e-8,
    atol: Any = 1e-10,
    step: Any = None,
    dense: bool = False,
    max_steps: int | None = None,
) -> Trajectory:
    """Integrate θ̇ = −∇R⁻(θ) − ε(t) ∇ℓ_J(θ) from θ(0) = θ₀ to t1 (notes, GF and eq. 0.13).

    - `ts` (k,) are the saved times (101 equal steps when not given), `dense=True` keeps all of them (`evaluate`).
    - `method`: "exact" for linear regression under a piecewise constant ε(t) (machine precision, t1 = ∞ allowed),
      "diffrax" for everything (adaptive, to `rtol`, `atol`), "descent" for gradient descent with `step` η, whose
      iterate k stands at t = kη; "auto" takes the exact engine where it applies.
    - `solver`: tsit5, dopri8, rodas5p, kvaerno3, kvaerno5, or a Diffrax solver; chosen by stiffness if not given.
      `max_steps` is counted on each arc between two discontinuities of ε(t).

    Works under `jax.jit`, `vmap` and `grad` (then nothing is checked; the Diffrax engine has reverse mode only, and
    `Greedy` runs under none of them). Raises `RequestError` for options that would be ignored, times that are negative
    or unsorted and a θ₀ of the wrong shape; `WorkError`, saying what to try, if the solve fails.
    """
    theta0 = problem.check_theta(theta0)
    t1 = as_time(t1)
    ts = _saved_times(ts, t1)
    if isinstance(schedule, Greedy):
        _refuse(method not in ("auto", "diffrax"), "a feedback schedule is integrated by method='diffrax' only")
        _refuse(dense or step is not None, "a feedback schedule takes neither dense=True nor step")
        _refuse_infinite(t1)
        limit = as_step_limit(max_steps, MAX_STEPS)
        rtol, atol = as_tolerance(rtol, "rtol"), as_tolerance(atol, "atol")
        return simulate_greedy(problem, schedule, theta0, ts, t1, solver=solver, rtol=rtol, atol=atol, max_steps=limit)
    check_schedule(schedule)
    exact = problem.least_squares and schedule.piecewise_constant
    if method == "auto":
        method = "exact" if exact and solver is None and max_steps is None and step is None else "diffrax"
    known = method in ("exact", "diffrax", "descent")
    _refuse(not known, f"method must be auto, exact, diffrax or descent, but is {method!r}")
    _refuse(method != "descent" and step is not None, "step is for method='descent' only")
    if method != "diffrax":
        _refuse(solver is not None, f"method={method!r} uses no ODE solver, so solver= would be ignored")
        _refuse(max_steps is not None, f"method={method!r} takes a fixed number of steps; drop max_steps")
    epsilons = schedule(ts)
    if method == "exact":
        _refuse(
            not exact,
            "method='exact' needs linear regression, squared loss and a piecewise constant schedule; use 'diffrax'",
        )
        thetas, theta1 = _exact_job(problem, schedule, theta0, ts, t1)
        if is_concrete(theta1) and not np.isfinite(theta1).all():
            raise WorkError("θ(t) diverges: ε < 0 makes the risk unbounded below; try a shorter t1 or a smaller |ε|")
        keep = _ExactDense(problem, schedule, theta0, t1) if dense else None
        arcs = {"arcs": jnp.asarray(schedule.discontinuities().shape[0] + 1)}
        return Trajectory(ts, thetas, epsilons, theta1, arcs, RESULTS.successful, "exact", "eigendecomposition", keep)
    _refuse_infinite(t1)
    if method == "descent":
        _refuse(dense, "gradient descent has no values between its steps; drop dense=True")
        step = _positive_step(step, t1)
        thetas, theta1, steps = _descent_job(problem, schedule, theta0, ts, t1, step)
        if is_concrete(theta1) and not np.isfinite(theta1).all():
            raise WorkError(
                f"gradient descent diverged: step = {float(step):g} is too large; it must be below 2/λ_max(∇²R)"
            )
        counts = {"steps": steps}
        return Trajectory(ts, thetas, epsilons, theta1, counts, RESULTS.successful, "descent", "gradient descent")
    name, chosen = _diffrax.choose_solver(problem, theta0, t1, solver)
    limit = as_step_limit(max_steps, MAX_DENSE_STEPS if dense else MAX_STEPS)
    thetas, theta1, result, stats, keep = _diffrax_job(
        problem, schedule, theta0, ts, t1, chosen, as_tolerance(rtol, "rtol"), as_tolerance(atol, "atol"), limit, dense
    )
    if is_concrete(theta1) and result != RESULTS.successful:
        raise WorkError(_diffrax.advice(result, limit))
    return Trajectory(ts, thetas, epsilons, theta1, stats, result, "diffrax", name, keep)


class _ExactDense(eqx.Module):
    problem: Problem
    schedule: AbstractSchedule
    theta0: Float[Array, " dim"]
    t1: Float[Array, ""]

    def __call__(self, t):
        return _exact.integrate(self.problem, self.schedule, self.theta0, t[None], self.t1)[0][0]


_exact_job = eqx.filter_jit(_exact.integrate)
_descent_job = eqx.filter_jit(_descent.integrate)


@eqx.filter_jit
def _diffrax_job(problem, schedule, theta0, ts, t1, solver, rtol, atol, max_steps, dense):
    return _diffrax.integrate(
        _diffrax.flow_velocity(problem), schedule, theta0, ts, t1,
        solver=solver, rtol=rtol, atol=atol, max_steps=max_steps, dense=dense,
    )  # fmt: skip


# Checks that the other entry points share ---------------------------------------------------------------------------


def is_concrete(value: Any) -> bool:
    """Whether there are values to look at (not inside a trace)."""
    return not isinstance(value, jax.core.Tracer)


def as_time(t1: Any) -> Float[Array, ""]:
    """`t1` as a positive number (∞ allowed)."""
    if not is_concrete(t1):
        return jnp.asarray(t1, dtype=float)
    value = np.asarray(t1)
    if value.ndim != 0 or value.dtype.kind not in "iuf" or not value > 0:
        raise RequestError(f"t1 must be one number > 0, but is {t1!r}")
    return jnp.asarray(value, dtype=float)


def as_saved_times(ts: Any) -> Float[Array, " k"]:
    """`ts` as sorted times ≥ 0 (∞ allowed)."""
    if not is_concrete(ts):
        return jnp.asarray(ts, dtype=float)
    values = np.asarray(ts)
    if values.ndim != 1 or values.size == 0 or values.dtype.kind not in "iuf":
        raise RequestError(f"ts must be a list of at least one time, but is {ts!r}")
    if np.isnan(values).any() or (values < 0).any():
        raise RequestError(f"ts must not be negative or NaN (time starts at 0), but its smallest is {values.min():g}")
    if (values[1:] < values[:-1]).any():
        raise RequestError("ts must be sorted from small to large")
    return jnp.asarray(values, dtype=float)


def as_tolerance(value: Any, what: str) -> Float[Array, ""]:
    """A tolerance > 0, as an array so that changing it does not compile again."""
    tolerance = as_floats(value, what)
    positive = not is_concrete(tolerance) or (tolerance.ndim == 0 and bool(tolerance > 0))
    _refuse(not positive, f"{what} must be one number > 0, but is {value!r}")
    return tolerance


def as_step_limit(max_steps: int | None, default: int) -> int:
    """`max_steps`, or the default for None."""
    if max_steps is None:
        return default
    fine = isinstance(max_steps, Integral) and max_steps >= 1
    _refuse(not fine, f"max_steps must be a whole number ≥ 1, but is {max_steps!r}")
    return int(max_steps)


def check_schedule(schedule: Any) -> None:
    """`RequestError` unless `schedule` is an ε(t)."""
    fine = isinstance(schedule, AbstractSchedule)
    _refuse(not fine, f"schedule must be a schedule such as Step(0.5), but is {schedule!r}")


def _saved_times(ts: Any, t1: Array) -> Float[Array, " k"]:
    if ts is None:
        _refuse(is_concrete(t1) and not bool(np.isfinite(t1)), "ts must be given when t1 is infinite")
        return jnp.linspace(0.0, t1, 101)
    ts = as_saved_times(ts)
    if is_concrete(ts) and is_concrete(t1) and ts[-1] > t1:
        raise RequestError(f"ts must lie in [0, t1] = [0, {float(t1):g}], but ends at {float(ts[-1]):g}")
    return ts


def _positive_step(step: Any, t1: Any) -> Float[Array, ""]:
    _refuse(step is None, "method='descent' needs step=η, the length of one step")
    step = as_tolerance(step, "step")
    if is_concrete(step) and is_concrete(t1) and step > t1:
        raise RequestError(f"step must not exceed t1 = {float(t1):g}, but is {float(step):g}")
    return step


def _refuse_infinite(t1: Any) -> None:
    _refuse(is_concrete(t1) and not bool(np.isfinite(t1)), "t1 must be finite here; t1 = ∞ is for method='exact'")


def _refuse(condition: bool, message: str) -> None:
    if condition:
        raise RequestError(message)
