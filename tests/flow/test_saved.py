"""Schedules as files and as texts: what comes back is what was saved, to the last bit, and nothing else comes back."""

import json
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bell import Bell
from jaxtyping import Array, Float
from test_schedule import CASES

from homotopy import (
    AbstractSchedule,
    BangBang,
    Constant,
    ExponentialDecay,
    LinearDecay,
    NeuralSchedule,
    PiecewiseConstant,
    PiecewiseLinear,
    PointSchedules,
    PolynomialDecay,
    RequestError,
    Step,
    describe,
    load,
    parse,
)

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


STEP = {"format": "homotopy schedule", "version": 2, "schedule": Step(0.5).to_dict()}
SWITCH = STEP["schedule"]["fields"]["switch"]


def _with(**changes):
    return STEP | {"schedule": STEP["schedule"] | changes}


@pytest.mark.parametrize(
    ("saved", "says"),
    [
        ("not json", "is no saved schedule"),
        ([], "is no saved schedule"),
        ("[" * 100_000, "is no saved schedule"),
        (STEP | {"version": 1}, "is of version 1, but this release reads version 2"),
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


def _changed(schedule, **fields):
    """What `schedule` saves, with other fields: numbers become arrays of their shape."""
    saved = schedule.to_dict()
    for name, value in fields.items():
        saved["fields"][name] = value
        if isinstance(value, float | list):
            array = np.asarray(value, dtype=float)
            saved["fields"][name] = {"array": array.ravel().tolist(), "shape": list(array.shape), "dtype": "float64"}
    return saved


def _array(numbers, dtype="float64", shape=()):
    return _changed(Step(0.5), switch={"array": numbers, "shape": list(shape), "dtype": dtype})


NETWORK = NeuralSchedule(0.0, 1.0, width=2).to_dict()["fields"]["network"]["tuple"]
DEEP: list = []
for _ in range(600):
    DEEP = [DEEP]
NESTED = None
for _ in range(3000):
    NESTED = {"list": [NESTED]}
MEANT = "pass unrestricted=True if that is meant"


@pytest.mark.parametrize(
    ("saved", "says"),
    [
        (_changed(BangBang([0.1, 0.2]), first=3.0), "a saved BangBang is not right: first must be 0 or 1, but is"),
        (_changed(BangBang([0.1, 0.2]), switches=[0.2, 0.1]), "switches must be sorted"),
        (_changed(PolynomialDecay(0.0, 1.0, 2.0), power=-1.0), "power must be one number > 0"),
        (_changed(ExponentialDecay(0.0, 1.0), rate=-1.0), "rate must be one number > 0"),
        (_changed(Constant(0.5), value=5.0), MEANT),
        (_changed(Constant(0.5), unrestricted=1), "unrestricted must be True or False, but is 1"),
        (_changed(PiecewiseConstant([0.1], [1.0, 0.0]), values=[1.0, 7.0]), MEANT),
        (_changed(PointSchedules([0.1], [[1.0], [0.0]]), values=[[1.0], [7.0]]), "ε must lie in [0, 1]"),
        (_changed(Step(0.5), switch=-5.0), "switch must not be negative"),
        (_changed(LinearDecay(0.1, 0.2), end=0.1), "start must be before end"),
        (_changed(PiecewiseLinear([0.1, 0.2], [1.0, 0.0]), times=[0.1, 0.1]), "times must increase strictly"),
        (_changed(NeuralSchedule(0.0, 1.0), network={"tuple": []}), "network must be pairs of weights and biases"),
        (_changed(NeuralSchedule(0.0, 1.0), network={"tuple": NETWORK[:1]}), "network must end in one number"),
        (_changed(NeuralSchedule(0.0, 1.0), network={"tuple": NETWORK[1:]}), "network must be weights (m, 1)"),
        (_changed(Step(0.5), switch=None), "Step.switch of a saved schedule must be Float"),
        (_changed(Step(0.5), switch="x"), "but is 'x'"),
        (_changed(Step(0.5), switch={"float": 0.5}), "but is 0.5"),
        (_changed(Bell(0.5, 0.1), width={"float": 0.1}), "Bell.width of a saved schedule must be Float"),
        (_changed(Bell(0.5, 0.1), width=[0.1]), "Bell.width of a saved schedule must be Float"),
        (_array([300], "int8"), "must hold numbers of the type int8 in the shape (), but holds [300]"),
        (_array([1.5], "int8"), "must hold numbers of the type int8"),
        (_array(["nan"], "int64"), "must hold numbers of the type int64"),
        (_array([10**400]), "must hold numbers of the type float64"),
        (_array([], shape=(0, 10**30)), "must hold numbers of the type float64 in the shape (0, 10000"),
        (_changed(Step(0.5), switch={"float": 10**400}), "must hold numbers of the type float64"),
        (_changed(Step(0.5), switch=NESTED), "must not hold lists within lists so deep"),
        (Step(0.5).to_dict() | {"fields": 3}, "must have the fields switch, but has 3"),
    ],
)
def test_what_a_class_would_refuse_is_refused(saved, says):
    with pytest.raises(RequestError) as error:
        AbstractSchedule.from_dict(saved)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_new_process_loads_every_class_of_the_package(tmp_path):
    PointSchedules([0.5], [[0.0, 1.0], [0.3, 0.5]]).save(tmp_path / "file")
    code = f"import homotopy; print(type(homotopy.load({str(tmp_path / 'file')!r})).__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "PointSchedules\n"


def _decay(formula):
    class Decay(AbstractSchedule):
        rate: float
        size: Float[Array, ""] = 1.0
        piecewise_constant: ClassVar[bool] = False

        def discontinuities(self):
            return jnp.zeros(0)

        def piece(self, index, t):
            return self.size * formula(self.rate, t)

    return Decay


def test_another_class_of_the_same_path_is_not_taken_for_the_one_that_was_saved():
    first = _decay(lambda rate, t: jnp.exp(-rate * t))
    saved = first(0.5).to_dict()
    again = AbstractSchedule.from_dict(saved)
    assert (type(again), again.rate, again.size.shape) == (first, 0.5, ())  # a number is saved as its annotation says
    second = _decay(lambda rate, t: jnp.clip(1 - rate * t, 0, 1))
    with pytest.raises(RequestError, match="Decay' gives other weights than the one that was saved"):
        AbstractSchedule.from_dict(saved)
    with pytest.raises(RequestError, match="gives other weights"):
        AbstractSchedule.from_dict(saved | {"weights": {"times": [0.1, 0.2], "values": None}})
    with pytest.raises(RequestError, match="must have its weights ε at a few times; save it again"):
        AbstractSchedule.from_dict({key: saved[key] for key in ("class", "fields")})
    assert isinstance(AbstractSchedule.from_dict(second(0.5).to_dict()), second)
    assert "weights" not in Step(0.5).to_dict()


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
        (lambda: Nested(Step(0.5), "", (), {"a": DEEP}, np.zeros(1)).to_dict(), "lists within lists too deep"),
        (lambda: Nested(Step(0.5), "", (10**5000,), {}, np.zeros(1)).save(tmp_path / "x"), "thousands of digits"),
        (lambda: jax.jit(lambda t: Step(t).to_dict())(0.5), "decides on the host"),
        (lambda: Step(0.5).save(tmp_path / "none" / "x"), "cannot be written: No such file"),
        (lambda: Step(0.5).save(tmp_path), "cannot be written"),
        (lambda: Step(0.5).save(Path(__file__) / "x"), "cannot be written: Not a directory"),
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
