"""How different is θ̇(1) from θ̇(0)? The notes' question and their bound max ‖θ̈‖, against leverage.

For linear regression θ̇(0) = (1 + h)² θ̇(1) with h = P/(1 − P), so leverage alone decides. For a network the change is
computed along the continued path θ(ε) of every point, and set against the generalised leverage of the point.
"""

from dataclasses import dataclass
from typing import Annotated

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from scipy.stats import spearmanr

from homotopy import (
    MLP,
    LinearRegression,
    Problem,
    RequestError,
    WorkError,
    datasets,
    leverage,
    optimum,
    theta_dot_change,
)
from homotopy.run import Progress, Range, RunResult, Seed, check
from homotopy.viz import FULL, INK, RETAINED


@dataclass(frozen=True)
class Settings:
    """Which points and networks are measured."""

    points: Annotated[int, Range(least=3, most=442)] = 442
    """rows of diabetes that are deleted one at a time (the first ones)"""
    n: Annotated[int, Range(least=4, most=1000)] = 20
    """points of each network's data set"""
    width: Annotated[int, Range(least=1, most=100)] = 3
    """neurons of the networks and of their teachers"""
    ridge: Annotated[float, Range(least=0, most=1e6)] = 1e-2
    """ρ of the networks"""
    seeds: Annotated[int, Range(least=1, most=1000)] = 10
    """networks"""
    epsilons: Annotated[int, Range(least=3, most=10_000)] = 17
    """values of ε on each path"""
    seed: Seed = 0
    """first seed of the networks"""


QUICK = Settings(points=40, seeds=2, epsilons=9)


