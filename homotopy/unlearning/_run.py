"""What D2D, R2D, Langevin and sequences share: one run of descent, SGD or flow, its constants, and what they prove."""

import math
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._checks import Number, as_key, choice, number
from .._errors import RequestError, WorkError
from ..flow import Constant, PointWeights, compiled_descent, simulate
from ..problem import Problem
from . import _checks
from ._checkpoint import digest, identity
from ._constants import Constants, estimate_constants, proven
from ._privacy import log_growth
from ._sgd import Descending, as_radius, mini_batches


class Training(Descending, total=False):
    """How a model is trained, said in the same words to `train`, `descend_to_delete` and `rewind_to_delete`.

    - `step` η, on the sum R; by default the theorem's 2/(n(L + μ)) for linear and logistic regression.
    - `method`: "descent" (the default), "flow" (Diffrax or the exact engine, to the times of the steps), "sgd" with
      `batch_size`. `batch_size`, `radius` and `key` as in `Descending`.
    - `constants` G, L, μ as `estimate_constants` gives them (computed when not given, but for networks).
    """

    step: Number | None
    method: str
    constants: Constants | None


@dataclass(frozen=True)
class Run:
    """One run: where it starts, how it moves, and the constants that are known of its risk."""

    problem: Problem
    theta0: Float[Array, " dim"]
    step: float
    method: str
    batch_size: int | None
    radius: float | None
    key: Any
    known: Constants | None

    @property
    def name(self) -> str:
        """How it moves, in words."""
        names = {"flow": "gradient flow", "descent": "gradient descent", "sgd": "SGD"}
        return ("projected " if self.radius is not None else "") + names[self.method]

    @property
    def proven(self) -> bool:
        """Whether the constants are bounds for this very problem."""
        return self.known is not None and proven(self.problem, self.known)

    @property
    def caveat(self) -> tuple[str, ...]:
        """What a bound leaves out where a solver follows the flow."""
        solver = self.method == "flow" and not self.problem.least_squares
        return ("the bound is of the exact flow: the solver's error comes on top",) if solver else ()

    @property
    def share(self) -> float:
        """What a step costs, in gradients of the whole risk."""
        return 1.0 if self.batch_size is None else self.batch_size / self.problem.n

    @property
    def log_rate(self) -> float | None:
        """ln γ of one step, where it is known to contract, by more than rounding (so that 1/(1 − γ) means something)."""
        if self.known is None or not self.known.strong_convexity or self.batch_size is not None:
            return None
        eta = self.problem.n * self.step
        log_rate = log_growth(eta, self.known.smoothness, self.known.strong_convexity, self.method == "flow")
        return log_rate if log_rate < -1e-12 else None

    def jump(self, deleted: int) -> float:
        """mG/(μn), by how much the optimum moves at most when m points are deleted (∞: nothing is known)."""
        if self.known is None or not self.known.strong_convexity:
            return math.inf
        return deleted * self.known.lipschitz / self.known.strong_convexity / self.problem.n

    @property
    def gone(self) -> int:
        """m, how many points are deleted."""
        return len(self.problem.delete)

    @property
    def descends(self) -> bool:
        """Whether the constants say that a step cannot overshoot: ηL ≤ 2 and G < ∞."""
        known = self.known
        if known is None or not math.isfinite(known.lipschitz):
            return False
        return self.problem.n * self.step * known.smoothness <= 2 * (1 + 1e-12)

    def settings(self, total: int) -> dict[str, str]:
        """What the iterates depend on (mini-batches are drawn for all `total` steps at once)."""
        told = {
            **identity(self.problem), "theta0": digest(self.theta0), "step": self.step.hex(), "method": self.method,
            "radius": "none" if self.radius is None else self.radius.hex(),
        }  # fmt: skip
        if self.batch_size is not None:
            told |= {"mini-batches": digest(self.batches(total))}
        return told

    def name_of(self, *parts: Any) -> str:
        """What a publication of an algorithm on this run is counted by: everything but what is drawn."""
        told = {name: value for name, value in self.settings(1).items() if name != "mini-batches"}
        gone = np.sort(np.asarray(self.problem.delete)).tolist()
        return digest(sorted(told.items()), gone, self.batch_size, *parts)

    @property
    def limit(self) -> Float[Array, ""] | None:
        """The projection's radius for compiled code."""
        return None if self.radius is None else jnp.asarray(self.radius)

    def batches(self, steps: int) -> Int[Array, "steps b"] | None:
        """The mini-batches of a run of so many steps."""
        if self.batch_size is None:
            return None
        return mini_batches(self.key, self.problem.n, steps, self.batch_size)

    def move(self, theta: Any, epsilon: float, first: int, last: int, rows: Any = None) -> Float[Array, " dim"]:
        """θ after the steps `first` … `last` − 1 with weight ε on the deleted points."""
        if first == last:
            return theta
        if self.method == "flow":
            t1 = self.step * (last - first)
            return simulate(self.problem, Constant(epsilon), theta, t1=t1, ts=[t1]).theta1
        weights = PointWeights(self.problem.weights(epsilon))
        rows = None if rows is None else rows[first:last]
        ks = jnp.arange(first, last)
        return compiled_descent(
            self.problem, theta, weights, jnp.asarray(self.step), ks, batches=rows, radius=self.limit
        )[0]

    def unmet(self, theorem: str) -> tuple[str, ...]:
        """Which hypotheses on the risk and on how it is descended fail, in words."""
        if self.known is None:
            return ("the constants of a network are not known; measured ones give no guarantee",)
        missing = []
        if not self.known.guaranteed:
            missing.append(f"the constants are measured, not bounds ({self.known.how})")
        elif not self.proven:
            missing.append(
                "the constants are not what estimate_constants() gives for this problem (other data, ridge or deleted "
                "points, or written by hand)"
            )
        if not math.isfinite(self.known.lipschitz):
            missing.append("the squared loss has no Lipschitz constant on the whole space: pass radius")
        if theorem == "D2D" and not self.known.strong_convexity:
            missing.append("the risk is not known to be strongly convex: add a ridge")
        if self.method == "flow" and not self.problem.least_squares:
            missing.append("a solver's steps are not the exact flow; method='descent' has a proven bound")
        return tuple(missing)


