"""σ is the derivative of E by ε: by switch times, and by bumps of ε, for linear and non-linear models."""

import numpy as np
import pytest
from problems import logistic, random_ols, teacher_student

from homotopy import (
    LinearDecay,
    PiecewiseConstant,
    Step,
    costate,
    energy,
    pontryagin_residual,
    search,
    switching_function,
)
from homotopy.scheduler._linear import linear_control
from homotopy.scheduler._step import step_energy
from homotopy.scheduler._switching import window


def test_sigma_at_the_switch_is_the_derivative_of_a_step():
    case = random_ols(n=8, d=3, seed=5)
    slopes = step_energy(window(linear_control(case.problem, case.theta0), 0.0, 1.2))
    for tau in (0.2, 0.5, 0.9):
        sigma = switching_function(case.problem, Step(tau), case.theta0, t1=1.2, ts=np.array([tau]))
        assert float(sigma[0]) == pytest.approx(slopes(np.array([tau]))[1][0], rel=1e-10)


def bumped(problem, values, edges, k, size, theta0, t1, target, **options):
    """E with the level k raised by `size`."""
    more = np.array(values)
    more[k] += size
    schedule = PiecewiseConstant(edges, more)
    return float(energy(problem, schedule, theta0, t1=t1, target=target, **options))


PROBLEMS = {
    "linear": (lambda: random_ols(n=8, d=3, seed=5, delete=(1, 3)).problem, {}),
    "logistic": (logistic, {"rtol": 1e-10, "atol": 1e-12}),
    "network": (lambda: teacher_student(n=8, width=2), {"rtol": 1e-10, "atol": 1e-12}),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_sigma_is_the_functional_gradient(name):
    make, options = PROBLEMS[name]
    problem, t1 = make(), 1.0
    rng = np.random.default_rng(0)
    theta0, target = rng.standard_normal((2, problem.dim)) * 0.5
    edges, values, h = np.array([0.3, 0.45, 0.8]), np.array([1.0, 0.4, 0.7, 0.2]), 1e-4
    ts = np.linspace(0.3, 0.45, 401)
    sigma = np.asarray(
        switching_function(problem, PiecewiseConstant(edges, values), theta0, t1=t1, ts=ts, target=target, **options)
    )
    by_hand = (
        bumped(problem, values, edges, 1, h, theta0, t1, target, **options)
        - bumped(problem, values, edges, 1, -h, theta0, t1, target, **options)
    ) / (2 * h)
    assert np.trapezoid(sigma, ts) == pytest.approx(by_hand, rel=2e-5)
    assert np.trapezoid(sigma, ts) != pytest.approx(by_hand * 1.01, rel=2e-5)


def test_costate_of_a_schedule_that_is_not_piecewise_constant():
    case = random_ols(n=8, d=3, seed=5)
    ts, thetas, p = costate(case.problem, LinearDecay(0.2, 0.9), case.theta0, t1=1.2)
    fine = PiecewiseConstant(np.linspace(0.2, 0.9, 201), np.concatenate([[1], 1 - (np.arange(200) + 0.5) / 200, [0]]))
    _, close, p_close = costate(case.problem, fine, case.theta0, t1=1.2, ts=ts)
    np.testing.assert_allclose(thetas, close, atol=1e-4)
    np.testing.assert_allclose(p, p_close, atol=1e-4)
    assert len(ts) == 101


def test_residual_is_zero_at_the_optimum_only():
    case = random_ols(n=10, d=3, seed=11)
    best = search(case.problem, case.theta0, s=0.05, t1=1.0, family="bang-bang", certify="none")
    kept = pontryagin_residual(case.problem, best.schedule, case.theta0, s=0.05, t1=1.0)
    assert kept < 1e-6
    assert best.pontryagin_residual < 1e-9
    moved = Step(0.5) if best.switches else Step(0.9)
    assert pontryagin_residual(case.problem, moved, case.theta0, s=0.05, t1=1.0) > 1e-3


def test_residual_is_at_most_one():
    case = random_ols(n=10, d=1, seed=3)
    worst = max(pontryagin_residual(case.problem, Step(tau), case.theta0, s=0.0, t1=1.0) for tau in (0.0, 0.5, 1.0))
    assert 0.0 < worst <= 1.0
