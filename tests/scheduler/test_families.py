"""The other families, and models without closed forms: never better than the bound, never worse than the baseline."""

import json
from itertools import combinations
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float
from problems import logistic, random_ols, teacher_student
from test_bang_bang import instance

from homotopy import (
    AbstractSchedule,
    BangBang,
    GreedyFeedback,
    Knots,
    Levels,
    Linear,
    LinearRegression,
    Neural,
    Parametric,
    PointSchedules,
    Polynomial,
    Problem,
    RequestError,
    SearchResult,
    Step,
    Switches,
    datasets,
    energy,
    leave_one_out,
    search,
)
from homotopy.scheduler import FAMILIES
from homotopy.scheduler._certificate import certify
from homotopy.scheduler._discrete import Setting, objective
from homotopy.scheduler._linear import linear_control
from homotopy.scheduler._parametric import descend, sharpened
from homotopy.scheduler._refine import Arcs, detect, limited
from homotopy.scheduler._switching import window
from homotopy.scheduler._task import Task, padded


@pytest.mark.parametrize(
    "family",
    [Levels(pieces=16, starts=3), Polynomial(starts=3), "neural", "greedy"],
    ids=["levels", "polynomial", "neural", "greedy"],
)
def test_families_of_linear_regression(family):
    case, s, t1 = instance(0, 2)
    result = search(case.problem, case.theta0, s=s, t1=t1, family=family)
    best = search(case.problem, case.theta0, s=s, t1=t1, family="bang-bang")
    assert result.energy >= best.energy * (1 - 1e-9)
    assert result.certificate.lower_bound <= result.energy
    assert float(result.schedule(0.5 * s)) == 1.0
    assert float(result.schedule(1.01 * t1)) == 0.0
    if family != "greedy":
        # The baseline is a limit of each family; decays start at 1 and end after 1e-3 (T − s) at the earliest.
        assert result.energy <= result.baseline_energy * (1 + 1e-6)
        assert float(energy(case.problem, result.schedule, case.theta0, t1=t1)) == pytest.approx(
            result.energy, rel=1e-6
        )
    if isinstance(family, Levels):
        assert result.energy == pytest.approx(best.energy, rel=1e-8)
        assert [arc.kind for arc in result.structure] == ["on", "off"]
        assert result.agreed == result.starts == 3
    assert SearchResult.from_dict(json.loads(result.to_json())).to_dict() == result.to_dict()


def test_discrete_objective_converges_at_fourth_order():
    case, s, t1 = instance(0, 2)
    target = jnp.asarray(case.limit(0.0))
    setting = Setting(case.problem, jnp.asarray(case.flow(1.0, s)), target, jnp.asarray(t1 - s), jnp.asarray(0.0))
    levels = np.array([0.9, 0.2, 0.7, 0.4])
    schedule = Levels(pieces=4, starts=1).parametric(case.problem, s, t1).make(jnp.asarray(levels))
    exact = float(energy(case.problem, schedule, case.theta0, t1=t1))
    errors = []
    for steps in (8, 16):
        widths, epsilon = np.full(4 * steps, (t1 - s) / 4 / steps), np.repeat(levels, steps)[:, None] * np.ones(3)
        value = objective(setting, "parameters", jnp.asarray(widths), jnp.asarray(epsilon))
        errors.append(abs(float(value) - exact))
    assert 10 < errors[0] / errors[1] < 26


DEFAULTS = {"linear": Linear(1), "polynomial": Polynomial(starts=1), "piecewise-linear": Knots(6, 7),
            "piecewise-constant": Levels(6, 7), "neural": Neural(starts=1)}  # fmt: skip


@pytest.mark.parametrize("name", DEFAULTS)
def test_families_are_admissible(name):
    """ε = 1 before s, within [0, 1] at any parameters of the box, and 0 from T on; one number per option is refused."""
    family = DEFAULTS[name].parametric(random_ols().problem, 0.2, 1.2)
    schedule = family.make(jnp.asarray(family.begins[-1]))
    ts = np.linspace(0.2, 1.2, 99)[1:]
    assert float(schedule(0.1)) == 1.0
    assert float(schedule(1.3)) == 0.0
    assert ((np.asarray(schedule(ts)) >= 0) & (np.asarray(schedule(ts)) <= 1)).all()
    assert family.begins.shape == (max(DEFAULTS[name].starts, 1 + (len(family.begins) > 1)), len(family.bounds))


def test_the_discrete_objective_goes_along_the_arcs_of_the_schedule():
    """RK4 between the schedule's own kinks, which move with the parameters, agrees with the accurate engine, price included."""
    case = random_ols()
    target = jnp.asarray(case.limit(0.0))
    task = Task(case.problem, jnp.asarray(case.theta0), target, 0.2, 1.2, "parameters", 0.1, 1e-8, 1e-10)
    family = Linear(1).parametric(case.problem, 0.2, 1.2)
    ends = descend(task, family)
    assert len(ends) == 2
    for parameters, promised in ends:
        assert task.value(family.make(jnp.asarray(parameters)))[1] == pytest.approx(promised, rel=1e-7)
    best, worse = ends[0], ends[1]
    assert best[1] <= worse[1]
    assert sharpened(task, family, ends)[2] == pytest.approx(best[1], rel=1e-7)


