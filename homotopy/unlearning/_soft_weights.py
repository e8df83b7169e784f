"""Soft-weighted unlearning: change every point's weight a little instead of deleting some (arXiv 2505.18783).

Notation: ε_i = 1 + w_i the weights, a_i = dM/dw_i and u_i = dU/dw_i the influence of point i on the metric M (fairness,
robustness) and on the utility U (a loss), −∇Mᵀ H⁻¹ ∇ℓ_i. The weights are the smallest that reach the goal:

    min ½‖w‖²   subject to   aᵀw = −κM,   uᵀw ≤ τ,   lower ≤ w ≤ upper

and the model is corrected by one step, θ ← θ − H⁻¹ Σ w_i ∇ℓ_i, not trained again.
"""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.optimize import linprog, minimize

from .._arrays import as_floats
from .._checks import Number, Theta, Whole, number
from .._errors import RequestError, WorkError
from ..problem import Dataset, Problem, check_queries, on_problem
from . import _checks
from ._metrics import AbstractMetric

_SINGULAR = 1e-13  # reciprocal condition (diagonal scaled to 1) below which a correction is rounding
_GAP = 1e-4  # of ½‖w‖²: between the weights and the dual bound of the smallest
_REACHABLE = 0.995  # of what the constraints allow: exactly at their corner the multipliers are infinite


@dataclass(frozen=True)
class SoftWeights:
    """Weights and the model that they correct.

    `weights` w (n,): the change of each point's weight (−1 deletes it). `theta` (dim,) the corrected model. `metric`
    and `utility` before; `metric_change` and `utility_change` what first order predicts. `share` of the metric that was
    asked to go, `reached` the share that the constraints allow; `kind` is "soft" or "hard". arXiv 2505.18783; made by
    `soft_weights` and `hard_removal`, which raise.

    Example (continues the package's):

        >>> theta, gap = optimum(classes).theta, DemographicParity(data.x, data.x[:, 1] > 0)
        >>> found = soft_weights(classes, theta, gap, Utility(classes.data), share=0.5)
        >>> print(found.weights.shape, found.theta.shape, round(found.reached, 2), round(found.metric_change / found.metric, 2))
        (20,) (2,) 0.5 -0.5
    """

    weights: Float[Array, " n"]
    theta: Float[Array, " dim"]
    metric: float
    utility: float
    metric_change: float
    utility_change: float
    share: float
    reached: float
    kind: str

    def __str__(self) -> str:
        w = np.asarray(self.weights)
        return (
            f"{self.kind}: {int((np.abs(w) > 1e-9).sum())} of {len(w)} weights changed, ‖w‖ = {np.linalg.norm(w):.3g}; to "
            f"first order the metric {self.metric:+.4g} changes by {self.metric_change:+.4g} ({self.reached:.0%} of it, "
            f"{self.share:.0%} asked) and the utility loss {self.utility:.4g} by {self.utility_change:+.4g}"
        )


@on_problem
def soft_weights(
    problem: Problem,
    trained: Theta,
    metric: AbstractMetric,
    utility: AbstractMetric,
    *,
    share: Number = 1.0,
    utility_tolerance: Number = 0.0,
    lower: Number = -1.0,
    upper: Number = 1.0,
    damping: Number = 0.0,
) -> SoftWeights:
    """The smallest weights that take `share` κ of the metric away, to first order, and cost no utility.

        min ½‖w‖²   subject to   aᵀw = −κM,   uᵀw ≤ τ,   lower ≤ w ≤ upper,   ε_i = 1 + w_i   (arXiv 2505.18783)

    `trained` is θ (dim,), a and u (n,) the influences of `weight_influences`.

    `utility_tolerance` τ is the loss that may be added to U. `lower` ≥ −1 keeps every ε_i ≥ 0; `damping` λ adds nλ to
    the Hessian. Where the constraints allow less than κ, the share that they do allow is taken and `reached` says so.
    Raises `RequestError` for a share outside (0, 1] and bounds that do not hold 0 between them, `WorkError` if nothing
    at all can be gained or the quadratic programme was not solved.

    Example (continues the package's):

        >>> theta, gap = optimum(classes).theta, DemographicParity(data.x, data.x[:, 1] > 0)
        >>> found = soft_weights(classes, theta, gap, Utility(classes.data), share=0.5)
        >>> print(abs(gap.soft(classes, found.theta)) < abs(gap.soft(classes, theta)))
        True
    """
    theta = problem.check_theta(trained, "trained")
    share = number(share, "share")
    if not 0 < share <= 1:
        raise RequestError(f"share must lie in (0, 1], but is {share}")
    if not -1 <= number(lower, "lower") < 0 < number(upper, "upper"):
        raise RequestError(f"lower and upper must satisfy −1 ≤ lower < 0 < upper, but are {lower} and {upper}")
    budget = number(utility_tolerance, "utility_tolerance", least=0.0)
    values, gains = weight_influences(problem, theta, metric, utility, damping=damping)
    a, u = np.asarray(gains)
    now = float(values[0])
    w, reached = smallest_weights(a, u, -share * now, budget, lower, upper)
    return _corrected(problem, theta, w, values, gains, damping, share, reached * share, "soft weights")


