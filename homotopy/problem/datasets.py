"""Data sets: synthetic ones, real ones that ship with a package, and the user's own CSV file.

Each returns a `Dataset`: `random_linear`, `teacher_student`, `load`, `read_csv` (and `teacher`, the function behind
`teacher_student`; `read_csv_told`, what was found out about a file). Source of the made-up ones: the notes, Figures 3,
4.

Example (continues the package's):

    >>> points = datasets.random_linear(n=20, d=2, noise=0.0, seed=1)
    >>> points.name, points.x.shape, points.y.shape
    ('random_linear(n=20, d=2, seed=1)', (20, 2), (20,))
"""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from jaxtyping import Float

from .._checks import Choice, Flag, Number, Values, Whole, choice, flag, number, whole
from .._errors import RequestError
from ._dataset import Dataset, as_names, require_range
from ._read_csv import Table, read_table
from ._text import STANDARD_INPUT

_SCIKIT_LEARN = {"diabetes": True, "breast_cancer": False, "wine": False, "digits": False, "iris": False}
_STATSMODELS = {"stackloss": "STACKLOSS", "longley": "TOTEMP"}
_MOST = 10**7  # of points, features or neurons that are made up
_DRIFT = 1e-12  # of the spread: a mean that is wrong by more is taken again
NAMES = (*_SCIKIT_LEARN, *_STATSMODELS)


def random_linear(n: Whole = 20, d: Whole = 2, noise: Number = 0.5, seed: Whole = 0) -> Dataset:
    """y = Xθ + noise·ξ with X (n, d), θ and ξ standard normal; the same points for the same `seed`, on every machine.

    Raises `RequestError` for n < 2, d < 1 and noise < 0.

    Example (continues the package's):

        >>> datasets.random_linear(n=20, d=2).columns
        ('x0', 'x1')
    """
    n, d, seed = whole(n, "n", 2, _MOST), whole(d, "d", 1, _MOST), whole(seed, "seed", 0)
    noise = number(noise, "noise", least=0.0)
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d))
    theta = rng.standard_normal(d)
    return Dataset(x, x @ theta + noise * rng.standard_normal(n), name=f"random_linear(n={n}, d={d}, seed={seed})")


def teacher_student(n: Whole = 20, width: Whole = 3, noise: Number = 0.1, seed: Whole = 0) -> Dataset:
    """y_i = f(x_i) + ξ_i with f a one-hidden-layer tanh network of `width` neurons: the set-up of the notes' Figure 3.

    x (n, 1) uniform on [−2, 2] (sorted), ξ_i ~ N(0, noise²); the noiseless f is `teacher(width, seed)`. Raises
    `RequestError` for n < 2, width < 1 and noise < 0.

    Example (continues the package's):

        >>> datasets.teacher_student(n=20, width=3).x.shape
        (20, 1)
    """
    n, width, seed = whole(n, "n", 2, _MOST), whole(width, "width", 1, _MOST), whole(seed, "seed", 0)
    noise = number(noise, "noise", least=0.0)
    rng = np.random.default_rng([seed, 1])
    x = np.sort(rng.uniform(-2.0, 2.0, n))
    y = teacher(width, seed)(x) + noise * rng.standard_normal(n)
    return Dataset(x[:, None], y, name=f"teacher_student(n={n}, width={width}, seed={seed})")


def teacher(width: int = 3, seed: int = 0) -> Callable[[Annotated[Values, "..."]], Float[np.ndarray, "..."]]:
    """The function x ↦ Σ_k a_k tanh(w_k x + b_k) behind `teacher_student`; it takes and gives arrays of one shape, (n,) say.

    Slopes of both signs in [1, 3] and kinks spread over [−2, 2]: neither flat nor linear on the data.

    Example (continues the package's):

        >>> datasets.teacher(width=3)([-1.0, 0.0, 1.0]).shape
        (3,)
    """
    rng = np.random.default_rng([seed, 0])
    slope = rng.uniform(1.0, 3.0, width) * rng.choice([-1.0, 1.0], width)
    bias = -slope * rng.uniform(-1.5, 1.5, width)
    height = rng.uniform(0.5, 1.5, width) * rng.choice([-1.0, 1.0], width)
    return lambda x: np.tanh(np.asarray(x)[..., None] * slope + bias) @ height


