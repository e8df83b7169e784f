"""Rewind-to-Delete: the schedule 1_[0,η(T−K)], horizon ηT, and a noise rule (mathematics §10; arXiv 2409.09778).

It runs as gradient flow, gradient descent or SGD, the latter two projected onto ‖θ‖ ≤ r if a `radius` is given; SGD
unlearns on the very mini-batches that retraining would see (arXiv 2511.15983). `step` η is that of descent on the sum R,
the clock of the flow; the theorems' step, on the mean, is n·η. Everything holds for groups of deleted points.
"""

import math
import time
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Unpack

import jax
import numpy as np

from .._checks import Number, Theta, Values, Whole, number
from .._errors import RequestError
from ..flow import Step
from ..problem import Problem, on_problem
from . import _checks
from ._backward import Rewound, rewind
from ._checkpoint import Checkpoint, foreign
from ._constants import Constants, proven
from ._privacy import Budget, Guarantee, analytic_gaussian_sigma, as_budget, log_growth, rewind_to_delete_sensitivity
from ._result import Unlearned
from ._run import Run, Training, finite, prepare
from ._sgd import as_radius


@on_problem
def train(
    problem: Problem,
    theta0: Theta,
    *,
    train_steps: Whole,
    rewind_steps: Whole = 0,
    **training: Unpack[Training],
) -> Checkpoint:
    """θ_{T−K} (dim,) of training on everything, bound to its run: what `rewind_to_delete` takes.

    Pass it as `checkpoint` (K = 0: as `trained`). Mathematics §10.

    The options are those of `rewind_to_delete`, and `problem.delete` is not looked at, but for the default of `step`,
    which depends on it: to go back for points that are not known yet, pass `step`. Raises as `rewind_to_delete`.

    Example (continues the package's):

        >>> kept = train(problem, theta0, step=0.01, train_steps=20, rewind_steps=10)
        >>> kept.theta.shape, kept.steps
        ((2,), 10)
    """
    total, back = _checks.steps(train_steps, rewind_steps)
    again = _Again(prepare(problem, theta0, **training), total, back)
    theta = again.until_checkpoint()
    finite(theta, again.run.step)
    return again.checkpoint(theta)


@on_problem
def rewind_to_delete(
    problem: Problem,
    theta0: Theta,
    *,
    train_steps: Whole,
    rewind_steps: Whole,
    checkpoint: Checkpoint | Theta | None = None,
    trained: Checkpoint | Theta | None = None,
    privacy_epsilon: Number | None = None,
    privacy_delta: Number | None = None,
    publications: Whole = 1,
    **training: Unpack[Training],
) -> Unlearned:
    """Go back to the checkpoint θ_{T−K} (dim,) and do the last K steps without J: ε = 1_[0, η(T−K)] up to ηT.

    K = `rewind_steps`; at K = T it is retraining, step by step. `training` and the budget as in `descend_to_delete`. A
    stored `checkpoint` spares the training before it; so does `trained`, the model θ_T alone, from which the checkpoint
    is found by going backwards (`rewind`: flow and gradient descent, ηL < 1; c^K times its error,
    amplified by the known L if there is one, is added to Δ; K = T starts from θ₀ instead).

    Theorem (Mu & Klabjan, arXiv 2409.09778, 2511.15983): Δ = `distance_bound` ≥ ‖θ − θ_retrain‖, by
    `rewind_to_delete_sensitivity`, for SGD by the same sum over the mini-batches that did hold deleted points
    (`coupled_sensitivity`); with it the analytic Gaussian mechanism is (ε, δ), √`publications` times the noise for
    several models. Checked, and bound and guarantee are withdrawn if not so: checkpoint or `trained` are those of this very
    run, made by `train` (a `Checkpoint`: hash of data, settings and step; an array proves nothing, and only its value is
    used). Checked, and the guarantee is withdrawn: G, L, μ are the bounds of this very problem (`estimate_constants`; its
    seal) and for SGD of every mini-batch; G < ∞; η ≤ 2/L; a way back that is reliable (error below 1e-3 of it); gradient
    descent or SGD, not a solver's steps along the flow (K = T apart: that is retraining itself); and `publish` counts. Not
    checked: see `Guarantee`; for SGD it holds given the mini-batches, which J must not have chosen.

    Raises as `descend_to_delete`, and for K outside [0, T].

    Example (continues the package's):

        >>> left = rewind_to_delete(problem, theta0, step=0.01, train_steps=20, rewind_steps=20)
        >>> print(jnp.allclose(left.theta, retrain(problem, theta0, step=0.01, steps=20).theta))
        True
    """
    budget = as_budget(privacy_epsilon, privacy_delta, publications)
    total, back = _checks.steps(train_steps, rewind_steps)
    again = _Again(prepare(problem, theta0, **training), total, back)
    run, began = again.run, time.perf_counter()
    found = _start(again, checkpoint, trained)
    if trained is None:
        began = time.perf_counter()
    theta = jax.block_until_ready(again.from_checkpoint(found.theta, 0.0))
    seconds = time.perf_counter() - began
    finite(theta, run.step)
    exact = back == total and not found.foreign  # the very computation of retraining, whatever the constants
    bound = 0.0 if exact else math.inf if found.foreign else _bound(again, found.error)
    s = run.step * (total - back)
    return Unlearned(
        algorithm=f"rewind-to-delete ({run.name})",
        theta=theta,
        trained=again.from_checkpoint(found.theta, 1.0) if found.trained is None else found.trained,
        start=found.theta,
        gradient_evaluations=found.spent + back * run.share,
        seconds=seconds,
        schedule=Step(s),
        unlearn_from=s,
        t1=run.step * total,
        distance_bound=bound,
        bound_of="the model retrained for T steps" if math.isfinite(bound) else "",
        measured=run.known is not None and not run.proven and not exact,
        guarantee=None if budget is None else _guarantee(run, budget, found, bound, exact),
        notes=(
            *found.notes,
            *(run.caveat if 0 < bound < math.inf else ()),
            *(f"no bound: {why}" for why in found.foreign),
        ),
        checkpoint=None if found.foreign or found.error else again.checkpoint(found.theta),
        run=run.name_of("rewind", total, back),
    )


