"""Data sets: synthetic ones, real ones that ship with a package, and the user's own CSV file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .._checks import Choice, Flag, Number, Whole, choice, flag, number, whole
from .._errors import RequestError
from ._dataset import Dataset
from ._read_csv import read_columns

_SCIKIT_LEARN = {"diabetes": True, "breast_cancer": False, "wine": False, "digits": False, "iris": False}
_STATSMODELS = {"stackloss": "STACKLOSS", "longley": "TOTEMP"}
_MOST = 10**7  # of points, features or neurons that are made up
NAMES = (*_SCIKIT_LEARN, *_STATSMODELS)


def random_linear(n: Whole = 20, d: Whole = 2, noise: Number = 0.5, seed: Whole = 0) -> Dataset:
    """y = Xθ + noise·ξ with X (n, d), θ and ξ standard normal."""
    n, d, seed = whole(n, "n", 2, _MOST), whole(d, "d", 1, _MOST), whole(seed, "seed", 0)
    noise = number(noise, "noise", least=0.0)
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d))
    theta = rng.standard_normal(d)
    return Dataset(x, x @ theta + noise * rng.standard_normal(n), name=f"random_linear(n={n}, d={d}, seed={seed})")


def teacher_student(n: Whole = 20, width: Whole = 3, noise: Number = 0.1, seed: Whole = 0) -> Dataset:
    """y_i = f(x_i) + ξ_i with f a one-hidden-layer tanh network of `width` neurons, x_i uniform on [−2, 2] (sorted) and
    ξ_i ~ N(0, noise²): the set-up of the notes' Figure 3. The noiseless f is `teacher(width, seed)`."""
    n, width, seed = whole(n, "n", 2, _MOST), whole(width, "width", 1, _MOST), whole(seed, "seed", 0)
    noise = number(noise, "noise", least=0.0)
    rng = np.random.default_rng([seed, 1])
    x = np.sort(rng.uniform(-2.0, 2.0, n))
    y = teacher(width, seed)(x) + noise * rng.standard_normal(n)
    return Dataset(x[:, None], y, name=f"teacher_student(n={n}, width={width}, seed={seed})")


def teacher(width: int = 3, seed: int = 0):
    """The target function x ↦ Σ_k a_k tanh(w_k x + b_k) of `teacher_student`: slopes of both signs in [1, 3], kinks
    spread over [−2, 2], so that the function is neither flat nor linear on the data."""
    rng = np.random.default_rng([seed, 0])
    slope = rng.uniform(1.0, 3.0, width) * rng.choice([-1.0, 1.0], width)
    bias = -slope * rng.uniform(-1.5, 1.5, width)
    height = rng.uniform(0.5, 1.5, width) * rng.choice([-1.0, 1.0], width)
    return lambda x: np.tanh(np.asarray(x)[..., None] * slope + bias) @ height


def load(name: Choice, *, standardise: Flag = True, intercept: Flag = False) -> Dataset:
    """A real data set: diabetes, breast_cancer, wine, digits, iris (scikit-learn); stackloss, longley (statsmodels).

    `standardise` brings every feature, and the target of a regression set, to mean 0 and variance 1 (constant columns
    to 0); labels stay 0, 1, …; `intercept` appends a column of ones. Needs the extra `homotopy[data]`.
    """
    choice(name, "data set", NAMES)
    flag(standardise, "standardise"), flag(intercept, "intercept")
    try:
        x, y, regression = _load_statsmodels(name) if name in _STATSMODELS else _load_scikit_learn(name)
    except ImportError as error:
        raise RequestError(
            f"data set {name!r} ships with {error.name}, which is not installed; pip install 'homotopy[data]'"
        ) from None
    return _prepare(x, y, name, standardise, standardise and regression, intercept)


def read_csv(
    path: str | Path,
    *,
    target: str | Sequence[str],
    features: Sequence[str] | None = None,
    standardise: bool = False,
    standardise_target: bool = False,
    intercept: bool = False,
    delimiter: str = ",",
) -> Dataset:
    """The user's own table: a text file whose first line names the columns.

    `target` names the column y (or several); x is `features`, or every other column. `standardise`,
    `standardise_target` and `intercept` as in `load`. Raises `RequestError`, naming line and column, on a missing
    or non-numeric value, a missing column, or a name used twice.
    """
    targets = [target] if isinstance(target, str) else list(target)
    if not targets:
        raise RequestError("target must name at least one column, but is empty")
    for name in features or []:
        if name in targets or list(features or []).count(name) > 1:
            raise RequestError(f"features must name each column once and not the target, but names {name!r}")
    if len(delimiter) != 1:
        raise RequestError(f"delimiter must be one character, but is {delimiter!r}")
    names, values = read_columns(path, delimiter, needed=targets + list(features or []), only=features, also=targets)
    chosen = [name for name in names if name not in targets] if features is None else list(features)
    if not chosen:
        raise RequestError(f"{path}: no feature is left beside the target {targets}; the file has columns {names}")
    x = np.column_stack([values[name] for name in chosen])
    y = np.column_stack([values[name] for name in targets])
    y = y[:, 0] if isinstance(target, str) else y
    return _prepare(x, y, Path(path).stem, standardise, standardise_target, intercept)


def _load_scikit_learn(name: str) -> tuple[np.ndarray, np.ndarray, bool]:
    import sklearn.datasets  # a late import: it takes seconds

    x, y = getattr(sklearn.datasets, f"load_{name}")(return_X_y=True)
    return x, y, _SCIKIT_LEARN[name]


def _load_statsmodels(name: str) -> tuple[np.ndarray, np.ndarray, bool]:
    import importlib

    table = importlib.import_module(f"statsmodels.datasets.{name}").load_pandas().data
    target = _STATSMODELS[name]
    return table.drop(columns=target).to_numpy(dtype=float), table[target].to_numpy(dtype=float), True


def _prepare(x, y, name: str, standardise: bool, standardise_target: bool, intercept: bool) -> Dataset:
    x = _standardised(x) if standardise else x
    y = _standardised(y) if standardise_target else y
    if intercept:
        x = np.column_stack([x, np.ones(len(x))])
    return Dataset(x, y, name=name)


def _standardised(values: np.ndarray) -> np.ndarray:
    centred, spread = values - values.mean(axis=0), values.std(axis=0)
    varies = spread > 1e-12 * np.abs(values).max(axis=0)  # the deviation of a constant column is seldom exactly 0
    return np.where(varies, centred / np.where(varies, spread, 1.0), 0.0)
