"""Descent-to-Delete and Rewind-to-Delete: the schedule 1_[0,s], a horizon, and a noise rule (mathematics §10).

    D2D:  s = ηT,        horizon η(T + I)      (arXiv 2007.02923)
    R2D:  s = η(T − K),  horizon ηT            (arXiv 2409.09778; SGD: arXiv 2511.15983)

Each runs as gradient flow, gradient descent or SGD, the latter two projected onto ‖θ‖ ≤ r if a `radius` is given; SGD
unlearns on the very mini-batches that retraining would see. `step` η is that of descent on the sum R, the clock of the
flow; the theorems' step, on the mean, is n·η. Everything holds for groups of deleted points.
"""

import math
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._checks import Number, Whole, number, whole
from .._errors import RequestError, WorkError
from ..flow import Constant, Step, simulate
from ..problem import Problem
from . import _checks
from ._constants import Constants, estimate_constants
from ._privacy import (
    Guarantee,
    analytic_gaussian_sigma,
    contraction_sigma,
    log_growth,
    rewind_to_delete_sensitivity,
)
from ._result import Unlearned
from ._sgd import ScheduleWeights, as_radius, deletion_mask, mini_batches, run


def descend_to_delete(
    problem: Problem,
    theta0: Any,
    *,
    step: Number | None = None,
    train_steps: Whole,
    unlearn_steps: Whole,
    method: str = "descent",
    batch_size: Whole | None = None,
    radius: Number | None = None,
    key: Whole = 0,
    privacy_epsilon: Number | None = None,
    privacy_delta: Number | None = None,
    constants: Constants | None = None,
) -> Unlearned:
    """Train T steps on everything, then go on for I steps without J: ε = 1_[0, ηT] up to η(T + I).

    - `method`: "flow" (Diffrax or the exact engine, to the times of the steps), "descent", "sgd" with `batch_size`.
      `radius` projects descent and SGD onto ‖θ‖ ≤ r.
    - `step` (on the sum R) defaults to the theorem's 2/(n(L + μ)) for linear and logistic regression.
    - with a privacy budget, `guarantee` holds the noise that publishing needs: the theorem is for strongly convex risks
      with bounds G, L, μ (`constants`, by default `estimate_constants(problem, radius=radius)`), full gradients and a
      model trained far enough; any assumption that fails is named, and then there is no guarantee.

    The answer's `distance_bound` is γ^I (‖θ_T − θ*‖ + mG/(μn)) ≥ ‖θ − θ*₋‖, from contraction alone (θ*₋ is the
    optimum on the ball if there is a `radius`; ∞ for a step that does not contract). Raises `RequestError` for steps
    beyond 2/L, contradicting constants, constants of a smaller ball than the run's, half a budget, a start outside
    the ball and options that would be ignored; `WorkError` if the run diverges.
    """
    theta0, budget, limit = _request(problem, theta0, method, batch_size, radius, privacy_epsilon, privacy_delta)
    train = whole(train_steps, "train_steps", 1)
    unlearn = whole(unlearn_steps, "unlearn_steps", 1)
    known = _known(problem, constants, radius, batch_size)
    eta = _step(problem, step, known)
    s, t1 = eta * train, eta * (train + unlearn)
    if method == "flow":
        trained = simulate(problem, Constant(1.0), theta0, t1=s, ts=[s]).theta1
        began = time.perf_counter()
        theta = simulate(problem, Constant(0.0), trained, t1=t1 - s, ts=[t1 - s]).theta1
    else:
        mask, size = deletion_mask(problem), jnp.asarray(eta)
        weights = ScheduleWeights(mask, jnp.repeat(jnp.array([1.0, 0.0]), jnp.array([train, unlearn])))
        rows = None if batch_size is None else mini_batches(key, problem.n, train + unlearn, batch_size)
        first, then = jnp.arange(train), train + jnp.arange(unlearn)
        head, tail = (None, None) if rows is None else (rows[:train], rows[train:])
        trained, _ = run(problem, theta0, weights, size, first, head, limit, None, None, False)
        jax.block_until_ready(trained)
        began = time.perf_counter()
        theta, _ = run(problem, trained, weights, size, then, tail, limit, None, None, False)
    _finite(theta, eta)
    seconds = time.perf_counter() - began
    bound, contraction = math.inf, 1.0
    if known is not None and known.strong_convexity and batch_size is None:
        log_rate = log_growth(problem.n * eta, known.smoothness, known.strong_convexity, method == "flow")
        if _contracts(log_rate):
            contraction = math.exp(unlearn * log_rate)
            gone = len(np.asarray(problem.delete))
            off = _left(problem, trained, eta, limit, log_rate, method)
            bound = contraction * (off + gone * known.lipschitz / (known.strong_convexity * problem.n))
    guarantee = None
    if budget is not None:
        guarantee = _descent_guarantee(
            problem, known, budget, contraction, batch_size, theta0, train, trained, eta, limit, method
        )
    optimum = "the optimum without the points" + ("" if radius is None else f" on the ball ‖θ‖ ≤ {radius:g}")
    return Unlearned(
        algorithm=f"descend-to-delete ({_named(method, radius)})",
        theta=theta,
        trained=trained,
        start=trained,
        gradient_evaluations=unlearn * (1.0 if batch_size is None else batch_size / problem.n),
        seconds=seconds,
        schedule=Step(s),
        unlearn_from=s,
        t1=t1,
        distance_bound=bound,
        bound_of=optimum if math.isfinite(bound) else "",
        measured=known is not None and not known.guaranteed,
        guarantee=guarantee,
    )


