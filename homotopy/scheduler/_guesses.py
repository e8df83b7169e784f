"""Where the search for a bang-bang schedule begins: constants, single steps, pairs of switches, and narrow pulses."""

import numpy as np

from ._linear import Vector
from ._step import time_grid
from ._switching import Bang, Window, tidy

# The coarse table: this many intervals of [s, T], so half its square of pairs, and this many of its minima per first value.
_CELLS, _PER_TABLE = 20, 2


def first_guesses(window: Window, cells: int = _CELLS) -> list[Bang]:
    none = np.zeros(0)
    taus = time_grid(window, 48, 16)
    values = window.values(1, taus[:, None])
    least = float(values.min())
    lowest = np.flatnonzero((values[1:-1] <= values[:-2]) & (values[1:-1] <= values[2:])) + 1
    starts = [Bang(0, none), Bang(1, none), *(Bang(1, taus[[k]]) for k in lowest)]
    grid = np.linspace(window.s, window.t1, cells + 1)
    left, right = np.triu_indices(cells + 1)
    for first in (0, 1):
        table = np.full((cells + 3, cells + 3), np.inf)
        table[left + 1, right + 1] = window.values(first, np.stack([grid[left], grid[right]], axis=1))
        core = table[1:-1, 1:-1]
        least = min(least, float(core.min()))
        lowest = np.isfinite(core)
        for i in (0, 1, 2):
            for j in (0, 1, 2):
                if (i, j) != (1, 1):
                    lowest &= core <= table[i : i + cells + 1, j : j + cells + 1]
        rows, columns = np.nonzero(lowest)
        best = np.argsort(core[rows, columns])[:_PER_TABLE]
        starts.extend(tidy(window, Bang(first, grid[[rows[k], columns[k]]])) for k in best)
    starts.extend(bang for first in (0, 1) for bang in _pulses(window, first, grid) if window.value(bang) < least)
    return starts


def _pulses(window: Window, first: int, times: Vector) -> list[Bang]:
    """The best pulses of 1 − `first` that are too narrow for the table, each of the width that suits E to first order.

    Late in a long window z is small beside what one unit of time with the other ε does, and only pulses are left.
    """
    phase = (window.control.keep, window.control.full)[first]
    z = phase.flow(window.begin, times - window.s)
    push = (1 - 2 * first) * -window.control.deleted_gradient(z) @ phase.vectors
    moved = (np.exp(-np.multiply.outer(window.t1 - times, phase.rates)) * push) @ phase.vectors.T
    weighted = window.control.weighted(moved)
    strength = np.sum(weighted * moved, axis=1)
    end = phase.flow(window.begin, np.array([window.length]))[0]
    widths = -(weighted @ end) / np.where(strength > 0, strength, 1.0)
    fits = (strength > 0) & (widths > 0) & (widths < times[1] - times[0])
    pulses = np.stack([times[fits], np.minimum(times[fits] + widths[fits], window.t1)], axis=1)
    best = np.argsort(window.values(first, pulses))[:_PER_TABLE]
    return [tidy(window, Bang(first, pulses[k])) for k in best]
