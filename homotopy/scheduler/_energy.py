"""The energy of a schedule: how far from the target it ends (notes eq. 0.12)."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._checks import Number, Theta, as_time
from .._errors import RequestError
from ..endpoints import leave_one_out
from ..flow import AbstractSchedule, Greedy, check, simulate
from ..problem import Problem, on_problem


@on_problem
def energy(
    problem: Problem,
    schedule: AbstractSchedule | Greedy,
    theta0: Theta,
    *,
    t1: Number,
    target: Theta | None = None,
    **options: Any,
) -> Float[Array, ""]:
    """E(ε) = ½‖θ(T; ε) − θ*₋‖² with T = `t1` and θ*₋ = `target` (dim,) (notes eq. 0.12; mathematics §6).

    Without `target`, the leave-one-out optimum of linear regression: where H₋ is singular, the limit of the flow from
    θ₀. For other models a target must be given (else `RequestError`), since the cold, the continued and the PBRF
    endpoint differ. `options` go to `simulate`; raises as it does. E is defined on E_s: `RequestError` for weights
    outside [0, 1].

    Example (continues the package's):

        >>> print(energy(problem, Step(0.1), theta0, t1=0.2).round(4), energy(problem, Step(0.0), theta0, t1=0.2).round(4))
        0.2555 0.2569
    """
    theta0 = problem.check_theta(theta0)
    check(schedule, as_time(t1), points=problem.delete.shape[0], feedback=True, admissible=True)
    target = resolve_target(problem, theta0, target)
    return 0.5 * jnp.sum((simulate(problem, schedule, theta0, t1=t1, **options).theta1 - target) ** 2)


def resolve_target(problem: Problem, theta0: Any, target: Any) -> Float[Array, " dim"]:
    """`target` checked, or the leave-one-out optimum of linear regression."""
    if target is not None:
        return problem.check_theta(target, "target")
    if not problem.least_squares:
        raise RequestError(
            "target must be given for this model: its endpoints differ; use e.g. "
            "leave_one_out(problem, start='cold', theta0=theta0).theta"
        )
    return leave_one_out(problem, theta0=theta0).theta
