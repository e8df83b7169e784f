"""All n leave-one-out optima at once, θ*₋ᵢ = argmin Σ_{k≠i} ℓ_k, at a fraction of n refits.

* Linear regression: one factorisation, θ*₋ᵢ = θ* − H⁻¹x_i e_i/(1 − P_ii) (`_deletion`), linear in n.
* Other convex risks: the leverage-corrected influence, then steps that all share the factors of one Hessian (`_chord`);
  a row that this does not prove gets Newton steps of its own, and, without a ridge, the linear programme that says
  whether its minimiser exists.
* Networks: the continued path of every point (`path`), or a retraining of each (start="cold", "warm").
"""

import dataclasses
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._checks import Theta, choice, on_host
from .._errors import RequestError, WorkError
from .._progress import Watch, as_progress
from ..problem import CrossEntropyLoss, Problem, on_problem
from ._chord import chord_rows, newton_rows
from ._curvature import Curvature, factor
from ._deletion import deletions
from ._endpoint import STATIONARITY, Endpoint, FlaggedRowsWarning, Outcome, require_dense
from ._frame import condition
from ._newton import MAX_ITERATIONS
from ._optimum import leave_one_out, trained
from ._path import path
from ._separation import SUSPICIOUS, doubtful, judged, may_lack_a_minimiser, refuse_separable

# θ → ∞ there; every other outcome but CONVERGED leaves θ undefined.
_INFINITE = (Outcome.SEPARABLE, Outcome.MISSING_CLASS, Outcome.INFINITE)

# Newton steps that bring a row from where the shared Hessian has left it to the last bits, if it was near.
_POLISH = 2


@on_problem
def leave_one_out_all(
    problem: Problem,
    *,
    theta: Theta | None = None,
    start: str = "auto",
    theta0: Theta | None = None,
    progress: Watch = False,
) -> Float[Array, "n dim"]:
    """θ*₋ᵢ of every single point i (n, dim); the deleted set of `problem` plays no part.

    `theta` is θ* (needed for a network, computed otherwise). For a network `start` says which endpoint is meant: the
    "continued" branch from θ* ("auto"), or the limit of the flow from θ* ("warm") or from `theta0` ("cold"). A row
    without a proof holds `inf` where θ → ∞ (its classes are separable, or one is left without points) and NaN where it
    is undetermined or was not reached; one `FlaggedRowsWarning` names such rows and why, `leave_one_out_proof` has the
    codes. Raises `WorkError` if that is every row, `RequestError` for a missing θ. Least squares: Hayashi 2000, §1.4;
    mathematics §3.

    Example (continues the package's):

        >>> thetas = leave_one_out_all(problem)
        >>> print(thetas.shape, jnp.allclose(thetas[3], leave_one_out(problem).theta))
        (20, 2) True
    """
    found = leave_one_out_proof(problem, theta=theta, start=start, theta0=theta0, progress=progress)
    failed = ~np.asarray(found.converged)
    if failed.any():
        said = _in_words(np.asarray(found.outcome))
        if failed.all():
            raise WorkError(f"none of the {problem.n} leave-one-out optima is determined: {said}; {_cure(problem)}")
        said = f"{failed.sum()} of {problem.n} leave-one-out optima are flagged: {said}"
        warnings.warn(f"{said} (inf: θ → ∞, NaN: undefined); {_cure(problem)}", FlaggedRowsWarning, stacklevel=3)
    infinite = np.isin(np.asarray(found.outcome), [int(code) for code in _INFINITE])
    return jnp.where(
        jnp.asarray(failed)[:, None], jnp.where(jnp.asarray(infinite)[:, None], jnp.inf, jnp.nan), found.theta
    )


def _in_words(outcomes: np.ndarray) -> str:
    """The rows that are not converged, and why, in one line."""
    parts = []
    for code in np.unique(outcomes[outcomes != int(Outcome.CONVERGED)]):
        rows = np.flatnonzero(outcomes == code)
        shown = ", ".join(map(str, rows[:10])) + (", …" if rows.size > 10 else "")
        parts.append(f"row{'s' if rows.size > 1 else ''} {shown}: {Outcome(int(code)).words}")
    return "; ".join(parts)


def _cure(problem: Problem) -> str:
    if problem.model.linear and float(problem.ridge) == 0:
        return "a ridge makes them exist"
    return "leave_one_out_proof returns what was reached"


@on_problem
def leave_one_out_proof(
    problem: Problem,
    *,
    theta: Theta | None = None,
    start: str = "auto",
    theta0: Theta | None = None,
    progress: Watch = False,
) -> Endpoint:
    """`leave_one_out_all` with its proof: one `Endpoint` of arrays (n,), θ (n, dim), whose `outcome` tells of each.

    θ is `inf` where θ → ∞ (SEPARABLE, MISSING_CLASS, INFINITE) and where the continued branch of a network ends in a
    fold, NaN where UNDETERMINED, and else what was reached. For convex risks `smallest_eigenvalue` is a lower bound of
    λ_min(H₋ᵢ), from λ_min(H)(1 − h_i); `condition` and `prediction_error` are upper bounds, made of the base fit's.
    Raises as `leave_one_out_all`, but for rows. Mathematics §3, §17.

    Example (continues the package's):

        >>> proof = leave_one_out_proof(problem)
        >>> proof.theta.shape, bool(proof.converged.all()), Outcome(int(proof.outcome[3])).name
        ((20, 2), True, 'CONVERGED')
    """
    on_host((problem, theta, theta0), "leave_one_out_all")
    require_dense(problem, "leave_one_out_all")
    choice(start, "start", ("auto", "continued", "warm", "cold"))
    if not problem.convex:
        return _network(problem, theta, start, theta0, progress)
    if start != "auto" or theta0 is not None:
        raise RequestError("a convex risk has one minimum however it is reached: leave start= and theta0= out")
    return deletions(problem, theta)[1] if problem.least_squares else _convex(problem, theta)


