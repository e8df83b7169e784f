"""Figure 2: the homotopy θ(t, ε) as a surface, for a linear problem and for a small network, with its distance map.

Left: one coordinate of θ(t, ε) over time and weight. Right: ‖θ(t, ε) − θ(t, 0)‖, where and when the deleted point
matters, and on the edge the same at t = ∞: the endpoint curve θ(∞, ε). For the network that is the cold endpoint (the
limit of the flow from θ₀), drawn where it was reached.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Literal

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from homotopy import (
    MLP,
    AbstractModel,
    Dataset,
    LinearRegression,
    Problem,
    RequestError,
    Surface,
    WorkError,
    datasets,
    optimum,
    surface,
)
from homotopy.run import Progress, Range, Seed, check, record
from homotopy.viz import new_3d, plot_distance, plot_surface, principal_coordinate

from ._instances import most_moving, slowest

KINDS = ("linear", "network")


@dataclass(frozen=True)
class Settings:
    """The two problems and the grid of the surface."""

    n: Annotated[int, Range(least=3, most=10_000)] = 20
    """number of points of both problems"""
    features: Annotated[int, Range(least=1, below="n")] = 4
    """features of the linear problem"""
    width: Annotated[int, Range(least=1, most=200)] = 3
    """neurons of the network and of its teacher"""
    epsilons: Annotated[int, Range(least=2, most=10_000)] = 64
    """values of ε in [0, 1]"""
    times: Annotated[int, Range(least=2, most=10_000)] = 120
    """saved times, equally spaced in log t"""
    linear_horizon: Annotated[float, Range(least=1e-6, most=1e4)] = 10.0
    """T of the linear problem in units of 1/λ_min(H₋)"""
    network_t1: Annotated[float, Range(least=1e-6, most=1e6)] = 1000.0
    """T of the network (time of the flow in the sum convention)"""
    ridge: Annotated[float, Range(least=0, most=1e6)] = 1e-3
    """ρ of the network: without it some networks have no minimum to reach, only a valley that falls for ever"""
    coordinate: Annotated[int, Range(least=-1, below="features")] = -1
    """coordinate of θ on the vertical axis, from 0; −1 is a principal direction, chosen by `direction`"""
    direction: Literal["weight", "all"] = "weight"
    """principal direction of what the weight changes (θ(t, ε) minus its mean over ε), or of all θ(t, ε)"""
    delete: Annotated[int, Range(least=-1, below="n")] = -1
    """deleted point, from 0; −1 is the one whose removal moves the linear fit most"""
    rtol: Annotated[float, Range(least=1e-12, most=1e-2)] = 1e-7
    """relative tolerance of the network's solve"""
    seed: Seed = 0
    """seed of the data and of θ₀"""


QUICK = Settings(epsilons=24, times=60, network_t1=300.0, rtol=1e-6)


def compute(settings: Settings, progress: Progress) -> xr.Dataset:
    """Both surfaces and their endpoint curves."""
    check(settings)
    dim = 3 * settings.width + 1
    if settings.coordinate >= dim:
        raise RequestError(f"--coordinate must be below the network's {dim} parameters, but is {settings.coordinate}")
    epsilons = np.linspace(0.0, 1.0, settings.epsilons)
    data, codes, used = xr.Dataset(coords={"epsilon": epsilons}), Counter[str](), []
    with progress.task("surfaces and endpoints", 2) as advance:
        for kind in KINDS:
            problem, theta0, t1 = _linear(settings) if kind == "linear" else _network(settings)
            ts = np.append(0.0, np.geomspace(1e-3 * t1, t1, settings.times))
            found = surface(problem, epsilons, theta0, ts=ts, rtol=settings.rtol, atol=1e-2 * settings.rtol)
            data[f"time_{kind}"] = (f"time_{kind}", ts, {"units": "time of the flow, sum convention"})
            data[f"theta_{kind}"] = (("epsilon", f"time_{kind}", f"parameter_{kind}"), np.asarray(found.thetas))
            data[f"endpoint_{kind}"] = (("epsilon", f"parameter_{kind}"), _endpoints(problem, theta0, found))
            data.attrs[f"deleted_{kind}"] = int(problem.delete[0])
            codes.update(found.result_codes)
            used.append(problem.data)
            advance(1)
    return record(data, *used, codes=codes)


