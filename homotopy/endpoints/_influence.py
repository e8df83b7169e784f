"""Influence: the derivative θ̇(ε) of the optimum by the weight of the deleted points, and the estimates made from it.

    θ̇(ε) = −H_ε⁻¹ ∇ℓ_J(θ(ε))      (implicit function theorem; notes eq. 0.6, mathematics §2)

Sign and scale: θ̇ is the change of θ per unit of weight *added* to J, so removing J moves θ* by −θ̇(1) to first order;
sum convention. With damping λ the matrix is H + nλI, so that −θ̇(1) = (1/n)(H/n + λI)⁻¹g, the papers' (1/n) I†.

Notation: g_J = ∇ℓ_J, Q = g_Jᵀ H⁻¹ g_J, J_j the output Jacobian of point j, W_j = ∇²_ŷ ℓ_j, S_j = J_j H⁻¹ J_jᵀ.
"""

import warnings
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._checks import Number, Theta, choice
from .._errors import WorkError
from .._factorise import smallest_singular_value, solve_small
from .._progress import Watch
from ..problem import Problem, on_problem
from ._curvature import Curvature, Factor, definite
from ._deletion import deletion
from ._endpoint import Endpoint, NotStationaryWarning, is_concrete
from ._frame import frame, jacobian_rows
from ._inverse import AbstractInverse
from ._newton import assess
from ._objectives import WeightedRisk
from ._optimum import trained
from ._points import outputs_per_point, point
from ._solvers import solve_rows

# An influence function is the influence of θ's own gradient too: ‖∇R‖ must be small beside ‖∇ℓ_J‖.
_STATIONARY_ENOUGH = 1e-3
# 1 − h below this is rounding: the leverage is 1, and e/(1 − h) is 0/0.
NOTHING_LEFT = 1e-13
# Below this 1 − h the quotient of a least-squares residual has lost digits, and the fit without the point is asked.
_NEAR = 1e-4


class Influence(eqx.Module):
    """θ̇ = −H_ε⁻¹∇ℓ_J and what follows from it (mathematics §2; made by `influence`, which raises).

    `theta_dot` (dim,): dθ/dε, per unit of weight added to J. `estimate` (dim,): the other end to first order, θ(0) ≈ θ*
    − θ̇(1) for at="full" and θ(1) ≈ θ*₋ + θ̇(0) for at="deleted". `loss_derivative` = d/dε ℓ_J(θ(ε)) = −Q ≤ 0: how fast
    the points' own loss falls as they are added. `residual` of the linear solve, relative; `gradient_norm` = ‖∇R_ε(θ)‖,
    0 where the formula is exact, in columns of equal size and relative to √(2R) of predicting 0 for a model that is
    linear in θ (as it is for a network). `theta` (dim,) and `at` say where it was taken, `iterations` counts solver
    steps.

    Example (continues the package's):

        >>> moved = influence(problem)
        >>> print(moved.theta_dot.round(4), moved.estimate.round(4), moved.loss_derivative.round(4))
        [0.0301 0.0261] [-1.6183  1.2926] -0.0292
    """

    theta_dot: Float[Array, " dim"]
    estimate: Float[Array, " dim"]
    loss_derivative: Float[Array, ""]
    residual: Float[Array, ""]
    iterations: Int[Array, ""]
    gradient_norm: Float[Array, ""]
    theta: Float[Array, " dim"]
    at: str = eqx.field(static=True)

    def __str__(self) -> str:
        return (
            f"influence at the {self.at} optimum: ‖θ̇‖ = {float(jnp.linalg.norm(self.theta_dot)):.6g}, "
            f"dℓ_J/dε = {float(self.loss_derivative):.6g}, residual {float(self.residual):.1e}, "
            f"‖∇R‖ = {float(self.gradient_norm):.1e}"
        )


