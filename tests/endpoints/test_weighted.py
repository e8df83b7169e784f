"""Minimisers for many weights at once, and the null space's part: against SciPy, and in any units of the columns."""

import jax
import jax.numpy as jnp
import numpy as np
import problems
import pytest
import scipy.optimize

from homotopy import Dataset, LogisticRegression, Problem, RequestError
from homotopy._factorise import null_part
from homotopy.endpoints import weighted_minima


@pytest.mark.parametrize("stationary", [1e-10, 0.0])
def test_a_batch_of_weighted_and_tilted_risks(stationary):
    problem = problems.logistic()
    rng = np.random.default_rng(3)
    weights, tilt = rng.uniform(0.0, 2.0, (4, problem.n)), rng.standard_normal((4, problem.dim))
    weights[0] = 0.0
    weights[1, :5] = 0.0
    found, residual = weighted_minima(
        problem, jnp.asarray(weights), jnp.zeros((4, problem.dim)), jnp.asarray(tilt), stationary=stationary
    )
    assert (residual <= 1e-10).all()

    def slope(theta, w, b):
        return np.asarray(jax.grad(problem.weighted_risk)(theta, w)) + b

    for theta, w, b in zip(found, weights, tilt, strict=True):
        peer = scipy.optimize.root(slope, np.zeros(problem.dim), args=(w, b), tol=1e-13).x
        np.testing.assert_allclose(theta, peer, rtol=1e-7 if stationary else 1e-9)
    # The tilt is part of it: θ = −b/ρ where no point counts.
    np.testing.assert_allclose(found[0], -tilt[0] / 0.1, rtol=1e-12)


@pytest.mark.parametrize("power", [-20, 20])
def test_units_of_a_column_change_nothing_but_its_parameter(power):
    rng = np.random.default_rng(4)
    x = np.c_[np.ones(15), rng.standard_normal((15, 2))]
    y = (x[:, 1] + rng.standard_normal(15) > 0).astype(int)
    weights = jnp.asarray(rng.uniform(0.5, 1.5, (2, 15)))
    scale = np.array([1.0, 2.0**power, 1.0])
    plain, other = (
        np.asarray(
            weighted_minima(Problem(LogisticRegression(), Dataset(rows, y), delete=0), weights, jnp.zeros((2, 3)))[0]
        )
        for rows in (x, x * scale)
    )
    np.testing.assert_allclose(other * scale, plain, rtol=1e-9)


def test_a_network_has_many_minima():
    problem = problems.teacher_student()
    with pytest.raises(RequestError, match="linear in θ"):
        weighted_minima(problem, jnp.ones((1, problem.n)), jnp.zeros((1, problem.dim)))


@pytest.mark.parametrize("as_array", [np.asarray, jnp.asarray])
def test_the_part_in_the_null_space_is_orthogonal_in_the_users_coordinates(as_array):
    rng = np.random.default_rng(5)
    scale = np.array([1.0, 1e3, 0.1, 1.0])
    rows = rng.standard_normal((2, 4)) / scale  # what lies in the null space of these: rows·D of equal size
    _, _, right = np.linalg.svd(rows * scale)
    v = rng.standard_normal((4, 2))
    found = null_part(as_array(right.T), as_array([False, False, True, True]), as_array(scale), as_array(v))
    assert isinstance(found, jax.Array) == (as_array is jnp.asarray)
    null = np.eye(4) - np.linalg.pinv(rows) @ rows
    np.testing.assert_allclose(found, null @ v, atol=1e-9 * np.linalg.norm(v))
