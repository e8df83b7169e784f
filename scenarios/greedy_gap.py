"""How far is greedy from the best ε(t)? The notes hope that greedy is optimal, and that it always gives ε = 0.

Greedy (notes 0.15) takes at each instant the ε that moves θ fastest towards θ*₋: ε = 1 where ⟨−∇ℓ_J(θ), θ*₋ − θ⟩ > 0.
It needs no look-ahead; the best ε(t) does. Both are computed for random problems of several dimensions: the ratio of
their energies, how often greedy is optimal, how often it is worse than dropping the point at s, how often it keeps ε at
0 throughout, and for which leverage and how much training before. The problem of the plane where greedy loses most is drawn.
"""

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from homotopy import SearchResult, Step, leave_one_out, leverage, optimum, search, simulate
from homotopy.run import Progress, Range, RunResult, Seed, check
from homotopy.scheduler._gain import gains, spoken_gain
from homotopy.viz import FULL, INK, MUTED, SERIES, bounds_of, plot_field, plot_landmarks, plot_schedule

from ._instances import Instance, random_instance

_EQUAL = 1e-3  # two energies are the same within this fraction, plus rounding of the baseline's
_FLOOR = 1e-12  # of the baseline: smaller energies are "reached exactly", where ratios have no meaning
_LARGEST = 1e6


@dataclass(frozen=True)
class Settings:
    """How many random problems."""

    dims: Annotated[tuple[int, ...], Range(least=1, most=200, entries=1, once=True)] = (1, 2, 5, 10)
    """dimensions d; each problem has 20 + 4 d rows"""
    instances: Annotated[int, Range(least=2, most=10_000)] = 60
    """problems per dimension"""
    span: Annotated[float, Range(least=1e-6, most=1e4)] = 2.0
    """horizon T in units of 1/λ_min"""
    trained: Annotated[float, Range(least=0, below=1)] = 0.0
    """s/T: how long ε = 1 before greedy and the search begin"""
    deleted: Literal["random", "high-leverage"] = "high-leverage"
    """which point is deleted"""
    seed: Seed = 0
    """first seed"""


QUICK = Settings(dims=(2,), instances=20)


class _Pair(NamedTuple):
    given: Instance
    best: SearchResult
    greedy: SearchResult


def run(settings: Settings, progress: Progress) -> RunResult:
    """Greedy and the best schedule on every problem; compare; draw."""
    check(settings)
    shape = (len(settings.dims), settings.instances)
    numbers = {
        name: np.zeros(shape) for name in ("best", "greedy", "baseline", "on", "sliding", "leverage", "certified")
    }
    worst: _Pair | None = None
    with progress.task("greedy and best", shape[0] * shape[1]) as advance:
        for i, d in enumerate(settings.dims):
            for k in range(settings.instances):
                given = random_instance(settings.seed + k, d, 20 + 4 * d, settings.span, deleted=settings.deleted)
                given = given._replace(s=settings.trained * given.t1)
                best, greedy = (
                    search(given.problem, given.theta0, s=given.s, t1=given.t1, family=family,
                           certify="auto" if family == "bang-bang" and d <= 2 else "none")
                    for family in ("bang-bang", "greedy")
                )  # fmt: skip
                levels = np.asarray(greedy.schedule(np.linspace(given.s, given.t1, 501)[1:-1]))
                row = (
                    best.energy, greedy.energy, best.baseline_energy, levels.mean(),
                    np.mean((levels > 1e-6) & (levels < 1 - 1e-6)),
                    float(leverage(given.problem)[int(given.problem.delete[0])]), best.certificate.kind != "local",
                )  # fmt: skip
                for name, value in zip(numbers, row, strict=True):
                    numbers[name][i, k] = value
                pair = _Pair(given, best, greedy)
                if d == 2 and (worst is None or _clear_ratio(pair) > _clear_ratio(worst)):
                    worst = pair
                advance()
    data = xr.Dataset(
        {name: (("d", "instance"), values) for name, values in numbers.items()}, coords={"d": list(settings.dims)}
    )
    data["on"].attrs["long_name"] = "mean of greedy's ε on [s, T]"
    data["sliding"].attrs["long_name"] = "share of [s, T] that greedy slides (0 < ε < 1)"
    return RunResult(
        figures={"greedy_gap": _draw(settings, data, worst)},
        data=data,
        summary=_summary(settings, data),
        result_codes={"successful": int(np.prod(shape))},
    )


def _clear_ratio(pair: _Pair) -> float:
    """E(greedy)/E*, where neither is rounding."""
    return pair.greedy.energy / max(pair.best.energy, 1e-4 * pair.best.baseline_energy)


def _gap(data: xr.Dataset) -> np.ndarray:
    """E(greedy)/E* (d, instance); 1 where both are 0 up to rounding."""
    floor = _FLOOR * data["baseline"].values
    return np.maximum(data["greedy"].values, floor) / np.maximum(data["best"].values, floor)


def _shares(data: xr.Dataset) -> dict[str, np.ndarray]:
    gap = _gap(data)
    floor = _FLOOR * data["baseline"].values
    above = data["greedy"].values > (1 + _EQUAL) * data["baseline"].values + floor
    return {
        "greedy is optimal": (gap <= 1 + _EQUAL).mean(axis=1),
        "greedy is worse than 1_[0,s]": above.mean(axis=1),
        "greedy keeps ε = 0": (data["on"].values <= 1e-9).mean(axis=1),
        "greedy slides": (data["sliding"].values > 0).mean(axis=1),
    }


