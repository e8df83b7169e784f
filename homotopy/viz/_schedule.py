"""ε(t) as a curve: drawn arc by arc, so that a jump is a jump."""

from itertools import pairwise

import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes

from .._checks import as_time
from ..flow import AbstractSchedule, check, describe
from ._axes import INK, axes


def plot_schedule(
    schedule: AbstractSchedule, t1: float, ax: Axes | None = None, *, label: str | None = None, color: str = INK
) -> Axes:
    """ε(t) on [0, t1] (dimensionless, against time in the units of the flow), with its jumps dotted."""
    t1 = float(as_time(t1, finite="a picture ends"))
    check(schedule, t1)
    ax = axes(ax)
    inner = np.asarray(schedule.discontinuities())
    edges = np.concatenate([[0.0], np.clip(inner, 0.0, t1), [t1]])
    last = None
    for index, (start, end) in enumerate(pairwise(edges)):
        if end <= start:
            continue
        ts = jnp.linspace(start, end, 2 if schedule.piecewise_constant else 101)
        values = np.asarray(schedule.piece(index, ts))
        if last is not None:
            ax.plot([start, start], [last, values[0]], ":", color=color, lw=1.0)
        name = (describe(schedule) if label is None else label) if last is None else None
        ax.plot(ts, values, "-", color=color, lw=1.8, label=name)
        last = values[-1]
    ax.set(xlabel="time t", ylabel="weight ε(t)", xlim=(0.0, t1))
    return ax