def rewind_to_delete(
    problem: Problem,
    theta0: Any,
    *,
    step: Number | None = None,
    train_steps: Whole,
    rewind_steps: Whole,
    method: str = "descent",
    batch_size: Whole | None = None,
    radius: Number | None = None,
    key: Whole = 0,
    privacy_epsilon: Number | None = None,
    privacy_delta: Number | None = None,
    constants: Constants | None = None,
    checkpoint: Any = None,
    trained: Any = None,
) -> Unlearned:
    """Go back to the checkpoint θ_{T−K} and do the last K steps without J: ε = 1_[0, η(T−K)] up to ηT.

    K = `rewind_steps`; at K = T it is retraining, step by step. Methods, `step`, `radius` and the budget as in
    `descend_to_delete`. A stored `checkpoint` (dim,) spares the training before it; so does `trained`, the model θ_T
    alone, from which the checkpoint is found by going backwards (`rewind`: flow and gradient descent, ηL < 1; c^K times
    its error, amplified by the known L if there is one, is added to Δ, and an error beyond 1e-3 of the way back voids the
    guarantee; K = T starts from θ₀ instead). Neither is checked: Δ and the guarantee rest on them being θ_{T−K} and θ_T of
    this very run, from this θ₀ with this step and all the points.

    `distance_bound` is Δ ≥ ‖θ − θ_retrain‖ (`rewind_to_delete_sensitivity`; for SGD the same sum over the mini-batches
    that did hold deleted points, `coupled_sensitivity`), and the guarantee is the analytic Gaussian mechanism on it.
    Raises as `descend_to_delete`, and for K outside [0, T].
    """
    theta0, budget, limit = _request(problem, theta0, method, batch_size, radius, privacy_epsilon, privacy_delta)
    train, back = _checks.steps(train_steps, rewind_steps)
    if checkpoint is not None and trained is not None:
        raise RequestError("checkpoint= is θ_{T−K} and trained= is θ_T to go back from: pass only one of them")
    if trained is not None and (batch_size is not None or radius is not None):
        raise RequestError(
            "going back from trained= undoes the flow or plain gradient descent: drop batch_size, radius"
        )
    known = _known(problem, constants, radius, batch_size)
    eta = _step(problem, step, known)
    s, t1 = eta * (train - back), eta * train
    notes: tuple[str, ...] = ()
    unmet: tuple[str, ...] = ()
    spent = error = 0.0
    began = time.perf_counter()
    if trained is not None and back == train:
        start, notes = theta0, ("K = T: retrained from θ₀, nothing to go back for",)
    elif trained is not None:
        from ._backward import rewind

        went = rewind(problem, trained, step=eta, steps=back, method="flow" if method == "flow" else "descent")
        start, spent, notes = went.theta, went.gradient_evaluations, (str(went),)
        unmet = () if went.reliable else ("the checkpoint was found by going backwards, and not reliably",)
        error = _backward_error(went, known, problem.n * eta, back, method)
    elif checkpoint is not None:
        start = problem.check_theta(checkpoint, "checkpoint")
        as_radius(radius, start)
    mask, size, ks = deletion_mask(problem), jnp.asarray(eta), jnp.arange(train)
    rows = None if batch_size is None else mini_batches(key, problem.n, train, batch_size)
    last = train - back
    if method == "flow":
        if checkpoint is None and trained is None:
            start = theta0 if last == 0 else simulate(problem, Constant(1.0), theta0, t1=s, ts=[s]).theta1
        began = time.perf_counter() if trained is None else began
        theta = start if back == 0 else simulate(problem, Constant(0.0), start, t1=t1 - s, ts=[t1 - s]).theta1
        seconds = time.perf_counter() - began
        full = start if back == 0 else simulate(problem, Constant(1.0), start, t1=t1 - s, ts=[t1 - s]).theta1
    else:
        on, off = ScheduleWeights(mask, jnp.ones(train)), ScheduleWeights(mask, jnp.zeros(train))
        head, tail = (None, None) if rows is None else (rows[:last], rows[last:])
        if checkpoint is None and trained is None:
            start, _ = run(problem, theta0, on, size, ks[:last], head, limit, None, None, False)
        jax.block_until_ready(start)
        began = time.perf_counter() if trained is None else began
        theta, _ = run(problem, start, off, size, ks[last:], tail, limit, None, None, False)
        jax.block_until_ready(theta)
        seconds = time.perf_counter() - began
        full, _ = run(problem, start, on, size, ks[last:], tail, limit, None, None, False)
    _finite(theta, eta)
    bound = _rewind_bound(problem, known, eta, train, back, rows, method)
    if error and known is not None and math.isfinite(bound):
        log_rate = log_growth(problem.n * eta, known.smoothness, known.strong_convexity, method == "flow")
        bound += error * float(np.exp(min(back * log_rate, 700.0)))
    guarantee = None
    if budget is not None:
        missing = (*_unmet(known, "R2D"), *unmet)
        if not math.isfinite(bound):
            missing = (*missing, "the bound Δ is not finite")
        sigma = math.inf if missing else analytic_gaussian_sigma(bound, *budget)
        given = "" if batch_size is None else ", given the mini-batches"
        guarantee = Guarantee(
            budget[0], budget[1], sigma, bound, f"R2D and the analytic Gaussian mechanism{given}", missing
        )
    return Unlearned(
        algorithm=f"rewind-to-delete ({_named(method, radius)})",
        theta=theta,
        trained=problem.check_theta(trained, "trained") if trained is not None else full,
        start=start,
        gradient_evaluations=spent + back * (1.0 if batch_size is None else batch_size / problem.n),
        seconds=seconds,
        schedule=Step(s),
        unlearn_from=s,
        t1=t1,
        distance_bound=bound,
        bound_of="the model retrained for T steps" if math.isfinite(bound) else "",
        measured=known is not None and not known.guaranteed,
        guarantee=guarantee,
        notes=notes,
    )


