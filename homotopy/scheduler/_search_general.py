"""The search where no closed form applies: starts, descent by exact discrete adjoints, refinement, judgement."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from .._checks import refuse
from ..flow import AbstractSchedule, Greedy, PiecewiseConstant, Step, simulate
from ._certificate import Certificate, local
from ._families import AbstractFamily, GreedyFeedback, Levels, Parametric, Switches
from ._goals import goal_value, linear_metric
from ._linear import linear_control
from ._parametric import descend, require_admissible, sharpened
from ._result import SearchResult
from ._search_linear import best_certificate
from ._step import simulated_steps
from ._structure import levels_as_arcs, structured
from ._switching import window
from ._task import Task, jumps_inside

# Two starts agree when their objectives differ by less than this fraction of the baseline's.
_AGREE = 1e-6
_GREEDY_CELLS = 1000
# Of a result, as far as it is known: the schedule, its energy and objective, and what the family has to tell.
_Found = tuple[AbstractSchedule, float, float, dict[str, Any]]


def general_search(task: Task, family: AbstractFamily, switch_price: float, how: str) -> SearchResult:
    """`search` where no closed form applies; the arguments are those of `search`, checked."""
    problem = task.problem
    refuse(switch_price > 0, "switch_price is for linear regression with family='step' or 'bang-bang', one common ε(t)")
    refuse(not problem.least_squares and how not in ("auto", "none"),
           f"certify={how!r} is for linear regression; for this model use 'auto' (which says 'local') or 'none'")  # fmt: skip
    match family:
        case GreedyFeedback():
            schedule, energy, cost, told = _closed_loop(task)
        case Switches(most=1):
            schedule, energy, cost, told = _one_step(task)
        case _:
            schedule, energy, cost, told = _parametric(task, family)
    per_point = np.ndim(np.asarray(schedule(task.s))) > 0  # ε_j(t): no bound is known for one that differs by point
    certificate = _certificate(task, cost, how, per_point)
    residual, notes = math.nan, told.pop("notes", ())
    if task.plain and not per_point:
        residual = task.residual(schedule) if energy > 0 else 0.0
    elif not per_point:
        notes = (*notes, "the Pontryagin residual is computed for goal='parameters' without a price only")
    return SearchResult(
        schedule=schedule, energy=energy, baseline_energy=task.baseline, pontryagin_residual=residual,
        switches=jumps_inside(schedule, task.s, task.t1), certificate=certificate, family=str(family), seconds=0.0,
        objective=cost, notes=notes, **told,
    )  # fmt: skip


def _parametric(task: Task, family: AbstractFamily) -> _Found:
    """The best parameters; levels that are common to all points are refined as arcs, other schedules in their steps."""
    own = isinstance(family, Parametric)
    parametric = family.parametric(task.problem, task.s, task.t1)
    if own:
        require_admissible(task, parametric, parametric.begins[0])
    ends = descend(task, parametric)
    agreed = sum(end[1] <= ends[0][1] + _AGREE * task.scale for end in ends)
    told: dict[str, Any] = {"starts": len(ends), "agreed": agreed}
    if isinstance(family, Switches) or (isinstance(family, Levels) and not family.per_point):
        bang, most = isinstance(family, Switches), getattr(family, "most", None)
        first = levels_as_arcs(task, ends[0][0], parametric.make(jnp.asarray(ends[0][0])), bang)
        best = structured(task, ends, first, max(task.steps, 2 * family.pieces), bang, most)
        return best.schedule, best.energy, best.cost, told | {"structure": best.structure(task.s)}
    parameters, energy, cost = sharpened(task, parametric, ends)
    if own:
        require_admissible(task, parametric, parameters)
    return parametric.make(jnp.asarray(parameters)), energy, cost, told


def _one_step(task: Task) -> _Found:
    """The best single step of any model, from batches of simulated ones."""
    refuse(
        not task.plain,
        "family='step' of this model takes goal='parameters' and no price; use 'piecewise-constant' or 'bang-bang'",
    )
    found = simulated_steps(task.problem, task.theta0, task.target, task.s, task.t1, task.rtol, task.atol)
    tau, energy = min(found, key=lambda pair: pair[1])
    return Step(tau), energy, energy, {"stationary": tuple(found)}


def _closed_loop(task: Task) -> _Found:
    """The greedy closed loop from θ(s), and the ε(t) that it produced as an open-loop record."""
    s, length = task.s, task.t1 - task.s
    ts = np.linspace(0.0, length, _GREEDY_CELLS + 1)
    trajectory = simulate(task.problem, Greedy(task.target), task.begin, t1=length, ts=ts, **task.tolerances)
    energy = float(goal_value(task.problem, task.goal, trajectory.theta1, task.target))
    levels = np.asarray(trajectory.epsilons)
    middle = np.clip(0.5 * (levels[1:] + levels[:-1]), 0.0, 1.0)
    changes = np.flatnonzero(np.abs(np.diff(middle)) > 1e-9) + 1
    times = np.concatenate([[s], s + ts[changes], [task.t1]])
    schedule = PiecewiseConstant(times, np.concatenate([[1.0], middle[[0, *changes]], [0.0]]))
    sliding = float(trajectory.stats["sliding_time"])
    note = (
        f"closed loop: {int(trajectory.stats['switches'])} changes, {sliding:.4g} of {length:.4g} spent sliding; the energy is "
        f"the closed loop's, the schedule its record on {_GREEDY_CELLS} cells"
    )
    spent = float(np.sum(middle) * length / _GREEDY_CELLS)
    return schedule, energy, energy + task.price * spent, {"notes": (note,)}


def _certificate(task: Task, cost: float, how: str, per_point: bool) -> Certificate:
    """The bound on every admissible ε(t) of a linear problem, whatever family found this one."""
    problem = task.problem
    if not problem.least_squares or how == "none":
        return local(cost)
    if per_point:
        refuse(
            how in ("dual", "value-function", "hjb"), "certificates are for one common ε(t); use certify='auto' here"
        )
        return local(cost)
    control = linear_control(
        problem, np.asarray(task.theta0), np.asarray(task.target), linear_metric(problem, task.goal)
    )
    refuse(
        task.goal == "risk" and bool(control.keep.drive.any()),
        "goal='risk' needs the leave-one-out optimum as its target",
    )
    return best_certificate(window(control, task.s, task.t1, task.price), cost, how)
