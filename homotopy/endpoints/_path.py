"""The path of optima θ(ε), by continuation: from the trained model to the leave-one-out optimum without retraining.

    dθ/ds = −H⁻¹ ∇ℓ_δ,   ∇ℓ_δ = Σ_{j∈J} (dε_j/ds) ∇ℓ_j      (Davidenko; mathematics §4, notes Figure 3)

Predictor: two terms of the Taylor series of θ(s), both from the factors of one Hessian (one term is the influence
function). Corrector: Newton to stationarity (one step is the Newton estimate). A step is accepted only if the corrector
contracts, moves θ little beside the predictor, and leaves the number of negative eigenvalues of H alone; else it is
halved. So the branch is never left silently: where the steps vanish H becomes singular, a fold, or θ goes to infinity
(a convex risk has no folds, but it may lose its minimiser); which of the two is reported.
"""

from typing import Annotated, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._arrays import as_floats
from .._checks import Theta, Values, choice
from .._errors import RequestError, WorkError
from ..problem import Problem, on_problem
from . import _separation
from ._endpoint import NEARNESS, STATIONARITY, Outcome, is_concrete, require_dense
from ._frame import Frame, frame, smallest_rate
from ._limit import flow_limit
from ._objectives import WeightedRisk
from ._optimum import newton
from ._path_result import Path as Path
from ._quadratic import Local, local_model, newton_step

# Steps are relative to the distance between two requested ε; below the smallest the branch has ended.
_SMALLEST_STEP = 1e-5
_CORRECTIONS = 12
# The corrector may move θ by at most this part of the predictor's step; below the second part the step doubles.
_TRUSTED, _EASY = 0.2, 0.02
# A branch that ends this much farther out than it began has gone to infinity: at a fold θ is bounded.
_FAR = 10.0


@on_problem
def path(
    problem: Problem, epsilons: Annotated[Values, "m"], *, start: Theta | None = None, on_fold: str = "raise"
) -> Path:
    """The continued branch of stationary points of R_ε along `epsilons` (m,), say from 1 to 0, or, for a group, along a
    vector path 𝛆(s) given by its corners (m, |J|), straight between them.

    `start` (dim,) is θ near the optimum at epsilons[0] (polished first); it may be left out for linear and logistic
    regression. At a fold: "raise" a `WorkError`, "stop" with `inf` in the rows that were not reached, or "switch" to
    the minimum that training on from there reaches, counted in `branches`. Where θ(ε) → ∞ there is nothing to switch
    to: a `WorkError`, unless on_fold="stop". Raises `RequestError` for a missing start. Davidenko; mathematics §4.

    Example (continues the package's):

        >>> branch = path(problem, [1.0, 0.75, 0.5, 0.25, 0.0])
        >>> print(branch.thetas.shape, jnp.allclose(branch.thetas[-1], leave_one_out(problem).theta))
        (5, 2) True
    """
    values = _as_epsilons(problem, epsilons)
    require_dense(problem, "path")
    choice(on_fold, "on_fold", ("raise", "stop", "switch"))
    if start is None:
        if not problem.convex:
            raise RequestError("the path of a network needs start=, a θ trained at epsilons[0], say optimum(…).theta")
        theta = jnp.zeros(problem.dim)
    else:
        theta = problem.check_theta(start, "start")
    begin = newton(problem, values[0], theta)
    rows, fold = _follow(problem, values, begin.theta, begin.outcome, on_fold == "switch")
    found = Path(values, rows.theta, rows.norm, rows.smallest, rows.steps, rows.branch, fold, rows.outcome)
    if is_concrete(found.thetas) and on_fold != "stop":
        _check(problem, found, on_fold == "switch")
    return found


def _check(problem: Problem, found: Path, switched: bool) -> None:
    outcomes = np.asarray(found.outcome)
    lost = np.isin(outcomes, (int(Outcome.INFINITE), int(Outcome.IMPRECISE)))
    if outcomes[0] == int(Outcome.CONVERGED) and lost.any():
        end = int(np.argmax(lost))
        where = np.round(np.asarray(found.epsilons[end]), 4)
        separable = problem.model.linear and _separation.judged(problem, found.epsilons[end], found.thetas[0], True)[0]
        if problem.model.linear and not separable:
            raise WorkError(f"θ(ε) cannot be followed to ε = {where} in 64-bit floats: {Outcome.IMPRECISE.words}")
        why = f", where {separable.words}" if separable else ""
        raise WorkError(f"θ(ε) goes to infinity before ε = {where}{why}; give the problem a ridge, or on_fold='stop'")
    reached = outcomes == int(Outcome.CONVERGED)
    if switched or reached.all():
        return
    if not reached[0]:
        raise WorkError("no stationary point near start=: train it to the optimum at epsilons[0] first (optimum(…))")
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
    outcome: Int[Array, ""]


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
def _follow(problem: Problem, epsilons: Array, theta: Array, code: Array, switch: bool) -> tuple[_Row, Array]:
    frame_of_all = frame(WeightedRisk(problem, jnp.ones(())), problem.dim)
    theta = theta / frame_of_all.scale
    local = local_model(WeightedRisk(problem, epsilons[0]), frame_of_all, theta)
    far = _FAR * (frame_of_all.unit + jnp.linalg.norm(theta))
    fine = int(Outcome.CONVERGED)
    may_vanish = (problem.ridge == 0) & (not problem.least_squares)

    def visit(carry, pair):
        theta, local, code, branch, fold = carry
        here, there = pair
        alive = code == fine
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
        # A convex risk has no folds: without a ridge it may lose its minimiser, and else rounding has stopped the steps.
        infinite = may_vanish & (problem.model.linear | (jnp.linalg.norm(end.theta) > far))
        other = Outcome.IMPRECISE if problem.model.linear else Outcome.FOLD
        ended = jnp.where(infinite, int(Outcome.INFINITE), int(other))
        code = jnp.where(alive & ~survived, ended, code)
        folded = alive & (ended == int(Outcome.FOLD)) & ~reached & jnp.isnan(fold).all()
        fold = jnp.where(folded, here + end.s * (there - here), fold)
        return (theta, local, code, branch, fold), _row(frame_of_all, theta, local, code, steps, branch)

    zero = jnp.zeros((), int)
    carry = (theta, local, code, zero, jnp.full_like(epsilons[0], jnp.nan))
    carry, rows = jax.lax.scan(visit, carry, (epsilons[:-1], epsilons[1:]))
    first = _row(frame_of_all, theta, local, code, zero, zero)
    rows = jax.tree.map(lambda one, many: jnp.concatenate([one[None], many]), first, rows)
    return rows, carry[4]


def _row(here: Frame, theta: Array, local: Local, code: Array, steps: Array, branch: Array) -> _Row:
    alive = code == int(Outcome.CONVERGED)
    norm = jnp.linalg.norm(local.gradient / here.scale)
    smallest = smallest_rate(here, local.rates, local.vectors, local.flat)
    return _Row(
        jnp.where(alive, here.scale * theta, jnp.inf), jnp.where(alive, norm, jnp.inf), jnp.where(alive, smallest, jnp.inf),
        jnp.where(alive, steps, 0), branch, code,
    )  # fmt: skip
