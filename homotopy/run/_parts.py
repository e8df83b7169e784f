"""What every run is made of: a computation, and its figures and words, which see nothing but what it saved.

The parts are functions of a module, a scenario's or a command's own:

- `draw(data, settings)`: file stem → Matplotlib `Figure` (saved as PNG and SVG), or a function that writes an animation to
  the path (`stem.gif`) that it is given.
- `tell(data, settings)`: what was found, in a few lines.
- `tabulate(data, settings)`, which a module may leave out: file stem → columns by name, each table a CSV file.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .._errors import WorkError

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

    Picture = Figure | Callable[[Path], Any]

_FILE_STEM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def drawn(module: ModuleType, data: "xarray.Dataset", settings: Any) -> "dict[str, Picture]":
    """The pictures, each under a name that can be a file's."""
    pictures = dict(module.draw(data, settings))
    _check_stems(pictures)
    return pictures


def tabulated(module: ModuleType, data: "xarray.Dataset", settings: Any) -> dict[str, Mapping[str, Any]]:
    """The tables, each under a name that can be a file's; none where the module makes none."""
    tables = dict(module.tabulate(data, settings)) if hasattr(module, "tabulate") else {}
    _check_stems(tables)
    return tables


def _check_stems(named: Mapping[str, Any]) -> None:
    for stem in named:
        if not _FILE_STEM.fullmatch(stem):
            raise WorkError(f"the name of a figure or table becomes a file name, but {stem!r} cannot be one")
