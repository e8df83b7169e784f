"""Lower bounds: never above the best of all searches, tight where they should be, and broken by a perturbation."""

import sys

import numpy as np
import pytest
from problems import random_ols
from test_bang_bang import brute_force, instance, opened

from homotopy import RequestError, search
from homotopy.scheduler._bang_bang import search_bang_bang
from homotopy.scheduler._dual import dual_bound, keeps_sign, reach
from homotopy.scheduler._grid import grid_bound
from homotopy.scheduler._linear import paths
from homotopy.scheduler._switching import Bang
from homotopy.scheduler._value_function import value_function_bound


def best_of(here):
    best = search_bang_bang(here)[0]
    return best.value, here.ends(best.bang.first, best.bang.switches[None])[0]


@pytest.mark.parametrize("d", [1, 2, 4, 10])
def test_dual_is_tight_and_never_above(d):
    certified = 0
    for seed in range(25):
        here = opened(*instance(seed, d, n=30))
        value, end = best_of(here)
        bound = dual_bound(here, end)
        if bound is None:
            continue
        certified += 1
        assert bound <= value
        if value > 1e-10 * here.value(Bang(0, np.zeros(0))):
            assert bound >= value * (1 - 1e-9)
    assert certified >= 15


def test_dual_is_safe_where_the_rates_differ_most():
    # λ_max·T up to thousands: the decay of the slow mode is known to ε·λ_max·T only.
    gaps = []
    for seed in range(40):
        here = opened(*instance(seed, 2, n=4, span=3.0))
        value, end = best_of(here)
        bound = dual_bound(here, end)
        if bound is not None and value > 1e-6 * here.value(Bang(0, np.zeros(0))):
            gaps.append((value - bound) / value)
    assert len(gaps) >= 15
    assert 0 <= min(gaps) <= max(gaps) < 1e-6


def test_any_q_is_a_bound_and_only_the_right_one_is_tight():
    here = opened(*instance(1, 3, n=30))
    value, end = best_of(here)
    rng = np.random.default_rng(0)
    for _ in range(20):
        other = dual_bound(here, end + 0.05 * np.linalg.norm(end) * rng.standard_normal(3))
        assert other < value * (1 - 1e-6)


def test_sign_of_the_residual_over_random_schedules():
    rng = np.random.default_rng(0)
    kept = 0
    for seed in range(15):
        here = opened(*instance(seed, 3))
        x, r = here.control.single
        if r - x @ here.begin < 0:
            x, r = -x, -r
        certified = keeps_sign(here.control, x, r, here.begin, here.length)
        kept += certified
        lowest, furthest = np.inf, 0.0
        for _ in range(40):
            edges = np.concatenate([[here.s], np.sort(rng.uniform(here.s, here.t1, 3)), [here.t1]])
            ts = np.linspace(here.s, here.t1, 200)
            z, _ = paths(here.control, here.begin, edges, rng.choice([0.0, 0.5, 1.0], 4), ts)
            lowest = min(lowest, float((r - z @ x).min()))
            furthest = max(furthest, float(np.linalg.norm(z, axis=1).max()))
        assert not certified or lowest > 0
        assert furthest <= reach(here)
    assert 5 <= kept < 15


@pytest.mark.parametrize("d", [1, 2, 4])
def test_value_function_is_close_and_never_above(d):
    for seed in range(6):
        here = opened(*instance(seed, d))
        bound, margin = value_function_bound(here)
        value = min(best_of(here)[0], brute_force(here))
        assert bound <= value
        assert margin >= 0
        if value > 1e-3 * here.value(Bang(0, np.zeros(0))):
            assert bound >= 0.9 * value


def test_value_function_for_groups_goals_and_prices():
    case = random_ols(n=9, d=3, seed=7, delete=(1, 4, 5))
    for goal, price in (("outputs", 0.0), ("risk", 0.0), ("parameters", 0.02)):
        here = opened(case, 0.05, 0.6, price, goal)
        bound, _ = value_function_bound(here)
        value = best_of(here)[0]
        assert 0.8 * value <= bound <= value


def test_grid_is_a_bound():
    for d, least in ((1, 0.99), (2, 0.0)):
        here = opened(*instance(2, d))
        bound, lost = grid_bound(here)
        value = best_of(here)[0]
        assert bound <= value
        assert bound >= least * value
        # Without what is subtracted the grid agrees with the search: the independent witness.
        assert bound + lost == pytest.approx(value, rel=0.02)


def test_labels():
    case, s, t1 = instance(1, 2)
    kinds = {
        how: search(case.problem, case.theta0, s=s, t1=t1, family="bang-bang", certify=how).certificate
        for how in ("auto", "dual", "value-function", "none")
    }
    assert [kinds[how].kind for how in kinds] == ["dual", "dual", "value-function", "local"]
    for certificate in kinds.values():
        assert certificate.gap >= 0
    step = search(case.problem, case.theta0, s=s, t1=t1, family="step")
    assert step.certificate.lower_bound <= step.energy


def test_missing_solver(monkeypatch):
    monkeypatch.setitem(sys.modules, "clarabel", None)
    case, s, t1 = instance(0, 3)
    with pytest.raises(RequestError, match="certify"):
        search(case.problem, case.theta0, s=s, t1=t1, certify="value-function")
    group = random_ols(n=9, d=3, seed=7, delete=(1, 4))
    assert search(group.problem, group.theta0, t1=0.6).certificate.kind == "local"
