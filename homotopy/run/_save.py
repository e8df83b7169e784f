"""Figures, animations and data to disk, the same bytes for the same content."""

import csv
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .._errors import WorkError

DPI = 110  # a usual figure stays well under 300 kB
_LARGE = 300_000  # bytes
_WORTH_COMPRESSING = 4096  # bytes
_STYLE: Any = {  # Matplotlib's own type is a `Literal` of every key there is
    "axes.titlesize": 10.5, "axes.labelsize": 10.0, "xtick.labelsize": 9.0, "ytick.labelsize": 9.0, "legend.fontsize": 8.5,
    "legend.title_fontsize": 8.5,
}  # fmt: skip


@contextmanager
def plain_style() -> Iterator[None]:
    """One style for every figure, whatever the user's matplotlibrc says: a run draws the same figures everywhere."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def save_picture(picture: Any, folder: Path, stem: str) -> None:
    """A figure as `stem`.png and `stem`.svg, or an animation, which is a function that writes `stem`.gif."""
    if not callable(picture):
        save_figure(picture, folder, stem)
        return
    path = folder / f"{stem}.gif"
    picture(path)
    if not path.is_file():
        raise WorkError(f"the animation `{stem}` wrote no file")


def save_figure(figure: Any, folder: Path, stem: str) -> None:
    """`stem`.png and `stem`.svg, without dates, versions or random identifiers."""
    import matplotlib
    from matplotlib import pyplot
    from PIL import Image

    with matplotlib.rc_context({"svg.hashsalt": "homotopy"}), warnings.catch_warnings():
        # A column's name may hold letters that the font lacks: they are boxes in the picture, and whole in the data.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        picture = folder / f"{stem}.png"
        figure.savefig(picture, dpi=DPI, metadata={"Software": None})
        if picture.stat().st_size > _LARGE:
            # Many thin lines are what makes a figure large, and 256 colours are enough for those.
            with Image.open(picture) as image:
                reduced = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
            reduced.save(picture, optimize=True)
        figure.savefig(folder / f"{stem}.svg", metadata={"Date": None, "Creator": None})
    pyplot.close(figure)


def save_table(columns: Mapping[str, Any], path: Path) -> None:
    """`columns` as CSV in UTF-8; numbers survive the round trip to the last bit, ∞ and NaN are `inf` and `nan`."""
    values = [np.asarray(column).tolist() for column in columns.values()]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*values, strict=True))


def save_data(data: Any, path: Path) -> None:
    """`data` as netCDF-4, read back and compared before it counts as written."""
    data = data.as_numpy()
    packed = {
        str(name): {"zlib": True, "complevel": 4}
        for name, values in data.variables.items()
        if values.dtype.kind in "fiu" and values.nbytes >= _WORTH_COMPRESSING
    }
    try:
        data.to_netcdf(path, engine="h5netcdf", encoding=packed)
    except (TypeError, ValueError) as error:
        raise WorkError(f"the data do not fit into netCDF: {error}") from error
    if not read_data(path).equals(data):
        raise WorkError("data.nc does not read back as it was written")


def read_data(path: Path) -> Any:
    """The data set that `save_data` wrote, in memory."""
    import xarray

    with xarray.open_dataset(path, engine="h5netcdf") as data:
        return data.load()
