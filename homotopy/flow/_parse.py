"""Schedules as text, for the command line and for legends: `step:0.5`, `linear:0.2,0.8`, `bang-bang:0.1,0.3,0.7`."""

from collections.abc import Callable

import numpy as np

from .._checks import Whole, instance, whole
from .._errors import RequestError
from ._schedule import (
    AbstractSchedule,
    BangBang,
    Constant,
    CosineDecay,
    ExponentialDecay,
    LinearDecay,
    PiecewiseConstant,
    PiecewiseLinear,
    PolynomialDecay,
    Step,
)

_Groups = list[list[float]]


def _flat(constructor: Callable[..., AbstractSchedule], least: int, most: int) -> Callable[[_Groups], AbstractSchedule]:
    """A family whose numbers are the constructor's arguments."""

    def build(groups: _Groups) -> AbstractSchedule:
        (numbers,) = groups
        if not least <= len(numbers) <= most:
            raise ValueError
        return constructor(*numbers)

    return build


def _bang_bang(first: float) -> Callable[[_Groups], AbstractSchedule]:
    def build(groups: _Groups) -> AbstractSchedule:
        (switches,) = groups
        return BangBang(switches, first)

    return build


def _two(constructor: Callable[..., AbstractSchedule]) -> Callable[[_Groups], AbstractSchedule]:
    def build(groups: _Groups) -> AbstractSchedule:
        times, values = groups
        return constructor(times, values)

    return build


# name: (how it is written, how it is built, how its numbers are read back)
_FAMILIES: dict[str, tuple[str, Callable[[_Groups], AbstractSchedule]]] = {
    "constant": ("constant:VALUE", _flat(Constant, 1, 1)),
    "step": ("step:SWITCH", _flat(Step, 1, 1)),
    "linear": ("linear:START,END", _flat(LinearDecay, 2, 2)),
    "polynomial": ("polynomial:START,END,POWER", _flat(PolynomialDecay, 3, 3)),
    "cosine": ("cosine:START,END", _flat(CosineDecay, 2, 2)),
    "exponential": ("exponential:START,RATE[,END]", _flat(ExponentialDecay, 2, 3)),
    "bang-bang": ("bang-bang:T1,T2,… (from 1)", _bang_bang(1.0)),
    "bang-bang-from-0": ("bang-bang-from-0:T1,T2,…", _bang_bang(0.0)),
    "piecewise-constant": ("piecewise-constant:T1,…;V0,V1,…", _two(PiecewiseConstant)),
    "piecewise-linear": ("piecewise-linear:T1,T2,…;V1,V2,…", _two(PiecewiseLinear)),
}


def parse(text: str) -> AbstractSchedule:
    """The schedule written as `family:numbers`; `RequestError` says how the family is written if it cannot be read."""
    instance(text, "schedule", str, "text such as 'step:0.5'")
    name, _, numbers = text.strip().partition(":")
    if name not in _FAMILIES:
        raise RequestError(f"schedule {text!r}: the family must be one of {', '.join(_FAMILIES)}, but is {name!r}")
    usage, build = _FAMILIES[name]
    try:
        groups = [[float(number) for number in group.split(",") if number.strip()] for group in numbers.split(";")]
        return build(groups)
    except RequestError as error:
        raise RequestError(f"schedule {text!r}: {error}") from None
    except ValueError:
        raise RequestError(f"schedule {text!r} cannot be read; write {usage}") from None


def describe(schedule: AbstractSchedule, digits: Whole = 4) -> str:
    """The text that `parse` reads back, with `digits` significant digits; a learned schedule is named only."""

    instance(schedule, "schedule", AbstractSchedule, "a schedule such as Step(0.5)")
    digits = whole(digits, "digits", 1, 17)

    def join(*groups) -> str:
        return ";".join(",".join(f"{float(x):.{digits}g}" for x in np.atleast_1d(group)) for group in groups)

    match schedule:
        case Constant(value=value):
            return f"constant:{join(value)}"
        case Step(switch=switch):
            return f"step:{join(switch)}"
        case LinearDecay(start=start, end=end):
            return f"linear:{join([start, end])}"
        case PolynomialDecay(start=start, end=end, power=power):
            return f"polynomial:{join([start, end, power])}"
        case CosineDecay(start=start, end=end):
            return f"cosine:{join([start, end])}"
        case ExponentialDecay(start=start, rate=rate, end=end):
            return f"exponential:{join([start, rate] if np.isinf(end) else [start, rate, end])}"
        case BangBang(switches=switches, first=first):
            return f"bang-bang{'' if first == 1 else '-from-0'}:{join(switches)}"
        case PiecewiseConstant(times=times, values=values):
            return f"piecewise-constant:{join(times, values)}"
        case PiecewiseLinear(times=times, values=values):
            return f"piecewise-linear:{join(times, values)}"
        case _:
            return type(schedule).__name__
