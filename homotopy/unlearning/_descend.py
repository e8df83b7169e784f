"""Descent-to-Delete: the schedule 1_[0,ηT], a horizon η(T + I), and a noise rule (mathematics §10; arXiv 2007.02923).

It runs as gradient flow, gradient descent or SGD, the latter two projected onto ‖θ‖ ≤ r if a `radius` is given. `step` η is
that of descent on the sum R, the clock of the flow; the theorem's step, on the mean, is n·η. Everything holds for groups
of deleted points.
"""

import math
import time
from typing import Any, Unpack

import jax

from .._checks import Number, Theta, Whole
from ..flow import Step
from ..problem import Problem, on_problem
from . import _checks
from ._privacy import Budget, Guarantee, as_budget, contraction_reach, contraction_sigma
from ._result import Unlearned
from ._run import Run, Training, finite, from_optimum, prepare


@on_problem
def descend_to_delete(
    problem: Problem,
    theta0: Theta,
    *,
    train_steps: Whole,
    unlearn_steps: Whole,
    privacy_epsilon: Number | None = None,
    privacy_delta: Number | None = None,
    publications: Whole = 1,
    **training: Unpack[Training],
) -> Unlearned:
    """Train T steps on everything, then go on for I steps without J: ε = 1_[0, ηT] up to η(T + I). θ₀ is (dim,).

    `training`: step, method, batch_size, radius, key and constants, as `Training` says. With a privacy budget, `guarantee`
    holds the noise that publishing needs (√`publications` times as much for several).

    Theorem (Neel et al., arXiv 2007.02923): if every step brings θ nearer to its optimum by γ^{1/I} < 1, and θ_T and the
    model retrained for T steps lie within reach = 2mGγ/(μn(1 − γ)) of theirs, then both publish from within reach of one
    optimum, Δ = `guarantee.sensitivity` = 2·reach apart at most, and noise σ (`contraction_sigma`) makes it (ε, δ). Checked,
    and the guarantee is withdrawn if not so: G, L, μ are the bounds of this very problem (`estimate_constants`; its seal);
    G < ∞; μ > 0; full gradients; a step that contracts; both models near enough (from their next steps); gradient descent,
    not a solver's steps along the flow; and `publish` counts. Not checked: see `Guarantee`.

    The answer's `distance_bound` is γ^I (‖θ_T − θ*‖ + mG/(μn)) ≥ ‖θ − θ*₋‖, from contraction alone (θ*₋ is the
    optimum on the ball if there is a `radius`; ∞ for a step that does not contract). Raises `RequestError` for steps
    beyond 2/L, contradicting constants, constants of a smaller ball than the run's, half a budget, a start outside
    the ball and options that would be ignored; `WorkError` if the run diverges.

    Example (continues the package's):

        >>> left = descend_to_delete(classes, jnp.zeros(2), train_steps=50, unlearn_steps=5)
        >>> print(describe(left.schedule), left.gradient_evaluations, left.distance_bound < 1.0)
        step:15.01 5.0 True
    """
    budget = as_budget(privacy_epsilon, privacy_delta, publications)
    train = _checks.count(train_steps, "train_steps", 1)
    unlearn = _checks.count(unlearn_steps, "unlearn_steps", 1)
    run = prepare(problem, theta0, **training)
    rows = run.batches(train + unlearn)
    trained = jax.block_until_ready(run.move(run.theta0, 1.0, 0, train, rows))
    began = time.perf_counter()
    theta = run.move(trained, 0.0, train, train + unlearn, rows)
    finite(theta, run.step)
    seconds = time.perf_counter() - began
    bound = math.inf
    if run.log_rate is not None and math.isfinite(run.jump(run.gone)):
        bound = math.exp(unlearn * run.log_rate) * (from_optimum(run, trained) + run.jump(run.gone))
    optimum = "the optimum without the points" + ("" if run.radius is None else f" on the ball ‖θ‖ ≤ {run.radius:g}")
    s = run.step * train
    return Unlearned(
        algorithm=f"descend-to-delete ({run.name})",
        theta=theta,
        trained=trained,
        start=trained,
        gradient_evaluations=unlearn * run.share,
        seconds=seconds,
        schedule=Step(s),
        unlearn_from=s,
        t1=run.step * (train + unlearn),
        distance_bound=bound,
        bound_of=optimum if math.isfinite(bound) else "",
        measured=run.known is not None and not run.proven,
        guarantee=None if budget is None else _guarantee(run, budget, train, unlearn, trained),
        notes=run.caveat if math.isfinite(bound) else (),
        run=run.name_of("descend", train, unlearn),
    )


def _guarantee(run: Run, budget: Budget, train: int, unlearn: int, trained: Any) -> Guarantee:
    missing, known, log_rate = list(run.unmet("D2D")), run.known, run.log_rate
    if run.batch_size is not None:
        missing.append("the theorem is for full gradients, not for mini-batches")
    elif log_rate is None and known is not None and known.strong_convexity:
        missing.append("the step does not contract")
    epsilon, delta, times = budget
    if missing or log_rate is None or known is None or known.strong_convexity is None:
        return Guarantee(epsilon, delta, math.inf, math.inf, "D2D", tuple(missing), times)
    of_optimum = run.problem.n, run.gone, known.lipschitz, known.strong_convexity, math.exp(unlearn * log_rate)
    reach = contraction_reach(*of_optimum)
    # The model retrained from θ₀ must be as near to its own optimum: known from contraction alone.
    retrained = math.exp(train * log_rate) * (from_optimum(run, run.theta0) + run.jump(run.gone))
    here = from_optimum(run, trained)
    if not (here <= reach and retrained <= reach):  # a NaN is no proof either
        missing.append(
            f"trained too briefly: θ_T, or the model retrained, may be {max(here, retrained):.2g} from its optimum; at most "
            f"{reach:.2g} is allowed"
        )
        return Guarantee(epsilon, delta, math.inf, 2 * reach, "D2D", tuple(missing), times)
    sigma = math.sqrt(times) * contraction_sigma(*of_optimum, epsilon, delta)
    return Guarantee(epsilon, delta, sigma, 2 * reach, "D2D", (), times)
