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
from jaxtyping import Array, Bool, Float, Int

from .._checks import Indices, Key, Number, Theta, Whole, number
from .._errors import RequestError
from ..flow import RemovalWeights, compiled_descent, descent
from ..problem import Problem, on_problem
from . import _checks
from ._constants import Constants
from ._privacy import rewind_to_delete_sensitivity
from ._run import Run, finite, from_optimum, prepare

_CHUNK = 16  # requests whose R2D runs are carried out side by side


@dataclass(frozen=True)
class Deletions:
    """A model after each of R requests, of the points `delete` (R,), by `algorithm`; `trained` (dim,) is the one before.

    Mathematics §10.

    `thetas` (R, dim); `gradient_evaluations` (R,) spent on each; `bounds` (R,): distance to the optimum without the
    points (D2D; of the ball, if projected) or to the model retrained for T steps (R2D), ∞ where theory says nothing, no
    bound with `measured` constants (or others not proven for this problem); `retrained` (R,) whether the request forced
    training from the start (R2D). Nothing here is published: the thetas hold no noise, and noise that hides one of them
    hides R of them only √R times as large. `unmet` says why bounds are ∞ or none.

    Example (continues the package's):

        >>> gone = delete_in_sequence(problem, theta0, [3, 5], step=0.01, train_steps=50, unlearn_steps=10)
        >>> gone.thetas.shape, gone.gradient_evaluations.tolist(), gone.retrained.tolist()
        ((2, 2), [10.0, 10.0], [False, False])
    """

    algorithm: str
    delete: Int[np.ndarray, " requests"]
    thetas: Float[Array, "requests dim"]
    trained: Float[Array, " dim"]
    gradient_evaluations: Float[np.ndarray, " requests"]
    bounds: Float[np.ndarray, " requests"]
    retrained: Bool[np.ndarray, " requests"]
    measured: bool = False
    unmet: tuple[str, ...] = ()

    def __str__(self) -> str:
        return (
            f"{len(self.delete)} deletions by {self.algorithm}: {self.gradient_evaluations.sum():g} gradients, "
            f"{int(self.retrained.sum())} of them forced retraining, bound {self.bounds[0]:.3g} at first and "
            f"{self.bounds[-1]:.3g} at last{' (measured constants, no bound)' if self.measured else ''}"
            + "".join(f"\n  no bound: {why}" for why in self.unmet)
        )


@on_problem
def delete_in_sequence(
    problem: Problem,
    theta0: Theta,
    delete: Indices,
    *,
    algorithm: str = "descend",
    step: Number | None = None,
    train_steps: Whole,
    unlearn_steps: Whole,
    batch_size: Whole | None = None,
    radius: Number | None = None,
    key: Key = 0,
    sensitivity: Number | None = None,
    constants: Constants | None = None,
) -> Deletions:
    """Delete the points `delete` (R,) one request at a time, `unlearn_steps` (I or K) gradient steps for each.

    Before them the model is trained from θ₀ (dim,).

    `sensitivity` (R2D) is the largest Δ that the noise was made for: a request that would exceed it retrains instead.
    `problem.delete` is not looked at; given `constants` must be those of `problem.deleting(delete)`. Other options as
    in `descend_to_delete`. Raises `RequestError` for repeated points, for all of them, for K > T, and for a
    `sensitivity` that not even one deletion meets.

    Theorem: D2D, e ← γ^I (e + G/(μn)) bounds the distance to the optimum, which every request moves by G/(μn) at most;
    R2D, Δ of as many deletions as the checkpoint has seen. Hypotheses, checked (else `bounds` are ∞, or labelled, and
    `unmet` says why): constants that are the bounds of this very problem, G < ∞, full gradients, a step that contracts
    (D2D). Sources: arXiv 2007.02923, 2409.09778; mathematics §10.

    Example (continues the package's):

        >>> gone = delete_in_sequence(problem, theta0, [3, 5], step=0.01, train_steps=50, unlearn_steps=10)
        >>> gone.thetas.shape, gone.gradient_evaluations.sum().item()
        ((2, 2), 20.0)
    """
    start = problem.check_theta(theta0)
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
    carry_out = _descending if algorithm == "descend" else _rewinding
    thetas, trained, cost, bounds, retrained = carry_out(chosen, order, train, spend, sensitivity)
    finite(thetas[-1], chosen.step)
    measured = chosen.known is not None and not chosen.proven
    unmet = list(chosen.unmet("D2D" if algorithm == "descend" else "R2D"))
    if batch_size is not None:
        unmet.append("the theorem is for full gradients, not for mini-batches")
    if not unmet and not np.isfinite(bounds).all():
        unmet.append("the step does not contract" if algorithm == "descend" else "the bound Δ is not finite")
    return Deletions(f"{algorithm}-to-delete", order, thetas, trained, cost, bounds, retrained, measured, tuple(unmet))


