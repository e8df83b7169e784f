"""How straight a path in θ-space is, as numbers (notes, Figure 3 and the remark below it)."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def chord_over_arc(thetas: Float[Array, "m dim"]) -> Float[Array, ""]:
    """‖θ_m − θ_1‖ / Σ‖θ_{i+1} − θ_i‖, in [0, 1]; 1 for a straight segment, and for a path that does not move."""
    arc = jnp.sum(jnp.linalg.norm(jnp.diff(thetas, axis=0), axis=1))
    chord = jnp.linalg.norm(thetas[-1] - thetas[0])
    return jnp.where(arc > 0, chord / jnp.where(arc > 0, arc, 1.0), 1.0)


def largest_deviation(thetas: Float[Array, "m dim"]) -> Float[Array, ""]:
    """max_i of the distance from θ_i to the line through the ends, over the distance of the ends; 0 for a segment."""
    along = thetas[-1] - thetas[0]
    length = jnp.linalg.norm(along)
    unit = along / jnp.where(length > 0, length, 1.0)
    away = thetas - thetas[0][None]
    across = away - (away @ unit)[:, None] * unit[None]
    deviation = jnp.max(jnp.linalg.norm(across, axis=1))
    return jnp.where(length > 0, deviation / jnp.where(length > 0, length, 1.0), jnp.where(deviation > 0, jnp.inf, 0.0))
