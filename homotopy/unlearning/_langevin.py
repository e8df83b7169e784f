"""Langevin unlearning: noise all along, so that what is left of a point drowns as training goes on without it.

    dθ = −∇R_{ε(t)}(θ) dt + √(2τ) dW,   ε = 1_[0,ηT],   up to η(T + I)

as a Diffrax SDE, or as its Euler–Maruyama discretisation, projected noisy gradient descent θ ← Π(θ − η∇R + √(2τη) ξ)
(Chien et al. 2024, arXiv 2401.10371). τ is the `temperature`: e^{−R/τ} is what it samples from.
"""

import math
import time
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .._checks import Key, Number, Theta, Whole, number
from .._errors import RequestError
from ..flow import PointWeights, Step, compiled_descent
from ..problem import Problem, on_problem
from . import _checks
from ._constants import Constants, proven
from ._privacy import Guarantee, drift, epsilon_to_renyi, pushes, renyi_to_epsilon
from ._publish import secret
from ._result import Unlearned
from ._run import Run, finite, prepare


def langevin_renyi(
    n: Whole,
    deleted: Whole,
    lipschitz: Number,
    smoothness: Number,
    step: Number,
    train_steps: Whole,
    unlearn_steps: Whole,
    noise: Number,
    strong_convexity: Number | None = None,
    *,
    flow: bool = False,
) -> float:
    """ρ with D_α(unlearned ‖ retrained) ≤ αρ for every α > 1, retrained meaning the same run without J from the start.

    Two runs that a step can stretch by c (as in `rewind_to_delete_sensitivity`) and that J pushes apart by ηmG/n per
    training step would end D = (ηmG/n) c^I (1 − c^T)/(1 − c) apart; spreading that shift over the noise of N steps costs
    ρ = D² / (2 σ² Σ_{k<N} c^{2k}): all N = T + I for c ≤ 1, the I of unlearning for c > 1 (privacy amplification by
    iteration, Feldman et al. 2018; for unlearning Chien et al. 2024, arXiv 2403.17105). Exact for a mean that moves in an
    Ornstein–Uhlenbeck process. `step` is on the mean, `noise` σ that of one step (√(2τη/n)); `flow=True` is the SDE, with
    the same noise per η. Returns ∞ if c > 1 and there is no unlearning step. Raises as `rewind_to_delete_sensitivity`.

    Example (continues the package's):

        >>> print(f"{langevin_renyi(1000, 1, 1.0, 4.0, 0.1, 100, 10, noise=0.01, strong_convexity=0.05):.5f}")
        0.00420
    """
    push, eta, log_rate = pushes(n, deleted, lipschitz, smoothness, step, strong_convexity, flow)
    train, unlearn = _checks.count(train_steps, "train_steps", 1), _checks.count(unlearn_steps, "unlearn_steps", 0)
    kick = number(noise, "noise", above=0.0)
    window = unlearn if log_rate > 0 else train + unlearn
    if window == 0:
        return math.inf
    # D and √Σc^{2k} in units of c^I, so that neither overflows alone where c > 1.
    if log_rate > 0:
        with np.errstate(over="ignore"):
            shift = push * drift(eta, log_rate, train, flow)
        spread = drift(1.0, -2 * log_rate, window, flow) * (1.0 if flow else math.exp(-2 * log_rate))
    else:
        left = 1.0 if unlearn == 0 else math.exp(unlearn * log_rate)
        shift = push * drift(eta, log_rate, train, flow) * left
        spread = drift(1.0, 2 * log_rate, window, flow)
    with np.errstate(all="ignore"):
        value = float((np.float64(shift) / kick) ** 2 / (2 * spread))
    return math.inf if math.isnan(value) else value


