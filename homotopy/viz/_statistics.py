"""Pictures of many runs: bands over draws, bars with intervals, the share beyond a value."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.legend import Legend

from ._axes import SERIES, axes


def plot_band(
    x: Any, draws: Any, ax: Axes | None = None, *, quantiles: tuple[float, float, float] = (0.1, 0.5, 0.9),
    color: str = SERIES[0], label: str | None = None, style: str = "o-",
) -> Axes:  # fmt: skip
    """The middle quantile of `draws` (k, draws) against `x` (k,) as a line, and the outer two as a band around it.

    Draws that are NaN (runs that failed) are left out; where none is left, the curve has a gap.
    """
    ax = axes(ax)
    draws = np.asarray(draws, dtype=float)
    known = np.isfinite(draws).any(axis=1)
    low, middle, high = np.full((3, len(draws)), np.nan)
    low[known], middle[known], high[known] = np.nanquantile(draws[known], quantiles, axis=1)
    ax.plot(x, middle, style, color=color, lw=1.7, ms=4, label=label)
    ax.fill_between(x, low, high, color=color, alpha=0.15, lw=0)
    return ax


def plot_bars(
    groups: Sequence[str], bars: Mapping[str, Any], ax: Axes | None = None, *,
    intervals: Mapping[str, tuple[Any, Any]] | None = None, colors: Sequence[str] = SERIES,
) -> Axes:  # fmt: skip
    """For every name in `groups` one bar of each of `bars` (name → values, one a group), side by side.

    `intervals` (name → lower and upper ends) are drawn as whiskers.
    """
    ax = axes(ax)
    width = 0.8 / len(bars)
    for index, (name, values) in enumerate(bars.items()):
        values = np.asarray(values, dtype=float)
        at = np.arange(len(groups)) + (index - 0.5 * (len(bars) - 1)) * width
        ends = None if intervals is None or name not in intervals else intervals[name]
        whiskers = None if ends is None else np.maximum([values - ends[0], np.asarray(ends[1]) - values], 0.0)
        ax.bar(at, values, width, color=colors[index % len(colors)], label=name, yerr=whiskers, capsize=3)
    ax.set_xticks(np.arange(len(groups)), groups)
    return ax


def plot_stacked(
    groups: Sequence[str], shares: Mapping[str, Any], ax: Axes | None = None, *, written: float = 0.06,
    colors: Sequence[str] = SERIES,
) -> Axes:  # fmt: skip
    """For every name in `groups` one bar, made of `shares` (name → values, one a group); those above `written` say it."""
    ax = axes(ax)
    bottom = np.zeros(len(groups))
    for index, (name, values) in enumerate(shares.items()):
        values = np.asarray(values, dtype=float)
        bars = ax.bar(
            np.arange(len(groups)), values, 0.75, bottom=bottom, label=name, color=colors[index % len(colors)]
        )
        labels = [f"{value:.0%}" if value > written else "" for value in values]
        ax.bar_label(bars, labels, label_type="center", fontsize=8, color="white")
        bottom = bottom + values
    ax.set_xticks(np.arange(len(groups)), groups)
    return ax


def plot_interval(x: Any, interval: Any, ax: Axes | None = None, *, color: str = SERIES[0], **style: Any) -> Axes:
    """Points at `x` with whiskers, `interval` = (value, low, high), numbers or arrays; those that are not finite are left out."""
    ax = axes(ax)
    x, value, low, high = (np.atleast_1d(np.asarray(part, dtype=float)) for part in (x, *interval))
    known = np.isfinite([value, low, high]).all(axis=0)
    whiskers = np.maximum([value - low, high - value], 0.0)[:, known]
    defaults: dict[str, Any] = {"fmt": "o", "ms": 4.5, "lw": 1.3, "capsize": 2.5}
    ax.errorbar(x[known], value[known], whiskers, color=color, **(defaults | style))
    return ax


def plot_exceedance(values: Any, ax: Axes | None = None, *, color: str = SERIES[0], label: str | None = None) -> Axes:
    """The share of `values` (k,) that are at least x, against x."""
    ax = axes(ax)
    x = np.sort(np.asarray(values, dtype=float))
    ax.plot(x, 1.0 - np.arange(len(x)) / len(x), drawstyle="steps-pre", color=color, lw=1.6, label=label)
    return ax


def legend_below(ax: Axes, columns: int = 2) -> Legend:
    """The legend under the horizontal axis, where it hides nothing."""
    return ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=columns, frameon=False)
