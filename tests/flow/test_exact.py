"""The exact engine, against SciPy arc by arc, matrix exponentials and the closed forms of mathematics §8."""

import jax
import jax.numpy as jnp
import numpy as np
import problems
import pytest
from scipy.integrate import solve_ivp

from homotopy import BangBang, Constant, PiecewiseConstant, RequestError, Step, WorkError, simulate, surface

SWITCHES = (0.4, 0.9, 1.1)
LEVELS = (0.2, 1.0, 0.0, 0.7)
TS = np.array([0.0, 0.25, 0.4, 1.0, 1.1, 2.0])


def constant(epsilon):
    """Constant ε in three pieces more than it needs, so that most tests share one compiled job per problem."""
    return PiecewiseConstant(SWITCHES, [epsilon] * 4, unrestricted=True)


def by_scipy(linear, times, levels, ts, t1):
    """One tight solve per arc of constant ε."""
    saved, theta = np.empty((len(ts), len(linear.theta0))), linear.theta0
    edges = np.clip([0.0, *times, t1], 0.0, t1)
    for start, end, epsilon in zip(edges[:-1], edges[1:], levels, strict=True):
        if start == end:
            continue
        hessian, drive = linear.hessian(epsilon), linear.drive(epsilon)
        solution = solve_ivp(
            lambda _, y, H=hessian, b=drive: b - H @ y,
            (start, end), theta, method="DOP853", rtol=1e-12, atol=1e-13, dense_output=True,
        )  # fmt: skip
        for row in np.flatnonzero((ts >= start) & (ts <= end)):
            saved[row] = solution.sol(ts[row]) if ts[row] < end else solution.y[:, -1]
        theta = solution.y[:, -1]
    return saved, theta


@pytest.mark.parametrize("name", problems.LINEAR)
def test_against_scipy(name):
    linear = problems.LINEAR[name]()
    run = simulate(linear.problem, PiecewiseConstant(SWITCHES, LEVELS), linear.theta0, t1=2.0, ts=TS)
    thetas, theta1 = by_scipy(linear, SWITCHES, LEVELS, TS, 2.0)
    np.testing.assert_allclose(run.thetas, thetas, rtol=0, atol=1e-10)
    np.testing.assert_allclose(run.theta1, theta1, rtol=0, atol=1e-10)
    assert run.method == "exact"
    assert (run.thetas[0] == linear.theta0).all()
    run = simulate(linear.problem, PiecewiseConstant(SWITCHES, [1, 0, 1, 0]), linear.theta0, t1=2.0, ts=TS)
    expected = [linear.bang_bang(SWITCHES, t) for t in TS]
    np.testing.assert_allclose(run.thetas, expected, rtol=0, atol=1e-13)


def test_the_comparison_can_fail():
    """Notes 0.11 scales the deleted row and its target by ε, which weighs the point by ε²: that must be visible."""
    linear = problems.random_ols()
    right = simulate(linear.problem, constant(0.3), linear.theta0, t1=2.0, ts=TS).thetas
    slip = np.array([linear.flow(0.3**2, t) for t in TS])
    assert np.abs(right - slip).max() > 1e-3
    np.testing.assert_allclose(right, [linear.flow(0.3, t) for t in TS], atol=1e-13)


@pytest.mark.parametrize("name", problems.LINEAR)
def test_infinite_time(name):
    """H⁺b + (I − H⁺H)θ₀: where H is singular the limit keeps that part of where the last arc began."""
    linear = problems.LINEAR[name]()
    ts = np.array([0.0, 0.2, 0.5, 1.0, np.inf, np.inf])
    for epsilon in (0.0, 0.4, 1.0):
        run = simulate(linear.problem, constant(epsilon), linear.theta0, t1=np.inf, ts=ts)
        np.testing.assert_allclose(run.theta1, linear.limit(epsilon), rtol=0, atol=1e-11)
        assert (run.thetas[-1] == run.theta1).all()
    step = PiecewiseConstant([0.5, 0.5, 0.5], [1, 0, 0, 0])
    run = simulate(linear.problem, step, linear.theta0, t1=np.inf, ts=ts)
    np.testing.assert_allclose(run.thetas[-2], linear.limit(0.0, linear.flow(1.0, 0.5)), rtol=0, atol=1e-11)


