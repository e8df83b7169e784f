"""The best bang-bang ε(t) for linear regression: Newton in the switch times, switches made and unmade by Pontryagin.

Starts: ε ≡ 0, ε ≡ 1, the local minima of single steps, and those of a coarse table of all pairs of switches, for both
first values. Each start goes through Newton (a pair of switches that meet is removed, as is one that reaches an end of
the window); then, while σ contradicts ε somewhere, ε is flipped on the worst such interval, which lowers the objective.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ._arrival import Arrival, arrive, spaced
from ._dual import reach
from ._guesses import first_guesses
from ._step import stationary_steps
from ._switching import Bang, Window, flip, tidy
from ._violation import RESIDUAL, violation

# A search that ended with a residual above this begins again, from a table so fine.
UNSETTLED, _MORE_CELLS = 1e-6, 70
# An energy below this times E_b may be an exact arrival that was missed.
_CLOSE = 1e-4
_NEWTON_STEPS, _ROUNDS, _ROUNDS_SINGULAR = 60, 60, 5
# √(2E) below so many roundings of z(T) is 0: θ*₋ is reached exactly.
REACHED = 64.0
# E below this times E_b is not worth a second opinion.
NEGLIGIBLE = 1e-12
# At most this many distinct local optima are followed up.
_SETTLED = 5
# Flips down to this share of the interval that σ contradicts are tried, from so many times in it.
_NARROWEST, _NARROW = 1e-13, 20
_EPS = np.finfo(float).eps


class Local(NamedTuple):
    """A local optimum: its objective, Pontryagin residual, and how many starts ended there."""

    bang: Bang
    value: float
    residual: float
    starts: int = 1


def search_bang_bang(window: Window, switch_price: float = 0.0, most: int | None = None) -> list[Local]:
    """All local optima that were found, best first; `switch_price` is added to the objective for every jump of ε.

    With a price on jumps, or with at most `most` of them, every local optimum is also tried with each arc removed, and
    the cheapest is kept.
    """
    found = _search(window)
    if window.control.single is not None and not window.price and not switch_price:
        found = _closer(window, found)
    if switch_price or most is not None:
        found = [*found, *(fewer for local in found for fewer in _fewer(window, local))]
    if most is not None:
        found = _within(window, found, most)
    if switch_price:
        found = [local._replace(value=local.value + switch_price * jumps(local.bang)) for local in found]
    best = min(found, key=lambda local: local.value)
    close = sum(local.value <= best.value + NEGLIGIBLE * window.baseline for local in found) > 1
    tie = best.value + (window.noise(best.bang, best.value) if close else 0.0)
    # Among those that rounding does not tell apart, the simplest.
    return sorted(
        found,
        key=lambda local: (local.value > tie, local.value if local.value > tie else 0.0, *_simplicity(local.bang)),
    )


def _simplicity(bang: Bang) -> tuple[int, int]:
    return len(bang.switches), bang.first


def _closer(window: Window, found: list[Local]) -> list[Local]:
    """With the exact arrivals near what was found; where Pontryagin's principle still fails, from more starts as well."""
    best = found[0]
    if is_reached(window, best.value, best.bang):
        return found
    if best.value > _CLOSE * window.baseline and best.residual <= RESIDUAL:
        return found
    near = [arrive(window, local.bang) for local in found if local.value <= _CLOSE * window.baseline]
    found = [*found, *(_arrived(window, arrival) for arrival in near if arrival is not None)]
    best = min(found, key=lambda local: local.value)
    if best.residual > UNSETTLED and not is_reached(window, best.value, best.bang):
        more = sorted((polish(window, start) for start in first_guesses(window, _MORE_CELLS)), key=lambda pair: pair[1])
        found += [settle(window, *pair) for pair in more[:_SETTLED]]
        found += [
            _arrived(window, arrival) for arrival in map(lambda bang: arrive(window, bang), spaced(window)) if arrival
        ]
    return found


def _arrived(window: Window, arrival: Arrival) -> Local:
    bang = tidy(window, Bang(arrival.bang.first, np.append(arrival.bang.switches, arrival.time)))
    return settle(window, bang, window.value(bang))


def jumps(bang: Bang) -> int:
    """The jumps of ε on [s, T), the one at s included: ε = 1 before it."""
    return len(bang.switches) + int(bang.first == 0)


def _within(window: Window, found: list[Local], most: int) -> list[Local]:
    """Those of `found` that have at most `most` jumps, and what the starts lead to that have no more."""
    tau = min(stationary_steps(window), key=lambda pair: pair[1])[0]
    starts = [Bang(1, np.array([tau])), *first_guesses(window)]
    polished = [polish(window, tidy(window, bang)) for bang in starts if jumps(bang) <= most]
    found = [local for local in found if jumps(local.bang) <= most]
    settled = [settle(window, *pair, most) for pair in sorted(polished, key=lambda pair: pair[1])[:_SETTLED]]
    return [*found, *settled]


