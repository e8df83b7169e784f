"""Schedules as text, for the command line and for legends: `step:0.5`, `linear:0.2,0.8`, `bang-bang:0.1,0.3,0.7`."""

import numpy as np

from .._checks import Whole, instance, whole
from .._errors import RequestError
from ._abstract import AbstractSchedule
from ._text import FORMS


def parse(text: str) -> AbstractSchedule:
    """The schedule ε(t) written as `family:numbers`, times and levels (k,) separated by commas.

    `constant:V`, `step:T`, `linear:START,END`, `polynomial:START,END,POWER`, `cosine:START,END`,
    `exponential:START,RATE[,END]`, `bang-bang:T1,T2,…`, `bang-bang-from-0:T1,…`, `piecewise-constant:T1,…;V0,V1,…`,
    `piecewise-linear:T1,…;V1,…`. Raises `RequestError`, saying how the family is written, if it cannot be read.

    Example (continues the package's):

        >>> parse("linear:0.2,0.8")(0.5).item(), parse("bang-bang:0.1,0.3")(0.2).item()
        (0.5, 0.0)
    """
    instance(text, "schedule", str, "text such as 'step:0.5'")
    name, _, numbers = text.strip().partition(":")
    if name not in FORMS:
        raise RequestError(f"schedule {text!r}: the family must be one of {', '.join(FORMS)}, but is {name!r}")
    form = FORMS[name]
    unread = RequestError(f"schedule {text!r} cannot be read; write {form.usage}")
    try:
        groups = [[float(number) for number in group.split(",") if number.strip()] for group in numbers.split(";")]
    except ValueError:
        raise unread from None
    if not form.fits(groups):
        raise unread
    try:
        return form.kind.from_numbers(name, groups if form.lists else groups[0])
    except RequestError as error:
        raise RequestError(f"schedule {text!r}: {error}") from None


def describe(schedule: AbstractSchedule, digits: Whole = 4) -> str:
    """The text that `parse` reads back, with `digits` significant digits; the class of a schedule without a text form.

    Raises `RequestError` for what is no schedule, and for digits outside 1…17.

    Example (continues the package's):

        >>> describe(BangBang([0.1, 0.25])), describe(Step(1 / 3), digits=2)
        ('bang-bang:0.1,0.25', 'step:0.33')
    """
    instance(schedule, "schedule", AbstractSchedule, "a schedule such as Step(0.5)")
    digits = whole(digits, "digits", 1, 17)
    if not any(form.kind is type(schedule) for form in FORMS.values()):
        return type(schedule).__name__
    name, arguments = schedule.to_numbers()
    form = FORMS[name]
    if not form.lists:
        arguments = [[value for k, value in enumerate(arguments) if k < form.least or np.isfinite(value)]]
    return f"{name}:" + ";".join(",".join(f"{float(x):.{digits}g}" for x in np.ravel(group)) for group in arguments)
