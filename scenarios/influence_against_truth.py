"""Does an influence function predict what removing a point does? Predicted against actual change, for every estimate.

Points and groups are removed from four trained models: linear regression (diabetes), logistic regression
(breast_cancer), a network at the limit of its flow, and the same network stopped early. Six estimates of where θ goes
(influence, influence/(1−h), one Newton step, the continued path, the PBRF, the flow's sensitivity; and the damped
Gauss–Newton influence, whose target is the PBRF) are held against three truths: cold retraining from θ₀, warm
retraining from the trained model, and the PBRF. The quantity is the change of the loss on held-out queries, or on the
removed points themselves, evaluated at the estimated θ.

Sign and scale: + = removing increases the loss; the mean loss of the queries (or of the removed points), the whole set
removed (not per unit of 1/n).

Where the network is stopped early its θ is not stationary, so the exact influence, the Newton step and the path do not
exist; the truths are then retrainings of the same length, from θ₀ (cold) and from the trained model (warm).

Sub-sampling: linear and logistic regression see all rows of diabetes and breast_cancer (the latter reduced to
`components` principal components), less the queries; the network sees `rows` rows of diabetes and `components`
principal components, with a weight decay, so that every retraining can be run to its end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from homotopy import MLP, LinearRegression, LogisticRegression, Problem, RequestError, optimum
from homotopy.run import Progress, Range, Seed, check, grid, record
from homotopy.viz import MUTED, SERIES, panels, plot_interval

from ._agreement import STATISTICS, of_all, scatter
from ._data import reduced
from ._removal import MEASURES, PREDICTORS, TRUTHS, Case, remove, trained

CaseName = Literal["linear", "logistic", "mlp", "mlp-early"]
_TRUTH_NAMES = {"cold": "cold retraining", "warm": "warm retraining", "PBRF": "PBRF"}
_AXIS = {"queries": "mean loss of the held-out queries", "own": "mean loss of the removed points"}
_LABELS = {"slope": "slope: actual on predicted"} | {name: f"{name} correlation" for name in STATISTICS[1:]}
_COLORS = dict(zip(TRUTHS, (SERIES[0], SERIES[1], SERIES[2]), strict=True))


@dataclass(frozen=True)
class Settings:
    """The models, what is removed from them, and how the change is measured."""

    cases: Annotated[tuple[CaseName, ...], Range(entries=1, once=True)] = get_args(CaseName)
    """models, a subset of the default"""
    sets: Annotated[int, Range(least=4, most=1000)] = 40
    """removed points, and removed groups of each size, drawn at random"""
    shares: Annotated[tuple[float, ...], Range(above=0, most=0.5, once=True)] = (0.01, 0.05, 0.1, 0.25)
    """sizes of the groups, as shares of the training points"""
    measure: Literal["queries", "own"] = "queries"
    """whose loss is drawn: `queries` (held out) or `own` (of the removed points); the file has both"""
    damping: Annotated[float, Range(above=0, most=1e6)] = 0.01
    """λ of the PBRF and of the damped Gauss–Newton influence (mean convention)"""
    weight_decay: Annotated[float, Range(least=1e-9, most=1e3)] = 0.001
    """ρ/n, the ridge of logistic regression and the network in the mean convention; it makes the limits exist"""
    rows: Annotated[int, Range(least=10, most=442)] = 150
    """rows of diabetes that the network sees, queries included"""
    components: Annotated[int, Range(least=1, most=30)] = 5
    """principal components that the network and logistic regression see"""
    width: Annotated[int, Range(least=1, most=100)] = 4
    """neurons of the network"""
    held_out: Annotated[float, Range(above=0, below=0.9)] = 0.2
    """share of the rows that are queries"""
    limit_time: Annotated[float, Range(above=0, most=1e9)] = 3000.0
    """how long the flow's sensitivity is integrated for the converged models: time of the flow of the mean risk R/n"""
    early_time: Annotated[float, Range(above=0, most=1e9)] = 30.0
    """when `mlp-early` stops (same unit)"""
    rtol: Annotated[float, Range(least=1e-12, most=1e-2)] = 1e-6
    """relative tolerance of the flow"""
    level: Annotated[float, Range(above=0, below=1)] = 0.95
    """confidence level of every interval (bootstrap over the removed sets)"""
    seed: Seed = 0
    """seed of the rows, of the removed sets and of θ₀"""


