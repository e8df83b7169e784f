"""Phase portraits in the plane of two parameters (notes, Figure 4)."""

from collections.abc import Sequence

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ..flow import AbstractSchedule, Trajectory
from ..problem import Problem
from ._axes import FULL, INK, MUTED, RETAINED, axes


def _grid(bounds: tuple[float, float, float, float], points: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    left, right, bottom, top = bounds
    u, v = np.meshgrid(np.linspace(left, right, points), np.linspace(bottom, top, points))
    return u, v, np.column_stack([u.ravel(), v.ravel()])


def plot_levels(problem: Problem, bounds: tuple[float, float, float, float], ax: Axes | None = None) -> Axes:
    """Level sets of the retained risk R⁻ = R_0 over (left, right, bottom, top), spaced evenly in √(R⁻ − min)."""
    ax = axes(ax)
    u, v, points = _grid(bounds, 81)
    risk = np.asarray(jax.jit(jax.vmap(lambda theta: problem.risk(theta, 0.0)))(points)).reshape(u.shape)
    depth = np.sqrt(risk - risk.min())
    ax.contour(u, v, depth, levels=10, colors=MUTED, linewidths=0.5, alpha=0.6)
    return ax


def plot_field(
    problem: Problem,
    epsilon: float,
    bounds: tuple[float, float, float, float],
    ax: Axes | None = None,
    *,
    points: int = 13,
    alpha: float = 0.55,
) -> Axes:
    """Directions of the flow −∇R_ε on a grid: arrows of one length, warm for ε > ½ and cool otherwise."""
    ax = axes(ax)
    u, v, where = _grid(bounds, points)
    field = -np.asarray(jax.jit(jax.vmap(lambda theta: problem.gradient(theta, epsilon)))(where))
    # Directions as they look: normalised after scaling by the extent of the picture.
    scale = np.array([bounds[1] - bounds[0], bounds[3] - bounds[2]])
    length = np.linalg.norm(field / scale, axis=1, keepdims=True)
    arrows = field / np.where(length > 0, length, 1.0)
    ax.quiver(
        u, v, arrows[:, 0].reshape(u.shape), arrows[:, 1].reshape(u.shape), color=FULL if epsilon > 0.5 else RETAINED,
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
    ax = axes(ax)
    thetas = np.asarray(trajectory.thetas)
    ax.plot(thetas[:, 0], thetas[:, 1], style, color=color, lw=1.8, label=label, zorder=3)
    ax.plot(*thetas[-1, :2], "o", color=color, ms=4.5, zorder=4)
    if schedule is not None:
        ts = np.asarray(schedule.discontinuities())
        ts = ts[(ts > 0) & (ts < float(trajectory.ts[-1]))]
        if len(ts):
            at = np.asarray(trajectory.evaluate(ts))
            ax.plot(at[:, 0], at[:, 1], "D", color=color, ms=6.0, mec="white", mew=0.8, zorder=5)
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


def bounds_of(clouds: Sequence[np.ndarray], margin: float = 0.12) -> tuple[float, float, float, float]:
    """(left, right, bottom, top) around point clouds (…, dim ≥ 2), with a margin."""
    points = np.concatenate([np.atleast_2d(cloud)[:, :2] for cloud in clouds])
    low, high = points.min(axis=0), points.max(axis=0)
    pad = margin * np.maximum(high - low, 1e-9)
    return (
        float(low[0] - pad[0]), float(high[0] + pad[0]), float(low[1] - pad[1]), float(high[1] + pad[1]),
    )  # fmt: skip
