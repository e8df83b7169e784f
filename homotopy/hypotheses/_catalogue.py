"""Which hypotheses there are: the notes' own, and those of a user's file."""

import difflib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .._errors import RequestError, WorkError
from ._hypothesis import Hypothesis


def builtin() -> dict[str, Hypothesis]:
    """The claims of the notes by id, in order."""
    from .claims import HYPOTHESES

    return {hypothesis.id: hypothesis for hypothesis in HYPOTHESES}


def from_file(path: str | Path) -> list[Hypothesis]:
    """Every `Hypothesis` that a Python file defines at its top level.

    `RequestError` for a file that is not there or defines none, `WorkError` for one that raises.
    """
    path = Path(path)
    if not path.is_file():
        raise RequestError(f"--file {path} is no file; it must be a Python file that defines a Hypothesis")
    name = f"_hypotheses_of_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise RequestError(f"--file {path} must be a Python file (its name must end with .py)")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # so that dataclasses of the file find their module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the user's own code: whatever it raises is told in one line
        said = " ".join(str(error).split())
        line = _line_of(error, path)
        raise WorkError(f"--file {path} cannot be read: {type(error).__name__}{line}: {said}") from error
    found = {id(value): value for value in vars(module).values() if isinstance(value, Hypothesis)}
    if not found:
        raise RequestError(
            f"--file {path} defines no Hypothesis; write `MINE = Hypothesis(id=..., ...)` at its top level"
        )
    return list(found.values())


def _line_of(error: BaseException, path: Path) -> str:
    trace, line = error.__traceback__, None
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename) == path.resolve():
            line = trace.tb_lineno
        trace = trace.tb_next
    return "" if line is None else f" in line {line}"


def select(ids: Sequence[str], known: Mapping[str, Any]) -> tuple[list[Any], list[str]]:
    """Those of `known` (hypotheses, or results) named by `ids` (all when empty; case does not matter), and a complaint
    for each unknown one."""
    if not ids:
        return list(known.values()), []
    names = {name.lower(): name for name in known}
    chosen, complaints = {}, []
    for wanted in ids:
        if wanted.lower() in names:
            chosen[names[wanted.lower()]] = known[names[wanted.lower()]]
            continue
        near = difflib.get_close_matches(wanted.lower(), list(names), n=1, cutoff=0.5)
        hint = f", did you mean {names[near[0]]}?" if near else f"; there are {', '.join(known)}"
        complaints.append(f"unknown hypothesis {wanted!r}{hint}")
    return list(chosen.values()), complaints
