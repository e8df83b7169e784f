"""What a check rests on: the file that defines it, and every file of this package that this one imports, and so on."""

import ast
import hashlib
import inspect
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1]


def file_of(check: Any) -> Path | None:
    """The file in which a check is defined (of a partial: its function's); None where there is none."""
    while hasattr(check, "func"):
        check = check.func
    try:
        source = inspect.getsourcefile(inspect.unwrap(check))
    except TypeError:
        return None
    return None if source is None else Path(source).resolve()


def source_hash(check: Any) -> str:
    """A hash over all of it. A file outside the package rests on the whole package, and on itself."""
    path = file_of(check)
    digest = hashlib.sha256()
    if path is None or not path.is_relative_to(PACKAGE):
        files = set(PACKAGE.rglob("*.py"))
        if path is not None and path.is_file():
            digest.update(path.read_bytes())
    else:
        files = reached(path)
    for file in sorted(files):
        digest.update(f"{file.relative_to(PACKAGE)}\n".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def reached(start: Path) -> set[Path]:
    """`start` and what it imports from this package, directly or not."""
    found, waiting = set(), [start]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += imported(path)
    return found


@cache
def imported(path: Path) -> tuple[Path, ...]:
    """The files of this package that the import statements of one file name, those inside functions too."""
    found: list[Path] = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = path.parents[node.level - 1]
            base = base.joinpath(*node.module.split(".")) if node.module else base
            named = [base, *(base / alias.name for alias in node.names)]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE.name:
            base = PACKAGE.parent.joinpath(*(node.module or "").split("."))
            named = [base, *(base / alias.name for alias in node.names)]
        elif isinstance(node, ast.Import):
            named = [PACKAGE.parent.joinpath(*alias.name.split(".")) for alias in node.names]
            named = [base for base in named if base.is_relative_to(PACKAGE)]
        else:
            continue
        for base in named:
            found += [file for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file()]
    return tuple(found)