def test_at_most_so_many_switches():
    """Never worse than every schedule on a grid, never better with fewer switches, and the step is `most=1`."""
    for seed, d in ((0, 2), (3, 4)):
        case, s, t1 = instance(seed, d)
        here = window(linear_control(case.problem, case.theta0), s, t1)
        grid, before = np.linspace(s, t1, 25), np.inf
        for most in (1, 2, 3):
            result = search(
                case.problem, case.theta0, s=s, t1=t1, family=Switches(most=most), certify="auto" if d < 3 else "none"
            )
            rows = [
                np.array(list(combinations(grid, most - off))).reshape(-1 if most > off else 1, most - off)
                for off in (0, 1)
            ]
            least = min(float(here.values(1 - off, switches).min()) for off, switches in enumerate(rows))
            assert result.energy <= min(least, before) * (1 + 1e-9)
            at_once = float(result.schedule(s + 1e-9 * (t1 - s))) == 0.0
            assert result.switches + at_once <= most
            assert result.family == ("step" if most == 1 else f"Switches(most={most})")
            before = result.energy
        step, free = (
            search(case.problem, case.theta0, s=s, t1=t1, family=name, certify="none") for name in ("step", "bang-bang")
        )
        one = search(case.problem, case.theta0, s=s, t1=t1, family=Switches(most=1), certify="none")
        assert (one.schedule.switch, one.energy, one.stationary) == (step.schedule.switch, step.energy, step.stationary)
        assert before >= free.energy * (1 - 1e-9)


def test_options_belong_to_families():
    case = random_ols()
    for act, says in (
        (
            lambda: Linear(pieces=3),
            "Linear has no option 'pieces' (it has starts); Switches, Levels, Knots have pieces",
        ),
        (lambda: GreedyFeedback(width=3), "GreedyFeedback has no option 'width' (it has none); Neural has width"),
        (lambda: Levels(colour=1), "Levels has no option 'colour' (it has pieces, starts, seed, per_point)"),
        (lambda: Levels(pieces=0), "pieces must be a whole number"),
        (lambda: Switches(most=0), "most must be a whole number"),
        (lambda: Polynomial(powers=(2.0, 1.0)), "powers[1] must be one number > 2"),
        (lambda: Parametric(Step, [1.0, 0.5], [[0.0, 1.0]]), "start must have shape (k,) or (m, k) and bounds (k, 2)"),
        (lambda: Parametric(Step, [1.0], [[1.0, 0.0]]), "bounds must rise"),
        (lambda: Parametric(Step, [2.0], [[0.0, 1.0]]), "start must lie within bounds, but number 0 does not"),
        (
            lambda: search(case.problem, case.theta0, t1=1.0, pieces=4),
            "'pieces' is an option of a family, as in family=",
        ),
        (lambda: search(case.problem, case.theta0, t1=1.0, family="wave"), "or a family such as Levels(pieces=16)"),
        (lambda: search(case.problem, case.theta0, t1=1.0, family=Switches(pieces=4)), "pieces is for models without"),
        (
            lambda: search(logistic(), jnp.zeros(3), t1=1.0, family=Switches(most=1, pieces=10)),
            "Switches(most=1, pieces=10): pieces has no effect with most=1, and would be ignored here",
        ),
        (lambda: search(case.problem, case.theta0, t1=1.0, family=Switches(most=2), goal="time"), "family='bang-bang'"),
    ):
        with pytest.raises(RequestError) as error:
            act()
        assert says in str(error.value)
        assert "\n" not in str(error.value)
    with pytest.raises(TypeError, match="famly"):
        search(case.problem, case.theta0, t1=1.0, famly="step")
    assert [str(family) for family in FAMILIES.values()] == list(FAMILIES)
    assert str(Levels(pieces=16, starts=3)) == "Levels(pieces=16, starts=3)"


def test_structure_is_detected():
    levels = np.array([1, 1, 0.4, 0, 0, 0.3, 0.35, 0.4, 0.3, 1, 1.0])
    arcs = detect(levels, 1.1, forced=False)
    assert [kind for _, _, kind in arcs.described()] == ["on", "off", "singular", "on"]
    assert arcs.lengths.sum() == pytest.approx(1.1)
    # The piece at 0.4 is a switch within it: the time that ε = 1 is kept.
    assert arcs.described()[0][1] == pytest.approx(0.24)
    assert not any(detect(levels, 1.1, forced=True).free)


LIMITED = [(1.0, 3, [0.3, 0.2, 0.1, 0.5]), (1.0, 1, [0.3, 0.8]), (0.0, 2, [0.3, 0.8]), (0.0, 1, [1.1])]


