"""The user's own table on the command line: the options that describe it, and the data set that they make of it.

A command nests `TableOptions` with `tyro.conf.OmitArgPrefixes`, so that its options stand beside the command's own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .._errors import RequestError, WorkError

_WORDS = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "pipe": "|", "blank": " ", "space": " "}
AUTO = "auto"


@dataclass(frozen=True)
class TableOptions:
    """The table, and how it becomes a data set."""

    data: str
    """CSV file whose first line names the columns; also FILE.csv.gz, and `-` for standard input"""
    target: str
    """column that is predicted; every other column is a feature"""
    delimiter: str = AUTO
    """between columns: a character, or comma, semicolon, tab, pipe, blank; `auto` finds out and says so"""
    encoding: str = AUTO
    """of the text: utf-8 (`auto`), latin-1, cp1252, utf-16, …"""
    dummies: bool = False
    """turn text columns into 0/1 columns, one per level but the first; a text target becomes classes 0, 1, …"""
    standardise: bool = True
    """centre and scale the features"""
    standardise_target: bool = False
    """centre and scale the target"""
    intercept: bool = True
    """add a column of ones"""


def read(options: TableOptions) -> tuple[Any, str]:
    """The `Dataset`, and what was found out and decided on the way (separator, dummies, constant columns), in lines."""
    from ..problem.datasets import read_csv_told

    for flag, text in (("data", options.data), ("target", options.target)):
        if not text.strip():
            raise RequestError(f"--{flag} is empty; it must name {'a file' if flag == 'data' else 'a column'}")
    delimiter = options.delimiter
    data, told = read_csv_told(
        options.data, target=options.target, standardise=options.standardise,
        standardise_target=options.standardise_target, intercept=options.intercept, dummies=options.dummies,
        delimiter=None if delimiter == AUTO else _WORDS.get(delimiter.lower(), delimiter),
        encoding=None if options.encoding == AUTO else options.encoding,
    )  # fmt: skip
    return data, "\n".join(told)


@contextmanager
def telling(told: str) -> Iterator[None]:
    """A failure inside names the constant columns that `read` was told of: the likeliest reason for a singular fit."""
    try:
        yield
    except WorkError as error:
        constant = [line for line in told.splitlines() if "is constant" in line]
        raise WorkError("; ".join([*constant, str(error)])) from error
