"""What the constructors of schedules check of their numbers; inside a trace there are no values to check."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from .._arrays import as_floats
from .._checks import Flag, flag, shown
from .._errors import RequestError


def as_jumps(values: Any, what: str, ndim: int) -> Array:
    """Sorted times ≥ 0: one number (`ndim` 0) or a list of them."""
    times = as_floats(values, what)
    if times.ndim != ndim:
        raise RequestError(
            f"{what} must be {'one number' if ndim == 0 else 'a list of numbers'}, but is {shown(values)}"
        )
    if not isinstance(times, jax.core.Tracer):
        if (np.asarray(times) < 0).any():
            raise RequestError(f"{what} must not be negative (time starts at 0), but is {shown(values)}")
        if ndim and (np.diff(np.asarray(times)) < 0).any():
            raise RequestError(f"{what} must be sorted, but is {shown(values)}")
    return times


def as_interval(start: Any, end: Any) -> tuple[Array, Array]:
    """Two times, start < end."""
    start_, end_ = as_jumps(start, "start", ndim=0), as_jumps(end, "end", ndim=0)
    traced = isinstance(start_, jax.core.Tracer) or isinstance(end_, jax.core.Tracer)
    if not traced and start_ >= end_:
        raise RequestError(f"start must be before end, but start is {shown(start)} and end is {shown(end)}")
    return start_, end_


def as_weights(values: Any, what: str, unrestricted: Flag, ndim: int) -> Array:
    """Weights ε in [0, 1], or any where `unrestricted` says that they are meant."""
    weights = as_floats(values, what)
    if weights.ndim != ndim:
        raise RequestError(
            f"{what} must be {'one number' if ndim == 0 else 'a list of numbers'}, but is {shown(values)}"
        )
    if not flag(unrestricted, "unrestricted") and not isinstance(weights, jax.core.Tracer):
        array = np.asarray(weights)
        if ((array < 0) | (array > 1)).any():
            raise RequestError(
                f"{what}: ε must lie in [0, 1], but is {shown(values)}; pass unrestricted=True if that is meant"
            )
    return weights
