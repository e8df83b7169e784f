"""What D2D, R2D, Langevin and sequences share: one run of descent, SGD or flow, its constants, and what they prove."""

import math
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._checks import number
from .._errors import RequestError, WorkError
from ..flow import Constant, simulate
from ..problem import Problem
from . import _checks
from ._checkpoint import digest, identity
from ._constants import Constants, estimate_constants, proven
from ._sgd import PointWeights, as_radius, deletion_mask, mini_batches, run as descend


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
        weights = PointWeights(1.0 + (epsilon - 1.0) * deletion_mask(self.problem))
        rows = None if rows is None else rows[first:last]
        limit = None if self.radius is None else jnp.asarray(self.radius)
        ks = jnp.arange(first, last)
        return descend(self.problem, theta, weights, jnp.asarray(self.step), ks, rows, limit, None, None, False)[0]

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
    problem: Any, theta0: Any, *, step: Any, method: Any, batch_size: Any, radius: Any, key: Any, constants: Any
) -> Run:
    """The run that was asked for, or what is wrong with it."""
    theta0 = _checks.problem(problem).check_theta(theta0)
    if method not in ("flow", "descent", "sgd"):
        raise RequestError(f"method must be flow, descent or sgd, but is {method!r}")
    if (method == "sgd") != (batch_size is not None):
        raise RequestError("batch_size goes with method='sgd' and only with it")
    size = None if batch_size is None else _checks.count(batch_size, "batch_size", 1)
    if method == "flow" and radius is not None:
        raise RequestError("radius projects descent and SGD; the flow would ignore it")
    as_radius(radius, theta0)
    limit = None if radius is None else number(radius, "radius", above=0.0)
    made = _checks.random_key(key)
    known = find_constants(problem, constants, limit, size)
    return Run(problem, theta0, find_step(problem, step, known), method, size, limit, made, known)


def as_budget(epsilon: Any, delta: Any, publications: Any) -> tuple[float, float, int] | None:
    """(privacy ε, privacy δ, publications), or None without a budget."""
    if (epsilon is None) != (delta is None):
        raise RequestError("a privacy budget is privacy_epsilon and privacy_delta, both or neither")
    times = _checks.count(publications, "publications", 1)
    if epsilon is None:
        if times > 1:
            raise RequestError("publications divides a privacy budget: pass privacy_epsilon and privacy_delta with it")
        return None
    return *_checks.budget(epsilon, delta), times


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


def contracts(log_rate: float) -> bool:
    """Whether c < 1 by more than rounding, so that 1/(1 − c) means something."""
    return log_rate < -1e-12


def from_optimum(run: Run, theta: Float[Array, " dim"], log_rate: float) -> float:
    """A bound of ‖θ − θ*‖: the next step's length over 1 − c, or the gradient's over the strong convexity."""
    if run.method == "flow":
        return run.step * float(jnp.linalg.norm(run.problem.gradient(theta))) / -log_rate
    return float(jnp.linalg.norm(run.move(theta, 1.0, 0, 1) - theta)) / -math.expm1(log_rate)


def finite(theta: Array, step: float) -> None:
    """`WorkError` where a run left every bound."""
    if not bool(np.isfinite(np.asarray(theta)).all()):
        raise WorkError(f"the run diverged: step = {step:g} is too large; it must be below 2/λ_max(∇²R)")
