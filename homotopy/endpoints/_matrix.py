"""Influence of all points at once: on the loss of query points, on themselves, and on θ.

Notation: g_i = ∇ℓ_i(θ*) (dim,), g_q the gradient of a query, H the Hessian of the full risk (+ nλI).
"""

import warnings
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._arrays import as_floats
from .._checks import Number, Theta
from .._errors import RequestError
from .._progress import Watch
from ..problem import Dataset, Problem, Queries, check_queries, on_problem
from ._curvature import Curvature
from ._endpoint import is_concrete
from ._frame import frame
from ._influence import warn_unless_stationary
from ._inverse import CG, GMRES, AbstractInverse, LiSSA
from ._objectives import WeightedRisk
from ._optimum import trained
from ._points import loss_gradients
from ._solvers import as_solver, solve_rows

_SOLVED = 1e-3  # relative residual above which an iterative answer is said to be short of it


class SolverWarning(UserWarning):
    """An iterative solver stopped before it reached the answer: the message gives its relative residual.

    Example (continues the package's):

        >>> import warnings
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("error", SolverWarning)
        ...     print(influence_matrix(problem).shape)
        (20, 20)
    """


@on_problem
def influence_matrix(
    problem: Problem,
    queries: Queries | None = None,
    *,
    theta: Theta | None = None,
    hessian: str = "exact",
    damping: Number = 0.0,
    solver: str | AbstractInverse = "cholesky",
    progress: Watch = False,
) -> Float[Array, "queries n"]:
    """g_qᵀ H⁻¹ g_i (queries, n): influence of every point i on every query q (mathematics §2; Koh and Liang 2017).

    Sign and scale: + = removing point i increases the query's loss, by this much to first order (sum convention: the
    whole point is removed). `queries`: a `Dataset` of points whose loss is asked for (the training points when None),
    a function θ ↦ (queries,) of any scalars, or their gradients (queries, dim).
    The deleted set of `problem` plays no part. One factorisation and min(queries, n) solves. Warns (`SolverWarning`)
    where a solver that should reach the answer (cg, gmres, lissa) stopped with a relative residual above 1e-3. Raises
    `RequestError` for queries that the problem's loss cannot judge, and as `influence` does.

    Example (continues the package's):

        >>> matrix = influence_matrix(problem)
        >>> print(matrix.shape, influence_matrix(problem, queries=data.subset([0, 1])).shape, matrix[3, 3].round(4))
        (20, 20) (2, 20) 0.0292
    """
    curvature, gradients = _checked_gradients(problem, theta, hessian, damping)
    asked = gradients if queries is None else query_gradients(problem, curvature.theta, queries)
    if asked.shape[0] <= gradients.shape[0]:
        return _solved(curvature, asked, solver, progress) @ gradients.T
    return asked @ _solved(curvature, gradients, solver, progress).T


@on_problem
def self_influence(
    problem: Problem,
    *,
    theta: Theta | None = None,
    hessian: str = "exact",
    damping: Number = 0.0,
    solver: str | AbstractInverse = "cholesky",
    progress: Watch = False,
) -> Float[Array, " n"]:
    """Q_i = g_iᵀ H⁻¹ g_i ≥ 0 (n,): how much removing a point increases its own loss, to first order.

    The notes' Q(z); for least squares leverage times squared residual (mathematics §3). The diagonal of
    `influence_matrix`, with its units, its warning and its errors (raises as it does).

    Example (continues the package's):

        >>> print(self_influence(problem)[3].round(4), -influence(problem).loss_derivative.round(4))
        0.0292 0.0292
    """
    curvature, gradients = _checked_gradients(problem, theta, hessian, damping)
    return jnp.sum(gradients * _solved(curvature, gradients, solver, progress), axis=1)


