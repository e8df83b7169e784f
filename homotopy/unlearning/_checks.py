"""What every unlearning algorithm refuses before it starts: one line each, with what would be right."""

from typing import Any

from .._checks import number, whole
from .._errors import RequestError


def steps(train_steps: Any, rewind_steps: Any) -> tuple[int, int]:
    """T ≥ 1 and 0 ≤ K ≤ T."""
    train, rewind = whole(train_steps, "train_steps", 1), whole(rewind_steps, "rewind_steps", 0)
    if rewind > train:
        raise RequestError(f"rewind_steps must lie in [0, train_steps] = [0, {train}], but is {rewind}")
    return train, rewind


def deletions(n: Any, deleted: Any) -> tuple[int, int]:
    """n ≥ 2 points of which 1 ≤ m < n are deleted."""
    count, gone = whole(n, "n", 2), whole(deleted, "deleted", 1)
    if gone >= count:
        raise RequestError(f"deleted must leave at least one of the {count} points, but is {gone}")
    return count, gone


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
    """ε > 0 and 0 < δ < 1."""
    epsilon = number(privacy_epsilon, "privacy_epsilon", above=0.0)
    delta = number(privacy_delta, "privacy_delta", above=0.0)
    if delta >= 1:
        raise RequestError(f"privacy_delta must lie in (0, 1), but is {delta:g}")
    return epsilon, delta
