"""From where can a point be forgotten exactly, in finite time? The set of θ₀ from which θ*₋ is reached, and when.

Under ε = 0 alone θ*₋ is approached for ever. With ε(t) it can be *reached*: near θ*₋ the deleted point pushes one way only
(along x_j r_j), so the states that can be steered onto θ*₋ form a region with a corner there. For a linear problem of
the plane the earliest arrival time is computed by search on a grid of starts θ₀. Over it lie the switching curves, from flows
integrated backwards from θ*₋: the last arc has ε = 1 (under ε = 0 nobody arrives), the one before ε = 0, and so on; where
backward flows reach a start, the search must find it reachable: that is counted. A second panel gives the least time to
come within a distance of θ*₋, for a start inside the region and one outside, against waiting with ε = 0.
"""

from dataclasses import dataclass
from typing import Annotated

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch
from scipy.linalg import expm
from scipy.optimize import brentq

from homotopy import Dataset, Problem, WorkError, leave_one_out, optimum, search
from homotopy.run import Progress, Range, Seed, check, grid, record
from homotopy.viz import FULL, INK, MUTED, RETAINED, panels

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


def compute(settings: Settings, progress: Progress) -> xr.Dataset:
    """Arrival times on the grid, switching curves, times against tolerance."""
    check(settings)
    problem = _problem(settings)
    target, full = np.asarray(leave_one_out(problem).theta), np.asarray(optimum(problem).theta)
    keep, both = (np.asarray(problem.hessian(target, epsilon)) for epsilon in (0.0, 1.0))
    t1 = settings.span / float(np.linalg.eigvalsh(keep)[0])
    side = settings.reach * float(np.linalg.norm(full - target)) * np.linspace(-1.0, 1.0, settings.points)

    def arrive(theta_2: float, theta_1: float) -> dict[str, float]:
        try:
            theta0 = np.array([theta_1, theta_2])
            found = search(problem, theta0, t1=t1, family="bang-bang", goal="time", certify="none")
        except WorkError:  # not within t1
            return {"arrival": np.nan, "switches": -1}
        return {"arrival": np.nan if found.arrival is None else found.arrival, "switches": len(found.structure) - 1}

    axes = {"theta_2": (target[1] + side).tolist(), "theta_1": (target[0] + side).tolist()}
    data = grid(axes, arrive, progress, "arrival times")
    data["arrival"].attrs["long_name"] = "earliest arrival at θ*₋; NaN: not within T"
    data["switches"].attrs["long_name"] = "switches of that schedule; −1: none"
    arrival = data["arrival"].values
    on, off = _backward(keep, both, -np.asarray(problem.deleted_gradient(target)), t1)
    inside, agrees = _agreement(off, side, arrival)
    away = _inside(arrival, side, t1)
    starts = {
        "inside": target + away,
        "outside": target - away,
    }  # the push goes one way only: the mirror image cannot arrive

    def least(start: str, tolerance: float) -> dict[str, tuple[str, list[float]]]:
        try:  # and perhaps not even by 4 T
            best = search(
                problem, starts[start], t1=4 * t1, family="bang-bang", goal="time", tolerance=tolerance, certify="none"
            ).arrival
        except WorkError:
            best = None
        times = [np.nan if best is None else best, _wait(keep, starts[start] - target, tolerance)]
        return {"least_time": ("schedule", times)}

    tolerances = np.geomspace(0.5, 1e-3, settings.tolerances) * np.linalg.norm(away)
    times = grid({"start": list(starts), "tolerance": tolerances.tolist()}, least, progress, "least times")
    data = xr.merge([data, times], combine_attrs="drop").assign_coords(schedule=["best", "wait"]).assign(
        starts=(("start", "parameter"), np.stack(list(starts.values()))),
        curve_on=(("curve_time", "parameter"), on + target[None, :]),
        curve_off=(("curve_time", "earlier_time", "parameter"), off + target[None, None, :]),
        theta_star=("parameter", full),
        theta_star_minus=("parameter", target),
        x=(("row", "parameter"), np.asarray(problem.data.x)),
        y=("row", np.asarray(problem.data.y)),
    )  # fmt: skip
    data.attrs |= {
        "t1": t1, "deleted": int(problem.delete[0]), "backward_inside": inside, "backward_agrees": agrees
    }  # fmt: skip
    reached = int(np.isfinite(arrival).sum())
    return record(data, problem.data, codes={"successful": reached, "not within T": arrival.size - reached})


