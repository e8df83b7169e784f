"""The command line: which command, and how it ends.

Exit codes: 0 done; 1 the work failed; 2 the request was wrong. Both failures are said in one line on
standard error; `HOMOTOPY_TRACEBACK=1` shows where they came from.

A new command is one module here with `command(args, scenarios) -> exit code`, and one row of `COMMANDS`.
"""

import contextlib
import errno
import importlib
import logging
import os
import sys
import traceback
from typing import NamedTuple

from .._errors import RequestError, WorkError
from ._clock import restart
from ._interrupt import Interruptible
from ._scenarios import PACKAGE, closest


class Command(NamedTuple):
    module: str  # imported when the command is given, not before
    summary: str


COMMANDS = {
    "list": Command("_list", "the scenarios, one line each"),
    "run": Command("_run", "run a scenario: homotopy run SCENARIO [--quick] [--out DIR] [--SETTING VALUE ...]"),
    "draw": Command("_draw", "the figures of a run again, without computing: homotopy draw RUN [--out DIR]"),
    "search": Command(
        "_search", "the best ε(t) for your table: homotopy search --data FILE.csv --target COLUMN --delete ROW"
    ),
    "diagnose": Command(
        "_diagnose", "which rows move the fit, exactly: homotopy diagnose --data FILE.csv --target COLUMN [--out DIR]"
    ),
    "hypotheses": Command(
        "_hypotheses", "the notes' claims, decided: homotopy hypotheses [--quick] [--only ID] [--report FILE]"
    ),
    "doctor": Command("_doctor", "is this installation sound? versions, float64, compile cache"),
}

HELP = """usage: homotopy COMMAND [...]

Gradient-flow homotopies: train while the weight of some points changes in time.

commands:
{commands}

options:
  -h, --help    this text; `homotopy COMMAND --help` and `homotopy run SCENARIO --help` say more
  --version     the version of homotopy

environment:
  HOMOTOPY_CACHE        folder of the compile cache; empty switches it off
  HOMOTOPY_TRACEBACK    set to 1 to see the traceback of an error

exit codes: 0 done, 1 the work failed, 2 the request was wrong
"""

_UNWRITABLE = {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
_LONGEST = 400  # characters of an unexpected error's message; compilers can go on for pages


def main(argv: list[str] | None = None, *, scenarios: str = PACKAGE) -> int:
    """Run one command and return its exit code. `scenarios` names the package to look for scenarios in."""
    args = sys.argv[1:] if argv is None else list(argv)
    if argv is not None:
        restart()
    # The plots' own words may hold what an old terminal cannot show; that is no reason to fail.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    os.environ["MPLBACKEND"] = "Agg"  # nobody looks at a window; must precede pyplot
    # What Matplotlib says of a read-only home or of the user's fonts concerns no figure here (`plain_style`).
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    with Interruptible(lambda: _fail("interrupted", 1)) as guard:
        try:
            code = _command(args, scenarios)
            if sys.stdout is not None:
                sys.stdout.flush()  # here, where a reader that has gone is no news
            guard.reacted()
        except BaseException as error:
            guard.reacted()
            code = _ended_by(error, interrupted=guard.interrupted)
    if guard.interrupted and argv is None:
        os._exit(code)  # Python ends by the signal once an `exec` (of a dataclass, say) has seen the interrupt
    return code


def _command(args: list[str], scenarios: str) -> int:
    name, rest = (args[0], args[1:]) if args else ("--help", [])
    if name in ("-h", "--help"):
        rows = [f"  {known:<10}  {command.summary}" for known, command in COMMANDS.items()]
        print(HELP.format(commands="\n".join(rows)), end="")
        return 0
    if name == "--version":
        from homotopy import __version__

        print(f"homotopy {__version__}")
        return 0
    if name not in COMMANDS:
        kind = "option" if name.startswith("-") else "command"
        hint = closest(name, list(COMMANDS)) or f"; there are {', '.join(COMMANDS)}"
        raise RequestError(f"unknown {kind} `{name}`{hint}; see `homotopy --help`")
    module = importlib.import_module(f".{COMMANDS[name].module}", __package__)
    return int(module.command(rest, scenarios))


def _ended_by(error: BaseException, *, interrupted: bool) -> int:
    """Say in one line what ended the command; the exit code."""
    if isinstance(error, SystemExit) and not isinstance(error.code, str):  # `--help` of a command
        return error.code if isinstance(error.code, int) else 0
    if isinstance(error, OSError) and _of_standard_output(error):
        if isinstance(error, BrokenPipeError):  # the reader (`| head`) has seen enough
            return 1
        return _fail(f"standard output cannot be written: {error.strerror or error}", 1)
    if isinstance(error, RequestError):
        return _fail(str(error), 2)
    if isinstance(error, WorkError | SystemExit):
        return _fail(str(error), 1)
    if isinstance(error, KeyboardInterrupt) or interrupted:
        return _fail("interrupted", 1)
    said = " ".join(str(error).split())
    said = said if len(said) <= _LONGEST else f"{said[:_LONGEST]}…"
    kind = type(error).__name__
    return _fail(f"{kind}: {said} (HOMOTOPY_TRACEBACK=1 shows the traceback)", 1)


def _of_standard_output(error: OSError) -> bool:
    """Whether `error` is standard output's (an error of a file names it), which then must not raise again at exit."""
    if error.filename is not None or error.errno not in _UNWRITABLE:
        return False
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


def _fail(message: str, code: int) -> int:
    if os.environ.get("HOMOTOPY_TRACEBACK", "0") not in ("", "0") and sys.exc_info()[0] is not None:
        traceback.print_exc()
    with contextlib.suppress(OSError):  # standard error may be full or closed as well; the exit code still tells
        print(f"homotopy: error: {' '.join(message.split())}", file=sys.stderr, flush=True)
    return code
