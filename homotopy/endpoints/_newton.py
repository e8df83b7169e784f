"""Minimisation by a trust-region Newton method on the full Hessian, as one traced loop that can be batched.

Each step minimises the quadratic model inside ‖p‖ ≤ Δ exactly (`_quadratic`). Convex risks of many weights at once have a
cheaper loop (`_weighted`).

Notation: p `step`, Δ `radius`.
"""

from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ._endpoint import DENSE_LIMIT, STATIONARITY, Endpoint, Outcome, proven
from ._frame import (
    Frame,
    Objective,
    Spectrum,
    condition,
    frame,
    framed,
    is_linear,
    null_losses,
    rounding_error,
    smallest_rate,
    spectrum,
)
from ._objectives import AbstractObjective
from ._quadratic import Local, local_model, local_of, newton_step, trust_region_step

MAX_ITERATIONS = 500
# The actual decrease is a difference of objective values; below this part of them it is rounding.
_RESOLUTION = 1e-9
# Steps after the tolerance is met: quadratic convergence needs two or three, a curved valley some more.
_POLISH = 8


class Quality(NamedTuple):
    """What a `Local` says about θ as a minimum: norms of the frame, and beside them those of the user's units."""

    value: Float[Array, ""]
    norm: Float[Array, ""]  # ‖∇′‖
    error: Float[Array, ""]  # ‖H′⁺∇′‖
    smallest: Float[Array, ""]
    decrement: Float[Array, ""]  # √(∇ᵀH⁺∇): how far the predictions are from their end
    condition: Float[Array, ""]
    steepest: Float[Array, ""]  # max |λ|
    user_norm: Float[Array, ""]
    user_error: Float[Array, ""]


class _State(NamedTuple):
    theta: Float[Array, " dim"]
    radius: Float[Array, ""]
    iterations: Int[Array, ""]
    best: Float[Array, " dim"]  # the most stationary θ so far, among those within the tolerance
    best_norm: Float[Array, ""]
    polished: Int[Array, ""]  # steps since the tolerance was first met
    done: Bool[Array, ""]  # θ is the answer, and its quality is what remains to be seen
    judged: Bool[Array, ""]
    quality: Quality


def minimise(
    objective: Objective,
    start: Float[Array, " dim"],
    *,
    kind: str,
    radius: float | Float[Array, ""] = 1.0,
    max_iterations: int | Int[Array, ""] = MAX_ITERATIONS,
    origin: Float[Array, " dim"] | None = None,
    iterations: Int[Array, ""] | int = 0,
) -> Endpoint:
    """The local minimum of `objective` that trust-region Newton steps reach from `start`.

    Runs in the frame of `objective`, until ‖∇′‖ ≤ 1e-9·(u + ‖∇′ at the origin‖), then a few steps more as long as they
    help, and returns the most stationary θ: as stationary as 64-bit floats allow. `origin` is where θ came from (the
    start when None); `radius` is the first Δ relative to u + ‖θ′‖; with `max_iterations` 0 the start is judged and
    nothing else.
    """
    here = frame(objective, start.shape[0])
    came_from, start = start if origin is None else origin, start / here.scale
    slope = jax.grad(framed(objective, here))(came_from / here.scale)
    tolerance = STATIONARITY * (here.unit + jnp.linalg.norm(slope))
    zero, one = jnp.zeros((), int), jnp.ones(())
    first = radius * (here.unit + jnp.linalg.norm(start))
    over = ~jnp.all(jnp.isfinite(start)) | (jnp.asarray(max_iterations) <= 0)
    nothing = Quality(*(one,) * len(Quality._fields))
    state = _State(start, first, zero, start, jnp.inf * one, zero, over, jnp.zeros((), bool), nothing)
    improve = partial(_improved, objective, here, tolerance, jnp.asarray(max_iterations))
    end = jax.lax.while_loop(lambda state: ~state.judged, improve, state)
    return _judged(objective, here, end.theta, end.quality, slope, end.iterations + iterations, kind)


def _improved(objective: Objective, here: Frame, tolerance: Array, max_iterations: Array, state: _State) -> _State:
    """One step further; the last pass only judges the answer: one copy of the Hessian in the graph, half the compile time."""
    local = local_model(objective, here, state.theta)
    norm = jnp.linalg.norm(local.gradient)
    near = norm <= tolerance
    inner = trust_region_step(local, state.radius, tolerance)
    length = jnp.linalg.norm(inner)
    trial, slope, ratio = _tried(objective, here, state.theta, local, inner)
    accept = ((ratio > 1e-3) | (near & (slope < 0.5 * norm))) & jnp.isfinite(slope)
    radius = jnp.where(ratio < 0.25, 0.25 * jnp.minimum(length, state.radius), state.radius)
    radius = jnp.where((ratio > 0.75) & (length > 0.9 * state.radius), 2.0 * state.radius, radius)
    stuck = radius <= 1e-15 * (here.unit + jnp.linalg.norm(state.theta))
    theta = jnp.where(accept, trial, state.theta)
    better = near & (norm < state.best_norm)
    best, best_norm = jnp.where(better, state.theta, state.best), jnp.where(better, norm, state.best_norm)
    better = accept & (slope <= tolerance) & (slope < best_norm)
    best, best_norm = jnp.where(better, theta, best), jnp.where(better, slope, best_norm)
    polished = state.polished + ((state.polished > 0) | near).astype(int)
    done = (near & ~accept) | (polished >= _POLISH) | (length == 0) | stuck | ~jnp.isfinite(norm)
    done = done | (state.iterations + 1 >= max_iterations)
    theta = jnp.where(done & jnp.isfinite(best_norm), best, theta)
    theta = jnp.where(state.done, state.theta, theta)
    count = state.iterations + (~state.done).astype(int)
    quality = _quality(here, local)
    return _State(theta, radius, count, best, best_norm, polished, state.done | done, state.done, quality)


