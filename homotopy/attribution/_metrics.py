"""How good is an attribution? Datamodelling score, removal and addition curves, detection of wrong labels, ranks.

Every function takes scores (n,), larger = more valuable to the utility (a Shapley value is one; of an influence on a
loss, the value is + the rise when the point is removed).
"""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import scipy.stats
from jaxtyping import Bool, Float, Int

from .._arrays import as_floats
from .._checks import Number, Values, Whole, as_array, flag, number, shown, whole
from .._errors import RequestError
from .._statistics import bootstrap, rank_correlation
from ._shapley import Value, evaluate


@dataclass(frozen=True)
class DatamodellingScore:
    """Rank correlation `score` of `predicted` (m,) and `actual` (m,) utilities of random subsets (Park et al. 2023).

    `interval` is a percentile bootstrap over subsets at `level`. Made by `linear_datamodelling_score`, which raises.

    Example (continues the package's):

        >>> value = lambda mask: float(np.arange(20.0)[mask].sum())
        >>> score = linear_datamodelling_score(np.arange(20.0), value, subsets=50)
        >>> print(round(score.score, 3), score.predicted.shape, score.actual.shape)
        1.0 (50,) (50,)
    """

    score: float
    interval: tuple[float, float]
    level: float
    predicted: Float[np.ndarray, " m"]
    actual: Float[np.ndarray, " m"]

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"linear datamodelling score {self.score:+.3f} [{low:+.3f}, {high:+.3f}] ({100 * self.level:.0f} %, "
            f"{len(self.actual)} subsets)"
        )


def linear_datamodelling_score(
    scores: Annotated[Values, "*m n"],
    value: Value | None,
    *,
    subsets: int = 100,
    fraction: float = 0.5,
    seed: int = 0,
    level: float = 0.95,
    vectorised: bool = False,
    actual: Annotated[Values, "m"] | None = None,
) -> DatamodellingScore:
    """Spearman's ρ between Σ_{i∈S} scores_i and v(S) over random S of `fraction`·n points (Park et al. 2023, LDS).

    `value` as in `exact_shapley`. `actual` (subsets,) are the v(S) of `datamodelling_subsets` with the same seed, when
    they are known already: one set of retrainings judges many scores. The interval is a percentile bootstrap. `scores`
    are (n,), + = the point raises v. Raises `RequestError` for shapes and options that do not fit, `WorkError` where v
    is not finite.

    Example (continues the package's):

        >>> value = lambda mask: float(np.arange(20.0)[mask].sum())
        >>> print(round(linear_datamodelling_score(np.arange(20.0), value, subsets=50).score, 3))
        1.0
    """
    scores = _scores(scores)
    if not 0 < number(level, "level") < 1:
        raise RequestError(f"level must lie between 0 and 1, but is {level}")
    masks = datamodelling_subsets(len(scores), subsets=subsets, fraction=fraction, seed=seed)
    if (value is None) == (actual is None):
        raise RequestError("either value or actual must be given: what to train, or the values already found")
    found = np.asarray(as_floats(actual, "actual")) if value is None else evaluate(value, masks, vectorised)
    if found.shape != (subsets,):
        raise RequestError(f"actual must have one value per subset ({subsets},), but has shape {found.shape}")
    predicted = masks @ scores
    rho = bootstrap(lambda i: _agreement(predicted[i], found[i]), subsets, level=level, seed=[seed, 1])
    return DatamodellingScore(rho.value, (rho.low, rho.high), level, predicted, found)


def datamodelling_subsets(
    n: Whole, *, subsets: Whole = 100, fraction: Number = 0.5, seed: Whole = 0
) -> Bool[np.ndarray, "m n"]:
    """The random subsets (subsets, n), boolean, of `linear_datamodelling_score` (Park et al. 2023).

    Each holds `fraction`·n points. Raises `RequestError` where that leaves none or all, and for fewer than 3 subsets.

    Example (continues the package's):

        >>> masks = datamodelling_subsets(20, subsets=50)
        >>> print(masks.shape, masks[0].sum())
        (50, 20) 10
    """
    n, subsets, seed = whole(n, "n", 2, 10**9), whole(subsets, "subsets", 3, 10**9), whole(seed, "seed", 0)
    fraction = number(fraction, "fraction", least=0.0, most=1.0)
    size = round(fraction * n)
    if not 0 < size < n:
        raise RequestError(f"fraction must leave 1…{n - 1} of {n} points, but is {fraction}")
    rng = np.random.default_rng([seed, 0])
    masks = np.zeros((subsets, n), bool)
    for mask in masks:
        mask[rng.permutation(n)[:size]] = True
    return masks


