"""The best bang-bang ε(t) for linear regression: Newton in the switch times, switches made and unmade by Pontryagin.

Starts: ε ≡ 0, ε ≡ 1, the local minima of single steps, and those of a coarse table of all pairs of switches, for both
first values. Each start goes through Newton (a pair of switches that meet is removed, as is one that reaches an end of
the window); then, while σ contradicts ε somewhere, ε is flipped on the worst such interval, which lowers the objective.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ._linear import Vector
from ._step import time_grid
from ._switching import Bang, Window

# A local optimum is accepted when the Pontryagin residual is below this.
RESIDUAL = 1e-9
# The coarse table: this many intervals of [s, T], so half its square of pairs, and this many of its minima per first value.
_CELLS, _PER_TABLE = 20, 2
_NEWTON_STEPS, _ROUNDS, _ROUNDS_SINGULAR = 60, 60, 5
# E below this times ‖z(s)‖² is rounding: θ*₋ is reached exactly.
REACHED = 1e-26
# E below this times ‖z(s)‖² is not worth a second opinion.
NEGLIGIBLE = 1e-12
# At most this many distinct local optima are followed up.
_SETTLED = 5


class Local(NamedTuple):
    """A local optimum: its objective, Pontryagin residual, and how many starts ended there."""

    bang: Bang
    value: float
    residual: float
    starts: int = 1


def search_bang_bang(window: Window, switch_price: float = 0.0) -> list[Local]:
    """All local optima that were found, best first; `switch_price` is added to the objective for every jump of ε.

    With a price on jumps every local optimum is also tried with each arc removed, and the cheapest is kept.
    """
    found = _search(window)
    if switch_price:
        found = [*found, *(fewer for local in found for fewer in _fewer(window, local, switch_price))]
        found = [local._replace(value=local.value + switch_price * jumps(local.bang)) for local in found]
    return sorted(found, key=lambda local: (local.value, len(local.bang.switches)))


def jumps(bang: Bang) -> int:
    """The jumps of ε on [s, T), the one at s included: ε = 1 before it."""
    return len(bang.switches) + int(bang.first == 0)


def _fewer(window: Window, local: Local, switch_price: float) -> list[Local]:
    """The best schedule with fewer and fewer jumps: arc by arc the one whose removal costs least."""
    found = []
    while jumps(local.bang):
        edges = np.concatenate([[window.s], local.bang.switches, [window.t1]])
        trials = []
        for low, high in pairwise(edges):
            trial = flip(window, local.bang, low, high)
            if jumps(trial) < jumps(local.bang):
                trials.append(polish(window, trial))
        bang, value = min(trials, key=lambda pair: pair[1])
        local = Local(bang, value, violation(window, bang)[0])
        found.append(local)
    return found


def _search(window: Window) -> list[Local]:
    polished: list[tuple[Bang, float]] = [polish(window, start) for start in _starts(window)]
    size = float(window.begin @ window.begin)
    found: list[Local] = []
    seen: list[tuple[Bang, float, int]] = []
    for bang, value in sorted(polished, key=lambda pair: pair[1]):
        at = _position(window, bang, [known for known, _, _ in seen])
        if at is None and len(found) >= _SETTLED:
            continue
        if at is None:
            found.append(settle(window, bang, value))
            seen.append((bang, value, len(found) - 1))
        else:
            index = seen[at][2]
            found[index] = found[index]._replace(starts=found[index].starts + 1)
        if window.price == 0 and found[0].value <= NEGLIGIBLE * size:
            break  # the other starts lie in the flat valley around E = 0, and creep
    merged: list[Local] = []
    for local in sorted(found, key=lambda local: (local.value, len(local.bang.switches))):
        at = _position(window, local.bang, [known.bang for known in merged])
        if at is None:
            merged.append(local)
        else:
            merged[at] = merged[at]._replace(starts=merged[at].starts + local.starts)
    return merged


def is_reached(window: Window, value: float) -> bool:
    """Whether an unpriced objective is 0 up to rounding."""
    return bool(window.price == 0 and value <= REACHED * float(window.begin @ window.begin))


def _starts(window: Window) -> list[Bang]:
    none = np.zeros(0)
    taus = time_grid(window, 48, 16)
    values = window.values(1, taus[:, None])
    lowest = np.flatnonzero((values[1:-1] <= values[:-2]) & (values[1:-1] <= values[2:])) + 1
    starts = [Bang(0, none), Bang(1, none), *(Bang(1, taus[[k]]) for k in lowest)]
    grid = np.linspace(window.s, window.t1, _CELLS + 1)
    left, right = np.triu_indices(_CELLS + 1)
    for first in (0, 1):
        table = np.full((_CELLS + 3, _CELLS + 3), np.inf)
        table[left + 1, right + 1] = window.values(first, np.stack([grid[left], grid[right]], axis=1))
        core = table[1:-1, 1:-1]
        lowest = np.isfinite(core)
        for i in (0, 1, 2):
            for j in (0, 1, 2):
                if (i, j) != (1, 1):
                    lowest &= core <= table[i : i + _CELLS + 1, j : j + _CELLS + 1]
        rows, columns = np.nonzero(lowest)
        best = np.argsort(core[rows, columns])[:_PER_TABLE]
        starts.extend(tidy(window, Bang(first, grid[[rows[k], columns[k]]])) for k in best)
    return starts


def polish(window: Window, bang: Bang) -> tuple[Bang, float]:
    """Newton's method in the switch times, kept in order; the objective never rises."""
    size = float(np.linalg.norm(window.begin))
    for _ in range(_NEWTON_STEPS):
        if not len(bang.switches):
            break
        value, gradient, hessian = window.evaluate(bang)
        if len(gradient) == 1:
            step = -gradient / max(abs(hessian[0, 0]), 1e-300)
        else:
            curvature, axes = np.linalg.eigh(hessian)
            curvature = np.maximum(np.abs(curvature), 1e-12 * np.abs(curvature).max() + 1e-300)
            step = -axes @ ((axes.T @ gradient) / curvature)
        promised = float(gradient @ step)
        rounding = 4e-16 * size * np.sqrt(2.0 * abs(value)) + 1e-31 * size**2
        gaps = np.diff(np.concatenate([[window.s], bang.switches, [window.t1]]))
        closing = np.diff(np.concatenate([[0.0], step, [0.0]]))
        shrinks = closing < 0
        furthest = float(np.min(-gaps[shrinks] / closing[shrinks])) if shrinks.any() else np.inf
        fraction = min(1.0, furthest)
        while fraction > 1e-10:
            trial = Bang(bang.first, np.sort(bang.switches + fraction * step))
            if window.value(trial) <= value + 1e-4 * fraction * promised + rounding:
                break
            fraction *= 0.5
        else:
            break
        bang = tidy(window, trial) if fraction == furthest else trial
        if -promised <= rounding or np.abs(step).max() <= 1e-15 * window.t1:
            break
    return bang, window.value(bang)