@on_problem
def influence(
    problem: Problem,
    *,
    at: str = "full",
    theta: Theta | None = None,
    hessian: str = "exact",
    damping: Number = 0.0,
    solver: str | AbstractInverse = "cholesky",
    progress: Watch = False,
) -> Influence:
    """θ̇ = −H_ε⁻¹∇ℓ_J: θ̇(1) ("full": needs only θ*) or θ̇(0) ("deleted", at θ*₋: the notes' I(j), Definition 5).

    `theta_dot` (dim,) is per unit of weight added to J, so removing J moves θ* by −θ̇(1). J may be a group (Koh et al.
    2019; mathematics §2). `theta` is θ* (or θ*₋), computed for linear and logistic regression when not given. `damping`
    λ ≥ 0 in the papers' mean convention. `solver`: cholesky, cg, gmres (indefinite H), lissa, arnoldi, ekfac (MLPs), or
    such an object with its options.

    Warns (`NotStationaryWarning`) where θ is not stationary, but not for a damped Gauss–Newton influence, which is the
    exact linearisation of the PBRF at any θˢ. Raises `WorkError`, with the eigenvalue, if the matrix is singular or
    indefinite (inside a trace the answer is NaN there), `RequestError` for a missing θ or a negative damping.

    Example (continues the package's):

        >>> print(influence(problem).estimate.round(3), leave_one_out(problem).theta.round(3))
        [-1.618  1.293] [-1.623  1.288]
    """
    choice(at, "at", ("full", "deleted"))
    epsilon = 1.0 if at == "full" else 0.0
    theta = trained(problem, theta, epsilon)
    curvature = Curvature(problem, theta, epsilon, hessian=hessian, damping=damping)
    here = slopes(problem, theta)
    gradient_norm = here.full_norm if at == "full" else here.deleted_norm
    warn_unless_stationary(curvature, gradient_norm, here.slope_norm)
    slope = here.slope
    solution = solve_rows(curvature, slope[None], solver, progress=progress)
    theta_dot = -solution.x[0]
    estimate = theta - theta_dot if at == "full" else theta + theta_dot
    return Influence(
        theta_dot, estimate, slope @ theta_dot, solution.residual[0], solution.iterations[0], gradient_norm, theta, at
    )


@on_problem
def newton_estimate(problem: Problem, *, theta: Theta | None = None, damping: Number = 0.0) -> Endpoint:
    """θ_Nt = θ* − H_{R⁻}(θ*)⁻¹ ∇R⁻(θ*), one Newton step towards θ*₋ (notes, Definition 6; Koh et al. 2019).

    Exact for a quadratic risk. `theta` (dim,) is θ*, computed for linear and logistic regression when not given.
    `converged` says whether the estimate happens to be stationary for R⁻; it does not raise if not. Raises `WorkError`
    if H_{R⁻}(θ*) + nλI is singular or indefinite.

    Example (continues the package's):

        >>> print(newton_estimate(problem).theta.round(6) == leave_one_out(problem).theta.round(6))
        [ True  True]
    """
    theta = trained(problem, theta)
    curvature = Curvature(problem, theta, 0.0, damping=damping)
    here = slopes(problem, theta)
    warn_unless_stationary(curvature, here.full_norm, here.slope_norm)
    step = solve_rows(curvature, here.deleted_gradient[None], "cholesky", what="the Newton estimate").x[0]
    return assess(WeightedRisk(problem, jnp.zeros(())), theta - step, theta, 1, "Newton estimate")


@on_problem
def corrected_influence(
    problem: Problem,
    *,
    theta: Theta | None = None,
    hessian: str = "exact",
    damping: Number = 0.0,
) -> Influence:
    """Influence with the leverage correction: for one output θ̇_j/(1 − h_j), summed over the group (rescaled influence).

    h_j = W_jS_j is the leverage of point j at weight 1. For several outputs H⁻¹J_jᵀ(I − W_jS_j)⁻¹∇_ŷℓ_j, which is the
    same by the Woodbury formula: the exact Newton step for one point of a linear or generalised linear model (Hayashi
    2000, §1.4, for least squares), and for a network the one whose H loses only J_jᵀW_jJ_j. `theta_dot` (dim,) is
    scaled to the whole step, θ(0) ≈ θ* − theta_dot; `loss_derivative` is g_Jᵀ theta_dot. Right to all digits of the fit
    for least squares, however near 1 the leverage (inside a trace 1/(1 − h) costs its digits). Raises `WorkError`,
    naming the point, at leverage 1, where it is 0/0 (NaN inside a trace), and as `influence` does.

    Example (continues the package's):

        >>> print(corrected_influence(problem).estimate.round(6) == leave_one_out(problem).theta.round(6))
        [ True  True]
    """
    theta = trained(problem, theta)
    curvature = Curvature(problem, theta, 1.0, hessian=hessian, damping=damping)
    found, here = definite(curvature), slopes(problem, theta)
    warn_unless_stationary(curvature, here.full_norm, here.slope_norm)
    step, residual, left = _corrected(curvature, found)
    if is_concrete((left, theta)):
        nothing = left <= NOTHING_LEFT
        if problem.least_squares and float(curvature.damping) == 0 and bool((left < _NEAR).any()):
            step, nothing = _exactly(problem, found)
        if bool(nothing.any()):
            row = int(problem.delete[int(jnp.argmax(nothing))])
            raise WorkError(
                f"point {row} has leverage 1: what is left without it does not determine θ (0/0); give the problem a "
                "ridge, or delete another point"
            )
    else:
        step = jnp.where(jnp.any(left <= NOTHING_LEFT), jnp.nan, step)
    return Influence(
        -step, theta + step, -(here.slope @ step), residual, jnp.zeros((), int), here.full_norm, theta, "full"
    )


