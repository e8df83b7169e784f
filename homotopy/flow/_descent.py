"""Discrete descent: weighted, projected, noisy (stochastic) gradient descent, on the flow's own clock t = kη.

    θ_{k+1} = Π_r( θ_k − η [ (n/b) Σ_{i∈B_k} w_i(k) ∇ℓ_i(θ_k) + ρθ_k ] + σξ_k ),   Π_r the projection onto ‖θ‖ ≤ r

Every training loop of the package is a choice of the weights w_i(k), and of mini-batches B_k, r and σ. Two runs are
*coupled* when they see the same B_k: what differs between them then is the weights alone (arXiv 2511.15983). A deleted
point keeps its place in the batches with weight 0, so that the expected push of a batch is that of the sum R_w, whose
convention this is (η is the step of descent on the sum; n·η is that on the mean).
"""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..problem import Problem
from ._abstract import AbstractSchedule


class AbstractWeights(eqx.Module):
    """w_i(k): the weight of point i at step k."""

    @abc.abstractmethod
    def __call__(self, k: Int[Array, ""], rows: Int[Array, " b"]) -> Float[Array, " b"]:
        """The weights of the points `rows` at step k."""


class PointWeights(AbstractWeights):
    """The same real weight at every step: ε on the deleted points, ascent on them, shards, subsets."""

    values: Float[Array, " n"]

    def __call__(self, k, rows):
        return self.values[rows]


class StepWeights(AbstractWeights):
    """A weight for every step and point."""

    values: Float[Array, "steps n"]

    def __call__(self, k, rows):
        return self.values[k, rows]


class ScheduleWeights(AbstractWeights):
    """`epsilons[k]` on the points where `mask` is 1, and 1 on the others."""

    mask: Float[Array, " n"]
    epsilons: Float[Array, " steps"]

    def __call__(self, k, rows):
        return 1.0 + self.mask[rows] * (self.epsilons[k] - 1.0)


class RemovalWeights(AbstractWeights):
    """1 before step `removal[i]`, 0 from then on: deletions one after the other."""

    removal: Int[Array, " n"]

    def __call__(self, k, rows):
        return jnp.where(k < self.removal[rows], 1.0, 0.0)


def descent_step(
    problem: Problem,
    theta: Float[Array, " dim"],
    weights: Float[Array, " b"],
    step: Float[Array, ""],
    rows: Int[Array, " b"] | None = None,
) -> Float[Array, " dim"]:
    """θ − η∇ of the risk of the points `rows` (all when not given), blown up to that of n points. Traceable."""

    def risk(theta):
        if rows is None:
            return problem.weighted_risk(theta, weights)
        predictions = problem.predict(theta, problem.data.x[rows])
        losses = jax.vmap(problem.loss.value)(predictions, problem.data.y[rows])
        return problem.n / rows.shape[0] * jnp.dot(weights, losses) + 0.5 * problem.ridge * jnp.dot(theta, theta)

    return theta - step * jax.grad(risk)(theta)


def descent(
    problem: Problem,
    theta0: Float[Array, " dim"],
    weights: AbstractWeights,
    step: Float[Array, ""],
    ks: Int[Array, " steps"],
    *,
    batches: Int[Array, "steps b"] | None = None,
    radius: Float[Array, ""] | None = None,
    noise: Float[Array, ""] | None = None,
    keys: Any = None,
    save: bool = False,
) -> tuple[Float[Array, " dim"], Float[Array, "steps saved"]]:
    """The steps numbered `ks` from θ₀: the last iterate, and all of them after each step if `save` (else (steps, 0)).

    `batches` has a row of points for each of `ks` (all points when not given), `radius` that of the projection (none when not
    given), `noise` the standard deviation of the Gaussian kick after each step, from `keys` (one per step). Traceable.
    """
    everyone = jnp.arange(problem.n)

    def advance(theta, inputs):
        k, rows, key = inputs
        theta = descent_step(problem, theta, weights(k, everyone if rows is None else rows), step, rows)
        if key is not None and noise is not None:
            theta = theta + noise * jax.random.normal(key, theta.shape)
        if radius is not None:
            norm = jnp.linalg.norm(theta)
            theta = theta * jnp.where(norm > radius, radius / jnp.where(norm > 0, norm, 1.0), 1.0)
        return theta, theta if save else theta[:0]

    return jax.lax.scan(advance, theta0, (ks, batches, keys))


compiled_descent = eqx.filter_jit(descent)


def integrate(
    problem: Problem,
    schedule: AbstractSchedule,
    theta0: Float[Array, " dim"],
    ts: Float[Array, " times"],
    t1: Float[Array, ""],
    step: Float[Array, ""],
) -> tuple[Float[Array, "times dim"], Float[Array, " dim"], Array]:
    """Descent under ε(kη): the iterates at the last step at or before each of `ts` and t1, and the number of steps.

    Step k covers [kη, (k+1)η) and belongs to the arc that holds its middle, so that `Step(mη)` trains exactly m steps
    on everything, however mη was rounded.
    """

    def advance(k, theta):
        t = k.astype(float) * step
        index = jnp.searchsorted(schedule.discontinuities(), t + 0.5 * step)
        return descent_step(problem, theta, problem.weights(schedule.piece(index, t)), step)

    # A millionth of a step of slack: ts = kη must mean k steps when kη was rounded down.
    counts = jnp.floor(jnp.append(ts, t1) / step + 1e-6).astype(int)

    def segment(carry, count):
        done, theta = carry
        theta = jax.lax.fori_loop(done, count, advance, theta)
        return (count, theta), theta

    (steps, last), saved = jax.lax.scan(segment, (jnp.zeros((), int), theta0), counts)
    return saved[:-1], last, steps
