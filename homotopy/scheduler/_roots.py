"""The zero of a function between two points at which its sign differs, or would, but for rounding."""

from collections.abc import Callable

from scipy.optimize import brentq


def zero_between(function: Callable[[float], float], low: float, high: float, *, xtol: float, rtol: float) -> float:
    """Brent's zero of `function` in [low, high].

    Where both ends have one sign, the sign that a vectorised evaluation saw was rounding: then the end nearer to zero.
    """
    ends = function(low), function(high)
    if ends[0] * ends[1] > 0:
        return low if abs(ends[0]) < abs(ends[1]) else high
    return float(brentq(function, low, high, xtol=xtol, rtol=rtol))
