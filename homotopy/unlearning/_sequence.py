"""Deletions one after the other: errors and budgets as they accumulate, and when retraining is forced.

D2D goes on descending: at request j, I more steps without the points of requests 1…j. R2D goes back to its checkpoint
each time, which still has seen all of them: its sensitivity grows with their number until it exceeds what the noise was
made for; then it retrains, and the new checkpoint has seen none of them.
"""

import math
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._checks import Number, Whole, number
from .._errors import RequestError
from ..problem import Problem
from . import _checks
from ._constants import Constants
from ._privacy import log_growth, rewind_to_delete_sensitivity
from ._run import Run, contracts, finite, from_optimum, prepare
from ._sgd import RemovalWeights, descend, run

_CHUNK = 16  # requests whose R2D runs are carried out side by side


@dataclass(frozen=True)
class Deletions:
    """A model after each of R requests.

    `thetas` (R, dim); `gradient_evaluations` (R,) spent on each; `bounds` (R,): distance to the optimum without the
    points (D2D; of the ball, if projected) or to the model retrained for T steps (R2D), ∞ where theory says nothing, no
    bound with `measured` constants (or others not proven for this problem); `retrained` (R,) whether the request forced
    training from the start (R2D). Nothing here is published: the thetas hold no noise, and noise that hides one of them
    hides R of them only √R times as large. `unmet` says why bounds are ∞ or none.
    """

    algorithm: str
    delete: np.ndarray
    thetas: Float[Array, "requests dim"]
    trained: Float[Array, " dim"]
    gradient_evaluations: np.ndarray
    bounds: np.ndarray
    retrained: np.ndarray
    measured: bool = False
    unmet: tuple[str, ...] = ()

    def __str__(self) -> str:
        return (
            f"{len(self.delete)} deletions by {self.algorithm}: {self.gradient_evaluations.sum():g} gradients, "
            f"{int(self.retrained.sum())} of them forced retraining, bound {self.bounds[0]:.3g} at first and "
            f"{self.bounds[-1]:.3g} at last{' (measured constants, no bound)' if self.measured else ''}"
            + "".join(f"\n  no bound: {why}" for why in self.unmet)
        )


def delete_in_sequence(
    problem: Problem,
    theta0: Any,
    delete: Any,
    *,
    algorithm: str = "descend",
    step: Number | None = None,
    train_steps: Whole,
    unlearn_steps: Whole,
    batch_size: Whole | None = None,
    radius: Number | None = None,
    key: Any = 0,
    sensitivity: Number | None = None,
    constants: Constants | None = None,
) -> Deletions:
    """Delete the points `delete` (R,) one request at a time, `unlearn_steps` (I or K) gradient steps for each.

    `sensitivity` (R2D) is the largest Δ that the noise was made for: a request that would exceed it retrains instead.
    `problem.delete` is not looked at; given `constants` must be those of `problem.deleting(delete)`. Other options as
    in `descend_to_delete`. Raises `RequestError` for repeated points, for all of them, for K > T, and for a
    `sensitivity` that not even one deletion meets.

    Theorem: D2D, e ← γ^I (e + G/(μn)) bounds the distance to the optimum, which every request moves by G/(μn) at most; R2D,
    Δ of as many deletions as the checkpoint has seen. Hypotheses, checked (else `bounds` are ∞, or labelled, and `unmet` says
    why): constants that are the bounds of this very problem, G < ∞, full gradients, a step that contracts (D2D).
    """
    start = _checks.problem(problem).check_theta(theta0)
    if algorithm not in ("descend", "rewind"):
        raise RequestError(f"algorithm must be descend or rewind, but is {algorithm!r}")
    if sensitivity is not None and algorithm == "descend":
        raise RequestError("sensitivity is for algorithm='rewind'; descend would ignore it")
    group = problem.deleting(delete)  # refuses repeated points and all of them
    order = np.asarray(group.delete)
    train, spend = _checks.count(train_steps, "train_steps", 1), _checks.count(unlearn_steps, "unlearn_steps", 1)
    if algorithm == "rewind":
        _checks.steps(train, spend)
    chosen = prepare(
        group, start, step=step, method="descent" if batch_size is None else "sgd", batch_size=batch_size, radius=radius,
        key=key, constants=constants,
    )  # fmt: skip
    size = jnp.asarray(chosen.step)
    limit = None if chosen.radius is None else jnp.asarray(chosen.radius)
    if algorithm == "descend":
        total = _checks.count(train + spend * len(order), "train_steps + unlearn_steps for each point", 1)
        rows = chosen.batches(total)
        removal = np.full(problem.n, total)
        removal[order] = train + spend * np.arange(len(order))
        weights = RemovalWeights(jnp.asarray(removal))
        last, every = run(group, start, weights, size, jnp.arange(total), rows, limit, None, None, True)
        thetas, trained = every[train - 1 + spend :: spend], every[train - 1]
        cost = np.full(len(order), spend * chosen.share)
        bounds = _descent_bounds(chosen, spend, trained, len(order))
        retrained = np.zeros(len(order), dtype=bool)
    else:
        rows = chosen.batches(train)
        since, retrained, bounds = _renewals(chosen, train, spend, len(order), sensitivity)
        table = np.full((len(order) + 1, problem.n), train)
        for request in range(len(order)):
            renewed = request + 1 - since[request]  # requests that the checkpoint has never seen
            table[request, order[:renewed]] = 0
            table[request, order[renewed : request + 1]] = train - spend
        found = _all(group, start, jnp.asarray(table), size, jnp.arange(train), rows, limit)
        thetas, trained, last = found[:-1], found[-1], found[-2]
        cost = np.where(retrained, train, spend) * chosen.share
    finite(last, chosen.step)
    measured = chosen.known is not None and not chosen.proven
    unmet = list(chosen.unmet("D2D" if algorithm == "descend" else "R2D"))
    if batch_size is not None:
        unmet.append("the theorem is for full gradients, not for mini-batches")
    if not unmet and not np.isfinite(bounds).all():
        unmet.append("the step does not contract" if algorithm == "descend" else "the bound Δ is not finite")
    return Deletions(f"{algorithm}-to-delete", order, thetas, trained, cost, bounds, retrained, measured, tuple(unmet))


