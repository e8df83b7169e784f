"""A computation over a grid: its shape, and what a cell that fails costs."""

import numpy as np
import pytest

from homotopy import WorkError
from homotopy.run import Progress, codes_of, grid


def _cell(d, seed):
    if d == 2 and seed == 1:
        raise WorkError("it diverged; shorten the steps")
    return {"value": 10 * d + seed, "curve": ("time", np.arange(3.0) * d), "name": f"{d}-{seed}"}


def test_every_cell_is_in_its_place_and_a_failed_one_is_empty():
    data = grid({"d": (1, 2), "seed": range(2)}, _cell, Progress(), "cells")
    assert data["value"].dims == ("d", "seed")
    np.testing.assert_array_equal(data["value"], [[10, 11], [20, np.nan]])
    assert data["curve"].dims == ("d", "seed", "time")
    np.testing.assert_array_equal(data["curve"].sel(d=2, seed=0), [0, 2, 4])
    assert data["name"].values.tolist() == [["1-0", "1-1"], ["2-0", ""]]
    assert codes_of(data) == {"successful": 3, "it diverged": 1}


def test_where_every_cell_fails_the_first_error_is_the_answer():
    with pytest.raises(WorkError, match="shorten the steps"):
        grid({"d": (2,), "seed": (1, 1)}, _cell, Progress(), "cells")


def test_cells_of_unequal_shape_are_refused_by_name():
    with pytest.raises(WorkError, match=r"differ in the shape of x: \(2,\) and \(1,\)"):
        grid({"k": (1, 2)}, lambda k: {"x": ("i", np.zeros(k))}, Progress(), "cells")
