"""The search for linear regression, where every bang-bang flow is exact: steps and bang-bang schedules in NumPy."""

from itertools import pairwise

import numpy as np

from ..flow import AbstractSchedule, BangBang, Step
from ._bang_bang import UNSETTLED, Local, is_reached, jumps, no_switch_matters, search_bang_bang
from ._certificate import Certificate, certify
from ._linear import Vector
from ._result import Arc, SearchResult
from ._step import stationary_steps
from ._switching import Bang, Window
from ._violation import violation


def baseline_energy(window: Window) -> float:
    """E(1_[0,s])."""
    return window.baseline


def exact_result(
    window: Window, most: int | None, how: str, notes: tuple[str, ...], switch_price: float = 0.0
) -> SearchResult:
    """The best schedule with at most `most` jumps on [s, T), certified against every admissible schedule."""
    if most == 1:
        return _step_result(window, how, notes, switch_price)
    return _bang_bang_result(window, most, how, notes, switch_price)


def _step_result(window: Window, how: str, notes: tuple[str, ...], switch_price: float) -> SearchResult:
    """The best single step."""
    found = stationary_steps(window)

    def priced(pair: tuple[float, float]) -> float:
        """Only ε = 1 until T has no jump."""
        return pair[1] + switch_price * (pair[0] < window.t1)

    tau, value = min(found, key=priced)
    none, at_once = Bang(0, np.zeros(0)), window.baseline
    # Where θ(s) is θ*₋, or no step gains more than rounding, there is nothing to wait for.
    at_once_is_best = priced((window.s, at_once)) <= priced((tau, value)) + window.noise(none, at_once)
    if window.control.at_target(window.begin) or at_once_is_best:
        tau, value = window.s, at_once
    inside = window.s < tau < window.t1
    bang = Bang(1, np.array([tau])) if inside else Bang(int(tau >= window.t1), np.zeros(0))
    residual = 0.0 if is_reached(window, value, bang) else violation(window, bang)[0]
    certificate = best_certificate(window, value, how)
    notes = (*notes, *precision_notes(window))
    objective = value + switch_price * jumps(bang)
    return _result(window, bang, Step(tau), residual, certificate, notes, objective, stationary=tuple(found))


def _bang_bang_result(
    window: Window, most: int | None, how: str, notes: tuple[str, ...], switch_price: float
) -> SearchResult:
    """The best bang-bang schedule."""
    found = search_bang_bang(window, switch_price, most)
    best = found[0]
    single = window.control.single is not None
    dim = len(window.begin)
    if len(best.bang.switches) > 2 * dim - 1 and single and not is_reached(window, best.value, best.bang):
        notes = (
            *notes,
            f"news: {len(best.bang.switches)} switches exceed the bound 2d − 1 = {2 * dim - 1}; keep this instance",
        )
    if not single or window.price:
        why = "a price on ∫ε" if single else "several deleted points or outputs"
        notes = (*notes, f"{why}: arcs with ε strictly between 0 and 1 may be better than any bang-bang schedule; "
                 "compare family='piecewise-constant'")  # fmt: skip
    notes = (*notes, *precision_notes(window))
    if best.residual > UNSETTLED and single and not window.price and most is None:
        notes = (*notes, f"Pontryagin's principle fails (residual {best.residual:.2g}) and no search from further starts was "
                 "better: another schedule may be")  # fmt: skip
    value = best.value - switch_price * jumps(best.bang)
    certificate = best_certificate(window, value, how, best, constrained=most is not None or switch_price > 0)
    starts = sum(local.starts for local in found)
    return _result(
        window, best.bang, as_schedule(window, best.bang), best.residual, certificate, notes, best.value,
        starts=starts, agreed=best.starts,
    )  # fmt: skip


def precision_notes(window: Window) -> tuple[str, ...]:
    """What float64 cannot decide in this window."""
    if no_switch_matters(window):
        return ("no switch can matter: every ε(t) changes E by less than its rounding",)
    if not window.control.at_target(window.begin) and window.control.at_target(_waited(window)):
        return ("ε = 0 alone brings θ(T) to θ*₋ within its rounding; schedules differ below that only",)
    return ()


def _waited(window: Window) -> Vector:
    return np.asarray(window.ends(0, np.zeros((1, 0)))[0])


def best_certificate(
    window: Window, value: float, how: str, best: Local | None = None, constrained: bool = False
) -> Certificate:
    """A bound on every admissible schedule, from the best bang-bang one where there is a dual.

    Where `best` is `constrained` (a price on switches, a limit on their number), the bound is one on the energy without
    that, which is no larger.
    """
    if is_reached(window, value, None if best is None else best.bang):
        return Certificate("reached", 0.0, value)
    single = window.control.single is not None
    end: Vector | None = None
    if how in ("auto", "dual") and single and not window.price:
        if best is None or constrained:
            best = search_bang_bang(window)[0]
        end = window.ends(best.bang.first, best.bang.switches[None])[0]
    return certify(window, value, end, how, single)


def as_schedule(window: Window, bang: Bang) -> AbstractSchedule:
    """ε = 1 on [0, s], then `bang`, and 0 from T on."""
    switches = bang.switches
    if bang.first == 0:
        if window.s == 0:
            return BangBang(_closed(switches, 0, window.t1), first=0.0)
        return BangBang(_closed(np.concatenate([[window.s], switches]), 1, window.t1), first=1.0)
    return BangBang(_closed(switches, 1, window.t1), first=1.0)


def _closed(switches: Vector, first: int, t1: float) -> Vector:
    """With a last switch at T where ε would otherwise stay 1 after it."""
    return np.append(switches, t1) if (first + len(switches)) % 2 else switches


def arcs_of(window: Window, bang: Bang) -> tuple[Arc, ...]:
    """The arcs of `bang` on [0, T]."""
    edges = np.concatenate([[window.s], bang.switches, [window.t1]]).tolist()
    arcs = [Arc(a, b, "on" if (bang.first + k) % 2 else "off") for k, (a, b) in enumerate(pairwise(edges))]
    if window.s > 0:
        arcs = [Arc(0.0, arcs[0].end, "on"), *arcs[1:]] if bang.first else [Arc(0.0, window.s, "on"), *arcs]
    return tuple(arcs)


def _result(window, bang, schedule, residual, certificate, notes, objective, **more) -> SearchResult:
    energy = float(window.control.energy(window.ends(bang.first, bang.switches[None])[0]))
    return SearchResult(
        schedule=schedule, energy=energy, baseline_energy=baseline_energy(window), pontryagin_residual=residual,
        switches=len(bang.switches), certificate=certificate, family="bang-bang", seconds=0.0, notes=notes,
        structure=arcs_of(window, bang), objective=objective, **more,
    )  # fmt: skip
