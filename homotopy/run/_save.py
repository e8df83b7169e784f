"""Figures, animations and data to disk, the same bytes for the same content."""

from pathlib import Path
from typing import Any

from .._errors import WorkError
from ._progress import Progress
from ._result import RunResult

DPI = 110  # a usual figure stays well under 300 kB
_LARGE = 300_000  # bytes
_WORTH_COMPRESSING = 4096  # bytes


def save(result: RunResult, folder: Path, progress: Progress) -> None:
    """Everything that `result` holds, as files of `folder`."""
    with progress.task("writing", total=len(result.figures) + len(result.animations) + 1) as advance:
        for stem, figure in result.figures.items():
            save_figure(figure, folder, stem)
            advance()
        for stem, write in result.animations.items():
            path = folder / f"{stem}.gif"
            write(path)
            if not path.is_file():
                raise WorkError(f"the animation `{stem}` wrote no file")
            advance()
        save_data(result.data, folder / "data.nc")
        advance()


def save_figure(figure: Any, folder: Path, stem: str) -> None:
    """`stem`.png and `stem`.svg, without dates, versions or random identifiers."""
    import matplotlib
    from matplotlib import pyplot
    from PIL import Image

    with matplotlib.rc_context({"svg.hashsalt": "homotopy"}):
        picture = folder / f"{stem}.png"
        figure.savefig(picture, dpi=DPI, metadata={"Software": None})
        if picture.stat().st_size > _LARGE:
            # Many thin lines are what makes a figure large, and 256 colours are enough for those.
            with Image.open(picture) as image:
                reduced = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
            reduced.save(picture, optimize=True)
        figure.savefig(folder / f"{stem}.svg", metadata={"Date": None, "Creator": None})
    pyplot.close(figure)


def save_data(data: Any, path: Path) -> None:
    """`data` as netCDF-4, read back and compared before it counts as written."""
    import xarray

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
    with xarray.open_dataset(path, engine="h5netcdf") as written:
        if not written.equals(data):
            raise WorkError("data.nc does not read back as it was written")
