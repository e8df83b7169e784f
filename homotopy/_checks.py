"""Checks of arguments that every folder shares: one line each that says what is wrong and what would be right.

Inside a trace (`jax.jit`, `vmap`, `grad`) there are no values to look at: what is checked there is the type only.
"""

import math
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Annotated, Any, Protocol, SupportsFloat, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ._errors import RequestError

# What the arguments of public functions are, for type checkers and readers. At run time nothing is asked of them here: a
# wrong one is refused below with a sentence, not by a checker of types.
if TYPE_CHECKING:

    class _HasArray(Protocol):
        """An array of any library, a frame, a series."""

        def __array__(self) -> np.ndarray: ...

    Number: TypeAlias = SupportsFloat
    Whole: TypeAlias = int
    Choice: TypeAlias = str
    Flag: TypeAlias = bool
    Key: TypeAlias = int | PRNGKeyArray
    Values: TypeAlias = _HasArray | SupportsFloat | Sequence[SupportsFloat] | Sequence[Sequence[SupportsFloat]]
else:
    Number = Annotated[object, "one real number"]
    Whole = Annotated[object, "one whole number"]
    Choice = Annotated[object, "one of a few words"]
    Flag = Annotated[object, "True or False"]
    Key = Annotated[object, "a seed or a JAX key"]
    Values = Annotated[object, "numbers, as lists or as arrays of any library"]
Theta: TypeAlias = Annotated[Values, "dim"]
Times: TypeAlias = Annotated[Values, "k"]
Indices: TypeAlias = Annotated[Values, "k"]
Epsilon: TypeAlias = Annotated[Values, "*deleted"]  # one for all deleted points, or one for each

_LONGEST = 60  # characters of a value that a message quotes
_MOST = 2**53  # whole numbers above it are not even floats
_SAVED = 101  # times that are saved when none are asked for


def is_concrete(value: Any) -> bool:
    """Whether there are values to look at (not inside a trace)."""
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(value))


def on_host(values: Any, what: str) -> None:
    """`RequestError` inside a trace, for what looks at its numbers to decide how to go on."""
    if not is_concrete(values):
        raise RequestError(f"{what} decides on the host: it runs under no jit, vmap or grad; use a loop")


