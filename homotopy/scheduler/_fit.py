"""θ*₋ of linear regression on equilibrated columns: rank, minimiser and rounding that do not depend on units."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .._columns import column_scales
from .._errors import RequestError
from .._factorise import null_part
from ._phase import Factor, Vector

_EPS = np.finfo(float).eps
# A difference below this many roundings of its terms is 0: such an r_j says that the deleted point lies on the rest's fit.
FITS = 16.0
# The squares of numbers beyond these over- or underflow.
_LARGEST, _SMALLEST = 1e140, 1e-140
# A θ*₋ given by the user is the leave-one-out optimum if the kept rows see no more difference than this.
_SAME = 1e-10


@dataclass(frozen=True)
class Fit:
    """Least squares on equilibrated columns, longest first (`order`): R/`scales` = W diag(sizes) Vᵀ."""

    triangle: Vector
    sides: Vector
    order: NDArray[np.intp]
    scales: Vector
    found: Factor
    rank: int

    @property
    def condition(self) -> float:
        sizes = self.found.sizes
        return float(sizes[0] / sizes[self.rank - 1]) if self.rank else 1.0

    def target(self, theta0: Vector) -> Vector:
        """The minimiser (d, outputs) nearest to θ₀ in the user's units: the limit of the flow."""
        found, rank = self.found, self.rank
        inside = found.sides[:rank] / found.sizes[:rank, None]
        best = (found.vectors[:, :rank] @ inside) / self.scales[:, None]
        if rank < len(self.order):
            free = np.arange(len(self.order)) >= rank
            best = best + null_part(found.vectors, free, 1.0 / self.scales, theta0[self.order] - best)
        target = np.empty_like(best)
        target[self.order] = best
        return target

    def same(self, target: Vector, best: Vector) -> bool:
        """Whether the kept rows tell `target` from the minimiser `best` no better than a careful solver would."""
        apart = np.linalg.norm(self.triangle @ (target - best)[self.order])
        size = np.linalg.norm(self.sides) + np.linalg.norm(np.abs(self.triangle) @ np.abs(target[self.order]))
        return bool(apart <= _SAME * size)

    def outside(self, sides: Vector) -> Vector:
        """The part of right-hand sides that no θ reaches: rounding, where the rank is not full."""
        if self.rank == len(self.order):
            return np.zeros_like(sides)
        reached = np.linalg.svd(self.triangle / self.scales)[0][:, : self.rank]
        return np.asarray(sides - reached @ (reached.T @ sides))

    def rounding(self, rows: Vector, y: Vector, target: Vector) -> Vector:
        """What y − xᵀθ*₋ (k, outputs) may be off by: its own sums, and what θ*₋ is off by along x."""
        found, rank = self.found, self.rank
        along = ((rows[:, self.order] / self.scales) @ found.vectors[:, :rank]) / found.sizes[:rank]
        solved = np.linalg.norm(found.sizes) * np.linalg.norm(target[self.order] * self.scales[:, None], axis=0)
        size = np.linalg.norm(self.sides, axis=0) + solved
        sums = np.abs(y) + np.abs(rows) @ np.abs(target)
        return np.asarray(FITS * _EPS * (sums + np.linalg.norm(along, axis=1)[:, None] * size))


def fit_rows(x: Vector, y: Vector, ridge: float) -> Fit:
    (n, d), outputs = x.shape, y.shape[1]
    if ridge or n < d:
        x = np.concatenate([x, np.sqrt(ridge) * np.eye(d)])
        y = np.concatenate([y, np.zeros((d, outputs))])
    scales = np.asarray(column_scales(x))
    order = np.argsort(-np.linalg.norm(x / scales, axis=0) * scales, kind="stable")
    scales = scales[order]
    triangle = np.asarray(np.linalg.qr(np.concatenate([x[:, order] / scales, y], axis=1), mode="r"))
    even, sides = triangle[:d, :d], triangle[:d, d:]
    vectors, sizes, left = np.linalg.svd(even.T)
    rank = int(np.sum(sizes > max(n, d) * _EPS * sizes[0]))
    return Fit(even * scales, sides, order, scales, Factor(sizes, vectors, left @ sides), rank)


def check_range(values: Vector, what: str) -> None:
    sizes = np.abs(values)
    largest = float(sizes.max())
    if largest > _LARGEST or (0 < largest < _SMALLEST):
        raise RequestError(
            f"{what} must have entries between {_SMALLEST:g} and {_LARGEST:g} in size, whose squares are numbers, but its "
            f"largest is {largest:g}; multiply it by a constant"
        )
