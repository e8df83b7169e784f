"""The five gaps of many runs: which of them dominate, in numbers, words and pictures."""

import numpy as np
from matplotlib.axes import Axes

from homotopy._statistics import Interval, bootstrap
from homotopy.endpoints import ErrorDecomposition
from homotopy.viz import INK, MUTED, SERIES, plot_interval, plot_stacked

GAPS = ("warm-start", "proximity", "non-convergence", "linearisation", "solver")
ENDPOINTS = ("cold", "warm", "proximal", "PBRF", "linearised PBRF", "solver")
MINIMISERS = 4  # the endpoints that are minimisers, so that "not converged" is a fault and not what is measured
_FIRST = 3  # the gaps that the notes say dominate
_FLOOR = 1e-8  # gaps below are rounding or exactly 0; they are drawn as arrows at the floor of a logarithmic axis
_RESAMPLES = 2000


def cumulative(one: ErrorDecomposition, of: str, level: float) -> Interval:
    """Share of the first 1, 2, … 5 gaps in the sum of the five: mean over the runs, and its interval (each (5,)).

    Seeds and points are drawn anew, independently, since runs that share either are related.
    """
    shares = np.cumsum(np.asarray(one.shares(of)), axis=-1)
    seeds, points, _ = shares.shape
    return bootstrap(lambda i, j: shares[i][:, j].mean(axis=(0, 1)), seeds, points, level=level, resamples=_RESAMPLES)


def first_three(one: ErrorDecomposition, of: str, level: float) -> tuple[float, float, float]:
    """Mean share of the first three gaps, and its interval."""
    mean, low, high = (float(values[_FIRST - 1]) for values in cumulative(one, of, level))
    return mean, low, high


def verdict(low: float, high: float) -> str:
    return "dominate" if low > 0.5 else "do NOT dominate" if high < 0.5 else "undecided"


def unconverged(one: ErrorDecomposition) -> list[str]:
    """The minimisers that did not always converge, such as `cold 3/50`."""
    done = np.asarray(one.converged)[..., :MINIMISERS].reshape(-1, MINIMISERS)
    return [f"{name} {k}/{len(done)}" for name, k in zip(ENDPOINTS, (~done).sum(axis=0), strict=False) if k]


def line(label: str, one: ErrorDecomposition, level: float) -> str:
    parts = []
    for of in ("outputs", "parameters"):
        share, low, high = first_three(one, of, level)
        means = np.asarray(getattr(one, of)).mean(axis=(0, 1))
        ratio = means[:_FIRST].sum() / max(means[_FIRST:].sum(), np.finfo(float).tiny)
        parts.append(
            f"{of} {share:.1%} [{low:.1%}, {high:.1%}], {ratio:.3g} × the rest, largest {GAPS[int(means.argmax())]}: "
            f"{verdict(low, high)}"
        )
    failed = unconverged(one)
    return f"  {label}: " + "; ".join(parts) + (f"; NOT converged: {', '.join(failed)}" if failed else "")


def counts(cells: dict[str, ErrorDecomposition], of: str, level: float) -> tuple[int, list[str]]:
    """How many cells the first three dominate, and the labels of the others with their verdict."""
    verdicts = {label: verdict(*first_three(one, of, level)[1:]) for label, one in cells.items()}
    others = [f"{label} ({verdict})" for label, verdict in verdicts.items() if verdict != "dominate"]
    return len(verdicts) - len(others), others


def sentence(cells: dict[str, ErrorDecomposition], of: str, level: float) -> str:
    yes, others = counts(cells, of, level)
    return f"{of}: the first three gaps dominate in {yes} of {len(cells)}" + (
        f", not in {', '.join(others)}" if others else ""
    )


def stack(ax: Axes, cells: dict[str, ErrorDecomposition], of: str, level: float) -> None:
    """One bar per cell: the mean share of each gap, and at each boundary the interval of the share below it."""
    found = [cumulative(one, of, level) for one in cells.values()]
    shares = np.diff([one.value for one in found], axis=1, prepend=0.0)
    plot_stacked(ticks(cells), dict(zip(GAPS, shares.T, strict=True)), ax, written=1.0)
    for place, (one, cell) in enumerate(zip(found, cells.values(), strict=True)):
        wide = (one.high - one.low > 2e-3)[:-1].nonzero()[0]  # side by side, or they would hide one another
        plot_interval(place + 0.12 * (wide - 1.5), [end[wide] for end in one], ax, color=INK, fmt="none", lw=1.1)
        total = float(np.asarray(getattr(cell, of)).sum(axis=-1).mean())
        ax.text(place, 1.02, f"Σ {total:.2g}", ha="center", fontsize=9)
    ax.axhline(0.5, color=MUTED, ls=":", lw=1.0)
    ax.set(ylabel=f"share of the sum Σ of the gaps, {of}", ylim=(0.0, 1.08), xlim=(-0.5, len(cells) - 0.5))


def levels(ax: Axes, cells: dict[str, ErrorDecomposition], of: str, level: float) -> None:
    """The gaps themselves on a logarithmic axis; arrows stand for gaps below the floor."""
    top = _FLOOR
    for place, one in enumerate(cells.values()):
        found = np.stack(one.interval(of, level=level))
        top = max(top, float(found[2].max()))
        for k, color in enumerate(SERIES[: len(GAPS)]):
            x = place + 0.14 * (k - 2)
            if found[0, k] < _FLOOR:
                ax.plot(x, 1.6 * _FLOOR, marker="v", color=color, ms=6, ls="")
            else:
                plot_interval(x, found[:, k], ax, color=color)
    ax.set_xticks(range(len(cells)), ticks(cells))
    ax.set(yscale="log", ylabel=f"gap, {of} (▾: below {_FLOOR:.0e})", ylim=(_FLOOR, 4 * top))
    ax.set_xlim(-0.5, len(cells) - 0.5)
    ax.grid(axis="y", color=MUTED, alpha=0.25)


def ticks(cells: dict[str, ErrorDecomposition]) -> list[str]:
    failed = ([part.replace(" ", " ✗ ") for part in unconverged(one)] for one in cells.values())
    return ["\n".join([label.replace("-", "\n"), *said]) for label, said in zip(cells, failed, strict=True)]
