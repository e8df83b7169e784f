"""The other families, and models without closed forms: never better than the bound, never worse than the baseline."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from problems import logistic, random_ols, teacher_student
from test_bang_bang import instance

from homotopy import BangBang, RequestError, SearchResult, energy, leave_one_out, search
from homotopy.scheduler._discrete import Setting, objective
from homotopy.scheduler._families import (
    linear_family,
    neural_family,
    nodes,
    piecewise_constant_family,
    piecewise_linear_family,
    polynomial_family,
)
from homotopy.scheduler._refine import detect
from homotopy.scheduler._search_general import padded


@pytest.mark.parametrize("family", ["piecewise-constant", "polynomial", "neural", "greedy"])
def test_families_of_linear_regression(family):
    case, s, t1 = instance(0, 2)
    result = search(case.problem, case.theta0, s=s, t1=t1, family=family, pieces=16, starts=3)
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
    if family == "piecewise-constant":
        assert result.energy == pytest.approx(best.energy, rel=1e-8)
        assert [arc.kind for arc in result.structure] == ["on", "off"]
        assert result.agreed == result.starts == 3
    assert SearchResult.from_dict(json.loads(result.to_json())).to_dict() == result.to_dict()


def test_discrete_objective_converges_at_fourth_order():
    case, s, t1 = instance(0, 2)
    target = jnp.asarray(case.limit(0.0))
    setting = Setting(case.problem, jnp.asarray(case.flow(1.0, s)), target, jnp.asarray(t1 - s), jnp.asarray(0.0))
    family = piecewise_constant_family(4, 1, 0)
    levels = jnp.asarray([0.9, 0.2, 0.7, 0.4])
    exact = float(energy(case.problem, family.schedule(np.asarray(levels), s, t1), case.theta0, t1=t1))
    errors = []
    for steps in (8, 16):
        value = objective(setting, "parameters", jnp.full(4, (t1 - s) / 4), nodes(family, levels, steps))
        errors.append(abs(float(value) - exact))
    assert 10 < errors[0] / errors[1] < 26


FAMILIES = {
    "linear": linear_family(1),
    "polynomial": polynomial_family(1),
    "piecewise-linear": piecewise_linear_family(6, 7, 0, fixed=True),
    "piecewise-constant": piecewise_constant_family(6, 7, 0),
    "neural": neural_family(1, 0),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_nodes_follow_the_schedule(name):
    family = FAMILIES[name]
    parameters = np.clip(family.starts[-1], *np.transpose(family.bounds))
    schedule = family.schedule(parameters, 0.2, 1.2)
    u = np.linspace(0.011, 0.989, 30)
    np.testing.assert_allclose(family.epsilon(jnp.asarray(parameters), jnp.asarray(u)), schedule(0.2 + u), atol=1e-9)
    assert float(schedule(0.1)) == 1.0
    assert float(schedule(1.3)) == 0.0


def test_structure_is_detected():
    levels = np.array([1, 1, 0.4, 0, 0, 0.3, 0.35, 0.4, 0.3, 1, 1.0])
    arcs = detect(levels, 1.1, forced=False)
    assert [kind for _, _, kind in arcs.described()] == ["on", "off", "singular", "on"]
    assert arcs.lengths.sum() == pytest.approx(1.1)
    # The piece at 0.4 is a switch within it: the time that ε = 1 is kept.
    assert arcs.described()[0][1] == pytest.approx(0.24)
    assert not any(detect(levels, 1.1, forced=True).free)


def test_logistic():
    problem = logistic()
    theta0 = np.array([1.0, -1.0, 0.5])
    target = leave_one_out(problem).theta
    result = search(problem, theta0, s=0.1, t1=1.5, family="piecewise-constant", target=target, pieces=12, starts=3)
    assert result.energy <= result.baseline_energy * (1 + 1e-9)
    assert result.pontryagin_residual < 0.01
    assert result.certificate.kind == "local"
    with pytest.raises(RequestError, match="linear regression"):
        search(problem, theta0, t1=1.0, target=target, family="bang-bang", certify="dual")


def test_network():
    problem = teacher_student(n=8, width=2)
    theta0, target = problem.initial(0), problem.initial(1) * 0.5 + problem.initial(0) * 0.5
    result = search(problem, theta0, s=0.1, t1=2.0, family="piecewise-constant", target=target, pieces=12, starts=3)
    for tau in (0.1, 0.5, 1.0, 1.5, 2.0):
        step = energy(problem, padded(BangBang([tau]), 2.0), theta0, t1=2.0, target=target)
        assert result.energy <= float(step) * (1 + 1e-6)
    assert result.starts == 3


def test_one_epsilon_per_point_is_never_worse_than_a_common_one():
    case = random_ols(n=9, d=3, seed=7, delete=(1, 4))
    options = {"s": 0.05, "t1": 0.6, "pieces": 12, "starts": 3}
    common = search(case.problem, case.theta0, family="piecewise-constant", certify="none", **options)
    own = search(case.problem, case.theta0, family="piecewise-constant", per_point=True, **options)
    assert own.energy <= common.energy * 1.02
    assert own.schedule(0.3).shape == (2,)
    with pytest.raises(RequestError, match="per_point"):
        search(case.problem, case.theta0, t1=1.0, family="step", per_point=True)
