"""Reading a table of numbers whose every fault is named by line and column."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .._errors import RequestError

_MISSING = {"", "na", "n/a", "nan", "null", "none", "?", "-"}


def read_columns(
    path: str | Path, delimiter: str, *, needed: Sequence[str], only: Sequence[str] | None, also: Sequence[str]
) -> tuple[list[str], dict[str, np.ndarray]]:
    """Column names in file order, and the numbers of the columns that are used (`only` + `also`, or all)."""
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            # The line numbers of quoted multi-line cells are the reader's own, so keep them beside the cells.
            reader = csv.reader(file, delimiter=delimiter)
            lines = [(reader.line_num, row) for row in reader if row]
    except FileNotFoundError:
        raise RequestError(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise RequestError(f"{path}: is a folder, not a CSV file") from None
    except PermissionError:
        raise RequestError(f"{path}: may not be read (permission denied)") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise RequestError(
            f"{path}: is not a text file in UTF-8 with {delimiter!r} between columns ({error})"
        ) from None
    if not lines:
        raise RequestError(f"{path}: is empty; its first line must name the columns")
    names = _header(path, lines[0][1], needed)
    used = names if only is None else [name for name in names if name in only or name in also]
    for number, row in lines[1:]:
        if len(row) != len(names):
            raise RequestError(f"{path}, line {number}: has {len(row)} cells, but the first line names {len(names)}")
    return names, {name: _numbers(path, lines[1:], names.index(name), name) for name in used}


def _header(path: Path, cells: list[str], needed: Sequence[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    for at, name in enumerate(names):
        if not name:
            raise RequestError(f"{path}, line 1: column {at + 1} has no name")
        if name in names[:at]:
            first = names.index(name) + 1
            raise RequestError(f"{path}, line 1: the name {name!r} is used for columns {first} and {at + 1}")
    for name in needed:
        if name not in names:
            raise RequestError(f"{path}: there is no column {name!r}; the columns are {', '.join(names)}")
    return names


def _numbers(path: Path, lines: list[tuple[int, list[str]]], at: int, name: str) -> np.ndarray:
    values = np.empty(len(lines))
    for row, (number, cells) in enumerate(lines):
        text = cells[at].strip()
        place = f"{path}, line {number} (row {row}), column {name!r}"
        if text.lower() in _MISSING:
            raise RequestError(f"{place}: the value is missing ({text!r}); fill it in or drop the row")
        try:
            values[row] = float(text)
        except ValueError:
            raise RequestError(
                f"{place}: {text!r} is not a number; encode text as numbers or drop the column"
            ) from None
        if not np.isfinite(values[row]):
            raise RequestError(f"{place}: {text!r} is not finite")
    return values
