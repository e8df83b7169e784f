"""Eigenvalues and low-rank factors of B from products alone: power iteration, Lanczos, randomised Nyström."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._curvature import Curvature

_POWER_STEPS = 40


def _undamped(curvature: Curvature, v: Float[Array, " dim"]) -> Float[Array, " dim"]:
    return curvature.product(v) - curvature.shift * v


def largest_eigenvalue(curvature: Curvature, seed: int = 0) -> Float[Array, ""]:
    """λ_max of B + nλI (in size), from below, by power iteration; good to a few percent."""
    start = jax.random.normal(jax.random.key(seed), curvature.theta.shape)

    def step(_, v):
        v = curvature.product(v)
        return v / jnp.linalg.norm(v)

    v = jax.lax.fori_loop(0, _POWER_STEPS, step, start / jnp.linalg.norm(start))
    return jnp.linalg.norm(curvature.product(v))


def lanczos(
    curvature: Curvature, steps: int, seed: int = 0
) -> tuple[Float[Array, " steps"], Float[Array, "dim steps"]]:
    """Ritz values and vectors of B (without the damping) after `steps` products from a random start.

    Full reorthogonalisation, twice: O(steps²·dim) work, memory O(steps·dim). When the Krylov space is exhausted the
    iteration goes on from a new random direction, so repeated eigenvalues are found too.
    """
    dim = curvature.theta.shape[0]
    keys = jax.random.split(jax.random.key(seed), steps + 1)

    def orthogonal(v, basis):
        v = v - basis.T @ (basis @ v)
        return v - basis.T @ (basis @ v)

    def step(k, state):
        basis, image, q = state
        basis = basis.at[k].set(q)
        moved = _undamped(curvature, q)
        image = image.at[k].set(moved)
        rest = orthogonal(moved, basis)
        fresh = orthogonal(jax.random.normal(keys[k + 1], (dim,)), basis)
        exhausted = jnp.linalg.norm(rest) <= 1e-10 * jnp.linalg.norm(moved)
        q = jnp.where(exhausted, fresh, rest)
        return basis, image, q / jnp.linalg.norm(q)

    start = jax.random.normal(keys[0], (dim,))
    state = (jnp.zeros((steps, dim)), jnp.zeros((steps, dim)), start / jnp.linalg.norm(start))
    basis, image, _ = jax.lax.fori_loop(0, steps, step, state)
    projected = basis @ image.T
    values, turned = jnp.linalg.eigh(0.5 * (projected + projected.T))
    return values, basis.T @ turned


def nystrom(curvature: Curvature, rank: int, seed: int = 0) -> tuple[Float[Array, " rank"], Float[Array, "dim rank"]]:
    """B ≈ U diag(values) Uᵀ, values from large to small, for B ⪰ 0 (Frangella, Tropp and Udell 2023, algorithm 2.1)."""
    dim = curvature.theta.shape[0]
    test = jnp.linalg.qr(jax.random.normal(jax.random.key(seed), (dim, rank)))[0]
    image = jax.lax.map(lambda v: _undamped(curvature, v), test.T).T
    nudge = jnp.sqrt(1.0 * dim) * jnp.finfo(float).eps * jnp.linalg.norm(image)
    image = image + nudge * test
    core = test.T @ image
    factor = jnp.linalg.cholesky(0.5 * (core + core.T))
    half = jax.scipy.linalg.solve_triangular(factor, image.T, lower=True).T
    vectors, singular, _ = jnp.linalg.svd(half, full_matrices=False)
    return jnp.maximum(singular**2 - nudge, 0.0), vectors
