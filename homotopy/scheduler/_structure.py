"""From levels on equal pieces to a schedule of arcs: structures are detected, refined, and judged by σ."""

from dataclasses import dataclass

import numpy as np

from ..flow import AbstractSchedule
from ._linear import Vector
from ._parametric import Ends
from ._refine import Arcs, as_they_are, calmed, contradicted, detect, limited, refine
from ._result import Arc
from ._task import Task

# A simpler structure is preferred when it costs at most this fraction of the baseline more.
_AS_GOOD = 1e-9
# How often an arc that σ contradicts is put in before the search stops.
_INSERTIONS = 4
# Where the number of switches is limited: how many of the levels that were found are cut down to it.
_CUT = 3


@dataclass(frozen=True)
class Structured:
    """A schedule, its energy and objective by the accurate engine, and its arcs."""

    schedule: AbstractSchedule
    energy: float
    cost: float
    arcs: Arcs

    def structure(self, s: float) -> tuple[Arc, ...]:
        """The arcs from s on."""
        return tuple(Arc(s + a, s + b, kind) for a, b, kind in self.arcs.described())


def structured(task: Task, ends: Ends, best: Structured, steps: int, bang: bool, most: int | None) -> Structured:
    """The refined best of the levels in `ends`: bang-bang (`bang`, with at most `most` switches), or as they come."""
    for trial in _trials(task, ends, bang, most):
        best = _followed(task, best, trial, steps, most)
    if not bang and (simpler := calmed(best.arcs)) is not None:
        best = _improved(task, best, simpler, steps, slack=_AS_GOOD * task.scale)
    return best


def levels_as_arcs(task: Task, levels: Vector, schedule: AbstractSchedule, bang: bool) -> Structured:
    """What the refinement begins with; levels that are not all 0 or 1 are no bang-bang schedule, whatever they are worth."""
    energy, cost = task.value(schedule)
    return Structured(schedule, energy, np.inf if bang else cost, as_they_are(levels, task.t1 - task.s))


def _trials(task: Task, ends: Ends, bang: bool, most: int | None) -> list[Arcs]:
    """Levels between 0 and 1 may be a singular arc, or switches that the pieces are too wide for: both are tried."""
    length = task.t1 - task.s
    if most is not None:
        return [limited(detect(levels, length, True), most) for levels, _ in ends[:_CUT]]
    trials = [detect(ends[0][0], length, True)]
    if not bang and (singular := detect(ends[0][0], length, False)).free != trials[0].free:
        trials.insert(0, singular)
    return trials


def _improved(task: Task, best: Structured, trial: Arcs, steps: int, slack: float | None = None) -> Structured:
    """`best`, or what the refinement of `trial` passes that is better (or, with `slack`, no worse than so much)."""
    for arcs in refine(task.setting, task.goal, trial, steps):
        schedule = arcs.schedule(task.s, task.t1)
        energy, cost = task.value(schedule)
        if cost < best.cost or (slack is not None and cost <= best.cost + slack):
            best = Structured(schedule, energy, cost, arcs)
    return best


def _followed(task: Task, best: Structured, trial: Arcs, steps: int, most: int | None) -> Structured:
    """`trial` refined; then, while that is better, with ε flipped where σ contradicts it."""
    for _ in range(_INSERTIONS):
        before = best.cost
        best = _improved(task, best, trial, steps)
        if not best.cost < before or not task.plain or best.cost <= 0:
            break
        ts, sigma = task.sigma(best.schedule)
        flipped = contradicted(best.arcs, ts - task.s, sigma)
        if flipped is None:
            break
        trial = flipped if most is None else limited(flipped, most)
    return best
