"""`homotopy run SCENARIO`: settings in, one finished run folder out."""

import shlex
import sys
import time
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

from .._errors import RequestError, WorkError
from . import _provenance
from ._arguments import parse, run_options, spelled_out
from ._cache import enable_cache
from ._folder import Staging
from ._interrupt import Interruptible
from ._manifest import write_manifest
from ._progress import Progress
from ._result import RunResult
from ._save import save
from ._scenarios import Scenario, find_scenario, find_scenarios

USAGE = """usage: homotopy run SCENARIO [--quick] [--out DIR] [--SETTING VALUE ...]

Runs a scenario and writes its figures, data.nc and manifest.json into one folder (default: runs/SCENARIO).
`homotopy run SCENARIO --help` shows the settings of a scenario.
"""


def run_command(args: list[str], package: str) -> int:
    if args[:1] in (["-h"], ["--help"]):
        print(USAGE, "\nscenarios: ", ", ".join(find_scenarios(package)) or "none", sep="")
        return 0
    if not args or args[0].startswith("-"):
        raise RequestError("name the scenario first: `homotopy run SCENARIO ...`; `homotopy list` shows all")
    scenario = find_scenario(args[0], package)
    enable_cache()
    module = scenario.load()
    options = _options(scenario, module, args[1:])
    bad = _provenance.KNOWN_BAD_JAX.get(_provenance.versions()["jax"] or "")
    if bad:
        print(f"homotopy: warning: do not trust this JAX version, {bad}; see `homotopy doctor`", file=sys.stderr)
    result, seconds, names = _carry_out(scenario, module, options)
    print(result.summary.rstrip())
    if set(result.result_codes) - {"successful"}:
        print("solves: " + ", ".join(f"{count} {code}" for code, count in result.result_codes.items()))
    print(f"wrote {options.out} in {seconds:.1f} s: {', '.join(names)}")
    return 0


def _options(scenario: Scenario, module: ModuleType, args: list[str]) -> Any:
    def read(settings: Any) -> Any:
        return parse(
            run_options(settings, out=f"runs/{scenario.name}"),
            args,
            prog=f"homotopy run {scenario.name}",
            description=scenario.description,
        )

    options = read(module.Settings())
    if options.quick:  # the same words again, on top of the small settings
        options = read(module.QUICK)
    if not options.out.strip():
        raise RequestError("`--out` is empty; it must name a folder")
    return options


def _carry_out(scenario: Scenario, module: ModuleType, options: Any) -> tuple[RunResult, float, list[str]]:
    """Do the work beside its folder, then put it in place. Whatever goes wrong, nothing half-done remains."""
    staging: Staging | None = None
    progress = Progress()

    def what_remains() -> str:
        kept = "; the earlier run there is untouched" if staging is not None and staging.replaces else ""
        return f"interrupted: nothing was written to {options.out}{kept}"

    def abandon() -> None:
        progress.close()
        if staging is not None:
            staging.discard()
        print(f"homotopy: error: {what_remains()}", file=sys.stderr, flush=True)

    with Interruptible(abandon) as guard:
        try:
            started, clock = datetime.now(UTC), time.perf_counter()
            staging = Staging(options.out)
            provenance = {
                "versions": _provenance.versions(),
                "float64": _provenance.float64_is_on(),
                "git": _provenance.git_state(),
                "platform": _provenance.machine(),
            }
            result = module.run(options.settings, progress)
            if not isinstance(result, RunResult):
                raise WorkError(f"scenario `{scenario.name}` gave back no RunResult")
            save(result, staging.folder, progress)
            seconds = time.perf_counter() - clock
            write_manifest(
                staging.folder,
                {
                    "scenario": scenario.name,
                    "description": scenario.description,
                    "command": _command(scenario, module, options),
                    "quick": options.quick,
                    "seed": getattr(options.settings, "seed", None),
                    "settings": options.settings,
                    "datasets": [_provenance.describe_dataset(data) for data in result.datasets],
                    "result_codes": dict(result.result_codes),
                    "summary": result.summary,
                    "started": started.isoformat(timespec="seconds"),
                    "wall_seconds": round(seconds, 3),
                    **provenance,
                },
            )
            names = sorted(path.name for path in staging.folder.iterdir())
            with guard.shielded():
                staging.publish()
        except BaseException as error:
            guard.reacted()
            progress.close()
            if staging is not None:
                staging.discard()
            if isinstance(error, KeyboardInterrupt):
                raise WorkError(what_remains()) from None
            raise
    return result, seconds, names


def _command(scenario: Scenario, module: ModuleType, options: Any) -> str:
    baseline = module.QUICK if options.quick else module.Settings()
    words = ["homotopy", "run", scenario.name, *(["--quick"] if options.quick else [])]
    return shlex.join([*words, *spelled_out(options.settings, baseline)])
