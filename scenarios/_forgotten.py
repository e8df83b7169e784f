"""Digits for a small network, and the points that it is to forget: random ones, or the outliers of one class."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np

from homotopy import MLP, CrossEntropyLoss, Dataset, Problem, WorkError, estimate_constants, retrain


class Task(NamedTuple):
    """One network, the group that it is to forget, fresh points beside it, the test points, and η."""

    problem: Problem
    theta0: Any
    eta: float
    fresh: Dataset
    test: Dataset


def task_of(size: Any, whole: Dataset, kind: str, seed: int) -> Task:
    """The task of one seed, as large as the settings `size` say, with a group of the `kind` to be forgotten."""
    rng = np.random.default_rng([size.seed, seed])
    order = rng.permutation(whole.n)
    train, test = whole.subset(order[: size.points]), whole.subset(order[size.points :][: size.test])
    if len(np.unique(train.y)) < 10:
        raise WorkError("a class is missing from the training points; raise points")
    problem = Problem(MLP(width=size.width), train, delete=0, loss=CrossEntropyLoss(), ridge=size.ridge * train.n)
    theta0 = problem.initial(seed)
    eta = size.step / (train.n * estimate_constants(problem, thetas=theta0[None]).smoothness)
    problem = problem.deleting(_group(size, kind, problem, theta0, eta, rng))
    fresh = test.subset(rng.choice(test.n, size.forget, replace=False))
    return Task(problem, theta0, eta, fresh, test)


@eqx.filter_jit
def point_losses(problem: Problem, theta: jax.Array) -> jax.Array:
    """The losses (n,) of all training points."""
    return problem.losses(theta)


def _group(size: Any, kind: str, problem: Problem, theta0: Any, eta: float, rng: np.random.Generator) -> np.ndarray:
    """The points to forget: random ones, or those of one class that a model of the other half finds hardest."""
    if kind == "random":
        return np.sort(rng.choice(problem.n, size.forget, replace=False))
    members = np.flatnonzero(np.asarray(problem.data.y) == size.outlier_class)
    if len(members) < size.forget:
        raise WorkError(
            f"class {size.outlier_class} has only {len(members)} training points; raise points or lower forget"
        )
    losses = np.zeros(problem.n)
    for start in range(0, len(members), size.forget):  # in turn, each part judged by a model that never saw it
        part = members[max(0, min(start, len(members) - size.forget)) :][: size.forget]
        blind = retrain(problem.deleting(part), theta0, step=eta, steps=size.train_steps).theta
        losses[part] = np.asarray(point_losses(problem, blind))[part]
    return np.sort(members[np.argsort(-losses[members])][: size.forget])
