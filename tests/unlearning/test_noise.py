"""Langevin unlearning, certified removal: sampled laws, residual bounds, budgets."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from homotopy import (
    Dataset,
    LogisticRegression,
    Problem,
    RequestError,
    certified_removal,
    epsilon_to_renyi,
    estimate_constants,
    gaussian_delta,
    langevin,
    langevin_renyi,
    langevin_temperature,
    renyi_to_epsilon,
    solve_weighted,
)
from homotopy.unlearning._certified import LOGISTIC_LIPSCHITZ, _remove, _train
from homotopy.unlearning._langevin import _sde
from tests.problems import logistic, random_ols, softmax, teacher_student


def test_the_sde_samples_the_ornstein_uhlenbeck_law():
    """dθ = −(Hθ − b) dt + √(2τ) dW: mean by the flow, covariance τ H⁻¹(I − e^{−2Ht})."""
    instance = random_ols(ridge=0.5, d=2)
    tau, step, steps = 0.3, 0.02, 15
    keys = jax.random.split(jax.random.key(0), 3000)
    theta0 = jnp.asarray(instance.theta0)
    draws = np.asarray(
        jax.jit(
            jax.vmap(lambda key: _sde(instance.problem, theta0, jnp.asarray(step), jnp.asarray(tau), key, 1.0, steps))
        )(keys)
    )
    values, vectors = np.linalg.eigh(instance.hessian())
    covariance = tau * vectors @ np.diag((1 - np.exp(-2 * values * step * steps)) / values) @ vectors.T
    mean = instance.flow(1.0, step * steps)
    standard = np.sqrt(np.diag(covariance) / len(draws))
    assert (np.abs(draws.mean(axis=0) - mean) < 4 * standard + 2e-3).all()
    np.testing.assert_allclose(np.cov(draws.T), covariance, atol=0.1 * np.abs(covariance).max())


@pytest.mark.parametrize("method", ["descent", "sde"])
def test_langevin_guarantees_what_its_bound_says(method):
    problem = logistic()
    known = estimate_constants(problem)
    step = 1.0 / (problem.n * known.smoothness)
    options = {"step": step, "train_steps": 40, "unlearn_steps": 20}
    tau = langevin_temperature(problem, known, **options, privacy_epsilon=1.0, privacy_delta=1e-5)
    answer = langevin(problem, np.zeros(3), **options, temperature=tau, method=method, privacy_delta=1e-5)
    if method == "descent":
        assert answer.guarantee.holds
        assert answer.guarantee.privacy_epsilon == pytest.approx(1.0, rel=1e-9)
        np.testing.assert_array_equal(answer.publish(0), answer.theta)
    else:
        assert not answer.guarantee.holds
        assert "not the exact SDE" in str(answer)
    assert bool(jnp.isfinite(answer.theta).all())
    assert langevin_temperature(problem, known, **options, privacy_epsilon=2.0, privacy_delta=1e-5) < tau


def test_the_langevin_bound_holds_for_exact_gaussians():
    """Linear regression, deleted point pushing one way: both laws are Gaussian, D_α known in closed form."""
    rng = np.random.default_rng(0)
    hessian = np.diag([2.0, 0.7])
    push = rng.standard_normal(2)
    eta, noise, train, unlearn = 0.3, 0.1, 12, 6
    mean, covariance = np.zeros(2), np.zeros((2, 2))
    matrix = np.eye(2) - eta * hessian
    for k in range(train + unlearn):
        mean = matrix @ mean + (eta * push if k < train else 0.0)
        covariance = matrix @ covariance @ matrix + noise**2 * np.eye(2)
    exact = 0.5 * mean @ np.linalg.solve(covariance, mean)
    bound = langevin_renyi(10, 1, 10 * np.linalg.norm(push), 2.0, eta, train, unlearn, noise, 0.7)
    assert 0 < exact <= bound


def test_a_network_gets_no_langevin_guarantee():
    problem = teacher_student()
    answer = langevin(problem, problem.initial(0), step=0.002, train_steps=5, unlearn_steps=5, temperature=1e-3)
    assert not answer.guarantee.holds
    assert "no guarantee" in str(answer)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "temperature"),
        ({"privacy_delta": 2.0}, "privacy_delta"),
        ({"unlearn_steps": 0}, "unlearn_steps"),
        ({"method": "flow"}, "method"),
        ({"step": 1e4}, "2/"),
        ({"radius": 1e-9}, "exclude the start"),
    ],
)
def test_langevin_requests_that_make_no_sense_are_refused(options, message):
    with pytest.raises(RequestError, match=message):
        langevin(
            logistic(), np.full(3, 0.1),
            **{"step": 0.01, "train_steps": 4, "unlearn_steps": 4, "temperature": 0.1, **options},
        )  # fmt: skip


def test_budgets_of_zero_are_refused():
    for epsilon, delta in ((0.0, 0.1), (1.0, 0.0), (1.0, 1.0)):
        with pytest.raises(RequestError, match="privacy"):
            epsilon_to_renyi(epsilon, delta)
    with pytest.raises(RequestError, match="rho"):
        renyi_to_epsilon(-1.0, 0.1)


# Certified removal --------------------------------------------------------------------------------------------------


def _separable(n=60, d=4, ridge=2.0, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d))
    x /= np.maximum(1.0, np.linalg.norm(x, axis=1))[:, None]
    y = (x[:, 0] + 0.3 * rng.standard_normal(n) > 0).astype(int)
    return Problem(LogisticRegression(), Dataset(x, y), delete=0, ridge=ridge)


def test_residuals_never_exceed_what_is_booked():
    problem = _separable()
    points = np.arange(25)
    found = certified_removal(problem, points, perturbation=2.0, privacy_epsilon=1.0, privacy_delta=1e-4)
    assert not found.retrained.any()
    assert (found.residuals <= found.used).all()
    assert found.residuals[-1] > 1e-6  # there is something to book
    np.testing.assert_allclose(np.diff(found.used), found.bounds[1:], rtol=1e-9)
    assert gaussian_delta(found.allowed, 2.0, 1.0) == pytest.approx(1e-4, rel=1e-6)
    # the first removal, by hand in NumPy
    x, y = np.asarray(problem.data.x), np.asarray(problem.data.y)
    theta = np.asarray(found.trained)
    p = 1 / (1 + np.exp(-x @ theta))
    keep = np.arange(60) != 0
    hessian = (x[keep].T * (p * (1 - p))[keep]) @ x[keep] + 2.0 * np.eye(4)
    move = np.linalg.solve(hessian, x[0] * (p[0] - y[0]))
    np.testing.assert_allclose(found.thetas[0], theta + move, rtol=1e-9)
    pushed = x[keep] @ move
    bound = np.linalg.norm(x[keep], 2) * np.abs(pushed).max() * np.linalg.norm(pushed) / (12 * math.sqrt(3))
    assert found.bounds[0] == pytest.approx(bound, rel=1e-9)
    assert "25 requests" in str(found)


def test_residuals_are_bounded_whatever_the_length_of_the_inputs():
    tightest = 0.0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        scale = (0.5, 30.0)[seed % 2]
        x = scale * rng.standard_normal((20, 3))
        y = (x @ rng.standard_normal(3) + scale * rng.standard_normal(20) > 0).astype(int)
        problem = Problem(LogisticRegression(), Dataset(x, y), delete=0, ridge=0.1)
        whole, tilt = jnp.ones(20), jnp.zeros(3)
        theta, _ = _train(problem, whole, jnp.zeros(3), tilt)
        for point in range(4):
            _, bound, residual = _remove(problem, theta, tilt, whole, whole.at[point].set(0.0), LOGISTIC_LIPSCHITZ)
            assert residual <= bound + 1e-9
            tightest = max(tightest, float(residual / bound) if residual > 1e-9 else 0.0)
    assert 0.1 < tightest < 1  # a bound that could be violated


@pytest.mark.parametrize("epsilon", [0.5, 20.0])
def test_the_certified_budget_is_exact_for_every_epsilon(epsilon):
    found = certified_removal(_separable(), [0], perturbation=2.0, privacy_epsilon=epsilon, privacy_delta=1e-5)
    assert gaussian_delta(found.allowed, 2.0, epsilon) == pytest.approx(1e-5, rel=1e-6)


def test_an_exhausted_budget_forces_retraining():
    problem = _separable()
    tight = certified_removal(problem, np.arange(25), perturbation=0.05, privacy_epsilon=1.0, privacy_delta=1e-4)
    assert tight.retrained.any()
    assert not tight.retrained.all()
    assert (tight.used <= tight.allowed).all()
    again = int(np.argmax(tight.retrained))
    assert tight.residuals[again] < 1e-9
    groups = certified_removal(
        problem, np.arange(24).reshape(6, 4), perturbation=2.0, privacy_epsilon=1.0, privacy_delta=1e-4
    )
    assert groups.thetas.shape == (6, 4)


def test_newton_removal_is_exact_for_ridge_regression():
    instance = random_ols(n=12, ridge=0.7)
    found = certified_removal(instance.problem, [0, 5, 7], perturbation=0.1, privacy_epsilon=1.0, privacy_delta=1e-4)
    assert found.bounds.max() == 0.0
    assert found.residuals.max() < 1e-10
    weights = np.ones(12)
    weights[[0, 5, 7]] = 0.0
    tilt = -instance.problem.gradient(found.trained)  # stationarity of the tilted risk gives b away
    exact, slope = solve_weighted(instance.problem, jnp.asarray(weights), jnp.zeros(3), tilt)
    assert float(slope) < 1e-10
    np.testing.assert_allclose(found.thetas[-1], exact, rtol=1e-9)
    unhidden = np.linalg.solve(instance.hessian(), instance.drive())
    assert np.linalg.norm(found.trained - unhidden) > 1e-4


@pytest.mark.parametrize(
    ("problem", "requests", "options", "message"),
    [
        (softmax, [0], {}, "binary"),
        (teacher_student, [0], {}, "binary"),
        (lambda: random_ols().problem, [0], {}, "ridge"),
        (logistic, [0, 0], {}, "repeat"),
        (logistic, list(range(12)), {}, "leave at least one"),
        (logistic, [0], {"perturbation": 0.0}, "perturbation"),
        (logistic, [0], {"privacy_epsilon": -1.0}, "privacy_epsilon"),
    ],
)
def test_certified_removal_refuses_what_it_cannot_certify(problem, requests, options, message):
    with pytest.raises(RequestError, match=message):
        certified_removal(
            problem(), requests, **{"perturbation": 1.0, "privacy_epsilon": 1.0, "privacy_delta": 1e-4, **options}
        )
