"""The Hamilton–Jacobi–Bellman equation on a grid, for at most two parameters: a witness independent of the others.

V(t, z) = the least objective from z at time t; V(T, z) = ½ zᵀMz. One step back over δ,

    V(t, z) ≥ min_{ε ∈ {0, 1}} [Ṽ(t + δ, φ_ε(z)) + cεδ] − loss(t, z),

with Ṽ the multilinear interpolation and φ_ε the flow. V is a minimum of quadratics in Φz, every Φ a contraction, so
V − ½μ‖z‖² is concave, μ = λ_max(M), and |∇V| ≤ √(2μV). Hence interpolation errs by at most μ·dim·h²/8, two controls
within a step by at most μ‖φ₁ − φ₀‖²/8, and the bending of the path within it by |∇V| times its size. All three are
subtracted at every point and step: the outcome is a lower bound, coarse for two parameters, but proven.
"""

import numpy as np

from .._errors import RequestError
from ._dual import reach
from ._linear import Vector
from ._switching import Window

_POINTS = {1: 4001, 2: 301}
_STEPS = {1: 400, 2: 80}


def grid_bound(window: Window) -> tuple[float, float]:
    """(lower bound on E*, what the grid's own errors took from it). `RequestError` for more than two parameters."""
    dim = len(window.begin)
    if dim > 2:
        raise RequestError(
            f"certify='hjb' needs at most 2 parameters, but this problem has {dim}; use 'value-function'"
        )
    control, points, steps = window.control, _POINTS[dim], _STEPS[dim]
    mu = 1.0 if control.metric is None else float(np.linalg.eigvalsh(control.metric)[-1])
    axis, spacing = np.linspace(-reach(window), reach(window), points, retstep=True)
    mesh = np.stack(np.meshgrid(*[axis] * dim, indexing="ij"), axis=-1).reshape(-1, dim)
    delta = window.length / steps
    landed = [phase.flow(np.zeros(dim), np.array([delta]))[0] + mesh @ phase.propagator(delta).T
              for phase in (control.keep, control.full)]  # fmt: skip
    # Displacements within one step: `apart` between the two controls, `bent` off the segment between them.
    coupling = control.deleted_hessian
    growth = 1.0 + float(control.full.rates[-1]) * delta
    push = control.deleted_gradient(mesh)
    speed = np.linalg.norm(mesh @ control.full.hessian, axis=1) + np.linalg.norm(control.full.drive)
    speed = np.maximum(speed, np.linalg.norm(mesh @ control.keep.hessian, axis=1))
    apart = np.linalg.norm(push, axis=1) * delta * growth
    turning = 0.25 * np.linalg.norm(push @ control.keep.hessian, axis=1)
    bent = delta**2 * growth * (turning + 0.5 * float(np.linalg.norm(coupling, 2)) * speed)
    fixed = mu * (dim * spacing**2 + apart**2) / 8
    plain = values = np.asarray(control.energy(mesh))
    for step in range(1, steps + 1):
        priced = [_interpolate(values, landed[e], axis, dim) + e * window.price * delta for e in (0, 1)]
        best = np.minimum(*priced)
        # V ≤ what ε = 0 reaches from here bounds the slope of V.
        waited = (
            mesh @ control.keep.propagator(step * delta).T
            + control.keep.flow(np.zeros(dim), np.array([step * delta]))[0]
        )
        slope = np.sqrt(mu) * (np.sqrt(2 * control.energy(waited)) + np.sqrt(mu) * (apart + bent))
        values = np.maximum(best - fixed - slope * bent, 0.0)
        plain = np.minimum(*[_interpolate(plain, landed[e], axis, dim) + e * window.price * delta for e in (0, 1)])
    bound, estimate = (float(_interpolate(v, window.begin[None], axis, dim)[0]) for v in (values, plain))
    return bound, estimate - bound


def _interpolate(values: Vector, at: Vector, axis: Vector, dim: int) -> Vector:
    """Multilinear between grid points; 0, which no objective falls below, outside."""
    spacing = axis[1] - axis[0]
    scaled = (at - axis[0]) / spacing
    inside = ((scaled >= 0) & (scaled <= len(axis) - 1)).all(axis=1)
    scaled = np.clip(scaled, 0, (len(axis) - 1) * (1 - 1e-15))
    low = np.minimum(scaled.astype(int), len(axis) - 2)
    part = scaled - low
    if dim == 1:
        found = values[low[:, 0]] * (1 - part[:, 0]) + values[low[:, 0] + 1] * part[:, 0]
        return np.where(inside, found, 0.0)
    flat = low[:, 0] * len(axis) + low[:, 1]
    a, b = part[:, 0], part[:, 1]
    found = (
        values[flat] * (1 - a) * (1 - b)
        + values[flat + 1] * (1 - a) * b
        + values[flat + len(axis)] * a * (1 - b)
        + values[flat + len(axis) + 1] * a * b
    )
    return np.where(inside, found, 0.0)
