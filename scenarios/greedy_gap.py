"""How far is greedy from the best ε(t)? The notes hope that greedy is optimal, and that it always gives ε = 0.

Greedy (notes 0.15) takes at each instant the ε that moves θ fastest towards θ*₋: ε = 1 where ⟨−∇ℓ_J(θ), θ*₋ − θ⟩ > 0.
It needs no look-ahead; the best ε(t) does. Both are computed for random problems of several dimensions: the ratio of
their energies, how often greedy is optimal, how often it is worse than dropping the point at s, how often it keeps ε at
0 throughout, and for which leverage and how much training before. The problem of the plane where greedy loses most is drawn.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from homotopy import SearchResult, Step, leave_one_out, leverage, optimum, search, simulate
from homotopy.run import Progress, Range, Seed, check, grid
from homotopy.scheduler import gains, spoken_gain
from homotopy.viz import (
    FULL,
    INK,
    MUTED,
    SERIES,
    legend_below,
    panels,
    plot_bars,
    plot_exceedance,
    plot_landmarks,
)

from ._instances import Instance, random_instance

_EQUAL = 1e-3  # two energies are the same within this fraction, plus rounding of the baseline's
_FLOOR = 1e-12  # of the baseline: smaller energies are "reached exactly", where ratios have no meaning
_LARGEST = 1e6
STYLES = {"1_[0,s]": (MUTED, "-"), "greedy": (FULL, "-"), "best": (INK, "--")}


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


def compute(settings: Settings, progress: Progress) -> xr.Dataset:
    """Greedy and the best schedule on every problem; and along the one of the plane where greedy loses most."""
    check(settings)

    def cell(d: int, instance: int) -> dict[str, float]:
        given, best, greedy = _solved(settings, d, instance)
        levels = np.asarray(greedy.schedule(np.linspace(given.s, given.t1, 501)[1:-1]))
        return {
            "best": best.energy,
            "greedy": greedy.energy,
            "baseline": best.baseline_energy,
            "on": levels.mean(),
            "sliding": np.mean((levels > 1e-6) & (levels < 1 - 1e-6)),
            "leverage": float(leverage(given.problem)[int(given.problem.delete[0])]),
            "certified": best.certificate.kind != "local",
        }

    axes = {"d": settings.dims, "instance": range(settings.instances)}
    data = grid(axes, cell, progress, "greedy and best")
    data["on"].attrs["long_name"] = "mean of greedy's ε on [s, T]"
    data["sliding"].attrs["long_name"] = "share of [s, T] that greedy slides (0 < ε < 1)"
    if 2 in settings.dims:
        plane = data.sel(d=2)
        clear = plane["greedy"] / np.maximum(plane["best"], 1e-4 * plane["baseline"])  # where neither is rounding
        data = data.merge(_along(*_solved(settings, 2, int(np.argmax(clear.values)))), combine_attrs="drop_conflicts")
    return data


def _solved(settings: Settings, d: int, instance: int) -> tuple[Instance, SearchResult, SearchResult]:
    given = random_instance(settings.seed + instance, d, 20 + 4 * d, settings.span, deleted=settings.deleted)
    given = given._replace(s=settings.trained * given.t1)
    best, greedy = (
        search(given.problem, given.theta0, s=given.s, t1=given.t1, family=family,
               certify="auto" if family == "bang-bang" and d <= 2 else "none")
        for family in ("bang-bang", "greedy")
    )  # fmt: skip
    return given, best, greedy


def _along(given: Instance, best: SearchResult, greedy: SearchResult) -> xr.Dataset:
    """θ(t) and ε(t) under the three schedules, the endpoints θ(ε), and the gains."""
    problem, theta0, s, t1 = given
    ts = np.linspace(0.0, t1, 401)
    schedules = {"1_[0,s]": Step(s), "greedy": greedy.schedule, "best": best.schedule}
    thetas = [simulate(problem, schedule, theta0, t1=t1, ts=ts).thetas for schedule in schedules.values()]
    ends = [optimum(problem, epsilon).theta for epsilon in np.linspace(0.0, 1.0, 21)]
    return xr.Dataset(
        {
            "worst_theta": (("schedule", "time", "parameter"), np.asarray(thetas)),
            "worst_epsilon": (("schedule", "time"), np.array([schedule(ts) for schedule in schedules.values()])),
            "worst_ends": (("end", "parameter"), np.asarray(ends)),
            "worst_target": ("parameter", np.asarray(leave_one_out(problem).theta)),
            "worst_gain": ("schedule", [1.0, greedy.ratio, best.ratio]),
        },
        coords={"schedule": list(schedules), "time": ts, "parameter": ["θ₁", "θ₂"]},
        attrs={"s": s, "certificate": best.certificate.kind, "loss": float(gains(greedy.energy, best.energy))},
    )


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


def draw(data: xr.Dataset, settings: Settings) -> dict[str, plt.Figure]:
    """Ratios, shares, leverage; below, the plane, the schedules and the distances where greedy loses most."""
    worst = "worst_theta" in data
    figure, axes = panels(2 if worst else 1, 3)
    gap = _gap(data)
    scale = "log" if gap.max() > 3 else "linear"  # a short logarithmic axis has unreadable ticks
    ratios, shares, leverages = axes[0]
    for i, d in enumerate(settings.dims):
        plot_exceedance(np.clip(gap[i], 1.0, _LARGEST), ratios, color=SERIES[i % 7], label=f"d = {d}")
        points = data["leverage"].values[i], np.clip(gap[i], 1, _LARGEST)
        leverages.plot(*points, "o", ms=4, alpha=0.7, color=SERIES[i % 7], label=f"d = {d}")
    ratios.set(
        xscale=scale, xlabel="E(greedy) / E*  (≥ 10⁶ drawn there)", ylabel="share of problems with a larger ratio"
    )
    ratios.set_title(f"greedy loses on {np.mean(gap > 1 + _EQUAL):.0%} of {gap.size} problems")
    ratios.legend()
    plot_bars([f"d = {d}" for d in settings.dims], _shares(data), shares)
    shares.set(ylim=(0, 1.0), ylabel="share of the problems", title="is greedy optimal? is it ε = 0?")
    legend_below(shares)
    leverages.set(
        yscale=scale, xlabel="leverage P of the deleted point", ylabel="E(greedy) / E*", title="against leverage"
    )
    leverages.legend()
    if worst:
        _draw_worst(axes[1], data)
    return {"greedy_gap": figure}


def _draw_worst(axes: np.ndarray, data: xr.Dataset) -> None:
    plane, weights, distances = axes
    ts, ends, target = data["time"].values, data["worst_ends"].values, data["worst_target"].values
    s, lead = data.attrs["s"], {}
    for name, (color, style) in STYLES.items():
        curve = data.sel(schedule=name)
        thetas = curve["worst_theta"].values
        label = f"best ({data.attrs['certificate']})" if name == "best" else name
        plane.plot(*thetas.T, style, color=color, lw=1.8, label=label, zorder=3)
        plane.plot(*thetas[-1], "o", color=color, ms=5, zorder=4)
        if name != "1_[0,s]":
            weights.plot(ts, curve["worst_epsilon"].values, style, color=color, lw=1.8, label=name)
        lead[name] = np.linalg.norm(thetas - target[None, :], axis=1)
        distances.semilogy(ts, lead[name], style, color=color, label=name)
    plot_landmarks(thetas[0], ends, plane)
    plane.set(
        xlabel="θ₁", ylabel="θ₂", title=f"where greedy loses most in the plane: {spoken_gain(data.attrs['loss'], 3)}"
    )
    _, greedy, best = data["worst_gain"].values
    weights.set(xlabel="time t", ylabel="weight ε(t)")
    weights.set_title(f"E(1_[0,s])/E: greedy {spoken_gain(greedy, 3)}, best {spoken_gain(best, 3)}")
    ahead = np.mean((lead["greedy"] < lead["best"] * (1 - 1e-9))[ts > s])
    distances.set(xlabel="time t", ylabel="‖θ(t) − θ*₋‖", title=f"greedy is ahead for {ahead:.0%} of [s, T]")
    for ax in (weights, distances):
        ax.axvline(s, color=MUTED, ls=":", lw=1)
    for ax in axes:
        ax.legend()


def tell(data: xr.Dataset, settings: Settings) -> str:
    """How often and how far greedy is above the best."""
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
