"""Minimum time to ‖θ − θ*₋‖ ≤ tolerance, for linear regression; tolerance 0: exact arrival in finite time.

Under ε = 0 the distance never grows, so the least distance ρ(T') that can be reached by T' falls with T', and the
minimum time is the root of ρ(T') = tolerance, found by bisection and, since dE*/dT' = ⟨p(T'), ż(T')⟩ (envelope), by
Newton's method. Each ρ(T') is a search over bang-bang schedules on [s, T'].
"""

from dataclasses import replace

import numpy as np

from .._errors import WorkError
from ._bang_bang import Local, polish, search_bang_bang, settle, tidy
from ._certificate import Certificate
from ._result import SearchResult
from ._search_linear import arcs_of, as_schedule, baseline_energy
from ._switching import Bang, Window

_ITERATIONS = 80
_PRECISION = 1e-12  # of the arrival time, relative to T − s
# "exact" arrival: ‖z‖ below this times ‖z(s)‖.
_EXACT = 1e-13


def minimum_time(window: Window, tolerance: float, notes: tuple[str, ...]) -> SearchResult:
    """The earliest arrival; `WorkError` if the tolerance cannot be reached by T."""
    size = float(np.linalg.norm(window.begin))
    goal = max(tolerance, _EXACT * size)
    if size <= goal:
        return _made(window, Bang(0, np.zeros(0)), window.s, 0.0, notes, 1)
    found = search_bang_bang(window)
    last = found[0]
    if _distance(last) > goal:
        raise WorkError(
            f"‖θ − θ*₋‖ ≤ {tolerance:g} cannot be reached by t1 = {window.t1:g}: the best found is {_distance(last):.6g}; "
            "try a larger t1 or tolerance"
        )
    low, high, best = window.s, window.t1, last
    time = 0.5 * (low + high)
    for _ in range(_ITERATIONS):
        if high - low <= _PRECISION * window.length:
            break
        here = replace(window, t1=time)
        local = _least(here, [best.bang, *(local.bang for local in found[1:3])])
        distance = _distance(local)
        if distance <= goal:
            high, best = time, local
            # The arrival may lie well before this end, where ε = 0 only waits.
            time = 0.5 * (low + high)
        else:
            low = time
            rate = _rate(here, local.bang) / distance
            newton = time + (goal - distance) / rate if rate < 0 else np.inf
            # One step beyond the root turns it into the upper bound.
            ahead = newton + 1e-9 * (newton - time) + 2e-13 * window.length
            time = ahead if low < ahead < high else 0.5 * (low + high)
    arrival = replace(window, t1=high)
    return _made(arrival, tidy(arrival, best.bang), high, _distance(best), notes, window.t1)


def _least(window: Window, warm: list[Bang]) -> Local:
    """The best schedule on the shorter window, from a full search and from known schedules cut to it."""
    found = search_bang_bang(window)[:1]
    for bang in warm:
        cut = tidy(window, Bang(bang.first, np.minimum(bang.switches, window.t1)))
        found.append(settle(window, *polish(window, cut)))
    return min(found, key=lambda local: (local.value, len(local.bang.switches)))


def _distance(local: Local) -> float:
    return float(np.sqrt(2 * max(local.value, 0.0)))


def _rate(window: Window, bang: Bang) -> float:
    """dE*/dT'."""
    control = window.control
    end = window.ends(bang.first, bang.switches[None])[0]
    slopes = [phase.drive - phase.hessian @ end for phase in (control.keep, control.full)]
    return float(min(end @ slope for slope in slopes))


def _made(window: Window, bang: Bang, arrival: float, distance: float, notes, t1) -> SearchResult:
    return SearchResult(
        schedule=as_schedule(window, bang) if window.t1 > window.s else as_schedule(replace(window, t1=t1), bang),
        energy=0.5 * distance**2, baseline_energy=baseline_energy(window), pontryagin_residual=0.0,
        switches=len(bang.switches), certificate=Certificate("local", 0.0, 0.5 * distance**2), family="bang-bang",
        seconds=0.0, objective=arrival, arrival=arrival, structure=arcs_of(window, bang), notes=notes,
    )  # fmt: skip