def _convex(problem: Problem, given: Any) -> Endpoint:
    theta = trained(problem, given)
    found = factor(Curvature(problem, theta))
    if given is not None and may_lack_a_minimiser(problem):
        doubt = bool(found.flat.any()) or float(condition(found.rates, found.flat)) > SUSPICIOUS
        outcome, margin = judged(problem, 1.0, theta, doubt)
        if outcome is Outcome.SEPARABLE:
            refuse_separable(margin)
    ends = chord_rows(problem, theta, found)
    if int(found.flat.sum()) > _shifts(problem):
        return _flagged(ends, np.full(problem.n, int(Outcome.UNDETERMINED)), np.full_like(ends.theta, np.nan))
    lonely = _lonely(problem)
    slow = _unproven(ends, lonely)
    for starts, steps in ((ends.theta, _POLISH), (jnp.broadcast_to(theta, ends.theta.shape), MAX_ITERATIONS)):
        rows = _unproven(ends, lonely)
        if rows.size:
            filled = jnp.asarray(np.resize(rows, problem.n))  # so that their number does not compile anew
            ends = newton_rows(problem, theta, ends, starts, filled, jnp.asarray(rows.size), jnp.asarray(steps))
    outcomes, thetas = np.array(ends.outcome), np.array(ends.theta)
    for row in slow if may_lack_a_minimiser(problem) else ():
        end = jax.tree.map(lambda leaf, row=row: leaf[row], ends)
        outcome, _ = judged(problem.deleting(int(row)), 0.0, end.theta, doubtful(end))
        outcomes[row] = int(end.outcome if outcome is None else outcome)
    outcomes[lonely] = int(Outcome.MISSING_CLASS)
    thetas[np.isin(outcomes, [int(code) for code in _INFINITE])] = np.inf
    return _flagged(ends, outcomes, thetas)


def _unproven(ends: Endpoint, lonely: np.ndarray) -> np.ndarray:
    """The rows that need steps of their own."""
    return np.flatnonzero(~np.asarray(ends.converged) & ~lonely)


def _flagged(ends: Endpoint, outcomes: np.ndarray, thetas: np.ndarray) -> Endpoint:
    return dataclasses.replace(ends, outcome=jnp.asarray(outcomes), theta=jnp.asarray(thetas))


def _shifts(problem: Problem) -> int:
    """How many directions of θ change no prediction by the loss's own nature: one shift of all classes per feature."""
    free = isinstance(problem.loss, CrossEntropyLoss) and float(problem.ridge) == 0
    return problem.design.shape[1] if free else 0


def _lonely(problem: Problem) -> np.ndarray:
    """The rows (n,) that are the only point of their class, where no ridge makes up for it."""
    if not may_lack_a_minimiser(problem):
        return np.zeros(problem.n, bool)
    labels = np.asarray(problem.data.y)
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return counts[inverse] == 1


def _network(problem: Problem, theta: Any, start: str, theta0: Any, progress: Watch) -> Endpoint:
    if start == "cold":
        if theta0 is None or theta is not None:
            raise RequestError("start='cold' of a network takes theta0=, and no theta=")
        begin = problem.check_theta(theta0)
    else:
        if theta0 is not None:
            raise RequestError("theta0= is for start='cold'; the continued and warm endpoints start at theta=")
        begin = trained(problem, theta)
    rows = []
    for index in as_progress(progress).track(range(problem.n), "leave-one-out"):
        here = problem.deleting(index)
        if start == "cold":
            rows.append(leave_one_out(here, theta0=begin, throw=False))
        elif start == "warm":
            rows.append(leave_one_out(here, start="warm", theta=begin, throw=False))
        else:
            rows.append(_continued(here, begin))
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *rows)


def _continued(problem: Problem, theta: Array) -> Endpoint:
    found = path(problem, [1.0, 0.0], start=theta, on_fold="stop")
    initial = jnp.linalg.norm(problem.deleted_gradient(theta))
    end, norm, smallest = found.thetas[-1], found.gradient_norms[-1], found.smallest_eigenvalues[-1]
    reached = jnp.isfinite(norm)
    finite = jnp.where(reached, end, theta)
    good = reached & (norm <= STATIONARITY * (1.0 + initial)) & (smallest >= 0)
    return Endpoint(
        theta=end,
        gradient_norm=norm,
        iterations=found.steps[-1],
        smallest_eigenvalue=smallest,
        outcome=jnp.where(
            good, int(Outcome.CONVERGED), jnp.where(reached, int(Outcome.NOT_STATIONARY), found.outcome[-1])
        ),
        value=jnp.where(reached, problem.risk(finite, 0.0), jnp.inf),
        error=jnp.where(reached, norm / jnp.abs(jnp.where(smallest == 0, 1.0, smallest)), jnp.inf),
        start_gradient_norm=initial,
        residual=norm / (1.0 + initial),
        prediction_error=jnp.zeros(()),
        condition=jnp.ones(()),
        kind="continued leave-one-out",
    )
