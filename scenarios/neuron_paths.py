"""Figure 3: a 3-neuron network on 20 points — does the distance of a point from the target decide how straight θ(ε) is?

Above: two contrasting points of one network, found by computation: the one with the most curved path θ(ε) and, among
the half of the points that are farther from the target, the one with the straightest. Left the data and the fit with
and without the point; right the parameters of the neuron that moves most, along the continued path (lines) and at the
cold endpoints (dots: retrained from θ₀, neurons put in the nearest order and sign). Below: distance from the target
against the largest deviation of θ(ε) from its chord, for all points and many seeds, with the rank correlation.
"""

from dataclasses import dataclass, field
from typing import Annotated

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from scipy.stats import spearmanr

from homotopy import MLP, Dataset, Problem, WorkError, align, datasets, optimum, path
from homotopy.run import Progress, Range, RunResult, Seed, check
from homotopy.viz import FULL, INK, MUTED, RETAINED, SERIES


@dataclass(frozen=True)
class Settings:
    """The networks and how finely the paths are followed."""

    n: Annotated[int, Range(least=4, most=1000)] = 20
    """points of each data set"""
    width: Annotated[int, Range(least=1, most=100)] = 3
    """neurons of the network and of its teacher"""
    noise: Annotated[float, Range(least=0, most=1e3)] = 0.1
    """standard deviation of the noise in y"""
    ridge: Annotated[float, Range(least=0, most=1e6)] = 1e-2
    """ρ: without it many of these networks have no minimum, only a valley that falls for ever"""
    seeds: Annotated[int, Range(least=1, most=1000)] = 12
    """data sets (with their teacher and θ₀) in the scatter"""
    epsilons: Annotated[int, Range(least=3, most=10_000)] = 33
    """values of ε on each path"""
    cold: Annotated[int, Range(least=2, most=10_000)] = 9
    """values of ε at which the network is retrained from θ₀, for the two points shown"""
    resamples: Annotated[int, Range(least=20, most=10**6)] = 2000
    """bootstrap resamples (of seeds, then of points) for the interval of the correlation"""
    seed: Seed = 0
    """first seed"""


QUICK = Settings(seeds=2, epsilons=17, cold=3, resamples=500)


@dataclass
class _Network:
    """One trained network, and the path of every point that has one."""

    seed: int
    data: Dataset
    theta0: np.ndarray
    full: np.ndarray
    points: list[int] = field(default_factory=list)
    paths: list[np.ndarray] = field(default_factory=list)
    deviations: list[float] = field(default_factory=list)
    folds: int = 0


