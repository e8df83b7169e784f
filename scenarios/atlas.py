"""The atlas: which ε(t) is best, from where, and by how much? A certified search for every start, and for every deleted point.

Left: a linear problem in the plane, its most influential point deleted, and every start θ₀ around θ*₋. Right: one start, and
every point that can be added to the same kept data along one direction: its leverage P and its residual r = y_j − x_jᵀθ*₋,
signed so that r > 0 pulls from θ₀ towards θ*₋.

A colour is a kind of best schedule on [0, T] (keep: ε = 1, drop: ε = 0), deeper the more it gains on leaving the point
out, E(ε ≡ 0)/E*; gold is where θ*₋ is reached exactly, in finite time. Hatched is what is not proven: elsewhere a certificate
bounds E* to within 2 %, whatever the admissible ε(t). Below: ε(t) of one cell of each kind.
"""

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch

from homotopy import (
    Dataset,
    LinearRegression,
    Problem,
    WorkError,
    datasets,
    describe,
    leave_one_out,
    optimum,
    parse,
    search,
)
from homotopy.run import Progress, Range, Seed, check, grid, record
from homotopy.viz import INK, MUTED

from ._instances import most_moving, slowest

KINDS = ("drop", "keep–drop", "keep", "drop–keep–drop", "drop–keep", "other")
REACHED = "reached"
_COLORS = {
    "drop": "#0072B2", "keep–drop": "#D55E00", "keep": "#8C2D04", "drop–keep–drop": "#009E73", "drop–keep": "#7B3294",
    "other": "#555555", REACHED: "#F2C41D",
}  # fmt: skip
_SAYS = {
    "drop": "leave out", "keep–drop": "keep, then drop", "keep": "keep until T",
    "drop–keep–drop": "drop, keep, drop", "drop–keep": "drop, then keep", "other": "more switches",
    REACHED: "θ*₋ reached",
}  # fmt: skip
_PROVEN = 0.02  # E* is known to this part of itself
_NEAR = 1e-6  # E below this times ‖θ₀ − θ*₋‖² is tried for an exact arrival
_DEEPEST = 3.0  # log₁₀ of the gain at which a colour is full
_PALEST = 0.18
_NAMES = (*KINDS, REACHED)


@dataclass(frozen=True)
class Settings:
    """The problems, and how fine the two maps are."""

    n: Annotated[int, Range(least=3, most=10_000)] = 20
    """rows of the problem of the left map"""
    cells: Annotated[int, Range(least=3, most=1000)] = 61
    """starts θ₀ along each side of the left map"""
    reach: Annotated[float, Range(above=0, most=1e6)] = 5.0
    """half the side of the left map around θ*₋, in units of ‖θ* − θ*₋‖"""
    points: Annotated[int, Range(least=3, most=1000)] = 45
    """leverages, and residuals, of the right map"""
    largest: Annotated[float, Range(above=0, most=1e6)] = 2.0
    """largest |residual| of the right map, in units of √λ_max ‖θ₀ − θ*₋‖"""
    condition: Annotated[float, Range(least=1, most=1e6)] = 4.0
    """λ_max/λ_min of the kept data of the right map"""
    angle: Annotated[float, Range(least=-360, most=360)] = 50.0
    """degrees between the deleted row and the stiff axis of the kept data (right map)"""
    start: Annotated[float, Range(least=-360, most=360)] = 36.0
    """degrees between θ₀ − θ*₋ and the stiff axis (right map)"""
    horizon: Annotated[float, Range(least=1e-6, most=1e4)] = 2.0
    """T in units of 1/λ_min(H₋)"""
    seed: Seed = 3
    """seed of the problem of the left map"""


QUICK = Settings(cells=13, points=11)


class _Cell(NamedTuple):
    """What one search found; or, in the map that is drawn, arrays of what all of them did."""

    kind: Any
    gain: Any
    proven: Any
    certificate: Any
    schedule: Any
    arrival: Any


