"""All leave-one-out optima of a convex risk at once, from the factors of one Hessian.

    H₋ᵢ⁻¹ = H⁻¹ + H⁻¹J_iᵀ(I − W_iS_i)⁻¹W_iJ_iH⁻¹,   S_i = J_iH⁻¹J_iᵀ               (Woodbury)

θ − H₋ᵢ⁻¹∇R₋ᵢ from θ*, where ∇R₋ᵢ = ∇R − ∇ℓ_i costs nothing: the first step is the leverage-corrected influence. Then
chord steps with the same factors, Anderson-accelerated, a chunk of rows at a time; the rows are sorted by their first
step, so that a chunk does not wait for one hard row.

The proof is of the Hessian *at the end*, of which the shared one is a bound: the logistic losses are self-concordant
(Bach 2010), ∇²R₋ᵢ(θ) ⪰ e^{−s}∇²R₋ᵢ(θ*), s the largest spread max − min of a point's logits' change (beside class 0's).
Where that bound does not prove a row, it gets Newton steps of its own, and its own Hessian.
"""

from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._factorise import solve_small
from ..problem import CrossEntropyLoss, LogisticLoss, Problem, SquaredLoss
from ._curvature import Factor
from ._deletion import sums_of_others
from ._endpoint import NEARNESS, STATIONARITY, Endpoint, proven
from ._frame import Frame, condition, null_losses, rounding_error, smallest_rate
from ._newton import minimise
from ._objectives import WeightedRisk
from ._points import Point, point

# Rows that take their steps together: few, so that their predictions stay in a core's cache and none waits long; and how
# many steps: a row that needs more is better served by a Hessian of its own.
_CHUNK, _STEPS = 32, 20
# The step at which to stop, and the one that the bound e^s must prove, relative to ‖θ′‖: less than an endpoint's
# NEARNESS, since these steps converge linearly.
_NEAR, _PROVEN = 1e-10, 1e-7


class _Row(NamedTuple):
    """What a row's steps need: `which` it is, ∇R₋ᵢ(θ*), H⁻¹J_iᵀ `pulled`, (I − W_iS_i)⁻¹W_iJ_i `back`, `left` = 1 − h_i, and
    `unit`, the frame's u of the other points."""

    which: Int[Array, "*n"]
    slope: Float[Array, "*n dim"]
    pulled: Float[Array, "*n outputs dim"]
    back: Float[Array, "*n outputs dim"]
    left: Float[Array, "*n"]
    unit: Float[Array, "*n"]

    def inverse(self, whole: Float[Array, "dim dim"], v: Float[Array, " dim"]) -> Float[Array, " dim"]:
        """H₋ᵢ⁻¹v, from H⁻¹ `whole`: a corrector only has to contract, and one product with the inverse is the cheapest."""
        solved = whole @ v
        return solved + (self.back @ solved) @ self.pulled


