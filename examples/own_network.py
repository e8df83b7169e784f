"""Your own network: a model in one class goes through the flow and the endpoints as the built-in ones do.

A model says how long θ is, what it predicts, and where it starts; everything else sees θ as a flat vector.
`python examples/own_network.py [FOLDER]` draws how late a point can be dropped.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from homotopy import AbstractModel, Problem, SquaredLoss, Step, datasets, leave_one_out, optimum, simulate

T = 20.0


class Bumps(AbstractModel):
    """f(θ; x) = Σ_k a_k exp(−½‖x − c_k‖²): `count` bumps, θ = (heights a, centres c row by row)."""

    count: int = 3

    def default_loss(self):
        return SquaredLoss()

    def size(self, features, output_shape):
        return self.count * (1 + features)

    def predict(self, theta, x, output_shape):
        heights, centres = theta[: self.count], theta[self.count :].reshape(self.count, -1)
        distances = jnp.sum((x[:, None, :] - centres[None, :, :]) ** 2, axis=-1)
        return jnp.exp(-0.5 * distances) @ heights

    def initial(self, key, features, output_shape):
        return jax.random.normal(key, (self.size(features, output_shape),))


def main(folder: Path) -> None:
    problem = Problem(Bumps(3), datasets.teacher_student(n=20, width=3), delete=0, ridge=0.1)
    theta0 = problem.initial(0)
    full = optimum(problem, start=theta0)
    without = leave_one_out(problem, start="warm", theta=full.theta)  # θ*₋, continued from θ*
    print(full, without, sep="\n")  # each with its proof

    # E = ½‖θ(T) − θ*₋‖² where the point is dropped at τ. `search` looks for the best τ, or for any other ε(t).
    taus = np.linspace(0.0, T, 11)
    ends = [simulate(problem, Step(tau), theta0, t1=T).theta1 for tau in taus]
    energies = 0.5 * np.sum((np.array(ends) - np.asarray(without.theta)) ** 2, axis=1)
    print(f"E is least, {energies.min():.3g}, where the point is dropped at {taus[energies.argmin()]:g} of {T:g}.")

    figure, ax = plt.subplots(figsize=(5, 3), layout="constrained")
    ax.semilogy(taus, energies, "o-")
    ax.set(xlabel="τ, when the point is dropped", ylabel="E = ½‖θ(T) − θ*₋‖²")
    figure.savefig(folder / "own_network.png", dpi=110)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
