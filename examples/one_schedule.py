"""One schedule and its picture: train on twenty points until τ, then without one of them.

`python examples/one_schedule.py [FOLDER]` draws θ(t) in the plane, ε(t) above the two endpoints θ* and θ*₋.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from homotopy import LinearRegression, Problem, Step, datasets, describe, energy, leave_one_out, optimum, simulate
from homotopy.viz import (
    bounds_of,
    landmark_handles,
    phase_plane,
    plot_landmarks,
    plot_levels,
    plot_schedule,
    plot_trajectory,
)

T = 0.2  # in units of one over the eigenvalues of XᵀX


def main(folder: Path) -> None:
    problem = Problem(LinearRegression(), datasets.random_linear(n=20, d=2, noise=0.5, seed=3), delete=18)
    theta0 = np.array([-1.0, 1.0])
    schedule = Step(0.12)  # ε = 1 on [0, 0.12], then 0: the point is dropped

    run = simulate(problem, schedule, theta0, t1=T, dense=True)
    print(run)
    print(f"{describe(schedule)}: E = {energy(problem, schedule, theta0, t1=T):.3g}")
    print(f"never used:  E = {energy(problem, Step(0.0), theta0, t1=T):.3g}  (E = half the squared distance to θ*₋)")
    print(leave_one_out(problem))

    segment = np.array([optimum(problem, epsilon).theta for epsilon in np.linspace(0.0, 1.0, 21)])  # θ(ε)
    figure, (plane, weight) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    plot_levels(phase_plane(problem, bounds_of([np.asarray(run.thetas), segment, theta0])), plane)
    plot_landmarks(theta0, segment, plane)
    plot_trajectory(run, schedule, plane, label="θ(t)")
    plane.legend(handles=landmark_handles()[:4], fontsize=8)
    plane.set(xlabel="θ₁", ylabel="θ₂")
    plot_schedule(schedule, T, weight)
    figure.savefig(folder / "one_schedule.png", dpi=110)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