@eqx.filter_jit
def chord_rows(problem: Problem, theta: Float[Array, " dim"], found: Factor) -> Endpoint:
    """θ*₋ᵢ and its proof for every point i, from θ near θ* and the factors of ∇²R(θ)."""
    n, one = problem.n, jnp.ones(())
    squares = 2.0 * null_losses(problem)
    inverse = jax.vmap(found.solve)(jnp.eye(theta.shape[0]))
    gradient, units = problem.gradient(theta), jnp.sqrt(sums_of_others(squares))
    points = jax.vmap(lambda x, y: point(problem, theta, x, y))(problem.data.x, problem.data.y)
    rows = jax.vmap(lambda i, here, unit: _prepared(found, gradient, i, here, unit))(jnp.arange(n), points, units)
    # Newton's decrement of the first step: how hard a row is.
    order = jnp.argsort(jax.vmap(lambda row: jnp.dot(row.slope, row.inverse(inverse, row.slope)))(rows))
    chunks = jnp.resize(order, (-(-n // _CHUNK), _CHUNK))  # the last is filled up with rows that come first
    whole = Frame(found.scale, jnp.sqrt(jnp.sum(squares)))
    size = condition(found.rates, found.flat)
    lowest = smallest_rate(whole, found.rates, found.vectors, found.flat)
    rounding = whole.unit * rounding_error(WeightedRisk(problem, one), whole, theta / found.scale, size)
    base = (size, lowest, rounding, problem.predict(theta))
    chunk = jax.vmap(lambda row: _row(problem, theta, found, inverse, base, row))
    ends = jax.lax.map(lambda index: chunk(jax.tree.map(lambda leaf: leaf[index], rows)), chunks)
    at = jnp.argsort(order)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[at], ends)


@eqx.filter_jit
def newton_rows(
    problem: Problem, theta: Array, ends: Endpoint, starts: Array, rows: Array, count: Array, steps: Array
) -> Endpoint:
    """`ends` with its first `count` rows among `rows` (n,) found anew: by at most that many Newton steps of their own
    from `starts` (n, dim), and their own Hessians. θ* is what they are measured against."""

    def one(k, ends):
        row = rows[k]
        objective = WeightedRisk(problem.deleting(row[None]), jnp.zeros(()))
        end = minimise(objective, starts[row], origin=theta, max_iterations=steps, kind=ends.kind)
        return jax.tree.map(lambda leaf, new: leaf.at[row].set(new), ends, end)

    return jax.lax.fori_loop(0, count, one, ends)


def _prepared(found: Factor, gradient: Array, index: Array, here: Point, unit: Array) -> _Row:
    pulled = jax.vmap(found.solve)(here.jacobian)
    product = here.bend @ here.jacobian @ pulled.T
    back = solve_small(jnp.eye(product.shape[0]) - product, here.bend @ here.jacobian)
    left = jnp.maximum(1.0 - jnp.trace(product), 0.0)
    return _Row(index, gradient - here.slope @ here.jacobian, pulled, back, left, unit)


def _spread(problem: Problem, change: Float[Array, "n ..."]) -> Float[Array, " n"]:
    """s of every point for a change of its outputs; infinite for a loss of which no bound is known."""
    change = change.reshape(problem.n, -1)
    if isinstance(problem.loss, SquaredLoss):
        return jnp.zeros(problem.n)
    if isinstance(problem.loss, LogisticLoss):
        return jnp.max(jnp.abs(change), axis=1)
    if isinstance(problem.loss, CrossEntropyLoss):
        return jnp.max(change, axis=1) - jnp.min(change, axis=1)
    return jnp.full(problem.n, jnp.inf)


def _row(problem: Problem, theta: Array, found: Factor, whole: Array, base, row: _Row) -> Endpoint:
    size, lowest, rounding, outputs = base
    unit, left, slope = row.unit, row.left, row.slope
    others = jnp.arange(problem.n) != row.which
    inverse = partial(row.inverse, whole)

    def norm_of(slope):
        return jnp.linalg.norm(found.scale * slope)

    initial = norm_of(slope)
    measure = unit + initial + jnp.max(found.rates) * jnp.linalg.norm(theta / found.scale)
    target = 1e-2 * STATIONARITY * measure

    def step(state):
        # Anderson's acceleration of depth one: the error of a shared inverse lies mostly along one direction.
        theta, move, last, last_move, best, best_slope, best_norm, k = state
        turned = move - last_move
        length = turned @ turned
        share = jnp.where((k > 0) & (length > 0), (move @ turned) / jnp.where(length > 0, length, 1.0), 0.0)
        trial = theta + move - share * (theta - last + turned)
        slope = jax.grad(problem.weighted_risk)(trial, others.astype(float))
        norm = norm_of(slope)
        better = norm < best_norm
        best, best_slope = jnp.where(better, trial, best), jnp.where(better, slope, best_slope)
        return trial, -inverse(slope), theta, move, best, best_slope, jnp.minimum(norm, best_norm), k + 1

    def unfinished(state):
        far = jnp.linalg.norm(state[1] / found.scale) > _NEAR * (unit + jnp.linalg.norm(state[0] / found.scale))
        return ((state[6] > target) | far) & (state[7] < _STEPS)

    move = -inverse(slope)
    state = (theta, move, theta, move, theta, slope, initial, jnp.zeros((), int))
    *_, end, slope, norm, steps = jax.lax.while_loop(unfinished, step, state)
    left_over = inverse(slope)
    moved = problem.predict(end)
    spread = jnp.max(jnp.where(others, _spread(problem, moved - outputs), 0.0))
    losses = jnp.where(others, jax.vmap(problem.loss.value)(moved, problem.data.y), 0.0)
    grown = jnp.exp(spread)
    decrement = jnp.sqrt(jnp.abs(jnp.dot(slope, left_over)) * grown)
    off = (decrement + rounding / jnp.sqrt(jnp.where(left > 0, left, 1.0))) / jnp.where(unit > 0, unit, 1.0)
    smallest = lowest * left / grown
    return proven(
        finite=jnp.all(jnp.isfinite(end)) & jnp.isfinite(norm),
        norm=norm,
        measure=measure,
        left=grown * jnp.linalg.norm(left_over / found.scale) * (NEARNESS / _PROVEN),
        size=unit + jnp.linalg.norm(end / found.scale),
        smallest=smallest,
        off=jnp.where(left > 0, off, jnp.inf),
        theta=end,
        gradient_norm=jnp.linalg.norm(slope),
        iterations=steps,
        value=jnp.sum(losses) + 0.5 * problem.ridge * jnp.dot(end, end),
        error=grown * jnp.linalg.norm(left_over),
        start_gradient_norm=jnp.linalg.norm(row.slope),
        # e^{−s}H ⪯ H_end ⪯ e^sH: both ends of the spectrum move.
        condition=size * grown / jnp.sqrt(jnp.where(left > 0, left, 1.0)),
        kind="all leave-one-out",
    )
