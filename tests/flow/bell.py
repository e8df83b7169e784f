"""A stranger's schedule in one file: what the package knows of it, it reads off this class."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from homotopy import AbstractSchedule


class Bell(AbstractSchedule, text="bell:CENTRE,WIDTH"):
    """ε(t) = exp(−((t − centre)/width)²)."""

    centre: Float[Array, ""]
    width: Float[Array, ""]
    piecewise_constant: ClassVar[bool] = False

    def __init__(self, centre, width):
        self.centre, self.width = jnp.asarray(centre, dtype=float), jnp.asarray(width, dtype=float)

    def discontinuities(self):
        return jnp.zeros(0)

    def piece(self, index, t):
        return jnp.exp(-(((t - self.centre) / self.width) ** 2))
