"""Bayesian influence: minus the covariance of losses under the posterior around θ* (arXiv 2509.26544; mathematics §10).

    p(w) ∝ exp(−nβ L(w) − ½γ‖w − θ*‖²),   nL = R_1 (sum convention, ridge included),   BIF_qi = −Cov_p(ℓ_i, φ_q)

Notation: β `inverse_temperature`, γ `localisation`, H the Hessian of R_1 (a sum), Σ = (βH + γI)⁻¹ = (nβ H/n + γI)⁻¹.

Weight: if point i enters the exponent with weight β_i, then ∂E[φ_q]/∂β_i = −Cov(ℓ_i, φ_q). Adding a share δ of the whole
point changes E[φ_q] by β δ BIF; removing it, by −β BIF. For a query loss and β → ∞, −β BIF → g_qᵀ(H + (γ/β)I)⁻¹g_i: the
damped influence function, `influence_matrix` with damping λ = γ/(βn).

The samplers move in u with w = θ* + Cu. Preconditioned, CCᵀ = (βG + γI)⁻¹ with G Gauss–Newton at θ*, so that all
directions of the posterior have about unit width, and one step size serves every problem.
"""

import warnings
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from jaxtyping import Array, Float

from .._checks import Number, Theta, Whole, choice, flag, number, whole
from .._errors import RequestError, WorkError
from ..endpoints import require_dense
from ..problem import Dataset, Problem, Queries, check_queries, on_problem
from ._chains import effective_sample_size, split_rhat
from ._gaussian import precision, temperatures
from ._samplers import METHODS, Draws, Posterior, sample

DISAGREE = 1.1  # R̂ from which on chains are said to disagree
# In units of the narrowest direction. `mala` starts here, divided by dim^⅓ (its scaling), and adapts in the burn-in.
_STEP = {"mala": 1.5, "langevin": 0.15, "sgld": 0.1}
_THIN = {"mala": 5, "langevin": 20, "sgld": 25}
_STUCK = 0.01  # share of accepted proposals below which a chain says nothing


class ChainsWarning(UserWarning):
    """`bayesian_influence` warns: chains disagree, are biased, or say too little for the interval that was asked for.

    Example (continues the package's):

        >>> import warnings
        >>> options = {"inverse_temperature": 1.0, "localisation": 1.0, "draws": 200, "chains": 2}
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("error", ChainsWarning)
        ...     print(bayesian_influence(problem, optimum(problem).theta, **options).rhat < 1.1)
        True
    """


