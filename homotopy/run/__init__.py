"""The command line, run folders and their manifests: `homotopy list | run | draw | search | …`.

A scenario needs these names from here: `compute` is handed a `Progress`, and lets `record` say in its data set which data
went in and how the solves ended; its settings are annotated with a `Range` (a `Seed` is one), which `check(settings)`
holds them against.
`load_run` reads a run folder back and refuses one that is unfinished or was changed.

Nothing heavy is imported here: the command line answers `--help` at once, and sets the switches of the
solvers before they are imported.
"""

from .._extras import need as need
from .._progress import Progress as Progress
from .._settings import Range as Range, Seed as Seed, check as check
from ._cli import main as main
from ._grid import grid as grid
from ._manifest import LoadedRun as LoadedRun, load_run as load_run
from ._record import codes_of as codes_of, record as record

__all__ = ["LoadedRun", "Progress", "Range", "Seed", "check", "codes_of", "grid", "load_run", "main", "need", "record"]
