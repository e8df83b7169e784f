"""The same computation over a grid of seeds, sizes, methods…: one data set, in which a cell that failed costs itself only."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

from .._errors import WorkError
from .._progress import Progress
from ._record import record

if TYPE_CHECKING:
    import numpy as np
    import xarray


def grid(
    axes: Mapping[str, Sequence[Any]],
    cell: Callable[..., Mapping[str, Any]],
    progress: Progress,
    what: str,
) -> "xarray.Dataset":
    """`cell(**values)` for every combination of `axes` (name → values), as one data set with these dimensions.

    A cell gives back name → number, text, or (dimensions, array). One that raises `WorkError` is NaN (text: empty), and
    is counted in the result codes by what its error says before its advice; the first error is raised where every cell
    fails.
    """
    import numpy as np
    import xarray as xr

    shape = tuple(len(values) for values in axes.values())
    cells: list[xr.Dataset | None] = []
    codes: dict[str, int] = {"successful": 0}
    first: WorkError | None = None
    with progress.task(what, total=int(np.prod(shape))) as advance:
        for values in product(*axes.values()):
            try:
                cells.append(xr.Dataset(dict(cell(**dict(zip(axes, values, strict=True))))))
                said = "successful"
            except WorkError as error:
                cells.append(None)
                first, said = first or error, " ".join(str(error).partition(";")[0].split())
            codes[said] = codes.get(said, 0) + 1
            advance()
    model = next((found for found in cells if found is not None), None)
    if model is None:
        raise first or WorkError(f"{what}: there is nothing to compute")
    variables = {
        name: (
            (*axes, *model[name].dims),
            np.stack([_filled(found, model[name]) for found in _named(cells, name)]).reshape(
                *shape, *model[name].shape
            ),
        )
        for name in model.data_vars
    }
    data = xr.Dataset(variables, coords={name: list(values) for name, values in axes.items()})
    return record(data.assign_coords(model.coords), codes=codes)


def _named(cells: Sequence[Any], name: Any) -> "list[np.ndarray | None]":
    return [None if found is None else found[name].values for found in cells]


def _filled(values: "np.ndarray | None", model: Any) -> "np.ndarray":
    import numpy as np

    if values is not None:
        if values.shape != model.shape:
            raise WorkError(
                f"the cells of a grid differ in the shape of {model.name}: {values.shape} and {model.shape}"
            )
        return values
    return np.full(model.shape, "" if model.dtype.kind in "UO" else np.nan)
