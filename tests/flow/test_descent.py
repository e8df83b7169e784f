"""Gradient descent on the flow's clock: exact counts of steps, and the flow as the step shrinks."""

import jax
import jax.numpy as jnp
import numpy as np
import problems
import pytest

from homotopy import BangBang, Constant, LinearDecay, RequestError, Step, WorkError, simulate
from homotopy.attribution import RefitUtility, descend
from homotopy.flow import StepWeights, descent
from homotopy.unlearning import retrain, rewind_to_delete


def by_hand(linear, epsilons, step):
    """The iterates for one ε per step."""
    iterates = [linear.theta0]
    for epsilon in epsilons:
        gradient = linear.hessian(epsilon) @ iterates[-1] - linear.drive(epsilon)
        iterates.append(iterates[-1] - step * gradient)
    return np.array(iterates)


@pytest.mark.parametrize("step", [0.1, 0.01, 1 / 30])
def test_a_step_schedule_trains_whole_steps(step):
    """`Step(mη)` means m steps on everything, however mη = 0.1 + 0.1 + 0.1 = 0.30000000000000004 was rounded."""
    linear = problems.random_ols()
    for m in (0, 1, 3, 7):
        for switch in (m * step, sum([step] * m), m * step * (1 + 1e-15)):
            run = simulate(
                linear.problem, Step(switch), linear.theta0, t1=10 * step, ts=step * np.arange(11),
                method="descent", step=step,
            )  # fmt: skip
            expected = by_hand(linear, [1.0] * m + [0.0] * (10 - m), step)
            np.testing.assert_allclose(run.thetas, expected, rtol=0, atol=1e-13)
            np.testing.assert_allclose(run.theta1, expected[-1], rtol=0, atol=1e-13)
            assert run.stats["steps"] == 10


def test_saved_times_between_steps_take_the_iterate_before():
    linear = problems.random_ols()
    ts = [0.0, 0.05, 0.1, 0.19, 0.35, 0.35]
    run = simulate(linear.problem, BangBang([]), linear.theta0, t1=0.36, ts=ts, method="descent", step=0.1)
    expected = by_hand(linear, [1.0] * 3, 0.1)
    np.testing.assert_allclose(run.thetas, expected[[0, 0, 1, 1, 3, 3]], atol=1e-14)
    assert run.stats["steps"] == 3


def test_a_decaying_weight_is_taken_at_the_start_of_each_step():
    linear = problems.random_ols()
    run = simulate(linear.problem, LinearDecay(0.2, 0.8), linear.theta0, t1=1.0, ts=[1.0], method="descent", step=0.1)
    t = 0.1 * np.arange(10)
    expected = by_hand(linear, np.where(t <= 0.2, 1.0, np.clip((0.8 - t) / 0.6, 0.0, 1.0)), 0.1)
    np.testing.assert_allclose(run.theta1, expected[-1], atol=1e-14)


def test_descent_becomes_the_flow_at_first_order():
    linear = problems.random_ols()
    flow = simulate(linear.problem, Step(0.5), linear.theta0, t1=1.0, ts=[1.0]).theta1
    errors = []
    for step in (1 / 100, 1 / 200, 1 / 400):
        run = simulate(linear.problem, Step(0.5), linear.theta0, t1=1.0, ts=[1.0], method="descent", step=step)
        errors.append(np.abs(run.theta1 - flow).max())
    np.testing.assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), 1.0, atol=0.1)


def test_too_long_a_step():
    linear = problems.random_ols()
    options = {"t1": 5000.0, "ts": [0.0], "method": "descent"}
    largest = 2 / np.linalg.eigvalsh(linear.hessian()).max()
    fine = simulate(linear.problem, Step(5000.0), linear.theta0, step=0.99 * largest, **options)
    np.testing.assert_allclose(fine.theta1, linear.limit(1.0), atol=1e-6)
    with pytest.raises(WorkError, match=r"is too large; it must be below 2/λ_max"):
        simulate(linear.problem, Step(5000.0), linear.theta0, step=1.3 * largest, **options)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "method='descent' needs step=η"),
        ({"step": 0.0}, "step must be one number > 0, but is 0.0"),
        ({"step": 2.0}, "step must not exceed t1 = 1, but is 2"),
        ({"step": 0.1, "dense": True}, "drop dense=True"),
        ({"step": 0.1, "solver": "tsit5"}, "uses no ODE solver, so solver= would be ignored"),
        ({"step": 0.1, "max_steps": 7}, "drop max_steps"),
        ({"step": 0.1, "t1": np.inf, "ts": [1.0]}, "t1 must be finite here"),
    ],
)
def test_bad_requests(options, says):
    linear = problems.random_ols()
    with pytest.raises(RequestError) as error:
        simulate(linear.problem, Step(0.5), linear.theta0, method="descent", **{"t1": 1.0, **options})
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_every_training_loop_is_the_same_descent():
    """ε ≡ 0 from θ₀, asked for in five ways; and with noise, batches and a ball, step by step."""
    problem = problems.teacher_student(n=6, width=1)
    theta0, step, steps = problem.initial(0), 0.01, 7
    ways = [
        simulate(problem, Constant(0.0), theta0, t1=step * steps, method="descent", step=step).theta1,
        retrain(problem, theta0, step=step, steps=steps).theta,
        descend(problem, theta0, step=step, steps=steps, point_weights=problem.weights(0.0)).thetas[-1],
        rewind_to_delete(problem, theta0, step=step, train_steps=steps, rewind_steps=steps).theta,
        RefitUtility(problem, problem.data, theta0=theta0, step=step, steps=steps).fit(problem.weights(0.0)[None] > 0)[
            0
        ],
    ]
    theta = np.asarray(theta0)
    for _ in range(steps):
        theta = theta - step * np.asarray(problem.gradient(theta, 0.0))
    for way in ways:
        np.testing.assert_allclose(way, theta, rtol=1e-12)
    rows, keys = jnp.array([[0, 3], [5, 5], [1, 2]]), jax.random.split(jax.random.key(1), 3)
    weights = StepWeights(jnp.arange(18.0).reshape(3, 6) / 10)
    last, every = descent(
        problem, theta0, weights, jnp.asarray(step), jnp.arange(3), batches=rows, radius=jnp.asarray(0.9),
        noise=jnp.asarray(0.1), keys=keys, save=True,
    )  # fmt: skip
    theta = np.asarray(theta0)
    for k in range(3):
        w = np.zeros(6)
        np.add.at(w, np.asarray(rows[k]), 3.0 * np.asarray(weights.values[k, rows[k]]))  # n/b = 3
        theta = theta - step * np.asarray(jax.grad(problem.weighted_risk)(theta, w))
        theta = theta + 0.1 * np.asarray(jax.random.normal(keys[k], theta.shape))
        theta = theta * min(1.0, 0.9 / np.linalg.norm(theta))
        np.testing.assert_allclose(every[k], theta, rtol=1e-12)
    np.testing.assert_allclose(last, theta, rtol=1e-12)
