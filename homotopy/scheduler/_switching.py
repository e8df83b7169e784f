"""E of a bang-bang ε(t) with its exact gradient and Hessian in the switch times, for linear regression.

    ∂E/∂τ_k      = D_k σ(τ_k),   σ = −⟨p, ∇ℓ_J⟩ + c                   (mathematics §7)
    ∂²E/∂τ_i∂τ_j = S_iᵀ M S_j + D_i D_j p_jᵀ G Φ(τ_j, τ_i) g_i        (i < j)
    ∂²E/∂τ_j²    = S_jᵀ M S_j − D_j p_jᵀ (H₊ g_j + G ż₋)

with D_k = ε₋ − ε₊ at the switch (− before it, + after it), g_k = ∇ℓ_J(θ(τ_k)), Φ the homogeneous propagator and
S_k = −D_k Φ(T, τ_k) g_k = ∂z(T)/∂τ_k. c is the price of one unit of ∫ε dt.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ._linear import LinearControl, Vector, bang_bang_ends, paths


class Bang(NamedTuple):
    """ε = first, 1 − first, … on (s, T), changing at the sorted `switches`."""

    first: int
    switches: Vector

    def at(self, times: Vector) -> Vector:
        """ε at the times (where no switch falls)."""
        return ((self.first + np.searchsorted(self.switches, times)) % 2).astype(float)


class Derivatives(NamedTuple):
    """The objective of a `Bang` (energy plus price), its gradient (k,) and Hessian (k, k) in the switch times."""

    value: float
    gradient: Vector
    hessian: Vector


@dataclass(frozen=True)
class Window:
    """The free interval [s, T] of a linear control system, from z(s); `price` is c."""

    control: LinearControl
    s: float
    t1: float
    begin: Vector
    price: float = 0.0

    @property
    def length(self) -> float:
        """T − s."""
        return self.t1 - self.s

    def value(self, bang: Bang) -> float:
        """The objective: E + c ∫_s^T ε dt."""
        return float(self.values(bang.first, bang.switches[None])[0])

    def values(self, first: int, switches: Vector) -> Vector:
        """The objective of each row of sorted `switches` (rows, k)."""
        priced = self.price * time_on(first, switches, self.s, self.t1) if self.price else 0.0
        return np.asarray(self.control.energy(self.ends(first, switches)) + priced)

    def ends(self, first: int, switches: Vector) -> Vector:
        """z(T) (rows, dim) for each row of sorted `switches` (rows, k): products and exponentials only."""
        return bang_bang_ends(self.control, self.begin, first, switches, self.s, self.t1)

    def evaluate(self, bang: Bang) -> Derivatives:
        """The objective with its exact derivatives."""
        control, count = self.control, len(bang.switches)
        phases = (control.keep, control.full)
        edges = np.concatenate([[self.s], bang.switches, [self.t1]])
        epsilons = [(bang.first + k) % 2 for k in range(count + 1)]
        lengths = np.diff(edges)
        flows = [phases[e].propagator(length) for e, length in zip(epsilons, lengths, strict=True)]
        coupling = control.deleted_hessian
        z = phases[epsilons[0]].rest + flows[0] @ (self.begin - phases[epsilons[0]].rest)
        states, gradients = np.empty((2, count, len(z)))
        # Columns: ∂z/∂τ_i carried forward; what they are at τ_j is needed for the mixed derivatives.
        moved = np.zeros((len(z), count))
        mixed = np.zeros((count, len(z), count))
        for k in range(count):
            jump = epsilons[k] - epsilons[k + 1]
            states[k], gradients[k] = z, coupling @ z - control.pull
            mixed[k] = coupling @ moved
            moved[:, k] = -jump * gradients[k]
            moved = flows[k + 1] @ moved
            rest = phases[epsilons[k + 1]].rest
            z = rest + flows[k + 1] @ (z - rest)
        p = control.weighted(z)
        weighted = control.weighted(moved.T)
        hessian = weighted @ moved
        gradient = weighted @ z
        if self.price:
            gradient = gradient + self.price * np.array([epsilons[k] - epsilons[k + 1] for k in range(count)])
        for k in range(count - 1, -1, -1):
            p = flows[k + 1] @ p
            jump = epsilons[k] - epsilons[k + 1]
            g = gradients[k]
            across = -jump * (p @ mixed[k])
            hessian[k] += across
            hessian[:, k] += across
            # τ_k itself: Φ(T, τ_k) lengthens under ε₊, z(τ_k) moves under ε₋.
            slope = phases[epsilons[k]].drive - phases[epsilons[k]].hessian @ states[k]
            hessian[k, k] -= jump * (p @ (phases[epsilons[k + 1]].hessian @ g + coupling @ slope))
        priced = self.price * float(lengths @ epsilons)
        return Derivatives(float(control.energy(z)) + priced, gradient, hessian)

    def sigma(self, bang: Bang, times: Vector) -> Vector:
        """σ(t) at sorted `times` in [s, T]."""
        edges = np.concatenate([[self.s], bang.switches, [self.t1]])
        epsilons = ((bang.first + np.arange(len(edges) - 1)) % 2).astype(float)
        z, p = paths(self.control, self.begin, edges, epsilons, times)
        return self.price - np.sum(p * self.control.deleted_gradient(z), axis=1)


def window(control: LinearControl, s: float, t1: float, price: float = 0.0) -> Window:
    """[s, T], entered after ε = 1 on [0, s]."""
    return Window(control, s, t1, control.full.flow(control.start, np.array([s]))[0], price)


def time_on(first: int, switches: Vector, s: float, t1: float) -> Vector:
    """∫_s^T ε dt for each row of sorted `switches` (rows, k)."""
    ends = np.zeros((len(switches), 1))
    lengths = np.diff(np.concatenate([ends + s, switches, ends + t1], axis=1), axis=1)
    return lengths[:, (1 - first) :: 2].sum(axis=1)
