"""The minimiser of a weighted convex risk with a linear term, and its proof: a helper that runs under `vmap`.

Nothing here depends on the units of the columns: the proof is in coordinates in which the Hessian's diagonal is 1. It is of
the predictions: λ = ‖∇‖_{H⁻¹}, which bounds their error in the norm of H to first order, beside ‖θ‖_H and the size of
the terms that cancel in ∇.
"""

from typing import Annotated, Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._arrays import as_floats
from .._checks import Theta, Values
from .._errors import RequestError, WorkError
from ..endpoints import weighted_minima
from ..problem import Problem, on_problem

_PROOF = 1e-7  # relative error of the predictions up to which an answer counts


def weighted_minimum(
    problem: Problem, weights: Float[Array, " n"], start: Float[Array, " dim"], tilt: Any = 0.0
) -> tuple[Float[Array, " dim"], Float[Array, ""], Bool[Array, ""]]:
    """argmin R_w(θ) + bᵀθ, the norm of its gradient there, and whether it is proven; b = `tilt` (dim,) or 0. Traceable.

    For linear and logistic regression (`weighted_minima`). Not proven: an indefinite or singular Hessian
    (negative weights, no unique minimum), classes that can be separated (no minimum), and rounding that leaves more than
    1e-7 of the predictions open.
    """
    direction = jnp.zeros(problem.dim) + tilt
    theta = weighted_minima(problem, weights[None], start[None], direction[None], stationary=0.0)[0][0]

    def objective(theta):
        return problem.weighted_risk(theta, weights) + jnp.dot(direction, theta)

    gradient, matrix = jax.grad(objective)(theta), jax.hessian(objective)(theta)
    scale = jnp.sqrt(jnp.diagonal(matrix))
    matrix = matrix / (scale[:, None] * scale[None, :])
    root = jnp.linalg.cholesky(matrix)  # NaN unless positive definite
    decrement = jnp.linalg.norm(jax.scipy.linalg.solve_triangular(root, gradient / scale, lower=True))
    size = jnp.sqrt(jnp.dot(theta * scale, matrix @ (theta * scale)))
    terms = jnp.abs(weights) @ jnp.abs(jax.jacobian(problem.losses)(theta)) + jnp.abs(direction)
    terms = jnp.linalg.norm((terms + problem.ridge * jnp.abs(theta)) / scale)
    # σ(ŷ) − 1 is 0 for ŷ > 37: slopes that have lost their digits to those of ŷ = 0 prove nothing.
    slopes = jax.vmap(jax.grad(problem.loss.value))(jnp.zeros_like(problem.predict(theta)), problem.data.y)
    moved = jnp.abs(jax.jacobian(problem.predict)(theta)).reshape(problem.n, -1, problem.dim)
    rounding = jnp.einsum("n,no,nod->d", jnp.abs(weights), jnp.abs(slopes).reshape(problem.n, -1), moved) / scale
    decrement = decrement + jnp.finfo(float).eps * jnp.linalg.norm(rounding)
    proven = (decrement <= _PROOF * (size + terms)) & jnp.isfinite(size)
    return theta, jnp.linalg.norm(gradient), proven


@on_problem
def solve_weighted(
    problem: Problem, weights: Annotated[Values, "n"], start: Theta, tilt: Annotated[Values, "*dim"] = 0.0
) -> tuple[Float[Array, " dim"], Float[Array, ""]]:
    """argmin R_w(θ) + bᵀθ for linear and logistic regression, and the norm of its gradient there (mathematics §1, §17).

    `weights` w (n,), `start` (dim,), b = `tilt` (dim,) or 0. The minimum is proven: its Hessian is positive definite, and
    the predictions are right to 1e-7 (‖∇‖_{H⁻¹} beside ‖θ‖_H and the terms of ∇). Negative weights leave it a local one.
    Raises `RequestError` for networks and wrong shapes, `WorkError` where there is no unique minimum or none was found;
    inside a trace, where nothing can be raised, θ and the gradient's norm are then NaN.

    Example (continues the package's):

        >>> theta, norm = solve_weighted(problem, problem.weights(0.0), theta0)
        >>> print(jnp.allclose(theta, leave_one_out(problem).theta), norm < 1e-9)
        True True
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
    if not problem.convex:
        raise RequestError("solve_weighted needs linear or logistic regression: the risk of a network has many minima")
    values, b = as_floats(weights, "weights"), as_floats(tilt, "tilt")
    if values.shape != (problem.n,):
        raise RequestError(f"weights must have shape ({problem.n},), but has shape {values.shape}")
    if b.shape not in ((), (problem.dim,)):
        raise RequestError(f"tilt must have shape ({problem.dim},), but has shape {b.shape}")
    return values, problem.check_theta(start, "start"), b
