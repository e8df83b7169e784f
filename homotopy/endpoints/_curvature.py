"""`Curvature`: the matrix that every influence inverts, as a product with vectors or as a dense matrix.

Notation: B = ∇²R_ε(θ) ("exact") or the Gauss–Newton G_ε(θ) ("gauss-newton"), λ `damping`, v a vector (dim,).
Scale: B + nλI, sum convention, which is n times the papers' B/n + λI; so `damping` means the same number everywhere.
"""

from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._checks import choice
from .._columns import column_scales
from .._errors import WorkError
from ..problem import CrossEntropyLoss, Problem
from ._endpoint import as_damping, is_concrete
from ._frame import frame, spectrum
from ._objectives import WeightedRisk

Kind = Literal["exact", "gauss-newton"]


class Curvature(eqx.Module):
    """B + nλI at θ for the weight ε of the deleted points (sum convention). Products need memory O(dim + n·width)."""

    problem: Problem
    theta: Float[Array, " dim"]
    epsilon: Float[Array, "..."]
    damping: Float[Array, ""]
    kind: Kind = eqx.field(static=True)

    def __init__(
        self,
        problem: Problem,
        theta: Float[Array, " dim"],
        epsilon: Any = 1.0,
        *,
        hessian: str = "exact",
        damping: Any = 0.0,
    ):
        choice(hessian, "hessian", ("exact", "gauss-newton"))
        self.problem = problem
        self.theta = theta
        self.epsilon = jnp.asarray(epsilon, dtype=float)
        self.damping = as_damping(damping)
        self.kind = "exact" if hessian == "exact" else "gauss-newton"

    @property
    def shift(self) -> Float[Array, ""]:
        """nλ, what the damping adds to the diagonal."""
        return self.problem.n * self.damping

    def product(self, v: Float[Array, " dim"]) -> Float[Array, " dim"]:
        """(B + nλI) v."""
        multiply = self.problem.hvp if self.kind == "exact" else self.problem.gauss_newton_vp
        return multiply(self.theta, v, self.epsilon) + self.shift * v

    def sampled_product(self, v: Float[Array, " dim"], rows: Int[Array, " batch"]) -> Float[Array, " dim"]:
        """(B + nλI) v with the sum over points estimated from the given rows; its cost is that of those rows."""
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

    def units(self) -> Float[Array, " dim"]:
        """D, powers of two that bring the columns of a model that is linear in θ to one size; 1 for a network."""
        problem = self.problem
        if not problem.model.linear:
            return jnp.ones_like(self.theta)
        rows = jnp.sqrt(problem.weights(self.epsilon))[:, None] * problem.design
        below = jnp.sqrt(problem.ridge + self.shift) * jnp.eye(rows.shape[1])
        scales = jnp.asarray(column_scales(jnp.concatenate([rows, below])))
        return jnp.repeat(1.0 / scales, self.theta.shape[0] // rows.shape[1])

    def matrix(self) -> Float[Array, "dim dim"]:
        """B + nλI, dense and symmetric."""
        build = self.problem.hessian if self.kind == "exact" else self.problem.gauss_newton
        return build(self.theta, self.epsilon) + self.shift * jnp.eye(self.theta.shape[0])


class Factor(NamedTuple):
    """B + nλI = D⁻¹V Λ VᵀD⁻¹, in the frame of the columns where the model is linear in θ (D = 1 for a network)."""

    scale: Float[Array, " dim"]
    rates: Float[Array, " dim"]
    vectors: Float[Array, "dim dim"]
    flat: Bool[Array, " dim"]
    matrix: Float[Array, "dim dim"]

    def half(self, v: Float[Array, " dim"]) -> Float[Array, " dim"]:
        """Λ^{−½}VᵀDv, so that vᵀ(B + nλI)⁻¹u = half(v)·half(u)."""
        roots = jnp.where(self.flat, jnp.inf, jnp.sqrt(jnp.where(self.flat, 1.0, self.rates)))
        return (self.vectors.T @ (self.scale * v)) / roots

    def solve(self, v: Float[Array, " dim"]) -> Float[Array, " dim"]:
        """(B + nλI)⁻¹v, refined once where that helps: the residual then is that of the product, not of the factors."""
        x = self._solve(self.scale * v)
        # With equilibrated columns V and Λ are as good as QR makes them, which a product with AᵀA would only spoil.
        refined = x + self._solve(self.scale * v - self.matrix @ x)
        own = jnp.all(self.scale == 1.0)
        return self.scale * jnp.where(own, refined, x)

    def residual(self, x: Float[Array, " dim"], v: Float[Array, " dim"]) -> Float[Array, ""]:
        """‖(B + nλI)x − v‖/‖v‖ in the frame."""
        wanted = self.scale * v
        size = jnp.linalg.norm(wanted)
        return jnp.linalg.norm(self.matrix @ (x / self.scale) - wanted) / jnp.where(size > 0, size, 1.0)

    def _solve(self, v: Array) -> Array:
        rates = jnp.where(self.flat, jnp.inf, self.rates)
        return self.vectors @ ((self.vectors.T @ v) / rates)


@eqx.filter_jit
def factor(curvature: Curvature) -> Factor:
    """The matrix in its eigenvectors: by a QR of its rows where the model is linear in θ, else of the dense matrix."""
    problem = curvature.problem
    if problem.model.linear:
        objective = WeightedRisk(problem, curvature.epsilon, curvature.shift)
        here = frame(objective, problem.dim)
        found = spectrum(objective, here, curvature.theta / here.scale)
        matrix = (found.vectors * found.rates[None]) @ found.vectors.T
        return Factor(here.scale, found.rates, found.vectors, found.flat, matrix)
    matrix = curvature.matrix()
    rates, vectors = jnp.linalg.eigh(matrix)
    floor = 10 * rates.shape[0] * jnp.finfo(float).eps * jnp.max(jnp.abs(rates))
    return Factor(jnp.ones_like(rates), rates, vectors, jnp.abs(rates) <= floor, matrix)


def definite(curvature: Curvature, what: str = "influence", *, shifts: bool = False, cure: str = "") -> Factor:
    """B + nλI factored; `WorkError` with its smallest eigenvalue, and what to try, unless it is positive definite.

    Inside a trace nothing can be raised: there its rates, and so whatever is solved with it, are NaN instead.
    `shifts` allows the null space of softmax without a ridge, adding one number to all logits of a point: it changes no
    prediction, so whatever depends on θ through these is well defined, and `Factor` inverts B beside it. `cure` is what
    to try, for those that take no damping.
    """
    found = factor(curvature)
    allowed, count = _shifts(curvature.problem) if shifts else 0, jnp.sum(found.flat)
    good = jnp.all(found.flat | (found.rates > 0)) & ((count == 0) | (count == allowed))
    if not is_concrete(good):
        return found._replace(rates=jnp.where(good, found.rates, jnp.nan), flat=found.flat & good)
    if bool(good):
        return found
    raise WorkError(_advice(curvature, found, what, cure))


def _shifts(problem: Problem) -> int:
    """The number of directions of θ along which all logits of every point move alike (softmax of a linear model)."""
    return problem.design.shape[1] if problem.model.linear and isinstance(problem.loss, CrossEntropyLoss) else 0


def _advice(curvature: Curvature, found: Factor, what: str, cure: str) -> str:
    name = "Hessian" if curvature.kind == "exact" else "Gauss–Newton matrix"
    smallest, flat = float(found.rates[0]), np.asarray(found.flat)
    state = "indefinite" if smallest < 0 and not flat[0] else "singular"
    if not np.isfinite(smallest):
        return f"{what} needs a definite {name}, but its entries are not finite; rescale the data"
    weights = np.asarray(curvature.problem.weights(curvature.epsilon))
    kept, dim = int((weights > 0).sum()), curvature.theta.shape[0]
    because = f" ({kept} points are left for {dim} parameters)" if kept < dim and state == "singular" else ""
    if curvature.problem.model.linear and state == "singular":
        because = f", rank {dim - int(flat.sum())} of {dim} with all columns of equal size{because}"
    options = "ridge= on the problem, or damping= > 0"
    if state == "indefinite":
        options = "hessian='gauss-newton' with damping= > 0, a damping= above −λ_min/n, solver='gmres', or train on"
    found_state = f"it is {state}: smallest eigenvalue {smallest:.2e}{because}"
    return f"{what} needs a definite {name}, but {found_state}; {cure or f'try {options}'}"
