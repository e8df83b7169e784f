"""When a point matters: the exact sensitivity of θ(T), or of any query, to the weight of every point at every time.

Notation: θ(t) the flow of R_ε, q a query with gradient g_q = ∇φ_q(θ(T)), Φ(T, t) the flow's linearisation from t to T.

    δθ(T) = −∫₀ᵀ Φ(T,t) ∇ℓ_j(θ(t)) δw_j(t) dt,   k_qj(t) = −g_qᵀ Φ(T,t) ∇ℓ_j(θ(t))   (mathematics §10)

λ(t) = Φ(T,t)ᵀ g_q solves λ̇ = ∇²R_ε(θ(t)) λ backwards from λ(T) = g_q, where it is stable; then one derivative of all
losses in the direction λ gives k for all n points: one adjoint solve per query, and none per point.
"""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._checks import Number, Theta, Times, as_time, as_times, as_tolerance
from .._errors import WorkError
from ..endpoints import query_gradients
from ..flow import AbstractSchedule, Constant, Dense, Reversed, advice, check, choose_solver, integrate, simulate
from ..problem import Dataset, Problem, Queries, check_queries, on_problem

_MAX_STEPS = 4096  # per arc of the adjoint solve: its steps are the panels of the time integral
_NODES, _WEIGHTS = (jnp.asarray(values) for values in np.polynomial.legendre.leggauss(5))
_PANELS = 64  # panels are integrated this many at a time, and their number is rounded up to a multiple


class FlowKernel(eqx.Module):
    """The sensitivity of queries to every point's weight, resolved in time.

    `kernel` (queries, times, n): change of the query per unit of weight added to point j per unit of time at t; sum
    convention. `removal` (queries, times, n) = −∫_t^T k ds: change of the query, to first order, when a unit of the
    point's weight is taken away from t on (a deleted point under ε(t) < 1 has less than that); its first time slice,
    when `ts` starts at 0, is the influence of the point on the whole training: + = removing the point increases the
    query, the sign of `influence_matrix`. `ts` (times,), `thetas` (times, dim) and `theta1` (dim,) are the trajectory,
    `steps` (queries,) those of the adjoint solves. Mathematics §10.

    Example (continues the package's):

        >>> kernel = flow_influence_kernel(problem, theta0, t1=0.2, ts=[0.0, 0.1, 0.2])
        >>> kernel.kernel.shape, kernel.removal.shape, kernel.thetas.shape
        ((2, 3, 20), (2, 3, 20), (3, 2))
    """

    ts: Float[Array, " times"]
    thetas: Float[Array, "times dim"]
    theta1: Float[Array, " dim"]
    kernel: Float[Array, "queries times n"]
    removal: Float[Array, "queries times n"]
    steps: Float[Array, " queries"]

    def __str__(self) -> str:
        queries, times, n = self.kernel.shape
        turning = int(np.sum(np.any(np.sign(self.kernel[:, 1:]) != np.sign(self.kernel[:, :-1]), axis=1)))
        return (
            f"flow influence kernel of {n} points on {queries} queries at {times} times; {turning} of {queries * n} "
            f"kernels change sign, adjoint solves took {int(np.sum(self.steps))} steps"
        )


