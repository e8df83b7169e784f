"""When a classification risk has no minimiser: separable classes without a ridge, or a class without points.

The risk of a linear classifier has a minimiser iff no direction β classifies every point at least as well as a coin and
some point better: margins Mβ ≥ 0, Mβ ≠ 0 (Albert and Anderson 1984). A linear programme decides it (Konis 2007):

    t* = max t   subject to   m_iᵀβ ≥ t for all i,   mean_i m_iᵀβ = 1

t* is the `margin`: the smallest margin beside the mean one, so it has no units. t* > 0: the classes are apart; t* = 0:
they touch (quasi-complete separation); t* < 0: they overlap, and a minimiser exists. The direction that it finds
is checked on the rows themselves, in rational arithmetic where floats leave a doubt.

Notation: M the rows of margins (rows, dim), one per point and other class; the columns of X are equilibrated (exactly),
and the programme works in an orthonormal basis of them, so that neither their units nor collinearity cost it digits.
"""

from fractions import Fraction
from typing import NamedTuple

import numpy as np
from jaxtyping import Array
from scipy.optimize import linprog

from .._columns import column_scales
from .._errors import RequestError, WorkError
from ..problem import CrossEntropyLoss, LogisticLoss, Problem
from ._endpoint import Endpoint, Outcome

# A margin this small beside the largest counts as touching when the direction is refined; it is then made 0 exactly.
_TOUCHING = (1e-12, 1e-9, 1e-7)
# Exact elimination takes |touching rows|·dim² fractions.
_AFFORDABLE = 2e6
# The programme is solved to 1e-10, then once more for a correction this much smaller (Gleixner, Steffy and Wolter 2016).
_REFINEMENTS = (1.0, 1e-7)
# Beyond this condition number, in the frame, a minimum of a linear classifier is looked at by the programme.
SUSPICIOUS = 1e5


class Separation(NamedTuple):
    """Whether the classes can be told apart without error, and t*, the smallest margin over the mean one."""

    separable: bool
    margin: float


def is_classification(problem: Problem) -> bool:
    """Whether y holds class labels."""
    return isinstance(problem.loss, LogisticLoss | CrossEntropyLoss)


def may_lack_a_minimiser(problem: Problem) -> bool:
    """A classification risk without a ridge: its minimiser may be at infinity."""
    return is_classification(problem) and float(problem.ridge) == 0


def missing_classes(problem: Problem, keep: np.ndarray) -> list[int]:
    """The classes that have no point among those that `keep` (n,) marks."""
    classes = problem.output_shape[0] if problem.output_shape else 2
    labels = np.asarray(problem.data.y).astype(int)
    return sorted(set(range(classes)) - set(labels[keep].tolist()))


def require_all_classes(problem: Problem, epsilon) -> None:
    """`RequestError` if a class of a risk without ridge has no points (its minimiser is then at infinity)."""
    if not may_lack_a_minimiser(problem):
        return
    gone = missing_classes(problem, _kept(problem, epsilon))
    if not gone:
        return
    before = set(gone) <= set(missing_classes(problem, np.ones(problem.n, bool)))
    why = f"the data hold no point of class {gone[0]}"
    cure = "label the classes 0, 1, … without gaps"
    if not before:
        why = f"deleting these {len(problem.delete)} points empties class {gone[0]}"
        cure = "delete fewer of its points"
    raise RequestError(f"{why}: without it the risk has no minimiser; {cure}, or give the problem a ridge")


def separation(problem: Problem, epsilon=1.0) -> Separation:
    """Decides for the kept points of a model that is linear in θ whether a hyperplane separates the classes."""
    keep = _kept(problem, epsilon)
    x, labels = np.asarray(problem.design)[keep], np.asarray(problem.data.y).astype(int)[keep]
    x = x / column_scales(x)
    left, sizes, right = np.linalg.svd(x, full_matrices=False)
    inside = sizes > max(x.shape) * np.finfo(float).eps * sizes[0]
    if not inside.any():
        return Separation(False, -np.inf)
    classes = problem.output_shape[0] if problem.output_shape else 2
    programme = _margins(np.sqrt(len(x)) * left[:, inside], labels, classes)
    direction, margin = _best_direction(programme)
    if direction is None:
        return Separation(False, margin)
    back = direction.reshape(classes - 1, -1) @ (right[inside] / sizes[inside, None])
    rows = _margins(x, labels, classes)
    return Separation(_certified(rows, back.reshape(-1), margin), margin)


def doubtful(endpoint: Endpoint) -> bool:
    """Whether a minimum of a convex risk looks like one at infinity: not reached, or the Hessian nearly singular."""
    near = float(endpoint.condition) > SUSPICIOUS
    return near or not bool(endpoint.converged) or not bool(endpoint.isolated)


def judged(problem: Problem, epsilon, theta: Array, doubt: bool) -> tuple[Outcome | None, float]:
    """SEPARABLE or MISSING_CLASS if that is what became of the minimiser of a risk, and the margin; else None.

    The programme runs only where it may matter: without a ridge, and where there is `doubt`, or θ classifies every
    point at least as well as a coin.
    """
    if not may_lack_a_minimiser(problem):
        return None, np.nan
    keep = _kept(problem, epsilon)
    if missing_classes(problem, keep):
        return Outcome.MISSING_CLASS, np.nan
    if not problem.model.linear or not (doubt or bool((_own_margins(problem, theta)[keep] >= 0).all())):
        return None, np.nan
    found = separation(problem, epsilon)
    return (Outcome.SEPARABLE if found.separable else None), found.margin