def compute(settings: Settings, progress: Progress) -> xr.Dataset:
    """Search every cell of both maps."""
    check(settings)
    problem = most_moving(datasets.random_linear(n=settings.n, d=2, seed=settings.seed))
    target, full = np.asarray(leave_one_out(problem).theta), np.asarray(optimum(problem).theta)
    unit, t1 = float(np.linalg.norm(full - target)), settings.horizon / slowest(problem)
    side = settings.reach * np.linspace(-1.0, 1.0, settings.cells)
    residuals = settings.largest * np.linspace(-1.0, 1.0, settings.points)

    def start(theta_2: float, theta_1: float) -> dict[str, Any]:
        return _saved("start", _chart(problem, target + unit * np.array([theta_1, theta_2]), t1))

    def point(residual: float, leverage: float) -> dict[str, Any]:
        return _saved("point", _chart(*_added(settings, leverage, residual)))

    starts = grid({"theta_2": side.tolist(), "theta_1": side.tolist()}, start, progress, "every start")
    levers = np.linspace(0.02, 0.98, settings.points).tolist()
    points = grid({"residual": residuals.tolist(), "leverage": levers}, point, progress, "every deleted point")
    data = xr.merge([starts, points], combine_attrs="drop")
    for prefix in ("start", "point"):
        data[f"{prefix}_kind"].attrs["flag_meanings"] = ", ".join(_NAMES)
        data[f"{prefix}_gain"].attrs["long_name"] = "E(ε ≡ 0)/E*"
        data[f"{prefix}_arrival"].attrs["long_name"] = "earliest arrival; NaN: none"
    data["star"] = ("parameter", (full - target) / unit)
    data.attrs |= {"t1": t1, "deleted": int(problem.delete[0]), "unit": unit}
    return record(data, problem.data, codes={"successful": side.size**2 + residuals.size**2})


def _saved(prefix: str, cell: _Cell) -> dict[str, Any]:
    saved = cell._replace(
        kind=_NAMES.index(cell.kind), proven=int(cell.proven), schedule=describe(cell.schedule, 17)
    )  # fmt: skip
    return {f"{prefix}_{name}": value for name, value in saved._asdict().items()}


def _chart(problem: Problem, theta0: np.ndarray, t1: float) -> _Cell:
    """The best ε(t) from one start, with its kind, its gain on ε ≡ 0, and whether that is proven."""
    best = search(problem, theta0, t1=t1, family="bang-bang")
    proof = best.certificate
    arrival = np.nan
    if best.baseline_energy == 0:  # θ(s) is θ*₋, and dropping the point keeps it there
        return _Cell("drop", 1.0, True, proof.kind, best.schedule, arrival)
    if proof.kind == REACHED or best.energy <= _NEAR * best.baseline_energy:
        try:
            found = search(problem, theta0, t1=t1, family="bang-bang", goal="time", certify="none")
        except WorkError:  # near, but not on it within T
            pass
        else:
            arrival = found.arrival if found.arrival is not None else np.nan
            return _Cell(REACHED, np.inf, True, REACHED, found.schedule, arrival)
    if proof.kind == REACHED:
        return _Cell(REACHED, np.inf, True, REACHED, best.schedule, t1)
    kind = "–".join({"on": "keep", "off": "drop"}[arc.kind] for arc in best.structure)
    gain = best.baseline_energy / best.energy if best.energy > 0 else 1.0
    proven = proof.kind != "local" and proof.gap <= _PROVEN * best.energy
    return _Cell(kind if kind in KINDS else "other", max(gain, 1.0), proven, proof.kind, best.schedule, arrival)


def _added(settings: Settings, lever: float, residual: float) -> tuple[Problem, np.ndarray, float]:
    """Kept data with H₋ = diag(condition, 1) and θ*₋ = 0, and one more point of this leverage and residual; θ₀, T."""
    rates = np.array([settings.condition, 1.0])
    turn, start = np.radians(settings.angle), np.radians(settings.start)
    direction = np.array([np.cos(turn), np.sin(turn)])
    length = np.sqrt(lever / (1 - lever) / float(direction**2 @ (1 / rates)))  # xᵀH₋⁻¹x = P/(1 − P)
    x = np.vstack([np.diag(np.sqrt(rates)), length * direction])
    y = np.array([0.0, 0.0, residual * np.sqrt(settings.condition)])
    theta0 = -np.array([np.cos(start), np.sin(start)])  # so that r > 0 pulls towards θ*₋ = 0
    return Problem(LinearRegression(), Dataset(x, y), delete=2), theta0, settings.horizon


