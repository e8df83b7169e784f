"""Linear regression under ε ∈ {0, 1} in NumPy: two eigendecompositions, and every bang-bang flow is known exactly.

NumPy, not JAX: one search is a handful of small matrix products, done before a compiler would have started.
Notation: z = θ − θ*₋, H₋ `keep.hessian` (ε = 0), H `full.hessian` (ε = 1), G = H − H₋ `deleted_hessian`, and
∇ℓ_J = Gz − a with a = −∇ℓ_J(θ*₋) `pull`; for one deleted point G = x_j x_jᵀ and a = x_j r_j. M `metric`: E = ½ zᵀMz.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..problem import Problem

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Phase:
    """The flow ż = b − Hz of one constant ε, in the eigenvectors of H; rates within rounding of 0 are 0."""

    hessian: Vector
    drive: Vector

    @cached_property
    def _modes(self) -> tuple[Vector, Vector]:
        rates, vectors = np.linalg.eigh(self.hessian)
        rates[rates <= len(rates) * np.finfo(float).eps * np.abs(rates).max()] = 0.0
        return rates, vectors

    @property
    def rates(self) -> Vector:
        """Eigenvalues of H, ascending, ≥ 0."""
        return self._modes[0]

    @property
    def vectors(self) -> Vector:
        """Eigenvectors of H, in columns."""
        return self._modes[1]

    @cached_property
    def rest(self) -> Vector:
        """H⁺b, where every mode that moves comes to rest."""
        moving = self.rates > 0
        drive = self.vectors.T @ self.drive
        return self.vectors @ np.where(moving, drive / np.where(moving, self.rates, 1.0), 0.0)

    def equilibrium(self, start: Vector) -> Vector:
        """lim z(t) from z(0) = `start`: H⁺b + (I − H⁺H) z(0)."""
        still = self.vectors[:, self.rates == 0]
        return self.rest + still @ (still.T @ start)

    def flow(self, start: Vector, times: Vector) -> Vector:
        """z(t) (times, dim) at the times t ≥ 0 from z(0) = `start`."""
        # A mode that does not move has rate 0 and rest 0: it stays where it is.
        decay = np.exp(-np.multiply.outer(np.asarray(times, dtype=float), self.rates))
        return self.rest + (decay * (self.vectors.T @ (start - self.rest))) @ self.vectors.T

    def propagator(self, length: float) -> Vector:
        """e^{−H·length} (dim, dim)."""
        return (self.vectors * np.exp(-self.rates * length)) @ self.vectors.T


@dataclass(frozen=True)
class LinearControl:
    """A linear regression problem as a control system for z = θ − θ*₋ from `start` = θ₀ − θ*₋ to 0."""

    keep: Phase
    full: Phase
    start: Vector
    target: Vector
    single: tuple[Vector, float] | None
    """(x_j, r_j) where one point with one output is deleted: only there does the bang-bang theorem hold."""
    metric: Vector | None = None
    """M of the energy ½ zᵀMz; the identity when None."""

    @cached_property
    def deleted_hessian(self) -> Vector:
        """G = ∇²ℓ_J."""
        return self.full.hessian - self.keep.hessian

    @cached_property
    def pull(self) -> Vector:
        """a = −∇ℓ_J(θ*₋)."""
        return self.full.drive - self.keep.drive

    def phase(self, epsilon: float) -> Phase:
        """The flow under the constant ε ∈ [0, 1]."""
        if epsilon in (0.0, 1.0):
            return self.full if epsilon else self.keep
        return Phase(self.keep.hessian + epsilon * self.deleted_hessian, self.keep.drive + epsilon * self.pull)

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
    rests = [phase.vectors.T @ phase.rest for phase in phases]
    modes = phases[first].vectors.T @ z
    epsilon = first
    for k in range(lengths.shape[1]):
        decay = np.exp(np.multiply.outer(lengths[:, k], -phases[epsilon].rates))
        modes = rests[epsilon] + decay * (modes - rests[epsilon])
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

    `delete` takes the place of the problem's own deleted set.
    """
    x, y = np.asarray(problem.data.x), np.asarray(problem.data.y)
    removed = np.atleast_1d(np.asarray(problem.delete if delete is None else delete))
    theta0 = np.asarray(theta0, dtype=float)
    outputs = y.size // len(y)
    kept = np.ones(len(x), dtype=bool)
    kept[removed] = False
    hessian, drive = _moments(x[kept], y[kept], outputs)
    hessian += float(problem.ridge) * np.eye(len(hessian))
    more, pull = _moments(x[removed], y[removed], outputs)
    keep = Phase(hessian, drive)
    given = target is not None
    target = np.asarray(target, dtype=float) if given else keep.equilibrium(theta0)
    # H₋θ*₋ = b₋ wherever θ*₋ was computed here: exactly 0 instead of rounding keeps E = 0 reachable.
    rest = drive - hessian @ target if given else np.zeros_like(drive)
    if np.abs(rest).max() <= 1e-10 * (1e-300 + np.abs(hessian) @ np.abs(target) + np.abs(drive)).max():
        rest = np.zeros_like(rest)
    pull = pull - more @ target
    still = Phase(hessian, rest)
    still.__dict__["_modes"] = keep._modes  # the same matrix
    single = (x[removed[0]], float(y[removed[0]] - x[removed[0]] @ target)) if len(removed) == outputs == 1 else None
    return LinearControl(still, Phase(hessian + more, rest + pull), theta0 - target, target, single, metric)


def _moments(x: Vector, y: Vector, outputs: int) -> tuple[Vector, Vector]:
    """XᵀX ⊗ I and Xᵀy; θ holds the matrix (features, outputs) row by row."""
    hessian: Vector = x.T @ x
    if outputs > 1:
        hessian = np.asarray(np.kron(hessian, np.eye(outputs)), dtype=float)
    return hessian, (x.T @ y).reshape(-1)