def _fewer(window: Window, local: Local) -> list[Local]:
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
    if no_switch_matters(window):
        none = Bang(0, np.zeros(0))
        return [Local(none, window.value(none), 0.0)]
    polished: list[tuple[Bang, float]] = [polish(window, start) for start in first_guesses(window)]
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
        if window.price == 0 and found[0].value <= NEGLIGIBLE * window.baseline:
            break  # the other starts lie in the flat valley around E = 0, and creep
    merged: list[Local] = []
    for local in sorted(found, key=lambda local: (local.value, len(local.bang.switches))):
        at = _position(window, local.bang, [known.bang for known in merged])
        if at is None:
            merged.append(local)
        else:
            merged[at] = merged[at]._replace(starts=merged[at].starts + local.starts)
    return merged


def no_switch_matters(window: Window) -> bool:
    """Whether every ε(t) changes E by less than the rounding of E, and nothing is to be decided.

    ‖z(T)‖ differs by ∫‖∇ℓ_J‖dt at most between two schedules, since every flow contracts.
    """
    control = window.control
    least = np.linalg.norm(control.deleted_hessian) * np.linalg.norm(window.begin) + np.linalg.norm(control.pull)
    if control.metric is None and least * window.length > 1e-8 * len(window.begin) * window.size:
        return False  # by far, and that is cheap to see
    pushes = np.linalg.norm(control.deleted_hessian, 2) * reach(window) + np.linalg.norm(control.pull)
    largest = 1.0 if control.metric is None else float(np.linalg.norm(control.metric, 2))
    moved = np.sqrt(largest) * float(pushes) * window.length
    none = Bang(0, np.zeros(0))
    effect = moved * (np.sqrt(2.0 * window.baseline) + 0.5 * moved) + window.price * window.length
    return bool(effect <= window.noise(none, window.baseline))


def is_reached(window: Window, value: float, bang: Bang | None = None) -> bool:
    """Whether an unpriced objective is 0 up to the rounding of z(T), under `bang` where that is known."""
    if window.price or value > NEGLIGIBLE * window.size**2:
        return value == 0.0 and not window.price
    rounding = _EPS * window.size if bang is None else max(window.rounding(bang), _EPS * window.size)
    return bool(value <= 0.5 * (REACHED * rounding) ** 2)


def polish(window: Window, bang: Bang) -> tuple[Bang, float]:
    """Newton's method in the switch times, kept in order; the objective never rises."""
    for _ in range(_NEWTON_STEPS):
        if not len(bang.switches):
            break
        value, gradient, hessian = window.evaluate(bang)
        if len(gradient) == 1:
            step = -gradient / (abs(hessian[0, 0]) or np.inf)
        else:
            curvature, axes = np.linalg.eigh(hessian)
            curvature = np.maximum(np.abs(curvature), 1e-12 * np.abs(curvature).max() or np.inf)
            step = -axes @ ((axes.T @ gradient) / curvature)
        promised = float(gradient @ step)
        rounding = 4e-16 * window.size * np.sqrt(2.0 * abs(value)) + 1e-31 * window.size**2
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


def settle(window: Window, bang: Bang, value: float, most: int | None = None) -> Local:
    """Flip ε where Pontryagin's principle fails, and polish, until it holds (or more than `most` jumps would be needed)."""
    residual = 0.0
    # With several points, or a price on ∫ε, the optimum may have singular arcs, which ever more switches only imitate.
    bang_bang = window.control.single is not None and not window.price
    for _ in range(_ROUNDS if bang_bang else _ROUNDS_SINGULAR):
        if is_reached(window, value, bang):
            return Local(bang, value, 0.0)
        residual, interval, gain = violation(window, bang)
        if residual <= RESIDUAL or interval is None:
            break
        noise = window.noise(bang, value)
        if gain <= noise:  # E does not see it
            return Local(bang, value, 0.0)
        low, middle, high = interval
        fraction = 1.0
        while fraction > 1e-6:
            trial = flip(window, bang, middle - fraction * (middle - low), middle + fraction * (high - middle))
            if window.value(trial) < value - noise:
                break
            fraction *= 0.5
        else:
            trial = _narrow_flip(window, bang, low, high)
            if not window.value(trial) < value - noise:
                break
        better, better_value = polish(window, trial)
        if not better_value < value - noise or (most is not None and jumps(better) > most):
            break
        bang, value = better, better_value
    return Local(bang, value, residual)


def _narrow_flip(window: Window, bang: Bang, low: float, high: float) -> Bang:
    """The best flip on a part of [low, high] that begins and lasts anything: where z is small the pulses are short."""
    starts, lasting = np.linspace(low, high, _NARROW, endpoint=False), np.geomspace(_NARROWEST, 1.0, 2 * _NARROW)
    parts = np.stack(np.broadcast_arrays(starts[:, None], starts[:, None] + np.outer(high - starts, lasting)), axis=-1)
    rows = np.sort(
        np.concatenate([np.broadcast_to(bang.switches, (*parts.shape[:2], len(bang.switches))), parts], axis=2)
    )
    rows = rows.reshape(-1, rows.shape[2])
    return tidy(window, Bang(bang.first, rows[int(np.argmin(window.values(bang.first, rows)))]))


def _position(window: Window, bang: Bang, others: list[Bang]) -> int | None:
    for k, other in enumerate(others):
        same = other.first == bang.first and len(other.switches) == len(bang.switches)
        if same and (np.abs(other.switches - bang.switches) <= 1e-7 * window.length).all():
            return k
    return None
