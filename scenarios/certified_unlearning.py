"""What does a privacy guarantee cost? Accuracy of the published model against the budget, and an attack before and after.

Logistic regression on breast_cancer and on digits (odd or even). D2D, R2D, Langevin unlearning and certified removal forget
the same group of points, the first three with the same number of gradients, and publish with the noise that each theorem
asks for. A membership attack is then made on small, over-fitted models, where it can succeed at all.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from homotopy import (
    Dataset,
    LogisticRegression,
    MembershipInference,
    Problem,
    RequestError,
    accuracy,
    analytic_gaussian_sigma,
    attack_features,
    base_rate,
    certified_removal,
    datasets,
    descend_to_delete,
    estimate_constants,
    langevin,
    langevin_temperature,
    membership_inference,
    newton_removal,
    optimum,
    retrain,
    rewind_to_delete,
)
from homotopy.run import Progress, Range, RunResult, Seed, check, need
from homotopy.viz import FULL, INK, MUTED, RETAINED, SERIES

ALGORITHMS = ("D2D", "R2D", "Langevin", "certified removal (paper's count)")
ATTACKED = ("trained", "D2D", "R2D", "Newton step", "retrained")


@dataclass(frozen=True)
class Settings:
    """Which budgets are tried, and on what."""

    data: Annotated[tuple[Literal["breast_cancer", "digits"], ...], Range(entries=1, once=True)] = (
        "breast_cancer",
        "digits",
    )
    """data sets; digits becomes odd or even"""
    deleted: Annotated[int, Range(least=1, most=400)] = 10
    """points in the group that is forgotten"""
    budgets: Annotated[tuple[float, ...], Range(least=1e-3, most=1e3, entries=1)] = (0.1, 0.3, 1.0, 3.0, 10.0)
    """privacy ε"""
    privacy_delta: Annotated[float, Range(least=1e-15, most=0.1)] = 1e-5
    """privacy δ"""
    ridge: Annotated[float, Range(least=1e-9, most=1e3)] = 0.004
    """ρ/n"""
    train_steps: Annotated[int, Range(least=1, most=10**6)] = 400
    """T"""
    unlearn_steps: Annotated[int, Range(least=1, most="train_steps")] = 40
    """gradient steps of D2D, R2D and Langevin"""
    draws: Annotated[int, Range(least=2, most=10_000)] = 20
    """published models (noise seeds) per budget"""
    attack_points: Annotated[int, Range(least=10, most=400)] = 60
    """training points of the over-fitted models that are attacked"""
    attack_forget: Annotated[int, Range(least=1, below="attack_points")] = 20
    """of which forgotten, and looked for by the attack"""
    attack_splits: Annotated[int, Range(least=0, most=1000)] = 12
    """random splits whose points the attack pools; 0 for no attack"""
    attack_noise: Annotated[float, Range(least=0, below=0.5)] = 0.2
    """share of labels flipped there (of fresh points too): what can only be known from memory"""
    attack_ridge: Annotated[float, Range(least=1e-9, most=1e3)] = 1e-4
    """ρ/n of the over-fitted models"""
    attack_train_steps: Annotated[int, Range(least=4, most=10**6)] = 1500
    """T there; K is a quarter of it"""
    seed: Seed = 0
    """splits, groups, noise"""


QUICK = Settings(
    data=("breast_cancer",), budgets=(0.3, 3.0), train_steps=150, unlearn_steps=30, draws=3, attack_points=40,
    attack_forget=15, attack_splits=3, attack_train_steps=400,
)  # fmt: skip


def run(settings: Settings, progress: Progress) -> RunResult:
    """Unlearn and publish at every budget, attack, draw."""
    check(settings)
    need("data", "the data sets and the attack")
    utilities: dict[str, np.ndarray] = {}
    baselines: dict[str, tuple[float, float]] = {}
    attacks: dict[str, dict[str, MembershipInference]] = {}
    used: list[Dataset] = []
    notes: list[str] = []
    codes = {"guaranteed": 0, "no guarantee": 0}
    with progress.task("data sets", 2 * len(settings.data)) as advance:
        for name in settings.data:
            whole = _scaled(_binary(name))
            train, test = _split(whole, settings.seed)
            used.append(train)
            utilities[name], baselines[name] = _utilities(settings, train, test, codes, notes)
            advance(1)
            attacks[name] = _attacks(settings, whole) if settings.attack_splits else {}
            advance(1)
    figure = _draw(settings, utilities, baselines, attacks)
    lines = [_say(settings, name, utilities[name], baselines[name], attacks[name]) for name in settings.data]
    records = {
        "accuracy": (("data", "algorithm", "budget", "draw"), np.stack([utilities[name] for name in settings.data])),
        "baseline": (("data", "model"), np.array([baselines[name] for name in settings.data])),
        "auroc": (
            ("data", "model_attacked", "quantile"),
            np.array(
                [
                    [
                        [a.low, a.auroc, a.high] if (a := attacks[name].get(model)) else [np.nan] * 3
                        for model in ATTACKED
                    ]
                    for name in settings.data
                ]
            ),
        ),
    }
    coordinates = {
        "data": list(settings.data), "algorithm": list(ALGORITHMS), "budget": list(settings.budgets),
        "model": ["retrained", "base rate"], "model_attacked": list(ATTACKED), "quantile": ["low", "auroc", "high"],
    }  # fmt: skip
    return RunResult(
        figures={"certified_unlearning": figure},
        data=xr.Dataset(records, coords=coordinates),
        summary="\n".join([*lines, *sorted(set(notes))]),
        datasets=tuple(used),
        result_codes={code: count for code, count in codes.items() if count},
    )


# Data ---------------------------------------------------------------------------------------------------------------


def _binary(name: str) -> Dataset:
    data = datasets.load(name)
    return Dataset(data.x, np.asarray(data.y) % 2, name="digits, odd or even") if name == "digits" else data


def _scaled(data: Dataset) -> Dataset:
    """Every row on the unit sphere, with an intercept of the size of one feature: G = 1."""
    x = np.asarray(data.x)
    x = np.column_stack([x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12), np.full(data.n, 0.2)])
    return Dataset(x / np.linalg.norm(x, axis=1, keepdims=True), data.y, name=data.name)


def _split(data: Dataset, seed: int) -> tuple[Dataset, Dataset]:
    order = np.random.default_rng(seed).permutation(data.n)
    cut = round(0.7 * data.n)
    return data.subset(order[:cut]), data.subset(order[cut:])


# Utility ------------------------------------------------------------------------------------------------------------


def _utilities(settings: Settings, train: Dataset, test: Dataset, codes: dict[str, int], notes: list[str]):
    """Test accuracy of published models, (algorithm, budget, draw); and those of retraining and of a constant."""
    rng = np.random.default_rng([settings.seed, 1])
    group = rng.choice(train.n, settings.deleted, replace=False)
    problem = Problem(LogisticRegression(), train, delete=group, ridge=settings.ridge * train.n)
    known = estimate_constants(problem)
    eta = 2.0 / (train.n * (known.smoothness + (known.strong_convexity or 0.0)))
    theta0, shape = np.zeros(problem.dim), (len(ALGORITHMS), len(settings.budgets), settings.draws)
    found = np.full(shape, np.nan)
    delta = settings.privacy_delta
    keys = jax.random.split(jax.random.key(settings.seed), settings.draws)
    score = jax.jit(jax.vmap(lambda theta: accuracy(problem, theta, test)))
    # What one Newton step leaves hardly depends on the random term: this sizes the perturbation for every budget.
    probe = certified_removal(problem, group[None], perturbation=1.0, privacy_epsilon=1e6, privacy_delta=delta).used[-1]
    unproven: list[str] = []
    for column, budget in enumerate(settings.budgets):
        train_steps, spend = settings.train_steps, settings.unlearn_steps
        both = (
            descend_to_delete(
                problem,
                theta0,
                train_steps=train_steps,
                unlearn_steps=spend,
                privacy_epsilon=budget,
                privacy_delta=delta,
            ),
            rewind_to_delete(
                problem,
                theta0,
                train_steps=train_steps,
                rewind_steps=spend,
                privacy_epsilon=budget,
                privacy_delta=delta,
            ),
        )
        for row, answer in enumerate(both):
            guarantee = answer.guarantee
            if guarantee is None or not _holds(guarantee, codes, notes):
                continue
            # A study of what one publication may look like: nothing is given away, so nothing is counted.
            noise = jnp.stack([jax.random.normal(key, answer.theta.shape) for key in keys])
            found[row, column] = score(answer.theta[None, :] + guarantee.sigma * noise)
        tau = langevin_temperature(
            problem, known, step=eta, train_steps=settings.train_steps, unlearn_steps=settings.unlearn_steps,
            privacy_epsilon=budget, privacy_delta=delta,
        )  # fmt: skip
        runs = [
            langevin(
                problem, theta0, step=eta, train_steps=settings.train_steps, unlearn_steps=settings.unlearn_steps,
                temperature=tau, key=draw, privacy_delta=delta,
            )
            for draw in range(settings.draws)
        ]  # fmt: skip
        if _holds(runs[0].guarantee, codes, notes):
            found[2, column] = score(jnp.stack([answer.theta for answer in runs]))
        sigma = 1.6 * analytic_gaussian_sigma(probe, budget, delta)
        removed = [
            certified_removal(
                problem, group[None], perturbation=sigma, privacy_epsilon=budget, privacy_delta=delta, key=draw
            )
            for draw in range(settings.draws)
        ]
        certain = removed[0].guarantee
        codes["guaranteed" if certain.holds else "no guarantee"] += 1
        if not certain.holds:
            unproven.append(f"{budget:g}")
        if any(one.retrained.any() for one in removed):
            notes.append("some certified removals fell back to retraining: their residual exceeded the budget")
        found[3, column] = score(jnp.stack([one.thetas[-1] for one in removed]))
    if unproven:
        notes.append(
            f"certified removal is shown by its paper's count; at ε = {', '.join(unproven)} nothing is proven of it, since the "
            "residual of a Newton step depends on the noise"
        )
    exact = optimum(problem, 0.0).theta
    return found, (float(accuracy(problem, exact, test)), base_rate(test.y))


def _holds(guarantee, codes: dict[str, int], notes: list[str]) -> bool:
    codes["guaranteed" if guarantee.holds else "no guarantee"] += 1
    if not guarantee.holds:
        notes.append(str(guarantee))
    return guarantee.holds


# Attack -------------------------------------------------------------------------------------------------------------


def _attacks(settings: Settings, whole: Dataset) -> dict[str, MembershipInference]:
    """The attack on the forgotten points against fresh ones, pooled over splits, for every model."""
    inside: dict[str, list[np.ndarray]] = {name: [] for name in ATTACKED}
    outside: dict[str, list[np.ndarray]] = {name: [] for name in ATTACKED}
    count, train_steps = settings.attack_points, settings.attack_train_steps
    spend = train_steps // 4
    if whole.n < count + settings.attack_forget:
        raise RequestError(f"attack_points and attack_forget must fit into the {whole.n} points of {whole.name}")
    for split in range(settings.attack_splits):
        rng = np.random.default_rng([settings.seed, 2, split])
        order = rng.permutation(whole.n)
        flipped = rng.uniform(size=whole.n) < settings.attack_noise
        noisy = Dataset(whole.x, np.where(flipped, 1 - np.asarray(whole.y), whole.y), name=whole.name)
        train = noisy.subset(order[:count])
        fresh = noisy.subset(order[count : count + settings.attack_forget])
        gone = np.arange(settings.attack_forget)
        problem = Problem(LogisticRegression(), train, delete=gone, ridge=settings.attack_ridge * count)
        theta0 = np.zeros(problem.dim)
        known = estimate_constants(problem)
        eta = 2.0 / (count * (known.smoothness + (known.strong_convexity or 0.0)))
        descended = descend_to_delete(problem, theta0, step=eta, train_steps=train_steps, unlearn_steps=spend)
        rewound = rewind_to_delete(problem, theta0, step=eta, train_steps=train_steps, rewind_steps=spend)
        models = {
            "trained": descended.trained,
            "D2D": descended.theta,
            "R2D": rewound.theta,
            "Newton step": newton_removal(problem, optimum(problem).theta).theta,
            "retrained": retrain(problem, theta0, step=eta, steps=train_steps).theta,
        }
        forgotten = train.subset(gone)
        for name, theta in models.items():
            inside[name].append(attack_features(problem, theta, forgotten))
            outside[name].append(attack_features(problem, theta, fresh))
    return {
        name: membership_inference(
            np.concatenate(inside[name]), np.concatenate(outside[name]), repeats=5, seed=settings.seed
        )
        for name in ATTACKED
    }


# Figure and words ---------------------------------------------------------------------------------------------------


def _draw(settings: Settings, utilities, baselines, attacks):
    figure, rows = plt.subplots(
        2, len(settings.data), figsize=(6.2 * len(settings.data) + 1.2, 8.0), layout="constrained", squeeze=False
    )
    colors = dict(zip(ALGORITHMS, (FULL, RETAINED, SERIES[2], SERIES[3]), strict=True))
    for column, name in enumerate(settings.data):
        upper, lower = rows[0, column], rows[1, column]
        exact, constant = baselines[name]
        for row, algorithm in enumerate(ALGORITHMS):
            values = utilities[name][row]
            known = np.isfinite(values).all(axis=1)
            if not known.any():
                continue
            budgets = np.array(settings.budgets)[known]
            low, middle, high = np.quantile(values[known], [0.1, 0.5, 0.9], axis=1)
            upper.plot(budgets, middle, "o-", color=colors[algorithm], lw=1.7, ms=4, label=algorithm)
            upper.fill_between(budgets, low, high, color=colors[algorithm], alpha=0.13, lw=0)
        upper.axhline(exact, color=INK, lw=1.2, label="retrained, no noise")
        upper.axhline(constant, color=MUTED, ls="--", lw=1.2, label="base rate (a constant)")
        upper.set(
            xscale="log", xlabel="privacy budget ε (smaller hides more)", ylabel="test accuracy of the published model"
        )
        upper.set_title(f"{name}: {settings.deleted} points forgotten, δ = {settings.privacy_delta:g}", fontsize=10.5)
        upper.legend(fontsize=8)
        found = attacks[name]
        if not found:
            lower.set_axis_off()
            continue
        centre = np.array([found[model].auroc for model in ATTACKED])
        spread = np.array([[a.auroc - a.low, a.high - a.auroc] for a in found.values()]).T
        shades = [FULL, *[RETAINED] * 3, INK]
        errors = np.maximum(spread, 0.0)
        lower.bar(ATTACKED, centre - 0.5, bottom=0.5, color=shades, alpha=0.55, yerr=errors, capsize=4)
        lower.axhline(0.5, color=MUTED, lw=1.0)
        lower.set(
            ylabel="AUROC of the attack on forgotten points\n(½ = cannot tell; bars: 95 % interval)", ylim=(0.3, 1.0)
        )
        lower.set_title(_verdict(found), fontsize=10.5)
        lower.tick_params(axis="x", labelsize=8.5)
    return figure


def _verdict(attacks: dict[str, MembershipInference]) -> str:
    if not attacks:
        return "no attack was made"
    before = attacks["trained"]
    if not before.detects:
        return f"the attack fails on the trained model too ({before.auroc:.2f}): it proves nothing"
    hidden = [name for name in ("D2D", "R2D", "Newton step") if not attacks[name].detects]
    return f"attack {before.auroc:.2f} before; no longer detects after: {', '.join(hidden) if hidden else 'none'}"


def _say(settings: Settings, name: str, utilities: np.ndarray, baselines, attacks) -> str:
    exact, constant = baselines
    words = []
    for row, algorithm in enumerate(ALGORITHMS):
        values = np.median(utilities[row], axis=1)
        fine = [
            budget for budget, value in zip(settings.budgets, values, strict=True) if value >= exact - 0.02
        ]  # within two points of accuracy
        best = f"within 0.02 of retraining from ε = {min(fine):g}" if fine else "never within 0.02 of retraining"
        useless = sum(not value > constant for value in values)
        words.append(f"{algorithm} {best}" + (f" (no better than a constant at {useless} budgets)" if useless else ""))
    rates = ", ".join(
        f"{model} {attack.auroc:.3f} ({attack.low:.3f}–{attack.high:.3f})" for model, attack in attacks.items()
    )
    return (
        f"{name}: retrained accuracy {exact:.3f}, base rate {constant:.3f}; {'; '.join(words)}\n"
        f"  attack on over-fitted models: {rates}: {_verdict(attacks)}"
    )
