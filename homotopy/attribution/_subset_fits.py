"""θ(S) = argmin Σ_{i∈S} ℓ_i + ½ρ‖θ‖² for a batch of subsets, compiled.

In columns of equal size, so that the units of a column decide neither a rank nor when a fit counts as done.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._columns import column_scales
from .._factorise import pseudo_inverse, singular_values_of, triangle_of
from ..endpoints._frame import null_losses
from ..endpoints._points import loss_derivatives
from ..problem import Problem

_BATCH = 64  # least-squares fits side by side: each holds its own rows
_NEWTON_STEPS = 100
_STATIONARY = 1e-10  # ‖∇′‖ relative to √(2R) of predicting 0 and ‖∇′ at θ = 0‖


def targets(problem: Problem) -> Float[Array, "n outputs"]:
    """y with an axis of outputs."""
    return problem.data.y.reshape(problem.n, -1)


def least_squares(problem: Problem, masks: Bool[Array, "m n"]) -> Float[Array, "m dim"]:
    """(X_SᵀX_S + ρI)⁺X_Sᵀy_S, the least-norm solution where that is singular: by an SVD of the rows, never of XᵀX."""
    x, y = problem.data.x, targets(problem)
    d = x.shape[1]
    below, nothing = jnp.sqrt(problem.ridge) * jnp.eye(d), jnp.zeros((d, y.shape[1]))

    def one(mask):
        kept = mask.astype(float)[:, None]
        rows = jnp.concatenate([kept * x, below])
        scales = jnp.asarray(column_scales(rows))
        table = jnp.concatenate([rows / scales[None, :], jnp.concatenate([kept * y, nothing])], axis=1)
        triangle = triangle_of(table)
        left, sizes, right = singular_values_of(triangle[:d, :d])
        flat = sizes <= max(rows.shape) * jnp.finfo(float).eps * sizes[0]
        inside = (left.T @ triangle[:d, d:]) / jnp.where(flat, jnp.inf, sizes)[:, None]
        theta = (right.T @ inside) / scales[:, None]
        # Least norm in the user's own coordinates: what lies in the null space goes.
        null = jnp.where(flat[None, :], right.T, 0.0) / scales[:, None]
        lengths = jnp.linalg.norm(null, axis=0)
        null = null / jnp.where(lengths > 0, lengths, 1.0)[None, :]
        return (theta - null @ (pseudo_inverse(null) @ theta)).reshape(-1)

    return jax.lax.map(one, masks, batch_size=min(_BATCH, masks.shape[0]))


def newton(problem: Problem, weights: Float[Array, "m n"], start: Float[Array, "m dim"]) -> Float[Array, "m dim"]:
    """Minimisers of Σ w_i ℓ_i + ½ρ‖θ‖² for a batch of weights, all started from `start`; NaN where not reached.

    A step that does not lower ‖∇‖ is halved; on a strictly convex risk the Newton direction always lowers it in the end.
    """
    y, (n, d), m = problem.data.y, problem.data.x.shape, weights.shape[0]
    outputs = start.shape[1] // d
    rows = jnp.concatenate([problem.data.x, jnp.sqrt(problem.ridge) * jnp.eye(d)])
    scales = jnp.asarray(column_scales(rows))
    x, units = problem.data.x / scales[None, :], jnp.repeat(scales, outputs)
    ridge = problem.ridge / units / units
    outer = (x[:, :, None] * x[:, None, :]).reshape(n, d * d)

    def point(output, target):
        return loss_derivatives(problem, output.reshape(problem.output_shape), target)

    derivatives = jax.vmap(jax.vmap(point, in_axes=(0, 0)), in_axes=(0, None))

    def slope_of(theta):
        logits = jnp.einsum("nd,mdc->mnc", x, theta.reshape(m, d, outputs))
        slope, bend = derivatives(logits, y)
        slope, bend = weights[:, :, None] * slope, weights[:, :, None, None] * bend
        gradient = jnp.einsum("mnc,nd->mdc", slope, x).reshape(m, -1) + ridge[None, :] * theta
        return gradient, bend

    def direction(gradient, bend):
        blocks = jnp.einsum("mnk,nl->mkl", bend.reshape(m, n, outputs**2), outer)
        hessian = blocks.reshape(m, outputs, outputs, d, d).transpose(0, 3, 1, 4, 2).reshape(m, d * outputs, -1)
        hessian = hessian + jnp.diag(ridge)[None, :, :]
        factor = jnp.linalg.cholesky(hessian)
        half = jax.scipy.linalg.solve_triangular(factor, gradient[:, :, None], lower=True)
        return jax.scipy.linalg.solve_triangular(factor, half, lower=True, trans=1)[:, :, 0]

    nothing = jnp.sqrt(2.0 * weights @ null_losses(problem))
    tolerance = _STATIONARY * (nothing + jnp.linalg.norm(slope_of(jnp.zeros_like(start))[0], axis=1))

    def unfinished(state):
        return jnp.any(state[3] > tolerance) & (state[5] < _NEWTON_STEPS)

    def improve(state):
        theta, move, bend, norm, size, count, gradient = state
        moving = norm > tolerance
        trial = theta - jnp.where(moving, size, 0.0)[:, None] * move
        there, bends = slope_of(trial)
        norms = jnp.linalg.norm(there, axis=1)
        accept = (norms < norm) | ~moving
        theta = jnp.where(accept[:, None], trial, theta)
        gradient = jnp.where(accept[:, None], there, gradient)
        bend = jnp.where(accept[:, None, None, None], bends, bend)
        norm = jnp.where(accept, norms, norm)
        size = jnp.where(accept, 1.0, 0.5 * size)
        done = jnp.all(norm <= tolerance)
        move = jax.lax.cond(done, lambda: move, lambda: direction(gradient, bend))
        return theta, move, bend, norm, size, count + 1, gradient

    start = start * units[None, :]
    gradient, bend = slope_of(start)
    norm = jnp.linalg.norm(gradient, axis=1)
    state = (start, direction(gradient, bend), bend, norm, jnp.ones(m), jnp.zeros((), int), gradient)
    theta, _, _, norm, *_ = jax.lax.while_loop(unfinished, improve, state)
    good = norm <= 1e4 * tolerance
    return jnp.where(good[:, None], theta / units[None, :], jnp.nan)
