"""Settings from the command line, by tyro, with every mistake said in one line.

tyro answers a bad value with a box on standard error and `SystemExit(2)`. Its public way of taking over
is to catch both; what the box says is kept, its frame is not. Unknown options are asked back from tyro
(`return_unknown_args`), since the useful answer names the setting that was probably meant.
"""

import contextlib
import dataclasses
import io
import math
import re
from typing import Annotated, Any

from .._errors import RequestError
from ._scenarios import closest

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_FRAME = " │|"
_RULES = "─-╭╮╰╯+ "


def parse(kind: Any, args: list[str], *, prog: str, description: str = "", default: Any = None) -> Any:
    """`kind` filled from `args`; `RequestError` for what cannot be read; `--help` prints and leaves with 0."""
    import tyro

    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            value, unknown = tyro.cli(
                kind,
                args=args,
                prog=prog,
                description=description,
                default=tyro.MISSING_NONPROP if default is None else default,
                return_unknown_args=True,
            )
    except SystemExit as leaving:
        if not leaving.code:
            raise
        raise RequestError(f"{one_line(errors.getvalue())}; see `{prog} --help`") from None
    if unknown:
        raise RequestError(_unknown(unknown, kind, prog))
    _refuse_nan(value)
    return value


def one_line(box: str) -> str:
    """What an error box of tyro says, without its frame, its title and its advice."""
    said: list[str] = []
    expected = ""
    lines = [_ANSI.sub("", line).strip(_FRAME) for line in box.splitlines()]
    for line in lines:
        if line.startswith(("╭", "+")):  # the top edge carries the title
            continue
        if not line.strip(_RULES):
            break
        said.append(line)
    if "Argument helptext:" in lines[:-1]:
        expected = f"; expected {lines[lines.index('Argument helptext:') + 1].strip()}"
    return (" ".join(said).rstrip(".") or "the arguments could not be read") + expected


def flags(kind: Any) -> list[str]:
    """The options of a dataclass as they are typed, those of nested dataclasses included."""
    found: list[str] = []
    for field in dataclasses.fields(kind):
        inner = getattr(field.type, "__origin__", field.type)  # Annotated[Settings, …] → Settings
        found += flags(inner) if dataclasses.is_dataclass(inner) else [f"--{field.name.replace('_', '-')}"]
    return found


def _unknown(unknown: list[str], kind: Any, prog: str) -> str:
    options = [word.partition("=")[0].replace("_", "-") for word in unknown if word.startswith("--")]
    if not options:
        return f"unexpected argument `{unknown[0]}`; settings are written `--name value`, see `{prog} --help`"
    known = flags(kind)
    hint = closest(options[0], known) or f"; there are {', '.join(known)}"
    return f"unknown setting `{options[0]}`{hint}; see `{prog} --help`"


def _refuse_nan(value: Any) -> None:
    for field in dataclasses.fields(value):
        content = getattr(value, field.name)
        if dataclasses.is_dataclass(content):
            _refuse_nan(content)
        for number in content if isinstance(content, tuple) else (content,):
            if isinstance(number, float) and math.isnan(number):
                raise RequestError(f"`--{field.name.replace('_', '-')}` must be a number, but is nan")


def run_options(settings: Any, *, out: str) -> Any:
    """A dataclass of what `homotopy run NAME` accepts: where to, how thorough, and the scenario's settings."""
    import tyro

    help_out = tyro.conf.arg(metavar="DIR", help="Folder to write; a finished run that is there is replaced.")
    help_quick = tyro.conf.arg(help="Start from the small settings of this scenario (under 20 seconds).")
    return dataclasses.make_dataclass(
        "Options",
        [
            ("out", Annotated[str, help_out], dataclasses.field(default=out)),
            ("quick", Annotated[tyro.conf.FlagCreatePairsOff[bool], help_quick], dataclasses.field(default=False)),
            ("settings", Annotated[type(settings), tyro.conf.OmitArgPrefixes], dataclasses.field(default=settings)),
        ],
        frozen=True,
    )


def spelled_out(settings: Any, baseline: Any) -> list[str]:
    """The arguments that lead from `baseline` to `settings`."""
    words: list[str] = []
    for field in dataclasses.fields(settings):
        value, flag = getattr(settings, field.name), field.name.replace("_", "-")
        if value == getattr(baseline, field.name):
            continue
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        elif isinstance(value, tuple | list):
            words += [f"--{flag}", *map(str, value)]
        else:
            words += [f"--{flag}", str(value)]
    return words