def _problem(settings: Settings) -> Problem:
    """Rows in the plane, and the row whose removal moves the optimum most."""
    rng = np.random.default_rng(settings.seed)
    x = rng.standard_normal((settings.n, 2)) * np.array([1.0, 0.7])
    y = x @ rng.standard_normal(2) + 0.5 * rng.standard_normal(settings.n)
    return most_moving(Dataset(x, y, name="plane"))


def _backward(
    keep: np.ndarray, both: np.ndarray, drive: np.ndarray, t1: float, count: int = 121
) -> tuple[np.ndarray, np.ndarray]:
    """z = θ − θ*₋ before an arc ε = 1 that ends at θ*₋ (count, 2), and before an arc ε = 0 ahead of that (count, count, 2).

    ε = 1: ż = −H z + g with g = −∇ℓ_j(θ*₋), so z(−t) = −∫₀^t e^{Hu} g du = −H⁻¹(e^{Ht} − I) g; ε = 0: z(−t) = e^{H₋t} z.
    """
    lengths = t1 * np.linspace(0.0, 1.0, count) ** 3  # dense where the curves are slow, near θ*₋
    on = np.stack([-np.linalg.solve(both, (expm(both * t) - np.eye(2)) @ drive) for t in lengths])
    off = np.stack([[expm(keep * t) @ z for t in lengths] for z in on])
    return on, off


def _agreement(off: np.ndarray, side: np.ndarray, arrival: np.ndarray) -> tuple[int, int]:
    """Backward end points on the grid with a total time well below T, and how many the search calls reachable."""
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


def _inside(arrival: np.ndarray, side: np.ndarray, t1: float) -> np.ndarray:
    """θ₀ − θ*₋ of a start of the grid from which θ*₋ is reached, and not at once."""
    rows, columns = np.nonzero(np.isfinite(arrival) & (arrival > 0.3 * t1))
    if not len(rows):
        rows, columns = np.nonzero(np.isfinite(arrival))
    if not len(rows) or not np.isnan(arrival).any():
        raise WorkError("the grid holds no start inside the region, or none outside; change reach, span or seed")
    middle = len(rows) // 2
    return np.array([side[columns[middle]], side[rows[middle]]])


def _wait(keep: np.ndarray, z: np.ndarray, tolerance: float) -> float:
    """The time at which ‖e^{−H₋t} z‖ = tolerance: the norm falls strictly."""
    rates, vectors = np.linalg.eigh(keep)
    parts = z @ vectors
    latest = float(np.log(np.linalg.norm(parts) / tolerance) / rates[0]) + 1.0
    return float(brentq(lambda t: np.linalg.norm(np.exp(-rates * t) * parts) - tolerance, 0.0, latest, xtol=1e-14))


