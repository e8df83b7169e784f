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
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from homotopy import Dataset, LinearRegression, Problem, WorkError, datasets, search
from homotopy.run import Progress, Range, RunResult, Seed, check
from homotopy.viz import INK, MUTED

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


class Cell(NamedTuple):
    """What one search found."""

    kind: str
    gain: float
    proven: bool
    certificate: str
    schedule: Any
    arrival: float


def run(settings: Settings, progress: Progress) -> RunResult:
    """Search every cell of both maps, count, draw."""
    check(settings)
    problem, target, full, t1 = _plane(settings)
    unit = float(np.linalg.norm(full - target))
    side = settings.reach * np.linspace(-1.0, 1.0, settings.cells)
    starts = np.empty((settings.cells, settings.cells), dtype=object)
    with progress.task("every start", starts.size) as advance:
        for row, column in np.ndindex(starts.shape):
            theta0 = target + unit * np.array([side[column], side[row]])
            starts[row, column] = chart(problem, theta0, t1)
            advance()
    levers, residuals = _axes_of_points(settings)
    points = np.empty((len(residuals), len(levers)), dtype=object)
    with progress.task("every deleted point", points.size) as advance:
        for row, column in np.ndindex(points.shape):
            points[row, column] = chart(*_added(settings, float(levers[column]), float(residuals[row])))
            advance()
    data = _records(settings, starts, points, side, levers, residuals)
    data.attrs |= {"t1": t1, "deleted": int(problem.delete[0]), "unit": unit}
    return RunResult(
        figures={"atlas": _draw(settings, starts, points, side, levers, residuals, (full - target) / unit, t1)},
        data=data,
        summary="\n".join(_counted(name, cells) for name, cells in (("starts", starts), ("deleted points", points))),
        datasets=(problem.data,),
        result_codes={"successful": starts.size + points.size},
    )


def chart(problem: Problem, theta0: np.ndarray, t1: float) -> Cell:
    """The best ε(t) from one start, with its kind, its gain on ε ≡ 0, and whether that is proven."""
    best = search(problem, theta0, t1=t1, family="bang-bang")
    proof = best.certificate
    arrival = np.nan
    if best.baseline_energy == 0:  # θ(s) is θ*₋, and dropping the point keeps it there
        return Cell("drop", 1.0, True, proof.kind, best.schedule, arrival)
    if proof.kind == REACHED or best.energy <= _NEAR * best.baseline_energy:
        try:
            found = search(problem, theta0, t1=t1, family="bang-bang", goal="time", certify="none")
        except WorkError:  # near, but not on it within T
            pass
        else:
            arrival = found.arrival if found.arrival is not None else np.nan
            return Cell(REACHED, np.inf, True, REACHED, found.schedule, arrival)
    if proof.kind == REACHED:
        return Cell(REACHED, np.inf, True, REACHED, best.schedule, t1)
    kind = "–".join({"on": "keep", "off": "drop"}[arc.kind] for arc in best.structure)
    gain = best.baseline_energy / best.energy if best.energy > 0 else 1.0
    proven = proof.kind != "local" and proof.gap <= _PROVEN * best.energy
    return Cell(kind if kind in KINDS else "other", max(gain, 1.0), proven, proof.kind, best.schedule, arrival)


def _plane(settings: Settings) -> tuple[Problem, np.ndarray, np.ndarray, float]:
    """A random problem in the plane with its most influential point deleted: it, θ*₋, θ* and T."""
    data = datasets.random_linear(n=settings.n, d=2, seed=settings.seed)
    x, y = np.asarray(data.x), np.asarray(data.y)
    full = np.linalg.lstsq(x, y)[0]
    hat = np.einsum("ni,ij,nj->n", x, np.linalg.inv(x.T @ x), x)
    moves = np.linalg.solve(x.T @ x, x.T * ((y - x @ full) / (1 - hat))).T  # θ* − θ*₋ for each point
    j = int(np.argmax(np.linalg.norm(moves, axis=1)))
    keep = np.delete(x, j, 0)
    t1 = settings.horizon / float(np.linalg.eigvalsh(keep.T @ keep)[0])
    return Problem(LinearRegression(), data, delete=j), full - moves[j], full, t1


