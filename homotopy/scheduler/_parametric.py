"""The best parameters of a family: discrete adjoints on the arcs that the schedule itself has, several starts.

RK4 goes arc by arc between the schedule's discontinuities, by each arc's own formula, so the gradient is that of moving
jumps too. How many steps an arc gets follows from how long it becomes at the starts and at points drawn in the box.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.optimize import minimize

from .._checks import refuse
from .._errors import RequestError, WorkError
from ..flow import AbstractSchedule, check
from ._discrete import objective
from ._families import Parametric
from ._linear import Vector
from ._task import Task

Make = Callable[[Array], AbstractSchedule]
Ends = list[tuple[Vector, float]]
_DRAWN = 4  # points of the box at which lengths of arcs are looked at, besides the starts
_FEWEST = 2  # steps on an arc
_SEEN = 17  # times on an arc at which ε is looked at
_GENEROUS = 1.5  # an arc that moves may become so many times longer than it was seen
# RK4 steers well where it is off by less than this fraction of the baseline; where not, it gets so many times the steps,
# so often.
_STEERED, _MORE, _OFTEN = 1e-4, 4, 2
_DIVERGED = 1e10
_OPTIONS = {"maxiter": 300, "maxfun": 400, "ftol": 1e-13, "gtol": 1e-10, "maxcor": 20}


def descend(task: Task, family: Parametric) -> Ends:
    """(parameters, objective) from every start, best first."""
    begins = family.begins
    shares = _shares(task, family, begins)
    return _optimised(task, family, begins, _steps(shares, task.steps))


def sharpened(task: Task, family: Parametric, ends: Ends) -> tuple[Vector, float, float]:
    """The best end's parameters, energy and objective by the accurate engine; with more steps where RK4 was wrong."""
    shares, found = _shares(task, family, family.begins), list[tuple[Vector, float, float]]()
    for k in range(_OFTEN + 1):
        parameters, promised = ends[0]
        found.append((parameters, *task.value(family.make(jnp.asarray(parameters)))))
        if abs(found[-1][2] - promised) <= _STEERED * task.scale or k == _OFTEN:
            break
        ends = _optimised(task, family, parameters[None], _steps(shares, task.steps * _MORE ** (k + 1)))
    return min(found, key=lambda one: one[2])


def require_admissible(task: Task, family: Parametric, parameters: Vector) -> None:
    """`RequestError` unless the schedule that the user's `make` makes of them is one of E_s."""
    schedule = _make(family.make, jnp.asarray(parameters))
    check(schedule, task.t1, points=task.problem.delete.shape[0], admissible=True)
    # On every arc: a jump between two samples of the whole would not be seen.
    edges = np.concatenate([[0.0], np.clip(np.asarray(schedule.discontinuities()), 0.0, task.s), [task.s]])
    arcs = [(k, np.linspace(*ends, _SEEN)) for k, ends in enumerate(pairwise(edges)) if ends[0] < ends[1] or k == 0]
    ts = np.concatenate([times for _, times in arcs])
    values = np.concatenate([np.asarray(schedule.piece(k, jnp.asarray(times))) for k, times in arcs])
    off = np.abs(values.reshape(len(ts), -1) - 1.0).max(axis=1)
    refuse(
        task.s > 0 and off.max() > 1e-9,
        f"make(p) must be 1 on [0, s] = [0, {task.s:g}], the training that has already happened, but {type(schedule).__name__} "
        f"is off by {off.max():.3g} at t = {ts[np.argmax(off)]:.4g}; build it so, or search with s=0",
    )


def _make(make: Make, p: Array) -> AbstractSchedule:
    """`make(p)`, whatever the user's function does."""
    try:
        schedule = make(p)
    except RequestError:
        raise
    except Exception as error:
        line = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
        raise RequestError(
            f"make(p) must be a JAX function of p (jnp, no float(p[0])), but fails: {line[:160]}"
        ) from error
    if not isinstance(schedule, AbstractSchedule):
        raise RequestError(
            f"make(p) must return a schedule such as Step(p[0]), but returns a {type(schedule).__name__}"
        )
    return schedule


