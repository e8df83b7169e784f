"""The command line as it was typed: what a parser makes of it no longer shows what was meant."""

import dataclasses
from typing import Any

from .._errors import RequestError


def typed(args: list[str]) -> dict[str, list[str]]:
    """The options as they were typed (--no-x as --x), each with its words; `RequestError` for one that is given twice."""
    found: dict[str, list[str]] = {}
    at: list[str] = []
    for word in args:
        if word.startswith("--"):
            flag, equals, value = word.partition("=")
            flag = flag.replace("_", "-").replace("--no-", "--", 1)
            if flag in found:
                raise RequestError(f"`{flag}` is given more than once, and only the last would count; give it once")
            at = found[flag] = [value] if equals else []
        else:
            at.append(word)
    return found


def refuse_loose_numbers(value: Any, words: dict[str, list[str]]) -> None:
    """`RequestError` for numbers that only Python reads: 1_000, and digits other than 0–9."""
    for field in dataclasses.fields(value):
        content = getattr(value, field.name)
        if dataclasses.is_dataclass(content):
            refuse_loose_numbers(content, words)
        numbers = content if isinstance(content, tuple) else (content,)
        if any(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers):
            flag = f"--{field.name.replace('_', '-')}"
            for word in words.get(flag, []):
                if "_" in word or not word.isascii():
                    raise RequestError(f"`{flag}` must be a number in the digits 0–9, but is {word!r}")
