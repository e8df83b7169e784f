"""What decides on the host says so inside jit or vmap, in one line; what does not gives the same numbers there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from homotopy import (
    Dataset,
    LinearRegression,
    Problem,
    RequestError,
    cooks_distance,
    diagnostics,
    leave_one_out_all,
    search,
    search_all,
    surface,
)

rng = np.random.default_rng(31)
problem = Problem(LinearRegression(), Dataset(rng.standard_normal((8, 2)), rng.standard_normal(8)), delete=1)
start = np.zeros(2)


@pytest.mark.parametrize(
    "job",
    [
        leave_one_out_all,
        cooks_distance,
        lambda problem: diagnostics(problem).data["leverage"].data,
        lambda problem: search(problem, start, t1=1.0).energy,
        lambda problem: search_all(problem, start, t1=1.0).energies,
        lambda problem: surface(problem, [0.0, 1.0], start, ts=[1.0], method="diffrax").thetas,
    ],
)
def test_what_decides_on_the_host_is_refused_in_one_line(job):
    with pytest.raises(RequestError, match="runs under no jit, vmap or grad"):
        jax.jit(job)(problem)


def test_a_surface_for_every_deleted_row():
    rows = jax.vmap(lambda row: surface(problem.deleting(row[None]), [0.0, 0.5], start, ts=[0.5, 1.0]).thetas)
    found = rows(jnp.arange(8))
    for row in (0, 7):
        alone = surface(problem.deleting(row), [0.0, 0.5], start, ts=[0.5, 1.0]).thetas
        np.testing.assert_allclose(found[row], alone, rtol=1e-12)
