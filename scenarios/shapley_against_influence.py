"""Does Shapley find informative and mislabelled points better than influence? Detection, removal, addition, with intervals.

Part of the training labels is wrong. Every method scores every training point by what it is worth for the validation
loss; then wrong labels are looked for at the bottom of the list, points are removed from the bottom and from the top and
added from the top, and the model is trained again each time and judged on test points that no method has seen.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from homotopy import (
    CrossEntropyLoss,
    Dataset,
    LogisticRegression,
    Problem,
    RefitUtility,
    RequestError,
    addition_curve,
    bayesian_influence,
    datamodelling_subsets,
    datasets,
    flow_influence_kernel,
    gradient_shapley,
    influence_matrix,
    knn_shapley,
    leave_one_out_values,
    linear_datamodelling_score,
    mislabel_auc,
    newton_estimate,
    optimum,
    removal_curve,
    truncated_monte_carlo_shapley,
)
from homotopy._statistics import mean
from homotopy.run import Progress, Range, Seed, check, codes_of, grid, record
from homotopy.viz import INK, MUTED, SERIES, panels

from ._queries import MeanLoss

COLORS = {
    "TMC-Shapley": SERIES[0],
    "G-Shapley": SERIES[1],
    "kNN-Shapley": SERIES[2],
    "influence": SERIES[3],
    "Newton": SERIES[4],
    "leave-one-out": SERIES[5],
    "flow": "#F0E442",
    "Bayesian": INK,
    "random": MUTED,
}
CURVES = {
    "curve_worst_first": "worst removed first: should rise",
    "curve_best_first": "best removed first: should fall",
    "curve_addition": "best added first: should rise",
}
# Of two methods the better one has the larger value, except where the best are taken away.
MEASURES = {
    "auc": 1,
    "lds": 1,
    "after_removing_the_worst": 1,
    "after_removing_the_best": -1,
    "with_the_best_alone": 1,
}
_CLASSES = {"breast_cancer": (0, 1), "digits": (3, 8), "iris": (0, 1, 2)}


@dataclass(frozen=True)
class Settings:
    """Data, noise, and how hard each method works."""

    sets: Annotated[tuple[Literal["breast_cancer", "digits", "iris"], ...], Range(entries=1, once=True)] = (
        "breast_cancer",
        "digits",
        "iris",
    )
    """data sets: breast_cancer, digits (3 against 8), iris (three classes)"""
    repeats: Annotated[int, Range(least=2, most=1000)] = 10
    """random splits and label errors per data set; the intervals are over them"""
    n: Annotated[int, Range(least=12, most=284)] = 60
    """training points"""
    noise: Annotated[float, Range(above=0, below=0.5)] = 0.15
    """share of wrong training labels"""
    components: Annotated[int, Range(least=1, most=30)] = 6
    """principal components that are kept as features"""
    ridge: Annotated[float, Range(least=1e-6, most=1e6)] = 0.5
    """ρ of the logistic regression"""
    permutations: Annotated[int, Range(least=2, most=10**6)] = 200
    """of TMC-Shapley and of G-Shapley"""
    draws: Annotated[int, Range(least=4, most=10**6)] = 500
    """of the Bayesian influence, per chain (4 chains)"""
    subsets: Annotated[int, Range(least=3, most=10**6)] = 100
    """random halves of the datamodelling score"""
    flow_time: Annotated[float, Range(least=1e-6, most=1e4)] = 2.0
    """t1 of the trajectory influence: training that stops early"""
    seed: Seed = 0
    """first seed"""


QUICK = Settings(sets=("breast_cancer",), repeats=2, n=20, components=3, permutations=20, draws=60, subsets=20)


def compute(settings: Settings, progress: Progress) -> xr.Dataset:
    """Every split of every data set: points are scored, wrong labels detected, points removed and added, models retrained."""
    check(settings)
    tables: dict[str, Dataset] = {name: _data(name, settings.components) for name in settings.sets}
    most = min(table.n for table in tables.values()) // 2
    if settings.n > most:
        raise RequestError(f"--n must be at most {most}, half of the smallest data set, but is {settings.n}")
    counts = np.unique(np.round(np.linspace(0, 0.8, 9) * settings.n).astype(int))

    def cell(set: str, repeat: int) -> dict[str, Any]:
        return _judge(tables[set], counts, settings, settings.seed + repeat)

    data = grid({"set": settings.sets, "repeat": range(settings.repeats)}, cell, progress, "splits")
    # Means over the curves, without the ends that all methods share: small and comparable numbers.
    for measure, curve in zip(list(MEASURES)[2:], CURVES, strict=True):
        data[measure] = data[curve].isel(count=slice(1, None)).mean("count")
    data = data.assign_coords(method=list(COLORS), count=counts)
    return record(data, *tables.values(), codes=codes_of(data))


def _data(name: str, components: int) -> Dataset:
    """Two or three classes, principal components of variance 1, and a column of ones."""
    data = datasets.load(name)
    x, y = np.asarray(data.x), np.asarray(data.y)
    kept = np.isin(y, _CLASSES[name])
    x, y = x[kept], np.searchsorted(_CLASSES[name], y[kept])
    u, s, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    k = min(components, x.shape[1])
    features = np.sqrt(len(x)) * u[:, :k] * np.sign(s[:k])[None, :]
    return Dataset(
        np.column_stack([features, np.ones(len(x))]), y, name=f"{name}{list(_CLASSES[name])}, {k} components"
    )


def _split(data: Dataset, settings: Settings, seed: int) -> tuple[Problem, Dataset, Dataset, np.ndarray]:
    """Training problem with wrong labels, validation points (as many, at most 60), the rest for the test."""
    rng = np.random.default_rng([seed, 0])
    rows = rng.permutation(data.n)
    n = settings.n
    train, validation, test = np.split(rows, [n, n + min(n, (data.n - n) // 2)])
    y = np.asarray(data.y)[train].astype(int)
    classes = int(np.asarray(data.y).max()) + 1
    wrong = np.zeros(n, bool)
    wrong[rng.permutation(n)[: max(1, round(settings.noise * n))]] = True
    y = np.where(wrong, (y + rng.integers(1, classes, n)) % classes, y)
    noisy = Dataset(np.asarray(data.x)[train], y)
    loss = CrossEntropyLoss() if classes > 2 else None
    problem = Problem(LogisticRegression(), noisy, delete=0, loss=loss, ridge=settings.ridge)
    return problem, data.subset(validation), data.subset(test[:200]), wrong


def _score(problem: Problem, validation: Dataset, settings: Settings, seed: int) -> dict[str, np.ndarray]:
    """The worth of every point by every method: + = the validation loss is lower with the point."""
    utility = RefitUtility(problem, validation)
    theta = optimum(problem).theta
    batch = min(50, settings.permutations)
    options: Any = {"permutations": settings.permutations, "stop_change": None, "seed": seed, "batch_size": batch}
    found = {
        "TMC-Shapley": truncated_monte_carlo_shapley(utility, problem.n, **options).values,
        "G-Shapley": gradient_shapley(problem, utility, step=0.1, **options).values,
        "kNN-Shapley": knn_shapley(problem.data.x, problem.data.y, validation.x, validation.y, 5),
        "influence": np.asarray(influence_matrix(problem, validation, theta=theta)).mean(axis=0),
        "leave-one-out": leave_one_out_values(utility, problem.n),
    }
    newton = np.stack([newton_estimate(problem.deleting(i), theta=theta).theta for i in range(problem.n)])
    found["Newton"] = utility.at(np.asarray(theta)[None])[0] - utility.at(newton)
    query = MeanLoss(problem, validation)
    flow = flow_influence_kernel(
        problem, np.zeros(problem.dim), t1=settings.flow_time, ts=[0.0, settings.flow_time],
        queries=query, rtol=1e-6, atol=1e-8,
    )  # fmt: skip
    found["flow"] = np.asarray(flow.removal[0, 0])
    bayes = bayesian_influence(
        problem, theta, inverse_temperature=1.0, localisation=0.1, draws=settings.draws, chains=4, seed=seed,
        queries=query,
    )  # fmt: skip
    found["Bayesian"] = np.asarray(bayes.removal[0])
    found["random"] = np.random.default_rng([seed, 9]).standard_normal(problem.n)
    return found


def _judge(data: Dataset, counts: np.ndarray, settings: Settings, seed: int) -> dict[str, Any]:
    """AUC, datamodelling score and the three curves of test accuracy, for every method."""
    problem, validation, test, wrong = _split(data, settings, seed)
    scores = _score(problem, validation, settings, seed)
    accuracy = RefitUtility(problem, test, score="accuracy")
    halves: Any = {"subsets": settings.subsets, "seed": seed}
    actual = RefitUtility(problem, validation)(datamodelling_subsets(problem.n, **halves))
    aucs, lds, curves = [], [], []
    for values in (scores[method] for method in COLORS):
        aucs.append(mislabel_auc(values, wrong))
        lds.append(linear_datamodelling_score(values, None, actual=actual, **halves).score)
        curves.append([
            removal_curve(values, accuracy, counts, best_first=False)[1],
            removal_curve(values, accuracy, counts)[1],
            addition_curve(values, accuracy, counts)[1],
        ])  # fmt: skip
    found = dict(zip(CURVES, np.moveaxis(np.array(curves), 1, 0), strict=True))
    return {"auc": ("method", aucs), "lds": ("method", lds)} | {
        name: (("method", "count"), values) for name, values in found.items()
    }


def draw(data: xr.Dataset, settings: Settings) -> dict[str, Figure]:
    """A row for every data set: detection and prediction of each method, and test accuracy as points go and come."""
    figure, axes = panels(len(settings.sets), 4, height=3.7)
    for name, row in zip(settings.sets, axes, strict=True):
        here = data.sel(set=name)
        _draw_scores(row[0], here)
        row[0].set_title(f"{name}: detection and prediction")
        for ax, (curve, title) in zip(row[1:], CURVES.items(), strict=True):
            for (method, color), values in zip(COLORS.items(), here[curve].mean("repeat").values, strict=True):
                ax.plot(data["count"] / settings.n, values, "-", color=color, lw=1.6, label=method)
            what = "added" if curve == "curve_addition" else "removed"
            ax.set(xlabel=f"share of the {settings.n} points {what}", ylabel="test accuracy", title=title)
    figure.legend(*axes[0, 1].get_legend_handles_labels(), loc="outside lower center", ncols=9)
    figure.suptitle(
        f"{100 * settings.noise:.0f} % of {settings.n} training labels wrong; mean of {settings.repeats} splits, "
        "bars: 95 % intervals"
    )
    return {"shapley_against_influence": figure}


def _draw_scores(ax: Axes, here: xr.Dataset) -> None:
    for measure, marker, shift in (("auc", "o", -0.16), ("lds", "s", 0.16)):
        found = mean(here[measure].values)
        for at, (color, value, high) in enumerate(zip(COLORS.values(), found.value, found.high, strict=True)):
            filled = color if measure == "auc" else "white"
            ax.errorbar(value, at + shift, xerr=high - value, fmt=marker, color=color, mfc=filled, ms=6, capsize=2)
    for value in (0.0, 0.5):
        ax.axvline(value, color=MUTED, lw=0.8)
    ax.set_yticks(range(len(COLORS)), COLORS)
    ax.invert_yaxis()
    ax.set_xlabel("● AUC for wrong labels   □ datamodelling score")


def tell(data: xr.Dataset, settings: Settings) -> str:
    """By every measure the best methods over all sets, and by how much TMC-Shapley beats influence, paired split by split."""
    lines = []
    for measure, sign in MEASURES.items():
        values = data[measure].stack(split=("set", "repeat")).transpose("split", "method")
        found = mean(values.values)
        half = found.high - found.value
        order = np.argsort(-sign * found.value, kind="stable")[:3]
        shown = ", ".join(f"{list(COLORS)[k]} {found.value[k]:.3f} ± {half[k]:.3f}" for k in order)
        shapley, influences = (values.values[:, list(COLORS).index(one)] for one in ("TMC-Shapley", "influence"))
        ahead = mean(sign * (shapley - influences))
        says = "Shapley ahead" if ahead.low > 0 else "influence ahead" if ahead.high < 0 else "no difference shown"
        lines.append(
            f"{measure.replace('_', ' ')}: best {shown}; TMC-Shapley − influence (paired, + = Shapley better) "
            f"{ahead.value:+.3f} ± {ahead.high - ahead.value:.3f}: {says}"
        )
    return "\n".join(lines)