class BayesianInfluence(eqx.Module):
    """−Cov(ℓ_i, φ_q) with its diagnostics (arXiv 2509.26544; mathematics §10).

    `influence` (queries, n) = ∂E[φ_q]/∂β_i: − = adding the point lowers the query, in units of query × loss.
    `standard_error` (queries, n) from the spread over half-chains. `bias` (queries, n) is what the step adds, estimated
    as the influence at twice the step less that at the step, with the standard error `bias_error`; both are 0 for
    "mala". `rhat` is the largest split-R̂ over the losses and the queries, `ess` the smallest effective sample size, of
    `draws` × `chains` kept draws. `gradients` counts gradients of the whole risk. `means` (n,) are the posterior means
    of the losses. `step` is the mean over chains, `acceptance` the smallest share of accepted proposals of a chain (1
    where none is refused). `inverse_temperature`, `localisation` and `method` are those of `bayesian_influence`.

    Example (continues the package's):

        >>> options = {"inverse_temperature": 1.0, "localisation": 1.0, "draws": 200, "chains": 2}
        >>> found = bayesian_influence(problem, optimum(problem).theta, **options)
        >>> print(found.influence.shape, found.removal.shape, found.interval().shape, found.method)
        (20, 20) (20, 20) (20, 20, 2) mala
        >>> print(found.rhat < 1.1, found.ess > 50, found.acceptance > 0.3)
        True True True
    """

    influence: Float[Array, "queries n"]
    standard_error: Float[np.ndarray, "queries n"]
    bias: Float[np.ndarray, "queries n"]
    bias_error: Float[np.ndarray, "queries n"]
    means: Float[Array, " n"]
    rhat: float
    ess: float
    draws: int
    chains: int
    gradients: int
    inverse_temperature: float
    localisation: float
    step: float
    acceptance: float
    method: str = eqx.field(static=True)

    @property
    def removal(self) -> Float[Array, "queries n"]:
        """−β BIF: change of E[φ_q] to first order when the point is removed; + = it rises, as `influence_matrix`."""
        return -self.inverse_temperature * self.influence

    def interval(self, level: float = 0.95) -> Float[np.ndarray, "queries n 2"]:
        """Interval of each influence: influence ± (|bias| + t (standard_error + bias_error)), t Student's quantile for
        2·chains half-chains.

        Hypotheses: half-chains are long beside the chains' memory (`ess`) and agree (`rhat`); for "langevin" and "sgld"
        also that twice the step at least doubles the bias (it grows like h², h or faster), so that what it adds bounds
        what is left. "mala" needs no such hypothesis.
        """
        if not 0 < number(level, "level") < 1:
            raise RequestError(f"level must lie between 0 and 1, but is {level}")
        quantile = scipy.stats.t.ppf(0.5 + 0.5 * level, 2 * self.chains - 1)
        half = np.abs(self.bias) + quantile * (self.standard_error + self.bias_error)
        centre = np.asarray(self.influence)
        return np.stack([centre - half, centre + half], axis=-1)

    def __str__(self) -> str:
        agreement = "chains agree" if self.rhat <= DISAGREE else "CHAINS DISAGREE"
        proof = f"acceptance ≥ {self.acceptance:.2f}, no bias of the step"
        if self.method != "mala":
            proof = f"bias of the step up to {np.abs(self.bias).max():.2g} (from twice the step)"
        return (
            f"Bayesian influence ({self.method}): β = {self.inverse_temperature:g}, γ = {self.localisation:g}, "
            f"{self.chains} chains × {self.draws} draws; largest |influence| {float(jnp.max(jnp.abs(self.influence))):.4g}, "
            f"largest standard error {self.standard_error.max():.2g}\n"
            f"  R̂ ≤ {self.rhat:.4f} ({agreement}), effective sample size ≥ {self.ess:.0f}, {self.gradients} gradients; "
            f"step {self.step:.3g}, {proof}"
        )