def shown(value: Any) -> str:
    """`value` as a message quotes it: one line, and not a long one."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # a repr of the user's own may do anything
        text = type(value).__name__
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def refuse(condition: Any, message: str) -> None:
    """`RequestError` with that message where the condition holds."""
    if condition:
        raise RequestError(message)


# Numbers and words --------------------------------------------------------------------------------------------------


def number(
    value: Any, what: str, *, above: float | None = None, least: float | None = None, most: float | None = None
) -> float:
    """`value` as one finite number, > `above` or ≥ `least`, and ≤ `most`."""
    result = _real(value)
    low = f" > {above:g}" if above is not None else f" ≥ {least:g}" if least is not None else ""
    rule = low + ("" if most is None else f"{' and' if low else ''} ≤ {most:g}")
    outside = (above is not None and result <= above) or (least is not None and result < least)
    if not math.isfinite(result) or outside or (most is not None and result > most):
        raise RequestError(f"{what} must be one number{rule}, but is {shown(value)}")
    return result


def whole(value: Any, what: str, least: int, most: int = _MOST) -> int:
    """`value` as a whole number ≥ `least` (and ≤ `most`)."""
    if not isinstance(value, Integral) or isinstance(value, bool) or not least <= int(value) <= most:
        rule = f"≥ {least}" if most == _MOST else f"in {least}…{most}"
        raise RequestError(f"{what} must be a whole number {rule}, but is {shown(value)}")
    return int(value)


def choice(value: Any, what: str, allowed: Iterable[str], or_else: str = "") -> str:
    """`value` as one of the words `allowed` (`or_else` names what else could have been given)."""
    words = tuple(allowed)
    if not isinstance(value, str) or value not in words:
        raise RequestError(f"{what} must be one of {', '.join(words)}{or_else}, but is {shown(value)}")
    return value


def flag(value: Any, what: str) -> bool:
    """`value` as True or False."""
    if not isinstance(value, bool | np.bool_):
        raise RequestError(f"{what} must be True or False, but is {shown(value)}")
    return bool(value)


def as_key(value: Any, what: str = "key") -> Array:
    """`value`, a seed ≥ 0 or a JAX key, as a key."""
    if isinstance(value, Integral):
        return jax.random.key(whole(value, what, 0))
    typed = isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
    raw = isinstance(value, jax.Array) and value.dtype == jnp.uint32 and value.shape == (2,)
    if not (raw or (typed and value.shape == ())):
        raise RequestError(f"{what} must be a whole number ≥ 0 (a seed) or one JAX key, but is {shown(value)}")
    return value


def instance(value: Any, what: str, kind: type | tuple[type, ...], example: str) -> None:
    """`RequestError` unless `value` is of that kind; `example` is one that is."""
    if not isinstance(value, kind):
        raise RequestError(f"{what} must be {example}, but is {shown(value)}")


def indices(values: Any, n: int, what: str) -> np.ndarray:
    """`values` (one whole number or a list of them) as indices (k,) of n points."""
    array = as_array(values)
    if array.size == 0:
        raise RequestError(f"{what} must name at least one point, but is empty")
    if array.dtype.kind not in "iu" or array.ndim > 1:
        raise RequestError(f"{what} must be a whole number or a list of them, but is {shown(values)}")
    array = np.atleast_1d(array)
    outside = array[(array < 0) | (array >= n)]
    if outside.size:
        raise RequestError(f"{what} must lie in 0…{n - 1} (the data set has {n} points), but names {outside[0]}")
    return array


# Times and tolerances -----------------------------------------------------------------------------------------------


def as_time(value: Any, what: str = "t1", *, finite: str | None = None) -> Float[Array, ""]:
    """`value` as one time > 0. ∞ is refused where `finite` says what to do instead."""
    if not is_concrete(value):
        return jnp.asarray(value, dtype=float)
    array = as_array(value)
    if array.ndim != 0 or array.dtype.kind not in "iuf" or not array > 0:
        raise RequestError(f"{what} must be one number > 0, but is {shown(value)}")
    if finite is not None and not np.isfinite(array):
        raise RequestError(f"{what} must be finite here; {finite}")
    return jnp.asarray(array, dtype=float)


def as_times(values: Any, t1: Any = None, what: str = "ts") -> Float[Array, " k"]:
    """`values` as sorted times ≥ 0 (∞ allowed), at most `t1`; without `values`, 101 equal steps of [0, t1]."""
    if values is None:
        refuse(is_concrete(t1) and not np.isfinite(t1), f"{what} must be given when t1 is infinite")
        return jnp.linspace(0.0, t1, _SAVED)
    if not is_concrete(values):
        return jnp.asarray(values, dtype=float)
    array = as_array(values)
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "iuf":
        raise RequestError(f"{what} must be a list of at least one time, but is {shown(values)}")
    if np.isnan(array).any() or (array < 0).any():
        raise RequestError(
            f"{what} must not be negative or NaN (time starts at 0), but its smallest is {array.min():g}"
        )
    if (array[1:] < array[:-1]).any():
        raise RequestError(f"{what} must be sorted from small to large")
    if t1 is not None and is_concrete(t1) and array[-1] > t1:
        raise RequestError(f"{what} must lie in [0, t1] = [0, {float(t1):g}], but ends at {float(array[-1]):g}")
    return jnp.asarray(array, dtype=float)


def as_window(s: Any, t1: Any) -> tuple[float, float]:
    """The free interval [s, T] of a schedule: 0 ≤ s < T = `t1` < ∞."""
    start, end = _real(s), _real(t1)
    if math.isnan(start):
        raise RequestError(f"s must be one number, but is {shown(s)}")
    if math.isnan(end):
        raise RequestError(f"t1 must be one number, but is {shown(t1)}")
    if not 0 <= start < end < math.inf:
        raise RequestError(f"s and t1 must satisfy 0 ≤ s < t1 < ∞, but s = {start:g} and t1 = {end:g}")
    return start, end


def as_tolerance(value: Any, what: str) -> Float[Array, ""]:
    """A tolerance > 0 (a relative one < 1), as an array so that changing it does not compile again."""
    if not is_concrete(value):
        return jnp.asarray(value, dtype=float)
    size = _real(value)
    refuse(not 0 < size < math.inf, f"{what} must be one number > 0, but is {shown(value)}")
    refuse(what == "rtol" and size >= 1, f"{what} must be < 1 (it is relative), but is {shown(value)}")
    return jnp.asarray(size)


# What is one number, what is an array --------------------------------------------------------------------------------


def _real(value: Any) -> float:
    """`value` as a float; NaN where it is not one real number."""
    array = getattr(value, "shape", None) == () and getattr(getattr(value, "dtype", None), "kind", "") in (
        "i",
        "u",
        "f",
    )
    if isinstance(value, bool) or not (array or isinstance(value, Real)):
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):  # a fraction or a whole number beyond the floats
        return math.nan


def as_array(values: Any) -> np.ndarray:
    """`values` as a NumPy array; one of objects where NumPy makes none (ragged lists)."""
    try:
        return np.asarray(values)
    except (TypeError, ValueError):
        return np.empty((), dtype=object)
