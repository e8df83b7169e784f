"""`Endpoint`: a point where θ should arrive, together with the proof that it has arrived.

Notation: θ `theta`, ‖∇‖ `gradient_norm` of its objective, H the Hessian of that, λ_min `smallest_eigenvalue`.
Stationarity is asked for relative to the start: ‖∇‖ ≤ 1e-9·(1 + ‖∇ at the start‖).
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._errors import RequestError, WorkError
from ..problem import Problem
from ..problem._dataset import as_floats

# The target for ‖∇‖, relative to 1 + ‖∇ at the start‖.
STATIONARITY = 1e-9
# A gradient this small proves nothing where the Hessian vanishes (a minimum at infinity): the Newton step that is left,
# an estimate of the distance to the stationary point, must be small too, relative to 1 + ‖θ‖.
NEARNESS = 1e-5
# Above this many parameters a dense Hessian is out of reach.
DENSE_LIMIT = 3000


class NotStationaryWarning(UserWarning):
    """A derivative that is only meaningful at a stationary point was taken elsewhere."""


class Endpoint(eqx.Module):
    """Where θ arrives: `theta` (dim,), and how well.

    `gradient_norm` is ‖∇‖ of the endpoint's own objective (sum convention, but the response functions: mean),
    `start_gradient_norm` the same at the start, `error` ‖H⁺∇‖, the Newton step that is left and so an estimate of the
    distance to the exact point, `smallest_eigenvalue` that of the Hessian (0: not isolated; negative: a saddle),
    `value` the objective, `iterations` solver steps (0 for a closed form). `converged` holds if ‖∇‖ ≤ 1e-9·(1 + ‖∇ at
    the start‖), `error` ≤ 1e-5·(1 + ‖θ‖), and it is no saddle. `kind` says what it is and how it was found.
    """

    theta: Float[Array, "*batch dim"]
    gradient_norm: Float[Array, "*batch"]
    iterations: Int[Array, "*batch"]
    smallest_eigenvalue: Float[Array, "*batch"]
    converged: Bool[Array, "*batch"]
    value: Float[Array, "*batch"]
    error: Float[Array, "*batch"]
    start_gradient_norm: Float[Array, "*batch"]
    kind: str = eqx.field(static=True)

    @property
    def isolated(self) -> Bool[Array, "*batch"]:
        """Whether λ_min > 0: no other stationary point is near. Where it is false θ depends on the start."""
        return self.smallest_eigenvalue > 0

    def __str__(self) -> str:
        if self.theta.ndim > 1:
            done = np.asarray(self.converged)
            worst = float(np.max(np.asarray(self.gradient_norm)))
            return f"{done.size} endpoints ({self.kind}): {done.sum()} converged, largest ‖∇‖ {worst:.1e}"
        return (
            f"{self.kind}: {'converged' if self.converged else 'NOT converged'} in {int(self.iterations)} iterations, "
            f"‖∇‖ = {float(self.gradient_norm):.1e}, λ_min = {float(self.smallest_eigenvalue):.3g}"
            f"{'' if self.isolated else ' (not isolated)'}, "
            f"estimated error {float(self.error):.1e}"
        )


def is_concrete(value: Any) -> bool:
    """Whether there are values to look at (not inside a trace)."""
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(value))


def checked(endpoint: Endpoint, throw: bool, advice: str = "") -> Endpoint:
    """The endpoint, or `WorkError` if it did not converge, saying why and what to try."""
    if not throw or not is_concrete(endpoint.converged) or bool(endpoint.converged):
        return endpoint
    raise WorkError(f"{endpoint.kind} did not converge: {reason(endpoint)}{'; ' + advice if advice else ''}")


def reason(endpoint: Endpoint) -> str:
    """Why an endpoint counts as not converged, in one line with its numbers."""
    norm, target = float(endpoint.gradient_norm), STATIONARITY * (1.0 + float(endpoint.start_gradient_norm))
    smallest, error = float(endpoint.smallest_eigenvalue), float(endpoint.error)
    if not np.isfinite(norm):
        return "θ is not finite (the solver failed or diverged)"
    if norm > target:
        return f"‖∇‖ = {norm:.1e} > {target:.1e} after {int(endpoint.iterations)} iterations (λ_min = {smallest:.1e})"
    if smallest < 0 and error <= NEARNESS * (1 + float(jnp.linalg.norm(endpoint.theta))):
        return f"it is a saddle, λ_min = {smallest:.1e}"
    if error <= NEARNESS * (1 + float(jnp.linalg.norm(endpoint.theta))):
        return f"the flow did not settle within its step limit (‖∇‖ = {norm:.1e}, λ_min = {smallest:.1e})"
    return (
        f"‖∇‖ = {norm:.1e} but the Newton step left is {error:.1e} (λ_min = {smallest:.1e}): a flat valley or a "
        "minimum at infinity"
    )


# Checks that the endpoints share ------------------------------------------------------------------------------------


def as_epsilon(problem: Problem, epsilon: Any) -> Float[Array, "..."]:
    """ε as one number in [0, 1], or one per deleted point."""
    values = as_floats(epsilon, "epsilon")
    if values.ndim > 1 or (values.ndim == 1 and values.shape[0] != problem.delete.shape[0]):
        k = problem.delete.shape[0]
        raise RequestError(f"epsilon must be one number or one per deleted point ({k}), but has shape {values.shape}")
    if is_concrete(values) and bool(((values < 0) | (values > 1)).any()):
        raise RequestError(f"epsilon must lie in [0, 1] (1 keeps the point, 0 deletes it), but is {epsilon}")
    return values


def as_damping(damping: Any, *, positive: bool = False) -> Float[Array, ""]:
    """λ as one number ≥ 0 (> 0 where nothing else makes the problem definite)."""
    value = as_floats(damping, "damping")
    if value.ndim != 0:
        raise RequestError(f"damping must be one number, but has shape {value.shape}")
    if is_concrete(value) and (float(value) < 0 or (positive and float(value) == 0)):
        raise RequestError(f"damping must be {'>' if positive else '≥'} 0, but is {float(value):g}")
    return value


def as_response_epsilon(problem: Problem, epsilon: Any) -> Float[Array, ""]:
    """The ε of a response function (mean convention): 1/n by default, which removes the points; |ε| ≤ 1/n."""
    value = as_floats(1.0 / problem.n if epsilon is None else epsilon, "epsilon")
    if value.ndim != 0:
        raise RequestError(f"epsilon of a response function must be one number, but has shape {value.shape}")
    if is_concrete(value) and abs(float(value)) * problem.n > 1 + 1e-12:
        raise RequestError(
            f"epsilon of a response function must lie in [−1/n, 1/n] = ±{1 / problem.n:g} (1/n removes the points), "
            f"but is {float(value):g}"
        )
    return value


def require_dense(problem: Problem, what: str) -> None:
    """`RequestError` where a dense Hessian of this size cannot be had."""
    if problem.dim > DENSE_LIMIT:
        raise RequestError(
            f"{what} works with the dense Hessian, up to {DENSE_LIMIT} parameters, but this problem has {problem.dim}; "
            "pass theta= and use influence(…, solver='cg') there"
        )
