"""Your own schedule, searched: a pulse in one class, its best centre and width, and how far that is from the best ε(t).

`python examples/own_schedule.py [FOLDER]` draws the best pulse beside the best ε(t) of all, and saves it as JSON.
"""

import sys
from pathlib import Path
from typing import ClassVar

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Array, Float

from homotopy import AbstractSchedule, LinearRegression, Parametric, Problem, datasets, describe, load, parse, search
from homotopy.viz import plot_schedule

T = 0.2


class Pulse(AbstractSchedule, text="pulse:CENTRE,WIDTH"):
    """ε(t) = exp(−((t − centre)/width)²): smooth everywhere, so there is one piece and no discontinuity."""

    centre: Float[Array, ""]
    width: Float[Array, ""]
    piecewise_constant: ClassVar[bool] = False

    def discontinuities(self):
        return jnp.zeros(0)

    def piece(self, index, t):
        return jnp.exp(-(((t - self.centre) / self.width) ** 2))


def main(folder: Path) -> None:
    problem = Problem(LinearRegression(), datasets.random_linear(n=20, d=2, noise=0.5, seed=3), delete=18)
    theta0 = np.array([-1.0, 1.0])
    print(parse("pulse:0.05,0.05"))  # its text, here and on the command line, is what the class says

    pulses = Parametric(lambda p: Pulse(p[0], p[1]), start=(0.05, 0.05), bounds=((0.0, T), (0.01, T)))
    best = search(problem, theta0, t1=T, family=pulses)
    print(best)  # with the lower bound on the E of every ε(t) in [0, 1], pulse or not

    best.schedule.save(folder / "pulse.json")
    print(f"saved, and read again: {describe(load(folder / 'pulse.json'))}")

    of_all = search(problem, theta0, t1=T, family="bang-bang")
    figure, ax = plt.subplots(figsize=(5.5, 3.4), layout="constrained")
    label = f"{describe(best.schedule, digits=3)}, E = {best.energy:.2g}"
    plot_schedule(best.schedule, T, ax, label=label, color="tab:orange")
    plot_schedule(of_all.schedule, T, ax, label=f"{describe(of_all.schedule, digits=3)}, E = {of_all.energy:.2g}")
    ax.legend(fontsize=8)
    figure.savefig(folder / "own_schedule.png", dpi=110)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
