"""Bayesian influence: what it agrees with, where the influence function is undefined, and what its sampling costs.

Against the closed Gaussian form on a linear model, draw by draw and beside conjugate gradients; against damped influence
and real leave-one-out on logistic regression as temperature and localisation vary; and on two singular models (a linear
one with more parameters than points, a network with a dead neuron) where the plain influence function does not exist.
"""

import warnings
from dataclasses import dataclass
from typing import Annotated

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from homotopy import (
    CG,
    MLP,
    ChainsWarning,
    Dataset,
    LinearRegression,
    LogisticRegression,
    Problem,
    RefitUtility,
    RequestError,
    WorkError,
    bayesian_influence,
    datasets,
    gaussian_bayesian_influence,
    influence,
    influence_matrix,
    leave_one_out,
    leave_one_out_all,
    leave_one_out_values,
    optimum,
    rank_agreement,
)
from homotopy.run import Progress, Range, RunResult, Seed, check
from homotopy.viz import FULL, INK, MUTED, SERIES


@dataclass(frozen=True)
class Settings:
    """The models, and how long the chains are."""

    n: Annotated[int, Range(least=4, most=10_000)] = 40
    """points of the linear and the logistic model"""
    d: Annotated[int, Range(least=1, most=1000)] = 5
    """features of both"""
    draws: Annotated[tuple[int, ...], Range(least=4, most=10**6, entries=2)] = (50, 250, 1000, 4000)
    """draws per chain on the linear model; 4 chains, so the last of (…, 4000) makes 16,000"""
    grid_draws: Annotated[int, Range(least=4, most=10**6)] = 1000
    """draws per chain for every temperature and localisation"""
    inverse_temperatures: Annotated[tuple[float, ...], Range(least=1e-6, most=1e6, entries=1)] = (1.0, 10.0, 100.0)
    """β"""
    localisations: Annotated[tuple[float, ...], Range(least=1e-6, most=1e6, entries=1)] = (
        0.01,
        0.1,
        1.0,
        10.0,
        100.0,
        1000.0,
    )
    """γ/β: what the damped influence adds to the Hessian (sum convention)"""
    singular_n: Annotated[int, Range(least=2, most=1000)] = 12
    """points of the singular models"""
    singular_d: Annotated[int, Range(above="singular_n", most=10_000)] = 20
    """features of the linear one, more than its points"""
    seed: Seed = 0
    """of data and chains"""


QUICK = Settings(
    n=15, d=2, draws=(50, 200), grid_draws=100, inverse_temperatures=(10.0,), localisations=(0.1, 10.0), singular_n=6,
    singular_d=8,
)  # fmt: skip


class _MeanLoss(eqx.Module):
    """θ ↦ mean loss of the queries."""

    problem: Problem
    queries: Dataset

    def __call__(self, theta):
        return jnp.mean(jax.vmap(self.problem.loss.value)(self.problem.predict(theta, self.queries.x), self.queries.y))


@eqx.filter_jit
def _losses(loss: _MeanLoss, thetas):
    return jax.vmap(loss)(thetas)


def run(settings: Settings, progress: Progress) -> RunResult:
    """Sample, compare, draw."""
    check(settings)
    if settings.n < 2 * settings.d:
        raise RequestError(f"--n must be at least 2 --d = {2 * settings.d}, but is {settings.n}")
    with progress.task("parts", 3) as advance:
        linear = _linear(settings)
        advance(1)
        grid = _logistic(settings)
        advance(1)
        singular = _singular(settings)
        advance(1)
    last = linear["langevin"][-1]
    lines = [
        f"linear model, {4 * settings.draws[-1]} draws (Langevin): correlation with the closed form {last[2]:.5f}, slope "
        f"{last[3]:.4f}, error {last[1]:.3g}; SGLD {linear['sgld'][-1][2]:.5f}, {linear['sgld'][-1][3]:.4f}",
        f"conjugate gradients reach an error of {linear['cg'][-1][1]:.1e} with {linear['cg'][-1][0]:.0f} gradients' worth of "
        f"products, Langevin {last[1]:.1e} with {last[0]:.0f}",
    ]
    damped, loo = grid["damped"], grid["loo"]
    best = np.unravel_index(np.argmax(loo), loo.shape)
    lines.append(
        f"logistic model: rank agreement with damped influence {damped.min():.3f} … {damped.max():.3f}, with leave-one-out at "
        f"best {loo[best]:.3f} (β = {settings.inverse_temperatures[best[0]]:g}, γ/β = {settings.localisations[best[1]]:g}); "
        f"undamped influence {grid['plain']:.3f}; largest R̂ {grid['rhat']:.3f}"
    )
    for name, found in singular.items():
        lines.append(
            f"{name}: plain influence: {found['plain']}; rank agreement with leave-one-out: Bayesian {found['bayes']:+.3f}, "
            f"damped influence {found['damped']:+.3f}; R̂ {found['rhat']:.3f}"
        )
    undefined = sum(found["plain"] != "defined" for found in singular.values())
    codes = {"successful": 2 * len(settings.draws) + loo.size, "plain influence undefined": undefined}
    points = {
        f"{key}_{name.split(' ')[0].strip(',')}": ((f"point_{name.split(' ')[0].strip(',')}",), found[key])
        for name, found in singular.items()
        for key in ("removal", "actual")
    }
    data = xr.Dataset(
        {
            **{f"linear_{name}": ((f"row_{name}", "column"), np.array(rows)) for name, rows in linear.items()},
            "agreement_damped": (("beta", "gamma_over_beta"), damped),
            "agreement_leave_one_out": (("beta", "gamma_over_beta"), loo),
            **points,
        },
        coords={
            "column": ["gradients", "error", "correlation", "slope"],
            "beta": list(settings.inverse_temperatures),
            "gamma_over_beta": list(settings.localisations),
        },
    )
    used = (_linear_problem(settings)[0].data, _logistic_problem(settings)[0].data)
    return RunResult(
        figures={"bayesian_influence": _draw(settings, linear, grid, singular)}, data=data, summary="\n".join(lines),
        datasets=used,
        result_codes={key: count for key, count in codes.items() if count},
    )  # fmt: skip


