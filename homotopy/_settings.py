"""Settings that carry their own rules: what each may hold stands in its annotation, and is checked before any work.

    @dataclass(frozen=True)
    class Settings:
        rtol: Annotated[float, Range(least=1e-12, most=1e-2)] = 1e-6
        shares: Annotated[tuple[float, ...], Range(above=0, below=1, entries=1)] = (0.1, 0.5)
        delete: Annotated[int, Range(least=-1, below="n")] = -1

A setting with the default None may be left open: `Annotated[int | None, Range(least=1)] = None`.

`check(settings)` refuses what does not fit, by the name that the setting has on the command line, whose `--help` shows
the same rule. Types are part of the rule: `int`, `float`, `bool`, `str`, `Literal` and tuples of them.
"""

import dataclasses
import math
from collections.abc import Iterator
from numbers import Integral, Real
from typing import Annotated, Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

from ._errors import RequestError

# A number, or the name of another setting: its value, of a list the number of its entries.
Bound: TypeAlias = Any


@dataclasses.dataclass(frozen=True)
class Range:
    """What a numeric setting may hold; of a list, what each of its entries may.

    - `least` (≥), `above` (>), `most` (≤), `below` (<): numbers, or names of other settings of the same dataclass.
      Infinity is allowed only where `most` is infinite.
    - `entries`: how many entries a list has at least; `once`: no entry comes twice.
    """

    least: Bound = None
    above: Bound = None
    most: Bound = None
    below: Bound = None
    entries: int = 0
    once: bool = False


Seed = Annotated[int, Range(least=0, most=2**32 - 1)]  # what both NumPy and JAX take

_SIGNS = {"least": "≥", "above": ">", "most": "≤", "below": "<"}


def flag(name: str) -> str:
    """The setting `name` as it is typed."""
    return f"--{name.replace('_', '-')}"


def rules(kind: type) -> Iterator[tuple[dataclasses.Field[Any], Any, Range | None]]:
    """(field, its type, its range) of every setting of the dataclass `kind`."""
    hints = get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        bare, ranges = hints[field.name], []
        if get_origin(bare) is Annotated:
            bare, *extras = get_args(bare)
            ranges = [extra for extra in extras if isinstance(extra, Range)]
        if field.default is None:  # left open: what it may hold otherwise
            bare = next((kind for kind in get_args(bare) if kind is not type(None)), bare)
        yield field, bare, ranges[0] if ranges else None


def told(rule: Range) -> str:
    """`rule` in words for the help: "≥ 1e-12 and ≤ 0.01"."""
    bounds = " and ".join(_bound(sign, getattr(rule, name)) for name, sign in _bounds(rule))
    return ", ".join(filter(None, [bounds, _count(rule)]))


def check(settings: Any) -> None:
    """`RequestError` that names the first setting that is not of its type or outside its range, and the range."""
    for field, kind, rule in rules(type(settings)):
        value = getattr(settings, field.name)
        if value is None and field.default is None:
            continue
        if dataclasses.is_dataclass(value):
            check(value)
            continue
        entries = [value]
        if get_origin(kind) is tuple:
            kind = get_args(kind)[0]
            if not isinstance(value, tuple | list):
                raise RequestError(f"{flag(field.name)} must be a list of values, but is {value!r}")
            entries = list(value)
            _check_list(field.name, entries, rule)
        for entry in entries:
            if not _fits(entry, kind, rule, settings):
                finite = " and finite" if isinstance(entry, float) and math.isinf(entry) else ""
                raise RequestError(
                    f"{flag(field.name)} must be {_wanted(kind, rule, settings)}{finite}, but is {entry!r}"
                )


def _check_list(name: str, entries: list[Any], rule: Range | None) -> None:
    if rule is not None and len(entries) < rule.entries:
        raise RequestError(f"{flag(name)} must have {_count(rule)}, but has {len(entries)}")
    if rule is not None and rule.once:
        twice = [entry for index, entry in enumerate(entries) if entry in entries[:index]]
        if twice:
            raise RequestError(f"{flag(name)} must name each value once, but names {twice[0]!r} twice")


def _fits(value: Any, kind: Any, rule: Range | None, settings: Any) -> bool:
    if get_origin(kind) is Literal:
        return isinstance(value, str) and value in get_args(kind)
    if kind is bool:
        return isinstance(value, bool)
    if kind is str:
        return isinstance(value, str)
    if kind not in (int, float):
        return True  # another type is the constructor's own affair
    if isinstance(value, bool) or not isinstance(value, Integral if kind is int else Real) or math.isnan(value):
        return False
    if rule is None:
        return True
    if math.isinf(value) and rule.most != math.inf:
        return False
    limits = {name: _limit(getattr(rule, name), settings) for name, _ in _bounds(rule)}
    number: Any = value  # `Real` has no order for a type checker
    return bool(
        number >= limits.get("least", -math.inf)
        and number > limits.get("above", -math.inf)
        and number <= limits.get("most", math.inf)
        and (number < limits.get("below", math.inf) or number == rule.most == math.inf)
    )


def _bounds(rule: Range) -> list[tuple[str, str]]:
    return [(name, sign) for name, sign in _SIGNS.items() if getattr(rule, name) is not None]


def _limit(bound: Bound, settings: Any) -> float:
    value = getattr(settings, bound) if isinstance(bound, str) else bound
    return float(len(value) if isinstance(value, tuple | list) else value)


def _wanted(kind: Any, rule: Range | None, settings: Any) -> str:
    if get_origin(kind) is Literal:
        return f"one of {', '.join(get_args(kind))}"
    what = {int: "a whole number", float: "a number", bool: "true or false"}.get(kind, "text")
    if rule is None:
        return what
    bounds = (
        _bound(sign, getattr(rule, name))
        + (f" (= {_limit(getattr(rule, name), settings):g})" if isinstance(getattr(rule, name), str) else "")
        for name, sign in _bounds(rule)
    )
    return f"{what} {' and '.join(bounds)}".rstrip()


def _bound(sign: str, bound: Bound) -> str:
    if isinstance(bound, str):
        return f"{sign} {flag(bound)}"
    return f"{sign} {bound}" if isinstance(bound, int) else f"{sign} {bound:g}"


def _count(rule: Range) -> str:
    least = f"at least {rule.entries} {'entry' if rule.entries == 1 else 'entries'}" if rule.entries else ""
    return ", ".join(filter(None, [least, "each once" if rule.once else ""]))
