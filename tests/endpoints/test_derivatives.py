"""θ̈ and the bound on θ̇(1) − θ̇(0): the closed form of least squares, and finite differences elsewhere."""

import numpy as np
import problems
import pytest

from homotopy import RequestError, WorkError
from homotopy.endpoints import influence, optimum, theta_ddot, theta_dot_change


def test_least_squares():
    case = problems.random_ols(n=10, d=3)
    j = case.delete[0]
    # θ(ε) = θ*₋ + H₋⁻¹x ε r/(1 + εh): θ̇ = H₋⁻¹x r (1+εh)⁻², θ̈ = −2h H₋⁻¹x r (1+εh)⁻³.
    direction = np.linalg.solve(case.hessian(0.0), case.x[j])
    h, r = case.x[j] @ direction, case.y[j] - case.x[j] @ case.limit(0.0)
    for epsilon in (0.0, 0.4, 1.0):
        expected = -2 * h * direction * r / (1 + epsilon * h) ** 3
        np.testing.assert_allclose(theta_ddot(case.problem, epsilon=epsilon), expected, rtol=1e-10, atol=1e-14)
    found = theta_dot_change(case.problem)
    speed = np.linalg.norm(direction * r)
    assert found.change == pytest.approx(speed * (1 - (1 + h) ** -2), rel=1e-10)
    assert found.bound == pytest.approx(2 * h * speed, rel=1e-10)
    assert found.change <= found.bound
    assert found.integral < 1e-6 * found.change


def test_logistic_by_finite_differences():
    problem = problems.logistic()
    step = 1e-4
    ends = [influence(problem.deleting([0, 5]), theta=optimum(problem).theta)]
    thetas = [np.asarray(optimum(problem, 0.5 + s).theta) for s in (-step, 0.0, step)]
    finite = (thetas[0] - 2 * thetas[1] + thetas[2]) / step**2
    found = np.asarray(theta_ddot(problem, epsilon=0.5))
    np.testing.assert_allclose(found, finite, atol=1e-5 * np.linalg.norm(found))
    change = theta_dot_change(problem, count=65)
    assert change.integral < 1e-4 * change.change
    assert change.change <= change.bound
    np.testing.assert_allclose(change.theta_dot_full, ends[0].theta_dot, rtol=1e-9)
    np.testing.assert_allclose(change.theta_dot_deleted, influence(problem, at="deleted").theta_dot, rtol=1e-9)


def test_network_third_derivatives():
    problem = problems.teacher_student(ridge=0.01)
    theta = optimum(problem, start=problem.initial(0)).theta
    found = theta_dot_change(problem, start=theta, count=129)
    # The identity θ̇(1) − θ̇(0) = ∫θ̈ fails at once if θ̈ lacks its third derivative or the factor 2.
    assert found.integral < 1e-3 * found.change
    assert found.change <= found.bound


def test_refusals():
    with pytest.raises(RequestError, match="theta must be given"):
        theta_ddot(problems.teacher_student())
    with pytest.raises(WorkError, match="singular"):
        theta_ddot(problems.rank_deficient().problem)