@on_problem
def hard_removal(
    problem: Problem,
    trained: Theta,
    metric: AbstractMetric,
    utility: AbstractMetric,
    *,
    count: Whole | None = None,
    share: Number = 1.0,
    damping: Number = 0.0,
) -> SoftWeights:
    """Delete the `count` points whose removal improves the metric most, or as many as take `share` of it away.

    The same correction as for soft weights, with w_i = −1 (n,): what deletion can do beside re-weighting. Raises as
    `soft_weights`, and `RequestError` if `count` leaves nothing. Source: arXiv 2505.18783.

    Example (continues the package's):

        >>> theta, gap = optimum(classes).theta, DemographicParity(data.x, data.x[:, 1] > 0)
        >>> print(int(hard_removal(classes, theta, gap, Utility(classes.data), count=2).weights.sum()))
        -2
    """
    theta = problem.check_theta(trained, "trained")
    values, gains = weight_influences(problem, theta, metric, utility, damping=damping)
    a, now = np.asarray(gains[0]), float(values[0])
    gain = np.sign(now) * a  # what removing the point takes off |M|
    order = np.argsort(-gain)
    if count is None:
        share = number(share, "share")
        if not 0 < share <= 1:
            raise RequestError(f"share must lie in (0, 1], but is {share}")
        most = int((gain > 0).sum())
        count = min(int(np.searchsorted(np.cumsum(gain[order[:most]]), share * abs(now)) + 1), most, problem.n - 1)
    if _checks.count(count, "count", 1) >= problem.n:
        raise RequestError(f"count must leave at least one of the {problem.n} points, but is {count}")
    w = np.zeros(problem.n)
    w[order[:count]] = -1.0
    reached = float(-a @ w / now) if now else 0.0
    return _corrected(problem, theta, w, values, gains, damping, share, reached, f"hard removal of {count}")


@on_problem
def weight_influences(
    problem: Problem, trained: Theta, metric: AbstractMetric, utility: AbstractMetric, *, damping: Number = 0.0
) -> tuple[Float[Array, "2"], Float[Array, "2 n"]]:
    """(M, U) (2,) at θ = `trained` and their derivatives (2, n) by the points' weights, −∇Mᵀ H⁻¹ ∇ℓ_i (per unit added).

    They are those of the minimiser where θ is one. Raises `WorkError` where H (+ nλ) is singular or anything overflows,
    `RequestError` if a metric holds points that the problem's loss cannot judge. Mathematics §2; arXiv 2505.18783.

    Example (continues the package's):

        >>> theta, gap = optimum(classes).theta, DemographicParity(data.x, data.x[:, 1] > 0)
        >>> values, slopes = weight_influences(classes, theta, gap, Utility(classes.data))
        >>> values.shape, slopes.shape
        ((2,), (2, 20))
    """
    here, shift = problem.check_theta(trained, "trained"), number(damping, "damping", least=0.0)
    if not isinstance(metric, AbstractMetric) or not isinstance(utility, AbstractMetric):
        raise RequestError("metric and utility must be metrics, such as DemographicParity(x, group) and Utility(data)")
    # Here, because inside the compiled job there are no labels to look at; a metric of the user's own included.
    for leaf in jax.tree.leaves((metric, utility), is_leaf=lambda leaf: isinstance(leaf, Dataset)):
        if isinstance(leaf, Dataset):
            check_queries(problem, leaf, "the metric's data")
    values, gains, condition = _influences(problem, here, metric, utility, jnp.asarray(shift))
    _regular(condition, values, gains)
    return values, gains