def _edges(make: Make, p: Array, s: Array, t1: Array) -> tuple[AbstractSchedule, Float[Array, " edges"]]:
    schedule = _make(make, p)
    inner = jnp.clip(schedule.discontinuities(), s, t1)
    return schedule, jnp.concatenate([s[None], inner, t1[None]])


@eqx.filter_jit
def _lengths(make: Make, ps: Float[Array, "m k"], s: Array, t1: Array) -> Float[Array, "m arcs"]:
    """The lengths of the arcs as shares of [s, T]."""
    return jax.vmap(lambda p: jnp.diff(_edges(make, p, s, t1)[1]) / (t1 - s))(ps)


def _shares(task: Task, family: Parametric, begins: Vector) -> Vector:
    """What each arc may take of [s, T]: 0 where it is always empty."""
    low, high = family.bounds.T
    drawn = np.random.default_rng(0).uniform(low, high, (_DRAWN, len(low)))
    seen = np.asarray(_lengths(family.make, jnp.asarray(np.concatenate([begins, drawn])), *_window(task)))
    moves = np.ptp(seen, axis=0) > 1e-9
    return np.where(moves, np.minimum(_GENEROUS * seen.max(axis=0), 1.0), seen.max(axis=0))


def _steps(shares: Vector, steps: int) -> tuple[int, ...]:
    """Steps of each arc; whole numbers that rounding does not change, so that compiled code is used again."""
    return tuple(max(_FEWEST, int(np.ceil(steps * share - 1e-6))) if share > 1e-12 else 0 for share in shares)


def _window(task: Task) -> tuple[Array, Array]:
    return jnp.asarray(task.s), jnp.asarray(task.t1)


@eqx.filter_jit
def _evaluate(setting, box, q, make, window, goal, steps):
    """The discrete objective at low + q·(high − low), and its gradient in q."""
    low, high = box
    arcs = np.repeat(np.arange(len(steps)), steps)
    inside = np.concatenate([np.arange(count) for count in steps])[:, None] + np.array([0.0, 0.5, 1.0])

    def value(q):
        schedule, edges = _edges(make, low + q * (high - low), *window)
        widths = (jnp.diff(edges) / np.maximum(steps, 1).astype(float))[arcs]
        ts = edges[arcs][:, None] + widths[:, None] * inside
        index = jnp.asarray(np.broadcast_to(arcs[:, None], inside.shape).reshape(-1))
        epsilon = schedule.piece(index, ts.reshape(-1))
        return objective(setting, goal, widths, epsilon.reshape(*inside.shape, *epsilon.shape[1:]))

    return jax.value_and_grad(value)(q)


def _optimised(task: Task, family: Parametric, begins: Vector, steps: tuple[int, ...]) -> Ends:
    """L-BFGS-B from every start, in units of the box."""
    low, high = family.bounds.T
    box, window, scale = (jnp.asarray(low), jnp.asarray(high)), _window(task), task.baseline or 1.0

    def both(q: Vector) -> tuple[float, Vector]:
        value, gradient = _evaluate(task.setting, box, jnp.asarray(q), family.make, window, task.goal, steps)
        # A step that leaves what RK4 can follow is refused by its value.
        if not np.isfinite(value):
            return _DIVERGED, np.zeros(len(q))
        return float(value) / scale, np.asarray(gradient) / scale

    found: list[tuple[Any, float]] = []
    for begin in (begins - low) / (high - low):
        end = minimize(both, begin, jac=True, method="L-BFGS-B", bounds=[(0.0, 1.0)] * len(low), options=_OPTIONS)
        found.append((np.clip(low + np.asarray(end.x) * (high - low), low, high), float(end.fun) * scale))
    found = [pair for pair in found if np.isfinite(pair[1]) and pair[1] < 0.1 * _DIVERGED * scale]
    if not found:
        raise WorkError("every start of the search diverged; try a shorter t1 or a smaller theta0")
    return sorted(found, key=lambda pair: pair[1])
