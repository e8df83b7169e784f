"""Forgetting in a network: digits, random points and one class's outliers, by every algorithm, with every measure.

A small over-fitted MLP has to forget a group of points. D2D and R2D (gradient descent and SGD), ascent, ascent with repair,
the infinitesimal jackknife, a Newton step, SISA and retraining are measured beside the retrained model: accuracies, tug of
war, distance in θ and in outputs, a membership attack, the steps to relearn, gradients and time.
SGD runs are measured beside the model that was retrained on the same mini-batches.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from homotopy import (
    MLP,
    CrossEntropyLoss,
    Dataset,
    MembershipInference,
    Problem,
    RequestError,
    Unlearned,
    WorkError,
    attack_features,
    datasets,
    descend_to_delete,
    estimate_constants,
    gradient_ascent,
    gradient_difference,
    infinitesimal_jackknife,
    measure,
    membership_inference,
    newton_removal,
    relearn_time,
    retrain,
    rewind_to_delete,
    sisa,
    tug_of_war,
)
from homotopy.run import Progress, Range, RunResult, Seed, check
from homotopy.unlearning import score
from homotopy.viz import FULL, INK, MUTED, RETAINED

from ._instances import reason

SETS = {"random": "random points", "outliers": "outliers of one class"}
COLUMNS = ("tug_of_war", "distance", "function_distance", "relearn", "gradients", "seconds", "forget_accuracy",
           "retain_accuracy", "test_accuracy", "forget_loss", "retain_loss", "test_loss")  # fmt: skip


Algorithm = Literal[
    "D2D", "R2D", "D2D, SGD", "R2D, SGD", "gradient ascent", "gradient difference", "jackknife", "Newton step", "SISA",
]  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """The network, what it forgets, and the budget."""

    points: Annotated[int, Range(least=20, most=1796)] = 300
    """training points"""
    test: Annotated[int, Range(least=1, most=1796)] = 400
    """test points"""
    width: Annotated[int, Range(least=1, most=200)] = 12
    """hidden neurons"""
    ridge: Annotated[float, Range(least=0, most=1e3)] = 3e-5
    """ρ/n"""
    forget: Annotated[int, Range(least=5, most=449)] = 12
    """points to be forgotten"""
    outlier_class: Annotated[int, Range(least=0, most=9)] = 8
    """the class whose outliers (largest loss in a model that was trained without them) are forgotten"""
    train_steps: Annotated[int, Range(least=2, most=10**6)] = 800
    """T"""
    share: Annotated[float, Range(above=0, below=1)] = 0.5
    """K/T of D2D and R2D"""
    step: Annotated[float, Range(above=0, below=2)] = 1.0
    """η·L with L measured at the start"""
    batch_size: Annotated[int, Range(least=1, most="points")] = 50
    """mini-batches of the SGD runs"""
    ascent_steps: Annotated[int, Range(least=1, most=10**6)] = 60
    """steps of gradient ascent and of gradient difference"""
    damping: Annotated[float, Range(above=0, most=1e6)] = 0.003
    """λ of the jackknife and the Newton step (mean convention, Gauss–Newton)"""
    shards: Annotated[int, Range(least=1, most="points")] = 4
    """of SISA"""
    seeds: Annotated[int, Range(least=1, most=1000)] = 10
    """networks, splits and forgotten groups; the attack pools them"""
    seed: Seed = 0
    """first seed"""
    algorithms: Annotated[tuple[Algorithm, ...], Range(once=True)] = (
        "D2D", "R2D", "D2D, SGD", "R2D, SGD", "gradient ascent", "gradient difference", "jackknife", "Newton step", "SISA",
    )  # fmt: skip
    """what is compared with the trained and the retrained network"""
    kinds: Annotated[tuple[Literal["random", "outliers"], ...], Range(entries=1, once=True)] = ("random", "outliers")
    """groups that are forgotten"""


QUICK = Settings(
    points=120, test=80, width=3, forget=5, train_steps=60, batch_size=20, seeds=1, ascent_steps=4,
    algorithms=("D2D", "R2D", "R2D, SGD", "gradient difference"), kinds=("random",),
)  # fmt: skip


class _Row(NamedTuple):
    numbers: list[float]
    inside: np.ndarray | None
    outside: np.ndarray | None


def run(settings: Settings, progress: Progress) -> RunResult:
    """Train, forget by every algorithm, measure, attack, draw."""
    check(settings)
    if settings.forget > settings.points // 4:
        raise RequestError(
            f"--forget must be at most a quarter of --points = {settings.points}, but is {settings.forget}"
        )
    if settings.test < settings.forget:
        raise RequestError(f"--test must be at least --forget = {settings.forget}, but is {settings.test}")
    whole = datasets.load("digits")
    if settings.points + settings.test > whole.n:
        raise RequestError(f"--points and --test must fit into the {whole.n} digits")
    rows: dict[str, dict[str, list[_Row]]] = {kind: {} for kind in settings.kinds}
    used: list[Dataset] = []
    codes: Counter[str] = Counter(successful=0)
    with progress.task("networks", settings.seeds * len(settings.kinds)) as advance:
        for seed in range(settings.seed, settings.seed + settings.seeds):
            for kind in settings.kinds:
                _forget(settings, whole, kind, seed, rows[kind], used, codes)
                advance(1)
    numbers = {
        kind: {name: np.array([row.numbers for row in found]) for name, found in algorithms.items()}
        for kind, algorithms in rows.items()
    }
    attacks = {kind: _attack(settings, algorithms) for kind, algorithms in rows.items()}
    names = list(numbers[settings.kinds[0]])
    table = np.stack([[numbers[kind][name] for name in names] for kind in settings.kinds])
    aurocs = np.array([
        [[a.low, a.auroc, a.high] if (a := attacks[kind].get(name)) else [np.nan] * 3 for name in names]
        for kind in settings.kinds
    ])  # fmt: skip
    data = xr.Dataset(
        {
            "measure": (("kind", "algorithm", "seed", "column"), table),
            "auroc": (("kind", "algorithm", "quantile"), aurocs),
        },
        coords={
            "kind": list(settings.kinds),
            "algorithm": names,
            "column": list(COLUMNS),
            "quantile": ["low", "auroc", "high"],
        },
    )
    return RunResult(
        figures={"mlp_unlearning": _draw(settings, numbers, attacks)},
        data=data,
        summary="\n".join(_say(kind, numbers[kind], attacks[kind]) for kind in settings.kinds),
        datasets=tuple(used),
        result_codes={code: count for code, count in codes.items() if count},
    )


def _forget(settings, whole, kind, seed, rows, used, codes) -> None:
    """One network and one group: every algorithm, measured; appended to `rows`."""
    rng = np.random.default_rng([settings.seed, seed])
    order = rng.permutation(whole.n)
    train, test = whole.subset(order[: settings.points]), whole.subset(order[settings.points :][: settings.test])
    if len(np.unique(train.y)) < 10:
        raise WorkError("a class is missing from the training points; raise points")
    used.append(train)
    problem = Problem(
        MLP(width=settings.width), train, delete=0, loss=CrossEntropyLoss(), ridge=settings.ridge * train.n
    )
    theta0 = problem.initial(seed)
    eta = settings.step / (train.n * estimate_constants(problem, thetas=theta0[None]).smoothness)
    gone = _group(settings, kind, problem, theta0, eta, rng)
    problem = problem.deleting(gone)
    train_steps, spend = settings.train_steps, max(1, round(settings.share * settings.train_steps))
    shared = {"step": eta, "train_steps": train_steps}
    stochastic = {"method": "sgd", "batch_size": settings.batch_size, "key": seed}
    again = retrain(problem, theta0, step=eta, steps=train_steps)
    reference = again.theta
    first = descend_to_delete(problem, theta0, **shared, unlearn_steps=spend)
    trained = first.trained
    jobs = {
        "D2D": lambda: first,
        "R2D": lambda: rewind_to_delete(problem, theta0, **shared, rewind_steps=spend),
        "D2D, SGD": lambda: descend_to_delete(problem, theta0, **shared, unlearn_steps=spend, **stochastic),
        "R2D, SGD": lambda: rewind_to_delete(problem, theta0, **shared, rewind_steps=spend, **stochastic),
        "gradient ascent": lambda: gradient_ascent(problem, trained, step=eta, steps=settings.ascent_steps),
        "gradient difference": lambda: gradient_difference(problem, trained, step=eta, steps=settings.ascent_steps),
        "jackknife": lambda: infinitesimal_jackknife(
            problem, trained, hessian="gauss-newton", damping=settings.damping, solver="cg"
        ),
        "Newton step": lambda: newton_removal(problem, trained, hessian="gauss-newton", damping=settings.damping),
    }
    chosen = {name: job for name, job in jobs.items() if name in settings.algorithms} | {"retrained": lambda: again}
    forgotten = train.subset(gone)
    fresh = test.subset(rng.choice(test.n, settings.forget, replace=False))
    level = 1.5 * float(np.mean(np.asarray(_losses(problem, trained))[gone]))

    # SGD has a retrained model of its own: the one that saw the same mini-batches.
    coupled = None
    if any(name.endswith("SGD") for name in chosen):
        coupled = rewind_to_delete(problem, theta0, **shared, rewind_steps=train_steps, **stochastic).theta

    def record(name: str, theta, cost: float, seconds: float) -> None:
        beside = coupled if coupled is not None and name.endswith("SGD") else reference
        found = measure(problem, theta, beside, test)
        relearn = relearn_time(problem, theta, step=eta, level=level, max_steps=train_steps)
        numbers = [
            found.tug_of_war, found.distance, found.function_distance, float(relearn), cost, seconds, found.forget_accuracy,
            found.retain_accuracy, found.test_accuracy, found.forget_loss, found.retain_loss, found.test_loss,
        ]  # fmt: skip
        row = _Row(numbers, attack_features(problem, theta, forgotten), attack_features(problem, theta, fresh))
        rows.setdefault(name, []).append(row)

    record("trained", trained, 0.0, 0.0)
    for name, job in chosen.items():
        try:
            answer: Unlearned = job()
            record(name, answer.theta, answer.gradient_evaluations, answer.seconds)
            codes["successful"] += 1
        except WorkError as error:
            codes[f"{name}: {reason(error)}"] += 1
            rows.setdefault(name, []).append(_Row([np.nan] * len(COLUMNS), None, None))
    if "SISA" in settings.algorithms:
        _shards(settings, problem, theta0, eta, gone, reference, test, rows, codes)


@eqx.filter_jit
def _losses(problem: Problem, theta: jax.Array) -> jax.Array:
    return problem.losses(theta)


def _group(settings, kind: str, problem: Problem, theta0, eta: float, rng) -> np.ndarray:
    """The points to forget: random ones, or those of one class that a model of the other half finds hardest."""
    if kind == "random":
        return np.sort(rng.choice(problem.n, settings.forget, replace=False))
    members = np.flatnonzero(np.asarray(problem.data.y) == settings.outlier_class)
    if len(members) < settings.forget:
        raise WorkError(
            f"class {settings.outlier_class} has only {len(members)} training points; raise points or lower forget"
        )
    losses = np.zeros(problem.n)
    for start in range(0, len(members), settings.forget):  # in turn, each part judged by a model that never saw it
        part = members[max(0, min(start, len(members) - settings.forget)) :][: settings.forget]
        blind = retrain(problem.deleting(part), theta0, step=eta, steps=settings.train_steps).theta
        losses[part] = np.asarray(_losses(problem, blind))[part]
    return np.sort(members[np.argsort(-losses[members])][: settings.forget])


def _shards(settings, problem, theta0, eta, gone, reference, test, rows, codes) -> None:
    """SISA: exact by construction, so that only its accuracies and its price are of interest."""
    model = sisa(problem, theta0, shards=settings.shards, step=eta, train_steps=settings.train_steps)
    try:
        after = model.delete(gone)
    except RequestError as error:  # a shard lost all of its points
        codes[f"SISA: {reason(error)}"] += 1
        rows.setdefault("SISA", []).append(_Row([np.nan] * len(COLUMNS), None, None))
        return
    kept = np.setdiff1d(np.arange(problem.n), gone)
    numbers = dict.fromkeys(COLUMNS, float("nan"))
    mine, theirs = [], []
    for name, data in (("forget", problem.data.subset(gone)), ("retain", problem.data.subset(kept)), ("test", test)):
        predictions = after.predict(data.x)
        right = float(score(problem, predictions, data.y))
        numbers[f"{name}_accuracy"] = right
        numbers[f"{name}_loss"] = float(jnp.mean(jax.vmap(problem.loss.value)(predictions, data.y)))
        mine.append(right)
        theirs.append(float(score(problem, problem.predict(reference, data.x), data.y)))
    numbers |= {
        "tug_of_war": tug_of_war(mine, theirs),
        "gradients": after.gradient_evaluations,
        "seconds": after.seconds,
    }
    rows.setdefault("SISA", []).append(_Row([numbers[name] for name in COLUMNS], None, None))


def _attack(settings: Settings, algorithms: dict[str, list[_Row]]) -> dict[str, MembershipInference]:
    found = {}
    for name, rows in algorithms.items():
        inside = [row.inside for row in rows if row.inside is not None]
        outside = [row.outside for row in rows if row.outside is not None]
        if inside and outside:
            joined = np.concatenate(inside), np.concatenate(outside)
            found[name] = membership_inference(*joined, repeats=5, seed=settings.seed)
    return found


# Figure and words ---------------------------------------------------------------------------------------------------


def _draw(settings: Settings, numbers, attacks):
    figure, grid = plt.subplots(
        len(numbers), 5, figsize=(17.5, 4.1 * len(numbers)), layout="constrained", sharey="row", squeeze=False
    )
    names = list(numbers[settings.kinds[0]])
    places = np.arange(len(names))[::-1]
    colors = [FULL if name == "trained" else INK if name == "retrained" else RETAINED for name in names]
    panels = (
        ("tug_of_war", "tug of war (1 = as retrained)", "linear"),
        ("distance", "‖θ − θ_retrained‖ (SGD: on the same batches)", "linear"),
        ("relearn", "steps to relearn (few = remembered)", "symlog"),
        ("gradients", "gradients spent", "symlog"),
    )
    for row, kind in enumerate(numbers):
        for panel, (column, label, scale) in zip(grid[row], panels, strict=False):
            values = np.array([numbers[kind][name][:, COLUMNS.index(column)] for name in names])
            middle = _means(values)
            panel.barh(places, np.nan_to_num(middle), color=colors, alpha=0.6)
            for place, points in zip(places, values, strict=True):
                panel.plot(points, np.full(len(points), place), "o", color=INK, ms=2.5, alpha=0.7)
            panel.set(xlabel=label, xscale=scale, yticks=places, yticklabels=names)
            if column == "tug_of_war":
                panel.set_xlim(max(0.0, float(np.nanmin(values)) - 0.1), 1.0)
        panel = grid[row, 4]
        for place, name, color in zip(places, names, colors, strict=True):
            attack = attacks[kind].get(name)
            if attack is not None:
                panel.plot([attack.low, attack.high], [place, place], color=color, lw=3, alpha=0.6)
                panel.plot(attack.auroc, place, "o", color=INK, ms=4)
        panel.axvline(0.5, color=MUTED, lw=1.0)
        panel.set(xlabel="attack's AUROC, 95 % interval (½ = blind)")
        panel.set_title(_verdict(attacks[kind]).replace(": ", ":\n").replace("; ", ";\n"), fontsize=9.5)
        grid[row, 0].set_title(f"{SETS[kind]}:\n{_winner(numbers[kind])}", fontsize=9.5)
    return figure


def _means(values: np.ndarray) -> np.ndarray:
    """The mean over seeds of every algorithm, NaN where no seed has a value."""
    known = np.isfinite(values)
    return np.where(
        known.any(axis=1), np.where(known, values, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1), np.nan
    )


def _winner(numbers: dict[str, np.ndarray]) -> str:
    rivals = {name: values for name, values in numbers.items() if name not in ("trained", "retrained")}
    means = _means(np.array([values[:, 0] for values in rivals.values()]))
    best = list(rivals)[int(np.nanargmax(means))]
    return f"best tug of war {best} {np.nanmax(means):.3f}"


def _verdict(attacks: dict[str, MembershipInference]) -> str:
    before, never = attacks["trained"], attacks["retrained"]
    if not before.detects:
        return f"attack blind on the trained model ({before.auroc:.2f}): proves nothing"
    if never.detects:
        return f"trained {before.auroc:.2f}; retrained {never.auroc:.2f} too: the points differ, not only memory"
    still = sum(attack.detects for name, attack in attacks.items() if name != "trained")
    return f"trained {before.auroc:.2f}, retrained {never.auroc:.2f}; detects after {still} of {len(attacks) - 2}"


def _say(kind: str, numbers: dict[str, np.ndarray], attacks: dict[str, MembershipInference]) -> str:
    lines = [f"{SETS[kind]}: {_verdict(attacks)}"]
    for name, values in numbers.items():
        mean = dict(zip(COLUMNS, _means(values.T), strict=True))
        seconds = np.min(values[:, COLUMNS.index("seconds")])  # the first run compiles
        attack = f", attack {attacks[name].auroc:.3f}" if name in attacks else ""
        lines.append(
            f"  {name}: tug of war {mean['tug_of_war']:.3f}, forget / retain / test {mean['forget_accuracy']:.3f} / "
            f"{mean['retain_accuracy']:.3f} / {mean['test_accuracy']:.3f}, distance {mean['distance']:.3g} (outputs "
            f"{mean['function_distance']:.3g}){attack}, relearns in {mean['relearn']:.0f}, {mean['gradients']:.0f} gradients, "
            f"{seconds * 1e3:.0f} ms at best"
        )
    return "\n".join(lines)
