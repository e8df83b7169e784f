"""Least squares without each point in turn: one factorisation for all n, and a fit of its own where that would not do.

    θ*₋ᵢ = θ* − H⁻¹J_iᵀr_i,   r_i = e_i/(1 − h_i)              (Hayashi 2000, §1.4; mathematics §3)

Notation: e_i = y_i − J_iθ* `residual`, h_i `leverage` of one output, r_i = y_i − J_iθ*₋ᵢ `deleted_residual`.
Where 1 − h_i is small, e_i and 1 − h_i are both differences of nearly equal numbers, and their quotient is rounding;
Σh_i ≤ rank, so such rows are few, and each is solved without its point. There e_i = (1 − h_i)r_i with
1 − h_i = 1/(1 + J_iH₋⁻¹J_iᵀ), which have all their digits.
"""

import dataclasses
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._errors import RequestError
from ..problem import Problem
from ._curvature import Curvature, Factor, factor
from ._endpoint import Endpoint, Outcome, proven, require_dense
from ._frame import frame, jacobian_rows, null_losses, spectrum
from ._objectives import WeightedRisk
from ._optimum import closed_form
from ._points import outputs_per_point

# Below this 1 − h_i the closed form has lost four digits more than the fit itself.
_NEAR = 1e-4
_KIND = "all leave-one-out"


class Deletion(NamedTuple):
    """What deleting each point alone does to a least-squares fit.

    `leverage` h_i of one output, in [0, 1]; `residual` e_i; `deleted_residual` r_i = e_i/(1 − h_i), what the fit without
    the point leaves of its target, NaN where that fit does not determine it (h_i = 1); `outcome` an `Outcome` per row,
    CONVERGED where r_i is right; `left` 1 − h_i, with its own digits where h_i is nearly 1.
    """

    leverage: Float[Array, " n"]
    residual: Float[Array, "n outputs"]
    deleted_residual: Float[Array, "n outputs"]
    outcome: Int[Array, " n"]
    left: Float[Array, " n"]


def deletion(problem: Problem, *, theta: Any = None) -> Deletion:
    """Leverage, residual and deleted residual of every point of a linear regression, O(nd² + d³) for all of them.

    `theta` (dim,) is where the fit starts, which matters only where H is singular; the deleted set of `problem` plays
    no part. Raises `RequestError` for another risk than linear regression's.
    """
    return deletions(problem, theta)[0]


def deletions(problem: Problem, theta: Any = None) -> tuple[Deletion, Endpoint]:
    """`deletion`, and θ*₋ᵢ of every row with its proof (leading axis n): θ NaN where the rest does not determine it."""
    if not problem.least_squares:
        raise RequestError("deletion is for linear regression with squared loss; use leave_one_out_all")
    require_dense(problem, "deletion")
    start = jnp.zeros(problem.dim) if theta is None else problem.check_theta(theta, "theta")
    whole = closed_form(problem, jnp.ones(()), start)
    found = factor(Curvature(problem, whole.theta))
    outputs, rank = outputs_per_point(problem), int((~found.flat).sum())
    each, ends = _by_formula(problem, whole, found)
    poor = (np.asarray(each.left) < _NEAR) | (bool(whole.converged) & ~np.asarray(ends.converged))
    if (problem.n - 1) * outputs < rank and float(problem.ridge) == 0:  # too few points are left, whichever goes
        each = _undetermined(each, jnp.ones(problem.n, bool))
    else:
        for row in np.flatnonzero(poor):
            alone = _directly(problem.deleting(int(row)), whole.theta, rank)
            each, ends = jax.tree.map(lambda leaf, new, row=row: leaf.at[row].set(new), (each, ends), alone)
    return each, _without_theta(ends, (each.outcome == int(Outcome.UNDETERMINED)) | jnp.any(found.flat))