def coupled_sensitivity(
    problem: Problem, batches: Any, constants: Constants, *, step: Number, rewind_steps: Whole
) -> float:
    """Δ = Σ_{k < T−K} η (n/b) |B_k ∩ J| G c^{T−1−k} ≥ ‖θ_R2D − θ_retrain‖ for coupled SGD, given the mini-batches.

    `batches` (T, b) are those of the run (they do not depend on the data), `step` η is on the sum, `constants` those of
    every mini-batch (`estimate_constants(…, per_point=True)`; others are refused). Its mean over batches is at most Δ of
    gradient descent with the same constants.
    """
    if not constants.per_point:
        raise RequestError("constants must be those of every mini-batch: use estimate_constants(…, per_point=True)")
    rows = np.asarray(batches)
    train, back = _checks.steps(rows.shape[0], rewind_steps)
    rate = log_growth(problem.n * step, constants.smoothness, constants.strong_convexity)
    hits = np.isin(rows, np.asarray(problem.delete)).sum(axis=1)[: train - back]
    ages = train - 1 - np.arange(train - back)
    with np.errstate(over="ignore", invalid="ignore"):
        factors = np.where(ages == 0, 1.0, np.exp(ages * rate))
        return float(
            step * problem.n / rows.shape[1] * constants.lipschitz * np.sum(np.where(hits, hits * factors, 0.0))
        )


# What both share ----------------------------------------------------------------------------------------------------


def _request(problem, theta0, method, batch_size, radius, privacy_epsilon, privacy_delta):
    theta0 = problem.check_theta(theta0)
    if method not in ("flow", "descent", "sgd"):
        raise RequestError(f"method must be flow, descent or sgd, but is {method!r}")
    if (method == "sgd") != (batch_size is not None):
        raise RequestError("batch_size goes with method='sgd' and only with it")
    if batch_size is not None:
        whole(batch_size, "batch_size", 1)
    if method == "flow" and radius is not None:
        raise RequestError("radius projects descent and SGD; the flow would ignore it")
    if (privacy_epsilon is None) != (privacy_delta is None):
        raise RequestError("a privacy budget is privacy_epsilon and privacy_delta, both or neither")
    budget = None if privacy_epsilon is None else _checks.budget(privacy_epsilon, privacy_delta)
    return theta0, budget, as_radius(radius, theta0)


def _known(problem: Problem, constants: Constants | None, radius: float | None, batch_size: int | None):
    from ..endpoints._optimum import is_convex

    if constants is not None:
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
    if not is_convex(problem):
        return None
    return estimate_constants(problem, radius=radius, per_point=batch_size is not None)