@on_problem
def langevin_temperature(
    problem: Problem,
    constants: Constants,
    *,
    step: Number,
    train_steps: Whole,
    unlearn_steps: Whole,
    privacy_epsilon: Number,
    privacy_delta: Number,
    publications: Whole = 1,
) -> float:
    """The smallest temperature τ with which `langevin` meets the budget: ρ ∝ `publications`/τ. `step` is on the sum R.

    Raises `RequestError` for constants that are not the bounds of this very problem: no temperature is proven by
    others. Units: of the sum R. Chien et al., arXiv 2401.10371, 2403.17105.

    Example (continues the package's):

        >>> constants = estimate_constants(classes)
        >>> budget = {"privacy_epsilon": 1.0, "privacy_delta": 1e-3}
        >>> print(f"{langevin_temperature(classes, constants, step=0.05, train_steps=20, unlearn_steps=5, **budget):.3f}")
        21.005
    """
    if not isinstance(constants, Constants) or not proven(problem, constants):
        raise RequestError(
            "constants must be the bounds of this very problem: use estimate_constants(problem, radius=…)"
        )
    rho = epsilon_to_renyi(privacy_epsilon, privacy_delta)
    eta, times = number(step, "step", above=0.0), _checks.count(publications, "publications", 1)
    if not math.isfinite(constants.lipschitz):
        raise RequestError("the squared loss has no Lipschitz constant on the whole space: pass radius")
    unit = langevin_renyi(
        problem.n, len(np.asarray(problem.delete)), constants.lipschitz, constants.smoothness, problem.n * eta,
        train_steps, unlearn_steps, math.sqrt(2 * eta), constants.strong_convexity,
    )  # fmt: skip
    if not (rho and math.isfinite(times * unit / rho)):
        raise RequestError(
            "no temperature meets this budget: the Rényi bound is not finite; take a larger ε or smaller step"
        )
    return times * unit / rho


@on_problem
def langevin(
    problem: Problem,
    theta0: Theta,
    *,
    step: Number | None = None,
    train_steps: Whole,
    unlearn_steps: Whole,
    temperature: Number,
    method: str = "descent",
    radius: Number | None = None,
    key: Key = 0,
    privacy_delta: Number = 1e-5,
    constants: Constants | None = None,
    publications: Whole = 1,
) -> Unlearned:
    """Train T noisy steps on everything from θ₀ (dim,), then I without J; the model is published as it is.

        dθ = −∇R_{ε(t)}(θ) dt + √(2τ) dW,   ε = 1_[0,ηT],   τ = `temperature`   (Chien et al., arXiv 2401.10371)

    `method="sde"` integrates the SDE by Diffrax (ShARK, strong order 1.5 for additive noise, steps η), "descent" the
    projected noisy descent. Raises as `descend_to_delete`.

    Theorem (`langevin_renyi`, `renyi_to_epsilon`): the last iterate is (ε, δ)-indistinguishable from that of the same run
    without J, ε = ρk + 2√(ρk ln(1/δ)) for k = `publications` runs with independent noise. Hypotheses, checked: G, L, μ are
    the bounds of this very problem (seal), G is finite, η ≤ 2/L, ρ is finite; the noisy descent and not a solver's steps.
    Counted: how many different models of the run `publish` gives away, whatever their keys. Not checked: `key` is secret,
    and nothing but the last iterate is seen (`trained` shares its noise with it).

    Example (continues the package's):

        >>> left = langevin(problem, theta0, step=0.01, train_steps=20, unlearn_steps=5, temperature=0.1)
        >>> left.theta.shape, left.gradient_evaluations
        ((2,), 5.0)
    """
    if method not in ("descent", "sde"):
        raise RequestError(f"method must be descent or sde, but is {method!r}")
    if method == "sde" and radius is not None:
        raise RequestError("radius projects descent; the SDE would ignore it")
    train = _checks.count(train_steps, "train_steps", 1)
    unlearn = _checks.count(unlearn_steps, "unlearn_steps", 1)
    tau = number(temperature, "temperature", above=0.0)
    _, delta = _checks.budget(1.0, privacy_delta)
    times = _checks.count(publications, "publications", 1)
    chosen = prepare(problem, theta0, step=step, radius=radius, key=key, constants=constants)
    run = chosen.name_of("langevin", method, tau, train, unlearn)
    first, second = jax.random.split(secret(chosen.key, run))
    trained = _noisy(chosen, method, tau, first, 1.0, train, chosen.theta0)
    began = time.perf_counter()
    theta = _noisy(chosen, method, tau, second, 0.0, unlearn, trained)
    finite(theta, chosen.step)
    seconds = time.perf_counter() - began
    missing = list(chosen.unmet("Langevin"))
    if method == "sde":
        missing.append("a solver's steps are not the exact SDE; method='descent' has a proven bound")
    rho, known = math.inf, chosen.known
    if known is not None and chosen.descends:
        rho = times * langevin_renyi(
            problem.n, chosen.gone, known.lipschitz, known.smoothness, problem.n * chosen.step, train,
            unlearn, math.sqrt(2 * tau * chosen.step), known.strong_convexity, flow=method == "sde",
        )  # fmt: skip
    epsilon = renyi_to_epsilon(rho, delta) if math.isfinite(rho) else math.inf
    if not math.isfinite(epsilon):
        missing.append("the Rényi bound is not finite")
    theorem = f"Langevin, D_α ≤ {rho:.3g}·α, noise made on the way"
    return Unlearned(
        algorithm=f"Langevin unlearning ({'SDE' if method == 'sde' else 'noisy descent'}, τ = {tau:g})",
        theta=theta,
        trained=trained,
        start=trained,
        gradient_evaluations=float(unlearn) * (2 if method == "sde" else 1),
        seconds=seconds,
        schedule=Step(chosen.step * train),
        unlearn_from=chosen.step * train,
        t1=chosen.step * (train + unlearn),
        guarantee=Guarantee(epsilon, delta, 0.0, 0.0, theorem, tuple(missing), times),
        run=run,
    )


