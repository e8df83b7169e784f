"""The minimiser of a weighted convex risk with a linear term, by damped Newton steps: a helper that runs under `vmap`."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..problem import Problem

_STEPS = 60
_HALVINGS = 12


def weighted_minimum(
    problem: Problem, weights: Float[Array, " n"], start: Float[Array, " dim"], tilt: Any = 0.0
) -> tuple[Float[Array, " dim"], Float[Array, ""]]:
    """argmin R_w(θ) + bᵀθ and the norm of its gradient there; b = `tilt` (dim,) or 0. Traceable.

    Newton's method with step halving, for linear and logistic regression with a positive definite Hessian.
    """
    direction = jnp.zeros(problem.dim) + tilt

    def objective(theta):
        return problem.weighted_risk(theta, weights) + jnp.dot(direction, theta)

    gradient, hessian = jax.grad(objective), jax.hessian(objective)

    def unfinished(state):
        _, slope, count = state
        return (count < _STEPS) & (slope > 1e-12 * (1.0 + jnp.sum(weights)))

    def improve(state):
        theta, slope, count = state
        move = jnp.linalg.solve(hessian(theta), gradient(theta))
        lengths = 0.5 ** jnp.arange(_HALVINGS, dtype=float)
        slopes = jax.vmap(lambda length: jnp.linalg.norm(gradient(theta - length * move)))(lengths)
        best = jnp.argmin(slopes)
        # The gradient's norm falls along the Newton direction until rounding stops it: then stop too.
        fell = slopes[best] < slope
        theta = jnp.where(fell, theta - lengths[best] * move, theta)
        return theta, jnp.where(fell, slopes[best], slope), jnp.where(fell, count + 1, _STEPS)

    first = (start, jnp.linalg.norm(gradient(start)), jnp.asarray(0))
    theta, slope, _ = jax.lax.while_loop(unfinished, improve, first)
    return theta, slope


@eqx.filter_jit
def solve_weighted(problem: Problem, weights: Array, start: Array, tilt: Any = 0.0) -> tuple[Array, Array]:
    """`weighted_minimum`, compiled."""
    return weighted_minimum(problem, weights, start, tilt)
