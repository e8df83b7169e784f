"""What every unlearning algorithm refuses before it starts: one line each, with what would be right."""

from typing import Any

import numpy as np

from .._checks import number, whole
from .._errors import RequestError

# Steps that a run can hold at once (they are one scan), and whole numbers that a float64 still tells apart.
MOST_STEPS = 10**8
_MOST = 2**53


def count(value: Any, what: str, least: int, most: int = MOST_STEPS) -> int:
    """`value` as a whole number between `least` and `most`."""
    return whole(value, what, least, most)


def indices(values: Any, what: str, ndim: int, n: int) -> np.ndarray:
    """`values` as an integer array of `ndim` axes whose entries lie in 0…n − 1."""
    try:
        array = np.asarray(values)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in "iu" or array.ndim != ndim or array.size == 0:
        raise RequestError(f"{what} must be whole numbers with {ndim} axes, but has shape {array.shape}, {array.dtype}")
    if array.min() < 0 or array.max() >= n:
        raise RequestError(f"{what} must lie in 0…{n - 1}, but reach from {array.min()} to {array.max()}")
    return array


def steps(train_steps: Any, rewind_steps: Any) -> tuple[int, int]:
    """T ≥ 1 and 0 ≤ K ≤ T."""
    train, rewind = count(train_steps, "train_steps", 1), whole(rewind_steps, "rewind_steps", 0)
    if rewind > train:
        raise RequestError(f"rewind_steps must lie in [0, train_steps] = [0, {train}], but is {rewind}")
    return train, rewind


def deletions(n: Any, deleted: Any) -> tuple[int, int]:
    """n ≥ 2 points of which 1 ≤ m < n are deleted."""
    points, gone = count(n, "n", 2, _MOST), whole(deleted, "deleted", 1)
    if gone >= points:
        raise RequestError(f"deleted must leave at least one of the {points} points, but is {gone}")
    return points, gone


def constants(smoothness: Any, strong_convexity: Any) -> tuple[float, float]:
    """L > 0 and 0 ≤ μ ≤ L."""
    smooth = number(smoothness, "smoothness", above=0.0)
    convex = number(strong_convexity, "strong_convexity", least=0.0)
    if convex > smooth:
        raise RequestError(
            f"strong_convexity must not exceed smoothness (μ ≤ L for every function), but {convex:g} > {smooth:g}"
        )
    return smooth, convex


def descent_step(step: Any, smoothness: float) -> float:
    """0 < η ≤ 2/L: beyond it gradient descent does not descend."""
    eta = number(step, "step", above=0.0)
    if eta * smoothness > 2.0 * (1.0 + 1e-12):
        raise RequestError(f"step must not exceed 2/smoothness = {2.0 / smoothness:g}, but is {eta:g}")
    return eta


def budget(privacy_epsilon: Any, privacy_delta: Any) -> tuple[float, float]:
    """0 < ε ≤ 10¹² and 0 < δ < 1."""
    epsilon = number(privacy_epsilon, "privacy_epsilon", above=0.0)
    if epsilon > 1e12:
        raise RequestError(f"privacy_epsilon must be at most 1e12 (nothing is hidden long before), but is {epsilon:g}")
    delta = number(privacy_delta, "privacy_delta", above=0.0)
    if delta >= 1:
        raise RequestError(f"privacy_delta must lie in (0, 1), but is {delta:g}")
    return epsilon, delta
