"""The text of a table: opened, unpacked, decoded, and cut into cells at the separator that it uses."""

import csv
import gzip
import io
import sys
import zlib
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from .._errors import RequestError

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
STANDARD_INPUT = "-"
_SNIFFED = 50  # lines that must agree on a separator
# First bytes of what is often taken for a table; gzip alone is unpacked, with the library that Python brings.
_OTHER_FILES = {
    b"PK\x03\x04": "a ZIP archive or an Excel workbook",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a zstandard archive",
    b"PAR1": "a Parquet file",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
}

Lines = list[tuple[int, list[str]]]


def shown(path: str | Path) -> str:
    """What messages call the table."""
    return "standard input" if str(path) == STANDARD_INPUT else str(path)


def read_text(path: str | Path, encoding: str | None) -> str:
    """The text of a file, of a .gz file, or of standard input (`-`); `RequestError` where there is none."""
    raw, name = _bytes(path), shown(path)
    if raw.startswith(b"\x1f\x8b"):
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError, zlib.error) as error:
            raise RequestError(f"{name}: is a damaged gzip file ({error}); write it again") from None
    for start, kind in _OTHER_FILES.items():
        if raw.startswith(start):
            raise RequestError(f"{name}: is {kind}, not text; save the table as CSV (it may be compressed with gzip)")
    text = _decoded(raw, name, encoding).removeprefix("\ufeff")
    if "\0" in text:
        raise RequestError(f"{name}: holds null characters; it is no text, or one in UTF-16: {_advice('utf-16')}")
    return text


def _bytes(path: str | Path) -> bytes:
    name = shown(path)
    if str(path) == STANDARD_INPUT and sys.stdin is None:
        raise RequestError(f"{name}: is closed; give it a table, or name a file")
    try:
        if str(path) == STANDARD_INPUT:
            return sys.stdin.buffer.read()
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise RequestError(f"{name}: there is no such file") from None
    except IsADirectoryError:
        raise RequestError(f"{name}: is a folder, not a CSV file") from None
    except PermissionError:
        raise RequestError(f"{name}: may not be read (permission denied)") from None
    except (
        OSError,
        ValueError,
        TypeError,
        AttributeError,
    ) as error:  # no path, a name too long, a null character, no standard input
        raise RequestError(f"{name}: cannot be read ({error})") from None


def _decoded(raw: bytes, name: str, encoding: str | None) -> str:
    if encoding is None and raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise RequestError(f"{name}: is written in UTF-16, as its first two bytes say; {_advice('utf-16')}")
    try:
        return raw.decode("utf-8" if encoding is None else encoding)
    except UnicodeDecodeError as error:
        byte, line = raw[error.start], raw.count(b"\n", 0, error.start) + 1
        if encoding is not None:
            raise RequestError(
                f"{name}: is not written in {encoding}: line {line} holds the byte 0x{byte:02x}"
            ) from None
        windows = any(0x80 <= other <= 0x9F for other in raw)  # letters there, control characters in Latin-1
        likely = "cp1252" if windows else "latin-1"
        raise RequestError(
            f"{name}: is not a text file in UTF-8: line {line} holds the byte 0x{byte:02x}, which is "
            f"{bytes([byte]).decode(likely, 'replace')!r} in {'Windows-1252' if windows else 'Latin-1'}; if that is "
            f"right, {_advice(likely)}"
        ) from None
    except (LookupError, ValueError, TypeError):
        raise RequestError(
            f"encoding must name a text encoding, such as utf-8, latin-1, cp1252 or utf-16, but is {encoding!r}"
        ) from None


def _advice(encoding: str) -> str:
    return f"say encoding={encoding!r} (--encoding {encoding})"


def split(text: str, name: str, delimiter: str | None, needed: Sequence[str]) -> tuple[Lines, str]:
    """The cells of every line that has any, with the line's number; and the separator (`needed` must be in line 1).

    Without a `delimiter` it is sniffed: of comma, semicolon, tab and vertical bar the one with which the first line
    holds the needed names and the lines agree on the number of cells.
    """
    if delimiter is None:
        delimiter = _sniffed(text, name, needed)
    elif not isinstance(delimiter, str) or len(delimiter) != 1 or delimiter.isalnum() or delimiter in "\"'\r\n+-.\0":
        raise RequestError(
            f"delimiter must be one character that is no part of a number or a word, but is {delimiter!r}; "
            "None finds out"
        )
    try:
        return list(_cells(text, delimiter)), delimiter
    except csv.Error as error:
        said = str(error)
        if "unexpected end of data" in said:
            said = "a quotation mark is opened and never closed"
        raise RequestError(f"{name}: cannot be cut into cells at {delimiter!r} ({said})") from None


def _cells(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    # The line numbers of quoted multi-line cells are the reader's own, so keep them beside the cells.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    for row in reader:
        if row:
            yield reader.line_num, row


def _sniffed(text: str, name: str, needed: Sequence[str]) -> str:
    ranks = {}
    for mark in SEPARATORS:
        try:
            rows = [row for _, row in islice(_cells(text, mark), _SNIFFED)]
        except csv.Error:
            continue
        if rows and len(rows[0]) > 1:
            names = {cell.strip() for cell in rows[0]}
            ranks[mark] = (names.issuperset(needed), all(len(row) == len(rows[0]) for row in rows), len(rows[0]))
    if not ranks:
        return ","
    best = max(ranks, key=lambda mark: ranks[mark])
    rivals = [mark for mark in ranks if ranks[mark][:2] == ranks[best][:2]]
    if len(rivals) > 1 and ranks[best][1]:
        raise RequestError(
            f"{name}: may be separated by {' or by '.join(SEPARATORS[mark] for mark in rivals)}; say which: "
            f"delimiter={best!r} (--delimiter {best!r})"
        )
    return best