@pytest.mark.parametrize(("first", "most", "left"), LIMITED)
def test_switches_are_limited_by_flipping_the_shortest_arcs(first, most, left):
    lengths, levels = np.array([0.3, 0.2, 0.1, 0.5]), np.array([first, 1 - first, first, 1 - first])
    arcs = limited(Arcs(lengths, levels, (False,) * 4), most)
    np.testing.assert_allclose(arcs.lengths, left)
    assert (np.abs(np.diff(arcs.levels)) == 1).all()
    assert len(left) - 1 + (arcs.levels[0] == 0) <= most


def test_logistic():
    problem = logistic()
    theta0 = np.array([1.0, -1.0, 0.5])
    target = leave_one_out(problem).theta
    result = search(problem, theta0, s=0.1, t1=1.5, family=Levels(pieces=12, starts=3), target=target)
    assert result.energy <= result.baseline_energy * (1 + 1e-9)
    assert result.pontryagin_residual < 0.01
    assert result.certificate.kind == "local"
    with pytest.raises(RequestError, match="linear regression"):
        search(problem, theta0, t1=1.0, target=target, family="bang-bang", certify="dual")


def test_network():
    problem = teacher_student(n=8, width=2)
    theta0, target = problem.initial(0), problem.initial(1) * 0.5 + problem.initial(0) * 0.5
    result = search(problem, theta0, s=0.1, t1=2.0, family=Levels(pieces=12, starts=3), target=target)
    for tau in (0.1, 0.5, 1.0, 1.5, 2.0):
        step = energy(problem, padded(BangBang([tau]), 2.0), theta0, t1=2.0, target=target)
        assert result.energy <= float(step) * (1 + 1e-6)
    assert result.starts == 3


def test_one_epsilon_per_point_is_never_worse_than_a_common_one():
    case = random_ols(n=9, d=3, seed=7, delete=(1, 4))
    common = search(case.problem, case.theta0, s=0.05, t1=0.6, family=Levels(12, 3), certify="none")
    own = search(case.problem, case.theta0, s=0.05, t1=0.6, family=Levels(12, 3, per_point=True))
    assert own.energy <= common.energy * 1.02
    assert own.schedule(0.3).shape == (2,)
    with pytest.raises(RequestError, match="per_point"):
        search(case.problem, case.theta0, t1=1.0, family="step", per_point=True)  # type: ignore[call-arg]  # what is tested


def test_a_schedule_per_point_has_no_bound_of_a_common_one():
    problem = Problem(LinearRegression(), datasets.random_linear(20, 2, seed=0), delete=[0, 1, 2])
    family = Parametric(
        lambda q: PointSchedules(jnp.asarray([0.05]), jnp.stack([jnp.ones(3), q])),
        start=[0.5] * 3, bounds=[[0.0, 1.0]] * 3, starts=1,
    )  # fmt: skip
    found = search(problem, 3 * problem.initial(0), t1=0.2, family=family)
    assert found.certificate.kind == "local"
    assert found.certificate.lower_bound == 0.0


class Dips(AbstractSchedule):
    """1_[0,τ], but for a dip to 0 between any two of 65 equal times in [0, 0.64]."""

    switch: Float[Array, ""]
    piecewise_constant: ClassVar[bool] = True

    def discontinuities(self):
        dips = 0.01 * jnp.arange(64.0)[:, None] + jnp.array([[0.0005, 0.0095]])
        return jnp.concatenate([dips.reshape(-1), self.switch[None]])

    def piece(self, index, t):
        index = jnp.asarray(index)
        on = jnp.where(index >= 128, index == 128, index % 2 == 0).astype(float)
        return jnp.broadcast_to(on, jnp.shape(t))


def test_a_schedule_that_leaves_one_between_samples_is_refused():
    problem = Problem(LinearRegression(), datasets.random_linear(20, 2, seed=0), delete=0)
    family = Parametric(lambda p: Dips(p[0]), start=[0.7], bounds=[[0.65, 0.79]])
    with pytest.raises(RequestError, match=r"make\(p\) must be 1 on \[0, s\] = \[0, 0.64\].* off by 1 "):
        search(problem, problem.initial(0), s=0.64, t1=0.8, family=family)


def test_a_bound_above_what_was_found_is_not_claimed():
    problem = Problem(LinearRegression(), datasets.random_linear(20, 2, seed=0), delete=0)
    control = linear_control(problem, np.array([1.0, -1.0]), np.asarray(leave_one_out(problem).theta))
    free = window(control, 0.0, 0.2)
    honest = certify(free, free.baseline, np.asarray(free.begin), "value-function", True)
    assert honest.kind == "value-function"
    below = certify(free, 0.5 * honest.lower_bound, np.asarray(free.begin), "value-function", True)
    assert (below.kind, below.lower_bound) == ("local", 0.0)
