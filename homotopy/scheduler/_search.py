"""`search`: the best schedule of a family on E_s = {ε : ε = 1 on [0, s], ε = 0 from T on, 0 ≤ ε ≤ 1}."""

import functools
import inspect
import time
from collections.abc import Callable
from dataclasses import fields, replace
from typing import ParamSpec, get_args

import numpy as np

from .._checks import Choice, Number, Theta, as_tolerance, as_window, choice, number, on_host, refuse
from .._errors import RequestError
from .._extras import need
from ..problem import Problem, on_problem
from ._certificate import Certify
from ._energy import resolve_target
from ._families import AbstractFamily, Switches, as_family, refuse_option
from ._goals import check_goal, linear_metric
from ._linear import LinearControl, linear_control
from ._minimum_time import minimum_time
from ._result import SearchResult
from ._search_linear import exact_result
from ._switching import Window, window

# e^{λt} beyond this overflows on the way back, and everything faster has long arrived.
LONGEST = 1e8
# θ*₋ known to fewer digits than this deserves a note.
_BLURRED = 1e-8


Arguments = ParamSpec("Arguments")


def _options_of_families_are_theirs(function: Callable[Arguments, SearchResult]) -> Callable[Arguments, SearchResult]:
    """`function`, which says where an option belongs that is not its own but some family's."""
    own = inspect.signature(function).parameters

    @functools.wraps(function)
    def checked(*args: Arguments.args, **kwargs: Arguments.kwargs) -> SearchResult:
        for name in kwargs.keys() - own.keys():
            refuse_option(name)
        return function(*args, **kwargs)

    return checked


@on_problem
@_options_of_families_are_theirs
def search(
    problem: Problem,
    theta0: Theta,
    *,
    s: Number = 0.0,
    t1: Number,
    family: AbstractFamily | str = "step",
    target: Theta | None = None,
    goal: Choice = "parameters",
    tolerance: Number = 0.0,
    switch_price: Number = 0.0,
    weight_price: Number = 0.0,
    certify: Choice = "auto",
    rtol: Number = 1e-8,
    atol: Number = 1e-10,
) -> SearchResult:
    """The schedule of `family` that ends nearest to θ*₋ at T = `t1`, among those with ε = 1 on [0, s].

    Mathematics §6, §7.

    - `family`: an object that owns its options, or the name of a default: "bang-bang" `Switches()`, "step"
      `Switches(most=1)`, "piecewise-constant" `Levels()`, "piecewise-linear" `Knots()`, "linear" `Linear()`,
      "polynomial" `Polynomial()`, "neural" `Neural()`, "greedy" `GreedyFeedback()`; schedules of one's own by
      `Parametric(make, start, bounds)`.
    - `goal`: "parameters" ½‖θ(T) − θ*₋‖², "outputs" ½Σ‖f(θ(T); x_i) − f(θ*₋; x_i)‖², "risk" R⁻(θ(T)) − R⁻(θ*₋), or
      "time": the earliest time at which ‖θ − θ*₋‖ ≤ `tolerance` (linear regression; `t1` is the latest allowed).
    - `switch_price` per jump of ε, `weight_price` per unit of ∫ε dt from s on: added to the objective.
    - `certify`: "auto" takes the sharpest bound that applies, "dual", "value-function" (extra `certify`) and "hjb" ask
      for one, "none" for no bound. A bound holds for every admissible ε(t), whatever family was searched.
    - `theta0` is θ₀ (dim,), `target` θ*₋ (dim,), needed for models other than linear regression (see `energy`);
      `rtol`, `atol` are for those.

    Linear regression with `Switches` is exact, in NumPy, without compilation. Raises `RequestError` for bad times
    (0 ≤ s < T), unknown names, options that would be ignored and certificates that do not apply.

    Example (continues the package's):

        >>> found = search(problem, theta0, t1=0.2, family="bang-bang")
        >>> print(f"{found.energy:.4f} {found.baseline_energy:.4f} {found.certificate.kind} {found.certificate.gap < 1e-6}")
        0.2543 0.2569 dual True
    """
    began = time.perf_counter()
    on_host((problem, theta0, target, s, t1), "search")
    s, t1 = as_window(s, t1)
    tolerance = number(tolerance, "tolerance", least=0.0)
    switch_price = number(switch_price, "switch_price", least=0.0)
    weight_price = number(weight_price, "weight_price", least=0.0)
    rtol, atol = float(as_tolerance(rtol, "rtol")), float(as_tolerance(atol, "atol"))
    chosen = as_family(family)
    exact = problem.least_squares and isinstance(chosen, Switches)
    _check_names(chosen, exact, goal, certify, tolerance, switch_price, weight_price)
    theta0 = problem.check_theta(theta0)
    if exact:
        assert isinstance(chosen, Switches)
        own = None if target is None else np.asarray(problem.check_theta(target, "target"))
        control = linear_control(problem, np.asarray(theta0), own, linear_metric(problem, goal))
        refuse(
            goal == "risk" and bool(control.keep.drive.any()),
            "goal='risk' needs the leave-one-out optimum as its target; drop target=",
        )
        check_horizon(control, t1)
        here = window(control, s, t1, weight_price)
        if goal == "time":
            result = minimum_time(here, tolerance, notes_of(here))
        else:
            result = exact_result(here, chosen.most, certify, notes_of(here), switch_price)
    else:
        from ._search_general import general_search  # compiles: not paid for by the closed forms
        from ._task import Task

        target = resolve_target(problem, theta0, target)
        task = Task(problem, theta0, target, s, t1, goal, weight_price, rtol, atol)
        result = general_search(task, chosen, switch_price, certify)
    return replace(result, family=str(chosen), goal=goal, seconds=time.perf_counter() - began)


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


def _check_names(
    family: AbstractFamily,
    exact: bool,
    goal: str,
    certify: str,
    tolerance: float,
    switch_price: float,
    weight_price: float,
) -> None:
    """`RequestError` for what does not go together, and for options that would be ignored."""
    check_goal(goal)
    choice(certify, "certify", get_args(Certify))
    for field in fields(family):
        ignored = field.name not in family.options(exact) and getattr(family, field.name) != field.default
        elsewhere = field.name in family.options(False)
        why = "is for models without a closed form" if elsewhere else "has no effect with most=1"
        refuse(ignored, f"{family}: {field.name} {why}, and would be ignored here")
    free = exact and family == Switches()
    refuse(goal == "time" and not free, "goal='time' is for linear regression with family='bang-bang'")
    refuse(
        goal == "time" and (switch_price or weight_price),
        "goal='time' takes no switch_price and no weight_price: they would be ignored",
    )
    refuse(
        goal == "time" and certify not in ("auto", "none"),
        f"goal='time' takes no certify={certify!r} (its answer is a local one); use 'auto' or 'none'",
    )
    refuse(goal != "time" and tolerance, "tolerance is for goal='time' only; it would be ignored here")
    if certify == "value-function":
        need("certify", "certify='value-function'")
