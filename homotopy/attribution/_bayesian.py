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

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from jaxtyping import Array, Float

from .._checks import Number, Whole, choice, flag, number, whole
from .._errors import RequestError, WorkError
from ..endpoints._endpoint import require_dense
from ..endpoints._points import loss_gradients, point
from ..problem import Dataset, Problem, on_problem
from ._chains import effective_sample_size, split_rhat
from ._queries import query_gradients

METHODS = ("langevin", "sgld")
DISAGREE = 1.1  # R̂ from which on chains are said to disagree
# In units of the narrowest direction: the discretisation then costs less than 1 % (langevin) or 3 % (sgld) in variance.
_STEP = {"langevin": 0.15, "sgld": 0.1}
_THIN = {"langevin": 20, "sgld": 25}


class ChainsWarning(UserWarning):
    """The chains disagree, or say too little for the interval that was asked for."""


class BayesianInfluence(eqx.Module):
    """−Cov(ℓ_i, φ_q) with its diagnostics.

    `influence` (queries, n) = ∂E[φ_q]/∂β_i: − = adding the point lowers the query, in units of query × loss.
    `standard_error` (queries, n) from the spread over half-chains. `rhat` is the largest split-R̂ over the losses and
    the queries, `ess` the smallest effective sample size, of `draws` × `chains` kept draws. `gradients` counts
    gradients of the whole risk. `means` (n,) are the posterior means of the losses.
    """

    influence: Float[Array, "queries n"]
    standard_error: Float[np.ndarray, "queries n"]
    means: Float[Array, " n"]
    rhat: float
    ess: float
    draws: int
    chains: int
    gradients: int
    inverse_temperature: Number
    localisation: Number
    method: str = eqx.field(static=True)

    @property
    def removal(self) -> Float[Array, "queries n"]:
        """−β BIF: change of E[φ_q] to first order when the point is removed; + = it rises, as `influence_matrix`."""
        return -self.inverse_temperature * self.influence

    def interval(self, level: float = 0.95) -> Float[np.ndarray, "queries n 2"]:
        """Student's interval of each influence, from 2·chains half-chains."""
        half = scipy.stats.t.ppf(0.5 + 0.5 * level, 2 * self.chains - 1) * self.standard_error
        centre = np.asarray(self.influence)
        return np.stack([centre - half, centre + half], axis=-1)

    def __str__(self) -> str:
        agreement = "chains agree" if self.rhat <= DISAGREE else "CHAINS DISAGREE"
        return (
            f"Bayesian influence ({self.method}): β = {self.inverse_temperature:g}, γ = {self.localisation:g}, "
            f"{self.chains} chains × {self.draws} draws; largest |influence| {float(jnp.max(jnp.abs(self.influence))):.4g}, "
            f"largest standard error {self.standard_error.max():.2g}\n"
            f"  R̂ ≤ {self.rhat:.4f} ({agreement}), effective sample size ≥ {self.ess:.0f}, {self.gradients} gradients"
        )


