"""Membership inference: can an attacker tell points that were trained on from points that were not?

The attack is a logistic regression on what a model says of a point (its loss and its logits), fitted and judged by
repeated stratified cross-validation. An AUROC of ½ means that nothing was learnt; an attack is only worth reporting if it
succeeds on a model that over-fitted and did not unlearn (`detects`). Where there is nothing to learn, cross-validation
tends to land a little below ½: what one fold has more of, the others have less of.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._arrays import as_floats
from .._checks import Theta, Whole
from .._errors import RequestError, WorkError
from .._extras import need
from .._statistics import bootstrap
from ..problem import Dataset, Problem, check_queries
from . import _checks


@dataclass(frozen=True)
class MembershipInference:
    """The attack's AUROC `auroc`, the mean over repeats; `low` and `high` are its 95 % interval.

    ½ = nothing is told, 1 = everything (Shokri et al. 2017). The interval is a bootstrap over points of the out-of-fold
    scores; `members` and `others` count the points on either side.

    Example (continues the package's):

        >>> inside, outside = np.linspace(0.0, 1.0, 20)[:, None], np.linspace(0.6, 1.6, 20)[:, None]
        >>> attack = membership_inference(inside, outside, repeats=1, resamples=50)
        >>> print(attack.detects, attack.low < attack.auroc < attack.high, attack.members, attack.others)
        True True 20 20
    """

    auroc: float
    low: float
    high: float
    members: int
    others: int

    @property
    def detects(self) -> bool:
        """Whether the interval lies above ½."""
        return self.low > 0.5

    def __str__(self) -> str:
        verdict = "tells members apart" if self.detects else "cannot tell members apart"
        return f"attack {verdict}: AUROC {self.auroc:.3f} ({self.low:.3f} to {self.high:.3f}), {self.members} members"


def attack_features(problem: Problem, theta: Theta, data: Dataset) -> Float[np.ndarray, "m features"]:
    """What the attacker sees of each point (m, features): the loss, the logit of the label, the logits from the largest.

    Raises `RequestError` for points that the problem's loss cannot judge. Logits of several classes are taken beside
    their mean.

    Example (continues the package's):

        >>> attack_features(classes, optimum(classes).theta, classes.data).shape
        (20, 3)
    """
    check_queries(problem, data, "data")
    return np.asarray(_seen(problem, problem.check_theta(theta, "theta"), data))


@eqx.filter_jit
def _seen(problem: Problem, theta: Array, data: Dataset) -> Array:
    predictions = problem.predict(theta, data.x)
    losses = jax.vmap(problem.loss.value)(predictions, data.y)
    if predictions.ndim == 1:  # one logit: how far it is on the label's side
        signed = jnp.where(data.y > 0.5, predictions, -predictions)
        return jnp.stack([losses, signed, jnp.abs(predictions)], axis=1)
    middle = jnp.mean(predictions, axis=1, keepdims=True)
    ranked = -jnp.sort(-(predictions - middle), axis=1)
    if data.y.ndim == 2:  # regression on several outputs has no label to be on the side of
        return jnp.concatenate([losses[:, None], ranked], axis=1)
    chosen = jnp.take_along_axis(predictions, data.y.astype(int)[:, None], axis=1)
    return jnp.concatenate([losses[:, None], chosen - middle, ranked], axis=1)


def membership_inference(
    members: Float[np.ndarray, "m features"],
    others: Float[np.ndarray, "k features"],
    *,
    folds: Whole = 5,
    repeats: Whole = 10,
    resamples: Whole = 500,
    seed: Whole = 0,
) -> MembershipInference:
    """Attack: tell the rows of `members` (m, features) from those of `others` (`attack_features` of both, or of more models).

    Needs scikit-learn (extra `data`). Raises `RequestError` for fewer points on a side than `folds` and for features
    that are not finite (or above 1e150), `WorkError` if the attack's own regression does not converge. Membership
    inference: Shokri et al. 2017.

    Example (continues the package's):

        >>> seen = attack_features(classes, optimum(classes).theta, classes.data)
        >>> print(membership_inference(seen[::2], seen[1::2], folds=3, repeats=1, resamples=50).detects)
        False
    """
    need("data", "membership_inference")
    for value, what, least in ((folds, "folds", 2), (repeats, "repeats", 1), (resamples, "resamples", 1)):
        _checks.count(value, what, least)
    _checks.count(seed, "seed", 0, 2**32 - 1 - repeats)
    inside, outside = _rows(members, "members"), _rows(others, "others")
    if inside.shape[1] != outside.shape[1]:
        raise RequestError(
            f"members and others must have the same columns, but have {inside.shape} and {outside.shape}"
        )
    if min(len(inside), len(outside)) < folds:
        raise RequestError(
            f"the attack needs at least folds = {folds} points on either side, but has {len(inside)} and {len(outside)}"
        )
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x = np.concatenate([inside, outside])
    truth = np.concatenate([np.ones(len(inside)), np.zeros(len(outside))])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", max_iter=2000))
    scores = np.zeros((repeats, len(x)))
    for repeat in range(repeats):
        split = StratifiedKFold(folds, shuffle=True, random_state=seed + repeat)
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)
            try:
                scores[repeat] = cross_val_predict(model, x, truth, cv=split, method="decision_function")
            except ConvergenceWarning:
                raise WorkError("the attack's logistic regression did not converge: nothing can be said") from None
    positive, negative = scores[:, truth == 1], scores[:, truth == 0]
    found = bootstrap(
        lambda i, j: _mean_auroc(positive[:, i], negative[:, j]),
        len(inside),
        len(outside),
        resamples=resamples,
        seed=seed,
    )
    return MembershipInference(*found, len(inside), len(outside))


def _rows(values: Any, what: str) -> np.ndarray:
    rows = np.asarray(as_floats(values, what))
    if rows.ndim != 2 or rows.size == 0 or np.abs(rows).max() > 1e150:
        raise RequestError(
            f"{what} must have shape (points, features) and entries below 1e150, but has shape {rows.shape}"
        )
    return rows


def _mean_auroc(positive: np.ndarray, negative: np.ndarray) -> float:
    """The mean over repeats: scores of different repeats have no common scale, and their average would add up what
    cross-validation does to points that cannot be told apart."""
    return float(np.mean([_auroc(*pair) for pair in zip(positive, negative, strict=True)]))


def _auroc(positive: np.ndarray, negative: np.ndarray) -> float:
    """P(positive > negative) + ½P(equal)."""
    ordered = np.sort(negative)
    below, upto = np.searchsorted(ordered, positive, "left"), np.searchsorted(ordered, positive, "right")
    return float((below + upto).mean() / (2 * len(negative)))
