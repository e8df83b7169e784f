"""Going back without a checkpoint: the flow backwards in time, or gradient descent inverted step by step.

    flow:     θ̇ = +∇R(θ) for the time ηK
    descent:  θ_k = θ_{k+1} + η∇R(θ_k), the proximal point of −R at θ_{k+1}: one solution while ηL < 1

Either stretches what training contracted, by up to Π(1 − ηλ)⁻¹ or e^{λ·ηK} along a direction of curvature λ: rounding
errors included. So the answer carries its amplification and the error of going forwards again.
"""

import math
from dataclasses import dataclass
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._checks import Number, Theta, Whole, number
from .._errors import RequestError, WorkError
from ..flow import Constant, PointWeights, compiled_descent, integrate, simulate
from ..problem import Problem, on_problem
from . import _checks

_INNER = 500  # iterations of one proximal point
_TOLERANCE = 1e-15
# A checkpoint whose error estimate is below this, relative to how far it lies from the trained model, counts as found.
_RELIABLE = 1e-3


@dataclass(frozen=True)
class Rewound:
    """The checkpoint θ_{T−K}, `theta` (dim,), found from θ_T by `rewind` (mathematics §10).

    `amplification` is by how much an error of θ_T may have grown (`contracted` directions, from the curvature at both
    ends), `round_trip` = ‖forwards again − θ_T‖, `error` the estimate of ‖θ − θ_{T−K}‖ from both (θ leads exactly to
    where it leads; the true checkpoint to θ_T up to its rounding; what lies between grew by the amplification),
    `reliable` whether it is at most 1e-3 of `distance`, the way back, `step_times_smoothness` ηL at θ_T (must stay
    below 1 for descent). The rounding error of θ_T is taken from its dtype, or from single precision if every entry is
    a float32 number. `gradient_evaluations` is the cost, `method` that of `rewind`.

    Example (continues the package's):

        >>> trained = train(problem, theta0, step=0.01, train_steps=20)
        >>> back = rewind(problem, trained.theta, step=0.01, steps=2)
        >>> print(back.reliable, back.round_trip < 1e-12, back.method)
        True True proximal points
    """

    theta: Float[Array, " dim"]
    amplification: float
    round_trip: float
    error: float
    distance: float
    step_times_smoothness: float
    gradient_evaluations: float
    method: str

    @property
    def reliable(self) -> bool:
        """Whether the estimated error is small beside the distance gone back."""
        return self.error <= _RELIABLE * self.distance

    def __str__(self) -> str:
        return (
            f"went {self.distance:.3g} back by the {self.method}: {'reliable' if self.reliable else 'NOT reliable'}, "
            f"errors grow ×{self.amplification:.2g}, round trip {self.round_trip:.1e}, estimated error {self.error:.1e}, "
            f"ηL = {self.step_times_smoothness:.2g}, {self.gradient_evaluations:g} gradients"
        )


