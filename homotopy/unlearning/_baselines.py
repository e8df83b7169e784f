"""What unlearning is measured against: one-shot corrections, ascent, fine-tuning, and retraining.

All of them start from the trained model but `retrain`, and all are weights of the same risk: −1 and less on the deleted
points is ascent, 0 is fine-tuning, one Euler or Newton step from weight 1 to 0 is the jackknife or Newton's correction.
"""

import time
from collections.abc import Callable
from typing import Any, Unpack

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._checks import Key, Number, Theta, Whole, number
from .._errors import RequestError, WorkError
from ..endpoints import Curvature, influence, newton_estimate, solve_rows
from ..flow import Constant, PointWeights, compiled_descent
from ..problem import Problem, on_problem
from . import _checks
from ._result import Unlearned
from ._sgd import Descending, as_radius, mini_batches


@on_problem
def infinitesimal_jackknife(problem: Problem, trained: Theta, **options: Any) -> Unlearned:
    """θ* + H⁻¹ g_J, the first-order estimate of θ*₋: one Euler step of the path θ(ε) from 1 to 0 (mathematics §4, §10).

    `trained` is θ* (dim,); `options` go to `influence` (damping, hessian, …), and it raises as that does.

    Example (continues the package's):

        >>> print(infinitesimal_jackknife(problem, optimum(problem).theta).theta.round(3), influence(problem).estimate.round(3))
        [-1.618  1.293] [-1.618  1.293]
    """
    return _one_shot(
        "infinitesimal jackknife", problem, trained, lambda: influence(problem, theta=trained, **options).estimate
    )


@on_problem
def newton_removal(problem: Problem, trained: Theta, *, hessian: str = "exact", damping: Number = 0.0) -> Unlearned:
    """θ − (H₋ + nλI)⁻¹ ∇R⁻(θ) (dim,): one Newton step on R⁻, exact for a quadratic risk (λ = `damping` = 0).

    "exact" is `newton_estimate` (and warns and raises as it does); "gauss-newton" replaces H₋ by G₋, which with damping
    is positive definite wherever a network stands. Mathematics §2, §10; `WorkError` for a singular matrix.

    Example (continues the package's):

        >>> print(jnp.allclose(newton_removal(problem, optimum(problem).theta).theta, leave_one_out(problem).theta))
        True
    """
    if hessian not in ("exact", "gauss-newton"):
        raise RequestError(f"hessian must be exact or gauss-newton, but is {hessian!r}")
    if hessian == "exact":
        return _one_shot(
            "Newton step", problem, trained, lambda: newton_estimate(problem, theta=trained, damping=damping).theta
        )
    shift = jnp.asarray(number(damping, "damping", above=0.0))
    return _one_shot(
        "Gauss–Newton step",
        problem,
        trained,
        lambda: _gauss_newton_step(problem, problem.check_theta(trained, "trained"), shift),
    )


def _gauss_newton_step(problem: Problem, theta: Array, damping: Array) -> Array:
    curvature = Curvature(problem, theta, 0.0, hessian="gauss-newton", damping=damping)
    return theta - solve_rows(curvature, problem.gradient(theta, 0.0)[None], "cholesky", what="the removal").x[0]


@on_problem
def gradient_ascent(
    problem: Problem, trained: Theta, *, step: Number, steps: Whole, **options: Unpack[Descending]
) -> Unlearned:
    """θ ← θ + η∇ℓ_J(θ): forget by climbing the deleted points' loss; the others are not looked at, nor is the ridge.

    `trained` is (dim,), `step` η > 0. Costs |J|/n of a gradient a step. Nothing stops it: it is to be stopped early.
    Mathematics §10; `WorkError` if it diverges.

    Example (continues the package's):

        >>> left = gradient_ascent(problem, optimum(problem).theta, step=0.01, steps=5)
        >>> print(problem.deleted_loss(left.theta) > problem.deleted_loss(left.trained), left.gradient_evaluations)
        True 0.25
    """
    share = len(problem.delete) / problem.n
    weights = problem.weights(0.0) - 1.0
    return _descend("gradient ascent", problem, trained, weights, step, steps, options, cost=share, ridge=0.0)


