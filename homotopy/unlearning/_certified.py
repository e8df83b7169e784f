"""Certified removal: one Newton step per request, hidden by a random linear term in the objective (arXiv 1911.03030).

    train     θ = argmin R_1(θ) + bᵀθ,  b ~ N(0, σ²I)
    remove    θ ← θ + H₋⁻¹ g_J(θ),  H₋ = ∇²R⁻(θ)
    residual  ‖∇R⁻(θ) + b‖ ≤ ½γ ‖X₋‖₂ ‖p‖_∞ ‖p‖,  p = X₋H₋⁻¹g_J,  γ the Lipschitz constant of ℓ″

The paper's γ ‖X₋‖₂ ‖H₋⁻¹g_J‖ ‖p‖ is for inputs of norm ≤ 1; Taylor's remainder ½γ |p_i|² per point asks for no such thing.
The residuals of all removals add up; while their sum β stays within the shift that b hides to (ε, δ) by the analytic
Gaussian mechanism (the paper's σε/√(2 ln(1.5/δ)) is not enough for large ε), the paper counts the model as certified; when
the next removal would exceed it, the model is trained again with a new b. These are `bounds`, `used`, `allowed`.

That count takes the residual for a shift of b that does not depend on b. It does (θ holds b), so that it is no proof for
logistic regression; `_proof.py` has one, and `CertifiedRemoval.guarantee` is by it alone.
"""

import time
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .._checks import Indices, Key, Number, Whole, as_key, number
from .._errors import RequestError, WorkError
from ..problem import LogisticLoss, Problem, on_problem
from . import _checks
from ._checkpoint import digest, identity
from ._convex import weighted_minimum
from ._privacy import Guarantee, analytic_gaussian_sigma
from ._proof import LOGISTIC_LIPSCHITZ, removal_guarantee
from ._publish import concrete, release, released, secret


@dataclass(frozen=True)
class CertifiedRemoval:
    """R removals in order, made by `certified_removal` (Guo et al., arXiv 1911.03030).

    `thetas` (R, dim) after each; they hold the noise b already. `publish` gives one away and counts it. `bounds` (R,)
    of the gradient residual each removal added, `used` (R,) the sum since the last training, `allowed` what the paper's
    count permits, `residuals` (R,) the true ‖∇R⁻ + b‖ ≤ used, `retrained` (R,) whether the request was met by training
    again, `trained` (dim,) the model before, `seconds` (R,). `guarantees` (R,): what is proven of each, for the budget
    `privacy_epsilon`, `privacy_delta` and the noise `perturbation` σ. `run` is what a publication is counted by.

    Example (continues the package's):

        >>> ridged = Problem(LinearRegression(), data, delete=3, ridge=1.0)
        >>> removed = certified_removal(ridged, [3, 5], perturbation=1.0, privacy_epsilon=1.0, privacy_delta=1e-3)
        >>> removed.thetas.shape, removed.guarantee.holds, removed.retrained.tolist()
        ((2, 2), True, [False, False])
        >>> removed.publish().shape
        (2,)
    """

    thetas: Float[Array, "requests dim"]
    trained: Float[Array, " dim"]
    bounds: Float[np.ndarray, " requests"]
    used: Float[np.ndarray, " requests"]
    residuals: Float[np.ndarray, " requests"]
    retrained: Bool[np.ndarray, " requests"]
    allowed: float
    privacy_epsilon: float
    privacy_delta: float
    perturbation: float
    seconds: Float[np.ndarray, " requests"]
    guarantees: tuple[Guarantee, ...] = field(repr=False, default=())
    run: str = field(repr=False, default="")

    @property
    def guarantee(self) -> Guarantee:
        """What is proven of the model after the last request."""
        return self.guarantees[-1]

    def publish(self, request: Whole = -1) -> Float[Array, " dim"]:
        """θ after a request (−1: the last), as it is.

        Counted: the budget pays for `guarantee.publications` different models of this run (these data and requests),
        whatever the key. Two with one b (no training between them) tell b together, so that only one of them can go out.
        Raises `RequestError` for more and where there is no guarantee.
        """
        if not isinstance(request, int) or not -len(self.thetas) <= request < len(self.thetas):
            raise RequestError(
                f"request must be a whole number below {len(self.thetas)} (−1: the last), but is {request!r}"
            )
        guarantee = self.guarantees[request]
        if not guarantee.holds:
            raise RequestError(f"publish has {guarantee}")
        concrete(self.thetas)
        theta, last = self.thetas[request], request % len(self.thetas)
        for other in range(len(self.thetas)):
            shares = not self.retrained[min(other, last) + 1 : max(other, last) + 1].any()
            if other != last and shares and released(self.run, self.thetas[other]):
                raise RequestError(
                    f"publish: the model after request {other} went out with the same noise b, and the two together would "
                    "tell it; train again (another key) for another publication"
                )
        return release(self.run, theta, guarantee.budget)

    def __str__(self) -> str:
        return (
            f"certified removal of {len(self.bounds)} requests: objective perturbation σ = {self.perturbation:g}; "
            f"{int(self.retrained.sum())} retrained, residual used {self.used[-1]:.3g} of {self.allowed:.3g} by the paper's "
            f"count for ({self.privacy_epsilon:g}, {self.privacy_delta:g}) (true {self.residuals[-1]:.1e})\n"
            f"  {self.guarantee}"
        )