def settle(window: Window, bang: Bang, value: float) -> Local:
    """Flip ε where Pontryagin's principle fails, and polish, until it holds."""
    residual = 0.0
    # With several points, or a price on ∫ε, the optimum may have singular arcs, which ever more switches only imitate.
    bang_bang = window.control.single is not None and not window.price
    for _ in range(_ROUNDS if bang_bang else _ROUNDS_SINGULAR):
        if is_reached(window, value):
            return Local(bang, value, 0.0)
        residual, interval = violation(window, bang)
        if residual <= RESIDUAL or interval is None:
            break
        low, middle, high = interval
        fraction = 1.0
        while fraction > 1e-6:
            trial = flip(window, bang, middle - fraction * (middle - low), middle + fraction * (high - middle))
            if window.value(trial) < value:
                break
            fraction *= 0.5
        else:
            break
        better, better_value = polish(window, trial)
        if not better_value < value:
            break
        bang, value = better, better_value
    return Local(bang, value, residual)


def violation(window: Window, bang: Bang) -> tuple[float, tuple[float, float, float] | None]:
    """∫|ε − 1[σ<0]||σ|dt / ∫|σ|dt, and the interval (start, worst time, end) that contributes most to it."""
    ts = np.union1d(time_grid(window, 128, 32), bang.switches)
    sigma = window.sigma(bang, ts)
    positive, negative = signed_parts(sigma[:-1], sigma[1:], np.diff(ts))
    wrong = np.where(bang.at(0.5 * (ts[1:] + ts[:-1])) > 0, positive, negative)
    total = float(np.sum(positive + negative))
    if total == 0.0:
        return 0.0, None
    bad = wrong > 1e-3 * RESIDUAL * total / len(wrong)
    if not bad.any():
        return float(np.sum(wrong)) / total, None
    edges = np.flatnonzero(np.diff(np.concatenate([[0], bad.astype(int), [0]]))).tolist()
    # A run of bad cells under one value of ε is one interval; a switch inside the run divides it.
    runs = [run for low, high in zip(edges[::2], edges[1::2], strict=True) for run in _divide(bang, ts, low, high)]
    low, high = max(runs, key=lambda run: wrong[run[0] : run[1]].sum())
    middle = low + int(np.argmax(wrong[low:high]))
    return float(np.sum(wrong)) / total, (
        _crossing(ts, sigma, low, ts[low]),
        0.5 * (ts[middle] + ts[middle + 1]),
        _crossing(ts, sigma, high - 1, ts[high]),
    )


