"""The five pictures of a claim. Each holds the numbers that it shows, and draws itself on an Axes: `picture(ax)`.

Shares           share by stratum, with its interval (or what parts it is made of)
Ratios           every value of each group on a log axis, and the medians
Correlation      one number against another, with ρ and its interval, or against what a formula says
Curves           medians and quantile bands along an axis
CounterExample   the numbers of one instance
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._evidence import in_words, number

SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9")
INK, MUTED = "#222222", "#8A8A8A"
_SMALL, _TITLE = 8, 9.5  # points
_ROW = 0.19  # inches of a row of text


@dataclass(frozen=True)
class Shares:
    """Bars of a `share` (or `median` of shares) for each stratum, or of a share made up of named `parts` that sum to 1."""

    strata: Mapping[str, Mapping[str, Any]]
    label: str
    title: str
    line: float | None = None

    @property
    def height(self) -> float:
        """Inches that the names of the strata need."""
        return _ROW * sum(1 + name.count("\n") for name in self.strata) + 1.0

    def __call__(self, ax: Any) -> None:
        """Bars from the first stratum at the top; the parts of a bar get a legend above."""
        at = np.arange(len(self.strata))
        found = list(self.strata.values())
        if found and "of" in found[0]:
            values = np.array([next(entry[k] for k in ("share", "median") if k in entry) for entry in found])
            ends = [[entry[end] for entry in found] for end in ("low", "high")]
            ax.barh(at, np.nan_to_num(values), color=SERIES[0], alpha=0.75)
            ax.hlines(at, *ends, color=INK, lw=1.2)
            names = [f"{name}  ({entry['of']})" for name, entry in self.strata.items()]
        else:
            done = np.zeros(len(found))
            for part, color in zip(found[0] if found else (), SERIES, strict=False):
                values = np.array([entry[part] for entry in found])
                ax.barh(at, values, left=done, color=color, label=part)
                done = done + values
            ax.legend(fontsize=_SMALL, ncols=3, loc="lower center", bbox_to_anchor=(0.3, 1.0), frameon=False)
            names = list(self.strata)
        ax.set_yticks(at, names, fontsize=_SMALL)
        ax.set(xlabel=self.label, xlim=(0, 1), ylim=(len(at) - 0.4, -0.6))
        if self.line is not None:
            ax.axvline(self.line, color=SERIES[1], lw=1)
        ax.set_title(self.title, fontsize=_TITLE)


@dataclass(frozen=True)
class Ratios:
    """Strips of the `groups`' values (of several series in each, where the values are mappings) with their medians.

    Values beyond `limits` are drawn at their ends; `line` marks where nothing is gained.
    """

    groups: Mapping[str, Any]
    label: str
    title: str
    limits: tuple[float, float] = (1e-16, 1e16)
    line: float | None = None

    def __call__(self, ax: Any) -> None:
        """Groups from the top; a dot a value, a bar the median."""
        several = any(isinstance(values, Mapping) for values in self.groups.values())
        for k, values in enumerate(self.groups.values()):
            series = values if several else {"": values}
            room = 0.8 / len(series)
            for j, (color, (name, shown)) in enumerate(zip(SERIES, series.items(), strict=False)):
                shown = np.clip(np.asarray(shown, dtype=float).ravel(), *self.limits)
                middle = k - 0.4 + (j + 0.5) * room
                spread = np.random.default_rng(k).uniform(-0.35, 0.35, shown.size) * room
                label = name if several and k == 0 else None
                ax.semilogx(shown, middle + spread, ".", ms=4, alpha=0.5, color=color, label=label)
                if shown.size:
                    ax.plot([np.median(shown)] * 2, [middle - room / 2, middle + room / 2], "-", color=INK, lw=2)
        if self.line is not None:
            ax.axvline(self.line, color=MUTED, lw=1, ls="--")
        ax.set_yticks(range(len(self.groups)), list(self.groups), fontsize=_SMALL)
        ax.set(xlabel=self.label, ylim=(len(self.groups) - 0.4, -0.6))
        ax.set_title(self.title, fontsize=_TITLE)
        if several:
            ax.legend(fontsize=_SMALL)


@dataclass(frozen=True)
class Correlation:
    """`y` against `x`, a dot a row: on logarithmic axes with what is below `floor` drawn there, or on plain ones (None).

    `rho` is a `correlation`, told in the title; `formula` a function of x that is drawn through ("the diagonal" is
    `np.asarray`), `named` in the legend; `level` a horizontal line, (where, name).
    """

    x: Any
    y: Any
    labels: tuple[str, str]
    title: str = ""
    floor: float | None = None
    rho: Mapping[str, Any] | None = None
    formula: Any = None
    named: str = ""
    level: tuple[float, str] | None = None

    def __call__(self, ax: Any) -> None:
        """Dots, then the formula, then the level."""
        x, y = (np.asarray(values, dtype=float) for values in (self.x, self.y))
        if self.floor is not None:
            x, y = np.maximum(x, self.floor), np.maximum(y, self.floor)
            ax.set(xscale="log", yscale="log")
        ax.plot(x, y, ".", color=SERIES[0], ms=4, alpha=0.6)
        if self.formula is not None:
            along = np.sort(x)
            ax.plot(along, self.formula(along), "-", color=INK, lw=1, label=self.named or None)
        if self.level is not None:
            ax.axhline(self.level[0], color=SERIES[1], lw=1, ls="--", label=self.level[1])
        if self.named or self.level is not None:
            ax.legend(fontsize=_SMALL)
        ax.set(xlabel=self.labels[0], ylabel=self.labels[1])
        said = "" if self.rho is None else f"Spearman {in_words(self.rho)}"
        ax.set_title("; ".join(filter(None, (self.title, said))), fontsize=_TITLE)


@dataclass(frozen=True)
class Curves:
    """Medians along `x` (k,) of the rows (rows, k) of each series, in bands of their `quantiles`.

    `log` names the axes that are logarithmic; `ticks` replaces the numbers of the x-axis; `level` is a horizontal line.
    """

    x: Any
    series: Mapping[str, Any]
    labels: tuple[str, str]
    title: str
    quantiles: tuple[float, float] = (0.25, 0.75)
    log: str = "xy"
    floor: float = 1e-16
    ticks: tuple[str, ...] = ()
    level: float | None = None

    def __call__(self, ax: Any) -> None:
        """A band, a line and a legend entry for each series."""
        low, high = self.quantiles
        for color, (name, rows) in zip(SERIES, self.series.items(), strict=False):
            if len(rows):
                values = np.quantile(
                    np.maximum(rows, self.floor) if "y" in self.log else rows, [low, 0.5, high], axis=0
                )
                ax.fill_between(self.x, values[0], values[2], color=color, alpha=0.2, lw=0)
                ax.plot(self.x, values[1], "o-", ms=4, color=color, label=name)
        if self.level is not None:
            ax.axhline(self.level, color=MUTED, lw=1, ls="--")
        ax.set(xlabel=self.labels[0], ylabel=self.labels[1], **{f"{axis}scale": "log" for axis in self.log})
        if self.ticks:
            ax.set_xticks(self.x, self.ticks)
            ax.set_xticks([], minor=True)
        ax.set_title(self.title, fontsize=_TITLE)
        ax.legend(fontsize=_SMALL, title=f"median, {low:.0%} to {high:.0%}", title_fontsize=_SMALL)


@dataclass(frozen=True)
class CounterExample:
    """The numbers `shown` of one instance (an `example` of a `Finding`), a bar each, and which instance it is."""

    example: Mapping[str, Any]
    shown: tuple[str, ...]
    label: str

    def __call__(self, ax: Any) -> None:
        """Bars with their numbers, and the seed."""
        values = [float(self.example[name]) for name in self.shown]
        ax.bar_label(ax.barh(range(len(values)), values, color=SERIES, height=0.5), map(number, values), padding=3)
        ax.set_yticks(range(len(values)), self.shown)
        ax.set(xlabel=self.label, ylim=(len(values) - 0.4, -0.6))
        ax.margins(x=0.2)
        where = ", ".join(
            f"{name} = {self.example[name]}" for name in ("seed", "d", "n", "deleted") if name in self.example
        )
        ax.set_title(f"{self.example['what']}: {where}", fontsize=_TITLE)
