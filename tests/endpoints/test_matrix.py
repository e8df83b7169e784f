"""Influence of all points at once, against NumPy, against single influences and against what removal really does."""

import jax.numpy as jnp
import numpy as np
import problems
import pytest

from homotopy import Dataset, RequestError, WorkError
from homotopy.endpoints import (
    NotStationaryWarning,
    influence,
    influence_matrix,
    leave_one_out_all,
    optimum,
    self_influence,
    weight_jacobian,
)


@pytest.fixture(scope="module")
def ols():
    case = problems.random_ols(n=12, d=3)
    theta = case.limit(1.0)
    residual = case.y - case.x @ theta
    inverse = np.linalg.inv(case.hessian())
    return case, theta, residual, inverse


def test_linear_regression_against_numpy(ols):
    case, _, e, inverse = ols
    hat = case.x @ inverse @ case.x.T
    expected = e[:, None] * hat * e[None]
    np.testing.assert_allclose(influence_matrix(case.problem), expected, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(self_influence(case.problem), np.diag(hat) * e**2, rtol=1e-10)
    np.testing.assert_allclose(weight_jacobian(case.problem), inverse @ case.x.T * e[None], rtol=1e-10, atol=1e-14)


def test_queries_as_points_functions_and_gradients(ols):
    case, theta, e, inverse = ols
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((5, 3)), rng.standard_normal(5)
    residual = y - x @ theta
    expected = residual[:, None] * (x @ inverse @ case.x.T) * e[None]
    points = influence_matrix(case.problem, Dataset(x, y))
    np.testing.assert_allclose(points, expected, rtol=1e-9, atol=1e-13)
    function = influence_matrix(case.problem, lambda t: 0.5 * (jnp.asarray(y) - jnp.asarray(x) @ t) ** 2)
    np.testing.assert_allclose(function, expected, rtol=1e-9, atol=1e-13)
    many = rng.standard_normal((20, 3))  # more queries than points: the other side is solved for
    np.testing.assert_allclose(
        influence_matrix(case.problem, many), many @ inverse @ -(case.x.T * e[None]), rtol=1e-9, atol=1e-13
    )
    one = influence_matrix(case.problem, lambda t: t[0])
    np.testing.assert_allclose(one[0], -weight_jacobian(case.problem)[0], rtol=1e-9, atol=1e-13)


def test_sign_and_scale_are_those_of_removal():
    """+ = removing the point increases the query's loss, by about this much."""
    problem = problems.logistic(n=60)
    theta = optimum(problem).theta
    removed = leave_one_out_all(problem)
    actual = np.stack([np.asarray(problem.losses(t) - problem.losses(theta)) for t in removed]).T
    estimated = np.asarray(influence_matrix(problem))
    assert np.corrcoef(actual.ravel(), estimated.ravel())[0, 1] > 0.99
    slope = (actual * estimated).sum() / (estimated**2).sum()
    assert 0.9 < slope < 1.4
    assert (np.asarray(self_influence(problem)) > 0).all()


def test_columns_of_the_jacobian():
    problem = problems.softmax()
    jacobian = weight_jacobian(problem)
    theta = optimum(problem).theta
    np.testing.assert_allclose(jacobian[:, 1], influence(problem).theta_dot, rtol=1e-9)
    hessian = np.asarray(problem.hessian(theta))
    np.testing.assert_allclose(jacobian.sum(axis=1), 0.05 * np.linalg.solve(hessian, theta), rtol=1e-9)


def test_without_a_ridge_the_columns_sum_to_zero(ols):
    case, *_ = ols
    jacobian = np.asarray(weight_jacobian(case.problem))
    assert np.abs(jacobian.sum(axis=1)).max() < 1e-13
    assert np.abs(jacobian).max() > 1e-3


def test_refusals(ols):
    case, *_ = ols
    with pytest.raises(RequestError, match="queries must"):
        influence_matrix(case.problem, Dataset(np.ones((2, 2)), np.ones(2)))
    with pytest.raises(RequestError, match="queries must"):
        influence_matrix(case.problem, np.ones((2, 4)))
    with pytest.raises(WorkError, match="singular"):
        influence_matrix(problems.rank_deficient().problem)
    with pytest.warns(NotStationaryWarning):
        self_influence(case.problem, theta=np.ones(3))
