"""Minimum time to ‖θ − θ*₋‖ ≤ tolerance, for linear regression; tolerance 0: exact arrival in finite time.

Under ε = 0 the distance never grows, so the least distance ρ(T') that can be reached by T' falls with T', and the
minimum time is the root of ρ(T') = tolerance, found by bisection and, since dE*/dT' = ⟨p(T'), ż(T')⟩ (envelope), by
Newton's method. Each ρ(T') is a search over bang-bang schedules on [s, T']. An exact arrival (tolerance 0) is solved
for by itself (`arrive`), and is the earliest when a search that ends just before it finds none.
"""

from dataclasses import replace

import numpy as np

from .._errors import RequestError, WorkError
from ._arrival import Arrival, arrive, exactness, spaced
from ._bang_bang import Local, polish, search_bang_bang, settle
from ._certificate import Certificate
from ._result import SearchResult
from ._search_linear import arcs_of, as_schedule, baseline_energy
from ._switching import Bang, Window, tidy

_ITERATIONS = 80
_NEAR = 1e-3  # of ‖z(s)‖: schedules that end nearer than this are tried for an exact arrival
_NEXT = 1e-6  # of T − s: an exact arrival is the earliest if there is none this much before
_PRECISION = 1e-12  # of the arrival time, relative to T − s


def minimum_time(window: Window, tolerance: float, notes: tuple[str, ...]) -> SearchResult:
    """The earliest arrival; `WorkError` if no schedule is found that reaches the tolerance by T."""
    if window.control.keep.drive.any():
        raise RequestError(
            "goal='time' needs the leave-one-out optimum as its target: at another one ε = 0 does not stay; drop target="
        )
    size = float(np.linalg.norm(window.begin))
    goal = max(tolerance, exactness(window))
    if size <= goal or window.control.at_target(window.begin):
        return _made(window, Bang(0, np.zeros(0)), window.s, size, notes, window.t1)
    found = search_bang_bang(window)
    last = found[0]
    arrival = _exact(window, found, everywhere=True) if tolerance == 0 else None
    if arrival is not None:
        arrival = _earliest(window, arrival)
        end = replace(window, t1=arrival.time)
        return _made(end, tidy(end, arrival.bang), arrival.time, 0.0, notes, window.t1)
    if _distance(last) > goal:
        raise WorkError(
            f"no ε(t) was found that reaches ‖θ − θ*₋‖ ≤ {tolerance:g} by t1 = {window.t1:g}: the best ends at "
            f"{_distance(last):.6g}; try a larger t1 or tolerance"
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
    end = replace(window, t1=high)
    return _made(end, tidy(end, best.bang), high, _distance(best), notes, window.t1)


def _earliest(window: Window, arrival: Arrival) -> Arrival:
    """The earliest exact arrival: just before the one that is known, then at half its time, until there is none."""
    low, just_before = window.s, True
    while arrival.time - low > _NEXT * window.length:
        time = arrival.time - 0.5 * _NEXT * window.length if just_before else 0.5 * (low + arrival.time)
        here = replace(window, t1=time)
        earlier = _exact(here, search_bang_bang(here))
        if earlier is None:
            low, just_before = time, True
        else:
            arrival, just_before = earlier, not just_before
    return arrival


def _least(window: Window, warm: list[Bang]) -> Local:
    """The best schedule on the shorter window, from a full search and from known schedules cut to it."""
    found = search_bang_bang(window)[:1]
    for bang in warm:
        cut = tidy(window, Bang(bang.first, np.minimum(bang.switches, window.t1)))
        found.append(settle(window, *polish(window, cut)))
    return min(found, key=lambda local: (local.value, len(local.bang.switches)))


def _exact(window: Window, found: list[Local], everywhere: bool = False) -> Arrival | None:
    """The earliest exact arrival near the schedules that end close to θ*₋; if there is none, near equally spaced
    switches (where no schedule ends close to θ*₋, only if asked to look `everywhere`)."""
    near = _NEAR * float(np.linalg.norm(window.begin))
    close = [local.bang for local in found if _distance(local) <= near]
    arrivals = [arrive(window, bang) for bang in close]
    if (close or everywhere) and all(arrival is None for arrival in arrivals):
        arrivals = [arrive(window, bang) for bang in spaced(window)]
    return min((arrival for arrival in arrivals if arrival is not None), key=lambda a: a.time, default=None)


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
