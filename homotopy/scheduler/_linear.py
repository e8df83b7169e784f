"""Linear regression under ε ∈ {0, 1} in NumPy: two decompositions, and every bang-bang flow is known exactly.

NumPy, not JAX: one search is a handful of small matrix products, done before a compiler would have started.
Notation: z = θ − θ*₋, H₋ `keep.hessian` (ε = 0), H `full.hessian` (ε = 1), G = H − H₋ `deleted_hessian`, and
∇ℓ_J = Gz − a with a = −∇ℓ_J(θ*₋) `pull`; for one deleted point G = x_j x_jᵀ and a = x_j r_j. M `metric`: E = ½ zᵀMz.

Rank and θ*₋ are decided on equilibrated columns, so they do not depend on units; rates are squared singular values of
the rows in the user's own units, in which the flow is θ̇ = −∇R.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._columns import column_scales, null_direction_error
from ..problem import Problem
from ._fit import FITS, check_range, fit_rows
from ._phase import Factor, Phase, Vector, factor, indefinite_phase, phase_of

_EPS = np.finfo(float).eps

Kept: TypeAlias = tuple[Vector, Vector, NDArray[np.intp]]


@dataclass(frozen=True)
class Deleted:
    """The deleted rows x_j (k, d) and their residuals r_j (k, outputs) at the target."""

    rows: Vector
    residuals: Vector


@dataclass(frozen=True)
class LinearControl:
    """A linear regression problem as a control system for z = θ − θ*₋ from `start` = θ₀ − θ*₋ to 0."""

    keep: Phase
    full: Phase
    start: Vector
    target: Vector
    single: tuple[Vector, float] | None
    """(x_j, r_j) where one point with one output is deleted: only there does the bang-bang theorem hold."""
    metric: Vector | None
    """M of the energy ½ zᵀMz; the identity when None."""
    deleted: Deleted
    kept: Kept
    """R (d, d) of the kept rows, columns longest first, its right-hand sides (d, outputs), and the order of the columns."""
    condition: float
    """Of the kept rows with equilibrated columns, what is of rank 0 left out."""
    deficient: bool
    """Whether the kept rows leave a direction undecided, whatever the units."""
    turned: float
    """How far rounding may turn that direction (collinear columns of very different sizes)."""

    @cached_property
    def deleted_hessian(self) -> Vector:
        """G = ∇²ℓ_J."""
        return _gram(self.deleted.rows, self.deleted.residuals.shape[1])

    @cached_property
    def pull(self) -> Vector:
        """a = −∇ℓ_J(θ*₋)."""
        return (self.deleted.rows.T @ self.deleted.residuals).reshape(-1)

    def phase(self, epsilon: float) -> Phase:
        """The flow under a constant ε."""
        if epsilon in (0.0, 1.0):
            return self.full if epsilon else self.keep
        hessian = self.keep.hessian + epsilon * self.deleted_hessian
        drive = self.keep.drive + epsilon * self.pull
        if epsilon < 0:
            return indefinite_phase(hessian, drive)
        return _weighted_phase(self.kept, self.deleted, epsilon, self.deficient, hessian, drive)

    def at_target(self, z: Vector) -> bool:
        """Whether z is 0 to the rounding of θ*₋ itself, each column in its own units."""
        widths = np.empty(len(self.kept[2]))
        widths[self.kept[2]] = np.linalg.norm(self.kept[0], axis=0)
        widths = np.hypot(widths, np.linalg.norm(self.deleted.rows, axis=0))[:, None]
        known = FITS * _EPS * min(self.condition, 1e8)
        return bool(
            np.linalg.norm(z.reshape(len(widths), -1) * widths)
            <= known * np.linalg.norm(self.target.reshape(len(widths), -1) * widths)
        )

    def deleted_gradient(self, z: Vector) -> Vector:
        """∇ℓ_J for the rows of `z` (…, dim)."""
        return z @ self.deleted_hessian - self.pull

    def weighted(self, z: Vector) -> Vector:
        """Mz for the rows of `z`: the costate at T."""
        return z if self.metric is None else np.asarray(z @ self.metric, dtype=float)

    def energy(self, z: Vector) -> Vector | np.float64:
        """½ zᵀMz for the rows of `z`."""
        return 0.5 * np.sum(z * self.weighted(z), axis=-1)

    @property
    def fastest(self) -> float:
        """The largest rate of either flow."""
        return float(max(self.full.rates[-1], self.keep.rates[-1]))


def paths(
    control: LinearControl, start: Vector, edges: Vector, epsilons: Vector, times: Vector
) -> tuple[Vector, Vector]:
    """z(t) and the costate p(t), both (times, dim), at sorted `times`, for ε = epsilons[k] on [edges[k], edges[k+1]].

    ż = b_ε − H_ε z from z(edges[0]) = `start`; ṗ = H_ε p backwards from p(edges[-1]) = Mz.
    """
    phases = [control.phase(float(epsilon)) for epsilon in epsilons]
    bounds = np.concatenate([[0], np.searchsorted(times, edges[1:-1]), [len(times)]])
    zs, ps = np.empty((2, len(times), len(start)))
    z = start
    for k, phase in enumerate(phases):
        here = slice(bounds[k], bounds[k + 1])
        path = phase.flow(z, np.append(times[here] - edges[k], edges[k + 1] - edges[k]))
        zs[here], z = path[:-1], path[-1]
    p = control.weighted(z)
    for k, phase in reversed(list(enumerate(phases))):
        here = slice(bounds[k], bounds[k + 1])
        back = np.append(edges[k + 1] - times[here], edges[k + 1] - edges[k])
        path = (np.exp(-np.multiply.outer(back, phase.rates)) * (phase.vectors.T @ p)) @ phase.vectors.T
        ps[here], p = path[:-1], path[-1]
    return zs, ps


def bang_bang_ends(control: LinearControl, z: Vector, first: int, switches: Vector, s: float, t1: float) -> Vector:
    """z(T) (rows, dim) from z(s) = `z` under ε = first, 1 − first, … for each row of sorted `switches` (rows, k)."""
    phases = (control.keep, control.full)
    turn = control.keep.vectors.T @ control.full.vectors  # from the modes of H to those of H₋
    edges = np.concatenate([np.full((len(switches), 1), s), switches, np.full((len(switches), 1), t1)], axis=1)
    lengths = np.diff(edges, axis=1)
    modes = phases[first].vectors.T @ z
    epsilon = first
    for k in range(lengths.shape[1]):
        modes = phases[epsilon].advance(modes, lengths[:, k])
        if k + 1 < lengths.shape[1]:
            modes = modes @ (turn.T if epsilon else turn)
            epsilon = 1 - epsilon
    return modes @ phases[epsilon].vectors.T


def linear_control(
    problem: Problem,
    theta0: Vector,
    target: Vector | None = None,
    metric: Vector | None = None,
    delete: Any = None,
) -> LinearControl:
    """The control system of a linear regression problem; θ*₋ is the limit of the ε = 0 flow from θ₀ unless given.

    `delete` takes the place of the problem's own deleted set. Raises `RequestError` if the squares of the data over- or
    underflow.
    """
    x, y = np.asarray(problem.design), np.asarray(problem.data.y)
    check_range(x, "x")
    check_range(y, "y")
    y = y.reshape(len(y), -1)
    removed = np.atleast_1d(np.asarray(problem.delete if delete is None else delete))
    theta0 = np.asarray(theta0, dtype=float)
    kept = np.ones(len(x), dtype=bool)
    kept[removed] = False
    fit = fit_rows(x[kept], y[kept], float(problem.ridge))
    best = fit.target(theta0.reshape(x.shape[1], -1))
    given = target is not None
    chosen = best if target is None else np.asarray(target, dtype=float).reshape(best.shape)
    # What the kept rows still pull at the target: exactly 0 where that is θ*₋, so that E = 0 stays reachable.
    left = np.zeros_like(fit.sides)
    if given and not fit.same(chosen, best):
        left = fit.sides - fit.triangle @ chosen[fit.order]
        left -= fit.outside(left)
    pulled = y[removed] - x[removed] @ chosen
    pulled[np.abs(pulled) <= fit.rounding(x[removed], y[removed], chosen)] = 0.0
    deleted = Deleted(x[removed], pulled)
    outputs = y.shape[1]
    rows, sides = (fit.triangle, left, fit.order), fit.triangle.T @ left
    drive = np.empty_like(sides)
    drive[fit.order] = sides
    hessian = _gram(x[kept], outputs) + float(problem.ridge) * np.eye(best.size)
    turned = factor(fit.triangle, left)
    keep = phase_of(_unsorted(turned, fit.order), fit.rank, hessian, drive.reshape(-1))
    more = _gram(deleted.rows, outputs), (deleted.rows.T @ pulled).reshape(-1)
    deficient = fit.rank < len(fit.order)
    full = _weighted_phase(rows, deleted, 1.0, deficient, hessian + more[0], keep.drive + more[1])
    single = (x[removed[0]], float(pulled[0, 0])) if len(removed) == outputs == 1 else None
    flat = chosen.reshape(-1)
    return LinearControl(
        keep, full, theta0 - flat, flat, single, metric, deleted, rows, fit.condition, deficient,
        null_direction_error(x[kept], float(problem.ridge)) if deficient else 0.0,
    )  # fmt: skip


def _weighted_phase(
    kept: Kept, deleted: Deleted, epsilon: float, deficient: bool, hessian: Vector, drive: Vector
) -> Phase:
    """The phase of the kept rows and √ε times the deleted ones."""
    triangle, left, order = kept
    root = np.sqrt(epsilon)
    rows = np.concatenate([triangle, root * deleted.rows[:, order]])
    rank = len(order)
    if deficient:
        sizes = np.linalg.svd(rows / column_scales(rows), compute_uv=False)
        rank = int(np.sum(sizes > max(rows.shape) * _EPS * sizes[0]))
    turned = factor(rows, np.concatenate([left, root * deleted.residuals]))
    return phase_of(_unsorted(turned, order), rank, hessian, drive)


def _unsorted(found: Factor, order: NDArray[np.intp]) -> Factor:
    vectors = np.empty_like(found.vectors)
    vectors[order] = found.vectors
    return Factor(found.sizes, vectors, found.sides)


def _gram(rows: Vector, outputs: int) -> Vector:
    """XᵀX ⊗ I; θ holds the matrix (features, outputs) row by row."""
    gram: Vector = rows.T @ rows
    return gram if outputs == 1 else np.asarray(np.kron(gram, np.eye(outputs)), dtype=float)