@on_problem
def weight_jacobian(
    problem: Problem,
    *,
    theta: Theta | None = None,
    hessian: str = "exact",
    damping: Number = 0.0,
    solver: str | AbstractInverse = "cholesky",
) -> Float[Array, "dim n"]:
    """∂θ(𝛆)/∂ε_i at 𝛆 = 1 (dim, n): column i is −H⁻¹∇ℓ_i(θ*), the change of θ per unit of weight added to point i.

    So θ̇ of point j is column j and θ̇ of a group the sum of its columns (mathematics §2: the answer to the notes' "is
    there a link between θ̇ʲ and Jθ?"). Because Σ∇ℓ_i = −ρθ* at the optimum, the columns sum to ρH⁻¹θ*: to 0 without a
    ridge. Raises as `influence` does.

    Example (continues the package's):

        >>> jacobian = weight_jacobian(problem)
        >>> print(jacobian.shape, jacobian[:, 3].round(4), bool(jnp.abs(jacobian.sum(axis=1)).max() < 1e-9))
        (2, 20) [0.0301 0.0261] True
    """
    curvature, gradients = _checked_gradients(problem, theta, hessian, damping)
    return -_solved(curvature, gradients, solver).T


def _solved(curvature: Curvature, vectors: Array, solver: str | AbstractInverse, progress: Any = False) -> Array:
    """The rows' answers; their residuals are not returned, so a bad one is said."""
    chosen = as_solver(solver)
    solution = solve_rows(curvature, vectors, chosen, progress=progress)
    if isinstance(chosen, CG | GMRES | LiSSA) and is_concrete(solution.residual):
        worst, bad = float(jnp.max(solution.residual)), int(jnp.sum(solution.residual > _SOLVED))
        if bad:
            warnings.warn(
                f"{type(chosen).__name__} did not reach the answer for {bad} of {len(vectors)} right-hand sides: relative "
                f"residuals up to {worst:.2g} after {int(jnp.max(solution.iterations))} steps; give it more steps, more "
                "damping, or use solver='cholesky'",
                SolverWarning,
                stacklevel=3,
            )
    return solution.x


@eqx.filter_jit
def _gradients(problem: Problem, theta: Array) -> tuple[Array, Array, Array]:
    """∇ℓ_i (n, dim), and in the units of `slopes` ‖∇R‖ and the median ‖∇ℓ_i‖."""
    gradients = loss_gradients(problem, theta)
    here = frame(WeightedRisk(problem, jnp.ones(())), problem.dim)
    unit = jnp.where(here.unit > 0, here.unit, 1.0)
    norm = jnp.linalg.norm(here.scale * (jnp.sum(gradients, axis=0) + problem.ridge * theta))
    return gradients, norm / unit, jnp.median(jnp.linalg.norm(here.scale[None] * gradients, axis=1)) / unit


def query_gradients(
    problem: Problem, theta: Float[Array, " dim"], queries: Queries | None
) -> Float[Array, "queries dim"]:
    """Rows ∇φ_q(θ). `queries`: None for θ itself, a `Dataset`, a function θ ↦ (queries,), or the gradients."""
    if queries is None:
        return jnp.eye(problem.dim)
    if isinstance(queries, Dataset):
        check_queries(problem, queries, "queries")
        return eqx.filter_jit(loss_gradients)(problem, theta, queries.x, queries.y)
    gradients = _jacobian(queries, theta) if callable(queries) else as_floats(queries, "queries")
    if gradients.ndim != 2 or gradients.shape[1] != problem.dim:
        raise RequestError(
            "queries must be a Dataset, a function of theta with values (queries,), or gradients (queries, "
            f"{problem.dim}), but gives shape {gradients.shape}"
        )
    return gradients


@eqx.filter_jit
def _jacobian(queries: Callable[[Array], Array], theta: Array) -> Array:
    return jax.jacrev(lambda theta: jnp.atleast_1d(queries(theta)))(theta)


def _checked_gradients(problem: Problem, theta: Any, hessian: str, damping: Any) -> tuple[Curvature, Array]:
    """The curvature at θ*, and ∇ℓ_i with the stationarity warning of `influence`, here beside the median ‖∇ℓ_i‖."""
    curvature = Curvature(problem, trained(problem, theta), 1.0, hessian=hessian, damping=damping)
    gradients, norm, typical = _gradients(problem, curvature.theta)
    warn_unless_stationary(curvature, norm, typical, what="median ‖∇ℓ_i‖", stacklevel=5)
    return curvature, gradients
