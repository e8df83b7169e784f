"""Numbers as other libraries hand them over, as 64-bit floats: nothing masked, missing or rounded away in silence.

Masked arrays, and frames and series of pandas and polars (never imported here), are told by what they can do.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._errors import RequestError
from ._numbers import require_digits

_WHOLE = 2.0**53  # whole numbers below this are exact in 64-bit floats
_KINDS = {"U": "text", "S": "text", "T": "text", "c": "complex numbers", "M": "dates", "m": "durations"}


def as_floats(values: Any, what: str) -> Float[Array, "..."]:
    """`values` as a 64-bit float array; `RequestError` naming the first entry that is no finite number.

    Refused too: text, masked and missing entries, and whole numbers or long floats that lose in 64-bit floats what tells
    them apart (`require_digits`).
    """
    if isinstance(values, jax.core.Tracer):  # inside a trace there are no values to look at
        return jnp.asarray(values, dtype=float)
    if not _is_frame(values):
        return jnp.asarray(_doubles(_series(values, what) if _is_series(values) else unmasked(values, what), what))
    names = [str(name) for name in values.columns]
    for at, name in enumerate(names):
        if name in names[:at]:
            raise RequestError(f"{what} must have columns of different names, but {name!r} occurs twice")
    # Column by column: as one array a frame of whole numbers and floats would be floats already.
    columns = [
        _doubles(_series(values[key], place), place)
        for key in values.columns
        for place in [f"column {str(key)!r} of {what}"]
    ]
    return jnp.asarray(np.column_stack(columns) if columns else np.zeros((len(values), 0)))


def names_of(values: Any) -> list[str]:
    """The column names of a frame, or the name of a series; none for anything else."""
    if _is_frame(values):
        return [str(name) for name in values.columns]
    name = getattr(values, "name", None) if _is_series(values) and getattr(values, "ndim", 1) == 1 else None
    return [] if name is None or name == "" else [str(name)]


def require_same_rows(x: Any, y: Any) -> None:
    """`RequestError` if x and y carry indexes (pandas) that do not name the same rows in the same order."""
    first: Any = getattr(x, "index", None)
    second: Any = getattr(y, "index", None)
    if not hasattr(first, "equals") or not hasattr(second, "equals"):
        return
    if len(first) != len(second) or first.equals(second):
        return  # different lengths are refused with their own message
    if first.is_unique and len(first.union(second)) == len(first):
        raise RequestError(
            "x and y must have their rows in one order, but their indexes are ordered differently; use y.loc[x.index]"
        )
    raise RequestError(
        "x and y must have the same index, but their indexes name different rows; join x and y on what they share, or "
        "drop both indexes with reset_index(drop=True) if their order is right"
    )


def unmasked(values: Any, what: str) -> np.ndarray:
    """`values` as a NumPy array; `RequestError` naming the first masked entry."""
    if isinstance(values, list | tuple) and any(isinstance(value, np.ma.MaskedArray) for value in values):
        values = np.ma.array(values)  # NumPy's own `asarray` would take what is behind the masks
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        mask = np.ma.getmaskarray(values)
        where = tuple(int(i) for i in np.argwhere(mask)[0])
        place = f"{what}[{', '.join(map(str, where))}]" if where else what
        raise RequestError(f"{what} must hold no masked values, but {place} is masked ({mask.sum()} such in all)")
    try:
        array = np.asarray(values)
    except (TypeError, ValueError):  # rows of different lengths
        array = np.empty((), dtype=object)
    listed = isinstance(values, list | tuple) and array.dtype.kind == "f" and array.size > 0
    if listed and _WHOLE <= np.abs(array).max() < np.inf:
        # NumPy has rounded the whole numbers that stood among floats.
        _require_digits(np.asarray(values, dtype=object), array, what)
    return array


def _is_frame(values: Any) -> bool:
    return hasattr(values, "columns") and hasattr(values, "to_numpy")


def _is_series(values: Any) -> bool:
    return hasattr(values, "to_numpy") and not _is_frame(values)


def _series(values: Any, what: str) -> np.ndarray:
    missing = values.isna() if hasattr(values, "isna") else values.is_null() if hasattr(values, "is_null") else False
    missing = np.asarray(missing)
    if missing.any():
        row = int(np.argwhere(np.atleast_1d(missing))[0, 0])
        raise RequestError(f"{what} must be finite, but row {row} is missing ({missing.sum()} such in all)")
    # A nullable type of pandas would come out as objects.
    numeric = getattr(getattr(values, "dtype", None), "numpy_dtype", None)
    return values.to_numpy() if numeric is None else values.to_numpy(dtype=numeric)


def _doubles(array: np.ndarray, what: str) -> np.ndarray:
    if array.dtype.kind not in "biuf":
        raise RequestError(f"{what} must hold real numbers, but holds {_kind(array)}")
    finite = np.isfinite(array)
    if not finite.all():
        where = tuple(int(i) for i in np.argwhere(~finite)[0])
        place = f"{what}[{', '.join(map(str, where))}]" if where else what
        raise RequestError(f"{what} must be finite, but {place} is {array[where]} ({(~finite).sum()} such in all)")
    with np.errstate(over="ignore"):
        doubles = array.astype(float)
    whole = array.dtype.kind in "iu" and bool((np.abs(doubles) >= _WHOLE).any())
    if whole or (array.dtype.kind == "f" and array.dtype.itemsize > 8):
        _require_digits(array, doubles, what)
    return doubles


def _require_digits(exact: np.ndarray, rounded: np.ndarray, what: str) -> None:
    width = exact.shape[1] if exact.ndim == 2 else 1
    pairs = zip(exact.reshape(-1, width).T, rounded.reshape(-1, width).T, strict=True)
    for at, (numbers, floats) in enumerate(pairs):
        place = f"{what}[:, {at}]" if width > 1 else what
        if not np.isfinite(floats).all():
            raise RequestError(f"{place} must be finite in 64-bit floats, but is as large as {np.abs(numbers).max()!s}")
        require_digits([str(number) for number in numbers], floats, place)


def _kind(array: np.ndarray) -> str:
    if array.dtype.kind == "O" and array.size and all(isinstance(value, str) for value in array.flat):
        return "text; turn it into numbers first (pandas.get_dummies makes 0/1 columns)"
    return _KINDS.get(array.dtype.kind, "objects (ragged or mixed?)" if array.dtype.kind == "O" else str(array.dtype))
