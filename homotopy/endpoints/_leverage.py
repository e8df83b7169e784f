"""Leverage, generalised to networks, and Cook's distance.

Notation: B the curvature of the full risk (+ nλI), J_i output Jacobian, W_i = ∇²_ŷ ℓ_i, d = dim, e_i residual.

    h_i = tr(W_i J_i B⁻¹ J_iᵀ)

For least squares with one output this is P_ii = x_iᵀ(XᵀX)⁻¹x_i (notes, Definition 3; Hayashi 2000, §1.4), for
generalised linear models the diagonal of the weighted hat matrix (Pregibon 1981). Without ridge and damping, and with
the Gauss–Newton matrix, Σ h_i = rank.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._errors import RequestError
from ..problem import Problem, SquaredLoss, on_problem
from ._curvature import Curvature, Factor, definite
from ._optimum import trained
from ._points import outputs_per_point, point


@on_problem
def leverage(
    problem: Problem,
    *,
    theta: Any = None,
    hessian: str = "gauss-newton",
    damping: Any = 0.0,
) -> Float[Array, " n"]:
    """h_i of every point (n,), dimensionless, in [0, 1] for one output and the Gauss–Newton matrix.

    The default matrix is Gauss–Newton's, which for linear and logistic regression is the Hessian. `theta` is needed for
    a network. With several outputs h_i sums over them, so for linear regression it is outputs · P_ii. Raises
    `WorkError` if the matrix is singular: then give a ridge or a damping.
    """
    theta = trained(problem, theta)
    curvature = Curvature(problem, theta, 1.0, hessian=hessian, damping=damping)
    return _leverages(curvature, definite(curvature, "leverage"))


@on_problem
def cooks_distance(problem: Problem, *, theta: Any = None) -> Float[Array, " n"]:
    """Cook's distance D_i = δ_iᵀ G δ_i/(d·φ), δ_i the leverage-corrected change of θ without point i (Cook 1977).

    G is the Gauss–Newton matrix (XᵀX for least squares) and φ the dispersion: Σe²/(n·outputs − d) for squared loss, 1
    for the classification losses (Pregibon 1981). For least squares this is e_i² P_ii/(d·φ·(1 − P_ii)²) exactly.
    Dimensionless; values above 1 are usually looked at.
    """
    theta = trained(problem, theta)
    freedom = problem.n * outputs_per_point(problem) - problem.dim
    if isinstance(problem.loss, SquaredLoss) and freedom <= 0:
        raise RequestError(
            f"Cook's distance estimates the noise from n·outputs − d = {freedom} degrees of freedom; it needs more "
            "points than parameters"
        )
    curvature = Curvature(problem, theta, 1.0, hessian="gauss-newton")
    squared = _squared_changes(curvature, definite(curvature, "Cook's distance"))
    if not isinstance(problem.loss, SquaredLoss):
        return squared / problem.dim
    dispersion = 2.0 * jnp.sum(problem.losses(theta)) / freedom
    return squared / (problem.dim * dispersion)


@eqx.filter_jit
def _leverages(curvature: Curvature, found: Factor) -> Array:
    def one(row):
        here = point(curvature.problem, curvature.theta, *row)
        return jnp.trace(here.bend @ here.jacobian @ jax.vmap(found.solve)(here.jacobian).T)

    return jax.lax.map(one, (curvature.problem.data.x, curvature.problem.data.y), batch_size=64)


@eqx.filter_jit
def _squared_changes(curvature: Curvature, found: Factor) -> Array:
    def one(row):
        here = point(curvature.problem, curvature.theta, *row)
        pulled = jax.vmap(found.solve)(here.jacobian)
        kept = jnp.eye(here.slope.shape[0]) - here.bend @ (here.jacobian @ pulled.T)
        change = jnp.linalg.solve(kept, here.slope) @ pulled / found.scale
        return change @ found.matrix @ change

    return jax.lax.map(one, (curvature.problem.data.x, curvature.problem.data.y), batch_size=64)