@eqx.filter_jit
def _by_formula(problem: Problem, whole: Endpoint, found: Factor) -> tuple[Deletion, Endpoint]:
    rows = jacobian_rows(problem)
    targets = problem.data.y.reshape(problem.n, -1)
    halves = jax.vmap(found.half)(rows[:, 0])
    leverage = jnp.minimum(jnp.sum(halves**2, axis=1), 1.0)
    left = 1.0 - leverage
    divisor = jnp.where(left > 0, left, 1.0)
    residual = targets - rows @ whole.theta
    deleted = residual / divisor[:, None]
    gradient = problem.gradient(whole.theta)
    squares = 2.0 * null_losses(problem)
    unit = jnp.sqrt(sums_of_others(squares))
    all_of_it, steepest, size = jnp.sqrt(jnp.sum(squares)), jnp.max(found.rates), jnp.linalg.norm

    def one(row, residual, deleted, left, divisor, target, unit):
        move = found.solve(residual @ row) / divisor
        theta = whole.theta - move
        # ∇R₋(θ₋) = ∇R(θ*) − H(θ* − θ₋) + J_iᵀ(y_i − J_iθ₋), in the frame.
        slope = found.scale * (gradient + (target - row @ theta) @ row) - found.matrix @ (move / found.scale)
        start = gradient + residual @ row
        inside = found.solve(slope / found.scale)
        step = inside + found.solve(row.T @ (row @ inside)) / divisor
        decrement = jnp.sqrt(jnp.abs(jnp.dot(slope, step / found.scale)))
        # What the base fit is off by is carried over by at most 1 + √(h/(1 − h)); so is its condition number.
        rounding = 2.0 * whole.prediction_error * all_of_it / jnp.sqrt(divisor)
        off = (decrement + rounding) / jnp.where(unit > 0, unit, 1.0)
        length = size(theta / found.scale)
        return proven(
            finite=jnp.all(jnp.isfinite(theta)),
            norm=size(slope),
            measure=unit + size(found.scale * start) + steepest * length,
            left=size(step / found.scale),
            size=unit + length,
            smallest=whole.smallest_eigenvalue * left,
            off=off,
            theta=theta,
            gradient_norm=size(slope / found.scale),
            iterations=jnp.zeros((), int),
            value=jnp.maximum(whole.value - 0.5 * jnp.dot(residual, deleted), 0.0),
            error=size(step),
            start_gradient_norm=size(start),
            condition=whole.condition / jnp.sqrt(divisor),
            kind=_KIND,
        )

    ends = jax.vmap(one)(rows, residual, deleted, left, divisor, targets, unit)
    return Deletion(leverage, residual, deleted, ends.outcome, left), ends


@eqx.filter_jit
def _directly(problem: Problem, theta: Array, rank: int) -> tuple[Deletion, Endpoint]:
    """One row from the fit without it (`problem` deletes it), and whether that fit has lost a rank."""
    none = jnp.zeros(())
    end = dataclasses.replace(closed_form(problem, none, theta), kind=_KIND)
    objective = WeightedRisk(problem, none)
    here = frame(objective, problem.dim)
    found = spectrum(objective, here, jnp.zeros(problem.dim))
    row = jacobian_rows(problem)[problem.delete[0]]
    half = jnp.where(found.flat, 0.0, found.vectors.T @ (here.scale * row[0]))
    grown = jnp.sum(half**2 / jnp.where(found.flat, 1.0, found.rates))
    left = 1.0 / (1.0 + grown)
    deleted = problem.data.y[problem.delete[0]].reshape(-1) - row @ end.theta
    each = Deletion(grown * left, left * deleted, deleted, end.outcome, left)
    return _undetermined(each, jnp.sum(~found.flat) < rank), end


def _undetermined(each: Deletion, where: Array) -> Deletion:
    """0/0 in these rows: the point has leverage 1, is fitted exactly, and nothing else says anything about it."""
    across = where[..., None]
    return Deletion(
        leverage=jnp.where(where, 1.0, each.leverage),
        residual=jnp.where(across, 0.0, each.residual),
        deleted_residual=jnp.where(across, jnp.nan, each.deleted_residual),
        outcome=jnp.where(where, int(Outcome.UNDETERMINED), each.outcome),
        left=jnp.where(where, 0.0, each.left),
    )


def _without_theta(ends: Endpoint, where: Array) -> Endpoint:
    return dataclasses.replace(
        ends,
        theta=jnp.where(where[:, None], jnp.nan, ends.theta),
        outcome=jnp.where(where, int(Outcome.UNDETERMINED), ends.outcome),
        smallest_eigenvalue=jnp.where(where, 0.0, ends.smallest_eigenvalue),
    )


def sums_of_others(values: Float[Array, " n"]) -> Float[Array, " n"]:
    """Σ_{k≠i} v_k of values ≥ 0, from the sums before and after i: nothing cancels where one value is all there is."""
    edge = jnp.zeros(1)
    before = jnp.concatenate([edge, jnp.cumsum(values)[:-1]])
    after = jnp.concatenate([jnp.cumsum(values[::-1])[::-1][1:], edge])
    return before + after