def run(settings: Settings, progress: Progress) -> RunResult:
    """Follow every path, choose the two points, draw and correlate."""
    check(settings)
    epsilons = np.linspace(1.0, 0.0, settings.epsilons)
    networks, untrained = [], 0
    with progress.task("paths of every point", settings.seeds) as advance:
        for seed in range(settings.seed, settings.seed + settings.seeds):
            try:
                networks.append(_follow(settings, seed, epsilons))
            except WorkError:  # no minimum was reached from this θ₀
                untrained += 1
            advance(1)
    networks = [network for network in networks if len(network.points) >= 4]
    if not networks:
        raise WorkError("no network reached a minimum with at least four paths; raise ridge or seeds, or change seed")
    shown = max(networks, key=lambda network: max(network.deviations))
    curved, straight = _contrast(settings, shown)
    figure = plt.figure(figsize=(11.0, 11.5), layout="constrained")
    grid = figure.add_gridspec(3, 2)
    codes = {
        "successful": sum(len(network.points) for network in networks),
        "fold": sum(network.folds for network in networks),
        "no minimum reached": untrained,
    }
    records: dict[str, xr.Variable] = {"epsilon": xr.Variable("epsilon", epsilons)}
    for row, (which, name) in enumerate(((curved, "curved"), (straight, "straight"))):
        cold_epsilons, cold, missed = _cold(settings, shown, which, epsilons)
        codes["no minimum reached"] += missed
        _draw_fit(figure.add_subplot(grid[row, 0]), settings, shown, which)
        _draw_neuron(figure.add_subplot(grid[row, 1]), settings, shown, which, epsilons, cold_epsilons, cold)
        records[f"theta_{name}"] = xr.Variable(("epsilon", "parameter"), shown.paths[which])
        records[f"cold_{name}"] = xr.Variable(("epsilon_cold", "parameter"), cold)
        records["epsilon_cold"] = xr.Variable("epsilon_cold", cold_epsilons)
    distances = [_distances(settings, network)[network.points] for network in networks]
    deviations = [np.array(network.deviations) for network in networks]
    correlation, low, high = _correlation(distances, deviations, settings)
    _draw_scatter(figure.add_subplot(grid[2, :]), distances, deviations, (correlation, low, high))
    owner = np.repeat([network.seed for network in networks], [len(d) for d in distances])
    records |= {
        "distance": xr.Variable("path", np.concatenate(distances), {"long_name": "distance of y from the target"}),
        "deviation": xr.Variable("path", np.concatenate(deviations), {"long_name": "largest deviation / chord"}),
        "seed": xr.Variable("path", owner),
    }
    points = shown.points[curved], shown.points[straight]
    verdict = "decides nothing that this sample can see" if low <= 0 <= high else "is related to it"
    summary = (
        f"{len(owner)} paths of {len(networks)} networks ({codes['fold']} ended in a fold, {untrained} networks had no "
        f"minimum)\nmost curved: seed {shown.seed}, point {points[0]}, deviation {shown.deviations[curved]:.3g} of its "
        f"chord;\nstraight and far: point {points[1]}, deviation {shown.deviations[straight]:.3g}\n"
        f"Spearman correlation of distance and deviation {correlation:+.3f}, 95 % interval [{low:+.3f}, {high:+.3f}]: "
        f"distance from the target {verdict}"
    )
    attributes = {"spearman": correlation, "spearman_low": low, "spearman_high": high, "shown_seed": shown.seed}
    return RunResult(
        figures={"neuron_paths": figure},
        data=xr.Dataset(records, attrs=attributes | {"curved_point": points[0], "straight_point": points[1]}),
        summary=summary,
        datasets=tuple(network.data for network in networks),
        result_codes={code: count for code, count in codes.items() if count},
    )


def _problem(settings: Settings, data: Dataset, delete: int) -> Problem:
    return Problem(MLP(width=settings.width), data, delete=delete, ridge=settings.ridge)


def _follow(settings: Settings, seed: int, epsilons: np.ndarray) -> _Network:
    """Train one network and follow θ(ε) from 1 to 0 for each of its points; paths that end in a fold are counted."""
    data = datasets.teacher_student(n=settings.n, width=settings.width, noise=settings.noise, seed=seed)
    first = _problem(settings, data, 0)
    theta0 = first.initial(seed)
    full = optimum(first, 1.0, start=theta0).theta
    network = _Network(seed, data, np.asarray(theta0), np.asarray(full))
    for point in range(data.n):
        found = path(first.deleting(point), epsilons, start=full, on_fold="stop")
        if found.folded:
            network.folds += 1
            continue
        network.points.append(point)
        network.paths.append(np.asarray(found.thetas))
        network.deviations.append(float(found.max_deviation))
    return network


def _distances(settings: Settings, network: _Network) -> np.ndarray:
    """|y_i − f*(x_i)|: how far each point lies from the target function."""
    target = datasets.teacher(settings.width, network.seed)
    return np.abs(np.asarray(network.data.y) - target(np.asarray(network.data.x)[:, 0]))


def _contrast(settings: Settings, network: _Network) -> tuple[int, int]:
    """Positions (in `points`) of the most curved path, and of the straightest among the farther half of the points."""
    deviations = np.array(network.deviations)
    distances = _distances(settings, network)[network.points]
    far = distances >= np.median(distances)
    curved = int(np.argmax(deviations))
    far[curved] = False
    return curved, int(np.argmin(np.where(far, deviations, np.inf)))