QUICK = Settings(cases=("linear",), sets=25, shares=())


def compute(settings: Settings, progress: Progress) -> xr.Dataset:
    """Remove every set from every model, and compare."""
    check(settings)
    cases: dict[str, Case] = {name: _case(name, settings) for name in settings.cases}
    fewest = min(case.problem.n for case in cases.values())
    if settings.sets > fewest:
        raise RequestError(f"--sets must be at most the {fewest} training points, but is {settings.sets}")
    sizes = [0.0, *settings.shares]
    removed: dict[tuple[str, float], np.ndarray] = {
        (name, size): _removed_sets(one.problem.n, size, settings) for name, one in cases.items() for size in sizes
    }

    def cell(case: str, size: float, set: int) -> dict[str, Any]:
        predicted, actual, converged = remove(cases[case], removed[case, size][set], settings.damping)
        return {
            "predicted": (("measure", "predictor"), predicted),
            "actual": (("measure", "truth"), actual),
            "converged": ("truth", converged.astype(float)),
        }

    axes: dict[str, Sequence[Any]] = {"case": list(cases), "size": sizes, "set": range(settings.sets)}
    data = grid(axes, cell, progress, "removing").assign_coords(
        measure=list(MEASURES), predictor=list(PREDICTORS), truth=list(TRUTHS)
    )
    drawn = data.sel(measure=settings.measure)
    pairs = [zip(*rows, strict=True) for rows in zip(drawn["predicted"].values, drawn["actual"].values, strict=True)]
    compared = [[of_all(predicted, actual, settings.level) for predicted, actual in rows] for rows in pairs]
    data["agreement"] = (("case", "size", "predictor", "truth", "statistic", "interval"), np.array(compared))
    data["points"] = (("case", "size"), [[removed[name, size].shape[1] for size in sizes] for name in cases])
    data["training_points"] = ("case", [case.problem.n for case in cases.values()])
    for name, one in cases.items():
        mask = np.zeros((len(sizes), settings.sets, one.problem.n), np.int8)
        for s, size in enumerate(sizes):
            np.put_along_axis(mask[s], removed[name, size], 1, axis=1)
        data[f"removed_{name}"] = (("size", "set", f"row_{name}"), mask)
    for name in ("predicted", "actual"):
        data[name].attrs = {"long_name": "change of the mean loss", "sign": "+ = removing increases the loss"}
    data["size"].attrs["long_name"] = "share of the training points removed; 0 is a single point"
    data = data.assign_coords(statistic=list(STATISTICS), interval=["value", "low", "high"])
    codes = {"successful": int((data["converged"] == 1).sum())}
    codes |= {f"{_TRUTH_NAMES[truth]} not converged": count for truth, count in _failures(data).items()}
    return record(data, *(case.problem.data for case in cases.values()), codes=codes)


def _case(name: str, settings: Settings) -> Case:
    if name == "linear":
        data = reduced("diabetes", intercept=True)
    elif name == "logistic":
        data = reduced("breast_cancer", components=settings.components, intercept=True)
    else:
        data = reduced("diabetes", rows=settings.rows, components=settings.components, seed=settings.seed)
    order = np.random.default_rng([settings.seed, 2]).permutation(data.n)
    held = max(1, round(settings.held_out * data.n))
    train, queries = data.subset(np.sort(order[held:])), data.subset(np.sort(order[:held]))
    ridge = settings.weight_decay * train.n
    if name == "linear":
        problem = Problem(LinearRegression(), train, delete=0)
    elif name == "logistic":
        problem = Problem(LogisticRegression(), train, delete=0, ridge=ridge)
    else:
        problem = Problem(MLP(width=settings.width), train, delete=0, ridge=ridge)
    theta0, early = problem.initial(settings.seed), name == "mlp-early"
    t1, rtol = (settings.early_time if early else settings.limit_time) / train.n, settings.rtol
    theta = trained(problem, theta0, 1.0, t1, rtol) if early else optimum(problem, start=theta0).theta
    return Case(problem, queries, theta0, theta, early, t1, rtol)


def _removed_sets(n: int, share: float, settings: Settings) -> np.ndarray:
    """The removed rows (sets, k): different single points for share 0, else random groups of share·n points."""
    rng = np.random.default_rng([settings.seed, 3, round(1e6 * share)])
    if share == 0:
        return np.sort(rng.permutation(n)[: settings.sets])[:, None]
    size = max(1, round(share * n))
    return np.stack([np.sort(rng.permutation(n)[:size]) for _ in range(settings.sets)])


