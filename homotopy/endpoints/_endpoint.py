"""`Endpoint`: a point where θ should arrive, together with the proof that it has arrived.

Notation: θ `theta`, ‖∇‖ `gradient_norm` of its objective, H the Hessian of that, λ_min `smallest_eigenvalue`.
Stationarity is asked for relative to the start: ‖∇‖ ≤ 1e-9·(1 + ‖∇ at the start‖).
"""

import enum
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._arrays import as_floats
from .._checks import is_concrete, shown
from .._errors import RequestError, WorkError
from ..problem import Problem

# The target for ‖∇‖, relative to 1 + ‖∇ at the start‖.
STATIONARITY = 1e-9
# A gradient this small proves nothing where the Hessian vanishes (a minimum at infinity): the Newton step that is left,
# an estimate of the distance to the stationary point, must be small too, relative to 1 + ‖θ‖.
NEARNESS = 1e-5
# Above this many parameters a dense Hessian is out of reach.
DENSE_LIMIT = 3000


# The estimated error of the predictions, relative to √(2R) of predicting nothing: six digits are right.
PREDICTIONS = 1e-6


class NotStationaryWarning(UserWarning):
    """A derivative that is only meaningful at a stationary point was taken elsewhere (`influence` and its kin).

    Example (continues the package's):

        >>> import warnings
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     _ = influence(problem, theta=theta0)
        >>> caught[0].category.__name__
        'NotStationaryWarning'
    """


class FlaggedRowsWarning(UserWarning):
    """Some rows of an array hold no number: NaN where it is undefined, inf where θ → ∞; the message names them.

    Example (continues the package's):

        >>> import warnings
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("error", FlaggedRowsWarning)
        ...     print(leave_one_out_all(problem).shape)
        (20, 2)
    """


class Outcome(enum.IntEnum):
    """What became of an endpoint; everything but `CONVERGED` is a reason not to use it.

    Example (continues the package's):

        >>> Outcome(int(optimum(problem).outcome)), Outcome.SEPARABLE.words
        (<Outcome.CONVERGED: 0>, 'the classes are separable: the risk has no minimiser (θ → ∞)')
    """

    CONVERGED = 0
    NOT_FINITE = 1
    NOT_STATIONARY = 2
    FLAT = 3
    SADDLE = 4
    IMPRECISE = 5
    UNSETTLED = 6
    SEPARABLE = 7
    MISSING_CLASS = 8
    UNDETERMINED = 9
    FOLD = 10
    INFINITE = 11

    @property
    def words(self) -> str:
        """The outcome in words."""
        return _WORDS[self]


_WORDS = {
    Outcome.CONVERGED: "converged",
    Outcome.NOT_FINITE: "θ is not finite: the solver failed or diverged",
    Outcome.NOT_STATIONARY: "the gradient is not small yet",
    Outcome.FLAT: "a flat valley, or a minimum at infinity",
    Outcome.SADDLE: "a saddle",
    Outcome.IMPRECISE: "the columns are too nearly collinear for 64-bit floats",
    Outcome.UNSETTLED: "the flow did not settle within its step limit",
    Outcome.SEPARABLE: "the classes are separable: the risk has no minimiser (θ → ∞)",
    Outcome.MISSING_CLASS: "a class is left without points: the risk has no minimiser (θ → ∞)",
    Outcome.UNDETERMINED: "0/0: what is left does not determine θ (a point of leverage 1)",
    Outcome.FOLD: "the branch of optima ends in a fold",
    Outcome.INFINITE: "the branch of optima goes to infinity",
}


class Endpoint(eqx.Module):
    """Where θ arrives: `theta` (dim,), and how well.

    `gradient_norm` is ‖∇‖ of the endpoint's own objective (sum convention, but the response functions: mean),
    `start_gradient_norm` the same at the start, `error` ‖H⁺∇‖, the Newton step that is left and so an estimate of the
    distance to the exact point, `smallest_eigenvalue` that of the Hessian (0: not isolated; negative: a saddle),
    `value` the objective, `iterations` solver steps (0 for a closed form); all these have the units of the data.

    Three numbers have none, and are the proof: `residual`, ‖∇‖ relative to its size at the start (for a model linear in
    θ also to ‖H‖‖θ‖: a backward error), in columns of equal size; `prediction_error`, what the predictions may still be
    off by, relative to √(2R) of predicting 0: the Newton step that is left, and rounding; `condition`, of the
    equilibrated design (√ of the Hessian's, for a network). `converged` holds if residual ≤ 1e-9, the Newton step
    ≤ 1e-5·(1 + ‖θ‖) in the same frame, prediction_error ≤ 1e-6, and it is no saddle; `outcome` (an `Outcome`) says why
    not. `kind` says what it is and how it was found. Mathematics §17; made by `optimum` and others, which raise.

    Example (continues the package's):

        >>> arrived = optimum(problem)
        >>> print(arrived.theta.round(3), arrived.converged, arrived.isolated, arrived.kind)
        [-1.588  1.319] True True closed form
        >>> print(bool(arrived.residual < 1e-9), bool(arrived.prediction_error < 1e-6), arrived.condition.round(2))
        True True 1.72
    """

    theta: Float[Array, "*batch dim"]
    gradient_norm: Float[Array, "*batch"]
    iterations: Int[Array, "*batch"]
    smallest_eigenvalue: Float[Array, "*batch"]
    outcome: Int[Array, "*batch"]
    value: Float[Array, "*batch"]
    error: Float[Array, "*batch"]
    start_gradient_norm: Float[Array, "*batch"]
    residual: Float[Array, "*batch"]
    prediction_error: Float[Array, "*batch"]
    condition: Float[Array, "*batch"]
    kind: str = eqx.field(static=True)

    @property
    def converged(self) -> Bool[Array, "*batch"]:
        """Whether everything that a proof needs holds."""
        return self.outcome == int(Outcome.CONVERGED)

    @property
    def isolated(self) -> Bool[Array, "*batch"]:
        """Whether λ_min > 0: no other stationary point is near. Where it is false θ depends on the start."""
        return self.smallest_eigenvalue > 0

    def __str__(self) -> str:
        if self.theta.ndim > 1:
            return f"{self.converged.size} endpoints ({self.kind}): {self._counts()}"
        outcome = Outcome(int(self.outcome))
        said = "converged" if outcome is Outcome.CONVERGED else f"NOT converged ({outcome.words})"
        return (
            f"{self.kind}: {said} in {int(self.iterations)} iterations, "
            f"predictions to {float(self.prediction_error):.1e}, residual {float(self.residual):.1e} (both relative), "
            f"λ_min = {float(self.smallest_eigenvalue):.3g}{'' if self.isolated else ' (not isolated)'}, "
            f"condition {float(self.condition):.1e}"
        )

    def _counts(self) -> str:
        codes, counts = np.unique(np.asarray(self.outcome), return_counts=True)
        parts = [f"{count} {Outcome(int(code)).words}" for code, count in zip(codes, counts, strict=True)]
        good = np.asarray(self.converged)
        if good.any():
            parts.append(f"predictions to {float(np.max(np.asarray(self.prediction_error)[good])):.1e}")
        return ", ".join(parts)


