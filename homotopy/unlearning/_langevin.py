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

from .._checks import Number, Whole, number, whole
from .._errors import RequestError, WorkError
from ..flow import Step
from ..problem import Problem
from . import _checks
from ._constants import Constants
from ._privacy import Guarantee, drift, epsilon_to_renyi, log_growth, renyi_to_epsilon
from ._result import Unlearned
from ._rewind import _known, _request, _step, _unmet
from ._sgd import ScheduleWeights, deletion_mask, run


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
    """
    n, deleted = _checks.deletions(n, deleted)
    slope = number(lipschitz, "lipschitz", above=0.0)
    smooth, convex = _checks.constants(smoothness, 0.0 if strong_convexity is None else strong_convexity)
    eta = _checks.descent_step(step, smooth)
    train, unlearn = whole(train_steps, "train_steps", 1), whole(unlearn_steps, "unlearn_steps", 0)
    kick = number(noise, "noise", above=0.0)
    log_rate = log_growth(eta, smooth, None if strong_convexity is None else convex, flow)
    window = unlearn if log_rate > 0 else train + unlearn
    if window == 0:
        return math.inf
    # D and √Σc^{2k} in units of c^I, so that neither overflows alone where c > 1.
    if log_rate > 0:
        with np.errstate(over="ignore"):
            shift = deleted * slope / n * drift(eta, log_rate, train, flow)
        spread = drift(1.0, -2 * log_rate, window, flow) * (1.0 if flow else math.exp(-2 * log_rate))
    else:
        left = 1.0 if unlearn == 0 else math.exp(unlearn * log_rate)
        shift = deleted * slope / n * drift(eta, log_rate, train, flow) * left
        spread = drift(1.0, 2 * log_rate, window, flow)
    with np.errstate(over="ignore"):
        return float(np.float64(shift) ** 2 / (2 * kick**2 * spread))


def langevin_temperature(
    problem: Problem,
    constants: Constants,
    *,
    step: Number,
    train_steps: Whole,
    unlearn_steps: Whole,
    privacy_epsilon: Number,
    privacy_delta: Number,
) -> float:
    """The smallest temperature τ with which `langevin` meets the budget: ρ ∝ 1/τ. `step` is on the sum R."""
    rho = epsilon_to_renyi(privacy_epsilon, privacy_delta)
    gone = len(np.asarray(problem.delete))
    unit = langevin_renyi(
        problem.n, gone, constants.lipschitz, constants.smoothness, problem.n * step, train_steps, unlearn_steps,
        math.sqrt(2 * step), constants.strong_convexity,
    )  # fmt: skip
    return unit / rho


def langevin(
    problem: Problem,
    theta0: Any,
    *,
    step: Number | None = None,
    train_steps: Whole,
    unlearn_steps: Whole,
    temperature: Number,
    method: str = "descent",
    radius: Number | None = None,
    key: Whole = 0,
    privacy_delta: Number = 1e-5,
    constants: Constants | None = None,
) -> Unlearned:
    """Train T noisy steps on everything, then I without J; the model is published as it is.

    `method="sde"` integrates the SDE by Diffrax (ShARK, strong order 1.5 for additive noise, steps η), "descent" the
    projected noisy descent. The guarantee at `privacy_delta` is `renyi_to_epsilon(langevin_renyi(…))` where G, L and μ
    are bounds; a step of the SDE solver is no exact SDE, and the guarantee says so. Raises as `descend_to_delete`.
    """
    if method not in ("descent", "sde"):
        raise RequestError(f"method must be descent or sde, but is {method!r}")
    like = "descent" if method == "descent" else "flow"
    theta0, _, limit = _request(problem, theta0, like, None, radius, None, None)
    train = whole(train_steps, "train_steps", 1)
    unlearn = whole(unlearn_steps, "unlearn_steps", 1)
    tau = number(temperature, "temperature", above=0.0)
    _checks.budget(1.0, privacy_delta)
    known = _known(problem, constants, radius, None)
    eta = _step(problem, step, known)
    first, second = jax.random.split(jax.random.key(key))
    mask, size = deletion_mask(problem), jnp.asarray(eta)
    seconds = 0.0
    if method == "sde":
        trained = _sde(problem, theta0, size, jnp.asarray(tau), first, 1.0, train)
        jax.block_until_ready(trained)
        began = time.perf_counter()
        theta = _sde(problem, trained, size, jnp.asarray(tau), second, 0.0, unlearn)
    else:
        weights = ScheduleWeights(mask, jnp.repeat(jnp.array([1.0, 0.0]), jnp.array([train, unlearn])))
        kick = jnp.sqrt(2 * tau * size)
        keys = jax.random.split(first, train), jax.random.split(second, unlearn)
        ks = jnp.arange(train), train + jnp.arange(unlearn)
        trained, _ = run(problem, theta0, weights, size, ks[0], None, limit, kick, keys[0], False)
        jax.block_until_ready(trained)
        began = time.perf_counter()
        theta, _ = run(problem, trained, weights, size, ks[1], None, limit, kick, keys[1], False)
    if not bool(jnp.isfinite(theta).all()):
        raise WorkError(f"the run diverged: step = {eta:g} is too large; it must be below 2/λ_max(∇²R)")
    seconds = time.perf_counter() - began
    missing = list(_unmet(known, "Langevin"))
    if method == "sde":
        missing.append("a solver's steps are not the exact SDE; method='descent' has a proven bound")
    rho = math.inf
    if known is not None and math.isfinite(known.lipschitz):
        rho = langevin_renyi(
            problem.n, len(np.asarray(problem.delete)), known.lipschitz, known.smoothness, problem.n * eta, train,
            unlearn, math.sqrt(2 * tau * eta), known.strong_convexity, flow=method == "sde",
        )  # fmt: skip
    if not math.isfinite(rho):
        missing.append("the Rényi bound is not finite")
    epsilon = math.inf if not math.isfinite(rho) else renyi_to_epsilon(rho, privacy_delta)
    guarantee = Guarantee(
        epsilon, privacy_delta, 0.0, 0.0, f"Langevin, D_α ≤ {rho:.3g}·α, noise made on the way", tuple(missing)
    )
    return Unlearned(
        algorithm=f"Langevin unlearning ({'SDE' if method == 'sde' else 'noisy descent'}, τ = {tau:g})",
        theta=theta,
        trained=trained,
        start=trained,
        gradient_evaluations=float(unlearn) * (2 if method == "sde" else 1),
        seconds=seconds,
        schedule=Step(eta * train),
        unlearn_from=eta * train,
        t1=eta * (train + unlearn),
        guarantee=guarantee,
    )


@eqx.filter_jit
def _sde(
    problem: Problem, theta0: Array, step: Array, temperature: Array, key: Array, epsilon: Any, steps: int
) -> Array:
    """θ(ηK) of dθ = −∇R_ε dt + √(2τ) dW from θ₀."""
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
    return solution.ys[0]
