"""The Diffrax engine: against the exact one, against SciPy where ε(t) is not constant, and when it fails."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import problems
import pytest
from scipy.integrate import solve_ivp

from homotopy import BangBang, Constant, LinearDecay, NeuralSchedule, PolynomialDecay, Step, WorkError, simulate

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
    exact = simulate(linear.problem, BangBang([0.4, 0.9]), linear.theta0, t1=2.0, ts=[2.0])
    run = simulate(
        linear.problem, BangBang([0.4, 0.9]), linear.theta0, t1=2.0, ts=[2.0], solver=solver, rtol=1e-5, atol=1e-7
    )
    np.testing.assert_allclose(run.theta1, exact.theta1, rtol=0, atol=1e-3)


def test_a_solver_object_is_taken(linear):
    run = simulate(linear.problem, Step(0.5), linear.theta0, t1=1.0, ts=[1.0], solver=diffrax.Heun(), rtol=1e-4)
    assert run.solver == "heun"
    np.testing.assert_allclose(run.theta1, linear.bang_bang([0.5], 1.0), atol=1e-3)


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


def test_derivative_by_switch_times(linear):
    """Reverse mode, through one solve per arc (Diffrax's adjoint has no forward mode); also under vmap, where rows that
    have arrived wait for the others."""
    v = np.array([1.0, -2.0, 0.5])

    def goal(switches, method):
        schedule = BangBang(switches)
        return simulate(linear.problem, schedule, linear.theta0, t1=2.0, ts=[2.0], method=method).theta1 @ v

    x = np.array([[0.4, 0.9], [0.1, 1.9], [0.7, 0.7001]])
    steps = 1e-6 * np.eye(2)
    exact = jax.jit(lambda switches: goal(switches, "exact"))
    numeric = [[(exact(row + e) - exact(row - e)) / 2e-6 for e in steps] for row in x]
    gradients = jax.jit(jax.vmap(jax.grad(lambda switches: goal(switches, "diffrax"))))(x)
    np.testing.assert_allclose(gradients, numeric, rtol=1e-6, atol=1e-7)
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jacfwd(lambda switches: goal(switches, "diffrax"))(x[0])


def test_derivative_for_a_network():
    """By switch time and by θ₀, against differences of tight solves."""
    problem = problems.teacher_student()
    start, v = problem.initial(0), jnp.linspace(-1.0, 1.0, 10)

    @jax.jit
    @jax.value_and_grad
    def goal(x):
        theta0 = start + x[1] * v
        return simulate(problem, Step(x[0]), theta0, t1=1.0, ts=[1.0], solver="tsit5", rtol=1e-10).theta1 @ v

    x, steps = jnp.asarray([0.4, 0.1]), 1e-4 * np.eye(2)
    numeric = [(goal(x + e)[0] - goal(x - e)[0]) / 2e-4 for e in steps]
    np.testing.assert_allclose(goal(x)[1], numeric, rtol=1e-5)


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
        run = simulate(linear.problem, LinearDecay(0.0, 1.0), linear.theta0, t1=t1, ts=[t1])
        assert run.solver == solver
        assert run.stats["accepted_steps"] < 300
    np.testing.assert_allclose(run.theta1, linear.limit(0.0), atol=1e-7)


def test_too_few_steps(linear):
    with pytest.raises(WorkError) as error:
        simulate(linear.problem, Step(0.5), linear.theta0, t1=2.0, ts=TS, method="diffrax", max_steps=3)
    assert "max_steps = 3" in str(error.value)
    assert "try solver='rodas5p', a looser rtol, a shorter t1 or a larger max_steps" in str(error.value)
    # Inside a trace the result code says it, and what was not reached is inf.
    job = eqx.filter_jit(
        lambda theta0: simulate(linear.problem, Step(0.5), theta0, t1=2.0, ts=TS, method="diffrax", max_steps=3)
    )
    run = job(jnp.asarray(linear.theta0))
    assert run.result == diffrax.RESULTS.max_steps_reached
    assert jnp.isinf(run.theta1).all()
    assert jnp.isinf(run.thetas[-1]).all()
    assert (run.thetas[0] == linear.theta0).all()


def test_divergence(linear):
    ascent = Constant(-20.0, unrestricted=True)
    with pytest.raises(WorkError, match=r"θ\(t\) diverges \(ε < 0, .*; try a shorter t1 or a looser rtol"):
        simulate(linear.problem, ascent, linear.theta0, t1=500.0, ts=TS, method="diffrax")
