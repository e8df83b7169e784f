"""Minimisers of Σ w_i ℓ_i + ½ρ‖θ‖² + bᵀθ for many weights at once: subsets of the points, soft weights, tilted risks.

For models whose predictions are rows times θ, in columns of equal size, so that the units of a column decide neither a
rank nor when a fit counts as done. Beside the trust region of `_newton`, which follows any objective: here a convex risk
needs no more than a step and its halves, and one Cholesky factor per weight serves a batch of hundreds.

Notation: w `weights` (m, n), b `tilt` (m, dim), J_i = x_i ⊗ I.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._columns import column_scales
from .._errors import RequestError
from .._factorise import null_part, singular_rows
from ..problem import Problem
from ._frame import null_losses
from ._points import loss_derivatives, outputs_per_point

_BATCH = 64  # least-squares fits side by side: each holds its own rows
_STEPS = 100
_SHORTEST = 2.0**-12  # part of a Newton step below which rounding is all that keeps the gradient from falling
_STILL = 4 * jnp.finfo(float).eps  # a step relative to θ that is nothing but rounding
STATIONARY = 1e-10  # ‖∇‖ relative to √(2R) of predicting 0 and ‖∇ at θ = 0‖


def least_norm_fits(problem: Problem, masks: Bool[Array, "m n"]) -> Float[Array, "m dim"]:
    """(X_SᵀX_S + ρI)⁺X_Sᵀy_S of linear regression for every subset S, the least-norm solution where that is singular: by
    an SVD of the rows, never of XᵀX. Traceable."""
    x, y = problem.design, problem.data.y.reshape(problem.n, -1)
    d = x.shape[1]
    below, nothing = jnp.sqrt(problem.ridge) * jnp.eye(d), jnp.zeros((d, y.shape[1]))

    def one(mask):
        kept = mask.astype(float)[:, None]
        rows = jnp.concatenate([kept * x, below])
        scale = 1.0 / jnp.asarray(column_scales(rows))
        found = singular_rows(rows * scale[None], jnp.concatenate([kept * y, nothing]))
        inside = found.sides / jnp.where(found.flat, jnp.inf, found.sizes)[:, None]
        theta = scale[:, None] * (found.vectors @ inside)
        return (theta - null_part(found.vectors, found.flat, scale, theta)).reshape(-1)

    return jax.lax.map(one, masks, batch_size=min(_BATCH, masks.shape[0]))


def weighted_minima(
    problem: Problem,
    weights: Float[Array, "m n"],
    start: Float[Array, "m dim"],
    tilt: Float[Array, "m dim"] | None = None,
    *,
    stationary: float = STATIONARY,
) -> tuple[Float[Array, "m dim"], Float[Array, " m"]]:
    """The minimisers for a batch of weights, all started from `start`, and ‖∇‖ in columns of equal size, relative. Traceable.

    Newton's method; a step that does not lower ‖∇‖ is halved, and on a strictly convex risk some part of it always does.
    A fit is done at a relative ‖∇‖ of `stationary`, or when rounding keeps it from falling further (0: not before that).
    A singular Hessian leaves θ where it was found. `RequestError` for a network.
    """
    if not problem.convex:
        raise RequestError("weighted minima are of models that are linear in θ: the risk of a network has many")
    x, y = problem.design, problem.data.y
    (n, d), m, outputs = x.shape, weights.shape[0], outputs_per_point(problem)
    scales = jnp.asarray(column_scales(jnp.concatenate([x, jnp.sqrt(problem.ridge) * jnp.eye(d)])))
    x, units = x / scales[None], jnp.repeat(scales, outputs)
    ridge, push = problem.ridge / units / units, 0.0 if tilt is None else tilt / units[None]
    outer = (x[:, :, None] * x[:, None, :]).reshape(n, d * d)

    def point(output, target):
        return loss_derivatives(problem, output.reshape(problem.output_shape), target)

    derivatives = jax.vmap(jax.vmap(point), in_axes=(0, None))

    def slope_of(theta):
        slope, bend = derivatives(jnp.einsum("nd,mdc->mnc", x, theta.reshape(m, d, outputs)), y)
        gradient = jnp.einsum("mnc,nd->mdc", weights[:, :, None] * slope, x).reshape(m, -1)
        return gradient + ridge[None] * theta + push, weights[:, :, None, None] * bend

    def direction(gradient, bend):
        blocks = jnp.einsum("mnk,nl->mkl", bend.reshape(m, n, outputs**2), outer)
        hessian = blocks.reshape(m, outputs, outputs, d, d).transpose(0, 3, 1, 4, 2).reshape(m, d * outputs, -1)
        factor = jnp.linalg.cholesky(hessian + jnp.diag(ridge)[None])
        half = jax.scipy.linalg.solve_triangular(factor, gradient[:, :, None], lower=True)
        return jax.scipy.linalg.solve_triangular(factor, half, lower=True, trans=1)[:, :, 0]

    def unfinished(state):
        theta, move, _, norm, size, count, _ = state
        still = jnp.linalg.norm(move, axis=1) <= _STILL * jnp.linalg.norm(theta, axis=1)
        return (norm > tolerance) & (size >= _SHORTEST) & ~still & (count < _STEPS)

    def improve(state):
        theta, move, bend, norm, size, count, gradient = state
        trial = theta - jnp.where(unfinished(state), size, 0.0)[:, None] * move
        there, bends = slope_of(trial)
        norms = jnp.linalg.norm(there, axis=1)
        better = unfinished(state) & (norms < norm)
        theta, gradient = (jnp.where(better[:, None], *pair) for pair in ((trial, theta), (there, gradient)))
        bend, norm = jnp.where(better[:, None, None, None], bends, bend), jnp.where(better, norms, norm)
        size = jnp.where(better, 1.0, 0.5 * size)
        turn = jnp.any(better & (norm > tolerance))
        move = jax.lax.cond(turn, lambda: direction(gradient, bend), lambda: move)
        return theta, move, bend, norm, size, count + 1, gradient

    natural = jnp.sqrt(2.0 * jnp.abs(weights) @ null_losses(problem))
    natural = natural + jnp.linalg.norm(slope_of(jnp.zeros_like(start))[0], axis=1)
    tolerance = stationary * natural
    start = start * units[None]
    gradient, bend = slope_of(start)
    norm = jnp.linalg.norm(gradient, axis=1)
    state = (start, direction(gradient, bend), bend, norm, jnp.ones(m), jnp.zeros((), int), gradient)
    theta, _, _, norm, *_ = jax.lax.while_loop(lambda state: jnp.any(unfinished(state)), improve, state)
    return theta / units[None], norm / jnp.where(natural > 0, natural, 1.0)
