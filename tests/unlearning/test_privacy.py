"""Sensitivities and mechanisms against numbers worked out elsewhere; constants against brute force."""

import math

import jax
import numpy as np
import pytest
from scipy.stats import norm

from homotopy import (
    MLP,
    Dataset,
    LinearRegression,
    Problem,
    RequestError,
    analytic_gaussian_sigma,
    datasets,
    descent_to_delete_sigma,
    epsilon_to_renyi,
    estimate_constants,
    gaussian_delta,
    gaussian_sigma,
    langevin_renyi,
    renyi_to_epsilon,
    rewind_to_delete_sensitivity,
)
from tests.problems import logistic, random_ols, softmax

PAPER = {"n": 1000, "lipschitz": 1.05, "smoothness": 3.95, "strong_convexity": 0.05, "unlearn_steps": 25,
         "privacy_epsilon": 5.0, "privacy_delta": 1e-6}  # fmt: skip
REWIND = {"n": 50, "deleted": 2, "lipschitz": 1.5, "smoothness": 2.0, "step": 0.3, "train_steps": 20}


def test_descent_to_delete_noise_is_the_published_value():
    assert descent_to_delete_sigma(**PAPER) == pytest.approx(0.2167, abs=5e-5)
    assert descent_to_delete_sigma(**{**PAPER, "lipschitz": 1.06}) != pytest.approx(0.2167, abs=5e-5)
    assert descent_to_delete_sigma(1000, 1.05, 3.95, 0.05, 25, 5, 1e-6) == descent_to_delete_sigma(**PAPER)
    assert descent_to_delete_sigma(**{**PAPER, "strong_convexity": 3.95}) == 0.0  # one step arrives


@pytest.mark.parametrize("strong_convexity", [None, 0.0, 0.4, 2.0])
def test_rewind_sensitivity_is_one_recursion_in_three_regimes(strong_convexity):
    """d ← c d + 2ηmG/n for T − K steps, then d ← c d for K: summed step by step."""
    eta, smooth = REWIND["step"], REWIND["smoothness"]
    c = {None: 1 + eta * smooth, 0.0: 1.0}.get(
        strong_convexity, max(abs(1 - eta * (strong_convexity or 0)), abs(1 - eta * smooth))
    )
    for rewind in (0, 1, 7, 20):
        d = 0.0
        for k in range(20):
            d = c * d + (2 * eta * 2 * 1.5 / 50 if k < 20 - rewind else 0.0)
        found = rewind_to_delete_sensitivity(**REWIND, rewind_steps=rewind, strong_convexity=strong_convexity)
        assert found == pytest.approx(d, rel=1e-12, abs=1e-300)
    assert rewind_to_delete_sensitivity(**REWIND, rewind_steps=20, strong_convexity=strong_convexity) == 0.0


def test_rewind_sensitivity_of_the_flow_is_the_limit_of_small_steps():
    for convex in (None, 0.0, 0.4):
        flow = rewind_to_delete_sensitivity(**REWIND, rewind_steps=8, strong_convexity=convex, flow=True)
        fine = {**REWIND, "step": 0.3 / 1000, "train_steps": 20_000}
        assert rewind_to_delete_sensitivity(**fine, rewind_steps=8000, strong_convexity=convex) == pytest.approx(
            flow, rel=6e-3
        )
    assert rewind_to_delete_sensitivity(10, 1, 1.0, 1.0, 1.0, 5000, 10) == math.inf


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rewind_steps": 21}, "rewind_steps"),
        ({"rewind_steps": -1}, "rewind_steps"),
        ({"step": 1.1}, "2/smoothness"),
        ({"step": 0.0}, "step"),
        ({"strong_convexity": 2.5}, "must not exceed smoothness"),
        ({"strong_convexity": -0.1}, "strong_convexity"),
        ({"deleted": 50}, "leave at least one"),
        ({"deleted": 0}, "deleted"),
        ({"lipschitz": -1.0}, "lipschitz"),
        ({"smoothness": math.nan}, "smoothness"),
        ({"train_steps": 2.5}, "train_steps"),
    ],
)
def test_contradicting_constants_of_a_rewind_are_refused(change, message):
    with pytest.raises(RequestError, match=message):
        rewind_to_delete_sensitivity(**{**REWIND, "rewind_steps": 5, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strong_convexity": 4.0}, "must not exceed smoothness"),
        ({"strong_convexity": 0.0}, "strong_convexity"),
        ({"unlearn_steps": 0}, "steps"),
        ({"n": 1}, "n must"),
        ({"privacy_epsilon": 0.0}, "privacy_epsilon"),
        ({"privacy_epsilon": -1.0}, "privacy_epsilon"),
        ({"privacy_delta": 0.0}, "privacy_delta"),
        ({"privacy_delta": 1.0}, "privacy_delta"),
    ],
)
def test_contradicting_constants_of_a_descent_are_refused(change, message):
    with pytest.raises(RequestError, match=message):
        descent_to_delete_sigma(**{**PAPER, **change})


def test_the_analytic_mechanism_is_exact_and_never_worse_than_the_classical():
    for epsilon in (0.1, 0.9, 5.0, 50.0):
        sigma = analytic_gaussian_sigma(2.0, epsilon, 1e-5)
        assert gaussian_delta(2.0, sigma, epsilon) == pytest.approx(1e-5, rel=1e-6)
        # δ(ε) by its definition: ∫ max(p − e^ε q, 0)
        grid = np.linspace(-12, 12, 400_001)
        p, q = norm.pdf(grid - 2.0 / sigma / 2), norm.pdf(grid + 2.0 / sigma / 2)
        if epsilon < 10:
            direct = np.trapezoid(np.maximum(p - math.exp(epsilon) * q, 0.0), grid)
            assert direct == pytest.approx(1e-5, rel=1e-3)
        if epsilon < 1:
            assert sigma < gaussian_sigma(2.0, epsilon, 1e-5)
    assert analytic_gaussian_sigma(0.0, 1.0, 1e-5) == 0.0
    with pytest.raises(RequestError, match="analytic_gaussian_sigma"):
        gaussian_sigma(1.0, 1.5, 1e-5)
    with pytest.raises(RequestError, match="sensitivity"):
        analytic_gaussian_sigma(-1.0, 1.0, 1e-5)