@on_problem
def flow_influence_kernel(
    problem: Problem,
    theta0: Theta,
    *,
    t1: Number,
    ts: Times | None = None,
    queries: Queries | None = None,
    schedule: AbstractSchedule | None = None,
    solver: str | diffrax.AbstractSolver | None = None,
    rtol: Number = 1e-9,
    atol: Number = 1e-11,
) -> FlowKernel:
    """The kernel k_qj(t) and its integral −∫_t^T k_qj, (queries, times, n) each, for all n points.

    δφ_q(θ(T)) = ∫₀ᵀ k_qj(t) δw_j(t) dt, at `ts` (101 equal steps of [0, t1] when not given).

    `queries`: None for θ(T) itself (queries = dim, row r is the r-th component of θ(T)), a `Dataset` for the losses of
    its points, a function θ ↦ (queries,), or gradients (queries, dim) at θ(T). `schedule` is ε(t) of the deleted set
    (ε ≡ 1 when not given); the weight that is perturbed is that of every single point. Cost: one forward solve and one
    adjoint solve per query, whatever n. Raises as `simulate` does. Mathematics §10.

    Example (continues the package's):

        >>> kernel = flow_influence_kernel(problem, theta0, t1=0.2, ts=[0.0, 0.1, 0.2])
        >>> moved = sensitivity(problem, Constant(1.0), theta0, t1=0.2)
        >>> print(jnp.allclose(kernel.removal[:, 0, 3], -moved.sensitivities[-1], rtol=1e-5))
        True
    """
    theta0 = problem.check_theta(theta0)
    schedule = Constant(1.0) if schedule is None else schedule
    t1 = as_time(t1, finite="the kernel is that of θ(T) at a finite T")
    ts = as_times(ts, t1)
    rtol, atol = as_tolerance(rtol, "rtol"), as_tolerance(atol, "atol")
    check(schedule, t1, points=problem.delete.shape[0])
    if isinstance(queries, Dataset):
        check_queries(problem, queries, "queries")  # before the work, not after it
    forward = simulate(
        problem, schedule, theta0, t1=t1, ts=ts, method="diffrax", solver=solver, dense=True, rtol=rtol, atol=atol
    )
    asked = query_gradients(problem, forward.theta1, queries)
    _, chosen = choose_solver(problem, theta0, t1, solver)
    mirrored = Reversed(schedule, t1)
    dense = forward.dense
    kernels, removals, steps = [], [], []
    for gradient in asked:
        adjoint, times, result, count = _adjoint(problem, mirrored, dense, gradient, t1, chosen, rtol, atol)
        if result != diffrax.RESULTS.successful:
            raise WorkError(f"adjoint solve: {advice(result, _MAX_STEPS)}")
        edges = _edges(np.asarray(times), np.asarray(ts), float(t1))
        kernel, panels = _kernel(problem, dense, adjoint, ts, jnp.asarray(edges), t1)
        later = np.concatenate([np.cumsum(np.asarray(panels)[::-1], axis=0)[::-1], np.zeros((1, problem.n))])
        kernels.append(kernel)
        removals.append(-later[np.searchsorted(edges, np.asarray(ts))])
        steps.append(float(count))
    return FlowKernel(
        ts, forward.thetas, forward.theta1, jnp.stack(kernels), jnp.asarray(np.stack(removals)), jnp.asarray(steps)
    )


def _edges(times: np.ndarray, ts: np.ndarray, t1: float) -> np.ndarray:
    """Panel edges in [0, t1]: the adjoint's own steps, the arcs' ends and `ts`, padded with empty panels at t1."""
    inside = times[np.isfinite(times)]
    edges = np.unique(np.concatenate([[0.0, t1], np.clip(t1 - inside, 0.0, t1), np.clip(ts, 0.0, t1)]))
    panels = -(-(len(edges) - 1) // _PANELS) * _PANELS
    return np.concatenate([edges, np.full(panels + 1 - len(edges), t1)])


@eqx.filter_jit
def _adjoint(problem, mirrored, theta, gradient, t1, solver, rtol, atol):
    """λ in the reversed time s = T − t, with dense output and the times of its steps."""

    def velocity(epsilon, state):
        # The state carries its own clock, since θ is known as a function of time.
        adjoint, s = state[:-1], state[-1]
        return jnp.append(-problem.hvp(theta(jnp.clip(t1 - s, 0.0, t1)), adjoint, epsilon), 1.0)

    _, _, result, stats, dense = integrate(
        velocity, mirrored, jnp.append(gradient, 0.0), t1[None], t1, solver=solver, rtol=rtol, atol=atol,
        max_steps=_MAX_STEPS, dense=True,
    )  # fmt: skip
    assert dense is not None
    starts, lengths = dense.edges[:-1, None], jnp.diff(dense.edges)[:, None]
    times = starts + dense.interpolation.ts * lengths
    return dense, jnp.append(times.reshape(-1), dense.edges), result, stats["accepted_steps"]


@eqx.filter_jit
def _kernel(problem: Problem, theta: Dense, adjoint: Dense, ts: Array, edges: Array, t1: Array) -> tuple[Array, Array]:
    """k at `ts` (times, n), and its integral over every panel (panels, n)."""

    def at(t):
        return -jax.jvp(problem.losses, (theta(t),), (adjoint(t1 - t)[:-1],))[1]

    def panel(edge):
        middle, half = 0.5 * (edge[0] + edge[1]), 0.5 * (edge[1] - edge[0])
        return half * (_WEIGHTS @ jax.vmap(at)(middle + half * _NODES))

    pairs = jnp.stack([edges[:-1], edges[1:]], axis=1)
    return jax.vmap(at)(ts), jax.lax.map(panel, pairs, batch_size=_PANELS)
