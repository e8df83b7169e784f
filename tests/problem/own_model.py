"""A user's model in one file: f(θ; x) = Σ_k sin(θ_k x_k), not linear in θ."""

import jax
import jax.numpy as jnp

from homotopy import AbstractModel, SquaredLoss


class Waves(AbstractModel):
    """One wave per feature; θ_k is its frequency."""

    def default_loss(self):
        return SquaredLoss()

    def size(self, features, output_shape):
        return features

    def predict(self, theta, x, output_shape):
        return jnp.sum(jnp.sin(x * theta[None]), axis=1)

    def initial(self, key, features, output_shape):
        return 0.1 * jax.random.normal(key, (features,))
