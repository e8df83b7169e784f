"""Coupled SGD runs, vmapped over seeds and deleted points, beside loops: `python -m homotopy.scenarios.benchmarks.unlearning`.

The job: R2D and retraining of a logistic model by mini-batch SGD, for every seed and every deleted point, on the same
mini-batches. The NumPy loop does the same arithmetic run by run, the torch loop (if installed) too; both are timed on a
part of the runs and scaled, since every run costs the same. The answers are compared, ratios are taken in one run.
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np

from homotopy import Dataset, LogisticRegression, Problem, coupled_descent, mini_batches


def numpy_run(x, y, rho, theta, batches, point, epsilons, step):
    """One run: every step gathers its mini-batch and moves θ."""
    scale = len(x) / batches.shape[1]
    for rows, epsilon in zip(batches, epsilons, strict=True):
        here = x[rows]
        w = np.where(rows == point, epsilon, 1.0)
        p = 1.0 / (1.0 + np.exp(-(here @ theta)))
        theta = theta - step * (scale * ((w * (p - y[rows])) @ here) + rho * theta)
    return theta


def torch_run(x, y, rho, theta, batches, point, epsilons, step):
    """The same in PyTorch, as a training loop would have it (autograd and all)."""
    import torch

    x, y, rows_of = torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(batches)
    theta = torch.from_numpy(theta.copy()).requires_grad_(True)
    scale = len(x) / batches.shape[1]
    for rows, epsilon in zip(rows_of, epsilons, strict=True):
        w = torch.where(rows == point, epsilon, 1.0)
        logits = x[rows] @ theta
        losses = torch.nn.functional.binary_cross_entropy_with_logits(logits, y[rows], reduction="none")
        risk = scale * (w * losses).sum() + 0.5 * rho * (theta * theta).sum()
        (slope,) = torch.autograd.grad(risk, theta)
        with torch.no_grad():
            theta -= step * slope
    return theta.detach().numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=500)
    parser.add_argument("--d", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=32)
    parser.add_argument("--points", type=int, default=16)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--loops", type=int, default=12, help="runs that the loops are timed on")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    x = rng.standard_normal((options.n, options.d))
    y = (x[:, 0] + rng.standard_normal(options.n) > 0).astype(float)
    problem = Problem(LogisticRegression(), Dataset(x, y), delete=0, ridge=5.0)
    points = rng.choice(options.n, options.points, replace=False)
    theta0 = jnp.asarray(rng.standard_normal((options.seeds, options.d)))
    batches = jnp.stack([mini_batches(seed, options.n, options.steps, options.batch) for seed in range(options.seeds)])
    epsilons = np.zeros((2, options.steps))
    epsilons[0, : options.steps * 3 // 4] = 1.0  # R2D with K = T/4, and retraining
    step = 0.2 / options.n

    def job():
        return jax.block_until_ready(
            coupled_descent(problem, theta0, points[:, None], epsilons, step=step, batches=batches)
        )

    began = time.perf_counter()
    found = np.asarray(job())
    first = time.perf_counter() - began
    times = []
    for _ in range(3):
        began = time.perf_counter()
        job()
        times.append(time.perf_counter() - began)
    ours = min(times)
    runs = options.seeds * options.points * 2
    print(f"{runs} coupled SGD runs of {options.steps} steps, batch {options.batch}, n = {options.n}, d = {options.d}")
    print(
        f"  one scan, vmapped: {ours:.3f} s ({ours / runs / options.steps * 1e9:.0f} ns a step); first call {first:.2f} s"
    )
    loops = [("NumPy loop", numpy_run)]
    try:
        import torch  # noqa: F401

        loops.append(("torch loop", torch_run))
    except ImportError:
        print("  torch is not installed: its loop is left out")
    some = [(s, p, r) for s in range(options.seeds) for p in range(options.points) for r in range(2)]
    some = [some[index] for index in rng.choice(len(some), min(options.loops, len(some)), replace=False)]
    for name, loop in loops:
        began = time.perf_counter()
        ends = [
            loop(x, y, 5.0, np.asarray(theta0[s]), np.asarray(batches[s]), points[p], epsilons[r], step)
            for s, p, r in some
        ]
        seconds = (time.perf_counter() - began) / len(some) * runs
        error = max(np.abs(end - found[s, p, r]).max() for end, (s, p, r) in zip(ends, some, strict=True))
        print(
            f"  {name}: {seconds:.1f} s for as many runs, {seconds / ours:.0f} times slower; largest difference {error:.1e}"
        )


if __name__ == "__main__":
    main()
