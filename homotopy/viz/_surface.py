"""The homotopy θ(t, ε) as a surface and as a map of distances (notes, Figure 2)."""

from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d import Axes3D

from ..flow import Surface
from ._axes import FULL, INK, RETAINED, axes


def principal_coordinate(surface: Surface, *, of: Literal["weight", "all"] = "weight") -> tuple[np.ndarray, float]:
    """θ(t, ε) along one direction (m, k), centred, and the share of the variance that the direction explains.

    `of` "all": the first principal direction of all θ(t, ε), which is mostly training itself; "weight": that of
    θ(t, ε) − (its mean over ε), along which the weight ε matters most.
    """
    thetas = np.asarray(surface.thetas)
    rows = np.isfinite(thetas).all(axis=(1, 2))  # failed rows hold inf
    centre = thetas[rows].mean(axis=0, keepdims=of == "weight")
    centred = (thetas[rows] - centre) if of == "weight" else thetas[rows] - centre.mean(axis=0)
    _, singular, directions = np.linalg.svd(centred.reshape(-1, thetas.shape[-1]), full_matrices=False)
    height = (thetas - thetas[rows].mean(axis=(0, 1))) @ directions[0]
    total = float(np.sum(singular**2))
    return height, float(singular[0] ** 2) / total if total > 0 else 1.0


def plot_surface(surface: Surface, height: np.ndarray, ax: Axes3D, *, label: str) -> Axes3D:
    """`height` (m, k) over time (log; not t = 0, ∞) and ε, on 3-D Axes; the edges ε = 0 and ε = 1 in their colours."""
    ts = np.asarray(surface.ts)
    shown = (ts > 0) & np.isfinite(ts)
    t, epsilon = np.meshgrid(np.log10(ts[shown]), np.asarray(surface.epsilons))
    z = np.ma.masked_invalid(height[:, shown])
    ax.plot_surface(t, epsilon, z, cmap="viridis", alpha=0.85, linewidth=0, antialiased=True, rcount=60, ccount=80)
    for row, color in ((0, RETAINED), (-1, FULL)):
        ax.plot(t[row], epsilon[row], z[row], color=color, lw=2.2, zorder=10)
    ax.set(xlabel="time t", ylabel="weight ε")
    ax.set_zlabel(label)
    decades = np.arange(np.ceil(t.min()), np.floor(t.max()) + 1)
    ax.set_xticks(decades, [f"$10^{{{int(d)}}}$" for d in decades])
    return ax


def plot_distance(surface: Surface, limit: np.ndarray | None = None, ax: Axes | None = None) -> Axes:
    """‖θ(t, ε) − θ(t, 0)‖ as a map over t (log) and ε, and on its right edge the same at t = ∞: `limit` (m,), NaN where
    θ(∞, ε) is not known. The row nearest to ε = 0 is the reference."""
    ax = axes(ax)
    ts, epsilons = np.asarray(surface.ts), np.asarray(surface.epsilons)
    shown = (ts > 0) & np.isfinite(ts)
    thetas = np.asarray(surface.thetas)[:, shown]
    distance = np.ma.masked_invalid(np.linalg.norm(thetas - thetas[np.argmin(np.abs(epsilons))], axis=-1))
    mesh = ax.pcolormesh(ts[shown], epsilons, distance, cmap="magma", shading="nearest", rasterized=True)
    ax.set(xscale="log", xlabel="time t", ylabel="weight ε")
    colorbar = ax.figure.colorbar(mesh, ax=ax, location="bottom", shrink=0.8, aspect=35, pad=0.03)
    colorbar.set_label("‖θ(t, ε) − θ(t, 0)‖")
    if limit is not None:
        edge = ax.inset_axes((1.05, 0.0, 0.28, 1.0), sharey=ax)
        edge.plot(limit, epsilons, "-", color=INK, lw=1.8)
        edge.plot(limit[-1:], epsilons[-1:], "o", color=FULL, ms=5)
        edge.plot(limit[:1], epsilons[:1], "o", color=RETAINED, ms=5)
        edge.tick_params(labelleft=False)
        edge.locator_params(axis="x", nbins=3)
        edge.set_xlabel("t = ∞")
    return ax


def new_3d(position: tuple[int, int, int], figure: Figure) -> Axes3D:
    """3-D Axes seen from the side on which both ε = 0 and t = 0 are in front."""
    ax = figure.add_subplot(*position, projection="3d", azim=-60, elev=24)
    assert isinstance(ax, Axes3D)
    return ax