def load(name: Choice, *, standardise: Flag = True, intercept: Flag = False) -> Dataset:
    """A real data set: diabetes, breast_cancer, wine, digits, iris (scikit-learn); stackloss, longley (statsmodels).

    `standardise` brings every feature, and the target of a regression set, to mean 0 and variance 1 (constant columns
    to 0); labels stay 0, 1, …; `intercept` appends a column of ones. Raises `RequestError` for
    another name, and where the extra `homotopy[data]` is missing.

    Example (continues the package's):

        >>> diabetes = datasets.load("diabetes", intercept=True)
        >>> diabetes.x.shape, diabetes.columns[:2]
        ((442, 11), ('age', 'sex'))
    """
    choice(name, "data set", NAMES)
    flag(standardise, "standardise"), flag(intercept, "intercept")
    try:
        table, regression = _load_statsmodels(name) if name in _STATSMODELS else _load_scikit_learn(name)
    except ImportError as error:
        raise RequestError(
            f"data set {name!r} ships with {error.name}, which is not installed; pip install 'homotopy[data]'"
        ) from None
    return _prepare(table, table.y[:, 0], name, standardise, standardise and regression, intercept)


def read_csv(
    path: str | Path,
    *,
    target: str | Sequence[str],
    features: Sequence[str] | None = None,
    standardise: bool = False,
    standardise_target: bool = False,
    intercept: bool = False,
    delimiter: str | None = None,
    encoding: str | None = None,
    dummies: bool = False,
) -> Dataset:
    r"""The user's own table: a text file (or .gz, or `-` for standard input) whose first line names the columns.

    `target` names the column y (or several); x is `features`, or every other column. `standardise`,
    `standardise_target` and `intercept` as in `load`; the names stay with the data (`Dataset.columns`).
    `delimiter` is found out among comma, semicolon, tab and vertical bar when not given; `encoding` is UTF-8.
    `dummies` turns a text column into 0/1 columns, one per level but the first in alphabetical order, and a text
    target into classes 0, 1, …; without it text is refused.

    Warns of a constant column. Raises `RequestError`, naming line and column, on a missing value, on what is not
    written as a number (digits 0–9, a point for decimals), on numbers that 64-bit floats cannot tell apart, on a
    missing column or a name used twice, and on a file that cannot be decoded.

    Example (continues the package's):

        >>> import pathlib, tempfile
        >>> table = pathlib.Path(tempfile.mkdtemp()) / "cars.csv"
        >>> _ = table.write_text("age;weight;price\n1;900;7\n3;1500;5\n0;700;8\n")
        >>> cars = datasets.read_csv(table, target="price", standardise=True)
        >>> cars.columns, cars.targets, cars.n
        (('age', 'weight'), ('price',), 3)
    """
    data, notes = read_csv_told(
        path, target=target, features=features, standardise=standardise, standardise_target=standardise_target,
        intercept=intercept, delimiter=delimiter, encoding=encoding, dummies=dummies,
    )  # fmt: skip
    for note in notes:
        if "is constant" in note:
            warnings.warn(f"{path}: {note}", stacklevel=2)
    return data