def _draw(settings: Settings, data: xr.Dataset, worst: _Pair | None) -> plt.Figure:
    rows = 1 if worst is None else 2
    figure = plt.figure(figsize=(12.6, 4.1 * rows), layout="constrained")
    grid = figure.add_gridspec(rows, 3)
    ax = figure.add_subplot(grid[0, 0])
    gap = _gap(data)
    for i, d in enumerate(settings.dims):
        x = np.sort(np.clip(gap[i], 1.0, _LARGEST))
        share = 1 - np.arange(len(x)) / len(x)
        ax.plot(x, share, drawstyle="steps-post", color=SERIES[i % 7], label=f"d = {d}")
    scale = "log" if gap.max() > 3 else "linear"  # a short logarithmic axis has unreadable ticks
    ax.set(xscale=scale, xlabel="E(greedy) / E*  (≥ 10⁶ drawn there)", ylabel="share of problems with a larger ratio")
    ax.set_title(f"greedy loses on {np.mean(gap > 1 + _EQUAL):.0%} of {gap.size} problems")
    ax.legend(fontsize=8.5)
    ax = figure.add_subplot(grid[0, 1])
    shares = _shares(data)
    width = 0.8 / len(shares)
    for k, (name, values) in enumerate(shares.items()):
        ax.bar(np.arange(len(settings.dims)) + (k - 1.5) * width, values, width, color=SERIES[k], label=name)
    ax.set_xticks(range(len(settings.dims)), [f"d = {d}" for d in settings.dims])
    ax.set(ylim=(0, 1.0), ylabel="share of the problems")
    ax.legend(fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.08))
    ax.set_title("is greedy optimal? is it ε = 0?")
    ax = figure.add_subplot(grid[0, 2])
    for i in range(len(settings.dims)):
        ax.plot(data["leverage"].values[i], np.clip(gap[i], 1, _LARGEST), "o", ms=4, alpha=0.7, color=SERIES[i % 7])
    ax.set(yscale=scale, xlabel="leverage P of the deleted point", ylabel="E(greedy) / E*")
    ax.set_title("against leverage")
    if worst is not None:
        _draw_worst(figure, grid, worst)
    return figure


def _draw_worst(figure: plt.Figure, grid, worst: _Pair) -> None:
    given, best, greedy = worst
    problem, theta0, s, t1 = given
    ts = np.linspace(0.0, t1, 401)
    ends = [np.asarray(optimum(problem, epsilon).theta) for epsilon in np.linspace(0.0, 1.0, 21)]
    target = np.asarray(leave_one_out(problem).theta)
    ax = figure.add_subplot(grid[1, 0])
    curves = []
    styles = (
        ("1_[0,s]", Step(s), MUTED, "-"),
        ("greedy", greedy.schedule, FULL, "-"),
        (f"best ({best.certificate.kind})", best.schedule, INK, "--"),
    )
    for name, schedule, color, style in styles:
        thetas = np.asarray(simulate(problem, schedule, theta0, t1=t1, ts=ts).thetas)
        curves.append((name, thetas, color, style))
    box = bounds_of([*(curve for _, curve, *_ in curves), np.stack(ends)])
    plot_field(problem, 0.0, box, ax)
    for name, thetas, color, style in curves:
        ax.plot(thetas[:, 0], thetas[:, 1], style, color=color, lw=1.8, label=name, zorder=3)
        ax.plot(*thetas[-1], "o", color=color, ms=5, zorder=4)
    plot_landmarks(theta0, np.stack(ends), ax)
    ax.set(xlabel="θ₁", ylabel="θ₂")
    ax.legend(fontsize=8)
    ratio = float(gains(greedy.energy, best.energy))
    ax.set_title(f"where greedy loses most in the plane: {spoken_gain(ratio, 3)}")
    ax = figure.add_subplot(grid[1, 1])
    plot_schedule(greedy.schedule, t1, ax, color=FULL, label="greedy")
    plot_schedule(best.schedule, t1, ax, color=INK, label="best")
    ax.axvline(s, color=MUTED, ls=":", lw=1)
    ax.legend(fontsize=8.5)
    ax.set_title(f"E(1_[0,s])/E: greedy {spoken_gain(greedy.ratio, 3)}, best {spoken_gain(best.ratio, 3)}")
    ax = figure.add_subplot(grid[1, 2])
    for name, thetas, color, style in curves:
        ax.semilogy(ts, np.linalg.norm(thetas - target[None, :], axis=1), style, color=color, label=name)
    ax.set(xlabel="time t", ylabel="‖θ(t) − θ*₋‖")
    ahead = [np.linalg.norm(curve - target[None, :], axis=1) for _, curve, *_ in curves[1:]]
    leads = np.mean(ahead[0][ts > s] < ahead[1][ts > s] * (1 - 1e-9))
    ax.set_title(f"greedy is ahead for {leads:.0%} of [s, T]")
    ax.axvline(s, color=MUTED, ls=":", lw=1)
    ax.legend(fontsize=8.5)


def _summary(settings: Settings, data: xr.Dataset) -> str:
    gap, shares = _gap(data), _shares(data)
    lines = [
        f"{gap.size} problems with a {settings.deleted} deleted point, T = {settings.span:g}/λ_min: greedy is above the best "
        f"energy by more than {_EQUAL:.1%} on {np.mean(gap > 1 + _EQUAL):.0%}; median ratio {np.median(gap):.4g}, largest "
        f"{gap.max():.3g}"
    ]
    for i, d in enumerate(settings.dims):
        told = ", ".join(f"{name} {values[i]:.0%}" for name, values in shares.items())
        lines.append(f"  d = {d}: {told}; median ratio {np.median(gap[i]):.4g}, largest {gap[i].max():.3g}")
    below = int(np.sum(data["greedy"].values < data["best"].values * (1 - 1e-6) - _FLOOR * data["baseline"].values))
    lines.append(f"greedy below the best that was found: {below} times (must be 0)")
    return "\n".join(lines)
