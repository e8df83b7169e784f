"""The exact engine: linear regression under a piecewise constant ε(t), to machine precision (mathematics §5).

Notation: H_ε `hessian` = H₋ + ε X_JᵀX_J (+ρI) = VΛVᵀ, b_ε = −∇R_ε(0) `drive`. On an arc of constant ε,

    θ(t) = θ₀ + V [(1 − e^{−Λt}) (Vᵀθ_ε − Vᵀθ₀)],   θ_ε = H_ε⁺b_ε,

and where λ = 0 the mode does not move if ε ≥ 0, since b_ε then lies in the range of H_ε. That is the correct form of
notes eq. 0.10 and 0.11, singular H included; t = ∞ gives H⁺b + (I − H⁺H)θ₀ (Lemma 0.0.1, corrected).

Λ and V come from the singular values of the rows √w_i x_i (and √ρ I), not from the eigenvalues of H, which have lost
half of the digits: a rate is the square of a singular value. The columns are sorted, longest first, before QR and SVD,
so small singular values keep their relative accuracy whatever the units (Drmač and Veselić 2008). The rank is decided
on equilibrated columns. Only a negative ε, where H_ε has no rows and may be indefinite, takes the eigenvalues.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._columns import column_scales
from ..problem import Problem
from ._abstract import AbstractSchedule
from ._arcs import walk


class Modes(NamedTuple):
    """The flow of one constant ε in the eigenvectors V of its Hessian.

    `rates` λ (0 where H is singular), `settled` Vᵀθ_ε, and `drift`, how fast a mode with λ = 0 moves: 0 unless ε < 0.
    """

    rates: Float[Array, " dim"]
    vectors: Float[Array, "dim dim"]
    settled: Float[Array, " dim"]
    drift: Float[Array, " dim"]


class Quadratic(NamedTuple):
    """R_ε of linear regression: the rows, and what the derivatives (and ε < 0) need, ∇²R_ε and −∇R_ε(0).

    `triangle` is R of the kept rows and √ρ I, columns in `order`, `sides` its right-hand sides; `rows` and `targets` are
    the deleted ones, `weights` their ε.
    """

    triangle: Float[Array, "features features"]
    sides: Float[Array, "features outputs"]
    rows: Float[Array, "k features"]
    targets: Float[Array, "k outputs"]
    order: Int[Array, " features"]
    rounding: Float[Array, ""]
    weights: Float[Array, " k"]
    hessian: Float[Array, "dim dim"]
    drive: Float[Array, " dim"]


def modes(problem: Problem, epsilon: Array) -> Modes:
    """The modes of H_ε; rates that are 0 up to rounding are 0."""
    return _decompose(_quadratic(problem)(epsilon))


def flow(modes: Modes, theta0: Float[Array, " dim"], t: Float[Array, " times"]) -> Float[Array, "times dim"]:
    """θ(t) from θ(0) = θ₀ at the times t ≥ 0 (∞ included)."""
    rates, drift, t = modes.rates[:, None], modes.drift[:, None], t[None]
    still = rates == 0.0
    # 1 − e^{−λt} without cancellation where λt is small, and θ₀ itself outside the product: exact at t = 0. One
    # exponential per mode and time, and all that does not depend on time in the matrix: half the time of a batch.
    moved = jnp.where(still, jnp.where(drift == 0.0, 0.0, t), -jnp.expm1(-jnp.where(still, 1.0, rates) * t))
    towards = jnp.where(still[:, 0], modes.drift, modes.settled - modes.vectors.T @ theta0)
    return theta0[None] + jnp.einsum("mt,dm->td", moved, modes.vectors * towards[None])


def integrate(
    problem: Problem,
    schedule: AbstractSchedule,
    theta0: Float[Array, " dim"],
    ts: Float[Array, " times"],
    t1: Float[Array, ""],
) -> tuple[Float[Array, "times dim"], Float[Array, " dim"]]:
    """θ at `ts`, and θ(t1), through all arcs: one decomposition per arc and nothing else."""

    quadratic = _quadratic(problem)

    def arc(theta, index, start, end):
        length = jnp.where(end > start, end - start, 0.0)  # 0, not ∞ − ∞, for an empty arc at ∞
        lengths = jnp.where(ts >= end, length, jnp.maximum(ts - start, 0.0))
        thetas = _flow(quadratic(schedule.piece(index, start)), theta, jnp.append(lengths, length))
        return thetas[-1], thetas[:-1], None

    last, saved, _ = walk(arc, theta0, schedule, ts, t1, theta0.shape)
    return saved, last


def integrate_constant(
    problem: Problem, epsilons: Float[Array, " m"], theta0: Float[Array, " dim"], ts: Float[Array, " times"]
) -> Float[Array, "m times dim"]:
    """θ(t, ε) for many constant ε: one decomposition each."""
    quadratic = _quadratic(problem)
    # Not a vmap: LAPACK takes one matrix at a time anyway, and a branch stays a branch.
    return jax.lax.map(lambda epsilon: _flow(quadratic(epsilon), theta0, ts), epsilons)


# The arc and its derivative -----------------------------------------------------------------------------------------


def _quadratic(problem: Problem) -> Callable[[Array], Quadratic]:
    """ε ↦ R_ε: what costs O(n) is done once, not for every ε."""
    x, y = problem.design, problem.data.y
    y = y.reshape(problem.n, -1)
    d, outputs = x.shape[1], y.shape[1]
    weights = problem.weights(0.0)[:, None]
    rows, targets = x[problem.delete], y[problem.delete]
    kept = weights * x
    hessian = kept.T @ kept + problem.ridge * jnp.eye(d)
    drive = kept.T @ y
    # The decomposition of the rows has no derivative of its own: it flows through `hessian` and `drive`.
    fixed, sizes = jax.lax.stop_gradient((kept, y, rows, targets, problem.ridge)), column_scales(x)
    kept, y, rows_, targets_, ridge = fixed
    order = jnp.argsort(-jnp.linalg.norm(jax.lax.stop_gradient(x) / sizes[None], axis=0) * sizes)
    stacked = jnp.concatenate([kept[:, order], jnp.sqrt(ridge) * jnp.eye(d)])
    stacked = jnp.concatenate([stacked, jnp.concatenate([weights * y, jnp.zeros((d, outputs))])], axis=1)
    triangle = jnp.linalg.qr(stacked, mode="r")
    rounding = jnp.asarray(max(problem.n, d) * jnp.finfo(float).eps)

    def at(epsilon: Array) -> Quadratic:
        each = jnp.broadcast_to(epsilon, rows.shape[:1])
        small = hessian + rows.T @ (each[:, None] * rows)
        linear = drive + rows.T @ (each[:, None] * targets)
        return Quadratic(
            triangle[:d, :d], triangle[:d, d:], rows_[:, order], targets_, order, rounding, each,
            jnp.kron(small, jnp.eye(outputs)), linear.reshape(-1),
        )  # fmt: skip

    return at


@jax.custom_jvp
def _decompose(given: Quadratic) -> Modes:
    positive = jnp.all(given.weights >= 0)
    return jax.lax.cond(positive, _by_rows, _by_eigenvalues, given)


def _by_rows(given: Quadratic) -> Modes:
    d, outputs = given.sides.shape
    root = jnp.sqrt(given.weights)[:, None]
    rows = jnp.concatenate([given.triangle, root * given.rows])
    sides = jnp.concatenate([given.sides, root * given.targets])
    triangle = jnp.linalg.qr(jnp.concatenate([rows, sides], axis=1), mode="r")
    vectors, sizes, left = jnp.linalg.svd(triangle[:d, :d].T)
    # The rank, of columns of equal size; the largest `rank` modes move.
    even = jnp.linalg.svd(triangle[:d, :d] / column_scales(triangle[:d, :d])[None], compute_uv=False)
    rank = jnp.sum(even > given.rounding * even[0])
    moving = (jnp.arange(d) < rank) & (sizes > 0)
    settled = (left @ triangle[:d, d:]) / jnp.where(moving, sizes, 1.0)[:, None]
    settled = jnp.where(moving[:, None], settled, 0.0).reshape(-1)
    rates = jnp.where(moving, sizes**2, 0.0)
    vectors = jnp.zeros_like(vectors).at[given.order].set(vectors)
    eye = jnp.eye(outputs)
    return Modes(jnp.repeat(rates, outputs), jnp.kron(vectors, eye), settled, jnp.zeros_like(settled))


def _by_eigenvalues(given: Quadratic) -> Modes:
    rates, vectors = jnp.linalg.eigh(given.hessian)
    drives = vectors.T @ given.drive
    still = jnp.abs(rates) <= given.rounding * jnp.max(jnp.abs(rates))
    # With a negative weight b may leave the range of a singular H, and then θ drifts.
    drifts = still & (jnp.abs(drives) > given.rounding * jnp.max(jnp.abs(drives)))
    settled = jnp.where(still, 0.0, drives / jnp.where(still, 1.0, rates))
    return Modes(jnp.where(still, 0.0, rates), vectors, settled, jnp.where(drifts, drives, 0.0))


@_decompose.defjvp
def _decompose_jvp(primals, tangents):
    """dλ_i = (VᵀdHV)_ii, dV = VK with K_ij = (VᵀdHV)_ij/(λ_j − λ_i): infinite where eigenvalues coincide.

    Only derivatives of the second order come here; `_flow_jvp` needs none of these for the first.
    """
    (given,), (moved,) = primals, tangents
    here = _decompose(given)
    still, safe = here.rates == 0.0, jnp.where(here.rates == 0.0, 1.0, here.rates)
    turned = here.vectors.T @ moved.hessian @ here.vectors
    gap = here.rates[None] - here.rates[:, None]
    turn = jnp.where((turned == 0.0) | jnp.eye(len(gap), dtype=bool), 0.0, turned / jnp.where(gap == 0.0, 0.0, gap))
    d_rates = jnp.where(still, 0.0, jnp.diag(turned))
    drives = here.rates * here.settled + here.drift
    d_drives = turn.T @ drives + here.vectors.T @ moved.drive
    d_settled = jnp.where(still, 0.0, (d_drives - here.settled * d_rates) / safe)
    d_drift = jnp.where(here.drift == 0.0, 0.0, d_drives)
    return here, Modes(d_rates, here.vectors @ turn, d_settled, d_drift)


def _factors(rates: Array, t: Array) -> tuple[Array, Array]:
    """e^{−λt} and φ(λ, t), by broadcasting; 1 and t where λ = 0."""
    still = rates == 0.0
    safe = jnp.where(still, 1.0, rates)
    # expm1: without cancellation where λt is small.
    return jnp.where(still, 1.0, jnp.exp(-safe * t)), jnp.where(still, t, -jnp.expm1(-safe * t) / safe)


@jax.custom_jvp
def _flow(given: Quadratic, theta0: Array, t: Array) -> Array:
    return flow(_decompose(given), theta0, t)


@_flow.defjvp
def _flow_jvp(primals, tangents):
    """δθ(t) = e^{−Ht}δθ₀ + ∫₀ᵗ e^{−H(t−s)} (δb − δH θ(s)) ds + θ̇(t) δt, in the eigenvectors of H.

    By hand because the derivative of an eigendecomposition does not exist where eigenvalues coincide (isotropic X,
    several outputs, n + 1 < d), and θ(t) has one there all the same.
    """
    (given, theta0, t), (moved, d_theta0, d_t) = primals, tangents
    here = _decompose(given)
    rates, vectors = here.rates, here.vectors
    still = rates == 0.0
    start = vectors.T @ theta0
    # θ(s) = rest + e^{−λs}(θ₀ − rest) mode by mode; a drifting mode has no such form, and no derivative here.
    rest = jnp.where(still, jnp.where(here.drift == 0.0, start, jnp.nan), here.settled)
    turned = vectors.T @ moved.hessian @ vectors
    d_drives, d_start = vectors.T @ moved.drive, vectors.T @ d_theta0
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
        speed = jnp.where(still, here.drift, rates * jnp.exp(-jnp.where(still, 1.0, rates) * t) * (rest - start))
        return vectors @ (decay * d_start + forced + speed * d_t)

    return flow(here, theta0, t), jax.vmap(at)(t, d_t)
