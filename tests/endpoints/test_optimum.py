"""`optimum`, `leave_one_out`: closed forms, an independent minimiser, the flow's limit, and clear refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import problems
import pytest
import scipy.optimize

from homotopy import (
    MLP,
    Constant,
    CrossEntropyLoss,
    Dataset,
    LogisticRegression,
    Problem,
    RequestError,
    WorkError,
    simulate,
)
from homotopy.endpoints import influence, leave_one_out, leave_one_out_all, newton_estimate, optimum


@pytest.mark.parametrize("name", problems.LINEAR)
def test_linear_regression_is_the_limit_of_the_flow(name):
    case = problems.LINEAR[name]()
    for epsilon in (1.0, 0.3, 0.0):
        found = optimum(case.problem, epsilon, start=case.theta0)
        np.testing.assert_allclose(found.theta, case.limit(epsilon), rtol=1e-10, atol=1e-11)
        assert found.converged
        assert bool(found.isolated) == (np.linalg.matrix_rank(case.hessian(epsilon)) == len(case.theta0))


def test_singular_endpoints_depend_on_the_start():
    case = problems.rank_deficient()
    cold = leave_one_out(case.problem, theta0=case.theta0)
    warm = leave_one_out(case.problem, start="warm", theta0=case.theta0)
    np.testing.assert_allclose(warm.theta, case.limit(0.0, case.limit(1.0)), atol=1e-10)
    assert np.linalg.norm(warm.theta - cold.theta) > 0.1
    assert np.linalg.norm(optimum(case.problem, 0.0).theta - cold.theta) > 0.1  # from 0: the least-norm solution


@pytest.mark.parametrize("make", [problems.logistic, problems.softmax])
@pytest.mark.parametrize("epsilon", [1.0, 0.0])
def test_classification_equals_scipy(make, epsilon):
    problem = make()
    risk = jax.jit(lambda theta: problem.risk(theta, epsilon))
    hessian, gradient = jax.jit(jax.hessian(risk)), jax.jit(jax.grad(risk))
    peer = scipy.optimize.minimize(
        risk, np.zeros(problem.dim), jac=gradient, hess=hessian, method="trust-exact", options={"gtol": 1e-11}
    )
    found = optimum(problem, epsilon)
    np.testing.assert_allclose(found.theta, peer.x, atol=1e-8)
    assert found.gradient_norm <= 1e-12
    assert found.smallest_eigenvalue == pytest.approx(np.linalg.eigvalsh(hessian(found.theta))[0], rel=1e-9)


def test_weights_per_deleted_point():
    problem = problems.logistic()
    found = optimum(problem, [0.2, 0.9])
    gradient = jax.grad(problem.weighted_risk)(found.theta, problem.weights(jnp.array([0.2, 0.9])))
    assert np.linalg.norm(gradient) <= 1e-12


def test_network_is_the_limit_of_its_flow():
    problem = problems.teacher_student(ridge=0.01)
    theta0 = problem.initial(0)
    found = leave_one_out(problem, theta0=theta0)
    assert found.converged
    assert found.smallest_eigenvalue > 0
    late = simulate(problem, Constant(0.0), theta0, t1=1e4, ts=[1e4], rtol=1e-6, atol=1e-8).theta1
    np.testing.assert_allclose(found.theta, late, atol=1e-4)
    assert np.linalg.norm(problem.gradient(found.theta, 0.0)) <= 1e-9
    warm = leave_one_out(problem, start="warm", theta0=theta0)
    assert warm.converged
    assert "warm" in warm.kind


def test_it_can_be_batched():
    problem = problems.logistic()
    thetas = jax.vmap(lambda j: optimum(problem.deleting(j[None]), 0.0).theta)(jnp.arange(4))
    np.testing.assert_allclose(thetas[3], leave_one_out(problem.deleting(3)).theta, atol=1e-10)


def test_many_rows_of_several_estimates_do_not_wait_for_each_other():
    # Batched factorisations in one program once did, for ever (_factorise.py).
    problem = problems.random_ols().problem

    def estimates(j):
        here = problem.deleting(j[None])
        return optimum(here).theta, influence(here).theta_dot, newton_estimate(here).theta, optimum(here, 0.0).theta

    rows = jnp.resize(jnp.arange(problem.n), 200)
    *_, step, left = jax.jit(jax.vmap(estimates))(rows)
    np.testing.assert_allclose(step, left, rtol=1e-9)
    np.testing.assert_allclose(left[: problem.n], leave_one_out_all(problem), rtol=1e-9)


def test_a_flow_into_a_saddle_is_no_endpoint():
    # θ₀ = 0 is symmetric: only the output bias ever moves, and its equilibrium is a saddle of the others.
    problem = problems.teacher_student()
    found = optimum(problem, start=np.zeros(problem.dim), throw=False)
    assert not found.converged
    with pytest.raises(WorkError, match=r"saddle|Newton step|settle"):
        optimum(problem, start=np.zeros(problem.dim))


@pytest.mark.parametrize("loss", [None, CrossEntropyLoss()])
def test_separable_classes_have_no_minimiser(loss):
    x = np.array([[-2.0, 1], [-1, 1], [-0.5, 1], [0.7, 1], [1, 1], [3, 1]])
    data = Dataset(x, [0, 0, 0, 1, 1, 1])
    problem = Problem(LogisticRegression(), data, delete=0, loss=loss)
    with pytest.raises(WorkError, match="separable"):
        optimum(problem)
    ridged = Problem(LogisticRegression(), data, delete=0, loss=loss, ridge=0.1)
    assert optimum(ridged).converged


def test_touching_classes_are_separable_too():
    # x = 0 carries both labels, everything else is separated: quasi-complete separation.
    data = Dataset(np.array([[-2.0], [-1], [0], [0], [1], [2]]), [0, 0, 0, 1, 1, 1])
    with pytest.raises(WorkError, match="separable"):
        optimum(Problem(LogisticRegression(), data, delete=0))


def test_refusals():
    network = problems.teacher_student()
    with pytest.raises(RequestError, match="needs a start"):
        optimum(network)
    with pytest.raises(RequestError, match="needs a start"):
        leave_one_out(network)
    linear = problems.random_ols().problem
    for epsilon in (-0.1, 1.5, [0.5, 0.5]):
        with pytest.raises(RequestError, match="epsilon"):
            optimum(linear, epsilon)
    with pytest.raises(RequestError, match="closed-form"):
        optimum(network, start=network.initial(0), method="closed-form")
    with pytest.raises(RequestError, match="method must be"):
        optimum(linear, method="magic")
    with pytest.raises(RequestError, match="cold"):
        leave_one_out(linear, start="hot")
    with pytest.raises(RequestError, match="theta="):
        leave_one_out(linear, theta=np.zeros(3))
    wide = Problem(MLP(width=2000), problems.random_ols().problem.data, delete=0)
    with pytest.raises(RequestError, match="dense"):
        optimum(wide, start=wide.initial(0))


def test_emptying_a_class_is_refused():
    data = Dataset(np.random.default_rng(0).standard_normal((6, 1)), [0, 1, 0, 1, 1, 1])
    problem = Problem(LogisticRegression(), data, delete=[0, 2])
    with pytest.raises(RequestError, match="empties class 0"):
        leave_one_out(problem)


def test_the_report_prints_its_proof():
    text = str(optimum(problems.random_ols().problem))
    assert "converged" in text
    assert "λ_min" in text
