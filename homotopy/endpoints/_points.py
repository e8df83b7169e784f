"""What each point contributes at θ: its loss gradient, output Jacobian, and the slope and curvature of its loss.

Notation: J_i `jacobian` (outputs, dim), ∇_ŷ ℓ_i `slope` (outputs,), W_i = ∇²_ŷ ℓ_i `bend` (outputs, outputs); one
number per point counts as one output. ∇ℓ_i = J_iᵀ∇_ŷ ℓ_i and G = Σ w_i J_iᵀW_iJ_i + ρI.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..problem import CrossEntropyLoss, Problem, SquaredLoss


class Point(NamedTuple):
    """J_i, ∇_ŷ ℓ_i and W_i of one point (or of many, with a leading axis)."""

    jacobian: Float[Array, "*n outputs dim"]
    slope: Float[Array, "*n outputs"]
    bend: Float[Array, "*n outputs outputs"]


def outputs_per_point(problem: Problem) -> int:
    """How many numbers the model predicts per point."""
    return math.prod(problem.output_shape)


def loss_derivatives(
    problem: Problem, output: Float[Array, "..."], target: Float[Array, "..."]
) -> tuple[Float[Array, " outputs"], Float[Array, "outputs outputs"]]:
    """∇_ŷ ℓ and W of one point."""
    flat = output.reshape(-1)

    def value(prediction):
        return problem.loss.value(prediction.reshape(problem.output_shape), target)

    return jax.grad(value)(flat), jax.hessian(value)(flat)


def output_factor(
    problem: Problem, output: Float[Array, "..."], target: Float[Array, "..."]
) -> Float[Array, "outputs outputs"]:
    """L with LLᵀ = W, for a W that may be singular (softmax)."""
    if isinstance(problem.loss, CrossEntropyLoss):
        # diag(p) − ppᵀ = LLᵀ with L = diag(√p)(I − √p√pᵀ): 1ᵀL vanishes to the last bit, where the root of an
        # eigenvalue's rounding would be 1e-8, and a shift of all logits would seem to change something.
        half = jnp.exp(0.5 * jax.nn.log_softmax(output.reshape(-1)))
        return jnp.diag(half) - jnp.outer(half**2, half)
    if isinstance(problem.loss, SquaredLoss):
        return jnp.eye(outputs_per_point(problem))
    if outputs_per_point(problem) == 1:
        return jnp.sqrt(jnp.maximum(loss_derivatives(problem, output, target)[1], 0.0))
    values, vectors = jnp.linalg.eigh(loss_derivatives(problem, output, target)[1])
    return vectors * jnp.sqrt(jnp.maximum(values, 0.0))[None, :]


def prediction(problem: Problem, theta: Float[Array, " dim"], x: Array) -> Float[Array, " outputs"]:
    """f(θ; x) of one x, as a vector."""
    return problem.model.predict(theta, x[None], problem.output_shape)[0].reshape(-1)


def point(problem: Problem, theta: Float[Array, " dim"], x: Array, y: Array) -> Point:
    """J, ∇_ŷ ℓ and W at one (x, y)."""
    slope, bend = loss_derivatives(problem, prediction(problem, theta, x), y)
    jacobian = jax.jacrev(lambda theta: prediction(problem, theta, x))(theta)
    return Point(jacobian, slope, bend)


def loss_gradients(
    problem: Problem, theta: Float[Array, " dim"], x: Array | None = None, y: Array | None = None
) -> Float[Array, "m dim"]:
    """∇ℓ at θ of every row of x, y (of the data when not given), without the ridge."""
    x = problem.data.x if x is None else x
    y = problem.data.y if y is None else y

    def loss(theta, x, y):
        return problem.loss.value(problem.model.predict(theta, x[None], problem.output_shape)[0], y)

    return jax.vmap(jax.grad(loss), in_axes=(None, 0, 0))(theta, x, y)
