"""The five gaps between leave-one-out retraining and what an influence function computes (Bae et al. 2022; notes, Error
decomposition and Figure 1; mathematics §11).

    cold retraining → warm retraining → + proximity ½λ‖θ − θˢ‖² → PBRF → linearised PBRF → iterative solver's answer
             warm-start      proximity         non-convergence    linearisation        solver

Each gap is the distance of two neighbours, in θ and in the outputs on the data (root mean square over the points); the
distance of the two ends is at most their sum, which is asserted.
"""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .._checks import Indices, Number, Theta, choice, instance, number, whole
from .._errors import RequestError
from .._progress import Watch, as_progress
from .._statistics import Interval, bootstrap
from ..flow import Constant, simulate
from ..problem import Problem, on_problem
from ._endpoint import Endpoint
from ._inverse import AbstractInverse, LiSSA
from ._newton import assess
from ._objectives import WeightedRisk
from ._optimum import leave_one_out
from ._response import pbrf, pbrf_linearised, response

GAPS = ("warm-start", "proximity", "non-convergence", "linearisation", "solver")
ENDPOINTS = ("cold", "warm", "proximal", "PBRF", "linearised PBRF", "solver")


class ErrorDecomposition(eqx.Module):
    """The five gaps (`GAPS` names them) of one deleted set, and the six endpoints (`ENDPOINTS`) between them.

    `parameters` and `outputs` (…, 5) are distances ≥ 0; `total_parameters`, `total_outputs` (…) those of the ends.
    `thetas` (…, 6, dim), with `gradient_norms` (…, 6) of each endpoint's own objective (the first two in the sum
    convention, the others in the mean convention) and `converged` (…, 6); the linearised ones are no minimisers, so
    their flag is that of the linear solve (relative residual ≤ 1e-6). Bae et al. 2022; mathematics §11.

    Example (continues the package's):

        >>> gaps = decompose_errors(problem, delete=[3, 6], seeds=[0, 1], damping=0.1, t1=0.2, solver="cholesky")
        >>> gaps.parameters.shape, gaps.thetas.shape, bool(gaps.converged.all())
        ((2, 2, 5), (2, 2, 6, 2), True)
        >>> print(gaps.shares("parameters")[0, 0].round(2))
        [0.   0.24 0.75 0.01 0.  ]
        >>> mean, low, high = gaps.interval("outputs", resamples=100)
        >>> print(mean.shape, bool((low <= high).all()))
        (5,) True
    """

    parameters: Float[Array, "*runs 5"]
    outputs: Float[Array, "*runs 5"]
    total_parameters: Float[Array, "*runs"]
    total_outputs: Float[Array, "*runs"]
    thetas: Float[Array, "*runs 6 dim"]
    gradient_norms: Float[Array, "*runs 6"]
    converged: Bool[Array, "*runs 6"]

    def shares(self, of: str = "outputs") -> Float[Array, "*runs 5"]:
        """Each gap over the sum of the five."""
        gaps = self._gaps(of)
        return gaps / jnp.sum(gaps, axis=-1, keepdims=True)

    def interval(
        self, of: str = "outputs", *, level: float = 0.95, resamples: int = 2000, seed: int = 0, shares: bool = False
    ) -> Interval:
        """Mean, lower and upper end (5,) of a percentile bootstrap over seeds and points, for a (seeds, points) batch.

        Seeds and points are drawn independently with replacement, since runs that share either are not independent.
        """
        gaps = np.asarray(self.shares(of) if shares else self._gaps(of))
        if gaps.ndim != 3:
            raise RequestError("interval needs several runs, (seeds, points): decompose_errors gives them")
        if not 0 < number(level, "level") < 1:
            raise RequestError(f"level must lie between 0 and 1, but is {level}")
        resamples, seed = whole(resamples, "resamples", 1), whole(seed, "seed", 0)
        return bootstrap(
            lambda rows, columns: gaps[rows][:, columns].mean(axis=(0, 1)),
            *gaps.shape[:2], level=level, resamples=resamples, seed=seed,
        )  # fmt: skip

    def _gaps(self, of: str) -> Array:
        choice(of, "of", ("parameters", "outputs"))
        return self.parameters if of == "parameters" else self.outputs

    def __str__(self) -> str:
        runs = self.total_outputs.size
        means = np.asarray(self.outputs).reshape(-1, 5).mean(axis=0)
        bars = ", ".join(f"{name} {mean:.3g}" for name, mean in zip(GAPS, means, strict=True))
        done = np.asarray(self.converged).reshape(-1, 6).mean(axis=0)
        unfinished = [f"{name} {1 - share:.0%}" for name, share in zip(ENDPOINTS, done, strict=True) if share < 1]
        return f"{runs} error decomposition(s), mean gaps in outputs: {bars}" + (
            f"; NOT converged: {', '.join(unfinished)}" if unfinished else ""
        )