@on_problem
def rewind(problem: Problem, trained: Theta, *, step: Number, steps: Whole, method: str = "descent") -> Rewound:
    """The model `steps` steps of length η (on the sum R) before `trained` (dim,), all points having weight 1.

    `method`: "descent" solves θ_k = θ_{k+1} + η∇R(θ_k) step by step, "flow" integrates backwards for the time ηK
    (mathematics §10).

    Raises `RequestError` for descent with ηL ≥ 1 (a gradient step is then not injective: several checkpoints lead to
    θ_T), `WorkError` if the way back leaves every bound (a risk whose gradients grow explodes in finite time).

    Example (continues the package's):

        >>> trained = train(problem, theta0, step=0.01, train_steps=20)
        >>> earlier = train(problem, theta0, step=0.01, train_steps=20, rewind_steps=2)
        >>> print(jnp.allclose(rewind(problem, trained.theta, step=0.01, steps=2).theta, earlier.theta))
        True
    """
    theta1 = problem.check_theta(trained, "trained")
    eta, back = number(step, "step", above=0.0), _checks.count(steps, "steps", 0)
    if method not in ("flow", "descent"):
        raise RequestError(f"method must be flow or descent, but is {method!r}")
    here = float(_largest(problem, theta1)) * eta
    if method == "descent" and here >= 1:
        raise RequestError(
            f"step must stay below 1/λ_max(∇²R) = {eta / here:g} to invert gradient descent, but is {eta:g}; "
            "a stored checkpoint has no such limit"
        )
    if back == 0:
        return Rewound(theta1, 1.0, 0.0, 0.0, 0.0, here, 0.0, method)
    if method == "flow":
        theta, count = _backwards(problem, theta1, eta * back)
        again = simulate(problem, Constant(1.0), theta, t1=eta * back, ts=[eta * back]).theta1
        noise = max(1e-10, _precision(trained))
    else:
        theta, iterations, converged = _invert(problem, theta1, jnp.asarray(eta), back)
        if not bool(converged) or not bool(jnp.isfinite(theta).all()):
            raise WorkError(
                "the proximal points did not converge: ηL reached 1 on the way back; try fewer steps, a smaller step or "
                "a stored checkpoint"
            )
        count = float(iterations)
        weights = PointWeights(jnp.ones(problem.n))
        again, _ = compiled_descent(problem, theta, weights, jnp.asarray(eta), jnp.arange(back))
        noise = _precision(trained)
    there = float(_largest(problem, theta)) * eta
    if method == "descent" and there >= 1:
        raise WorkError(f"ηL reached {there:.3g} ≥ 1 on the way back, where gradient descent cannot be inverted")
    rate = max(here, there)
    log_gain = back * rate if method == "flow" else -back * math.log1p(-rate)
    gain = math.exp(log_gain) if log_gain < 700 else math.inf
    round_trip = float(jnp.linalg.norm(again - theta1))
    size = 1.0 + float(jnp.linalg.norm(theta1))
    return Rewound(
        theta, gain, round_trip, gain * (noise * size + round_trip), float(jnp.linalg.norm(theta - theta1)), here,
        count, "proximal points" if method == "descent" else "flow",
    )  # fmt: skip


def _precision(values: Any) -> float:
    """The relative rounding error of numbers that may have been stored with fewer digits than a float64."""
    stored = np.asarray(values)
    if not jnp.issubdtype(stored.dtype, jnp.floating):
        return float(np.finfo(float).eps)
    with np.errstate(over="ignore"):
        single = np.array_equal(stored, stored.astype(np.float32).astype(stored.dtype))
    return max(float(jnp.finfo(stored.dtype).eps), float(np.finfo(np.float32).eps) if single else 0.0)


@eqx.filter_jit
def _largest(problem: Problem, theta: Array) -> Array:
    return jnp.linalg.eigvalsh(problem.hessian(theta))[-1]


def _backwards(problem: Problem, theta1: Array, span: float) -> tuple[Array, float]:
    last, result, steps = _reverse_job(problem, theta1, jnp.asarray(span))
    if result != diffrax.RESULTS.successful:
        raise WorkError(
            "the flow cannot be followed so far backwards (its gradients explode); try fewer steps or a stored checkpoint"
        )
    return last, 7.0 * float(np.sum(steps))


@eqx.filter_jit
def _reverse_job(problem: Problem, theta1: Array, span: Array):
    def velocity(_, theta):
        return problem.gradient(theta, 1.0)

    _, last, result, stats, _ = integrate(
        velocity, Constant(1.0), theta1, span[None], span, solver=diffrax.Tsit5(), rtol=1e-10, atol=1e-12,
        max_steps=20_000,
    )  # fmt: skip
    return last, result, stats["accepted_steps"] + stats["rejected_steps"]


@eqx.filter_jit
def _invert(problem: Problem, theta1: Array, step: Array, steps: int) -> tuple[Array, Array, Array]:
    """K proximal points, each by the fixed point x ← θ_{k+1} + η∇R(x), a contraction by ηL."""

    def back(carry, _):
        later, total, fine = carry

        def unfinished(state):
            _, moved, size, count = state
            return (moved > _TOLERANCE * (1.0 + size)) & (count < _INNER)

        def improve(state):
            x, _, _, count = state
            new = later + step * problem.gradient(x, 1.0)
            return new, jnp.linalg.norm(new - x), jnp.linalg.norm(new), count + 1

        start = (later, jnp.asarray(jnp.inf), jnp.asarray(0.0), jnp.asarray(0))
        x, moved, size, count = jax.lax.while_loop(unfinished, improve, start)
        return (x, total + count, fine & (moved <= 1e-9 * (1.0 + size))), None

    (theta, total, fine), _ = jax.lax.scan(back, (theta1, jnp.asarray(0), jnp.asarray(True)), None, length=steps)
    return theta, total, fine