def _noisy(chosen: Run, method: str, tau: float, key: Any, epsilon: float, steps: int, start: Any) -> Array:
    """So many noisy steps with weight ε on the deleted points."""
    size = jnp.asarray(chosen.step)
    if method == "sde":
        return jax.block_until_ready(_sde(chosen.problem, start, size, jnp.asarray(tau), key, epsilon, steps))
    weights = PointWeights(chosen.problem.weights(epsilon))
    kick = jnp.asarray(math.sqrt(2 * tau) * math.sqrt(chosen.step))
    keys, ks = jax.random.split(key, steps), jnp.arange(steps)
    end, _ = compiled_descent(chosen.problem, start, weights, size, ks, radius=chosen.limit, noise=kick, keys=keys)
    return jax.block_until_ready(end)


@eqx.filter_jit
def _sde(
    problem: Problem, theta0: Array, step: Array, temperature: Array, key: Array, epsilon: Any, steps: int
) -> Array:
    """θ(ηK) of dθ = −∇R_ε dt + √(2τ) dW from θ₀; NaN where the solver fails."""
    span = step * steps
    motion = diffrax.VirtualBrownianTree(
        0.0, span, tol=0.5 * step, shape=theta0.shape, key=key, levy_area=diffrax.SpaceTimeLevyArea
    )
    scale = jnp.sqrt(2 * temperature)
    terms: Any = diffrax.MultiTerm(
        diffrax.ODETerm(lambda t, theta, _: -problem.gradient(theta, epsilon)),
        diffrax.ControlTerm(lambda t, theta, _: scale * jnp.eye(theta.shape[0]), motion),
    )
    solution = diffrax.diffeqsolve(
        terms,
        diffrax.ShARK(),
        0.0,
        span,
        step,
        theta0,
        saveat=diffrax.SaveAt(t1=True),
        max_steps=steps + 8,
        throw=False,
    )
    return jnp.where(solution.result == diffrax.RESULTS.successful, solution.ys[0], jnp.nan)
