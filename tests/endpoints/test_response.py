"""Response functions and the PBRF: closed forms for least squares, SciPy elsewhere, and the linearisation property."""

import jax
import jax.numpy as jnp
import numpy as np
import problems
import pytest
import scipy.optimize
import scipy.special

from homotopy import CrossEntropyLoss, Dataset, LogisticRegression, Problem, RequestError
from homotopy.endpoints import bregman, influence, leave_one_out, optimum, pbrf, pbrf_linearised, response


def relative(a, b):
    return np.linalg.norm(np.asarray(a) - np.asarray(b)) / np.linalg.norm(np.asarray(b))


@pytest.fixture(scope="module")
def ols():
    case = problems.random_ols(n=12, d=3)
    return case, case.x[2], case.y[2], case.limit(1.0)


def test_least_squares_pbrf(ols):
    """argmin ½[(1/n)Σ(x_iᵀ(θ−θ̂))² − (1/n)(y_j−x_jᵀθ)² + λ‖θ−θ̂‖²] (mathematics §13)."""
    case, x, y, theta = ols
    matrix = case.hessian() / 12 + 0.3 * np.eye(3) - np.outer(x, x) / 12
    expected = theta - np.linalg.solve(matrix, x * (y - x @ theta) / 12)
    found = pbrf(case.problem, theta, damping=0.3)
    assert relative(found.theta - theta, expected - theta) < 1e-10
    assert found.gradient_norm < 1e-14
    # The notes' ½ outside the argmin and mixed factors would be seen:
    wrong = theta - np.linalg.solve(case.hessian() + 0.3 * np.eye(3) - np.outer(x, x) / 12, x * (y - x @ theta) / 12)
    assert relative(wrong - theta, expected - theta) > 1e-2


def test_least_squares_responses(ols):
    case, x, y, theta = ols
    h = case.hessian() / 12
    slope = -x * (y - x @ theta)
    assert relative(response(case.problem).theta, case.limit(0.0)) < 1e-10
    assert relative(response(case.problem, epsilon=0.5 / 12).theta, case.limit(0.5)) < 1e-10
    damped = theta + np.linalg.solve(h - np.outer(x, x) / 12 + 0.2 * np.eye(3), slope / 12)
    assert relative(response(case.problem, damping=0.2).theta, damped) < 1e-10
    linear = theta + np.linalg.solve(h, slope) / 12
    assert relative(response(case.problem, linearised=True).theta, linear) < 1e-10
    both = theta + np.linalg.solve(h + 0.2 * np.eye(3), slope) / 12
    assert relative(response(case.problem, damping=0.2, linearised=True).theta, both) < 1e-10


def test_the_exact_response_is_leave_one_out():
    problem = problems.logistic()
    assert relative(response(problem).theta, leave_one_out(problem).theta) < 1e-10


@pytest.mark.parametrize("make", [problems.vector_network, problems.softmax])
def test_pbrf_linearises_to_the_damped_gauss_newton_influence(make):
    problem = make()
    theta = problem.initial(1) + 0.1  # not trained: θˢ need not be stationary
    n, damping = problem.n, 0.1
    exact = influence(problem, theta=theta, hessian="gauss-newton", damping=damping)
    linear = pbrf_linearised(problem, theta, damping=damping)
    assert relative(linear.theta - theta, exact.estimate - theta) < 1e-10
    assert not linear.converged
    # The derivative of the PBRF by ε at 0, by central differences of order 4, is (linear − θˢ)/ε.
    step = 0.03 / n
    at = {k: np.asarray(pbrf(problem, theta, damping=damping, epsilon=k * step).theta) for k in (-2, -1, 1, 2)}
    finite = (at[-2] - 8 * at[-1] + 8 * at[1] - at[2]) / (12 * step)
    assert relative(finite, n * (linear.theta - theta)) < 1e-5
    still = pbrf(problem, theta, damping=damping, epsilon=0.0)
    np.testing.assert_allclose(still.theta, theta, atol=1e-12)
    assert still.start_gradient_norm < 1e-14  # θˢ is stationary by construction


def test_network_pbrf_is_stationary_and_scipys():
    problem = problems.vector_network()
    theta = problem.initial(0)
    found = pbrf(problem, theta, damping=0.1)
    assert found.gradient_norm <= 1e-9
    assert found.smallest_eigenvalue > 0

    @jax.jit
    def objective(t):  # written out, with the losses alone: no Bregman code
        ahead, behind = problem.predict(t), problem.predict(theta)
        value = 0.5 * ((ahead - behind) ** 2).sum() / problem.n
        own = 0.5 * ((ahead[0] - problem.data.y[0]) ** 2).sum() / problem.n
        return value - own + 0.5 * (0.1 + 0.01 / problem.n) * ((t - theta) ** 2).sum()

    peer = scipy.optimize.minimize(
        objective, theta, jac=jax.jit(jax.grad(objective)), method="BFGS", options={"gtol": 1e-10}
    )
    np.testing.assert_allclose(found.theta, peer.x, atol=1e-7)
    assert np.linalg.norm(jax.grad(objective)(found.theta)) <= 1e-9


def test_bregman_is_a_kl_divergence():
    rng = np.random.default_rng(0)
    data = Dataset(rng.standard_normal((5, 2)), [0, 1, 2, 1, 0])
    problem = Problem(LogisticRegression(), data, delete=0, loss=CrossEntropyLoss())
    a, b = jnp.asarray(rng.standard_normal((2, problem.dim)))
    p = scipy.special.softmax(np.asarray(problem.predict(a)), axis=1)
    q = scipy.special.softmax(np.asarray(problem.predict(b)), axis=1)
    np.testing.assert_allclose(bregman(problem, a, b), scipy.special.rel_entr(q, p).sum(axis=1), rtol=1e-10)
    assert np.abs(bregman(problem, a, b) - bregman(problem, b, a)).max() > 1e-2
    case = problems.random_ols()
    np.testing.assert_allclose(
        bregman(case.problem, case.theta0, np.zeros(3)), 0.5 * (case.x @ case.theta0) ** 2, rtol=1e-12
    )


def test_damping_interpolates():
    problem = problems.logistic()
    theta = optimum(problem).theta
    far = response(problem, theta, damping=1e6).theta
    assert np.linalg.norm(far - theta) < 1e-6
    near = response(problem, theta, damping=1e-9).theta
    assert relative(near, leave_one_out(problem).theta) < 1e-6


def test_refusals():
    problem = problems.logistic()
    theta = optimum(problem).theta
    for damping in (0.0, -1.0):
        with pytest.raises(RequestError, match="damping must be > 0"):
            pbrf(problem, theta, damping=damping)
    with pytest.raises(RequestError, match="damping must be ≥ 0"):
        response(problem, theta, damping=-1.0)
    with pytest.raises(RequestError, match="1/n"):
        pbrf(problem, theta, damping=0.1, epsilon=1.0)
    with pytest.raises(RequestError, match="theta_s"):
        pbrf(problem, theta[:2], damping=0.1)
    with pytest.raises(RequestError, match="theta must be given"):
        response(problems.teacher_student())
