"""How well was it forgotten, and at what price: distances, accuracies, tug of war, relearning."""

from dataclasses import dataclass
from typing import Annotated

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._arrays import as_floats
from .._checks import Number, Theta, Values, Whole, number
from .._errors import RequestError, WorkError
from ..flow import descent_step
from ..problem import Dataset, Problem, check_queries, on_problem
from . import _checks
from ._metrics import score


@dataclass(frozen=True)
class Measures:
    """A model beside the retrained one; made by `measure`.

    `distance` = ‖θ − θ_retrain‖; `function_distance` the root mean square over the test points of ‖f(θ) −
    f(θ_retrain)‖; losses are means per point, accuracies shares of right decisions (NaN for regression);
    `tug_of_war` = Π over forget, retain and test of (1 − |accuracy − that of retraining|): 1 is a model that cannot be
    told from the retrained one (Zhao et al. 2024). Fields: `forget_accuracy`, `retain_accuracy`, `test_accuracy`,
    `forget_loss`, `retain_loss`, `test_loss`.

    Example (continues the package's):

        >>> print(measure(classes, optimum(classes).theta, leave_one_out(classes).theta, test=classes.data).tug_of_war)
        1.0
    """

    distance: float
    function_distance: float
    forget_accuracy: float
    retain_accuracy: float
    test_accuracy: float
    forget_loss: float
    retain_loss: float
    test_loss: float
    tug_of_war: float

    def __str__(self) -> str:
        return (
            f"distance {self.distance:.4g} (function {self.function_distance:.4g}), accuracy forget / retain / test "
            f"{self.forget_accuracy:.3f} / {self.retain_accuracy:.3f} / {self.test_accuracy:.3f}, "
            f"tug of war {self.tug_of_war:.3f}"
        )


def measure(problem: Problem, theta: Theta, retrained: Theta, test: Dataset) -> Measures:
    """All measures of θ (dim,) beside the model `retrained` (dim,) without the points, and on `test` points.

    `test` points were never trained on. Sources at `Measures` (mathematics §10). Raises `RequestError` for test points
    that the problem's loss cannot judge.

    Example (continues the package's):

        >>> told = measure(classes, optimum(classes).theta, leave_one_out(classes).theta, test=classes.data)
        >>> print(f"{told.distance:.3f} {told.forget_accuracy}")
        0.141 1.0
    """
    here, there = problem.check_theta(theta, "theta"), problem.check_theta(retrained, "retrained")
    check_queries(problem, test, "test")
    mine, theirs = _scores(problem, here, test), _scores(problem, there, test)
    numbers = [float(value) for value in mine[:6]]
    forget, retain, tested = numbers[:3]
    gaps = np.abs(np.array(numbers[:3]) - np.array([float(value) for value in theirs[:3]]))
    apart = jnp.asarray(mine[6] - theirs[6]).reshape(test.n, -1)
    return Measures(
        float(jnp.linalg.norm(here - there)), float(jnp.sqrt(jnp.mean(jnp.sum(apart**2, axis=1)))),
        forget, retain, tested, numbers[3], numbers[4], numbers[5], float(np.prod(1.0 - gaps)),
    )  # fmt: skip


def tug_of_war(accuracies: Annotated[Values, "sets"], retrained: Annotated[Values, "sets"]) -> float:
    """Π (1 − |accuracy − that of retraining|) over forget, retain and test sets (Zhao et al. 2024, arXiv 2406.01257).

    1 = cannot be told from retraining. Both are (3,), or of any one length; `RequestError` for lengths that differ and
    for accuracies outside [0, 1].

    Example (continues the package's):

        >>> print(round(tug_of_war([1.0, 0.95, 0.9], [0.8, 0.95, 0.9]), 3))
        0.8
    """
    mine, theirs = np.asarray(as_floats(accuracies, "accuracies")), np.asarray(as_floats(retrained, "retrained"))
    if mine.shape != theirs.shape or mine.ndim != 1:
        raise RequestError(
            f"accuracies and retrained must have the same length, but have {mine.shape} and {theirs.shape}"
        )
    if not ((mine >= 0) & (mine <= 1) & (theirs >= 0) & (theirs <= 1)).all():
        raise RequestError("accuracies must lie in [0, 1]")
    return float(np.prod(1.0 - np.abs(mine - theirs)))


@on_problem
def relearn_time(problem: Problem, theta: Theta, *, step: Number, level: Number, max_steps: Whole = 1000) -> int:
    """How many steps of descent on everything bring the mean forget loss down to `level`; `max_steps` if none of them does.

    θ ← θ − η∇R(θ) with η = `step` from `theta` (dim,). Fewer than for the retrained model means that something was
    remembered (Golatkar et al. 2020). Raises `WorkError` if the descent diverges.

    Example (continues the package's):

        >>> forgotten = fine_tune(problem, optimum(problem).theta, step=0.01, steps=50).theta
        >>> relearn_time(problem, forgotten, step=0.01, level=0.11, max_steps=100)
        9
    """
    here = problem.check_theta(theta, "theta")
    eta, goal = number(step, "step", above=0.0), number(level, "level")
    limit = _checks.count(max_steps, "max_steps", 1)
    count, loss = _relearn(problem, here, jnp.asarray(eta), jnp.asarray(goal), jnp.asarray(limit))
    if not bool(jnp.isfinite(loss)):
        raise WorkError(f"relearning diverged: step = {eta:g} is too large; it must be below 2/λ_max(∇²R)")
    return int(count)


@eqx.filter_jit
def _relearn(problem: Problem, theta: Array, step: Array, level: Array, max_steps: Array) -> tuple[Array, Array]:
    def unfinished(state):
        theta, count = state
        return (problem.deleted_loss(theta) / problem.delete.shape[0] > level) & (count < max_steps)

    def advance(state):
        theta, count = state
        return descent_step(problem, theta, jnp.ones(problem.n), step), count + 1

    last, count = jax.lax.while_loop(unfinished, advance, (theta, jnp.asarray(0)))
    return count, problem.deleted_loss(last)


@eqx.filter_jit
def _scores(problem: Problem, theta: Float[Array, " dim"], test: Dataset):
    def losses(predictions, y):
        return jax.vmap(problem.loss.value)(predictions, y)

    gone = problem.delete
    forget_y, everyone = problem.data.y[gone], problem.predict(theta)
    forget, tested = everyone[gone], problem.predict(theta, test.x)
    kept = jnp.ones(problem.n).at[gone].set(0.0)
    rest = jnp.sum(kept)
    right = jax.vmap(lambda p, y: score(problem, p[None], y[None]))(everyone, problem.data.y)
    return (
        score(problem, forget, forget_y), jnp.dot(kept, right) / rest, score(problem, tested, test.y),
        jnp.mean(losses(forget, forget_y)), jnp.dot(kept, losses(everyone, problem.data.y)) / rest,
        jnp.mean(losses(tested, test.y)), tested,
    )  # fmt: skip
