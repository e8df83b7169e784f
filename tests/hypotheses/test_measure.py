"""Tables of measured units, and the five pictures that are drawn from them."""

import itertools

import matplotlib.text
import numpy as np
import pytest
from matplotlib.figure import Figure

from homotopy import WorkError
from homotopy._progress import Progress
from homotopy.hypotheses import (
    Correlation,
    CounterExample,
    Curves,
    Ratios,
    Scale,
    Shares,
    Table,
    correlation,
    join,
    measure,
    share,
)  # fmt: skip
from homotopy.hypotheses._instances import random_batch


def test_units_without_an_answer_are_counted_and_those_outside_the_family_are_not():
    def estimand(seed, point):
        if seed == 1:
            raise WorkError("no minimum")
        return None if seed == 2 else {"value": seed + point, "pair": [seed, point]}

    units = [{"seed": seed, "point": 10} for seed in range(4)]
    found = measure(estimand, units, Progress(shown=False), "", (WorkError,))
    assert found["told"] == [units[0], units[3]]
    np.testing.assert_array_equal(found["pair"], [[0, 10], [3, 10]])
    assert len(found.failures) == 1
    assert "no minimum" in found.failures[0]
    assert found.extreme(found["value"], "Largest", "value") == {"what": "Largest", **units[3], "value": 13}
    with pytest.raises(WorkError):
        measure(estimand, units, Progress(shown=False), "")
    with pytest.raises(KeyError):
        found["valeu"]


def test_a_batch_gives_a_row_for_each_of_its_problems_that_counts():
    batch = random_batch(Scale(8, 1, 0), 2)
    found = measure(
        lambda here: {"sum": here.y.sum(axis=1), "counts": ~here.singular}, [batch, batch], Progress(shown=False), ""
    )
    kept = np.flatnonzero(~batch.singular)
    assert found.rows == 2 * len(kept)
    np.testing.assert_array_equal(found["sum"], np.tile(batch.y.sum(axis=1)[kept], 2))
    assert found["told"][0] == batch.describe(int(kept[0]))
    shares = found.shares(
        found["start"] == "zero", {start: found["start"] == start for start in np.unique(found["start"])}
    )
    assert {name: entry["share"] for name, entry in shares.items()} == {name: float(name == "zero") for name in shares}


def test_of_no_rows_every_column_is_empty():
    empty = join([measure(lambda seed: None, [3, 4], Progress(shown=False), "")])
    assert (empty.rows, empty["anything"].size, empty.where(np.zeros(0, bool)).rows) == (0, 0, 0)
    assert empty.extreme(empty["anything"], "Largest") is None
    assert Table({"told": [{}], "x": np.array([np.inf])}).extreme(np.array([np.inf]), "Largest") is None


VALUES = np.random.default_rng(0).lognormal(size=(30, 4))
PICTURES = {
    "shares": Shares({f"stratum {k}": share(VALUES[:, k] > 1) for k in range(4)} | {"none": share([])}, "share", "title", 0.5),
    "parts": Shares({"a": {"x": 0.25, "y": 0.75}, "b": {"x": 0.5, "y": 0.5}}, "share", "title"),
    "ratios": Ratios({"a": VALUES[:, 0], "b": VALUES[:, 1], "none": []}, "ratio", "title", (0.5, 2.0), 1.0),
    "series": Ratios({"a": {"one": VALUES[:, 0], "other": VALUES[:, 1]}}, "ratio", "title"),
    "correlation": Correlation(
        VALUES[:, 0], VALUES[:, 1], ("x", "y"), floor=1e-3, rho=correlation(VALUES[:, 0], VALUES[:, 1]), formula=np.asarray,
        named="y = x", level=(1.0, "one"),
    ),
    "curves": Curves([1, 2, 3, 4], {"a": VALUES, "none": []}, ("x", "y"), "title", ticks=("1", "2", "3", "4"), level=1.0),
    "counter-example": CounterExample({"what": "Worst", "seed": 3, "a": 1.0, "b": 2.0}, ("a", "b"), "E"),
}  # fmt: skip


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_readable_and_shows_its_numbers(name):
    figure = Figure(figsize=(4.5, max(3.2, getattr(PICTURES[name], "height", 0.0))), layout="constrained")
    ax = figure.add_subplot()
    PICTURES[name](ax)
    figure.draw_without_rendering()
    texts = [text for text in figure.findobj(matplotlib.text.Text) if text.get_visible() and text.get_text()]
    assert min(text.get_fontsize() for text in texts) >= 8
    labels = [text.get_window_extent() for text in ax.get_yticklabels() if text.get_text()]
    assert not any(a.overlaps(b) for a, b in itertools.pairwise(labels))
    if name == "shares":
        assert [bar.get_width() for bar in ax.patches] == [*(VALUES > 1).mean(axis=0), 0.0]
    if name == "ratios":  # beyond the limits at their ends; the bar is the median of what is drawn
        dots, bar = ax.lines[0].get_xdata(), ax.lines[1].get_xdata()
        np.testing.assert_array_equal(dots, np.clip(VALUES[:, 0], 0.5, 2.0))
        assert bar[0] == np.median(dots)
    if name == "curves":
        np.testing.assert_allclose(ax.lines[0].get_ydata(), np.median(VALUES, axis=0))