@on_problem
def bayesian_influence(
    problem: Problem,
    theta: Theta,
    *,
    inverse_temperature: Number,
    localisation: Number,
    draws: Whole,
    chains: Whole = 4,
    seed: Whole = 0,
    queries: Queries | None = None,
    method: str = "mala",
    precondition: bool = True,
    step: Number | None = None,
    thin: Whole | None = None,
    burn_in: Whole | None = None,
    batch_size: Whole | None = None,
    friction: Number | None = None,
    spread: Number = 1.0,
    half_width: Number | None = None,
) -> BayesianInfluence:
    """−Cov(ℓ_i, φ_q) (queries, n) under p(w) ∝ exp(−β R_1(w) − ½γ‖w − θ*‖²) around `theta` = θ*.

    Source: arXiv 2509.26544; mathematics §10. `inverse_temperature` β > 0 and `localisation` γ ≥ 0 as in the module's
    text (R_1 = nL is a sum over points); `draws` are kept per chain, after `burn_in` draws (draws/10 when not given)
    and every `thin`-th step. `queries`: a `Dataset` (the training points when None: the influence is then symmetric) or
    a function θ ↦ (queries,).

    `method`: "mala" (Metropolis-adjusted, whole gradients: exact at every step size), "langevin" (underdamped, Diffrax's
    ALIGN with `friction`, 2 when not given) or "sgld" (Euler; random batches of `batch_size` points, all when None). The
    last two have a bias that chains cannot see, so they run a second time at twice the step, at half of the cost, and
    what that adds widens the intervals. `step` is in units of the narrowest direction of the posterior, as the
    Gauss–Newton matrix sees it (mala finds its own during the burn-in when it is not given); without `precondition` the
    wide directions are then slow. Chains start `spread` posterior widths from θ*.

    Warns (`ChainsWarning`) when R̂ > 1.1, when the bias is twice the sampling error (with a step that would do), and when
    the 95 % interval is wider than ±`half_width` × the largest |influence|, saying how many draws would do. Raises
    `RequestError` for an improper posterior (γ = 0 on a singular model), queries that the problem's loss cannot judge and
    options that would be ignored, `WorkError` if the step is so large that the chains diverge or stand still.

    Example (continues the package's):

        >>> options = {"inverse_temperature": 1.0, "localisation": 1.0}
        >>> found = bayesian_influence(problem, optimum(problem).theta, draws=200, chains=2, **options)
        >>> exact = gaussian_bayesian_influence(problem, optimum(problem).theta, **options)
        >>> print(jnp.abs(found.influence - exact).max() < 0.5 * jnp.abs(exact).max())
        True
    """
    theta = problem.check_theta(theta, "theta")
    beta, gamma = temperatures(inverse_temperature, localisation)
    require_dense(problem, "bayesian_influence")
    choice(method, "method", METHODS)
    flag(precondition, "precondition")
    draws, chains, batch = whole(draws, "draws", 8), whole(chains, "chains", 1), problem.n
    burn_in = whole(max(10, draws // 10) if burn_in is None else burn_in, "burn_in", 0)
    thin = whole(_THIN[method] if thin is None else thin, "thin", 1)
    if batch_size is not None:
        batch = whole(batch_size, "batch_size", 1, problem.n)
        if method != "sgld":
            raise RequestError(f"batch_size is for method='sgld'; method={method!r} uses the whole gradient")
    if friction is not None and method != "langevin":
        raise RequestError("friction is for method='langevin'")
    rub = number(2.0 if friction is None else friction, "friction", above=0.0)
    first = _STEP[method] / (problem.dim ** (1 / 3) if method == "mala" else 1.0)
    size = first if step is None else number(step, "step", above=0.0)
    half_width = None if half_width is None else number(half_width, "half_width", above=0.0)
    values = None if queries is None else _query_values(problem, theta, queries)
    rates, vectors = precision(problem, theta, beta, gamma, "G")
    # The narrowest direction has width λ_max^(−½); preconditioned, all have width 1.
    widths = 1.0 / np.sqrt(rates if precondition else np.full_like(rates, rates[-1]))
    start = number(spread, "spread", least=0.0) / (1.0 if precondition else np.sqrt(rates / rates[-1]))
    posterior = Posterior(problem, theta, jnp.asarray(vectors * widths[None, :]), jnp.asarray(beta), jnp.asarray(gamma))
    key = jax.random.key(whole(seed, "seed", 0))

    def run(key, size, thin):
        return sample(
            posterior, jnp.asarray(size), jnp.asarray(rub), jnp.broadcast_to(jnp.asarray(start), (problem.dim,)),
            jax.random.split(key, chains), jnp.asarray(thin), burn_in, draws, method, batch,
            method == "mala" and step is None, values,
        )  # fmt: skip

    fine, coarse, passes = run(key, size, thin), None, thin
    _require_moving(fine, size)
    if method != "mala":
        wide = max(1, thin // 2)  # as much time between draws, if it can be
        coarse, passes = run(jax.random.fold_in(key, 1), 2 * size, wide), passes + wide
    gradients = round((burn_in + draws) * passes * chains * batch / problem.n)
    return _summarise(fine, coarse, gradients, beta, gamma, method, half_width, stacklevel=3)


def _require_moving(drawn: Draws, step: float) -> None:
    if not (np.isfinite(drawn.losses).all() and np.isfinite(drawn.asked).all()):
        raise WorkError(f"the chains diverged: step = {step:g} is too large for this posterior; try a third of it")
    accepted = float(jnp.min(drawn.accepted))
    if accepted < _STUCK:
        raise WorkError(
            f"a chain stands still: step = {step:g} is too large, only {100 * accepted:.2g} % of its proposals are "
            "accepted; leave step out, or try a third of it"
        )


def _covariance(drawn: Draws) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cov(φ_q, ℓ_i) over all chains, its standard error over half-chains, and all that was recorded."""
    losses = np.asarray(drawn.losses)
    asked = np.asarray(drawn.asked) if drawn.asked.shape[2] else losses
    chains, draws, _ = losses.shape
    # About the mean of all chains: a chain that sits elsewhere is part of the covariance, not hidden by centring.
    away, moved = (part - part.mean(axis=(0, 1), keepdims=True) for part in (losses, asked))
    covariance = np.einsum("cdq,cdn->qn", moved, away) / (chains * draws - 1)
    half = draws // 2
    parts = np.stack([
        np.einsum("dq,dn->qn", moved[c, at : at + half], away[c, at : at + half]) / half
        for c in range(chains)
        for at in (0, draws - half)
    ])  # fmt: skip
    error = parts.std(axis=0, ddof=1) / np.sqrt(len(parts))
    if not np.isfinite(error).all():
        raise WorkError("the losses are so large that their products leave the floats; give x and y in other units")
    return covariance, error, losses if asked is losses else np.concatenate([losses, asked], axis=2)


def _summarise(
    fine: Draws, coarse: Draws | None, gradients: int, beta: float, gamma: float, method: str, half_width: Any,
    stacklevel: int,
) -> BayesianInfluence:  # fmt: skip
    covariance, error, recorded = _covariance(fine)
    bias, bias_error = np.zeros_like(covariance), np.zeros_like(covariance)
    if coarse is not None:
        if np.isfinite(coarse.losses).all() and np.isfinite(coarse.asked).all():
            wide, wide_error, _ = _covariance(coarse)
            bias, bias_error = covariance - wide, np.hypot(error, wide_error)
        else:  # twice the step diverges: nothing is known of the bias
            bias = np.full_like(covariance, np.inf)
    found = BayesianInfluence(
        jnp.asarray(-covariance), error, bias, bias_error, jnp.asarray(np.asarray(fine.losses).mean(axis=(0, 1))),
        float(split_rhat(recorded).max()), float(effective_sample_size(recorded).min()), recorded.shape[1],
        recorded.shape[0], gradients,
        beta, gamma, float(jnp.mean(fine.steps)), float(jnp.min(fine.accepted)), method,
    )  # fmt: skip
    for message in _complaints(found, half_width):
        warnings.warn(message, ChainsWarning, stacklevel=stacklevel + 1)
    return found


def _complaints(found: BayesianInfluence, half_width: Any) -> list[str]:
    messages = []
    if found.rhat > DISAGREE:
        messages.append(
            f"the chains disagree: R̂ = {found.rhat:.3f} > {DISAGREE} with {found.draws} draws each, so the influence is "
            "not that of one posterior; draw more, or localise more strongly"
        )
    largest = max(float(jnp.max(jnp.abs(found.influence))), 1e-300)
    # The root mean squares, that of the bias without what sampling adds to it.
    bias = np.sqrt(max(float(np.mean(found.bias**2 - found.bias_error**2)), 0.0))
    noise = np.sqrt(float(np.mean(found.standard_error**2)))
    # Chains that have not settled differ for other reasons than their step.
    if bias > 2 * noise and found.rhat <= DISAGREE:
        power = 2 if found.method == "langevin" else 1
        better = found.step * (noise / bias) ** (1 / power) if np.isfinite(bias) else found.step / 4
        messages.append(
            f"the step {found.step:g} biases the influences by about {bias / largest:.2g} of the largest, "
            f"{bias / max(noise, 1e-300):.2g} times their standard errors; the intervals are widened by it. "
            f"step={better:.2g} would do, or method='mala', which has none"
        )
    if half_width is not None:
        wide = float(np.ptp(found.interval(), axis=-1).max()) / 2 / largest
        if wide > half_width:
            messages.append(
                f"too few draws for intervals of ±{half_width:g} × the largest influence: they are ±{wide:.3g}, and about "
                f"{_draws_for(found.draws, wide / half_width)} draws per chain are needed"
            )
    return messages


def _draws_for(draws: int, ratio: float) -> str:
    return str(int(np.ceil(draws * min(ratio, 1e9) ** 2))) if np.isfinite(ratio) else "more"


def _query_values(problem: Problem, theta: Array, queries: Any) -> Callable[[Array], Array]:
    """θ ↦ (queries,)."""
    if isinstance(queries, Dataset):
        return _QueryLosses(problem, check_queries(problem, queries, "queries"))
    if not callable(queries):
        raise RequestError("queries must be a Dataset or a function of theta with values (queries,)")
    shape = jax.eval_shape(queries, theta).shape
    if len(shape) > 1:
        raise RequestError(f"queries must give (queries,) values, but gives shape {shape}")
    return _QueryFunction(queries)


class _QueryFunction(eqx.Module):
    function: Callable[[Array], Array]  # a module's arrays stay arrays; a plain function is part of the program

    def __call__(self, w):
        return jnp.atleast_1d(self.function(w))


class _QueryLosses(eqx.Module):
    problem: Problem
    queries: Dataset

    def __call__(self, w):
        outputs = self.problem.predict(w, self.queries.x)
        return jax.vmap(self.problem.loss.value)(outputs, self.queries.y)
