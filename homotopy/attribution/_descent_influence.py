"""Influence along gradient descent: what removing a point does to a query, from the iterates of a training run.

All functions return (queries, n) with one sign and scale: + = removing the point increases the query's loss, by this
much to first order (sum convention: the whole point is removed from the training), as `influence_matrix` does.

Notation: θ_k the iterates, η `step`, B_k the batch of step k, g_q the gradient of a query at θ_K, H_k the Hessian of the
risk that step k used.

    SGD-influence (Hara et al. 2019)   Σ_k η g_qᵀ (I − ηH_{K−1}) … (I − ηH_{k+1}) ∇ℓ_j(θ_k) n_kj     exact for descent
    TracIn (Pruthi et al. 2020)        Σ_k η ∇φ_q(θ_k)·∇ℓ_j(θ_k) n_kj                               Φ = I, g_q moving
    GradDot (Charpiat et al. 2019)     c ∇φ_q(θ_K)·∇ℓ_j(θ_K)                                        one term of it
    SOURCE (Bae et al. 2024)           segments on which H and ∇ℓ_j stand still                      see `source_influence`
"""

import itertools
from typing import Annotated, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._arrays import as_floats
from .._checks import Number, Theta, Times, Values, Whole, choice, instance, number, shown, whole
from .._errors import RequestError, WorkError
from ..endpoints import loss_gradients, query_gradients
from ..flow import StepWeights, compiled_descent
from ..problem import Dataset, Problem, Queries, check_queries, on_problem


class DescentRun(eqx.Module):
    """A training run: iterates `thetas` (steps+1, dim), `weights` (steps, n) of the points in each step, `step` η.

    θ_{k+1} = θ_k − η (Σ_i weights[k, i] ∇ℓ_i(θ_k) + ρθ_k). For batches of b points the weights are n/b on the batch, so
    that a step's gradient is that of the whole risk in the mean (mathematics §10).

    Example (continues the package's):

        >>> run = descend(problem, theta0, step=0.01, steps=20)
        >>> run.thetas.shape, run.weights.shape, run.times[-1].item()
        ((21, 2), (20, 20), 0.2)
    """

    thetas: Float[Array, "k dim"]
    weights: Float[Array, "steps n"]
    step: Float[Array, ""]

    @property
    def times(self) -> Float[Array, " k"]:
        """t = kη of every iterate."""
        return jnp.arange(self.thetas.shape[0]).astype(float) * self.step

    def __str__(self) -> str:
        return f"descent of {self.weights.shape[0]} steps of {float(self.step):g} on {self.weights.shape[1]} points"


@on_problem
def descend(
    problem: Problem, theta0: Theta, *, step: Number, steps: Whole, batch_size: Whole | None = None, seed: Whole = 0,
    point_weights: Annotated[Values, "*steps n"] | None = None,
) -> DescentRun:  # fmt: skip
    """Gradient descent θ ← θ − η∇R(θ) from θ₀ (dim,), on all points or on random batches.

    Batches are drawn without replacement in every epoch.

    `point_weights` (n,) or (steps, n) multiplies the weight of the points: 0 leaves one out, the batches unchanged.
    `WorkError` if it diverges, `RequestError` for weights of another shape. Mathematics §10.

    Example (continues the package's):

        >>> run = descend(problem, theta0, step=0.01, steps=20, batch_size=5, seed=0)
        >>> run.weights[0].sum().item()
        20.0
    """
    theta0 = problem.check_theta(theta0)
    step, steps, seed = number(step, "step", above=0.0), whole(steps, "steps", 1, 10**9), whole(seed, "seed", 0)
    n = problem.n
    if batch_size is None:
        weights = np.ones((steps, n))
    else:
        batch_size = whole(batch_size, "batch_size", 1, n)
        rng = np.random.default_rng(seed)
        per_epoch = n // batch_size
        weights = np.zeros((steps, n))
        for k in range(steps):
            if k % per_epoch == 0:
                order = rng.permutation(n)
            at = (k % per_epoch) * batch_size
            weights[k, order[at : at + batch_size]] = n / batch_size
    if point_weights is not None:
        extra = np.asarray(as_floats(point_weights, "point_weights"))
        if extra.shape not in ((n,), (steps, n)):
            raise RequestError(f"point_weights must have shape ({n},) or ({steps}, {n}), but has {extra.shape}")
        weights = weights * extra
    every = StepWeights(jnp.asarray(weights))
    _, later = compiled_descent(problem, theta0, every, jnp.asarray(step), jnp.arange(steps), save=True)
    thetas = jnp.concatenate([theta0[None], later])
    if not np.isfinite(thetas).all():
        raise WorkError(f"gradient descent diverged: step = {step:g} is too large; it must be below 2/λ_max(∇²R)")
    return DescentRun(thetas, every.values, jnp.asarray(step))


