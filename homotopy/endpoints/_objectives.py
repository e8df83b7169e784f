"""The objectives whose minimisers are the endpoints, as PyTrees: ordinary functions of θ that can be jitted over.

Notation: R_w `Problem.risk` (sum convention), L = R_1/n (mean convention), θˢ `anchor`, λ `damping`, ε `epsilon`,
D_i the Bregman divergence of point i's loss.
"""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..problem import Problem


class AbstractObjective(eqx.Module):
    """A smooth function of θ (dim,), made of the losses of a problem."""

    problem: eqx.AbstractVar[Problem]

    @abc.abstractmethod
    def __call__(self, theta: Float[Array, " dim"]) -> Float[Array, ""]:
        """Its value at θ."""

    @abc.abstractmethod
    def terms(self) -> tuple[Float[Array, " n"], Float[Array, ""]]:
        """w ≥ 0 and shift of Σ_i w_i J_iᵀW_iJ_i + shift·I, its Hessian where the model is linear in θ."""


class WeightedRisk(AbstractObjective):
    """R_ε(θ) + ½·shift·‖θ‖², sum convention (notes, before eq. 0.2); ε one number or one per deleted point."""

    problem: Problem
    epsilon: Float[Array, "..."]
    shift: Float[Array, ""] = eqx.field(default_factory=lambda: jnp.zeros(()))

    def __call__(self, theta):
        return self.problem.risk(theta, self.epsilon) + 0.5 * self.shift * jnp.dot(theta, theta)

    def terms(self):
        return self.problem.weights(self.epsilon), self.problem.ridge + self.shift


class DampedResponse(AbstractObjective):
    """L(θ) − ε ℓ_J(θ) + ½λ‖θ − θ̂‖², mean convention (Bae et al. 2022, §3; notes, Response functions)."""

    problem: Problem
    anchor: Float[Array, " dim"]
    damping: Float[Array, ""]
    epsilon: Float[Array, ""]

    def __call__(self, theta):
        # R_w/n with w_J = 1 − nε is L − ε ℓ_J without a cancellation.
        weighted = self.problem.risk(theta, _kept(self)) / self.problem.n
        return weighted + 0.5 * self.damping * jnp.sum((theta - self.anchor) ** 2)

    def terms(self):
        return _response_terms(self)


class ProximalBregman(AbstractObjective):
    """(1/n) [Σ_i D_i(f(θ; x_i), f(θˢ; x_i)) + ½ρ‖θ − θˢ‖²] − ε ℓ_J(θ) + ½λ‖θ − θˢ‖², mean convention.

    Bae et al. 2022, §4; notes, Response functions.
    The term with ρ is the Bregman divergence of the ridge, so that θˢ is stationary at ε = 0 with it too, and the
    Hessian at (θˢ, ε = 0) is exactly G(θˢ)/n + λI with `Problem.gauss_newton`.
    """

    problem: Problem
    anchor: Float[Array, " dim"]
    damping: Float[Array, ""]
    epsilon: Float[Array, ""]

    def __call__(self, theta):
        n = self.problem.n
        spread = jnp.sum((theta - self.anchor) ** 2)
        divergence = jnp.sum(divergences(self.problem, theta, self.anchor)) / n
        proximity = 0.5 * (self.damping + self.problem.ridge / n) * spread
        return divergence + proximity - self.epsilon * self.problem.deleted_loss(theta)

    def terms(self):
        return _response_terms(self)


def _kept(objective: DampedResponse | ProximalBregman) -> Array:
    """1 − nε, the weight that J keeps; 0 at ε = 1/n, where rounding would leave ±1e-16 of a row of leverage 1."""
    kept = 1.0 - objective.problem.n * objective.epsilon
    return jnp.where(jnp.abs(kept) <= 4 * jnp.finfo(float).eps, 0.0, kept)


def _response_terms(objective: DampedResponse | ProximalBregman) -> tuple[Array, Array]:
    problem, n = objective.problem, objective.problem.n
    return problem.weights(_kept(objective)) / n, objective.damping + problem.ridge / n


def divergences(problem: Problem, theta: Float[Array, " dim"], reference: Float[Array, " dim"]) -> Float[Array, " n"]:
    """D_i(f(θ; x_i), f(θ′; x_i)) of every point."""
    return jax.vmap(problem.loss.bregman)(problem.predict(theta), problem.predict(reference), problem.data.y)