def _descending(chosen: Run, order: np.ndarray, train: int, spend: int, _: Any) -> tuple[Any, Any, Any, Any, Any]:
    """Models after each request, the trained one, gradients, bounds, and who retrained: one descent, saved on its way."""
    total = _checks.count(train + spend * len(order), "train_steps + unlearn_steps for each point", 1)
    removal = np.full(chosen.problem.n, total)
    removal[order] = train + spend * np.arange(len(order))
    every = compiled_descent(
        chosen.problem, chosen.theta0, RemovalWeights(jnp.asarray(removal)), jnp.asarray(chosen.step), jnp.arange(total),
        batches=chosen.batches(total), radius=chosen.limit, save=True,
    )[1]  # fmt: skip
    trained = every[train - 1]
    bounds, cost = _descent_bounds(chosen, spend, trained, len(order)), np.full(len(order), spend * chosen.share)
    return every[train - 1 + spend :: spend], trained, cost, bounds, np.zeros(len(order), dtype=bool)


def _rewinding(chosen: Run, order: np.ndarray, train: int, spend: int, most: Any) -> tuple[Any, Any, Any, Any, Any]:
    """The same for R2D: a run of its own for every request."""
    since, retrained, bounds = _renewals(chosen, train, spend, len(order), most)
    table = np.full((len(order) + 1, chosen.problem.n), train)
    for request in range(len(order)):
        renewed = request + 1 - since[request]  # requests that the checkpoint has never seen
        table[request, order[:renewed]] = 0
        table[request, order[renewed : request + 1]] = train - spend
    found = _all(
        chosen.problem, chosen.theta0, jnp.asarray(table), jnp.asarray(chosen.step), jnp.arange(train),
        chosen.batches(train), chosen.limit,
    )  # fmt: skip
    return found[:-1], found[-1], np.where(retrained, train, spend) * chosen.share, bounds, retrained


@eqx.filter_jit
def _all(problem, theta0, removals, step, ks, batches, radius):
    def one(removal):
        return descent(problem, theta0, RemovalWeights(removal), step, ks, batches=batches, radius=radius)[0]

    return jax.lax.map(one, removals, batch_size=_CHUNK)


def _descent_bounds(chosen: Run, spend: int, trained: Array, requests: int) -> np.ndarray:
    """e ← γ^I (e + G/(μn)): every request moves the optimum by at most G/(μn)."""
    jump = chosen.jump(1)
    if chosen.log_rate is None or not math.isfinite(jump):
        return np.full(requests, math.inf)
    left, off = math.exp(spend * chosen.log_rate), from_optimum(chosen, trained)
    bounds = []
    for _ in range(requests):
        off = left * (off + jump)
        bounds.append(off)
    return np.array(bounds)


def _renewals(chosen: Run, train: int, spend: int, requests: int, sensitivity: Any) -> tuple[Any, Any, Any]:
    """For every request: how many deletions its checkpoint has seen, whether it retrains, and Δ."""
    known, eta = chosen.known, chosen.problem.n * chosen.step

    def reach(deleted: int) -> float:
        if known is None or chosen.batch_size is not None or not chosen.descends:
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
