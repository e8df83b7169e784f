"""Whether a schedule is one, before anything runs: `check(schedule, t1)`, for everything that takes an ε(t).

An engine trusts what a schedule says of itself: that its jumps are sorted and all there, that a piecewise constant one
is constant on its pieces. Where that is wrong the trajectory is wrong, silently. So a schedule of the user's own class
is sampled: on every arc between its discontinuities, both ends and points inside, by one compiled function for all
instances of the class. The classes of this package are right by construction; of them only what an optimiser may have
moved is looked at: that the jumps are still sorted, the parameters finite and the weights in [0, 1].
"""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._checks import is_concrete, shown
from .._errors import RequestError
from ._abstract import AbstractSchedule
from ._greedy import Greedy

_PACKAGE = __name__.partition(".")[0]
_SAMPLES = 512  # on all arcs together
_FEWEST = 9  # on each arc
# Of the size of ε: a piece that varies by less is constant (its formula rounds), a weight this far outside [0, 1] inside.
_ROUNDING = 1e-12
# A change of ε between two neighbouring samples is a jump if it stays when the samples are this much denser: three times.
_ZOOMS = 3
_SMALLEST_JUMP = 1e-6
_WEIGHTS = ("values", "value", "first")  # the fields of the package's schedules that hold weights


def check(
    schedule: Any, t1: Any, *, points: int | None = None, feedback: bool = False, admissible: bool = False
) -> None:
    """`RequestError` naming what is wrong with a schedule, and where, if anything is.

    What is verified on [0, t1] (where t1 = ∞, to twice the last discontinuity):

    - type: an instance of `AbstractSchedule` (`Greedy` too where `feedback` says that the closed loop is run);
    - order: `discontinuities()` is an array of sorted numbers (∞ for one that never comes);
    - finiteness: ε(t) is a number everywhere; the first t where it is not is named;
    - shape: one number, or one per deleted point (`points` of them, where they are known);
    - constancy: `piecewise_constant = True` holds on every piece, and no smooth piece hides a jump;
    - range: 0 ≤ ε ≤ 1. Other weights, such as gradient ascent's ε < 0, are for whoever asks for them by
      `unrestricted=True` (the package's `Constant`, `PiecewiseConstant` and `PiecewiseLinear`) or by an attribute
      `unrestricted = True` of a class of one's own; with `admissible` (energies and searches, which are defined on
      E_s only) for nobody.

    Sampling sees what is wider than t1/512. Inside a trace only the type is looked at.
    """
    if isinstance(schedule, Greedy):
        if not feedback:
            raise RequestError(
                "schedule must be an ε(t) of time alone here, but is the feedback schedule Greedy: simulate it, and take "
                "the ε(t) that it produced as a PiecewiseConstant"
            )
        return
    if not isinstance(schedule, AbstractSchedule):
        advice = f"; parse({shown(schedule)}) reads text" if isinstance(schedule, str) else ""
        raise RequestError(f"schedule must be a schedule such as Step(0.5), but is {shown(schedule)}{advice}")
    if not is_concrete((schedule, t1, jnp.zeros(()))):  # a trace stages even the zero
        return
    name = type(schedule).__name__
    jumps = _discontinuities(schedule, name)
    if type(schedule).__module__.partition(".")[0] == _PACKAGE:
        _check_own(schedule, name, points, admissible)
        return
    sampled = _sample(schedule, name, jumps, float(t1))
    _check_values(schedule, name, sampled, points, admissible)
    if not schedule.piecewise_constant:
        _check_smooth(schedule, name, sampled)


def _discontinuities(schedule: AbstractSchedule, name: str) -> np.ndarray:
    """The jumps as an array, checked."""
    try:
        jumps: Any = schedule.discontinuities()
    except Exception as error:  # whatever the user's own method raises
        raise RequestError(f"{name}.discontinuities() fails: {_line(error)}") from error
    if not isinstance(jumps, jax.Array | np.ndarray):
        raise RequestError(
            f"{name}.discontinuities() must return an array such as jnp.asarray([0.3, 0.7]), but returns {shown(jumps)}"
        )
    array = np.asarray(jumps)
    if array.ndim != 1 or array.dtype.kind not in "iuf":
        raise RequestError(
            f"{name}.discontinuities() must be a list of times (k,), but has shape {array.shape} and type {array.dtype}"
        )
    if np.isnan(array).any():
        raise RequestError(f"{name}.discontinuities() must be times, but number {np.argmax(np.isnan(array))} is NaN")
    falls = np.flatnonzero(array[1:] < array[:-1])
    if falls.size:
        first, second = array[falls[0]], array[falls[0] + 1]
        raise RequestError(
            f"{name}.discontinuities() must be sorted from small to large, but {second:g} comes after {first:g}"
        )
    return array


