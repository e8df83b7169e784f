"""The trust-region minimiser on functions whose minima are known, and where Newton's method alone fails."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from homotopy.endpoints._newton import minimise


@eqx.filter_jit
def solve(objective, start, **options):
    return minimise(objective, jnp.asarray(start, dtype=float), kind="test", **options)


def rosenbrock(theta):
    return 100.0 * (theta[1] - theta[0] ** 2) ** 2 + (1 - theta[0]) ** 2


def double_well(theta):
    """Minima (±1, 0), a saddle at 0."""
    return (theta[0] ** 2 - 1.0) ** 2 + theta[1] ** 2


def test_rosenbrock():
    found = solve(rosenbrock, [-1.2, 1.0])
    np.testing.assert_allclose(found.theta, 1.0, atol=1e-12)
    assert found.converged
    assert found.iterations < 60


@pytest.mark.parametrize("start", [[1e-3, 1.0], [-1e-3, -2.0]])
def test_negative_curvature_is_followed_downhill(start):
    found = solve(double_well, start)
    np.testing.assert_allclose(found.theta, [np.sign(start[0]), 0.0], atol=1e-12)


def test_the_hard_case():
    # On the ridge the slope has no component along the negative curvature, and still the saddle is left.
    found = solve(double_well, [0.0, 1.0])
    np.testing.assert_allclose(np.abs(found.theta), [1.0, 0.0], atol=1e-12)


def test_a_null_space_is_left_alone():
    found = solve(lambda theta: (theta[0] + theta[1] - 1.0) ** 2, [3.0, 1.0])
    np.testing.assert_allclose(found.theta, [1.5, -0.5], atol=1e-14)
    assert found.smallest_eigenvalue == 0
    assert found.converged
    assert not found.isolated


def test_a_minimum_at_infinity_is_not_an_endpoint():
    found = solve(lambda theta: jnp.exp(-theta[0]) + theta[1] ** 2, [0.0, 1.0])
    assert not found.converged
    assert found.error > 0.1  # ‖∇‖ alone would have passed


def test_an_ill_conditioned_valley_is_solved_to_the_last_bits():
    scales = jnp.array([1e4, 1.0, 1e-4])

    def objective(theta):
        return jnp.sum(scales * (theta - 1.0) ** 2) + 0.1 * jnp.sum(scales * (theta - 1.0) ** 4)

    found = solve(objective, [3.0, -2.0, 40.0])
    np.testing.assert_allclose(found.theta, 1.0, atol=1e-9)


def test_batched_rows_equal_single_ones():
    starts = jnp.array([[-1.2, 1.0], [0.5, 2.0]])
    rows = jax.vmap(lambda start: minimise(rosenbrock, start, kind="test").theta)(starts)
    np.testing.assert_allclose(rows, 1.0, atol=1e-12)
