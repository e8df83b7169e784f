"""One set removed from a trained model: what every estimate says of the losses, and what retraining does to them."""

from contextlib import suppress
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from homotopy import Constant, Dataset, Problem, WorkError, leave_one_out, sensitivity, simulate
from homotopy.endpoints import corrected_influence, influence, newton_estimate, path, pbrf

PREDICTORS = ("IF", "IF/(1−h)", "Newton", "path", "IF, GN+λ", "PBRF", "flow sensitivity")
TRUTHS = ("cold", "warm", "PBRF")
MEASURES = ("queries", "own")


class Case(NamedTuple):
    """A trained model: `early` says that training stopped at `t1`; else θ is the limit, and `t1` is long."""

    problem: Problem
    queries: Dataset
    theta0: jax.Array
    theta: jax.Array
    early: bool
    t1: float
    rtol: float


def trained(problem: Problem, start: jax.Array, epsilon: float, t1: float, rtol: float) -> jax.Array:
    """θ(t1) for constant ε."""
    return simulate(problem, Constant(epsilon), start, t1=t1, ts=[t1], rtol=rtol, atol=1e-2 * rtol).theta1


def remove(case: Case, rows: np.ndarray, damping: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Changes of loss when `rows` are removed: predicted (measures, predictors) and actual (measures, truths), NaN where
    there is none; and which truths converged."""
    problem, theta, t1, rtol = case.problem.deleting(rows), case.theta, case.t1, case.rtol
    response = pbrf(problem, theta, damping=damping, throw=False)
    damped = influence(problem, theta=theta, hessian="gauss-newton", damping=damping)
    estimates: dict[str, jax.Array] = {"PBRF": response.theta, "IF, GN+λ": damped.estimate}
    if case.early:
        corrected = corrected_influence(problem, theta=theta, hessian="gauss-newton", damping=damping)
        estimates["IF/(1−h)"] = corrected.estimate
        cold, warm = (trained(problem, start, 0.0, t1, rtol) for start in (case.theta0, theta))
        done = [True, True]  # trained for a time, not to a minimum; a failed solve raises
    else:
        estimates["IF"] = influence(problem, theta=theta).estimate
        estimates["IF/(1−h)"] = corrected_influence(problem, theta=theta).estimate
        with suppress(WorkError):  # without the group the Hessian may be indefinite: then there is no such estimate
            estimates["Newton"] = newton_estimate(problem, theta=theta).theta
        estimates["path"] = path(problem, [1.0, 0.0], start=theta, on_fold="stop").thetas[-1]
        ends = [
            leave_one_out(problem, theta0=case.theta0, throw=False),
            leave_one_out(problem, start="warm", theta=theta, throw=False),
        ]
        cold, warm = (end.theta for end in ends)
        done = [bool(end.converged) for end in ends]
    flow = sensitivity(
        problem, Constant(1.0), case.theta0, t1=t1, ts=[t1], rtol=rtol, atol=1e-2 * rtol,
        solver="tsit5",  # for so few parameters its many steps take less time than the factorisations of a stiff solver
    )  # fmt: skip
    flowed = flow.thetas[-1]

    def change(after: jax.Array, before: jax.Array) -> np.ndarray:
        return np.asarray(_losses(problem, case.queries, after) - _losses(problem, case.queries, before))

    predicted = np.full((len(MEASURES), len(PREDICTORS)), np.nan)
    for p, name in enumerate(PREDICTORS):
        if name in estimates and np.isfinite(np.asarray(estimates[name])).all():
            predicted[:, p] = change(estimates[name], theta)
        elif name == "flow sensitivity":
            predicted[:, p] = change(flowed - flow.sensitivities[-1], flowed)
    converged = np.array([*done, bool(response.converged)])
    actual = np.stack([change(end, theta) for end in (cold, warm, response.theta)], axis=1)
    return predicted, np.where(converged, actual, np.nan), converged


@jax.jit
def _losses(problem: Problem, queries: Dataset, theta: jax.Array) -> jax.Array:
    """Mean loss of the queries and of the removed points."""
    own = problem.deleted_loss(theta) / problem.delete.shape[0]
    outside = jax.vmap(problem.loss.value)(problem.predict(theta, queries.x), queries.y)
    return jnp.stack([jnp.mean(outside), own])
