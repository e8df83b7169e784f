"""Figure 3: a 3-neuron network on 20 points — does the distance of a point from the target decide how straight θ(ε) is?

Above: two contrasting points of one network, found by computation: the one with the most curved path θ(ε) and, among
the half of the points that are farther from the target, the one with the straightest. Left the data and the fit with
and without the point; right the parameters of the neuron that moves most, along the continued path (lines) and at the
cold endpoints (dots: retrained from θ₀, neurons put in the nearest order and sign). Below: distance from the target
against the largest deviation of θ(ε) from its chord, for all points and many seeds, with the rank correlation.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from homotopy import MLP, Problem, WorkError, align, datasets, optimum, path
from homotopy._statistics import Interval, bootstrap, rank_correlation
from homotopy.run import Progress, Range, Seed, check, grid, record
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


def compute(settings: Settings, progress: Progress) -> xr.Dataset:
    """Distance from the target and deviation of θ(ε) for every point; and everything about the two that are shown."""
    check(settings)
    seeds = range(settings.seed, settings.seed + settings.seeds)
    data = grid({"network": seeds}, lambda network: _follow(settings, network), progress, "paths of every point")
    paths = data["deviation"].notnull().sum("point").values
    if not (paths >= 4).any():
        raise WorkError("no network reached a minimum with at least four paths; raise ridge or seeds, or change seed")
    untrained = int(data["distance"].isnull().all("point").sum())
    data = data.isel(network=paths >= 4)  # fewer say nothing of a network's points beside each other
    best = data.isel(network=int(np.argmax(data["deviation"].max("point").values)))
    seed, points = int(best["network"]), _contrast(best["distance"].values, best["deviation"].values)
    data = data.merge(grid({"shown": points}, lambda shown: _shown(settings, seed, shown), progress, "cold endpoints"))
    known = int(data["deviation"].notnull().sum())
    folds = data["deviation"].size - known
    missed = int(data["cold"].isnull().all("parameter").sum())
    codes = {"successful": known, "fold": folds, "no minimum reached": untrained + missed}
    used = [_problem(settings, int(one)).data for one in data["network"]]
    return record(data.assign_attrs(shown_seed=seed, folds=folds, untrained=untrained), *used, codes=codes)


def _problem(settings: Settings, seed: int) -> Problem:
    data = datasets.teacher_student(n=settings.n, width=settings.width, noise=settings.noise, seed=seed)
    return Problem(MLP(width=settings.width), data, delete=0, ridge=settings.ridge)


def _epsilons(settings: Settings) -> np.ndarray:
    return np.linspace(1.0, 0.0, settings.epsilons)


def _follow(settings: Settings, seed: int) -> dict[str, Any]:
    """|y − f*(x)| of every point of one network, and how far its θ(ε) from 1 to 0 departs from its chord; NaN for a fold."""
    problem = _problem(settings, seed)
    full = optimum(problem, 1.0, start=problem.initial(seed)).theta
    deviations = np.full(problem.n, np.nan)
    for point in range(problem.n):
        found = path(problem.deleting(point), _epsilons(settings), start=full, on_fold="stop")
        if not found.folded:
            deviations[point] = found.max_deviation
    target = datasets.teacher(settings.width, seed)(np.asarray(problem.data.x)[:, 0])
    return {"distance": ("point", np.abs(np.asarray(problem.data.y) - target)), "deviation": ("point", deviations)}


def _contrast(distances: np.ndarray, deviations: np.ndarray) -> tuple[int, int]:
    """The point with the most curved path, and that with the straightest among the farther half of the points."""
    curved, known = int(np.nanargmax(deviations)), np.isfinite(deviations)
    far = known & (distances >= np.median(distances[known]))
    far[curved] = False
    return curved, int(np.argmin(np.where(far, deviations, np.inf)))


def _shown(settings: Settings, seed: int, point: int) -> dict[str, Any]:
    """One point of a network: path, cold endpoints aligned with it (NaN without a minimum), fits and data."""
    network, epsilons = _problem(settings, seed), _epsilons(settings)
    problem, theta0 = network.deleting(point), network.initial(seed)
    thetas = path(problem, epsilons, start=optimum(network, 1.0, start=theta0).theta, on_fold="stop").thetas
    chosen = np.unique(np.linspace(0, len(epsilons) - 1, settings.cold).astype(int))
    cold = np.full((len(chosen), problem.dim), np.nan)
    for row, at in enumerate(chosen):
        try:
            cold[row] = align(problem, optimum(problem, float(epsilons[at]), start=theta0).theta, thetas[at])
        except WorkError:
            continue
    x = np.asarray(problem.data.x)[:, 0]
    line = np.linspace(x.min() - 0.2, x.max() + 0.2, 300)
    fits = [problem.predict(theta, line[:, None]) for theta in (thetas[0], thetas[-1])]
    return {
        "theta": (("epsilon", "parameter"), np.asarray(thetas)), "epsilon": epsilons,
        "cold": (("epsilon_cold", "parameter"), cold), "epsilon_cold": epsilons[chosen],
        "fit": (("curve", "line"), np.array([datasets.teacher(settings.width, seed)(line), *fits])), "line": line,
        "x": ("point", x), "y": ("point", np.asarray(problem.data.y)),
    }  # fmt: skip


def _correlation(data: xr.Dataset, settings: Settings) -> Interval:
    """Spearman's ρ over all paths; the interval resamples networks and, in each, points: the paths of one network share
    its fit, and are not independent."""
    known = data["deviation"].notnull().values
    far, curved = data["distance"].values[known], data["deviation"].values[known]
    return bootstrap(
        lambda rows: rank_correlation(far[rows], curved[rows]), len(far), clusters=np.nonzero(known)[0],
        resamples=settings.resamples, seed=settings.seed,
    )  # fmt: skip


def draw(data: xr.Dataset, settings: Settings) -> dict[str, Figure]:
    """The fit and the path of the two points; below, distance against deviation for all."""
    figure = plt.figure(figsize=(11.0, 11.5), layout="constrained")
    places = figure.add_gridspec(3, 2)
    for row, point in enumerate(data["shown"].values):
        here = data.sel(shown=point, network=data.attrs["shown_seed"])
        _draw_fit(figure.add_subplot(places[row, 0]), here, point)
        _draw_neuron(figure.add_subplot(places[row, 1]), here, point, settings.width)
    ax = figure.add_subplot(places[2, :])
    colors = plt.get_cmap("viridis")(np.linspace(0, 0.9, data.sizes["network"]))
    for far, curved, color in zip(data["distance"].values, data["deviation"].values, colors, strict=True):
        ax.loglog(far, curved, "o", color=color, ms=4, alpha=0.75)
    value, low, high = _correlation(data, settings)
    ax.set(xlabel="distance of the point from the target |y − f*(x)|", ylabel="largest deviation of θ(ε) / chord")
    ax.set_title(
        f"all points of {len(colors)} networks (a colour each): Spearman {value:+.2f} [{low:+.2f}, {high:+.2f}]"
    )
    return {"neuron_paths": figure}


def _draw_fit(ax: Axes, here: xr.Dataset, point: int) -> None:
    styles = ((SERIES[2], "-", "target"), (FULL, "-", "fit with it"), (RETAINED, "--", "without"))
    for curve, (color, style, label) in zip(here["fit"], styles, strict=True):
        ax.plot(here["line"], curve, style, color=color, label=label)
    others = here.drop_isel(point=point)
    ax.plot(others["x"], others["y"], "o", color=MUTED, ms=4)
    ax.plot(here["x"][point], here["y"][point], "o", color="red", ms=8, mec=INK, label="deleted point")
    ax.set(xlabel="x", ylabel="y", title=f"point {point}: {float(here['distance'][point]):.3f} from the target")
    ax.legend()


def _draw_neuron(ax: Axes, here: xr.Dataset, point: int, width: int) -> None:
    """Change of (w, b, a) of the neuron that moves most, along ε."""
    thetas, cold = (here[name].values - here["theta"].values[0] for name in ("theta", "cold"))
    neuron = int(np.argmax(np.linalg.norm(thetas[-1, : 3 * width].reshape(3, width), axis=0)))
    for part, (name, color) in enumerate(zip(("w (input)", "b (bias)", "a (output)"), SERIES, strict=False)):
        index = part * width + neuron
        ax.plot(here["epsilon"], thetas[:, index], color=color, lw=1.8, label=name)
        ax.plot(here["epsilon_cold"], cold[:, index], "o", color=color, ms=5, mec=INK, mew=0.5)
    ax.plot([], [], "o", color="white", mec=INK, ms=5, label="cold endpoint")
    ax.set(xlabel="weight ε of the point", ylabel="change of the parameter since ε = 1")
    ax.set_title(f"neuron {neuron}: deviation of θ(ε) from its chord {float(here['deviation'][point]):.3g}")
    ax.legend()


def tell(data: xr.Dataset, settings: Settings) -> str:
    """The two points, and whether distance decides how straight a path is."""
    seed, points = data.attrs["shown_seed"], data["shown"].values
    curved, straight = data["deviation"].sel(network=seed).values[points]
    value, low, high = _correlation(data, settings)
    verdict = "decides nothing that this sample can see" if low <= 0 <= high else "is related to it"
    return (
        f"{int(data['deviation'].notnull().sum())} paths of {data.sizes['network']} networks ({data.attrs['folds']} ended in a "
        f"fold, {data.attrs['untrained']} networks had no minimum)\n"
        f"most curved: seed {seed}, point {points[0]}, deviation {curved:.3g} of its chord;\n"
        f"straight and far: point {points[1]}, deviation {straight:.3g}\n"
        f"Spearman correlation of distance and deviation {value:+.3f}, 95 % interval [{low:+.3f}, {high:+.3f}]: "
        f"distance from the target {verdict}"
    )
