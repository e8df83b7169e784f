"""Leverage and Cook's distance against NumPy, and the generalised ones against finite differences."""

import numpy as np
import problems
import pytest
import scipy.special

from homotopy import RequestError, WorkError
from homotopy.endpoints import cooks_distance, leverage, optimum


def test_least_squares():
    case = problems.random_ols(n=15, d=4)
    hat = case.x @ np.linalg.solve(case.x.T @ case.x, case.x.T)
    p, e = np.diag(hat), case.y - hat @ case.y
    np.testing.assert_allclose(leverage(case.problem), p, rtol=1e-10)
    assert float(leverage(case.problem).sum()) == pytest.approx(4.0, rel=1e-12)
    cook = e**2 * p / (1 - p) ** 2 / (4 * (e @ e) / (15 - 4))
    np.testing.assert_allclose(cooks_distance(case.problem), cook, rtol=1e-10)
    assert np.abs(cook * (1 - p) / cook - 1).max() > 0.1  # a forgotten factor 1 − P would show


def test_several_outputs_sum():
    case = problems.multi_output()
    p = np.diag(case.x @ np.linalg.solve(case.x.T @ case.x, case.x.T))
    np.testing.assert_allclose(leverage(case.problem), 3 * p, rtol=1e-10)
    loo = np.stack([case.limit(0.0) for case in [problems.multi_output()]])
    assert loo.shape == (1, 6)


def test_logistic_is_the_weighted_hat_matrix():
    problem = problems.logistic()
    x, theta = np.asarray(problem.data.x), np.asarray(optimum(problem).theta)
    p = scipy.special.expit(x @ theta)
    w = p * (1 - p)
    hessian = (x.T * w) @ x + 0.1 * np.eye(3)
    expected = w * np.einsum("ij,jk,ik->i", x, np.linalg.inv(hessian), x)
    np.testing.assert_allclose(leverage(problem), expected, rtol=1e-10)
    residual = p - np.asarray(problem.data.y)
    change = np.linalg.solve(hessian, x.T * (residual / (1 - expected))[None])
    # The ridge leaves less than 3 effective degrees of freedom.
    cook = np.einsum("ji,jk,ki->i", change, hessian, change) / expected.sum()
    np.testing.assert_allclose(cooks_distance(problem), cook, rtol=1e-9)


def test_a_network_by_finite_differences():
    problem = problems.vector_network()
    theta = np.asarray(problem.initial(0))
    step = 1e-6
    outputs = lambda t: np.asarray(problem.predict(t))  # noqa: E731
    jacobian = np.stack([(outputs(theta + d) - outputs(theta - d)) / (2 * step) for d in step * np.eye(problem.dim)])
    jacobian = jacobian.transpose(1, 2, 0)  # (n, outputs, dim)
    matrix = np.einsum("nop,noq->pq", jacobian, jacobian) + (0.01 + 6 * 0.2) * np.eye(problem.dim)
    expected = np.einsum("nop,pq,noq->n", jacobian, np.linalg.inv(matrix), jacobian)
    np.testing.assert_allclose(leverage(problem, theta=theta, damping=0.2), expected, rtol=1e-7)


def test_refusals():
    with pytest.raises(WorkError, match="singular"):
        leverage(problems.rank_deficient().problem)
    with pytest.raises(RequestError, match="more points than parameters"):
        cooks_distance(problems.identity().problem)
    with pytest.raises(RequestError, match="theta must be given"):
        leverage(problems.teacher_student())