def proven(
    *,
    finite: Bool[Array, "*batch"],
    norm: Float[Array, "*batch"],
    measure: Float[Array, "*batch"],
    left: Float[Array, "*batch"],
    size: Float[Array, "*batch"],
    smallest: Float[Array, "*batch"],
    off: Float[Array, "*batch"],
    **found: Any,
) -> Endpoint:
    """The endpoint whose outcome the numbers of its proof come to, all in the frame: ‖∇′‖ beside its `measure`, the Newton
    step that is `left` beside `size`, λ_min, and what the predictions are `off` by; `found` are its other fields."""
    ranked = (
        (~finite, Outcome.NOT_FINITE),
        (norm > STATIONARITY * measure, Outcome.NOT_STATIONARY),
        (left > NEARNESS * size, Outcome.FLAT),
        (smallest < 0, Outcome.SADDLE),
        (off > PREDICTIONS, Outcome.IMPRECISE),
    )
    outcome = jnp.full(jnp.shape(norm), int(Outcome.CONVERGED))
    for wrong, name in reversed(ranked):
        outcome = jnp.where(wrong, int(name), outcome)
    residual = norm / jnp.where(measure > 0, measure, 1.0)
    return Endpoint(outcome=outcome, residual=residual, smallest_eigenvalue=smallest, prediction_error=off, **found)


def checked(endpoint: Endpoint, throw: bool, advice: str = "") -> Endpoint:
    """The endpoint, or `WorkError` if it did not converge, saying why and what to try."""
    if not throw or not is_concrete(endpoint.converged) or bool(endpoint.converged):
        return endpoint
    raise WorkError(f"{endpoint.kind} did not converge: {reason(endpoint)}{'; ' + advice if advice else ''}")


def reason(endpoint: Endpoint) -> str:
    """Why an endpoint counts as not converged, in one line with its numbers."""
    outcome = Outcome(int(endpoint.outcome))
    smallest, residual = float(endpoint.smallest_eigenvalue), float(endpoint.residual)
    numbers = {
        Outcome.NOT_STATIONARY: f"residual {residual:.1e} > {STATIONARITY:.0e} after {int(endpoint.iterations)} iterations",
        Outcome.FLAT: f"residual {residual:.1e}, but the Newton step left is {float(endpoint.error):.1e}",
        Outcome.SADDLE: f"λ_min = {smallest:.1e}",
        Outcome.UNSETTLED: f"residual {residual:.1e}, λ_min = {smallest:.1e}",
        Outcome.IMPRECISE: f"condition number {float(endpoint.condition):.1e} with all columns of equal size, so the "
        f"predictions may be off by {float(endpoint.prediction_error):.1e}; drop a column, or centre it (for powers: "
        "centre x first)",
    }.get(outcome)
    return outcome.words + (f" ({numbers})" if numbers else "")


# Checks that the endpoints share ------------------------------------------------------------------------------------


def as_epsilon(problem: Problem, epsilon: Any) -> Float[Array, "..."]:
    """ε as one number in [0, 1], or one per deleted point."""
    values = as_floats(epsilon, "epsilon")
    if values.ndim > 1 or (values.ndim == 1 and values.shape[0] != problem.delete.shape[0]):
        k = problem.delete.shape[0]
        raise RequestError(f"epsilon must be one number or one per deleted point ({k}), but has shape {values.shape}")
    if is_concrete(values) and bool(((values < 0) | (values > 1)).any()):
        raise RequestError(f"epsilon must lie in [0, 1] (1 keeps the point, 0 deletes it), but is {shown(epsilon)}")
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
