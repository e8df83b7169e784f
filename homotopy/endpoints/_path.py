"""The path of optima θ(ε), by continuation: from the trained model to the leave-one-out optimum without retraining.

    dθ/ds = −H⁻¹ ∇ℓ_δ,   ∇ℓ_δ = Σ_{j∈J} (dε_j/ds) ∇ℓ_j      (Davidenko; mathematics §4, notes Figure 3)

Predictor: two terms of the Taylor series of θ(s), both from the factors of one Hessian (one term is the influence
function). Corrector: Newton to stationarity (one step is the Newton estimate). A step is accepted only if the corrector
contracts, moves θ little beside the predictor, and leaves the number of negative eigenvalues of H alone; else it is
halved. So the branch is never left silently: where the steps vanish H becomes singular, a fold, which is reported.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._checks import choice
from .._errors import RequestError, WorkError
from ..problem import Problem, on_problem
from ..problem._arrays import as_floats
from ._endpoint import NEARNESS, STATIONARITY, is_concrete, require_dense
from ._frame import Frame, frame, smallest_rate
from ._limit import flow_limit
from ._newton import Local, local_model, newton_step
from ._objectives import WeightedRisk
from ._optimum import is_convex, newton
from ._straightness import chord_over_arc, largest_deviation

# Steps are relative to the distance between two requested ε; below the smallest the branch has ended.
_SMALLEST_STEP = 1e-5
_CORRECTIONS = 12
# The corrector may move θ by at most this part of the predictor's step; below the second part the step doubles.
_TRUSTED, _EASY = 0.2, 0.02


class Path(eqx.Module):
    """θ(ε) at the requested ε: `epsilons` (m,) or (m, |J|), `thetas` (m, dim), and the proof of each row:
    `gradient_norms` ‖∇R_ε‖, `smallest_eigenvalues` of H_ε, `steps` predictor–corrector steps to get there.

    `branches` counts the folds passed so far (0 on the branch of the start; it grows only with on_fold="switch").
    `fold_epsilon` is where the (first) fold was met, NaN if none; with on_fold="stop" the rows after it hold `inf`.
    """

    epsilons: Float[Array, "m ..."]
    thetas: Float[Array, "m dim"]
    gradient_norms: Float[Array, " m"]
    smallest_eigenvalues: Float[Array, " m"]
    steps: Int[Array, " m"]
    branches: Int[Array, " m"]
    fold_epsilon: Float[Array, "..."]

    @property
    def folded(self) -> bool:
        """Whether a fold was met."""
        return bool(jnp.isnan(self.fold_epsilon).any() ^ True)

    @property
    def straightness(self) -> Float[Array, ""]:
        """Chord over arc length, in (0, 1]: 1 for a straight segment. The arc is the polygon's, so ask for many ε."""
        return chord_over_arc(self._reached)

    @property
    def max_deviation(self) -> Float[Array, ""]:
        """The largest distance of θ(ε) from the chord, relative to the chord's length: 0 for a straight segment."""
        return largest_deviation(self._reached)

    @property
    def _reached(self) -> Float[Array, "reached dim"]:
        return self.thetas[jnp.isfinite(self.thetas).all(axis=1)]

    def __str__(self) -> str:
        fold = f", fold at ε ≈ {np.asarray(self.fold_epsilon)}" if self.folded else ""
        return (
            f"path of {self.thetas.shape[0]} optima: largest ‖∇‖ {float(jnp.max(self.gradient_norms)):.1e}, smallest "
            f"λ_min {float(jnp.min(self.smallest_eigenvalues)):.3g}, chord/arc {float(self.straightness):.6f}{fold}"
        )


@on_problem
def path(problem: Problem, epsilons: Any, *, start: Any = None, on_fold: str = "raise") -> Path:
    """The continued branch of stationary points of R_ε along `epsilons` (m,), say from 1 to 0, or, for a group, along a
    vector path 𝛆(s) given by its corners (m, |J|), straight between them.

    `start` is θ near the optimum at epsilons[0] (polished first); it may be left out for linear and logistic
    regression. At a fold: "raise" a `WorkError`, "stop" with `inf` in the rows that were not reached, or "switch" to
    the minimum that training on from there reaches, counted in `branches`.
    """
    values = _as_epsilons(problem, epsilons)
    require_dense(problem, "path")
    choice(on_fold, "on_fold", ("raise", "stop", "switch"))
    if start is None:
        if not is_convex(problem):
            raise RequestError("the path of a network needs start=, a θ trained at epsilons[0], say optimum(…).theta")
        theta = jnp.zeros(problem.dim)
    else:
        theta = problem.check_theta(start, "start")
    begin = newton(problem, values[0], theta)
    rows, fold = _follow(problem, values, begin.theta, begin.converged, on_fold == "switch")
    found = Path(values, rows.theta, rows.norm, rows.smallest, rows.steps, rows.branch, fold)
    if is_concrete(found.thetas) and on_fold == "raise":
        _check(found)
    return found


