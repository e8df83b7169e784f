"""TMC-Shapley and G-Shapley: Data Shapley values from random permutations (Ghorbani and Zou 2019, Algorithms 1, 2)."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._checks import Number, Theta, instance, number, whole
from .._errors import RequestError, WorkError
from .._progress import Watch
from ..flow import descent_step
from ..problem import Problem, on_problem
from ._estimate import ShapleyEstimate, sample
from ._shapley import Value, _count, evaluate, require_finite
from ._utility import RefitUtility, _score


def truncated_monte_carlo_shapley(
    value: Value,
    n: int,
    *,
    permutations: int = 2000,
    truncation: float | None = None,
    patience: int = 5,
    stop_change: float | None = 0.05,
    stop_width: float | None = None,
    batch_size: int = 50,
    seed: int = 0,
    state: ShapleyEstimate | None = None,
    vectorised: bool = False,
    progress: Watch = False,
) -> ShapleyEstimate:
    """Shapley values (n,) with intervals, from marginal contributions along random permutations; + = raises v.

    Ghorbani and Zou 2019, Algorithm 1. `value` as in `exact_shapley`, or a `RefitUtility`, whose `batch_size`
    permutations are trained together on the device. A permutation is cut once |v − v([n])| ≤ `truncation`·|v([n]) − v(∅)| for
    `patience` points in a row, and the rest of it contributes 0; with `truncation=0` the estimate is unbiased and sums
    to v([n]) − v(∅) to rounding, otherwise to within `truncation` of it. When not given it is 0.01, and 0 with
    `stop_width`, whose intervals do not see that bias.

    Stops when every 95 % interval is within ±`stop_width`; without one, when the mean relative change over the last 100
    permutations is at most `stop_change` (a rule of thumb, no bound); or after `permutations` in all: then `converged`
    is False and `reason` says how many are needed. The intervals are a confidence sequence, valid at any of these stops
    (`ShapleyEstimate.interval`). `state` is an earlier result to go on from, with the same seed.

    Raises `RequestError` for options out of range, `WorkError`, naming the subset, where `value` is not finite.

    Example (continues the package's):

        >>> value = lambda mask: float(np.arange(5.0)[mask].sum() ** 2)
        >>> found = truncated_monte_carlo_shapley(value, 5, permutations=200, truncation=0.0)
        >>> print(round(found.values.sum(), 6), found.evaluations > 0)
        100.0 True
    """
    n = _count(value, n)
    if truncation is None:
        truncation = 0.01 if stop_width is None else 0.0
    if not 0 <= number(truncation, "truncation") < 1:
        raise RequestError(f"truncation must lie in [0, 1), but is {truncation}")
    patience, batch_size = whole(patience, "patience", 1), whole(batch_size, "batch_size", 1)
    ends = evaluate(value, np.stack([np.zeros(n, bool), np.ones(n, bool)]), vectorised)
    full, margin = float(ends[1]), truncation * abs(float(ends[1] - ends[0]))
    # Without truncation nothing may be cut, even where v is constant.
    rest = patience if truncation > 0 else n + 1

    def marginals(orders):
        if isinstance(value, RefitUtility):
            # Every batch has the same size, so that one program serves all.
            filled = np.concatenate([orders, np.repeat(orders[-1:], batch_size - len(orders), axis=0)])
            values, used = value.walk(filled, full, margin, rest)
            values, used = values[: len(orders)].copy(), used[: len(orders)]
            # v([n]) is one number: warm and cold starts must not differ in its last digits, or efficiency would.
            values[used == n, n] = full
            # Flat, so that the first value that is not finite names its permutation and its place in it.
            require_finite(values.reshape(-1), lambda at: orders[at // (n + 1), : at % (n + 1)].tolist())
        else:
            values, used = _walk(value, orders, ends[0], full, margin, rest, vectorised)
        contributions = np.empty(orders.shape)
        np.put_along_axis(contributions, orders, np.diff(values, axis=1), axis=1)
        return contributions, int(used.sum())

    found = sample(
        marginals, n, permutations=permutations, batch_size=batch_size, stop_change=stop_change, stop_width=stop_width, seed=seed,
        state=state, method="TMC-Shapley", progress=progress,
    )  # fmt: skip
    if truncation > 0 and stop_width is not None:
        found = replace(found, reason=f"{found.reason}; the bias of truncation = {truncation:g} is not in them")
    return found


def _walk(value, orders, empty, full, margin, patience, vectorised):
    """v of every prefix; all permutations that still go on are evaluated together."""
    p, n = orders.shape
    values = np.empty((p, n + 1))
    values[:, 0] = empty
    masks = np.zeros((p, n), bool)
    near, used = np.zeros(p, int), np.zeros(p, int)
    for k in range(n):
        values[:, k + 1] = values[:, k]
        live = np.flatnonzero(near < patience)
        if live.size == 0:
            continue
        masks[live, orders[live, k]] = True
        values[live, k + 1] = evaluate(value, masks[live], vectorised)
        used[live] += 1
        near[live] = np.where(np.abs(values[live, k + 1] - full) <= margin, near[live] + 1, 0)
    return values, used


@on_problem
def gradient_shapley(
    problem: Problem,
    utility: RefitUtility,
    *,
    step: Number,
    theta0: Theta | None = None,
    epochs: int = 1,
    permutations: int = 2000,
    stop_change: float | None = 0.05,
    stop_width: float | None = None,
    batch_size: int = 50,
    seed: int = 0,
    state: ShapleyEstimate | None = None,
    progress: Watch = False,
) -> ShapleyEstimate:
    """G-Shapley (n,): what the utility gains by the gradient step θ ← θ − η∇ℓ_i(θ) on point i, averaged over random
    orders of one epoch of single-point descent from θ₀ (Ghorbani and Zou 2019, Algorithm 2); + = raises the utility.

    In the project's terms the weight of each point is a boxcar in time, in permutation order (mathematics §10). The
    score of `utility` judges θ; its refits play no part. `step` is η, `theta0` θ₀ (0 for linear and logistic regression
    when not given). The ridge of the problem is shared: each step takes ρ/n of it. With `epochs` > 1 the permutation is
    run through again, and a point's gains add up. The values of one run sum to the mean of v(θ_end) − v(θ₀). The
    criteria are those of `truncated_monte_carlo_shapley`. `WorkError` if the descent diverges, `RequestError` for
    options out of range.

    Example (continues the package's):

        >>> game = RefitUtility(problem, data)
        >>> found = gradient_shapley(problem, game, step=0.01, permutations=20)
        >>> print(found.values.shape, found.permutations)
        (20,) 20
    """
    instance(utility, "utility", RefitUtility, "RefitUtility(problem, queries)")
    theta = utility.theta0 if theta0 is None else problem.check_theta(theta0)
    if theta0 is None and utility.method == "descent":
        theta = utility.theta0
    step, epochs, batch_size = (
        number(step, "step", above=0.0),
        whole(epochs, "epochs", 1),
        whole(batch_size, "batch_size", 1),
    )

    def marginals(orders):
        filled = np.concatenate([orders, np.repeat(orders[-1:], batch_size - len(orders), axis=0)])
        found = np.asarray(_gains(problem, utility, theta, jnp.asarray(float(step)), jnp.asarray(filled), int(epochs)))
        if not np.isfinite(found).all():
            raise WorkError(f"single-point descent diverged: step = {float(step):g} is too large")
        return found[: len(orders)], len(orders) * problem.n * int(epochs)

    return sample(
        marginals, problem.n, permutations=permutations, batch_size=batch_size, stop_change=stop_change, stop_width=stop_width,
        seed=seed, state=state, method="G-Shapley", progress=progress,
    )  # fmt: skip


@eqx.filter_jit
def _gains(problem, utility, theta0, step, orders, epochs):
    def one(order):
        def advance(carry, index):
            theta, value = carry
            # η/n of the risk that this point alone stands for: ∇ℓ_i, and ρ/n of the ridge.
            theta = descent_step(problem, theta, jnp.ones(1), step / problem.n, index[None])
            after = _score(utility, theta[None, :])[0]
            return (theta, after), after - value

        start = (theta0, _score(utility, theta0[None, :])[0])
        repeated = jnp.tile(order, epochs)
        _, gains = jax.lax.scan(advance, start, repeated)
        return jnp.zeros(problem.n).at[repeated].add(gains)

    return jax.vmap(one)(orders)
