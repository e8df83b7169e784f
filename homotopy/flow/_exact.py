"""The exact engine: linear regression under a piecewise constant ε(t), to machine precision (mathematics §5).

Notation: H_ε `hessian` = H₋ + ε X_JᵀX_J (+ρI) = QΛQᵀ, b_ε = −∇R_ε(0). On an arc of constant ε,

    θ(t) = Q [e^{−Λt} Qᵀθ₀ + φ(Λ, t) Qᵀb_ε],   φ(λ, t) = (1 − e^{−λt})/λ,

and where λ = 0 the mode does not move, since b_ε lies in the range of H_ε. That is the correct form of notes eq. 0.10
and 0.11, singular H included; t = ∞ gives H⁺b + (I − H⁺H)θ₀ (Lemma 0.0.1, corrected).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..problem import Problem
from ._arcs import walk
from ._schedule import AbstractSchedule


class Modes(NamedTuple):
    """The flow of one constant ε in the eigenvectors of its Hessian: rates λ ≥ 0 (0 where H is singular), Qᵀb."""

    rates: Float[Array, " dim"]
    vectors: Float[Array, "dim dim"]
    drive: Float[Array, " dim"]


def modes(problem: Problem, epsilon: Array) -> Modes:
    """Eigendecomposition of H_ε; eigenvalues within rounding of 0 are set to 0."""
    zero = jnp.zeros(problem.dim)
    rates, vectors = jnp.linalg.eigh(problem.hessian(zero, epsilon))
    singular = rates <= rates.shape[0] * jnp.finfo(rates.dtype).eps * jnp.max(jnp.abs(rates))
    drive = -vectors.T @ problem.gradient(zero, epsilon)
    return Modes(jnp.where(singular, 0.0, rates), vectors, jnp.where(singular, 0.0, drive))


def flow(modes: Modes, theta0: Float[Array, " dim"], t: Float[Array, " times"]) -> Float[Array, "times dim"]:
    """θ(t) from θ(0) = θ₀ at the times t ≥ 0 (∞ included)."""
    still = modes.rates == 0.0
    safe = jnp.where(still, 1.0, modes.rates)
    moved = -jnp.expm1(-safe * t[:, None])  # 1 − e^{−λt}, without cancellation where λt is small
    moved = jnp.where(still, 0.0, moved)
    start = modes.vectors.T @ theta0
    return (start + moved * (modes.drive / safe - start)) @ modes.vectors.T


def integrate(
    problem: Problem,
    schedule: AbstractSchedule,
    theta0: Float[Array, " dim"],
    ts: Float[Array, " times"],
    t1: Float[Array, ""],
) -> tuple[Float[Array, "times dim"], Float[Array, " dim"]]:
    """θ at `ts`, and θ(t1), through all arcs: one eigendecomposition per arc and nothing else."""

    def arc(theta, index, start, end):
        here = modes(problem, schedule.piece(index, start))
        lengths = jnp.where(ts >= end, end - start, jnp.maximum(ts - start, 0.0))
        thetas = flow(here, theta, jnp.concatenate([lengths, (end - start)[None]]))
        return thetas[-1], thetas[:-1], None

    last, saved, _ = walk(arc, theta0, schedule, ts, t1, theta0.shape)
    return saved, last


def integrate_constant(
    problem: Problem, epsilons: Float[Array, " m"], theta0: Float[Array, " dim"], ts: Float[Array, " times"]
) -> Float[Array, "m times dim"]:
    """θ(t, ε) for many constant ε: one batched eigendecomposition."""
    return jax.vmap(lambda epsilon: flow(modes(problem, epsilon), theta0, ts))(epsilons)