def _cells(data: xr.Dataset, prefix: str) -> _Cell:
    """A map, from what was saved of it."""
    cells = _Cell(*(data[f"{prefix}_{name}"].values for name in _Cell._fields))
    return cells._replace(kind=np.array(_NAMES)[cells.kind], proven=cells.proven.astype(bool))


def draw(data: xr.Dataset, settings: Settings) -> dict[str, plt.Figure]:
    """Both maps, and ε(t) of one cell of each kind."""
    starts, points = _cells(data, "start"), _cells(data, "point")
    shown = [kind for kind in _NAMES if (starts.kind == kind).any() or (points.kind == kind).any()]
    figure = plt.figure(figsize=(12.6, 8.6), layout="constrained")
    places = figure.add_gridspec(2, len(shown) * 2, height_ratios=(4.6, 1.0))
    left, right = figure.add_subplot(places[0, : len(shown)]), figure.add_subplot(places[0, len(shown) :])
    _map(left, starts, data["theta_1"].values, data["theta_2"].values)
    stars: list[tuple[str, Any, str, int, Any]] = [
        ("θ*₋", (0, 0), "*", 17, (9, -15)), ("θ*", data["star"].values, "o", 8, (7, 5))
    ]  # fmt: skip
    for name, at, marker, size, away in stars:
        left.plot(*at, marker, ms=size, mfc="white", mec=INK, zorder=6)
        left.annotate(name, at, xytext=away, textcoords="offset points", fontsize=12.5, fontweight="bold", zorder=7)
    left.set(aspect="equal", xlabel="(θ₀ − θ*₋)₁ / ‖θ* − θ*₋‖", ylabel="(θ₀ − θ*₋)₂ / ‖θ* − θ*₋‖")
    left.set_title(f"every start θ₀ of one problem: {_shares(starts)}")
    _map(right, points, data["leverage"].values, data["residual"].values)
    right.axhline(0, color="white", lw=1)
    right.set(
        xlabel="leverage P of the deleted point", ylabel="its residual r / (√λ_max ‖θ₀ − θ*₋‖);  r = y_j − x_jᵀθ*₋"
    )
    right.set_title(f"every deleted point, one start: {_shares(points)}")
    maps = ((starts, data.attrs["t1"]), (points, settings.horizon))
    for place, kind in enumerate(shown):
        _strip(figure.add_subplot(places[1, 2 * place : 2 * place + 2]), kind, maps, place == 0)
    unproven = 1 - np.mean(np.concatenate([starts.proven.ravel(), points.proven.ravel()]))
    figure.suptitle(
        f"The best ε(t), and what it gains on leaving the point out (E(ε ≡ 0)/E*: white lines at ×1.1, 2, 10, 100); "
        f"hatched: not proven ({unproven:.1%})",
        fontsize=12,
    )
    return {"atlas": figure}


def _shares(cells: _Cell) -> str:
    beaten, exact = np.mean(cells.gain > 1 + 1e-6), np.mean(cells.kind == REACHED)
    return f"some ε > 0 wins on {beaten:.0%}, exact on {exact:.0%}"


