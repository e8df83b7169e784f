"""Influence, Newton and leverage-corrected estimates: mathematics §2–3, finite differences, and tests that can fail."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import problems
import pytest
import scipy.special

from homotopy import Constant, Dataset, LinearRegression, Problem, RequestError, WorkError, sensitivity
from homotopy.endpoints import (
    NotStationaryWarning,
    corrected_influence,
    influence,
    leave_one_out,
    leverage,
    newton_estimate,
    optimum,
)


def relative(a, b):
    return np.linalg.norm(np.asarray(a) - np.asarray(b)) / np.linalg.norm(np.asarray(b))


@pytest.fixture(scope="module")
def ols():
    case = problems.random_ols(n=30, d=4)
    x, y, j = case.x, case.y, case.delete[0]
    theta = case.limit(1.0)
    inverse = np.linalg.inv(case.hessian())
    p, e = x[j] @ inverse @ x[j], y[j] - x[j] @ theta
    return case, theta, inverse @ x[j], p, e


def test_ols_closed_forms(ols):
    case, theta, direction, p, e = ols
    found = influence(case.problem)
    loo = case.limit(0.0)
    # H⁻¹∇ℓ = −H⁻¹x e, so θ̇(1) = +H⁻¹x e, and the relative error of θ* − θ̇(1) is the leverage exactly.
    assert relative(found.theta_dot, direction * e) < 1e-10
    assert np.linalg.norm(found.estimate - loo) / np.linalg.norm(theta - loo) == pytest.approx(p, rel=1e-10)
    # Hayashi: θ* − θ*₋ = H⁻¹x e/(1 − P).
    corrected = corrected_influence(case.problem)
    assert relative(theta - corrected.estimate, theta - loo) < 1e-10
    assert relative(newton_estimate(case.problem).theta - theta, loo - theta) < 1e-10
    assert newton_estimate(case.problem).converged
    # Q = P e²
    assert found.loss_derivative == pytest.approx(-p * e**2, rel=1e-10)


def test_the_comparison_can_fail(ols):
    """Dropping 1/(1 − P) must be seen by the test above."""
    case, theta, direction, p, e = ols
    loo = case.limit(0.0)
    assert relative(direction * e, theta - loo) > 1e-3
    assert relative(direction * e / (1 + p), theta - loo) > 1e-3


def test_theta_dot_at_both_ends(ols):
    case, theta, _, p, _ = ols
    h = p / (1 - p)
    full, deleted = influence(case.problem), influence(case.problem, at="deleted")
    assert relative(deleted.theta_dot, (1 + h) ** 2 * full.theta_dot) < 1e-10
    # (1 + εh)⁻² is not linear in ε: from θ*₋, one step overshoots θ* by the factor 1 + h.
    np.testing.assert_allclose(deleted.estimate - case.limit(0.0), (1 + h) * (theta - case.limit(0.0)), rtol=1e-9)


@pytest.mark.parametrize("name", ["logistic", "softmax"])
@pytest.mark.parametrize("at", ["full", "deleted"])
def test_theta_dot_is_the_derivative_of_the_optimum(name, at):
    problem = problems.NON_LINEAR[name]()
    epsilon, step = (1.0, -1e-3) if at == "full" else (0.0, 1e-3)
    at_step = [optimum(problem, epsilon + k * step).theta for k in range(5)]
    weights = np.array([-25, 48, -36, 16, -3]) / (12 * step)  # one-sided, order 4
    finite = sum(w * np.asarray(theta) for w, theta in zip(weights, at_step, strict=True))
    assert relative(influence(problem, at=at).theta_dot, finite) < 1e-7


def test_theta_dot_of_a_network_is_the_derivative_of_its_optimum():
    problem = problems.teacher_student(ridge=0.01)
    theta = optimum(problem, start=problem.initial(0)).theta
    found = influence(problem, theta=theta)
    step = -1e-4
    thetas = [theta] + [optimum(problem, 1.0 + k * step, start=theta, method="newton").theta for k in (1, 2)]
    finite = (-3 * thetas[0] + 4 * thetas[1] - thetas[2]) / (2 * step)
    assert relative(found.theta_dot, finite) < 1e-4
    losses = [problem.deleted_loss(t) for t in thetas]
    slope = (-3 * losses[0] + 4 * losses[1] - losses[2]) / (2 * step)
    assert found.loss_derivative == pytest.approx(float(slope), rel=1e-4)
    assert found.loss_derivative < 0


def test_envelope():
    """d/dε R_ε(θ(ε)) = ℓ_J(θ(ε))."""
    problem = problems.logistic()
    step = 1e-5
    values = [optimum(problem, 0.5 + s).value for s in (step, -step)]
    expected = problem.deleted_loss(optimum(problem, 0.5).theta)
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(float(expected), rel=1e-8)


def test_groups_add_up_to_first_order_only():
    problem = problems.logistic()
    group = influence(problem)
    parts = [influence(problem.deleting(int(j))).theta_dot for j in problem.delete]
    assert relative(sum(parts), group.theta_dot) < 1e-12
    # Newton's estimate of a group is no sum (Koh et al. 2019).
    theta = group.theta
    together = newton_estimate(problem).theta - theta
    apart = sum(newton_estimate(problem.deleting(int(j))).theta - theta for j in problem.delete)
    assert relative(apart, together) > 1e-3


@pytest.mark.parametrize("name", ["logistic", "softmax"])
def test_corrected_influence_is_newtons_step_for_one_point(name):
    problem = problems.NON_LINEAR[name]().deleting(1)
    newton = newton_estimate(problem).theta
    theta = optimum(problem).theta
    assert relative(corrected_influence(problem).estimate - theta, newton - theta) < 1e-10
    assert relative(influence(problem).estimate - theta, newton - theta) > 1e-2
    if name == "logistic":  # one output: the plain division by 1 − h
        h = leverage(problem)[1]
        np.testing.assert_allclose(
            corrected_influence(problem).theta_dot, influence(problem).theta_dot / (1 - h), rtol=1e-10
        )


def test_logistic_against_numpy():
    """The Newton estimate written out with x, σ and the ridge alone."""
    problem = problems.logistic()
    x, y, theta = np.asarray(problem.data.x), np.asarray(problem.data.y), np.asarray(optimum(problem).theta)
    keep = np.ones(len(x), bool)
    keep[np.asarray(problem.delete)] = False
    p = scipy.special.expit(x @ theta)
    hessian = (x[keep].T * (p * (1 - p))[keep]) @ x[keep] + 0.1 * np.eye(3)
    gradient = x[keep].T @ (p - y)[keep] + 0.1 * theta
    assert relative(newton_estimate(problem).theta, theta - np.linalg.solve(hessian, gradient)) < 1e-12
    full = (x.T * (p * (1 - p))) @ x + 0.1 * np.eye(3)
    slope = x[~keep].T @ (p - y)[~keep]
    assert relative(influence(problem).theta_dot, -np.linalg.solve(full, slope)) < 1e-12


def test_damping_is_in_the_mean_convention():
    problem = problems.vector_network()
    theta = problem.initial(0)
    found = influence(problem, theta=theta, hessian="gauss-newton", damping=0.2)
    n = problem.n
    matrix = np.asarray(problem.gauss_newton(theta)) / n + 0.2 * np.eye(problem.dim)
    slope = np.asarray(problem.deleted_gradient(theta))
    assert relative(found.estimate - theta, np.linalg.solve(matrix, slope) / n) < 1e-10


def test_the_flow_sensitivity_tends_to_it():
    problem = problems.teacher_student(ridge=0.01)
    theta0 = problem.initial(0)
    theta = optimum(problem, start=theta0).theta
    late = sensitivity(problem, Constant(1.0), theta0, t1=1e5, ts=[0.1, 1e5])
    target = influence(problem, theta=theta).theta_dot
    assert relative(late.sensitivities[-1], target) < 1e-5
    assert relative(late.sensitivities[0], target) > 0.1  # early in training it is something else


def test_stationarity_is_asked_for():
    problem = problems.logistic()
    theta = optimum(problem).theta + 0.1
    with pytest.warns(NotStationaryWarning, match="‖∇R‖"):
        influence(problem, theta=theta)
    with pytest.warns(NotStationaryWarning):
        newton_estimate(problem, theta=theta)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        influence(problem, theta=theta, hessian="gauss-newton", damping=0.1)


def test_singular_and_indefinite_curvature_is_named():
    case = problems.rank_deficient()
    with pytest.raises(WorkError, match=r"singular: smallest eigenvalue .* points are left"):
        influence(case.problem)
    with pytest.raises(WorkError, match="singular"):
        newton_estimate(problems.identity().problem)
    network = problems.teacher_student()
    theta = network.initial(3)
    with pytest.warns(NotStationaryWarning), pytest.raises(WorkError, match=r"indefinite.*gauss-newton"):
        influence(network, theta=theta)
    with pytest.raises(RequestError, match="damping"):
        influence(case.problem, damping=-0.1)
    with pytest.raises(RequestError, match="theta must be given"):
        influence(network)
    with pytest.raises(RequestError, match="must be one of full, deleted"):
        influence(case.problem, at="start")
    with pytest.raises(RequestError, match="hessian must be"):
        influence(case.problem, hessian="fisher")


def test_too_few_points_left_for_the_parameters():
    rng = np.random.default_rng(0)
    data = Dataset(rng.standard_normal((6, 4)), rng.standard_normal(6))
    problem = Problem(LinearRegression(), data, delete=[0, 1, 2])
    with pytest.raises(WorkError, match="3 points are left for 4 parameters"):
        newton_estimate(problem)
    with pytest.raises(WorkError, match="3 points are left for 4 parameters"):
        influence(problem, at="deleted")
    assert not leave_one_out(problem).isolated  # the limit of the flow exists all the same, and says so


def test_it_can_be_batched_over_the_deleted_point():
    problem = problems.logistic()
    theta = optimum(problem).theta
    rows = jax.vmap(lambda j: influence(problem.deleting(j[None]), theta=theta).theta_dot)(jnp.arange(3))
    np.testing.assert_allclose(rows[2], influence(problem.deleting(2)).theta_dot, atol=1e-12)


def test_corrected_influence_near_and_at_leverage_one():
    rng = np.random.default_rng(2)
    x, y = np.column_stack([np.ones(10), rng.standard_normal(10)]), rng.standard_normal(10)
    x[3, 1] = 1e6  # 1 − h = 1e-11: e and 1 − h are differences of nearly equal numbers
    without = np.linalg.lstsq(np.delete(x, 3, axis=0), np.delete(y, 3))[0]
    problem = Problem(LinearRegression(), Dataset(x, y), delete=3)
    assert relative(corrected_influence(problem).estimate, without) < 1e-10
    x[:, 1] = np.arange(10) == 3
    with pytest.raises(WorkError, match="point 3 has leverage 1"):
        corrected_influence(Problem(LinearRegression(), Dataset(x, y), delete=[5, 3]))


@pytest.mark.parametrize("job", [influence, corrected_influence])
def test_what_is_refused_outside_a_trace_is_nan_inside(job):
    """A singular Hessian for both, and leverage 1 for the corrected influence: no pseudo-inverse, no 0/0, in silence."""
    x = np.random.default_rng(3).standard_normal((8, 2))
    twice = Problem(LinearRegression(), Dataset(np.c_[x, x[:, 0]], x[:, 1]), delete=1)
    lonely = Problem(LinearRegression(), Dataset(np.c_[np.ones(6), np.eye(6)[5]], np.arange(6.0)), delete=5)
    refused = (twice, lonely) if job is corrected_influence else (twice,)
    for problem in refused:
        with pytest.raises(WorkError):
            job(problem)
        assert np.isnan(jax.jit(lambda problem: job(problem).theta_dot)(problem)).all()
    fine = Problem(LinearRegression(), Dataset(x, x[:, 1] + x[:, 0] ** 2), delete=1)
    inside = jax.vmap(lambda row: job(fine.deleting(row[None])).theta_dot)(np.arange(8))
    np.testing.assert_allclose(inside[1], job(fine).theta_dot, rtol=1e-12)


@pytest.mark.parametrize("solver", ["cg", "gmres"])
def test_a_year_squared_column_does_not_mislead_an_iterative_solver(solver):
    """In the user's units ‖∇‖ is that of one column: a residual of 1e-12 stood beside half of the influence."""
    year = np.arange(1990, 2020.0)
    x, y = np.stack([np.ones(30), year, year**2], axis=1), 0.5 * (year - 2005) ** 2
    y = y + np.random.default_rng(9).standard_normal(30)
    problem = Problem(LinearRegression(), Dataset(x, y), delete=3)
    centred = np.stack([np.ones(30), (year - 2005) / 15, ((year - 2005) / 15) ** 2], axis=1)
    left = y - centred @ np.linalg.lstsq(centred, y, rcond=None)[0]
    exact = centred @ np.linalg.solve(centred.T @ centred, centred[3] * left[3])
    assert relative(x @ influence(problem, solver=solver).theta_dot, exact) < 1e-3


@pytest.mark.parametrize("solver", ["arnoldi", "lissa"])
def test_solvers_in_user_units_refuse_columns_of_other_sizes(solver):
    year = np.linspace(1990.0, 2019.0, 20)
    x = np.column_stack([np.ones(20), year, year**2])
    problem = Problem(LinearRegression(), Dataset(x, 0.5 * (year - 2005) ** 2), delete=3)
    with pytest.raises(RequestError, match="columns of like sizes"):
        influence(problem, solver=solver)
