"""`Dataset`: the points z_i = (x_i, y_i), i = 1..n, validated once so that nothing later has to ask."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._checks import as_array, is_concrete, shown
from .._errors import RequestError

# The sum of the squares of a million such numbers is still a float.
LARGEST = 1e150


class _Label(str):
    """Text that equals every other label: as a static field it must never be a reason to compile again."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Label)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return 0


class Dataset(eqx.Module):
    """The points z_i = (x_i, y_i).

    `x` (n, features) and `y` (n,) or (n, outputs) are stored as 64-bit floats; class labels are whole numbers
    0, 1, … in `y`. Raises `RequestError` on text, complex, missing or infinite values, on different lengths
    and on fewer than two points.
    """

    x: Float[Array, "n features"]
    y: Float[Array, " n"] | Float[Array, "n outputs"]
    _label: _Label = eqx.field(static=True)

    def __init__(self, x: Any, y: Any, *, name: str = ""):
        self.x = as_floats(x, "x")
        self.y = as_floats(y, "y")
        self._label = _Label(name)
        if is_concrete((self.x, self.y)):
            for what, values in (("x", self.x), ("y", self.y)):
                _require_squares(np.asarray(values), what)
        if self.x.ndim != 2:
            raise RequestError(
                f"x must have shape (n, features), but has shape {self.x.shape}"
                + ("; for one feature use x[:, None]" if self.x.ndim == 1 else "")
            )
        if self.y.ndim not in (1, 2):
            raise RequestError(f"y must have shape (n,) or (n, outputs), but has shape {self.y.shape}")
        if self.x.shape[0] != self.y.shape[0]:
            raise RequestError(
                f"x and y must have the same length, but x has {self.x.shape[0]} rows and y has {self.y.shape[0]}"
            )
        if self.x.shape[0] < 2:
            raise RequestError(f"a data set must have at least 2 points, but has {self.x.shape[0]}")
        if self.x.shape[1] < 1:
            raise RequestError("x must have at least one feature, but has none")
        if self.y.size == 0:
            raise RequestError("y must have at least one output, but has none")

    @property
    def name(self) -> str:
        """Where the points come from."""
        return str.__str__(self._label)

    @property
    def n(self) -> int:
        """Number of points."""
        return self.x.shape[0]

    @property
    def features(self) -> int:
        """Number of features (columns of x)."""
        return self.x.shape[1]

    def subset(self, rows: Any) -> "Dataset":
        """The data set of the given rows (indices or a boolean mask), in that order."""
        rows = as_array(rows)
        if rows.dtype.kind not in "iub":
            raise RequestError(f"rows must be indices or a mask of the {self.n} points, but is {shown(rows)}")
        try:  # NumPy, because JAX would take the nearest row for one that does not exist
            return Dataset(np.asarray(self.x)[rows], np.asarray(self.y)[rows], name=self.name)
        except IndexError as error:
            raise RequestError(f"rows must be indices or a mask of the {self.n} points: {error}") from None


def as_floats(values: Any, what: str) -> Float[Array, "..."]:
    """`values` as a 64-bit float array; `RequestError` naming the first entry that is no finite number."""
    if isinstance(values, jax.core.Tracer):  # inside a trace there are no values to look at
        return jnp.asarray(values, dtype=float)
    array = as_array(values)
    if array.dtype.kind not in "biuf":
        raise RequestError(f"{what} must hold real numbers, but holds {_kind(array)}")
    finite = np.isfinite(array)
    if not finite.all():
        where = tuple(int(i) for i in np.argwhere(~finite)[0])
        place = f"{what}[{', '.join(map(str, where))}]" if where else what
        raise RequestError(f"{what} must be finite, but {place} is {array[where]} ({(~finite).sum()} such in all)")
    return jnp.asarray(array, dtype=float)


def _require_squares(array: np.ndarray, what: str) -> None:
    """`RequestError` naming the column whose squares leave the floats."""
    columns = np.abs(array).max(axis=0, initial=0.0).reshape(-1)
    if columns.size and (worst := int(np.argmax(columns))) >= 0 and columns[worst] > LARGEST:
        column = f"{what}[:, {worst}]" if array.ndim > 1 else what
        raise RequestError(
            f"{column} reaches {columns[worst]:.3g}, and squares of numbers beyond {LARGEST:g} leave the 64-bit floats; "
            "give it in a larger unit"
        )


def _kind(array: np.ndarray) -> str:
    names = {"U": "text", "S": "text", "c": "complex numbers", "M": "dates", "O": "objects (ragged or mixed?)"}
    return names.get(array.dtype.kind, str(array.dtype))
