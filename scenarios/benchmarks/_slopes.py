"""How the closed forms of linear regression grow with n: the slope of log time by log n, 1 where they are linear."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from homotopy import Dataset, LinearRegression, Problem, endpoints

from .flow import best_of

SIZES = (2_500, 5_000, 10_000, 20_000, 40_000)
FEATURES, QUERIES = 5, 16
# A closed form that is linear in n may be this steep, for the caches that the larger sizes leave.
STEEPEST = 1.1
PEER = "all leave-one-out, NumPy"


def jobs(problem: Problem, queries: Dataset) -> dict[str, Callable[[], Any]]:
    """Every endpoint and influence that has a closed form linear in n."""
    return {
        "optimum": lambda: endpoints.optimum(problem),
        "leave_one_out": lambda: endpoints.leave_one_out(problem),
        "leave_one_out_all": lambda: endpoints.leave_one_out_all(problem),
        "leave_one_out_proof": lambda: endpoints.leave_one_out_proof(problem),
        "leverage": lambda: endpoints.leverage(problem),
        "cooks_distance": lambda: endpoints.cooks_distance(problem),
        "influence": lambda: endpoints.influence(problem),
        "corrected_influence": lambda: endpoints.corrected_influence(problem),
        "newton_estimate": lambda: endpoints.newton_estimate(problem),
        "self_influence": lambda: endpoints.self_influence(problem),
        f"influence_matrix, {QUERIES} queries": lambda: endpoints.influence_matrix(problem, queries),
        "weight_jacobian": lambda: endpoints.weight_jacobian(problem),
        "response": lambda: endpoints.response(problem, linearised=True),
        "pbrf": lambda: endpoints.pbrf(problem, np.zeros(problem.dim), damping=0.1),
    }


def by_hand(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """All leave-one-out optima in NumPy: θ* − H⁻¹x_i e_i/(1 − P_ii)."""
    q, r = np.linalg.qr(x)
    theta = np.linalg.solve(r, q.T @ y)
    scaled = (y - x @ theta) / (1.0 - np.sum(q**2, axis=1))
    return theta - np.linalg.solve(r, (q * scaled[:, None]).T).T


def slopes(repeats: int, sizes: tuple[int, ...] = SIZES) -> None:
    """Times at every size, their slope, and the NumPy line beside all leave-one-out optima."""
    print(
        f"\nseconds by n at d = {FEATURES} (linear regression), and the slope of log time by log n (at most {STEEPEST})"
    )
    print(f"  {'':30s}" + "".join(f"{n:>10d}" for n in sizes) + "     slope")
    seconds: dict[str, list[float]] = {}
    error = 0.0
    for n in sizes:
        rng = np.random.default_rng(n)
        x = rng.standard_normal((n, FEATURES))
        y = x @ np.arange(FEATURES) + rng.standard_normal(n)
        problem = Problem(LinearRegression(), Dataset(x, y), delete=0)
        for name, job in jobs(problem, Dataset(x[:QUERIES], y[:QUERIES])).items():
            job()  # compiles
            seconds.setdefault(name, []).append(best_of(job, repeats))
        seconds.setdefault(PEER, []).append(best_of(partial(by_hand, x, y), repeats))
        error = max(error, float(np.abs(np.asarray(endpoints.leave_one_out_all(problem)) - by_hand(x, y)).max()))
    for name, times in seconds.items():
        slope = np.polyfit(np.log(sizes), np.log(times), 1)[0]
        flag = "   STEEP" if slope > STEEPEST and name != PEER else ""
        print(f"  {name:30s}" + "".join(f"{value:10.4f}" for value in times) + f"{slope:10.2f}{flag}")
    print(f"  leave_one_out_all beside NumPy: largest difference {error:.1e}")
