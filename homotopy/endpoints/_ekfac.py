"""EK-FAC for multi-layer perceptrons: the Gauss–Newton matrix, block by layer, diagonal in a Kronecker basis.

Per layer with inputs a (with a 1 for the bias) and output slopes s = (∂f/∂pre-activation)ᵀ L, ∇²_ŷ ℓ = LLᵀ:

    G_layer = Σ_i w_i Σ_c (s_ic s_icᵀ) ⊗ (a_i a_iᵀ),   S = Σ s sᵀ = U_S · U_Sᵀ,   A = Σ a aᵀ = U_A · U_Aᵀ,

and EK-FAC keeps the diagonal of G in the basis U_S ⊗ U_A exactly (George et al. 2018; Grosse et al. 2023). The blocks
between layers and everything off that diagonal are dropped, which the residual shows. Everything is summed over the
outputs, not sampled. Memory O(Σ width²) and one pass over the data.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._errors import RequestError
from ..problem import ACTIVATIONS, MLP
from ._curvature import Curvature
from ._inverse import AbstractInverse
from ._points import output_factor


class _Block(NamedTuple):
    left: Float[Array, "out out"]  # U_S
    right: Float[Array, "in in"]  # U_A
    spectrum: Float[Array, "out in"]


class EKFAC(AbstractInverse):
    """(G_EKFAC + (ρ + nλ)I)⁻¹ v (dim,) for an MLP: a direct, approximate inverse. Give it damping λ > 0.

    The Gauss–Newton matrix block by layer, diagonal in a Kronecker basis (George et al. 2018; Grosse et al. 2023).
    Raises `RequestError` for another model.

    Example (continues the package's):

        >>> theta = network.initial(0)
        >>> estimate = influence(network, theta=theta, hessian="gauss-newton", damping=0.1, solver=EKFAC()).estimate
        >>> estimate.shape
        (10,)
    """

    def prepare(self, curvature):
        problem = curvature.problem
        if not isinstance(problem.model, MLP):
            raise RequestError("solver='ekfac' is for an MLP; linear models have exact solvers that are as fast")
        inputs, slopes = _layers(curvature)
        weights = problem.weights(curvature.epsilon)
        return [_block(a, s, weights) for a, s in zip(inputs, slopes, strict=True)]

    def solve(self, prepared, curvature, vector):
        parts, at = [], 0
        shift = curvature.problem.ridge + curvature.shift
        for left, right, spectrum in prepared:
            out, width = spectrum.shape[0], spectrum.shape[1] - 1
            weight = vector[at : at + out * width].reshape(out, width)
            bias = vector[at + out * width : at + out * (width + 1)]
            block = jnp.concatenate([weight, bias[:, None]], axis=1)
            turned = (left.T @ block @ right) / (spectrum + shift)
            solved = left @ turned @ right.T
            parts += [solved[:, :-1].reshape(-1), solved[:, -1]]
            at += out * (width + 1)
        return jnp.concatenate(parts), jnp.zeros((), int)


def _layers(curvature: Curvature) -> tuple[list[Array], list[Array]]:
    """Per layer: inputs (n, in + 1) and slopes (n, outputs, out)."""
    problem = curvature.problem
    assert isinstance(problem.model, MLP)
    module = problem.model.module(curvature.theta, problem.data.features, problem.output_shape)
    activation = ACTIVATIONS[problem.model.activation]
    layers = module.layers

    def forward(x, nudges):
        inputs = []
        for index, (layer, nudge) in enumerate(zip(layers, nudges, strict=True)):
            inputs.append(jnp.append(x, 1.0))
            x = (layer.weight @ x + layer.bias) + nudge
            x = activation(x) if index + 1 < len(layers) else x
        return x, inputs

    def one(x, target):
        nudges = [jnp.zeros(layer.weight.shape[0]) for layer in layers]
        outputs, pull, inputs = jax.vjp(lambda nudges: forward(x, nudges), nudges, has_aux=True)
        factor = output_factor(problem, outputs.reshape(problem.output_shape), target)
        return inputs, jax.vmap(lambda column: pull(column)[0])(factor.T)

    inputs, slopes = jax.vmap(one)(problem.data.x, problem.data.y)
    assert math.prod(problem.output_shape) == layers[-1].weight.shape[0]
    return inputs, slopes


def _block(inputs: Array, slopes: Array, weights: Array) -> _Block:
    right = jnp.linalg.eigh(inputs.T @ (weights[:, None] * inputs))[1]
    left = jnp.linalg.eigh(jnp.einsum("i,ico,icp->op", weights, slopes, slopes))[1]
    across = jnp.einsum("ico,op->icp", slopes, left) ** 2
    spectrum = jnp.einsum("i,icp,iq->pq", weights, across, (inputs @ right) ** 2)
    return _Block(left, right, spectrum)
