"""The Diffrax engine: against the exact one, against SciPy where ε(t) is not constant, and when it fails."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import problems
import pytest
from scipy.integrate import solve_ivp

from homotopy import (
    BangBang,
    Constant,
    LinearDecay,
    NeuralSchedule,
    PiecewiseConstant,
    PolynomialDecay,
    Step,
    WorkError,
    simulate,
)

TS = np.array([0.0, 0.25, 0.4, 1.0, 2.0])


@pytest.fixture(scope="module")
def linear():
    return problems.random_ols()


@pytest.mark.parametrize("solver", ["tsit5", "rodas5p"])
def test_errors_follow_the_tolerance(linear, solver):
    schedule = BangBang([0.4, 0.9])
    exact = simulate(linear.problem, schedule, linear.theta0, t1=2.0, ts=TS)
    errors = []
    for rtol in (1e-4, 1e-6, 1e-8, 1e-10):
        run = simulate(
            linear.problem, schedule, linear.theta0, t1=2.0, ts=TS,
            method="diffrax", solver=solver, rtol=rtol, atol=1e-2 * rtol,
        )  # fmt: skip
        assert (run.method, run.solver) == ("diffrax", solver)
        errors.append(np.abs(run.thetas - exact.thetas).max())
        assert errors[-1] <= 10 * rtol * np.abs(exact.thetas).max()
        np.testing.assert_allclose(run.thetas[-1], run.theta1, rtol=0, atol=1e-14)
        np.testing.assert_array_equal(run.epsilons, [1, 1, 1, 1, 1])
    assert (np.diff(errors) < 0).all()


@pytest.mark.parametrize("solver", ["dopri8", "kvaerno5"])
def test_the_other_solvers_by_name(linear, solver):
    schedule = BangBang([0.4, 0.9])
    run = simulate(linear.problem, schedule, linear.theta0, t1=2.0, ts=TS, solver=solver, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(run.thetas, [linear.bang_bang([0.4, 0.9], t) for t in TS], rtol=0, atol=1e-3)


def test_a_solver_object_is_taken(linear):
    run = simulate(linear.problem, BangBang([0.4, 0.9]), linear.theta0, t1=2.0, ts=TS, solver=diffrax.Tsit5())
    assert (run.method, run.solver) == ("diffrax", "tsit5")
    np.testing.assert_allclose(run.theta1, linear.bang_bang([0.4, 0.9], 2.0), rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("schedule", "solver"),
    [
        (LinearDecay(0.3, 1.1), "tsit5"),
        (LinearDecay(0.3, 1.1), "rodas5p"),
        (PolynomialDecay(0.3, 1.1, 0.5), "rodas5p"),
        (NeuralSchedule(0.3, 1.1, width=3, key=1), "tsit5"),
    ],
    ids=["linear", "linear stiff", "root", "neural"],
)
def test_schedules_that_are_not_constant(linear, schedule, solver):
    """Against SciPy with the matrices of the problem, one solve per arc; notes 0.14 has no closed form."""
    run = simulate(linear.problem, schedule, linear.theta0, t1=2.0, ts=TS, method="diffrax", solver=solver, rtol=1e-9)
    epsilon = eqx.filter_jit(lambda k, t: schedule.piece(k, t))
    rest, both = linear.hessian(0.0), linear.hessian(1.0)
    b_rest, b_both = linear.drive(0.0), linear.drive(1.0)
    theta, expected = linear.theta0, {0.0: linear.theta0}
    for k, (start, end) in enumerate([(0.0, 0.3), (0.3, 1.1), (1.1, 2.0)]):

        def velocity(t, y, k=k):
            e = float(epsilon(jnp.asarray(k), jnp.asarray(t)))
            return (1 - e) * (b_rest - rest @ y) + e * (b_both - both @ y)

        solution = solve_ivp(velocity, (start, end), theta, rtol=1e-9, atol=1e-11, dense_output=True)
        expected |= {t: solution.sol(t) for t in TS if start < t <= end}
        theta = solution.y[:, -1]
    np.testing.assert_allclose(run.thetas, [expected[t] for t in TS], rtol=0, atol=3e-8)


def test_a_narrow_pulse_is_not_stepped_over(linear):
    """A pulse of 10⁻⁶ moves θ by 10⁻⁶ and some; an adaptive solve across the switches would not see it at all."""
    pulse, none = BangBang([1.0, 1.0 + 1e-6], first=0), BangBang([1.0, 1.0], first=0)
    moved = {}
    for method in ("exact", "diffrax"):
        ends = [
            simulate(linear.problem, schedule, linear.theta0, t1=2.0, ts=TS, method=method).theta1
            for schedule in (pulse, none)
        ]
        moved[method] = ends[0] - ends[1]
    assert np.abs(moved["exact"]).max() > 1e-8
    np.testing.assert_allclose(moved["diffrax"], moved["exact"], rtol=1e-3, atol=1e-11)


def test_derivatives_by_switch_times_and_start(linear):
    """Reverse mode, through one solve per arc (Diffrax's adjoint has no forward mode); also under vmap, where rows that
    have arrived wait for the others."""
    v = np.array([1.0, -2.0, 0.5])

    def goal(x, method):
        schedule, theta0 = BangBang(x[:2]), linear.theta0 + x[2]
        return simulate(linear.problem, schedule, theta0, t1=2.0, ts=[2.0], method=method).theta1 @ v

    x = np.array([[0.4, 0.9, 0.0], [0.1, 1.9, 1.0], [0.7, 0.7001, -1.0]])
    steps = 1e-6 * np.eye(3)
    exact = jax.jit(lambda x: goal(x, "exact"))
    numeric = [[(exact(row + e) - exact(row - e)) / 2e-6 for e in steps] for row in x]
    gradients = jax.jit(jax.vmap(jax.grad(lambda x: goal(x, "diffrax"))))(x)
    np.testing.assert_allclose(gradients, numeric, rtol=1e-6, atol=1e-7)
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jacfwd(lambda x: goal(x, "diffrax"))(x[0])


def test_risk_falls_at_constant_weight_and_dense_output_agrees():
    problem = problems.teacher_student()
    ts = np.linspace(0.0, 3.0, 13)
    run = simulate(problem, Constant(0.4), problem.initial(1) + 0.5, t1=3.0, ts=ts, dense=True)
    risks = np.asarray(eqx.filter_jit(jax.vmap(lambda theta: problem.risk(theta, 0.4)))(run.thetas))
    assert (np.diff(risks) < 0).all()
    np.testing.assert_allclose(run.evaluate(ts), run.thetas, rtol=0, atol=1e-12)
    # dθ/dt of the dense output is the velocity
    inside = 0.5 * (ts[1:] + ts[:-1])
    slopes = (run.evaluate(inside + 1e-5) - run.evaluate(inside - 1e-5)) / 2e-5
    velocities = eqx.filter_jit(jax.vmap(lambda theta: -problem.gradient(theta, 0.4)))(run.evaluate(inside))
    np.testing.assert_allclose(slopes, velocities, rtol=0, atol=1e-4)


def test_dense_output_across_arcs(linear):
    schedule = BangBang([0.0, 0.4, 0.4, 0.9, 5.0])
    run = simulate(linear.problem, schedule, linear.theta0, t1=2.0, ts=[2.0], method="diffrax", dense=True)
    for t in (0.0, 0.2, 0.4, 0.65, 0.9, 1.7, 2.0):
        expected = simulate(linear.problem, schedule, linear.theta0, t1=2.0, ts=[t]).thetas[0]
        np.testing.assert_allclose(run.evaluate(t), expected, rtol=0, atol=1e-7)
    assert run.evaluate([[0.1], [0.2]]).shape == (2, 1, 3)


def test_stiffness_picks_the_solver(linear):
    for t1, solver in ((10.0, "tsit5"), (1e5, "rodas5p")):
        run = simulate(linear.problem, LinearDecay(0.0, 1.0), linear.theta0, t1=t1, ts=t1 * TS / 2)
        assert (run.method, run.solver) == ("diffrax", solver)
        assert run.stats["accepted_steps"] < 300
    np.testing.assert_allclose(run.theta1, linear.limit(0.0), atol=1e-7)


def test_too_few_steps(linear):
    with pytest.raises(WorkError) as error:
        simulate(linear.problem, Step(0.5), linear.theta0, t1=2.0, ts=TS, method="diffrax", max_steps=3)
    assert "max_steps = 3" in str(error.value)
    assert "try solver='rodas5p', a looser rtol, a shorter t1 or a larger max_steps" in str(error.value)
    assert "\n" not in str(error.value)


def test_failures_inside_a_trace(linear):
    """The result code says it, what was not reached is inf, and the other rows of the batch survive."""

    @eqx.filter_jit
    @eqx.filter_vmap
    def job(level):
        schedule = PiecewiseConstant([0.5], jnp.stack([jnp.asarray(1.0), level]))
        return simulate(linear.problem, schedule, linear.theta0, t1=300.0, ts=[0.0, 0.5, 300.0], method="diffrax")

    run = job(jnp.asarray([0.0, -20.0]))
    assert (run.result == diffrax.RESULTS.successful).tolist() == [True, False]
    np.testing.assert_allclose(run.theta1[0], linear.limit(0.0), atol=1e-7)
    assert jnp.isinf(run.theta1[1]).all()
    assert jnp.isinf(run.thetas[1, 2]).all()
    np.testing.assert_allclose(run.thetas[1, :2], run.thetas[0, :2], rtol=0, atol=1e-7)