def _linear_problem(settings: Settings):
    problem = Problem(LinearRegression(), datasets.random_linear(settings.n, settings.d, seed=settings.seed), delete=0)
    return problem, optimum(problem).theta


def _linear(settings: Settings) -> dict[str, list[tuple[float, float, float, float]]]:
    """(gradients, relative error, correlation, slope) for more and more draws; for CG against the damped influence."""
    problem, theta = _linear_problem(settings)
    beta, gamma = 10.0, 10.0
    truth = np.ravel(gaussian_bayesian_influence(problem, theta, inverse_temperature=beta, localisation=gamma))
    found: dict[str, list[tuple[float, float, float, float]]] = {"langevin": [], "sgld": [], "cg": []}
    for method in ("langevin", "sgld"):
        for draws in settings.draws:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ChainsWarning)  # few draws are the point here
                result = bayesian_influence(
                    problem, theta, inverse_temperature=beta, localisation=gamma, draws=draws, seed=settings.seed,
                    method=method,
                )  # fmt: skip
            found[method].append((result.gradients, *_compare(np.ravel(result.influence), truth)))
    damping = gamma / (beta * problem.n)
    exact = np.ravel([influence(problem.deleting(j), theta=theta, damping=damping).theta_dot for j in range(problem.n)])
    for rtol in (1e-1, 1e-3, 1e-6, 1e-10):
        solves = [
            influence(problem.deleting(j), theta=theta, damping=damping, solver=CG(rtol=rtol)) for j in range(problem.n)
        ]
        # A product with the Hessian is worth about two gradients.
        cost = 2.0 * sum(int(solve.iterations) for solve in solves)
        found["cg"].append((cost, *_compare(np.ravel([solve.theta_dot for solve in solves]), exact)))
    return found