@on_problem
def sgd_influence(problem: Problem, run: DescentRun, queries: Queries | None = None) -> Float[Array, "queries n"]:
    """Minus the derivative (queries, n) of the queries at θ_K by the weights of the points in `run` (Hara et al. 2019).

    + = removing the point from the run raises the query. Exact for descent:
    Σ_k η g_qᵀ(I − ηH_{K−1}) … (I − ηH_{k+1})∇ℓ_j(θ_k)n_kj.

    One backward pass for all queries and points together. `queries` as in `flow_influence_kernel`: None for the
    components of θ_K. Raises `RequestError` for queries that do not fit. Mathematics §10.

    Example (continues the package's):

        >>> run = descend(problem, theta0, step=0.01, steps=20)
        >>> sgd_influence(problem, run).shape, sgd_influence(problem, run, queries=data.subset([0, 1])).shape
        ((2, 20), (2, 20))
    """
    instance(run, "run", DescentRun, "what descend(problem, …) gives")
    asked = query_gradients(problem, run.thetas[-1], queries)
    return _sgd_influence(problem, run, asked)


@eqx.filter_jit
def _sgd_influence(problem, run, asked):
    def back(carry, here):
        adjoint, total = carry
        theta, weight = here
        gradients = loss_gradients(problem, theta)
        total = total + run.step * weight[None, :] * (adjoint @ gradients.T)

        def curvature(v):
            return jax.jvp(lambda theta: jax.grad(problem.weighted_risk)(theta, weight), (theta,), (v,))[1]

        return (adjoint - run.step * jax.vmap(curvature)(adjoint), total), None

    start = (asked, jnp.zeros((asked.shape[0], problem.n)))
    (_, total), _ = jax.lax.scan(back, start, (run.thetas[:-1], run.weights), reverse=True)
    return total


@on_problem
def tracin(
    problem: Problem,
    thetas: Annotated[Values, "k dim"],
    scales: Annotated[Values, "*k"],
    queries: Dataset | None = None,
) -> Float[Array, "queries n"]:
    """Σ_c scales_c ∇φ_q(θ_c)·∇ℓ_j(θ_c) (queries, n) over checkpoints `thetas` (c, dim) (Pruthi et al. 2020).

    `scales` (c,) or one number: the training time that a checkpoint stands for, η × steps between checkpoints. The
    queries are the losses of a `Dataset` (the training points when None). + = removing the point raises the query.
    Raises `RequestError` for shapes and queries that do not fit. Mathematics §10.

    Example (continues the package's):

        >>> run = descend(problem, theta0, step=0.01, steps=20)
        >>> tracin(problem, run.thetas[:-1], 0.01).shape
        (20, 20)
    """
    checkpoints = _checkpoints(problem, thetas)
    weights = np.asarray(as_floats(scales, "scales"))
    if weights.shape not in ((), (len(checkpoints),)):
        raise RequestError(f"scales must be one number or ({len(checkpoints)},), but has shape {weights.shape}")
    asked = problem.data if queries is None else check_queries(problem, queries, "queries")
    return _tracin(problem, checkpoints, jnp.broadcast_to(jnp.asarray(weights), (len(checkpoints),)), asked)


@eqx.filter_jit
def _tracin(problem, checkpoints, scales, asked):
    def add(total, here):
        theta, scale = here
        mine, theirs = loss_gradients(problem, theta), loss_gradients(problem, theta, asked.x, asked.y)
        return total + scale * theirs @ mine.T, None

    total = jnp.zeros((asked.n, problem.n))
    return jax.lax.scan(add, total, (checkpoints, scales))[0]


@on_problem
def grad_dot(
    problem: Problem, theta: Theta, queries: Dataset | None = None, *, scale: Number = 1.0
) -> Float[Array, "queries n"]:
    """scale · ∇φ_q(θ)·∇ℓ_j(θ) (queries, n) at θ `theta` (dim,), the end of training (Charpiat et al. 2019).

    With `scale` the whole training time it is TracIn by one term; queries, sign and errors as in `tracin` (raises as
    it).

    Example (continues the package's):

        >>> print(grad_dot(problem, optimum(problem).theta)[3, 3].round(3))
        0.543
    """
    return tracin(problem, problem.check_theta(theta, "theta")[None, :], scale, queries)


