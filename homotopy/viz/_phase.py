"""Phase portraits in the plane of two parameters (notes, Figure 4)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from .._errors import RequestError
from ..flow import AbstractSchedule, Trajectory
from ..problem import Problem
from ._axes import FULL, INK, MUTED, RETAINED, axes

Bounds = tuple[float, float, float, float]


class Plane(NamedTuple):
    """What a phase portrait shows behind its curves: numbers, so that it can be saved and drawn again.

    `bounds` (left, right, bottom, top); `depth` (fine, fine) = √(R⁻ − min) with the second parameter along its rows;
    `arrows` (k, points, points, 2), directions of −∇R_ε for each of `epsilons` (k,), of one length as they look.
    """

    bounds: Bounds
    depth: Float[np.ndarray, "fine fine"]
    epsilons: Float[np.ndarray, " k"]
    arrows: Float[np.ndarray, "k points points 2"]


def phase_plane(
    problem: Problem, bounds: Bounds, epsilons: Any = (0.0, 1.0), *, points: int = 13, fine: int = 81
) -> Plane:
    """Level sets of the retained risk R⁻ = R_0 over `bounds`, and the flow's directions at constant `epsilons` there.

    plot_levels(phase_plane(problem, bounds), ax)
    """
    epsilons = np.asarray(epsilons, dtype=float)
    found = _risk_and_field(problem, epsilons, _grid(bounds, fine), _grid(bounds, points))
    risk, field = (np.asarray(values) for values in found)
    # Directions as they look: normalised after scaling by the extent of the picture.
    scale = np.array([bounds[1] - bounds[0], bounds[3] - bounds[2]])
    length = np.linalg.norm(field / scale[None, None, None, :], axis=-1, keepdims=True)
    return Plane(bounds, np.sqrt(risk - risk.min()), epsilons, field / np.where(length > 0, length, 1.0))


@eqx.filter_jit
def _risk_and_field(problem: Problem, epsilons: Any, fine: Any, coarse: Any) -> tuple[jax.Array, jax.Array]:
    def over(function: Any, grid: Any) -> Any:
        return jax.vmap(jax.vmap(function))(grid)

    risk = over(lambda theta: problem.risk(theta, 0.0), fine)
    return risk, jax.vmap(lambda weight: over(lambda theta: -problem.gradient(theta, weight), coarse))(epsilons)


def _axes_of(bounds: Bounds, points: int) -> tuple[np.ndarray, np.ndarray]:
    left, right, bottom, top = bounds
    return np.linspace(left, right, points), np.linspace(bottom, top, points)


def _grid(bounds: Bounds, points: int) -> np.ndarray:
    return np.stack(np.meshgrid(*_axes_of(bounds, points)), axis=-1)


def plot_levels(plane: Plane, ax: Axes | None = None) -> Axes:
    """Level sets of the retained risk R⁻ = R_0, spaced evenly in √(R⁻ − min)."""
    ax = axes(ax)
    u, v = _axes_of(plane.bounds, len(plane.depth))
    ax.contour(u, v, plane.depth, levels=10, colors=MUTED, linewidths=0.5, alpha=0.6)
    return ax


def plot_field(plane: Plane, epsilon: float, ax: Axes | None = None, *, alpha: float = 0.55) -> Axes:
    """Directions of the flow −∇R_ε on a grid, `epsilon` one of the plane's: warm for ε > ½ and cool otherwise."""
    ax = axes(ax)
    known = np.flatnonzero(plane.epsilons == epsilon)
    if len(known) == 0:
        raise RequestError(f"epsilon must be one of {', '.join(map(str, plane.epsilons))}, but is {epsilon}")
    arrows = plane.arrows[known[0]]
    points = len(arrows)
    ax.quiver(
        *_axes_of(plane.bounds, points), arrows[..., 0], arrows[..., 1], color=FULL if epsilon > 0.5 else RETAINED,
        alpha=alpha, angles="xy", scale_units="xy", scale=1.6 * points, width=0.0028, headwidth=3.5, zorder=1,
    )  # fmt: skip
    return ax


