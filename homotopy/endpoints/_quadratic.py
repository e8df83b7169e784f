"""The quadratic model of an objective at one θ, in the eigenvectors of its Hessian, and its minimiser within a radius.

    H = QΛQᵀ,   p = −Q(Λ + μ)⁻¹Qᵀ∇ with ‖p‖ ≤ Δ          (Moré and Sorensen 1983; Nocedal and Wright 2006, §4.3)

Negative curvature is followed downhill, and directions in which the function is flat to rounding (a null space of the
model) are left alone, so that θ keeps its component there, as the flow does.

Notation: p `step`, Δ `radius`, μ the multiplier.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ._frame import Frame, Objective, Spectrum, framed, spectrum

_BISECTIONS = 60


class Local(NamedTuple):
    """The quadratic model at one θ, in the eigenvectors of its Hessian."""

    value: Float[Array, ""]
    gradient: Float[Array, " dim"]
    rates: Float[Array, " dim"]
    vectors: Float[Array, "dim dim"]
    slopes: Float[Array, " dim"]  # Qᵀ∇
    flat: Bool[Array, " dim"]


def local_model(objective: Objective, here: Frame, theta: Float[Array, " dim"]) -> Local:
    """Value, gradient and eigendecomposition of the Hessian at θ′, all in the frame."""
    return local_of(objective, here, theta, spectrum(objective, here, theta))


def local_of(objective: Objective, here: Frame, theta: Array, found: Spectrum) -> Local:
    """The same, with a spectrum that is already there."""
    value, gradient = jax.value_and_grad(framed(objective, here))(theta)
    return Local(value, gradient, found.rates, found.vectors, found.vectors.T @ gradient, found.flat)


def newton_step(local: Local) -> Float[Array, " dim"]:
    """−H⁺∇ in the eigenvectors."""
    return jnp.where(local.flat, 0.0, -local.slopes / jnp.where(local.flat, 1.0, local.rates))


def trust_region_step(local: Local, radius: Float[Array, ""], tolerance: Float[Array, ""]) -> Float[Array, " dim"]:
    """The minimiser of the model within ‖p‖ ≤ Δ, in the eigenvectors."""
    rates, slopes = local.rates, local.slopes
    newton = newton_step(local)
    idle = local.flat & (jnp.abs(slopes) <= 0.1 * tolerance)  # flat, and nothing pulls: not part of the model
    inside = jnp.all((rates > 0) | local.flat) & (jnp.linalg.norm(newton) <= radius) & jnp.all(~local.flat | idle)
    slopes = jnp.where(idle, 0.0, slopes)
    lowest = jnp.min(jnp.where(idle, jnp.inf, rates))
    lowest = jnp.where(jnp.isfinite(lowest), lowest, 1.0)
    floor = jnp.maximum(0.0, -lowest)

    def step(mu):
        shifted = rates + mu
        return jnp.where(idle | (shifted <= 0), 0.0, -slopes / jnp.where(shifted > 0, shifted, 1.0))

    def halve(_, interval):
        low, high = interval
        middle = floor + jnp.sqrt(jnp.maximum(low - floor, 1e-300)) * jnp.sqrt(high - floor)
        long = jnp.linalg.norm(step(middle)) > radius
        return jnp.where(long, middle, low), jnp.where(long, high, middle)

    high = floor + jnp.linalg.norm(slopes) / radius + jnp.finfo(float).tiny
    low = floor + (high - floor) * 1e-18
    _, mu = jax.lax.fori_loop(0, _BISECTIONS, halve, (low, high))
    boundary = step(mu)
    # The hard case: the slope along the lowest eigenvalue is (nearly) 0, so walk along it to the boundary.
    missing = jnp.sqrt(jnp.maximum(radius**2 - boundary @ boundary, 0.0))
    index = jnp.argmin(jnp.where(idle, jnp.inf, rates))
    sign = jnp.where(slopes[index] > 0, -1.0, 1.0)
    hard = (lowest < 0) & (missing > 1e-3 * radius)
    boundary = boundary.at[index].add(jnp.where(hard, sign * missing, 0.0))
    return jnp.where(inside, newton, boundary)
