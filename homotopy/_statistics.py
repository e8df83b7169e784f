"""Estimates with their intervals: one of each kind, for results, claims and scenarios alike.

An interval of level q holds the truth in a share q of repetitions: Wilson's for a share, order statistics for a median,
Student's t for a mean, the percentile bootstrap (of rows, of whole clusters, of crossed factors) for everything else.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ._errors import RequestError

LEVEL = 0.95
RESAMPLES = 1000


class Interval(NamedTuple):
    """An estimate and the ends of its interval: numbers, or arrays of one shape."""

    value: Any
    low: Any
    high: Any


NOTHING = Interval(math.nan, math.nan, math.nan)  # of no rows


def wilson(hits: int, of: int, *, level: float = LEVEL) -> Interval:
    """Wilson's score interval of the share `hits`/`of`; (nan, 0, 1) of nothing."""
    from scipy.stats import binomtest

    if of == 0:
        return Interval(math.nan, 0.0, 1.0)
    found = binomtest(int(hits), int(of)).proportion_ci(level, method="wilson")
    return Interval(hits / of, float(found.low), float(found.high))


def median(values: Any, *, level: float = LEVEL) -> Interval:
    """The median of `values` with the interval that order statistics give, whatever the distribution; NaN if one is."""
    from scipy.stats import binom

    values = np.sort(np.asarray(values, dtype=float).ravel())
    n = values.size
    if n == 0 or np.isnan(values).any():
        return NOTHING
    low = max(int(binom.ppf((1 - level) / 2, n, 0.5)) - 1, 0)
    return Interval(float(np.median(values)), float(values[low]), float(values[n - 1 - low]))


def mean(values: Any, *, level: float = LEVEL) -> Interval:
    """The mean over the first axis of `values` (k, …) with Student's t interval; of one row alone its ends are NaN."""
    from scipy.stats import t

    values = np.asarray(values, dtype=float)
    centre, k = values.mean(axis=0), len(values)
    if k < 2:
        return Interval(centre, np.full_like(centre, np.nan)[()], np.full_like(centre, np.nan)[()])
    half = t.ppf((1 + level) / 2, k - 1) * values.std(axis=0, ddof=1) / math.sqrt(k)
    return Interval(centre, centre - half, centre + half)


def rank_correlation(x: Any, y: Any) -> Any:
    """Spearman's ρ along the last axis; NaN where one of the two is constant."""
    from scipy.stats import rankdata

    a, b = (rankdata(np.asarray(values, dtype=float), axis=-1) for values in (x, y))
    a, b = a - a.mean(axis=-1, keepdims=True), b - b.mean(axis=-1, keepdims=True)
    size = np.sqrt((a * a).sum(axis=-1) * (b * b).sum(axis=-1))
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(size > 0, (a * b).sum(axis=-1) / size, np.nan)
    return float(found) if found.ndim == 0 else found


def bootstrap(
    statistic: Callable[..., Any],
    *counts: int,
    clusters: Any = None,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int | list[int] = 0,
) -> Interval:
    """`statistic` of all rows, with its percentile bootstrap interval.

    `statistic(*rows)` is handed one array of row numbers for each of `counts` and gives back a number or an array:

        bootstrap(lambda i: np.median(values[i]), len(values))
        bootstrap(lambda i, j: table[i][:, j].mean(), *table.shape)      # crossed factors: drawn independently of each other

    `clusters` (count,) labels the rows of a single count that are not independent: whole clusters are drawn, then rows
    within each. Draws for which the statistic is not finite are left out, component by component; where none is left, and
    where the estimate itself is not finite, the ends are NaN.
    """
    if clusters is not None and (len(counts) != 1 or np.size(clusters) != counts[0]):
        raise RequestError(
            f"clusters must label the rows of one count, but {np.size(clusters)} labels are given for {counts}"
        )
    if min(counts, default=0) == 0:
        return NOTHING
    rng = np.random.default_rng(seed)
    value = np.asarray(statistic(*(np.arange(count) for count in counts)), dtype=float)
    members = None
    if clusters is not None:
        labels = np.asarray(clusters).ravel()
        members = [np.flatnonzero(labels == label) for label in np.unique(labels)]

    def draw() -> list[np.ndarray]:
        if members is None:
            return [rng.integers(count, size=count) for count in counts]
        chosen = [members[k] for k in rng.integers(len(members), size=len(members))]
        return [np.concatenate([rows[rng.integers(len(rows), size=len(rows))] for rows in chosen])]

    drawn = np.stack([np.asarray(statistic(*draw()), dtype=float) for _ in range(resamples)])
    drawn[~np.isfinite(drawn)] = np.nan
    known = np.isfinite(value) & np.isfinite(drawn).any(axis=0)
    ends = np.full((2, *value.shape), np.nan)
    ends[:, known] = np.nanquantile(drawn[:, known], [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Interval(value, *ends) if value.ndim else Interval(float(value), float(ends[0]), float(ends[1]))