@on_problem
def source_influence(
    problem: Problem,
    thetas: Annotated[Values, "k dim"],
    ts: Times,
    queries: Queries | None = None,
    *,
    segments: Whole = 3,
    hessian: str = "gauss-newton",
) -> Float[Array, "queries n"]:
    """SOURCE (Bae et al. 2024, arXiv 2405.12186): unrolling with H standing still on each segment (queries, n).

    `thetas` (c, dim) are checkpoints at the times `ts` (c,) (t = kη), the last at the end of training; time is cut into
    `segments` of equal length from ts[0] on. On segment l of length τ_l the Hessian H̄_l and the gradients ḡ_lj are
    averages over its checkpoints (the trapezoidal rule), and

        influence_qj = Σ_l g_qᵀ (Π_{m>l} e^{−τ_m H̄_m}) H̄_l⁻¹(I − e^{−τ_l H̄_l}) ḡ_lj.

    One segment of length → ∞ at a minimum is the influence function; segments shorter and shorter the exact flow
    sensitivity (with hessian="exact"). `hessian`: "gauss-newton" (the paper's choice) or "exact". + = removing the
    point raises the query; `queries` as in `sgd_influence`. Raises `RequestError` for shapes that do not fit.

    Example (continues the package's):

        >>> run = descend(problem, theta0, step=0.01, steps=20)
        >>> source_influence(problem, run.thetas, run.times, segments=2).shape
        (2, 20)
    """
    checkpoints = _checkpoints(problem, thetas)
    at = np.asarray(as_floats(ts, "ts"))
    if at.shape != (len(checkpoints),) or len(at) < 2 or (np.diff(at) <= 0).any():
        raise RequestError(f"ts must increase and be one per checkpoint ({len(checkpoints)} ≥ 2), but are {shown(ts)}")
    choice(hessian, "hessian", ("exact", "gauss-newton"))
    segments = whole(segments, "segments", 1, len(at) - 1)
    edges = np.linspace(at[0], at[-1], int(segments) + 1)
    overlap = np.stack([_hat_integrals(at, lower, upper) for lower, upper in itertools.pairwise(edges)])
    asked = query_gradients(problem, checkpoints[-1], queries)
    return _source(problem, checkpoints, jnp.asarray(overlap), asked, hessian == "exact")


def _hat_integrals(at: np.ndarray, lower: float, upper: float) -> np.ndarray:
    """∫ over [lower, upper] of each checkpoint's hat function: the weights of the piecewise linear interpolant."""
    grid = np.unique(np.concatenate([[lower, upper], at[(at > lower) & (at < upper)]]))
    hats = np.stack([np.interp(grid, at, row) for row in np.eye(len(at))])
    return np.sum(0.5 * (hats[:, 1:] + hats[:, :-1]) * np.diff(grid)[None, :], axis=1)


@eqx.filter_jit
def _source(problem, checkpoints, overlap, asked, exact):
    curvature = problem.hessian if exact else problem.gauss_newton
    hessians, gradients = jax.lax.map(lambda theta: (curvature(theta), loss_gradients(problem, theta)), checkpoints)

    def back(carry, weights):
        adjoint, total = carry
        length = jnp.sum(weights)
        rates, vectors = jnp.linalg.eigh(jnp.tensordot(weights, hessians, 1) / length)
        gradient = jnp.tensordot(weights, gradients, 1) / length
        exponent = rates * length
        small = jnp.abs(exponent) < 1e-8
        phi = jnp.where(small, length, -jnp.expm1(-exponent) / jnp.where(small, 1.0, rates))
        turned = adjoint @ vectors
        total = total + (turned * phi[None, :]) @ vectors.T @ gradient.T
        return ((turned * jnp.exp(-exponent)[None, :]) @ vectors.T, total), None

    start = (asked, jnp.zeros((asked.shape[0], problem.n)))
    (_, total), _ = jax.lax.scan(back, start, overlap, reverse=True)
    return total


def _checkpoints(problem: Problem, thetas: Any) -> Float[Array, "c dim"]:
    checkpoints = as_floats(thetas, "thetas")
    if checkpoints.ndim != 2 or checkpoints.shape[1] != problem.dim or checkpoints.shape[0] < 1:
        raise RequestError(f"thetas must have shape (checkpoints, {problem.dim}), but has {checkpoints.shape}")
    return checkpoints
