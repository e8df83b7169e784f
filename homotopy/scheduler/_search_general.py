"""The search for any model: exact discrete adjoints, several starts, structure detection, refinement of the arcs."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize

from .._errors import RequestError, WorkError
from ..flow import AbstractSchedule, BangBang, Greedy, PiecewiseConstant, Step, simulate
from ..problem import Problem
from . import _families
from ._certificate import Certificate, local
from ._discrete import Setting, objective, steps_needed
from ._families import Parametric, nodes
from ._goals import goal_value, linear_metric
from ._linear import linear_control
from ._pontryagin import pontryagin_residual, residual_times, switching_function
from ._refine import as_they_are, calmed, contradicted, detect, refine
from ._result import Arc, SearchResult
from ._search_linear import best_certificate
from ._step import simulated_steps
from ._switching import window

_KNOTS = 12  # at most, of a piecewise linear schedule
# Two starts agree when their objectives differ by less than this fraction of the baseline's.
_AGREE = 1e-6
# A simpler structure is preferred when it costs at most this fraction of the baseline more.
_AS_GOOD = 1e-9
_GREEDY_CELLS = 1000
# How often an arc that σ contradicts is put in before the search stops.
_INSERTIONS = 4
# Numbers of switches that a schedule is padded to before it is simulated.
_SIZES = np.array([8, 48, 128, 400])


def general_search(
    problem: Problem, theta0, target, s: float, t1: float, family: str, goal: str,
    switch_price: float, weight_price: float, how, per_point: bool, options: dict[str, Any],
) -> SearchResult:  # fmt: skip
    """`search` where no closed form applies; the arguments are those of `search`, checked."""
    _refuse(
        switch_price > 0, "switch_price is for linear regression with family='step' or 'bang-bang', one common ε(t)"
    )
    _refuse(per_point and family != "piecewise-constant", "per_point=True goes with family='piecewise-constant'")
    _refuse(not problem.least_squares and how not in ("auto", "none"),
            f"certify={how!r} is for linear regression; for this model use 'auto' (which says 'local') or 'none'")  # fmt: skip
    tolerances = {} if problem.least_squares else {"rtol": options["rtol"], "atol": options["atol"]}
    begin = simulate(problem, Step(s), theta0, t1=s, ts=[s], **tolerances).theta1 if s > 0 else theta0
    setting = Setting(problem, begin, target, jnp.asarray(t1 - s), jnp.asarray(weight_price))

    def value(schedule: AbstractSchedule) -> tuple[float, float]:
        """Energy and objective by the accurate engine."""
        end = simulate(problem, padded(schedule, t1), theta0, t1=t1, ts=[t1], **tolerances).theta1
        energy = float(_value(problem, goal, end, target))
        return energy, energy + weight_price * _spent(schedule, s, t1)

    baseline = value(Step(s))[0]
    notes: tuple[str, ...] = ()
    extra: dict[str, Any] = {}
    if family == "greedy":
        schedule, energy, cost, notes = _greedy(problem, theta0, begin, target, s, t1, goal, weight_price, tolerances)
    elif family == "step":
        _refuse(
            goal != "parameters" or weight_price > 0,
            "family='step' of this model takes goal='parameters' and no price; use 'piecewise-constant' or 'bang-bang'",
        )
        steps_found = simulated_steps(problem, theta0, target, s, t1, options["rtol"], options["atol"])
        tau, energy = min(steps_found, key=lambda pair: pair[1])
        schedule, cost = Step(tau), energy
        extra["stationary"] = tuple(steps_found)
    else:
        parametric = _parametric(problem, family, s, per_point, options)
        steps = max(2, -(-steps_needed(setting, 120) // parametric.arcs))
        ends = _descend(setting, goal, parametric, steps, baseline)
        best = ends[0]
        schedule = parametric.schedule(best[0], s, t1)
        energy, cost = value(schedule)
        agreed = sum(end[1] <= best[1] + _AGREE * max(baseline, 1e-300) for end in ends)
        extra |= {"starts": len(ends), "agreed": agreed}
        if family in ("piecewise-constant", "bang-bang") and not per_point:
            forced = family == "bang-bang"
            arcs = as_they_are(best[0], t1 - s)
            cost = np.inf if forced else cost
            # Levels between 0 and 1 may be a singular arc, or switches that the pieces are too wide for: both are tried.
            trials = [detect(best[0], t1 - s, True)]
            if not forced and (singular := detect(best[0], t1 - s, False)).free != trials[0].free:
                trials.insert(0, singular)
            for trial in trials:
                for _ in range(_INSERTIONS):
                    before = cost
                    for candidate in refine(setting, goal, trial, steps * parametric.arcs):
                        refined = candidate.schedule(s, t1)
                        refined_energy, refined_cost = value(refined)
                        if refined_cost < cost:
                            schedule, energy, cost, arcs = refined, refined_energy, refined_cost, candidate
                    if not cost < before or goal != "parameters" or weight_price or cost <= 0:
                        break
                    ts = residual_times(padded(schedule, t1), s, t1)
                    sigma = np.asarray(
                        switching_function(
                            problem, padded(schedule, t1), theta0, t1=t1, ts=ts, target=target, **tolerances
                        )
                    )
                    flipped = contradicted(arcs, ts - s, sigma)
                    if flipped is None:
                        break
                    trial = flipped
            if not forced and (simpler := calmed(arcs)) is not None:
                for candidate in refine(setting, goal, simpler, steps * parametric.arcs):
                    refined = candidate.schedule(s, t1)
                    refined_energy, refined_cost = value(refined)
                    if refined_cost <= cost + _AS_GOOD * max(baseline, 1e-300):
                        schedule, energy, cost, arcs = refined, refined_energy, refined_cost, candidate
            extra["structure"] = tuple(Arc(s + a, s + b, kind) for a, b, kind in arcs.described())
    certificate = _certificate(problem, theta0, target, s, t1, goal, weight_price, cost, how, per_point)
    residual = float("nan") if per_point else 0.0
    if energy > 0 and not per_point and goal == "parameters" and not weight_price and not isinstance(schedule, Greedy):
        residual = pontryagin_residual(problem, padded(schedule, t1), theta0, s=s, t1=t1, target=target, **tolerances)
    elif not per_point:
        residual = float("nan")
        notes = (*notes, "the Pontryagin residual is computed for goal='parameters' without a price only")
    return SearchResult(
        schedule=schedule, energy=energy, baseline_energy=baseline, pontryagin_residual=residual,
        switches=_jumps(schedule, s, t1), certificate=certificate, family=family, seconds=0.0, objective=cost,
        notes=notes, **extra,
    )  # fmt: skip


_value = eqx.filter_jit(goal_value)


def padded(schedule: AbstractSchedule, t1: float) -> AbstractSchedule:
    """A piecewise constant schedule with empty arcs at T, so that few numbers of arcs are ever compiled."""
    if not isinstance(schedule, (BangBang, PiecewiseConstant)):
        return schedule
    times = np.asarray(schedule.discontinuities())
    values = np.asarray([schedule.piece(k, 0.0) for k in range(len(times) + 1)], dtype=float)
    more = int(_SIZES[np.searchsorted(_SIZES, len(times))]) - len(times) if len(times) <= _SIZES[-1] else 0
    return PiecewiseConstant(np.append(times, np.full(more, max(t1, times[-1] if len(times) else t1))),
                             np.append(values, np.full(more, values[-1])))  # fmt: skip


def _parametric(problem: Problem, family: str, s: float, per_point: bool, options: dict[str, Any]) -> Parametric:
    pieces, starts, seed = options["pieces"], options["starts"], options["seed"]
    if family == "linear":
        return _families.linear_family(starts)
    if family == "polynomial":
        return _families.polynomial_family(starts)
    if family == "piecewise-linear":
        return _families.piecewise_linear_family(max(2, min(pieces, _KNOTS)), starts, seed, fixed=s > 0)
    if family == "neural":
        return _families.neural_family(min(starts, 3), seed)
    return _families.piecewise_constant_family(pieces, starts, seed, problem.delete.shape[0] if per_point else 0)


@eqx.filter_jit
def _evaluate(setting, parameters, goal, family, steps):
    lengths = jnp.full(family.arcs, 1.0 / family.arcs) * setting.length
    return jax.value_and_grad(lambda p: objective(setting, goal, lengths, nodes(family, p, steps)))(parameters)


def _descend(setting: Setting, goal: str, family: Parametric, steps: int, scale: float) -> list[tuple[Any, float]]:
    """L-BFGS-B from every start: (parameters, objective), best first."""
    scale = scale if scale > 0 else 1.0

    def both(parameters):
        value, gradient = _evaluate(setting, jnp.asarray(parameters), goal, family, steps)
        # A step that leaves what RK4 can follow is refused by its value.
        if not np.isfinite(value):
            return 1e10, np.zeros(len(parameters))
        return float(value) / scale, np.asarray(gradient) / scale

    found = []
    for start in family.starts:
        end = minimize(both, start, jac=True, method="L-BFGS-B", bounds=family.bounds,
                       options={"maxiter": 300, "maxfun": 400, "ftol": 1e-13, "gtol": 1e-10, "maxcor": 20})  # fmt: skip
        found.append((np.asarray(end.x), float(end.fun) * scale))
    found = [pair for pair in found if np.isfinite(pair[1]) and pair[1] < 1e9 * scale]
    if not found:
        raise WorkError("every start of the search diverged; try a shorter t1 or a smaller theta0")
    return sorted(found, key=lambda pair: pair[1])


def _greedy(problem, theta0, begin, target, s, t1, goal, price, tolerances):
    """The closed loop from θ(s), and the ε(t) that it produced as an open-loop record."""
    ts = np.linspace(0.0, t1 - s, _GREEDY_CELLS + 1)
    trajectory = simulate(problem, Greedy(target), begin, t1=t1 - s, ts=ts, **tolerances)
    energy = float(goal_value(problem, goal, trajectory.theta1, target))
    levels = np.asarray(trajectory.epsilons)
    middle = np.clip(0.5 * (levels[1:] + levels[:-1]), 0.0, 1.0)
    changes = np.flatnonzero(np.abs(np.diff(middle)) > 1e-9) + 1
    times = np.concatenate([[s], s + ts[changes], [t1]])
    schedule = PiecewiseConstant(times, np.concatenate([[1.0], middle[[0, *changes]], [0.0]]))
    sliding = float(trajectory.stats["sliding_time"])
    notes = (
        f"closed loop: {int(trajectory.stats['switches'])} changes, {sliding:.4g} of {t1 - s:.4g} spent sliding; the energy is "
        f"the closed loop's, the schedule its record on {_GREEDY_CELLS} cells",
    )
    return schedule, energy, energy + price * float(np.sum(middle) * (t1 - s) / _GREEDY_CELLS), notes


def _certificate(problem, theta0, target, s, t1, goal, price, cost, how, per_point) -> Certificate:
    if not problem.least_squares or how == "none":
        return local(cost)
    if per_point:
        _refuse(
            how in ("dual", "value-function", "hjb"), "certificates are for one common ε(t); use certify='auto' here"
        )
        return local(cost)
    control = linear_control(problem, np.asarray(theta0), np.asarray(target), linear_metric(problem, goal))
    _refuse(
        goal == "risk" and bool(control.keep.drive.any()), "goal='risk' needs the leave-one-out optimum as its target"
    )
    return best_certificate(window(control, s, t1, price), cost, how)


def _spent(schedule: AbstractSchedule, s: float, t1: float) -> float:
    """∫_s^T ε dt."""
    inner = np.asarray(schedule.discontinuities())
    edges = np.unique(np.concatenate([[s], inner[(inner > s) & (inner < t1)], np.linspace(s, t1, 401)]))
    nodes_, weights = np.polynomial.legendre.leggauss(3)
    half = 0.5 * np.diff(edges)
    ts = 0.5 * (edges[1:] + edges[:-1])[:, None] + half[:, None] * nodes_
    values = np.asarray(schedule(ts.reshape(-1)))
    return (
        float(np.sum(half[:, None] * weights * values.reshape(ts.shape)))
        if values.ndim == 1
        else float(np.sum((half[:, None] * weights).reshape(-1) @ values))
    )


def _jumps(schedule: AbstractSchedule | Greedy, s: float, t1: float) -> int:
    if isinstance(schedule, Step):
        return int(s < float(schedule.switch) < t1)
    if isinstance(schedule, BangBang):
        return int(np.sum((np.asarray(schedule.switches) > s) & (np.asarray(schedule.switches) < t1)))
    if isinstance(schedule, PiecewiseConstant):
        times, inner = np.asarray(schedule.times), np.abs(np.diff(np.asarray(schedule.values))) > 1e-9
        return int(np.sum(inner & (times > s) & (times < t1)))
    return 0


def _refuse(condition: bool, message: str) -> None:
    if condition:
        raise RequestError(message)