def run(settings: Settings, progress: Progress) -> RunResult:
    """Measure every point, compare with the closed form, draw."""
    check(settings)
    data = datasets.load("diabetes", intercept=True)
    linear = Problem(LinearRegression(), data, delete=0)
    codes = {"successful": 0, "no path to ε = 0": 0}
    with progress.task("diabetes", min(settings.points, data.n)) as advance:
        rows = []
        for point in range(min(settings.points, data.n)):
            rows.append(_change(linear.deleting(point), None, settings.epsilons))
            advance(1)
    diabetes = np.array(rows)
    p = np.asarray(leverage(linear))[: len(diabetes)]
    closed = (1.0 + p / (1.0 - p)) ** 2 - 1.0
    codes["successful"] += len(diabetes)
    error = float(np.abs(diabetes[:, 0] / closed - 1.0).max())
    found: list[tuple[float, float, float]] = []
    generalised: list[float] = []
    with progress.task("networks", settings.seeds) as advance:
        for seed in range(settings.seed, settings.seed + settings.seeds):
            for lever, change in _network(settings, seed, codes):
                generalised.append(lever)
                found.append(change)
            advance(1)
    if len(found) < 3:
        raise WorkError("fewer than three network paths reached ε = 0; raise ridge or seeds")
    networks, levers = np.array(found), np.array(generalised)
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13.5, 4.4), layout="constrained")
    order = np.argsort(p)
    left.plot(p[order], closed[order], "-", color=INK, lw=1.4, label="(1 + h)² − 1, h = P/(1 − P)")
    left.plot(p, diabetes[:, 0], "o", color=RETAINED, ms=3.5, alpha=0.7, label="diabetes, each point")
    left.set(xlabel="leverage P of the point", ylabel="‖θ̇(1) − θ̇(0)‖ / ‖θ̇(1)‖")
    left.set_title(f"linear: leverage decides (to {error:.0e})", fontsize=10.5)
    left.legend(fontsize=8.5)
    rank = float(spearmanr(levers, networks[:, 0]).statistic)
    middle.semilogy(levers, networks[:, 0], "o", color=FULL, ms=3.5, alpha=0.7)
    grid = np.linspace(0.0, min(0.98, levers.max()), 200)[1:]
    middle.plot(grid, (1.0 + grid / (1.0 - grid)) ** 2 - 1.0, "-", color=INK, lw=1.4, label="the linear formula")
    middle.set(xlabel="generalised leverage of the point", ylabel="‖θ̇(1) − θ̇(0)‖ / ‖θ̇(1)‖")
    middle.set_title(f"{settings.width}-neuron networks: Spearman {rank:+.2f}", fontsize=10.5)
    middle.legend(fontsize=8.5)
    slack = [diabetes[:, 1] / diabetes[:, 0], networks[:, 1] / networks[:, 0]]
    top = np.quantile(slack[1], 0.98)
    bins = np.geomspace(1.0, max(top, 1.2), 30)
    for values, color, label in zip(slack, (RETAINED, FULL), ("linear", "networks"), strict=True):
        right.hist(np.clip(values, bins[0], bins[-1]), bins=bins, color=color, alpha=0.6, density=True, label=label)
    right.set(xscale="log", xlabel="bound max ‖θ̈‖ over what it bounds, ‖θ̇(1) − θ̇(0)‖", ylabel="density")
    right.set_title(
        f"the notes' bound: median slack ×{np.median(slack[0]):.2f} and ×{np.median(slack[1]):.2f}", fontsize=10.5
    )
    right.legend(fontsize=8.5)
    dimensions = {"diabetes": diabetes, "networks": networks}
    records = {
        f"{what}_{name}": xr.Variable(name, values[:, column])
        for name, values in dimensions.items()
        for column, what in enumerate(("change", "bound", "simpson_error"))
    }
    records |= {"leverage_diabetes": xr.Variable("diabetes", p), "leverage_networks": xr.Variable("networks", levers)}
    violated = int(sum((values < 1 - 1e-9).sum() for values in slack))
    summary = (
        f"linear (diabetes, {len(diabetes)} points): relative change of θ̇ from {diabetes[:, 0].min():.3g} to "
        f"{diabetes[:, 0].max():.3g}; (1 + h)² − 1 holds to {error:.1e}\n"
        f"networks ({len(networks)} points, {codes['no path to ε = 0']} without a path): "
        f"median {np.median(networks[:, 0]):.3g}, largest {networks[:, 0].max():.3g}; "
        f"Spearman with leverage {rank:+.2f}\n"
        f"the bound max ‖θ̈‖ was violated {violated} times; its median slack is ×{np.median(slack[0]):.2f} (linear) and "
        f"×{np.median(slack[1]):.2f} (networks); ∫θ̈ misses the change by at most {networks[:, 2].max():.1e} of it"
    )
    return RunResult(
        figures={"theta_dot": figure},
        data=xr.Dataset(records, attrs={"closed_form_error": error, "spearman_networks": rank, "violations": violated}),
        summary=summary,
        datasets=(data,),
        result_codes={code: count for code, count in codes.items() if count},
    )


def _change(problem: Problem, start, epsilons: int) -> tuple[float, float, float]:
    """‖θ̇(1) − θ̇(0)‖, max ‖θ̈‖ and the error of Simpson's ∫θ̈, all relative to ‖θ̇(1)‖ (the last to the first)."""
    found = theta_dot_change(problem, start=start, count=epsilons)
    size = float(np.linalg.norm(found.theta_dot_full))
    change = float(found.change)
    return change / size, float(found.bound) / size, float(found.integral) / change


def _network(settings: Settings, seed: int, codes: dict[str, int]) -> list[tuple[float, tuple[float, float, float]]]:
    """(leverage, change) of every point of one network whose path reaches ε = 0."""
    data = datasets.teacher_student(n=settings.n, width=settings.width, seed=seed)
    problem = Problem(MLP(width=settings.width), data, delete=0, ridge=settings.ridge)
    try:
        full = optimum(problem, start=problem.initial(seed)).theta
    except WorkError:
        codes["no path to ε = 0"] += data.n
        return []
    levers = np.asarray(leverage(problem, theta=full))
    found = []
    for point in range(data.n):
        try:
            found.append((float(levers[point]), _change(problem.deleting(point), full, settings.epsilons)))
            codes["successful"] += 1
        except (WorkError, RequestError):  # a fold on the way, or a singular Hessian at its end
            codes["no path to ε = 0"] += 1
    return found
