"""Exact scales of columns: powers of two, whatever the units, in NumPy and inside a trace."""

import jax
import jax.numpy as jnp
import numpy as np

from homotopy._columns import column_scales


def test_scales_are_powers_of_two_that_follow_the_units():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((30, 6))
    scales = column_scales(x)
    assert (np.frexp(scales)[0] == 0.5).all()
    norms = np.linalg.norm(x / scales, axis=0)
    assert ((norms >= 0.5) & (norms < 1)).all()
    units = 2.0 ** np.array([-500, -40, -1, 3, 60, 500])
    np.testing.assert_array_equal(column_scales(x * units), scales * units)
    np.testing.assert_array_equal((x * units) / column_scales(x * units), x / scales)


def test_huge_tiny_and_zero_columns():
    x = np.array([[1e150, 1e-150, 0.0, 3.0], [1e150, -1e-150, 0.0, 4.0]])
    scales = column_scales(x)
    norms = np.linalg.norm(x / scales, axis=0)
    assert (((norms >= 0.5) & (norms < 1)) == [True, True, False, True]).all()
    assert norms[2] == 0
    assert scales[2:].tolist() == [1.0, 8.0]
    assert column_scales(np.ones((1, 2))).tolist() == [2.0, 2.0]


def test_the_same_inside_a_trace():
    x = np.random.default_rng(1).standard_normal((5, 3)) * np.array([1e-150, 1.0, 1e150])
    traced = jax.jit(column_scales)(jnp.asarray(x))
    np.testing.assert_array_equal(traced, column_scales(x))
    assert isinstance(column_scales(x), np.ndarray)
    slope = jax.grad(lambda x: jnp.sum(x / column_scales(x)[None]))(jnp.asarray(x))
    np.testing.assert_array_equal(slope, np.broadcast_to(1 / column_scales(x), x.shape))
