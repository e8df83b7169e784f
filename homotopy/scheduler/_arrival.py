"""Exact arrival: switch times for which θ is on θ*₋, not merely near it.

Whoever is on θ*₋ stays there under ε = 0, and whoever comes from elsewhere under ε = 0 never arrives; so an arrival is
the end of an arc with ε = 1. At T, long after it, the fast modes have forgotten every error of the switch times, and a
search that looks at T only stops short. Here z = 0 is solved at the arrival itself, by Gauss–Newton in all times.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ._linear import Vector
from ._switching import Bang, Window

_REACHED = 16.0  # ‖z‖ below so many roundings of the way there is 0
_EXACT = 1e-13  # … and so it is below this times ‖z(s)‖ where nobody can arrive but by waiting
# … and so it is below this times ‖θ*₋‖ and the distances of where the flows rest: the rounding of θ itself.
_ROUNDING = 1e-15
_STEPS = 40
_SHARES = (1e-6, 1e-3, 0.1, 0.3, 0.5, 0.7, 0.9)  # of [s, T] that equally spaced switches fill


class Arrival(NamedTuple):
    """`bang` on [s, time] ends on θ*₋ at `time`, its last arc with ε = 1."""

    bang: Bang
    time: float


def exactness(window: Window) -> float:
    """‖z‖ that counts as 0 in this window."""
    control = window.control
    sizes = [np.linalg.norm(point) for point in (control.target, control.keep.rest, control.full.rest)]
    return float(max(_EXACT * np.linalg.norm(window.begin), _ROUNDING * max(sizes)))


def arrive(window: Window, bang: Bang) -> Arrival | None:
    """The exact arrival by T near `bang`; None where Gauss–Newton finds none. The metric plays no part."""
    times, plain = bang.switches, replace(window.control, metric=None)
    if (bang.first + len(times)) % 2:  # still ε = 1 at T
        times = np.append(times, window.t1)
    if not len(times):
        return None
    z, slopes = _end(window, bang.first, times)
    start = float(np.linalg.norm(window.begin))
    for _ in range(_STEPS):
        distance = float(np.linalg.norm(z))
        if distance <= _EXACT * start:
            arrived = Arrival(Bang(bang.first, times[:-1]), float(times[-1]))
            if distance <= _REACHED * replace(window, t1=arrived.time, control=plain).rounding(arrived.bang):
                return arrived
        step = np.linalg.lstsq(slopes, -z, rcond=1e-13)[0]
        gaps = np.diff(np.concatenate([[window.s], times, [window.t1]]))
        closing = np.diff(np.concatenate([[0.0], step, [0.0]]))
        shrinks = closing < 0
        # An arc may shrink to nothing only in the limit: where it must, this is not the structure.
        fraction = min(1.0, 0.9 * float(np.min(-gaps[shrinks] / closing[shrinks]))) if shrinks.any() else 1.0
        while fraction > 1e-6:
            trial = times + fraction * step
            end, trial_slopes = _end(window, bang.first, trial)
            if np.linalg.norm(end) < distance:
                break
            fraction *= 0.5
        else:
            return None
        times, z, slopes = trial, end, trial_slopes
    return None


def spaced(window: Window) -> list[Bang]:
    """Enough equally spaced switches for z = 0, the last of them after an arc with ε = 1."""
    dim, spaced = len(window.begin), []
    for first in (0, 1):
        count = dim + (dim + first) % 2
        for share in _SHARES:
            times = window.s + share * window.length * np.arange(1, count + 1) / count
            spaced.append(Bang(first, times))
    return spaced


def _end(window: Window, first: int, times: Vector) -> tuple[Vector, Vector]:
    """z at the last of `times`, and its derivatives (dim, times)."""
    control = window.control
    z, at, slopes = window.begin, window.s, np.zeros((len(window.begin), len(times)))
    for k, time in enumerate(times):
        phase = control.phase(float((first + k) % 2))
        flow = phase.propagator(time - at)
        z = flow @ z + phase.driven(time - at)
        slopes = flow @ slopes
        # Later by dt: dt more of this phase, and dt less of the next one, which the next round takes off.
        slopes[:, k] = phase.drive - phase.hessian @ z
        if k + 1 < len(times):
            other = control.phase(float((first + k + 1) % 2))
            slopes[:, k] -= other.drive - other.hessian @ z
        at = time
    return z, slopes
