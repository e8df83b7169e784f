"""Shapley values against plain enumeration over permutations and subsets, in NumPy and scikit-learn."""

import itertools
import math

import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from homotopy import (
    MLP,
    Dataset,
    LinearRegression,
    LogisticRegression,
    Problem,
    RequestError,
    WorkError,
    datasets,
)
from homotopy.attribution import (
    RefitUtility,
    exact_shapley,
    gradient_shapley,
    knn_shapley,
    leave_one_out_values,
    truncated_monte_carlo_shapley,
)
from homotopy.attribution._estimate import half_width


def by_permutations(value, n):
    """The definition: mean marginal contribution over all n! orders."""
    total = np.zeros(n)
    for order in itertools.permutations(range(n)):
        mask, last = np.zeros(n, bool), value(np.zeros(n, bool))
        for i in order:
            mask = mask.copy()
            mask[i] = True
            now = value(mask)
            total[i] += now - last
            last = now
    return total / math.factorial(n)


def linear(n=7, d=2, ridge=0.1, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d))
    data = Dataset(x, x @ rng.standard_normal(d) + 0.3 * rng.standard_normal(n))
    queries = Dataset(rng.standard_normal((5, d)), rng.standard_normal(5))
    return Problem(LinearRegression(), data, delete=0, ridge=ridge), queries


def classes(n=12, seed=1, ridge=0.1):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n + 40, 2))
    y = (x[:, 0] + 0.5 * rng.standard_normal(n + 40) > 0).astype(int)
    problem = Problem(LogisticRegression(), Dataset(x[:n], y[:n]), delete=0, ridge=ridge)
    return problem, Dataset(x[n:], y[n:])


def numpy_value(problem, queries):
    """Ridge regression on a subset and minus the mean squared loss, in NumPy; least norm without a ridge."""
    x, y = np.asarray(problem.data.x), np.asarray(problem.data.y)
    xq, yq = np.asarray(queries.x), np.asarray(queries.y)

    def value(mask):
        hessian = x[mask].T @ x[mask] + float(problem.ridge) * np.eye(x.shape[1])
        theta = np.linalg.pinv(hessian, rcond=1e-11, hermitian=True) @ x[mask].T @ y[mask]
        return -0.5 * np.mean((xq @ theta - yq) ** 2)

    return value


@pytest.mark.parametrize("ridge", [0.1, 0.0])
def test_exact_shapley_of_linear_regression_is_the_mean_over_all_orders(ridge):
    problem, queries = linear(n=6, ridge=ridge)
    value = numpy_value(problem, queries)
    truth = by_permutations(value, 6)
    utility = RefitUtility(problem, queries)
    assert utility.method == ("rank-one" if ridge else "least-norm")
    found = exact_shapley(utility, 6)
    np.testing.assert_allclose(found, truth, rtol=0, atol=1e-12)
    np.testing.assert_allclose(exact_shapley(value, 6), truth, rtol=0, atol=1e-12)
    assert found.sum() == pytest.approx(value(np.ones(6, bool)) - value(np.zeros(6, bool)), abs=1e-12)
    wrong = exact_shapley(lambda mask: value(mask) + 1e-9 * (mask.sum() == 1 and mask[2]), 6)
    with pytest.raises(AssertionError):  # one subset's value changed by 1e-9 must show
        np.testing.assert_allclose(wrong, truth, rtol=0, atol=1e-12)


def test_vectorised_and_plain_values_agree_and_leave_one_out_is_the_last_marginal():
    rng = np.random.default_rng(0)
    table = rng.standard_normal(1 << 5)

    def value(mask):
        return table[mask @ (1 << np.arange(5))]

    plain = exact_shapley(value, 5)
    np.testing.assert_allclose(plain, by_permutations(value, 5), atol=1e-13)
    np.testing.assert_allclose(exact_shapley(value, 5, vectorised=True), plain, atol=1e-14)
    expected = [table[-1] - table[31 - (1 << i)] for i in range(5)]
    np.testing.assert_allclose(leave_one_out_values(value, 5), expected, atol=1e-14)


def test_the_newton_fits_are_those_of_scikit_learn():
    from sklearn.linear_model import LogisticRegression as Peer

    problem, queries = classes(ridge=0.3)
    rng = np.random.default_rng(0)
    masks = rng.random((9, problem.n)) < 0.7
    utility = RefitUtility(problem, queries, score="accuracy")
    thetas = utility.fit(masks)
    x, y = np.asarray(problem.data.x), np.asarray(problem.data.y)
    for mask, theta, score in zip(masks, thetas, utility(masks), strict=True):
        peer = Peer(C=1 / 0.3, fit_intercept=False, tol=1e-10, max_iter=1000).fit(x[mask], y[mask])
        np.testing.assert_allclose(theta, peer.coef_[0], atol=1e-5)
        assert score == pytest.approx(peer.score(np.asarray(queries.x), np.asarray(queries.y)))


