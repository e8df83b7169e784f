"""How different is θ̇(1) from θ̇(0)? The notes' question and their bound max ‖θ̈‖, against leverage.

For linear regression θ̇(0) = (1 + h)² θ̇(1) with h = P/(1 − P), so leverage alone decides. For a network the change is
computed along the continued path θ(ε) of every point, and set against the generalised leverage of the point.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

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
from homotopy._statistics import rank_correlation
from homotopy.run import Progress, Range, Seed, check, grid, record
from homotopy.viz import FULL, INK, RETAINED, panels


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
PARTS = ("change", "bound", "simpson_error")  # relative to ‖θ̇(1)‖, the last to the change


def compute(settings: Settings, progress: Progress) -> xr.Dataset:
    """‖θ̇(1) − θ̇(0)‖, max ‖θ̈‖, the error of ∫θ̈ and the leverage of every point of diabetes and of every network."""
    check(settings)
    data = datasets.load("diabetes", intercept=True)
    linear = Problem(LinearRegression(), data, delete=0)

    def row(diabetes: int) -> dict[str, float]:
        return _change(linear.deleting(diabetes), None, settings.epsilons)

    rows = grid({"diabetes": range(min(settings.points, data.n))}, row, progress, "diabetes")
    rows["leverage"] = ("diabetes", np.asarray(leverage(linear))[: rows.sizes["diabetes"]])
    seeds = range(settings.seed, settings.seed + settings.seeds)
    networks = grid({"network": seeds}, lambda network: _network(settings, network), progress, "networks")
    known = int(networks["change"].notnull().sum())
    if known < 3:
        raise WorkError("fewer than three network paths reached ε = 0; raise ridge or seeds")
    parts = (("diabetes", rows), ("networks", networks))
    found = xr.Dataset({f"{name}_{what}": values for what, part in parts for name, values in part.data_vars.items()})
    lost = networks["change"].size - known
    return record(found, data, codes={"successful": rows.sizes["diabetes"] + known, "no path to ε = 0": lost})


def _change(problem: Problem, start: Any, epsilons: int) -> dict[str, float]:
    found = theta_dot_change(problem, start=start, count=epsilons)
    size, change = float(np.linalg.norm(found.theta_dot_full)), float(found.change)
    return dict(zip(PARTS, (change / size, float(found.bound) / size, float(found.integral) / change), strict=True))


def _network(settings: Settings, seed: int) -> dict[str, Any]:
    """Every point of one network; NaN where its path does not reach ε = 0."""
    data = datasets.teacher_student(n=settings.n, width=settings.width, seed=seed)
    problem = Problem(MLP(width=settings.width), data, delete=0, ridge=settings.ridge)
    full = optimum(problem, start=problem.initial(seed)).theta
    found = {part: ("point", np.full(data.n, np.nan)) for part in PARTS}
    for point in range(data.n):
        try:
            change = _change(problem.deleting(point), full, settings.epsilons)
        except (WorkError, RequestError):  # a fold on the way, or a singular Hessian at its end
            continue
        for part, value in change.items():
            found[part][1][point] = value
    return found | {"leverage": ("point", np.asarray(leverage(problem, theta=full)))}


def _closed(p: np.ndarray) -> np.ndarray:
    """(1 + h)² − 1 with h = P/(1 − P): the change of θ̇ in linear regression."""
    return (1.0 + p / (1.0 - p)) ** 2 - 1.0


def _known(data: xr.Dataset, name: str) -> dict[str, np.ndarray]:
    """The numbers of all points of `name` whose path reached ε = 0, and the slack of the bound."""
    kept = np.isfinite(data[f"change_{name}"].values)
    found = {part: data[f"{part}_{name}"].values[kept] for part in (*PARTS, "leverage")}
    return found | {"slack": found["bound"] / found["change"]}


def draw(data: xr.Dataset, settings: Settings) -> dict[str, Figure]:
    """The change against leverage, of the linear model and of the networks; the slack of the bound."""
    diabetes, networks = _known(data, "diabetes"), _known(data, "networks")
    figure, axes = panels(1, 3)
    left, middle, right = axes[0]
    order = np.argsort(diabetes["leverage"])
    p = diabetes["leverage"][order]
    left.plot(p, _closed(p), "-", color=INK, lw=1.4, label="(1 + h)² − 1, h = P/(1 − P)")
    left.plot(p, diabetes["change"][order], "o", color=RETAINED, ms=3.5, alpha=0.7, label="diabetes, each point")
    left.set(xlabel="leverage P of the point", title=f"linear: leverage decides (to {_error(diabetes):.0e})")
    levers = networks["leverage"]
    middle.semilogy(levers, networks["change"], "o", color=FULL, ms=3.5, alpha=0.7)
    p = np.linspace(0.0, min(0.98, levers.max()), 200)[1:]
    middle.plot(p, _closed(p), "-", color=INK, lw=1.4, label="the linear formula")
    rank = rank_correlation(levers, networks["change"])
    middle.set(
        xlabel="generalised leverage of the point", title=f"{settings.width}-neuron networks: Spearman {rank:+.2f}"
    )
    for ax in (left, middle):
        ax.set_ylabel("‖θ̇(1) − θ̇(0)‖ / ‖θ̇(1)‖")
    bins = np.geomspace(1.0, max(np.quantile(networks["slack"], 0.98), 1.2), 30)
    for found, color, label in ((diabetes, RETAINED, "linear"), (networks, FULL, "networks")):
        shown = np.clip(found["slack"], bins[0], bins[-1])
        right.hist(shown, bins=bins, color=color, alpha=0.6, density=True, label=label)
    right.set(xscale="log", xlabel="max ‖θ̈‖ over what it bounds, ‖θ̇(1) − θ̇(0)‖", ylabel="density")
    slack = [np.median(found["slack"]) for found in (diabetes, networks)]
    right.set_title(f"the notes' bound: median slack ×{slack[0]:.2f} and ×{slack[1]:.2f}")
    for ax in axes[0]:
        ax.legend()
    return {"theta_dot": figure}


def _error(diabetes: dict[str, np.ndarray]) -> float:
    return float(np.abs(diabetes["change"] / _closed(diabetes["leverage"]) - 1.0).max())


def tell(data: xr.Dataset, settings: Settings) -> str:
    """How large the change is, whether leverage decides it, and whether the notes' bound holds."""
    diabetes, networks = _known(data, "diabetes"), _known(data, "networks")
    change, lost = networks["change"], int(data["change_networks"].isnull().sum())
    violated = sum(int((found["slack"] < 1 - 1e-9).sum()) for found in (diabetes, networks))
    return (
        f"linear (diabetes, {len(diabetes['change'])} points): relative change of θ̇ from {diabetes['change'].min():.3g} to "
        f"{diabetes['change'].max():.3g}; (1 + h)² − 1 holds to {_error(diabetes):.1e}\n"
        f"networks ({len(change)} points, {lost} without a path): "
        f"median {np.median(change):.3g}, largest {change.max():.3g}; "
        f"Spearman with leverage {rank_correlation(networks['leverage'], change):+.2f}\n"
        f"the bound max ‖θ̈‖ was violated {violated} times; its median slack is ×{np.median(diabetes['slack']):.2f} (linear) "
        f"and ×{np.median(networks['slack']):.2f} (networks); ∫θ̈ misses the change by at most "
        f"{networks['simpson_error'].max():.1e} of it"
    )
