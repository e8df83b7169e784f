"""`align`: the same network with its neurons in the order, and with the signs, that lie nearest to a reference.

Permuting the hidden neurons, or for an odd activation negating one's inputs and output, changes θ and not f(θ; ·), so
parameters of two endpoints can only be compared after alignment.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.optimize import linear_sum_assignment

from .._checks import Theta
from .._errors import RequestError
from ..problem import MLP, Problem, on_problem

_ODD = ("tanh", "sin", "identity")


@on_problem
def align(problem: Problem, theta: Theta, reference: Theta) -> Float[Array, " dim"]:
    """The θ′ (dim,) with f(θ′; ·) = f(θ; ·) nearest to `reference` over all permutations and sign flips of hidden neurons.

    One hidden layer (an assignment problem, solved exactly by SciPy; Kuhn 1955); `RequestError` for deeper or other
    models.

    Example (continues the package's):

        >>> theta = network.initial(0)
        >>> weights, bias, out, last = theta[:3], theta[3:6], theta[6:9], theta[9:]
        >>> shuffled = jnp.concatenate([-weights[::-1], -bias[::-1], -out[::-1], last])
        >>> print(jnp.abs(align(network, shuffled, theta) - theta).max())
        0.0
    """
    model = problem.model
    if not isinstance(model, MLP) or model.depth != 1:
        raise RequestError("align is for an MLP with one hidden layer: MLP(depth=1)")
    theta, reference = problem.check_theta(theta, "theta"), problem.check_theta(reference, "reference")
    neurons, rest = _split(problem, np.asarray(theta), model.width)
    goal, _ = _split(problem, np.asarray(reference), model.width)

    def cost(candidate: np.ndarray) -> np.ndarray:
        return ((candidate[:, None, :] - goal[None]) ** 2).sum(axis=2)

    kept = cost(neurons)
    flipped = cost(-neurons) if model.activation in _ODD else np.full_like(kept, np.inf)
    chosen, place = linear_sum_assignment(np.minimum(kept, flipped))
    signs = np.where(flipped[chosen, place] < kept[chosen, place], -1.0, 1.0)
    aligned = np.empty_like(neurons)
    aligned[place] = signs[:, None] * neurons[chosen]
    return _join(problem, aligned, rest)


def _split(problem: Problem, theta: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """One row per neuron (input weights, bias, output weights), and the output biases."""
    features = problem.data.features
    inputs = theta[: width * features].reshape(width, features)
    biases = theta[width * features : width * (features + 1)]
    after = theta[width * (features + 1) :]
    outputs = after.size // (width + 1)
    out = after[: outputs * width].reshape(outputs, width)
    return np.column_stack([inputs, biases, out.T]), after[outputs * width :]


def _join(problem: Problem, neurons: np.ndarray, rest: np.ndarray) -> Array:
    features = problem.data.features
    parts = neurons[:, :features].ravel(), neurons[:, features], neurons[:, features + 1 :].T.ravel(), rest
    return jnp.asarray(np.concatenate(parts))
