"""The limit of the gradient flow, lim_{t→∞} θ(t, ε): the cold endpoint of a non-convex model.

A stiff L-stable solver (Rodas5P) follows θ̇ = −∇R_ε(θ); its steps grow in proportion to t, so a direction of curvature
1e-8 costs a few more steps and not 10⁸. It stops when ‖∇R_ε‖ reaches the target, and Newton steps polish the answer in
the basin where the flow has settled.
"""

import dataclasses

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..flow import Rodas5P
from ._endpoint import STATIONARITY, Endpoint, Outcome
from ._newton import Objective, minimise

# Beyond this time a direction that still moves has curvature below 1e-13: a valley or a minimum at infinity.
LONGEST = 1e13
MAX_STEPS = 5000
RTOL, ATOL = 1e-7, 1e-9
# The polish may not leave the basin: its first step is at most this part of 1 + ‖θ‖.
_POLISH_RADIUS = 1e-2
_POLISH_ITERATIONS = 60


def flow_limit(
    objective: Objective,
    theta0: Float[Array, " dim"],
    *,
    kind: str,
    rtol: float = RTOL,
    atol: float = ATOL,
    max_steps: int = MAX_STEPS,
) -> Endpoint:
    """lim θ(t) of θ̇ = −∇objective(θ) from θ(0) = θ₀, polished to ‖∇‖ ≤ 1e-9·(1 + ‖∇(θ₀)‖).

    `iterations` counts solver steps and Newton steps together. A flow that does not settle (flat valley, minimum at
    infinity, solver failure) comes back with `converged` false and the best θ it reached.
    """
    gradient = jax.grad(objective)
    initial = jnp.linalg.norm(gradient(theta0))
    target = 0.5 * STATIONARITY * (1.0 + initial)

    def settled(t, y, args, **kwargs):
        return jnp.linalg.norm(gradient(y)) <= target

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, y, args: -gradient(y)), Rodas5P(), 0.0, LONGEST, None, theta0,
        stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol),
        event=diffrax.Event(settled), max_steps=max_steps, throw=False,
    )  # fmt: skip
    assert solution.ys is not None
    last = solution.ys[-1]
    last = jnp.where(jnp.all(jnp.isfinite(last)), last, theta0)
    # Newton steps from where the flow has not settled may end anywhere: a minimum perhaps, but not the flow's.
    settled_down = solution.result == diffrax.RESULTS.event_occurred
    polished = minimise(
        objective, last, kind=kind, radius=_POLISH_RADIUS, origin=theta0,
        max_iterations=jnp.where(settled_down, _POLISH_ITERATIONS, 0), iterations=solution.stats["num_steps"],
    )  # fmt: skip
    near = jnp.linalg.norm(polished.theta - last) <= _POLISH_RADIUS * (1.0 + jnp.linalg.norm(last))
    stayed = ~polished.converged | (settled_down & near)
    return dataclasses.replace(polished, outcome=jnp.where(stayed, polished.outcome, int(Outcome.UNSETTLED)))
