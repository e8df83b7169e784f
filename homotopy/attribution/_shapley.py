"""Data Shapley by enumeration: the value of a point, averaged over all orders in which it could have arrived.

    φ_i = Σ_{S ⊂ [n]∖i} (|S|! (n−1−|S|)! / n!) (v(S ∪ i) − v(S)),   Σ_i φ_i = v([n]) − v(∅)   (efficiency)

Shapley 1953; Ghorbani and Zou 2019 (arXiv 1904.02868); mathematics §10. Sign: + = the point raises the utility.
"""

import math
from collections.abc import Callable, Sequence
from typing import Annotated

import numpy as np
from jaxtyping import Bool, Float

from .._checks import Values, Whole, flag, shown, whole
from .._errors import RequestError, WorkError
from ._utility import RefitUtility, all_masks

EXACT_LIMIT = 24
_BLOCK = 1 << 14

Value = Callable[[Bool[np.ndarray, "*m n"]], Annotated[Values, "*m"]]


def exact_shapley(value: Value, n: int, *, vectorised: bool = False) -> Float[np.ndarray, " n"]:
    """φ_i of every point (n,), in the units of `value`, from all 2ⁿ subsets; + = the point raises the utility.

        φ_i = Σ_{S ⊂ [n]∖i} (|S|! (n−1−|S|)! / n!) (v(S ∪ i) − v(S)),   Σ_i φ_i = v([n]) − v(∅)   (Shapley 1953)

    `value` takes a subset as a boolean NumPy mask (n,) and returns one number; with `vectorised=True` it takes many
    masks (m, n) and returns (m,). A `RefitUtility` is recognised (linear regression with a ridge: rank-one updates, no
    refits). Raises `RequestError` for n above 24, and `WorkError`, naming the subset, where `value` is not finite.

    Example (continues the package's):

        >>> print(exact_shapley(lambda mask: float(np.array([1.0, 2.0, 3.0])[mask].sum()) ** 2, 3).round(3))
        [ 6. 12. 18.]
    """
    n = _count(value, n)
    if n > EXACT_LIMIT:
        raise RequestError(
            f"n must be at most {EXACT_LIMIT} to enumerate 2ⁿ subsets, but is {n}; use truncated_monte_carlo_shapley"
        )
    if isinstance(value, RefitUtility):
        values = np.asarray(value.every_subset())
        require_finite(values, lambda row: _members(all_masks(n)[row]))
    else:
        masks = all_masks(n)
        values = np.concatenate(
            [evaluate(value, masks[at : at + _BLOCK], vectorised) for at in range(0, len(masks), _BLOCK)]
        )
    sizes = np.bitwise_count(np.arange(1 << n))
    weights = 1.0 / (n * np.array([math.comb(n - 1, s) for s in range(n)], dtype=float))
    shapley = np.empty(n)
    for i in range(n):
        without = np.flatnonzero(((np.arange(1 << n) >> i) & 1) == 0)
        shapley[i] = weights[sizes[without]] @ (values[without | (1 << i)] - values[without])
    return shapley


def leave_one_out_values(value: Value, n: int, *, vectorised: bool = False) -> Float[np.ndarray, " n"]:
    """v([n]) − v([n]∖i) of every point (n,); + = leaving the point out lowers the utility.

    Ghorbani and Zou 2019. `value` as in `exact_shapley`; raises as that does.

    Example (continues the package's):

        >>> print(leave_one_out_values(lambda mask: float(np.array([1.0, 2.0, 3.0])[mask].sum()) ** 2, 3).round(3))
        [11. 20. 27.]
    """
    n = _count(value, n)
    masks = np.concatenate([np.ones((1, n), bool), ~np.eye(n, dtype=bool)])
    values = evaluate(value, masks, vectorised)
    return values[0] - values[1:]


def evaluate(value: Value, masks: np.ndarray, vectorised: bool) -> Float[np.ndarray, " m"]:
    """v of every mask (m, n), checked."""
    if not callable(value):
        raise RequestError(f"value must be a function of a boolean mask (n,), or a RefitUtility, but is {shown(value)}")
    if flag(vectorised, "vectorised") or isinstance(value, RefitUtility):
        values = np.asarray(value(masks), dtype=float)
        if values.shape != (len(masks),):
            raise RequestError(
                f"a vectorised value must map masks (m, n) to (m,), but gave shape {values.shape} for m = {len(masks)}"
            )
    else:
        values = np.empty(len(masks))
        for row, mask in enumerate(masks):
            found = np.asarray(value(mask), dtype=float)
            if found.size != 1:
                raise RequestError(
                    f"value must return one number per mask, but gave shape {found.shape}; for many masks at once "
                    "pass vectorised=True"
                )
            values[row] = found.reshape(())
    require_finite(values, lambda row: _members(masks[row]))
    return values


def require_finite(values: np.ndarray, subset: Callable[[int], Sequence[int]]) -> None:
    """`WorkError` naming the first subset whose value is NaN or infinite."""
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        members = list(subset(int(bad[0])))
        named = ", ".join(map(str, members[:8])) + (", …" if len(members) > 8 else "")
        raise WorkError(
            f"the utility is {values[bad[0]]} on the subset {{{named}}} of {len(members)} points "
            f"({bad.size} such); give it a defined value there"
        )


def _members(mask: np.ndarray) -> list[int]:
    return [int(i) for i in np.flatnonzero(mask)]


def _count(value: Value, n: Whole) -> int:
    n = whole(n, "n", 1, 10**6)
    if isinstance(value, RefitUtility) and value.n != n:
        raise RequestError(f"n must be the number of points of the utility, {value.n}, but is {n}")
    return n
