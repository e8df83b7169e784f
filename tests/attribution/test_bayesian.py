"""Bayesian influence against the closed Gaussian form, and diagnostics against series of known correlation."""

import warnings

import numpy as np
import pytest
import scipy.stats
from problems import logistic, multi_output, random_ols

from homotopy import (
    BayesianInfluence,
    ChainsWarning,
    Dataset,
    LinearRegression,
    LogisticRegression,
    Problem,
    RequestError,
    WorkError,
    bayesian_influence,
    effective_sample_size,
    gaussian_bayesian_influence,
    influence_matrix,
    split_rhat,
)


def case():
    linear = random_ols(n=10, d=2)
    return linear, linear.problem, np.linalg.lstsq(linear.x, linear.y, rcond=None)[0]


def closed_form(linear, theta, beta, gamma, x=None, y=None):
    """Mathematics §10 in NumPy: Cov(ℓ_i, ℓ_q) at θ*."""
    x, y = (linear.x, linear.y) if x is None else (x, y)
    n = len(linear.x)
    sigma = np.linalg.inv(n * beta * (linear.x.T @ linear.x / n) + gamma * np.eye(linear.x.shape[1]))
    g = linear.x * (linear.x @ theta - linear.y)[:, None]
    gq = x * (x @ theta - y)[:, None]
    return gq @ sigma @ g.T + 0.5 * (x @ sigma @ linear.x.T) ** 2


def test_the_closed_form_is_the_covariance_of_losses():
    linear, problem, theta = case()
    expected = -closed_form(linear, np.asarray(theta), 2.0, 0.5)
    found = gaussian_bayesian_influence(problem, theta, inverse_temperature=2.0, localisation=0.5)
    np.testing.assert_allclose(found, expected, atol=1e-13)
    # By plain sampling of the Gaussian, off the optimum and with two outputs.
    multi = multi_output()
    centre = multi.theta0
    hessian = multi.hessian()
    matrix = 1.5 * hessian + 0.7 * np.eye(len(centre))
    mean = centre - np.linalg.solve(matrix, 1.5 * (hessian @ centre - multi.drive()))
    draws = np.random.default_rng(0).multivariate_normal(mean, np.linalg.inv(matrix), 40_000)
    residuals = np.einsum("nd,sdc->snc", multi.x, draws.reshape(-1, 2, 3)) - multi.y[None]
    losses = 0.5 * np.sum(residuals**2, axis=2)
    found = gaussian_bayesian_influence(multi.problem, centre, inverse_temperature=1.5, localisation=0.7)
    np.testing.assert_allclose(-np.cov(losses.T), found, atol=0.06 * np.abs(found).max())