def _check(found: Path) -> None:
    reached = np.isfinite(np.asarray(found.thetas)).all(axis=1)
    if not reached[0]:
        raise WorkError("no stationary point near start=: train it to the optimum at epsilons[0] first (optimum(…))")
    if not reached.all():
        last = int(np.argmin(reached)) - 1
        where = np.round(np.asarray(found.fold_epsilon), 4)
        raise WorkError(
            f"the branch of optima ends in a fold near ε = {where} (λ_min = {found.smallest_eigenvalues[last]:.1e} at "
            "the last ε reached); try on_fold='stop' for the part before it, or on_fold='switch' to go on elsewhere"
        )


def _as_epsilons(problem: Problem, epsilons: Any) -> Float[Array, "m ..."]:
    values = as_floats(epsilons, "epsilons")
    k = problem.delete.shape[0]
    if values.ndim not in (1, 2) or values.shape[0] < 1 or (values.ndim == 2 and values.shape[1] != k):
        raise RequestError(f"epsilons must have shape (m,) or (m, {k}), but has shape {values.shape}")
    if is_concrete(values) and bool(((values < 0) | (values > 1)).any()):
        raise RequestError("epsilons must lie in [0, 1] (1 keeps the point, 0 deletes it)")
    return values


# One traced job -----------------------------------------------------------------------------------------------------


class _Corrected(NamedTuple):
    theta: Float[Array, " dim"]
    local: Local
    fine: Bool[Array, ""]


class _Row(NamedTuple):
    theta: Float[Array, " dim"]
    norm: Float[Array, ""]
    smallest: Float[Array, ""]
    steps: Int[Array, ""]
    branch: Int[Array, ""]


class _State(NamedTuple):
    theta: Float[Array, " dim"]
    local: Local
    s: Float[Array, ""]
    h: Float[Array, ""]
    steps: Int[Array, ""]
    ended: Bool[Array, ""]


def _negative(local: Local) -> Int[Array, ""]:
    return jnp.sum((local.rates < 0) & ~local.flat)


def correct(objective: WeightedRisk, here: Frame, theta: Array) -> _Corrected:
    """Newton steps to a stationary point of any index, as long as they contract; θ′ in the frame."""
    tolerance = STATIONARITY * (here.unit + jnp.linalg.norm(theta))

    def length_left(local: Local) -> Array:
        return jnp.linalg.norm(newton_step(local))

    def step(state):
        good, trial, length, k, _ = state
        local = local_model(objective, here, trial)
        # The Newton step, not ‖∇‖, measures the distance left: in a curved valley ‖∇‖ may rise on the way to its floor.
        now = length_left(local)
        contracts = now <= 0.5 * length
        theta = jnp.where(contracts, trial, good.theta)
        local = jax.tree.map(lambda a, b: jnp.where(contracts, a, b), local, good.local)
        stop = ~contracts | (now <= 1e-15 * (here.unit + jnp.linalg.norm(theta)))
        trial = theta + local.vectors @ newton_step(local)
        return _Corrected(theta, local, contracts), trial, now, k + 1, stop

    def unfinished(state):
        return ~state[4] & (state[3] < _CORRECTIONS)

    shape = jax.eval_shape(lambda theta: local_model(objective, here, theta), theta)
    none = _Corrected(theta, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shape), jnp.zeros((), bool))
    start = (none, theta, jnp.asarray(jnp.inf), jnp.zeros((), int), jnp.zeros((), bool))
    end, *_ = jax.lax.while_loop(unfinished, step, start)
    norm = jnp.linalg.norm(end.local.gradient)
    near = length_left(end.local) <= NEARNESS * (here.unit + jnp.linalg.norm(end.theta))
    return end._replace(fine=near & (norm <= tolerance) & jnp.isfinite(norm))