@on_problem
def gradient_difference(
    problem: Problem, trained: Theta, *, step: Number, steps: Whole, ascent: Number = 1.0, **options: Unpack[Descending]
) -> Unlearned:
    """θ ← θ − η(∇R⁻(θ) − a∇ℓ_J(θ)): descend on what stays and climb on what goes, ε ≡ −a with a = `ascent` ≥ 0.

    Mathematics §10. `trained` is (dim,), `step` η > 0. Raises `RequestError` for a < 0, `WorkError` if it diverges.

    Example (continues the package's):

        >>> gradient_difference(problem, optimum(problem).theta, step=0.01, steps=5).theta.shape
        (2,)
    """
    climb = number(ascent, "ascent", least=0.0)
    weights = problem.weights(-climb)
    return _descend(f"gradient difference (ε = −{climb:g})", problem, trained, weights, step, steps, options)


@on_problem
def fine_tune(
    problem: Problem, trained: Theta, *, step: Number, steps: Whole, **options: Unpack[Descending]
) -> Unlearned:
    """θ ← θ − η∇R⁻(θ) from the trained model (dim,): D2D without its theory (mathematics §10).

    `step` η > 0 is on the sum R. `WorkError` if it diverges.

    Example (continues the package's):

        >>> left = fine_tune(problem, optimum(problem).theta, step=0.01, steps=50)
        >>> print(jnp.allclose(left.theta, leave_one_out(problem).theta, atol=1e-3))
        True
    """
    return _descend("fine-tuning", problem, trained, problem.weights(0.0), step, steps, options)


@on_problem
def retrain(
    problem: Problem,
    theta0: Theta,
    *,
    step: Number,
    steps: Whole,
    trained: Theta | None = None,
    **options: Unpack[Descending],
) -> Unlearned:
    """θ ← θ − η∇R⁻(θ), ε ≡ 0 from θ₀ (dim,): what unlearning imitates (mathematics §10).

    `trained` is only kept beside it (θ₀ if not given); `step` η > 0 is on the sum R. `WorkError` if it diverges.

    Example (continues the package's):

        >>> left = retrain(problem, theta0, step=0.01, steps=50)
        >>> left.algorithm, left.gradient_evaluations
        ('retraining', 50.0)
    """
    return _descend("retraining", problem, theta0, problem.weights(0.0), step, steps, options, beside=trained)


def _one_shot(name: str, problem: Problem, trained: Any, job: Callable[[], Array]) -> Unlearned:
    before = problem.check_theta(trained, "trained")
    began = time.perf_counter()
    theta = jax.block_until_ready(job())
    if not bool(jnp.isfinite(theta).all()):
        raise WorkError(f"the {name} left every bound: its matrix is singular or overflows; add a ridge or damping")
    seconds = time.perf_counter() - began
    share = len(problem.delete) / problem.n
    return Unlearned(name, theta, before, before, share, seconds, hessian_evaluations=1.0)


def _descend(
    name: str,
    problem: Problem,
    start: Any,
    weights: Float[Array, " n"],
    step: Number,
    steps: Whole,
    options: Descending,
    *,
    cost: float = 1.0,
    ridge: Number | None = None,
    beside: Any = None,
) -> Unlearned:
    theta0 = problem.check_theta(start, "start")
    eta, count = number(step, "step", above=0.0), _checks.count(steps, "steps", 1)
    batch_size, radius, key = _chosen(**options)
    limit = as_radius(radius, theta0)
    rows = None
    if batch_size is not None:
        rows = mini_batches(key, problem.n, count, _checks.count(batch_size, "batch_size", 1))
        cost = batch_size / problem.n
    bare = problem if ridge is None else eqx.tree_at(lambda p: p.ridge, problem, jnp.asarray(ridge))
    began = time.perf_counter()
    theta, _ = compiled_descent(
        bare, theta0, PointWeights(weights), jnp.asarray(eta), jnp.arange(count), batches=rows, radius=limit
    )
    if not bool(jnp.isfinite(theta).all()):
        raise WorkError(f"{name} diverged: take fewer steps than {count} or a smaller step than {eta:g}")
    seconds = time.perf_counter() - began
    # Ascent leaves the other points out, so that no ε(t) of the deleted ones describes it.
    schedule = None if ridge is not None else Constant(weights[problem.delete[0]], unrestricted=True)
    trained = theta0 if beside is None else problem.check_theta(beside, "trained")
    return Unlearned(
        name, theta, trained, theta0, count * cost, seconds,
        schedule=schedule, unlearn_from=0.0 if schedule is not None else None, t1=eta * count,
    )  # fmt: skip


def _chosen(batch_size: Whole | None = None, radius: Number | None = None, key: Key = 0) -> tuple[Any, Any, Any]:
    """The options with their defaults; no others are known."""
    return batch_size, radius, key
