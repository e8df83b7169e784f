"""Where a bang-bang ε(t) contradicts Pontryagin's principle: ε = 1 where σ > 0, or 0 where σ < 0 (mathematics §7)."""

import numpy as np

from ._linear import Vector
from ._step import time_grid
from ._switching import Bang, Window

# A local optimum is accepted when the Pontryagin residual is below this.
RESIDUAL = 1e-9


def violation(window: Window, bang: Bang) -> tuple[float, tuple[float, float, float] | None, float]:
    """∫|ε − 1[σ<0]||σ|dt / ∫|σ|dt, the interval (start, worst time, end) that contributes most to it, and the integral
    above the bar: what E would gain to first order."""
    ts = np.union1d(time_grid(window, 128, 32), bang.switches)
    sigma = window.sigma(bang, ts)
    positive, negative = signed_parts(sigma[:-1], sigma[1:], np.diff(ts))
    wrong = np.where(bang.at(0.5 * (ts[1:] + ts[:-1])) > 0, positive, negative)
    total = float(np.sum(positive + negative))
    gain = float(np.sum(wrong))
    if total == 0.0:
        return 0.0, None, 0.0
    bad = wrong > 1e-3 * RESIDUAL * total / len(wrong)
    if not bad.any():
        return gain / total, None, gain
    edges = np.flatnonzero(np.diff(np.concatenate([[0], bad.astype(int), [0]]))).tolist()
    # A run of bad cells under one value of ε is one interval; a switch inside the run divides it.
    runs = [run for low, high in zip(edges[::2], edges[1::2], strict=True) for run in _divide(bang, ts, low, high)]
    low, high = max(runs, key=lambda run: wrong[run[0] : run[1]].sum())
    middle = low + int(np.argmax(wrong[low:high]))
    interval = (
        _crossing(ts, sigma, low, ts[low]),
        0.5 * (ts[middle] + ts[middle + 1]),
        _crossing(ts, sigma, high - 1, ts[high]),
    )
    return gain / total, interval, gain


def _divide(bang: Bang, ts: Vector, low: int, high: int) -> list[tuple[int, int]]:
    inside = [int(k) for k in np.searchsorted(ts, bang.switches) if low < k < high]
    return list(zip([low, *inside], [*inside, high], strict=True))


def _crossing(ts: Vector, sigma: Vector, cell: int, otherwise: float) -> float:
    """Where σ, linear on the cell, is 0; `otherwise` if it keeps its sign there."""
    before, after = sigma[cell], sigma[cell + 1]
    if np.sign(before) * np.sign(after) >= 0:
        return float(otherwise)
    return float(ts[cell] + (ts[cell + 1] - ts[cell]) * before / (before - after))


def signed_parts(left: Vector, right: Vector, width: Vector) -> tuple[Vector, Vector]:
    """∫max(σ, 0) and ∫max(−σ, 0) over cells on which σ runs linearly from `left` to `right`."""
    span = np.abs(left) + np.abs(right)
    crossing = np.sign(left) * np.sign(right) < 0
    safe = np.where(crossing, span, 1.0)
    high, low = (np.where(crossing, part(left, right), 0.0) for part in (np.maximum, np.minimum))
    # high·(high/span), not high²/span: the square of a small number may be no number.
    positive = np.where(crossing, 0.5 * high * (high / safe), 0.5 * np.maximum(left + right, 0.0))
    negative = np.where(crossing, 0.5 * low * (low / safe), 0.5 * np.maximum(-left - right, 0.0))
    return positive * width, negative * width
