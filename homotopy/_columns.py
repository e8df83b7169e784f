"""Columns of equal size: powers of two that take the units out of a design matrix without touching a digit.

The answer of a least-squares solve does not depend on the units of the columns, but the rounding of one does: a rank
decided beside a column of years² takes every other column for nothing. Dividing by powers of two is exact, so nothing
that was right loses accuracy, and equilibrated columns are within √d of the best scaling there is (van der Sluis 1969).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def column_scales(x: Float[Array | np.ndarray, "n d"]) -> Float[Array | np.ndarray, " d"]:
    """One power of two per column such that the columns of x / scales have Euclidean norms in [½, 1); 1 for zeros.

    The norms neither overflow nor vanish: entries of 1e±150 are as good as any. NumPy for NumPy, JAX for JAX (traced
    too; no derivative flows through, since the scales are constant almost everywhere). θ for x is θ(x/scales)/scales.
    """
    xp = jnp if isinstance(x, jax.Array) else np
    x = jax.lax.stop_gradient(x) if isinstance(x, jax.Array) else x
    largest = xp.max(xp.abs(x), axis=0, initial=0.0)
    _, high = xp.frexp(largest)
    norms = xp.sqrt(xp.sum(xp.ldexp(x, xp.broadcast_to(-high, x.shape)) ** 2, axis=0))  # in [½, √n)
    _, more = xp.frexp(norms)
    return xp.where(largest > 0, xp.ldexp(xp.ones_like(largest), high + more), 1.0)


def null_direction_error(x: Float[np.ndarray, "n d"], ridge: float = 0.0) -> float:
    """How far the direction in which θ does not move may be off, relative: 0 where the columns of x determine θ.

    Where columns are collinear and of sizes a and b, rounding turns the null space of X by about eps·(a/b)².
    """
    x = x[:, x.any(axis=0)]  # a column of zeros is a direction of its own, exactly
    scales = np.asarray(column_scales(x))
    if ridge > 0 or scales.size < 2 or scales.max() <= 1e3 * scales.min():
        return 0.0
    sizes = np.linalg.svd(np.linalg.qr(x / scales, mode="r"), compute_uv=False)
    deficient = len(sizes) < x.shape[1] or sizes[-1] <= max(x.shape) * np.finfo(float).eps * sizes[0]
    return float(np.finfo(float).eps * (scales.max() / scales.min()) ** 2) if deficient else 0.0