@eqx.filter_jit
def _corrected(curvature: Curvature, found: Factor) -> tuple[Array, Array, Array]:
    problem, theta = curvature.problem, curvature.theta
    points = problem.delete

    def one(x, y):
        here = point(problem, theta, x, y)
        pulled = jax.vmap(found.solve)(here.jacobian)
        residual = jnp.max(jax.vmap(found.residual)(pulled, here.jacobian))
        kept = jnp.eye(outputs_per_point(problem)) - here.bend @ (here.jacobian @ pulled.T)
        return solve_small(kept, here.slope) @ pulled, residual, smallest_singular_value(kept)

    steps, residuals, left = jax.vmap(one)(problem.data.x[points], problem.data.y[points])
    return jnp.sum(steps, axis=0), jnp.max(residuals), left


def _exactly(problem: Problem, found: Factor) -> tuple[Array, Array]:
    """−Σ_j H⁻¹J_jᵀr_j with the deleted residuals of fits without the point, and which points have leverage 1."""
    deleted = deletion(problem).deleted_residual[problem.delete]
    pulled = jnp.einsum("kc,kcd->kd", deleted, jacobian_rows(problem)[problem.delete])
    return -jnp.sum(jax.vmap(found.solve)(pulled), axis=0), jnp.isnan(deleted).any(axis=1)


class Slopes(NamedTuple):
    """g_J and ∇R⁻ at θ, and the norms ‖g_J‖, ‖∇R‖, ‖∇R⁻‖ in columns of equal size, relative to their natural size."""

    slope: Float[Array, " dim"]
    deleted_gradient: Float[Array, " dim"]
    slope_norm: Float[Array, ""]
    full_norm: Float[Array, ""]
    deleted_norm: Float[Array, ""]


@eqx.filter_jit
def slopes(problem: Problem, theta: Float[Array, " dim"]) -> Slopes:
    """The gradients that every influence at θ needs."""
    slope, rest = problem.deleted_gradient(theta), problem.gradient(theta, 0.0)
    here = frame(WeightedRisk(problem, jnp.ones(())), problem.dim)

    def norm(v):
        return jnp.linalg.norm(here.scale * v) / jnp.where(here.unit > 0, here.unit, 1.0)

    return Slopes(slope, rest, norm(slope), norm(slope + rest), norm(rest))


def warn_unless_stationary(
    curvature: Curvature, gradient_norm: Array, slope_norm: Array, *, what: str = "‖∇ℓ_J‖", stacklevel: int = 3
) -> None:
    """`NotStationaryWarning` with ‖∇R‖ where an influence function is asked for away from a stationary point."""
    if not is_concrete((gradient_norm, slope_norm, curvature.damping)):
        return
    if curvature.kind == "gauss-newton" and float(curvature.damping) > 0:
        return
    norm, slope = float(gradient_norm), float(slope_norm)
    if norm > _STATIONARY_ENOUGH * slope + 1e-9:
        convex = curvature.problem.convex
        train = "use optimum()" if convex else "train on, or use hessian='gauss-newton' with damping"
        warnings.warn(
            f"theta is not stationary: ‖∇R‖ = {norm:.2e} beside {what} = {slope:.2e}, so this is not the derivative of "
            f"an optimum; {train}",
            NotStationaryWarning,
            stacklevel=stacklevel,
        )
