"""Bayesian influence: what it agrees with, where the influence function is undefined, and what its sampling costs.

Against the closed Gaussian form on a linear model, draw by draw and beside conjugate gradients; against damped influence
and real leave-one-out on logistic regression as temperature and localisation vary; and on two singular models (a linear
one with more parameters than points, a network with a dead neuron) where the plain influence function does not exist.
"""

import warnings
from dataclasses import dataclass
from typing import Annotated, Any

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from homotopy import (
    CG,
    MLP,
    BayesianInfluence,
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
from homotopy.run import Progress, Range, Seed, check, codes_of, grid, record
from homotopy.viz import FULL, INK, MUTED, SERIES, legend_below, panels

from ._parts import joined, part_of
from ._queries import MeanLoss, mean_losses

METHODS = {"langevin": "Langevin", "sgld": "SGLD", "cg": "conjugate gradients"}
COLUMNS = ("gradients", "error", "correlation", "slope")
SINGULAR = {"linear": "linear, rank-deficient", "network": "network, dead neuron"}


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
        0.01, 0.1, 1.0, 10.0, 100.0, 1000.0,
    )  # fmt: skip
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


def compute(settings: Settings, progress: Progress) -> xr.Dataset:
    """Costs and errors on the linear model; agreements on the logistic one; and the two singular models."""
    check(settings)
    if settings.n < 2 * settings.d:
        raise RequestError(f"--n must be at least 2 --d = {2 * settings.d}, but is {settings.n}")
    linear = Problem(LinearRegression(), datasets.random_linear(settings.n, settings.d, seed=settings.seed), delete=0)
    logistic, queries = _logistic_problem(settings)
    with progress.task("parts", 3) as advance:
        rows = _linear(settings, linear)
        advance(1)
        agreements = _logistic(settings, logistic, queries, progress)
        advance(1)
        singular = _singular(settings)
        advance(1)
    data = xr.merge([agreements, joined(singular), xr.Dataset(
        {f"linear_{name}": ((f"row_{name}", "column"), np.array(found)) for name, found in rows.items()}
    )], combine_attrs="drop").assign_coords(column=list(COLUMNS))  # fmt: skip
    undefined = sum(_undefined(found) for found in singular.values())
    codes = codes_of(agreements)
    codes["successful"] += 2 * len(settings.draws)
    return record(data, linear.data, logistic.data, codes=codes | {"plain influence undefined": undefined})


def _undefined(here: xr.Dataset) -> bool:
    return str(here["plain"].values) != "defined"


def _sampled(problem: Problem, theta: Array, *, draws: int, seed: int, **options: Any) -> BayesianInfluence:
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ChainsWarning
        )  # few draws are the point here, and R̂ is reported beside the result
        return bayesian_influence(problem, theta, draws=draws, seed=seed, **options)


def _linear(settings: Settings, problem: Problem) -> dict[str, list[tuple[float, ...]]]:
    """COLUMNS for more and more draws; for CG against the damped influence."""
    theta, beta, gamma = optimum(problem).theta, 10.0, 10.0
    posterior: Any = {"inverse_temperature": beta, "localisation": gamma}
    truth = np.ravel(gaussian_bayesian_influence(problem, theta, **posterior))
    found: dict[str, list[tuple[float, ...]]] = {method: [] for method in METHODS}
    for method in ("langevin", "sgld"):
        for draws in settings.draws:
            result = _sampled(problem, theta, draws=draws, seed=settings.seed, method=method, **posterior)
            found[method].append((result.gradients, *_compare(np.ravel(result.influence), truth)))
    options: Any = {"theta": theta, "damping": gamma / (beta * problem.n)}
    points = [problem.deleting(j) for j in range(problem.n)]
    exact = np.ravel([influence(point, **options).theta_dot for point in points])
    for rtol in (1e-1, 1e-3, 1e-6, 1e-10):
        solves = [influence(point, solver=CG(rtol=rtol), **options) for point in points]
        # A product with the Hessian is worth about two gradients.
        cost = 2.0 * sum(int(solve.iterations) for solve in solves)
        found["cg"].append((cost, *_compare(np.ravel([solve.theta_dot for solve in solves]), exact)))
    return found


