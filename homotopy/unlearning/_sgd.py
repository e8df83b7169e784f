"""The discrete engine: weighted, projected, noisy (stochastic) gradient descent as one `lax.scan`.

    θ ← Π_r( θ − η [ (n/b) Σ_{i∈B_k} w_i(k) ∇ℓ_i(θ) + ρθ ] + σ_k ξ ),   Π_r the projection onto ‖θ‖ ≤ r

Every algorithm here is a choice of the weights w_i(k). Two runs are *coupled* when they see the same mini-batches B_k:
what differs between them then is the weights alone (arXiv 2511.15983). A deleted point keeps its place in the batches
with weight 0, so that the expected push of a batch is that of the sum R_w, whose convention this is (`step` η is that of
descent on the sum; n·η is the step on the mean).
"""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._arrays import as_floats
from .._checks import Number, Whole, number
from .._errors import RequestError
from ..problem import Problem
from . import _checks


class AbstractWeights(eqx.Module):
    """w_i(k): the weight of point i at step k."""

    @abc.abstractmethod
    def __call__(self, k: Int[Array, ""], rows: Int[Array, " b"]) -> Float[Array, " b"]:
        """The weights of the points `rows` at step k."""


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


class PointWeights(AbstractWeights):
    """The same real weight at every step: ascent on the deleted points, shards, soft weights."""

    values: Float[Array, " n"]

    def __call__(self, k, rows):
        return self.values[rows]


def deletion_mask(problem: Problem) -> Float[Array, " n"]:
    """1 on J, 0 elsewhere."""
    return jnp.zeros(problem.n).at[problem.delete].set(1.0)


def mini_batches(key: Any, n: Whole, steps: Whole, batch_size: Whole) -> Int[Array, "steps batch_size"]:
    """The points of every step, drawn uniformly with replacement, the same for every run that is coupled by `key`."""
    rows, columns = _checks.count(steps, "steps", 0), _checks.count(batch_size, "batch_size", 1)
    _checks.count(rows * columns, "steps·batch_size", 0)
    return jax.random.randint(_checks.random_key(key), (rows, columns), 0, _checks.count(n, "n", 1))


def descend(
    problem: Problem,
    theta0: Float[Array, " dim"],
    weights: AbstractWeights,
    step: Float[Array, ""],
    ks: Int[Array, " steps"],
    batches: Int[Array, "steps b"] | None = None,
    radius: Float[Array, ""] | None = None,
    noise: Float[Array, ""] | None = None,
    keys: Any = None,
    *,
    save: bool = False,
) -> tuple[Float[Array, " dim"], Float[Array, "steps dim"] | None]:
    """The steps numbered `ks` from θ₀: the last iterate, and all of them after each step if `save`.

    `batches[k]` are the points of step k (all points when not given), `radius` that of the projection (none when not
    given), `noise` the standard deviation of the Gaussian kick after each step, from `keys` (one per step). Traceable.
    """
    everyone = jnp.arange(problem.n)

    def risk(theta, w, rows):
        if rows is None:
            return problem.weighted_risk(theta, w)
        predictions = problem.predict(theta, problem.data.x[rows])
        losses = jax.vmap(problem.loss.value)(predictions, problem.data.y[rows])
        scale = problem.n / rows.shape[0]
        return scale * jnp.dot(w, losses) + 0.5 * problem.ridge * jnp.dot(theta, theta)

    def advance(theta, inputs):
        k, rows, key = inputs
        w = weights(k, everyone if rows is None else rows)
        theta = theta - step * jax.grad(risk)(theta, w, rows)
        if key is not None and noise is not None:
            theta = theta + noise * jax.random.normal(key, theta.shape)
        if radius is not None:
            theta = project(theta, radius)
        return theta, theta if save else None

    return jax.lax.scan(advance, theta0, (ks, batches, keys))


