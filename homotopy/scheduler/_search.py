"""`search`: the best schedule of a family on E_s = {ε : ε = 1 on [0, s], ε = 0 from T on, 0 ≤ ε ≤ 1}."""

import time
from dataclasses import replace
from typing import Literal, get_args

import numpy as np

from .._checks import Choice, Flag, Number, Theta, Whole, as_tolerance, as_window, choice, flag, number, on_host, whole
from .._errors import RequestError
from .._extras import need
from ..problem import Problem, on_problem
from ._certificate import Certify
from ._energy import resolve_target
from ._goals import check_goal, linear_metric
from ._linear import LinearControl, linear_control
from ._minimum_time import minimum_time
from ._result import SearchResult
from ._search_linear import bang_bang_result, step_result
from ._switching import Window, window

Family = Literal[
    "step", "bang-bang", "piecewise-constant", "linear", "polynomial", "piecewise-linear", "neural", "greedy"
]
# e^{λt} beyond this overflows on the way back, and everything faster has long arrived.
LONGEST = 1e8
# θ*₋ known to fewer digits than this deserves a note.
_BLURRED = 1e-8


@on_problem
def search(
    problem: Problem,
    theta0: Theta,
    *,
    s: Number = 0.0,
    t1: Number,
    family: Choice = "step",
    target: Theta | None = None,
    goal: Choice = "parameters",
    tolerance: Number = 0.0,
    switch_price: Number = 0.0,
    weight_price: Number = 0.0,
    certify: Choice = "auto",
    per_point: Flag = False,
    pieces: Whole = 40,
    starts: Whole = 8,
    seed: Whole = 0,
    rtol: Number = 1e-8,
    atol: Number = 1e-10,
) -> SearchResult:
    """The schedule of `family` that ends nearest to θ*₋ at T = `t1`, among those with ε = 1 on [0, s].

    - `family`: "step" 1_[0,τ]; "bang-bang" (any number of switches); "piecewise-constant" (`pieces` equal levels, then
      refined where its structure is bang-bang); "linear" and "polynomial" decay; "piecewise-linear" (`pieces` knots at
      most 12); "neural"; "greedy" (closed loop).
    - `goal`: "parameters" ½‖θ(T) − θ*₋‖², "outputs" ½Σ‖f(θ(T); x_i) − f(θ*₋; x_i)‖², "risk" R⁻(θ(T)) − R⁻(θ*₋), or
      "time": the earliest time at which ‖θ − θ*₋‖ ≤ `tolerance` (linear regression; `t1` is the latest allowed).
    - `switch_price` per jump of ε, `weight_price` per unit of ∫ε dt from s on: added to the objective.
    - `certify`: "auto" takes the sharpest bound that applies, "dual", "value-function" (extra `certify`) and "hjb" ask
      for one, "none" for no bound. `per_point=True` gives every deleted point its own ε_j(t).
    - `target`: θ*₋, needed for models other than linear regression (see `energy`), whose searches take `starts` starts.

    Linear regression with "step" or "bang-bang" is exact, in NumPy, without compilation. Raises `RequestError` for
    bad times (0 ≤ s < T), unknown names, options that would be ignored and certificates that do not apply.
    """
    began = time.perf_counter()
    on_host((problem, theta0, target, s, t1), "search")
    s, t1 = as_window(s, t1)
    tolerance = number(tolerance, "tolerance", least=0.0)
    switch_price = number(switch_price, "switch_price", least=0.0)
    weight_price = number(weight_price, "weight_price", least=0.0)
    _check_names(problem, family, goal, certify, tolerance, switch_price, weight_price)
    options = {
        "pieces": whole(pieces, "pieces", 1), "starts": whole(starts, "starts", 1), "seed": whole(seed, "seed", 0),
        "rtol": float(as_tolerance(rtol, "rtol")), "atol": float(as_tolerance(atol, "atol")),
    }  # fmt: skip
    flag(per_point, "per_point")
    if certify == "value-function":
        need("certify", "certify='value-function'")
    theta0 = problem.check_theta(theta0)
    if problem.least_squares and family in ("step", "bang-bang") and not per_point:
        chosen = None if target is None else np.asarray(problem.check_theta(target, "target"))
        control = linear_control(problem, np.asarray(theta0), chosen, linear_metric(problem, goal))
        if goal == "risk" and control.keep.drive.any():
            raise RequestError("goal='risk' needs the leave-one-out optimum as its target; drop target=")
        check_horizon(control, t1)
        here = window(control, s, t1, weight_price)
        notes = notes_of(here)
        if goal == "time":
            result = minimum_time(here, tolerance, notes)
        elif family == "step":
            result = step_result(here, certify, notes)
            jumps = result.switches + (result.structure[0].kind != "on")
            result = replace(result, objective=result.objective + switch_price * jumps)
        else:
            result = bang_bang_result(here, certify, notes, switch_price)
    else:
        from ._search_general import general_search  # compiles: not paid for by the closed forms

        target = resolve_target(problem, theta0, target)
        result = general_search(
            problem, theta0, target, s, t1, family, goal, switch_price, weight_price, certify, per_point, options
        )
    return replace(result, goal=goal, seconds=time.perf_counter() - began)