@dataclass(frozen=True)
class _Again:
    """A training run of T = `total` steps, of which the last K = `back` are to be done again."""

    run: Run
    total: int
    back: int

    @cached_property
    def rows(self) -> Any:
        """The mini-batches of all T steps."""
        return self.run.batches(self.total)

    @cached_property
    def settings(self) -> dict[str, str]:
        """What a model of this run is told by."""
        return self.run.settings(self.total)

    def until_checkpoint(self) -> Any:
        """θ_{T−K} from θ₀."""
        return self.run.move(self.run.theta0, 1.0, 0, self.total - self.back, self.rows)

    def from_checkpoint(self, theta: Any, epsilon: float) -> Any:
        """The last K steps with weight ε on the deleted points."""
        return self.run.move(theta, epsilon, self.total - self.back, self.total, self.rows)

    def checkpoint(self, theta: Any) -> Checkpoint:
        """θ_{T−K} with its seal."""
        return Checkpoint(theta, self.total - self.back, self.settings).bound()


@dataclass(frozen=True)
class _Start:
    """Where rewinding set out from, and what speaks against it."""

    theta: Any
    trained: Any = None
    spent: float = 0.0
    error: float = 0.0
    foreign: tuple[str, ...] = ()
    unmet: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def _start(again: _Again, checkpoint: Any, trained: Any) -> _Start:
    """θ_{T−K}: as stored, found from θ_T, or trained."""
    if checkpoint is not None and trained is not None:
        raise RequestError("checkpoint= is θ_{T−K} and trained= is θ_T to go back from: pass only one of them")
    if trained is not None:
        return _backwards(again, trained)
    if checkpoint is None:
        return _Start(jax.block_until_ready(again.until_checkpoint()))
    run = again.run
    theta = run.problem.check_theta(_theta(checkpoint), "checkpoint")
    as_radius(run.radius, theta)
    if again.back == again.total and np.array_equal(theta, run.theta0):  # θ₀ proves itself
        return _Start(theta)
    return _Start(theta, foreign=foreign(checkpoint, again.settings, again.total - again.back, "checkpoint"))


def _theta(given: Any) -> Any:
    return given.theta if isinstance(given, Checkpoint) else given


def _backwards(again: _Again, trained: Any) -> _Start:
    run = again.run
    if run.batch_size is not None or run.radius is not None:
        raise RequestError(
            "going back from trained= undoes the flow or plain gradient descent: drop batch_size, radius"
        )
    kept = run.problem.check_theta(_theta(trained), "trained")
    if again.back == again.total:
        return _Start(run.theta0, kept, notes=("K = T: retrained from θ₀, nothing to go back for",))
    went = rewind(run.problem, _theta(trained), step=run.step, steps=again.back, method=run.method)
    return _Start(
        went.theta,
        kept,
        went.gradient_evaluations,
        _backward_error(again, went),
        foreign(trained, again.settings, again.total, "trained model"),
        () if went.reliable else ("the checkpoint was found by going backwards, and not reliably",),
        (str(went),),
    )


