"""Search and certificate: the best ε(t) for one row of a data set, and a proof that no other is much better.

`python examples/search_and_certificate.py [FOLDER]` draws ε(t), the switching function σ(t) and θ(t).
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from homotopy import LinearRegression, Problem, datasets, leave_one_out, search, simulate, switching_function
from homotopy.viz import plot_control

T = 0.2


def main(folder: Path) -> None:
    problem = Problem(LinearRegression(), datasets.random_linear(n=20, d=2, noise=0.5, seed=3), delete=18)
    theta0 = np.array([-1.0, 1.0])

    result = search(problem, theta0, t1=T, family="bang-bang")
    print(result)
    bound = result.certificate
    print(
        f"No ε(t) in [0, 1] ends with E below {bound.lower_bound:.6g} ({bound.kind}); this one has {result.energy:.6g}."
    )
    assert bound.lower_bound <= result.energy <= result.baseline_energy

    # Where σ < 0 more weight at that time would bring θ(T) nearer to θ*₋: the best ε is 1 there and 0 elsewhere.
    ts = np.linspace(0.0, T, 201)
    thetas = simulate(problem, result.schedule, theta0, t1=T, ts=ts).thetas
    sigma = switching_function(problem, result.schedule, theta0, t1=T, ts=ts)
    target = np.asarray(leave_one_out(problem).theta)
    figure, axs = plt.subplots(3, 1, figsize=(7, 7), sharex=True, layout="constrained")
    plot_control(result.schedule, ts, np.asarray(thetas), np.asarray(sigma), t1=T, target=target, axs=list(axs))
    figure.savefig(folder / "search_and_certificate.png", dpi=110)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
