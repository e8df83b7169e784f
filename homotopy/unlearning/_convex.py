"""The minimiser of a weighted convex risk with a linear term, by damped Newton steps: a helper that runs under `vmap`.

Nothing here depends on the units of the columns: steps, line search and the proof are in coordinates in which the Hessian's
diagonal is 1. The proof is of the predictions: λ = ‖∇‖_{H⁻¹}, which bounds their error in the norm of H to first order,
beside ‖θ‖_H and the size of the terms that cancel in ∇.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._arrays import as_floats
from .._errors import RequestError, WorkError
from ..problem import Problem
from . import _checks

_STEPS = 60
_HALVINGS = 12
_DONE = 1e-13  # Newton's next step, relative to θ: then rounding is all that is left
_PROOF = 1e-7  # relative error of the predictions up to which an answer counts


def weighted_minimum(
    problem: Problem, weights: Float[Array, " n"], start: Float[Array, " dim"], tilt: Any = 0.0
) -> tuple[Float[Array, " dim"], Float[Array, ""], Bool[Array, ""]]:
    """argmin R_w(θ) + bᵀθ, the norm of its gradient there, and whether it is proven; b = `tilt` (dim,) or 0. Traceable.

    Newton's method with step halving, for linear and logistic regression. Not proven: an indefinite or singular Hessian
    (negative weights, no unique minimum), classes that can be separated (no minimum), and rounding that leaves more than
    1e-7 of the predictions open.
    """
    direction = jnp.zeros(problem.dim) + tilt

    def objective(theta):
        return problem.weighted_risk(theta, weights) + jnp.dot(direction, theta)

    gradient, hessian = jax.grad(objective), jax.hessian(objective)

    def scaled(theta):
        """The gradient and the Hessian where the latter's diagonal is 1, and the scale d of θ = θ̃/d."""
        matrix = hessian(theta)
        scale = jnp.sqrt(jnp.diagonal(matrix))
        return gradient(theta) / scale, matrix / (scale[:, None] * scale[None, :]), scale

    def unfinished(state):
        _, moved, count = state
        return (count < _STEPS) & (moved > _DONE)

    def improve(state):
        theta, _, count = state
        slope, matrix, scale = scaled(theta)
        move = jnp.linalg.solve(matrix, slope)
        lengths = 0.5 ** jnp.arange(_HALVINGS, dtype=float)
        slopes = jax.vmap(lambda length: jnp.linalg.norm(gradient(theta - length * move / scale) / scale))(lengths)
        best = jnp.argmin(slopes)
        # The gradient's norm falls along the Newton direction until rounding stops it: then stop too.
        fell = slopes[best] < jnp.linalg.norm(slope)
        moved = jnp.linalg.norm(move) / jnp.linalg.norm(theta * scale)
        theta = jnp.where(fell, theta - lengths[best] * move / scale, theta)
        return theta, jnp.where(fell, moved, 0.0), count + 1

    theta, _, _ = jax.lax.while_loop(unfinished, improve, (start, jnp.asarray(jnp.inf), jnp.asarray(0)))
    slope, matrix, scale = scaled(theta)
    root = jnp.linalg.cholesky(matrix)  # NaN unless positive definite
    decrement = jnp.linalg.norm(jax.scipy.linalg.solve_triangular(root, slope, lower=True))
    size = jnp.sqrt(jnp.dot(theta * scale, matrix @ (theta * scale)))
    terms = jnp.abs(weights) @ jnp.abs(jax.jacobian(problem.losses)(theta)) + jnp.abs(direction)
    terms = jnp.linalg.norm((terms + problem.ridge * jnp.abs(theta)) / scale)
    proven = (decrement <= _PROOF * (size + terms)) & jnp.isfinite(size)
    return theta, jnp.linalg.norm(gradient(theta)), proven


def solve_weighted(
    problem: Problem, weights: Any, start: Any, tilt: Any = 0.0
) -> tuple[Float[Array, " dim"], Float[Array, ""]]:
    """argmin R_w(θ) + bᵀθ for linear and logistic regression, and the norm of its gradient there.

    `weights` w (n,), `start` (dim,), b = `tilt` (dim,) or 0. The minimum is proven: its Hessian is positive definite, and
    the predictions are right to 1e-7 (‖∇‖_{H⁻¹} beside ‖θ‖_H and the terms of ∇). Negative weights leave it a local one.
    Raises `RequestError` for networks and wrong shapes, `WorkError` where there is no unique minimum or none was found;
    inside a trace, where nothing can be raised, θ and the gradient's norm are then NaN.
    """
    theta, slope, proven = _solve(problem, *_arguments(problem, weights, start, tilt))
    if not isinstance(proven, jax.core.Tracer) and not bool(proven):
        raise WorkError(
            "no unique minimum of the weighted risk was found (classes that can be separated, columns that depend on each "
            "other, or negative weights); try a ridge or another start"
        )
    return jnp.where(proven, theta, jnp.nan), jnp.where(proven, slope, jnp.nan)


_solve = eqx.filter_jit(weighted_minimum)


def _arguments(problem: Any, weights: Any, start: Any, tilt: Any) -> tuple[Array, Array, Array]:
    from ..endpoints._optimum import is_convex

    if not is_convex(_checks.problem(problem)):
        raise RequestError("solve_weighted needs linear or logistic regression: the risk of a network has many minima")
    values, b = as_floats(weights, "weights"), as_floats(tilt, "tilt")
    if values.shape != (problem.n,):
        raise RequestError(f"weights must have shape ({problem.n},), but has shape {values.shape}")
    if b.shape not in ((), (problem.dim,)):
        raise RequestError(f"tilt must have shape ({problem.dim},), but has shape {b.shape}")
    return values, problem.check_theta(start, "start"), b