def notes_of(here: Window) -> tuple[str, ...]:
    """What a reader of the result must know of these data."""
    control, begin = here.control, here.begin
    notes: tuple[str, ...] = ()
    if control.deficient and not control.keep.drive.any():
        notes = ("H₋ is singular without the deleted points: θ*₋ is the limit of the ε = 0 flow from θ₀",)
    if control.turned > _BLURRED:
        notes = (
            *notes,
            "columns of X without the deleted points are collinear and of very different sizes: E is known to about "
            f"{max(0, int(-np.log10(control.turned)))} digits; leave a column out, or give all columns one size",
        )
    if control.condition * np.finfo(float).eps > _BLURRED:
        digits = max(0, int(-np.log10(control.condition * np.finfo(float).eps)))
        notes = (
            *notes,
            f"the columns of X without the deleted points are nearly collinear (condition number {control.condition:.1e} in "
            f"columns of equal size): θ*₋ and E are known to about {digits} digits; drop a column or add a ridge",
        )
    if not control.deleted.rows.any():
        notes = (*notes, "the deleted points have x = 0: they pull nothing, and every ε(t) is the same")
    elif not control.deleted.residuals.any() and not control.keep.drive.any():
        notes = (*notes, "θ*₋ fits the deleted points exactly (r = 0 to rounding): ε only sets how fast θ gets there")
    if control.at_target(begin):
        notes = (*notes, "θ(s) already is θ*₋: ε = 0 stays there")
    return notes


def check_horizon(control: LinearControl, t1: float) -> None:
    """`RequestError` where λ_max·t1 is too large for exponentials."""
    if t1 * control.fastest > LONGEST:
        raise RequestError(
            f"t1 must not exceed {LONGEST:g}/λ_max = {LONGEST / control.fastest:g} here (beyond it exponentials carry "
            f"no digits), but is {t1:g}"
        )


def _check_names(problem, family, goal, certify, tolerance, switch_price, weight_price) -> None:
    choice(family, "family", get_args(Family))
    check_goal(goal)
    choice(certify, "certify", get_args(Certify))
    if goal == "time" and not (problem.least_squares and family == "bang-bang"):
        raise RequestError("goal='time' is for linear regression with family='bang-bang'")
    if goal == "time" and (switch_price or weight_price):
        raise RequestError("goal='time' takes no switch_price and no weight_price: they would be ignored")
    if goal == "time" and certify not in ("auto", "none"):
        raise RequestError(
            f"goal='time' takes no certify={certify!r} (its answer is a local one); use 'auto' or 'none'"
        )
    if goal != "time" and tolerance:
        raise RequestError("tolerance is for goal='time' only; it would be ignored here")