def test_infinite_time_depends_on_the_start_only_where_singular():
    """Lemma 0.0.1 as it is correct: a unique limit only if H ≻ 0."""
    for make, unique in ((problems.random_ols, True), (problems.identity, False)):
        linear = make()
        limits = [
            simulate(linear.problem, constant(0.0), start, t1=np.inf, ts=TS).theta1
            for start in (linear.theta0, linear.theta0 + 1.0)
        ]
        assert np.allclose(*limits, rtol=0, atol=1e-10) == unique


def test_scalar_closed_form():
    """Mathematics §8.1, with the step at ½ ln 3 that reaches θ*₋ = 1 exactly in finite time."""
    linear = problems.scalar()
    ts = np.linspace(0.0, 3.0, 6)
    for epsilon in (0.0, 0.5, 1.0):
        run = simulate(linear.problem, constant(epsilon), [0.3], t1=3.0, ts=ts)
        decay = np.exp(-(1 + epsilon) * ts)
        expected = decay * 0.3 + (1 - decay) * (2 * epsilon + 1) / (1 + epsilon)
        np.testing.assert_allclose(run.thetas[:, 0], expected, rtol=1e-14)
    run = simulate(linear.problem, Step(0.5 * np.log(3)), [0.0], t1=3.0, ts=ts)
    np.testing.assert_allclose(run.thetas[ts >= 0.5 * np.log(3), 0], 1.0, rtol=1e-15)
    run = simulate(linear.problem, Step(0.0), [0.0], t1=2.0, ts=[2.0])
    np.testing.assert_allclose(0.5 * (run.theta1[0] - 1.0) ** 2, 0.5 * np.exp(-4.0), rtol=1e-13)


@pytest.mark.parametrize(
    ("times", "levels"),
    [
        ((0.0, 0.5, 2.0), (0.5, 1.0, 0.0, 1.0)),  # discontinuities exactly at 0 and at t1
        ((0.5, 0.5, 0.5), (1.0, 0.0, 0.3, 0.0)),  # empty arcs
        ((3.0, 4.0, 5.0), (0.6, 0.0, 1.0, 0.0)),  # all beyond t1
        ((0.5, 0.5 + 1e-12, 1.0), (1.0, 0.0, 1.0, 0.0)),  # an arc of 1e-12
    ],
)
def test_degenerate_arcs(times, levels):
    linear = problems.random_ols()
    thetas, theta1 = by_scipy(linear, times, levels, TS, 2.0)
    for method in ("exact", "diffrax"):
        run = simulate(linear.problem, PiecewiseConstant(times, levels), linear.theta0, t1=2.0, ts=TS, method=method)
        np.testing.assert_allclose(run.thetas, thetas, rtol=0, atol=1e-10 if method == "exact" else 1e-7)
        np.testing.assert_allclose(run.theta1, theta1, rtol=0, atol=1e-10 if method == "exact" else 1e-7)


def test_arcs_that_are_empty_at_infinity():
    """∞ − ∞ must not reach θ: inside a trace a switch may lie at ∞, and at t1 = ∞ its last arc is then empty."""
    linear = problems.random_ols()

    def end(switch):
        return simulate(linear.problem, Step(switch), linear.theta0, t1=np.inf, ts=[np.inf]).theta1

    np.testing.assert_allclose(jax.jit(end)(jnp.inf), linear.limit(1.0), atol=1e-12)


@pytest.mark.parametrize("epsilon", [-0.2, -8.0])
def test_negative_weights(epsilon):
    """Gradient ascent on the deleted point: an indefinite H_ε must grow, not stand still."""
    linear = problems.random_ols()
    run = simulate(linear.problem, constant(epsilon), linear.theta0, t1=2.0, ts=TS)
    expected = np.array([linear.flow(epsilon, t) for t in TS])
    np.testing.assert_allclose(run.thetas, expected, rtol=1e-9, atol=1e-12)
    assert (np.linalg.eigvalsh(linear.hessian(epsilon)).min() < 0) == (epsilon == -8.0)


def test_negative_weight_with_a_singular_hessian():
    """The scalar problem at ε = −1: H = 0 and b = −1, so θ falls on a straight line."""
    linear = problems.scalar()
    run = simulate(linear.problem, constant(-1.0), [0.5], t1=2.0, ts=TS)
    np.testing.assert_allclose(run.thetas[:, 0], 0.5 - TS, rtol=1e-13, atol=1e-14)


