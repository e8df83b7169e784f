"""Effect sizes with intervals, the rules that read them, and how they are written.

Intervals are of 95 %: Wilson's for a share, order statistics for a median, a bootstrap (of clusters) for a correlation.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .. import _statistics
from .._errors import RequestError
from ._hypothesis import Rule, Verdict


def share(hits: Any) -> dict[str, Any]:
    """How many of `hits` (booleans) are true: count, of, share, and Wilson's interval low…high."""
    hits = np.asarray(hits, dtype=bool).ravel()
    found = _statistics.wilson(int(hits.sum()), hits.size)
    return {"count": int(hits.sum()), "of": hits.size, "share": found.value, "low": found.low, "high": found.high}


def median(values: Any) -> dict[str, Any]:
    """The median of `values` with the interval that order statistics give, whatever the distribution."""
    values = np.asarray(values, dtype=float).ravel()
    found = _statistics.median(values)
    return {"median": found.value, "of": values.size, "low": found.low, "high": found.high}


def correlation(x: Any, y: Any, clusters: Any = None, seed: int = 0) -> dict[str, Any]:
    """Spearman's rank correlation with a bootstrap interval: whole `clusters` (one label per pair), then pairs within."""
    x, y = np.asarray(x, dtype=float).ravel(), np.asarray(y, dtype=float).ravel()
    rho = _statistics.bootstrap(
        lambda rows: _statistics.rank_correlation(x[rows], y[rows]), x.size, clusters=clusters, seed=seed
    )
    low, high = (rho.low, rho.high) if x.size > 2 and math.isfinite(rho.low) else (-1.0, 1.0)  # nothing is excluded
    return {"correlation": float(rho.value), "of": x.size, "low": float(low), "high": float(high)}


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


def majority(key: str) -> Callable[[Mapping[str, Any]], Verdict]:
    """holds if the share `evidence[key]` is above one half, fails if it is below, both with 95 % confidence."""

    def decide(evidence: Mapping[str, Any]) -> Verdict:
        found = evidence[key]
        return "holds" if found["low"] > 0.5 else "fails" if found["high"] < 0.5 else "depends"

    return decide


def once(key: str, then: Verdict, otherwise: Verdict) -> Callable[[Mapping[str, Any]], Verdict]:
    """`then` if the share `evidence[key]` counts one instance at least."""
    return lambda evidence: then if evidence[key]["count"] else otherwise


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
