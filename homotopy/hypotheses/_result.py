"""`Result`: a decided hypothesis as plain data, to and from JSON."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .._errors import RequestError
from ._hypothesis import VERDICTS

FORMAT = "homotopy-hypotheses/1"


@dataclasses.dataclass(frozen=True)
class Result:
    """One line of the table. `verdict` is holds, fails or depends; None where the check failed, and then `error` says why.

    `command` reproduces the whole check, `example["command"]` the one instance. `figure` is an SVG, or "".
    """

    id: str
    statement: str
    source: str
    verdict: str | None
    evidence: Mapping[str, Any]
    headline: tuple[str, ...] = ()
    example: Mapping[str, Any] | None = None
    slips: tuple[Mapping[str, Any], ...] = ()
    corrected: str = ""
    computed: str = ""
    family: str = ""
    rule: str = ""
    command: str = ""
    seconds: float = 0.0
    scale: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    figure: str = ""
    error: str | None = None

    def to_dict(self, *, figure: bool = True) -> dict[str, Any]:
        """Plain data for JSON; `error` only where there is one."""
        found = {field.name: plain(getattr(self, field.name)) for field in dataclasses.fields(self)}
        if self.error is None:
            del found["error"]
        if not figure:
            del found["figure"]
        return {**found, "format": FORMAT}

    @classmethod
    def from_dict(cls, saved: Any, where: str = "this entry") -> "Result":
        """The result that `to_dict` made; `RequestError` for anything else, older formats included."""
        if not isinstance(saved, Mapping) or "id" not in saved:
            raise RequestError(f"{where} is no result of `homotopy hypotheses`")
        if saved.get("format") != FORMAT:
            raise RequestError(
                f"{where} has the format {saved.get('format', 'of an older version')!s}, but {FORMAT} is needed; run "
                "`homotopy hypotheses --json` again"
            )
        known = {field.name for field in dataclasses.fields(cls)}
        values = {name: value for name, value in saved.items() if name in known}
        for name in ("id", "statement", "source", "verdict", "evidence"):
            if name not in values:
                raise RequestError(f"{where} lacks the entry {name!r}; run `homotopy hypotheses --json` again")
        if values["verdict"] not in (*VERDICTS, None):
            raise RequestError(f"{where} has the unknown verdict {values['verdict']!r}")
        for name in ("headline", "slips"):
            values[name] = tuple(values.get(name, ()))
        return cls(**values)

    def __str__(self) -> str:
        said = self.error if self.error is not None else self.verdict
        return f"{self.id}  {said}  {self.statement}"


def write_results(results: Sequence[Result], path: str | Path) -> None:
    """A JSON list, one entry for each hypothesis."""
    text = json.dumps([result.to_dict(figure=False) for result in results], indent=1, ensure_ascii=False)
    Path(path).write_text(text + "\n", encoding="utf-8")


def read_results(path: str | Path) -> list[Result]:
    """What `write_results` wrote; `RequestError` for a file that is none, or of an older version."""
    try:
        saved = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RequestError(f"{path} cannot be read: {error}") from None
    if not isinstance(saved, list):
        raise RequestError(f"{path} is no list of results; write one with `homotopy hypotheses --json {path}`")
    return [Result.from_dict(entry, f"entry {k} of {path}") for k, entry in enumerate(saved)]


def plain(value: Any) -> Any:
    """`value` in the terms of JSON; what is not finite becomes a word."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | range):
        return [plain(item) for item in value]
    if isinstance(value, np.generic) or (hasattr(value, "__array__") and not isinstance(value, np.ndarray)):
        value = np.asarray(value)
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)
