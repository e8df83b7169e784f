"""Figure 2: the homotopy θ(t, ε) as a surface, for a linear problem and for a small network, with its distance map.

Left: one coordinate of θ(t, ε) over time and weight. Right: ‖θ(t, ε) − θ(t, 0)‖, where and when the deleted point
matters, and on the edge the same at t = ∞: the endpoint curve θ(∞, ε). For the network that is the cold endpoint (the
limit of the flow from θ₀), drawn where it was reached.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from homotopy import (
    MLP,
    LinearRegression,
    Problem,
    RequestError,
    Surface,
    WorkError,
    datasets,
    optimum,
    surface,
)
from homotopy.run import Progress, Range, RunResult, Seed, check
from homotopy.viz import new_3d, plot_distance, plot_surface, principal_coordinate


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


def run(settings: Settings, progress: Progress) -> RunResult:
    """Both surfaces, their endpoint curves and the figure."""
    check(settings)
    dim = 3 * settings.width + 1
    if settings.coordinate >= dim:
        raise RequestError(f"--coordinate must be below the network's {dim} parameters, but is {settings.coordinate}")
    epsilons = np.linspace(0.0, 1.0, settings.epsilons)
    figure = plt.figure(figsize=(12.0, 10.0), layout="constrained")
    records: dict[str, xr.Variable] = {"epsilon": xr.Variable("epsilon", epsilons)}
    codes: dict[str, int] = {}
    lines: list[str] = []
    used = []
    with progress.task("surfaces and endpoints", 2) as advance:
        for row, kind in enumerate(("linear", "network")):
            problem, theta0, t1 = _linear(settings) if kind == "linear" else _network(settings)
            ts = np.append(0.0, np.geomspace(1e-3 * t1, t1, settings.times))
            result = surface(problem, epsilons, theta0, ts=ts, rtol=settings.rtol, atol=1e-2 * settings.rtol)
            limits, unreached = _endpoints(problem, theta0, result)
            _draw(figure, row, kind, result, limits, settings)
            for reason, count in result.result_codes.items():
                codes[reason] = codes.get(reason, 0) + count
            records |= {
                f"time_{kind}": xr.Variable(f"time_{kind}", ts, {"units": "time of the flow, sum convention"}),
                f"theta_{kind}": xr.Variable(("epsilon", f"time_{kind}", f"parameter_{kind}"), result.thetas),
                f"endpoint_{kind}": xr.Variable(("epsilon", f"parameter_{kind}"), limits),
            }
            used.append(problem.data)
            lines += _describe(kind, problem, result, limits, unreached)
            advance(1)
    return RunResult(
        figures={"homotopy_surface": figure},
        data=xr.Dataset(records),
        summary="\n".join(lines),
        datasets=tuple(used),
        result_codes=codes,
    )


def _linear(settings: Settings) -> tuple[Problem, np.ndarray, float]:
    data = datasets.random_linear(n=settings.n, d=settings.features, seed=settings.seed)
    problem = _most_influential(settings, LinearRegression(), data)
    theta0 = np.asarray(problem.initial(settings.seed))
    slowest = np.linalg.eigvalsh(np.asarray(problem.hessian(theta0, 0.0)))[0]
    return problem, theta0, settings.linear_horizon / float(slowest)


def _network(settings: Settings) -> tuple[Problem, np.ndarray, float]:
    data = datasets.teacher_student(n=settings.n, width=settings.width, seed=settings.seed)
    problem = _most_influential(settings, MLP(width=settings.width), data, settings.ridge)
    return problem, np.asarray(problem.initial(settings.seed)), settings.network_t1


def _most_influential(settings: Settings, model, data, ridge: float = 0.0) -> Problem:
    """`delete`, or the point with the largest ‖θ* − θ*₋‖ in the linear fit with intercept to the same data."""
    if settings.delete >= 0:
        return Problem(model, data, delete=settings.delete, ridge=ridge)
    x = np.column_stack([np.asarray(data.x), np.ones(data.n)])
    inverse = np.linalg.pinv(x.T @ x)
    leverage = np.einsum("ij,jk,ik->i", x, inverse, x)
    residual = np.asarray(data.y) - x @ (inverse @ (x.T @ np.asarray(data.y)))
    moved = np.linalg.norm(x @ inverse, axis=1) * np.abs(residual) / (1.0 - leverage)
    return Problem(model, data, delete=int(np.argmax(moved)), ridge=ridge)


def _endpoints(problem: Problem, theta0: np.ndarray, result: Surface) -> tuple[np.ndarray, int]:
    """θ(∞, ε) (m, dim), NaN where it was not reached, and how many were not."""
    if problem.least_squares:
        return np.asarray(surface(problem, result.epsilons, theta0, ts=[np.inf]).thetas[:, 0]), 0
    limits = np.full((len(result.epsilons), problem.dim), np.nan)
    for row, epsilon in enumerate(np.asarray(result.epsilons)):
        if row in result.failures:
            continue
        try:
            limits[row] = optimum(problem, float(epsilon), start=result.thetas[row, -1]).theta
        except WorkError:  # the flow creeps along a flat valley: there is no limit to draw
            continue
    return limits, int(np.isnan(limits[:, 0]).sum())


def _draw(figure: Figure, row: int, kind: str, result: Surface, limits: np.ndarray, settings: Settings) -> None:
    coordinate, note = settings.coordinate, ""
    if coordinate < 0:
        height, share = principal_coordinate(result, of=settings.direction)
        of = "what ε changes" if settings.direction == "weight" else "θ(t, ε)"
        label, note = "principal coordinate", f"\nalong the direction with {share:.0%} of the variance of {of}"
    else:
        height, label = np.asarray(result.thetas[..., coordinate]), f"θ[{coordinate}]"
    shown = plot_surface(result, height, new_3d((2, 2, 2 * row + 1), figure), label=label)
    shown.set_title(f"{kind}: θ(t, ε){note}", fontsize=10)
    ax = figure.add_subplot(2, 2, 2 * row + 2)
    plot_distance(result, np.linalg.norm(limits - limits[0], axis=1), ax)
    ax.set_title(f"{kind}: when and where the point matters", fontsize=11)


def _describe(kind: str, problem: Problem, result: Surface, limits: np.ndarray, unreached: int) -> list[str]:
    apart = np.linalg.norm(np.asarray(result.thetas[-1]) - np.asarray(result.thetas[0]), axis=-1)
    peak = int(np.argmax(apart))
    t = float(result.ts[peak])
    end = float(np.linalg.norm(limits[-1] - limits[0]))
    return [
        f"{kind}: point {int(problem.delete[0])} deleted; ‖θ(t,1) − θ(t,0)‖ peaks at {apart[peak]:.4g} (t = {t:.3g}), "
        f"is {apart[-1]:.4g} at T = {float(result.ts[-1]):.4g} and {end:.4g} at t = ∞"
        + (f"; {unreached} of {len(limits)} endpoints not reached" if unreached else "")
    ]