def _tried(objective: Objective, here: Frame, theta: Array, local: Local, inner: Array) -> tuple[Array, Array, Array]:
    """θ′ after the step `inner`, ‖∇′‖ there, and the decrease beside the model's."""
    step = local.vectors @ inner
    predicted = -(local.slopes @ inner + 0.5 * (local.rates * inner) @ inner)
    value, gradient = jax.value_and_grad(framed(objective, here))(theta + step)
    # Where the decrease drowns in rounding, the mean slope along the step tells it (error O(‖p‖³)).
    by_slope = -0.5 * ((local.gradient + gradient) @ step)
    drowned = predicted <= _RESOLUTION * (1e-3 * here.unit**2 + jnp.abs(local.value))
    actual = jnp.where(drowned, by_slope, local.value - value)
    ratio = jnp.where(jnp.isfinite(value) & (predicted > 0), actual / predicted, -1.0)
    return theta + step, jnp.linalg.norm(gradient), ratio


def _quality(here: Frame, local: Local) -> Quality:
    step = newton_step(local)
    smallest = smallest_rate(here, local.rates, local.vectors, local.flat)
    decrement = jnp.sqrt(jnp.sum(jnp.abs(step * jnp.where(local.flat, 0.0, local.slopes))))
    return Quality(
        local.value,
        jnp.linalg.norm(local.gradient),
        jnp.linalg.norm(step),
        smallest,
        decrement,
        condition(local.rates, local.flat),
        jnp.max(jnp.abs(local.rates)),
        jnp.linalg.norm(local.gradient / here.scale),
        jnp.linalg.norm(here.scale * (local.vectors @ step)),
    )


def _judged(
    objective: Objective,
    here: Frame,
    theta: Array,
    quality: Quality,
    start_slope: Array,
    iterations: Array | int,
    kind: str,
) -> Endpoint:
    """The endpoint at θ′, in the user's units, with what speaks for it and against it."""
    initial, size = jnp.linalg.norm(start_slope), here.unit + jnp.linalg.norm(theta)
    nothing = here.unit
    if isinstance(objective, AbstractObjective):
        nothing = jnp.sqrt(2.0 * jnp.dot(objective.terms()[0], null_losses(objective.problem)))
    off = jnp.where(nothing > 0, quality.decrement / jnp.where(nothing > 0, nothing, 1.0), 0.0)
    off = off + rounding_error(objective, here, theta, quality.condition)
    measure = here.unit + initial
    if is_linear(objective):
        # Large terms that cancel (powers of x) leave a gradient of their rounding: a backward error is relative to them.
        measure = measure + quality.steepest * jnp.linalg.norm(theta)
    return proven(
        finite=jnp.isfinite(quality.norm) & jnp.all(jnp.isfinite(theta)),
        norm=quality.norm,
        measure=measure,
        left=quality.error,
        size=size,
        smallest=quality.smallest,
        off=off,
        theta=here.scale * theta,
        gradient_norm=quality.user_norm,
        iterations=jnp.asarray(iterations),
        value=quality.value,
        error=quality.user_error,
        start_gradient_norm=jnp.linalg.norm(start_slope / here.scale),
        condition=quality.condition,
        kind=kind,
    )


@eqx.filter_jit
def assess(
    objective: Objective,
    theta: Float[Array, " dim"],
    origin: Float[Array, " dim"],
    iterations: Int[Array, ""] | int,
    kind: str,
) -> Endpoint:
    """The quality of θ, come from `origin`, as a minimum of `objective`; beyond the dense limit only ‖∇‖ is known."""
    if theta.shape[0] > DENSE_LIMIT:
        return _assess_large(objective, theta, origin, iterations, kind)
    here = frame(objective, theta.shape[0])
    inside = theta / here.scale
    return judge(objective, here, inside, spectrum(objective, here, inside), origin, iterations, kind)


def judge(
    objective: Objective,
    here: Frame,
    theta: Float[Array, " dim"],
    found: Spectrum,
    origin: Float[Array, " dim"],
    iterations: Int[Array, ""] | int,
    kind: str,
) -> Endpoint:
    """`assess` of θ′, with a spectrum that is already there."""
    slope = jax.grad(framed(objective, here))(origin / here.scale)
    quality = _quality(here, local_of(objective, here, theta, found))
    return _judged(objective, here, theta, quality, slope, iterations, kind)


def _assess_large(objective: Objective, theta: Array, origin: Array, iterations, kind: str) -> Endpoint:
    value, gradient = jax.value_and_grad(objective)(theta)
    norm, initial = jnp.linalg.norm(gradient), jnp.linalg.norm(jax.grad(objective)(origin))
    unknown = jnp.asarray(jnp.nan)
    stationary = norm <= STATIONARITY * (1.0 + initial)
    return Endpoint(
        theta=theta,
        gradient_norm=norm,
        iterations=jnp.asarray(iterations),
        smallest_eigenvalue=unknown,
        outcome=jnp.where(stationary, int(Outcome.CONVERGED), int(Outcome.NOT_STATIONARY)),
        value=value,
        error=unknown,
        start_gradient_norm=initial,
        residual=norm / (1.0 + initial),
        prediction_error=unknown,
        condition=unknown,
        kind=kind,
    )
