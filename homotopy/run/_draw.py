"""`homotopy draw RUN`: the figures, tables and words of a run again, from its data.nc, without computing."""

import dataclasses
import importlib
import shlex
from pathlib import Path
from typing import Any

from .._errors import RequestError, WorkError
from ._arguments import parse
from ._carry_out import DATA, picture, publishing, written, wrote
from ._cli import COMMANDS
from ._manifest import load_run, plain, write_manifest

USAGE = """usage: homotopy draw RUN [--out DIR]

Makes the figures and tables of a finished run again from its data.nc, without computing, and tells again what was found.
RUN is a folder that `homotopy run`, `search` or `diagnose` wrote; its files are replaced, or --out names another folder.
"""


@dataclasses.dataclass(frozen=True)
class Options:
    """Where to draw."""

    out: str = ""
    """folder to write; the run itself is drawn anew where none is named"""


def command(args: list[str], scenarios: str) -> int:
    if args[:1] in (["-h"], ["--help"]):
        print(USAGE, end="")
        return 0
    if not args or args[0].startswith("-"):
        raise RequestError("name the folder of a run first: `homotopy draw RUN`")
    run = args[0]
    out = parse(Options, args[1:], prog="homotopy draw").out or run
    manifest, data = load_run(run, only=DATA)
    module, settings = _parts(run, manifest, scenarios)
    with publishing(out) as (folder, progress), written(out):
        (folder / DATA).write_bytes((Path(run) / DATA).read_bytes())
        summary, failure = picture(folder, module, data, settings, progress)
        if failure is not None:
            raise WorkError(f"{run} cannot be drawn: {type(failure).__name__}: {failure}") from failure
        write_manifest(folder, {**manifest, "summary": summary})
    print(summary)
    wrote(out)
    return 0


def _parts(run: str, manifest: dict[str, Any], scenarios: str) -> tuple[Any, Any]:
    """What draws this run, and its settings: those of the command that the manifest spells out."""
    unsaid = RequestError(f"the manifest of {run} does not say which command made it; there is nothing to draw it with")
    try:
        words = shlex.split(str(manifest.get("command", "")))
    except ValueError:  # an open quotation
        raise unsaid from None
    if len(words) < 2 or words[0] != "homotopy" or words[1] not in COMMANDS:
        raise unsaid
    module = importlib.import_module(f".{COMMANDS[words[1]].module}", __package__)
    if not hasattr(module, "parts"):  # a command that writes no run
        raise unsaid
    found, settings = module.parts(words[2:], scenarios)
    then, now = ({**recorded, "out": ""} for recorded in (manifest.get("settings", {}), plain(settings)))
    if then != now:
        raise RequestError(
            f"{run} was computed with settings that this version of homotopy reads differently; run it again: "
            f"{manifest['command']}"
        )
    return found, settings
