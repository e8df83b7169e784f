"""Factorisations that are taken one after the other under `vmap`.

XLA's thread pool on the CPU was seen to wait for itself for ever (jaxlib 0.10.1, two cores) where one program held several
batched factorisations that do not depend on each other: each keeps a thread and asks for another one. A loop of single
ones cannot, and is as fast: LAPACK takes one matrix at a time anyway.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_one_by_one = jax.custom_batching.sequential_vmap


@_one_by_one
def triangle_of(table: Float[Array, "m k"]) -> Float[Array, "least k"]:
    """R of the QR decomposition."""
    return jnp.linalg.qr(table, mode="r")


@_one_by_one
def singular_values_of(matrix: Float[Array, "d d"]) -> tuple[Array, Array, Array]:
    """U, the singular values from large to small, and Vᵀ."""
    left, sizes, right = jnp.linalg.svd(matrix)
    return left, sizes, right


@_one_by_one
def spectral_norm(matrix: Float[Array, "m k"]) -> Float[Array, ""]:
    """The largest singular value."""
    return jnp.linalg.norm(matrix, 2)


@_one_by_one
def pseudo_inverse(matrix: Float[Array, "m k"]) -> Float[Array, "k m"]:
    """The Moore–Penrose inverse."""
    return jnp.linalg.pinv(matrix)


def solve_small(matrix: Float[Array, "k k"], right: Float[Array, "..."]) -> Float[Array, "..."]:
    """M⁻¹b for the outputs of one point; a quotient where there is one output."""
    return right / matrix[0, 0] if matrix.shape[0] == 1 else jnp.linalg.solve(matrix, right)


def smallest_singular_value(matrix: Float[Array, "k k"]) -> Float[Array, ""]:
    """σ_min for the outputs of one point; the size of the number where there is one."""
    return jnp.abs(matrix[0, 0]) if matrix.shape[0] == 1 else jnp.linalg.svd(matrix, compute_uv=False)[-1]
