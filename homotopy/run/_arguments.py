"""Settings from the command line, by tyro, with every mistake said in one line.

tyro answers a bad value with a box on standard error and `SystemExit(2)`. Its public way of taking over
is to catch both; what the box says is kept, its frame is not. Unknown options are asked back from tyro
(`return_unknown_args`), since the useful answer names the setting that was probably meant.
"""

import contextlib
import dataclasses
import functools
import io
import re
from typing import Annotated, Any, get_type_hints

from .._errors import RequestError
from .._settings import check, flag, rules, told
from ._scenarios import closest
from ._typed import refuse_loose_numbers, typed

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_FRAME = " │|"
_RULES = "─-╭╮╰╯+ "


@dataclasses.dataclass(frozen=True)
class NoOptions:
    """What a command without options accepts."""


def parse(kind: Any, args: list[str], *, prog: str, description: str = "") -> Any:
    """`read`, and every setting within its range."""
    value = read(kind, args, prog=prog, description=description)
    check(value)
    return value


def read(kind: Any, args: list[str], *, prog: str, description: str = "") -> Any:
    """`kind` filled from `args`; `RequestError` for what cannot be read; `--help` prints and leaves with 0."""
    import tyro

    words = typed(args)
    errors = io.StringIO()
    shown = _with_rules(kind)
    try:
        with contextlib.redirect_stderr(errors):
            value, unknown = tyro.cli(shown, args=args, prog=prog, description=description, return_unknown_args=True)
    except SystemExit as leaving:
        if not leaving.code:
            raise
        raise RequestError(f"{one_line(errors.getvalue())}; see `{prog} --help`") from None
    if unknown:
        raise RequestError(_unknown(unknown, kind, prog))
    value = _as(kind, value)
    refuse_loose_numbers(value, words)
    return value


def _with_rules(kind: Any) -> Any:
    """The dataclass `kind`, with the range of each setting in what `--help` says of it.

    A subclass under the same name: tyro finds the docstrings in the source of the class that the name belongs to.
    """
    import tyro

    hints, space, hinted = get_type_hints(kind, include_extras=True), dict[str, Any](), dict[str, Any]()
    for field, bare, rule in rules(kind):
        hint, default = hints[field.name], field.default
        if dataclasses.is_dataclass(bare):
            inner, extras = _with_rules(bare), getattr(hint, "__metadata__", ())
            hint = Annotated[inner, *extras] if extras else inner
            default = default if default is dataclasses.MISSING else _as(inner, default)
        elif rule is not None and (words := told(rule)):
            hint = Annotated[hint, tyro.conf.arg(help_behavior_hint=functools.partial(_hint, words))]
        hinted[field.name] = hint
        space[field.name] = dataclasses.field(default=default, default_factory=field.default_factory)
    same = ("__module__", "__qualname__", "__doc__", "__firstlineno__")  # the last one from Python 3.13 on
    space |= {name: vars(kind)[name] for name in same if name in vars(kind)}
    space |= {"__qualname__": kind.__qualname__, "__annotations__": hinted}
    return dataclasses.dataclass(frozen=True)(type(kind.__name__, (kind,), space))


def _hint(words: str, default: str) -> str:
    return f"({words}; default: {default})"


def _as(kind: Any, value: Any) -> Any:
    """The content of the dataclass `value` as a `kind`, which has the same settings."""
    content = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    inner = {field.name: bare for field, bare, _ in rules(kind) if dataclasses.is_dataclass(bare)}
    return kind(**content | {name: _as(bare, content[name]) for name, bare in inner.items()})


def one_line(box: str) -> str:
    """What an error box of tyro says, without its frame, its title and its advice.

    The box has rounded corners, its title in the top edge; or, where the encoding lacks those, only rules, its title
    in a part of its own.
    """
    lines = [_ANSI.sub("", line).strip(_FRAME) for line in box.splitlines()]
    parts: list[list[str]] = [[]]
    for line in lines:
        if not line.strip(_RULES):
            parts.append([])
        elif not line.startswith("╭"):
            parts[-1].append(line)
    parts = [part for part in parts if part]
    if len(parts) > 1 and not any(line.startswith("╭") for line in lines):
        parts = parts[1:]
    said = " ".join(parts[0]).rstrip(".") if parts else "the arguments could not be read"
    helped = next((part[1:] for part in parts if part[0] == "Argument helptext:"), [])
    return f"{said}; expected {helped[0].strip()}" if helped else said


def flags(kind: Any) -> list[str]:
    """The options of a dataclass as they are typed, those of nested dataclasses included."""
    found: list[str] = []
    for field, inner, _ in rules(kind):
        found += flags(inner) if dataclasses.is_dataclass(inner) else [flag(field.name)]
    return found


def _unknown(unknown: list[str], kind: Any, prog: str) -> str:
    options = [word.partition("=")[0].replace("_", "-") for word in unknown if word.startswith("--")]
    if not options:
        return f"unexpected argument `{unknown[0]}`; settings are written `--name value`, see `{prog} --help`"
    known = flags(kind)
    hint = closest(options[0], known) or (f"; there are {', '.join(known)}" if known else "; there are none")
    return f"unknown setting `{options[0]}`{hint}; see `{prog} --help`"


def run_options(settings: Any, *, out: str) -> Any:
    """A dataclass of what `homotopy run NAME` accepts: where to, how thorough, and the scenario's settings."""
    import tyro

    help_out = tyro.conf.arg(metavar="DIR", help="Folder to write; a finished run that is there is replaced.")
    help_quick = tyro.conf.arg(
        help="Start from the small settings of this scenario (under a minute, most of it compilation)."
    )
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
        start = getattr(baseline, field.name)
        if value == start:
            continue
        if dataclasses.is_dataclass(value) and type(value) is type(start):
            words += spelled_out(value, start)  # without a prefix, see `run_options`
        elif isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        elif isinstance(value, tuple | list):
            words += [f"--{flag}", *map(str, value)]
        else:
            words.append(f"--{flag}={value}")  # in one word: a value may begin with a minus
    return words
