"""What does a privacy guarantee cost? Accuracy of the published model against the budget, and an attack before and after.

Logistic regression on breast_cancer and on digits (odd or even). D2D, R2D, Langevin unlearning and certified removal forget
the same group of points, the first three with the same number of gradients, and publish with the noise that each theorem
asks for. A membership attack is then made on small, over-fitted models, where it can succeed at all.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from homotopy import (
    Constants,
    Dataset,
    Guarantee,
    LogisticRegression,
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
    newton_removal,
    optimum,
    retrain,
    rewind_to_delete,
)
from homotopy.run import Progress, Range, Seed, check, need, record
from homotopy.viz import FULL, INK, MUTED, RETAINED, SERIES, legend_below, panels, plot_band

from ._attack import QUANTILES, pooled_attacks

COLORS = {"D2D": FULL, "R2D": RETAINED, "Langevin": SERIES[2], "certified removal (paper's count)": SERIES[3]}
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


def compute(settings: Settings, progress: Progress) -> xr.Dataset:
    """Accuracy of what is published at every budget, beside retraining and a constant; and the attack."""
    check(settings)
    need("data", "the data sets and the attack")
    found, used = [], []
    notes: set[str] = set()
    with progress.task("data sets", 2 * len(settings.data)) as advance:
        for name in settings.data:
            whole = _binary(name)
            order, cut = np.random.default_rng(settings.seed).permutation(whole.n), round(0.7 * whole.n)
            train, test = whole.subset(order[:cut]), whole.subset(order[cut:])
            used.append(train)
            utilities = _utilities(settings, train, test, notes)
            advance(1)
            found.append(xr.Dataset(utilities | _attacks(settings, whole)))
            advance(1)
    coordinates = {
        "data": list(settings.data), "algorithm": list(COLORS), "budget": list(settings.budgets),
        "model": ["retrained", "base rate"], "model_attacked": list(ATTACKED), "quantile": list(QUANTILES),
    }  # fmt: skip
    data = xr.concat(found, "data").assign_coords(coordinates).assign_attrs(notes="\n".join(sorted(notes)))
    held = int(data["guaranteed"].sum())
    return record(data, *used, codes={"guaranteed": held, "no guarantee": data["guaranteed"].size - held})


def _binary(name: str) -> Dataset:
    """Two classes (digits: odd or even); every row on the unit sphere, an intercept of the size of one feature: G = 1."""
    data = datasets.load(name)
    x = np.asarray(data.x)
    x = np.column_stack([x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12), np.full(data.n, 0.2)])
    label = "digits, odd or even" if name == "digits" else data.name
    return Dataset(x / np.linalg.norm(x, axis=1, keepdims=True), np.asarray(data.y) % 2, name=label)


def _utilities(settings: Settings, train: Dataset, test: Dataset, notes: set[str]) -> dict[str, Any]:
    """Test accuracy of published models, (algorithm, budget, draw); and those of retraining and of a constant."""
    group = np.random.default_rng([settings.seed, 1]).choice(train.n, settings.deleted, replace=False)
    problem = Problem(LogisticRegression(), train, delete=group, ridge=settings.ridge * train.n)
    # What one Newton step leaves hardly depends on the random term: this sizes the perturbation for every budget.
    probe = certified_removal(
        problem, group[None], perturbation=1.0, privacy_epsilon=1e6, privacy_delta=settings.privacy_delta
    ).used[-1]
    score = jax.jit(jax.vmap(lambda theta: accuracy(problem, theta, test)))
    shape = (len(COLORS), len(settings.budgets))
    found, held = np.full((*shape, settings.draws), np.nan), np.zeros(shape, dtype=bool)
    for column, budget in enumerate(settings.budgets):
        for row, (thetas, guarantee) in enumerate(_published(settings, problem, group, budget, probe, notes)):
            held[row, column] = guarantee is not None and guarantee.holds
            if held[row, column] or row == len(COLORS) - 1:
                found[row, column] = score(thetas)
            else:
                notes.add(str(guarantee))
    unproven = [f"{budget:g}" for budget, holds in zip(settings.budgets, held[-1], strict=True) if not holds]
    if unproven:
        notes.add(
            f"certified removal is shown by its paper's count; at ε = {', '.join(unproven)} nothing is proven of it, since the "
            "residual of a Newton step depends on the noise"
        )
    exact = float(accuracy(problem, optimum(problem, 0.0).theta, test))
    return {
        "accuracy": (("algorithm", "budget", "draw"), found),
        "guaranteed": (("algorithm", "budget"), held),
        "baseline": ("model", [exact, base_rate(test.y)]),
    }


def _published(
    settings: Settings, problem: Problem, group: np.ndarray, budget: float, probe: float, notes: set[str]
) -> Iterator[tuple[jax.Array, Guarantee | None]]:
    """What each algorithm publishes, (draws, dim), and what is proven of it, in the order of COLORS."""
    theta0, draws = np.zeros(problem.dim), range(settings.draws)
    train, spend, delta = settings.train_steps, settings.unlearn_steps, settings.privacy_delta
    for answer in (
        descend_to_delete(
            problem, theta0, train_steps=train, unlearn_steps=spend, privacy_epsilon=budget, privacy_delta=delta
        ),
        rewind_to_delete(
            problem, theta0, train_steps=train, rewind_steps=spend, privacy_epsilon=budget, privacy_delta=delta
        ),
    ):
        # A study of what one publication may look like: nothing is given away, so nothing is counted.
        keys = jax.random.split(jax.random.key(settings.seed), settings.draws)
        noise = jnp.stack([jax.random.normal(key, answer.theta.shape) for key in keys])
        sigma = answer.guarantee.sigma if answer.guarantee else 0.0
        yield answer.theta[None, :] + sigma * noise, answer.guarantee
    known, eta = _step(problem)
    tau = langevin_temperature(
        problem, known, step=eta, train_steps=train, unlearn_steps=spend, privacy_epsilon=budget, privacy_delta=delta
    )
    walk = partial(langevin, problem, theta0, step=eta, temperature=tau, train_steps=train, unlearn_steps=spend)
    runs = [walk(key=draw, privacy_delta=delta) for draw in draws]
    yield jnp.stack([run.theta for run in runs]), runs[0].guarantee
    sigma = 1.6 * analytic_gaussian_sigma(probe, budget, delta)
    remove = partial(certified_removal, problem, group[None], perturbation=sigma, privacy_epsilon=budget)
    removed = [remove(privacy_delta=delta, key=draw) for draw in draws]
    if any(one.retrained.any() for one in removed):
        notes.add("some certified removals fell back to retraining: their residual exceeded the budget")
    yield jnp.stack([one.thetas[-1] for one in removed]), removed[0].guarantee


def _step(problem: Problem) -> tuple[Constants, float]:
    """The constants of a problem, and the step 2/(n(L + μ))."""
    known = estimate_constants(problem)
    return known, 2.0 / (problem.n * (known.smoothness + (known.strong_convexity or 0.0)))


def _attacks(settings: Settings, whole: Dataset) -> dict[str, Any]:
    """The attack on the forgotten points against fresh ones, pooled over splits, for every model."""
    count, gone, train_steps = settings.attack_points, settings.attack_forget, settings.attack_train_steps
    if settings.attack_splits and whole.n < count + gone:
        raise RequestError(f"attack_points and attack_forget must fit into the {whole.n} points of {whole.name}")
    rows: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {name: [] for name in ATTACKED}
    for split in range(settings.attack_splits):
        rng = np.random.default_rng([settings.seed, 2, split])
        order = rng.permutation(whole.n)
        flipped = rng.uniform(size=whole.n) < settings.attack_noise
        noisy = Dataset(whole.x, np.where(flipped, 1 - np.asarray(whole.y), whole.y), name=whole.name)
        train, fresh = noisy.subset(order[:count]), noisy.subset(order[count : count + gone])
        problem = Problem(LogisticRegression(), train, delete=np.arange(gone), ridge=settings.attack_ridge * count)
        theta0 = np.zeros(problem.dim)
        spend, eta = train_steps // 4, _step(problem)[1]
        descended = descend_to_delete(problem, theta0, step=eta, train_steps=train_steps, unlearn_steps=spend)
        thetas = (
            descended.trained,
            descended.theta,
            rewind_to_delete(problem, theta0, step=eta, train_steps=train_steps, rewind_steps=spend).theta,
            newton_removal(problem, optimum(problem).theta).theta,
            retrain(problem, theta0, step=eta, steps=train_steps).theta,
        )
        for name, theta in zip(ATTACKED, thetas, strict=True):
            forgotten = train.subset(np.arange(gone))
            rows[name].append((attack_features(problem, theta, forgotten), attack_features(problem, theta, fresh)))
    aurocs, detects = pooled_attacks(rows, settings.seed)
    return {"auroc": (("model_attacked", "quantile"), aurocs), "detects": ("model_attacked", detects)}


def draw(data: xr.Dataset, settings: Settings) -> dict[str, Figure]:
    """Accuracy against the budget; below, the attack."""
    figure, axes = panels(2, len(settings.data), width=6.8)
    for name, upper, lower in zip(settings.data, *axes, strict=True):
        here = data.sel(data=name)
        for algorithm, color in COLORS.items():
            values = here["accuracy"].sel(algorithm=algorithm).values
            if np.isfinite(values).any():
                plot_band(settings.budgets, values, upper, color=color, label=algorithm)
        exact, constant = here["baseline"].values
        upper.axhline(exact, color=INK, lw=1.2, label="retrained, no noise")
        upper.axhline(constant, color=MUTED, ls="--", lw=1.2, label="base rate (a constant)")
        upper.set(
            xscale="log", xlabel="privacy budget ε (smaller hides more)", ylabel="test accuracy of the published model"
        )
        upper.set_title(f"{name}: {settings.deleted} points forgotten, δ = {settings.privacy_delta:g}")
        legend_below(upper, 3)
        _draw_attack(lower, here, settings)
    return {"certified_unlearning": figure}


def _draw_attack(ax: Axes, here: xr.Dataset, settings: Settings) -> None:
    if not settings.attack_splits:
        ax.set_axis_off()
        return
    low, centre, high = here["auroc"].values.T
    errors = np.maximum([centre - low, high - centre], 0.0)
    shades = [FULL, *[RETAINED] * 3, INK]
    ax.bar(ATTACKED, centre - 0.5, bottom=0.5, color=shades, alpha=0.55, yerr=errors, capsize=4)
    ax.axhline(0.5, color=MUTED, lw=1.0)
    ax.set(ylabel="AUROC of the attack on forgotten points\n(½ = cannot tell; bars: 95 % interval)", ylim=(0.3, 1.0))
    ax.set_title(_verdict(here, settings))


def _verdict(here: xr.Dataset, settings: Settings) -> str:
    if not settings.attack_splits:
        return "no attack was made"
    before = float(here["auroc"].sel(model_attacked="trained", quantile="auroc"))
    detects = dict(zip(ATTACKED, here["detects"].values, strict=True))
    if not detects["trained"]:
        return f"the attack fails on the trained model too ({before:.2f}): it proves nothing"
    hidden = [name for name in ("D2D", "R2D", "Newton step") if not detects[name]]
    return f"attack {before:.2f} before; no longer detects after: {', '.join(hidden) if hidden else 'none'}"


def tell(data: xr.Dataset, settings: Settings) -> str:
    """From which budget on each algorithm is about as accurate as retraining, and what the attack finds."""
    lines = []
    for name in settings.data:
        here = data.sel(data=name)
        exact, constant = here["baseline"].values
        words = []
        for algorithm in COLORS:
            values = here["accuracy"].sel(algorithm=algorithm).median("draw", skipna=False).values
            fine = data["budget"].values[values >= exact - 0.02]  # within two points of accuracy
            best = (
                f"within 0.02 of retraining from ε = {fine.min():g}" if fine.size else "never within 0.02 of retraining"
            )
            useless = int((~(values > constant)).sum())
            worse = f" (no better than a constant at {useless} budgets)" if useless else ""
            words.append(f"{algorithm} {best}{worse}")
        attacks = zip(ATTACKED, here["auroc"].values, strict=True) if settings.attack_splits else ()
        rates = ", ".join(f"{model} {auroc:.3f} ({low:.3f}–{high:.3f})" for model, (low, auroc, high) in attacks)
        lines += [
            f"{name}: retrained accuracy {exact:.3f}, base rate {constant:.3f}; {'; '.join(words)}",
            f"  attack on over-fitted models: {rates}: {_verdict(here, settings)}",
        ]
    return "\n".join([*lines, *filter(None, [data.attrs["notes"]])])
