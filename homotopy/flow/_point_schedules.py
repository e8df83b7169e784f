"""A schedule with one ε_j(t) for every deleted point."""

from typing import Annotated, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._checks import Values
from .._errors import RequestError
from ._abstract import AbstractSchedule
from ._arguments import as_jumps, as_weights


class PointSchedules(AbstractSchedule):
    """One schedule per deleted point: ε(t) (k,) = (ε_1(t), …, ε_k(t)), in the order of `problem.delete`.

    Its parts are bang-bang or otherwise piecewise constant: `switches` (m,) are the times of all jumps, `values`
    (m + 1, k) the weights in [0, 1] between them (mathematics §14). Raises `RequestError` for shapes that do not match.

    Example (continues the package's):

        >>> pair = PointSchedules([0.1], [[1.0, 1.0], [0.0, 1.0]])
        >>> print(pair(jnp.array([0.05, 0.2])).tolist())
        [[1.0, 1.0], [0.0, 1.0]]
    """

    switches: Float[Array, " m"]
    values: Float[Array, "m+1 k"]
    piecewise_constant: ClassVar[bool] = True

    def __init__(self, switches: Annotated[Values, "k"], values: Annotated[Values, "k+1 deleted"]):
        self.switches, self.values = as_jumps(switches, "switches", 1), as_weights(values, "values", False, 2)
        if self.values.ndim != 2 or self.values.shape[0] != self.switches.shape[0] + 1:
            raise RequestError(
                f"values must have shape (switches + 1, points), but has shape {self.values.shape} for "
                f"{self.switches.shape[0]} switches"
            )

    def discontinuities(self):
        return self.switches

    def piece(self, index: Int[Array, "..."] | int, t: Float[Array, "..."]) -> Float[Array, "... k"]:
        here = self.values[index]
        return jnp.broadcast_to(here, (*jnp.shape(t), here.shape[-1]))
