"""Forgetting in a network: digits, random points and one class's outliers, by every algorithm, with every measure.

A small over-fitted MLP has to forget a group of points. D2D and R2D (gradient descent and SGD), ascent, ascent with repair,
the infinitesimal jackknife, a Newton step, SISA and retraining are measured beside the retrained model: accuracies, tug of
war, distance in θ and in outputs, a membership attack, the steps to relearn, gradients and time.
SGD runs are measured beside the model that was retrained on the same mini-batches.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from homotopy import (
    Dataset,
    RequestError,
    Unlearned,
    WorkError,
    accuracy,
    attack_features,
    datasets,
    descend_to_delete,
    gradient_ascent,
    gradient_difference,
    infinitesimal_jackknife,
    measure,
    newton_removal,
    relearn_time,
    retrain,
    rewind_to_delete,
    sisa,
    tug_of_war,
)
from homotopy.run import Progress, Range, Seed, check, record
from homotopy.unlearning import score
from homotopy.viz import FULL, INK, MUTED, RETAINED, panels

from ._attack import QUANTILES, pooled_attacks
from ._forgotten import Task, point_losses, task_of
from ._instances import reason

SETS = {"random": "random points", "outliers": "outliers of one class"}
COLUMNS = ("tug_of_war", "distance", "function_distance", "relearn", "gradients", "seconds", "forget_accuracy",
           "retain_accuracy", "test_accuracy", "forget_loss", "retain_loss", "test_loss")  # fmt: skip
PANELS = {  # column → (label, scale)
    "tug_of_war": ("tug of war (1 = as retrained)", "linear"),
    "distance": ("‖θ − θ_retrained‖ (SGD: same batches)", "linear"),
    "relearn": ("steps to relearn (few = remembered)", "symlog"),
    "gradients": ("gradients spent", "symlog"),
}
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
    algorithms: Annotated[tuple[Algorithm, ...], Range(once=True)] = get_args(Algorithm)
    """what is compared with the trained and the retrained network"""
    kinds: Annotated[tuple[Literal["random", "outliers"], ...], Range(entries=1, once=True)] = ("random", "outliers")
    """groups that are forgotten"""


QUICK = Settings(
    points=120, test=80, width=3, forget=5, train_steps=60, batch_size=20, seeds=1, ascent_steps=4,
    algorithms=("D2D", "R2D", "R2D, SGD", "gradient difference"), kinds=("random",),
)  # fmt: skip


class _Row(NamedTuple):
    """Numbers of COLUMNS, and what an attack sees of the forgotten points and of fresh ones (SISA: not attacked)."""

    numbers: dict[str, float]
    seen: tuple[np.ndarray, np.ndarray] | None = None


_NOTHING = _Row(dict.fromkeys(COLUMNS, float("nan")))


def compute(settings: Settings, progress: Progress) -> xr.Dataset:
    """Every measure of every algorithm on every network, and the attack pooled over the networks."""
    check(settings)
    whole = _digits(settings)
    rows: dict[str, list[dict[str, _Row]]] = {kind: [] for kind in settings.kinds}
    used: list[Dataset] = []
    codes: Counter[str] = Counter(successful=0)
    with progress.task("networks", settings.seeds * len(settings.kinds)) as advance:
        for seed in range(settings.seed, settings.seed + settings.seeds):
            for kind, found in rows.items():
                task = task_of(settings, whole, kind, seed)
                used.append(task.problem.data)
                found.append(_forget(settings, task, seed, codes))
                advance(1)
    names = list(rows[settings.kinds[0]][0])
    table = [[[list(row[name].numbers.values()) for row in found] for name in names] for found in rows.values()]
    pairs = [{name: [seen for row in found if (seen := row[name].seen)] for name in names} for found in rows.values()]
    aurocs, detects = map(np.stack, zip(*(pooled_attacks(one, settings.seed) for one in pairs), strict=True))
    data = xr.Dataset(
        {
            "measure": (("kind", "algorithm", "seed", "column"), np.array(table)),
            "auroc": (("kind", "algorithm", "quantile"), aurocs),
            "detects": (("kind", "algorithm"), detects),
        },
        coords={"kind": list(rows), "algorithm": names, "column": list(COLUMNS), "quantile": list(QUANTILES)},
    )
    return record(data, *used, codes=codes)


def _digits(settings: Settings) -> Dataset:
    if settings.forget > settings.points // 4:
        most = settings.points // 4
        raise RequestError(f"--forget must be at most {most}, a quarter of --points, but is {settings.forget}")
    if settings.test < settings.forget:
        raise RequestError(f"--test must be at least --forget = {settings.forget}, but is {settings.test}")
    whole = datasets.load("digits")
    if settings.points + settings.test > whole.n:
        raise RequestError(f"--points and --test must fit into the {whole.n} digits")
    return whole


def _forget(settings: Settings, task: Task, seed: int, codes: Counter[str]) -> dict[str, _Row]:
    """One network and one group: every algorithm, measured."""
    problem, theta0, eta = task.problem, task.theta0, task.eta
    train_steps, spend = settings.train_steps, max(1, round(settings.share * settings.train_steps))
    descend = partial(descend_to_delete, problem, theta0, step=eta, train_steps=train_steps, unlearn_steps=spend)
    rewind = partial(rewind_to_delete, problem, theta0, step=eta, train_steps=train_steps)
    rewind_sgd = partial(rewind, method="sgd", batch_size=settings.batch_size, key=seed)
    again = retrain(problem, theta0, step=eta, steps=train_steps)
    first = descend()
    steps, damping = settings.ascent_steps, settings.damping
    jobs: dict[str, Callable[[], Unlearned]] = {
        "D2D": lambda: first,
        "R2D": lambda: rewind(rewind_steps=spend),
        "D2D, SGD": lambda: descend(method="sgd", batch_size=settings.batch_size, key=seed),
        "R2D, SGD": lambda: rewind_sgd(rewind_steps=spend),
        "gradient ascent": lambda: gradient_ascent(problem, first.trained, step=eta, steps=steps),
        "gradient difference": lambda: gradient_difference(problem, first.trained, step=eta, steps=steps),
        "jackknife": lambda: infinitesimal_jackknife(
            problem, first.trained, hessian="gauss-newton", damping=damping, solver="cg"
        ),
        "Newton step": lambda: newton_removal(problem, first.trained, hessian="gauss-newton", damping=damping),
    }
    chosen = {name: job for name, job in jobs.items() if name in settings.algorithms} | {"retrained": lambda: again}
    forgotten = problem.data.subset(np.asarray(problem.delete))
    level = 1.5 * float(np.mean(np.asarray(point_losses(problem, first.trained))[np.asarray(problem.delete)]))
    coupled = again.theta  # SGD has a retrained model of its own: the one that saw the same mini-batches
    if any(name.endswith("SGD") for name in chosen):
        coupled = rewind_sgd(rewind_steps=train_steps).theta

    def row(name: str, theta: Any, gradients: float, seconds: float) -> _Row:
        found = asdict(measure(problem, theta, coupled if name.endswith("SGD") else again.theta, task.test))
        found |= {"gradients": gradients, "seconds": seconds}
        found["relearn"] = float(relearn_time(problem, theta, step=eta, level=level, max_steps=train_steps))
        seen = attack_features(problem, theta, forgotten), attack_features(problem, theta, task.fresh)
        return _Row({column: found[column] for column in COLUMNS}, seen)

    rows = {"trained": row("trained", first.trained, 0.0, 0.0)}
    for name, job in chosen.items():
        try:
            answer = job()
            rows[name] = row(name, answer.theta, answer.gradient_evaluations, answer.seconds)
            codes["successful"] += 1
        except WorkError as error:
            codes[f"{name}: {reason(error)}"] += 1
            rows[name] = _NOTHING
    if "SISA" in settings.algorithms:
        rows["SISA"] = _shards(settings, task, again.theta, codes)
    return rows


def _shards(settings: Settings, task: Task, reference: Any, codes: Counter[str]) -> _Row:
    """SISA: exact by construction, so that only its accuracies and its price are of interest."""
    problem = task.problem
    model = sisa(problem, task.theta0, shards=settings.shards, step=task.eta, train_steps=settings.train_steps)
    gone = np.asarray(problem.delete)
    try:
        after = model.delete(gone)
    except RequestError as error:  # a shard lost all of its points
        codes[f"SISA: {reason(error)}"] += 1
        return _NOTHING
    kept = np.setdiff1d(np.arange(problem.n), gone)
    parts = {"forget": problem.data.subset(gone), "retain": problem.data.subset(kept), "test": task.test}
    numbers = dict(_NOTHING.numbers)
    for name, data in parts.items():
        predictions = after.predict(data.x)
        numbers[f"{name}_accuracy"] = float(score(problem, predictions, data.y))
        numbers[f"{name}_loss"] = float(jnp.mean(jax.vmap(problem.loss.value)(predictions, data.y)))
    mine = [numbers[f"{name}_accuracy"] for name in parts]
    numbers["tug_of_war"] = tug_of_war(mine, [float(accuracy(problem, reference, data)) for data in parts.values()])
    return _Row(numbers | {"gradients": after.gradient_evaluations, "seconds": after.seconds})


def draw(data: xr.Dataset, settings: Settings) -> dict[str, Figure]:
    """A row for every kind of group: what each algorithm reaches, what it costs, and what the attack finds."""
    figure, axes = panels(len(settings.kinds), 5, width=3.5, height=4.3, sharey="row")
    names = data["algorithm"].values
    places = np.arange(len(names))[::-1]
    colors = [{"trained": FULL, "retrained": INK}.get(name, RETAINED) for name in names]
    for kind, row in zip(settings.kinds, axes, strict=True):
        here = data.sel(kind=kind)
        for ax, (column, (label, scale)) in zip(row, PANELS.items(), strict=False):
            values = here["measure"].sel(column=column)
            ax.barh(places, np.nan_to_num(values.mean("seed").values), color=colors, alpha=0.6)
            for place, points in zip(places, values.values, strict=True):
                ax.plot(points, np.full(len(points), place), "o", color=INK, ms=2.5, alpha=0.7)
            ax.set(xlabel=label, xscale=scale, yticks=places, yticklabels=names)
            if column == "tug_of_war":
                ax.set_xlim(max(0.0, float(values.min()) - 0.1), 1.02)
            elif scale == "symlog":
                ax.set_xlim(0.0, max(12.0, 1.2 * float(values.max())))
        row[0].set_title(f"{SETS[kind]}:\n{_winner(here)}")
        _draw_attack(row[4], here, places, colors)
    return {"mlp_unlearning": figure}


def _draw_attack(ax: Axes, here: xr.Dataset, places: np.ndarray, colors: list[str]) -> None:
    for place, color, (low, middle, high) in zip(places, colors, here["auroc"].values, strict=True):
        ax.plot([low, high], [place, place], color=color, lw=3, alpha=0.6)
        ax.plot(middle, place, "o", color=INK, ms=4)
    ax.axvline(0.5, color=MUTED, lw=1.0)
    ax.set_xlabel("attack's AUROC, 95 % interval (½ = blind)")
    ax.set_title(_verdict(here).replace(": ", ":\n").replace("; ", ";\n"))


def _winner(here: xr.Dataset) -> str:
    means = here["measure"].sel(column="tug_of_war").mean("seed").drop_sel(algorithm=["trained", "retrained"])
    best = means.isel(algorithm=int(np.nanargmax(means.values)))
    return f"best tug of war {best['algorithm'].item()} {float(best):.3f}"


def _verdict(here: xr.Dataset) -> str:
    attacked = here.sel(algorithm=here["auroc"].notnull().all("quantile"))
    before, never = (float(attacked["auroc"].sel(algorithm=one, quantile="auroc")) for one in ("trained", "retrained"))
    detects = dict(zip(attacked["algorithm"].values, attacked["detects"].values, strict=True))
    if not detects.pop("trained"):
        return f"attack blind on the trained model ({before:.2f}): proves nothing"
    if detects.pop("retrained"):
        return f"trained {before:.2f}; retrained {never:.2f} too: the points differ, not only memory"
    return f"trained {before:.2f}, retrained {never:.2f}; detects after {sum(detects.values())} of {len(detects)}"


def tell(data: xr.Dataset, settings: Settings) -> str:
    """The attack's verdict on every kind of group, and all measures of every algorithm."""
    lines = []
    for kind in settings.kinds:
        here = data.sel(kind=kind)
        lines.append(f"{SETS[kind]}: {_verdict(here)}")
        for name in here["algorithm"].values:
            values = here["measure"].sel(algorithm=name)
            mean = dict(zip(COLUMNS, values.mean("seed").values, strict=True))
            seconds = float(values.sel(column="seconds").min(skipna=False))  # the first run compiles
            auroc = float(here["auroc"].sel(algorithm=name, quantile="auroc"))
            attack = f", attack {auroc:.3f}" if np.isfinite(auroc) else ""
            lines.append(
                f"  {name}: tug of war {mean['tug_of_war']:.3f}, forget / retain / test {mean['forget_accuracy']:.3f} / "
                f"{mean['retain_accuracy']:.3f} / {mean['test_accuracy']:.3f}, distance {mean['distance']:.3g} (outputs "
                f"{mean['function_distance']:.3g}){attack}, relearns in {mean['relearn']:.0f}, {mean['gradients']:.0f} "
                f"gradients, {seconds * 1e3:.0f} ms at best"
            )
    return "\n".join(lines)
