"""What certified removal proves although its residual depends on the noise.

Write θ_b for the minimiser of R + bᵀθ and F for the removal. F(θ_b) is the minimiser of R⁻ + b′ᵀθ with

    b′ = T(b) = −∇R⁻(F(θ_b)) = b − u(b),   DT = (I + E H₋⁻¹)(I − M H⁻¹),

s the Newton step, E = H₋(θ+s) − H₋(θ), M = D³R⁻(θ)[s], H = ∇²R(θ): so the published model has the law of T(b) where
retraining has that of b. As |ℓ‴|, |ℓ⁗| ≤ ℓ″ for the logistic loss, with q ≥ ‖X₋s‖_∞ and φ_k = α_k/(α_k + ρ), α_k the
eigenvalues of ¼XᵀX, for *every* b (‖s‖ ≤ G_J/ρ, G_J = Σ_J ‖x_j‖, q = max‖x‖ G_J/ρ), and q max φ < 1 (then T is one to one):

    ‖u‖ ≤ β = ½γ ‖X‖² q G_J/ρ,     |ln det DT| ≤ D = min( q Σφ − Σ ln(1 − qφ_k),
                                    q Σφ · [½q e^{2q} + e^q (κ + ½q + ½q e^q)/(1 − q max φ)] )

the first from either factor alone (the eigenvalues of both), the second from their difference along θ + ts, to which M is
common: |A′(t) − M| ≤ q² t e^q B, A(t) = H₋(θ+ts) = ρI + B(t), and H − H₋ ≤ κH₋ with κ = Σ_J ‖x_j‖²/(4ρ).

Several removals compose: β and D add up. The privacy loss of either order of the two laws is at most
(β‖b‖ + ½β²)/σ² + D, so that the removal is (ε, δ) as soon as P(‖b‖ > (σ²(ε − D) − ½β²)/β) ≤ δ, ‖b‖/σ ~ χ_dim.
Linear regression has u = 0 and T the identity.
"""

import math

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammaincc

from ..problem import Problem, SquaredLoss
from ._privacy import Guarantee

# max |ℓ‴| of log(1 + e^ŷ): σ(1−σ)(1−2σ) at its largest (the paper takes 1/4).
LOGISTIC_LIPSCHITZ = 1.0 / (6.0 * math.sqrt(3.0))
_THEOREM = "certified removal, for every noise vector b"


def worst_case(problem: Problem, groups: np.ndarray, ridge: float) -> tuple[np.ndarray, np.ndarray]:
    """β and D (R,) of each request alone, for every b; D = ∞ where T may fold."""
    if isinstance(problem.loss, SquaredLoss):
        return np.zeros(len(groups)), np.zeros(len(groups))
    x = np.asarray(problem.design)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        norms, values = np.linalg.norm(x, axis=1), np.linalg.svd(x, compute_uv=False)
        step = norms[groups].sum(axis=1) / ridge
        q = norms.max() * step
        phi = 0.25 * values**2 / (0.25 * values**2 + ridge)
        fold = q[:, None] * phi[None, :]
        logs = np.where(fold < 1, np.log1p(-np.minimum(fold, 1.0)), -math.inf)
        kappa = 0.25 * (norms[groups] ** 2).sum(axis=1) / ridge
        second = 0.5 * q * np.exp(2 * q) + np.exp(q) * (kappa + 0.5 * q * (1 + np.exp(q))) / (1 - q * phi.max())
        volume = np.where(
            q * phi.max() < 1, np.minimum(q * phi.sum() - logs.sum(axis=1), q * phi.sum() * second), math.inf
        )
        shift = 0.5 * LOGISTIC_LIPSCHITZ * values[0] ** 2 * q * step
    return np.nan_to_num(shift, nan=math.inf), np.nan_to_num(volume, nan=math.inf, posinf=math.inf)


def tail(shift: float, volume: float, sigma: float, epsilon: float, dim: int) -> float:
    """The δ that is left at ε: P(privacy loss > ε), at most 1."""
    room = epsilon - volume
    if not room >= 0 or not math.isfinite(shift):
        return 1.0
    if shift == 0:
        return 0.0
    radius = room * sigma / shift - 0.5 * shift / sigma
    return float(gammaincc(0.5 * dim, 0.5 * radius * radius)) if radius > 0 else 1.0


def removal_guarantee(
    problem: Problem,
    groups: np.ndarray,
    renewed: np.ndarray,
    sigma: float,
    budget: tuple[float, float, int],
    allowed: float,
) -> tuple[Guarantee, ...]:
    """The guarantee of the model after each request."""
    epsilon, delta, times = budget
    shifts, volumes = worst_case(problem, groups, float(problem.ridge))
    found = []
    for request in range(len(groups)):
        shift, volume = float(shifts[: request + 1].sum()), float(volumes[: request + 1].sum())
        unmet = []
        if renewed[: request + 1].any():
            unmet.append("a request was met by training again, and whether one is depends on the noise vector b")
        elif tail(shift, volume, sigma, epsilon / times, problem.dim) > delta / times or shift > allowed:
            unmet.append(_advice(problem, groups[: request + 1], sigma, epsilon / times, delta / times))
        found.append(Guarantee(epsilon, delta, 0.0, shift, _THEOREM, tuple(unmet), times))
    return tuple(found)


def _advice(problem: Problem, groups: np.ndarray, sigma: float, epsilon: float, delta: float) -> str:
    def excess(log_ridge: float) -> float:
        shift, volume = (float(part.sum()) for part in worst_case(problem, groups, math.exp(log_ridge)))
        return min(tail(shift, volume, sigma, epsilon, problem.dim), 1.0) - delta

    low, said = math.log(float(problem.ridge)), ""
    high = low + 40.0
    if excess(low) > 0 > excess(high):
        said = f"; a ridge of {1.05 * math.exp(brentq(excess, low, high, xtol=1e-3)):.3g} would do"
    return (
        f"the residual of the Newton steps depends on the noise vector b, and what is proven for every b does not fit into "
        f"({epsilon:g}, {delta:g}){said}"
    )
