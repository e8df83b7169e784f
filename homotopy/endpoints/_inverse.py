"""x = (B + nλI)⁻¹ v: one small class per way of solving, each with the residual of its answer.

Dense Cholesky for up to a few thousand parameters; conjugate gradients, GMRES, LiSSA and low-rank Lanczos need only
products Bv, memory O(dim) (O(rank·dim) for the low-rank ones). The linear algebra is Lineax's.

Notation: B + nλI `curvature`, v `vector`, x the answer, r = ‖(B + nλI)x − v‖/‖v‖ `residual`.
"""

import abc
import dataclasses
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
from jaxtyping import Array, Float, Int

from .._checks import Number, Whole, as_tolerance, whole
from .._errors import RequestError, WorkError
from ._curvature import Curvature, Factor, factor
from ._spectrum import lanczos, largest_eigenvalue, nystrom

_LOOK = 50  # Lanczos steps that look for a negative eigenvalue before LiSSA runs


class Solution(NamedTuple):
    """x, its relative residual in columns of equal size, with exact products, and the solver's steps (0 if direct)."""

    x: Float[Array, "*batch dim"]
    residual: Float[Array, "*batch"]
    iterations: Int[Array, "*batch"]


class AbstractInverse(eqx.Module):
    """A way of solving (B + nλI)x = v, B the Hessian or the Gauss–Newton matrix (mathematics §2), x and v (dim,).

    A class of one's own has the two methods below, in JAX; `curvature` offers `product(v)`, `matrix()`, `theta` and
    `shift` = nλ. `influence` and its kin measure the residual of the answer.

    Example (continues the package's):

        >>> class Dense(AbstractInverse):
        ...     def prepare(self, curvature):
        ...         return jnp.linalg.inv(curvature.matrix())
        ...     def solve(self, prepared, curvature, vector):
        ...         return prepared @ vector, jnp.asarray(0)
        >>> print(influence(problem, solver=Dense()).theta_dot.round(4))
        [0.0301 0.0261]
    """

    @abc.abstractmethod
    def prepare(self, curvature: Curvature) -> Any:
        """What all right-hand sides share: a factorisation, a preconditioner, an eigenbasis."""

    @abc.abstractmethod
    def solve(
        self, prepared: Any, curvature: Curvature, vector: Float[Array, " dim"]
    ) -> tuple[Float[Array, " dim"], Int[Array, ""]]:
        """x (dim,) and the number of steps ()."""


class Cholesky(AbstractInverse):
    """The dense matrix, factored once: O(dim³) and memory O(dim²). Needs B + nλI ≻ 0, else `WorkError`.

    Named after what it takes the place of: a QR of the rows where the model is linear in θ (so that the units of the
    columns and the squaring of XᵀX cost no digits), an eigendecomposition, refined once, of a network's matrix
    (mathematics §17).

    Example (continues the package's):

        >>> print(influence(problem, solver=Cholesky()).residual < 1e-9)
        True
    """

    def prepare(self, curvature):
        return factor(curvature)

    def solve(self, prepared, curvature, vector):
        return prepared.solve(vector), jnp.zeros((), int)


class CG(AbstractInverse):
    """Conjugate gradients (Hestenes and Stiefel 1952), stopped at `rtol`, for B + nλI ≻ 0; memory O(dim).

    The stop is Lineax's, on the recurrence's own residual; the one that is reported is measured afterwards, and may be
    some ten times `rtol` where B + nλI is ill-conditioned.

    `rank` > 0 first builds a randomised Nyström preconditioner of that rank (Frangella, Tropp and Udell 2023), memory
    O(rank·dim), which pays where few eigenvalues lie far above nλ. `max_steps` stops it earlier (`SolverWarning`), `seed`
    draws the preconditioner; `RequestError` for options out of range.

    Example (continues the package's):

        >>> print(influence(problem, solver=CG(rtol=1e-8)).residual < 1e-6)
        True
    """

    rtol: Number = 1e-10
    max_steps: Whole | None = eqx.field(static=True, default=None)
    rank: Whole = eqx.field(static=True, default=0)
    seed: Whole = eqx.field(static=True, default=0)

    def __check_init__(self):
        as_tolerance(self.rtol, "rtol")
        _wholes(self, max_steps=1, rank=0, seed=0)

    def prepare(self, curvature):
        if self.rank == 0:
            return None
        # Of B alone: the shift is added back in closed form.
        return nystrom(curvature, min(self.rank, curvature.theta.shape[0]), self.seed)

    def solve(self, prepared, curvature, vector):
        options, units = {}, curvature.units() if prepared is None else jnp.ones_like(vector)
        if prepared is not None:
            values, vectors = prepared
            lowest = values[-1] + curvature.shift

            def precondition(v):
                inside = vectors.T @ v
                return v + vectors @ ((lowest / (values + curvature.shift) - 1.0) * inside)

            options["preconditioner"] = _operator(precondition, vector, lx.positive_semidefinite_tag)
        solver = lx.CG(rtol=self.rtol, atol=self.rtol, max_steps=self.max_steps)
        return _scaled(curvature, vector, units, lx.positive_semidefinite_tag, solver, options)