def _map(ax: Axes, cells: _Cell, across: np.ndarray, up: np.ndarray) -> None:
    """Colours of the kinds, deeper with the gain; lines of equal gain; hatches where nothing is proven."""
    reached, log_gain = cells.kind == REACHED, np.log10(np.maximum(cells.gain, 1.0))
    depth = _PALEST + (1 - _PALEST) * np.sqrt(np.clip(log_gain / _DEEPEST, 0.0, 1.0))
    depth[reached] = 1.0
    depth[cells.kind == "drop"] = 0.35  # the baseline itself: nothing to gain
    colors = np.array([[to_rgb(_COLORS[kind]) for kind in row] for row in cells.kind])
    half = [0.5 * (axis[1] - axis[0]) for axis in (across, up)]
    extent = (across[0] - half[0], across[-1] + half[0], up[0] - half[1], up[-1] + half[1])
    ax.imshow(
        1 - depth[..., None] * (1 - colors), origin="lower", extent=extent, aspect="auto", interpolation="nearest"
    )
    levels = np.log10([1.1, 2.0, 10.0, 100.0])
    lines = ax.contour(across, up, np.minimum(log_gain, 4.0), levels=levels, colors="white", linewidths=0.9)
    ax.clabel(lines, fmt={level: f"×{10**level:.3g}" for level in levels}, fontsize=7.5, colors=INK, inline_spacing=1)
    if reached.any():
        ax.contour(across, up, reached.astype(float), levels=[0.5], colors=INK, linewidths=1.4)
    if not cells.proven.all():
        with plt.rc_context({"hatch.color": MUTED, "hatch.linewidth": 0.6}):
            ax.contourf(across, up, (~cells.proven).astype(float), levels=[0.5, 1.5], colors="none", hatches=["////"])


def _strip(ax: Axes, kind: str, maps: tuple[tuple[_Cell, float], ...], first: bool) -> None:
    """ε(t) of the start (or point) of this kind that gains most, on [0, T]."""
    here = [
        (gain, schedule, arrival / length, length)
        for cells, length in maps
        for gain, schedule, arrival in zip(
            *(values[cells.kind == kind] for values in (cells.gain, cells.schedule, cells.arrival)), strict=True
        )
    ]
    if kind == REACHED:  # the arrival nearest to the middle of [0, T] shows most
        _, schedule, arrival, length = min(here, key=lambda one: abs(np.nan_to_num(one[2]) - 0.6))
    else:
        _, schedule, arrival, length = max(here, key=lambda one: one[0])
    times = np.linspace(0.0, 1.0, 801)
    values = np.asarray(parse(str(schedule))(times * length))
    ax.fill_between(times, values, step="mid", color=_COLORS[kind], alpha=0.85, lw=0)
    ax.plot(times, values, color=INK, lw=0.8)
    if np.isfinite(arrival):
        ax.axvline(arrival, color=INK, lw=1, ls=":")
    ax.set(ylim=(-0.06, 1.12), xlim=(0, 1), xticks=[0, 1], yticks=[0, 1] if first else [])
    ax.set_xticklabels(["0", "T"])
    if first:
        ax.set_ylabel("ε(t)")
    share = len(here) / sum(cells.kind.size for cells, _ in maps)
    ax.set_title(_SAYS[kind], fontsize=8.5, color=INK)
    ax.set_xlabel(f"{100 * share:.2g} % of the cells", fontsize=8.5)
    ax.legend(handles=[Patch(facecolor=_COLORS[kind], edgecolor=INK)], labels=[""], loc="upper right", frameon=False,
              borderpad=0, handlelength=0.9, handleheight=0.9)  # fmt: skip


def tell(data: xr.Dataset, settings: Settings) -> str:
    """How many cells of each map are of each kind, what proves it, and what they gain."""
    return "\n".join(
        _counted(name, _cells(data, prefix)) for name, prefix in (("starts", "start"), ("deleted points", "point"))
    )


def _counted(name: str, cells: _Cell) -> str:
    certificates, counts = np.unique(cells.certificate, return_counts=True)
    shares = [f"{_SAYS[kind]} {np.mean(cells.kind == kind):.1%}" for kind in _NAMES if (cells.kind == kind).any()]
    finite = cells.gain[np.isfinite(cells.gain)]
    gains = f"median ×{np.median(finite):.3g}, largest ×{finite.max():.3g}" if finite.size else "there is no such start"
    return (
        f"{cells.kind.size} {name}: " + ", ".join(shares) + f"\n  proven to {_PROVEN:.0%}: {cells.proven.mean():.1%} ("
        + ", ".join(f"{kind} {count}" for kind, count in zip(certificates, counts, strict=True))
        + f"); gain where E* > 0: {gains}"
    )  # fmt: skip
