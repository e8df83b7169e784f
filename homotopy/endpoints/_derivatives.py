"""How θ̇ changes along the path: the second derivative θ̈(ε) and the notes' bound on θ̇(1) − θ̇(0).

    H_ε θ̇ = −g_J,    H_ε θ̈ = −(∇³R_ε[θ̇, θ̇] + 2 ∇²ℓ_J θ̇)     (mathematics §2)

The third derivative is a nested `jvp`, never a tensor. Scale: per unit, and per unit squared, of weight on J.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._checks import Epsilon, Theta, Whole, is_concrete, whole
from .._errors import WorkError
from ..problem import Problem, on_problem
from ._curvature import Curvature, definite, factor
from ._endpoint import as_epsilon
from ._optimum import trained
from ._path import path


class ThetaDotChange(eqx.Module):
    """θ̇(1) and θ̇(0), `theta_dot_full` and `theta_dot_deleted` (dim,); `change` ‖θ̇(1) − θ̇(0)‖ ≤ `bound` max_ε ‖θ̈‖.

    `second_norms` (m,) are ‖θ̈‖ on the grid `epsilons` (m,), `integral` = ‖θ̇(1) − θ̇(0) − ∫₀¹ θ̈ dε‖ by Simpson's
    rule: how well the two sides of the identity agree (mathematics §2). Units: of θ per unit of weight on J.

    Example (continues the package's):

        >>> change = theta_dot_change(problem, count=5)
        >>> print(bool(change.change <= change.bound), change.second_norms.shape)
        True (5,)
    """

    theta_dot_full: Float[Array, " dim"]
    theta_dot_deleted: Float[Array, " dim"]
    change: Float[Array, ""]
    bound: Float[Array, ""]
    integral: Float[Array, ""]
    epsilons: Float[Array, " m"]
    second_norms: Float[Array, " m"]


def theta_dot(problem: Problem, theta: Array, epsilon: Array) -> tuple[Array, Array]:
    """θ̇ and θ̈ at a stationary θ of R_ε, by one factorisation; for tracing."""
    found = factor(Curvature(problem, theta, epsilon))
    first = -found.solve(problem.deleted_gradient(theta))

    def bent(theta):
        return problem.hvp(theta, first, epsilon)

    third = jax.jvp(bent, (theta,), (first,))[1]
    own = jax.jvp(problem.deleted_gradient, (theta,), (first,))[1]
    return first, -found.solve(third + 2.0 * own)


@on_problem
def theta_ddot(problem: Problem, *, epsilon: Epsilon = 1.0, theta: Theta | None = None) -> Float[Array, " dim"]:
    """θ̈(ε) = −H_ε⁻¹(∇³R_ε[θ̇, θ̇] + 2∇²ℓ_J θ̇) (dim,) at the optimum θ(ε), per unit of weight on J squared.

    Mathematics §2. `theta` is θ(ε), computed for linear and logistic regression when not given; `epsilon` one number.
    Raises as `influence`.

    Example (continues the package's):

        >>> print(theta_ddot(problem).round(4))
        [-0.0084 -0.0073]
    """
    epsilon = as_epsilon(problem, epsilon)
    theta = trained(problem, theta, epsilon)
    definite(Curvature(problem, theta, epsilon), "θ̈")
    return eqx.filter_jit(theta_dot)(problem, theta, epsilon)[1]


@on_problem
def theta_dot_change(problem: Problem, *, start: Theta | None = None, count: Whole = 33) -> ThetaDotChange:
    """‖θ̇(1) − θ̇(0)‖ ≤ max_ε ‖θ̈(ε)‖ along the continued path from θ* (notes, "How different really is θ̇(1) from θ̇(0)?").

    `count` values of ε, odd, from 1 to 0; `start` (dim,) as in `path`. Raises as `path` does. Mathematics §2.

    Example (continues the package's):

        >>> print(theta_dot_change(problem, count=5).change.round(4))
        0.014
    """
    count = whole(count, "count", 3, 100_001)
    count = count + 1 - count % 2
    epsilons = jnp.linspace(1.0, 0.0, count)
    thetas = path(problem, epsilons, start=start).thetas
    first, second = _along(problem, thetas, epsilons)
    if is_concrete(second) and not bool(jnp.isfinite(second).all()):
        raise WorkError(
            "∇²R_ε is singular somewhere on the path, and θ̇(ε) is not defined there; give the problem a ridge"
        )
    norms = jnp.linalg.norm(second, axis=1)
    simpson = jnp.where(jnp.arange(count) % 2 == 1, 4.0, 2.0).at[jnp.array([0, -1])].set(1.0) / (3.0 * (count - 1))
    change = first[0] - first[-1]
    return ThetaDotChange(
        first[0], first[-1], jnp.linalg.norm(change), jnp.max(norms), jnp.linalg.norm(change - simpson @ second),
        epsilons, norms,
    )  # fmt: skip


@eqx.filter_jit
def _along(problem: Problem, thetas: Array, epsilons: Array) -> tuple[Array, Array]:
    return jax.lax.map(lambda row: theta_dot(problem, *row), (thetas, epsilons))
