"""Which points move the fit: leverage against studentised residual, with the contours of Cook's distance."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ._axes import FULL, INK, MUTED, RETAINED, axes

_NICE = np.array([a * 10.0**b for b in range(-6, 9) for a in (1, 2, 5)])
_CONTOURS = 3
_MANY = 2000  # points; beyond, they are pixels in the SVG too
# Where a label may stand beside its point, in points of print: the first place that is free is taken.
_TURNS = np.pi * np.array([0, 1, 0.25, 0.75, 1.25, 1.75, 0.5, 1.5])
_PLACES = [(r * np.cos(turn), r * np.sin(turn)) for r in (9, 16, 26) for turn in _TURNS]
_PAPER = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6}


def plot_leverage(
    leverage: np.ndarray,
    studentised: np.ndarray,
    p: float,
    ax: Axes | None = None,
    *,
    named: Sequence[int] | np.ndarray = (),
    infinite: np.ndarray | None = None,
    ylabel: str = "internally studentised residual",
) -> Axes:
    """Points at (h_i, t_i), n of each; on a contour Cook's distance t²h/((1 − h)p) is constant.

    The rows `named` are filled and carry their number. Rows without a t (leverage 1, perfect fit) stand at t = 0 as
    triangles, those of the mask `infinite` (θ → ∞ without them) are diamonds. Dashed: the usual cut-offs h = 2p/n and |t| = 2.
    """
    ax = axes(ax)
    h, t = np.asarray(leverage), np.asarray(studentised)
    lost = ~np.isfinite(t)
    endless = np.zeros(len(h), bool) if infinite is None else np.asarray(infinite)
    many = len(h) > _MANY
    plain = ~lost & ~endless
    ax.plot(h[plain], t[plain], "o", ms=2.5 if many else 4.5, mfc="none" if not many else RETAINED, mec=RETAINED,
            mew=0.0 if many else 1.0, rasterized=many, zorder=3, label="points" if plain.any() else None)  # fmt: skip
    chosen = np.array([row for row in named if plain[row]], dtype=int)
    if len(chosen):
        ax.plot(h[chosen], t[chosen], "o", ms=4.5, color=INK, label="most influential", zorder=4)
    if (endless & ~lost).any():
        at = endless & ~lost
        ax.plot(h[at], t[at], "D", ms=6, color=FULL, label="θ → ∞ without it", zorder=5)
    if lost.any():
        ax.plot(h[lost], np.zeros(lost.sum()), "^", ms=7, color=FULL, label="undefined (0/0)", zorder=5, clip_on=False)
    _frame(ax, h, t, lost)
    ax.axvline(2 * p / len(h), color=MUTED, lw=0.9, ls="--", zorder=1, label="h = 2p/n and |t| = 2")
    for level in (-2.0, 2.0):
        ax.axhline(level, color=MUTED, lw=0.9, ls="--", zorder=1)
    curves = _contours(ax, h[~lost], t[~lost], p)
    ax.set(xlabel="leverage h", ylabel=ylabel)
    ax.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=3, fontsize=8.5, frameon=False, borderaxespad=0.3)
    marked = [*chosen, *np.flatnonzero(endless | lost)[:10]]
    _write(ax, [int(row) for row in dict.fromkeys(marked)], curves, h, np.where(lost, 0.0, t))
    return ax


def _frame(ax: Axes, h: np.ndarray, t: np.ndarray, lost: np.ndarray) -> None:
    reach = 1.15 * max(2.4, np.abs(t[~lost]).max(initial=0.0))
    ax.set_xlim(0.0, min(1.04, 1.12 * h.max(initial=0.0)) or 1.0)
    ax.set_ylim(-reach, reach)


def _contours(ax: Axes, h: np.ndarray, t: np.ndarray, p: float) -> list[tuple[float, np.ndarray, np.ndarray]]:
    """Up to three contours of Cook's distance that the points reach."""
    with np.errstate(divide="ignore", invalid="ignore"):
        largest = np.nanmax(np.where(h < 1, t**2 * h / ((1 - h) * p), np.nan), initial=0.0)
    right = min(ax.get_xlim()[1], 1.0)
    grid = np.linspace(right / 500, right * (1 - 1e-9), 500)
    curves: list[tuple[float, np.ndarray, np.ndarray]] = []
    for level in _NICE[largest > _NICE][-_CONTOURS:]:
        curve = np.sqrt(level * p * (1 - grid) / grid)
        for sign in (1.0, -1.0):
            label = None if curves or sign < 0 else "Cook's distance"
            ax.plot(grid, sign * curve, color=FULL, lw=0.8, alpha=0.7, label=label, zorder=1)
        curves.append((float(level), grid, curve))
    return curves


def _write(ax: Axes, rows: list[int], curves: list, h: np.ndarray, t: np.ndarray) -> None:
    """Numbers of the rows and levels of the contours, each where it hides no point and no text, if there is a place."""
    figure: Any = ax.figure
    figure.canvas.draw()
    frame = ax.get_window_extent()
    boxes: list[Any] = []
    marks = ax.transData.transform(np.column_stack([h, t]))

    def put(words: str, places: list[tuple[tuple[float, float], tuple[float, float]]], color: str) -> None:
        text = ax.annotate(words, (0, 0), xytext=(0, 0), textcoords="offset points", fontsize=8.5, color=color, ha="center",
                           va="center", zorder=2, bbox=_PAPER)  # fmt: skip

        def cost(place: tuple[tuple[float, float], tuple[float, float]]) -> float:
            text.xy, offset = place
            text.set_position(offset)
            box = text.get_window_extent().padded(2.0)
            inside = (box.x0 < marks[:, 0]) & (marks[:, 0] < box.x1) & (box.y0 < marks[:, 1]) & (marks[:, 1] < box.y1)
            outside = box.x0 < frame.x0 or box.x1 > frame.x1 or box.y0 < frame.y0 or box.y1 > frame.y1
            return float(inside.sum()) + 10.0 * sum(box.overlaps(other) for other in boxes) + 30.0 * outside

        cost(min(places, key=cost))
        boxes.append(text.get_window_extent())

    for row in rows:
        put(str(row), [((h[row], t[row]), place) for place in _PLACES], INK)
    for level, grid, curve in curves:
        put(f"{level:g}", [((grid[at], curve[at]), (0.0, 0.0)) for at in range(485, 20, -15)], FULL)
