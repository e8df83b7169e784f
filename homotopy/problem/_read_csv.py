"""Reading a table whose every fault is named by line and column."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .._errors import RequestError
from .._numbers import complaint, is_number, require_digits
from ._text import SEPARATORS, Lines, read_text, shown, split

_MISSING = {"", "na", "n/a", "nan", "null", "none", "?", "-", ".", "<na>", "#n/a"}
_LONGEST = 200  # characters of the names of the columns, in a message
_LISTED = 8  # levels of a text column that are told by name


class Table(NamedTuple):
    """`x` (n, features) and `y` (n, targets), the names of their columns, and what a reader of results must know."""

    x: np.ndarray
    y: np.ndarray
    features: list[str]
    targets: list[str]
    notes: list[str]


class _Column(NamedTuple):
    """One column as text: where it stands and its cells, in order of the rows."""

    path: str
    name: str
    lines: list[int]
    cells: list[str]

    def place(self, row: int | None = None) -> str:
        where = "" if row is None else f", line {self.lines[row]} (row {row})"
        return f"{self.path}{where}, column {self.name!r}"


def read_table(
    path: str | Path,
    *,
    targets: Sequence[str],
    features: Sequence[str] | None,
    delimiter: str | None,
    encoding: str | None,
    dummies: bool,
) -> Table:
    """The numbers of the columns that are used: `features` (or every other one) and `targets`."""
    name = shown(path)
    needed = [*targets, *(features or [])]
    lines, mark = split(read_text(path, encoding), name, delimiter, needed)
    names = _header(name, lines, mark, needed)
    chosen = [column for column in names if column not in targets] if features is None else list(features)
    if not chosen:
        raise RequestError(
            f"{name}: no feature is left beside the target {list(targets)}; the columns are {', '.join(names)} "
            f"(separated by {_spoken(mark)})"
        )
    rows = _rows(name, lines, names, mark)
    notes = [f"{name}: {len(rows)} rows, {len(names)} columns separated by {_spoken(mark)}"]
    if all(is_number(column) for column in names):
        notes.append("the first line was taken for the names of the columns, but holds numbers only: is it a row?")
    xs, labels = [], []
    for column in chosen:
        made, words, note = _feature(_column(name, rows, names, column), dummies)
        xs.append(made)
        labels += words
        notes += note
    ys = []
    for column in targets:
        made, note = _target(_column(name, rows, names, column), dummies)
        ys.append(made)
        notes += note
    if dummies and not any("is text" in note or "left out" in note for note in notes):
        notes.append("no column is text: dummies changed nothing")
    if not labels:
        raise RequestError(f"{name}: no feature is left beside the target: every other column holds one text only")
    return Table(np.column_stack(xs), np.column_stack(ys), labels, list(targets), notes)


def _header(path: str, lines: Lines, mark: str, needed: Sequence[str]) -> list[str]:
    if not lines:
        raise RequestError(f"{path}: is empty; its first line must name the columns")
    names = [cell.strip() for cell in lines[0][1]]
    for at, name in enumerate(names):
        if not name:
            raise RequestError(f"{path}, line 1: column {at + 1} has no name")
        if name in names[:at]:
            first = names.index(name) + 1
            raise RequestError(f"{path}, line 1: the name {name!r} is used for columns {first} and {at + 1}")
    for name in needed:
        if name not in names:
            raise RequestError(
                f"{path}: there is no column {name!r}; the columns are {_listed(names)} (separated by "
                f"{_spoken(mark)}){_other_separator(names, mark)}"
            )
    return names


def _listed(names: Sequence[str]) -> str:
    """The names, cut where there is no end of them, as in a file read in an encoding that is not its own."""
    told = ", ".join(names)
    return told if len(told) <= _LONGEST else f"{told[:_LONGEST]}…"


def _spoken(mark: str) -> str:
    return SEPARATORS.get(mark, repr(mark))


def _other_separator(names: list[str], mark: str) -> str:
    """What a first line with names such as `a;b` or `a b` suggests."""
    seen = [word for other, word in SEPARATORS.items() if other != mark and any(other in name for name in names)]
    if not seen and len(names) == 1 and " " in names[0]:
        seen = ["blanks (--delimiter blank)"]
    return f"; if {' or '.join(seen)} separate them, say so with delimiter" if seen else ""


def _rows(path: str, lines: Lines, names: list[str], mark: str) -> Lines:
    for number, row in lines[1:]:
        if len(row) != len(names):
            more = "; a comma inside a cell, a decimal comma too, needs quotation marks around the cell"
            raise RequestError(
                f"{path}, line {number}: has {len(row)} cells, but the first line names {len(names)} (separated by "
                f"{_spoken(mark)}){more if mark == ',' and len(row) > len(names) else ''}"
            )
    if len(lines) < 3:
        ends = ": the file ends after the line that names the columns" if len(lines) == 1 else ""
        raise RequestError(f"{path}: a data set must have at least 2 points, but has {len(lines) - 1}{ends}")
    return lines[1:]


def _column(path: str, rows: Lines, names: list[str], name: str) -> _Column:
    at = names.index(name)
    column = _Column(path, name, [number for number, _ in rows], [row[at].strip() for _, row in rows])
    for row, text in enumerate(column.cells):
        if text.lower() in _MISSING:
            raise RequestError(f"{column.place(row)}: the value is missing ({text!r}); fill it in or drop the row")
    return column


def _feature(column: _Column, dummies: bool) -> tuple[np.ndarray, list[str], list[str]]:
    """The values (n, k) that stand for a column, their names, and a note: a text column is one 0/1 column per level."""
    levels = _levels(column, dummies)
    if levels is None:
        return _numbers(column)[:, None], [column.name], []
    first, *rest = levels
    made = np.array([[text == level for level in rest] for text in column.cells], dtype=float)
    names = [f"{column.name}={level}" for level in rest]
    if not rest:
        return made, names, [f"column {column.name!r} is constant ({first!r}) and left out"]
    shown = ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
    return made, names, [f"column {column.name!r} is text: 0/1 columns {shown}; {first!r} is the level left out"]


def _target(column: _Column, dummies: bool) -> tuple[np.ndarray, list[str]]:
    """The values (n,) of a target, and a note: the levels of text are classes 0, 1, … in alphabetical order."""
    levels = _levels(column, dummies)
    if levels is None:
        return _numbers(column), []
    shown = ", ".join(f"{label} = {level!r}" for label, level in enumerate(levels[:_LISTED]))
    more = f" and {len(levels) - _LISTED} more" if len(levels) > _LISTED else ""
    note = f"the target {column.name!r} is text: class {shown}{more}"
    return np.array([float(levels.index(text)) for text in column.cells]), [note]


def _levels(column: _Column, dummies: bool) -> list[str] | None:
    """The distinct texts of a text column in alphabetical order; None for a column that is read as numbers."""
    if not dummies or all(is_number(text) for text in column.cells):
        return None
    for row, text in enumerate(column.cells):
        if complaint(text):
            return None  # meant as a number: `_numbers` refuses it with advice
        if is_number(text):
            other = next(cell for cell in column.cells if not is_number(cell))
            raise RequestError(
                f"{column.place(row)}: holds the number {text} beside texts such as {other!r}; write only numbers, or "
                f"only texts (n{text} is one)"
            )
    levels = sorted(set(column.cells))
    if len(levels) == len(column.cells):
        raise RequestError(
            f"{column.place()}: holds another text in every row, which names the rows and describes none; drop it"
        )
    return levels


def _numbers(column: _Column) -> np.ndarray:
    values = np.empty(len(column.cells))
    for row, text in enumerate(column.cells):
        if not is_number(text):
            raise RequestError(f"{column.place(row)}: {text!r} {complaint(text) or _TEXT}")
        values[row] = float(text)
        if not np.isfinite(values[row]):
            raise RequestError(f"{column.place(row)}: {text!r} is not finite in 64-bit floats; rescale the column")
    require_digits(column.cells, values, column.place())
    return values


_TEXT = "is not a number; say dummies=True (--dummies) for 0/1 columns, write it as numbers, or drop the column"
