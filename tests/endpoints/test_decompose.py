"""The five gaps: each endpoint its own function's, the triangle inequality, and intervals over seeds and points."""

import numpy as np
import problems
import pytest

from homotopy import Constant, RequestError, simulate
from homotopy.endpoints import (
    Arnoldi,
    Cholesky,
    LiSSA,
    align,
    decompose_error,
    decompose_errors,
    leave_one_out,
    optimum,
    pbrf,
    pbrf_linearised,
    response,
)


def test_the_chain_is_made_of_the_named_endpoints():
    problem = problems.teacher_student(ridge=0.01)
    theta0 = problem.initial(0)
    theta_s = simulate(problem, Constant(1.0), theta0, t1=2.0, ts=[2.0]).theta1
    found = decompose_error(problem, theta0, damping=0.1, t1=2.0, solver=LiSSA(steps=3))
    chain = [
        leave_one_out(problem, theta0=theta0).theta,
        leave_one_out(problem, start="warm", theta=theta_s).theta,
        response(problem, theta_s, damping=0.1).theta,
        pbrf(problem, theta_s, damping=0.1).theta,
        pbrf_linearised(problem, theta_s, damping=0.1).theta,
        pbrf_linearised(problem, theta_s, damping=0.1, solver=LiSSA(steps=3)).theta,
    ]
    np.testing.assert_allclose(found.thetas, np.stack(chain), atol=1e-7)
    gaps = [np.linalg.norm(a - b) for a, b in zip(chain[1:], chain[:-1], strict=True)]
    np.testing.assert_allclose(found.parameters, gaps, atol=1e-7)
    outputs = [np.asarray(problem.predict(theta)) for theta in chain]
    gaps = [np.sqrt(np.mean((a - b) ** 2)) for a, b in zip(outputs[1:], outputs[:-1], strict=True)]
    np.testing.assert_allclose(found.outputs, gaps, atol=1e-7)
    assert found.total_parameters <= found.parameters.sum()
    assert found.total_outputs <= found.outputs.sum()
    assert (found.gradient_norms[:4] < 1e-8).all()
    np.testing.assert_array_equal(found.converged, [True] * 5 + [False])  # three steps of LiSSA are not enough
    exact = decompose_error(problem, theta0, damping=0.1, theta_s=theta_s, solver=Cholesky())
    assert exact.outputs[4] < 1e-14
    assert exact.converged.all()


def test_least_squares_has_two_gaps_only():
    """From θ*: no warm-start gap (one minimum) and no non-convergence gap (θˢ is stationary)."""
    case = problems.random_ols(n=12)
    found = decompose_error(
        case.problem, case.theta0, damping=0.05, theta_s=optimum(case.problem).theta, solver=Arnoldi(rank=1)
    )
    assert found.outputs[0] < 1e-13
    assert found.outputs[2] < 1e-13
    assert (found.outputs[np.array([1, 3, 4])] > 1e-6).all()


def test_many_runs_and_their_intervals():
    problem = problems.logistic()
    found = decompose_errors(
        problem, delete=[[0, 1], [2, 3], [4, 5]], seeds=[0, 1], damping=0.1, t1=3.0, retrain_t1=20.0
    )
    assert found.outputs.shape == (2, 3, 5)
    np.testing.assert_allclose(found.shares().sum(axis=-1), 1.0)
    mean, low, high = found.interval()
    np.testing.assert_allclose(mean, np.asarray(found.outputs).mean(axis=(0, 1)))
    assert (low <= mean + 1e-15).all()
    assert (mean <= high + 1e-15).all()
    wide = found.interval(level=0.99)
    assert (wide[1] <= low).all()
    assert "runs" in str(found) or "decomposition" in str(found)


def test_alignment_undoes_permutations_and_flips():
    problem = problems.teacher_student()
    theta = np.asarray(problem.initial(0))
    w, b, out, bias = theta[:3], theta[3:6], theta[6:9], theta[9:]
    order, sign = [2, 0, 1], np.array([1.0, -1.0, -1.0])
    moved = np.concatenate([(sign * w)[order], (sign * b)[order], (sign * out)[order], bias])
    np.testing.assert_allclose(problem.predict(moved), problem.predict(theta), atol=1e-14)
    np.testing.assert_allclose(align(problem, moved, theta), theta, atol=1e-15)
    with pytest.raises(RequestError, match="one hidden layer"):
        align(problems.vector_network(), np.zeros(problems.vector_network().dim), np.zeros(1))


def test_refusals():
    problem = problems.logistic()
    with pytest.raises(RequestError, match="either theta_s"):
        decompose_error(problem, np.zeros(3), damping=0.1)
    with pytest.raises(RequestError, match="damping must be > 0"):
        decompose_error(problem, np.zeros(3), damping=0.0, theta_s=np.zeros(3))
    with pytest.raises(RequestError, match="at least one"):
        decompose_errors(problem, delete=[], seeds=[0], damping=0.1, t1=1.0)