def test_softmax_fits_are_stationary_on_their_subset():
    data = datasets.load("iris", intercept=True)
    rows = np.random.default_rng(0).permutation(150)
    problem = Problem(LogisticRegression(), data.subset(rows[:30]), delete=0, loss=_cross_entropy(), ridge=0.05)
    utility = RefitUtility(problem, data.subset(rows[30:60]), score="accuracy")
    masks = np.random.default_rng(1).random((4, 30)) < 0.5
    x, y = np.asarray(problem.data.x), np.asarray(problem.data.y).astype(int)
    for mask, theta in zip(masks, utility.fit(masks), strict=True):
        logits = np.exp(x @ theta.reshape(5, 3))
        slope = mask[:, None] * (logits / logits.sum(axis=1, keepdims=True) - np.eye(3)[y])
        assert np.abs(x.T @ slope + 0.05 * theta.reshape(5, 3)).max() < 1e-7
    assert utility(np.zeros(30, bool)) == pytest.approx(1 / 3)


def _cross_entropy():
    from homotopy import CrossEntropyLoss

    return CrossEntropyLoss()


def test_missing_classes_and_the_empty_set_have_the_documented_values():
    problem, queries = classes()
    utility = RefitUtility(problem, queries, score="accuracy")
    assert utility(np.zeros(12, bool)) == 0.5
    one_class = np.asarray(problem.data.y) == 1
    assert np.isfinite(utility(one_class))
    # The fit without an intercept says "1" on one side of a plane; its score is that of its own θ.
    theta = utility.fit(one_class[None])[0]
    expected = np.mean((np.asarray(queries.x) @ theta > 0) == (np.asarray(queries.y) == 1))
    assert utility(one_class) == pytest.approx(expected)


def test_tmc_covers_the_exact_values_at_twelve_points_and_resumes():
    problem, queries = classes(n=12)
    utility = RefitUtility(problem, queries)
    exact = exact_shapley(utility, 12)
    options = {"truncation": 0.0, "stop_change": None, "batch_size": 50, "seed": 0}
    found = truncated_monte_carlo_shapley(utility, 12, permutations=400, **options)
    interval = found.interval(0.95, simultaneous=True)
    assert ((interval[:, 0] <= exact) & (exact <= interval[:, 1])).all()
    ends = utility(np.stack([np.ones(12, bool), np.zeros(12, bool)]))
    assert found.values.sum() == pytest.approx(ends[0] - ends[1], abs=1e-12)
    half = truncated_monte_carlo_shapley(utility, 12, permutations=150, **options)
    resumed = truncated_monte_carlo_shapley(utility, 12, permutations=400, state=half, **options)
    np.testing.assert_allclose(resumed.values, found.values, atol=1e-13)
    np.testing.assert_allclose(resumed.standard_errors, found.standard_errors, rtol=1e-9)
    # The same along permutations one by one, without the warm starts.
    plain = truncated_monte_carlo_shapley(utility.__call__, 12, permutations=150, vectorised=True, **options)
    np.testing.assert_allclose(plain.values, half.values, atol=1e-7)
    assert "150 permutations" in str(half)


def test_truncation_is_cheaper_and_stays_within_its_bound():
    problem, queries = linear(n=10, ridge=0.5)
    utility = RefitUtility(problem, queries)
    whole = truncated_monte_carlo_shapley(utility, 10, permutations=100, truncation=0.0, stop_change=None)
    cut = truncated_monte_carlo_shapley(utility, 10, permutations=100, truncation=0.2, patience=2, stop_change=None)
    assert cut.evaluations < whole.evaluations == 1000
    assert abs(cut.values.sum() - whole.values.sum()) <= 0.2 * abs(whole.values.sum()) + 1e-12


def test_the_criteria_stop_or_say_what_is_missing():
    problem, queries = linear(n=5, ridge=0.5)
    utility = RefitUtility(problem, queries)
    few = truncated_monte_carlo_shapley(utility, 5, permutations=10, stop_width=1e-9)
    assert not few.converged
    assert "too few permutations for the interval" in few.reason
    enough = truncated_monte_carlo_shapley(utility, 5, permutations=2000, stop_change=None, stop_width=0.1)
    assert enough.converged
    assert np.ptp(enough.interval(), axis=1).max() <= 0.2
    change = truncated_monte_carlo_shapley(utility, 5, permutations=5000, stop_change=0.2)
    assert change.converged
    assert change.change <= 0.2
    assert change.permutations >= 200


