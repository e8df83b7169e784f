"""What a scenario gives back: pictures, numbers, and a sentence about them."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_FILE_STEM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class RunResult:
    """The outcome of one run of a scenario; the command line turns it into a run folder.

    - `figures`: file stem → matplotlib `Figure`; each is saved as PNG and SVG.
    - `data`: an `xarray.Dataset` with named dimensions; saved as `data.nc`.
    - `summary`: what was found, in a few lines; printed when the run is finished.
    - `datasets`: the data sets that went in (`.name`, `.x`, `.y`); their hashes go into the manifest.
    - `result_codes`: how many solves ended how, e.g. `{"successful": 63, "max steps reached": 1}`.
    - `tables`: file stem → columns by name, all of one length; each is saved as CSV.
    - `animations`: file stem → function that writes a GIF to the path it is given.
    """

    # `Any` stands for types of matplotlib and xarray, which this module must not import.
    figures: Mapping[str, Any]
    data: Any
    summary: str
    datasets: tuple[Any, ...] = ()
    result_codes: Mapping[str, int] = field(default_factory=dict)
    animations: Mapping[str, Callable[[Path], Any]] = field(default_factory=dict)
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for stem in (*self.figures, *self.animations, *self.tables):
            if not _FILE_STEM.fullmatch(stem):
                raise ValueError(f"the name of a figure or table becomes a file name, but {stem!r} cannot be one")
