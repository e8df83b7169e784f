"""Does Shapley find informative and mislabelled points better than influence? Detection, removal, addition, with intervals.

Part of the training labels is wrong. Every method scores every training point by what it is worth for the validation
loss; then wrong labels are looked for at the bottom of the list, points are removed from the bottom and from the top and
added from the top, and the model is trained again each time and judged on test points that no method has seen.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import scipy.stats
import xarray as xr

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
from homotopy.run import Progress, Range, RunResult, Seed, check
from homotopy.viz import INK, MUTED, SERIES

METHODS = (
    "TMC-Shapley",
    "G-Shapley",
    "kNN-Shapley",
    "influence",
    "Newton",
    "leave-one-out",
    "flow",
    "Bayesian",
    "random",
)
_COLOURS = dict(zip(METHODS, (*SERIES[:6], "#F0E442", INK, MUTED), strict=True))
_CLASSES = {"breast_cancer": (0, 1), "digits": (3, 8), "iris": (0, 1, 2)}
_MEASURES = ("auc", "lds", "after removing the worst", "after removing the best", "with the best alone")


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


def run(settings: Settings, progress: Progress) -> RunResult:
    """Score, detect, remove, add, retrain, draw."""
    check(settings)
    tables = [_data(name, settings.components) for name in settings.sets]
    most = min(table.n for table in tables) // 2
    if settings.n > most:
        raise RequestError(f"--n must be at most {most}, half of the smallest data set, but is {settings.n}")
    counts = np.unique(np.round(np.linspace(0, 0.8, 9) * settings.n).astype(int))
    shape = (len(settings.sets), settings.repeats, len(METHODS))
    measures = {name: np.zeros(shape) for name in _MEASURES}
    curves = np.zeros((3, *shape, len(counts)))
    with progress.task("splits", len(settings.sets) * settings.repeats) as advance:
        for row, data in enumerate(tables):
            for repeat in range(settings.repeats):
                problem, validation, test, wrong = _split(data, settings, settings.seed + repeat)
                scores = _score(problem, validation, settings, settings.seed + repeat)
                found = _judge(problem, validation, test, wrong, scores, counts, settings, settings.seed + repeat)
                for column, (auc, lds, lines) in enumerate(found):
                    measures["auc"][row, repeat, column], measures["lds"][row, repeat, column] = auc, lds
                    curves[:, row, repeat, column] = lines
                advance(1)
    # Means over the curves, without the ends that all methods share: small and comparable numbers.
    for index, name in enumerate(_MEASURES[2:]):
        measures[name] = curves[index, ..., 1:].mean(axis=-1)
    figure = _draw(settings, counts, measures, curves)
    signs = (1, 1, 1, -1, 1)  # of two methods the better one has the larger value, except where the best are taken away
    lines = [_verdict(measures[name], name, sign) for name, sign in zip(_MEASURES, signs, strict=True)]
    dims = ("set", "repeat", "method")
    records = {name.replace(" ", "_"): xr.Variable(dims, values) for name, values in measures.items()}
    for index, name in enumerate(("curve_worst_first", "curve_best_first", "curve_addition")):
        records[name] = xr.Variable((*dims, "count"), curves[index])
    table = xr.Dataset(records, coords={"set": list(settings.sets), "method": list(METHODS), "count": counts})
    return RunResult(
        figures={"shapley_against_influence": figure},
        data=table,
        summary="\n".join(lines),
        datasets=tuple(tables),
        result_codes={"successful": len(settings.sets) * settings.repeats},
    )


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


def _split(data: Dataset, settings: Settings, seed: int):
    """Training problem with wrong labels, validation points (as many, at most 60), the rest for the test."""
    rng = np.random.default_rng([seed, 0])
    rows = rng.permutation(data.n)
    n = settings.n
    check = min(n, (data.n - n) // 2)
    train, validation, test = np.split(rows, [n, n + check])
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
    orders, batch = settings.permutations, min(50, settings.permutations)
    found = {
        "TMC-Shapley": truncated_monte_carlo_shapley(
            utility, problem.n, permutations=orders, stop_change=None, seed=seed, batch_size=batch
        ).values,
        "G-Shapley": gradient_shapley(
            problem, utility, step=0.1, permutations=orders, stop_change=None, seed=seed, batch_size=batch
        ).values,
        "kNN-Shapley": knn_shapley(problem.data.x, problem.data.y, validation.x, validation.y, 5),
        "influence": np.asarray(influence_matrix(problem, validation, theta=theta)).mean(axis=0),
        "leave-one-out": leave_one_out_values(utility, problem.n),
    }
    newton = np.stack([newton_estimate(problem.deleting(i), theta=theta).theta for i in range(problem.n)])
    found["Newton"] = utility.at(np.asarray(theta)[None])[0] - utility.at(newton)

    flow = flow_influence_kernel(
        problem, np.zeros(problem.dim), t1=settings.flow_time, ts=[0.0, settings.flow_time],
        queries=_MeanLoss(problem, validation), rtol=1e-6, atol=1e-8,
    )  # fmt: skip
    found["flow"] = np.asarray(flow.removal[0, 0])
    bayes = bayesian_influence(
        problem, theta, inverse_temperature=1.0, localisation=0.1, draws=settings.draws, chains=4, seed=seed,
        queries=_MeanLoss(problem, validation),
    )  # fmt: skip
    found["Bayesian"] = np.asarray(bayes.removal[0])
    found["random"] = np.random.default_rng([seed, 9]).standard_normal(problem.n)
    return found


class _MeanLoss(eqx.Module):
    """θ ↦ mean validation loss."""

    problem: Problem
    queries: Dataset

    def __call__(self, theta):
        outputs = self.problem.predict(theta, self.queries.x)
        return jnp.mean(jax.vmap(self.problem.loss.value)(outputs, self.queries.y))


def _judge(problem, validation, test, wrong, scores, counts, settings, seed):
    """AUC, datamodelling score and the three curves of test accuracy, for every method."""
    accuracy = RefitUtility(problem, test, score="accuracy")
    utility = RefitUtility(problem, validation)
    actual = utility(datamodelling_subsets(problem.n, subsets=settings.subsets, seed=seed))
    found = []
    for method in METHODS:
        values = scores[method]
        lds = linear_datamodelling_score(values, None, subsets=settings.subsets, seed=seed, actual=actual).score
        lines = [
            removal_curve(values, accuracy, counts, best_first=False)[1],
            removal_curve(values, accuracy, counts)[1],
            addition_curve(values, accuracy, counts)[1],
        ]
        found.append((mislabel_auc(values, wrong), lds, np.stack(lines)))
    return found


def _interval(values: np.ndarray) -> tuple[float, float]:
    """Mean and 95 % half-width by Student's t."""
    values = values.reshape(-1)
    error = values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(scipy.stats.t.ppf(0.975, len(values) - 1) * error)


