"""Families of ε(t) with real parameters: how parameters become ε at the nodes of RK4, and become a schedule.

Times are phases u ∈ [0, 1] of [s, T]. Every family keeps ε = 1 on [0, s] and ends at 0 from T on.
"""

import dataclasses
from collections.abc import Callable

import equinox as eqx
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..flow import AbstractSchedule, LinearDecay, NeuralSchedule, PiecewiseConstant, PiecewiseLinear, PolynomialDecay
from ._linear import Vector
from ._schedules import PointSchedules

_SHORTEST = 1e-3  # of a decay, as a phase
_POWERS = (-4.0, 4.0)  # log₂ of the exponent of a polynomial decay
_WIDTH = 8  # neurons of a neural schedule


@dataclasses.dataclass(frozen=True, eq=False)
class Parametric:
    """A family: `epsilon(parameters, u)` elementwise, `schedule(parameters, s, t1)`, box `bounds`, and `starts`.

    `arcs` equal arcs divide [s, T]: ε must be smooth on each, except where a kink moves with a parameter. `key` names
    `epsilon`: families of one key share compiled code.
    """

    key: tuple
    epsilon: Callable[[Array, Array], Array]
    schedule: Callable[[Vector, float, float], AbstractSchedule]
    bounds: list[tuple[float, float]]
    starts: list[Vector]
    arcs: int = 1

    def __eq__(self, other):
        return isinstance(other, Parametric) and self.key == other.key

    def __hash__(self):
        return hash(self.key)


def linear_family(starts: int) -> Parametric:
    """ε = 1 − u/end: the parameter is the end of the decay."""
    return Parametric(
        ("linear",),
        lambda p, u: jnp.clip(1.0 - u / p[0], 0.0, 1.0),
        lambda p, s, t1: LinearDecay(s, s + float(p[0]) * (t1 - s)),
        [(_SHORTEST, 1.0)],
        [np.array([end]) for end in np.linspace(0.05, 1.0, max(starts, 2))],
    )


def polynomial_family(starts: int) -> Parametric:
    """ε = (1 − u/end)^power: parameters end, log₂ power."""

    def epsilon(p, u):
        base = jnp.clip(1.0 - u / p[0], 1e-12, 1.0)
        return jnp.where(u < p[0], base ** (2.0 ** p[1]), 0.0)

    ends = np.linspace(0.1, 1.0, max(starts, 2))
    return Parametric(
        ("polynomial",),
        epsilon,
        lambda p, s, t1: PolynomialDecay(s, s + float(p[0]) * (t1 - s), 2.0 ** float(p[1])),
        [(_SHORTEST, 1.0), _POWERS],
        [np.array([end, power]) for end, power in zip(ends, np.resize([0.0, -2.0, 2.0], len(ends)), strict=True)],
    )


def piecewise_linear_family(knots: int, starts: int, seed: int, fixed: bool) -> Parametric:
    """Values at equally spaced knots; 1 at s when `fixed` (s > 0: ε is continuous), 0 at T."""
    count = knots - 1

    def values(p):
        return jnp.concatenate([p[:count].at[0].set(1.0) if fixed else p[:count], jnp.zeros(1)])

    def schedule(p, s, t1):
        return PiecewiseLinear(np.linspace(s, t1, knots), np.clip(np.asarray(values(jnp.asarray(p))), 0.0, 1.0))

    return Parametric(
        ("piecewise-linear", knots, fixed),
        lambda p, u: jnp.interp(u, jnp.linspace(0.0, 1.0, knots), values(p)),
        schedule, [(0.0, 1.0)] * count, level_starts(count, starts, seed), arcs=count,
    )  # fmt: skip


def piecewise_constant_family(pieces: int, starts: int, seed: int, points: int = 0) -> Parametric:
    """`pieces` equal levels; with `points`, one row of levels for each deleted point."""

    def epsilon(p, u):
        piece = jnp.clip((u * float(pieces)).astype(int), 0, pieces - 1)
        return p.reshape(pieces, points)[piece] if points else p[piece]

    def schedule(p, s, t1):
        times = np.linspace(s, t1, pieces + 1)
        if points:
            levels = np.vstack([np.ones(points), np.clip(p.reshape(pieces, points), 0, 1), np.zeros(points)])
            return PointSchedules(times, levels)
        return PiecewiseConstant(times, np.concatenate([[1.0], np.clip(p, 0.0, 1.0), [0.0]]))

    columns = max(points, 1)
    begins = level_starts(pieces, starts, seed)
    rng = np.random.default_rng(seed)
    tables = [np.stack([begins[rng.integers(len(begins))] if k else b for k in range(columns)], axis=1) for b in begins]
    tables[: min(2, starts)] = [np.repeat(b[:, None], columns, axis=1) for b in begins[: min(2, starts)]]
    begins = [table.reshape(-1) for table in tables]
    bounds = [(0.0, 1.0)] * (pieces * columns)
    return Parametric(("piecewise-constant", pieces, points), epsilon, schedule, bounds, begins, arcs=pieces)


def neural_family(starts: int, seed: int) -> Parametric:
    """ε = sigmoid(network(u)): the weights of an Equinox MLP."""
    made = NeuralSchedule(0.0, 1.0, width=_WIDTH, key=seed)
    arrays, rest = eqx.partition(made.network, eqx.is_array)
    flat, unravel = jax.flatten_util.ravel_pytree(arrays)

    def epsilon(p, u):
        network = eqx.combine(unravel(p), rest)
        return jax.nn.sigmoid(jax.vmap(network)(u.reshape(-1)).reshape(u.shape))

    def schedule(p, s, t1):
        start = NeuralSchedule(s, t1, width=_WIDTH, key=seed)
        return eqx.tree_at(lambda schedule: schedule.network, start, eqx.combine(unravel(jnp.asarray(p)), rest))

    rng = np.random.default_rng(seed)
    begins = [np.asarray(flat) + rng.standard_normal(flat.size) for _ in range(starts)]
    return Parametric(("neural", seed), epsilon, schedule, [(-40.0, 40.0)] * flat.size, begins, arcs=1)


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


def nodes(family: Parametric, parameters: Float[Array, " p"], steps: int) -> Float[Array, "arcs steps 3 *points"]:
    """ε at the start, middle and end of each step, taken just inside its arc so that a jump is not blurred."""
    arcs = family.arcs
    inside = np.clip((np.arange(steps)[:, None] + np.array([0.0, 0.5, 1.0])) / steps, 1e-9, 1.0 - 1e-9)
    return family.epsilon(parameters, jnp.asarray((np.arange(arcs)[:, None, None] + inside) / arcs))
