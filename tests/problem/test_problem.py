"""The weighted risk and its derivatives, against finite differences and formulas that share no code with it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import problems
import pytest

from homotopy import (
    CrossEntropyLoss,
    Dataset,
    LinearRegression,
    LogisticRegression,
    Problem,
    RequestError,
    datasets,
)

EPSILON = 0.3


STEP = 1e-6


@eqx.filter_jit
def everything(problem, theta, v, epsilon):
    """Every derivative of a problem, and central differences of the level below it, compiled together."""

    def differences(function):
        steps = STEP * jnp.eye(theta.size)
        return jax.vmap(lambda e: (function(theta + e) - function(theta - e)) / (2 * STEP), out_axes=-1)(steps)

    def outputs(theta):
        return problem.predict(theta).reshape(problem.n, -1)

    return {
        "risks": jnp.stack([problem.risk(theta, 0.0), problem.risk(theta, epsilon), problem.risk(theta)]),
        "losses": problem.losses(theta),
        "deleted loss": problem.deleted_loss(theta),
        "deleted gradient": problem.deleted_gradient(theta),
        "loss of the deleted": problem.gradient(theta, 1.0) - problem.gradient(theta, 0.0),
        "gradient": problem.gradient(theta, epsilon),
        "gradient by differences": differences(lambda theta: problem.risk(theta, epsilon)),
        "hessian": problem.hessian(theta, epsilon),
        "hessian by differences": differences(lambda theta: problem.gradient(theta, epsilon)),
        "hvp": problem.hvp(theta, v, epsilon),
        "gauss-newton": problem.gauss_newton(theta, epsilon),
        "gauss-newton product": problem.gauss_newton_vp(theta, v, epsilon),
        "outputs": outputs(theta),
        "jacobians by differences": differences(outputs),
    }


def evaluate(problem, theta, v):
    values = everything(problem, jnp.asarray(theta), jnp.asarray(v), jnp.asarray(EPSILON))
    return {key: np.asarray(value) for key, value in values.items()}


@pytest.fixture(params=problems.NON_LINEAR, scope="module")
def case(request):
    """A non-linear problem, a direction v, and everything at one θ."""
    problem = problems.NON_LINEAR[request.param]()
    rng = np.random.default_rng(7)
    theta, v = 0.5 * rng.normal(size=problem.dim), rng.normal(size=problem.dim)
    return problem, v, evaluate(problem, theta, v)


@pytest.mark.parametrize("name", problems.LINEAR)
def test_linear_regression_is_the_formula(name):
    linear = problems.LINEAR[name]()
    problem, theta = linear.problem, linear.theta0
    here = evaluate(problem, theta, theta)
    prediction = linear.x @ theta.reshape(linear.x.shape[1], *linear.y.shape[1:])
    losses = 0.5 * ((prediction - linear.y) ** 2).reshape(len(linear.x), -1).sum(axis=1)
    hessian = linear.hessian(EPSILON)
    np.testing.assert_allclose(here["hessian"], hessian, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(here["gauss-newton"], hessian, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(here["gradient"], hessian @ theta - linear.drive(EPSILON), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(here["losses"], losses, rtol=1e-12, atol=1e-15)
    ridge = 0.5 * linear.ridge * theta @ theta
    risks = [linear.weights(epsilon) @ losses + ridge for epsilon in (0.0, EPSILON, 1.0)]
    np.testing.assert_allclose(here["risks"], risks, rtol=1e-12)
    np.testing.assert_allclose(here["deleted loss"], losses[list(linear.delete)].sum(), rtol=1e-12)
    assert problem.least_squares
    assert problem.n == len(linear.x)
    assert problem.dim == len(theta)
    # The comparison can fail: without the ½ of the squared loss the Hessian would be 2XᵀX.
    assert not np.allclose(here["hessian"], 2 * hessian, rtol=1e-3)


def test_derivatives_against_differences(case):
    problem, v, here = case
    np.testing.assert_allclose(here["gradient"], here["gradient by differences"], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(here["hessian"], here["hessian by differences"], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(here["deleted gradient"], here["loss of the deleted"], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(here["hvp"], here["hessian"] @ v, rtol=1e-11, atol=1e-12)
    assert (here["hessian"] == here["hessian"].T).all()
    assert not problem.least_squares


def test_risk_is_affine_in_epsilon(case):
    rest, between, whole = case[2]["risks"]
    np.testing.assert_allclose(whole - rest, case[2]["deleted loss"], rtol=1e-11)
    np.testing.assert_allclose(between, rest + EPSILON * (whole - rest), rtol=1e-13)


def test_gauss_newton_is_positive_semidefinite_and_is_what_it_says(case):
    """Σ w_i J_iᵀ (∇²_ŷ ℓ) J_i, with Jacobians by differences and the curvature of each loss by hand."""
    problem, v, here = case
    assert np.linalg.eigvalsh(here["gauss-newton"]).min() > -1e-12
    np.testing.assert_allclose(here["gauss-newton product"], here["gauss-newton"] @ v, rtol=1e-11, atol=1e-12)
    expected = float(problem.ridge) * np.eye(problem.dim)
    weights = np.asarray(problem.weights(EPSILON))
    for weight, output, jacobian in zip(weights, here["outputs"], here["jacobians by differences"], strict=True):
        match type(problem.loss).__name__:
            case "SquaredLoss":
                curvature = np.eye(len(output))
            case "LogisticLoss":
                p = 1 / (1 + np.exp(-output))
                curvature = np.diag(p * (1 - p))
            case _:
                p = np.exp(output) / np.exp(output).sum()
                curvature = np.diag(p) - np.outer(p, p)
        expected += weight * jacobian.T @ curvature @ jacobian
    np.testing.assert_allclose(here["gauss-newton"], expected, rtol=1e-6, atol=1e-7)
    if isinstance(problem.model, LogisticRegression):  # f is linear in θ
        np.testing.assert_allclose(here["gauss-newton"], here["hessian"], rtol=1e-10, atol=1e-12)


def test_logistic_regression_is_the_formula():
    problem = problems.logistic()
    x, y, theta = np.asarray(problem.data.x), np.asarray(problem.data.y), jnp.asarray([0.2, -0.5, 0.9])
    w = np.ones(problem.n)
    w[[0, 5]] = EPSILON
    p = 1 / (1 + np.exp(-x @ np.asarray(theta)))
    here = evaluate(problem, theta, theta)
    np.testing.assert_allclose(here["gradient"], x.T @ (w * (p - y)) + 0.1 * theta, rtol=1e-12)
    hessian = x.T @ ((w * p * (1 - p))[:, None] * x) + 0.1 * np.eye(3)
    np.testing.assert_allclose(here["hessian"], hessian, rtol=1e-12)


def test_softmax_regression_is_the_formula():
    problem = problems.softmax()
    x, y, theta = np.asarray(problem.data.x), np.asarray(problem.data.y).astype(int), jnp.linspace(-1, 1, 6)
    w = np.ones(problem.n)
    w[1] = EPSILON
    logits = x @ np.asarray(theta).reshape(2, 3)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    gradient = (x.T @ (w[:, None] * (p - np.eye(3)[y]))).reshape(-1) + 0.05 * theta
    np.testing.assert_allclose(evaluate(problem, theta, theta)["gradient"], gradient, rtol=1e-12)


def test_vmap_over_deleted_points_ridges_and_weights():
    linear = problems.random_ols()
    problem, theta = linear.problem, jnp.asarray(linear.theta0)
    each = jax.jit(jax.vmap(lambda row: problem.deleting(row).hessian(theta, EPSILON)))(jnp.arange(problem.n))
    pairs = jnp.asarray([[0, 1], [3, 7]])
    groups = jax.jit(jax.vmap(lambda rows: problem.deleting(rows).gradient(theta, 0.0)))(pairs)
    for row in range(problem.n):
        np.testing.assert_allclose(each[row], problems.random_ols(delete=(row,)).hessian(EPSILON), rtol=1e-12)
    for pair, gradient in zip(pairs.tolist(), groups, strict=True):
        other = problems.random_ols(delete=tuple(pair))
        np.testing.assert_allclose(gradient, other.hessian(0.0) @ theta - other.drive(0.0), rtol=1e-11)
    epsilons = jnp.linspace(0.0, 1.0, 5)
    risks = jax.jit(jax.vmap(lambda epsilon: problem.risk(theta, epsilon)))(epsilons)
    np.testing.assert_allclose(np.diff(risks), problem.deleted_loss(theta) / 4, rtol=1e-10)

    def with_ridge(ridge):
        return Problem(LinearRegression(), problem.data, delete=2, ridge=ridge).risk(theta)

    risks = jax.jit(jax.vmap(with_ridge))(jnp.asarray([0.0, 2.0]))
    np.testing.assert_allclose(risks[1] - risks[0], theta @ theta, rtol=1e-12)


def test_a_weight_for_every_point():
    problem, theta = problems.teacher_student(), jnp.linspace(-1.0, 1.0, 10)
    weights = np.random.default_rng(0).uniform(size=problem.n)
    expected = weights @ np.asarray(problem.losses(theta))
    np.testing.assert_allclose(problem.weighted_risk(theta, jnp.asarray(weights)), expected, rtol=1e-13)
    logistic = problems.logistic()
    np.testing.assert_array_equal(logistic.weights(EPSILON), [EPSILON, 1, 1, 1, 1, EPSILON, 1, 1, 1, 1, 1, 1])
    apart = logistic.weights(jnp.asarray([0.25, 0.75]))  # one ε per deleted point
    assert apart[0] == 0.25
    assert apart[5] == 0.75
    assert apart.sum() == 11


def test_predictions_at_other_points():
    problem = problems.teacher_student()
    theta = problem.initial(0)
    assert problem.predict(theta).shape == (10,)
    assert problem.predict(theta, [[0.5], [1.0]]).shape == (2,)
    assert (problem.initial(0) == problem.initial(jax.random.key(0))).all()
    assert not (problem.initial(0) == problem.initial(1)).any()


def test_seeds_share_one_tree():
    """Problems that differ in their seed stack into one batch and share compiled code."""
    batch = [Problem(LinearRegression(), datasets.random_linear(seed=seed), delete=0) for seed in (0, 1)]
    assert jax.tree.structure(batch[0]) == jax.tree.structure(batch[1])
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *batch)
    risks = jax.vmap(lambda problem: problem.risk(jnp.ones(2)))(stacked)
    np.testing.assert_allclose(risks, [problem.risk(jnp.ones(2)) for problem in batch], rtol=1e-13)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"delete": 8}, "delete must lie in 0…7 (the data set has 8 points), but names 8"),
        ({"delete": -1}, "but names -1"),
        ({"delete": [1, 9, 2]}, "but names 9"),
        ({"delete": [1, 3, 3]}, "names 3 more than once"),
        ({"delete": []}, "is empty"),
        ({"delete": 1.0}, "a whole number or a list of them, but is 1.0"),
        ({"delete": True}, "a whole number or a list of them, but is True"),
        ({"delete": [[1, 2]]}, "a whole number or a list of them"),
        ({"delete": list(range(8))}, "must leave at least one of the 8 points"),
        ({"delete": 0, "ridge": -1.0}, "ridge must be one number ≥ 0, but is -1.0"),
        ({"delete": 0, "ridge": [0.0, 1.0]}, "ridge must be one number ≥ 0"),
        ({"delete": 0, "ridge": np.nan}, "ridge must be finite, but ridge is nan"),
        ({"delete": 0, "ridge": "much"}, "ridge must hold real numbers, but holds text"),
        ({"delete": 0, "loss": CrossEntropyLoss()}, "CrossEntropyLoss needs class labels"),
    ],
)
def test_bad_requests(options, says):
    with pytest.raises(RequestError) as error:
        Problem(LinearRegression(), problems.random_ols().problem.data, **options)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("theta", "says"),
    [
        (np.zeros(2), "theta0 must have shape (3,) for this problem, but has shape (2,)"),
        (np.zeros((4, 3)), "a batch goes through jax.vmap or a loop"),
        ([0.0, np.inf, 0.0], "theta0 must be finite, but theta0[1] is inf (1 such in all)"),
        (["a", "b", "c"], "theta0 must hold real numbers, but holds text"),
    ],
)
def test_bad_theta(theta, says):
    with pytest.raises(RequestError) as error:
        problems.random_ols().problem.check_theta(theta)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_logistic_regression_refuses_regression_targets():
    data = Dataset(np.ones((3, 1)), [0.5, 1.0, 2.0])
    with pytest.raises(RequestError, match=r"needs class labels 0, 1, …, but y holds 0.5, 1, 2"):
        Problem(LogisticRegression(), data, delete=0)