@eqx.filter_jit
def _all(problem, theta0, removals, step, ks, batches, radius):
    def one(removal):
        return descend(problem, theta0, RemovalWeights(removal), step, ks, batches, radius)[0]

    return jax.lax.map(one, removals, batch_size=_CHUNK)


def _descent_bounds(chosen: Run, spend: int, trained: Array, requests: int) -> np.ndarray:
    """e ← γ^I (e + G/(μn)): every request moves the optimum by at most G/(μn)."""
    known, n = chosen.known, chosen.problem.n
    if (
        known is None
        or not known.strong_convexity
        or chosen.batch_size is not None
        or not math.isfinite(known.lipschitz)
    ):
        return np.full(requests, math.inf)
    log_rate = log_growth(n * chosen.step, known.smoothness, known.strong_convexity)
    if not contracts(log_rate):
        return np.full(requests, math.inf)
    left, jump = math.exp(spend * log_rate), known.lipschitz / known.strong_convexity / n
    bounds, off = [], from_optimum(chosen, trained, log_rate)
    for _ in range(requests):
        off = left * (off + jump)
        bounds.append(off)
    return np.array(bounds)


def _renewals(chosen: Run, train: int, spend: int, requests: int, sensitivity: Any) -> tuple[Any, Any, Any]:
    """For every request: how many deletions its checkpoint has seen, whether it retrains, and Δ."""
    known, eta = chosen.known, chosen.problem.n * chosen.step

    def reach(deleted: int) -> float:
        if known is None or not math.isfinite(known.lipschitz) or chosen.batch_size is not None:
            return math.inf
        if eta * known.smoothness > 2 * (1 + 1e-12):
            return math.inf
        return rewind_to_delete_sensitivity(
            chosen.problem.n, deleted, known.lipschitz, known.smoothness, eta, train, spend, known.strong_convexity
        )

    most = math.inf if sensitivity is None else number(sensitivity, "sensitivity", above=0.0)
    if sensitivity is not None and reach(1) > most:
        raise RequestError(
            f"sensitivity must allow one deletion, Δ = {reach(1):.4g} (more steps make it smaller), but is {most:g}"
        )
    since, renewed, bounds, count = [], [], [], 0
    for _ in range(requests):
        count += 1
        again = sensitivity is not None and reach(count) > most
        count = 0 if again else count
        since.append(count)
        renewed.append(again)
        bounds.append(0.0 if again else reach(count))
    return since, np.array(renewed), np.array(bounds)
