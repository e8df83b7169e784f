"""Soft against hard: how much fairness and robustness can be gained for how much utility, by weights or by deletion?

Extramarital affairs (Fair 1978), as shipped with statsmodels: 6366 married women, the label is whether there was an
affair, the sensitive attribute whether the woman calls herself religious. Logistic regression; influences are computed on
a validation set, everything reported is measured on a test set that neither saw.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from homotopy import (
    AdversarialLoss,
    Dataset,
    DemographicParity,
    EqualOpportunity,
    LogisticRegression,
    Problem,
    Utility,
    WorkError,
    accuracy,
    base_rate,
    hard_removal,
    optimum,
    soft_weights,
    solve_weighted,
)
from homotopy.run import Progress, Range, RunResult, Seed, check, need
from homotopy.viz import FULL, INK, MUTED, RETAINED

METRICS = {
    "parity": "demographic parity gap",
    "opportunity": "equal opportunity gap",
    "robustness": "error under attack",
}
KINDS = ("soft, corrected", "soft, retrained", "hard, corrected", "hard, retrained")


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


def run(settings: Settings, progress: Progress) -> RunResult:
    """Weigh, delete, correct, retrain; measure on the test set; draw."""
    check(settings)
    need("data", "fair")
    table, group = _affairs(settings.rows)
    shape = (len(METRICS), len(KINDS), len(settings.shares), settings.splits)
    gaps, rights = np.full(shape, np.nan), np.full(shape, np.nan)
    before = np.zeros((len(METRICS), settings.splits))
    plain, constant = np.zeros(settings.splits), np.zeros(settings.splits)
    counts = np.full((len(METRICS), len(settings.shares), settings.splits), np.nan)
    parts = np.full((len(METRICS), len(settings.shares), settings.splits), np.nan)
    codes = {"successful": 0, "no weights improve the metric": 0}
    with progress.task("splits", settings.splits) as advance:
        for split in range(settings.splits):
            order = np.random.default_rng([settings.seed, split]).permutation(table.n)
            train, valid, test = (
                order[: table.n // 2],
                order[table.n // 2 : 3 * table.n // 4],
                order[3 * table.n // 4 :],
            )
            problem = Problem(LogisticRegression(), table.subset(train), delete=0, ridge=settings.ridge)
            theta = optimum(problem).theta
            held = table.subset(test)
            plain[split], constant[split] = float(accuracy(problem, theta, held)), base_rate(held.y)
            utility = Utility(table.subset(valid))
            for row, kind in enumerate(METRICS):
                aim, judge = (_metric(kind, table.subset(part), group[part], settings) for part in (valid, test))
                before[row, split] = float(judge.hard(problem, theta))
                for column, share in enumerate(settings.shares):
                    try:
                        models, part, gone = _models(problem, theta, aim, utility, share, settings, kind)
                    except WorkError:
                        codes["no weights improve the metric"] += 1
                        continue
                    codes["successful"] += 1
                    parts[row, column, split], counts[row, column, split] = part, gone
                    for index, model in enumerate(models):
                        gaps[row, index, column, split] = float(judge.hard(problem, model))
                        rights[row, index, column, split] = float(accuracy(problem, model, held))
            advance(1)
    facts = {"before": before, "gaps": gaps, "rights": rights, "plain": plain, "constant": constant, "counts": counts}
    summary = [
        f"fair (statsmodels), {table.n} women, sensitive attribute: religious ({group.mean():.0%}); accuracy of the plain model "
        f"{plain.mean():.4f}, base rate {constant.mean():.4f}, over {settings.splits} splits"
    ] + [_say(settings, row, kind, facts) for row, kind in enumerate(METRICS)]
    records = {
        "metric": (("kind", "model", "share", "split"), gaps), "accuracy": (("kind", "model", "share", "split"), rights),
        "metric_before": (("kind", "split"), before), "accuracy_before": ("split", plain), "base_rate": ("split", constant),
        "reached": (("kind", "share", "split"), parts), "deleted": (("kind", "share", "split"), counts),
    }  # fmt: skip
    coordinates = {"kind": list(METRICS), "model": list(KINDS), "share": list(settings.shares)}
    return RunResult(
        figures={"soft_weights": _draw(settings, facts)},
        data=xr.Dataset(records, coords=coordinates),
        summary="\n".join(summary),
        datasets=(table,),
        result_codes={code: count for code, count in codes.items() if count},
    )


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


def _metric(kind: str, data: Dataset, group: np.ndarray, settings: Settings) -> Any:
    if kind == "parity":
        return DemographicParity(data.x, group)
    if kind == "opportunity":
        return EqualOpportunity(data.x, data.y, group)
    reach = np.ones(data.features)
    reach[-1] = 0.0  # the intercept is nobody's to attack
    return AdversarialLoss(data, settings.attack, reach)


def _models(problem: Problem, theta, metric, utility, share: float, settings: Settings, kind: str):
    """The four models for a share, the share that soft weights reached, and how many points deletion took."""
    if kind == "robustness":  # an attacked loss cannot go to 0: ask for a part of what the attack adds
        share = share * (1.0 - float(utility.soft(problem, theta)) / float(metric.soft(problem, theta)))
    soft = soft_weights(problem, theta, metric, utility, share=share, utility_tolerance=settings.utility_tolerance)
    hard = hard_removal(problem, theta, metric, utility, share=share)
    again = [solve_weighted(problem, 1.0 + found.weights, theta)[0] for found in (soft, hard)]
    return (soft.theta, again[0], hard.theta, again[1]), soft.reached / share, float(jnp.sum(hard.weights != 0))


def _nontrivial(facts: dict[str, np.ndarray], row: int, kind: int) -> np.ndarray:
    """Which shares end above the base rate: a constant predictor is perfectly fair, and no success."""
    with np.errstate(invalid="ignore"):
        return np.nanmean(facts["rights"][row, kind], axis=1) > facts["constant"].mean()


def _draw(settings: Settings, facts: dict[str, np.ndarray]):
    figure, panels = plt.subplots(1, len(METRICS), figsize=(16.0, 4.9), layout="constrained")
    styles = {"soft, corrected": (RETAINED, "o-"), "soft, retrained": (RETAINED, "s:"), "hard, corrected": (FULL, "o-"),
              "hard, retrained": (FULL, "s:")}  # fmt: skip
    for row, (kind, panel) in enumerate(zip(METRICS, panels, strict=True)):
        for index, name in enumerate(KINDS):
            color, style = styles[name]
            x = np.nanmean(np.abs(facts["gaps"][row, index]), axis=1)
            y = np.nanmean(facts["rights"][row, index], axis=1)
            panel.plot(x, y, style, color=color, lw=1.5, ms=4.5, label=name, alpha=0.9)
        panel.plot(
            np.abs(facts["before"][row]).mean(), facts["plain"].mean(), "*", color=INK, ms=14, label="plain model"
        )
        panel.axhline(facts["constant"].mean(), color=MUTED, ls="--", lw=1.2, label="base rate (a constant)")
        panel.set(xlabel=f"{METRICS[kind]} on the test set (0 is best)", ylabel="test accuracy")
        panel.set_title(_headline(facts, row), fontsize=10)
    panels[0].legend(fontsize=8)
    return figure


def _best(facts: dict[str, np.ndarray], row: int, kind: int) -> tuple[float, float]:
    """The smallest gap above the base rate and the accuracy there; (nan, nan) if there is none."""
    sizes = np.nanmean(np.abs(facts["gaps"][row, kind]), axis=1)
    fine = _nontrivial(facts, row, kind) & np.isfinite(sizes)
    if not fine.any():
        return float("nan"), float("nan")
    best = int(np.flatnonzero(fine)[np.argmin(sizes[fine])])
    return float(sizes[best]), float(np.nanmean(facts["rights"][row, kind, best]))


def _headline(facts: dict[str, np.ndarray], row: int) -> str:
    start = np.abs(facts["before"][row]).mean()
    words = []
    for kind, label in ((0, "soft"), (2, "hard")):
        gap, right = _best(facts, row, kind)
        words.append(
            f"{label} {gap:.3f} at {right:.3f}" if np.isfinite(gap) else f"{label}: nothing above the base rate"
        )
    return f"{start:.3f} at {facts['plain'].mean():.3f} before; best above the base rate:\n" + ", ".join(words)


def _say(settings: Settings, row: int, kind: str, facts: dict[str, np.ndarray]) -> str:
    start = float(np.abs(facts["before"][row]).mean())
    words = []
    for index, name in enumerate(KINDS):
        gap, right = _best(facts, row, index)
        below = int((~_nontrivial(facts, row, index)).sum())
        found = f"{gap:.4f} at accuracy {right:.4f}" if np.isfinite(gap) else "nothing above the base rate"
        words.append(f"{name} {found}" + (f" ({below} shares not above the base rate)" if below else ""))
    gone = np.nanmedian(facts["counts"][row, -1])
    return f"{METRICS[kind]}: {start:.4f} before; best {'; '.join(words)}; deletion takes {gone:.0f} points at the last share"
