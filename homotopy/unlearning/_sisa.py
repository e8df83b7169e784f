"""SISA: sharded training, so that forgetting retrains only the shards that saw the points (Bourtoule et al. 2021)."""

import time
from typing import Annotated

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._arrays import as_floats
from .._checks import Indices, Number, Theta, Values, Whole, number
from .._errors import RequestError, WorkError
from ..flow import PointWeights, descent
from ..problem import Problem, on_problem
from . import _checks


class SISA(eqx.Module):
    """An ensemble of models, one per shard: `thetas` (shards, dim), `shard` (n,) where each point is, `alive` (n,).

    `gradient_evaluations` is what the last (re)training cost, in gradients of the whole risk: a step of one of S shards
    costs 1/S; `retrained` how many shards it trained, `seconds` how long it took. `problem`, `theta0` (dim,), `step`
    and `steps` are those of `sisa` (Bourtoule et al. 2021).

    Example (continues the package's):

        >>> trained = sisa(problem, theta0, shards=4, step=0.01, train_steps=20)
        >>> without = trained.delete([3])
        >>> print(trained.thetas.shape, trained.predict().shape, without.retrained, without.gradient_evaluations)
        (4, 2) (20,) 1 5.0
    """

    problem: Problem
    thetas: Float[Array, "shards dim"]
    shard: Int[Array, " n"]
    alive: Float[Array, " n"]
    theta0: Float[Array, " dim"]
    step: Float[Array, ""]
    steps: int = eqx.field(static=True)
    retrained: int = eqx.field(static=True)
    gradient_evaluations: float = eqx.field(static=True)
    seconds: float = eqx.field(static=True)

    def predict(self, x: Annotated[Values, "m features"] | None = None) -> Float[Array, " m *outputs"]:
        """The mean of the shards' predictions."""
        x = self.problem.data.x if x is None else as_floats(x, "x")
        if x.ndim != 2 or x.shape[1] != self.problem.data.features:
            raise RequestError(f"x must have shape (m, {self.problem.data.features}), but has shape {x.shape}")
        return jnp.mean(jax.vmap(lambda theta: self.problem.predict(theta, x))(self.thetas), axis=0)

    def delete(self, delete: Indices) -> "SISA":
        """The ensemble without the points `delete`: their shards are trained again from θ₀, exactly as if never seen.

        Exact for the shards as they were drawn: that they were drawn without a look at the points is not checked. Raises
        `RequestError` for points that are gone already or whose shards would be empty, `WorkError` if a run diverges.
        """
        gone = np.asarray(self.problem.deleting(delete).delete)
        before = gone[np.asarray(self.alive)[gone] == 0]
        if before.size:
            raise RequestError(f"delete must name points in use still, but {before[0]} was deleted before")
        alive = self.alive.at[gone].set(0.0)
        hit = np.unique(np.asarray(self.shard)[gone])
        if any(float(alive[self.shard == s].sum()) == 0 for s in hit):
            raise RequestError("delete must leave something in every shard; use fewer shards or delete fewer points")
        began = time.perf_counter()
        fresh = _train(
            self.problem, self.theta0, _weights(self.shard, alive, hit), self.step, self.steps, len(self.thetas)
        )
        return _made(self, self.thetas.at[hit].set(fresh), alive, len(hit), time.perf_counter() - began)

    def __str__(self) -> str:
        return (
            f"SISA of {len(self.thetas)} shards: {self.retrained} trained in {self.gradient_evaluations:g} gradients, "
            f"{self.seconds * 1e3:.1f} ms; {int(self.alive.sum())} points in use"
        )


@on_problem
def sisa(problem: Problem, theta0: Theta, *, shards: Whole, step: Number, train_steps: Whole, seed: Whole = 0) -> SISA:
    """Train one model per shard, on everything, from the same θ₀ (dim,) (Bourtoule et al. 2021).

    Shard risks are 1/S of R on average, so each has S times the step and 1/S of the ridge: the same descent on means.
    Raises `RequestError` for more shards than points, `WorkError` if the run diverges.

    Example (continues the package's):

        >>> sisa(problem, theta0, shards=4, step=0.01, train_steps=20).thetas.shape
        (4, 2)
    """
    start = problem.check_theta(theta0)
    count = _checks.count(shards, "shards", 1)
    if count > problem.n:
        raise RequestError(f"shards must not exceed the {problem.n} points, but is {count}")
    steps = _checks.count(train_steps, "train_steps", 1)
    eta = jnp.asarray(number(step, "step", above=0.0))
    order = np.random.default_rng(_checks.count(seed, "seed", 0, 2**63 - 1)).permutation(problem.n)
    shard = np.empty(problem.n, dtype=np.int64)
    shard[order] = np.arange(problem.n) % count
    alive = jnp.ones(problem.n)
    began = time.perf_counter()
    thetas = _train(problem, start, _weights(jnp.asarray(shard), alive, np.arange(count)), eta, steps, count)
    empty = SISA(problem, thetas, jnp.asarray(shard), alive, start, eta, steps, count, 0.0, 0.0)
    return _made(empty, thetas, alive, count, time.perf_counter() - began)


def _made(before: SISA, thetas: Array, alive: Array, retrained: int, seconds: float) -> SISA:
    if not bool(jnp.isfinite(thetas).all()):
        raise WorkError(f"a shard diverged: step = {float(before.step):g} is too large")
    cost = before.steps * retrained / len(thetas)
    return SISA(
        before.problem, thetas, before.shard, alive, before.theta0, before.step, before.steps, retrained, cost, seconds
    )


def _weights(shard: Array, alive: Array, which: np.ndarray) -> Float[Array, "shards n"]:
    return jnp.where(shard[None, :] == jnp.asarray(which)[:, None], alive[None, :], 0.0)


@eqx.filter_jit
def _train(problem: Problem, theta0: Array, weights: Array, step: Array, steps: int, shards: int) -> Array:
    light = eqx.tree_at(lambda p: p.ridge, problem, problem.ridge / shards)

    def one(values):
        return descent(light, theta0, PointWeights(values), step * shards, jnp.arange(steps))[0]

    return jax.vmap(one)(weights)