def project(theta: Float[Array, " dim"], radius: Float[Array, ""]) -> Float[Array, " dim"]:
    """The nearest point of the ball ‖θ‖ ≤ radius."""
    norm = jnp.linalg.norm(theta)
    return theta * jnp.where(norm > radius, radius / jnp.where(norm > 0, norm, 1.0), 1.0)


@eqx.filter_jit
def run(problem, theta0, weights, step, ks, batches, radius, noise, keys, save):
    """`descend`, compiled."""
    return descend(problem, theta0, weights, step, ks, batches, radius, noise, keys, save=save)


def coupled_descent(
    problem: Problem,
    theta0: Float[Array | np.ndarray, "seeds dim"],
    delete: Int[Array | np.ndarray, "deleted k"],
    epsilons: Float[Array | np.ndarray, "runs steps"],
    *,
    step: Number,
    batches: Int[Array | np.ndarray, "seeds rows b"] | None = None,
    radius: Number | None = None,
) -> Float[Array, "seeds deleted runs dim"]:
    """θ after all steps, for every seed, every deleted set and every schedule, in one compiled scan.

    Row d of `delete` is a deleted set; row r of `epsilons` its weight at every step: ones and then zeros for D2D and
    R2D, zeros for retraining. All runs of one seed share θ₀ and the mini-batches (they are coupled); without `batches`
    it is gradient descent. Raises `RequestError` for shapes that do not match, points outside the data and a start
    outside the projection's ball; `inf`/`nan` in the answer means that the step is too large.
    """
    theta0, epsilons = as_floats(theta0, "theta0"), as_floats(epsilons, "epsilons")
    sets = _checks.indices(delete, "delete", 2, _checks.problem(problem).n)
    if theta0.ndim != 2 or theta0.shape[1:] != (problem.dim,):
        raise RequestError(f"theta0 must have shape (seeds, {problem.dim}), but has shape {theta0.shape}")
    if epsilons.ndim != 2:
        raise RequestError(f"epsilons must have shape (runs, steps), but has shape {epsilons.shape}")
    drawn = None if batches is None else _checks.indices(batches, "batches", 3, problem.n)
    if drawn is not None and drawn.shape[:2] != (theta0.shape[0], epsilons.shape[1]):
        raise RequestError(
            f"batches must have shape (seeds, steps, b) = ({theta0.shape[0]}, {epsilons.shape[1]}, b), but has shape "
            f"{drawn.shape}"
        )
    limit = as_radius(radius, theta0)
    size = jnp.asarray(number(step, "step", above=0.0))
    rows = None if drawn is None else jnp.asarray(drawn)
    return _coupled(problem, theta0, jnp.asarray(sets), epsilons, size, rows, limit)


@eqx.filter_jit
def _coupled(problem, theta0, points, epsilons, step, batches, radius):
    masks = jax.vmap(lambda rows: jnp.zeros(problem.n).at[rows].set(1.0))(points)
    ks = jnp.arange(epsilons.shape[1])

    def one(theta0, batches, mask, epsilon):
        return descend(problem, theta0, ScheduleWeights(mask, epsilon), step, ks, batches, radius)[0]

    over_runs = jax.vmap(one, in_axes=(None, None, None, 0))
    over_points = jax.vmap(over_runs, in_axes=(None, None, 0, None))
    return jax.vmap(over_points, in_axes=(0, None if batches is None else 0, None, None))(
        theta0, batches, masks, epsilons
    )


def as_radius(radius: Any, starts: Any) -> Float[Array, ""] | None:
    """The projection's radius; `RequestError` if a start lies outside its ball."""
    if radius is None:
        return None
    value = number(radius, "radius", above=0.0)
    farthest = float(np.max(np.linalg.norm(np.atleast_2d(np.asarray(starts)), axis=1)))
    if farthest > value * (1 + 1e-12):
        raise RequestError(f"radius must not exclude the start: ‖theta0‖ = {farthest:g} > radius = {value:g}")
    return jnp.asarray(value)
