"""Which scenarios there are. Listing reads their first lines and imports nothing.

A scenario is a module of the package `homotopy.scenarios` with the names `Settings` (a frozen dataclass), `QUICK` (an
instance of it), `compute(settings, progress)`, which gives back an xarray.Dataset, and `draw(data, settings)` and
`tell(data, settings)`, which see nothing but what is saved of it. Names that begin with `_`, and sub-packages, are not
scenarios.
"""

import ast
import difflib
import importlib
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from types import ModuleType

from .._errors import RequestError, WorkError

PACKAGE = "homotopy.scenarios"
NAMES = ("Settings", "QUICK", "compute", "draw", "tell")


@dataclass(frozen=True)
class Scenario:
    name: str
    module: str
    path: Path

    @property
    def description(self) -> str:
        """The first line of the module's docstring."""
        try:
            text = ast.get_docstring(ast.parse(self.path.read_bytes()))
        except (OSError, SyntaxError, ValueError) as error:
            return f"(cannot be read: {error})"
        return text.strip().splitlines()[0] if text and text.strip() else "(no description)"

    def load(self) -> ModuleType:
        """Import the scenario; `WorkError` if it cannot be imported or is not a scenario."""
        try:
            module = importlib.import_module(self.module)
        except ModuleNotFoundError as error:
            raise WorkError(f"scenario `{self.name}` cannot be imported: {error}; install what it needs") from error
        missing = [name for name in NAMES if not hasattr(module, name)]
        if missing:
            raise WorkError(f"scenario `{self.name}` is unfinished: it does not define {', '.join(missing)}")
        if not is_dataclass(module.QUICK) or type(module.QUICK) is not module.Settings:
            raise WorkError(f"scenario `{self.name}`: QUICK must be an instance of the dataclass Settings")
        taken = sorted({field.name for field in fields(module.QUICK)} & {"out", "quick", "help"})
        if taken:
            raise WorkError(f"scenario `{self.name}`: a setting cannot be called {taken[0]}, an option of every run is")
        return module


def find_scenarios(package: str = PACKAGE) -> dict[str, Scenario]:
    """All scenarios of `package` by name, in alphabetical order."""
    folders = [Path(folder) for folder in importlib.import_module(package).__path__]
    if not any(folder.is_dir() for folder in folders):
        raise WorkError(f"the scenarios of `{package}` are not installed; reinstall homotopy")
    paths = sorted(path for folder in folders for path in folder.glob("*.py") if not path.name.startswith("_"))
    return {path.stem: Scenario(path.stem, f"{package}.{path.stem}", path) for path in paths}


def find_scenario(name: str, package: str = PACKAGE) -> Scenario:
    """The scenario of that name (hyphens count as underscores); `RequestError` with the closest one otherwise."""
    known = find_scenarios(package)
    wanted = name.replace("-", "_")
    if wanted in known:
        return known[wanted]
    raise RequestError(f"unknown scenario `{name}`{closest(wanted, known)}; `homotopy list` shows all")


def closest(word: str, known: dict[str, Scenario] | list[str]) -> str:
    """`, did you mean …?`, or nothing when nothing is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f", did you mean `{near[0]}`?" if near else ""
