"""Speed and accuracy of the attributions as ratios in one run: `python -m homotopy.scenarios.benchmarks.attribution`.

* `tmc`: TMC-Shapley of 100 points with logistic refits, batched on the device, beside a loop over scikit-learn's fits on
  the same prefixes of the same permutations, at the accuracy that scikit-learn's tolerance gives and at ours.
* `kernel`: when each point matters, by one adjoint solve for all of them, beside one forward sensitivity per point.
* `bayesian`: 16,000 draws on a linear model against the closed form.
* `games`: how often the 95 % intervals of TMC-Shapley hold the exact value where `stop_width` stopped it, 500 games.
* `coverage`: how often the 95 % intervals of Bayesian influence hold the closed form, by method and step.
"""

import argparse
import time
import warnings
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from homotopy import (
    MLP,
    Constant,
    Dataset,
    LogisticRegression,
    Problem,
    RefitUtility,
    bayesian_influence,
    datasets,
    exact_shapley,
    flow_influence_kernel,
    gaussian_bayesian_influence,
    optimum,
    sensitivity,
    truncated_monte_carlo_shapley,
)
from homotopy.problem import LinearRegression

from .flow import best_of


def tmc(repeats: int) -> None:
    """100 points, 10 components and an intercept; loss utility, no truncation."""
    from sklearn.linear_model import LogisticRegression as Peer

    data = datasets.load("breast_cancer")
    x = np.asarray(data.x)
    u, _, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    x = np.column_stack([np.sqrt(len(x)) * u[:, :10], np.ones(len(x))])
    rows = np.random.default_rng(0).permutation(len(x))
    y, ridge, n = np.asarray(data.y)[rows], 0.5, 100
    x = x[rows]
    problem = Problem(LogisticRegression(), Dataset(x[:n], y[:n]), delete=0, ridge=ridge)
    utility = RefitUtility(problem, Dataset(x[n:], y[n:]))
    value = partial(
        truncated_monte_carlo_shapley, utility, n, permutations=50, truncation=0.0, stop_change=None, batch_size=50
    )
    began = time.perf_counter()
    found = value()
    first = time.perf_counter() - began
    ours = best_of(lambda: value().values, repeats) / found.evaluations
    orders = np.stack([np.random.default_rng([0, k]).permutation(n) for k in range(2)])
    values, _ = utility.walk(orders, 0.0, 0.0, n + 1)
    for tolerance in (1e-4, 1e-8):
        seconds, fits, worst = np.inf, 0, 0.0
        for _ in range(2):
            began, fits, worst = time.perf_counter(), 0, 0.0
            for order, row in zip(orders, values, strict=True):
                for k in range(1, n + 1):
                    prefix = order[:k]
                    if len(np.unique(y[:n][prefix])) < 2:
                        continue  # scikit-learn refuses a single class
                    peer = Peer(C=1 / ridge, fit_intercept=False, tol=tolerance, max_iter=1000).fit(
                        x[prefix], y[prefix]
                    )
                    logits = x[n:] @ peer.coef_[0]
                    worst = max(worst, abs(-np.mean(np.logaddexp(0, logits) - y[n:] * logits) - row[k]))
                    fits += 1
            seconds = min(seconds, time.perf_counter() - began)
        print(
            f"TMC-Shapley, n = {n}: {1e6 * ours:.1f} µs per fit batched (to 1e-8, first call {first:.1f} s), scikit-learn's "
            f"loop {1e6 * seconds / fits:.0f} µs (tol {tolerance:g}): ×{seconds / fits / ours:.0f}; utilities differ by "
            f"at most {worst:.1e}"
        )