def read_csv_told(
    path: str | Path,
    *,
    target: str | Sequence[str],
    features: Sequence[str] | None = None,
    standardise: bool = False,
    standardise_target: bool = False,
    intercept: bool = False,
    delimiter: str | None = None,
    encoding: str | None = None,
    dummies: bool = False,
) -> tuple[Dataset, list[str]]:
    r"""`read_csv`, and what it found out and decided, a line each: the separator, dummies, constant columns.

    Raises as `read_csv`.

    Example (continues the package's):

        >>> import pathlib, tempfile
        >>> table = pathlib.Path(tempfile.mkdtemp()) / "cars.csv"
        >>> _ = table.write_text("age;price\n1;7\n3;5\n0;8\n")
        >>> datasets.read_csv_told(table, target="price")[1][0].partition(": ")[2]
        '3 rows, 2 columns separated by semicolons'
    """
    targets = as_names(target, "target")
    if not targets:
        raise RequestError("target must name at least one column, but is empty")
    if isinstance(features, str):
        raise RequestError(f"features must be a list of names, but is {features!r}; write [{features!r}]")
    features = None if features is None else as_names(features, "features")
    for name in features or ():
        if name in targets or (features or ()).count(name) > 1:
            raise RequestError(f"features must name each column once and not the target, but names {name!r}")
    table = read_table(
        path, targets=targets, features=features, delimiter=delimiter, encoding=encoding, dummies=dummies
    )
    y = table.y[:, 0] if isinstance(target, str) else table.y
    name = "stdin" if str(path) == STANDARD_INPUT else Path(Path(path).name.removesuffix(".gz")).stem
    data = _prepare(table, y, name, standardise, standardise_target, intercept)
    return data, [*table.notes, *_constants(table, standardise, intercept)]


def _constants(table: Table, standardise: bool, intercept: bool) -> list[str]:
    notes = []
    for values, name in zip(table.x.T, table.features, strict=True):
        if (values == values[0]).all():
            what = "it duplicates the intercept, from which its parameter cannot be told" if intercept else ""
            what = "standardised it is 0, and its parameter moves nothing" if standardise else what
            notes.append(f"column {name!r} is constant ({values[0]:g})" + (f": {what}; drop it" if what else ""))
    for values, name in zip(table.y.T, table.targets, strict=True):
        if (values == values[0]).all():
            notes.append(f"the target {name!r} is constant ({values[0]:g})")
    return notes


def _load_scikit_learn(name: str) -> tuple[Table, bool]:
    import sklearn.datasets  # a late import: it takes seconds

    bunch = getattr(sklearn.datasets, f"load_{name}")()
    names = [str(column) for column in bunch.feature_names]
    return Table(bunch.data, bunch.target[:, None], names, ["target"], []), _SCIKIT_LEARN[name]


def _load_statsmodels(name: str) -> tuple[Table, bool]:
    import importlib

    frame = importlib.import_module(f"statsmodels.datasets.{name}").load_pandas().data
    target = _STATSMODELS[name]
    x = frame.drop(columns=target)
    y = frame[[target]].to_numpy(dtype=float)
    return Table(x.to_numpy(dtype=float), y, [str(column) for column in x.columns], [target], []), True


def _prepare(
    table: Table, y: np.ndarray, name: str, standardise: bool, standardise_target: bool, intercept: bool
) -> Dataset:
    columns = list(table.features)
    require_range(table.x, columns, "the feature")
    require_range(table.y, table.targets, "the target")
    x = _standardised(table.x) if standardise else table.x
    y = _standardised(y) if standardise_target else y
    if intercept:
        x = np.column_stack([x, np.ones(len(x))])
        columns.append("intercept" if "intercept" not in columns else "(intercept)")
    return Dataset(x, y, name=name, columns=columns, targets=table.targets)


def _standardised(values: np.ndarray) -> np.ndarray:
    varies = (values != values[0]).any(axis=0)  # the deviation of a constant column is seldom exactly 0
    centred, spread = values - values.mean(axis=0), values.std(axis=0)
    # Far from 0 the mean is rounded: what that leaves is seen from here, where the values are small.
    left = centred.mean(axis=0)
    centred = np.where(np.abs(left) > _DRIFT * spread, centred - left, centred)
    spread = np.where(np.abs(left) > _DRIFT * spread, centred.std(axis=0), spread)
    return np.where(varies, centred / np.where(varies, spread, 1.0), 0.0)