def _failures(data: xr.Dataset) -> dict[str, int]:
    """How many retrainings of each kind did not converge, where some did not."""
    counts = {truth: int((data["converged"].sel(truth=truth) != 1).sum()) for truth in TRUTHS}
    return {truth: count for truth, count in counts.items() if count}


def _comparisons(data: xr.Dataset, case: str) -> list[tuple[str, str]]:
    """(predictor, truth) of what the case has, without the PBRF against itself."""
    has = [p for p in PREDICTORS if np.isfinite(data["predicted"].sel(case=case, predictor=p)).any()]
    return [(p, t) for p in has for t in TRUTHS if not p == t == "PBRF"]


def _size_name(data: xr.Dataset, case: str, size: float) -> str:
    n = int(data["training_points"].sel(case=case))
    if size == 0:
        return f"single points of {n}"
    return f"groups of {size:.0%} ({int(data['points'].sel(case=case, size=size))} of {n})"


def draw(data: xr.Dataset, settings: Settings) -> dict[str, Figure]:
    """Predicted against actual for single points, how well they agree, and how that changes with the size of a group."""
    kinds = {"influence_against_truth": _scatters, "influence_correlations": _agreement, "influence_groups": _groups}
    return {stem: kind(data, settings) for stem, kind in kinds.items() if settings.shares or kind is not _groups}


def _scatters(data: xr.Dataset, settings: Settings) -> Figure:
    """Rows: models; columns: estimates; colours: truths; single points."""
    figure, axes = panels(len(settings.cases), len(PREDICTORS), width=2.55, height=3.2)
    for row, case in zip(axes, settings.cases, strict=True):
        here = data.sel(case=case, size=0.0)
        for ax, predictor in zip(row, PREDICTORS, strict=True):
            ax.set_title(predictor)
            truths = [truth for against, truth in _comparisons(data, case) if against == predictor]
            if not truths:
                ax.annotate("needs a\nstationary model", (0.5, 0.5), ha="center", va="center", color=MUTED)
                ax.set(xticks=[], yticks=[])
                continue
            drawn = here.sel(measure=settings.measure, predictor=predictor)
            pearson = drawn["agreement"].sel(statistic="Pearson", interval="value")
            actual = {t: (drawn["actual"].sel(truth=t).values, float(pearson.sel(truth=t)), _COLORS[t]) for t in truths}
            scatter(ax, drawn["predicted"].values, actual)
        note = "".join(f"\n✗ {count} {_TRUTH_NAMES[truth]}" for truth, count in _failures(here).items())
        row[0].set_ylabel(f"{case}{note}\nactual change")
    _legend(figure, "o", plt.Line2D([], [], color=MUTED, ls="--", label="predicted = actual"))
    figure.suptitle(
        f"Removing one point: predicted (across) against actual (up) change of the {_AXIS[settings.measure]}\n"
        "+ = removing the point increases the loss; whole point removed; r: Pearson",
        fontsize=13,
    )
    return figure


def _legend(figure: Figure, marker: str, *more: plt.Line2D) -> None:
    style: dict[str, Any] = {"marker": marker, "ls": "" if more else "-"}
    handles = [plt.Line2D([], [], color=_COLORS[t], label=f"against {_TRUTH_NAMES[t]}", **style) for t in TRUTHS]
    figure.legend(handles=[*handles, *more], loc="outside lower center", ncols=4, fontsize=10)


def _agreement(data: xr.Dataset, settings: Settings) -> Figure:
    """Slope, Pearson and Spearman of every estimate against every truth, with intervals; single points."""
    figure, axes = panels(len(STATISTICS), len(settings.cases), width=max(4.5, 8.5 / len(settings.cases)), height=3.2)
    for case, column in zip(settings.cases, axes.T, strict=True):
        for statistic, ax in zip(STATISTICS, column, strict=True):
            for predictor, truth in _comparisons(data, case):
                at = {"case": case, "size": 0.0, "predictor": predictor, "truth": truth, "statistic": statistic}
                x = PREDICTORS.index(predictor) + 0.2 * (TRUTHS.index(truth) - 1)
                plot_interval(x, data["agreement"].sel(at).values, ax, color=_COLORS[truth])
            ax.axhline(1.0, color=MUTED, ls=":", lw=1.0)
            ax.set_xticks(range(len(PREDICTORS)), PREDICTORS, fontsize=8.5, rotation=40, ha="right")
            ax.set(xlim=(-0.6, len(PREDICTORS) - 0.4), ylabel=_LABELS[statistic])
        column[0].set_title(f"{case}, {_size_name(data, case, 0.0)}")
    _legend(figure, "o")
    figure.suptitle(
        f"Removing one point: change of the {_AXIS[settings.measure]}\n+ = removing increases it; "
        f"{settings.level:.0%} bootstrap intervals; 1 is perfect",
        fontsize=12,
    )
    return figure


