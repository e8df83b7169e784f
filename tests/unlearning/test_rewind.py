"""D2D and R2D: against loops in NumPy, against their bounds, coupled with retraining, refused where they make no sense."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from homotopy import (
    Constant,
    Dataset,
    LinearRegression,
    LogisticRegression,
    Problem,
    RequestError,
    Step,
    WorkError,
    coupled_descent,
    coupled_sensitivity,
    delete_in_sequence,
    descend_to_delete,
    estimate_constants,
    langevin,
    leave_one_out,
    mini_batches,
    optimal_schedule,
    optimum,
    rewind,
    rewind_to_delete,
    rewind_to_delete_sensitivity,
    simulate,
)
from tests.problems import logistic, random_ols, scalar, teacher_student


def loop(problem, theta, epsilons, step, batches=None, radius=None):
    """The same descent in a NumPy loop, with the gradients of linear regression written out."""
    x, y, rho = (np.asarray(a) for a in (problem.data.x, problem.data.y, problem.ridge))
    gone = np.asarray(problem.delete)
    theta = np.array(theta)
    for k, epsilon in enumerate(epsilons):
        rows = np.arange(len(x)) if batches is None else np.asarray(batches[k])
        w = np.where(np.isin(rows, gone), epsilon, 1.0)
        theta = theta - step * (len(x) / len(rows) * x[rows].T @ (w * (x[rows] @ theta - y[rows])) + rho * theta)
        if radius is not None and np.linalg.norm(theta) > radius:
            theta = theta * radius / np.linalg.norm(theta)
    return theta


@pytest.mark.parametrize("radius", [None, 1.2])
@pytest.mark.parametrize("batch_size", [None, 3])
def test_runs_are_those_of_a_plain_loop(batch_size, radius):
    instance = random_ols(ridge=0.2, delete=(2, 5))
    problem, theta0, step = instance.problem, 0.3 * instance.theta0, 0.02
    batches = None if batch_size is None else mini_batches(7, problem.n, 12, batch_size)
    options = {
        "method": "descent" if batch_size is None else "sgd",
        "batch_size": batch_size,
        "radius": radius,
        "key": 7,
    }
    rewound = rewind_to_delete(problem, theta0, step=step, train_steps=12, rewind_steps=5, **options)
    expected = loop(problem, theta0, [1] * 7 + [0] * 5, step, batches, radius)
    np.testing.assert_allclose(rewound.theta, expected, rtol=1e-12)
    np.testing.assert_allclose(rewound.trained, loop(problem, theta0, [1] * 12, step, batches, radius), rtol=1e-12)
    descended = descend_to_delete(problem, theta0, step=step, train_steps=7, unlearn_steps=5, **options)
    np.testing.assert_allclose(descended.theta, expected, rtol=1e-12)
    assert descended.gradient_evaluations == pytest.approx(5 if batch_size is None else 5 * 3 / 8)
    assert not np.allclose(descended.theta, loop(problem, theta0, [1] * 6 + [0] * 6, step, batches, radius), rtol=1e-6)


def test_the_algorithms_are_their_schedules():
    instance = random_ols()
    problem, theta0, step = instance.problem, instance.theta0, 0.02
    rewound = rewind_to_delete(problem, theta0, step=step, train_steps=20, rewind_steps=8, method="flow")
    np.testing.assert_allclose(rewound.theta, instance.bang_bang([0.24], 0.4), rtol=1e-9)
    assert isinstance(rewound.schedule, Step)
    np.testing.assert_allclose(
        simulate(problem, rewound.schedule, theta0, t1=rewound.t1).theta1, rewound.theta, rtol=1e-9
    )
    descended = descend_to_delete(problem, theta0, step=step, train_steps=20, unlearn_steps=8)
    np.testing.assert_allclose(
        simulate(problem, descended.schedule, theta0, t1=descended.t1, method="descent", step=step).theta1,
        descended.theta, rtol=1e-12,
    )  # fmt: skip
    assert "ε(t)" in str(descended)


def test_rewinding_everything_is_retraining_to_the_last_bit():
    for problem, theta0 in (
        (random_ols().problem, random_ols().theta0),
        (teacher_student(), teacher_student().initial(1)),
    ):
        rewound = rewind_to_delete(problem, theta0, step=0.01, train_steps=15, rewind_steps=15)
        never = simulate(problem, Constant(0.0), theta0, t1=0.15, method="descent", step=0.01).theta1
        np.testing.assert_allclose(rewound.theta, never, rtol=1e-13, atol=1e-14)
        nothing = rewind_to_delete(problem, theta0, step=0.01, train_steps=15, rewind_steps=0)
        np.testing.assert_array_equal(nothing.theta, nothing.trained)


def _regime(name, seed):
    """A problem of a regime with constants that hold on a ball, and its step on the sum."""
    rng = np.random.default_rng([seed, 3])
    n, d = 20, 3 if name != "convex" else 30
    x = rng.standard_normal((n, d)) / np.sqrt(d)
    if name == "logistic":
        y = (x[:, 0] + 0.3 * rng.standard_normal(n) > 0).astype(int)
        problem = Problem(LogisticRegression(), Dataset(x, y), delete=[1, 4], ridge=0.5)
    else:
        problem = Problem(LinearRegression(), Dataset(x, rng.standard_normal(n)), delete=[1, 4])
    known = estimate_constants(problem, radius=1.0)
    return problem, known, 0.4 * rng.standard_normal(d) / np.sqrt(d), 0.9 / (problem.n * known.smoothness)


@pytest.mark.parametrize("name", ["linear", "logistic", "convex"])
def test_rewind_stays_within_its_bound_for_every_k(name):
    train, tight = 30, 0.0
    for seed in range(20):
        problem, known, theta0, step = _regime(name, seed)
        epsilons = np.tril(np.ones((train + 1, train)), -1)  # row r: r steps on everything, so K = train − r
        ends = np.asarray(
            coupled_descent(problem, theta0[None], np.array([[1, 4]]), epsilons, step=step, radius=1.0)[0, 0]
        )
        for steps_on, end in enumerate(ends):
            bound = rewind_to_delete_sensitivity(
                problem.n, 2, known.lipschitz, known.smoothness, problem.n * step, train, train - steps_on,
                0.0 if name == "convex" else known.strong_convexity,
            )  # fmt: skip
            distance = np.linalg.norm(end - ends[0])
            assert distance <= bound * (1 + 1e-12) + 1e-15
            tight = max(tight, distance / bound if bound else 0.0)
    assert tight > 1e-3  # a bound that could be violated


def test_rewind_of_a_network_stays_within_the_measured_bound():
    for seed in range(20):
        problem = teacher_student()
        theta0, step, train = problem.initial(seed), 0.005, 20
        epsilons = np.tril(np.ones((train + 1, train)), -1)
        ends = np.asarray(coupled_descent(problem, theta0[None], np.array([[4]]), epsilons, step=step)[0, 0])
        known = estimate_constants(problem, thetas=np.vstack([ends, theta0]))
        for steps_on, end in enumerate(ends):
            bound = rewind_to_delete_sensitivity(
                problem.n, 1, known.lipschitz, known.smoothness, problem.n * step, train, train - steps_on
            )
            assert np.linalg.norm(end - ends[0]) <= bound * (1 + 1e-12)


def test_coupled_sgd_stays_within_the_bound_of_its_own_batches():
    problem, _, theta0, _ = _regime("logistic", 0)
    known = estimate_constants(problem, per_point=True)
    step, train = 1.0 / (problem.n * known.smoothness), 25
    seeds = 30
    batches = jnp.stack([mini_batches(seed, problem.n, train, 4) for seed in range(seeds)])
    epsilons = np.stack([np.r_[np.ones(15), np.zeros(10)], np.zeros(train)])
    ends = np.asarray(
        coupled_descent(problem, jnp.tile(theta0, (seeds, 1)), np.array([[1, 4]]), epsilons, step=step, batches=batches)
    )[:, 0]
    bounds = [coupled_sensitivity(problem, rows, known, step=step, rewind_steps=10) for rows in batches]
    apart = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1)
    assert (apart <= np.array(bounds) * (1 + 1e-12)).all()
    whole = rewind_to_delete_sensitivity(
        problem.n, 2, known.lipschitz, known.smoothness, problem.n * step, train, 10, known.strong_convexity
    )
    assert np.mean(bounds) <= whole
    # coupling is what makes it small: with other mini-batches the runs are far apart
    strangers = np.linalg.norm(np.roll(ends[:, 1], 1, axis=0) - ends[:, 1], axis=1)
    assert np.median(strangers) > 3 * np.median(apart)


def test_descent_contracts_by_its_rate_on_every_strongly_convex_problem():
    for seed in range(10):
        for name in ("linear", "logistic"):
            problem, _, theta0, _ = _regime(name, seed)
            if name == "linear":
                problem = Problem(problem.model, problem.data, delete=[1, 4], ridge=0.3)
            known = estimate_constants(problem)
            goal = leave_one_out(problem).theta
            answer = descend_to_delete(problem, theta0, train_steps=30, unlearn_steps=10)
            rate = (known.smoothness - known.strong_convexity) / (known.smoothness + known.strong_convexity)
            before, after = (float(jnp.linalg.norm(theta - goal)) for theta in (answer.trained, answer.theta))
            assert after <= rate**10 * before * (1 + 1e-9)
            if math.isfinite(answer.distance_bound):
                assert after <= answer.distance_bound
    assert rate**10 < 0.99


def test_at_interpolation_descent_stalls_and_rewinding_does_not():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((8, 20))
    problem = Problem(LinearRegression(), Dataset(x, rng.standard_normal(8)), delete=3)
    theta0, step = np.zeros(20), 0.02
    goal = leave_one_out(problem, theta0=theta0).theta
    stalled = descend_to_delete(problem, theta0, step=step, train_steps=2000, unlearn_steps=500)
    moved = rewind_to_delete(problem, theta0, step=step, train_steps=2500, rewind_steps=2499)
    assert np.linalg.norm(stalled.theta - stalled.trained) < 1e-6
    assert np.linalg.norm(stalled.theta - goal) > 0.1
    assert np.linalg.norm(moved.theta - goal) < 0.1 * np.linalg.norm(stalled.theta - goal)


# Guarantees ---------------------------------------------------------------------------------------------------------

BUDGET = {"privacy_epsilon": 1.0, "privacy_delta": 1e-5}


def test_a_guarantee_holds_only_where_its_assumptions_do():
    problem = logistic()
    theta0 = np.zeros(problem.dim)
    good = descend_to_delete(problem, theta0, train_steps=400, unlearn_steps=60, publications=400, **BUDGET)
    assert good.guarantee.holds
    assert "(1, 1e-05)-unlearning" in str(good)
    draws = jnp.stack([good.publish(key) for key in range(400)])
    assert float(jnp.std(draws - good.theta[None, :])) == pytest.approx(good.guarantee.sigma, rel=0.1)
    brief = descend_to_delete(problem, theta0, train_steps=1, unlearn_steps=400, **BUDGET)
    assert not brief.guarantee.holds
    assert "trained too briefly" in str(brief)
    assert "-unlearning with noise" not in str(brief)
    with pytest.raises(RequestError, match="no guarantee"):
        brief.publish(0)
    with pytest.raises(RequestError, match="privacy_epsilon"):
        descend_to_delete(problem, theta0, train_steps=4, unlearn_steps=6).publish(0)
    rewound = rewind_to_delete(problem, theta0, train_steps=40, rewind_steps=30, **BUDGET)
    assert rewound.guarantee.holds
    assert rewound.guarantee.sensitivity == rewound.distance_bound
    noisy = descend_to_delete(problem, theta0, train_steps=40, unlearn_steps=6, method="sgd", batch_size=4, **BUDGET)
    assert "mini-batches" in str(noisy.guarantee)
    linear = random_ols(ridge=0.3)
    unbounded = rewind_to_delete(linear.problem, linear.theta0, train_steps=10, rewind_steps=5, **BUDGET)
    assert "no Lipschitz constant" in str(unbounded.guarantee)
    bounded = rewind_to_delete(linear.problem, linear.theta0, train_steps=10, rewind_steps=5, radius=9.0, **BUDGET)
    assert bounded.guarantee.holds
    known = estimate_constants(problem, thetas=theta0)
    measured = rewind_to_delete(problem, theta0, train_steps=40, rewind_steps=30, constants=known, **BUDGET)
    assert not measured.guarantee.holds
    assert "measured" in str(measured.guarantee)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rewind_steps": 11}, "train_steps"),
        ({"step": 1e3}, "2/"),
        ({"radius": 1e-3}, "exclude the start"),
        ({"privacy_epsilon": 1.0}, "both or neither"),
        ({"privacy_epsilon": 0.0, "privacy_delta": 1e-5}, "privacy_epsilon"),
        ({"method": "sgd"}, "batch_size"),
        ({"batch_size": 3}, "batch_size"),
        ({"method": "flow", "radius": 50.0}, "radius"),
        ({"method": "magic"}, "method"),
        ({"checkpoint": np.zeros(3), "trained": np.zeros(3)}, "only one"),
        ({"trained": np.zeros(3), "radius": 50.0}, "going back"),
    ],
)
def test_requests_that_make_no_sense_are_refused(options, message):
    instance = random_ols(ridge=0.1)
    with pytest.raises(RequestError, match=message):
        rewind_to_delete(instance.problem, instance.theta0, **{"train_steps": 10, "rewind_steps": 5, **options})


def test_a_network_needs_a_step_and_a_diverging_run_says_so():
    problem = teacher_student()
    with pytest.raises(RequestError, match="step must be given"):
        descend_to_delete(problem, problem.initial(0), train_steps=5, unlearn_steps=5)
    with pytest.raises(WorkError, match="too large"):
        descend_to_delete(problem, problem.initial(0), step=50.0, train_steps=600, unlearn_steps=600)


def test_constants_of_another_run_are_refused():
    x, y = np.ones((40, 1)), 3 * np.ones(40)
    x[0], y[0] = 10.0, 0.0
    problem = Problem(LinearRegression(), Dataset(x, y), delete=0)
    small = estimate_constants(problem, radius=1e-3)
    start = np.zeros(1)
    for options in ({"method": "flow"}, {"method": "descent"}, {"radius": 1.0}):
        with pytest.raises(RequestError, match="which the run may leave"):
            rewind_to_delete(problem, start, train_steps=10, rewind_steps=1, constants=small, **options)
    with pytest.raises(RequestError, match="which the run may leave"):
        langevin(problem, start, train_steps=10, unlearn_steps=1, temperature=0.1, constants=small)
    with pytest.raises(RequestError, match="which the run may leave"):
        delete_in_sequence(problem, start, [0], train_steps=10, unlearn_steps=1, constants=small)
    inside = rewind_to_delete(problem, start, train_steps=10, rewind_steps=1, radius=1e-3, constants=small, **BUDGET)
    assert inside.guarantee.holds
    whole, single = estimate_constants(problem, radius=5.0), estimate_constants(problem, radius=5.0, per_point=True)
    sgd = {"method": "sgd", "batch_size": 2, "radius": 5.0, "train_steps": 10, "rewind_steps": 5}
    with pytest.raises(RequestError, match="mini-batches"):
        rewind_to_delete(problem, start, constants=whole, **sgd, **BUDGET)
    with pytest.raises(RequestError, match="mini-batch"):
        coupled_sensitivity(problem, mini_batches(0, 40, 10, 2), whole, step=1e-3, rewind_steps=5)
    assert rewind_to_delete(problem, start, constants=single, **sgd, **BUDGET).guarantee.holds


def test_a_step_that_does_not_contract_has_no_bound():
    problem = logistic()
    theta0, known = np.zeros(problem.dim), estimate_constants(problem)
    measured = estimate_constants(problem, thetas=theta0)
    cases = [(known, 2.0), (measured, 2.0), (measured, 2.1)]
    for constants, factor in cases:
        step = factor / (problem.n * known.smoothness)
        answer = descend_to_delete(
            problem, theta0, step=step, train_steps=20, unlearn_steps=3, constants=constants, **BUDGET
        )
        assert math.isinf(answer.distance_bound)
        assert "distance to" not in str(answer)
        assert not answer.guarantee.holds
        found = delete_in_sequence(
            problem, theta0, [0, 1], step=step, train_steps=20, unlearn_steps=3, constants=constants
        )
        assert np.isinf(found.bounds).all()


def test_a_bound_says_what_it_is_of():
    problem = logistic()
    theta0 = np.zeros(problem.dim)
    ball = descend_to_delete(problem, theta0, train_steps=30, unlearn_steps=3, radius=0.05)
    assert "optimum without the points on the ball ‖θ‖ ≤ 0.05" in str(ball)
    free = descend_to_delete(problem, theta0, train_steps=30, unlearn_steps=3)
    assert "ball" not in str(free)
    network = teacher_student()
    start = network.initial(0)
    measured = rewind_to_delete(
        network, start, step=0.005, train_steps=20, rewind_steps=5, constants=estimate_constants(network, thetas=start)
    )
    assert math.isfinite(measured.distance_bound)
    assert "measured constants, no bound" in str(measured)
    assert "at most" not in str(measured)
    assert "measured" not in str(rewind_to_delete(problem, theta0, train_steps=20, rewind_steps=5))


def test_the_retrained_model_must_have_come_as_far_as_the_trained_one():
    """From the optimum of all points one step is enough for θ_T; retraining from there in one step is not."""
    problem = logistic()
    options = {"train_steps": 1, "unlearn_steps": 60, **BUDGET}
    started = descend_to_delete(problem, optimum(problem).theta, **options)
    assert not started.guarantee.holds
    assert "retrained" in str(started.guarantee)


# Without a checkpoint -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["descent", "flow"])
def test_going_back_finds_the_checkpoint(method):
    instance = random_ols(ridge=0.1)
    network = teacher_student()
    cases = [(instance.problem, instance.theta0, 0.01), (network, network.initial(2), 0.002)]
    for problem, theta0, step in cases if method == "descent" else cases[1:]:
        stored = rewind_to_delete(problem, theta0, step=step, train_steps=40, rewind_steps=20, method=method)
        found = rewind_to_delete(
            problem, theta0, step=step, train_steps=40, rewind_steps=20, method=method, trained=stored.trained
        )
        np.testing.assert_allclose(found.start, stored.start, atol=1e-6)
        np.testing.assert_allclose(found.theta, stored.theta, atol=1e-6)
        assert "reliable" in found.notes[0]
        assert found.gradient_evaluations > stored.gradient_evaluations


def test_going_back_too_far_is_reported_or_refused():
    instance = random_ols()
    problem = instance.problem
    top = np.linalg.eigvalsh(instance.hessian())[-1]
    goal = optimum(problem).theta
    with pytest.raises(RequestError, match="invert gradient descent"):
        rewind(problem, goal, step=1.01 / top, steps=3)
    far = rewind(problem, goal, step=0.5 / top, steps=200)
    assert not far.reliable
    assert "NOT reliable" in str(far)
    late = rewind_to_delete(
        logistic(),
        np.zeros(3),
        step=0.1,
        train_steps=4000,
        rewind_steps=3000,
        trained=optimum(logistic()).theta,
        **BUDGET,
    )
    assert not late.guarantee.holds
    assert "going backwards" in str(late.guarantee)
    none = rewind(problem, goal, step=0.1 / top, steps=0)
    np.testing.assert_array_equal(none.theta, goal)


def test_the_error_of_going_back_is_part_of_the_bound():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((20, 3))
    problem = Problem(LogisticRegression(), Dataset(x, (x[:, 0] > 0).astype(float)), delete=0, ridge=0.1)
    theta0, step, train = np.zeros(3), 0.03, 60
    retrained = rewind_to_delete(problem, theta0, step=step, train_steps=train, rewind_steps=train)
    rounded = np.asarray(retrained.trained).astype(np.float32)
    assert (
        rewind(problem, rounded, step=step, steps=5).error
        > 1e6 * rewind(problem, retrained.trained, step=step, steps=5).error
    )
    options = {"step": step, "train_steps": train, **BUDGET}
    for trained in (rounded, rounded.astype(float)):
        everything = rewind_to_delete(problem, theta0, rewind_steps=train, trained=trained, **options)
        assert everything.guarantee.holds
        assert everything.distance_bound == 0.0
        np.testing.assert_array_equal(everything.theta, retrained.theta)
        found = rewind_to_delete(problem, theta0, rewind_steps=train - 1, trained=trained, **options)
        stored = rewind_to_delete(problem, theta0, rewind_steps=train - 1, **options)
        assert found.distance_bound > stored.distance_bound
        assert np.linalg.norm(found.theta - retrained.theta) <= found.distance_bound


# Sequences, and the best schedule -----------------------------------------------------------------------------------


def test_deletions_in_sequence_are_single_deletions_strung_together():
    instance = random_ols(n=10, ridge=0.2)
    problem, theta0, step = instance.problem, 0.2 * instance.theta0, 0.02
    points = [3, 7, 1]
    found = delete_in_sequence(problem, theta0, points, step=step, train_steps=9, unlearn_steps=4, radius=5.0)
    theta = loop(problem, theta0, [1] * 9, step)
    for request in range(3):
        theta = loop(problem.deleting(points[: request + 1]), theta, [0] * 4, step)
        np.testing.assert_allclose(found.thetas[request], theta, rtol=1e-11)
        exact = optimum(problem.deleting(points[: request + 1]), 0.0).theta
        assert np.linalg.norm(theta - exact) <= found.bounds[request]
    back = delete_in_sequence(
        problem, theta0, points, step=step, train_steps=9, unlearn_steps=4, algorithm="rewind", radius=5.0
    )
    for request in range(3):
        expected = loop(problem.deleting(points[: request + 1]), theta0, [1] * 5 + [0] * 4, step)
        np.testing.assert_allclose(back.thetas[request], expected, rtol=1e-11)
    assert back.bounds[2] == pytest.approx(3 * back.bounds[0])
    assert not back.retrained.any()
    forced = delete_in_sequence(
        problem, theta0, points, step=step, train_steps=9, unlearn_steps=4, algorithm="rewind", radius=5.0,
        sensitivity=1.5 * back.bounds[0],
    )  # fmt: skip
    np.testing.assert_array_equal(forced.retrained, [False, True, False])
    np.testing.assert_allclose(forced.thetas[1], loop(problem.deleting(points[:2]), theta0, [0] * 9, step), rtol=1e-11)
    twice = loop(problem.deleting(points), loop(problem.deleting(points[:2]), theta0, [0] * 5, step), [0] * 4, step)
    np.testing.assert_allclose(forced.thetas[2], twice, rtol=1e-11)


@pytest.mark.parametrize(
    ("points", "options", "message"),
    [
        ([1, 1], {}, "repeat"),
        (range(8), {}, "leave at least one"),
        ([1, 9], {}, "delete must lie"),
        ([1], {"sensitivity": 1.0}, "descend would ignore"),
        ([1], {"algorithm": "rewind", "radius": 9.0, "sensitivity": 1e-9}, "allow one deletion"),
        ([1], {"algorithm": "rewind", "unlearn_steps": 10}, "rewind_steps"),
    ],
)
def test_sequences_that_make_no_sense_are_refused(points, options, message):
    instance = random_ols(ridge=0.1)
    with pytest.raises(RequestError, match=message):
        delete_in_sequence(
            instance.problem,
            instance.theta0,
            list(points),
            **{"train_steps": 9, "unlearn_steps": 4, "step": 0.01, **options},
        )


def test_the_best_schedule_is_at_least_as_good_as_both():
    problem, theta0 = scalar().problem, scalar().theta0
    for start in ("trained", "checkpoint"):
        best = optimal_schedule(problem, theta0, step=0.05, train_steps=30, unlearn_steps=25, origin=start)
        plain = simulate(problem, Step(best.unlearn_from), theta0, t1=best.t1).theta1
        assert abs(float(best.theta[0]) - 1.0) <= abs(float(plain[0]) - 1.0) + 1e-12
    assert abs(float(best.theta[0]) - 1.0) < 1e-9  # from the checkpoint ½ ln 3 is still to come: reached exactly
    assert "certificate" in str(best)
    nowhere = optimal_schedule(problem, [1.0], step=0.05, train_steps=1, unlearn_steps=1, origin="checkpoint")
    assert "the target is reached; certificate reached" in nowhere.notes[0]  # θ₀ is θ*₋: E = 0, and 0/0 is no gain


@pytest.mark.parametrize("options", [{"goal": "outputs"}, {"goal": "risk"}, {"goal": "time"}, {"switch_price": 0.1}])
def test_the_best_schedule_is_one_in_distance(options):
    with pytest.raises(RequestError, match=next(iter(options))):
        optimal_schedule(scalar().problem, scalar().theta0, step=0.05, train_steps=30, unlearn_steps=25, **options)


def test_coupled_descent_refuses_what_does_not_fit():
    problem, theta0 = scalar().problem, scalar().theta0
    with pytest.raises(RequestError, match="delete must lie"):
        coupled_descent(problem, theta0[None], np.array([[5]]), np.ones((1, 3)), step=0.1)
    with pytest.raises(RequestError, match="batches"):
        coupled_descent(
            problem, theta0[None], np.array([[0]]), np.ones((1, 3)), step=0.1, batches=mini_batches(0, 2, 4, 1)[None]
        )
    with pytest.raises(RequestError, match="exclude the start"):
        coupled_descent(problem, theta0[None] + 2.0, np.array([[0]]), np.ones((1, 3)), step=0.1, radius=1.0)
