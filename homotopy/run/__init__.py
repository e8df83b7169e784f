"""The command line, run folders and their manifests: `homotopy list | run | doctor`.

A scenario needs these names from here: it is handed a `Progress` and gives back a `RunResult`; its settings are
annotated with a `Range` (a `Seed` is one), which `check(settings)` holds them against.
`load_run` reads a run folder back and refuses one that is unfinished or was changed.

Nothing heavy is imported here: the command line answers `--help` at once, and sets the switches of the
solvers before they are imported.
"""

from .._extras import need as need
from .._settings import Range as Range, Seed as Seed, check as check
from ._cli import main as main
from ._manifest import LoadedRun as LoadedRun, load_run as load_run
from ._progress import Progress as Progress
from ._result import RunResult as RunResult

__all__ = ["LoadedRun", "Progress", "Range", "RunResult", "Seed", "check", "load_run", "main", "need"]