def draw(data: xr.Dataset, settings: Settings) -> dict[str, plt.Figure]:
    """When θ*₋ is reached from where, with how many switches, and the least time to come near it."""
    figure, axes = panels(1, 3, width=4.8, height=4.9)
    arrivals, counts, times = axes[0]
    t1, across, up = data.attrs["t1"], data["theta_1"].values, data["theta_2"].values
    for ax in (arrivals, counts):
        _draw_curves(ax, data)
        ax.set(xlim=across[[0, -1]], ylim=up[[0, -1]], xlabel="θ₀, first parameter", ylabel="θ₀, second parameter")
    for start, marker in zip(data["starts"].values, "sD", strict=True):
        arrivals.plot(*start, marker, color=INK, ms=6, mec="white")
    mesh = {"shading": "nearest", "rasterized": True}
    shade = arrivals.pcolormesh(across, up, data["arrival"] / t1, cmap="viridis_r", vmin=0, vmax=1, **mesh)
    figure.colorbar(shade, ax=arrivals, label="earliest arrival at θ*₋, in units of T")
    share = float(np.isfinite(data["arrival"]).mean())
    arrivals.set_title(f"θ*₋ is reached exactly by T\nfrom {share:.0%} of these starts (white: not)")
    arrivals.legend(loc="lower right", fontsize=7.5)
    switches = data["switches"].values
    kinds = np.where(switches < 0, np.nan, np.minimum(switches, 3))
    colors = ListedColormap(["#F6C9A8", "#BFD9EE", "#C8E6C9", "#E8C6DC"])
    counts.pcolormesh(across, up, kinds, cmap=colors, vmin=-0.5, vmax=3.5, **mesh)
    handles = [Patch(color=colors(k), label=_COUNTS[k]) for k in range(4) if (kinds == k).any()]
    counts.legend(handles=handles, title="switches before arrival", loc="lower right")
    counts.set_title("how many switches\nthe fastest schedule needs")
    for start, style in (("inside", "-"), ("outside", "--")):
        for schedule, color, label in (("best", INK, "best ε(t)"), ("wait", RETAINED, "ε = 0")):
            least = data["least_time"].sel(start=start, schedule=schedule) / t1
            times.semilogx(
                data["tolerance"], least, style, marker="o", ms=3.5, color=color, label=f"{label}, θ₀ {start}"
            )
    nearest = data["least_time"].sel(start="inside", schedule="best").values[-1]
    times.axhline(nearest / t1, color=MUTED, lw=0.8, ls=":")
    times.set(xlabel="tolerance ‖θ − θ*₋‖", ylabel="least time, in units of T")
    times.set_title("least time to come within a distance\n(θ₀ inside: square, outside: diamond)")
    times.legend()
    return {"finite_time_unlearning": figure}


def _draw_curves(ax: plt.Axes, data: xr.Dataset) -> None:
    """The switching curves and the two endpoints."""
    on, off = data["curve_on"].values, data["curve_off"].values
    target, full = data["theta_star_minus"].values, data["theta_star"].values
    ax.plot(*on.T, color=FULL, lw=2.2, label="last arc, ε = 1 (backwards from θ*₋)")
    half = 0.5 * max(np.ptp(data["theta_1"].values), np.ptp(data["theta_2"].values))
    visible = np.flatnonzero(np.linalg.norm(on - target[None, :], axis=1) < 1.2 * half)
    for k in visible[:: max(1, len(visible) // 8)]:
        ax.plot(*off[k].T, color=RETAINED, lw=0.9, alpha=0.9)
    ax.plot([], [], color=RETAINED, lw=0.9, label="arcs before it, ε = 0")
    ax.plot(*full, "*", color=FULL, ms=14, mec="white", label="θ* (ε = 1)")
    ax.plot(*target, "*", color=RETAINED, ms=14, mec="white", label="θ*₋ (ε = 0)")


def tell(data: xr.Dataset, settings: Settings) -> str:
    """From how many starts θ*₋ is reached, with how many switches, and what that saves."""
    finite = np.isfinite(data["arrival"].values)
    counts = np.bincount(np.minimum(data["switches"].values[finite], 3), minlength=4)
    times = data["least_time"].transpose("start", "schedule", "tolerance").values
    return (
        f"point {data.attrs['deleted']} of {settings.n}: θ*₋ is reached exactly by T = {settings.span:g}/λ_min from "
        f"{finite.mean():.0%} of {finite.size} starts; switches of the fastest schedule: "
        + ", ".join(f"{name} {count}" for name, count in zip(_COUNTS, counts, strict=True) if count)
        + f"\nbackward flows end at {data.attrs['backward_inside']} starts of the grid; the search calls "
        f"{data.attrs['backward_agrees']} of them reachable\n"
        f"to come within {float(data['tolerance'][-1]):.2g}: from inside the best ε(t) takes {times[0, 0, -1]:.4g}, ε = 0 "
        f"takes {times[0, 1, -1]:.4g} (×{times[0, 1, -1] / times[0, 0, -1]:.3g}); from outside {times[1, 0, -1]:.4g} and "
        f"{times[1, 1, -1]:.4g} (×{times[1, 1, -1] / times[1, 0, -1]:.3g})"
    )