@on_problem
def bayesian_influence(
    problem: Problem,
    theta: Any,
    *,
    inverse_temperature: Number,
    localisation: Number,
    draws: Whole,
    chains: Whole = 4,
    seed: Whole = 0,
    queries: Any = None,
    method: str = "langevin",
    precondition: bool = True,
    step: Number | None = None,
    thin: Whole | None = None,
    burn_in: Whole | None = None,
    batch_size: Whole | None = None,
    friction: Number = 2.0,
    spread: Number = 1.0,
    half_width: Number | None = None,
) -> BayesianInfluence:
    """−Cov(ℓ_i, φ_q) (queries, n) under p(w) ∝ exp(−β R_1(w) − ½γ‖w − θ*‖²) around `theta` = θ*.

    `inverse_temperature` β > 0 and `localisation` γ ≥ 0 as in the module's text (R_1 = nL is a sum over points);
    `draws` are kept per chain, after `burn_in` draws (draws/10 when not given) and every `thin`-th step. `queries`: a
    `Dataset` (the training points when None: the influence is then symmetric) or a function θ ↦ (queries,).

    `method`: "langevin" (underdamped, Diffrax's ALIGN with `friction`) or "sgld" (Euler; random batches of `batch_size`
    points, all when None). `step` is in units of the narrowest direction of the posterior, as the Gauss–Newton matrix
    sees it; without `precondition` the wide directions are then slow. Chains start `spread` posterior widths from θ*.

    Warns (`ChainsWarning`) when R̂ > 1.1, and when the 95 % interval is wider than ±`half_width` × the largest
    |influence|, saying how many draws would do. Raises `RequestError` for an improper posterior (γ = 0 on a singular
    model) and for options that would be ignored, `WorkError` if the step is so large that the chains diverge.
    """
    theta = problem.check_theta(theta, "theta")
    beta, gamma = _temperature(inverse_temperature, localisation)
    require_dense(problem, "bayesian_influence")
    choice(method, "method", METHODS)
    draws, chains, seed = whole(draws, "draws", 8), whole(chains, "chains", 1), whole(seed, "seed", 0)
    counts = {"draws": draws, "chains": chains}
    burn_in = max(10, draws // 10) if burn_in is None else whole(burn_in, "burn_in", 0)
    thin = _THIN.get(method, 1) if thin is None else whole(thin, "thin", 1)
    flag(precondition, "precondition")
    spread = number(spread, "spread", least=0.0)
    if half_width is not None:
        half_width = number(half_width, "half_width", above=0.0)
    if method == "langevin" and batch_size is not None:
        raise RequestError("batch_size is for method='sgld'; method='langevin' uses the whole gradient")
    if batch_size is not None:
        batch_size = whole(batch_size, "batch_size", 1, problem.n)
    step = number(_STEP[method] if step is None else step, "step", above=0.0)
    friction = number(friction, "friction", above=0.0)
    matrix = beta * np.asarray(_gauss_newton(problem, theta)) + gamma * np.eye(problem.dim)
    rates, vectors = np.linalg.eigh(matrix)
    if rates[0] <= 1e-12 * rates[-1]:
        raise RequestError(
            f"the posterior is improper: βG + γI has the eigenvalue {rates[0]:.3g}; give a localisation > 0"
        )
    # The narrowest direction has width λ_max^(−½); preconditioned, all have width 1.
    widths = 1.0 / np.sqrt(rates if precondition else np.full_like(rates, rates[-1]))
    transform = vectors * widths[None, :]
    values = None if queries is None else _query_values(problem, theta, queries)
    keys = jax.random.split(jax.random.key(int(seed)), int(chains))
    start = float(spread) / (1.0 if precondition else np.sqrt(rates / rates[-1]))
    recorded = _sample(
        problem, theta, jnp.asarray(transform), jnp.asarray(beta), jnp.asarray(gamma), jnp.asarray(float(step)),
        jnp.asarray(float(friction)), jnp.broadcast_to(jnp.asarray(start), (problem.dim,)), keys,
        jnp.asarray(int(thin)), int(burn_in), int(draws), method, int(batch_size or problem.n), values,
    )  # fmt: skip
    losses, asked = (np.asarray(part) for part in recorded)
    if not (np.isfinite(losses).all() and np.isfinite(asked).all()):
        raise WorkError(
            f"the chains diverged: step = {float(step):g} is too large for this posterior; try a third of it"
        )
    steps = (int(burn_in) + int(draws)) * int(thin) * int(chains)
    gradients = steps * (1.0 if batch_size is None else batch_size / problem.n)
    return _summarise(
        losses, asked if values is not None else losses, counts, gradients, beta, gamma, method, half_width
    )


def _summarise(losses, asked, counts, gradients, beta, gamma, method, half_width) -> BayesianInfluence:
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
    both = losses if asked is losses else np.concatenate([losses, asked], axis=2)
    rhat, ess = float(split_rhat(both).max()), float(effective_sample_size(both).min())
    found = BayesianInfluence(
        jnp.asarray(-covariance), error, jnp.asarray(losses.mean(axis=(0, 1))), rhat, ess, draws, chains,
        round(gradients), beta, gamma, method,
    )  # fmt: skip
    if rhat > DISAGREE:
        warnings.warn(
            f"the chains disagree: R̂ = {rhat:.3f} > {DISAGREE} with {draws} draws each, so the influence is not that of "
            "one posterior; draw more, or localise more strongly",
            ChainsWarning,
            stacklevel=3,
        )
    if half_width is not None:
        wide = float(np.ptp(found.interval(), axis=-1).max()) / 2 / max(float(np.abs(covariance).max()), 1e-300)
        if wide > half_width:
            warnings.warn(
                f"too few draws for intervals of ±{half_width:g} × the largest influence: they are ±{wide:.3g}, and about "
                f"{int(np.ceil(draws * min(wide / half_width, 1e9) ** 2))} draws per chain are needed",
                ChainsWarning,
                stacklevel=3,
            )
    return found


@on_problem
def gaussian_bayesian_influence(
    problem: Problem,
    theta: Any,
    *,
    inverse_temperature: Number,
    localisation: Number,
    queries: Dataset | None = None,
    leading: bool = False,
) -> Float[Array, "queries n"]:
    """The same −Cov(ℓ_i, ℓ_q) in closed form for least squares, whose posterior is Gaussian (mathematics §10):

        Cov(ℓ_i, ℓ_q) = g_iᵀΣg_q + ½‖J_iΣJ_qᵀ‖²_F,   Σ = (βH + γI)⁻¹, gradients at its mean θ* − Σβ∇R_1(θ*).

    `leading=True` leaves the second term out, which vanishes against the first as β → ∞; it is then −1/β times the
    damped influence (λ = γ/(βn) in the mean convention), and at θ* defined for every model. Raises as the sampler does.
    """
    theta = problem.check_theta(theta, "theta")
    beta, gamma = _temperature(inverse_temperature, localisation)
    if not problem.least_squares:
        raise RequestError("the closed form is for linear regression with squared loss; use bayesian_influence")
    flag(leading, "leading")
    asked = problem.data if queries is None else queries
    if not isinstance(asked, Dataset) or asked.features != problem.data.features:
        raise RequestError(f"queries must be a Dataset with {problem.data.features} features, or None")
    # For least squares the Gauss–Newton matrix is the Hessian.
    matrix = beta * _gauss_newton(problem, theta) + gamma * jnp.eye(problem.dim)
    rates = np.linalg.eigvalsh(np.asarray(matrix))
    if rates[0] <= 1e-12 * rates[-1]:
        raise RequestError(
            f"the posterior is improper: βH + γI has the eigenvalue {rates[0]:.3g}; give a localisation > 0"
        )
    return _gaussian(problem, theta, matrix, jnp.asarray(beta), asked, jnp.asarray(0.0 if leading else 0.5))


@eqx.filter_jit
def _gauss_newton(problem, theta):
    return problem.gauss_newton(theta)


@eqx.filter_jit
def _gaussian(problem, theta, matrix, beta, asked, second):
    mean = theta - jnp.linalg.solve(matrix, beta * problem.gradient(theta))

    def parts(data):
        jacobians = jax.vmap(lambda x, y: point(problem, mean, x, y).jacobian)(data.x, data.y)
        return loss_gradients(problem, mean, data.x, data.y), jacobians

    mine, mine_j = parts(problem.data)
    theirs, theirs_j = parts(asked)
    whitened = jnp.linalg.inv(jnp.linalg.cholesky(matrix))
    left, right = mine @ whitened.T, theirs @ whitened.T
    products = jnp.einsum("iad,qbd->qiab", mine_j @ whitened.T, theirs_j @ whitened.T)
    return -(right @ left.T + second * jnp.sum(products**2, axis=(2, 3)))


@eqx.filter_jit
def _sample(
    problem, theta, transform, beta, gamma, step, friction, start, keys, thin, burn_in, draws, method, batch, values
):  # fmt: skip
    """Losses (chains, draws, n) and query values (chains, draws, q) of the kept draws."""
    dim, n = problem.dim, problem.n

    def potential(u, weights):
        w = theta + transform @ u
        away = w - theta
        return beta * problem.weighted_risk(w, weights) + 0.5 * gamma * jnp.dot(away, away)

    slope = jax.grad(potential)
    everything = jnp.ones(n)
    solver = diffrax.ALIGN()

    def terms(key):
        noise = diffrax.UnsafeBrownianPath((dim,), key, levy_area=diffrax.SpaceTimeLevyArea)
        drift = diffrax.UnderdampedLangevinDriftTerm(friction, 1.0, lambda u, _: slope(u, everything))
        return diffrax.MultiTerm(drift, diffrax.UnderdampedLangevinDiffusionTerm(friction, 1.0, noise))

    zero = jnp.zeros(())

    def langevin(key, carry):
        state, memory = carry
        state, _, _, memory, _ = solver.step(terms(key), zero, step, state, None, memory, False)
        return state, memory

    def sgld(key, carry):
        (u,), memory = carry
        shuffle, kick = jax.random.split(key)
        if batch < n:
            chosen = jax.random.permutation(shuffle, n)[:batch]
            weights = jnp.zeros(n).at[chosen].set(n / batch)
        else:
            weights = everything
        u = u - 0.5 * step * slope(u, weights) + jnp.sqrt(step) * jax.random.normal(kick, (dim,))
        return (u,), memory

    move = langevin if method == "langevin" else sgld

    def chain(key):
        first, second, rest = jax.random.split(key, 3)
        u = start * jax.random.normal(first, (dim,))
        carry: Any
        if method == "langevin":
            state = (u, jax.random.normal(second, (dim,)))
            carry = state, solver.init(terms(rest), zero, step, state, None)
        else:
            carry = (u,), zero

        def draw(carry, index):
            own = jax.random.fold_in(rest, index)
            carry = jax.lax.fori_loop(0, thin, lambda k, carry: move(jax.random.fold_in(own, k), carry), carry)
            w = theta + transform @ carry[0][0]
            return carry, (problem.losses(w), jnp.zeros(0) if values is None else values(w))

        carry, _ = jax.lax.scan(lambda carry, index: (draw(carry, index)[0], None), carry, jnp.arange(burn_in))
        return jax.lax.scan(draw, carry, burn_in + jnp.arange(draws))[1]

    return jax.vmap(chain)(keys)


def _query_values(problem: Problem, theta: Array, queries: Any) -> Callable[[Array], Array]:
    """θ ↦ (queries,)."""
    if isinstance(queries, Dataset):
        query_gradients(problem, theta, queries)  # refuses what does not fit
        return _QueryLosses(problem, queries)
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


def _temperature(inverse_temperature: Any, localisation: Any) -> tuple[float, float]:
    return number(inverse_temperature, "inverse_temperature", above=0.0), number(
        localisation, "localisation", least=0.0
    )
