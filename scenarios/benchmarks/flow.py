"""Speed and accuracy of the flow engines beside SciPy, as ratios in one run: `python -m homotopy.scenarios.benchmarks.flow`.

Every comparison solves the same instances to the same error on the same machine, one after the other. SciPy's gradient
is NumPy for linear regression and jitted JAX for the network: what a careful user would write. Compile times are
given apart.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp

from homotopy import (
    MLP,
    BangBang,
    Dataset,
    LinearRegression,
    Problem,
    datasets,
    simulate,
    surface,
)


def best_of(job: Callable[[], Any], repeats: int) -> float:
    """The shortest of several runs, in seconds (the least disturbed one)."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        jax.block_until_ready(jax.tree.leaves(job()))
        times.append(time.perf_counter() - began)
    return min(times)


def compile_time(job: Callable[[], Any], seconds: float) -> float:
    """What a first call costs beyond a later one."""
    jax.clear_caches()
    began = time.perf_counter()
    jax.block_until_ready(jax.tree.leaves(job()))
    return time.perf_counter() - began - seconds


def loosest(solve: Callable[[float], np.ndarray], reference: np.ndarray, error: float) -> tuple[float, float, float]:
    """SciPy's time, error and rtol at the loosest rtol (steps of √10) with at most this error, or at 1e-13."""
    for exponent in np.arange(4.0, 13.5, 0.5):
        rtol = 10.0**-exponent
        began = time.perf_counter()
        answer = solve(rtol)
        seconds = time.perf_counter() - began
        reached = float(np.abs(answer - reference).max())
        if reached <= error:
            break
    return seconds, reached, rtol


def exact_against_scipy() -> None:
    print("\nexact engine against solve_ivp (DOP853, rtol 1e-12), bang-bang schedule, solved arc by arc")
    for d in (2, 10):
        data = datasets.random_linear(n=40, d=d, seed=d)
        problem = Problem(LinearRegression(), data, delete=3)
        theta0 = problem.initial(0)
        switches = [0.02, 0.05, 0.11]
        ours = simulate(problem, BangBang(switches), theta0, t1=0.3).theta1
        hessians = [np.asarray(problem.hessian(theta0, e)) for e in (0.0, 1.0)]
        drives = [-np.asarray(problem.gradient(jnp.zeros(d), e)) for e in (0.0, 1.0)]
        y, edges = np.asarray(theta0), [0.0, *switches, 0.3]
        for k in range(4):
            h, b = hessians[1 - k % 2], drives[1 - k % 2]
            span = (edges[k], edges[k + 1])
            y = solve_ivp(lambda t, y, h=h, b=b: b - h @ y, span, y, method="DOP853", rtol=1e-12, atol=1e-14).y[:, -1]
        print(f"  d = {d:2d}: largest difference {np.abs(np.asarray(ours) - y).max():.1e}")


def diffrax_against_exact() -> None:
    print("\nDiffrax engine against the exact engine: error / (rtol·‖θ‖), which should stay below 10")
    problem = Problem(LinearRegression(), datasets.random_linear(n=40, d=5, seed=1), delete=3)
    theta0 = problem.initial(0)
    exact = np.asarray(simulate(problem, BangBang([0.02, 0.05, 0.11]), theta0, t1=1.0).thetas)
    size = np.linalg.norm(exact, axis=1).max()
    for solver in ("tsit5", "rodas5p"):
        row = []
        for rtol in 10.0 ** -np.arange(4.0, 11.0):
            ours = simulate(
                problem, BangBang([0.02, 0.05, 0.11]), theta0, t1=1.0, method="diffrax", solver=solver, rtol=rtol,
                atol=1e-2 * rtol,
            )  # fmt: skip
            row.append(np.linalg.norm(np.asarray(ours.thetas) - exact, axis=1).max() / (rtol * size))
        print(f"  {solver:8s} rtol 1e-4 … 1e-10: " + "  ".join(f"{value:.2f}" for value in row))


