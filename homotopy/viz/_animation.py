"""A phase portrait as ε(t) runs: the arrows are those of the phase that θ is in."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.animation import FuncAnimation, PillowWriter

from ..flow import AbstractSchedule, Trajectory
from ..problem import Problem
from ._axes import INK, MUTED
from ._phase import bounds_of, plot_field, plot_landmarks, plot_levels
from ._schedule import plot_schedule


def animate_phase(
    path: Path,
    problem: Problem,
    schedule: AbstractSchedule,
    trajectory: Trajectory,
    segment: np.ndarray,
    *,
    frames: int = 24,
    seconds: float = 4.0,
) -> None:
    """Write a GIF of θ(t) over the vector field of the current ε(t), with ε(t) below. Needs a dense trajectory."""
    t1 = float(trajectory.ts[-1])
    times = np.linspace(0.0, t1, frames)
    thetas, weights = np.asarray(trajectory.evaluate(times)), np.asarray(schedule(times))
    bounds = bounds_of([thetas, segment])
    figure, (plane, below) = plt.subplots(2, 1, figsize=(3.4, 4.3), height_ratios=(4, 1), layout="constrained", dpi=66)
    plot_levels(problem, bounds, plane)
    plot_landmarks(thetas[0], segment, plane)
    plane.set(xlabel="θ₁", ylabel="θ₂", xlim=bounds[:2], ylim=bounds[2:])
    plot_schedule(schedule, t1, below, color=MUTED)
    below.set(ylim=(-0.1, 1.1))
    (trail,) = plane.plot([], [], "-", color=INK, lw=1.8)
    (head,) = plane.plot([], [], "o", color=INK, ms=6)
    (clock,) = below.plot([], [], "o", color=INK, ms=6)
    fields: dict[float, object] = {}
    for weight in np.unique(weights):
        plot_field(problem, float(weight), bounds, plane)
        fields[float(weight)] = plane.collections[-1]

    def draw(frame: int):
        for weight, arrows in fields.items():
            arrows.set_visible(weight == weights[frame])  # type: ignore[attr-defined]
        trail.set_data(thetas[: frame + 1, 0], thetas[: frame + 1, 1])
        head.set_data(thetas[frame : frame + 1, 0], thetas[frame : frame + 1, 1])
        clock.set_data(times[frame : frame + 1], weights[frame : frame + 1])
        plane.set_title(f"t = {times[frame]:.2f}, ε = {weights[frame]:.2g}", fontsize=10)
        return trail, head, clock

    animation = FuncAnimation(figure, draw, frames=frames)
    animation.save(path, writer=PillowWriter(fps=max(1, round(frames / seconds))))
    plt.close(figure)
