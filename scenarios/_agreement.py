"""How well predicted numbers agree with actual ones: slope, Pearson's r and Spearman's ρ, with intervals; a scatter."""

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from scipy.stats import rankdata

from homotopy._statistics import Interval, bootstrap
from homotopy.viz import MUTED

STATISTICS = ("slope", "Pearson", "Spearman")


def compare(predicted: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """Slope of the least-squares line actual = a + slope·predicted, Pearson's r and Spearman's ρ, along the last axis.

    Returns (…, 3); NaN where either side does not vary.
    """
    ranks = rankdata(predicted, axis=-1), rankdata(actual, axis=-1)
    slope, pearson = _regression(predicted, actual)
    return np.stack([slope, pearson, _regression(*ranks)[1]], axis=-1)


def _regression(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, y = x - x.mean(axis=-1, keepdims=True), y - y.mean(axis=-1, keepdims=True)
    both, own_x, own_y = (x * y).sum(axis=-1), (x * x).sum(axis=-1), (y * y).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = np.where(own_x > 0, both / own_x, np.nan)
        return slope, np.where((own_x > 0) & (own_y > 0), both / np.sqrt(own_x) / np.sqrt(own_y), np.nan)


def intervals(predicted: np.ndarray, actual: np.ndarray, level: float) -> Interval:
    """The three statistics (…, 3) of `predicted` and `actual` (…, sets), with the ends of their intervals."""
    return bootstrap(lambda rows: compare(predicted[..., rows], actual[..., rows]), predicted.shape[-1], level=level)


def of_all(predicted: np.ndarray, actual: np.ndarray, level: float) -> np.ndarray:
    """Every column of `predicted` (sets, p) against every one of `actual` (sets, t): (p, t, 3 statistics, 3), the last axis
    value, lower and upper end; NaN below four sets that have both numbers."""
    found = np.full((predicted.shape[1], actual.shape[1], len(STATISTICS), 3), np.nan)
    alike: dict[bytes, list[tuple[int, int]]] = {}  # pairs that have the same sets are drawn together
    for p, t in product(*map(range, found.shape[:2])):
        good = np.isfinite(predicted[:, p]) & np.isfinite(actual[:, t])
        if good.sum() >= 4 and np.ptp(predicted[good, p]) > 0 and np.ptp(actual[good, t]) > 0:
            alike.setdefault(good.tobytes(), []).append((p, t))
    for mask, pairs in alike.items():
        good, (ps, ts) = np.frombuffer(mask, bool), map(list, zip(*pairs, strict=True))
        found[ps, ts] = np.stack(intervals(predicted[good][:, ps].T, actual[good][:, ts].T, level), axis=-1)
    return found


def scatter(ax: Axes, predicted: np.ndarray, actual: Mapping[str, tuple[np.ndarray, float, str]]) -> None:
    """`predicted` (sets,) across, and up each of `actual`: name → values (sets,), Pearson's r, colour."""
    for place, (name, (values, pearson, color)) in enumerate(actual.items()):
        marker = "o+x"[place]
        ax.plot(predicted, values, marker, ms=4.5 if marker == "o" else 5, color=color, alpha=0.75, mew=1.1)
        style: dict[str, Any] = {"color": color, "fontsize": 9, "va": "top", "transform": ax.transAxes}
        ax.text(0.04, 0.95 - 0.1 * place, f"{name} r {pearson:.3f}", **style)
    # The actual changes set the scale: one wild prediction must not make all the others one dot.
    all_actual = np.concatenate([values for values, _, _ in actual.values()])
    centre = 0.5 * (np.nanmax(all_actual) + np.nanmin(all_actual))
    reach = 1.5 * (np.nanmax(all_actual) - np.nanmin(all_actual))
    both = np.clip(np.append(all_actual, predicted), centre - reach, centre + reach)
    low, high = np.nanmin(both), np.nanmax(both)
    margin = 0.08 * (high - low) or 1.0
    if outside := int(np.sum(np.abs(predicted - centre) > reach)):
        ax.text(0.97, 0.04, f"{outside} outside", ha="right", fontsize=8, color=MUTED, transform=ax.transAxes)
    ax.plot([low, high], [low, high], "--", color=MUTED, lw=1.0, zorder=0)
    ax.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin))
    ax.ticklabel_format(style="sci", scilimits=(-2, 3))
    ax.tick_params(labelsize=8)
    ax.locator_params(nbins=4)
