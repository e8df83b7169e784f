"""What a schedule does and whether more weight would help: ε(t), σ(t) and θ(t) under one time axis."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from ..flow import AbstractSchedule
from ._axes import FULL, INK, MUTED, RETAINED, SERIES
from ._schedule import plot_schedule

_MOST_LINES = 8  # parameters that are drawn one by one; of more, those that move most


def plot_control(
    schedule: AbstractSchedule,
    ts: np.ndarray,
    thetas: np.ndarray,
    sigma: np.ndarray,
    *,
    t1: float,
    s: float = 0.0,
    target: np.ndarray | None = None,
    axs: Sequence[Axes] | None = None,
    names: Sequence[str] = (),
) -> tuple[Axes, Axes, Axes]:
    """ε(t), the switching function σ(t) and the parameters θ(t), three Axes with one time axis.

    `ts` (k,) are the times of `thetas` (k, dim) and of `sigma` (k,), the functional gradient δE/δε(t): shaded where
    σ < 0 (more weight there brings θ(T) nearer) and where σ > 0 (less weight does). Below, θ(t) − θ*₋ where `target`
    (dim,) is given, else θ(t): every parameter, or the eight that move most. `names` (dim,) label them.
    """
    if axs is None:
        _, axs = plt.subplots(
            3, 1, figsize=(6.4, 6.6), sharex=True, layout="constrained", height_ratios=(1.0, 1.2, 1.6)
        )
    top, middle, bottom = axs
    ts, thetas, sigma = (np.asarray(values, dtype=float) for values in (ts, thetas, sigma))
    plot_schedule(schedule, t1, top, label="")
    top.set(xlabel="", ylim=(-0.06, 1.06))
    if s > 0:
        top.axvspan(0.0, s, color=MUTED, alpha=0.18, lw=0)
        top.annotate("ε = 1 until s", (0.5 * s, 0.5), ha="center", va="center", fontsize=8, rotation=90)
    # σ decays over orders of magnitude; on a linear axis only its largest part would be seen.
    size = float(np.abs(sigma).max())
    middle.axhline(0.0, color=MUTED, lw=0.8)
    middle.plot(ts, sigma, "-", color=INK, lw=1.4)
    middle.fill_between(ts, sigma, 0.0, where=sigma < 0, color=FULL, alpha=0.25, lw=0, label="σ < 0: ε = 1 is better")
    middle.fill_between(
        ts, sigma, 0.0, where=sigma > 0, color=RETAINED, alpha=0.25, lw=0, label="σ > 0: ε = 0 is better"
    )
    if size > 0:
        middle.set_yscale("symlog", linthresh=1e-3 * size)
    middle.set(ylabel="σ(t) = δE/δε(t)")
    middle.legend(fontsize=8, loc="best")
    lines = thetas - (0.0 if target is None else np.asarray(target)[None, :])
    chosen = np.argsort(-np.ptp(lines, axis=0))[:_MOST_LINES]
    for rank, column in enumerate(np.sort(chosen)):
        name = _literal(names[column]) if len(names) else f"{column}"
        bottom.plot(ts, lines[:, column], "-", color=SERIES[rank % len(SERIES)], lw=1.2, label=name)
    bottom.axhline(0.0, color=MUTED, lw=0.8)
    if target is not None and (largest := float(np.abs(lines).max())) > 0:
        bottom.set_yscale("symlog", linthresh=1e-3 * largest)  # what is left at T is small beside the start
    of = "" if lines.shape[1] <= _MOST_LINES else f" ({len(chosen)} of {lines.shape[1]})"
    bottom.set(xlabel="time t", ylabel=f"{'θ(t)' if target is None else 'θ(t) − θ*₋'}{of}", xlim=(0.0, t1))
    bottom.legend(fontsize=7.5, ncols=2, title="parameter", title_fontsize=7.5)
    return top, middle, bottom


def _literal(name: str) -> str:
    """A name as Matplotlib draws it unread: `$` would begin a formula, and a leading `_` hide the entry."""
    name = name.replace("$", r"\$")
    return f" {name}" if name.startswith("_") else name
