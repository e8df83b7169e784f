"""Hundreds of deletions one after the other: how errors and budgets accumulate, and when retraining is forced.

Logistic regression on real data. After every request D2D descends for I more steps, R2D goes back to its checkpoint for K,
and certified removal takes one Newton step; the exact optimum without the points is computed beside them every time.
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

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
from homotopy.run import Progress, Range, Seed, check, record
from homotopy.viz import FULL, INK, RETAINED, SERIES, panels


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


def compute(settings: Settings, progress: Progress) -> xr.Dataset:
    """What is left of the deleted points after every request, what each algorithm books for it, and what it spends."""
    check(settings)
    data = _data(settings)
    points = np.random.default_rng(settings.seed).permutation(data.n)[: settings.deletions]
    problem = Problem(LogisticRegression(), data, delete=points, ridge=settings.ridge * data.n)
    known = estimate_constants(problem)
    step = 2.0 / (data.n * (known.smoothness + (known.strong_convexity or 0.0)))
    reach = rewind_to_delete_sensitivity(
        data.n, settings.sensitivity, known.lipschitz, known.smoothness, data.n * step, settings.train_steps,
        settings.rewind_steps, known.strong_convexity,
    )  # fmt: skip
    delete = partial(
        delete_in_sequence, problem, np.zeros(problem.dim), points, step=step, train_steps=settings.train_steps
    )
    with progress.task("deletions", 4) as advance:
        descended = delete(unlearn_steps=settings.descend_steps)
        advance(1)
        rewound = delete(algorithm="rewind", unlearn_steps=settings.rewind_steps, sensitivity=reach * (1 + 1e-12))
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
    start = solve_weighted(problem, jnp.ones(data.n), descended.trained)[0]
    errors = {
        name: np.linalg.norm(np.asarray(thetas - optima), axis=1)
        for name, thetas in (("D2D", descended.thetas), ("R2D", rewound.thetas), ("doing_nothing", start[None, :]))
    }
    records = {
        **{f"error_{name}": error for name, error in errors.items()},
        "bound_D2D": descended.bounds, "bound_R2D": rewound.bounds,
        "gradients_D2D": descended.gradient_evaluations, "gradients_R2D": rewound.gradient_evaluations,
        "retrained_R2D": rewound.retrained, "retrained_certified": certified.retrained, "residual": certified.residuals,
        "residual_booked": certified.used, "residual_bound": certified.bounds, "point": points,
    }  # fmt: skip
    facts = {
        "points": data.n, "allowed": certified.allowed, "reach": reach, "slope": float(jnp.max(slopes)),
        "untrained": float(jnp.linalg.norm(descended.trained - start)),
        "broken_bounds": int((errors["D2D"] > descended.bounds * (1 + 1e-9)).sum()),
        "broken_residuals": int((certified.residuals > certified.used * (1 + 1e-9) + 1e-9).sum()),
    }  # fmt: skip
    found = xr.Dataset({name: ("request", values) for name, values in records.items()}, attrs=facts)
    return record(found, data, codes={"successful": settings.deletions})


def _data(settings: Settings) -> Dataset:
    """With an intercept, and every row in the unit ball: so that G ≤ 1."""
    data = datasets.load(settings.data)
    if set(np.unique(data.y)) != {0.0, 1.0}:
        raise RequestError(f"--data must have labels 0 and 1, but {settings.data} has {len(np.unique(data.y))} values")
    most = data.n - 11
    if settings.deletions > most:
        raise RequestError(f"--deletions must be at most {most} for {settings.data}, but is {settings.deletions}")
    x = np.column_stack([np.asarray(data.x), np.ones(data.n)])
    return Dataset(x / np.linalg.norm(x, axis=1).max(), data.y, name=data.name)


@eqx.filter_jit
def _optima(problem: Problem, alive: jax.Array, start: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jax.lax.map(lambda weights: solve_weighted(problem, weights, start), alive, batch_size=16)


def draw(data: xr.Dataset, settings: Settings) -> dict[str, Figure]:
    """Errors beside the exact optimum, what is used of the budgets, and the gradients spent, request by request."""
    figure, axes = panels(1, 3, width=5.2, height=4.6)
    errors, used, spent = axes[0]
    requests = np.arange(1, settings.deletions + 1)
    for name, color in (("D2D", FULL), ("R2D", RETAINED), ("doing nothing", INK)):
        values = data[f"error_{name.replace(' ', '_')}"].values
        errors.semilogy(requests, np.maximum(values, 1e-12), color=color, lw=1.5, label=name)
    errors.semilogy(requests, data["bound_D2D"], "--", color=FULL, lw=1.0, label="D2D: bound")
    left = data["error_D2D"].values
    early = np.median(left[: max(3, settings.deletions // 10)])
    errors.set(ylabel="‖θ − exact optimum without the points‖")
    errors.set_title(
        f"D2D forgets as fast as requests come: {left[-1]:.1e} after the last"
        if left[-1] < 3 * early
        else f"D2D's error grows to {left[-1]:.1e}"
    )
    _draw_budgets(used, requests, data)
    spent.plot(requests, settings.train_steps * requests, color=INK, lw=1.5, label="retraining every time")
    for name, color, label in (("R2D", RETAINED, "R2D, retraining when forced"), ("D2D", FULL, "D2D")):
        spent.plot(requests, np.cumsum(data[f"gradients_{name}"].values), color=color, lw=1.5, label=label)
    spent.set(ylabel="gradients of the whole risk spent", yscale="log")
    spent.set_title(f"D2D spends {_saved(data, settings, 'D2D'):.0f} times less than retraining")
    for ax in axes[0]:
        ax.set_xlabel("deletions so far")
        ax.legend()
    return {"sequential_deletions": figure}


def _draw_budgets(ax: Axes, requests: np.ndarray, data: xr.Dataset) -> None:
    residuals, bounds = data["residual"].values, data["bound_R2D"].values
    shown = np.where(bounds > 0, bounds, np.nan)
    green: Any = {"color": SERIES[2]}
    ax.semilogy(requests, data["residual_booked"], lw=1.5, label="certified removal: residual booked", **green)
    ax.semilogy(requests, np.maximum(residuals, 1e-12), lw=0.9, alpha=0.6, label="… true residual", **green)
    ax.axhline(data.attrs["allowed"], ls="--", lw=1.0, label="… allowed by the budget", **green)
    ax.semilogy(requests, shown, color=RETAINED, lw=1.5, label="R2D: sensitivity Δ in θ")
    ax.axhline(data.attrs["reach"], color=RETAINED, ls="--", lw=1.0, label="… that its noise hides")
    low = min(float(np.nanmin(shown)), float(np.median(residuals)))
    ax.set(ylabel="used (gradient norm / distance in θ)", ylim=(0.03 * low, None))
    forced = [int(data[f"retrained_{name}"].sum()) for name in ("R2D", "certified")]
    ax.set_title(f"forced to retrain: R2D {forced[0]} times, certified removal {forced[1]}")


def _saved(data: xr.Dataset, settings: Settings, name: str) -> float:
    """How many times fewer gradients than retraining after every request."""
    return settings.train_steps * settings.deletions / float(data[f"gradients_{name}"].sum())


def tell(data: xr.Dataset, settings: Settings) -> str:
    """Errors and bounds, gradients, forced retrainings, and how much of what certified removal books is used."""
    worst = {name: float(data[f"error_{name}"].max()) for name in ("D2D", "R2D")}
    forced = {name: int(data[f"retrained_{name}"].sum()) for name in ("R2D", "certified")}
    spent = {name: float(data[f"gradients_{name}"].sum()) for name in worst}
    return (
        f"{settings.deletions} of {data.attrs['points']} points of {settings.data} deleted one at a time (ρ/n = "
        f"{settings.ridge:g}); the exact optima are stationary to {data.attrs['slope']:.1e} and move by "
        f"{float(data['error_doing_nothing'][-1]):.3g} in all\n"
        f"D2D, {settings.descend_steps} steps a request: error {worst['D2D']:.2e} at most, bound "
        f"{float(data['bound_D2D'].max()):.2e}, broken {data.attrs['broken_bounds']} times; "
        f"{spent['D2D']:g} gradients, {_saved(data, settings, 'D2D'):.1f} times fewer than retraining each time\n"
        f"R2D, {settings.rewind_steps} of {settings.train_steps} steps: error {worst['R2D']:.2e} at most (of which "
        f"training for T steps leaves {data.attrs['untrained']:.1e}); {forced['R2D']} of {settings.deletions} requests forced "
        f"retraining; {spent['R2D']:g} gradients, {_saved(data, settings, 'R2D'):.1f} times fewer\n"
        f"certified removal at ({settings.privacy_epsilon:g}, {settings.privacy_delta:g}), σ = {settings.perturbation:g}, "
        f"by the paper's count: {forced['certified']} retrained; residual booked per removal "
        f"{float(data['residual_bound'].median()):.1e} in the median, true residual "
        f"{float((data['residual'] / data['residual_booked']).median()):.1%} of what is booked"
    )