def test_at_high_inverse_temperature_it_is_the_damped_influence():
    _, problem, theta = case()
    beta, gamma = 1e4, 1.0
    full = np.asarray(gaussian_bayesian_influence(problem, theta, inverse_temperature=beta, localisation=gamma))
    leading = gaussian_bayesian_influence(problem, theta, inverse_temperature=beta, localisation=gamma, leading=True)
    assert np.corrcoef(full.ravel(), np.ravel(leading))[0, 1] >= 0.9999
    damped = influence_matrix(problem, damping=gamma / (beta * problem.n))
    np.testing.assert_allclose(-beta * np.asarray(leading), damped, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("method", ["mala", "langevin", "sgld"])
def test_sampling_reaches_the_closed_form(method):
    linear, problem, theta = case()
    queries = Dataset(linear.x[:3] + 0.5, linear.y[:3])
    found = bayesian_influence(
        problem, theta, inverse_temperature=1.0, localisation=0.5, draws=4000, chains=4, seed=1, queries=queries,
        method=method,
    )  # fmt: skip
    truth = -closed_form(linear, np.asarray(theta), 1.0, 0.5, linear.x[:3] + 0.5, linear.y[:3]).ravel()
    values = np.ravel(found.influence)
    assert found.influence.shape == (3, 10)
    assert np.corrcoef(values, truth)[0, 1] >= 0.99
    assert values @ truth / (truth @ truth) == pytest.approx(1.0, abs=0.05)
    assert found.rhat < 1.01
    assert found.ess > 1000
    assert "chains agree" in str(found)
    np.testing.assert_allclose(found.removal, -found.influence)
    # Another temperature is another answer: the comparison can fail.
    other = -closed_form(linear, np.asarray(theta), 1.3, 0.5, linear.x[:3] + 0.5, linear.y[:3]).ravel()
    assert abs(values @ other / (other @ other) - 1.0) > 0.1


def test_minibatches_and_functions_as_queries():
    _, problem, theta = case()
    found = bayesian_influence(
        problem, theta, inverse_temperature=2.0, localisation=1.0, draws=1000, queries=problem.losses, method="sgld",
        batch_size=5, step=0.02, thin=50,
    )  # fmt: skip
    truth = gaussian_bayesian_influence(problem, theta, inverse_temperature=2.0, localisation=1.0)
    assert np.corrcoef(np.ravel(found.influence), np.ravel(truth))[0, 1] > 0.9
    assert found.gradients == round(1100 * (50 + 25) * 4 / 2)


def share(interval, truth):
    """The share of values that their intervals hold."""
    return np.mean((interval[..., 0] <= truth) & (truth <= interval[..., 1]))


def student(found):
    """The intervals that know of no bias."""
    half = scipy.stats.t.ppf(0.975, 2 * found.chains - 1) * found.standard_error
    centre = np.asarray(found.influence)
    return np.stack([centre - half, centre + half], axis=-1)


def test_the_intervals_of_minibatches_hold_what_they_are_to_hold():
    linear, problem, theta = case()
    truth = -closed_form(linear, np.asarray(theta), 1.0, 0.5)
    options = {"inverse_temperature": 1.0, "localisation": 0.5, "draws": 1000}
    with pytest.warns(ChainsWarning, match=r"the step 0.2 biases the influences by about .* step=0.\d+ would do"):
        found = bayesian_influence(problem, theta, method="sgld", batch_size=2, step=0.2, thin=12, **options)
    assert found.rhat < 1.01  # the chains agree, on something else
    assert share(student(found), truth) < 0.6
    assert share(found.interval(), truth) >= 0.95
    assert "bias of the step up to" in str(found)
    # The estimate has the size and the sign of the bias.
    error = np.ravel(np.asarray(found.influence) - truth)
    assert np.ravel(found.bias) @ error / (error @ error) == pytest.approx(1.0, abs=0.4)


def test_the_adjusted_chains_have_no_bias_of_the_step():
    shares = []
    for seed in range(5):
        linear = random_ols(n=10, d=2, seed=seed)
        theta = np.linalg.lstsq(linear.x, linear.y, rcond=None)[0]
        truth = -closed_form(linear, theta, 1.0, 0.5)
        found = bayesian_influence(
            linear.problem, theta, inverse_temperature=1.0, localisation=0.5, draws=1000, seed=seed
        )
        assert 0.4 < found.acceptance < 0.75  # aimed at 0.574
        assert not found.bias.any()
        shares.append(share(found.interval(), truth))
    assert np.mean(shares) > 0.85


def test_the_adjusted_chains_reach_a_posterior_that_is_not_gaussian():
    """Logistic regression in one dimension by quadrature, with steps at which Euler's variance is off by half."""
    x, y = np.array([[1.0], [2.0], [-1.0], [0.5]]), np.array([1, 1, 0, 0])
    problem = Problem(LogisticRegression(), Dataset(x, y), delete=0)
    beta, gamma = 1.0, 0.2
    w = np.linspace(-30, 30, 20_001)
    losses = np.logaddexp(0, x * w) - y[:, None] * x * w
    weight = np.exp(-beta * losses.sum(axis=0) - 0.5 * gamma * (w - 0.5) ** 2)
    weight /= weight.sum()
    away = losses - (losses @ weight)[:, None]
    truth = -(away * weight) @ away.T
    options = {"inverse_temperature": beta, "localisation": gamma, "chains": 8, "draws": 2500}
    found = bayesian_influence(problem, [0.5], step=1.5, **options)
    np.testing.assert_allclose(found.influence, truth, atol=0.06 * np.abs(truth).max())
    with pytest.warns(ChainsWarning, match="the step 1.5 biases"):
        never_refused = bayesian_influence(problem, [0.5], step=1.5, method="sgld", thin=6, **options)
    assert np.abs(np.asarray(never_refused.influence) - truth).max() > 0.12 * np.abs(truth).max()


def test_where_twice_the_step_diverges_nothing_is_known_of_the_bias():
    _, problem, theta = case()
    with pytest.warns(ChainsWarning, match="biases the influences by about inf"):
        found = bayesian_influence(
            problem, theta, inverse_temperature=1.0, localisation=0.5, draws=400, method="sgld", step=2.5, thin=4
        )
    assert np.isinf(found.interval()).all()


def test_diagnostics_of_series_with_known_correlation():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((4, 5000, 2))
    series = noise.copy()
    for t in range(1, 5000):
        series[:, t, 1] = 0.8 * series[:, t - 1, 1] + noise[:, t, 1]
    independent, correlated = effective_sample_size(series)
    assert independent == pytest.approx(20_000, rel=0.1)
    assert correlated == pytest.approx(20_000 * 0.2 / 1.8, rel=0.15)
    assert split_rhat(series).max() < 1.02
    apart = series + np.array([0.0, 0.0, 0.0, 3.0])[:, None, None]
    assert split_rhat(apart).min() > 1.1


def two_wells():
    """f = θ, y = ±: chains that start far apart on a risk with a flat direction never meet."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.standard_normal((6, 1)), np.zeros((6, 1))], axis=1)
    return Problem(LinearRegression(), Dataset(x, rng.standard_normal(6)), delete=0)


def test_chains_that_disagree_and_too_few_draws_are_said():
    _, problem, theta = case()
    options = {"inverse_temperature": 1.0, "localisation": 0.5, "chains": 4, "seed": 0}
    with pytest.warns(ChainsWarning, match=r"the chains disagree: R̂ = "):
        found = bayesian_influence(
            problem, theta, draws=20, burn_in=0, thin=1, step=0.01, spread=5.0, method="sgld", **options
        )
    assert "CHAINS DISAGREE" in str(found)
    with pytest.warns(ChainsWarning, match="too few draws for intervals"):
        bayesian_influence(problem, theta, draws=300, half_width=1e-3, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert isinstance(bayesian_influence(problem, theta, draws=300, half_width=0.9, **options), BayesianInfluence)


def test_steps_that_diverge_are_no_number():
    _, problem, theta = case()
    with pytest.raises(WorkError, match="too large"):
        bayesian_influence(
            problem, theta, inverse_temperature=1.0, localisation=0.5, draws=300, method="sgld", step=30.0
        )
    with pytest.raises(WorkError, match="a chain stands still: step = 1e"):
        bayesian_influence(problem, theta, inverse_temperature=1.0, localisation=0.5, draws=300, step=1e6)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"inverse_temperature": 0.0}, "inverse_temperature"),
        ({"localisation": -1.0}, "localisation must be"),
        ({"draws": 0}, "draws must be"),
        ({"chains": 0}, "chains must be"),
        ({"method": "nuts"}, "method must be"),
        ({"batch_size": 2}, "batch_size is for"),
        ({"method": "langevin", "batch_size": 2}, "batch_size is for"),
        ({"friction": 1.0}, "friction is for"),
        ({"method": "langevin", "friction": 0.0}, "friction must be"),
        ({"draws": 10.5}, "draws must be"),
        ({"seed": -1}, "seed must be"),
        ({"half_width": 0.0}, "half_width must be"),
        ({"spread": float("nan")}, "spread must be"),
        ({"method": "sgld", "batch_size": 99}, "batch_size must be a whole number in 1…"),
        ({"step": 0.0}, "step must be"),
        ({"queries": [1.0]}, "queries must be"),
    ],
)
def test_bad_requests_are_refused(options, match):
    _, problem, theta = case()
    options = {"inverse_temperature": 1.0, "localisation": 0.5, "draws": 10, **options}
    with pytest.raises(RequestError, match=match):
        bayesian_influence(problem, theta, **options)


def test_an_improper_posterior_is_refused():
    problem = two_wells()
    for job in (gaussian_bayesian_influence, lambda *a, **k: bayesian_influence(*a, draws=10, **k)):
        with pytest.raises(RequestError, match="improper"):
            job(problem, np.zeros(2), inverse_temperature=1.0, localisation=0.0)
    with pytest.raises(RequestError, match="closed form is for"):
        gaussian_bayesian_influence(logistic(), np.zeros(3), inverse_temperature=1.0, localisation=1.0)