def _segment(problem: Problem, here: Frame, start: Array, end: Array, theta: Array, local: Local) -> _State:
    """From the optimum at ε = start to that at ε = end, in as many steps as it takes."""
    delta = end - start

    def inverse(local: Local, v: Array) -> Array:
        inside = local.vectors.T @ v
        return local.vectors @ jnp.where(local.flat, 0.0, inside / jnp.where(local.flat, 1.0, local.rates))

    def slope(theta, epsilon):
        return here.scale * jax.jvp(lambda e: problem.gradient(here.scale * theta, e), (epsilon,), (delta,))[1]

    def bend(theta, v, epsilon):
        return here.scale * problem.hvp(here.scale * theta, here.scale * v, epsilon)

    def step(state: _State) -> _State:
        epsilon = start + state.s * delta
        h = jnp.minimum(state.h, 1.0 - state.s)
        first = -inverse(state.local, slope(state.theta, epsilon))
        third = jax.jvp(lambda theta: bend(theta, first, epsilon), (state.theta,), (first,))[1]
        own = jax.jvp(lambda theta: slope(theta, epsilon), (state.theta,), (first,))[1]
        second = -inverse(state.local, third + 2.0 * own)
        move = h * first + 0.5 * h**2 * second
        last = 1.0 - state.s <= h * (1 + 1e-12)
        arrival = jnp.where(last, 1.0, state.s + h)
        objective = WeightedRisk(problem, jnp.where(last, end, start + arrival * delta))
        answer = correct(objective, here, state.theta + move)
        moved = jnp.linalg.norm(h * first)
        correction = jnp.linalg.norm(answer.theta - state.theta - move)
        rounding = 1e-9 * (here.unit + jnp.linalg.norm(state.theta))
        same = _negative(answer.local) == _negative(state.local)
        accept = answer.fine & (correction <= _TRUSTED * moved + rounding) & same
        easy = correction <= _EASY * moved + rounding
        h = jnp.where(accept, jnp.where(easy, 2.0 * h, h), 0.5 * h)

        def choose(yes, no):
            return jax.tree.map(lambda a, b: jnp.where(accept, a, b), yes, no)

        return _State(
            choose(answer.theta, state.theta), choose(answer.local, state.local), jnp.where(accept, arrival, state.s),
            h, state.steps + 1, h < _SMALLEST_STEP,
        )  # fmt: skip

    one = jnp.ones(())
    state = _State(theta, local, 0.0 * one, one, jnp.zeros((), int), jnp.zeros((), bool))
    return jax.lax.while_loop(lambda state: (state.s < 1.0) & ~state.ended, step, state)


@eqx.filter_jit
def _follow(problem: Problem, epsilons: Array, theta: Array, alive: Array, switch: bool) -> tuple[_Row, Array]:
    frame_of_all = frame(WeightedRisk(problem, jnp.ones(())), problem.dim)
    theta = theta / frame_of_all.scale
    local = local_model(WeightedRisk(problem, epsilons[0]), frame_of_all, theta)

    def visit(carry, pair):
        theta, local, alive, branch, fold = carry
        here, there = pair
        end = _segment(problem, frame_of_all, here, there, theta, local)
        reached = end.s >= 1.0
        now, steps = end, end.steps
        if switch:
            objective = WeightedRisk(problem, there)

            def retrain(_):
                limit = flow_limit(objective, frame_of_all.scale * end.theta, kind="switch")
                inside = limit.theta / frame_of_all.scale
                return inside, local_model(objective, frame_of_all, inside), limit.converged

            def keep(_):
                return end.theta, end.local, jnp.ones((), bool)

            theta, local, good = jax.lax.cond(reached, keep, retrain, None)
            survived = alive & good
            branch = branch + jnp.asarray(~reached, int)
        else:
            theta, local, survived = now.theta, now.local, alive & reached
        folded = alive & ~reached & jnp.isnan(fold).all()
        fold = jnp.where(folded, here + end.s * (there - here), fold)
        return (theta, local, survived, branch, fold), _row(frame_of_all, theta, local, survived, steps, branch)

    zero = jnp.zeros((), int)
    carry = (theta, local, alive, zero, jnp.full_like(epsilons[0], jnp.nan))
    carry, rows = jax.lax.scan(visit, carry, (epsilons[:-1], epsilons[1:]))
    first = _row(frame_of_all, theta, local, alive, zero, zero)
    rows = jax.tree.map(lambda one, many: jnp.concatenate([one[None], many]), first, rows)
    return rows, carry[4]


def _row(here: Frame, theta: Array, local: Local, alive: Array, steps: Array, branch: Array) -> _Row:
    norm = jnp.linalg.norm(local.gradient / here.scale)
    smallest = smallest_rate(here, local.rates, local.vectors, local.flat)
    return _Row(
        jnp.where(alive, here.scale * theta, jnp.inf), jnp.where(alive, norm, jnp.inf), jnp.where(alive, smallest, jnp.inf),
        jnp.where(alive, steps, 0), branch,
    )  # fmt: skip