def _divide(bang: Bang, ts: Vector, low: int, high: int) -> list[tuple[int, int]]:
    inside = [int(k) for k in np.searchsorted(ts, bang.switches) if low < k < high]
    return list(zip([low, *inside], [*inside, high], strict=True))


def _crossing(ts: Vector, sigma: Vector, cell: int, otherwise: float) -> float:
    """Where σ, linear on the cell, is 0; `otherwise` if it keeps its sign there."""
    before, after = sigma[cell], sigma[cell + 1]
    if before * after >= 0:
        return float(otherwise)
    return float(ts[cell] + (ts[cell + 1] - ts[cell]) * before / (before - after))


def signed_parts(left: Vector, right: Vector, width: Vector) -> tuple[Vector, Vector]:
    """∫max(σ, 0) and ∫max(−σ, 0) over cells on which σ runs linearly from `left` to `right`."""
    span = np.abs(left) + np.abs(right)
    crossing = left * right < 0
    safe = np.where(crossing, span, 1.0)
    positive = np.where(crossing, 0.5 * np.maximum(left, right) ** 2 / safe, 0.5 * np.maximum(left + right, 0.0))
    negative = np.where(crossing, 0.5 * np.minimum(left, right) ** 2 / safe, 0.5 * np.maximum(-left - right, 0.0))
    return positive * width, negative * width


def flip(window: Window, bang: Bang, low: float, high: float) -> Bang:
    """ε replaced by 1 − ε on [low, high]."""
    return tidy(window, Bang(bang.first, np.sort(np.concatenate([bang.switches, [low, high]]))))


def tidy(window: Window, bang: Bang) -> Bang:
    """The same ε without empty arcs."""
    tiny = 1e-13 * window.length
    first = bang.first
    kept: list[float] = []
    for switch in bang.switches:
        if switch >= window.t1 - tiny:
            continue
        if kept and switch - kept[-1] <= tiny:
            kept.pop()
        elif switch <= window.s + tiny:
            first = 1 - first
        else:
            kept.append(float(switch))
    return Bang(first, np.array(kept))


def _position(window: Window, bang: Bang, others: list[Bang]) -> int | None:
    for k, other in enumerate(others):
        same = other.first == bang.first and len(other.switches) == len(bang.switches)
        if same and (np.abs(other.switches - bang.switches) <= 1e-7 * window.length).all():
            return k
    return None
