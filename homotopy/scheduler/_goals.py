"""Goals: what "near θ*₋" means (mathematics §6), all functions of θ(T).

"parameters" ½‖θ − θ*₋‖²; "outputs" ½Σ_i‖f(θ; x_i) − f(θ*₋; x_i)‖² over all data; "risk" R⁻(θ) − R⁻(θ*₋). For linear
regression each is ½ zᵀMz. "time" is the least time at which ‖θ − θ*₋‖ ≤ tolerance.
"""

from typing import Literal, get_args

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._checks import Choice, choice
from ..problem import Problem
from ._linear import Vector

Goal = Literal["parameters", "outputs", "risk", "time"]


def check_goal(goal: Choice) -> None:
    """`RequestError` unless `goal` is one of the known ones."""
    choice(goal, "goal", get_args(Goal))


def linear_metric(problem: Problem, goal: str) -> Vector | None:
    """M of the goal ½ zᵀMz for linear regression; None is the identity."""
    if goal in ("parameters", "time"):
        return None
    x = np.asarray(problem.design)
    outputs = problem.dim // x.shape[1]
    if goal == "risk":
        x = np.delete(x, np.asarray(problem.delete), axis=0)
    metric = np.kron(x.T @ x, np.eye(outputs))
    return metric + (float(problem.ridge) * np.eye(len(metric)) if goal == "risk" else 0.0)


def goal_value(
    problem: Problem, goal: str, theta: Float[Array, " dim"], target: Float[Array, " dim"]
) -> Float[Array, ""]:
    """The goal at θ(T) = `theta`, for any model."""
    if goal == "outputs":
        return 0.5 * jnp.sum((problem.predict(theta) - problem.predict(target)) ** 2)
    if goal == "risk":
        return problem.risk(theta, 0.0) - problem.risk(target, 0.0)
    return 0.5 * jnp.sum((theta - target) ** 2)
