"""Leverage, generalised to networks, effective degrees of freedom, and Cook's distance.

Notation: B the curvature of the full risk (+ nλI), J_i output Jacobian, W_i = ∇²_ŷ ℓ_i, e_i residual.

    h_i = tr(W_i J_i B⁻¹ J_iᵀ),   p = Σ h_i

For least squares with one output h_i is P_ii = x_iᵀ(XᵀX)⁻¹x_i (notes, Definition 3; Hayashi 2000, §1.4), for
generalised linear models the diagonal of the weighted hat matrix (Pregibon 1981). p, its trace, are the effective
degrees of freedom (Hastie, Tibshirani and Friedman 2009, §3.4.1), everywhere in place of dim θ: the rank without a
ridge, outputs · rank X for several outputs, features · (C − 1) for a softmax of C classes (which is why the null
direction of shifts does no harm), and Σ λ_k/(λ_k + ρ) with a ridge ρ on least squares.
"""

import warnings
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._checks import Number, Theta, on_host
from .._errors import RequestError, WorkError
from .._factorise import smallest_singular_value, solve_small
from ..problem import Problem, SquaredLoss, on_problem
from ._curvature import Curvature, Factor, definite
from ._deletion import deletion
from ._endpoint import FlaggedRowsWarning, is_concrete
from ._influence import NOTHING_LEFT
from ._newton import assess
from ._objectives import WeightedRisk
from ._optimum import trained
from ._points import outputs_per_point, point

WITHOUT_DAMPING = "leave out a column that the others determine, or give the problem a ridge"
# Residuals below this part of the numbers that they are differences of are rounding: the fit is perfect.
ROUNDING = 64 * np.finfo(float).eps
# Points at a time: enough to be fast, and no more Jacobians in memory than a network's can bear.
_BATCH = 1024


@on_problem
def leverage(
    problem: Problem,
    *,
    theta: Theta | None = None,
    hessian: str = "gauss-newton",
    damping: Number = 0.0,
) -> Float[Array, " n"]:
    """h_i = tr(W_i J_i B⁻¹ J_iᵀ) of every point (n,), dimensionless; Σ h_i = p.

    In [0, 1] for one output and the Gauss–Newton matrix.

    The default matrix is Gauss–Newton's, which for linear and logistic regression is the Hessian. `theta` is needed for
    a network. With several outputs h_i sums over them, so for linear regression it is outputs · P_ii. Does not depend
    on the units of the columns (at ridge 0). Raises `WorkError` if the matrix is singular, but for the shifts of a
    softmax: then give a ridge or a damping; `RequestError` for a missing θ. Hayashi 2000, §1.4; Pregibon 1981.

    Example (continues the package's):

        >>> print(leverage(problem)[3].round(4), leverage(problem).sum().round(4))
        0.1398 2.0
    """
    theta = trained(problem, theta)
    curvature = Curvature(problem, theta, 1.0, hessian=hessian, damping=damping)
    return _leverages(curvature, definite(curvature, "leverage", shifts=True))


@on_problem
def cooks_distance(problem: Problem, *, theta: Theta | None = None) -> Float[Array, " n"]:
    """Cook's distance (n,) D_i = δ_iᵀ B δ_i/(p·φ), δ_i the leverage-corrected change of θ without point i (Cook 1977).

    B is the Gauss–Newton matrix (XᵀX + ρI for least squares), p = Σh_i the effective degrees of freedom and φ the
    dispersion: Σe²/(n·outputs − p) for squared loss, 1 for the classification losses (Pregibon 1981). For least squares
    this is e_i² P_ii/(p·φ·(1 − P_ii)²) exactly, summed over outputs. Dimensionless, without units at ridge 0.

    NaN where it is 0/0 (leverage 1), with one `FlaggedRowsWarning` that names the rows. Raises `RequestError` where no
    degrees of freedom are left for φ or `theta` is not the optimum, `WorkError` for a singular matrix, and for a perfect
    fit, whose residuals are rounding.

    Example (continues the package's):

        >>> print(cooks_distance(problem)[3].round(4))
        0.135
    """
    on_host((problem, theta), "cooks_distance")
    theta = at_optimum(problem, theta)
    curvature = Curvature(problem, theta, 1.0, hessian="gauss-newton")
    found = definite(curvature, "Cook's distance", shifts=True, cure=WITHOUT_DAMPING)
    if problem.least_squares:
        without = deletion(problem)
        residual, deleted = np.asarray(without.residual), np.asarray(without.deleted_residual)
        freedom = freedom_left(problem, outputs_per_point(problem) * float(jnp.sum(without.leverage)))
        if is_perfect(problem, theta, residual):
            raise WorkError(
                "the fit is perfect: its residuals are rounding, so Cook's distance is 0/0 for every point; "
                "leverage() still tells which points could have influence"
            )
        p, unit = problem.n * outputs_per_point(problem) - freedom, np.abs(residual).max()
        dispersion = np.sum((residual / unit) ** 2) / freedom
        cook = np.asarray(without.leverage) * np.sum((deleted / unit) ** 2, axis=1) / (p * dispersion)
        warn_undefined({"leverage 1, so 0/0": np.isnan(cook)})
        return jnp.asarray(cook)
    rows = changes(curvature, found)
    p = float(jnp.sum(rows.leverage))
    changed = jnp.where(rows.left > NOTHING_LEFT, jnp.sum(rows.step**2, axis=1), jnp.nan) / p
    if isinstance(problem.loss, SquaredLoss):
        changed = changed / (2.0 * jnp.sum(problem.losses(theta)) / freedom_left(problem, p))
    warn_undefined({"leverage 1, so 0/0": np.isnan(np.asarray(changed))})
    return changed