class GMRES(AbstractInverse):
    """Restarted GMRES to a residual of `rtol`, for an indefinite or nearly singular B + nλI; memory O(restart·dim).

    Saad and Schultz 1986. `max_steps` stops it earlier (`SolverWarning`); `RequestError` for options out of range.

    Example (continues the package's):

        >>> print(influence(problem, solver=GMRES()).residual < 1e-6)
        True
    """

    rtol: Number = 1e-10
    max_steps: Whole | None = eqx.field(static=True, default=None)
    restart: Whole = eqx.field(static=True, default=50)

    def __check_init__(self):
        as_tolerance(self.rtol, "rtol")
        _wholes(self, max_steps=1, restart=1)

    def prepare(self, curvature):
        return None

    def solve(self, prepared, curvature, vector):
        restart = min(self.restart, vector.shape[0])
        solver = lx.GMRES(
            rtol=self.rtol, atol=self.rtol, restart=restart, stagnation_iters=restart, max_steps=self.max_steps
        )
        return _scaled(curvature, vector, curvature.units(), lx.symmetric_tag, solver, {})


class LiSSA(AbstractInverse):
    """x ← v/σ + (I − (B + nλI)/σ) x, the Neumann series with σ ≥ λ_max; memory O(dim).

    Agarwal, Bullins and Hazan 2017; Koh and Liang 2017. Converges for B + nλI ≻ 0, slowly where nλ ≪ λ_max: the
    residual says how far it came. Along an eigenvector of a negative eigenvalue it grows without bound and has the
    wrong sign, so an indefinite matrix and a scale below λ_max/2 are refused (`WorkError`, `RequestError`), and a
    diverged answer too.

    `batch_size` points are drawn anew, by `seed`, for each of `steps` steps (all of them when None) and the answer is the
    mean of the last half of the iterates; `scale` is σ, from a power iteration when None.

    Example (continues the package's):

        >>> print(influence(problem, solver=LiSSA(steps=200)).residual < 1e-3, LiSSA().diverged(0.5))
        True False
    """

    steps: Whole = eqx.field(static=True, default=1000)
    batch_size: Whole | None = eqx.field(static=True, default=None)
    scale: Number | None = None
    seed: Whole = eqx.field(static=True, default=0)

    def __check_init__(self):
        _wholes(self, steps=1, batch_size=1, seed=0)
        if self.scale is not None:
            as_tolerance(self.scale, "scale")

    def check(self, curvature: Curvature) -> None:
        """`RequestError` for a scale that must diverge, `WorkError` for a matrix that is seen to be indefinite.

        Ritz values of 50 Lanczos steps (Rayleigh quotients, so a negative one proves it); memory O(50·dim).
        """
        steps = min(_LOOK, curvature.theta.shape[0])
        values = np.asarray(_ritz(curvature, steps, self.seed)) + float(curvature.shift)
        lowest, highest = float(values.min()), float(np.abs(values).max())
        floor = 10 * len(curvature.theta) * np.finfo(float).eps * highest
        if lowest < -floor:
            more = float(curvature.damping) - 1.1 * lowest / curvature.problem.n
            raise WorkError(
                f"LiSSA needs a definite matrix, but it is indefinite: an eigenvalue is at most {lowest:.2e}; try "
                f"damping={more:.2g} or more, hessian='gauss-newton' with damping= > 0, or solver='gmres'"
            )
        if self.scale is not None and float(self.scale) <= 0.5 * highest:
            raise RequestError(
                f"scale must be above half of the largest eigenvalue, {0.5 * highest:.3g}, or LiSSA diverges, but is "
                f"{self.scale:g}; {1.05 * highest:.3g} would do, or None"
            )

    def diverged(self, residual: float) -> bool:
        """Whether the answer is worse than 0. The noise of batches is bounded, divergence is exponential."""
        return not residual <= (1.0 + 1e-9 if self.batch_size is None else 10.0)

    def prepare(self, curvature):
        if self.scale is not None:
            return jnp.asarray(self.scale)
        return 1.05 * largest_eigenvalue(curvature, self.seed)

    def solve(self, prepared, curvature, vector):
        sigma, n = prepared, curvature.problem.n
        if self.batch_size is None:

            def step(_, x):
                return x + (vector - curvature.product(x)) / sigma

            return jax.lax.fori_loop(0, self.steps, step, vector / sigma), jnp.asarray(self.steps)
        batch, key = min(self.batch_size, n), jax.random.key(self.seed)
        # A batch's estimate of B has a larger λ_max than B: by a factor up to n/batch, in practice by about its root.
        sigma = sigma * (1.0 + n / batch) ** 0.5
        tail = self.steps - self.steps // 2

        def draw(k, state):
            x, mean = state
            rows = jax.random.choice(jax.random.fold_in(key, k), n, (batch,), replace=False)
            x = x + (vector - curvature.sampled_product(x, rows)) / sigma
            return x, mean + jnp.where(k >= self.steps - tail, x / tail, 0.0)

        start = vector / sigma
        _, mean = jax.lax.fori_loop(0, self.steps, draw, (start, jnp.zeros_like(start)))
        return mean, jnp.asarray(self.steps)