def test_rényi_budgets_convert_both_ways():
    rho = epsilon_to_renyi(3.0, 1e-5)
    assert renyi_to_epsilon(rho, 1e-5) == pytest.approx(3.0, rel=1e-12)
    orders = np.linspace(1.001, 200, 400_000)
    assert np.min(orders * rho + math.log(1e5) / (orders - 1)) == pytest.approx(3.0, rel=1e-6)


def test_the_langevin_bound_is_exact_where_only_the_mean_moves():
    """Two AR(1) processes θ ← cθ + push + noise: both ends are Gaussians of one variance."""
    n, m, slope, eta, mu, train, unlearn, noise = 40, 2, 1.3, 0.2, 0.5, 15, 9, 0.07
    c, push = 1 - eta * mu, eta * m * slope / n
    mean, variance = 0.0, 0.0
    for k in range(train + unlearn):
        mean = c * mean + (push if k < train else 0.0)
        variance = c**2 * variance + noise**2
    found = langevin_renyi(n, m, slope, mu, eta, train, unlearn, noise, mu)
    assert found == pytest.approx(mean**2 / (2 * variance), rel=1e-12)
    flow = langevin_renyi(n, m, slope, mu, eta, train, unlearn, noise, mu, flow=True)
    shift = m * slope / n * (1 - math.exp(-mu * eta * train)) / mu * math.exp(-mu * eta * unlearn)
    spread = noise**2 / eta * (1 - math.exp(-2 * mu * eta * (train + unlearn))) / (2 * mu)
    assert flow == pytest.approx(shift**2 / (2 * spread), rel=1e-12)
    assert langevin_renyi(n, m, slope, 1.0, eta, train, 0, noise) == math.inf  # non-convex, nothing to amplify
    # c > 1: the shift after unlearning, over the noise of the unlearning steps
    grow = 1 + eta
    shift = push * (grow**train - 1) / eta * grow**unlearn
    weight = sum(grow ** (2 * k) for k in range(unlearn))
    assert langevin_renyi(n, m, slope, 1.0, eta, train, unlearn, noise) == pytest.approx(
        shift**2 / (2 * noise**2 * weight), rel=1e-12
    )


@pytest.mark.parametrize("case", ["linear", "logistic", "softmax"])
def test_constants_bound_what_brute_force_finds(case):
    problem = {"linear": random_ols(ridge=0.3).problem, "logistic": logistic(), "softmax": softmax()}[case]
    radius = 2.0
    whole, single = (
        estimate_constants(problem, radius=radius),
        estimate_constants(problem, radius=radius, per_point=True),
    )
    assert whole.guaranteed
    assert single.smoothness >= whole.smoothness
    assert single.strong_convexity <= whole.strong_convexity + 1e-15
    rng = np.random.default_rng(0)
    slopes = jax.jit(jax.jacobian(lambda theta: problem.losses(theta)))
    hessian = jax.jit(lambda theta, epsilon: problem.hessian(theta, epsilon))
    largest, top, low = 0.0, 0.0, np.inf
    for _ in range(60):
        theta = rng.standard_normal(problem.dim)
        theta *= radius * rng.uniform() / np.linalg.norm(theta)
        largest = max(largest, float(np.linalg.norm(slopes(theta), axis=1).max()))
        for epsilon in (0.0, 1.0):
            values = np.linalg.eigvalsh(hessian(theta, epsilon)) / problem.n
            top, low = max(top, values[-1]), min(low, values[0])
    assert largest <= whole.lipschitz
    assert top <= whole.smoothness * (1 + 1e-12)
    assert low >= whole.strong_convexity * (1 - 1e-12)
    if case == "linear":
        assert top == pytest.approx(whole.smoothness, rel=1e-12)
        assert low == pytest.approx(whole.strong_convexity, rel=1e-9)
        assert math.isinf(estimate_constants(problem).lipschitz)
    if case == "logistic":
        at_zero = np.linalg.eigvalsh(problem.hessian(np.zeros(problem.dim)))[-1] / problem.n
        assert at_zero == pytest.approx(whole.smoothness, rel=1e-12)


def test_measured_constants_are_labelled():
    problem = Problem(MLP(width=2), datasets.teacher_student(n=6, width=2), delete=0)
    theta = problem.initial(0)
    with pytest.raises(RequestError, match="thetas"):
        estimate_constants(problem)
    measured = estimate_constants(problem, thetas=theta[None])
    assert not measured.guaranteed
    assert "not a guarantee" in str(measured)
    gradients = jax.jit(jax.jacobian(lambda theta: problem.losses(theta)))(theta)
    assert measured.lipschitz == pytest.approx(float(np.linalg.norm(gradients, axis=1).max()), rel=1e-12)
    hessian = jax.jit(lambda theta, epsilon: problem.hessian(theta, epsilon))
    curve = max(np.abs(np.linalg.eigvalsh(hessian(theta, e))).max() for e in (0.0, 1.0))
    assert measured.smoothness == pytest.approx(curve / problem.n, rel=1e-12)
    linear = Problem(LinearRegression(), Dataset(np.eye(3), np.ones(3)), delete=0)
    assert not estimate_constants(linear, thetas=np.zeros((2, 3))).guaranteed
