"""From where can a point be forgotten exactly, in finite time? The set of θ₀ from which θ*₋ is reached, and when.

Under ε = 0 alone θ*₋ is approached for ever. With ε(t) it can be *reached*: near θ*₋ the deleted point pushes one way only
(along x_j r_j), so the states that can be steered onto θ*₋ form a region with a corner there. For a linear problem of
the plane the earliest arrival time is computed by search on a grid of starts θ₀. Over it lie the switching curves, from flows
integrated backwards from θ*₋: the last arc has ε = 1 (under ε = 0 nobody arrives), the one before ε = 0, and so on; where
backward flows reach a start, the search must find it reachable: that is counted. A second panel gives the least time to
come within a distance of θ*₋, for a start inside the region and one outside, against waiting with ε = 0.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from scipy.linalg import expm

from homotopy import Dataset, Problem, WorkError, leave_one_out, optimum, search
from homotopy.run import Progress, Range, RunResult, Seed, check
from homotopy.viz import FULL, INK, MUTED, RETAINED

from ._instances import most_moving

_COUNTS = ("0 (ε = 1 all the way)", "1", "2", "3 or more")


@dataclass(frozen=True)
class Settings:
    """The problem, the grid of starts, and the latest arrival."""

    n: Annotated[int, Range(least=4, most=10_000)] = 8
    """rows of the problem in the plane"""
    span: Annotated[float, Range(least=1e-6, most=1e4)] = 3.0
    """latest arrival in units of 1/λ_min(H₋)"""
    points: Annotated[int, Range(least=2, most=1000)] = 25
    """starts θ₀ along each side of the grid"""
    reach: Annotated[float, Range(above=0, most=1e6)] = 6.0
    """half the side of the grid around θ*₋, in units of ‖θ* − θ*₋‖"""
    tolerances: Annotated[int, Range(least=2, most=1000)] = 13
    """distances for which the least time is computed"""
    seed: Seed = 6
    """of the data"""


QUICK = Settings(points=9, tolerances=4)


def run(settings: Settings, progress: Progress) -> RunResult:
    """Arrival times on the grid, switching curves, times against tolerance; draw."""
    check(settings)
    problem = _problem(settings)
    target = np.asarray(leave_one_out(problem).theta)
    full = np.asarray(optimum(problem).theta)
    keep, both = (np.asarray(problem.hessian(target, epsilon)) for epsilon in (0.0, 1.0))
    t1 = settings.span / float(np.linalg.eigvalsh(keep)[0])
    side = settings.reach * float(np.linalg.norm(full - target)) * np.linspace(-1.0, 1.0, settings.points)
    arrival = np.full((settings.points, settings.points), np.nan)
    switches = np.full(arrival.shape, -1)
    with progress.task("arrival times", arrival.size) as advance:
        for row, column in np.ndindex(arrival.shape):
            theta0 = target + np.array([side[column], side[row]])
            try:
                found = search(problem, theta0, t1=t1, family="bang-bang", goal="time", certify="none")
            except WorkError:  # not within t1
                pass
            else:
                arrival[row, column], switches[row, column] = found.arrival, len(found.structure) - 1
            advance()
    drive = -np.asarray(problem.deleted_gradient(target))
    curves = _backward(keep, both, drive, t1)
    inside, reached = _agreement(curves, side, arrival)
    tolerances, times, starts = _times(problem, settings, target, arrival, side, t1, progress)
    data = xr.Dataset(
        {
            "arrival": (("theta_2", "theta_1"), arrival, {"long_name": "earliest arrival at θ*₋; NaN: not within T"}),
            "switches": (("theta_2", "theta_1"), switches, {"long_name": "switches of that schedule; −1: none"}),
            "least_time": (("start", "schedule", "tolerance"), times),
            "starts": (("start", "parameter"), starts),
            "curve_on": (("curve_time", "parameter"), curves[0] + target[None, :]),
            "theta_star": ("parameter", full),
            "theta_star_minus": ("parameter", target),
            "x": (("row", "parameter"), np.asarray(problem.data.x)),
            "y": ("row", np.asarray(problem.data.y)),
        },
        coords={
            "theta_1": target[0] + side, "theta_2": target[1] + side, "tolerance": tolerances,
            "start": ["inside", "outside"], "schedule": ["best", "wait"],
        },
        attrs={"t1": t1, "deleted": int(problem.delete[0]), "backward_inside": inside, "backward_agrees": reached},
    )  # fmt: skip
    return RunResult(
        figures={"finite_time_unlearning": _draw(data, curves, target, full, keep)},
        data=data,
        summary=_summary(settings, data, inside, reached),
        datasets=(problem.data,),
        result_codes={"successful": int(np.isfinite(arrival).sum()), "not within T": int(np.isnan(arrival).sum())},
    )


def _problem(settings: Settings) -> Problem:
    """Rows in the plane, and the row whose removal moves the optimum most."""
    rng = np.random.default_rng(settings.seed)
    x = rng.standard_normal((settings.n, 2)) * np.array([1.0, 0.7])
    y = x @ rng.standard_normal(2) + 0.5 * rng.standard_normal(settings.n)
    return most_moving(Dataset(x, y, name="plane"))


def _backward(keep: np.ndarray, both: np.ndarray, drive: np.ndarray, t1: float, count: int = 121):
    """z = θ − θ*₋ before an arc ε = 1 that ends at θ*₋ (count, 2), and before an arc ε = 0 ahead of that (count, count, 2).

    ε = 1: ż = −H z + g with g = −∇ℓ_j(θ*₋), so z(−t) = −∫₀^t e^{Hu} g du = −H⁻¹(e^{Ht} − I) g; ε = 0: z(−t) = e^{H₋t} z.
    """
    lengths = t1 * np.linspace(0.0, 1.0, count) ** 3  # dense where the curves are slow, near θ*₋
    on = np.stack([-np.linalg.solve(both, (expm(both * t) - np.eye(2)) @ drive) for t in lengths])
    off = np.stack([[expm(keep * t) @ z for t in lengths] for z in on])
    return on, off


def _agreement(curves, side: np.ndarray, arrival: np.ndarray) -> tuple[int, int]:
    """Backward end points on the grid with a total time well below T, and how many the search calls reachable."""
    _, off = curves
    count = len(off)
    spacing = side[1] - side[0]
    total = np.add.outer(*[np.linspace(0.0, 1.0, count) ** 3] * 2)
    column, row = (np.rint((off[..., k] - side[0]) / spacing) for k in (0, 1))
    near = (
        np.hypot(off[..., 0] - (side[0] + column * spacing), off[..., 1] - (side[0] + row * spacing)) < 0.05 * spacing
    )
    fine = near & (total < 0.9) & (np.minimum(row, column) >= 0) & (np.maximum(row, column) < len(side))
    cells = {(int(r), int(c)) for r, c in zip(row[fine], column[fine], strict=True)}
    return len(cells), sum(bool(np.isfinite(arrival[cell])) for cell in cells)


def _times(problem, settings, target, arrival, side, t1, progress: Progress):
    """Least time to come within each tolerance: (tolerances, times (start, [best, wait], tolerance), starts)."""
    rows, columns = np.nonzero(np.isfinite(arrival) & (arrival > 0.3 * t1))
    if not len(rows):
        rows, columns = np.nonzero(np.isfinite(arrival))
    if not len(rows) or not np.isnan(arrival).any():
        raise WorkError("the grid holds no start inside the region, or none outside; change reach, span or seed")
    middle = len(rows) // 2
    inside = np.array([side[columns[middle]], side[rows[middle]]])
    outside = -inside  # the push goes one way only, so the mirror image cannot arrive
    starts = np.stack([target + inside, target + outside])
    tolerances = np.geomspace(0.5, 1e-3, settings.tolerances) * np.linalg.norm(inside)
    keep = np.asarray(problem.hessian(target, 0.0))
    values, vectors = np.linalg.eigh(keep)
    times = np.full((2, 2, settings.tolerances), np.nan)
    with progress.task("least times", times[:, 0].size) as advance:
        for k, start in enumerate(starts):
            for m, tolerance in enumerate(tolerances):
                with suppress(WorkError):  # not even by 4 T
                    times[k, 0, m] = search(
                        problem, start, t1=4 * t1, family="bang-bang", goal="time", tolerance=float(tolerance),
                        certify="none",
                    ).arrival  # fmt: skip
                times[k, 1, m] = _wait(values, (start - target) @ vectors, tolerance)
                advance()
    return tolerances, times, starts


def _wait(rates: np.ndarray, parts: np.ndarray, tolerance: float) -> float:
    """The time at which ‖e^{−H₋t} z‖ = tolerance, by bisection: the norm falls strictly."""
    low, high = 0.0, float(np.log(np.linalg.norm(parts) / tolerance) / rates[0]) + 1.0
    for _ in range(80):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if np.linalg.norm(np.exp(-rates * middle) * parts) <= tolerance else (middle, high)
    return high


def _draw(data: xr.Dataset, curves, target: np.ndarray, full: np.ndarray, keep: np.ndarray) -> plt.Figure:
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(14.4, 4.9), layout="constrained")
    t1 = data.attrs["t1"]
    box = (*data["theta_1"].values[[0, -1]], *data["theta_2"].values[[0, -1]])
    for ax in (left, middle):
        on, off = curves
        ax.plot(*(on + target[None, :]).T, color=FULL, lw=2.2, label="last arc, ε = 1 (backwards from θ*₋)")
        half = 0.5 * max(box[1] - box[0], box[3] - box[2])
        visible = np.flatnonzero(np.linalg.norm(on, axis=1) < 1.2 * half)
        for k in visible[:: max(1, len(visible) // 8)]:
            ax.plot(*(off[k] + target[None, :]).T, color=RETAINED, lw=0.9, alpha=0.9)
        ax.plot([], [], color=RETAINED, lw=0.9, label="arcs before it, ε = 0")
        ax.plot(*full, "*", color=FULL, ms=14, mec="white", label="θ* (ε = 1)")
        ax.plot(*target, "*", color=RETAINED, ms=14, mec="white", label="θ*₋ (ε = 0)")
        ax.set(xlim=box[:2], ylim=box[2:], xlabel="θ₀, first parameter", ylabel="θ₀, second parameter")
    shade = left.pcolormesh(
        data["theta_1"], data["theta_2"], data["arrival"] / t1, cmap="viridis_r", vmin=0, vmax=1, shading="nearest",
        rasterized=True,
    )  # fmt: skip
    figure.colorbar(shade, ax=left, label="earliest arrival at θ*₋, in units of T")
    share = float(np.isfinite(data["arrival"]).mean())
    left.set_title(f"θ*₋ is reached exactly by T\nfrom {share:.0%} of these starts (white: not)", fontsize=10.5)
    left.legend(fontsize=7.5, loc="lower right")
    kinds = np.where(data["switches"].values < 0, np.nan, np.minimum(data["switches"].values, 3))
    colors = plt.matplotlib.colors.ListedColormap(["#F6C9A8", "#BFD9EE", "#C8E6C9", "#E8C6DC"])
    middle.pcolormesh(data["theta_1"], data["theta_2"], kinds, cmap=colors, vmin=-0.5, vmax=3.5, shading="nearest",
                      rasterized=True)  # fmt: skip
    seen = [k for k in range(4) if (kinds == k).any()]
    handles = [plt.matplotlib.patches.Patch(color=colors(k), label=_COUNTS[k]) for k in seen]
    middle.legend(handles=handles, title="switches before arrival", fontsize=8, title_fontsize=8, loc="lower right")
    middle.set_title("how many switches\nthe fastest schedule needs", fontsize=10.5)
    for k, (name, style) in enumerate((("inside", "-"), ("outside", "--"))):
        for m, (schedule, color) in enumerate((("best ε(t)", INK), ("ε = 0", RETAINED))):
            right.semilogx(
                data["tolerance"], data["least_time"][k, m] / t1, style, marker="o", ms=3.5, color=color,
                label=f"{schedule}, θ₀ {name}",
            )  # fmt: skip
        left.plot(*data["starts"].values[k], "s" if k == 0 else "D", color=INK, ms=6, mec="white")
    right.axhline(float(data["least_time"][0, 0, -1]) / t1, color=MUTED, lw=0.8, ls=":")
    right.set(xlabel="tolerance ‖θ − θ*₋‖", ylabel="least time, in units of T")
    right.set_title("least time to come within a distance\n(θ₀ inside: square, outside: diamond)", fontsize=10.5)
    right.legend(fontsize=8)
    return figure


def _summary(settings: Settings, data: xr.Dataset, inside: int, reached: int) -> str:
    finite = np.isfinite(data["arrival"].values)
    counts = np.bincount(np.minimum(data["switches"].values[finite], 3), minlength=4)
    times = data["least_time"].values
    return (
        f"point {data.attrs['deleted']} of {settings.n}: θ*₋ is reached exactly by T = {settings.span:g}/λ_min from "
        f"{finite.mean():.0%} of {finite.size} starts; switches of the fastest schedule: "
        + ", ".join(f"{name} {count}" for name, count in zip(_COUNTS, counts, strict=True) if count)
        + f"\nbackward flows end at {inside} starts of the grid; the search calls {reached} of them reachable\n"
        f"to come within {float(data['tolerance'][-1]):.2g}: from inside the best ε(t) takes {times[0, 0, -1]:.4g}, ε = 0 "
        f"takes {times[0, 1, -1]:.4g} (×{times[0, 1, -1] / times[0, 0, -1]:.3g}); from outside {times[1, 0, -1]:.4g} and "
        f"{times[1, 1, -1]:.4g} (×{times[1, 1, -1] / times[1, 0, -1]:.3g})"
    )
