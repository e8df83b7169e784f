"""Influence along a trajectory against training again with other weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import random_ols

from homotopy import (
    MLP,
    Constant,
    Dataset,
    PiecewiseConstant,
    Problem,
    RequestError,
    Step,
    WorkError,
    datasets,
    sensitivity,
    simulate,
)
from homotopy.attribution import (
    descend,
    flow_influence_kernel,
    grad_dot,
    sgd_influence,
    source_influence,
    tracin,
)

H = 1e-4


def network():
    problem = Problem(MLP(width=2), datasets.teacher_student(n=6, width=2), delete=1)
    return problem, problem.initial(0)


def queries_of(problem):
    return Dataset(problem.data.x[:2] + 0.1, problem.data.y[:2])


def query_losses(problem, theta, queries):
    return jax.vmap(problem.loss.value)(problem.predict(theta, queries.x), queries.y)


def test_the_kernel_is_the_derivative_of_training_with_other_weights():
    problem, theta0 = network()
    queries, t1 = queries_of(problem), 4.0
    ts = np.array([0.0, 1.0, 2.5, t1])
    found = flow_influence_kernel(problem, theta0, t1=t1, ts=ts, queries=queries)

    def trained(j, start, delta):
        # Weight 1 + δ for point j from `start` on: central differences of real training runs.
        here = problem.deleting(j)
        schedule = PiecewiseConstant([start], [1.0, 1.0 + delta], unrestricted=True)
        run = simulate(here, schedule, theta0, t1=t1, ts=[t1], method="diffrax", rtol=1e-12, atol=1e-13)
        return np.asarray(query_losses(problem, run.theta1, queries))

    for j in (0, 3):
        for index, start in enumerate(ts[:-1]):
            slope = (trained(j, start, H) - trained(j, start, -H)) / (2 * H)
            np.testing.assert_allclose(-found.removal[:, index, j], slope, rtol=1e-5)
            assert not np.allclose(-found.removal[:, index, j - 1], slope, rtol=1e-2)
    # The kernel is minus the derivative of what comes later.
    fine = flow_influence_kernel(problem, theta0, t1=t1, ts=np.array([1.0, 1.0 + 1e-4, 2.0, 3.0]), queries=queries)
    slope = (fine.removal[:, 1] - fine.removal[:, 0]) / 1e-4
    np.testing.assert_allclose(slope, 0.5 * (fine.kernel[:, 0] + fine.kernel[:, 1]), rtol=1e-4, atol=1e-8)
    assert "6 points on 2 queries" in str(found)


def test_the_kernel_of_theta_is_the_forward_sensitivity():
    problem, theta0 = network()
    found = flow_influence_kernel(problem, theta0, t1=4.0, ts=np.array([0.0, 1.0, 2.0, 4.0]))
    forward = sensitivity(problem, Constant(1.0), theta0, t1=4.0, ts=[4.0])
    np.testing.assert_allclose(-found.removal[:, 0, 1], forward.sensitivities[0], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found.removal[:, -1], 0.0, atol=1e-15)


def test_a_schedule_with_a_jump_and_a_stiff_solver():
    case = random_ols()
    problem, t1, tau = case.problem, 2.0, 0.7
    found = flow_influence_kernel(
        problem, case.theta0, t1=t1, ts=np.array([0.3, 1.5]), schedule=Step(tau), solver="rodas5p"
    )
    import scipy.linalg

    before, after = case.hessian(1.0), case.hessian(0.0)
    for row, t in enumerate((0.3, 1.5)):
        late = scipy.linalg.expm(-after * (t1 - max(t, tau)))
        early = scipy.linalg.expm(-before * max(tau - t, 0.0))
        theta = case.flow(1.0, t) if t <= tau else case.flow(0.0, t - tau, case.flow(1.0, tau))
        gradients = case.x * (case.x @ theta - case.y)[:, None]
        expected = -(late @ early) @ gradients.T
        np.testing.assert_allclose(found.kernel[:, row], expected, rtol=1e-6, atol=1e-8)


def test_at_the_end_of_a_long_training_it_is_the_influence_function():
    case = random_ols()
    inverse, theta = np.linalg.inv(case.hessian()), case.limit(1.0)
    gradients = case.x * (case.x @ theta - case.y)[:, None]
    t1 = 60.0 / np.linalg.eigvalsh(case.hessian())[0]
    found = flow_influence_kernel(
        case.problem,
        case.theta0,
        t1=t1,
        ts=np.array([0.0, t1]),
        schedule=Step(2 * t1),
        queries=gradients[:3],
        solver="rodas5p",
    )
    np.testing.assert_allclose(found.removal[:, 0], gradients[:3] @ inverse @ gradients.T, rtol=1e-5, atol=1e-8)


def test_sgd_influence_is_the_derivative_of_descent():
    problem, theta0 = network()
    queries = queries_of(problem)
    options = {"step": 0.02, "steps": 30, "batch_size": 2, "seed": 4}
    run = descend(problem, theta0, **options)
    assert run.weights.sum(axis=1) == pytest.approx(6.0)
    found = sgd_influence(problem, run, queries)
    for j in range(2):
        ends = []
        for h in (H, -H):
            again = descend(problem, theta0, **options, point_weights=np.ones(6) + h * np.eye(6)[j])
            ends.append(query_losses(problem, again.thetas[-1], queries))
        np.testing.assert_allclose(-found[:, j], (ends[0] - ends[1]) / (2 * H), rtol=1e-5, atol=1e-9)
    whole = sgd_influence(problem, run)
    gradients = jax.vmap(jax.grad(lambda t, x, y: problem.loss.value(problem.predict(t, x[None])[0], y)), (None, 0, 0))(
        run.thetas[-1], queries.x, queries.y
    )
    np.testing.assert_allclose(gradients @ whole, found, atol=1e-12)


def test_small_steps_make_sgd_influence_the_flow_kernel_and_source_converges_to_it():
    problem, theta0 = network()
    queries = queries_of(problem)
    exact = np.asarray(
        flow_influence_kernel(problem, theta0, t1=2.0, ts=[0.0, 0.5, 1.0, 2.0], queries=queries).removal[:, 0]
    )
    run = descend(problem, theta0, step=1e-3, steps=2000)
    np.testing.assert_allclose(sgd_influence(problem, run, queries), exact, rtol=5e-3, atol=1e-5)
    errors = []
    for segments in (1, 50):
        source = source_influence(
            problem, run.thetas[::20], run.times[::20], queries, segments=segments, hessian="exact"
        )
        errors.append(np.abs(source - exact).max() / np.abs(exact).max())
    assert errors[1] < 5e-3 < errors[0]


def test_tracin_and_grad_dot_are_sums_of_products_of_gradients():
    case = random_ols()
    problem = case.problem
    thetas = np.stack([case.theta0, case.flow(1.0, 0.2)])
    queries = Dataset(case.x[:3] * 2.0, case.y[:3])
    expected = np.zeros((3, 8))
    for theta, scale in zip(thetas, (0.1, 0.3), strict=True):
        mine = case.x * (case.x @ theta - case.y)[:, None]
        theirs = 2 * case.x[:3] * (2 * case.x[:3] @ theta - case.y[:3])[:, None]
        expected += scale * theirs @ mine.T
    np.testing.assert_allclose(tracin(problem, thetas, [0.1, 0.3], queries), expected, atol=1e-12)
    single = grad_dot(problem, thetas[1], queries, scale=0.3)
    np.testing.assert_allclose(single, tracin(problem, thetas[1:], 0.3, queries), atol=1e-14)
    # Descent on the whole data for a very short time: TracIn is exact.
    run = descend(problem, case.theta0, step=1e-7, steps=3)
    np.testing.assert_allclose(
        tracin(problem, run.thetas[:-1], 1e-7, queries), sgd_influence(problem, run, queries), rtol=1e-4
    )


def test_descent_that_diverges_says_so():
    case = random_ols()
    with pytest.raises(WorkError, match="too large"):
        descend(case.problem, case.theta0, step=1e3, steps=300)


@pytest.mark.parametrize(
    ("job", "match"),
    [
        (lambda p, t: descend(p, t, step=0.0, steps=3), "step must be one number > 0"),
        (lambda p, t: descend(p, t, step=0.1, steps=3, batch_size=9), "batch_size"),
        (lambda p, t: flow_influence_kernel(p, t, t1=1.0, ts=[0.0, 2.0]), "but ends at 2"),
        (lambda p, t: tracin(p, np.zeros((2, 5)), 1.0), "thetas must have shape"),
        (lambda p, t: tracin(p, np.zeros((2, 3)), [1.0, 2.0, 3.0]), "scales"),
        (lambda p, t: source_influence(p, np.zeros((2, 3)), [1.0, 0.0]), "ts must increase"),
        (lambda p, t: source_influence(p, np.zeros((2, 3)), [0.0, 1.0], segments=2), "segments"),
        (lambda p, t: source_influence(p, np.zeros((2, 3)), [0.0, 1.0], segments=1, hessian="no"), "hessian"),
    ],
)
def test_bad_requests_are_refused(job, match):
    case = random_ols()
    with pytest.raises(RequestError, match=match):
        job(case.problem, jnp.asarray(case.theta0))