def _axes_of_points(settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    levers = np.linspace(0.02, 0.98, settings.points)
    return levers, settings.largest * np.linspace(-1.0, 1.0, settings.points)


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


def _column(cells: np.ndarray, name: str, kind: type) -> np.ndarray:
    return np.array([[getattr(cell, name) for cell in row] for row in cells], dtype=kind)


def _records(settings, starts, points, side, levers, residuals) -> xr.Dataset:
    names = [*KINDS, REACHED]
    variables: dict[str, Any] = {}
    for prefix, cells, dims in (("start", starts, ("theta_2", "theta_1")), ("point", points, ("residual", "leverage"))):
        kinds = np.vectorize(names.index)(_column(cells, "kind", object))
        variables[f"{prefix}_kind"] = (dims, kinds, {"flag_meanings": ", ".join(names)})
        variables[f"{prefix}_gain"] = (dims, _column(cells, "gain", float), {"long_name": "E(ε ≡ 0)/E*"})
        variables[f"{prefix}_proven"] = (dims, _column(cells, "proven", bool).astype(int))
        variables[f"{prefix}_certificate"] = (dims, _column(cells, "certificate", str))
        variables[f"{prefix}_arrival"] = (
            dims,
            _column(cells, "arrival", float),
            {"long_name": "earliest arrival; NaN: none"},
        )
    coords = {"theta_1": side, "theta_2": side, "leverage": levers, "residual": residuals}
    return xr.Dataset(variables, coords=coords)


def _counted(name: str, cells: np.ndarray) -> str:
    kinds, proven = _column(cells, "kind", object), _column(cells, "proven", bool)
    certificates, counts = np.unique(_column(cells, "certificate", str), return_counts=True)
    gain = _column(cells, "gain", float)
    shares = [f"{_SAYS[kind]} {np.mean(kinds == kind):.1%}" for kind in (*KINDS, REACHED) if (kinds == kind).any()]
    finite = gain[np.isfinite(gain)]
    gains = f"median ×{np.median(finite):.3g}, largest ×{finite.max():.3g}" if finite.size else "there is no such start"
    return (
        f"{cells.size} {name}: " + ", ".join(shares) + f"\n  proven to {_PROVEN:.0%}: {proven.mean():.1%} ("
        + ", ".join(f"{kind} {count}" for kind, count in zip(certificates, counts, strict=True))
        + f"); gain where E* > 0: {gains}"
    )  # fmt: skip


# The picture --------------------------------------------------------------------------------------------------------


def _draw(settings, starts, points, side, levers, residuals, star, t1) -> Figure:
    shown = [kind for kind in (*KINDS, REACHED)
             if any((_column(cells, "kind", object) == kind).any() for cells in (starts, points))]  # fmt: skip
    figure = plt.figure(figsize=(12.6, 8.6), layout="constrained")
    grid = figure.add_gridspec(2, len(shown) * 2, height_ratios=(4.6, 1.0))
    left, right = figure.add_subplot(grid[0, : len(shown)]), figure.add_subplot(grid[0, len(shown) :])
    _map(left, starts, side, side)
    left.plot(0, 0, "*", ms=17, mfc="white", mec=INK, zorder=6)
    left.annotate("θ*₋", (0, 0), xytext=(9, -15), textcoords="offset points", fontsize=13, fontweight="bold", zorder=7)
    left.plot(*star, "o", ms=8, mfc="white", mec=INK, zorder=6)
    left.annotate("θ*", star, xytext=(7, 5), textcoords="offset points", fontsize=12, fontweight="bold", zorder=7)
    left.set_aspect("equal")
    left.set(xlabel="(θ₀ − θ*₋)₁ / ‖θ* − θ*₋‖", ylabel="(θ₀ − θ*₋)₂ / ‖θ* − θ*₋‖")
    left.set_title(f"every start θ₀ of one problem: {_shares(starts)}", fontsize=10.5)
    _map(right, points, levers, residuals)
    right.axhline(0, color="white", lw=1)
    right.set(
        xlabel="leverage P of the deleted point", ylabel="its residual r / (√λ_max ‖θ₀ − θ*₋‖);  r = y_j − x_jᵀθ*₋"
    )
    right.set_title(f"every deleted point, one start: {_shares(points)}", fontsize=10.5)
    for place, kind in enumerate(shown):
        _strip(figure.add_subplot(grid[1, 2 * place : 2 * place + 2]), kind, starts, points, settings, t1, place == 0)
    proven = np.mean([cell.proven for cells in (starts, points) for cell in cells.flat])
    figure.suptitle(
        f"The best ε(t), and what it gains on leaving the point out (E(ε ≡ 0)/E*: white lines at ×1.1, 2, 10, 100); "
        f"hatched: not proven ({1 - proven:.1%})",
        fontsize=12,
    )
    return figure


def _shares(cells: np.ndarray) -> str:
    kinds = _column(cells, "kind", object)
    beaten = np.mean(_column(cells, "gain", float) > 1 + 1e-6)
    return f"some ε > 0 wins on {beaten:.0%}, exact on {np.mean(kinds == REACHED):.0%}"


def _map(ax: Axes, cells: np.ndarray, across: np.ndarray, up: np.ndarray) -> None:
    """Colours of the kinds, deeper with the gain; lines of equal gain; hatches where nothing is proven."""
    kinds, gain = _column(cells, "kind", object), _column(cells, "gain", float)
    depth = np.clip(np.log10(np.maximum(gain, 1.0)) / _DEEPEST, 0.0, 1.0)
    depth = _PALEST + (1 - _PALEST) * np.sqrt(depth)
    depth[kinds == REACHED] = 1.0
    depth[kinds == "drop"] = 0.35  # the baseline itself: nothing to gain
    colors = np.array([[to_rgb(_COLORS[kind]) for kind in row] for row in kinds])
    half = [0.5 * (axis[1] - axis[0]) for axis in (across, up)]
    extent = (across[0] - half[0], across[-1] + half[0], up[0] - half[1], up[-1] + half[1])
    ax.imshow(
        1 - depth[..., None] * (1 - colors), origin="lower", extent=extent, aspect="auto", interpolation="nearest"
    )
    finite = np.where(np.isfinite(gain), np.log10(np.maximum(gain, 1.0)), 12.0)
    levels = np.log10([1.1, 2.0, 10.0, 100.0])
    lines = ax.contour(across, up, np.minimum(finite, 4.0), levels=levels, colors="white", linewidths=0.9)
    ax.clabel(lines, fmt={level: f"×{10**level:.3g}" for level in levels}, fontsize=7.5, colors=INK, inline_spacing=1)
    if (kinds == REACHED).any():
        ax.contour(across, up, (kinds == REACHED).astype(float), levels=[0.5], colors=INK, linewidths=1.4)
    unproven = ~_column(cells, "proven", bool)
    if unproven.any():
        with plt.rc_context({"hatch.color": MUTED, "hatch.linewidth": 0.6}):
            ax.contourf(across, up, unproven.astype(float), levels=[0.5, 1.5], colors="none", hatches=["////"])


def _strip(ax: Axes, kind: str, starts, points, settings: Settings, t1: float, first: bool) -> None:
    """ε(t) of the start (or point) of this kind that gains most, on [0, T]."""
    here = [(cell.gain, cell, length) for cells, length in ((starts, t1), (points, settings.horizon))
            for cell in cells.flat if cell.kind == kind]  # fmt: skip
    if kind == REACHED:  # the arrival nearest to the middle of [0, T] shows most
        _, cell, length = min(here, key=lambda one: abs(np.nan_to_num(one[1].arrival) / one[2] - 0.6))
    else:
        _, cell, length = max(here, key=lambda one: one[0])
    times = np.linspace(0.0, 1.0, 801)
    values = np.asarray(cell.schedule(times * length))
    ax.fill_between(times, values, step="mid", color=_COLORS[kind], alpha=0.85, lw=0)
    ax.plot(times, values, color=INK, lw=0.8)
    if np.isfinite(cell.arrival):
        ax.axvline(cell.arrival / length, color=INK, lw=1, ls=":")
    ax.set(ylim=(-0.06, 1.12), xlim=(0, 1), xticks=[0, 1], yticks=[0, 1] if first else [])
    ax.set_xticklabels(["0", "T"])
    if first:
        ax.set_ylabel("ε(t)")
    share = np.mean([cell.kind == kind for cells in (starts, points) for cell in cells.flat])
    ax.set_title(_SAYS[kind], fontsize=8.5, color=INK)
    ax.set_xlabel(f"{100 * share:.2g} % of the cells", fontsize=8.5)
    ax.legend(handles=[Patch(facecolor=_COLORS[kind], edgecolor=INK)], labels=[""], loc="upper right", frameon=False,
              borderpad=0, handlelength=0.9, handleheight=0.9)  # fmt: skip
