"""A phase portrait as ε(t) runs: the arrows are those of the phase that θ is in."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.artist import Artist

from ..flow import AbstractSchedule
from ._axes import INK, MUTED
from ._phase import Plane, plot_field, plot_landmarks, plot_levels
from ._schedule import plot_schedule


def animate_phase(
    path: Path,
    plane: Plane,
    schedule: AbstractSchedule,
    times: np.ndarray,
    thetas: np.ndarray,
    segment: np.ndarray,
    *,
    seconds: float = 4.0,
) -> None:
    """Write a GIF of θ at `times` (frames,), `thetas` (frames, 2), over the field of the current ε(t), with ε(t) below.

    `plane` holds a field for each of the weights at `times`; `segment` (m, 2) the endpoints θ(ε).
    """
    t1, weights = float(times[-1]), np.asarray(schedule(times))
    figure, (portrait, below) = plt.subplots(
        2, 1, figsize=(3.4, 4.3), height_ratios=(4, 1), layout="constrained", dpi=66
    )
    plot_levels(plane, portrait)
    plot_landmarks(thetas[0], segment, portrait)
    portrait.set(xlabel="θ₁", ylabel="θ₂", xlim=plane.bounds[:2], ylim=plane.bounds[2:])
    plot_schedule(schedule, t1, below, color=MUTED)
    below.set(ylim=(-0.1, 1.1))
    (trail,) = portrait.plot([], [], "-", color=INK, lw=1.8)
    (head,) = portrait.plot([], [], "o", color=INK, ms=6)
    (clock,) = below.plot([], [], "o", color=INK, ms=6)
    fields: dict[float, Artist] = {}
    for weight in np.unique(weights):
        plot_field(plane, float(weight), portrait)
        fields[float(weight)] = portrait.collections[-1]

    def draw(frame: int) -> tuple[Artist, ...]:
        for weight, arrows in fields.items():
            arrows.set_visible(weight == weights[frame])
        trail.set_data(thetas[: frame + 1, 0], thetas[: frame + 1, 1])
        head.set_data(thetas[frame : frame + 1, 0], thetas[frame : frame + 1, 1])
        clock.set_data(times[frame : frame + 1], weights[frame : frame + 1])
        portrait.set_title(f"t = {times[frame]:.2f}, ε = {weights[frame]:.2g}", fontsize=10)
        return trail, head, clock

    draw(0)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out once: frames differ in what is shown, not where
    animation = FuncAnimation(figure, draw, frames=len(times))
    animation.save(path, writer=PillowWriter(fps=max(1, round(len(times) / seconds))))
    plt.close(figure)
