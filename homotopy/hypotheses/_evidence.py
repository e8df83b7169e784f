"""Effect sizes with intervals, the rules that read them, and how they are written.

Intervals are of 95 %: Wilson's for a share, order statistics for a median, a bootstrap (of clusters) for a correlation.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from .._errors import RequestError
from ._hypothesis import Rule, Verdict

LEVEL = 0.95
_Z = 1.959963984540054
_RESAMPLES = 1000


def share(hits: Any) -> dict[str, Any]:
    """How many of `hits` (booleans) are true: count, of, share, and Wilson's interval low…high."""
    hits = np.asarray(hits, dtype=bool).ravel()
    n, k = hits.size, int(hits.sum())
    if n == 0:
        return {"count": 0, "of": 0, "share": math.nan, "low": 0.0, "high": 1.0}
    p, z2 = k / n, _Z**2
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    low = 0.0 if k == 0 else max(0.0, middle - half)
    return {"count": k, "of": n, "share": p, "low": low, "high": 1.0 if k == n else min(1.0, middle + half)}


def median(values: Any) -> dict[str, Any]:
    """The median of `values` with the interval that order statistics give, whatever the distribution."""
    from scipy.stats import binom

    values = np.sort(np.asarray(values, dtype=float).ravel())
    n = values.size
    if n == 0:
        return {"median": math.nan, "of": 0, "low": math.nan, "high": math.nan}
    low = max(int(binom.ppf((1 - LEVEL) / 2, n, 0.5)) - 1, 0)
    return {"median": float(np.median(values)), "of": n, "low": float(values[low]), "high": float(values[n - 1 - low])}


def correlation(x: Any, y: Any, clusters: Any = None, seed: int = 0) -> dict[str, Any]:
    """Spearman's rank correlation, with a bootstrap interval that resamples `clusters` (one label per pair) as wholes."""
    x, y = np.asarray(x, dtype=float).ravel(), np.asarray(y, dtype=float).ravel()
    groups = np.arange(x.size) if clusters is None else np.asarray(clusters).ravel()
    labels = np.unique(groups)
    members = [np.flatnonzero(groups == label) for label in labels]
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(_RESAMPLES if x.size > 2 else 0):
        rows = np.concatenate([members[k] for k in rng.integers(len(members), size=len(members))])
        if clusters is not None:  # two stages: clusters, then points within
            rows = rng.choice(rows, size=rows.size)
        drawn.append(rank_correlation(x[rows], y[rows]))
    found = np.array([value for value in drawn if math.isfinite(value)])
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if found.size else (-1.0, 1.0)
    value = rank_correlation(x, y)
    return {"correlation": value, "of": int(x.size), "low": float(low), "high": float(high)}


def rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's; NaN where one of them is constant."""
    from scipy.stats import rankdata

    a, b = rankdata(x), rankdata(y)
    a, b = a - a.mean(), b - b.mean()
    size = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / size if size > 0 else math.nan


# Rules --------------------------------------------------------------------------------------------------------------


def usually(key: str, *, above: float = 0.9, below: float = 0.1) -> Rule:
    """A claim about most instances: `evidence[key]` is a `share`."""
    if not 0 <= below <= above <= 1:
        raise RequestError(f"usually: 0 ≤ below ≤ above ≤ 1 is needed, but they are {below} and {above}")

    def decide(evidence: Mapping[str, Any]) -> Verdict:
        found = evidence[key]
        return "holds" if found["low"] >= above else "fails" if found["high"] <= below else "depends"

    return Rule(
        f"holds if at least {above:.0%} of the instances ({key}) agree, fails if at most {below:.0%} do, both with 95 % "
        "confidence; depends in between",
        decide,
    )


def within(key: str, tolerance: float) -> Rule:
    """A claim that something is exact: `evidence[key]` is the largest error."""
    return Rule(
        f"holds if the {key} is at most {tolerance:.0e}, fails otherwise",
        lambda evidence: "holds" if evidence[key] <= tolerance else "fails",
    )


# In words -----------------------------------------------------------------------------------------------------------


def in_words(value: Any) -> str:
    """A piece of evidence as a reader wants it: shares and medians with their intervals, numbers to three digits."""
    if isinstance(value, Mapping):
        if "share" in value:
            if not value["of"]:
                return "none tested"
            return (
                f"{value['count']} of {value['of']} ({_percent(value['share'])}, {_percent(value['low'])} to "
                f"{_percent(value['high'])})"
            )
        for name in ("median", "correlation"):
            if name in value:
                sign = "+" if name == "correlation" else ""
                low, high = (f"{number(value[end], sign)}" for end in ("low", "high"))
                return f"{number(value[name], sign)} ({low} to {high}, n = {value['of']})"
        return ", ".join(f"{name}: {in_words(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return "[" + ", ".join(in_words(item) for item in value) + "]"
    if isinstance(value, float | np.floating):
        return number(float(value))
    return str(value)


def number(value: float, sign: str = "") -> str:
    """Three digits, without a long tail of zeros."""
    if isinstance(value, str) or not math.isfinite(value):
        return str(value)
    return f"{value:{sign}.3g}"


def _percent(value: float) -> str:
    return f"{100 * value:.3g} %"