@on_problem
def decompose_error(
    problem: Problem,
    theta0: Theta,
    *,
    damping: Number,
    t1: float | None = None,
    theta_s: Theta | None = None,
    retrain_t1: float | None = None,
    solver: str | AbstractInverse | None = None,
) -> ErrorDecomposition:
    """The five gaps of removing J from a model θˢ that was trained from θ₀ (dim,) (Bae et al. 2022; mathematics §11).

    θˢ is `theta_s`, or θ(t) of the flow at t = `t1`. The retrainings (cold from θ₀, warm from θˢ) run to the
    limit of the flow, or for `retrain_t1`. `damping` λ > 0 (mean convention). `solver` is the last link, LiSSA by
    default. An endpoint that did not converge is flagged, not raised: the distances stand, but say which it is. Raises
    `RequestError` for λ ≤ 0 and unless exactly one of `theta_s` and `t1` is given.

    Example (continues the package's):

        >>> gaps = decompose_error(problem, theta0, damping=0.1, t1=0.2, solver="cholesky")
        >>> print(gaps.parameters.round(3), gaps.total_parameters.round(3))
        [0.    0.172 0.545 0.006 0.   ] 0.716
    """
    theta0 = problem.check_theta(theta0)
    if t1 is not None and theta_s is None:
        theta_s = simulate(problem, Constant(1.0), theta0, t1=t1, ts=[t1]).theta1
    elif t1 is not None or theta_s is None:
        raise RequestError("give either theta_s, the trained model, or t1, how long to train it from theta0")
    theta_s = problem.check_theta(theta_s, "theta_s")
    chosen = LiSSA() if solver is None else solver
    chain = [
        _retrained(problem, theta0, retrain_t1, warm=False),
        _retrained(problem, theta_s, retrain_t1, warm=True),
        response(problem, theta_s, damping=damping, throw=False),
        pbrf(problem, theta_s, damping=damping, throw=False),
        pbrf_linearised(problem, theta_s, damping=damping),
        pbrf_linearised(problem, theta_s, damping=damping, solver=chosen),
    ]
    answer = _distances(problem, jnp.stack([endpoint.theta for endpoint in chain]))
    for gaps, total in (answer[:2], answer[2:4]):
        # The triangle inequality holds for any six points; a violation would be a mistake in here.
        assert float(total) <= float(jnp.sum(gaps)) * (1 + 1e-10) + 1e-300, "triangle inequality violated"
    solved = jnp.linalg.norm(chain[5].theta - chain[4].theta) <= 1e-6 * jnp.linalg.norm(chain[4].theta - theta_s)
    converged = jnp.stack([*(endpoint.converged for endpoint in chain[:4]), jnp.ones((), bool), solved])
    return ErrorDecomposition(
        parameters=answer[0], total_parameters=answer[1], outputs=answer[2], total_outputs=answer[3],
        thetas=answer[4], gradient_norms=jnp.stack([endpoint.gradient_norm for endpoint in chain]), converged=converged,
    )  # fmt: skip


@on_problem
def decompose_errors(
    problem: Problem,
    *,
    delete: Sequence[Indices],
    seeds: Sequence[int],
    damping: Number,
    t1: float,
    retrain_t1: float | None = None,
    solver: str | AbstractInverse | None = None,
    progress: Watch = False,
) -> ErrorDecomposition:
    """`decompose_error` for every seed (θ₀ = problem.initial(seed)) and deleted set, with leading axes (seeds, points).

    `delete` holds indices, or groups of one size. `interval` of the result gives means with confidence intervals.
    Raises as `decompose_error`. Mathematics §11.

    Example (continues the package's):

        >>> gaps = decompose_errors(problem, delete=[3, 6], seeds=[0, 1], damping=0.1, t1=0.2, solver="cholesky")
        >>> gaps.outputs.shape
        (2, 2, 5)
    """
    for what, several in (("delete", delete), ("seeds", seeds)):
        instance(several, what, (Sequence, np.ndarray), "a list, even of one")
    for seed in seeds:
        whole(seed, "seeds: each", 0)
    runs = [(seed, j) for seed in seeds for j in delete]
    if not runs:
        raise RequestError("delete and seeds must each name at least one")
    trained = {}
    for seed in dict.fromkeys(seeds):
        start = problem.initial(seed)
        trained[seed] = start, simulate(problem, Constant(1.0), start, t1=t1, ts=[t1]).theta1
    rows = [
        decompose_error(
            problem.deleting(j),
            trained[seed][0],
            theta_s=trained[seed][1],
            damping=damping,
            retrain_t1=retrain_t1,
            solver=solver,
        )
        for seed, j in as_progress(progress).track(runs, "error decomposition")
    ]
    leaves = {
        name: jnp.stack([getattr(row, name) for row in rows]).reshape(len(seeds), len(delete), *value.shape)
        for name, value in vars(rows[0]).items()
    }
    return ErrorDecomposition(**leaves)


def _retrained(problem: Problem, start: Array, time: float | None, *, warm: bool) -> Endpoint:
    if time is None:
        if warm:
            return leave_one_out(problem, start="warm", theta=start, throw=False)
        return leave_one_out(problem, theta0=start, throw=False)
    theta = simulate(problem, Constant(0.0), start, t1=time, ts=[time]).theta1
    return assess(WeightedRisk(problem, jnp.zeros(())), theta, start, 0, "retrained for a time")


@eqx.filter_jit
def _distances(problem: Problem, thetas: Array) -> tuple[Array, Array, Array, Array, Array]:
    outputs = jnp.stack([problem.predict(theta).reshape(-1) for theta in thetas]) / jnp.sqrt(1.0 * problem.n)

    def gaps(rows):
        return jnp.linalg.norm(jnp.diff(rows, axis=0), axis=1), jnp.linalg.norm(rows[-1] - rows[0])

    return *gaps(thetas), *gaps(outputs), thetas