def _check_own(schedule: Any, name: str, points: int | None, admissible: bool) -> None:
    """What may be wrong with a schedule of this package: its parameters, where something else has moved them.

    Its ε(t) lies between the weights that it holds; a decay's in [0, 1] unless it grows.
    """
    if any(np.isnan(np.asarray(leaf)).any() for leaf in jax.tree.leaves(schedule) if eqx.is_inexact_array(leaf)):
        raise RequestError(f"{name} must have finite parameters, but one of them holds NaN")
    for growth in ("power", "rate"):
        if (size := getattr(schedule, growth, 1.0)) < 0:
            raise RequestError(
                f"{name}: ε(t) must lie in [0, 1] here, but rises above it where its {growth} is {size:g}"
            )
    weights = next((getattr(schedule, word) for word in _WEIGHTS if hasattr(schedule, word)), None)
    if weights is not None:
        values = np.asarray(weights)
        if values.ndim == 2:
            _check_points(name, values.shape[1:], points)
        if admissible or not schedule.unrestricted:
            asks = not admissible and any(field.name == "unrestricted" for field in dataclasses.fields(schedule))
            _check_range(name, values, None, "; pass unrestricted=True if that is meant" if asks else "")


def _check_points(name: str, shape: tuple[int, ...], points: int | None) -> None:
    if len(shape) > 1 or (shape and points is not None and shape[0] != points):
        several = "one per deleted point" if points is None else f"one per deleted point ({points})"
        raise RequestError(f"{name}: ε(t) must be one number, or {several}, but has shape {shape}")


def _check_range(name: str, values: np.ndarray, ts: np.ndarray | None, advice: str = "") -> None:
    rows = values.reshape(values.shape[0] if values.ndim else 1, -1)
    outside = np.flatnonzero(((rows < -_ROUNDING) | (rows > 1.0 + _ROUNDING)).any(axis=1))
    if outside.size:
        row = rows[outside[0]]
        worst = row[np.argmax(np.abs(row - 0.5))]
        where = "" if ts is None else f" at t = {ts[outside[0]]:.6g}"
        raise RequestError(f"{name}: ε(t) must lie in [0, 1] here, but is {worst:.6g}{where}{advice}")


class _Sampled(eqx.Module):
    """ε(t) at the same number of times on each arc: `indices` and `ts` (arcs, samples), `values` (arcs, samples, …)."""

    indices: np.ndarray
    ts: np.ndarray
    values: np.ndarray


