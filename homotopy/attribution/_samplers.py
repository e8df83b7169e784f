"""Markov chains on the localised posterior p(w) ∝ exp(−β R_1(w) − ½γ‖w − θ*‖²), compiled, many side by side.

They move in u with w = θ* + Cu; U(u) = βR_1 + ½γ‖w − θ*‖² is the potential, h the step, ξ ~ N(0, I) afresh each time.

    mala       u′ = u − ½h∇U + √h ξ, accepted with probability min(1, p(u′)q(u|u′)/p(u)q(u′|u)) (Roberts and Tweedie
               1996): the stationary law is p itself, whatever h
    langevin   underdamped, Diffrax's ALIGN: the stationary law is p up to a bias that vanishes with h²
    sgld       the proposal of mala, never refused, ∇U from `batch` random points (Welling and Teh 2011): the bias is of
               first order in h, from the discretisation and, for batches, from the noise of ∇U, which is the larger part

Neither bias can be seen in the chains themselves: R̂ and the effective sample size measure how well they mix.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PRNGKeyArray

from ..problem import Problem

METHODS = ("mala", "langevin", "sgld")
_TARGET = 0.574  # acceptance at which MALA moves fastest (Roberts and Rosenthal 1998)


class Posterior(eqx.Module):
    """U in the coordinates u; `transform` is C (dim, dim)."""

    problem: Problem
    theta: Float[Array, " dim"]
    transform: Float[Array, "dim dim"]
    beta: Float[Array, ""]
    gamma: Float[Array, ""]

    def at(self, u: Float[Array, " dim"]) -> Float[Array, " dim"]:
        """w = θ* + Cu."""
        return self.theta + self.transform @ u

    def potential(self, u: Float[Array, " dim"], weights: Float[Array, " n"]) -> Float[Array, ""]:
        """U with a weight on every point (1 for U itself)."""
        away = self.transform @ u
        return self.beta * self.problem.weighted_risk(self.theta + away, weights) + 0.5 * self.gamma * (away @ away)


class Moves(NamedTuple):
    """A Markov chain: `begin(key, u)` its state, `move(key, state)` the next one; a state starts with u."""

    begin: Callable[[PRNGKeyArray, Array], Any]
    move: Callable[[PRNGKeyArray, Any], Any]


class Draws(NamedTuple):
    """Losses (chains, draws, n) and query values (chains, draws, q) of the kept draws, the share of proposals that was
    accepted (chains,) and the step of every chain (chains,)."""

    losses: Float[Array, "chains draws n"]
    asked: Float[Array, "chains draws q"]
    accepted: Float[Array, " chains"]
    steps: Float[Array, " chains"]


@eqx.filter_jit
def sample(
    posterior: Posterior,
    step: Float[Array, ""],
    friction: Float[Array, ""],
    start: Float[Array, " dim"],
    keys: Key[Array, " chains"],
    thin: Array,
    burn_in: int,
    draws: int,
    method: str,
    batch: int,
    adapt: bool,
    values: Callable[[Array], Array] | None,
) -> Draws:
    """One chain per key, from u ~ N(0, diag(start²)). With `adapt`, mala's step finds its size during the burn-in."""
    problem = posterior.problem
    if method == "mala":
        moves = _mala(posterior, step)
    elif method == "langevin":
        moves = _langevin(posterior, step, friction)
    else:
        moves = _sgld(posterior, step, batch)

    def chain(key):
        first, second, rest = jax.random.split(key, 3)
        state = moves.begin(second, start * jax.random.normal(first, start.shape))

        def advance(state, index):
            own = jax.random.fold_in(rest, index)
            return jax.lax.fori_loop(0, thin, lambda k, state: moves.move(jax.random.fold_in(own, k), state), state)

        def burn(state, index):
            state = advance(state, index)
            return (_adapted(state, index) if adapt else state), None

        def draw(state, index):
            state = advance(state, index)
            w = posterior.at(state[0])
            return state, (problem.losses(w), jnp.zeros(0) if values is None else values(w))

        state, _ = jax.lax.scan(burn, state, jnp.arange(burn_in))
        if method == "mala":
            state = (*state[:4], jnp.zeros(()), jnp.zeros(()))
        state, (losses, asked) = jax.lax.scan(draw, state, burn_in + jnp.arange(draws))
        accepted, size = (state[4] / state[5], state[3]) if method == "mala" else (jnp.ones(()), step)
        return Draws(losses, asked, accepted, size)

    return jax.vmap(chain)(keys)


