"""The constants G, L, μ that every unlearning theorem asks for, and whether they are bounds or only measurements.

Notation: G `lipschitz`, the largest ‖∇ℓ_i(θ)‖ of any point; L `smoothness` and μ `strong_convexity`, between which all
eigenvalues of ∇²(R_ε/n) lie, 0 ≤ ε ≤ 1. Mean convention, as in the theorems: descent on the sum with step η/n is descent
on the mean with step η. The ridge ρ counts as ρ/n in L and μ; it cancels from G, since it is in every run.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._arrays import as_floats
from .._checks import Number, Values, number
from .._errors import RequestError
from ..endpoints import Curvature, largest_eigenvalue, loss_gradients
from ..problem import LogisticLoss, Problem, SquaredLoss, on_problem
from ._checkpoint import digest, fingerprint

# The largest second derivative of the loss by the prediction: ½(ŷ−y)², log(1+e^ŷ), log Σe^ŷ.
_BEND = {"SquaredLoss": 1.0, "LogisticLoss": 0.25, "CrossEntropyLoss": 0.5}
_DENSE = 400  # above it the largest eigenvalue comes from power iteration


@dataclass(frozen=True)
class Constants:
    """`lipschitz` G, `smoothness` L and `strong_convexity` μ of the mean risk, on ‖θ‖ ≤ `radius`.

    The hypotheses of every unlearning theorem (mathematics §10); `estimate_constants` makes them, and raises.

    `guaranteed` is true for bounds that hold for every θ of that ball; otherwise they are the largest values that were
    seen, `how` says where, and no guarantee follows from them. `per_point`: L and μ are those of every single point, and
    so of every mini-batch. `seal` binds bounds to the problem (data, ridge, deleted set) that they are of: an algorithm
    that is given those of another one, or numbers written by hand, runs with them and guarantees nothing.

    Example (continues the package's):

        >>> constants = estimate_constants(classes)
        >>> print(constants.guaranteed, 0 < constants.strong_convexity < constants.smoothness)
        True True
    """

    lipschitz: float
    smoothness: float
    strong_convexity: float | None
    radius: float
    guaranteed: bool
    how: str
    per_point: bool = False
    seal: str = field(default="", repr=False)

    def __str__(self) -> str:
        convex = "not known" if self.strong_convexity is None else f"{self.strong_convexity:.4g}"
        proof = "bounds" if self.guaranteed else "MEASURED, not a guarantee"
        return f"G = {self.lipschitz:.4g}, L = {self.smoothness:.4g}, μ = {convex} ({proof}: {self.how})"


@on_problem
def estimate_constants(
    problem: Problem,
    *,
    radius: Number | None = None,
    thetas: Annotated[Values, "k dim"] | None = None,
    per_point: bool = False,
) -> Constants:
    """G, L and μ of a problem (mean convention): ‖∇ℓ_i‖ ≤ G and μ ≤ ∇²(R_ε/n) ≤ L for every ε in [0, 1].

    Mathematics §10. Linear and logistic regression: bounds that hold on the ball ‖θ‖ ≤ `radius` (everywhere when not
    given; G of the squared loss is then ∞). `per_point=True` bounds every mini-batch: L is the largest of single
    points, and only the ridge makes μ. A network: the largest values at `thetas` (k, dim), say the iterates of a run;
    labelled as no guarantee, μ unknown. `thetas` may be given for the other models too, and then G is measured along
    them: a bound for those very runs, and no guarantee. Bounds are exact up to rounding, which is subtracted from μ.
    Raises `RequestError` if a network comes without `thetas`, for losses whose curvature is not known, for a risk that
    is flat, and where the squares of the features overflow.

    Example (continues the package's):

        >>> constants = estimate_constants(classes)
        >>> print(f"{constants.lipschitz:.3f} {constants.smoothness:.3f} {constants.strong_convexity:.3f}")
        2.335 0.283 0.050
    """
    rows = None if thetas is None else _rows(problem, thetas)
    limit = math.inf if radius is None else number(radius, "radius", above=0.0)
    if not problem.model.linear:
        if rows is None:
            raise RequestError(
                "the constants of a network can only be measured: pass thetas=, the iterates of a run, shape (k, dim)"
            )
        if per_point:
            raise RequestError("per_point=True bounds linear and logistic regression only")
        seen = _measured(problem, rows)
        return Constants(float(seen[0]), float(seen[1]), None, limit, False, f"the largest at {len(rows)} values of θ")
    x, n, rho = np.asarray(problem.design), problem.n, float(problem.ridge)
    kind = type(problem.loss).__name__
    if kind not in _BEND:
        raise RequestError(f"the curvature of {kind} is not known: pass thetas= and a network, or one of {list(_BEND)}")
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        norms = np.linalg.norm(x, axis=1)
        if per_point:
            smooth, convex = _BEND[kind] * float((norms**2).max()) + rho / n, rho / n
        else:
            smooth = (_BEND[kind] * float(np.linalg.svd(x, compute_uv=False)[0] ** 2) + rho) / n
            convex = _strong_convexity(problem, x, norms, limit)
        slope = _lipschitz(problem, norms, limit) if rows is None else float(_slopes(problem, rows))
    if not 0 < smooth < math.inf:
        raise RequestError(
            "the smoothness of this risk is no positive number in float64: scale the columns of x to a usual size"
        )
    how = "every mini-batch" if per_point else "the whole risk"
    if rows is not None:
        return Constants(slope, smooth, convex, limit, False, f"{how}; G along the given θ", per_point)
    return _sealed(problem, Constants(slope, smooth, convex, limit, True, how, per_point))


def _sealed(problem: Problem, found: Constants) -> Constants:
    numbers = [found.lipschitz, found.smoothness, found.strong_convexity, found.radius, found.per_point]
    return replace(found, seal=digest(fingerprint(problem), numbers))


def proven(problem: Problem, constants: Constants) -> bool:
    """Whether `constants` are the bounds that were computed for this very problem."""
    return constants.guaranteed and constants.seal == _sealed(problem, constants).seal


def _lipschitz(problem: Problem, norms: np.ndarray, radius: float) -> float:
    if isinstance(problem.loss, SquaredLoss):
        targets = np.linalg.norm(np.asarray(problem.data.y).reshape(problem.n, -1), axis=1)
        return float((norms * (norms * radius + targets)).max()) if math.isfinite(radius) else math.inf
    # |σ(ŷ) − y| ≤ 1, and ‖softmax(ŷ) − e_y‖ ≤ √2
    return float(norms.max()) * (1.0 if isinstance(problem.loss, LogisticLoss) else math.sqrt(2.0))


def _strong_convexity(problem: Problem, x: np.ndarray, norms: np.ndarray, radius: float) -> float:
    """A lower bound of the eigenvalues of ∇²R⁻/n, and so of every ∇²R_ε/n."""
    kept = np.ones(problem.n, dtype=bool)
    kept[np.asarray(problem.delete)] = False
    rho = float(problem.ridge)
    if isinstance(problem.loss, SquaredLoss):
        bend = np.ones(problem.n)
    elif isinstance(problem.loss, LogisticLoss) and math.isfinite(radius):
        bend = 0.25 / np.cosh(np.minimum(0.5 * norms * radius, 300.0)) ** 2  # σ′ at the largest logit of the ball
    else:
        return rho / problem.n
    weighted = x[kept] * np.sqrt(bend[kept])[:, None]
    if weighted.shape[0] < weighted.shape[1]:
        return rho / problem.n
    values = np.linalg.svd(weighted, compute_uv=False)
    rounding = max(weighted.shape) * np.finfo(float).eps * values[0]  # of a singular value: μ stays a bound
    return float(max(values[-1] - rounding, 0.0) ** 2 + rho) / problem.n


def _rows(problem: Problem, thetas: Any) -> Float[Array, "k dim"]:
    rows = jnp.atleast_2d(as_floats(thetas, "thetas"))
    if rows.ndim != 2 or rows.shape[1] != problem.dim or rows.shape[0] < 1:
        raise RequestError(f"thetas must have shape (k, {problem.dim}), but has shape {rows.shape}")
    return rows


@eqx.filter_jit
def _slopes(problem: Problem, rows: Array) -> Array:
    return jnp.max(jax.lax.map(lambda theta: jnp.max(_point_norms(problem, theta)), rows))


@eqx.filter_jit
def _measured(problem: Problem, rows: Array) -> tuple[Array, Array]:
    def one(theta):
        largest = jnp.maximum(_largest(problem, theta, 1.0), _largest(problem, theta, 0.0))
        return jnp.max(_point_norms(problem, theta)), largest / problem.n

    slopes, smooth = jax.lax.map(one, rows)
    return jnp.max(slopes), jnp.max(smooth)


def _point_norms(problem: Problem, theta: Array) -> Array:
    return jnp.linalg.norm(loss_gradients(problem, theta), axis=1)


def _largest(problem: Problem, theta: Array, epsilon: float) -> Array:
    """max |λ(∇²R_ε)|: exact for small problems, by power iteration (from below) for large ones."""
    if problem.dim <= _DENSE:
        return jnp.max(jnp.abs(jnp.linalg.eigvalsh(problem.hessian(theta, epsilon))))
    return largest_eigenvalue(Curvature(problem, theta, epsilon))
