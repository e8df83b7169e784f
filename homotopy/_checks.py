"""Checks of arguments that every folder shares: one line each that says what is wrong and what would be right."""

import math
from numbers import Integral, Real
from typing import Any, TypeAlias

from ._errors import RequestError

# One real number, one whole number: a wrong one is refused below with a sentence, not by a type checker.
Number: TypeAlias = Any
Whole: TypeAlias = Any


def number(value: Any, what: str, *, above: float | None = None, least: float | None = None) -> float:
    """`value` as one finite number, > `above` or ≥ `least`."""
    rule = f" > {above:g}" if above is not None else f" ≥ {least:g}" if least is not None else ""
    fine = isinstance(value, Real) or getattr(value, "shape", None) == ()
    try:
        result = float(value) if fine else math.nan
    except (TypeError, ValueError):
        result = math.nan
    if not math.isfinite(result) or (above is not None and result <= above) or (least is not None and result < least):
        raise RequestError(f"{what} must be one number{rule}, but is {value!r}")
    return result


def whole(value: Any, what: str, least: int) -> int:
    """`value` as a whole number ≥ `least`."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise RequestError(f"{what} must be a whole number ≥ {least}, but is {value!r}")
    return int(value)
