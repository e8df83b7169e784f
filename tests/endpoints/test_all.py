"""All leave-one-out optima at once: each against its own refit, whichever way they are found."""

import numpy as np
import problems
import pytest
import scipy.special

from homotopy import CrossEntropyLoss, Dataset, LogisticRegression, Problem, RequestError, WorkError
from homotopy.endpoints import (
    FlaggedRowsWarning,
    Outcome,
    leave_one_out,
    leave_one_out_all,
    leave_one_out_proof,
    optimum,
    path,
)


@pytest.mark.parametrize("name", ["random", "ridge", "multi-output"])
def test_linear_regression(name):
    case = problems.LINEAR[name]()
    found = leave_one_out_proof(case.problem)
    for i in range(len(case.x)):
        alone = type(case)(case.x, case.y, (i,), case.theta0, case.ridge)
        np.testing.assert_allclose(found.theta[i], alone.limit(0.0), rtol=1e-9, atol=1e-10)
        assert found.smallest_eigenvalue[i] <= np.linalg.eigvalsh(alone.hessian(0.0))[0] * (1 + 1e-9)
    assert found.converged.all()
    assert "converged" in str(found)


@pytest.mark.parametrize("make", [problems.logistic, problems.softmax])
def test_classification(make):
    problem = make()
    found = leave_one_out_all(problem)
    for i in range(problem.n):
        np.testing.assert_allclose(found[i], leave_one_out(problem.deleting(i)).theta, atol=1e-8)


def test_continued_networks():
    problem = problems.teacher_student(ridge=0.2)
    theta = optimum(problem, start=problem.initial(0)).theta
    found = leave_one_out_proof(problem, theta=theta)
    good = np.flatnonzero(np.asarray(found.converged))
    assert good.size >= 7
    for i in good[:3]:
        np.testing.assert_allclose(found.theta[i], path(problem.deleting(i), [1.0, 0.0], start=theta).thetas[-1])
        assert np.linalg.norm(problem.deleting(i).gradient(found.theta[i], 0.0)) <= 1e-9
    cold = leave_one_out_proof(problem, start="cold", theta0=problem.initial(0))
    np.testing.assert_allclose(
        cold.theta[2], leave_one_out(problem.deleting(2), theta0=problem.initial(0)).theta, atol=1e-12
    )


def test_refusals():
    with pytest.raises(WorkError, match="none of the"):
        leave_one_out_all(problems.rank_deficient().problem)
    lonely = Problem(LogisticRegression(), Dataset([[1.0], [0.5], [-1.0], [0.7]], [0, 0, 1, 0]), delete=0)
    with pytest.raises((RequestError, WorkError), match=r"one point|separable"):
        leave_one_out_all(lonely)
    with pytest.raises(RequestError, match="convex"):
        leave_one_out_all(problems.logistic(), start="cold")
    with pytest.raises(RequestError, match="theta0="):
        leave_one_out_all(problems.teacher_student(), start="cold")


TEN = np.array([-3.0, -2, -1.5, -1, 2.5, 1, 1.5, 2, 3, 0.5])


@pytest.mark.parametrize("units", [(1.0, 1.0), (1e5, 1e-8)])
def test_one_row_whose_removal_separates_the_classes(units):
    x, y = np.c_[np.ones(10), TEN] * units, np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
    problem = Problem(LogisticRegression(), Dataset(x, y), delete=0)
    with pytest.warns(FlaggedRowsWarning, match="row 4: the classes are separable") as seen:
        found = np.asarray(leave_one_out_all(problem))
    assert len(seen) == 1
    assert np.isinf(found[4]).all()
    proof = leave_one_out_proof(problem)
    np.testing.assert_array_equal(np.flatnonzero(proof.outcome), [4])
    assert proof.outcome[4] == int(Outcome.SEPARABLE)
    for i in (0, 5):
        kept = np.arange(10) != i
        np.testing.assert_allclose(found[i] * units, newton(x[kept] / units, y[kept]), rtol=1e-8)


def newton(x, y, ridge=0.0):
    """Logistic regression by plain Newton steps in NumPy."""
    theta = np.zeros(x.shape[1])
    for _ in range(60):
        p = scipy.special.expit(x @ theta)
        hessian = (x.T * (p * (1 - p))) @ x + ridge * np.eye(x.shape[1])
        theta = theta - np.linalg.solve(hessian, x.T @ (p - y) + ridge * theta)
    return theta


def test_the_bounds_of_the_proof_hold():
    """200 points in several chunks, some of them influential: each against its refit, and its own Hessian."""
    rng = np.random.default_rng(2)
    x = np.c_[np.ones(200), rng.standard_normal((200, 2)) * [3.0, 0.2]]
    y = (rng.random(200) < scipy.special.expit(x @ [0.5, 1.0, -2.0])).astype(float)
    x[7], y[7] = [1.0, 14.0, -1.0], 0.0
    found = leave_one_out_proof(Problem(LogisticRegression(), Dataset(x, y), delete=0))
    assert found.converged.all()
    for i in range(200):
        kept = np.arange(200) != i
        theta = newton(x[kept], y[kept])
        np.testing.assert_allclose(found.theta[i], theta, rtol=1e-7, atol=1e-8)
        p = scipy.special.expit(x[kept] @ theta)
        hessian = (x[kept].T * (p * (1 - p))) @ x[kept]
        assert 0 < found.smallest_eigenvalue[i] <= np.linalg.eigvalsh(hessian)[0] * (1 + 1e-9)
        assert float(found.value[i]) == pytest.approx(-np.log(np.where(y[kept] == 1, p, 1 - p)).sum(), rel=1e-9)
        off = np.sqrt((found.theta[i] - theta) @ hessian @ (found.theta[i] - theta)) / np.sqrt(2 * 199 * np.log(2))
        assert off <= found.prediction_error[i] + 1e-13


def test_the_only_point_of_a_class():
    x = np.c_[np.ones(9), [-2.0, -1, 0, 1, 2, -1.5, 0.5, 1.5, 0.2]]
    problem = Problem(LogisticRegression(), Dataset(x, [0, 1, 0, 1, 0, 1, 0, 1, 2]), delete=0, loss=CrossEntropyLoss())
    with pytest.warns(FlaggedRowsWarning, match="row 8: a class is left without points"):
        found = leave_one_out_all(problem)
    np.testing.assert_array_equal(np.isinf(found).all(axis=1), np.arange(9) == 8)
    # Softmax without a ridge: minima up to shifts, here that of the full fit, which is that of the start, 0.
    np.testing.assert_allclose(np.asarray(found[:8]).reshape(8, 2, 3).sum(axis=2), 0.0, atol=1e-9)
    np.testing.assert_allclose(found[3], leave_one_out(problem.deleting(3)).theta, atol=1e-7)
