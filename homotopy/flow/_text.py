"""How a class of schedules is written: it says so when it is defined, and that is all that `parse` and `describe` know.

    class Bell(AbstractSchedule, text="bell:CENTRE,WIDTH"): ...        # parse("bell:0.5,0.2") is Bell(0.5, 0.2)
    class Levels(AbstractSchedule, text="levels:T1,…;V0,V1,…"): ...    # parse("levels:1;1,0") is Levels([1.0], [1.0, 0.0])

The words stand for the constructor's arguments in their order, each an attribute of the same name; `…` marks a list,
`[,END]` a number that may be left out (and is, where it is infinite).
"""

import inspect
import re
from typing import Any, NamedTuple

import numpy as np

from .._errors import RequestError

_USAGE = re.compile(r"([a-z][a-z0-9-]*):([^()]+?)(?: \(.*\))?")


class Form(NamedTuple):
    """One way of writing a class: how many numbers, or (`lists` > 0) how many lists of them."""

    name: str
    usage: str
    kind: Any
    least: int
    most: int
    lists: int

    def fits(self, groups: list[list[float]]) -> bool:
        """Whether these are as many numbers as it takes."""
        if self.lists:
            return len(groups) == self.lists
        return len(groups) == 1 and self.least <= len(groups[0]) <= self.most


FORMS: dict[str, Form] = {}


def register(kind: type, usages: tuple[str, ...]) -> None:
    """Let `parse` and `describe` know how `kind` is written; a class that is defined again takes its name over."""
    for usage in usages:
        found = _USAGE.fullmatch(usage)
        if found is None:
            raise RequestError(
                f"text of {kind.__name__} must be written NAME:WORDS, as in 'bell:CENTRE,WIDTH', but is {usage!r}"
            )
        name, words = found.groups()
        other = FORMS[name].kind if name in FORMS else kind
        if (other.__module__, other.__qualname__) != (kind.__module__, kind.__qualname__):
            raise RequestError(
                f"text of {kind.__name__}: the name {name!r} belongs to {other.__name__}; choose another"
            )
        most = len(words.split(","))
        lists = len(words.split(";")) if "…" in words else 0
        FORMS[name] = Form(name, usage, kind, most - words.count("["), most, lists)


def own_arguments(schedule: Any) -> tuple[str, list[Any]]:
    """The (only) name of the schedule's class in texts, and its constructor's arguments, read off the attributes."""
    form = next(form for form in FORMS.values() if form.kind is type(schedule))
    names = list(inspect.signature(form.kind).parameters)[: form.lists or form.most]
    missing = [name for name in names if not hasattr(schedule, name)]
    if missing:
        raise RequestError(
            f"{form.kind.__name__} has no attribute {missing[0]!r} for its text form {form.usage!r}: name it so, or write "
            "to_numbers and from_numbers"
        )
    return form.name, [np.asarray(getattr(schedule, name)) for name in names]
