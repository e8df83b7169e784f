"""How much noise hides what is left: sensitivities, Gaussian mechanisms, and when they are guarantees.

Notation: n points of which m are `deleted`, G `lipschitz` (every point's loss), L `smoothness`, μ `strong_convexity`
(all of the mean risk R/n), η `step` (of descent on the mean risk, so η/n on the sum), T `train_steps`, K `rewind_steps`,
Δ `sensitivity`, σ the standard deviation of the Gaussian noise on every parameter of the published model.
`privacy_epsilon` and `privacy_delta` are the budget; they have nothing to do with the schedule ε(t).

The theorems compare means over n and over n − m points. Runs on the sum R_w with one step η/n for both, as everywhere
in this package, differ by at most half as much per step (the rest's weight does not change), so that every bound below
holds for them.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import erf, erfcx, log_ndtr, logsumexp

from .._checks import Number, Whole, number
from .._errors import RequestError
from . import _checks


def descent_to_delete_sigma(
    n: Whole,
    lipschitz: Number,
    smoothness: Number,
    strong_convexity: Number,
    unlearn_steps: Whole,
    privacy_epsilon: Number,
    privacy_delta: Number,
) -> float:
    """σ = 4√2 G γ^I / ( μ n (1 − γ^I) [√(ln(1/δ) + ε) − √ln(1/δ)] ), γ = (L − μ)/(L + μ), I = `unlearn_steps`.

    The noise on each parameter that makes Descent-to-Delete with the step η = 2/(L + μ) and I steps after each deletion
    (ε, δ)-unlearning, however many deletions follow one another (Neel et al. 2021, arXiv 2007.02923; mathematics §10).
    Constants of the mean risk. Raises `RequestError` for μ ≤ 0 or μ > L (there is no such function), I < 1, n < 2 and
    budgets outside ε > 0, 0 < δ < 1.

    Example (continues the package's):

        >>> print(f"{descent_to_delete_sigma(1000, 1.05, 3.95, 0.05, 25, 5.0, 1e-6):.4f}")
        0.2167
    """
    number(strong_convexity, "strong_convexity", above=0.0)
    smooth, convex = _checks.constants(smoothness, strong_convexity)
    count = _checks.count(unlearn_steps, "unlearn_steps", 1)
    rate = (smooth / 2 - convex / 2) / (smooth / 2 + convex / 2)  # halves: a sum that overflows is no rate
    return contraction_sigma(n, 1, lipschitz, convex, rate**count, privacy_epsilon, privacy_delta)


def contraction_sigma(
    n: Whole,
    deleted: Whole,
    lipschitz: Number,
    strong_convexity: Number,
    contraction: Number,
    privacy_epsilon: Number,
    privacy_delta: Number,
) -> float:
    """The same σ for any map that brings θ nearer to the optimum by `contraction` < 1, and m `deleted` at a time.

    The optimum moves by at most 2mG/(μn), so that e ← contraction·(e + 2mG/(μn)) bounds the distance of the secret model
    from it for ever, by its fixed point `reach`; the retrained model is as near, so that Δ = 2·reach, and σ = √2 Δ / √ρ
    with ρ = `epsilon_to_renyi`: twice what Rényi's bound of Gaussians (Δ²/2σ² ≤ ρ) asks of Δ, as the paper has it.
    """
    n, deleted = _checks.deletions(n, deleted)
    slope = number(lipschitz, "lipschitz", above=0.0)
    convex = number(strong_convexity, "strong_convexity", above=0.0)
    left = number(contraction, "contraction", least=0.0)
    epsilon, delta = _checks.budget(privacy_epsilon, privacy_delta)
    reach = contraction_reach(n, deleted, slope, convex, left)
    spread = math.sqrt(epsilon_to_renyi(epsilon, delta))
    return _finite(2 * math.sqrt(2) * reach / spread if spread else math.inf, "the noise")


def contraction_reach(n: int, deleted: int, lipschitz: float, strong_convexity: float, contraction: float) -> float:
    """e* = 2mGγ/(μn(1 − γ)), the fixed point of e ← γ(e + 2mG/(μn)): how far the secret model may be from its optimum."""
    if contraction >= 1:
        raise RequestError(f"contraction must be below 1 (take more steps, or a larger ridge), but is {contraction:g}")
    jump = 2 * deleted * lipschitz / n / strong_convexity
    return _finite(jump * contraction / (1 - contraction), "the distance from the optimum") if contraction else 0.0


def rewind_to_delete_sensitivity(
    n: Whole,
    deleted: Whole,
    lipschitz: Number,
    smoothness: Number,
    step: Number,
    train_steps: Whole,
    rewind_steps: Whole,
    strong_convexity: Number | None = None,
    *,
    flow: bool = False,
) -> float:
    """Δ = (2ηmG/n) · c^K · (1 − c^{T−K})/(1 − c) ≥ ‖θ_R2D − θ_retrain‖: one formula, three regimes (mathematics §10).

    c is how far one step can drive two runs apart: 1 + ηL (`strong_convexity=None`: nothing is known of the risk but its
    smoothness), 1 (`0.0`: convex; then Δ = 2ηmG(T − K)/n), max(|1 − ημ|, |1 − ηL|) (μ > 0). K = `rewind_steps` is how
    many of the T steps are done again without the deleted points, from the checkpoint θ_{T−K}: Δ = 0 at K = T, where
    R2D is retraining. `flow=True` is the limit of small steps at the same times, c = e^{ηL}, 1, e^{−ημ} (Grönwall).

    The regimes need every R_w in between to be L-smooth (a bound for the losses of single points is enough). Returns ∞
    where the bound overflows. Raises `RequestError` for K outside [0, T], η > 2/L, μ > L, m ≥ n. Sources: Mu & Klabjan,
    arXiv 2409.09778, 2511.15983 (who take 1 + ηLn/(n − m) for c before the checkpoint where only the mean is L-smooth).

    Example (continues the package's):

        >>> print(f"{rewind_to_delete_sensitivity(1000, 1, 1.0, 4.0, 0.1, 100, 90, strong_convexity=0.0):.4f}")
        0.0020
    """
    push, eta, log_rate = pushes(n, deleted, lipschitz, smoothness, step, strong_convexity, flow)
    train, rewind = _checks.steps(train_steps, rewind_steps)
    value = 2 * push * drift(eta, log_rate, train - rewind, flow) * _power(log_rate, rewind)
    return math.inf if math.isnan(value) else value


def pushes(
    n: Whole,
    deleted: Whole,
    lipschitz: Number,
    smoothness: Number,
    step: Number,
    strong_convexity: Number | None,
    flow: bool,
) -> tuple[float, float, float]:
    """mG/n, by which J pushes two runs apart per unit of η; η; and ln c, by which a step can stretch what lies between."""
    n, deleted = _checks.deletions(n, deleted)
    slope = number(lipschitz, "lipschitz", above=0.0)
    smooth, convex = _checks.constants(smoothness, 0.0 if strong_convexity is None else strong_convexity)
    eta = _checks.descent_step(step, smooth)
    return deleted * slope / n, eta, log_growth(eta, smooth, None if strong_convexity is None else convex, flow)


def log_growth(step: float, smoothness: float, strong_convexity: float | None, flow: bool = False) -> float:
    """ln c, the logarithm of the factor by which one step can stretch the distance between two runs."""
    if strong_convexity is None:
        return step * smoothness if flow else math.log1p(step * smoothness)
    if strong_convexity == 0.0:
        return 0.0
    if flow:
        return -step * strong_convexity
    factor = max(abs(1 - step * strong_convexity), abs(1 - step * smoothness))
    return math.log(factor) if factor > 0 else -math.inf


def drift(step: float, log_rate: float, steps: int, flow: bool = False) -> float:
    """η Σ_{k<steps} c^k, or ∫ of the same over that time for the flow: how far a unit push per step can lead."""
    if steps == 0 or log_rate == 0.0:
        return step * steps
    with np.errstate(over="ignore"):
        grown = float(np.expm1(steps * log_rate)) if math.isfinite(log_rate) else -1.0
        unit = log_rate if flow else float(np.expm1(log_rate)) if math.isfinite(log_rate) else -1.0
    return step * grown / unit


def _power(log_rate: float, steps: int) -> float:
    if steps == 0:
        return 1.0
    with np.errstate(over="ignore"):
        return float(np.exp(steps * log_rate))


# Gaussian mechanisms -------------------------------------------------------------------------------------------------


def gaussian_sigma(sensitivity: Number, privacy_epsilon: Number, privacy_delta: Number) -> float:
    """σ = Δ √(2 ln(1.25/δ)) / ε, the classical Gaussian mechanism (Dwork & Roth 2014, Theorem A.1).

    In the units of Δ. Proven for ε < 1 only, and refused (`RequestError`) beyond: `analytic_gaussian_sigma` holds for
    every ε, with less noise.

    Example (continues the package's):

        >>> print(f"{gaussian_sigma(1.0, 0.5, 1e-5):.3f} {analytic_gaussian_sigma(1.0, 0.5, 1e-5):.3f}")
        9.690 7.032
    """
    delta_two = number(sensitivity, "sensitivity", least=0.0)
    epsilon, delta = _checks.budget(privacy_epsilon, privacy_delta)
    if epsilon >= 1:
        raise RequestError(
            f"privacy_epsilon must be below 1 for the classical mechanism, but is {epsilon:g}; use analytic_gaussian_sigma"
        )
    return _finite(delta_two * math.sqrt(2 * (math.log(1.25) - math.log(delta))) / epsilon, "the noise")


def gaussian_delta(sensitivity: Number, sigma: Number, privacy_epsilon: Number) -> float:
    """δ(ε) = Φ(Δ/2σ − εσ/Δ) − e^ε Φ(−Δ/2σ − εσ/Δ): exactly what noise σ gives (Balle & Wang 2018, Theorem 8).

    Raises `RequestError` for Δ < 0, σ ≤ 0 and ε < 0.

    Example (continues the package's):

        >>> print(f"{gaussian_delta(1.0, analytic_gaussian_sigma(1.0, 0.5, 1e-5), 0.5):.2e}")
        1.00e-05
    """
    delta_two = number(sensitivity, "sensitivity", least=0.0)
    spread = number(sigma, "sigma", above=0.0)
    epsilon = number(privacy_epsilon, "privacy_epsilon", least=0.0)
    ratio = delta_two / spread
    return math.exp(_log_delta(ratio, epsilon)) if ratio else 0.0


def analytic_gaussian_sigma(sensitivity: Number, privacy_epsilon: Number, privacy_delta: Number) -> float:
    """The smallest σ with δ(ε) ≤ δ: the analytic Gaussian mechanism (Balle & Wang 2018, arXiv 1805.06530).

    In the units of Δ = `sensitivity`. Raises `RequestError` for Δ < 0 and budgets outside ε > 0, 0 < δ < 1.

    Example (continues the package's):

        >>> print(f"{analytic_gaussian_sigma(1.0, 5.0, 1e-5):.3f}")
        0.892
    """
    delta_two = number(sensitivity, "sensitivity", least=0.0)
    epsilon, delta = _checks.budget(privacy_epsilon, privacy_delta)

    def excess(log_ratio: float) -> float:  # δ grows with Δ/σ
        return max(_log_delta(math.exp(log_ratio), epsilon) - math.log(delta), -1e300)

    # δ(ε) ≥ ½ once Δ/σ ≥ √(2ε) + 1, and falls below every δ > 0 of float64 as Δ/σ → ε/40 or 0.
    high = max(math.log(math.sqrt(2) * math.sqrt(epsilon) + 40.0), math.log(40.0))
    while excess(high) < 0 and high < 700:
        high += 1.0
    low = min(high, math.log(delta), math.log(epsilon)) - 45.0
    if excess(low) > 0 or excess(high) < 0:
        raise RequestError(f"no noise is found for privacy_epsilon = {epsilon:g}, privacy_delta = {delta:g}")
    log_ratio = brentq(excess, low, high, xtol=1e-13, rtol=1e-13, maxiter=500)
    ratio = math.exp(log_ratio)
    return _finite(delta_two / ratio if ratio else math.inf if delta_two else 0.0, "the noise")


def _log_delta(ratio: float, epsilon: float) -> float:
    """ln δ(ε) for Δ/σ = `ratio`, without cancellation of overflowing terms."""
    if epsilon == 0:
        return float(np.log(erf(ratio / math.sqrt(8))))
    far = epsilon / ratio if epsilon < ratio * 1e150 else 1e150
    first = log_ndtr(ratio / 2 - far)
    # ε + ln Φ(−Δ/2σ − εσ/Δ), the squares multiplied out
    with np.errstate(over="ignore", divide="ignore"):
        second = np.log(0.5 * erfcx((ratio / 2 + far) / math.sqrt(2))) - 0.5 * np.float64(ratio / 2 - far) ** 2
    if second >= first:
        return -math.inf
    return float(logsumexp([first, second], b=[1.0, -1.0]))


def _finite(value: float, what: str) -> float:
    """`value`, or `RequestError` where it is no number of float64."""
    if not math.isfinite(value):
        raise RequestError(f"{what} overflows with these constants and this budget: nothing can be hidden so")
    return float(value)


def renyi_to_epsilon(rho: Number, privacy_delta: Number) -> float:
    """ε = ρ + 2√(ρ ln(1/δ)): the budget at δ of outputs whose Rényi divergences are D_α ≤ αρ for every α > 1.

    Raises `RequestError` for ρ < 0 (Bun & Steinke 2016, Proposition 1.3).

    Example (continues the package's):

        >>> print(f"{renyi_to_epsilon(0.01, 1e-5):.3f}")
        0.689
    """
    rho = number(rho, "rho", least=0.0)
    _, delta = _checks.budget(1.0, privacy_delta)
    return rho + 2 * math.sqrt(rho) * math.sqrt(-math.log(delta))


def epsilon_to_renyi(privacy_epsilon: Number, privacy_delta: Number) -> float:
    """The largest ρ with `renyi_to_epsilon(ρ, δ)` ≤ ε: (√(ln(1/δ) + ε) − √ln(1/δ))².

    Bun & Steinke 2016. Raises `RequestError` for budgets outside ε > 0, 0 < δ < 1.

    Example (continues the package's):

        >>> print(f"{renyi_to_epsilon(epsilon_to_renyi(1.0, 1e-5), 1e-5):.6f}")
        1.000000
    """
    epsilon, delta = _checks.budget(privacy_epsilon, privacy_delta)
    bits = -math.log(delta)
    return (
        epsilon / (math.sqrt(bits + epsilon) + math.sqrt(bits))
    ) ** 2  # the difference of roots, without cancellation


class Budget(NamedTuple):
    """The (ε, δ) that is promised of `publications` different models of one run, all together."""

    epsilon: float
    delta: float
    publications: int


def as_budget(epsilon: Any, delta: Any, publications: Any) -> Budget | None:
    """The budget that was asked for, or None without one."""
    if (epsilon is None) != (delta is None):
        raise RequestError("a privacy budget is privacy_epsilon and privacy_delta, both or neither")
    times = _checks.count(publications, "publications", 1)
    if epsilon is None:
        if times > 1:
            raise RequestError("publications divides a privacy budget: pass privacy_epsilon and privacy_delta with it")
        return None
    return Budget(*_checks.budget(epsilon, delta), times)


@dataclass(frozen=True)
class Guarantee:
    """An (ε, δ)-unlearning guarantee, ε = `privacy_epsilon` and δ = `privacy_delta`, or why there is none.

    `sigma` is the standard deviation of the noise that a published model needs (0 if the algorithm makes its own),
    `sensitivity` Δ the distance that it hides, that of the unlearned model from the retrained one before any noise (0
    if the noise is made on the way), `publications` how many different models of this run the budget pays for,
    `theorem` its source, `unmet` the hypotheses of the theorem that do not hold: with any of them `holds` is false and
    the numbers are not printed as a guarantee. What no code can check: keys are secret, n, m, the step and the
    constants may be known, numbers are real ones, not rounded to 64 bits, and no other model of the same data goes out
    (another deleted set, other settings, another process): each tells as much again, so `publications` must count them
    all.

    Example (continues the package's):

        >>> budget = {"privacy_epsilon": 1.0, "privacy_delta": 1e-3, "constants": estimate_constants(classes)}
        >>> left = descend_to_delete(classes, jnp.zeros(2), train_steps=50, unlearn_steps=5, **budget)
        >>> left.guarantee.holds, left.guarantee.unmet, left.guarantee.sigma > 0, left.guarantee.budget.publications
        (True, (), True, 1)
    """

    privacy_epsilon: float
    privacy_delta: float
    sigma: float
    sensitivity: float
    theorem: str
    unmet: tuple[str, ...] = ()
    publications: int = 1

    @property
    def budget(self) -> Budget:
        """What is promised, of how many models.

        Example (continues the package's):

            >>> Guarantee(1.0, 1e-5, 0.5, 0.1, "Gaussian mechanism").budget.publications
            1
        """
        return Budget(self.privacy_epsilon, self.privacy_delta, self.publications)

    @property
    def holds(self) -> bool:
        """Whether every assumption of the theorem is met."""
        return not self.unmet

    def __str__(self) -> str:
        if not self.holds:
            return f"no guarantee ({self.theorem}): " + "; ".join(self.unmet)
        return (
            f"({self.privacy_epsilon:g}, {self.privacy_delta:g})-unlearning with noise σ = {self.sigma:.4g} on every "
            f"parameter, for {'one published model' if self.publications == 1 else f'{self.publications} published models'} "
            f"({self.theorem})"
        )
