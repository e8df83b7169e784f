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

from .._checks import Number, Whole, number, whole
from .._errors import RequestError, WorkError
from ..problem import Problem
from . import _checks
from ._constants import Constants
from ._privacy import log_growth, rewind_to_delete_sensitivity
from ._rewind import _contracts, _known, _left, _step
from ._sgd import RemovalWeights, as_radius, descend, mini_batches, run

_CHUNK = 16  # requests whose R2D runs are carried out side by side


@dataclass(frozen=True)
class Deletions:
    """A model after each of R requests.

    `thetas` (R, dim); `gradient_evaluations` (R,) spent on each; `bounds` (R,): distance to the optimum without the
    points (D2D; of the ball, if projected) or to the model retrained for T steps (R2D), ∞ where theory says nothing, no
    bound with `measured` constants; `retrained` (R,) whether the request forced training from the start (R2D).
    """

    algorithm: str
    points: np.ndarray
    thetas: Float[Array, "requests dim"]
    trained: Float[Array, " dim"]
    gradient_evaluations: np.ndarray
    bounds: np.ndarray
    retrained: np.ndarray
    measured: bool = False

    def __str__(self) -> str:
        return (
            f"{len(self.points)} deletions by {self.algorithm}: {self.gradient_evaluations.sum():g} gradients, "
            f"{int(self.retrained.sum())} of them forced retraining, bound {self.bounds[0]:.3g} at first and "
            f"{self.bounds[-1]:.3g} at last{' (measured constants, no bound)' if self.measured else ''}"
        )


def delete_in_sequence(
    problem: Problem,
    theta0: Any,
    points: Any,
    *,
    algorithm: str = "descend",
    step: Number | None = None,
    train_steps: Whole,
    steps: Whole,
    batch_size: Whole | None = None,
    radius: Number | None = None,
    key: Whole = 0,
    sensitivity: Number | None = None,
    constants: Constants | None = None,
) -> Deletions:
    """Delete `points` (R,) one request at a time, `steps` (I or K) gradient steps for each.

    `sensitivity` (R2D) is the largest Δ that the noise was made for: a request that would exceed it retrains instead.
    `problem.delete` is not looked at; given `constants` must be those of `problem.deleting(points)`. Other options as
    in `descend_to_delete`. Raises `RequestError` for repeated points, for all of them, for K > T, and for a
    `sensitivity` that not even one deletion meets.
    """
    start = problem.check_theta(theta0)
    if algorithm not in ("descend", "rewind"):
        raise RequestError(f"algorithm must be descend or rewind, but is {algorithm!r}")
    if sensitivity is not None and algorithm == "descend":
        raise RequestError("sensitivity is for algorithm='rewind'; descend would ignore it")
    group = problem.deleting(points)  # refuses repeated points and all of them
    order = np.asarray(group.delete)
    train, spend = whole(train_steps, "train_steps", 1), whole(steps, "steps", 1)
    if algorithm == "rewind":
        _checks.steps(train, spend)
    limit = as_radius(radius, start)
    known = _known(group, constants, radius, batch_size)
    eta = _step(problem, step, known)
    size, share = jnp.asarray(eta), 1.0 if batch_size is None else batch_size / problem.n
    if algorithm == "descend":
        total = train + spend * len(order)
        rows = None if batch_size is None else mini_batches(key, problem.n, total, batch_size)
        removal = np.full(problem.n, total)
        removal[order] = train + spend * np.arange(len(order))
        weights = RemovalWeights(jnp.asarray(removal))
        last, every = run(group, start, weights, size, jnp.arange(total), rows, limit, None, None, True)
        thetas, trained = every[train - 1 + spend :: spend], every[train - 1]
        cost = np.full(len(order), spend * share)
        bounds = _descent_bounds(group, known, eta, spend, trained, limit, len(order), batch_size)
        retrained = np.zeros(len(order), dtype=bool)
    else:
        rows = None if batch_size is None else mini_batches(key, problem.n, train, batch_size)
        since, retrained, bounds = _renewals(problem, known, eta, train, spend, len(order), sensitivity, batch_size)
        table = np.full((len(order) + 1, problem.n), train)
        for request in range(len(order)):
            renewed = request + 1 - since[request]  # requests that the checkpoint has never seen
            table[request, order[:renewed]] = 0
            table[request, order[renewed : request + 1]] = train - spend
        found = _all(group, start, jnp.asarray(table), size, jnp.arange(train), rows, limit)
        thetas, trained, last = found[:-1], found[-1], found[-2]
        cost = np.where(retrained, train, spend) * share
    if not bool(jnp.isfinite(last).all()):
        raise WorkError(f"the run diverged: step = {eta:g} is too large; it must be below 2/λ_max(∇²R)")
    measured = known is not None and not known.guaranteed
    return Deletions(f"{algorithm}-to-delete", order, thetas, trained, cost, bounds, retrained, measured)


@eqx.filter_jit
def _all(problem, theta0, removals, step, ks, batches, radius):
    def one(removal):
        return descend(problem, theta0, RemovalWeights(removal), step, ks, batches, radius)[0]

    return jax.lax.map(one, removals, batch_size=_CHUNK)


def _descent_bounds(problem, known, eta, spend, trained, limit, requests, batch_size) -> np.ndarray:
    """e ← γ^I (e + G/(μn)): every request moves the optimum by at most G/(μn)."""
    if known is None or not known.strong_convexity or batch_size is not None or not math.isfinite(known.lipschitz):
        return np.full(requests, math.inf)
    log_rate = log_growth(problem.n * eta, known.smoothness, known.strong_convexity)
    if not _contracts(log_rate):
        return np.full(requests, math.inf)
    left, jump = math.exp(spend * log_rate), known.lipschitz / (known.strong_convexity * problem.n)
    bounds, off = [], _left(problem, trained, eta, limit, log_rate, "descent")
    for _ in range(requests):
        off = left * (off + jump)
        bounds.append(off)
    return np.array(bounds)


def _renewals(problem, known, eta, train, spend, requests, sensitivity, batch_size):
    """For every request: how many deletions its checkpoint has seen, whether it retrains, and Δ."""
    finite = known is not None and math.isfinite(known.lipschitz) and batch_size is None

    def reach(deleted: int) -> float:
        if not finite:
            return math.inf
        return rewind_to_delete_sensitivity(
            problem.n, deleted, known.lipschitz, known.smoothness, problem.n * eta, train, spend, known.strong_convexity
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