def _backward_error(again: _Again, went: Rewound) -> float:
    """The error of the checkpoint found: amplified by the bound L of all curvatures, where there is one."""
    run = again.run
    if run.known is None or not run.proven or went.error == 0.0:
        return went.error
    rate = run.problem.n * run.step * run.known.smoothness
    if run.method != "flow" and rate >= 1:
        return math.inf
    log_gain = again.back * rate if run.method == "flow" else -again.back * math.log1p(-rate)
    return went.error * math.exp(log_gain) / went.amplification if log_gain < 700 else math.inf


def _bound(again: _Again, error: float) -> float:
    """Δ, with c^K times the error of a checkpoint that was found by going backwards."""
    run = again.run
    known, eta = run.known, run.problem.n * run.step
    if known is None or not run.descends:
        return math.inf
    if again.rows is not None:
        return _coupled(run.problem, again.rows, known, run.step, again.back) if known.per_point else math.inf
    flow = run.method == "flow"
    bound = rewind_to_delete_sensitivity(
        run.problem.n, run.gone, known.lipschitz, known.smoothness, eta, again.total, again.back, known.strong_convexity,
        flow=flow,
    )  # fmt: skip
    if error and math.isfinite(bound):
        log_rate = log_growth(eta, known.smoothness, known.strong_convexity, flow)
        bound += error * math.exp(min(again.back * log_rate, 700.0))
    return bound


def _guarantee(run: Run, budget: Budget, found: _Start, bound: float, exact: bool) -> Guarantee:
    epsilon, delta, times = budget
    missing = [] if exact else [*run.unmet("R2D"), *found.foreign, *found.unmet]
    if not math.isfinite(bound) and not found.foreign:
        missing.append("the bound Δ is not finite")
    given = "" if run.batch_size is None else ", given the mini-batches"
    theorem = f"R2D and the analytic Gaussian mechanism{given}"
    sigma = math.inf if missing else math.sqrt(times) * analytic_gaussian_sigma(bound, epsilon, delta)
    return Guarantee(epsilon, delta, sigma, bound, theorem, tuple(missing), times)


@on_problem
def coupled_sensitivity(
    problem: Problem, batches: Annotated[Values, "steps b"], constants: Constants, *, step: Number, rewind_steps: Whole
) -> float:
    """Δ = Σ_{k < T−K} η (n/b) |B_k ∩ J| G c^{T−1−k} ≥ ‖θ_R2D − θ_retrain‖ for coupled SGD, given the mini-batches.

    `batches` (T, b) are those of the run (they do not depend on the data), `step` η is on the sum, `constants` those of
    every mini-batch of this very problem (`estimate_constants(…, per_point=True)`; others are refused, and so is
    η > 2/L; measured ones give a measured number, no bound). Its mean over batches is at most Δ of gradient descent
    with the same constants. Raises `RequestError`; source: arXiv 2511.15983.

    Example (continues the package's):

        >>> constants = estimate_constants(classes, per_point=True)
        >>> batches = mini_batches(0, n=20, steps=10, batch_size=5)
        >>> print(f"{coupled_sensitivity(classes, batches, constants, step=0.01, rewind_steps=5):.4f}")
        0.0879
    """
    if not isinstance(constants, Constants) or not constants.per_point:
        raise RequestError("constants must be those of every mini-batch: use estimate_constants(…, per_point=True)")
    if constants.guaranteed and not proven(problem, constants):
        raise RequestError("constants are of another problem: use estimate_constants(problem, per_point=True)")
    eta = number(step, "step", above=0.0)
    _checks.descent_step(problem.n * eta, constants.smoothness)
    return _coupled(problem, batches, constants, eta, rewind_steps)


def _coupled(problem: Problem, batches: Any, constants: Constants, eta: float, rewind_steps: Any) -> float:
    rows = _checks.indices(batches, "batches", 2, problem.n)
    train, back = _checks.steps(rows.shape[0], rewind_steps)
    rate = log_growth(problem.n * eta, constants.smoothness, constants.strong_convexity)
    hits = np.isin(rows, np.asarray(problem.delete)).sum(axis=1)[: train - back]
    ages = train - 1 - np.arange(train - back)
    with np.errstate(over="ignore", invalid="ignore"):
        factors = np.where(ages == 0, 1.0, np.exp(ages * rate))
        return float(
            eta * problem.n / rows.shape[1] * constants.lipschitz * np.sum(np.where(hits, hits * factors, 0.0))
        )
