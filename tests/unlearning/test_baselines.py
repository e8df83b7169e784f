"""Baselines, SISA and soft weights against NumPy, SciPy and exact retraining."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from homotopy import (
    AdversarialLoss,
    Dataset,
    DemographicParity,
    EqualOpportunity,
    LogisticRegression,
    Problem,
    RequestError,
    Utility,
    WorkError,
    base_rate,
    fine_tune,
    gradient_ascent,
    gradient_difference,
    hard_removal,
    infinitesimal_jackknife,
    leave_one_out,
    newton_removal,
    optimum,
    retrain,
    sisa,
    smallest_weights,
    soft_weights,
    solve_weighted,
    weight_influences,
)
from tests.problems import logistic, random_ols


def test_one_shot_corrections():
    problem = random_ols(n=10, ridge=0.4, delete=(1, 6)).problem
    full, target = optimum(problem).theta, leave_one_out(problem).theta
    newton = newton_removal(problem, full)
    np.testing.assert_allclose(newton.theta, target, rtol=1e-9)
    jackknife = infinitesimal_jackknife(problem, full)
    x, y = np.asarray(problem.data.x), np.asarray(problem.data.y)
    slope = x[[1, 6]].T @ (x[[1, 6]] @ full - y[[1, 6]])
    expected = full + np.linalg.solve(x.T @ x + 0.4 * np.eye(3), slope)
    np.testing.assert_allclose(jackknife.theta, expected, rtol=1e-9)
    assert np.linalg.norm(jackknife.theta - target) > 1e-3
    assert "Hessians" in str(newton)
    binary = logistic()  # where Gauss–Newton is the Hessian itself
    theta = jnp.array([0.3, -0.2, 0.1])
    damped = newton_removal(binary, theta, hessian="gauss-newton", damping=0.1)
    keep = np.setdiff1d(np.arange(12), [0, 5])
    x, y = np.asarray(binary.data.x)[keep], np.asarray(binary.data.y)[keep]
    p = 1 / (1 + np.exp(-x @ np.asarray(theta)))
    matrix = (x.T * (p * (1 - p))) @ x + (0.1 + 0.1 * 12) * np.eye(3)
    np.testing.assert_allclose(damped.theta, theta - np.linalg.solve(matrix, x.T @ (p - y) + 0.1 * theta), rtol=1e-8)
    with pytest.raises(RequestError, match="damping"):
        newton_removal(binary, theta, hessian="gauss-newton")


def test_descents_are_their_weights():
    problem = random_ols(n=10, ridge=0.4, delete=(1, 6)).problem
    theta = np.full(3, 0.2)
    rest, gone = problem.gradient(theta, 0.0), problem.deleted_gradient(theta)
    for answer, move in (
        (fine_tune(problem, theta, step=0.01, steps=1), rest),
        (gradient_ascent(problem, theta, step=0.01, steps=1), -gone),
        (gradient_difference(problem, theta, step=0.01, steps=1, ascent=0.5), rest - 0.5 * gone),
        (retrain(problem, theta, step=0.01, steps=1), rest),
    ):
        np.testing.assert_allclose(answer.theta, theta - 0.01 * move, rtol=1e-12)
    assert gradient_ascent(problem, theta, step=0.01, steps=5).gradient_evaluations == pytest.approx(1.0)
    long = retrain(problem, theta, step=0.02, steps=3000)
    np.testing.assert_allclose(long.theta, leave_one_out(problem).theta, rtol=1e-8)
    assert float(long.schedule(0.3)) == 0.0
    assert float(gradient_difference(problem, theta, step=0.01, steps=1, ascent=0.5).schedule(0.0)) == -0.5
    with pytest.raises(WorkError, match="diverged"):
        gradient_ascent(problem, theta, step=10.0, steps=2000)
    with pytest.raises(RequestError, match="ascent"):
        gradient_difference(problem, theta, step=0.1, steps=1, ascent=-1.0)
    with pytest.raises(RequestError, match="exclude the start"):
        fine_tune(problem, theta, step=0.1, steps=1, radius=0.1)


def test_sisa_forgets_exactly_and_touches_one_shard():
    problem = logistic(n=24)
    model = sisa(problem, np.zeros(3), shards=4, step=0.02, train_steps=50)
    after = model.delete([7])
    hit = int(model.shard[7])
    assert after.retrained == 1
    assert after.gradient_evaluations == pytest.approx(50 / 4)
    for shard in range(4):
        same = np.array_equal(model.thetas[shard], after.thetas[shard])
        assert same == (shard != hit)
    # the shard's model is that of a data set which never held the point
    rows = np.flatnonzero((np.asarray(model.shard) == hit) & (np.arange(24) != 7))
    theta, x, y = np.zeros(3), np.asarray(problem.data.x)[rows], np.asarray(problem.data.y)[rows]
    for _ in range(50):
        theta = theta - 0.02 * 4 * (x.T @ (1 / (1 + np.exp(-x @ theta)) - y) + 0.1 / 4 * theta)
    np.testing.assert_allclose(after.thetas[hit], theta, rtol=1e-10)
    np.testing.assert_allclose(
        model.predict(), np.asarray(problem.data.x) @ np.asarray(model.thetas).mean(axis=0), rtol=1e-10
    )
    assert "4 shards" in str(model)
    with pytest.raises(RequestError, match="every shard"):
        model.delete(np.flatnonzero(np.asarray(model.shard) == 0))
    with pytest.raises(RequestError, match="shards must not exceed"):
        sisa(problem, np.zeros(3), shards=25, step=0.02, train_steps=5)


# Soft weights -------------------------------------------------------------------------------------------------------


def _biased(n=120, seed=0):
    rng = np.random.default_rng(seed)
    group = (rng.uniform(size=n) < 0.5).astype(float)
    x = np.column_stack([rng.standard_normal(n) + 0.8 * group, rng.standard_normal(n), np.ones(n)])
    y = (x[:, 0] + 0.5 * x[:, 1] + 0.5 * rng.standard_normal(n) > 0.4).astype(int)
    problem = Problem(LogisticRegression(), Dataset(x, y), delete=0, ridge=1.0)
    return problem, group


@pytest.mark.parametrize("kind", ["parity", "opportunity", "robustness"])
def test_influences_are_derivatives_of_the_reweighted_optimum(kind):
    problem, group = _biased()
    metric = {
        "parity": DemographicParity(problem.data.x, group),
        "opportunity": EqualOpportunity(problem.data.x, problem.data.y, group),
        "robustness": AdversarialLoss(problem.data, 0.3, [1.0, 1.0, 0.0]),
    }[kind]
    utility = Utility(problem.data)
    theta = optimum(problem).theta
    values, gains = weight_influences(problem, theta, metric, utility)
    np.testing.assert_allclose(values, [metric.soft(problem, theta), utility.soft(problem, theta)], rtol=1e-12)
    for point in (3, 40):
        shift = 1e-4 * jax.nn.one_hot(point, problem.n)
        up, down = (solve_weighted(problem, jnp.ones(problem.n) + sign * shift, theta)[0] for sign in (1.0, -1.0))
        for row, one in enumerate((metric, utility)):
            slope = (float(one.soft(problem, up)) - float(one.soft(problem, down))) / 2e-4
            assert float(gains[row, point]) == pytest.approx(slope, rel=1e-4, abs=1e-9)


def test_the_smallest_weights_solve_their_quadratic_programme():
    rng = np.random.default_rng(3)
    a, noise = rng.standard_normal((2, 12))
    u = 0.5 * noise - 0.5 * a
    w, reached = smallest_weights(a, u, -4.5, 0.1, -1.0, 0.6)
    assert reached == 1.0
    rival = minimize(
        lambda w: 0.5 * w @ w, np.zeros(12), jac=lambda w: w, method="SLSQP", bounds=[(-1.0, 0.6)] * 12,
        constraints=[{"type": "eq", "fun": lambda w: a @ w + 4.5}, {"type": "ineq", "fun": lambda w: 0.1 - u @ w}],
        options={"ftol": 1e-14, "maxiter": 500},
    )  # fmt: skip
    np.testing.assert_allclose(w, rival.x, atol=2e-5)
    assert (np.isclose(w, -1.0) | np.isclose(w, 0.6)).any()  # a bound is active …
    assert u @ w == pytest.approx(0.1, abs=1e-5)  # … and so is the utility
    most, part = smallest_weights(a, u, -1e4, 0.1, -1.0, 0.6)
    assert part < 0.01
    assert a @ most == pytest.approx(-1e4 * part, rel=1e-3)
    assert not smallest_weights(a, u, 0.0, 0.1, -1.0, 0.6)[0].any()
    with pytest.raises(WorkError, match="no point"):
        smallest_weights(np.zeros(3), np.ones(3), 1.0, 0.1, -1.0, 1.0)


def test_soft_weights_narrow_the_gap_for_less_than_deletion():
    problem, group = _biased()
    metric, utility = DemographicParity(problem.data.x, group), Utility(problem.data)
    theta = optimum(problem).theta
    soft = soft_weights(problem, theta, metric, utility, share=0.1, utility_tolerance=0.02)
    assert soft.reached == pytest.approx(0.1)
    assert soft.metric_change == pytest.approx(-0.1 * soft.metric, rel=1e-4)
    assert soft.utility_change <= 0.02 + 1e-6
    assert abs(float(metric.soft(problem, soft.theta))) < 0.95 * abs(soft.metric)
    retrained = solve_weighted(problem, 1.0 + soft.weights, theta)[0]
    assert abs(float(metric.soft(problem, retrained))) < 0.95 * abs(soft.metric)
    hard = hard_removal(problem, theta, metric, utility, share=0.1)
    assert set(np.unique(hard.weights)) == {-1.0, 0.0}
    assert np.linalg.norm(hard.weights) > np.linalg.norm(soft.weights)
    assert "weights changed" in str(soft)
    three = hard_removal(problem, theta, metric, utility, count=3)
    assert float(jnp.sum(three.weights)) == -3.0


def test_metrics_are_what_their_names_say():
    problem, group = _biased()
    theta = np.array([0.7, 0.2, -0.3])
    x, y = np.asarray(problem.data.x), np.asarray(problem.data.y)
    yes = x @ theta > 0
    parity = yes[group == 1].mean() - yes[group == 0].mean()
    assert float(DemographicParity(x, group).hard(problem, theta)) == pytest.approx(parity)
    positive = y == 1
    gap = yes[positive & (group == 1)].mean() - yes[positive & (group == 0)].mean()
    assert float(EqualOpportunity(x, y, group).hard(problem, theta)) == pytest.approx(gap)
    assert float(Utility(problem.data).hard(problem, theta)) == pytest.approx((yes != y).mean())
    # a linear model's worst case: the margin shrinks by radius·‖θ‖
    attack = AdversarialLoss(problem.data, 0.4)
    margin = (2 * y - 1) * (x @ theta) - 0.4 * np.linalg.norm(theta)
    assert float(attack.soft(problem, theta)) == pytest.approx(np.log1p(np.exp(-margin)).mean(), rel=1e-9)
    assert float(attack.hard(problem, theta)) == pytest.approx((margin < 0).mean())
    assert base_rate(y) == pytest.approx(max(y.mean(), 1 - y.mean()))


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (lambda p, m, u, t: soft_weights(p, t, m, u, share=0.0), "share"),
        (lambda p, m, u, t: soft_weights(p, t, m, u, lower=-2.0), "lower"),
        (lambda p, m, u, t: soft_weights(p, t, m, u, utility_tolerance=-1.0), "utility_tolerance"),
        (lambda p, m, u, t: hard_removal(p, t, m, u, count=120), "leave at least one"),
        (lambda p, m, u, t: DemographicParity(p.data.x, np.ones(120)), "group"),
        (lambda p, m, u, t: EqualOpportunity(p.data.x, np.zeros(120), np.ones(120)), "no 1"),
        (lambda p, m, u, t: m.soft(random_ols().problem, t), "LogisticLoss"),
    ],
)
def test_soft_weights_refuse_what_makes_no_sense(job, message):
    problem, group = _biased()
    with pytest.raises(RequestError, match=message):
        job(problem, DemographicParity(problem.data.x, group), Utility(problem.data), np.zeros(3))
