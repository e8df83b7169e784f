"""The exact engine: linear regression under a piecewise constant ε(t), to machine precision (mathematics §5).

Notation: H_ε `hessian` = H₋ + ε X_JᵀX_J (+ρI) = QΛQᵀ, b_ε = −∇R_ε(0). On an arc of constant ε,

    θ(t) = Q [e^{−Λt} Qᵀθ₀ + φ(Λ, t) Qᵀb_ε],   φ(λ, t) = (1 − e^{−λt})/λ,

and where λ = 0 the mode does not move if ε ≥ 0, since b_ε then lies in the range of H_ε. That is the correct form of
notes eq. 0.10 and 0.11, singular H included; t = ∞ gives H⁺b + (I − H⁺H)θ₀ (Lemma 0.0.1, corrected).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..problem import Problem
from ._arcs import walk
from ._schedule import AbstractSchedule


class Modes(NamedTuple):
    """The flow of one constant ε in the eigenvectors of its Hessian: rates λ (0 where H is singular), Qᵀb."""

    rates: Float[Array, " dim"]
    vectors: Float[Array, "dim dim"]
    drive: Float[Array, " dim"]


def modes(problem: Problem, epsilon: Array) -> Modes:
    """Eigendecomposition of H_ε; eigenvalues within rounding of 0 are set to 0."""
    return _decompose(*_quadratic(problem, epsilon))


def flow(modes: Modes, theta0: Float[Array, " dim"], t: Float[Array, " times"]) -> Float[Array, "times dim"]:
    """θ(t) from θ(0) = θ₀ at the times t ≥ 0 (∞ included)."""
    rates, drive, t = modes.rates[:, None], modes.drive[:, None], t[None]
    still = rates == 0.0
    safe = jnp.where(still, 1.0, rates)
    # 1 − e^{−λt} without cancellation where λt is small, and θ₀ itself outside the product: exact at t = 0. One
    # exponential per mode and time, and all that does not depend on time in the matrix: half the time of a batch.
    moved = jnp.where(still, jnp.where(drive == 0.0, 0.0, t), -jnp.expm1(-safe * t))
    towards = jnp.where(still, drive, drive / safe - (modes.vectors.T @ theta0)[:, None])
    return theta0[None] + jnp.einsum("mt,dm->td", moved, modes.vectors * towards.T)


def integrate(
    problem: Problem,
    schedule: AbstractSchedule,
    theta0: Float[Array, " dim"],
    ts: Float[Array, " times"],
    t1: Float[Array, ""],
) -> tuple[Float[Array, "times dim"], Float[Array, " dim"]]:
    """θ at `ts`, and θ(t1), through all arcs: one eigendecomposition per arc and nothing else."""

    def arc(theta, index, start, end):
        length = jnp.where(end > start, end - start, 0.0)  # 0, not ∞ − ∞, for an empty arc at ∞
        lengths = jnp.where(ts >= end, length, jnp.maximum(ts - start, 0.0))
        thetas = _flow(*_quadratic(problem, schedule.piece(index, start)), theta, jnp.append(lengths, length))
        return thetas[-1], thetas[:-1], None

    last, saved, _ = walk(arc, theta0, schedule, ts, t1, theta0.shape)
    return saved, last


def integrate_constant(
    problem: Problem, epsilons: Float[Array, " m"], theta0: Float[Array, " dim"], ts: Float[Array, " times"]
) -> Float[Array, "m times dim"]:
    """θ(t, ε) for many constant ε: one batched eigendecomposition."""
    return jax.vmap(lambda epsilon: _flow(*_quadratic(problem, epsilon), theta0, ts))(epsilons)


# The arc and its derivative -----------------------------------------------------------------------------------------


def _quadratic(
    problem: Problem, epsilon: Array
) -> tuple[Float[Array, "dim dim"], Float[Array, " dim"], Float[Array, ""], Bool[Array, ""]]:
    """H_ε, b_ε, the relative rounding error of a sum over the points, and whether every weight is ≥ 0."""
    zero = jnp.zeros(problem.dim)
    rounding = jnp.asarray(max(problem.n, problem.dim) * jnp.finfo(float).eps)
    drive = -problem.gradient(zero, epsilon)
    return problem.hessian(zero, epsilon), drive, rounding, jnp.all(jnp.asarray(epsilon) >= 0)


def _decompose(hessian: Array, drive: Array, rounding: Array, positive: Array) -> Modes:
    rates, vectors = jnp.linalg.eigh(hessian)
    drives = vectors.T @ drive
    singular = jnp.abs(rates) <= rounding * jnp.max(jnp.abs(rates))
    # With a negative weight b may leave the range of a singular H, and then θ drifts: φ = t.
    nothing = singular & (positive | (jnp.abs(drives) <= rounding * jnp.max(jnp.abs(drives))))
    return Modes(jnp.where(singular, 0.0, rates), vectors, jnp.where(nothing, 0.0, drives))


def _factors(rates: Array, t: Array) -> tuple[Array, Array]:
    """e^{−λt} and φ(λ, t), by broadcasting; 1 and t where λ = 0."""
    still = rates == 0.0
    safe = jnp.where(still, 1.0, rates)
    # expm1: without cancellation where λt is small.
    return jnp.where(still, 1.0, jnp.exp(-safe * t)), jnp.where(still, t, -jnp.expm1(-safe * t) / safe)


@jax.custom_jvp
def _flow(hessian: Array, drive: Array, rounding: Array, positive: Array, theta0: Array, t: Array) -> Array:
    return flow(_decompose(hessian, drive, rounding, positive), theta0, t)


@_flow.defjvp
def _flow_jvp(primals, tangents):
    """δθ(t) = e^{−Ht}δθ₀ + ∫₀ᵗ e^{−H(t−s)} (δb − δH θ(s)) ds + θ̇(t) δt, in the eigenvectors of H.

    By hand because the derivative of an eigendecomposition does not exist where eigenvalues coincide (isotropic X,
    several outputs, n + 1 < d), and θ(t) has one there all the same.
    """
    hessian, drive, rounding, positive, theta0, t = primals
    d_hessian, d_drive, _, _, d_theta0, d_t = tangents
    rates, vectors, drives = here = _decompose(hessian, drive, rounding, positive)
    still = rates == 0.0
    start = vectors.T @ theta0
    # θ(s) = rest + e^{−λs}(θ₀ − rest) mode by mode; a drifting mode has no such form, and no derivative here.
    rest = jnp.where(still, jnp.where(drives == 0.0, start, jnp.nan), drives / jnp.where(still, 1.0, rates))
    turned = vectors.T @ d_hessian @ vectors
    d_drives, d_start = vectors.T @ d_drive, vectors.T @ d_theta0
    slower = jnp.minimum(rates[:, None], rates[None])
    gap = jnp.abs(rates[:, None] - rates[None])

    def at(t, d_t):
        decay, phi = _factors(rates, t)
        # A direction in which H is singular is not driven at ε > 0, however long: rounding must not grow to ∞ there.
        phi = jnp.where(still & jnp.isinf(t), 0.0, phi)
        # ∫₀ᵗ e^{−λᵢ(t−s)} e^{−λⱼs} ds, symmetric in i and j and without cancellation where λᵢ ≈ λⱼ
        slow_decay, gap_phi = _factors(slower, t)[0], _factors(gap, t)[1]
        both = slow_decay * jnp.where((gap == 0.0) & jnp.isinf(t), 0.0, gap_phi)
        forced = phi * (d_drives - turned @ rest) - (turned * both) @ (start - rest)
        speed = jnp.where(still, drives, jnp.exp(-jnp.where(still, 1.0, rates) * t) * (drives - rates * start))
        return vectors @ (decay * d_start + forced + speed * d_t)

    return flow(here, theta0, t), jax.vmap(at)(t, d_t)