def _step(problem: Problem, step: Any, known: Constants | None) -> float:
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


def _rewind_bound(problem, known, eta, train, back, rows, method) -> float:
    if known is None or not math.isfinite(known.lipschitz) or eta * problem.n * known.smoothness > 2 * (1 + 1e-12):
        return math.inf
    if rows is not None and not known.per_point:
        return math.inf
    if rows is not None:
        return coupled_sensitivity(problem, rows, known, step=eta, rewind_steps=back)
    return rewind_to_delete_sensitivity(
        problem.n, len(np.asarray(problem.delete)), known.lipschitz, known.smoothness, problem.n * eta, train, back,
        known.strong_convexity, flow=method == "flow",
    )  # fmt: skip


def _backward_error(went: Any, known: Constants | None, eta: float, back: int, method: str) -> float:
    """The error of the checkpoint found: amplified by the bound L of all curvatures, where there is one."""
    if known is None or not known.guaranteed or went.error == 0.0:
        return went.error
    rate = eta * known.smoothness
    if method != "flow" and rate >= 1:
        return math.inf
    log_gain = back * rate if method == "flow" else -back * math.log1p(-rate)
    return went.error * math.exp(log_gain) / went.amplification if log_gain < 700 else math.inf


def _unmet(known: Constants | None, theorem: str) -> tuple[str, ...]:
    if known is None:
        return ("the constants of a network are not known; measured ones give no guarantee",)
    missing = []
    if not known.guaranteed:
        missing.append(f"the constants are measured, not bounds ({known.how})")
    if not math.isfinite(known.lipschitz):
        missing.append("the squared loss has no Lipschitz constant on the whole space: pass radius")
    if theorem == "D2D" and not known.strong_convexity:
        missing.append("the risk is not known to be strongly convex: add a ridge")
    return tuple(missing)


def _contracts(log_rate: float) -> bool:
    """Whether c < 1 by more than rounding, so that 1/(1 − c) means something."""
    return log_rate < -1e-12


def _left(problem: Problem, theta: Float[Array, " dim"], eta: float, limit, log_rate: float, method: str) -> float:
    """A bound of ‖θ − θ*‖: the next step's length over 1 − c, or the gradient's over the strong convexity."""
    gradient = float(jnp.linalg.norm(problem.gradient(theta)))
    if method == "flow":
        return eta * gradient / -log_rate
    here = run(problem, theta, ScheduleWeights(deletion_mask(problem), jnp.ones(1)), jnp.asarray(eta), jnp.arange(1),
               None, limit, None, None, False)[0]  # fmt: skip
    return float(jnp.linalg.norm(here - theta)) / -math.expm1(log_rate)


def _descent_guarantee(
    problem, known, budget, contraction, batch_size, theta0, train, trained, eta, limit, method
) -> Guarantee:
    missing = list(_unmet(known, "D2D"))
    if batch_size is not None:
        missing.append("the theorem is for full gradients, not for mini-batches")
    sigma = reach = math.inf
    if not missing:
        gone = len(np.asarray(problem.delete))
        if contraction >= 1:
            missing.append("the step does not contract")
        else:
            reach = 2 * gone * known.lipschitz * contraction / (known.strong_convexity * problem.n * (1 - contraction))
            log_rate = log_growth(problem.n * eta, known.smoothness, known.strong_convexity, method == "flow")
            off = _left(problem, trained, eta, limit, log_rate, method)
            # The model retrained from θ₀ must be as near to its own optimum: known from contraction alone.
            before = _left(problem, theta0, eta, limit, log_rate, method)
            shift = gone * known.lipschitz / (known.strong_convexity * problem.n)
            off = max(off, math.exp(train * log_rate) * (before + shift))
            if off > reach:
                missing.append(
                    f"trained too briefly: θ_T, or the model retrained, may be {off:.2g} from its optimum; at most "
                    f"{reach:.2g} is allowed"
                )
            else:
                sigma = contraction_sigma(
                    problem.n, gone, known.lipschitz, known.strong_convexity, contraction, *budget
                )
    return Guarantee(budget[0], budget[1], sigma, reach, "D2D", tuple(missing))


def _finite(theta: Array, eta: float) -> None:
    if not bool(jnp.isfinite(theta).all()):
        raise WorkError(f"the run diverged: step = {eta:g} is too large; it must be below 2/λ_max(∇²R)")


def _named(method: str, radius: float | None) -> str:
    names = {"flow": "gradient flow", "descent": "gradient descent", "sgd": "SGD"}
    return ("projected " if radius is not None else "") + names[method]
