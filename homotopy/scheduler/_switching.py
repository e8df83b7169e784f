"""E of a bang-bang ε(t) with its exact gradient and Hessian in the switch times, for linear regression.

    ∂E/∂τ_k      = D_k σ(τ_k),   σ = −⟨p, ∇ℓ_J⟩ + c                   (mathematics §7)
    ∂²E/∂τ_i∂τ_j = S_iᵀ M S_j + D_i D_j p_jᵀ G Φ(τ_j, τ_i) g_i        (i < j)
    ∂²E/∂τ_j²    = S_jᵀ M S_j − D_j p_jᵀ (H₊ g_j + G ż₋)

with D_k = ε₋ − ε₊ at the switch (− before it, + after it), g_k = ∇ℓ_J(θ(τ_k)), Φ the homogeneous propagator and
S_k = −D_k Φ(T, τ_k) g_k = ∂z(T)/∂τ_k. c is the price of one unit of ∫ε dt.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from .._errors import RequestError
from ._linear import LinearControl, Vector, bang_bang_ends, paths

_EPS = np.finfo(float).eps
_LARGEST, _SMALLEST, _SHORTEST = 1e140, 1e-140, 1e-305


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

    @cached_property
    def baseline(self) -> float:
        """E_b, the energy of 1_[0,s]: what every energy of this window is measured by."""
        return float(np.atleast_1d(self.control.energy(self.ends(0, np.zeros((1, 0)))))[0])

    @cached_property
    def size(self) -> float:
        """√(2E_b), and at least what the slowest modes would leave of a z(s) of this length: the size of z(T)."""
        keep = self.control.keep
        left = keep.vectors * np.exp(-keep.rates * self.length)
        slowest = float(np.sqrt(np.max(np.sum(left * self.control.weighted(left.T).T, axis=0))))
        return max(float(np.sqrt(2.0 * self.baseline)), slowest * float(np.linalg.norm(self.begin)))

    def rounding(self, bang: Bang) -> float:
        """What rounding alone makes of √(2E) at T: that of the sums of every arc, and of the switch times."""
        control, z, left = self.control, self.begin, float(np.linalg.norm(self.begin)) * _EPS
        edges = np.concatenate([[self.s], bang.switches, [self.t1]])
        for k, length in enumerate(np.diff(edges)):
            phase = control.phase(float((bang.first + k) % 2))
            waned = np.exp(-phase.rates * length) * (phase.vectors.T @ z)
            grown = -np.expm1(-phase.rates * length) * phase.settled
            left = left * float(np.exp(-phase.rates[0] * length))
            left += _EPS * float(np.linalg.norm(waned) + np.linalg.norm(grown))
            z = phase.vectors @ (waned + grown)
            left += _EPS * float(edges[k + 1] * np.linalg.norm(control.deleted_gradient(z))) * (k + 2 < len(edges))
        largest = 1.0 if control.metric is None else float(np.linalg.norm(control.metric, 2))
        return left * np.sqrt(largest)

    def noise(self, bang: Bang, value: float) -> float:
        """What rounding makes of an objective: a difference below it decides nothing."""
        rounding = self.rounding(bang)
        return rounding * (float(np.sqrt(2.0 * abs(value))) + 0.5 * rounding) + _EPS * abs(value)

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
        z = flows[0] @ self.begin + phases[epsilons[0]].driven(lengths[0])
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
            z = flows[k + 1] @ z + phases[epsilons[k + 1]].driven(lengths[k + 1])
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


def flip(window: Window, bang: Bang, low: float, high: float) -> Bang:
    """ε replaced by 1 − ε on [low, high]."""
    return tidy(window, Bang(bang.first, np.sort(np.concatenate([bang.switches, [low, high]]))))


def tidy(window: Window, bang: Bang) -> Bang:
    """The same ε without empty arcs."""
    tiny = 1e-13 * window.length
    first = bang.first
    kept: list[float] = []
    for switch in bang.switches:
        if switch >= window.t1 - tiny:
            continue
        if kept and switch - kept[-1] <= tiny:
            kept.pop()
        elif switch <= window.s + tiny:
            first = 1 - first
        else:
            kept.append(float(switch))
    return Bang(first, np.array(kept))


def window(control: LinearControl, s: float, t1: float, price: float = 0.0) -> Window:
    """[s, T], entered after ε = 1 on [0, s]. `RequestError` where squares of what it holds are no numbers."""
    begin = control.full.flow(control.start, np.array([s]))[0]
    size = float(np.abs(begin).max())
    if size <= _LARGEST and control.at_target(begin):  # what is left is the rounding of θ*₋: it decides nothing
        begin, size = np.zeros_like(begin), 0.0
    if not (size == 0 or _SMALLEST <= size <= _LARGEST):
        raise RequestError(
            f"θ(s) − θ*₋ must be between {_SMALLEST:g} and {_LARGEST:g} in size, so that its square is a number, but is "
            f"{size:.3g}; multiply y and θ₀ by a constant: every ε(t) stays what it is"
        )
    if not t1 - s >= _SHORTEST:
        raise RequestError(f"t1 − s must be at least {_SHORTEST:g}, but is {t1 - s:g}; measure time in a smaller unit")
    return Window(control, s, t1, begin, price)


def time_on(first: int, switches: Vector, s: float, t1: float) -> Vector:
    """∫_s^T ε dt for each row of sorted `switches` (rows, k)."""
    ends = np.zeros((len(switches), 1))
    lengths = np.diff(np.concatenate([ends + s, switches, ends + t1], axis=1), axis=1)
    return lengths[:, (1 - first) :: 2].sum(axis=1)