def _linear(settings: Settings) -> tuple[Problem, np.ndarray, float]:
    data = datasets.random_linear(n=settings.n, d=settings.features, seed=settings.seed)
    problem = _most_influential(settings, LinearRegression(), data)
    return problem, np.asarray(problem.initial(settings.seed)), settings.linear_horizon / slowest(problem)


def _network(settings: Settings) -> tuple[Problem, np.ndarray, float]:
    data = datasets.teacher_student(n=settings.n, width=settings.width, seed=settings.seed)
    problem = _most_influential(settings, MLP(width=settings.width), data, settings.ridge)
    return problem, np.asarray(problem.initial(settings.seed)), settings.network_t1


def _most_influential(settings: Settings, model: AbstractModel, data: Dataset, ridge: float = 0.0) -> Problem:
    """`delete`, or the point with the largest ‖θ* − θ*₋‖ in the linear fit with intercept to the same data."""
    delete = settings.delete
    if delete < 0:
        delete = int(most_moving(Dataset(np.column_stack([data.x, np.ones(data.n)]), data.y)).delete[0])
    return Problem(model, data, delete=delete, ridge=ridge)


def _endpoints(problem: Problem, theta0: np.ndarray, found: Surface) -> np.ndarray:
    """θ(∞, ε) (m, dim), NaN where it was not reached."""
    if problem.least_squares:
        return np.asarray(surface(problem, found.epsilons, theta0, ts=[np.inf]).thetas[:, 0])
    limits = np.full((len(found.epsilons), problem.dim), np.nan)
    for row, epsilon in enumerate(np.asarray(found.epsilons)):
        if row in found.failures:
            continue
        try:
            limits[row] = optimum(problem, float(epsilon), start=found.thetas[row, -1]).theta
        except WorkError:  # the flow creeps along a flat valley: there is no limit to draw
            continue
    return limits


def draw(data: xr.Dataset, settings: Settings) -> dict[str, plt.Figure]:
    """For each problem one coordinate over time and weight, and the map of distances."""
    figure = plt.figure(figsize=(12.0, 10.0), layout="constrained")
    for row, kind in enumerate(KINDS):
        weights, ts, thetas = (jnp.asarray(data[name].values) for name in ("epsilon", f"time_{kind}", f"theta_{kind}"))
        found, coordinate, note = Surface(weights, ts, thetas, {}, {}, "", ""), settings.coordinate, ""
        if coordinate < 0:
            height, share = principal_coordinate(found, of=settings.direction)
            of = "what ε changes" if settings.direction == "weight" else "θ(t, ε)"
            label, note = "principal coordinate", f"\nalong the direction with {share:.0%} of the variance of {of}"
        else:
            height, label = data[f"theta_{kind}"].values[..., coordinate], f"θ[{coordinate}]"
        shown = plot_surface(found, height, new_3d((2, 2, 2 * row + 1), figure), label=label)
        shown.set_title(f"{kind}: θ(t, ε){note}")
        limits = data[f"endpoint_{kind}"].values
        ax = figure.add_subplot(2, 2, 2 * row + 2)
        plot_distance(found, np.linalg.norm(limits - limits[:1], axis=1), ax)
        ax.set_title(f"{kind}: when and where the point matters")
    return {"homotopy_surface": figure}


def tell(data: xr.Dataset, settings: Settings) -> str:
    """Where the point matters most, and what is left of it at T and at t = ∞."""
    lines = []
    for kind in KINDS:
        thetas, limits = data[f"theta_{kind}"].values, data[f"endpoint_{kind}"].values
        ts, apart = data[f"time_{kind}"].values, np.linalg.norm(thetas[-1] - thetas[0], axis=-1)
        peak, unreached = int(np.argmax(apart)), int(np.isnan(limits[:, 0]).sum())
        lines.append(
            f"{kind}: point {data.attrs[f'deleted_{kind}']} deleted; ‖θ(t,1) − θ(t,0)‖ peaks at {apart[peak]:.4g} "
            f"(t = {ts[peak]:.3g}), is {apart[-1]:.4g} at T = {ts[-1]:.4g} and {np.linalg.norm(limits[-1] - limits[0]):.4g} "
            "at t = ∞" + (f"; {unreached} of {len(limits)} endpoints not reached" if unreached else "")
        )
    return "\n".join(lines)
