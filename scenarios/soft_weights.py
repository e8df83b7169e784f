"""Soft against hard: how much fairness and robustness can be gained for how much utility, by weights or by deletion?

Extramarital affairs (Fair 1978), as shipped with statsmodels: 6366 married women, the label is whether there was an
affair, the sensitive attribute whether the woman calls herself religious. Logistic regression; influences are computed on
a validation set, everything reported is measured on a test set that neither saw.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from matplotlib.figure import Figure

from homotopy import (
    AdversarialLoss,
    Dataset,
    DemographicParity,
    EqualOpportunity,
    LogisticRegression,
    Problem,
    Utility,
    accuracy,
    base_rate,
    hard_removal,
    optimum,
    soft_weights,
    solve_weighted,
)
from homotopy.run import Progress, Range, Seed, check, grid, need, record
from homotopy.viz import FULL, INK, MUTED, RETAINED, panels

METRICS = {
    "parity": "demographic parity gap",
    "opportunity": "equal opportunity gap",
    "robustness": "error under attack",
}
STYLES = {"soft, corrected": (RETAINED, "o-"), "soft, retrained": (RETAINED, "s:"),
          "hard, corrected": (FULL, "o-"), "hard, retrained": (FULL, "s:")}  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """How much is asked of the weights."""

    shares: Annotated[tuple[float, ...], Range(above=0, most=1, entries=1, once=True)] = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
    """parts of the gap (of the attacked loss: of its excess over the clean one) that are to go"""
    utility_tolerance: Annotated[float, Range(least=0, most=10)] = 0.02
    """loss that soft weights may add on the validation set"""
    attack: Annotated[float, Range(above=0, most=10)] = 0.3
    """radius of the attack, in standard deviations of a feature"""
    ridge: Annotated[float, Range(least=1e-6, most=1e6)] = 1.0
    """ρ"""
    splits: Annotated[int, Range(least=1, most=1000)] = 5
    """random splits into training (half), validation and test (a quarter each)"""
    rows: Annotated[int, Range(least=200, most=6366)] = 6366
    """rows of the table that are used"""
    seed: Seed = 0
    """first split"""


QUICK = Settings(shares=(0.3, 0.9), splits=1, rows=1500)


def compute(settings: Settings, progress: Progress) -> xr.Dataset:
    """Metric and accuracy on the test set of every split: of the plain model, and of four others for every share."""
    check(settings)
    need("data", "fair")
    table, group = _affairs(settings.rows)

    def plain(split: int) -> dict[str, Any]:
        problem, theta, _, test = _trained(settings, table, split)
        before = [float(_metric(kind, table, group, test, settings).hard(problem, theta)) for kind in METRICS]
        held = table.subset(test)
        accurate = float(accuracy(problem, theta, held))
        return {"metric_before": ("kind", before), "accuracy_before": accurate, "base_rate": base_rate(held.y)}

    def cell(kind: str, share: float, split: int) -> dict[str, Any]:
        problem, theta, valid, test = _trained(settings, table, split)
        aim, judge = (_metric(kind, table, group, rows, settings) for rows in (valid, test))
        utility = Utility(table.subset(valid))
        part = share
        if kind == "robustness":  # an attacked loss cannot go to 0: ask for a part of what the attack adds
            part = share * (1.0 - float(utility.soft(problem, theta)) / float(aim.soft(problem, theta)))
        soft = soft_weights(problem, theta, aim, utility, share=part, utility_tolerance=settings.utility_tolerance)
        hard = hard_removal(problem, theta, aim, utility, share=part)
        again = [solve_weighted(problem, 1.0 + found.weights, theta)[0] for found in (soft, hard)]
        models = (soft.theta, again[0], hard.theta, again[1])  # in the order of STYLES
        return {
            "metric": ("model", [float(judge.hard(problem, model)) for model in models]),
            "accuracy": ("model", [float(accuracy(problem, model, table.subset(test))) for model in models]),
            "reached": soft.reached / part,
            "deleted": float(jnp.sum(hard.weights != 0)),
        }

    splits = range(settings.splits)
    data = grid({"kind": list(METRICS), "share": settings.shares, "split": splits}, cell, progress, "weights")
    known = int(data["deleted"].notnull().sum())
    codes = {"successful": known, "no weights improve the metric": data["deleted"].size - known}
    data = data.merge(grid({"split": splits}, plain, progress, "plain models"), combine_attrs="drop")
    data = data.assign_coords(model=list(STYLES)).assign_attrs(religious=float(group.mean()))
    return record(data, table, codes=codes)


def _affairs(rows: int) -> tuple[Dataset, np.ndarray]:
    """The table with its label, standardised, an intercept last; and 1 where the woman is religious (3 or 4 of 4)."""
    import importlib

    frame = importlib.import_module("statsmodels.datasets.fair").load_pandas().data
    frame = frame.iloc[np.random.default_rng(0).permutation(len(frame))[:rows]]
    label = (frame["affairs"].to_numpy() > 0).astype(int)
    group = (frame["religious"].to_numpy() >= 3).astype(float)
    x = frame.drop(columns="affairs").to_numpy(dtype=float)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    return Dataset(np.column_stack([x, np.ones(rows)]), label, name="fair"), group


def _trained(settings: Settings, table: Dataset, split: int) -> tuple[Problem, Array, np.ndarray, np.ndarray]:
    """The plain model of a split, and the rows for validation and test."""
    order = np.random.default_rng([settings.seed, split]).permutation(table.n)
    train, valid, test = np.split(order, [table.n // 2, 3 * table.n // 4])
    problem = Problem(LogisticRegression(), table.subset(train), delete=0, ridge=settings.ridge)
    return problem, optimum(problem).theta, valid, test


def _metric(kind: str, table: Dataset, sensitive: np.ndarray, rows: np.ndarray, settings: Settings) -> Any:
    data, group = table.subset(rows), sensitive[rows]
    if kind == "parity":
        return DemographicParity(data.x, group)
    if kind == "opportunity":
        return EqualOpportunity(data.x, data.y, group)
    reach = np.ones(data.features)
    reach[-1] = 0.0  # the intercept is nobody's to attack
    return AdversarialLoss(data, settings.attack, reach)


def _means(data: xr.Dataset, kind: str, model: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Size of the metric and accuracy for every share, over the splits; and which of them are above the base rate: a
    constant predictor is perfectly fair, and no success."""
    here = data.sel(kind=kind, model=model)
    gaps, rights = (abs(here["metric"]).mean("split").values, here["accuracy"].mean("split").values)
    return gaps, rights, rights > float(data["base_rate"].mean())


