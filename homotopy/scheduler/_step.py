"""The best single step 1_[0,τ], τ ∈ [s, T] (notes, Lemma 0.0.2, corrected: mathematics §7).

For linear regression E(τ) and its derivative are known exactly,

    dE/dτ = −⟨e^{−2(T−τ)H₋} (θ(τ) − θ*₋), ∇ℓ_J(θ(τ))⟩,

θ(τ) on the flow of ε = 1 (for a goal with metric M: M between the two), so every stationary point is bracketed by a
change of sign, refined to rounding, and compared with both ends. Other models have E by simulation: a batch of steps,
then finer batches around every local minimum.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..flow import Step, simulate
from ..problem import Problem
from ._linear import Vector
from ._roots import zero_between
from ._switching import Window

# E(τ) can bend on the scale 1/λ_max near both ends, and on the scale T in between: a uniform grid sees the one, grids
# that grow from both ends in proportion see the other.
_UNIFORM, _GEOMETRIC = 512, 256
# A simulated search: this many steps at once, and brackets narrowed until they are this fraction of T wide.
_BATCH, _NARROW = 33, 1e-7


def step_energy(window: Window) -> Callable[[Vector], tuple[Vector, Vector]]:
    """τ ↦ (E(τ), dE/dτ), elementwise over an array of τ ∈ [s, T]; the price of ∫ε dt is included."""
    control, keep = window.control, window.control.keep

    def evaluate(taus: Vector) -> tuple[Vector, Vector]:
        z = control.full.flow(window.begin, taus - window.s)
        decay = np.exp(-np.multiply.outer(window.t1 - taus, keep.rates))
        ends = keep.advance(z @ keep.vectors, window.t1 - taus) @ keep.vectors.T
        moved = (decay * (control.deleted_gradient(z) @ keep.vectors)) @ keep.vectors.T
        slope = -np.sum(control.weighted(ends) * moved, axis=1)
        return np.asarray(control.energy(ends)) + window.price * (taus - window.s), slope + window.price

    return evaluate


def stationary_steps(window: Window) -> list[tuple[float, float]]:
    """(τ, E) of both ends and of every stationary point in [s, T], sorted by τ."""
    evaluate = step_energy(window)
    taus = time_grid(window)
    _, slopes = evaluate(taus)

    def slope(tau: float) -> float:
        return float(evaluate(np.array([tau]))[1][0])

    roots = [window.s, window.t1]
    tiny = 4 * np.finfo(float).eps
    for cell in np.flatnonzero(np.sign(slopes[:-1]) * np.sign(slopes[1:]) < 0):
        roots.append(zero_between(slope, taus[cell], taus[cell + 1], xtol=tiny * window.t1, rtol=tiny))
    roots.extend(taus[:-1][slopes[:-1] == 0])
    taus = np.unique(roots)
    return list(zip(taus.tolist(), evaluate(taus)[0].tolist(), strict=True))


def time_grid(window: Window, uniform: int = _UNIFORM, geometric: int = _GEOMETRIC) -> Vector:
    """Times in [s, T] that see both the scale of the window and, at its ends, that of the fastest rate."""
    s, t1, length = window.s, window.t1, window.length
    smallest = 1e-3 / max(window.control.fastest, 1.0 / t1)
    # Ratios alone, not logarithms of times: with time in other units (powers of two) it is the same grid to the bit.
    from_end = smallest * np.geomspace(1.0, max(length / smallest, 1.0), geometric)
    return np.unique(np.clip(np.concatenate([np.linspace(s, t1, uniform), s + from_end, t1 - from_end]), s, t1))


def simulated_steps(
    problem: Problem, theta0: jax.Array, target: jax.Array, s: float, t1: float, rtol: float, atol: float
) -> list[tuple[float, float]]:
    """(τ, E) of both ends and of every local minimum that a batch of simulated steps brackets, sorted by τ."""

    @eqx.filter_jit
    def energies(problem, theta0, target, taus, t1):
        def one(tau):
            end = simulate(problem, Step(tau), theta0, t1=t1, ts=t1[None], method="diffrax", rtol=rtol, atol=atol)
            return 0.5 * jnp.sum((end.theta1 - target) ** 2)

        return jax.vmap(one)(taus)

    def evaluate(taus: Vector) -> Vector:
        return np.asarray(energies(problem, theta0, target, jnp.asarray(taus), jnp.asarray(t1)))

    taus = np.linspace(s, t1, _BATCH)
    values = evaluate(taus)
    found = {taus[0]: values[0], taus[-1]: values[-1]}
    for middle in range(1, _BATCH - 1):
        if values[middle] <= min(values[middle - 1], values[middle + 1]):
            left, right = taus[middle - 1], taus[middle + 1]
            while right - left > _NARROW * t1:
                fine = np.linspace(left, right, _BATCH)
                fine_values = evaluate(fine)
                best = int(np.argmin(fine_values))
                left, right = fine[max(best - 1, 0)], fine[min(best + 1, _BATCH - 1)]
            found[fine[best]] = fine_values[best]
    return sorted((float(tau), float(value)) for tau, value in found.items())
