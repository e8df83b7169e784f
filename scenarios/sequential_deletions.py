"""Hundreds of deletions one after the other: how errors and budgets accumulate, and when retraining is forced.

Logistic regression on real data. After every request D2D descends for I more steps, R2D goes back to its checkpoint for K,
and certified removal takes one Newton step; the exact optimum without the points is computed beside them every time.
"""

from dataclasses import dataclass
from typing import Annotated

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from homotopy import (
    Dataset,
    LogisticRegression,
    Problem,
    RequestError,
    certified_removal,
    datasets,
    delete_in_sequence,
    estimate_constants,
    rewind_to_delete_sensitivity,
    solve_weighted,
)
from homotopy.run import Progress, Range, RunResult, Seed, check
from homotopy.viz import FULL, INK, RETAINED, SERIES


@dataclass(frozen=True)
class Settings:
    """Which points are deleted, and what each algorithm may spend."""

    data: str = "breast_cancer"
    """data set with labels 0 and 1"""
    deletions: Annotated[int, Range(least=1, most=10_000)] = 300
    """points deleted, one request each, in random order"""
    ridge: Annotated[float, Range(least=1e-9, most=1e3)] = 0.001
    """ρ/n"""
    train_steps: Annotated[int, Range(least=2, most=10**6)] = 1000
    """T"""
    descend_steps: Annotated[int, Range(least=1, most=10**6)] = 10
    """I of D2D, after each request"""
    rewind_steps: Annotated[int, Range(least=1, below="train_steps")] = 40
    """K of R2D"""
    sensitivity: Annotated[int, Range(least=1, most=10_000)] = 40
    """deletions that R2D's noise is made for; the next one forces retraining"""
    privacy_epsilon: Annotated[float, Range(least=1e-3, most=1e3)] = 1.0
    """budget of certified removal"""
    privacy_delta: Annotated[float, Range(least=1e-15, most=0.1)] = 1e-4
    """budget of certified removal"""
    perturbation: Annotated[float, Range(above=0, most=1e6)] = 3.0
    """σ of the random linear term of certified removal (on the sum R)"""
    seed: Seed = 0
    """order of the deletions, and the random term"""


QUICK = Settings(deletions=24, train_steps=120, rewind_steps=30, sensitivity=9, perturbation=1.0)


def run(settings: Settings, progress: Progress) -> RunResult:
    """Delete, measure every model against the exact optimum, draw."""
    check(settings)
    whole = datasets.load(settings.data)
    if set(np.unique(whole.y)) != {0.0, 1.0}:
        raise RequestError(f"--data must have labels 0 and 1, but {settings.data} has {len(np.unique(whole.y))} values")
    if settings.deletions > whole.n - 11:
        raise RequestError(
            f"--deletions must be at most {whole.n - 11} for {settings.data}, but is {settings.deletions}"
        )
    data = _scaled(whole)
    rng = np.random.default_rng(settings.seed)
    points = rng.permutation(data.n)[: settings.deletions]
    problem = Problem(LogisticRegression(), data, delete=points, ridge=settings.ridge * data.n)
    known = estimate_constants(problem)
    step = 2.0 / (data.n * (known.smoothness + (known.strong_convexity or 0.0)))
    reach = rewind_to_delete_sensitivity(
        data.n, settings.sensitivity, known.lipschitz, known.smoothness, data.n * step, settings.train_steps,
        settings.rewind_steps, known.strong_convexity,
    )  # fmt: skip
    theta0 = np.zeros(problem.dim)
    with progress.task("deletions", 4) as advance:
        descended = delete_in_sequence(
            problem, theta0, points, step=step, train_steps=settings.train_steps, unlearn_steps=settings.descend_steps
        )
        advance(1)
        rewound = delete_in_sequence(
            problem, theta0, points, algorithm="rewind", step=step, train_steps=settings.train_steps,
            unlearn_steps=settings.rewind_steps, sensitivity=reach * (1 + 1e-12),
        )  # fmt: skip
        advance(1)
        certified = certified_removal(
            problem, points, perturbation=settings.perturbation, privacy_epsilon=settings.privacy_epsilon,
            privacy_delta=settings.privacy_delta, key=settings.seed,
        )  # fmt: skip
        advance(1)
        alive = np.ones((settings.deletions, data.n))
        for request, point in enumerate(points):
            alive[request:, point] = 0.0
        optima, slopes = _optima(problem, jnp.asarray(alive), descended.trained)
        advance(1)
    exact = np.asarray(optima)
    start = np.asarray(solve_weighted(problem, jnp.ones(data.n), descended.trained)[0])
    errors = {
        "D2D": np.linalg.norm(np.asarray(descended.thetas) - exact, axis=1),
        "R2D": np.linalg.norm(np.asarray(rewound.thetas) - exact, axis=1),
        "doing nothing": np.linalg.norm(start[None, :] - exact, axis=1),
    }
    residuals = certified.residuals
    figure = _draw(settings, errors, descended, rewound, certified, residuals, reach)
    forced = int(rewound.retrained.sum()), int(certified.retrained.sum())
    spent = {"D2D": descended.gradient_evaluations.sum(), "R2D": rewound.gradient_evaluations.sum()}
    always = settings.train_steps * settings.deletions
    summary = (
        f"{settings.deletions} of {data.n} points of {settings.data} deleted one at a time (ρ/n = {settings.ridge:g}); the exact "
        f"optima are stationary to {float(jnp.max(slopes)):.1e} and move by {errors['doing nothing'][-1]:.3g} in all\n"
        f"D2D, {settings.descend_steps} steps a request: error {errors['D2D'].max():.2e} at most, bound "
        f"{descended.bounds.max():.2e}, broken {int((errors['D2D'] > descended.bounds * (1 + 1e-9)).sum())} times; "
        f"{spent['D2D']:g} gradients, {always / spent['D2D']:.1f} times fewer than retraining each time\n"
        f"R2D, {settings.rewind_steps} of {settings.train_steps} steps: error {errors['R2D'].max():.2e} at most (of which "
        f"training for T steps leaves {np.linalg.norm(np.asarray(descended.trained) - start):.1e}); {forced[0]} of "
        f"{settings.deletions} requests forced retraining; {spent['R2D']:g} gradients, {always / spent['R2D']:.1f} times fewer\n"
        f"certified removal at ({settings.privacy_epsilon:g}, {settings.privacy_delta:g}), σ = {settings.perturbation:g}, "
        f"by the paper's count: {forced[1]} retrained; residual booked per removal "
        f"{np.median(certified.bounds):.1e} in the median, true "
        f"residual {np.median(residuals / certified.used):.1%} of what is booked"
    )
    dimension = "request"
    records = {f"error_{name.replace(' ', '_')}": (dimension, values) for name, values in errors.items()}
    records |= {
        "bound_D2D": (dimension, descended.bounds), "bound_R2D": (dimension, rewound.bounds),
        "retrained_R2D": (dimension, rewound.retrained), "retrained_certified": (dimension, certified.retrained),
        "residual": (dimension, residuals), "residual_booked": (dimension, certified.used), "point": (dimension, points),
    }  # fmt: skip
    facts = {
        "allowed": certified.allowed, "reach": reach,
        "broken_bounds": int((errors["D2D"] > descended.bounds * (1 + 1e-9)).sum()),
        "broken_residuals": int((residuals > certified.used * (1 + 1e-9) + 1e-9).sum()),
    }  # fmt: skip
    return RunResult(
        figures={"sequential_deletions": figure},
        data=xr.Dataset(records, attrs=facts),
        summary=summary,
        datasets=(data,),
        result_codes={"successful": settings.deletions},
    )


