"""The units of the columns, taken out: every solve of a model that is linear in θ works in columns of equal size.

With J_i the output Jacobian of point i and W_i = ∇²_ŷ ℓ_i = L_iL_iᵀ, the Hessian of such a model is AᵀA, where A has
the rows √w_i L_iᵀJ_i and √(shift) I. Forming AᵀA loses half of the digits, and the units of a column decide its rank.
Here the columns of A are divided by powers of two (exact), and rank, rates and solves are read off its triangular
factor: A D = QR and R = UΣVᵀ. Networks keep their own θ, and their Hessian its eigenvectors.

Notation: θ = Dθ′, D `scale`, H′ = DHD = VΛV ᵀ with Λ = Σ² `rates`; a primed quantity lives in the frame.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeGuard

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._columns import column_scales
from .._factorise import singular_rows, spectral_norm
from ..problem import Problem
from ._objectives import AbstractObjective
from ._points import output_factor, prediction

Objective = Callable[[Array], Array]


class Frame(NamedTuple):
    """D, and the natural size u of θ′ and of ∇′: √(2Σ w_i ℓ_i) of the prediction 0. Networks: D = 1 and u = 1."""

    scale: Float[Array, " dim"]
    unit: Float[Array, ""]


class Spectrum(NamedTuple):
    """H′ = VΛVᵀ: rates from small to large, columns V; `flat` marks rates within rounding of 0. `half` is UᵀQᵀb."""

    rates: Float[Array, " dim"]
    vectors: Float[Array, "dim dim"]
    flat: Bool[Array, " dim"]
    half: Float[Array, " dim"]


def is_linear(objective: Objective) -> TypeGuard[AbstractObjective]:
    """Whether the objective is that of a model whose prediction is linear in θ."""
    return isinstance(objective, AbstractObjective) and objective.problem.model.linear


def frame(objective: Objective, dim: int) -> Frame:
    """The frame of an objective."""
    if not is_linear(objective):
        return Frame(jnp.ones(dim), jnp.ones(()))
    weights, shift = objective.terms()
    rows = jnp.sqrt(weights)[:, None, None] * jacobian_rows(objective.problem)
    scales = column_scales(_stacked(rows, shift))
    return Frame(1.0 / jnp.asarray(scales), jnp.sqrt(2.0 * jnp.dot(weights, null_losses(objective.problem))))


def null_losses(problem: Problem) -> Float[Array, " n"]:
    """ℓ_i of the prediction 0: what an error of the predictions is held against."""
    return jax.vmap(lambda target: problem.loss.value(jnp.zeros(problem.output_shape), target))(problem.data.y)


def jacobian_rows(problem: Problem) -> Float[Array, "n outputs dim"]:
    """J_i of a model that is linear in θ."""
    return jax.vmap(jax.jacrev(partial(prediction, problem)), in_axes=(None, 0))(jnp.zeros(problem.dim), problem.data.x)


def spectrum(objective: Objective, here: Frame, theta: Float[Array, " dim"], *, targets: bool = False) -> Spectrum:
    """The Hessian of `objective` at θ′, in the frame; `targets` asks for `half`, with b the targets (squared loss)."""
    if is_linear(objective):
        return _from_rows(objective, here, theta, targets)
    hessian = jax.hessian(framed(objective, here))(theta)
    fine = jnp.all(jnp.isfinite(hessian))
    rates, vectors = jnp.linalg.eigh(jnp.where(fine, 0.5 * (hessian + hessian.T), 0.0))
    floor = 10 * rates.shape[0] * jnp.finfo(rates.dtype).eps * jnp.max(jnp.abs(rates))
    return Spectrum(rates, vectors, jnp.abs(rates) <= floor, jnp.zeros_like(rates))


def framed(objective: Objective, here: Frame) -> Objective:
    """The objective as a function of θ′."""
    return lambda theta: objective(here.scale * theta)


def _from_rows(objective: AbstractObjective, here: Frame, theta: Array, targets: bool) -> Spectrum:
    problem = objective.problem
    weights, shift = objective.terms()
    outputs = problem.predict(here.scale * theta)
    factors = jax.vmap(lambda output, target: output_factor(problem, output, target))(outputs, problem.data.y)
    roots = jnp.sqrt(weights)
    rows = jnp.einsum("nkc,nkd->ncd", roots[:, None, None] * factors, jacobian_rows(problem))
    table = _stacked(rows, shift) * here.scale[None]
    dim = table.shape[1]
    sides = jnp.zeros((table.shape[0], 0))
    if targets:
        wanted = (roots[:, None] * problem.data.y.reshape(problem.n, -1)).reshape(-1)
        sides = jnp.concatenate([wanted, jnp.zeros(dim)])[:, None]
    found = singular_rows(table, sides)
    half = found.sides[:, 0] if targets else jnp.zeros(dim)
    rates = jnp.where(found.flat, 0.0, found.sizes**2)
    return Spectrum(rates[::-1], found.vectors[:, ::-1], found.flat[::-1], half[::-1])


def _stacked(rows: Float[Array, "n outputs dim"], shift: Array) -> Float[Array, "m dim"]:
    dim = rows.shape[-1]
    return jnp.concatenate([rows.reshape(-1, dim), jnp.sqrt(shift) * jnp.eye(dim)])


def smallest_rate(here: Frame, rates: Array, vectors: Array, flat: Array) -> Float[Array, ""]:
    """λ_min(H) in the user's units: 1/λ_max(H⁻¹) where H ≻ 0, which keeps its digits; 0 where H is singular."""
    lowest = jnp.where(flat[0], 0.0, rates[0])
    definite = lowest > 0
    roots = here.scale[:, None] * vectors / jnp.sqrt(jnp.where(definite, rates, 1.0))[None]
    own = jnp.all(here.scale == 1.0)  # then the rates are H's own
    return jnp.where(definite & ~own, 1.0 / spectral_norm(roots) ** 2, lowest)


def condition(rates: Array, flat: Array) -> Float[Array, ""]:
    """The condition number of A D, √(λ_max/λ_min) over the rates that are not flat."""
    sizes = jnp.abs(rates)
    lowest = jnp.min(jnp.where(flat, jnp.inf, sizes))
    return jnp.sqrt(jnp.max(sizes) / jnp.where(jnp.isfinite(lowest) & (lowest > 0), lowest, 1.0))


def rounding_error(objective: Objective, here: Frame, theta: Array, condition: Array) -> Float[Array, ""]:
    """What rounding alone may do to the predictions of a solve, relative to u: eps·(‖ |J||θ| ‖ + cond·‖residual‖)/u.

    Wedin's bound for least squares (Björck 1996, §1.4): the fitted values inherit the condition number times the part
    of the targets that is not fitted. 0 for networks, which are judged by their own Hessian.
    """
    if not is_linear(objective):
        return jnp.zeros(())
    problem = objective.problem
    weights, _ = objective.terms()
    theta = here.scale * theta
    left_over = jax.vmap(jax.grad(problem.loss.value))(problem.predict(theta), problem.data.y)
    spread = jnp.abs(jacobian_rows(problem)) @ jnp.abs(theta)

    def size(rows):
        return jnp.sqrt(jnp.dot(weights, jnp.sum(rows.reshape(problem.n, -1) ** 2, axis=1)))

    rounding = jnp.finfo(float).eps * (size(spread) + condition * size(left_over))
    return jnp.where(here.unit > 0, rounding / jnp.where(here.unit > 0, here.unit, 1.0), 0.0)
