"""Certified removal: one Newton step per request, hidden by a random linear term in the objective (arXiv 1911.03030).

    train     θ = argmin R_1(θ) + bᵀθ,  b ~ N(0, σ²I)
    remove    θ ← θ + H₋⁻¹ g_J(θ),  H₋ = ∇²R⁻(θ)
    residual  ‖∇R⁻(θ) + b‖ ≤ ½γ ‖X₋‖₂ ‖p‖_∞ ‖p‖,  p = X₋H₋⁻¹g_J,  γ the Lipschitz constant of ℓ″

The paper's γ ‖X₋‖₂ ‖H₋⁻¹g_J‖ ‖p‖ is for inputs of norm ≤ 1; Taylor's remainder ½γ |p_i|² per point asks for no such thing.
The residuals of all removals add up; while their sum β stays within the shift that b hides to (ε, δ), by the analytic
Gaussian mechanism (the paper's σε/√(2 ln(1.5/δ)) is not enough for large ε), the model cannot be told from one that never
saw the points. When the next removal would exceed it, the model is trained again with a new b. As in the paper, the
residual counts as a shift of b that does not itself depend on b.
"""

import math
import time
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._checks import Number, Whole, number
from .._errors import RequestError, WorkError
from ..problem import LinearRegression, LogisticLoss, LogisticRegression, Problem, SquaredLoss
from . import _checks
from ._convex import weighted_minimum
from ._privacy import analytic_gaussian_sigma

# max |ℓ‴| of log(1 + e^ŷ): σ(1−σ)(1−2σ) at its largest (the paper takes 1/4).
LOGISTIC_LIPSCHITZ = 1.0 / (6.0 * math.sqrt(3.0))


@dataclass(frozen=True)
class CertifiedRemoval:
    """R removals in order.

    `thetas` (R, dim) after each. They hold the noise b already: publish one as it is. (ε, δ) is for one release: thetas that
    share their b (all since the last training) tell more together than one alone, and their sequence has no guarantee.
    `bounds` (R,) of the gradient
    residual each removal added, `used` (R,) the sum since the last training, `allowed` what the budget permits,
    `residuals` (R,) the true ‖∇R⁻ + b‖ ≤ used, `retrained` (R,) whether the request was met by training again, `trained`
    (dim,) the model before, `seconds` (R,).
    """

    thetas: Float[Array, "requests dim"]
    trained: Float[Array, " dim"]
    bounds: np.ndarray
    used: np.ndarray
    residuals: np.ndarray
    retrained: np.ndarray
    allowed: float
    privacy_epsilon: float
    privacy_delta: float
    perturbation: float
    seconds: np.ndarray

    def __str__(self) -> str:
        return (
            f"certified removal of {len(self.bounds)} requests: ({self.privacy_epsilon:g}, {self.privacy_delta:g}) with "
            f"objective perturbation σ = {self.perturbation:g}; {int(self.retrained.sum())} retrained, residual used "
            f"{self.used[-1]:.3g} of {self.allowed:.3g} (true {self.residuals[-1]:.1e})"
        )


def certified_removal(
    problem: Problem,
    requests: Any,
    *,
    perturbation: Number,
    privacy_epsilon: Number,
    privacy_delta: Number,
    key: Whole = 0,
) -> CertifiedRemoval:
    """Train with objective perturbation σ = `perturbation` and remove the `requests` in order: points, or groups (R, k).

    `problem.delete` is not looked at. Sum convention: b is added to the sum R, and the ridge stays ρ. Raises
    `RequestError` for models other than linear and (binary) logistic regression, where γ is not known, for ρ = 0, for
    repeated points and budgets outside their range; `WorkError` if training does not reach the residual it may leave.
    """
    if isinstance(problem.model, LinearRegression) and isinstance(problem.loss, SquaredLoss):
        third = 0.0
    elif isinstance(problem.model, LogisticRegression) and isinstance(problem.loss, LogisticLoss):
        third = LOGISTIC_LIPSCHITZ
    else:
        raise RequestError("certified_removal needs linear or binary logistic regression: ℓ″ must be Lipschitz in xᵀθ")
    if float(problem.ridge) <= 0:
        raise RequestError("certified_removal needs a ridge > 0: without it a removal may leave no minimum")
    epsilon, delta = _checks.budget(privacy_epsilon, privacy_delta)
    sigma = number(perturbation, "perturbation", above=0.0)
    groups = np.atleast_1d(np.asarray(requests))
    problem.deleting(groups.reshape(-1))  # refuses repeated points and all of them
    groups = groups.reshape(len(groups), -1)
    allowed = sigma / analytic_gaussian_sigma(1.0, epsilon, delta)  # the Δ of which noise σ gives exactly δ(ε) = δ
    keys = jax.random.split(jax.random.key(key), len(groups) + 1)
    alive = jnp.ones(problem.n)
    tilt = sigma * jax.random.normal(keys[0], (problem.dim,))
    theta, slope = _train(problem, alive, jnp.zeros(problem.dim), tilt)
    trained, used = theta, float(slope)
    if used > allowed:
        raise WorkError(f"training left ‖∇‖ = {used:.1e}, more than the budget's {allowed:.1e}; raise perturbation")
    rows: list[tuple[Array, float, float, float, bool, float]] = []
    for request, group in enumerate(groups):
        began = time.perf_counter()
        gone = jnp.asarray(group)
        after = alive.at[gone].set(0.0)
        moved, bound, residual = _remove(problem, theta, tilt, alive, after, third)
        again = used + float(bound) > allowed
        if again:
            tilt = sigma * jax.random.normal(keys[request + 1], (problem.dim,))
            moved, residual = _train(problem, after, theta, tilt)
            used = float(residual)
        else:
            used += float(bound)
        theta, alive = moved, after
        rows.append((theta, float(bound), used, float(residual), again, time.perf_counter() - began))
    thetas, bounds, sums, residuals, renewed, seconds = zip(*rows, strict=True)
    return CertifiedRemoval(
        jnp.stack(thetas), trained, np.array(bounds), np.array(sums), np.array(residuals), np.array(renewed), allowed,
        epsilon, delta, sigma, np.array(seconds),
    )  # fmt: skip


@eqx.filter_jit
def _train(problem: Problem, weights: Array, start: Array, tilt: Array) -> tuple[Array, Array]:
    return weighted_minimum(problem, weights, start, tilt)


@eqx.filter_jit
def _remove(problem: Problem, theta: Array, tilt: Array, before: Array, after: Array, third: Any):
    gone = before - after

    def loss(theta, weights):
        return jnp.dot(weights, problem.losses(theta))

    slope = jax.grad(loss)(theta, gone)
    hessian = jax.hessian(problem.weighted_risk)(theta, after)
    move = jnp.linalg.solve(hessian, slope)
    x = problem.data.x * after[:, None]
    pushed = x @ move.reshape(problem.data.features, -1)
    spectral = jnp.sqrt(jnp.linalg.eigvalsh(x.T @ x)[-1])
    bound = 0.5 * third * spectral * jnp.max(jnp.abs(pushed)) * jnp.linalg.norm(pushed)
    new = theta + move
    residual = jnp.linalg.norm(jax.grad(problem.weighted_risk)(new, after) + tilt)
    return new, bound, residual
