"""`homotopy list`: the scenarios, one line each."""

from ._arguments import NoOptions, parse
from ._scenarios import find_scenarios


def command(args: list[str], scenarios: str) -> int:
    parse(NoOptions, args, prog="homotopy list", description="The scenarios, one line each.")
    known = find_scenarios(scenarios)
    width = max(map(len, known), default=0)
    for name, scenario in known.items():
        print(f"{name:<{width}}  {scenario.description}")
    return 0