def refuse_separable(margin: float) -> None:
    """The `WorkError` of an endpoint at infinity."""
    how = (
        f"the smallest margin is {margin:.1e} of the mean one" if margin > 0 else "they touch, the smallest margin is 0"
    )
    raise WorkError(
        f"the classes are separable by a hyperplane ({how}), so the risk has no minimiser (θ → ∞); give the problem a "
        "ridge, for example ridge=1.0"
    )


def _kept(problem: Problem, epsilon) -> np.ndarray:
    return np.asarray(problem.weights(epsilon)) > 0


def _own_margins(problem: Problem, theta: Array) -> np.ndarray:
    """The smallest margin of every point at θ (n,)."""
    outputs, labels = np.asarray(problem.predict(theta)), np.asarray(problem.data.y).astype(int)
    if outputs.ndim == 1:
        return outputs * (2 * labels - 1)
    own = outputs[np.arange(len(labels)), labels]
    outputs = outputs.copy()
    outputs[np.arange(len(labels)), labels] = -np.inf
    return own - outputs.max(axis=1)


def _margins(x: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """M (n·(classes − 1), (classes − 1)·features), with the parameters of class 0 held at 0 (shifts change nothing)."""
    n, features = x.shape
    if classes == 2:
        return x * (2 * labels - 1)[:, None]
    sign = np.eye(classes)[labels][:, None, :] - np.eye(classes)[None]  # (n, other, classes)
    other = np.arange(classes)[None] != labels[:, None]
    rows = sign[:, :, 1:, None] * x[:, None, None, :]
    return rows[other].reshape(n * (classes - 1), (classes - 1) * features)


def _best_direction(rows: np.ndarray) -> tuple[np.ndarray | None, float]:
    """The maximiser β of the programme, and t*; None where no direction has a positive mean margin."""
    mean = rows.mean(axis=0)
    if not np.abs(mean).max() > 1e-13 * np.abs(rows).max():
        return None, -np.inf
    direction, total = np.zeros(rows.shape[1]), 1.0
    for size in _REFINEMENTS:
        # max τ subject to (m_iᵀβ − t) + size·(m_iᵀδ − τ) ≥ 0, the mean margin kept at 1: β + size·δ is the better β.
        values = rows @ direction
        answer = linprog(
            np.r_[np.zeros(rows.shape[1]), -1.0],
            A_ub=np.c_[-rows, np.ones(len(rows))],
            b_ub=(values - values.min()) / size,
            A_eq=np.r_[mean, 0.0][None],
            b_eq=[total],
            bounds=(None, None),
            method="highs-ds",
            options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
        )
        if answer.status != 0:
            break
        direction, total = direction + size * answer.x[:-1], 0.0
    if not direction.any():
        return None, np.nan
    values = rows @ direction
    return direction, float(values.min() / values.mean())


# The exact check ----------------------------------------------------------------------------------------------------


def _certified(rows: np.ndarray, direction: np.ndarray, margin: float) -> bool:
    """Whether `direction`, or one near it on which the touching rows vanish, has margins ≥ 0, not all 0, exactly."""
    if margin < -1e-6:
        return False
    if _holds(rows, [Fraction(float(value)) for value in direction]):
        return True
    values = np.abs(rows @ direction)
    for tolerance in _TOUCHING:
        touching = np.unique(rows[values <= tolerance * values.max()], axis=0)
        if 0 < touching.size * rows.shape[1] <= _AFFORDABLE and _holds(rows, _projected(touching, direction)):
            return True
    return False


def _holds(rows: np.ndarray, direction: list[Fraction]) -> bool:
    """Mβ ≥ 0 and Mβ ≠ 0 in exact arithmetic; rows whose sign floats already know are not computed again."""
    beta = np.array([float(value) for value in direction])
    values, sizes = rows @ beta, np.abs(rows) @ np.abs(beta)
    doubtful = np.abs(values) <= (len(beta) + 4) * np.finfo(float).eps * sizes
    if (values[~doubtful] < 0).any():
        return False
    exact = [
        sum((Fraction(float(entry)) * value for entry, value in zip(row, direction, strict=True) if entry), Fraction(0))
        for row in np.unique(rows[doubtful], axis=0)
    ]
    return all(value >= 0 for value in exact) and bool((~doubtful).any() or any(exact))


def _projected(touching: np.ndarray, direction: np.ndarray) -> list[Fraction]:
    """The direction with `touching`·β = 0 exactly: its free coordinates stay, the pivots follow."""
    echelon: dict[int, list[Fraction]] = {}
    for row in touching:
        now = [Fraction(float(entry)) for entry in row]
        for pivot, other in echelon.items():
            now = [a - now[pivot] * b for a, b in zip(now, other, strict=True)] if now[pivot] else now
        pivot = max(range(len(now)), key=lambda k: abs(now[k]))
        if now[pivot]:
            now = [entry / now[pivot] for entry in now]
            for k, other in echelon.items():
                echelon[k] = [a - other[pivot] * b for a, b in zip(other, now, strict=True)] if other[pivot] else other
            echelon[pivot] = now
    beta = [Fraction(float(value)) for value in direction]
    free = [k for k in range(len(beta)) if k not in echelon]
    for pivot, row in echelon.items():
        beta[pivot] = -sum((row[k] * beta[k] for k in free), Fraction(0))
    return beta
