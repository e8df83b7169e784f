"""What several scenarios and benchmarks share: linear problems (same seed, same instance), and the name of a failure."""

from typing import NamedTuple

import numpy as np

from homotopy import Dataset, LinearRegression, Problem, leave_one_out_all, optimum

CONDITION = 10.0  # of the covariance of the rows
NOISE = 0.5
TRAINED = 0.2  # s/T: the share of the horizon that is training on everything


class Instance(NamedTuple):
    """A problem with one deleted point, θ₀, and the window [s, T] = [0.2 T, span/λ_min(XᵀX)]."""

    problem: Problem
    theta0: np.ndarray
    s: float
    t1: float


def random_instance(seed: int, d: int, n: int, span: float = 2.0, *, deleted: str = "random") -> Instance:
    """n rows in R^d with covariance condition 10, noise 0.5, θ₀ ~ N(0, I); `deleted` is a random row, or the row of
    largest leverage ("high-leverage")."""
    rng = np.random.default_rng(seed)
    q = np.linalg.qr(rng.standard_normal((d, d)))[0]
    x = rng.standard_normal((n, d)) * np.sqrt(np.geomspace(1, 1 / CONDITION, d)) @ q.T
    y = x @ rng.standard_normal(d) + NOISE * rng.standard_normal(n)
    row = int(rng.integers(n))
    if deleted == "high-leverage":
        row = int(np.argmax(np.sum(np.linalg.qr(x)[0] ** 2, axis=1)))
    t1 = span / float(np.linalg.eigvalsh(x.T @ x)[0])
    return Instance(Problem(LinearRegression(), Dataset(x, y), delete=row), rng.standard_normal(d), TRAINED * t1, t1)


def most_moving(data: Dataset) -> Problem:
    """Linear regression without the row whose removal moves the optimum most."""
    problem = Problem(LinearRegression(), data, delete=0)
    moved = np.linalg.norm(np.asarray(leave_one_out_all(problem)) - np.asarray(optimum(problem).theta), axis=1)
    return problem.deleting(int(np.argmax(moved)))


def slowest(problem: Problem) -> float:
    """λ_min(H₋): the rate at which the last of θ arrives when the point is left out (linear regression, no ridge)."""
    x = np.delete(np.asarray(problem.data.x), np.asarray(problem.delete), axis=0)
    return float(np.linalg.eigvalsh(x.T @ x)[0])


def reason(error: Exception) -> str:
    """What a solve that failed says of itself, without its advice: the code under which it is counted."""
    return " ".join(str(error).partition(";")[0].split())
