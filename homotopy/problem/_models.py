"""Models f(θ; x): a flat vector θ (dim,) turned into predictions.

Only this folder knows how θ is laid out; everywhere else it is a vector, as in the mathematics.
`output_shape` is () for one number per point and (outputs,) for several (it comes from the loss and y).
"""

import abc
import functools
import math
from collections.abc import Callable
from typing import Literal

import equinox as eqx
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .._checks import Choice, Whole, choice, whole
from ._losses import AbstractLoss, LogisticLoss, SquaredLoss

# Smooth ones only: the flow, the Hessian and the path θ(ε) need two derivatives.
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "softplus": jax.nn.softplus,
    "gelu": functools.partial(jax.nn.gelu, approximate=False),
    "silu": jax.nn.silu,
    "elu": jax.nn.elu,
    "sin": jnp.sin,
    "identity": lambda x: x,
}


class AbstractModel(eqx.Module):
    """A parametric function f(θ; x) of θ (dim,) (mathematics §1).

    A class of one's own has the abstract methods below, in JAX and twice differentiable in θ; it says `linear` if
    f(θ; x) is. `output_shape` is () for one number per point and (outputs,) for several.

    Example (continues the package's):

        >>> class Sine(AbstractModel):
        ...     def default_loss(self):
        ...         return SquaredLoss()
        ...     def size(self, features, output_shape):
        ...         return 2
        ...     def predict(self, theta, x, output_shape):
        ...         return theta[0] * jnp.sin(theta[1] * x[:, 0])
        ...     def initial(self, key, features, output_shape):
        ...         return jnp.ones(2)
        >>> own = Problem(Sine(), data, delete=3)
        >>> own.model.linear, own.dim, float(own.risk(own.initial(0))) > 0
        (False, 2, True)
    """

    @property
    def linear(self) -> bool:
        """Whether f(θ; x) is linear in θ, and so the risk convex; closed forms are read off this.

        Then f(θ; x) = Φ(x) W for a matrix W (p, *outputs) that θ lists row by row, and no offset: f(0; x) = 0.
        """
        return False

    def design(self, x: Float[Array, "m features"]) -> Float[Array, "m p"]:
        """Φ(x) (m, p) of a model that is `linear`: the derivative of its prediction by θ for one output.

        Example (continues the package's):

            >>> LinearRegression().design(data.x).shape
            (20, 2)
        """
        nothing = jnp.zeros(self.size(x.shape[1], ()))
        return jax.jacobian(lambda theta: self.predict(theta, x, ()))(nothing)

    @abc.abstractmethod
    def default_loss(self) -> AbstractLoss:
        """The loss that `Problem` uses when none is given."""

    @abc.abstractmethod
    def size(self, features: int, output_shape: tuple[int, ...]) -> int:
        """dim, the length of θ."""

    @abc.abstractmethod
    def predict(
        self,
        theta: Float[Array | np.ndarray, " dim"],
        x: Float[Array | np.ndarray, "m features"],
        output_shape: tuple[int, ...],
    ) -> Float[Array, " m *outputs"]:
        """f(θ; x) for the rows of x."""

    @abc.abstractmethod
    def initial(self, key: PRNGKeyArray, features: int, output_shape: tuple[int, ...]) -> Float[Array, " dim"]:
        """A random θ₀, in the model's customary scale."""


class AbstractLinearModel(AbstractModel):
    """f(θ; x) = xᵀW with W (features, *outputs) that θ lists row by row; there is no intercept but a column of ones."""

    @property
    def linear(self):
        return True

    def design(self, x):
        return x

    def size(self, features, output_shape):
        return features * math.prod(output_shape)

    def predict(self, theta, x, output_shape):
        return x @ theta.reshape(x.shape[1], *output_shape)