# What the diagnostics share ------------------------------------------------------------------------------------------


class Changes(NamedTuple):
    """What leaving out each point does to first order, θ in the coordinates in which B is the unit matrix.

    `leverage` h_i; `left` the smallest singular value of I − W_iS_i; `first` (n, dim) the influence H⁻¹g_i, `step` the
    same corrected for leverage; `gain` g_iᵀ(H₋ᵢ)⁻¹g_i, which Pregibon's one-step changes of χ² and deviance add.
    """

    leverage: Float[Array, " n"]
    left: Float[Array, " n"]
    first: Float[Array, "n dim"]
    step: Float[Array, "n dim"]
    gain: Float[Array, " n"]


@eqx.filter_jit
def changes(curvature: Curvature, found: Factor) -> Changes:
    """`Changes` of every point."""

    def one(row):
        here = point(curvature.problem, curvature.theta, *row)
        pulled = jax.vmap(found.half)(here.jacobian)
        spread = pulled @ pulled.T
        kept = jnp.eye(here.slope.shape[0]) - here.bend @ spread
        solved = solve_small(kept, here.slope)
        left = smallest_singular_value(kept)
        return Changes(
            jnp.trace(here.bend @ spread), left, here.slope @ pulled, solved @ pulled, here.slope @ spread @ solved
        )

    return jax.lax.map(one, (curvature.problem.data.x, curvature.problem.data.y), batch_size=_BATCH)


def at_optimum(problem: Problem, theta: Any) -> Float[Array, " dim"]:
    """`theta`, computed where it is not given; for a convex risk `RequestError` unless it is the optimum."""
    if theta is None or not problem.model.linear:
        return trained(problem, theta)
    theta = problem.check_theta(theta, "theta")
    end = assess(WeightedRisk(problem, jnp.ones(())), theta, jnp.zeros(problem.dim), 0, "theta")
    if is_concrete(end) and not bool(end.converged):
        raise RequestError(
            "theta must be the optimum, but its predictions are off by "
            f"{float(end.prediction_error):.1e} (relative); leave it out to have it computed"
        )
    return theta


def freedom_left(problem: Problem, p: float) -> float:
    """n·outputs − p, from which the noise is estimated; `RequestError` where nothing is left."""
    numbers = problem.n * outputs_per_point(problem)
    if numbers - p <= 1e-9 * numbers:
        raise RequestError(
            f"the noise is estimated from n·outputs − p degrees of freedom, but p = {p:.6g} leaves none of {numbers}; "
            "it needs more points than parameters, or a ridge"
        )
    return numbers - p


def rounding_of(problem: Problem, theta: Array) -> float:
    """What rounding alone makes of ‖residuals‖ of a linear regression: a part of ‖y‖ + ‖ |X||θ| ‖."""
    spread = np.abs(np.asarray(problem.design)) @ np.abs(np.asarray(theta)).reshape(problem.design.shape[1], -1)
    return max(ROUNDING, 4 * problem.dim * np.finfo(float).eps) * (length(problem.data.y) + length(spread))


def is_perfect(problem: Problem, theta: Array, residual: np.ndarray) -> bool:
    """Whether the residuals are nothing but rounding."""
    return bool(length(residual) <= rounding_of(problem, theta))


def length(values: Any) -> float:
    """The Euclidean norm of all entries, without overflow or underflow."""
    values = np.asarray(values)
    largest = float(np.max(np.abs(values), initial=0.0))
    return largest * float(np.linalg.norm(values / largest)) if largest > 0 else 0.0


def warn_undefined(reasons: dict[str, np.ndarray], stacklevel: int = 4) -> None:
    """One `FlaggedRowsWarning` that names rows and reasons, if there are any; `WorkError` if no row is left."""
    told = describe(reasons)
    if told:
        lost = np.any(list(reasons.values()), axis=0)
        if lost.all():
            raise WorkError(f"no point has a value: {told}")
        warnings.warn(f"{int(lost.sum())} of {len(lost)} points have no value: {told}", FlaggedRowsWarning, stacklevel)


def describe(reasons: dict[str, np.ndarray]) -> str:
    """`3, 7 (leverage 1, so 0/0); …` from a mask of rows per reason."""
    return "; ".join(f"{shown(np.flatnonzero(rows))} ({why})" for why, rows in reasons.items() if rows.any())


def shown(rows: np.ndarray, most: int = 10) -> str:
    """The rows by number, cut short."""
    return ", ".join(map(str, rows[:most])) + (", …" if len(rows) > most else "")


@eqx.filter_jit
def _leverages(curvature: Curvature, found: Factor) -> Array:
    def one(row):
        here = point(curvature.problem, curvature.theta, *row)
        return jnp.trace(here.bend @ here.jacobian @ jax.vmap(found.solve)(here.jacobian).T)

    return jax.lax.map(one, (curvature.problem.data.x, curvature.problem.data.y), batch_size=_BATCH)
