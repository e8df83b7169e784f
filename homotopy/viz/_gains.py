"""How much each deleted point gains from its best schedule."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from ..scheduler import spoken_gain
from ._axes import FULL, MUTED, RETAINED

_LARGEST = 1e6  # gains beyond this (θ*₋ reached exactly: ∞) are drawn here


def plot_gains(
    gains: np.ndarray, switches: np.ndarray, certified: np.ndarray, *, unit: str = "deleted point"
) -> Figure:
    """Sorted gains E(1_[0,s])/E (rows,), certified ones filled, and how many rows need how many `switches`."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 3.8), layout="constrained", width_ratios=(2.2, 1.0))
    order = np.argsort(gains)
    drawn = np.clip(gains[order], None, _LARGEST)
    place, proven = np.arange(len(drawn)), np.asarray(certified)[order]
    left.axhline(1.0, color=MUTED, lw=0.8)
    left.plot(place[proven], drawn[proven], "o", color=RETAINED, ms=4, label="certified (lower bound on every ε(t))")
    left.plot(place[~proven], drawn[~proven], "o", mfc="none", color=FULL, ms=4, label="not certified")
    left.set(xlabel=f"{unit}, sorted by gain", ylabel="gain E(1_[0,s]) / E  (1 = dropping at s is best)", yscale="log")
    beyond = int(np.sum(gains > _LARGEST))
    left.set_title(
        f"{int(np.sum(gains > 1.001))} of {len(gains)} gain more than 0.1 %, median {spoken_gain(float(np.median(gains)))}"
        + (f"; {beyond} beyond {_LARGEST:.0e}" if beyond else ""),
        fontsize=10.5,
    )
    left.legend(fontsize=8.5)
    counts = np.bincount(np.asarray(switches, dtype=int))
    bars = right.bar(np.arange(len(counts)), counts, color=RETAINED)
    right.bar_label(bars, fontsize=8.5)
    right.set(xlabel="switches of the best schedule", ylabel="how many", xticks=np.arange(len(counts)))
    return figure