class LinearRegression(AbstractLinearModel):
    """f(θ; x) = xᵀθ, squared loss: H = XᵀX (mathematics §3). Add a column of ones to x for an intercept. θ₀ ~ N(0, I).

    θ is (features,), or for several outputs (features·outputs,): the matrix (features, outputs) row by row.

    Example (continues the package's):

        >>> print(problem.predict(theta0).shape, problem.hessian(theta0).shape)
        (20,) (2, 2)
    """

    def default_loss(self):
        return SquaredLoss()

    def initial(self, key, features, output_shape):
        return jax.random.normal(key, (self.size(features, output_shape),))


class LogisticRegression(AbstractLinearModel):
    """The logit f(θ; x) = xᵀθ, logistic loss (labels 0, 1); with `CrossEntropyLoss`, one logit per class. θ₀ = 0.

    θ is (features,), or with several classes (features·C,): the matrix (features, C) row by row. `Problem` raises
    `RequestError` for labels that do not suit the loss. Mathematics §1.

    Example (continues the package's):

        >>> print(accuracy(classes, optimum(classes).theta, classes.data))
        0.9
    """

    def default_loss(self):
        return LogisticLoss()

    def initial(self, key, features, output_shape):
        # The risk is convex, so nothing is gained by a random start.
        return jnp.zeros(self.size(features, output_shape))


class MLP(AbstractModel):
    """f(θ; x), a multi-layer perceptron with `depth` hidden layers of `width` neurons (an `equinox.nn.MLP`).

    θ lists each layer's weight matrix (row by row: one row per neuron), then its bias, from input to output.
    `activation` is one of tanh, sigmoid, softplus, gelu, silu, elu, sin, identity: twice differentiable, as the flow
    needs (elu: once, with a Lipschitz derivative). Mathematics §1. One hidden layer: dim = width·(features + 1) +
    outputs·(width + 1). Raises `RequestError` for another activation and for numbers below 1.

    Example (continues the package's):

        >>> theta = network.initial(0)
        >>> module = network.model.module(theta, features=1)
        >>> print(theta.shape, module(jnp.ones(1)).shape, bool((network.model.flatten(module) == theta).all()))
        (10,) () True
    """

    width: int = eqx.field(static=True)
    depth: int = eqx.field(static=True)
    activation: str = eqx.field(static=True)

    def __init__(self, width: Whole = 3, depth: Whole = 1, activation: Choice = "tanh"):
        self.width, self.depth = whole(width, "width", 1), whole(depth, "depth", 1)
        self.activation = choice(activation, "activation", ACTIVATIONS)

    def default_loss(self):
        return SquaredLoss()

    def size(self, features, output_shape):
        outputs = math.prod(output_shape)
        hidden = (self.depth - 1) * self.width * (self.width + 1)
        return self.width * (features + 1) + hidden + outputs * (self.width + 1)

    def predict(self, theta, x, output_shape):
        return jax.vmap(self.module(theta, x.shape[1], output_shape))(x)

    def initial(self, key, features, output_shape):
        return self.flatten(self._make(features, output_shape, key))

    def module(
        self, theta: Float[Array | np.ndarray, " dim"], features: int, output_shape: tuple[int, ...] = ()
    ) -> eqx.nn.MLP:
        """θ as an Equinox module."""
        shapes = eqx.filter_eval_shape(self._make, features, output_shape, jax.random.key(0))
        arrays, rest = eqx.partition(shapes, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))
        leaves, structure = jax.tree.flatten(arrays)
        parts, at = [], 0
        for leaf in leaves:
            parts.append(theta[at : at + leaf.size].reshape(leaf.shape))
            at += leaf.size
        return eqx.combine(jax.tree.unflatten(structure, parts), rest)

    def flatten(self, module: eqx.nn.MLP) -> Float[Array, " dim"]:
        """The θ of an Equinox module of this shape."""
        return jax.flatten_util.ravel_pytree(eqx.filter(module, eqx.is_array))[0]

    def _make(self, features: int, output_shape: tuple[int, ...], key: PRNGKeyArray) -> eqx.nn.MLP:
        out: int | Literal["scalar"] = math.prod(output_shape) if output_shape else "scalar"
        return eqx.nn.MLP(features, out, self.width, self.depth, activation=ACTIVATIONS[self.activation], key=key)