def many_linear(repeats: int, count: int = 256) -> None:
    d = 10
    source = datasets.random_linear(n=100, d=d, seed=0)
    data = Dataset(np.asarray(source.x) * np.geomspace(1.0, np.sqrt(10.0), d), source.y)  # covariance condition ≈ 10
    problem = Problem(LinearRegression(), data, delete=3)
    theta0 = np.asarray(problem.initial(0))
    hessian0 = np.asarray(problem.hessian(theta0, 0.0))
    t1 = 10.0 / np.linalg.eigvalsh(hessian0)[0]
    ts, epsilons = np.linspace(0.0, t1, 200), np.linspace(0.0, 1.0, count)

    def ours():
        return surface(problem, epsilons, theta0, ts=ts).thetas

    x, y = np.asarray(problem.data.x), np.asarray(problem.data.y)
    j = 3
    drive0 = x.T @ y - x[j] * y[j]

    def lsoda(rtol):
        out = np.empty((count, 200, d))
        for row, epsilon in enumerate(epsilons):
            h = hessian0 + epsilon * np.outer(x[j], x[j])
            b = drive0 + epsilon * x[j] * y[j]
            out[row] = solve_ivp(
                lambda t, theta, h=h, b=b: b - h @ theta, (0, t1), theta0, "LSODA", ts, rtol=rtol, atol=1e-2 * rtol
            ).y.T
        return out

    jax.block_until_ready(ours())
    seconds = best_of(ours, repeats)
    compiled = compile_time(ours, seconds)
    theirs, error, rtol = loosest(lsoda, np.asarray(ours()), 1e-10)
    print(f"\n{count} values of ε, linear, d = {d}, T = 10/λ_min, 200 saved times")
    print(f"  exact engine {seconds * 1e3:8.2f} ms (compile {compiled:.2f} s)")
    print(
        f"  LSODA loop   {theirs * 1e3:8.0f} ms at rtol {rtol:.0e} (error {error:.0e})   ratio {theirs / seconds:.0f}×"
    )


def many_networks(repeats: int, count: int = 64) -> None:
    t1, points = 1000.0, 50
    problem = Problem(MLP(width=3), datasets.teacher_student(seed=0), delete=3)
    theta0 = problem.initial(0)
    ts, epsilons = np.linspace(0.0, t1, points), np.linspace(0.0, 1.0, count)

    def ours(rtol=1e-6):
        return surface(problem, epsilons, theta0, ts=ts, rtol=rtol, atol=1e-2 * rtol).thetas

    reference = np.asarray(ours(1e-11))
    error = float(np.abs(np.asarray(ours()) - reference).max())
    seconds = best_of(ours, repeats)
    compiled = compile_time(ours, seconds)
    gradient = jax.jit(lambda theta, epsilon: problem.gradient(theta, epsilon))
    gradient(theta0, 0.5)

    def lsoda(rtol):
        out = np.empty((count, points, problem.dim))
        for row, epsilon in enumerate(epsilons):
            out[row] = solve_ivp(
                lambda t, theta, e=epsilon: -np.asarray(gradient(theta, e)), (0, t1), np.asarray(theta0), "LSODA", ts,
                rtol=rtol, atol=1e-2 * rtol,
            ).y.T  # fmt: skip
        return out

    theirs, reached, rtol = loosest(lsoda, reference, error)
    print(f"\n{count} values of ε, 3-neuron network, 20 points, T = {t1:g}, rtol 1e-6")
    print(f"  Rodas5P      {seconds:8.3f} s, error {error:.1e} (compile {compiled:.2f} s)")
    print(
        f"  LSODA loop   {theirs:8.2f} s, error {reached:.1e} (rtol {rtol:.0e}, jitted gradient)   "
        f"ratio {theirs / seconds:.0f}×"
    )


def scaling(repeats: int) -> None:
    print("\ncost of the Diffrax engine: one step of a surface, per point and per ε (Tsit5, linear d = 5)")
    for n, count in ((20, 64), (200, 64), (2000, 64), (20000, 64), (2000, 16), (2000, 256)):
        source = datasets.random_linear(n=n, d=5, seed=0)
        # The same spectrum at every n, so that the number of steps stays the same.
        data = Dataset(source.x / np.sqrt(n), source.y / np.sqrt(n))
        problem = Problem(LinearRegression(), data, delete=3)
        theta0 = problem.initial(0)

        def job(problem=problem, theta0=theta0, count=count):
            return surface(
                problem, np.linspace(0, 1, count), theta0, ts=[0.0, 50.0], method="diffrax", solver="tsit5", rtol=1e-8
            )

        steps = int(np.asarray(job().stats["accepted_steps"]).max())
        seconds = best_of(job, repeats) / steps
        print(
            f"  n = {n:6d}, {count:3d} values of ε: {steps} steps, {seconds * 1e6:9.1f} µs a step, "
            f"{seconds / n / count * 1e9:7.2f} ns a step, point and ε"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="runs of each of ours; the shortest counts")
    repeats = parser.parse_args().repeats
    exact_against_scipy()
    diffrax_against_exact()
    many_linear(repeats)
    many_networks(repeats)
    scaling(repeats)


if __name__ == "__main__":
    main()