def _cold(
    settings: Settings, network: _Network, which: int, epsilons: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """Retrained from θ₀ at a few ε of the path and aligned with it; rows without a minimum are NaN and counted."""
    problem = _problem(settings, network.data, network.points[which])
    chosen = np.unique(np.linspace(0, len(epsilons) - 1, settings.cold).astype(int))
    thetas = np.full((len(chosen), problem.dim), np.nan)
    missed = 0
    for row, at in enumerate(chosen):
        try:
            cold = optimum(problem, float(epsilons[at]), start=network.theta0).theta
        except WorkError:
            missed += 1
            continue
        thetas[row] = align(problem, cold, network.paths[which][at])
    return epsilons[chosen], thetas, missed


def _draw_fit(ax: Axes, settings: Settings, network: _Network, which: int) -> None:
    point, thetas = network.points[which], network.paths[which]
    x, y = np.asarray(network.data.x)[:, 0], np.asarray(network.data.y)
    line = np.linspace(x.min() - 0.2, x.max() + 0.2, 300)
    problem = _problem(settings, network.data, point)
    ax.plot(line, datasets.teacher(settings.width, network.seed)(line), color=SERIES[2], lw=1.6, label="target")
    for theta, color, style, label in ((thetas[0], FULL, "-", "fit with it"), (thetas[-1], RETAINED, "--", "without")):
        ax.plot(line, np.asarray(problem.predict(jnp.asarray(theta), line[:, None])), style, color=color, label=label)
    others = np.arange(len(x)) != point
    ax.plot(x[others], y[others], "o", color=MUTED, ms=4)
    ax.plot(x[point], y[point], "o", color="red", ms=8, mec=INK, label="deleted point")
    far = _distances(settings, network)[point]
    ax.set(xlabel="x", ylabel="y")
    ax.set_title(f"point {point}: {far:.3f} from the target", fontsize=10.5)
    ax.legend(fontsize=8.5)


def _draw_neuron(
    ax: Axes, settings: Settings, network: _Network, which: int, epsilons: np.ndarray,
    cold_epsilons: np.ndarray, cold: np.ndarray,
) -> None:  # fmt: skip
    """Change of (w, b, a) of the neuron that moves most, along ε."""
    thetas, width = network.paths[which], settings.width
    moved = np.linalg.norm((thetas[-1] - thetas[0])[: 3 * width].reshape(3, width), axis=0)
    neuron = int(np.argmax(moved))
    for part, (name, color) in enumerate(zip(("w (input)", "b (bias)", "a (output)"), SERIES[:3], strict=True)):
        index = part * width + neuron
        ax.plot(epsilons, thetas[:, index] - thetas[0, index], color=color, lw=1.8, label=name)
        ax.plot(cold_epsilons, cold[:, index] - thetas[0, index], "o", color=color, ms=5, mec=INK, mew=0.5)
    ax.plot([], [], "o", color="white", mec=INK, ms=5, label="cold endpoint")
    ax.set(xlabel="weight ε of the point", ylabel="change of the parameter since ε = 1")
    ax.set_title(f"neuron {neuron}: deviation of θ(ε) from its chord {network.deviations[which]:.3g}", fontsize=10.5)
    ax.legend(fontsize=8.5)


def _correlation(
    distances: list[np.ndarray], deviations: list[np.ndarray], settings: Settings
) -> tuple[float, float, float]:
    """Spearman's ρ over all paths, with a percentile interval that resamples seeds and, in each, points: the paths of
    one network share its fit, and are not independent."""
    pairs = [np.stack(pair) for pair in zip(distances, deviations, strict=True)]

    def correlate(chosen: list[np.ndarray]) -> float:
        return float(spearmanr(*np.concatenate(chosen, axis=1)).statistic)

    rng = np.random.default_rng(settings.seed)
    values = []
    for _ in range(settings.resamples):
        drawn = [pairs[i] for i in rng.integers(len(pairs), size=len(pairs))]
        values.append(correlate([pair[:, rng.integers(pair.shape[1], size=pair.shape[1])] for pair in drawn]))
    low, high = np.quantile(values, [0.025, 0.975])
    return correlate(pairs), float(low), float(high)


def _draw_scatter(
    ax: Axes, distances: list[np.ndarray], deviations: list[np.ndarray], correlation: tuple[float, float, float]
) -> None:
    colors = plt.get_cmap("viridis")(np.linspace(0, 0.9, len(distances)))
    for far, curved, color in zip(distances, deviations, colors, strict=True):
        ax.loglog(far, curved, "o", color=color, ms=4, alpha=0.75)
    value, low, high = correlation
    ax.set(xlabel="distance of the point from the target |y − f*(x)|", ylabel="largest deviation of θ(ε) / chord")
    ax.set_title(
        f"all points of {len(distances)} networks (a colour each): Spearman {value:+.2f} [{low:+.2f}, {high:+.2f}]",
        fontsize=10.5,
    )
