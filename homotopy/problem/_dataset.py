"""`Dataset`: the points z_i = (x_i, y_i), i = 1..n, validated once so that nothing later has to ask."""

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

from .._arrays import as_floats, names_of, require_same_rows, unmasked
from .._checks import Values, shown
from .._errors import RequestError

LARGEST = 1e150  # |x|; see `require_range`


class _Label(NamedTuple):
    """Words about the points. All labels are equal: as a static field they must never be a reason to compile again."""

    name: str
    columns: tuple[str, ...]
    targets: tuple[str, ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Label)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return 0


class Dataset(eqx.Module):
    """The points z_i = (x_i, y_i).

    `x` (n, features) and `y` (n,) or (n, outputs) are stored as 64-bit floats; class labels are whole numbers
    0, 1, … in `y`. pandas and polars frames and series are taken by column and keep their names; `columns` (features,)
    and `targets` (outputs,) give others. The names are words only: they never cause a compilation.

    Raises `RequestError` on text, complex, missing, masked or infinite values, on different lengths or differently
    ordered indexes of x and y, on fewer than two points, on numbers that 64-bit floats cannot tell apart, and on a
    column whose largest |value| is not 0 and outside [1e-150, 1e150]: sums of its squares (up to 1e8 of them) would
    overflow, or vanish and make the rank wrong.

    Example (continues the package's):

        >>> cars = Dataset([[1.0, 900.0], [3.0, 1500.0], [0.0, 700.0]], [7.0, 5.0, 8.0], columns=["age", "weight"], name="cars")
        >>> cars.name, cars.n, cars.features, cars.columns, cars.targets
        ('cars', 3, 2, ('age', 'weight'), ('y',))
        >>> print(cars.subset([0, 2]).y)
        [7. 8.]
        >>> cars.require_columns(["age", "weight"])
    """

    x: Float[Array, "n features"]
    y: Float[Array, " n"] | Float[Array, "n outputs"]
    _label: _Label = eqx.field(static=True)

    def __init__(
        self, x: Annotated[Values, "n features"], y: Annotated[Values, "n *outputs"], *, name: str = "",
        columns: Sequence[str] | None = None,
        targets: Sequence[str] | None = None,
    ):  # fmt: skip
        require_same_rows(x, y)
        self.x = as_floats(x, "x")
        self.y = as_floats(y, "y")
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
        outputs = 1 if self.y.ndim == 1 else self.y.shape[1]
        self._label = _Label(
            str(name),
            _names(names_of(x) if columns is None else columns, self.x.shape[1], "columns"),
            _names(names_of(y) if targets is None else targets, outputs, "targets"),
        )
        require_range(self.x, self.columns, "the feature")
        require_range(self.y, self.targets, "the target")

    @property
    def name(self) -> str:
        """Where the points come from."""
        return self._label.name

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of x (features,): those given, or x0, x1, …"""
        return self._label.columns or tuple(f"x{column}" for column in range(self.features))

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the columns of y (outputs,): those given, or y; y0, y1, …"""
        outputs = 1 if self.y.ndim == 1 else self.y.shape[1]
        return self._label.targets or (("y",) if outputs == 1 else tuple(f"y{output}" for output in range(outputs)))

    @property
    def n(self) -> int:
        """Number of points."""
        return self.x.shape[0]

    @property
    def features(self) -> int:
        """Number of features (columns of x)."""
        return self.x.shape[1]

    def require_columns(self, names: Sequence[str]) -> None:
        """`RequestError` if `names`, where there are any, are not those of the columns in their order."""
        if names and self._label.columns and tuple(names) != self._label.columns:
            raise RequestError(
                f"x must have the columns {', '.join(self.columns)} in that order, but has {', '.join(names)}"
            )

    def subset(self, rows: Annotated[Values, "m"]) -> "Dataset":
        """The data set of the given rows (indices or a boolean mask), in that order. `RequestError` for rows that do not
        exist.
        """
        rows = unmasked(rows, "rows")
        if rows.dtype.kind not in "iub":
            raise RequestError(f"rows must be indices or a mask of the {self.n} points, but is {shown(rows)}")
        try:  # NumPy, because JAX would take the nearest row for one that does not exist
            x, y = np.asarray(self.x)[rows], np.asarray(self.y)[rows]
        except IndexError as error:
            raise RequestError(f"rows must be indices or a mask of the {self.n} points: {error}") from None
        return Dataset(x, y, name=self.name, columns=self._label.columns, targets=self._label.targets)


def _names(given: Any, count: int, what: str) -> tuple[str, ...]:
    names = as_names(given, what)
    if not names:
        return ()
    if len(names) != count:
        raise RequestError(f"{what} must be {count} names, but is {names!r}")
    for at, name in enumerate(names):
        if name in names[:at]:
            raise RequestError(f"{what} must be different names, but {name!r} occurs twice")
    return names


def as_names(given: Any, what: str) -> tuple[str, ...]:
    """`given` as names: one text, or several."""
    names = (given,) if isinstance(given, str) else tuple(given) if hasattr(given, "__iter__") else (given,)
    if not all(isinstance(name, str) for name in names):
        raise RequestError(f"{what} must be a name or a list of names, but is {given!r}")
    return names


def require_range(values: Any, names: Sequence[str], what: str) -> None:
    """`RequestError` for a column (of x or y) whose squares overflow or vanish in 64-bit floats.

    Σ x² of n ≤ 1e8 rows of |x| ≤ 1e150 is at most 1e308; squares of a column below 1e-150 lose digits from 1e-308 on.
    """
    if isinstance(values, jax.core.Tracer):
        return
    array = np.abs(np.asarray(values))
    sizes = array.reshape(len(array), -1).max(axis=0)
    for size, name in zip(sizes, names, strict=True):
        if size > LARGEST or 0 < size < 1.0 / LARGEST:
            raise RequestError(
                f"{what} {name!r} is {'as large as' if size > 1 else 'nowhere larger than'} {size:.3g}: its squares "
                f"{'overflow' if size > 1 else 'vanish'} in 64-bit floats; change its unit so that its largest value lies "
                f"between {1.0 / LARGEST:g} and {LARGEST:g}"
            )