def smallest_weights(
    a: Float[np.ndarray, " n"], u: Float[np.ndarray, " n"], change: Number, budget: Number, lower: Number, upper: Number
) -> tuple[Float[np.ndarray, " n"], float]:
    """argmin ½‖w‖² subject to aᵀw = change, uᵀw ≤ budget, lower ≤ w ≤ upper, and the share of `change` that is allowed.

    a, u and w are (n,).

    By the dual: w = clip(−αa − νu), a concave maximisation over α and ν ≥ 0 (L-BFGS-B), after a linear programme has
    found how far aᵀw can go at all. Proven by the dual's value: ½‖w‖² exceeds it by at most 1e-4 of itself, else
    `WorkError`; `RequestError` for shapes and bounds that do not fit. Source: arXiv 2505.18783.

    Example (continues the package's):

        >>> weights, share = smallest_weights(np.array([1.0, 2.0]), np.zeros(2), -1.0, 0.0, -1.0, 1.0)
        >>> print(weights.round(3), share)
        [-0.2 -0.4] 1.0
    """
    a, u = np.asarray(as_floats(a, "a")), np.asarray(as_floats(u, "u"))
    if a.ndim != 1 or a.shape != u.shape or a.size == 0:
        raise RequestError(f"a and u must be vectors of one length, but have shapes {a.shape} and {u.shape}")
    change, budget = number(change, "change"), number(budget, "budget", least=0.0)
    lower, upper = number(lower, "lower"), number(upper, "upper")
    if not lower < 0 < upper:
        raise RequestError(f"lower and upper must hold 0 between them, but are {lower} and {upper}")
    if change == 0:
        return np.zeros_like(a), 1.0
    scale_a, scale_u = np.abs(a).max(), max(np.abs(u).max(), 1e-300)
    if scale_a == 0:
        raise WorkError("no point has any influence on the metric")
    with np.errstate(over="ignore", under="ignore"):
        a_, u_, budget_ = a / scale_a, u / scale_u, np.minimum(budget / scale_u, 1e12 * a.size)
        wanted = np.float64(change) / scale_a
    if not 1e-150 < abs(wanted) < 1e150 or not np.isfinite(a_).all():
        raise RequestError(f"change must be of the size of the influences a (≤ {scale_a:.3g}), but is {change:.3g}")
    reach = linprog(-np.sign(wanted) * a_, A_ub=u_[None, :], b_ub=[budget_], bounds=(lower, upper), method="highs")
    if reach.status != 0 or -reach.fun <= 0:
        raise WorkError("no weights improve the metric without costing utility; raise utility_tolerance")
    allowed = min(1.0, _REACHABLE * -reach.fun / abs(wanted))
    target = allowed * wanted

    def dual(multipliers):
        w = np.clip(-multipliers[0] * a_ - multipliers[1] * u_, lower, upper)
        slack = np.array([a_ @ w - target, u_ @ w - budget_])
        return -(0.5 * w @ w + multipliers @ slack), -slack

    bounds = [(None, None), (0.0, None)]
    found = minimize(dual, np.zeros(2), jac=True, method="L-BFGS-B", bounds=bounds,
                     options={"maxiter": 2000, "ftol": 1e-16, "gtol": 1e-11})  # fmt: skip
    w = np.clip(-found.x[0] * a_ - found.x[1] * u_, lower, upper)
    if abs(a_ @ w - target) > 1e-4 * abs(target) or u_ @ w > budget_ + 1e-4 * (abs(budget_) + np.abs(u_) @ np.abs(w)):
        raise WorkError(f"the weights' quadratic programme was not solved: {found.message}")
    if abs(0.5 * w @ w + found.fun) > _GAP * 0.5 * (w @ w):
        raise WorkError("the weights reach the goal, but are not proven to be the smallest; ask for a smaller share")
    return w, allowed


@eqx.filter_jit
def _influences(problem, theta, metric, utility, damping):
    values, slopes = [], []
    for one in (metric, utility):
        value, slope = jax.value_and_grad(lambda theta, one=one: one.soft(problem, theta))(theta)
        values.append(value)
        slopes.append(slope)
    pulled, condition = _solve(problem, theta, damping, jnp.stack(slopes).T)  # (dim, 2)
    pushed = jax.vmap(lambda v: jax.jvp(problem.losses, (theta,), (v,))[1])(pulled.T)  # ∇ℓ_iᵀ H⁻¹ ∇M
    return jnp.stack(values), -pushed, condition


@eqx.filter_jit
def _correct(problem, theta, weights, damping):
    slope = jax.grad(lambda theta: jnp.dot(weights, problem.losses(theta)))(theta)
    move, condition = _solve(problem, theta, damping, slope[:, None])
    return theta - move[:, 0], condition


def _solve(problem: Problem, theta: Array, damping: Array, columns: Array) -> tuple[Array, Array]:
    """(H + nλ)⁻¹ times columns, and the reciprocal condition, both where the diagonal is ±1: units do not matter."""
    matrix = problem.hessian(theta) + problem.n * damping * jnp.eye(problem.dim)
    scale = jnp.sqrt(jnp.abs(jnp.diagonal(matrix)))
    scale = jnp.where(scale > 0, scale, 1.0)
    even = matrix / (scale[:, None] * scale[None, :])
    sizes = jnp.abs(jnp.linalg.eigvalsh(even))
    return jnp.linalg.solve(even, columns / scale[:, None]) / scale[:, None], jnp.min(sizes) / jnp.max(sizes)


def _regular(condition: Array, *results: Array) -> None:
    if not float(condition) > _SINGULAR or not all(bool(jnp.isfinite(result).all()) for result in results):
        raise WorkError(
            f"the Hessian is singular (reciprocal condition {float(condition):.1e}); add a ridge or damping"
        )


def _corrected(problem, theta, w, values, gains, damping, share, reached, kind) -> SoftWeights:
    weights = jnp.asarray(w)
    theta, condition = _correct(problem, theta, weights, jnp.asarray(float(damping)))
    _regular(condition, theta)
    changes = np.asarray(gains) @ w
    metric, utility = (float(value) for value in values)
    return SoftWeights(weights, theta, metric, utility, float(changes[0]), float(changes[1]), share, reached, kind)