def kernel(repeats: int) -> None:
    """A 3-neuron network on n points: all kernels by one adjoint solve, against n forward sensitivities."""
    for n in (20, 100):
        data = datasets.teacher_student(n=n)
        problem = Problem(MLP(width=3), data, delete=0)
        theta0, t1 = problem.initial(0), 20.0
        grid = jnp.linspace(-2, 2, 50)[:, None]
        target = jnp.asarray(datasets.teacher(3)(np.asarray(grid[:, 0])))

        def query(theta, problem=problem, grid=grid, target=target):
            return jnp.mean((problem.predict(theta, grid) - target) ** 2)[None]

        options = {"t1": t1, "solver": "rodas5p", "rtol": 1e-8, "atol": 1e-10}

        def adjoint(problem=problem, theta0=theta0, query=query, options=options, t1=t1):
            return flow_influence_kernel(problem, theta0, ts=[0.0, t1], queries=query, **options)

        def forward(problem=problem, theta0=theta0, options=options, t1=t1, n=n):
            ends = [sensitivity(problem.deleting(j), Constant(1.0), theta0, ts=[t1], **options) for j in range(n)]
            return jnp.stack([end.sensitivities[0] for end in ends])

        def removal(adjoint=adjoint):
            return adjoint().removal

        found, each = adjoint(), forward()
        gradient = jax.grad(lambda theta, query=query: query(theta)[0])(found.theta1)
        reference = -each @ gradient
        error = float(jnp.max(jnp.abs(found.removal[0, 0] - reference)) / jnp.max(jnp.abs(reference)))
        fast, slow = best_of(removal, repeats), best_of(forward, 1)
        print(
            f"flow kernel, n = {n}: one adjoint pass {1e3 * fast:.0f} ms, {n} sensitivities {1e3 * slow:.0f} ms: "
            f"×{slow / fast:.0f} (n/4 = {n / 4:g}); they differ by {error:.1e}"
        )


def bayesian(repeats: int) -> None:
    """Correlation and slope against the closed form, and gradients per second."""
    problem = Problem(LinearRegression(), datasets.random_linear(40, 5), delete=0)
    theta = optimum(problem).theta
    beta, gamma = 1.0, 1.0
    truth = np.ravel(gaussian_bayesian_influence(problem, theta, inverse_temperature=beta, localisation=gamma))
    for method in ("langevin", "sgld"):

        def job(method=method):
            return bayesian_influence(
                problem, theta, inverse_temperature=beta, localisation=gamma, draws=4000, chains=4, method=method
            )

        def influence(job=job):
            return job().influence

        found = job()
        values = np.ravel(found.influence)
        seconds = best_of(influence, min(repeats, 2))
        print(
            f"Bayesian influence ({method}), 16,000 draws: correlation {np.corrcoef(values, truth)[0, 1]:.5f}, slope "
            f"{values @ truth / (truth @ truth):.4f}, R̂ ≤ {found.rhat:.4f}, effective sample size ≥ {found.ess:.0f}, "
            f"{seconds:.1f} s"
        )


def game(kind: str, rng: np.random.Generator, n: int = 6):
    """v of the masks (m, n) of a random game, vectorised. `rare`: most of the worth comes with the last two points."""
    bits, sizes = 1 << np.arange(n), np.bitwise_count(np.arange(1 << n))
    masks = (np.arange(1 << n)[:, None] >> np.arange(n)) % 2
    if kind == "random":
        table = rng.standard_normal(1 << n)
    elif kind == "saturating":
        table = 1 - np.exp(-masks @ rng.exponential(0.7, n))
    elif kind == "rare":
        table = (sizes == n) + 0.5 * (sizes >= n - 1) * rng.random(1 << n)
    elif kind == "voting":
        weight = rng.exponential(1.0, n)
        table = (masks @ weight > 0.6 * weight.sum()).astype(float)
    else:  # ridge regression on few points: the first ones gain much, the later ones little
        x, target = rng.standard_normal((n + 20, 2)), rng.standard_normal(n + 20)
        target += x @ np.array([1.0, -2.0])
        table = np.empty(1 << n)
        for row, mask in enumerate(masks.astype(bool)):
            inside = x[:n][mask]
            theta = np.linalg.solve(inside.T @ inside + 0.1 * np.eye(2), inside.T @ target[:n][mask])
            table[row] = -0.5 * np.mean((x[n:] @ theta - target[n:]) ** 2)
    return lambda rows: table[np.asarray(rows) @ bits]