def removal_curve(
    scores: Annotated[Values, "*m n"],
    value: Value,
    counts: Annotated[Values, "k"] | None = None,
    *,
    best_first: bool = True,
    vectorised: bool = False,
) -> tuple[Int[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """How many points are removed (k,), and v of the rest (k,), the most valuable first (or last: `best_first=False`).

    Removing valuable points first should make v fall fast; equal scores keep the order of the rows. `scores` (n,),
    + = valuable; `value` as in `exact_shapley`. Raises `RequestError` for counts outside 0…n. Ghorbani and Zou 2019.

    Example (continues the package's):

        >>> counts, values = removal_curve(np.arange(20.0), lambda mask: float(np.arange(20.0)[mask].sum()), counts=[0, 5, 10])
        >>> print(counts, values)
        [ 0  5 10] [190. 105.  45.]
    """
    return _curve(scores, value, counts, best_first, vectorised, keep=False)


def addition_curve(
    scores: Annotated[Values, "*m n"],
    value: Value,
    counts: Annotated[Values, "k"] | None = None,
    *,
    best_first: bool = True,
    vectorised: bool = False,
) -> tuple[Int[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """How many points are in (k,), and v of them (k,), the most valuable first: v should rise fast.

    Arguments, errors (raises as it does) and source as in `removal_curve` (Ghorbani and Zou 2019).

    Example (continues the package's):

        >>> counts, values = addition_curve(np.arange(20.0), lambda mask: float(np.arange(20.0)[mask].sum()), counts=[0, 5, 10])
        >>> print(counts, values)
        [ 0  5 10] [  0.  85. 145.]
    """
    return _curve(scores, value, counts, best_first, vectorised, keep=True)


def _curve(scores, value, counts, best_first, vectorised, *, keep):
    scores = _scores(scores)
    n = len(scores)
    flag(best_first, "best_first")
    counts = np.arange(n + 1) if counts is None else as_array(counts)
    if counts.ndim != 1 or counts.dtype.kind not in "iu" or counts.size == 0 or counts.min() < 0 or counts.max() > n:
        raise RequestError(f"counts must be whole numbers in 0…{n}, but are {shown(counts)}")
    order = np.argsort(-scores if best_first else scores, kind="stable")
    rank = np.empty(n, int)
    rank[order] = np.arange(n)
    first = rank[None, :] < counts[:, None]
    return counts, evaluate(value, first if keep else ~first, vectorised)


def mislabel_auc(scores: Annotated[Values, "*m n"], wrong: Annotated[Values, "n"]) -> float:
    """Area under the ROC curve of finding the points `wrong` (n,) (boolean) by their low `scores` (n,).

    1 = all at the bottom, 0.5 = chance (Mann–Whitney 1947, ties count half). Raises `RequestError` for shapes that do
    not fit, and where none or all are wrong.

    Example (continues the package's):

        >>> mislabel_auc([0.1, 0.9, 0.8, 0.7], [True, False, False, False])
        1.0
    """
    scores = _scores(scores)
    wrong = as_array(wrong)
    if wrong.shape != scores.shape or wrong.dtype != bool:
        raise RequestError(f"wrong must be a boolean mask {scores.shape}, but has shape {wrong.shape} of {wrong.dtype}")
    bad, good = int(wrong.sum()), int((~wrong).sum())
    if bad == 0 or good == 0:
        raise RequestError(f"wrong must mark some points and not all, but marks {bad} of {len(wrong)}")
    ranks = scipy.stats.rankdata(-scores)
    return float((ranks[wrong].sum() - bad * (bad + 1) / 2) / (bad * good))


def rank_agreement(scores: Annotated[Values, "*m n"], reference: Annotated[Values, "n"]) -> float:
    """Spearman's ρ of two attributions (n,) of the same points; 0 where one of them is constant.

    Spearman 1904. Raises `RequestError` for lengths that differ.

    Example (continues the package's):

        >>> print(round(rank_agreement([0.1, 0.2, 0.3], [1.0, 5.0, 9.0]), 6))
        1.0
    """
    scores, reference = _scores(scores), _scores(reference)
    if scores.shape != reference.shape:
        raise RequestError(
            f"scores and reference must have the same length, but have {len(scores)} and {len(reference)}"
        )
    return _agreement(scores, reference)


def _agreement(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's ρ, 0 where a side is constant: it then agrees with nothing."""
    return float(np.nan_to_num(rank_correlation(first, second)))


def _scores(scores: Any) -> np.ndarray:
    array = np.asarray(as_floats(scores, "scores"))
    if array.ndim != 1 or len(array) < 2:
        raise RequestError(f"scores must have shape (n ≥ 2,), one per point, but has {array.shape}")
    return array
