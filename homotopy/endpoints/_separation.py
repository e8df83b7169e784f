"""When a classification risk has no minimiser: separable data without a ridge, or a class without members.

The risk of a linear classifier has a minimiser iff no direction θ ≠ 0 (up to directions that change no prediction)
classifies every point at least as well as a coin: margins Mθ ≥ 0 with Mθ ≠ 0 (Albert and Anderson 1984). A linear
program decides it (Konis 2007).
"""

import numpy as np
from scipy.optimize import linprog

from .._errors import RequestError, WorkError
from ..problem import CrossEntropyLoss, LogisticLoss, LogisticRegression, Problem


def is_classification(problem: Problem) -> bool:
    """Whether y holds class labels."""
    return isinstance(problem.loss, LogisticLoss | CrossEntropyLoss)


def require_all_classes(problem: Problem, epsilon) -> None:
    """`RequestError` if deleting J empties a class of a risk without ridge (its minimiser is then at infinity)."""
    if not is_classification(problem) or float(problem.ridge) > 0:
        return
    labels = np.asarray(problem.data.y).astype(int)
    kept = labels[np.asarray(problem.weights(epsilon)) > 0]
    emptied = sorted(set(labels) - set(kept))
    if emptied:
        raise RequestError(
            f"deleting these {len(problem.delete)} points empties class {emptied[0]}: without it the risk has no "
            "minimiser; delete fewer of its points, or give the problem a ridge"
        )


def margins(problem: Problem, epsilon) -> np.ndarray:
    """The rows m with mᵀθ the margin of a kept point against one other class (rows, dim)."""
    keep = np.asarray(problem.weights(epsilon)) > 0
    x, labels = np.asarray(problem.data.x)[keep], np.asarray(problem.data.y).astype(int)[keep]
    if isinstance(problem.loss, LogisticLoss):
        return x * (2 * labels - 1)[:, None]
    classes = problem.output_shape[0]
    rows = []
    for other in range(classes):
        here = labels != other
        sign = np.eye(classes)[labels[here]] - np.eye(classes)[other]
        rows.append((x[here][:, :, None] * sign[:, None, :]).reshape(here.sum(), -1))
    return np.concatenate(rows)


def is_separable(problem: Problem, epsilon=1.0) -> bool:
    """Whether a hyperplane separates the classes of the kept points, completely or touching some of them."""
    rows = margins(problem, epsilon)
    rows = rows / np.maximum(np.abs(rows).max(axis=1, keepdims=True), 1e-300)
    answer = linprog(-rows.sum(axis=0), A_ub=-rows, b_ub=np.zeros(len(rows)), bounds=(-1, 1), method="highs")
    return bool(answer.status == 0 and -answer.fun > 1e-6)


def require_not_separable(problem: Problem, epsilon, theta, smallest: float, converged: bool) -> None:
    """`WorkError` if the linear classifier's minimiser is at infinity; called when the numbers look like it.

    The linear program runs only where it may matter: without a ridge, and when θ classifies all but perfectly, the
    Hessian is nearly singular, or the minimisation did not converge.
    """
    if not (isinstance(problem.model, LogisticRegression) and is_classification(problem)) or float(problem.ridge) > 0:
        return
    suspicious = not converged or smallest < 1e-6 or bool((margins(problem, epsilon) @ np.asarray(theta) >= 0).all())
    if suspicious and is_separable(problem, epsilon):
        raise WorkError(
            "the classes are separable by a hyperplane, so the risk has no minimiser (θ → ∞); give the problem a "
            "ridge, for example ridge=1.0"
        )