def games(_: int) -> None:
    """Five kinds of games, 100 of each; ±`stop_width` is 0.2 or 0.5 of the range of the game's exact values."""
    for batch in (10, 50):
        inside: dict[str, list] = {}
        permutations, stopped = [], 0
        for seed in range(500):
            kind = ("random", "saturating", "rare", "voting", "regression")[seed % 5]
            value = game(kind, np.random.default_rng([seed, 0]))
            exact = exact_shapley(value, 6, vectorised=True)
            found = truncated_monte_carlo_shapley(
                value, 6, permutations=3000, truncation=0.0, stop_change=None, batch_size=batch, seed=seed, vectorised=True,
                stop_width=(0.2, 0.5)[seed // 5 % 2] * max(np.ptp(exact), np.abs(exact).mean()),
            )  # fmt: skip
            interval = found.interval()
            inside.setdefault(kind, []).append((interval[:, 0] <= exact) & (exact <= interval[:, 1]))
            permutations.append(found.permutations)
            stopped += found.converged
        each = ", ".join(f"{kind} {np.mean(rows):.3f}" for kind, rows in inside.items())
        total, worst = (
            np.mean(list(inside.values())),
            np.mean([np.all(row) for rows in inside.values() for row in rows]),
        )
        print(
            f"TMC-Shapley with stop_width, looks every {batch}: 95 % intervals hold {total:.4f} of 3000 exact values "
            f"({each}); all six in {worst:.3f} of 500 games; {stopped} stopped, after {np.median(permutations):.0f} "
            "permutations in the median"
        )


CASES: tuple[tuple[str, dict], ...] = (
    ("mala", {}),
    ("langevin", {}),
    ("langevin", {"step": 0.6, "thin": 5}),
    ("sgld", {}),
    ("sgld", {"step": 0.3, "thin": 8}),
    ("sgld", {"batch_size": 50}),
    ("sgld", {"batch_size": 10, "step": 0.03, "thin": 50}),
    ("sgld", {"batch_size": 10}),
    ("sgld", {"batch_size": 10, "step": 0.2, "thin": 12}),
    ("sgld", {"batch_size": 10, "step": 0.2, "thin": 12, "draws": 2000}),
)


def coverage(_: int, cases=CASES) -> None:
    """Least squares on 100 points with 5 features, 600 draws on each of 4 chains where not said, 10 queries; 6 data sets each."""
    for method, options in cases:
        inside, sizes, seconds = [], [], time.perf_counter()
        for seed in range(6):
            problem = Problem(LinearRegression(), datasets.random_linear(100, 5, seed=seed), delete=0)
            theta, asked = optimum(problem).theta, datasets.random_linear(10, 5, seed=100 + seed)
            truth = np.asarray(
                gaussian_bayesian_influence(problem, theta, inverse_temperature=1.0, localisation=1.0, queries=asked)
            )
            found = bayesian_influence(
                problem, theta, seed=seed, method=method, inverse_temperature=1.0, localisation=1.0, queries=asked,
                **{"draws": 600, **options},
            )  # fmt: skip
            interval = found.interval()
            inside.append(np.mean((interval[..., 0] <= truth) & (truth <= interval[..., 1])))
            sizes.append(np.mean(np.ptp(interval, axis=-1)) / 2 / np.abs(truth).max())
        print(
            f"Bayesian influence ({method}, {options or 'defaults'}): 95 % intervals hold {np.mean(inside):.3f} of the closed "
            f"form's values, ±{np.mean(sizes):.2g} of the largest wide; R̂ ≤ {found.rhat:.3f}, {found.gradients} gradients, "
            f"{(time.perf_counter() - seconds) / 6:.1f} s"
        )


def main() -> None:
    sections = {"tmc": tmc, "kernel": kernel, "bayesian": bayesian, "games": games, "coverage": coverage}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=tuple(sections), help="run one section")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each of ours; the shortest counts")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # scikit-learn warns about its own options
    for name in [options.only] if options.only else sections:
        sections[name](options.repeats)


if __name__ == "__main__":
    main()