@pytest.mark.parametrize(("count", "level", "together"), [(20, 0.95, 1), (50, 0.95, 7), (120, 0.9, 1)])
def test_the_interval_is_where_the_mixture_likelihood_ratio_reaches_one_over_alpha(count, level, together):
    alpha = (1 - level) / together
    t = half_width(np.ones(1), count, level, together)[0]  # in standard errors
    wide = -2 * np.log(alpha)
    effect = (wide + np.log(1 + wide)) / 200

    def ratio(t):  # Student's noncentral density, averaged over effects N(0, effect), beside the central one
        def integrand(delta):
            density = scipy.stats.nct.pdf(t, count - 1, delta * np.sqrt(count))
            return density * scipy.stats.norm.pdf(delta, scale=np.sqrt(effect))

        edge = 6 * np.sqrt(effect)
        return scipy.integrate.quad(integrand, -edge, edge, limit=400)[0] / scipy.stats.t.pdf(t, count - 1)

    assert ratio(t) == pytest.approx(1 / alpha, rel=1e-4)
    assert ratio(0.98 * t) < 0.97 / alpha
    assert np.isinf(half_width(np.ones(1), 2, 0.95, 1)).all()


def test_the_intervals_hold_at_all_counts_at_once():
    draws = np.random.default_rng(0).standard_normal((1000, 400))
    counts = np.arange(2, 401)
    means = (np.cumsum(draws, axis=1) / np.arange(1, 401))[:, 1:]
    squares = np.cumsum(draws**2, axis=1)[:, 1:] - counts * means**2
    errors = np.sqrt(squares / (counts * (counts - 1)))
    widths = np.array([half_width(np.ones(1), int(k), 0.95, 1)[0] for k in counts])
    ever = (np.abs(means) > widths * errors).any(axis=1).mean()
    assert 0.005 < ever <= 0.05
    student = scipy.stats.t.ppf(0.975, counts - 1)
    assert (np.abs(means) > student * errors).any(axis=1).mean() > 0.3  # what optional stopping could pick


def test_stopping_at_a_narrow_interval_keeps_its_level():
    """Weighted voting, where Student's intervals at the same stops held 88 % of the values."""
    inside = []
    for seed in range(60):
        weight = np.random.default_rng(seed).exponential(1.0, 5)
        table = ((np.arange(32)[:, None] >> np.arange(5)) % 2 @ weight > 0.6 * weight.sum()).astype(float)

        def value(masks, table=table):
            return table[masks @ (1 << np.arange(5))]

        exact = exact_shapley(value, 5, vectorised=True)
        found = truncated_monte_carlo_shapley(
            value, 5, permutations=3000, stop_width=0.25, batch_size=10, seed=seed, vectorised=True
        )
        assert found.converged
        assert "valid at any stopping time" in found.reason
        interval = found.interval()
        inside.append((interval[:, 0] <= exact) & (exact <= interval[:, 1]))
    assert np.mean(inside) >= 0.95


def test_contributions_not_seen_yet_are_allowed_for():
    def value(masks):  # all forty together are worth 1, and fewer nothing: each adds 1 in one of forty orders
        return np.all(masks, axis=1).astype(float)

    options = {"stop_width": 0.02, "vectorised": True, "batch_size": 20}
    found = truncated_monte_carlo_shapley(value, 40, permutations=100, **options)
    assert not found.converged  # some have only contributed zeros
    assert (found.values == 0).any()
    interval = found.interval()
    assert ((interval[:, 0] <= 1 / 40) & (interval[:, 1] >= 1 / 40)).all()
    again = truncated_monte_carlo_shapley(value, 40, permutations=60, **options)
    resumed = truncated_monte_carlo_shapley(value, 40, permutations=100, state=again, **options)
    np.testing.assert_allclose(resumed.interval(), interval, atol=1e-14)


def test_an_asked_width_is_of_the_whole_game_unless_truncation_is_asked_for_too():
    problem, queries = linear(n=5, ridge=0.5)
    utility = RefitUtility(problem, queries)
    whole = truncated_monte_carlo_shapley(utility, 5, permutations=40, batch_size=20, stop_width=1e-3)
    assert whole.evaluations == 200
    assert not whole.converged  # the mean relative change plays no part beside it
    cut = truncated_monte_carlo_shapley(utility, 5, permutations=40, batch_size=20, stop_width=1e-3, truncation=0.2)
    assert "the bias of truncation = 0.2 is not in them" in cut.reason


