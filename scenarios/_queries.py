"""What the attribution scenarios ask of a model: its mean loss on points that it was not trained on."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from homotopy import Dataset, Problem


class MeanLoss(eqx.Module):
    """θ ↦ mean loss of `problem`'s model on `points`; `losses(θ)` are those of the points one by one."""

    problem: Problem
    points: Dataset

    def __call__(self, theta: Array) -> Array:
        return jnp.mean(self.losses(theta))

    def losses(self, theta: Array) -> Array:
        return jax.vmap(self.problem.loss.value)(self.problem.predict(theta, self.points.x), self.points.y)


@eqx.filter_jit
def mean_losses(query: MeanLoss, thetas: Array) -> Array:
    """The mean losses (k,) of `thetas` (k, dim)."""
    return jax.vmap(query)(thetas)