def _compare(values: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    """Relative error, correlation, slope through 0."""
    error = float(np.linalg.norm(values - truth) / np.linalg.norm(truth))
    return error, float(np.corrcoef(values, truth)[0, 1]), float(values @ truth / (truth @ truth))


def _logistic_problem(settings: Settings):
    rng = np.random.default_rng([settings.seed, 1])
    x = rng.standard_normal((settings.n + 50, settings.d))
    y = (x @ rng.standard_normal(settings.d) + rng.standard_normal(len(x)) > 0).astype(int)
    n = settings.n
    problem = Problem(LogisticRegression(), Dataset(x[:n], y[:n], name=f"logistic(n={n})"), delete=0, ridge=0.1)
    return problem, Dataset(x[n:], y[n:])


def _logistic(settings: Settings) -> dict:
    problem, queries = _logistic_problem(settings)
    theta, loss = optimum(problem).theta, _MeanLoss(problem, queries)
    actual = np.asarray(_losses(loss, leave_one_out_all(problem))) - float(_losses(loss, theta[None])[0])
    shape = (len(settings.inverse_temperatures), len(settings.localisations))
    damped, loo, rhats = np.zeros(shape), np.zeros(shape), [1.0]
    for row, beta in enumerate(settings.inverse_temperatures):
        for column, share in enumerate(settings.localisations):
            found = bayesian_influence(
                problem, theta, inverse_temperature=beta, localisation=share * beta, draws=settings.grid_draws,
                seed=settings.seed, queries=loss,
            )  # fmt: skip
            reference = influence_matrix(problem, loss, theta=theta, damping=share / problem.n)[0]
            removal = np.asarray(found.removal[0])
            damped[row, column], loo[row, column] = rank_agreement(removal, reference), rank_agreement(removal, actual)
            rhats.append(found.rhat)
    plain = rank_agreement(influence_matrix(problem, loss, theta=theta)[0], actual)
    return {"damped": damped, "loo": loo, "plain": plain, "rhat": max(rhats)}


def _singular(settings: Settings) -> dict[str, dict]:
    n, rng = settings.singular_n, np.random.default_rng([settings.seed, 2])
    truth = rng.standard_normal(settings.singular_d)
    x = rng.standard_normal((n + 50, settings.singular_d))
    y = x @ truth + 0.3 * rng.standard_normal(len(x))
    # Rank below n as well, or every residual would be 0 and every influence with it.
    flat = x[:, : n // 2] @ rng.standard_normal((n // 2, settings.singular_d)) / np.sqrt(n // 2)
    linear = Problem(LinearRegression(), Dataset(flat[:n], y[:n]), delete=0)
    queries = Dataset(flat[n:], y[n:])
    utility = RefitUtility(linear, queries)
    theta = jnp.asarray(utility.fit(np.ones((1, n), bool))[0])
    actual, loss = leave_one_out_values(utility, n), _MeanLoss(linear, queries)
    found = {"linear, rank-deficient": _one_singular(linear, theta, loss, actual, settings)}
    data = datasets.teacher_student(n=n, width=2, noise=0.3, seed=settings.seed)
    small, wide = Problem(MLP(width=1), data, delete=0), Problem(MLP(width=2), data, delete=0)
    one = np.asarray(optimum(small, start=small.initial(settings.seed)).theta)
    # A second neuron with weights 0 everywhere: stationary, and its Hessian is singular.
    dead = jnp.asarray([one[0], 0.0, one[1], 0.0, one[2], 0.0, one[3]])
    points = np.linspace(-2, 2, 50)
    queries = Dataset(points[:, None], datasets.teacher(2, settings.seed)(points))
    loss = _MeanLoss(wide, queries)
    ends = [leave_one_out(small.deleting(j), start="warm", theta=one, throw=False).theta for j in range(n)]
    actual = np.asarray(_losses(_MeanLoss(small, queries), jnp.stack(ends))) - float(_losses(loss, dead[None])[0])
    found["network, dead neuron"] = _one_singular(wide, dead, loss, actual, settings)
    return found


def _one_singular(problem: Problem, theta, loss, actual: np.ndarray, settings: Settings) -> dict:
    """BIF and damped influence against leave-one-out, and what the undamped influence says."""
    try:
        influence_matrix(problem, loss, theta=theta)
        plain = "defined"
    except WorkError as error:
        plain = "undefined (" + str(error).split(";")[0].split(",")[0] + ")"
    beta, gamma = 20.0, 20.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ChainsWarning)  # R̂ is reported beside the result
        result = bayesian_influence(
            problem, theta, inverse_temperature=beta, localisation=gamma, draws=settings.draws[-1],
            seed=settings.seed, queries=loss,
        )  # fmt: skip
    removal = np.asarray(result.removal[0])
    damped = influence_matrix(problem, loss, theta=theta, hessian="gauss-newton", damping=gamma / (beta * problem.n))[0]
    return {
        "plain": plain, "removal": removal, "actual": actual, "bayes": rank_agreement(removal, actual),
        "damped": rank_agreement(damped, actual), "rhat": result.rhat,
    }  # fmt: skip


def _draw(settings: Settings, linear: dict, grid: dict, singular: dict):
    figure, (left, middle, *right) = plt.subplots(1, 4, figsize=(17, 4.4), layout="constrained")
    for index, (name, label) in enumerate((("langevin", "Langevin"), ("sgld", "SGLD"), ("cg", "conjugate gradients"))):
        rows = np.array(linear[name])
        left.loglog(rows[:, 0], np.maximum(rows[:, 1], 1e-16), "o-", color=SERIES[index], label=label)
    left.set(xlabel="cost, gradients of the risk (or their worth)", ylabel="relative error of the influence matrix")
    left.set_title(
        f"linear model: slope {linear['langevin'][-1][3]:.3f} at {4 * settings.draws[-1]} draws", fontsize=10.5
    )
    left.legend(fontsize=9)
    for row, beta in enumerate(settings.inverse_temperatures):
        options = {"color": SERIES[row]}
        middle.semilogx(
            settings.localisations, grid["damped"][row], "o-", label=f"β = {beta:g}: damped influence", **options
        )
        options["mfc"] = "white"
        middle.semilogx(
            settings.localisations, grid["loo"][row], "s--", label=f"β = {beta:g}: leave-one-out", **options
        )
    middle.axhline(grid["plain"], color=INK, lw=0.9, ls=":", label="undamped influence: leave-one-out")
    middle.set(xlabel="localisation γ/β (added to the Hessian)", ylabel="rank agreement of −β·BIF with …")
    middle.set_title("logistic regression: what it agrees with", fontsize=10.5)
    middle.legend(fontsize=6.5, loc="center right", bbox_to_anchor=(1.0, 0.58))
    for axis, (name, found) in zip(right, singular.items(), strict=True):
        axis.axhline(0, color=MUTED, lw=0.8)
        axis.axvline(0, color=MUTED, lw=0.8)
        axis.plot(found["actual"], found["removal"], "o", color=FULL, ms=5)
        axis.set(xlabel="test loss change by leave-one-out", ylabel="−β·BIF (+ = removing it raises the loss)")
        axis.set_title(f"{name}: Spearman {found['bayes']:+.2f}\nplain influence {found['plain'][:9]}", fontsize=10.5)
    return figure
