"""`Curvature`: the matrix that every influence inverts, as a product with vectors or as a dense matrix.

Notation: B = ∇²R_ε(θ) ("exact") or the Gauss–Newton G_ε(θ) ("gauss-newton"), λ `damping`, v a vector (dim,).
Scale: B + nλI, sum convention, which is n times the papers' B/n + λI; so `damping` means the same number everywhere.
"""

from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._errors import RequestError, WorkError
from ..problem import Problem
from ._endpoint import as_damping, is_concrete
from ._progress import tick

Kind = Literal["exact", "gauss-newton"]


class Curvature(eqx.Module):
    """B + nλI at θ for the weight ε of the deleted points (sum convention). Products need memory O(dim + n·width)."""

    problem: Problem
    theta: Float[Array, " dim"]
    epsilon: Float[Array, "..."]
    damping: Float[Array, ""]
    kind: Kind = eqx.field(static=True)
    progress: bool = eqx.field(static=True)

    def __init__(
        self,
        problem: Problem,
        theta: Float[Array, " dim"],
        epsilon: Any = 1.0,
        *,
        hessian: str = "exact",
        damping: Any = 0.0,
        progress: bool = False,
    ):
        if hessian not in ("exact", "gauss-newton"):
            raise RequestError(f"hessian must be 'exact' or 'gauss-newton', but is {hessian!r}")
        self.problem = problem
        self.theta = theta
        self.epsilon = jnp.asarray(epsilon, dtype=float)
        self.damping = as_damping(damping)
        self.kind = "exact" if hessian == "exact" else "gauss-newton"
        self.progress = progress

    @property
    def shift(self) -> Float[Array, ""]:
        """nλ, what the damping adds to the diagonal."""
        return self.problem.n * self.damping

    def product(self, v: Float[Array, " dim"]) -> Float[Array, " dim"]:
        """(B + nλI) v."""
        if self.progress:
            jax.debug.callback(tick)
        multiply = self.problem.hvp if self.kind == "exact" else self.problem.gauss_newton_vp
        return multiply(self.theta, v, self.epsilon) + self.shift * v

    def sampled_product(self, v: Float[Array, " dim"], rows: Int[Array, " batch"]) -> Float[Array, " dim"]:
        """(B + nλI) v with the sum over points estimated from the given rows; its cost is that of those rows."""
        if self.progress:
            jax.debug.callback(tick)
        problem = self.problem
        data, weights = (problem.data.x[rows], problem.data.y[rows]), problem.weights(self.epsilon)[rows]
        scale = problem.n / rows.shape[0]

        def predict(theta):
            return problem.model.predict(theta, data[0], problem.output_shape)

        def risk(outputs):
            return scale * (weights @ jax.vmap(problem.loss.value)(outputs, data[1]))

        if self.kind == "exact":
            _, moved = jax.jvp(jax.grad(lambda theta: risk(predict(theta))), (self.theta,), (v,))
        else:
            outputs, pushed = jax.jvp(predict, (self.theta,), (v,))
            _, bent = jax.jvp(jax.grad(risk), (outputs,), (pushed,))
            moved = jax.vjp(predict, self.theta)[1](bent)[0]
        return moved + (problem.ridge + self.shift) * v

    def matrix(self) -> Float[Array, "dim dim"]:
        """B + nλI, dense and symmetric."""
        build = self.problem.hessian if self.kind == "exact" else self.problem.gauss_newton
        return build(self.theta, self.epsilon) + self.shift * jnp.eye(self.theta.shape[0])


@eqx.filter_jit
def dense(curvature: Curvature) -> tuple[Float[Array, "dim dim"], Float[Array, " dim"]]:
    """The matrix and its eigenvalues from small to large."""
    matrix = curvature.matrix()
    return matrix, jnp.linalg.eigvalsh(matrix)


def definite_matrix(curvature: Curvature, what: str = "influence") -> Float[Array, "dim dim"]:
    """B + nλI; `WorkError` naming its smallest eigenvalue, and what to try, unless that is positive beyond rounding."""
    matrix, eigenvalues = dense(curvature)
    if is_concrete(eigenvalues):
        values = np.asarray(eigenvalues)
        floor = 10 * len(values) * np.finfo(float).eps * float(np.abs(values).max())
        if not float(values[0]) > floor:
            raise WorkError(_advice(curvature, float(values[0]), floor, what))
    return matrix


def _advice(curvature: Curvature, smallest: float, floor: float, what: str) -> str:
    name = "Hessian" if curvature.kind == "exact" else "Gauss–Newton matrix"
    state = "indefinite" if smallest < -floor else "singular"
    weights = np.asarray(curvature.problem.weights(curvature.epsilon))
    kept, dim = int((weights > 0).sum()), curvature.theta.shape[0]
    because = f" ({kept} points are left for {dim} parameters)" if kept < dim and state == "singular" else ""
    options = "ridge= on the problem, or damping= > 0"
    if state == "indefinite":
        options = "hessian='gauss-newton' with damping= > 0, a damping= above −λ_min/n, solver='gmres', or train on"
    found = f"it is {state}: smallest eigenvalue {smallest:.2e}{because}"
    return f"{what} needs a definite {name}, but {found}; try {options}"