def prepare(
    problem: Problem,
    theta0: Any,
    *,
    step: Any = None,
    method: Any = "descent",
    batch_size: Any = None,
    radius: Any = None,
    key: Any = 0,
    constants: Any = None,
) -> Run:
    """The run that was asked for, or what is wrong with it."""
    theta0 = problem.check_theta(theta0)
    choice(method, "method", ("flow", "descent", "sgd"))
    if (method == "sgd") != (batch_size is not None):
        raise RequestError("batch_size goes with method='sgd' and only with it")
    size = None if batch_size is None else _checks.count(batch_size, "batch_size", 1)
    if method == "flow" and radius is not None:
        raise RequestError("radius projects descent and SGD; the flow would ignore it")
    limit = None if as_radius(radius, theta0) is None else number(radius, "radius", above=0.0)
    known = find_constants(problem, constants, limit, size)
    return Run(problem, theta0, find_step(problem, step, known), method, size, limit, as_key(key), known)


def find_constants(problem: Problem, constants: Any, radius: float | None, batch_size: int | None) -> Constants | None:
    """The given constants, if they can be of this run; those that are computed; None for a network."""
    if constants is None:
        return estimate_constants(problem, radius=radius, per_point=batch_size is not None) if problem.convex else None
    if not isinstance(constants, Constants):
        raise RequestError(f"constants must be Constants, but is of type {type(constants).__name__}")
    _checks.constants(constants.smoothness, constants.strong_convexity or 0.0)
    if constants.guaranteed and (math.inf if radius is None else radius) > constants.radius * (1 + 1e-12):
        raise RequestError(
            f"constants hold on ‖θ‖ ≤ {constants.radius:g} only, which the run may leave: pass radius={constants.radius:g} "
            "(descent and SGD), or constants of the whole space"
        )
    if constants.guaranteed and batch_size is not None and not constants.per_point:
        raise RequestError(
            "constants are of the whole risk, not of mini-batches: use estimate_constants(…, per_point=True)"
        )
    return constants


def find_step(problem: Problem, step: Any, known: Constants | None) -> float:
    """η on the sum R: as given, or the theorem's 2/(n(L + μ))."""
    if step is None:
        if known is None:
            raise RequestError("step must be given for a network: its smoothness is not known")
        return 2.0 / (problem.n * (known.smoothness + (known.strong_convexity or 0.0)))
    eta = number(step, "step", above=0.0)
    if known is not None and known.guaranteed and eta * problem.n * known.smoothness > 2 * (1 + 1e-12):
        raise RequestError(
            f"step must not exceed 2/(n·smoothness) = {2 / (problem.n * known.smoothness):g} on the sum R, but is {eta:g}"
        )
    return eta


def from_optimum(run: Run, theta: Float[Array, " dim"]) -> float:
    """A bound of ‖θ − θ*‖: the next step's length over 1 − γ, or the gradient's over the strong convexity (∞ unless γ < 1)."""
    if run.log_rate is None:
        return math.inf
    if run.method == "flow":
        return run.step * float(jnp.linalg.norm(run.problem.gradient(theta))) / -run.log_rate
    return float(jnp.linalg.norm(run.move(theta, 1.0, 0, 1) - theta)) / -math.expm1(run.log_rate)


def finite(theta: Array, step: float) -> None:
    """`WorkError` where a run left every bound."""
    if not bool(np.isfinite(np.asarray(theta)).all()):
        raise WorkError(f"the run diverged: step = {step:g} is too large; it must be below 2/λ_max(∇²R)")
