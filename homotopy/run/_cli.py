"""The command line: which command, and how it ends.

Exit codes: 0 done; 1 the work failed; 2 the request was wrong. Both failures are said in one line on
standard error; `HOMOTOPY_TRACEBACK=1` shows where they came from.
"""

import os
import sys
import traceback
from dataclasses import dataclass

from .._errors import RequestError, WorkError
from ._arguments import parse
from ._scenarios import PACKAGE, closest, find_scenarios

HELP = """usage: homotopy COMMAND [...]

Gradient-flow homotopies: train while the weight of some points changes in time.

commands:
  list      the scenarios, one line each
  run       run a scenario: homotopy run SCENARIO [--quick] [--out DIR] [--SETTING VALUE ...]
  doctor    is this installation sound? versions, float64, compile cache

options:
  -h, --help    this text; `homotopy run SCENARIO --help` shows the settings of a scenario
  --version     the version of homotopy

environment:
  HOMOTOPY_CACHE        folder of the compile cache; empty switches it off
  HOMOTOPY_TRACEBACK    set to 1 to see the traceback of an error
"""

_LONGEST = 400  # characters of an unexpected error's message; compilers can go on for pages


@dataclass(frozen=True)
class _NoOptions:
    pass


def main(argv: list[str] | None = None, *, scenarios: str = PACKAGE) -> int:
    """Run one command and return its exit code. `scenarios` names the package to look for scenarios in."""
    args = sys.argv[1:] if argv is None else list(argv)
    # The plots' own words may hold what an old terminal cannot show; that is no reason to fail.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    os.environ["MPLBACKEND"] = "Agg"  # nobody looks at a window; must precede pyplot
    try:
        return _command(args, scenarios)
    except SystemExit as leaving:  # `--help` of a command
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except RequestError as error:
        return _fail(str(error), 2)
    except WorkError as error:
        return _fail(str(error), 1)
    except KeyboardInterrupt:
        return _fail("interrupted", 1)
    except BrokenPipeError:
        # The reader (`| head`) has gone; what is left in the buffer must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        said = " ".join(str(error).split())
        said = said if len(said) <= _LONGEST else f"{said[:_LONGEST]}…"
        return _fail(f"{type(error).__name__}: {said} (HOMOTOPY_TRACEBACK=1 shows the traceback)", 1)


def _command(args: list[str], package: str) -> int:
    name, rest = (args[0], args[1:]) if args else ("--help", [])
    match name:
        case "-h" | "--help":
            print(HELP, end="")
            return 0
        case "--version":
            from homotopy import __version__

            print(f"homotopy {__version__}")
            return 0
        case "list":
            return list_command(rest, package)
        case "run":
            from ._run import run_command

            return run_command(rest, package)
        case "doctor":
            from ._doctor import doctor_command

            parse(_NoOptions, rest, prog="homotopy doctor", description="Is this installation sound?")
            return doctor_command()
    kind = "option" if name.startswith("-") else "command"
    raise RequestError(f"unknown {kind} `{name}`{closest(name, ['list', 'run', 'doctor'])}; see `homotopy --help`")


def list_command(args: list[str], package: str) -> int:
    parse(_NoOptions, args, prog="homotopy list", description="The scenarios, one line each.")
    known = find_scenarios(package)
    width = max(map(len, known), default=0)
    for name, scenario in known.items():
        print(f"{name:<{width}}  {scenario.description}")
    return 0


def _fail(message: str, code: int) -> int:
    if os.environ.get("HOMOTOPY_TRACEBACK") and sys.exc_info()[0] is not None:
        traceback.print_exc()
    print(f"homotopy: error: {' '.join(message.split())}", file=sys.stderr, flush=True)
    return code