def _verdict(values: np.ndarray, name: str, sign: int) -> str:
    """The best method over all sets, and by how much TMC-Shapley beats influence, paired split by split."""
    means = {method: _interval(values[:, :, k]) for k, method in enumerate(METHODS)}
    order = sorted(means, key=lambda method: -sign * means[method][0])
    shown = ", ".join(f"{method} {means[method][0]:.3f} ± {means[method][1]:.3f}" for method in order[:3])
    gain, half = _interval(
        sign * (values[:, :, METHODS.index("TMC-Shapley")] - values[:, :, METHODS.index("influence")])
    )
    says = "Shapley ahead" if gain - half > 0 else "influence ahead" if gain + half < 0 else "no difference shown"
    return (
        f"{name}: best {shown}; TMC-Shapley − influence (paired, + = Shapley better) {gain:+.3f} ± {half:.3f}: {says}"
    )


def _draw(settings: Settings, counts: np.ndarray, measures: dict, curves: np.ndarray):
    rows = len(settings.sets)
    figure, grid = plt.subplots(rows, 4, figsize=(16, 3.5 * rows + 0.5), layout="constrained", squeeze=False)
    share = counts / settings.n
    titles = ("worst removed first: should rise", "best removed first: should fall", "best added first: should rise")
    for row, name in enumerate(settings.sets):
        bars = grid[row, 0]
        for k, method in enumerate(METHODS):
            for place, (measure, marker) in enumerate((("auc", "o"), ("lds", "s"))):
                mean, half = _interval(measures[measure][row, :, k])
                hollow = {"mfc": "white"} if place else {}
                at = k + 0.16 * (2 * place - 1)
                bars.errorbar(mean, at, xerr=half, fmt=marker, color=_COLOURS[method], ms=6, capsize=2, **hollow)
        bars.axvline(0.5, color=MUTED, lw=0.8)
        bars.axvline(0.0, color=MUTED, lw=0.8)
        bars.set_yticks(range(len(METHODS)), METHODS)
        bars.invert_yaxis()
        bars.set(xlabel="● AUC for wrong labels   □ datamodelling score", title=f"{name}: detection and prediction")
        for index, title in enumerate(titles):
            axis = grid[row, index + 1]
            for k, method in enumerate(METHODS):
                axis.plot(
                    share, curves[index, row, :, k].mean(axis=0), "-", color=_COLOURS[method], lw=1.6, label=method
                )
            what = "added" if index == 2 else "removed"
            axis.set(xlabel=f"share of the {settings.n} points {what}", ylabel="test accuracy", title=title)
            axis.title.set_fontsize(10.5)
        bars.title.set_fontsize(10.5)
    figure.legend(*grid[0, 1].get_legend_handles_labels(), loc="outside lower center", ncols=9, fontsize=9)
    figure.suptitle(
        f"{100 * settings.noise:.0f} % of {settings.n} training labels wrong; mean of {settings.repeats} splits, "
        "bars: 95 % intervals",
        fontsize=12,
    )
    return figure
