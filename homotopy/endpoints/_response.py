"""Response functions and the PBRF: what removing J does to objectives that keep θ near θˢ (Bae et al. 2022, §3–4).

**Mean convention** here, as in the papers: L = R_1/n, ε = 1/n removes the points, λ `damping`, gradient norms are those
of the mean objectives. The sum convention's weight of J is 1 − nε.

    exact               r̂(ε) = argmin L − ε ℓ_J
    damped              argmin L − ε ℓ_J + ½λ‖θ − θ̂‖²
    linearised          θ̂ + ε H⁻¹ g_J,  damped: θ̂ + ε (H + λI)⁻¹ g_J      (H of L)
    PBRF                argmin (1/n) Σ_i D_i(f(θ; x_i), f(θˢ; x_i)) − ε ℓ_J + ½λ‖θ − θˢ‖²
    linearised PBRF     θˢ + ε (G/n + λI)⁻¹ g_J(θˢ)                         exactly its derivative at ε = 0
"""

import equinox as eqx
from jaxtyping import Array, Float

from .._checks import Epsilon, Number, Theta, flag
from ..problem import Problem, on_problem
from ._curvature import Curvature
from ._endpoint import Endpoint, as_damping, as_response_epsilon, checked, is_concrete, require_dense
from ._influence import slopes, warn_unless_stationary
from ._inverse import AbstractInverse
from ._newton import assess, minimise
from ._objectives import AbstractObjective, DampedResponse, ProximalBregman, divergences
from ._optimum import trained
from ._separation import require_all_classes
from ._solvers import solve_rows

_ADVICE = "try a larger damping, or throw=False to go on with what was reached"


@on_problem
def bregman(problem: Problem, theta: Theta, reference: Theta) -> Float[Array, " n"]:
    """D_i(f(θ; x_i), f(θ′; x_i)) ≥ 0 of every point (n,): the loss minus its tangent at the reference's prediction.

    ½‖ŷ − ŷ′‖² for squared loss, a KL divergence for the classification losses (notes, Response functions; corrected;
    mathematics §2). θ `theta` and θ′ `reference` are (dim,), else `RequestError`.

    Example (continues the package's):

        >>> print(bregman(problem, theta0, optimum(problem).theta)[:2].round(3))
        [0.102 0.221]
    """
    return divergences(problem, problem.check_theta(theta, "theta"), problem.check_theta(reference, "reference"))


@on_problem
def response(
    problem: Problem,
    theta: Theta | None = None,
    *,
    damping: Number = 0.0,
    epsilon: Epsilon | None = None,
    linearised: bool = False,
    hessian: str = "exact",
    solver: str | AbstractInverse = "cholesky",
    throw: bool = True,
) -> Endpoint:
    """The response function of deleting J: exact or, with `damping` λ > 0, damped; or its linearisation at ε = 0.

        r̂(ε) = argmin L − ε ℓ_J + ½λ‖θ − θ̂‖²,   linearised: θ̂ + ε (H + λI)⁻¹ g_J   (L and H means over n)

    `theta` (dim,) is θ̂, the start and the anchor (computed for linear and logistic regression when not given).
    `epsilon` in [−1/n, 1/n], by default 1/n, which removes J. The nonlinear ones are solved to stationarity by a
    trust-region Newton method from θ̂ (the exact one for a network is therefore the minimum whose basin θ̂ lies in).
    `hessian` and `solver` are for `linearised`. Mean convention. Raises as `optimum` and `influence` do. Bae et al.
    2022, §3; mathematics §2.

    Example (continues the package's):

        >>> print(response(problem).theta.round(3))
        [-1.623  1.288]
    """
    flag(throw, "throw"), flag(linearised, "linearised")
    theta = trained(problem, theta)
    damping, epsilon = as_damping(damping), as_response_epsilon(problem, epsilon)
    objective = DampedResponse(problem, theta, damping, epsilon)
    name = "damped response" if is_concrete(damping) and float(damping) > 0 else "response"
    if linearised:
        curvature = Curvature(problem, theta, 1.0, hessian=hessian, damping=damping)
        return _linearised(objective, curvature, epsilon, solver, f"linearised {name}")
    require_dense(problem, "response")
    if is_concrete((problem, epsilon, damping)) and float(damping) == 0 and 1 - problem.n * float(epsilon) < 1e-12:
        require_all_classes(problem, 0.0)
    return checked(_solve(objective, theta, name), throw, _ADVICE)


