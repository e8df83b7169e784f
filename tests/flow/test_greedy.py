"""Greedy ε(t, θ), against an event-driven integration by SciPy, on a path that slides and on one that does not."""

import jax
import jax.numpy as jnp
import numpy as np
import problems
import pytest
from scipy.integrate import solve_ivp

from homotopy import Greedy, LinearRegression, Problem, datasets, simulate

T1 = 3.0
TS = np.linspace(0.0, T1, 31)


def instance(delete=3, seed=0):
    """Two parameters, target θ*₋; deleting point 3 slides."""
    data = datasets.random_linear()
    theta0 = np.asarray(Problem(LinearRegression(), data, delete=delete).initial(seed))
    return problems.Linear(np.asarray(data.x), np.asarray(data.y), (delete,), theta0)


def by_scipy(linear, target, t1):
    """The closed loop, mode by mode; returns θ at `TS`, the times of the switches and the time spent sliding."""
    x, y = linear.x[linear.delete[0]], linear.y[linear.delete[0]]
    hessians, drives = [linear.hessian(e) for e in (0.0, 1.0)], [linear.drive(e) for e in (0.0, 1.0)]
    velocities = [lambda theta, k=k: drives[k] - hessians[k] @ theta for k in (0, 1)]

    def gain(theta):
        return (y - x @ theta) * (x @ (target - theta))

    def rates(theta):
        normal = -x * (x @ (target - theta)) - (y - x @ theta) * x
        return normal @ velocities[0](theta), normal @ velocities[1](theta)

    def sliding(theta):
        r0, r1 = rates(theta)
        share = r0 / (r0 - r1)
        return (1 - share) * velocities[0](theta) + share * velocities[1](theta)

    theta, start, switches, slid = linear.theta0, 0.0, [], 0.0
    saved = np.full((len(TS), len(theta)), np.nan)
    mode = 1 if gain(theta) > 0 else 0
    while start < t1:
        field = (*velocities, sliding)[mode]

        def event(t, theta, mode=mode):
            r0, r1 = rates(theta)
            return min(r0, -r1) if mode == 2 else (2 * mode - 1) * gain(theta)

        event.terminal, event.direction = True, -1
        run = solve_ivp(
            lambda t, theta, field=field: field(theta), (start, t1), theta,
            events=event, rtol=1e-10, atol=1e-12, dense_output=True, max_step=0.02,
        )  # fmt: skip
        within = (start <= TS) & (run.t[-1] >= TS)
        saved[within] = run.sol(TS[within]).T
        slid += (run.t[-1] - start) * (mode == 2)
        theta, start = run.y[:, -1], run.t[-1]
        if run.status != 1:
            break
        switches.append(start)
        r0, r1 = rates(theta)
        mode = 2 if r1 < 0 < r0 and mode != 2 else (0 if r0 <= -r1 else 1) if mode == 2 else 1 - mode
    return saved, switches, slid


@pytest.mark.parametrize(("delete", "slides"), [(3, True), (0, None)])
def test_against_scipy(delete, slides):
    linear = instance(delete)
    target = linear.limit(0.0)
    run = simulate(linear.problem, Greedy(target), linear.theta0, t1=T1, ts=TS, solver="tsit5", rtol=1e-9, atol=1e-11)
    expected, switches, slid = by_scipy(linear, target, T1)
    np.testing.assert_allclose(run.thetas, expected, rtol=0, atol=1e-6)
    assert run.stats["switches"] == len(switches)
    np.testing.assert_allclose(run.stats["sliding_time"], slid, rtol=0, atol=1e-5)
    if slides:
        assert slid > 0.1


def test_sliding_stays_on_the_surface():
    """On the surface the equivalent weight keeps ⟨−∇ℓ_J, θ̂ − θ⟩ = 0, and lies strictly between 0 and 1."""
    linear = instance()
    greedy = Greedy(linear.limit(0.0))
    run = simulate(linear.problem, greedy, linear.theta0, t1=T1, ts=TS, solver="tsit5", rtol=1e-9, atol=1e-11)
    between = np.asarray((run.epsilons > 0) & (run.epsilons < 1))
    assert between.any()
    gains = np.asarray(jax.jit(jax.vmap(lambda theta: greedy.gain(theta, linear.problem)))(run.thetas))
    assert np.abs(gains[between]).max() < 1e-7
    assert (gains[np.asarray(run.epsilons) == 1] > -1e-7).all()
    assert (gains[np.asarray(run.epsilons) == 0] < 1e-7).all()


def test_greedy_moves_towards_the_target_at_least_as_fast_as_either_weight():
    """At every saved instant, ⟨θ̇, θ̂ − θ⟩ is the larger of the two, or the same for all on the surface."""
    linear = instance()
    target = linear.limit(0.0)
    run = simulate(linear.problem, Greedy(target), linear.theta0, t1=T1, ts=TS, solver="tsit5", rtol=1e-9, atol=1e-11)
    for theta, epsilon in zip(np.asarray(run.thetas), np.asarray(run.epsilons), strict=True):
        speeds = [(linear.drive(e) - linear.hessian(e) @ theta) @ (target - theta) for e in (0.0, 1.0, epsilon)]
        assert speeds[2] >= max(speeds[:2]) - 1e-7


def test_a_model_that_is_not_linear():
    problem, theta0 = problems.logistic(), np.array([1.0, -1.0, 0.5])
    greedy = Greedy([0.3, 0.2, -0.4])
    run = simulate(problem, greedy, theta0, t1=T1, ts=TS, solver="tsit5")
    gains = np.asarray(jax.jit(jax.vmap(lambda theta: greedy.gain(theta, problem)))(run.thetas))
    epsilons = np.asarray(run.epsilons)
    assert (gains[epsilons == 1] > -1e-7).all()
    assert (gains[epsilons == 0] < 1e-7).all()
    assert run.stats["switches"] >= 1
    assert run.epsilons[0] == greedy(0.0, jnp.asarray(theta0), problem)


def test_long_after_arrival():
    """At the target the gain is rounding noise; ε must neither chatter nor stay where the gain has left it behind."""
    linear = instance()
    target = linear.limit(0.0)
    for start in (linear.theta0, target):
        run = simulate(linear.problem, Greedy(target), start, t1=200.0, ts=[200.0], solver="rodas5p")
        np.testing.assert_allclose(run.theta1, target, rtol=0, atol=1e-9)
        assert run.stats["switches"] < 5
