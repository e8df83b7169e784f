"""Factorisations that are taken one after the other under `vmap`.

XLA's thread pool on the CPU was seen to wait for itself for ever (jaxlib 0.10.1, two cores) where one program held several
batched factorisations that do not depend on each other: each keeps a thread and asks for another one. A loop of single
ones cannot, and is as fast: LAPACK takes one matrix at a time anyway.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

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


class Singular(NamedTuple):
    """Rows W diag(sizes) Vᵀ with the sizes from large to small: columns V `vectors`, WᵀB `sides` of right-hand sides B;
    `flat` marks sizes within rounding of 0."""

    sizes: Float[Array, " d"]
    vectors: Float[Array, "d d"]
    flat: Bool[Array, " d"]
    sides: Float[Array, "d k"]


def singular_rows(rows: Float[Array, "m d"], sides: Float[Array, "m k"]) -> Singular:
    """The singular values of m ≥ d rows, of columns of equal size, by their triangular factor; 0 if one is not finite."""
    dim = rows.shape[1]
    table = jnp.concatenate([rows, sides], axis=1)
    triangle = triangle_of(jnp.where(jnp.all(jnp.isfinite(table)), table, 0.0))
    left, sizes, right = singular_values_of(triangle[:dim, :dim])
    flat = sizes <= max(table.shape) * jnp.finfo(float).eps * sizes[0]
    return Singular(sizes, right.T, flat, left.T @ triangle[:dim, dim:])


def null_part(vectors: Any, flat: Any, scale: Any, v: Any) -> Any:
    """What of v (d, …) lies in the span of the columns of D·`vectors` (d, k) that `flat` (k,) marks, D = diag(`scale`).

    The null space of rows that were divided by columns' sizes: orthogonally in the user's own coordinates, as the flow
    leaves it alone. NumPy for NumPy, JAX for JAX.
    """
    traced = isinstance(vectors, jax.Array)
    xp = jnp if traced else np
    null = scale[:, None] * xp.where(flat[None], vectors, 0.0)
    lengths = xp.linalg.norm(null, axis=0)
    null = null / xp.where(lengths > 0, lengths, 1.0)[None]
    return null @ ((pseudo_inverse(null) if traced else np.linalg.pinv(null)) @ v)


def solve_small(matrix: Float[Array, "k k"], right: Float[Array, "..."]) -> Float[Array, "..."]:
    """M⁻¹b for the outputs of one point; a quotient where there is one output."""
    return right / matrix[0, 0] if matrix.shape[0] == 1 else jnp.linalg.solve(matrix, right)


def smallest_singular_value(matrix: Float[Array, "k k"]) -> Float[Array, ""]:
    """σ_min for the outputs of one point; the size of the number where there is one."""
    return jnp.abs(matrix[0, 0]) if matrix.shape[0] == 1 else jnp.linalg.svd(matrix, compute_uv=False)[-1]
