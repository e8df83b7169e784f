"""E of a schedule by a fixed number of Runge–Kutta steps: the exact gradient of a close approximation, for any model.

Classical RK4, ε given at the three nodes of every step (start, middle, end). Reverse-mode
differentiation through it is the exact adjoint of the discrete map, which is what an optimiser needs; what the search
reports is evaluated again by the adaptive engine.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._errors import WorkError
from ..problem import Problem
from ._goals import goal_value

# RK4 is stable up to λh = 2.78.
_STABLE = 1.5
MOST_STEPS = 20_000


class Setting(NamedTuple):
    """What a search is about: from θ(s) = `theta` over the length T − s to `target`; `price` per unit of ∫ε dt."""

    problem: Problem
    theta: Float[Array, " dim"]
    target: Float[Array, " dim"]
    length: Float[Array, ""]
    price: Float[Array, ""]


def objective(
    setting: Setting, goal: str, widths: Float[Array, " steps"], epsilon: Float[Array, "steps 3 *points"]
) -> Float[Array, ""]:
    """The goal at T plus the price, for steps of the given `widths` and ε at their starts, middles and ends."""
    problem = setting.problem

    def velocity(theta, epsilon):
        return -problem.gradient(theta, epsilon)

    def step(theta, inputs):
        h, epsilon = inputs
        k1 = velocity(theta, epsilon[0])
        k2 = velocity(theta + 0.5 * h * k1, epsilon[1])
        k3 = velocity(theta + 0.5 * h * k2, epsilon[1])
        k4 = velocity(theta + h * k3, epsilon[2])
        return theta + (h / 6.0) * (k1 + 2.0 * k2 + 2.0 * k3 + k4), None

    end, _ = jax.lax.scan(step, setting.theta, (widths, epsilon))
    weights = jnp.asarray([1.0, 4.0, 1.0]) / 6.0
    spent = jnp.sum(widths * (weights @ jnp.moveaxis(epsilon.reshape(epsilon.shape[0], 3, -1), 1, 0).sum(-1)))
    return goal_value(problem, goal, end, setting.target) + setting.price * spent


@eqx.filter_jit
def _stiffness(problem: Problem, thetas: Float[Array, "k dim"]) -> Float[Array, ""]:
    eigenvalues = jax.vmap(lambda theta: jnp.linalg.eigvalsh(problem.hessian(theta)))(thetas)
    return jnp.max(jnp.abs(eigenvalues))


def steps_needed(setting: Setting, least: int) -> int:
    """Steps over [s, T] for stability and a fair accuracy, from λ_max at θ(s), θ*₋ and between them."""
    mix = jnp.linspace(0.0, 1.0, 5)[:, None]
    thetas = setting.theta[None, :] * (1.0 - mix) + setting.target[None, :] * mix
    stiffness = float(_stiffness(setting.problem, thetas) * setting.length)
    needed = max(least, int(np.ceil(2.0 * stiffness / _STABLE)))
    if needed > MOST_STEPS:
        raise WorkError(
            f"λ_max·(t1 − s) = {stiffness:.3g} asks for {needed} explicit steps, more than {MOST_STEPS}; "
            "try a shorter t1, or family='step', which uses a stiff solver"
        )
    # Few distinct numbers, so that compiled code is used again.
    return int(2 ** (np.ceil(2 * np.log2(needed)) / 2))
