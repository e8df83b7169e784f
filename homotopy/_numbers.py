"""Numbers as text: read strictly, and with advice where a text is meant as a number but is not written as one.

Python's `float` also reads 1_4 (as 14), Arabic digits, inf and nan; a table that holds those holds a mistake.
"""

import re
import unicodedata
from collections.abc import Sequence
from decimal import Decimal

import numpy as np

from ._errors import RequestError

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_INFINITE = re.compile(r"[+-]?(?:inf|infinity)", re.IGNORECASE)
_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)
_GROUPS = re.compile(r"[+-]?\d{1,3}(?:(?P<mark>[.,])\d{3})(?:(?P=mark)\d{3})*", re.ASCII)
_UNITS = "%$€£¥"
_GROUP_MARKS = " '’_"
_LOSS = 1e-8  # √eps


def is_number(text: str) -> bool:
    """Whether `text` is a number in the digits 0–9, with a point for decimals and nothing else but an exponent."""
    return _NUMBER.fullmatch(text) is not None


def complaint(text: str) -> str:
    """What is wrong with a text that is meant as a number, and how to write it; nothing for a text that is not."""
    if _INFINITE.fullmatch(text):
        return "is not finite"
    plain = "".join(_plain(character) for character in text)
    for mark in _GROUP_MARKS:
        if mark in plain and is_number(_without_commas(plain.replace(mark, ""))):
            return f"holds {'a blank' if mark == ' ' else repr(mark)} between digits; write {plain.replace(mark, '')}"
    bare = plain.strip(_UNITS + " ")
    if bare != plain and is_number(_without_commas(bare)):
        return f"holds a unit; write the number alone, {bare}"
    if plain != text and is_number(_without_commas(plain)):
        return f"is not written in the characters 0–9, + and -; write {plain}"
    if _GROUPS.fullmatch(plain) and "," in plain and plain.count(",") == 1:
        whole, decimal = plain.replace(",", ""), plain.replace(",", ".")
        return f"holds a comma; write {whole} if it separates thousands, {decimal} if it is a decimal comma"
    if _COMMA.fullmatch(plain):
        return f"has a decimal comma; write {plain.replace(',', '.')}"
    if is_number(_without_commas(plain)) and not is_number(plain):
        return f"has thousands separators; write {_without_commas(plain)}"
    return ""


def _plain(character: str) -> str:
    """The ASCII character that is meant by a digit, a minus or a blank of another script."""
    if character in "−–﹣－":
        return "-"
    if character.isspace():
        return " "
    digit = unicodedata.decimal(character, None)
    return character if digit is None else str(digit)


def _without_commas(text: str) -> str:
    """1.234,56 and 1,234.56 as 1234.56; 1.234.567 as 1234567."""
    if "," not in text:
        return text.replace(".", "") if text.count(".") > 1 and _GROUPS.fullmatch(text) else text
    if text.rfind(",") > text.rfind(".") and text.count(",") == 1:
        return text.replace(".", "").replace(",", ".")
    whole, point, rest = text.partition(".")
    return whole.replace(",", "") + point + rest if _GROUPS.fullmatch(whole) else text


def require_digits(texts: Sequence[str], values: np.ndarray, place: str) -> None:
    """`RequestError` if the numbers `texts` lose as 64-bit floats, `values`, what tells them apart (16 digits are held).

    Refused are distinct numbers that became equal, a number that became 0, and rounding above 1e-8 of the column's
    spread: half of the digits of every difference must be left.
    """
    with np.errstate(over="ignore"):
        spread = float(np.ptp(values))
    merged = len(set(texts)) != len(np.unique(values))
    if not merged and values.all() and np.finfo(float).eps * float(np.abs(values).max()) <= _LOSS * spread:
        return
    exact = [Decimal(text) for text in texts]
    for text, value, number in zip(texts, values.tolist(), exact, strict=True):
        if value == 0 and number != 0:
            raise RequestError(f"{place}: {text} is too small for a 64-bit float; rescale the column")
    advice = "subtract what the values have in common, or drop the column if it only names the rows"
    first: dict[float, int] = {}
    for row, value in enumerate(values.tolist()):
        other = first.setdefault(value, row)
        if exact[other] != exact[row]:
            raise RequestError(
                f"{place}: loses distinct values, {len(set(exact))} of them are {len(set(values.tolist()))} in 64-bit "
                f"floats, which hold 16 digits ({texts[other]} and {texts[row]} are one); {advice}"
            )
    rounding = max(abs(float(Decimal(value) - number)) for value, number in zip(values.tolist(), exact, strict=True))
    if rounding > _LOSS * spread > 0:
        raise RequestError(
            f"{place}: rounding to 64-bit floats, which hold 16 digits, moves values by {rounding:.2g} where they spread "
            f"over {spread:.2g}; {advice}"
        )