@on_problem
def certified_removal(
    problem: Problem,
    delete: Indices,
    *,
    perturbation: Number,
    privacy_epsilon: Number,
    privacy_delta: Number,
    key: Key = 0,
    publications: Whole = 1,
) -> CertifiedRemoval:
    """Train with objective perturbation σ = `perturbation` and remove the points `delete` in order.

    `delete` are points (R,), or groups (R, k).

    Guo et al., arXiv 1911.03030. `problem.delete` is not looked at. Sum convention: b is added to the sum R, and the
    ridge stays ρ.

    Theorem (`_proof.py`): the published θ is (ε, δ)-indistinguishable from argmin R⁻ + bᵀθ, trained without the points; for
    k = `publications` runs with their own b each has (ε/k, δ/k). Linear regression: the step is exact, and nothing else is
    asked for. Logistic regression, checked, and `guarantee` is withdrawn if not so: residuals and their dependence on b,
    bounded for every b, fit into the budget (a strong ridge); no request was met by training again (whether one is depends
    on b, and tells of it). Checked, else refused: ρ > 0, converged training; `publish` counts. Not checked: see `Guarantee`.

    Raises `RequestError` for models other than linear and (binary) logistic regression, where γ is not known, for ρ = 0,
    for repeated points and budgets outside their range; `WorkError` if training does not reach its minimum or the residual
    it may leave.

    Example (continues the package's):

        >>> ridged = Problem(LinearRegression(), data, delete=3, ridge=1.0)
        >>> removed = certified_removal(ridged, [3, 5], perturbation=1.0, privacy_epsilon=1.0, privacy_delta=1e-3)
        >>> print(removed.guarantee.holds, removed.thetas.shape)
        True (2, 2)
    """
    if problem.least_squares:
        third = 0.0
    elif problem.model.linear and isinstance(problem.loss, LogisticLoss):
        third = LOGISTIC_LIPSCHITZ
    else:
        raise RequestError("certified_removal needs linear or binary logistic regression: ℓ″ must be Lipschitz in xᵀθ")
    if float(problem.ridge) <= 0:
        raise RequestError("certified_removal needs a ridge > 0: without it a removal may leave no minimum")
    epsilon, delta = _checks.budget(privacy_epsilon, privacy_delta)
    times = _checks.count(publications, "publications", 1)
    sigma = number(perturbation, "perturbation", above=0.0)
    groups = _groups(problem, delete)
    allowed = sigma / analytic_gaussian_sigma(1.0, epsilon / times, delta / times)
    run = digest(sorted(identity(problem).items()), "certified removal", groups.tolist())
    keys = jax.random.split(secret(as_key(key), run), len(groups) + 1)
    alive = jnp.ones(problem.n)
    tilt = sigma * jax.random.normal(keys[0], (problem.dim,))
    theta, slope = _train(problem, alive, jnp.zeros(problem.dim), tilt)
    trained, used = theta, float(slope)
    if not used <= allowed:
        raise WorkError(f"training left ‖∇‖ = {used:.1e}, more than the budget's {allowed:.1e}; raise perturbation")
    rows: list[tuple[Array, float, float, float, bool, float]] = []
    for request, group in enumerate(groups):
        began = time.perf_counter()
        after = alive.at[jnp.asarray(group)].set(0.0)
        moved, bound, residual = _remove(problem, theta, tilt, alive, after, third)
        again = not used + float(bound) <= allowed
        if again:
            tilt = sigma * jax.random.normal(keys[request + 1], (problem.dim,))
            moved, residual = _train(problem, after, theta, tilt)
            used = float(residual)
        else:
            used += float(bound)
        theta, alive = moved, after
        rows.append((theta, float(bound), used, float(residual), again, time.perf_counter() - began))
    thetas, bounds, sums, residuals, renewed, seconds = zip(*rows, strict=True)
    proofs = removal_guarantee(problem, groups, np.array(renewed), sigma, (epsilon, delta, times), allowed)
    return CertifiedRemoval(
        jnp.stack(thetas), trained, np.array(bounds), np.array(sums), np.array(residuals), np.array(renewed), allowed,
        epsilon, delta, sigma, np.array(seconds), proofs, run,
    )  # fmt: skip


def _groups(problem: Problem, delete: Any) -> np.ndarray:
    try:
        groups = np.atleast_1d(np.asarray(delete))
    except ValueError:
        raise RequestError("delete must be points, or groups of one size (R, k)") from None
    if groups.ndim > 2:
        raise RequestError(f"delete must be points (R,), or groups (R, k), but has shape {groups.shape}")
    problem.deleting(groups.reshape(-1))  # refuses repeated points and all of them
    return groups.reshape(len(groups), -1)


def _train(problem: Problem, weights: Array, start: Array, tilt: Array) -> tuple[Array, Array]:
    theta, slope, proven = _solve(problem, weights, start, tilt)
    if not bool(proven):
        raise WorkError(
            "training did not reach its minimum; scale the columns of x to a usual size, or raise the ridge"
        )
    return theta, slope


_solve = eqx.filter_jit(weighted_minimum)


@eqx.filter_jit
def _remove(problem: Problem, theta: Array, tilt: Array, before: Array, after: Array, third: Any):
    gone = before - after

    def loss(theta, weights):
        return jnp.dot(weights, problem.losses(theta))

    slope = jax.grad(loss)(theta, gone)
    hessian = jax.hessian(problem.weighted_risk)(theta, after)
    move = jnp.linalg.solve(hessian, slope)
    x = problem.design * after[:, None]
    pushed = x @ move.reshape(x.shape[1], -1)
    spectral = jnp.linalg.norm(x, 2)
    bound = 0.5 * third * spectral * jnp.max(jnp.abs(pushed)) * jnp.linalg.norm(pushed)
    new = theta + move
    residual = jnp.linalg.norm(jax.grad(problem.weighted_risk)(new, after) + tilt)
    return new, bound, residual
