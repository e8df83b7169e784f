"""All leave-one-out optima at once: each against its own refit, whichever way they are found."""

import numpy as np
import problems
import pytest

from homotopy import Dataset, LogisticRegression, Problem, RequestError, WorkError
from homotopy.endpoints import leave_one_out, leave_one_out_all, leave_one_out_proof, optimum, path


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
    with pytest.raises(WorkError, match="singular"):
        leave_one_out_all(problems.rank_deficient().problem)
    lonely = Problem(LogisticRegression(), Dataset([[1.0], [0.5], [-1.0], [0.7]], [0, 0, 1, 0]), delete=0)
    with pytest.raises((RequestError, WorkError), match=r"one point|separable"):
        leave_one_out_all(lonely)
    with pytest.raises(RequestError, match="convex"):
        leave_one_out_all(problems.logistic(), start="cold")
    with pytest.raises(RequestError, match="theta0="):
        leave_one_out_all(problems.teacher_student(), start="cold")