@on_problem
def pbrf(
    problem: Problem,
    theta_s: Theta,
    *,
    damping: Number,
    epsilon: Epsilon | None = None,
    throw: bool = True,
) -> Endpoint:
    """The proximal Bregman response: where θ goes from θˢ (dim,) when J is removed and all else is held near θˢ.

        argmin (1/n) Σ_i D_i(f(θ; x_i), f(θˢ; x_i)) − ε ℓ_J(θ) + ½λ‖θ − θˢ‖²

    Every other prediction is held near its own value and θ near θˢ (Bae et al. 2022, eq. 13; mathematics §2). θˢ need
    not be trained: it is stationary at ε = 0 by construction. `damping` λ > 0; `epsilon` 1/n by default. Solved by a
    trust-region Newton method on the full Hessian, to the last bits of ‖∇‖ (`gradient_norm`, mean convention): an
    imprecise PBRF is no reference. Raises `WorkError` if that fails, `RequestError` for λ ≤ 0.

    Example (continues the package's):

        >>> print(pbrf(problem, theta0, damping=0.1).theta.round(3))
        [-0.25  -0.822]
    """
    flag(throw, "throw")
    require_dense(problem, "pbrf")
    anchor = problem.check_theta(theta_s, "theta_s")
    objective = ProximalBregman(
        problem, anchor, as_damping(damping, positive=True), as_response_epsilon(problem, epsilon)
    )
    return checked(_solve(objective, anchor, "PBRF"), throw, _ADVICE)


@on_problem
def pbrf_linearised(
    problem: Problem,
    theta_s: Theta,
    *,
    damping: Number,
    epsilon: Epsilon | None = None,
    solver: str | AbstractInverse = "cholesky",
) -> Endpoint:
    """θˢ + ε (G(θˢ)/n + λI)⁻¹ g_J(θˢ) (dim,), the exact linearisation of `pbrf` in ε at 0 (notes; Bae et al. 2022, §4).

    At ε = 1/n it equals `influence(…, hessian="gauss-newton", damping=λ).estimate`. `gradient_norm` is that of the PBRF
    objective there: the linearisation error as a gradient. Another `solver` gives the last link of the chain of
    mathematics §11. Raises `RequestError` for λ ≤ 0 and as `influence` does.

    Example (continues the package's):

        >>> print(pbrf_linearised(problem, theta0, damping=0.1).theta.round(3))
        [-0.245 -0.817]
    """
    anchor = problem.check_theta(theta_s, "theta_s")
    damping, epsilon = as_damping(damping, positive=True), as_response_epsilon(problem, epsilon)
    objective = ProximalBregman(problem, anchor, damping, epsilon)
    curvature = Curvature(problem, anchor, 1.0, hessian="gauss-newton", damping=damping)
    return _linearised(objective, curvature, epsilon, solver, "linearised PBRF")


def _linearised(
    objective: AbstractObjective, curvature: Curvature, epsilon: Array, solver: str | AbstractInverse, kind: str
) -> Endpoint:
    problem, anchor = curvature.problem, curvature.theta
    here = slopes(problem, anchor)
    warn_unless_stationary(curvature, here.full_norm, here.slope_norm)
    solution = solve_rows(curvature, here.slope[None], solver, what=kind)
    moved = anchor + epsilon * problem.n * solution.x[0]
    return assess(objective, moved, anchor, 0, kind)


@eqx.filter_jit
def _solve(objective: AbstractObjective, start: Array, kind: str) -> Endpoint:
    return minimise(objective, start, kind=kind)
