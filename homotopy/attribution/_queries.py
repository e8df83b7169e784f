"""What an attribution is asked about: gradients of the queries at θ, compiled."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..endpoints._matrix import _query_gradients
from ..problem import Dataset, Problem


def query_gradients(problem: Problem, theta: Float[Array, " dim"], queries: Any) -> Float[Array, "queries dim"]:
    """Rows ∇φ_q(θ). `queries`: None for θ itself, a `Dataset`, a function θ ↦ (queries,), or the gradients."""
    if queries is None:
        return jnp.eye(problem.dim)
    if callable(queries) and not isinstance(queries, Dataset):
        queries = _jacobian(queries, theta)
    return _query_gradients(problem, theta, queries)


@eqx.filter_jit
def _jacobian(queries: Callable[[Array], Array], theta: Array) -> Array:
    return jax.jacrev(lambda theta: jnp.atleast_1d(queries(theta)))(theta)
