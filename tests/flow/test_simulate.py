"""`simulate` itself: which engine, which times, under jit and vmap, and what it refuses."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import problems
import pytest

from homotopy import (
    BangBang,
    Constant,
    Greedy,
    LinearDecay,
    LinearRegression,
    Problem,
    RequestError,
    Step,
    datasets,
    simulate,
)


@pytest.fixture(scope="module")
def linear():
    return problems.random_ols()


def test_engine(linear):
    start = linear.theta0
    assert simulate(linear.problem, Step(0.5), start, t1=1.0).method == "exact"
    assert simulate(linear.problem, Step(0.5), start, t1=1.0, ts=[1.0], solver="tsit5").method == "diffrax"


def test_times(linear):
    run = simulate(linear.problem, Step(0.5), linear.theta0, t1=2.0)
    np.testing.assert_allclose(run.ts, np.linspace(0, 2, 101))
    assert run.thetas.shape == (101, 3)
    np.testing.assert_array_equal(run.epsilons, run.ts <= 0.5)
    for method in ("exact", "diffrax"):
        for ts in ([0.0], [2.0], [0.5], [0.3, 0.3, 0.5, 0.5, 2.0, 2.0]):
            run = simulate(linear.problem, Step(0.5), linear.theta0, t1=2.0, ts=ts, method=method)
            expected = [linear.bang_bang([0.5], t) for t in ts]
            np.testing.assert_allclose(run.thetas, expected, rtol=0, atol=1e-13 if method == "exact" else 1e-7)
            np.testing.assert_allclose(run.theta1, linear.bang_bang([0.5], 2.0), rtol=0, atol=1e-7)


def test_report(linear):
    report = str(simulate(linear.problem, Step(0.5), linear.theta0, t1=2.0))
    assert report.startswith("Trajectory to t = 2 by exact (eigendecomposition): arcs 2\n  θ(t1) = [")


@pytest.mark.parametrize("method", ["exact", "diffrax"])
def test_under_jit_and_vmap(linear, method):
    """Over θ₀, schedules and deleted points at once, against one call each."""

    @jax.jit
    @jax.vmap
    def ends(row, switches, theta0):
        problem = linear.problem.deleting(row)
        return simulate(problem, BangBang(switches), theta0, t1=1.0, ts=[1.0], method=method).theta1

    rows = jnp.asarray([0, 3, 7])
    switches = jnp.asarray([[0.1, 0.6], [0.0, 0.5], [0.3, 2.0]])
    starts = jnp.asarray(np.random.default_rng(0).normal(size=(3, 3)))
    for row, switch, start, end in zip(rows, switches, starts, ends(rows, switches, starts), strict=True):
        one = problems.Linear(linear.x, linear.y, (int(row),), np.asarray(start))
        expected = one.bang_bang(switch.tolist(), 1.0)
        np.testing.assert_allclose(end, expected, rtol=0, atol=1e-12 if method == "exact" else 1e-7)


def test_end_time_may_be_traced(linear):
    ends = jax.jit(jax.vmap(lambda t1: simulate(linear.problem, Step(0.5), linear.theta0, t1=t1).thetas[-1]))
    times = jnp.asarray([0.3, 1.0])
    np.testing.assert_allclose(ends(times), [linear.bang_bang([0.5], t) for t in (0.3, 1.0)], atol=1e-13)


def test_nothing_is_compiled_twice(caplog):
    """Another t1, tolerance, schedule, data set or name of it uses the same code."""
    with jax.log_compiles():
        for seed, t1, rtol, switch in ((0, 1.0, 1e-6, 0.5), (1, 2.0, 1e-7, 0.4)):
            caplog.clear()
            data = datasets.random_linear(n=9, seed=seed)
            problem = Problem(LinearRegression(), data, delete=seed)
            for method in ("exact", "diffrax"):
                options = {"solver": "tsit5", "rtol": rtol} if method == "diffrax" else {}
                simulate(problem, Step(switch), np.zeros(2), t1=t1, ts=[t1], method=method, **options)
            compiled = [record.message for record in caplog.records if "Compiling jit(integrate" in record.message]
            compiled += [record.message for record in caplog.records if "Compiling jit(_diffrax_job" in record.message]
            assert len(compiled) == (2 if seed == 0 else 0)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"method": "exact", "solver": "tsit5"}, "method='exact' uses no ODE solver, so solver= would be ignored"),
        ({"method": "exact", "max_steps": 5}, "method='exact' takes a fixed number of steps; drop max_steps"),
        ({"step": 0.1, "method": "exact"}, "step is for method='descent' only"),
        ({"step": 0.1}, "step is for method='descent' only"),
        ({"method": "diffrax", "max_steps": 0}, "max_steps must be a whole number ≥ 1, but is 0"),
        ({"method": "diffrax", "rtol": 0.0}, "rtol must be one number > 0, but is 0.0"),
        ({"method": "diffrax", "atol": [1e-3, 1e-4]}, "atol must be one number > 0"),
        ({"method": "diffrax", "t1": np.inf, "ts": [1.0]}, "t1 must be finite here; t1 = ∞ is for method='exact'"),
        ({"solver": "euler"}, "solver must be one of tsit5, dopri8, rodas5p, kvaerno3, kvaerno5 or a Diffrax solver"),
        ({"t1": 0.0}, "t1 must be one number > 0, but is 0.0"),
        ({"t1": -1.0}, "t1 must be one number > 0, but is -1.0"),
        ({"t1": np.nan}, "t1 must be one number > 0, but is nan"),
        ({"t1": [1.0]}, "t1 must be one number > 0"),
        ({"t1": "long"}, "t1 must be one number > 0"),
        ({"t1": np.inf}, "ts must be given when t1 is infinite"),
        ({"ts": []}, "ts must be a list of at least one time"),
        ({"ts": 0.5}, "ts must be a list of at least one time"),
        ({"ts": [0.5, 0.2]}, "ts must be sorted from small to large"),
        ({"ts": [-0.5, 0.2]}, "ts must not be negative or NaN (time starts at 0), but its smallest is -0.5"),
        ({"ts": [0.5, np.nan]}, "ts must not be negative or NaN"),
        ({"ts": [0.5, 1.5]}, "ts must lie in [0, t1] = [0, 1], but ends at 1.5"),
    ],
)
def test_bad_requests(linear, options, says):
    with pytest.raises(RequestError) as error:
        simulate(linear.problem, Step(0.5), linear.theta0, **{"t1": 1.0, **options})
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_more_bad_requests(linear):
    problem, start = linear.problem, linear.theta0
    with pytest.raises(RequestError, match="needs linear regression, squared loss and a piecewise constant schedule"):
        simulate(problem, LinearDecay(0.0, 1.0), start, t1=1.0, method="exact")
    with pytest.raises(RequestError, match="needs linear regression"):
        simulate(problems.logistic(), Constant(1.0), np.zeros(3), t1=1.0, method="exact")
    with pytest.raises(RequestError, match=r"theta0 must have shape \(3,\)"):
        simulate(problem, Step(0.5), np.zeros(4), t1=1.0)
    with pytest.raises(RequestError, match=r"theta0\[1\] is nan"):
        simulate(problem, Step(0.5), [0.0, np.nan, 0.0], t1=1.0)
    with pytest.raises(RequestError, match="was saved at ts only"):
        simulate(problem, Step(0.5), start, t1=1.0).evaluate(0.5)
    for options in ({"method": "exact"}, {"dense": True}, {"step": 0.1}, {"t1": np.inf, "ts": [1.0]}):
        with pytest.raises(RequestError):
            simulate(problem, Greedy(start), start, **{"t1": 1.0, **options})
    with pytest.raises(RequestError, match=r"target must have shape \(3,\)"):
        simulate(problem, Greedy(np.zeros(2)), start, t1=1.0)
    with pytest.raises(RequestError, match="runs under no jit, vmap or grad"):
        eqx.filter_jit(lambda theta0: simulate(problem, Greedy(start), theta0, t1=1.0))(jnp.asarray(start))
