"""Random problems of five regimes, each with an outlier to be forgotten, and every descent with and then without it."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from homotopy import (
    MLP,
    Constant,
    Dataset,
    LinearRegression,
    LogisticRegression,
    Problem,
    WorkError,
    datasets,
    leave_one_out,
    simulate,
)

REGIMES = {
    "ridge": "ridge regression, μ > 0",
    "logistic": "logistic, μ > 0",
    "convex": "logistic, μ = 0",
    "interpolation": "over-parameterised linear",
    "network": "network, non-convex",
}
Drawn = list[tuple[Problem, np.ndarray]]  # problems and their θ₀
SHARES = np.linspace(0.0, 1.0, 41)  # s/T of the map


def _problem(size: Any, name: str, seed: int) -> tuple[Problem, np.ndarray]:
    """A random problem of a regime, whose point 0 is an outlier to be forgotten, and θ₀."""
    rng = np.random.default_rng([size.seed, seed, list(REGIMES).index(name)])
    n, d = size.n, size.d if name != "interpolation" else 2 * size.n
    if name == "network":
        data = datasets.teacher_student(n=n, width=size.width, seed=size.seed + seed)
        y = np.array(data.y)
        y[0] += 2.0
        problem = Problem(MLP(width=size.width), Dataset(data.x, y, name=data.name), delete=0)
        return problem, np.asarray(problem.initial(seed))
    x = rng.standard_normal((n, d)) * np.geomspace(1.0, size.spread if name != "interpolation" else 1.0, d)
    x /= np.sqrt(d)
    signal = x @ (2.0 * rng.standard_normal(d))
    label = f"{name}(n={n}, d={d}, seed={size.seed + seed})"
    theta0 = np.zeros(d)
    if name in ("ridge", "interpolation"):
        y = signal + 0.3 * rng.standard_normal(n)
        y[0] += 2.0
        rho = size.ridge * n if name == "ridge" else 0.0
        return Problem(LinearRegression(), Dataset(x, y, name=label), delete=0, ridge=rho), theta0
    labels = (signal + rng.logistic(size=n) > 0).astype(int)
    labels[0] = int(signal[0] <= 0)
    labels[1], labels[2] = 0, 1
    rho = size.ridge * n if name == "logistic" else 0.0
    return Problem(LogisticRegression(), Dataset(x, labels, name=label), delete=0, ridge=rho), theta0


def problems_of(size: Any, name: str) -> tuple[Drawn, list[np.ndarray]]:
    """Those of the regime `name`, as many and as large as the settings `size` say, and (but for networks) their optima without
    the point."""
    made: Drawn = []
    targets: list[np.ndarray] = []
    for seed in range(20 * size.problems):
        problem, theta0 = _problem(size, name, seed)
        if name != "network":
            try:  # separable labels have no optimum
                targets.append(np.asarray(leave_one_out(problem, theta0=theta0).theta))
            except WorkError:
                continue
        made.append((problem, theta0))
        if len(made) == size.problems:
            return made, targets
    raise WorkError(f"too few problems of the regime {name!r} have an optimum; raise n or lower d")


@eqx.filter_jit
def descents(problems: Problem, theta0: jax.Array, steps: jax.Array, train: int) -> tuple[jax.Array, jax.Array]:
    """θ_t of training (problems, T + 1, dim), and A(t, k) after k steps without the point from each (…, T + 1, T + 1, dim)."""

    def one(problem, theta0, step):
        ts = step * jnp.arange(train + 1, dtype=float)

        def descend(theta, epsilon):
            return simulate(problem, Constant(epsilon), theta, t1=ts[-1], ts=ts, method="descent", step=step).thetas

        trained = descend(theta0, jnp.asarray(1.0))
        return trained, jax.vmap(lambda theta: descend(theta, jnp.asarray(0.0)))(trained)

    return eqx.filter_vmap(one)(problems, theta0, steps)


def ratios(table: np.ndarray, own: np.ndarray) -> np.ndarray:
    """log₁₀ of R2D's distance over D2D's at the same budget, the median of the problems, for every s/T and T."""
    found = np.empty((len(SHARES), table.shape[1]))
    for length in range(table.shape[1]):
        k = np.round((1 - SHARES) * length).astype(int)
        both = table[:, length, k], table[:, length - k, k]
        apart = [np.linalg.norm(part - own[:, length][:, None], axis=-1) for part in both]
        found[:, length] = np.median(np.diff(np.log10(np.maximum(apart, 1e-14)), axis=0)[0], axis=0)
    return found
