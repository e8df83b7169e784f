"""The exact engine whatever the units of the columns, against 80-digit arithmetic and its own symmetries."""

import exactly
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from homotopy import Dataset, LinearRegression, PiecewiseConstant, Problem, simulate, surface

SWITCHES, LEVELS = (0.3, 0.5, 0.8), (1.0, 0.0, 0.6, 0.0)
UNITS = {
    "as they are": (1.0, 1.0, 1.0),
    "a salary": (1.0, 1e5, 1e-3),
    "eight orders": (1e8, 1.0, 1e-8),
    "tiny": (1e-8, 1e-3, 1e-8),
}


def rows(seed=0, n=7, d=3):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), rng.standard_normal(n), rng.standard_normal(d)


def weighted(n, epsilon):
    weights = np.ones(n)
    weights[2] = epsilon
    return weights


def end(x, y, theta0, t1, ridge=0.0):
    problem = Problem(LinearRegression(), Dataset(x, y), delete=2, ridge=ridge)
    schedule = PiecewiseConstant(np.array(SWITCHES) * t1, LEVELS)
    return np.asarray(simulate(problem, schedule, theta0, t1=t1, ts=[t1]).theta1)


def reference(x, y, theta0, t1, ridge=0.0):
    edges = np.array([0.0, *(np.array(SWITCHES) * t1), t1])
    # The very floats that the schedule holds, and exact differences of them.
    arcs = [
        (weighted(len(x), level), exactly.Fraction(float(b)) - exactly.Fraction(float(a)))
        for level, a, b in zip(LEVELS, edges[:-1], edges[1:], strict=True)
    ]
    return exactly.flow(x, y, arcs, theta0, ridge)


@pytest.mark.parametrize("units", UNITS.values(), ids=UNITS)
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_every_rate_keeps_its_digits(units, size):
    """t from far before the fastest mode to long after the slow one: θ(t) to rounding, column by column."""
    x, y, theta0 = rows()
    x, theta0 = x * units, theta0 / units
    t1 = size / float(np.sum(x**2))
    exact = np.array([float(value) for value in reference(x, y, theta0, t1)])
    scale = np.maximum(np.abs(exact), np.abs(theta0))
    np.testing.assert_allclose(end(x, y, theta0, t1) / scale, exact / scale, rtol=0, atol=1e-9 if size > 1 else 1e-12)
    if size == 1.0:  # the comparison can fail: another weight of the deleted row
        other = exactly.flow(x, y, [(weighted(len(x), 0.9), t1)], theta0)
        assert np.abs((np.array([float(v) for v in other]) - exact) / scale).max() > 1e-3


@pytest.mark.parametrize("ratio", [1e-4, 1e-8, 1e-11])
def test_near_collinear_columns(ratio):
    """The slow rate is ratio² of the fast one: below what an eigenvalue of XᵀX can hold from 1e-8 on."""
    x, y, theta0 = rows(1, d=2)
    x[:, 1] = x[:, 0] + ratio * x[:, 1]
    slow = ratio**2 * float(np.sum(x[:, 0] ** 2))
    # Long enough for the slow mode to have moved halfway; the fast one has long settled.
    problem = Problem(LinearRegression(), Dataset(x, y), delete=2)
    theta = surface(problem, [0.0], theta0, ts=[0.5 / slow]).thetas[0, 0]
    u, sizes, vt = np.linalg.svd(np.delete(x, 2, axis=0))
    kept = np.delete(y, 2)
    moved = -np.expm1(-(sizes**2) * 0.5 / slow) * (u[:, :2].T @ kept / sizes - vt @ theta0)
    np.testing.assert_allclose(theta, theta0 + vt.T @ moved, rtol=1e-15 / ratio * 100, atol=1e-3 * ratio)
    assert np.abs(theta - theta0).max() > 1e-3 / ratio * 0.01


def test_powers_of_two_are_exact():
    x, y, theta0 = rows(2)
    plain = end(x, y, theta0, 0.7)
    np.testing.assert_array_equal(end(x, 2.0**40 * y, 2.0**40 * theta0, 0.7), 2.0**40 * plain)
    np.testing.assert_array_equal(end(x, 2.0**-200 * y, 2.0**-200 * theta0, 0.7), 2.0**-200 * plain)
    # All of X by 2^k: time by 4^−k, θ by 2^−k.
    np.testing.assert_array_equal(end(2.0**20 * x, y, 2.0**-20 * theta0, 0.7 * 4.0**-20), 2.0**-20 * plain)
    np.testing.assert_allclose(end(x, 1e5 * y, 1e5 * theta0, 0.7), 1e5 * plain, rtol=1e-13)


@pytest.mark.parametrize("units", UNITS.values(), ids=UNITS)
def test_the_limit_does_not_depend_on_units(units):
    """θ(∞) is θ*₋ where that is unique; rank is decided on equal columns, so a small unit is no missing direction."""
    x, y, theta0 = rows(3)
    units = np.array(units)
    problem = Problem(LinearRegression(), Dataset(x * units, y), delete=2)
    limit = surface(problem, [0.0, 0.5], theta0 / units, ts=[np.inf]).thetas[:, 0]
    for theta, epsilon in zip(limit, (0.0, 0.5), strict=True):
        exact = [float(v) for v in exactly.optimum(x * units, y, weighted(len(x), epsilon))]
        np.testing.assert_allclose(theta, exact, rtol=1e-11)


def test_duplicate_columns_keep_the_start_apart():
    """A null direction does not move: θ₁ − θ₂ stays for two equal columns, whatever their unit."""
    x, y, theta0 = rows(4)
    for unit in (1e-3, 1.0, 1e3):
        same = np.stack([x[:, 0] * unit, x[:, 0] * unit, x[:, 1]], axis=1)
        problem = Problem(LinearRegression(), Dataset(same, y), delete=2)
        start = theta0 / [unit, unit, 1.0]
        theta = surface(problem, [0.0], start, ts=[np.inf]).thetas[0, 0]
        assert theta[0] - theta[1] == pytest.approx(start[0] - start[1], rel=1e-7)
        fitted = np.linalg.lstsq(np.delete(x[:, :2], 2, axis=0), np.delete(y, 2), rcond=None)[0]
        np.testing.assert_allclose([(theta[0] + theta[1]) * unit, theta[2]], fitted, rtol=1e-9)


def test_derivatives_by_level_in_other_units():
    """dθ/dε and d²θ/dε² follow the units of the columns exactly, by powers of two; the flow is in the user's metric."""
    x, y, theta0 = rows(5)

    def level(scale):
        problem = Problem(LinearRegression(), Dataset(x * scale, y), delete=2)
        times, t1 = [0.4 / scale**2], 1.0 / scale**2

        def end(epsilon):
            schedule = PiecewiseConstant(times, jnp.stack([epsilon, jnp.zeros(())]))
            return simulate(problem, schedule, theta0 / scale, t1=t1, ts=[0.0]).theta1

        return end

    for order in (jax.jacfwd, lambda f: jax.jacfwd(jax.jacfwd(f))):
        plain, scaled = (jax.jit(order(level(scale)))(jnp.asarray(0.5)) for scale in (1.0, 1024.0))
        np.testing.assert_allclose(scaled * 1024.0, plain, rtol=1e-12)
    at = level(1.0)
    numeric = (at(jnp.asarray(0.5 + 1e-4)) - 2 * at(jnp.asarray(0.5)) + at(jnp.asarray(0.5 - 1e-4))) / 1e-8
    np.testing.assert_allclose(plain, numeric, rtol=1e-4, atol=1e-6)