def _scaled(data: Dataset) -> Dataset:
    """With an intercept, and every row in the unit ball: so that G ≤ 1."""
    x = np.column_stack([np.asarray(data.x), np.ones(data.n)])
    return Dataset(x / np.linalg.norm(x, axis=1).max(), data.y, name=data.name)


@eqx.filter_jit
def _optima(problem: Problem, alive: jax.Array, start: jax.Array):
    def one(weights):
        return solve_weighted(problem, weights, start)

    return jax.lax.map(one, alive, batch_size=16)


def _draw(settings, errors, descended, rewound, certified, residuals, reach):
    requests = np.arange(1, settings.deletions + 1)
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(15.5, 4.6), layout="constrained")
    for (name, values), color in zip(errors.items(), (FULL, RETAINED, INK), strict=True):
        left.semilogy(requests, np.maximum(values, 1e-12), color=color, lw=1.5, label=name)
    left.semilogy(requests, descended.bounds, "--", color=FULL, lw=1.0, label="D2D: bound")
    left.set(xlabel="deletions so far", ylabel="‖θ − exact optimum without the points‖")
    left.set_title(
        f"D2D forgets as fast as requests come: {errors['D2D'][-1]:.1e} after the last"
        if errors["D2D"][-1] < 3 * np.median(errors["D2D"][: max(3, settings.deletions // 10)])
        else f"D2D's error grows to {errors['D2D'][-1]:.1e}",
        fontsize=10.5,
    )
    left.legend(fontsize=8.5)
    middle.semilogy(requests, certified.used, color=SERIES[2], lw=1.5, label="certified removal: residual booked")
    middle.semilogy(requests, np.maximum(residuals, 1e-12), color=SERIES[2], lw=0.9, alpha=0.6, label="… true residual")
    middle.axhline(certified.allowed, color=SERIES[2], ls="--", lw=1.0, label="… allowed by the budget")
    shown = np.where(rewound.bounds > 0, rewound.bounds, np.nan)
    middle.semilogy(requests, shown, color=RETAINED, lw=1.5, label="R2D: sensitivity Δ in θ")
    middle.axhline(reach, color=RETAINED, ls="--", lw=1.0, label="… that its noise hides")
    low = min(float(np.nanmin(shown)), float(np.median(residuals)))
    middle.set(xlabel="deletions so far", ylabel="used (gradient norm / distance in θ)", ylim=(0.03 * low, None))
    middle.set_title(
        f"forced to retrain: R2D {int(rewound.retrained.sum())} times, certified removal {int(certified.retrained.sum())}",
        fontsize=10.5,
    )
    middle.legend(fontsize=8)
    right.plot(requests, settings.train_steps * requests, color=INK, lw=1.5, label="retraining every time")
    right.plot(
        requests, np.cumsum(rewound.gradient_evaluations), color=RETAINED, lw=1.5, label="R2D, retraining when forced"
    )
    right.plot(requests, np.cumsum(descended.gradient_evaluations), color=FULL, lw=1.5, label="D2D")
    right.set(xlabel="deletions so far", ylabel="gradients of the whole risk spent", yscale="log")
    ratio = settings.train_steps * settings.deletions / descended.gradient_evaluations.sum()
    right.set_title(f"D2D spends {ratio:.0f} times less than retraining", fontsize=10.5)
    right.legend(fontsize=8.5)
    return figure