def _groups(data: xr.Dataset, settings: Settings) -> Figure:
    """Spearman and slope against cold retraining as the removed group grows."""
    figure, axes = panels(2, len(settings.cases), width=max(4.2, 8.5 / len(settings.cases)), height=3.9)
    styles = dict(zip(PREDICTORS, zip(SERIES, "osD^vPX", strict=True), strict=True))
    for case, column in zip(settings.cases, axes.T, strict=True):
        # A share that amounts to one point is the single point again.
        points = data["points"].sel(case=case)
        points = points[(points["size"] == 0) | (points > 1)]
        shares = 100 * points.values / int(data["training_points"].sel(case=case))
        cold = data["agreement"].sel(case=case, size=points["size"].values, truth="cold")
        for statistic, ax in zip(("Spearman", "slope"), column, strict=True):
            for p, predictor in enumerate(dict.fromkeys(p for p, _ in _comparisons(data, case))):
                found = cold.sel(predictor=predictor, statistic=statistic).values.T
                (color, marker), x = styles[predictor], shares * 1.035 ** (p - 3)  # side by side
                plot_interval(x, found, ax, color=color, fmt=f"{marker}-", lw=1.2)
            ax.axhline(1.0, color=MUTED, ls=":", lw=1.0)
            ax.set(xscale="log", xlabel="removed, % of the training points (first: one)", ylabel=_LABELS[statistic])
            ax.set_xticks(shares, [f"{share:.2g}" for share in shares])
            ax.minorticks_off()
        column[0].set_title(case)
    handles = [plt.Line2D([], [], color=color, marker=marker, label=name) for name, (color, marker) in styles.items()]
    columns = len(PREDICTORS) if len(settings.cases) > 1 else 4
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)
    figure.suptitle(
        f"Groups against cold retraining: change of the {_AXIS[settings.measure]}\n+ = removing increases it; "
        f"{settings.level:.0%} intervals",
        fontsize=12,
    )
    return figure


def tell(data: xr.Dataset, settings: Settings) -> str:
    """Rank correlations of single points and of the largest groups; what has no estimate, and what did not converge."""
    lines = [
        f"rank correlation (Spearman, {settings.level:.0%} interval, {settings.sets} sets each) of the predicted with the "
        f"actual change of the {_AXIS[settings.measure]}; slopes and Pearson are in the figures, every change in data.nc"
    ]
    for case in settings.cases:
        compared = _comparisons(data, case)
        for size in [0.0, settings.shares[-1]] if settings.shares else [0.0]:
            here = data.sel(case=case, size=size)
            lines.append(f"{case}, {_size_name(data, case, size)}")
            for truth in TRUTHS:
                spearman = here["agreement"].sel(truth=truth, statistic="Spearman")
                found = {p: spearman.sel(predictor=p).values for p, against in compared if against == truth}
                told = [
                    f"{p} {value:.3f} [{low:.2f}, {high:.2f}]" if np.isfinite(value) else f"{p} none"
                    for p, (value, low, high) in found.items()
                ]
                lines.append(f"  {_TRUTH_NAMES[truth]}: {', '.join(told)}")
            lacking = {p: int(np.isnan(here["predicted"].sel(predictor=p)[:, 0]).sum()) for p, _ in compared}
            if any(lacking.values()):
                told = [f"{count} sets without {p}" for p, count in lacking.items() if count]
                lines.append(f"  {', '.join(told)}: an indefinite Hessian, or a fold of the path")
    if failed := _failures(data):
        lines.append("left out, NOT converged: " + ", ".join(f"{_TRUTH_NAMES[t]} {k}" for t, k in failed.items()))
    return "\n".join(lines)