def _before(data: xr.Dataset, kind: str) -> float:
    return float(abs(data["metric_before"].sel(kind=kind)).mean())


def _best(data: xr.Dataset, kind: str, model: str) -> tuple[float, float]:
    """The smallest gap above the base rate and the accuracy there; (nan, nan) if there is none."""
    gaps, rights, fine = _means(data, kind, model)
    if not fine.any():
        return float("nan"), float("nan")
    best = int(np.argmin(np.where(fine, gaps, np.inf)))
    return float(gaps[best]), float(rights[best])


def draw(data: xr.Dataset, settings: Settings) -> dict[str, Figure]:
    """Accuracy against every metric, as more and more of it is asked for."""
    figure, axes = panels(1, len(METRICS), width=5.3, height=4.9)
    accuracy_before, constant = float(data["accuracy_before"].mean()), float(data["base_rate"].mean())
    for (kind, label), ax in zip(METRICS.items(), axes[0], strict=True):
        words = []
        for model, (color, style) in STYLES.items():
            ax.plot(*_means(data, kind, model)[:2], style, color=color, lw=1.5, ms=4.5, label=model, alpha=0.9)
            gap, right = _best(data, kind, model)
            name, rest = model.split(", ")
            if rest == "corrected":
                known = f"{name} {gap:.3f} at {right:.3f}"
                words.append(known if np.isfinite(gap) else f"{name}: nothing above the base rate")
        before = _before(data, kind)
        ax.plot(before, accuracy_before, "*", color=INK, ms=14, label="plain model")
        ax.axhline(constant, color=MUTED, ls="--", lw=1.2, label="base rate (a constant)")
        ax.set(xlabel=f"{label} on the test set (0 is best)", ylabel="test accuracy")
        best = ", ".join(words)
        ax.set_title(f"{before:.3f} at {accuracy_before:.3f} before; best above the base rate:\n{best}")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    return {"soft_weights": figure}


def tell(data: xr.Dataset, settings: Settings) -> str:
    """How small every metric gets above the base rate, by which weights, at which accuracy."""
    lines = [
        f"fair (statsmodels), {settings.rows} women, sensitive attribute: religious ({data.attrs['religious']:.0%}); "
        f"accuracy of the plain model {float(data['accuracy_before'].mean()):.4f}, base rate "
        f"{float(data['base_rate'].mean()):.4f}, over {settings.splits} splits"
    ]
    for kind, label in METRICS.items():
        words = []
        for model in STYLES:
            gap, right = _best(data, kind, model)
            below = int((~_means(data, kind, model)[2]).sum())
            found = f"{gap:.4f} at accuracy {right:.4f}" if np.isfinite(gap) else "nothing above the base rate"
            words.append(f"{model} {found}" + (f" ({below} shares not above the base rate)" if below else ""))
        gone = float(data["deleted"].sel(kind=kind).isel(share=-1).median())
        lines.append(
            f"{label}: {_before(data, kind):.4f} before; best {'; '.join(words)}; deletion takes {gone:.0f} points at the last "
            "share"
        )
    return "\n".join(lines)