def _adapted(state: Any, index: Array) -> Any:
    """The step after Robbins–Monro: log h moves by (acceptance since the last draw − target)/(k + 1)^0.6."""
    u, potential, slope, step, accepted, count = state
    step = step * jnp.exp((accepted / count - _TARGET) * (index.astype(float) + 1.0) ** -0.6)
    return u, potential, slope, step, jnp.zeros(()), jnp.zeros(())


def _mala(posterior: Posterior, step: Array) -> Moves:
    everything = jnp.ones(posterior.problem.n)
    both = jax.value_and_grad(lambda u: posterior.potential(u, everything))

    def begin(_, u):
        return (u, *both(u), step, jnp.zeros(()), jnp.zeros(()))

    def move(key, state):
        u, potential, slope, h, accepted, count = state
        kick, toss = jax.random.split(key)
        noise = jax.random.normal(kick, u.shape)
        there = u - 0.5 * h * slope + jnp.sqrt(h) * noise
        potential_there, slope_there = both(there)
        back = u - there + 0.5 * h * slope_there
        ratio = potential - potential_there + 0.5 * (noise @ noise - back @ back / h)
        chance = jnp.where(jnp.isnan(ratio), 0.0, jnp.exp(jnp.minimum(ratio, 0.0)))
        take = jax.random.uniform(toss) < chance
        kept = (jnp.where(take, new, old) for new, old in (
            (there, u), (potential_there, potential), (slope_there, slope)
        ))  # fmt: skip
        return (*kept, h, accepted + chance, count + 1.0)

    return Moves(begin, move)


def _langevin(posterior: Posterior, step: Array, friction: Array) -> Moves:
    everything, dim = jnp.ones(posterior.problem.n), posterior.theta.shape[0]
    slope = jax.grad(posterior.potential)
    solver, zero = diffrax.ALIGN(), jnp.zeros(())

    def terms(key):
        noise = diffrax.UnsafeBrownianPath((dim,), key, levy_area=diffrax.SpaceTimeLevyArea)
        drift = diffrax.UnderdampedLangevinDriftTerm(friction, 1.0, lambda u, _: slope(u, everything))
        return diffrax.MultiTerm(drift, diffrax.UnderdampedLangevinDiffusionTerm(friction, 1.0, noise))

    def begin(key, u):
        speed, rest = jax.random.split(key)
        state = (u, jax.random.normal(speed, (dim,)))
        return (*state, solver.init(terms(rest), zero, step, state, None))

    def move(key, state):
        moved, _, _, memory, _ = solver.step(terms(key), zero, step, state[:2], None, state[2], False)
        return (*moved, memory)

    return Moves(begin, move)


def _sgld(posterior: Posterior, step: Array, batch: int) -> Moves:
    n, slope = posterior.problem.n, jax.grad(posterior.potential)

    def move(key, state):
        (u,) = state
        shuffle, kick = jax.random.split(key)
        weights = jnp.ones(n)
        if batch < n:
            chosen = jax.random.permutation(shuffle, n)[:batch]
            weights = jnp.zeros(n).at[chosen].set(n / batch)
        return (u - 0.5 * step * slope(u, weights) + jnp.sqrt(step) * jax.random.normal(kick, u.shape),)

    return Moves(lambda _, u: (u,), move)
