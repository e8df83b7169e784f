"""Schedules as files and as texts: what comes back is what was saved, to the last bit, and nothing else comes back."""

import json
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bell import Bell
from test_schedule import CASES

from homotopy import AbstractSchedule, NeuralSchedule, PointSchedules, RequestError, Step, describe, load, parse

KEPT = {name: case[0] for name, case in CASES.items()} | {
    "network": NeuralSchedule(0.2, 1.0, width=2, depth=2, key=3),
    "per point": PointSchedules([0.5], [[0.0, 1.0], [0.3, 1 / 3]]),
    "of one's own": Bell(1 / 3, 0.1),
}


class Nested(AbstractSchedule):
    """A schedule of a schedule, with fields of every kind that can be saved."""

    inner: AbstractSchedule
    name: str = eqx.field(static=True)
    powers: tuple[int, ...] = eqx.field(static=True)
    table: dict[str, list[float]] = eqx.field(static=True)
    counts: np.ndarray
    piecewise_constant: ClassVar[bool] = False

    def discontinuities(self):
        return self.inner.discontinuities()

    def piece(self, index, t):
        return self.inner.piece(index, t)


def test_files_keep_every_bit(tmp_path):
    nested = Nested(Bell(0.5, 0.1), "x", (1, 2), {"a": [0.1, np.inf]}, np.array([1, 2], dtype=np.int32))
    for name, schedule in (KEPT | {"nested": nested}).items():
        schedule.save(tmp_path / "schedule")
        again = load(tmp_path / "schedule")
        assert type(again) is type(schedule), name
        assert jax.tree.structure(again) == jax.tree.structure(schedule), name
        for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(schedule), strict=True):
            assert a.dtype == b.dtype
            assert (np.asarray(a) == np.asarray(b)).all()
        assert (type(again.discontinuities()), again.to_dict()) == (
            type(schedule.discontinuities()),
            schedule.to_dict(),
        )
    assert (again.table, type(again.counts)) == (nested.table, np.ndarray)
    assert [path.name for path in tmp_path.iterdir()] == ["schedule"]
    assert json.loads((tmp_path / "schedule").read_text())["schedule"]["class"] == f"{__name__}.Nested"
    assert Step(0.5).to_dict()["class"] == "homotopy.flow.Step"


STEP = {"format": "homotopy schedule", "version": 1, "schedule": Step(0.5).to_dict()}
SWITCH = STEP["schedule"]["fields"]["switch"]


def _with(**changes):
    return STEP | {"schedule": STEP["schedule"] | changes}


@pytest.mark.parametrize(
    ("saved", "says"),
    [
        ("not json", "is no saved schedule"),
        ([], "is no saved schedule"),
        ("[" * 100_000, "is no saved schedule"),
        (STEP | {"version": 2}, "is of version 2, but this release reads version 1"),
        (STEP | {"schedule": 3}, "a saved schedule must be what to_dict() or save() wrote, but is 3"),
        (_with(**{"class": "os.system"}), "the class 'os.system' of a saved schedule is not known here"),
        (_with(**{"class": "homotopy.flow.AbstractSchedule"}), "is not known here"),
        (_with(**{"class": ["homotopy"]}), "is not known here"),
        (_with(fields={}), "a saved Step must have the fields switch, but has {}"),
        (_with(fields={"switch": SWITCH, "more": 1}), "must have the fields switch, but has ['switch', 'more']"),
        (
            _with(fields={"switch": SWITCH | {"shape": [2]}}),
            "Step.switch of a saved schedule has the shape (2,), but 1 numbers",
        ),
        (_with(fields={"switch": SWITCH | {"shape": [-1]}}), "must be an array of real numbers"),
        (_with(fields={"switch": SWITCH | {"dtype": "object"}}), "must be an array of real numbers"),
        (_with(fields={"switch": SWITCH | {"array": ["__import__('os')"]}}), "must hold numbers, but holds"),
        (
            _with(fields={"switch": SWITCH | {"array": [0.1, 0.2], "shape": [2]}}),
            "but has the shape (2,) and the type float64",
        ),
        (_with(fields={"switch": {"call": "exit"}}), "must be a number, an array, a text or a schedule"),
    ],
)
def test_a_file_that_is_not_right_is_one_line(tmp_path, saved, says):
    (tmp_path / "file").write_text(saved if isinstance(saved, str) else json.dumps(saved))
    with pytest.raises(RequestError) as error:
        load(tmp_path / "file")
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_what_cannot_be_saved_or_found(tmp_path):
    class Opaque(AbstractSchedule):
        network: object
        piecewise_constant: ClassVar[bool] = False

        def discontinuities(self):
            return jnp.zeros(0)

        def piece(self, index, t):
            return t

    for act, says in (
        (lambda: Opaque(jnp.tanh).save(tmp_path / "x"), "Opaque.network is "),
        (lambda: Nested(Opaque(print), "", (), {}, np.zeros(1)).to_dict(), "Opaque.network is "),
        (lambda: jax.jit(lambda t: Step(t).to_dict())(0.5), "decides on the host"),
        (lambda: Step(0.5).save(tmp_path / "none" / "x"), "cannot be written: No such file"),
        (lambda: Step(0.5).save(tmp_path), "cannot be written"),
        (lambda: load(tmp_path / "none"), "cannot be read: No such file"),
        (lambda: load(""), "path must be the name of a file, but is ''"),
    ):
        with pytest.raises(RequestError) as error:
            act()
        assert says in str(error.value)
        assert "\n" not in str(error.value)
    assert not list(tmp_path.parent.glob(".*partial*"))
    assert not list(tmp_path.iterdir())


def test_text_of_a_class_of_ones_own():
    assert describe(Bell(0.5, 0.2)) == "bell:0.5,0.2"
    assert (parse("bell:0.5,0.2").centre, parse("bell:0.5,0.2").width) == (0.5, 0.2)
    assert describe(Nested(Step(0.5), "", (), {}, np.zeros(1))) == "Nested"  # it has no text form
    with pytest.raises(RequestError, match="cannot be read; write bell:CENTRE,WIDTH"):
        parse("bell:0.5")
    with pytest.raises(RequestError, match=r"family must be one of constant, step,.* bell\b.*, but is 'well'"):
        parse("well:0.5")
    for text, says in (("step:TIME", "the name 'step' belongs to Step"), ("Bell", "must be written NAME:WORDS")):
        with pytest.raises(RequestError, match=says):

            class Other(Bell, text=text):
                pass