def test_divergence_is_an_error_of_the_work():
    linear = problems.random_ols()
    with pytest.raises(WorkError, match="diverges: ε < 0"):
        simulate(linear.problem, constant(-8.0), linear.theta0, t1=np.inf, ts=TS)
    rows = surface(linear.problem, [0.0, -8.0, 1.0], linear.theta0, ts=[1.0, np.inf], unrestricted=True)
    assert list(rows.failures) == [1]
    np.testing.assert_allclose(rows.thetas[[0, 2], 1], [linear.limit(0.0), linear.limit(1.0)], atol=1e-12)


def differences(function, x, step=1e-6):
    return np.array([(function(x + e) - function(x - e)) / (2 * step) for e in step * np.eye(len(x))])


@pytest.mark.parametrize("name", ["isotropic", "rank-deficient", "multi-output"])
def test_derivatives_where_eigenvalues_coincide(name):
    """By switch times, levels, θ₀ and t1, forwards and backwards; the eigenvectors themselves have no derivative."""
    linear = problems.LINEAR[name]()
    problem, v = linear.problem, np.random.default_rng(0).normal(size=len(linear.theta0))
    x = np.array([0.4, 0.9, 0.2, 0.8, 0.5, 1.7, 0.1])

    def goal(x):
        schedule = PiecewiseConstant(x[:2], x[2:5])
        return simulate(problem, schedule, linear.theta0 + x[6], t1=x[5], ts=[0.0]).theta1 @ v

    here = jax.jit(lambda x: (goal(x), jax.grad(goal)(x), jax.jacfwd(goal)(x)))
    numeric = differences(lambda x: here(x)[0], x)
    for derivative in here(x)[1:]:
        np.testing.assert_allclose(derivative, numeric, rtol=1e-6, atol=1e-8)


def test_derivative_of_the_infinite_limit():
    """dθ(∞)/dε = −H_ε⁻¹∇ℓ_J, the influence function, also where other directions are singular."""
    for make in (problems.random_ols, problems.rank_deficient):
        linear = make()

        def limit(epsilon, linear=linear):
            return simulate(linear.problem, Constant(epsilon), linear.theta0, t1=np.inf, ts=[np.inf]).theta1

        slope = jax.jit(jax.jacfwd(limit))(0.6)
        gradient = linear.problem.deleted_gradient(limit(0.6))
        expected = -np.linalg.pinv(linear.hessian(0.6), rcond=1e-11) @ gradient
        np.testing.assert_allclose(slope, expected, rtol=1e-9, atol=1e-11)


def test_second_derivatives_by_switch_time():
    linear = problems.random_ols()

    def goal(switches):
        return jnp.sum(simulate(linear.problem, BangBang(switches), linear.theta0, t1=1.5, ts=[0.0]).theta1 ** 2)

    x = np.array([0.4, 0.9])
    gradient = jax.jit(jax.grad(goal))
    np.testing.assert_allclose(jax.jit(jax.hessian(goal))(x), differences(gradient, x), rtol=1e-6, atol=1e-8)


def test_dense_output_and_surface():
    linear = problems.random_ols()
    run = simulate(linear.problem, BangBang(SWITCHES), linear.theta0, t1=2.0, ts=[2.0], dense=True)
    expected = [linear.bang_bang(SWITCHES, t) for t in TS]
    np.testing.assert_allclose(run.evaluate(TS), expected, atol=1e-13)
    np.testing.assert_allclose(run.evaluate(0.9), linear.bang_bang(SWITCHES, 0.9), atol=1e-13)
    with pytest.raises(RequestError, match=r"t must lie in \[0, t1\] = \[0, 2\], but 2.5 does not"):
        run.evaluate([1.0, 2.5])
    epsilons, ts = [0.7, 0.0, 1.0], [0.0, 1.0, np.inf]
    rows = surface(linear.problem, epsilons, linear.theta0, ts=ts)
    for epsilon, row in zip(epsilons, rows.thetas, strict=True):
        expected = simulate(linear.problem, Constant(epsilon), linear.theta0, t1=np.inf, ts=ts).thetas
        np.testing.assert_allclose(row, expected, atol=1e-14)