def _sample(schedule: AbstractSchedule, name: str, jumps: np.ndarray, t1: float) -> _Sampled:
    """ε(t) on every arc of [0, t1] that is not empty."""
    if not np.isfinite(t1):
        t1 = 2.0 * max([1.0, *jumps[np.isfinite(jumps)]])
    edges = np.concatenate([[0.0], np.clip(jumps, 0.0, t1), [t1]]).astype(float)
    count = max(_FEWEST, -(-_SAMPLES // (len(edges) - 1)))
    # Empty arcs are sampled too (at one time, not looked at): the number of samples is that of the jumps, and compiles once.
    shares = np.linspace(0.0, 1.0, count)
    ts = edges[:-1, None] + np.diff(edges)[:, None] * shares
    ts[:, -1] = edges[1:]
    indices = np.broadcast_to(np.arange(len(edges) - 1)[:, None], ts.shape)
    values = _evaluate(schedule, name, indices, ts)
    there = edges[1:] > edges[:-1]
    return _Sampled(indices[there], ts[there], values[there])


@eqx.filter_jit
def _both(schedule, indices, ts):
    return jax.vmap(schedule.piece)(indices, ts), schedule(ts)


def _evaluate(schedule: AbstractSchedule, name: str, indices: np.ndarray, ts: np.ndarray) -> np.ndarray:
    """piece(index, t) at all the times, as the engines call it; refused where schedule(t) is not the same thing."""
    flat = jnp.asarray(ts.reshape(-1))
    try:
        pieces, called = _both(schedule, jnp.asarray(indices.reshape(-1)), flat)
    except Exception as error:  # whatever the user's own method raises: most often NumPy or an `if` on a traced time
        raise RequestError(
            f"{name}.piece(index, t) must be a JAX function of numbers and of arrays (jnp.where instead of if), but "
            f"fails: {_line(error)}"
        ) from error
    values, called = np.asarray(pieces), np.asarray(called)
    if values.dtype.kind not in "biuf":
        raise RequestError(f"{name}: ε(t) must be real numbers, but is of type {values.dtype}")
    if called.shape != values.shape:
        raise RequestError(
            f"{name}: schedule(t) must have one value per time, but has shape {called.shape} for {flat.shape[0]} times"
        )
    values = values.astype(float).reshape(*ts.shape, *values.shape[1:])
    inside = np.asarray(ts[:, 1:-1]), values[:, 1:-1], called.reshape(values.shape)[:, 1:-1]
    differ = ~np.isclose(inside[1], inside[2], rtol=1e-9, atol=1e-9, equal_nan=True)
    differ &= ((inside[0] > ts[:, :1]) & (inside[0] < ts[:, -1:])).reshape(*inside[0].shape, *[1] * (values.ndim - 2))
    if differ.any():
        arc, k = np.argwhere(differ)[0][:2]
        raise RequestError(
            f"{name}: schedule(t) and its piece(index, t) must agree, but at t = {inside[0][arc, k]:.6g} they are "
            f"{shown(inside[2][arc, k].tolist())} and {shown(inside[1][arc, k].tolist())}"
        )
    return values


def _check_values(schedule: Any, name: str, sampled: _Sampled, points: int | None, admissible: bool) -> None:
    values, ts = sampled.values, sampled.ts
    _check_points(name, values.shape[2:], points)
    flat = values.reshape(*ts.shape, -1)
    broken = ~np.isfinite(flat).all(axis=2)
    if broken.any():
        arc, k = np.argwhere(broken)[0]
        bad = flat[arc, k][~np.isfinite(flat[arc, k])][0]
        raise RequestError(f"{name}: ε(t) must be finite, but is {_word(bad)} at t = {ts[arc, k]:.6g}")
    if schedule.piecewise_constant:
        spread = np.ptp(flat, axis=1).max(axis=1, initial=0.0)
        loose = np.flatnonzero(spread > _ROUNDING * np.abs(flat).max(initial=1.0))
        if loose.size:
            arc = loose[0]
            raise RequestError(
                f"{name}: piecewise_constant = True must mean that ε(t) is constant between discontinuities, but on "
                f"[{ts[arc, 0]:g}, {ts[arc, -1]:g}] it varies by {spread[arc]:.3g}; say False, or list the jumps"
            )
    if admissible or not getattr(schedule, "unrestricted", False):
        advice = "" if admissible else "; a class that means it has unrestricted = True"
        _check_range(name, flat.reshape(-1, flat.shape[-1]), ts.reshape(-1), advice)


def _check_smooth(schedule: AbstractSchedule, name: str, sampled: _Sampled) -> None:
    """Zoom in on the changes between neighbouring samples: a jump stays as large, everything else shrinks."""
    flat = sampled.values.reshape(*sampled.ts.shape, -1)
    changes = np.abs(np.diff(flat, axis=1)).max(axis=2, initial=0.0)
    beside = np.pad(changes, ((0, 0), (1, 1)))
    stands_out = changes - np.maximum(beside[:, :-2], beside[:, 2:])
    for size in (
        changes,
        stands_out,
    ):  # a small jump on a slope is not the largest change, but its neighbours are smaller
        arc, k = np.unravel_index(np.argmax(size), size.shape)
        if size[arc, k] > _SMALLEST_JUMP:
            _refuse_jump(schedule, name, sampled, (int(arc), int(k)), float(size[arc, k]))


def _refuse_jump(schedule: AbstractSchedule, name: str, sampled: _Sampled, cell: tuple[int, int], size: float) -> None:
    arc, k = cell
    index, start, end = sampled.indices[arc, k], sampled.ts[arc, k], sampled.ts[arc, k + 1]
    for _ in range(_ZOOMS):
        ts = np.linspace(start, end, sampled.ts.size)[None]
        values = _evaluate(schedule, name, np.full(ts.shape, index), ts)
        changes = np.abs(np.diff(values.reshape(ts.size, -1), axis=0)).max(axis=1)
        k = int(np.argmax(changes))
        start, end = ts[0, k], ts[0, k + 1]
        if not changes[k] >= 0.5 * size:
            return
    raise RequestError(
        f"{name}: ε(t) jumps by {changes[k]:.3g} at t = {end:.6g}, which discontinuities() must list (an ODE solver that "
        "steps over a jump is silently wrong)"
    )


def _word(value: float) -> str:
    return "NaN" if np.isnan(value) else f"{value:g}"


def _line(error: Exception) -> str:
    """The first line of a foreign message."""
    text = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {text}"[:200]
