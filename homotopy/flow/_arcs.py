"""Arcs: the stretches of time between a schedule's discontinuities. Engines walk over them with one `lax.scan`."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._abstract import AbstractSchedule


def arc_edges(schedule: AbstractSchedule, t1: Array) -> Float[Array, " edges"]:
    """0, the discontinuities kept in [0, t1], t1. Arcs may be empty; arc k follows k discontinuities."""
    inner = jnp.clip(schedule.discontinuities(), 0.0, t1)
    return jnp.concatenate([jnp.zeros(1), inner, jnp.asarray(t1, dtype=float)[None]])


class Reversed(AbstractSchedule):
    """ε(T − t): the same arcs, last first."""

    schedule: AbstractSchedule
    t1: Float[Array, ""]
    piecewise_constant: ClassVar[bool] = False

    def discontinuities(self):
        return (self.t1 - arc_edges(self.schedule, self.t1)[1:-1])[::-1]

    def piece(self, index, t):
        last = self.schedule.discontinuities().shape[0]
        return self.schedule.piece(last - index, self.t1 - t)


def walk(
    solve: Callable[[Any, Array, Array, Array], tuple[Any, Array, Any]],
    state: Any,
    schedule: AbstractSchedule,
    ts: Float[Array, " times"],
    t1: Array,
    saved_shape: tuple[int, ...],
) -> tuple[Any, Float[Array, "times ..."], Any]:
    """Carry `state` through the arcs and collect the values at `ts`.

    `solve(state, k, start, end)` returns the state at the arc's end, the values at all `ts` (only those within the arc
    are used) and anything to stack per arc.
    """
    edges = arc_edges(schedule, t1)
    arcs = jnp.arange(edges.shape[0] - 1)

    def step(carry, arc):
        state, saved = carry
        index, start, end = arc
        state, values, extra = solve(state, index, start, end)
        within = (ts >= start) & (ts <= end)
        saved = jnp.where(within.reshape(-1, *[1] * len(saved_shape)), values, saved)
        return (state, saved), extra

    empty = jnp.full((ts.shape[0], *saved_shape), jnp.inf)
    (state, saved), extras = jax.lax.scan(step, (state, empty), (arcs, edges[:-1], edges[1:]))
    return state, saved, extras
