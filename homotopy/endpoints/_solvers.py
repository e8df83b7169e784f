"""The solvers of (B + nλI)x = v by name, and how much memory each takes."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._checks import Number, Theta, choice
from .._errors import RequestError, WorkError
from .._progress import as_progress
from ..problem import Problem, on_problem
from ._curvature import Curvature, definite
from ._ekfac import EKFAC
from ._endpoint import DENSE_LIMIT, is_concrete
from ._frame import frame
from ._inverse import CG, GMRES, AbstractInverse, Arnoldi, Cholesky, LiSSA, Solution, solve_all, solve_factored
from ._objectives import WeightedRisk

_LIKE = 1e3  # sizes of columns that differ by more cost a solver in user units its digits

SOLVERS: dict[str, type[AbstractInverse]] = {
    "cholesky": Cholesky,
    "cg": CG,
    "gmres": GMRES,
    "lissa": LiSSA,
    "arnoldi": Arnoldi,
    "ekfac": EKFAC,
}


def as_solver(solver: str | AbstractInverse) -> AbstractInverse:
    """A solver by name, with its defaults, or as given."""
    if isinstance(solver, AbstractInverse):
        return solver
    return SOLVERS[choice(solver, "solver", SOLVERS, " or such an object")]()


def solve_rows(
    curvature: Curvature,
    vectors: Float[Array, "m dim"],
    solver: str | AbstractInverse,
    *,
    what: str = "influence",
    progress: Any = False,
) -> Solution:
    """(B + nλI)⁻¹ v for every row v.

    Raises `WorkError` if a dense solver or LiSSA meets a matrix that is not positive definite, or if the answer is not
    finite or diverged; iterative solvers report how far they came in `residual`.
    """
    solver = as_solver(solver)
    if isinstance(solver, Cholesky):
        if curvature.theta.shape[0] > DENSE_LIMIT:
            raise RequestError(
                f"solver='cholesky' needs the dense matrix, up to {DENSE_LIMIT} parameters, but there are "
                f"{curvature.theta.shape[0]}; use solver='cg' with damping"
            )
        return solve_factored(definite(curvature, what), vectors)
    concrete = is_concrete((curvature.theta, vectors, curvature.damping, curvature.epsilon))
    if concrete:
        _require_like_columns(curvature, solver)
    if isinstance(solver, LiSSA) and concrete:
        solver.check(curvature)
    with as_progress(progress).task(what):
        solution = jax.block_until_ready(solve_all(curvature, vectors, solver))
    if is_concrete(solution.x) and not bool(jnp.isfinite(solution.x).all()):
        raise WorkError(
            f"{type(solver).__name__} gave no finite {what}: the matrix is singular or indefinite for it; try a larger "
            "damping, hessian='gauss-newton', solver='gmres', or (LiSSA) a larger scale"
        )
    if isinstance(solver, LiSSA) and concrete and solver.diverged(float(jnp.max(solution.residual))):
        raise WorkError(
            f"LiSSA diverged: the residual of the {what} is {float(jnp.max(solution.residual)):.2g} times the right-hand "
            f"side after {solver.steps} steps; try a larger scale or batch, or solver='cg'"
        )
    return solution


def _require_like_columns(curvature: Curvature, solver: AbstractInverse) -> None:
    """`RequestError` where a solver that works in the user's units meets columns of very different sizes.

    Its residual is small there while the small columns' part of the answer is anything.
    """
    in_units = isinstance(solver, Arnoldi | LiSSA) or (isinstance(solver, CG) and solver.rank > 0)
    if not in_units or not curvature.problem.model.linear:
        return
    scale = frame(WeightedRisk(curvature.problem, curvature.epsilon, curvature.shift), curvature.theta.shape[0]).scale
    spread = float(jnp.max(scale) / jnp.min(scale))
    if spread > _LIKE:
        raise RequestError(
            f"solver={type(solver).__name__} needs columns of like sizes, but they differ by a factor of {spread:.0e}; "
            "standardise the features, or use solver='cholesky', 'cg' or 'gmres'"
        )


@on_problem
def inverse_memory(
    problem: Problem,
    theta: Theta,
    solver: str | AbstractInverse,
    *,
    hessian: str = "gauss-newton",
    damping: Number = 0.1,
) -> dict[str, float]:
    """Bytes that the compiled solve of one right-hand side works with, beside 8·dim, the bytes of θ.

    A benchmark: `working` / `theta` stays bounded as dim grows for the matrix-free solvers (O(dim)), and grows like dim
    for Cholesky (O(dim²)). Nothing is run, the compiler's own account is read. `theta` is (dim,); raises `RequestError`
    for an unknown solver.

    Example (continues the package's):

        >>> memory = inverse_memory(problem, theta0, "cg")
        >>> sorted(memory)
        ['dim', 'ratio', 'theta', 'working']
    """
    theta, chosen = problem.check_theta(theta, "theta"), as_solver(solver)
    curvature = Curvature(problem, theta, 1.0, hessian=hessian, damping=damping)
    job: Any = eqx.filter_jit(solve_all)
    analysis = job.lower(curvature, theta[None], chosen).compile().compiled.memory_analysis()
    working, own = float(analysis.temp_size_in_bytes), 8.0 * problem.dim
    return {"dim": float(problem.dim), "working": working, "theta": own, "ratio": working / own}