def test_gradient_shapley_sums_to_the_gain_of_the_descent():
    problem, queries = classes()
    utility = RefitUtility(problem, queries)
    found = gradient_shapley(problem, utility, step=0.1, permutations=3, batch_size=2, stop_change=None)
    x, y = np.asarray(problem.data.x), np.asarray(problem.data.y)
    total = np.zeros(12)
    for k in range(3):
        theta, last = np.zeros(2), utility.at(np.zeros((1, 2)))[0]
        for i in np.random.default_rng([0, k]).permutation(12):
            slope = x[i] * (1 / (1 + np.exp(-x[i] @ theta)) - y[i]) + 0.1 / 12 * theta
            theta = theta - 0.1 * slope
            now = utility.at(theta[None])[0]
            total[i] += now - last
            last = now
    np.testing.assert_allclose(found.values, total / 3, atol=1e-13)


def test_a_network_is_trained_the_same_way_on_every_subset():
    data = datasets.teacher_student(n=6, width=2)
    problem = Problem(MLP(width=2), data, delete=0)
    theta0 = problem.initial(0)
    utility = RefitUtility(problem, data, theta0=theta0, step=0.01, steps=4)
    mask = np.array([True, False, True, True, False, False])
    theta = theta0
    import jax

    for _ in range(4):
        theta = theta - 0.01 * jax.grad(problem.weighted_risk)(theta, mask.astype(float))
    np.testing.assert_allclose(utility.fit(mask[None])[0], theta, atol=1e-12)
    with pytest.raises(WorkError, match="smaller step"):
        RefitUtility(problem, data, theta0=theta0, step=1e6, steps=50)(mask)


@pytest.mark.parametrize("neighbours", [1, 2, 5, 9])
def test_knn_shapley_is_enumeration(neighbours):
    rng = np.random.default_rng(neighbours)
    n = 7
    x, y = rng.standard_normal((n, 2)), rng.integers(0, 3, n)
    queries, targets = rng.standard_normal((4, 2)), rng.integers(0, 3, 4)

    def value(mask):
        rows = np.flatnonzero(mask)
        total = 0.0
        for q, t in zip(queries, targets, strict=True):
            near = rows[np.argsort(np.sum((x[rows] - q) ** 2, axis=1), kind="stable")][:neighbours]
            total += np.sum(y[near] == t) / neighbours
        return total / 4

    found = knn_shapley(x, y, queries, targets, neighbours)
    np.testing.assert_allclose(found, exact_shapley(value, n), atol=1e-12)
    assert found.sum() == pytest.approx(value(np.ones(n, bool)), abs=1e-12)


def test_a_utility_that_is_not_finite_names_its_subset():
    def value(mask):
        return np.nan if mask[1] and not mask[0] else float(mask.sum())

    with pytest.raises(WorkError, match=r"\{1\}"):
        exact_shapley(value, 3)
    with pytest.raises(WorkError, match="the utility is nan"):
        truncated_monte_carlo_shapley(value, 3, permutations=10)


@pytest.mark.parametrize(
    ("job", "match"),
    [
        (lambda: exact_shapley(lambda mask: 0.0, 25), "at most 24"),
        (lambda: exact_shapley(lambda mask: 0.0, 0), "n must be"),
        (lambda: exact_shapley(lambda mask: np.zeros(2), 3), "one number per mask"),
        (lambda: exact_shapley(RefitUtility(*linear()), 3), "number of points of the utility"),
        (lambda: RefitUtility(*linear(), score="accuracy"), "class labels"),
        (lambda: RefitUtility(*classes(ridge=0.0)), "ridge must be > 0"),
        (lambda: RefitUtility(*linear(), steps=3), "for networks"),
        (lambda: RefitUtility(linear()[0], Dataset(np.ones((2, 5)), [0.0, 1.0])), "2 features"),
        (lambda: knn_shapley(np.ones((3, 2)), [0, 1, 1], np.ones((1, 2)), [0], 0), "neighbours"),
        (lambda: knn_shapley(np.ones((3, 2)), [0, 1], np.ones((1, 2)), [0], 1), "y must have shape"),
        (lambda: truncated_monte_carlo_shapley(lambda mask: 0.0, 3, truncation=2.0), "truncation"),
        (lambda: truncated_monte_carlo_shapley(lambda mask: 0.0, 3, permutations=0), "permutations"),
    ],
)
def test_bad_requests_are_refused(job, match):
    with pytest.raises(RequestError, match=match):
        job()
