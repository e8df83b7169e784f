"""The convex dual certificate: a lower bound on E over *every* admissible ε(t), for linear regression (mathematics §7).

While the deleted residual r = r_j − x_jᵀz keeps its sign, u = εr makes the problem convex. For any q, with
λ(T) = q, λ̇ = (H₋ + ε x_jx_jᵀ)λ backwards and ε = 1[x_jᵀλ < 0] (the sign of (x_j, r_j) flipped so that r ≥ 0),

    qᵀz(T) ≥ λ(s)ᵀz(s) + r_j ∫_s^T ε x_jᵀλ dt,

so E* ≥ D(q) = the right-hand side − ½ qᵀM⁻¹q, with equality at q = Mz(T) of an optimal schedule. The same bound with
q = ∓x_j at every time t certifies that r keeps its sign under every admissible schedule. h = T − t runs backwards.

Every x_jᵀλ is a sum of exponentials on an arc. A cell of the time grid on which it might be 0 twice without showing it
is divided until what could be lost is below rounding, and that is subtracted: the bound is safe, not only accurate.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._linear import LinearControl, Phase, Vector
from ._roots import zero_between
from ._switching import Window

_CELLS = 160  # of the grid on which an arc is searched for sign changes
_DIVIDE, _DEPTH = 24, 3  # a doubtful cell is divided into so many, so often
_MAX_ARCS = 200
# Rounding of sums, and of exponentials: an eigenvalue is known to ε·λ_max, so its decay over L to ε·λ_max·L.
_ROUNDING, _DECAY_ROUNDING = 64 * np.finfo(float).eps, 8 * np.finfo(float).eps


class _Arc(NamedTuple):
    """λ(h) = V e^{−Λ(h−start)} modes on [start, end], under `epsilon`."""

    start: float
    end: float
    epsilon: int
    phase: Phase
    modes: Vector


def dual_bound(window: Window, end: Vector) -> float | None:
    """D(Mz(T)) less its rounding, for z(T) = `end` of a schedule; None where the residual may change its sign."""
    control = window.control
    if control.single is None or window.price or control.keep.drive.any():
        return None
    x, r = control.single
    now = r - x @ window.begin
    if now == 0:
        return None
    if now < 0:
        x, r = -x, -r
    if not keeps_sign(control, x, r, window.begin, window.length):
        return None
    q = control.weighted(end)
    arcs, doubt = _sweep(control, x, q, window.length)
    last, total, size = _propagate(arcs[-1], arcs[-1].end), 0.0, 0.0
    for arc in arcs:
        if arc.epsilon:
            integrals = _integrals(arc.phase.rates, arc.end - arc.start) * arc.modes * (arc.phase.vectors.T @ x)
            total += r * float(np.sum(integrals))
            size += abs(r) * float(np.sum(np.abs(integrals)))
    conjugate = float(control.energy(end))
    terms = float(np.abs(last) @ np.abs(window.begin)) + size + conjugate
    margin = (_ROUNDING + _DECAY_ROUNDING * control.fastest * window.length) * terms
    largest = abs(r) + float(np.linalg.norm(x)) * reach(window)
    return float(last @ window.begin + total - conjugate - margin - doubt * largest)


def keeps_sign(control: LinearControl, x: Vector, r: float, z: Vector, length: float) -> bool:
    """Whether r_j − x_jᵀz(t) > 0 on all of [s, s + length] from z(s) = `z`, whatever the admissible ε(t)."""
    arcs, doubt = _sweep(control, x, -x, length)
    floor = doubt * (abs(r) + float(np.linalg.norm(x) * np.linalg.norm(z)))
    total = r
    for arc in arcs:
        rates, vectors = arc.phase.rates, arc.phase.vectors
        # m(h) = r_j + λ(h)ᵀz + r_j ∫ ε x_jᵀλ, the least r at time s + h, is a constant and a sum of exponentials.
        start = arc.modes * (vectors.T @ z)
        pushed = arc.epsilon * r * arc.modes * (vectors.T @ x)

        def least(lengths: Vector, total=total, rates=rates, start=start, pushed=pushed) -> Vector:
            decay = np.exp(-np.multiply.outer(lengths, rates))
            return total + decay @ start + (_integrals(rates, lengths) @ pushed if pushed.any() else 0.0)

        def bend(lengths: Vector, rates=rates, start=start, pushed=pushed) -> Vector:
            weights = np.abs(rates * (rates * start - pushed))
            return np.exp(-np.multiply.outer(lengths, rates)) @ weights

        cells = _grid(arc.end - arc.start, rates)
        for _ in range(_DEPTH):
            low = least(cells)
            if (low <= floor).any():
                return False
            slack = np.diff(cells) ** 2 / 8 * bend(cells[:-1])
            doubtful = np.minimum(low[:-1], low[1:]) - slack <= floor
            if not doubtful.any():
                break
            cells = np.unique(np.concatenate([cells, *_divided(cells, doubtful)]))
        else:
            return False
        total += float(np.sum(_integrals(rates, arc.end - arc.start) * pushed))
    return True


def reach(window: Window) -> float:
    """A bound on ‖z(t)‖ under every admissible schedule: d‖z‖²/dt ≤ Σ_j r_j²/2 + 2‖z‖‖b₋‖."""
    control = window.control
    residuals = np.linalg.lstsq(*_deleted_rows(control), rcond=None)[0]
    bent = np.sqrt(window.begin @ window.begin + 0.5 * float(residuals @ residuals) * window.length)
    return float(bent + np.linalg.norm(control.keep.drive) * window.length)


def _deleted_rows(control: LinearControl) -> tuple[Vector, Vector]:
    """X_Jᵀ (a square root of G) and a = X_Jᵀ r: the least r that gives a."""
    rates, vectors = np.linalg.eigh(control.deleted_hessian)
    return vectors * np.sqrt(np.maximum(rates, 0.0)), control.pull


def _sweep(control: LinearControl, x: Vector, q: Vector, length: float) -> tuple[list[_Arc], float]:
    """λ(h) from λ(0) = q on [0, length], and a bound on ∫|x_jᵀλ| where ε may have the wrong value."""
    arcs: list[_Arc] = []
    phases = (control.keep, control.full)
    at, costate, doubt = 0.0, q, 0.0
    product = float(x @ q)
    if product == 0:
        product = -float(x @ (control.keep.hessian @ q))
    epsilon = int(product < 0)
    while at < length:
        phase = phases[epsilon]
        modes = phase.vectors.T @ costate
        weights = modes * (phase.vectors.T @ x)
        root, lost = _first_root(weights, phase.rates, length - at, -1.0 if epsilon else 1.0, bool(arcs))
        doubt += lost
        end = length if root is None or len(arcs) > _MAX_ARCS else at + root
        arcs.append(_Arc(at, end, epsilon, phase, modes))
        if end >= length:
            break
        costate, at, epsilon = _propagate(arcs[-1], end), end, 1 - epsilon
    return arcs, doubt if len(arcs) <= _MAX_ARCS else np.inf


def _first_root(
    weights: Vector, rates: Vector, length: float, sign: float, from_root: bool
) -> tuple[float | None, float]:
    """The first h where f(h) = Σ weights·e^{−rates·h} leaves `sign`, and what a hidden pair of roots could hold."""

    # An arc that starts at a root starts at exactly 0: what is left of f(0) there is rounding.
    def value(h: Vector) -> Vector:
        decay = np.expm1(-np.multiply.outer(h, rates)) if from_root else np.exp(-np.multiply.outer(h, rates))
        return sign * (decay @ weights)

    def slope(h: float) -> float:
        """f(h)/h, from h = 0 on."""
        return float(value(np.array([h]))[0]) / h if h else -sign * float(rates @ weights)

    cells, lost = _grid(length, rates), 0.0
    for _ in range(_DEPTH):
        values = value(cells)
        crossed = np.flatnonzero(values[1:] < 0)
        last = int(crossed[0]) + 1 if len(crossed) else len(cells) - 1
        bend = np.exp(-np.multiply.outer(cells[:last], rates)) @ (np.abs(weights) * rates**2)
        width = np.diff(cells[: last + 1])
        dip = width**2 / 8 * bend
        doubtful = np.minimum(values[:last], values[1 : last + 1]) < dip
        lost = float(np.sum((width * dip)[doubtful]))
        if not doubtful.any():
            break
        cells = np.unique(np.concatenate([cells, *_divided(cells[: last + 1], doubtful)]))
    crossed = np.flatnonzero(value(cells)[1:] < 0)
    if not len(crossed):
        return None, lost
    left, right = cells[crossed[0]], cells[crossed[0] + 1]
    tight = {"xtol": 1e-16 * length, "rtol": 1e-15}
    if left == 0 and slope(0.0) <= 0:
        return 0.0, lost  # no arc at all: the caller turns back
    if left == 0 and from_root:
        return zero_between(slope, 0.0, right, **tight), lost
    return zero_between(lambda h: float(value(np.array([h]))[0]), left, right, **tight), lost


def _divided(cells: Vector, doubtful: NDArray[np.bool_]) -> list[Vector]:
    return [np.linspace(cells[k], cells[k + 1], _DIVIDE + 1)[1:-1] for k in np.flatnonzero(doubtful)]


def _grid(length: float, rates: Vector) -> Vector:
    """Cells that grow from 0, where the fast modes live, to `length`."""
    scale = min(length, 1.0 / max(rates[-1], 1.0 / length))
    return np.unique(np.concatenate([np.linspace(0, length, _CELLS), np.linspace(0, min(8 * scale, length), _CELLS)]))


def _propagate(arc: _Arc, h: float) -> Vector:
    return arc.phase.vectors @ (np.exp(-arc.phase.rates * (h - arc.start)) * arc.modes)


def _integrals(rates: Vector, lengths: Vector | float) -> Vector:
    """∫_0^length e^{−λh} dh for each rate λ, and for each of `lengths`."""
    moving = rates > 0
    grown = np.expm1(-np.multiply.outer(lengths, rates)) / -np.where(moving, rates, 1.0)
    return np.where(moving, grown, np.asarray(lengths)[..., None])
