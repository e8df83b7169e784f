"""The command line, run folders and their manifests: `homotopy list | run | doctor`.

A scenario needs two names from here: it is handed a `Progress` and gives back a `RunResult`.
`load_run` reads a run folder back and refuses one that is unfinished or was changed.

Nothing heavy is imported here: the command line answers `--help` at once, and sets the switches of the
solvers before they are imported.
"""

from ._cli import main as main
from ._manifest import LoadedRun as LoadedRun, load_run as load_run
from ._progress import Progress as Progress
from ._result import RunResult as RunResult

__all__ = ["LoadedRun", "Progress", "RunResult", "load_run", "main"]