@eqx.filter_jit
def _ritz(curvature: Curvature, steps: int, seed: int) -> Array:
    return lanczos(curvature, steps, seed)[0]


class Arnoldi(AbstractInverse):
    """The inverse on the `rank` eigenvectors of B with the largest |eigenvalue|, found once by Lanczos iteration with
    full reorthogonalisation (Schioppa et al. 2022; B is symmetric, so Arnoldi's method is Lanczos's).

    Beyond them, where r is the rest of v, the answer is αr with α = rᵀr/rᵀ(B + nλI)r, the best step along r
    (α ≤ 1/(nλ), which is what taking B as 0 there would give): one product a vector. Memory O(steps·dim). `steps` are
    Lanczos steps, more than `rank` when not given, `seed` draws their start; `RequestError` for a rank below 1 and for
    columns of very different sizes.

    Example (continues the package's):

        >>> print(influence(problem, solver=Arnoldi(rank=2)).residual < 1e-6)
        True
    """

    rank: Whole = eqx.field(static=True, default=50)
    steps: Whole | None = eqx.field(static=True, default=None)
    seed: Whole = eqx.field(static=True, default=0)

    def __check_init__(self):
        _wholes(self, rank=1, steps=1, seed=0)

    def prepare(self, curvature):
        dim = curvature.theta.shape[0]
        rank = min(self.rank, dim)
        steps = min(dim, 2 * rank + 10 if self.steps is None else self.steps)
        values, vectors = lanczos(curvature, steps, self.seed)
        largest = jnp.argsort(-jnp.abs(values))[:rank]
        return values[largest], vectors[:, largest]

    def solve(self, prepared, curvature, vector):
        values, vectors = prepared
        inside = vectors.T @ vector
        kept = jnp.abs(values) > 1e-12 * jnp.max(jnp.abs(values))
        x = vectors @ jnp.where(kept, inside / jnp.where(kept, values + curvature.shift, 1.0), 0.0)
        rest = vector - vectors @ jnp.where(kept, inside, 0.0)
        size, bent = rest @ rest, rest @ curvature.product(rest)
        # Where nothing is left but rounding, or B + nλI is not positive along it, that part is left out.
        clear = (bent > 1e-12 * jnp.max(jnp.abs(values)) * size) & (size > 1e-24 * (vector @ vector))
        rest = jnp.where(clear, size / jnp.where(clear, bent, 1.0), 0.0) * rest
        return x + rest, jnp.asarray(vectors.shape[1])


def _wholes(solver: AbstractInverse, **least: int) -> None:
    """The solver's whole numbers, each at least what is given here; None is for whatever has that default."""
    defaults = {field.name: field.default for field in dataclasses.fields(solver)}
    for what, bound in least.items():
        value = getattr(solver, what)
        if value is not None or defaults[what] is not None:
            whole(value, what, bound, 10**9)


def _operator(product, like: Array, tag) -> lx.FunctionLinearOperator:
    return lx.FunctionLinearOperator(product, jax.eval_shape(lambda: like), tag)


def _scaled(curvature: Curvature, vector: Array, units: Array, tag, solver, options) -> tuple[Array, Array]:
    """Solve D(B + nλI)D x′ = Dv, x = Dx′: in columns of equal size the residual bounds the error, which in the user's own
    it does not. For Dv/‖Dv‖, so that the tolerances mean a residual relative to the whole vector."""
    wanted = units * vector
    size = jnp.linalg.norm(wanted)
    size = jnp.where(size > 0, size, 1.0)
    operator = _operator(lambda v: units * curvature.product(units * v), vector, tag)
    answer = lx.linear_solve(operator, wanted / size, solver, options=options, throw=False)
    return size * units * answer.value, jnp.asarray(answer.stats["num_steps"])


@eqx.filter_jit
def solve_all(curvature: Curvature, vectors: Float[Array, "m dim"], solver: AbstractInverse) -> Solution:
    """(B + nλI)⁻¹ v for every row v, sharing what can be shared, one row after the other (memory of one)."""
    prepared, units = solver.prepare(curvature), curvature.units()

    def one(vector):
        x, steps = solver.solve(prepared, curvature, vector)
        size = jnp.linalg.norm(units * vector)
        residual = jnp.linalg.norm(units * (curvature.product(x) - vector)) / jnp.where(size > 0, size, 1.0)
        return Solution(x, residual, jnp.asarray(steps, int))

    return jax.lax.map(one, vectors)


@eqx.filter_jit
def solve_factored(factor: Factor, vectors: Float[Array, "m dim"]) -> Solution:
    """(B + nλI)⁻¹v for every row v, with factors that are already there."""

    def one(vector):
        x = factor.solve(vector)
        return Solution(x, factor.residual(x, vector), jnp.zeros((), int))

    return jax.vmap(one)(vectors)