def plot_trajectory(
    trajectory: Trajectory,
    schedule: AbstractSchedule | None = None,
    ax: Axes | None = None,
    *,
    color: str = INK,
    style: str = "-",
    label: str | None = None,
) -> Axes:
    """θ(t) in the plane of the first two parameters, and a diamond where `schedule` switches (needs dense=True)."""
    at = np.zeros((0, 2))
    if schedule is not None:
        ts = np.asarray(schedule.discontinuities())
        ts = ts[(ts > 0) & (ts < float(trajectory.ts[-1]))]
        at = np.asarray(trajectory.evaluate(ts)) if len(ts) else at
    return plot_curve(trajectory.thetas, at, ax, color=color, style=style, label=label)


def plot_curve(
    thetas: Any, switches: Any = (), ax: Axes | None = None, *, color: str = INK, style: str = "-",
    label: str | None = None,
) -> Axes:  # fmt: skip
    """θ (k, dim ≥ 2) in the plane of the first two parameters, and a diamond at each θ in `switches` (m, dim)."""
    ax = axes(ax)
    thetas, switches = np.asarray(thetas), np.asarray(switches)
    ax.plot(thetas[:, 0], thetas[:, 1], style, color=color, lw=1.8, label=label, zorder=3)
    ax.plot(*thetas[-1, :2], "o", color=color, ms=4.5, zorder=4)
    if len(switches):
        ax.plot(switches[:, 0], switches[:, 1], "D", color=color, ms=6.0, mec="white", mew=0.8, zorder=5)
    return ax


def plot_landmarks(theta0: np.ndarray, segment: np.ndarray, ax: Axes | None = None) -> Axes:
    """θ₀ (square), the endpoints θ* (star, ε = 1) and θ*₋ (star, ε = 0), and the segment θ(ε) between them.

    `segment` (m, dim) holds θ(ε) for ε from 0 to 1.
    """
    ax = axes(ax)
    ax.plot(segment[:, 0], segment[:, 1], "-", color=INK, lw=3.2, alpha=0.35, solid_capstyle="round", zorder=2)
    ax.plot(*theta0[:2], "s", color=INK, ms=6.5, zorder=6)
    ax.plot(*segment[-1, :2], "*", color=FULL, ms=13, mec="white", mew=0.7, zorder=6)
    ax.plot(*segment[0, :2], "*", color=RETAINED, ms=13, mec="white", mew=0.7, zorder=6)
    return ax


def landmark_handles() -> list[Line2D]:
    """Legend entries for what `plot_landmarks` and `plot_field` draw."""
    return [
        Line2D([], [], marker="s", color=INK, ms=6.5, ls="", label="start θ₀"),
        Line2D([], [], marker="*", color=FULL, ms=12, label="θ* (ε = 1)", ls="", mec="white", mew=0.7),
        Line2D([], [], marker="*", color=RETAINED, ms=12, label="θ*₋ (ε = 0)", ls="", mec="white", mew=0.7),
        Line2D([], [], color=INK, lw=3.2, alpha=0.35, label="endpoints θ(ε)"),
        Line2D([], [], marker=r"$\rightarrow$", ls="", color=FULL, ms=11, label="flow at ε = 1"),
        Line2D([], [], marker=r"$\rightarrow$", ls="", color=RETAINED, ms=11, label="flow at ε = 0"),
        Line2D([], [], color=MUTED, lw=0.7, label="level sets of R⁻"),
    ]


def bounds_of(clouds: Sequence[np.ndarray], margin: float = 0.12) -> Bounds:
    """(left, right, bottom, top) around point clouds (…, dim ≥ 2), with a margin."""
    points = np.concatenate([np.atleast_2d(cloud)[:, :2] for cloud in clouds])
    low, high = points.min(axis=0), points.max(axis=0)
    pad = margin * np.maximum(high - low, 1e-9)
    return (
        float(low[0] - pad[0]), float(high[0] + pad[0]), float(low[1] - pad[1]), float(high[1] + pad[1]),
    )  # fmt: skip
