"""The flow of one constant ε in NumPy, from the singular values of the weighted rows, never from XᵀX.

A rate is the square of a singular value, so it keeps as many digits as that: half of them are gone in an eigenvalue of
XᵀX. The columns come sorted from long to short, and R of their QR decomposition is graded then: singular values and
vectors of Rᵀ have small *relative* errors whatever the units of the columns (Drmač and Veselić 2008), so the slowest
rate is as well known as the fastest. Notation: A `rows`, the weighted rows; A = W S Vᵀ; H = AᵀA.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Phase:
    """The flow ż = b − Hz of one constant ε: H = V diag(rates) Vᵀ, b = `drive`, Vᵀ × (where it comes to rest).

    `rates` (dim,) ascend and are 0 where H is singular; there `settled` is 0 as well.
    """

    rates: Vector
    vectors: Vector
    settled: Vector
    hessian: Vector
    drive: Vector

    @cached_property
    def rest(self) -> Vector:
        """H⁺b, where every mode that moves comes to rest."""
        return self.vectors @ self.settled

    @property
    def singular(self) -> bool:
        """Whether some direction does not move."""
        return bool((self.rates == 0).any())

    def advance(self, modes: Vector, lengths: Vector | float) -> Vector:
        """Vᵀz after `lengths` (rows,) from Vᵀz = `modes` ((rows,) dim).

        Both terms are exact to rounding, however short or long the time: nothing cancels but what truly does.
        """
        exponents = np.multiply.outer(lengths, -self.rates)
        return np.asarray(np.exp(exponents) * modes - np.expm1(exponents) * self.settled)

    def flow(self, start: Vector, times: Vector) -> Vector:
        """z(t) (times, dim) at the times t ≥ 0 from z(0) = `start`."""
        return self.advance(self.vectors.T @ start, np.asarray(times, dtype=float)) @ self.vectors.T

    def propagator(self, length: float) -> Vector:
        """e^{−H·length} (dim, dim)."""
        return np.asarray((self.vectors * np.exp(-self.rates * length)) @ self.vectors.T)

    def driven(self, length: float) -> Vector:
        """z(length) from z(0) = 0."""
        return np.asarray(self.vectors @ (-np.expm1(-self.rates * length) * self.settled))


@dataclass(frozen=True)
class Factor:
    """Rows A (m, d) with right-hand sides c (m, outputs), in singular values: A = W diag(sizes) Vᵀ, `sides` = Wᵀc."""

    sizes: Vector
    vectors: Vector
    sides: Vector


def factor(rows: Vector, sides: Vector) -> Factor:
    """The decomposition of `rows` (m, d), m ≥ d, whose columns are sorted by their norms, longest first."""
    d = rows.shape[1]
    triangle = np.asarray(np.linalg.qr(np.concatenate([rows, sides], axis=1), mode="r"))
    vectors, sizes, left = np.linalg.svd(triangle[:d, :d].T)
    return Factor(sizes, vectors, left @ triangle[:d, d:])


def phase_of(found: Factor, rank: int, hessian: Vector, drive: Vector) -> Phase:
    """The phase of a decomposition, of which only the `rank` largest modes move; one copy of them per output."""
    outputs = found.sides.shape[1]
    moving = np.arange(len(found.sizes)) < rank
    moving &= found.sizes > 0
    safe = np.where(moving, found.sizes, 1.0)
    settled = np.where(moving[:, None], found.sides / safe[:, None], 0.0)[::-1]
    rates, vectors = np.where(moving, found.sizes**2, 0.0)[::-1], found.vectors[:, ::-1]
    if outputs > 1:
        rates, vectors = np.repeat(rates, outputs), np.asarray(np.kron(vectors, np.eye(outputs)), dtype=float)
    return Phase(rates, vectors, settled.reshape(-1), hessian, drive)


def indefinite_phase(hessian: Vector, drive: Vector) -> Phase:
    """The phase of a Hessian that no rows have, as under ε < 0: its eigenvalues, to λ_max times rounding."""
    rates, vectors = np.linalg.eigh(hessian)
    still = np.abs(rates) <= len(rates) * np.finfo(float).eps * np.abs(rates).max()
    rates[still] = 0.0
    settled = np.where(still, 0.0, (vectors.T @ drive) / np.where(still, 1.0, rates))
    return Phase(rates, vectors, settled, hessian, drive)
