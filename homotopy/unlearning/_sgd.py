"""Mini-batches and runs that share them: what differs between two coupled runs is the weights alone (arXiv 2511.15983)."""

from typing import Any, TypedDict

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._arrays import as_floats
from .._checks import Key, Number, Whole, as_key, number
from .._errors import RequestError
from ..flow import ScheduleWeights, descent
from ..problem import Problem, on_problem
from . import _checks


class Descending(TypedDict, total=False):
    """What every discrete descent here may be asked for.

    - `batch_size` b: SGD on mini-batches of b points, which `key` (a seed or a JAX key, 0 when not given) draws.
    - `radius` r: projected onto ‖θ‖ ≤ r after every step.
    """

    batch_size: Whole | None
    radius: Number | None
    key: Key


def mini_batches(key: Key, n: Whole, steps: Whole, batch_size: Whole) -> Int[Array, "steps batch_size"]:
    """The points of every step (steps, batch_size), drawn uniformly with replacement.

    The same for every run that is coupled by `key`.

    Raises `RequestError` for counts below 1. Source: arXiv 2511.15983.

    Example (continues the package's):

        >>> mini_batches(0, n=20, steps=10, batch_size=5).shape
        (10, 5)
    """
    rows, columns = _checks.count(steps, "steps", 0), _checks.count(batch_size, "batch_size", 1)
    _checks.count(rows * columns, "steps·batch_size", 0)
    return jax.random.randint(as_key(key), (rows, columns), 0, _checks.count(n, "n", 1))


@on_problem
def coupled_descent(
    problem: Problem,
    theta0: Float[Array | np.ndarray, "seeds dim"],
    delete: Int[Array | np.ndarray, "deleted k"],
    epsilons: Float[Array | np.ndarray, "runs steps"],
    *,
    step: Number,
    batches: Int[Array | np.ndarray, "seeds rows b"] | None = None,
    radius: Number | None = None,
) -> Float[Array, "seeds deleted runs dim"]:
    """θ after all steps (seeds, deleted, runs, dim): every seed, deleted set and schedule in one compiled scan.

    Row d of `delete` is a deleted set; row r of `epsilons` its weight at every step: ones and then zeros for D2D and
    R2D, zeros for retraining. All runs of one seed share θ₀ and the mini-batches (they are coupled); without `batches`
    it is gradient descent. Raises `RequestError` for shapes that do not match, points outside the data and a start
    outside the projection's ball; `inf`/`nan` in the answer means that the step is too large. Source: arXiv
    2511.15983.

    Example (continues the package's):

        >>> starts = jnp.stack([problem.initial(seed) for seed in (0, 1)])
        >>> weights = jnp.array([[1.0] * 5 + [0.0] * 5, [0.0] * 10])
        >>> coupled_descent(problem, starts, jnp.array([[3], [5]]), weights, step=0.01).shape
        (2, 2, 2, 2)
    """
    theta0, epsilons = as_floats(theta0, "theta0"), as_floats(epsilons, "epsilons")
    sets = _checks.indices(delete, "delete", 2, problem.n)
    if theta0.ndim != 2 or theta0.shape[1:] != (problem.dim,):
        raise RequestError(f"theta0 must have shape (seeds, {problem.dim}), but has shape {theta0.shape}")
    if epsilons.ndim != 2:
        raise RequestError(f"epsilons must have shape (runs, steps), but has shape {epsilons.shape}")
    drawn = None if batches is None else _checks.indices(batches, "batches", 3, problem.n)
    if drawn is not None and drawn.shape[:2] != (theta0.shape[0], epsilons.shape[1]):
        raise RequestError(
            f"batches must have shape (seeds, steps, b) = ({theta0.shape[0]}, {epsilons.shape[1]}, b), but has shape "
            f"{drawn.shape}"
        )
    limit = as_radius(radius, theta0)
    size = jnp.asarray(number(step, "step", above=0.0))
    rows = None if drawn is None else jnp.asarray(drawn)
    return _coupled(problem, theta0, jnp.asarray(sets), epsilons, size, rows, limit)


@eqx.filter_jit
def _coupled(problem, theta0, points, epsilons, step, batches, radius):
    masks = jax.vmap(lambda rows: jnp.zeros(problem.n).at[rows].set(1.0))(points)
    ks = jnp.arange(epsilons.shape[1])

    def one(theta0, batches, mask, epsilon):
        return descent(problem, theta0, ScheduleWeights(mask, epsilon), step, ks, batches=batches, radius=radius)[0]

    over_runs = jax.vmap(one, in_axes=(None, None, None, 0))
    over_points = jax.vmap(over_runs, in_axes=(None, None, 0, None))
    return jax.vmap(over_points, in_axes=(0, None if batches is None else 0, None, None))(
        theta0, batches, masks, epsilons
    )


def as_radius(radius: Any, starts: Any) -> Float[Array, ""] | None:
    """The projection's radius; `RequestError` if a start lies outside its ball."""
    if radius is None:
        return None
    value = number(radius, "radius", above=0.0)
    farthest = float(np.max(np.linalg.norm(np.atleast_2d(np.asarray(starts)), axis=1)))
    if farthest > value * (1 + 1e-12):
        raise RequestError(f"radius must not exclude the start: ‖theta0‖ = {farthest:g} > radius = {value:g}")
    return jnp.asarray(value)