def _compare(values: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    """Relative error, correlation, slope through 0."""
    error = float(np.linalg.norm(values - truth) / np.linalg.norm(truth))
    return error, float(np.corrcoef(values, truth)[0, 1]), float(values @ truth / (truth @ truth))


def _logistic_problem(settings: Settings) -> tuple[Problem, Dataset]:
    rng = np.random.default_rng([settings.seed, 1])
    x = rng.standard_normal((settings.n + 50, settings.d))
    y = (x @ rng.standard_normal(settings.d) + rng.standard_normal(len(x)) > 0).astype(int)
    n = settings.n
    problem = Problem(LogisticRegression(), Dataset(x[:n], y[:n], name=f"logistic(n={n})"), delete=0, ridge=0.1)
    return problem, Dataset(x[n:], y[n:])


def _logistic(settings: Settings, problem: Problem, queries: Dataset, progress: Progress) -> xr.Dataset:
    """Rank agreements with damped influence and with leave-one-out, for every temperature and localisation."""
    theta, loss = optimum(problem).theta, MeanLoss(problem, queries)
    actual = np.asarray(mean_losses(loss, leave_one_out_all(problem)) - mean_losses(loss, theta[None]))

    def cell(beta: float, gamma_over_beta: float) -> dict[str, Any]:
        found = bayesian_influence(
            problem, theta, inverse_temperature=beta, localisation=gamma_over_beta * beta, draws=settings.grid_draws,
            seed=settings.seed, queries=loss,
        )  # fmt: skip
        damped = influence_matrix(problem, loss, theta=theta, damping=gamma_over_beta / problem.n)[0]
        removal = np.asarray(found.removal[0])
        return {
            "agreement_damped": rank_agreement(removal, damped),
            "agreement_leave_one_out": rank_agreement(removal, actual),
            "rhat": found.rhat,
        }

    axes = {"beta": settings.inverse_temperatures, "gamma_over_beta": settings.localisations}
    plain = rank_agreement(influence_matrix(problem, loss, theta=theta)[0], actual)
    return grid(axes, cell, progress, "temperatures and localisations").assign(agreement_plain=plain)


def _singular(settings: Settings) -> dict[str, xr.Dataset]:
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
    actual, loss = leave_one_out_values(utility, n), MeanLoss(linear, queries)
    found = {"linear": _one_singular(linear, theta, loss, actual, settings)}
    data = datasets.teacher_student(n=n, width=2, noise=0.3, seed=settings.seed)
    small, wide = Problem(MLP(width=1), data, delete=0), Problem(MLP(width=2), data, delete=0)
    one = np.asarray(optimum(small, start=small.initial(settings.seed)).theta)
    # A second neuron with weights 0 everywhere: stationary, and its Hessian is singular.
    dead = jnp.asarray([one[0], 0.0, one[1], 0.0, one[2], 0.0, one[3]])
    points = np.linspace(-2, 2, 50)
    queries = Dataset(points[:, None], datasets.teacher(2, settings.seed)(points))
    loss = MeanLoss(wide, queries)
    ends = [leave_one_out(small.deleting(j), start="warm", theta=one, throw=False).theta for j in range(n)]
    actual = np.asarray(mean_losses(MeanLoss(small, queries), jnp.stack(ends)) - mean_losses(loss, dead[None]))
    found["network"] = _one_singular(wide, dead, loss, actual, settings)
    return found


def _one_singular(problem: Problem, theta: Array, loss: MeanLoss, actual: np.ndarray, settings: Settings) -> xr.Dataset:
    """BIF and damped influence against leave-one-out, and what the undamped influence says."""
    try:
        influence_matrix(problem, loss, theta=theta)
        plain = "defined"
    except WorkError as error:
        plain = "undefined (" + str(error).split(";")[0].split(",")[0] + ")"
    beta, gamma = 20.0, 20.0
    result = _sampled(
        problem, theta, inverse_temperature=beta, localisation=gamma, draws=settings.draws[-1], seed=settings.seed,
        queries=loss,
    )  # fmt: skip
    removal = np.asarray(result.removal[0])
    damped = influence_matrix(problem, loss, theta=theta, hessian="gauss-newton", damping=gamma / (beta * problem.n))[0]
    agreements = {"bayes": rank_agreement(removal, actual), "damped": rank_agreement(damped, actual)}
    points = {"removal": ("point", removal), "actual": ("point", actual)}
    return xr.Dataset(points | agreements | {"plain": plain, "rhat": result.rhat})


def draw(data: xr.Dataset, settings: Settings) -> dict[str, Figure]:
    """Error against cost; agreement against localisation; and the two singular models, point by point."""
    figure, axes = panels(1, 4)
    left, middle, *right = axes[0]
    for (name, label), color in zip(METHODS.items(), SERIES, strict=False):
        cost, error = data[f"linear_{name}"].values.T[:2]
        left.loglog(cost, np.maximum(error, 1e-16), "o-", color=color, label=label)
    left.set(xlabel="cost, gradients of the risk (or their worth)", ylabel="relative error of the influence matrix")
    slope = float(data["linear_langevin"][-1].sel(column="slope"))
    left.set_title(f"linear model: slope {slope:.3f} at {4 * settings.draws[-1]} draws")
    left.legend()
    _draw_agreements(middle, data)
    for ax, (name, label) in zip(right, SINGULAR.items(), strict=True):
        here = part_of(data, name)
        ax.axhline(0, color=MUTED, lw=0.8)
        ax.axvline(0, color=MUTED, lw=0.8)
        ax.plot(here["actual"], here["removal"], "o", color=FULL, ms=5)
        ax.set(xlabel="test loss change by leave-one-out", ylabel="−β·BIF (+ = removing it raises the loss)")
        plain = "undefined" if _undefined(here) else "defined"
        ax.set_title(f"{label}: Spearman {float(here['bayes']):+.2f}\nplain influence {plain}")
    return {"bayesian_influence": figure}


def _draw_agreements(ax: Axes, data: xr.Dataset) -> None:
    share = data["gamma_over_beta"].values
    for beta, color in zip(data["beta"].values, SERIES, strict=False):
        here = data.sel(beta=beta)
        ax.semilogx(share, here["agreement_damped"], "o-", color=color, label=f"β = {beta:g}: damped influence")
        loo = f"β = {beta:g}: leave-one-out"
        ax.semilogx(share, here["agreement_leave_one_out"], "s--", color=color, mfc="white", label=loo)
    ax.axhline(float(data["agreement_plain"]), color=INK, lw=0.9, ls=":", label="influence: leave-one-out")
    ax.set(xlabel="localisation γ/β (added to the Hessian)", ylabel="rank agreement of −β·BIF with …")
    ax.set_title("logistic regression: what it agrees with")
    legend_below(ax)


def tell(data: xr.Dataset, settings: Settings) -> str:
    """How near sampling comes and at what cost, what it agrees with, and what it finds on singular models."""
    last = {name: dict(zip(COLUMNS, data[f"linear_{name}"].values[-1], strict=True)) for name in METHODS}
    sampled, sgld, cg = last.values()
    damped, loo = data["agreement_damped"], data["agreement_leave_one_out"]
    best = loo[loo.argmax(...)]
    rhat = max(1.0, float(data["rhat"].max()))
    lines = [
        f"linear model, {4 * settings.draws[-1]} draws (Langevin): correlation with the closed form "
        f"{sampled['correlation']:.5f}, slope {sampled['slope']:.4f}, error {sampled['error']:.3g}; SGLD "
        f"{sgld['correlation']:.5f}, {sgld['slope']:.4f}",
        f"conjugate gradients reach an error of {cg['error']:.1e} with {cg['gradients']:.0f} gradients' worth of products, "
        f"Langevin {sampled['error']:.1e} with {sampled['gradients']:.0f}",
        f"logistic model: rank agreement with damped influence {float(damped.min()):.3f} … {float(damped.max()):.3f}, with "
        f"leave-one-out at best {float(best):.3f} (β = {float(best['beta']):g}, γ/β = {float(best['gamma_over_beta']):g}); "
        f"undamped influence {float(data['agreement_plain']):.3f}; largest R̂ {rhat:.3f}",
    ]
    for name, label in SINGULAR.items():
        here = part_of(data, name)
        lines.append(
            f"{label}: plain influence: {here['plain'].item()}; rank agreement with leave-one-out: Bayesian "
            f"{float(here['bayes']):+.3f}, damped influence {float(here['damped']):+.3f}; R̂ {float(here['rhat']):.3f}"
        )
    return "\n".join(lines)
