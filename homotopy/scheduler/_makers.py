"""What makes a schedule of a family's parameters p, and where the search for levels starts.

Modules rather than functions, so that other times and problems of one shape compile nothing anew.
"""

import equinox as eqx
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..flow import (
    AbstractSchedule,
    LinearDecay,
    NeuralSchedule,
    PiecewiseConstant,
    PiecewiseLinear,
    PointSchedules,
    PolynomialDecay,
)
from ._linear import Vector


class MakeLevels(eqx.Module):
    times: Float[Array, " edges"]
    points: int = eqx.field(static=True)

    def __call__(self, p: Float[Array, " k"]) -> AbstractSchedule:
        if not self.points:
            return PiecewiseConstant(self.times, jnp.concatenate([jnp.ones(1), p, jnp.zeros(1)]))
        edge, levels = (1, self.points), p.reshape(-1, self.points)
        return PointSchedules(self.times, jnp.concatenate([jnp.ones(edge), levels, jnp.zeros(edge)]))


class MakeKnots(eqx.Module):
    times: Float[Array, " edges"]
    fixed: bool = eqx.field(static=True)

    def __call__(self, p: Float[Array, " k"]) -> AbstractSchedule:
        return PiecewiseLinear(self.times, jnp.concatenate([jnp.ones(int(self.fixed)), p, jnp.zeros(1)]))


class MakeLinear(eqx.Module):
    s: Float[Array, ""]
    t1: Float[Array, ""]

    def __call__(self, p: Float[Array, " k"]) -> AbstractSchedule:
        return LinearDecay(self.s, self.s + p[0] * (self.t1 - self.s))


class MakePolynomial(eqx.Module):
    s: Float[Array, ""]
    t1: Float[Array, ""]

    def __call__(self, p: Float[Array, " k"]) -> AbstractSchedule:
        return PolynomialDecay(self.s, self.s + p[0] * (self.t1 - self.s), 2.0 ** p[1])


class MakeNeural(eqx.Module):
    template: NeuralSchedule

    def __call__(self, p: Float[Array, " k"]) -> AbstractSchedule:
        network = jax.flatten_util.ravel_pytree(self.template.network)[1](p)
        return eqx.tree_at(lambda schedule: schedule.network, self.template, network)


def level_starts(pieces: int, count: int, seed: int) -> list[Vector]:
    """ε ≡ 0, ε ≡ 1, steps, a middle level and random smooth ones."""
    middle = (np.arange(pieces) + 0.5) / pieces
    rng = np.random.default_rng(seed)
    starts = [np.zeros(pieces), np.ones(pieces), (middle < 0.5).astype(float), np.full(pieces, 0.5)]
    starts += [(middle < 0.25).astype(float), (middle > 0.5).astype(float)]
    while len(starts) < count:
        waves = rng.standard_normal(4) @ np.cos(np.pi * np.multiply.outer(np.arange(4), middle))
        starts.append(1.0 / (1.0 + np.exp(-2.0 * waves)))
    return starts[:count]
