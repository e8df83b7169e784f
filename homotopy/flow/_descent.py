"""Gradient descent θ_{k+1} = θ_k − η ∇R_{ε(kη)}(θ_k): what a training loop does, on the flow's own clock t = kη."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..problem import Problem
from ._schedule import AbstractSchedule


def integrate(
    problem: Problem,
    schedule: AbstractSchedule,
    theta0: Float[Array, " dim"],
    ts: Float[Array, " times"],
    t1: Float[Array, ""],
    step: Float[Array, ""],
) -> tuple[Float[Array, "times dim"], Float[Array, " dim"], Array]:
    """The iterates at the last step at or before each of `ts` and t1, and the number of steps.

    Step k covers [kη, (k+1)η) and belongs to the arc that holds its middle, so that `Step(mη)` trains exactly m steps
    on everything, however mη was rounded.
    """

    def advance(k, theta):
        t = k.astype(float) * step
        index = jnp.searchsorted(schedule.discontinuities(), t + 0.5 * step)
        return theta - step * problem.gradient(theta, schedule.piece(index, t))

    # A millionth of a step of slack: ts = kη must mean k steps when kη was rounded down.
    counts = jnp.floor(jnp.append(ts, t1) / step + 1e-6).astype(int)

    def segment(carry, count):
        done, theta = carry
        theta = jax.lax.fori_loop(done, count, advance, theta)
        return (count, theta), theta

    (steps, last), saved = jax.lax.scan(segment, (jnp.zeros((), int), theta0), counts)
    return saved[:-1], last, steps
