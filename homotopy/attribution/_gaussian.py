"""The Gaussian that the localised posterior is near θ*, N(·, (βG + γI)⁻¹), and Bayesian influence under it in closed form."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._checks import Number, Theta, flag, number
from .._errors import RequestError
from ..endpoints import loss_gradients, point
from ..problem import Dataset, Problem, check_queries, on_problem


@on_problem
def gaussian_bayesian_influence(
    problem: Problem,
    theta: Theta,
    *,
    inverse_temperature: Number,
    localisation: Number,
    queries: Dataset | None = None,
    leading: bool = False,
) -> Float[Array, "queries n"]:
    """The −Cov(ℓ_i, ℓ_q) (queries, n) of `bayesian_influence` in closed form for least squares (mathematics §10):

        Cov(ℓ_i, ℓ_q) = g_iᵀΣg_q + ½‖J_iΣJ_qᵀ‖²_F,   Σ = (βH + γI)⁻¹, gradients at its mean θ* − Σβ∇R_1(θ*).

    `leading=True` leaves the second term out, which vanishes against the first as β → ∞; it is then −1/β times the
    damped influence (λ = γ/(βn) in the mean convention), and at θ* defined for every model. Raises as the
    sampler does.

    Example (continues the package's):

        >>> options = {"inverse_temperature": 1.0, "localisation": 1.0}
        >>> print(f"{gaussian_bayesian_influence(problem, optimum(problem).theta, **options)[3, 3]:.4f}")
        -0.0365
    """
    theta = problem.check_theta(theta, "theta")
    beta, gamma = temperatures(inverse_temperature, localisation)
    if not problem.least_squares:
        raise RequestError("the closed form is for linear regression with squared loss; use bayesian_influence")
    flag(leading, "leading")
    asked = problem.data if queries is None else check_queries(problem, queries, "queries")
    # For least squares the Gauss–Newton matrix is the Hessian.
    rates, vectors = precision(problem, theta, beta, gamma, "H")
    return _gaussian(
        problem,
        theta,
        jnp.asarray((vectors * rates) @ vectors.T),
        jnp.asarray(beta),
        asked,
        jnp.asarray(0.0 if leading else 0.5),
    )


def precision(
    problem: Problem, theta: Array, beta: float, gamma: float, name: str
) -> tuple[Float[np.ndarray, " dim"], Float[np.ndarray, "dim dim"]]:
    """Eigenvalues and vectors of βG + γI at θ; `RequestError` unless it is definite."""
    rates, vectors = np.linalg.eigh(beta * np.asarray(_gauss_newton(problem, theta)) + gamma * np.eye(problem.dim))
    if rates[0] <= 1e-12 * rates[-1]:
        raise RequestError(
            f"the posterior is improper: β{name} + γI has the eigenvalue {rates[0]:.3g}; give a localisation > 0"
        )
    return rates, vectors


@eqx.filter_jit
def _gauss_newton(problem, theta):
    return problem.gauss_newton(theta)


@eqx.filter_jit
def _gaussian(problem, theta, matrix, beta, asked, second):
    mean = theta - jnp.linalg.solve(matrix, beta * problem.gradient(theta))

    def parts(data):
        jacobians = jax.vmap(lambda x, y: point(problem, mean, x, y).jacobian)(data.x, data.y)
        return loss_gradients(problem, mean, data.x, data.y), jacobians

    mine, mine_j = parts(problem.data)
    theirs, theirs_j = parts(asked)
    whitened = jnp.linalg.inv(jnp.linalg.cholesky(matrix))
    left, right = mine @ whitened.T, theirs @ whitened.T
    products = jnp.einsum("iad,qbd->qiab", mine_j @ whitened.T, theirs_j @ whitened.T)
    return -(right @ left.T + second * jnp.sum(products**2, axis=(2, 3)))


def temperatures(inverse_temperature: Any, localisation: Any) -> tuple[float, float]:
    """β > 0 and γ ≥ 0."""
    beta = number(inverse_temperature, "inverse_temperature", above=0.0)
    return beta, number(localisation, "localisation", least=0.0)
