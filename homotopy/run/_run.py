"""`homotopy run SCENARIO`: a scenario with its settings, carried out into a run folder."""

import shlex
from types import ModuleType
from typing import Any

from .._errors import RequestError
from .._settings import check
from ._arguments import read, run_options, spelled_out
from ._cache import enable_cache
from ._carry_out import carry_out
from ._scenarios import Scenario, find_scenario, find_scenarios

USAGE = """usage: homotopy run SCENARIO [--quick] [--out DIR] [--SETTING VALUE ...]

Runs a scenario and writes its figures, data.nc and manifest.json into one folder (default: runs/SCENARIO).
`homotopy run SCENARIO --help` shows the settings of a scenario.
"""


def command(args: list[str], scenarios: str) -> int:
    if args[:1] in (["-h"], ["--help"]):
        print(USAGE, "\nscenarios: ", ", ".join(find_scenarios(scenarios)) or "none", sep="")
        return 0
    scenario, module, options = _request(args, scenarios)
    fields = {
        "scenario": scenario.name,
        "description": scenario.description,
        "command": _spelled(scenario, module, options),
        "quick": options.quick,
        "seed": getattr(options.settings, "seed", None),
        "settings": options.settings,
    }
    settings = options.settings
    carry_out(options.out, fields, lambda progress: module.compute(settings, progress), module, settings)
    return 0


def parts(args: list[str], scenarios: str) -> tuple[ModuleType, Any]:
    """The scenario's module and the settings that `args` ask for."""
    _, module, options = _request(args, scenarios)
    return module, options.settings


def _request(args: list[str], scenarios: str) -> tuple[Scenario, ModuleType, Any]:
    if not args or args[0].startswith("-"):
        raise RequestError("name the scenario first: `homotopy run SCENARIO ...`; `homotopy list` shows all")
    scenario = find_scenario(args[0], scenarios)
    enable_cache()
    module = scenario.load()

    def given(settings: Any) -> Any:
        return read(
            run_options(settings, out=f"runs/{scenario.name}"),
            args[1:],
            prog=f"homotopy run {scenario.name}",
            description=scenario.description,
        )

    options = given(module.Settings())
    if options.quick:  # the same words again, on top of the small settings
        options = given(module.QUICK)
    check(options)
    return scenario, module, options


def _spelled(scenario: Scenario, module: ModuleType, options: Any) -> str:
    """The command that does this again (without `--out`, which is a matter of the machine)."""
    baseline = module.QUICK if options.quick else module.Settings()
    words = ["homotopy", "run", scenario.name, *(["--quick"] if options.quick else [])]
    return shlex.join([*words, *spelled_out(options.settings, baseline)])
