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

from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import rankdata

from homotopy import (
    MLP,
    Constant,
    Dataset,
    LinearRegression,
    LogisticRegression,
    Problem,
    RequestError,
    WorkError,
    leave_one_out,
    optimum,
    sensitivity,
    simulate,
)
from homotopy.endpoints import corrected_influence, influence, newton_estimate, path, pbrf
from homotopy.run import Progress, Range, RunResult, Seed, check
from homotopy.viz import INK, MUTED, SERIES

from .error_decomposition import reduced

PREDICTORS = ("IF", "IF/(1−h)", "Newton", "path", "IF, GN+λ", "PBRF", "flow sensitivity")
TRUTHS = ("cold", "warm", "PBRF")
MEASURES = ("queries", "own")
STATISTICS = ("slope", "Pearson", "Spearman")
_TRUTH_NAMES = {"cold": "cold retraining", "warm": "warm retraining", "PBRF": "PBRF"}
_AXIS = {"queries": "mean loss of the held-out queries", "own": "mean loss of the removed points"}
_COLORS = dict(zip(TRUTHS, (SERIES[0], SERIES[1], SERIES[2]), strict=True))
_RESAMPLES = 1000


@dataclass(frozen=True)
class Settings:
    """The models, what is removed from them, and how the change is measured."""

    cases: Annotated[tuple[Literal["linear", "logistic", "mlp", "mlp-early"], ...], Range(entries=1, once=True)] = (
        "linear",
        "logistic",
        "mlp",
        "mlp-early",
    )
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


class _Case(NamedTuple):
    problem: Problem
    queries: Dataset
    theta0: jax.Array
    theta: jax.Array  # the trained model
    early: bool


class _Removed(NamedTuple):
    """One removed set: changes of loss (measures, …), NaN where there is none, and which truths converged."""

    predicted: np.ndarray
    actual: np.ndarray
    converged: np.ndarray


def run(settings: Settings, progress: Progress) -> RunResult:
    """Remove every set from every model, compare, draw."""
    _check(settings)
    cases = {name: _case(name, settings) for name in settings.cases}
    fewest = min(case.problem.n for case in cases.values())
    if settings.sets > fewest:
        raise RequestError(f"--sets must be at most the {fewest} training points, but is {settings.sets}")
    sizes = [0.0, *settings.shares]
    predicted = np.full((len(cases), len(sizes), settings.sets, len(MEASURES), len(PREDICTORS)), np.nan)
    actual = np.full((len(cases), len(sizes), settings.sets, len(MEASURES), len(TRUTHS)), np.nan)
    converged = np.zeros((*actual.shape[:3], len(TRUTHS)), bool)
    removed: dict[tuple[str, int], np.ndarray] = {}
    with progress.task("removing", len(cases) * len(sizes) * settings.sets) as advance:
        for c, (name, case) in enumerate(cases.items()):
            for s, share in enumerate(sizes):
                removed[name, s] = removed_sets(case.problem.n, share, settings)
                for k, rows in enumerate(removed[name, s]):
                    one = _remove(case, rows, settings)
                    predicted[c, s, k], actual[c, s, k], converged[c, s, k] = one
                    advance(1)
    data = _records(cases, sizes, predicted, actual, converged, removed)
    codes = {"successful": int(converged.sum())}
    codes |= {f"{_TRUTH_NAMES[t]} not converged": int(k) for t, k in _failures(converged).items() if k}
    figures = {
        "influence_against_truth": _draw_scatter(data, settings),
        "influence_correlations": _draw_statistics(data, settings),
    }
    if settings.shares:
        figures["influence_groups"] = _draw_groups(data, settings)
    return RunResult(
        figures=figures,
        data=data,
        summary=_summary(data, settings),
        datasets=tuple(case.problem.data for case in cases.values()),
        result_codes=codes,
    )


# The models -----------------------------------------------------------------------------------------------------------


def _check(settings: Settings) -> None:
    check(settings)


def _case(name: str, settings: Settings) -> _Case:
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
    theta0 = problem.initial(settings.seed)
    early = name == "mlp-early"
    theta = _trained(problem, theta0, 1.0, settings) if early else optimum(problem, start=theta0).theta
    return _Case(problem, queries, theta0, theta, early)


def removed_sets(n: int, share: float, settings: Settings) -> np.ndarray:
    """The removed rows (sets, k): different single points for share 0, else random groups of share·n points."""
    rng = np.random.default_rng([settings.seed, 3, round(1e6 * share)])
    if share == 0:
        return np.sort(rng.permutation(n)[: settings.sets])[:, None]
    size = max(1, round(share * n))
    return np.stack([np.sort(rng.permutation(n)[:size]) for _ in range(settings.sets)])


def _trained(problem: Problem, start: jax.Array, epsilon: float, settings: Settings) -> jax.Array:
    """θ(t) at `early_time` for constant ε."""
    t1, rtol = settings.early_time / problem.n, settings.rtol
    return simulate(problem, Constant(epsilon), start, t1=t1, ts=[t1], rtol=rtol, atol=1e-2 * rtol).theta1


# One removal ----------------------------------------------------------------------------------------------------------


def _remove(case: _Case, rows: np.ndarray, settings: Settings) -> _Removed:
    problem, theta, damping = case.problem.deleting(rows), case.theta, settings.damping
    response = pbrf(problem, theta, damping=damping, throw=False)
    estimates: dict[str, jax.Array] = {"PBRF": response.theta}
    estimates["IF, GN+λ"] = influence(problem, theta=theta, hessian="gauss-newton", damping=damping).estimate
    if case.early:
        estimates["IF/(1−h)"] = corrected_influence(
            problem, theta=theta, hessian="gauss-newton", damping=damping
        ).estimate
        cold, warm = (_trained(problem, start, 0.0, settings) for start in (case.theta0, theta))
        done = [True, True]  # trained for a time, not to a minimum; a failed solve raises
    else:
        estimates["IF"] = influence(problem, theta=theta).estimate
        estimates["IF/(1−h)"] = corrected_influence(problem, theta=theta).estimate
        with suppress(WorkError):  # without the group the Hessian may be indefinite: then there is no such estimate
            estimates["Newton"] = newton_estimate(problem, theta=theta).theta
        estimates["path"] = path(problem, [1.0, 0.0], start=theta, on_fold="stop").thetas[-1]
        ends = [
            leave_one_out(problem, theta0=case.theta0, throw=False),
            leave_one_out(problem, start="warm", theta=theta, throw=False),
        ]
        cold, warm = (end.theta for end in ends)
        done = [bool(end.converged) for end in ends]
    t1 = (settings.early_time if case.early else settings.limit_time) / problem.n
    flow = sensitivity(
        problem, Constant(1.0), case.theta0, t1=t1, ts=[t1], rtol=settings.rtol, atol=1e-2 * settings.rtol,
        solver="tsit5",  # for so few parameters its many steps take less time than the factorisations of a stiff solver
    )  # fmt: skip
    before = _losses(problem, case.queries, theta)
    predicted = np.full((len(MEASURES), len(PREDICTORS)), np.nan)
    for p, name in enumerate(PREDICTORS):
        if name in estimates and np.isfinite(np.asarray(estimates[name])).all():
            predicted[:, p] = _losses(problem, case.queries, estimates[name]) - before
        elif name == "flow sensitivity":
            moved = flow.thetas[-1] - flow.sensitivities[-1]
            predicted[:, p] = _losses(problem, case.queries, moved) - _losses(problem, case.queries, flow.thetas[-1])
    converged = np.array([*done, bool(response.converged)])
    actual = np.stack([_losses(problem, case.queries, end) - before for end in (cold, warm, response.theta)], axis=1)
    return _Removed(predicted, np.where(converged, actual, np.nan), converged)


def _losses(problem: Problem, queries: Dataset, theta: jax.Array) -> np.ndarray:
    """Mean loss of the queries and of the removed points."""
    return np.asarray(_mean_losses(problem, queries, theta))


@jax.jit
def _mean_losses(problem: Problem, queries: Dataset, theta: jax.Array) -> jax.Array:
    own = problem.deleted_loss(theta) / problem.delete.shape[0]
    outside = jax.vmap(problem.loss.value)(problem.predict(theta, queries.x), queries.y)
    return jnp.stack([jnp.mean(outside), own])


# The numbers ----------------------------------------------------------------------------------------------------------


def compare(predicted: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """Slope of the least-squares line actual = a + slope·predicted, Pearson's r and Spearman's ρ, along the last axis.

    Returns (…, 3); NaN where either side does not vary.
    """
    ranks = rankdata(predicted, axis=-1), rankdata(actual, axis=-1)
    slope, pearson = _regression(predicted, actual)
    return np.stack([slope, pearson, _regression(*ranks)[1]], axis=-1)


def _regression(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, y = x - x.mean(axis=-1, keepdims=True), y - y.mean(axis=-1, keepdims=True)
    both, own_x, own_y = (x * y).sum(axis=-1), (x * x).sum(axis=-1), (y * y).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = np.where(own_x > 0, both / own_x, np.nan)
        return slope, np.where((own_x > 0) & (own_y > 0), both / np.sqrt(own_x) / np.sqrt(own_y), np.nan)


def _intervals(predicted: np.ndarray, actual: np.ndarray, level: float) -> np.ndarray:
    """(3, 3): value, lower and upper end (rows) of slope, Pearson and Spearman (columns); NaN below four sets."""
    good = np.isfinite(predicted) & np.isfinite(actual)
    predicted, actual = predicted[good], actual[good]
    if len(predicted) < 4:
        return np.full((3, 3), np.nan)
    draws = np.random.default_rng(0).integers(len(predicted), size=(_RESAMPLES, len(predicted)))
    resampled = compare(predicted[draws], actual[draws])
    resampled = resampled[np.isfinite(resampled).all(axis=-1)]
    if len(resampled) == 0:
        return np.full((3, 3), np.nan)
    ends = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return np.stack([compare(predicted, actual), *ends])


def _records(cases, sizes, predicted, actual, converged, removed) -> xr.Dataset:
    base = ("case", "size", "set")
    attributes = {"long_name": "change of the mean loss", "sign": "+ = removing increases the loss"}
    variables: dict[str, tuple] = {
        "predicted": ((*base, "measure", "predictor"), predicted, attributes),
        "actual": ((*base, "measure", "truth"), actual, attributes),
        "converged": ((*base, "truth"), converged),
        "points": (("case", "size"), [[removed[name, s].shape[1] for s in range(len(sizes))] for name in cases]),
        "training_points": (("case",), [case.problem.n for case in cases.values()]),
    }
    for name, case in cases.items():
        mask = np.zeros((len(sizes), predicted.shape[2], case.problem.n), np.int8)
        for s in range(len(sizes)):
            np.put_along_axis(mask[s], removed[name, s], 1, axis=1)
        variables[f"removed_{name}"] = (("size", "set", f"row_{name}"), mask)
    coordinates = {
        "case": list(cases), "size": sizes, "measure": list(MEASURES), "predictor": list(PREDICTORS),
        "truth": list(TRUTHS),
    }  # fmt: skip
    found = xr.Dataset(variables, coordinates)
    found["size"].attrs["long_name"] = "share of the training points removed; 0 is a single point"
    return found


def _failures(converged: np.ndarray) -> dict[str, int]:
    return dict(zip(TRUTHS, (~converged).reshape(-1, len(TRUTHS)).sum(axis=0).tolist(), strict=True))


def _pair(
    data: xr.Dataset, case: str, size: float, predictor: str, truth: str, measure: str
) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and actual changes of one panel (sets,)."""
    at = data.sel(case=case, size=size, measure=measure)
    return at["predicted"].sel(predictor=predictor).values, at["actual"].sel(truth=truth).values


def _statistics(data: xr.Dataset, case: str, size: float, predictor: str, truth: str, settings: Settings) -> np.ndarray:
    return _intervals(*_pair(data, case, size, predictor, truth, settings.measure), settings.level)


def _comparisons(data: xr.Dataset, case: str) -> list[tuple[str, str]]:
    """(predictor, truth) of what the case has, without the PBRF against itself."""
    has = [p for p in PREDICTORS if np.isfinite(data["predicted"].sel(case=case, predictor=p)).any()]
    return [(p, t) for p in has for t in TRUTHS if not p == t == "PBRF"]


def _summary(data: xr.Dataset, settings: Settings) -> str:
    lines = [
        f"rank correlation (Spearman, {settings.level:.0%} interval, {settings.sets} sets each) of the predicted with the "
        f"actual change of the {_AXIS[settings.measure]}; slopes and Pearson are in the figures, every change in data.nc"
    ]
    for case in data["case"].values:
        for size in [0.0, float(data["size"].values[-1])] if settings.shares else [0.0]:
            lines.append(f"{case}, {_size_name(data, case, size)}")
            for truth in TRUTHS:
                ranks = {
                    predictor: _statistics(data, case, size, predictor, truth, settings)[
                        :, STATISTICS.index("Spearman")
                    ]
                    for predictor, against in _comparisons(data, case)
                    if against == truth
                }
                told = (
                    f"{predictor} {value:.3f} [{low:.2f}, {high:.2f}]" if np.isfinite(value) else f"{predictor} none"
                    for predictor, (value, low, high) in ranks.items()
                )
                lines.append(f"  {_TRUTH_NAMES[truth]}: {', '.join(told)}")
            missing = {
                p: int(np.isnan(data["predicted"].sel(case=case, size=size, predictor=p)[:, 0]).sum())
                for p, _ in _comparisons(data, case)
            }
            if any(missing.values()):
                told = (f"{count} sets without {p}" for p, count in missing.items() if count)
                lines.append(f"  {', '.join(told)}: an indefinite Hessian, or a fold of the path")
    failed = {t: k for t, k in _failures(data["converged"].values).items() if k}
    if failed:
        lines.append("left out, NOT converged: " + ", ".join(f"{_TRUTH_NAMES[t]} {k}" for t, k in failed.items()))
    return "\n".join(lines)


def _size_name(data: xr.Dataset, case: str, size: float) -> str:
    n = int(data["training_points"].sel(case=case))
    if size == 0:
        return f"single points of {n}"
    return f"groups of {size:.0%} ({int(data['points'].sel(case=case, size=size))} of {n})"


# The pictures ---------------------------------------------------------------------------------------------------------


def _draw_scatter(data: xr.Dataset, settings: Settings) -> Figure:
    """Rows: models; columns: estimates; colours: truths; single points."""
    cases = list(data["case"].values)
    figure, grid = plt.subplots(
        len(cases), len(PREDICTORS), figsize=(2.55 * len(PREDICTORS), 1.4 + 2.75 * len(cases)), layout="constrained",
        squeeze=False,
    )  # fmt: skip
    for row, case in enumerate(cases):
        compared = _comparisons(data, case)
        for column, predictor in enumerate(PREDICTORS):
            ax = grid[row, column]
            _scatter(ax, data, case, predictor, [t for p, t in compared if p == predictor], settings)
            if row == 0:
                ax.set_title(predictor, fontsize=12)
        failed = {t: k for t, k in _failures(data["converged"].sel(case=case, size=0.0).values).items() if k}
        note = "".join(f"\n✗ {k} {_TRUTH_NAMES[t]}" for t, k in failed.items())
        grid[row, 0].set_ylabel(f"{case}{note}\nactual change", fontsize=11)
    handles = [
        plt.Line2D([], [], marker="o", ls="", color=_COLORS[t], label=f"against {_TRUTH_NAMES[t]}") for t in TRUTHS
    ]
    handles.append(plt.Line2D([], [], color=MUTED, ls="--", label="predicted = actual"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=11)
    figure.suptitle(
        f"Removing one point: predicted (across) against actual (up) change of the {_AXIS[settings.measure]}\n"
        "+ = removing the point increases the loss; whole point removed; r: Pearson",
        fontsize=13,
    )
    return figure


def _scatter(ax: Axes, data: xr.Dataset, case: str, predictor: str, truths: list[str], settings: Settings) -> None:
    if not truths:
        ax.text(0.5, 0.5, "needs a\nstationary model", ha="center", va="center", color=MUTED, transform=ax.transAxes)
        ax.set(xticks=[], yticks=[])
        return
    seen = [_pair(data, case, 0.0, predictor, truth, settings.measure) for truth in truths]
    for (predicted, actual), truth, marker in zip(seen, truths, "o+x", strict=False):
        ax.plot(predicted, actual, marker, ms=4.5 if marker == "o" else 5, color=_COLORS[truth], alpha=0.75, mew=1.1)
        value = _intervals(predicted, actual, settings.level)[0]
        place = 0.95 - 0.1 * TRUTHS.index(truth)
        style: dict[str, Any] = {"color": _COLORS[truth], "fontsize": 9, "va": "top", "transform": ax.transAxes}
        ax.text(0.04, place, f"{truth} r {value[1]:.3f}", **style)
    # The actual changes set the scale: one wild prediction must not make all the others one dot.
    actual = np.concatenate([pair[1] for pair in seen])
    centre, reach = 0.5 * (np.nanmax(actual) + np.nanmin(actual)), 1.5 * (np.nanmax(actual) - np.nanmin(actual))
    both = np.concatenate([np.clip(np.concatenate(pair), centre - reach, centre + reach) for pair in seen])
    low, high = np.nanmin(both), np.nanmax(both)
    margin = 0.08 * (high - low) or 1.0
    outside = int(np.sum(np.abs(np.concatenate([pair[0] for pair in seen[:1]]) - centre) > reach))
    if outside:
        ax.text(0.97, 0.04, f"{outside} outside", ha="right", fontsize=8, color=MUTED, transform=ax.transAxes)
    ax.plot([low, high], [low, high], "--", color=MUTED, lw=1.0, zorder=0)
    ax.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin))
    ax.ticklabel_format(style="sci", scilimits=(-2, 3))
    ax.tick_params(labelsize=8)
    ax.locator_params(nbins=4)


def _draw_statistics(data: xr.Dataset, settings: Settings) -> Figure:
    """Slope, Pearson and Spearman of every estimate against every truth, with intervals; single points."""
    cases = list(data["case"].values)
    size = max(8.5, 1.6 + 3.9 * len(cases)), 9.4
    figure, grid = plt.subplots(len(STATISTICS), len(cases), figsize=size, layout="constrained", squeeze=False)
    for column, case in enumerate(cases):
        compared = _comparisons(data, case)
        for predictor, truth in compared:
            found = _statistics(data, case, 0.0, predictor, truth, settings)
            x = PREDICTORS.index(predictor) + 0.2 * (TRUTHS.index(truth) - 1)
            for row in range(len(STATISTICS)):
                _point(grid[row, column], x, found[:, row], _COLORS[truth])
        for row, statistic in enumerate(STATISTICS):
            ax = grid[row, column]
            ax.axhline(1.0, color=MUTED, ls=":", lw=1.0)
            ax.set_xticks(range(len(PREDICTORS)), PREDICTORS, fontsize=8.5, rotation=40, ha="right")
            ax.set_xlim(-0.6, len(PREDICTORS) - 0.4)
            if column == 0:
                ax.set_ylabel("slope: actual on predicted" if statistic == "slope" else f"{statistic} correlation")
        grid[0, column].set_title(f"{case}, {_size_name(data, case, 0.0)}", fontsize=11)
    handles = [plt.Line2D([], [], marker="o", color=_COLORS[t], label=f"against {_TRUTH_NAMES[t]}") for t in TRUTHS]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=10)
    figure.suptitle(
        f"Removing one point: change of the {_AXIS[settings.measure]}\n+ = removing increases it; "
        f"{settings.level:.0%} bootstrap intervals; 1 is perfect",
        fontsize=12,
    )
    return figure


def _point(ax: Axes, x: float, found: np.ndarray, color: str) -> None:
    """Value and interval; `found` is (value, low, high)."""
    value, low, high = found
    if np.isfinite(found).all():
        ends = [[max(value - low, 0.0)], [max(high - value, 0.0)]]
        ax.errorbar(x, value, ends, fmt="o", color=color, ms=4.5, lw=1.3, capsize=2)


def _draw_groups(data: xr.Dataset, settings: Settings) -> Figure:
    """Spearman and slope against cold retraining as the removed group grows."""
    cases = list(data["case"].values)
    figure, grid = plt.subplots(
        2, len(cases), figsize=(max(8.5, 2.2 + 4.0 * len(cases)), 7.8), layout="constrained", squeeze=False
    )
    styles = dict(zip(PREDICTORS, zip(SERIES, "osD^vPX", strict=True), strict=True))
    for column, case in enumerate(cases):
        # A share that amounts to one point is the single point again.
        sizes = [size for size in data["size"].values if size == 0 or int(data["points"].sel(case=case, size=size)) > 1]
        shares = 100 * data["points"].sel(case=case, size=sizes).values / int(data["training_points"].sel(case=case))
        for p, predictor in enumerate(dict.fromkeys(p for p, _ in _comparisons(data, case))):
            found = np.stack([_statistics(data, case, size, predictor, "cold", settings) for size in sizes])
            color, marker = styles[predictor]
            for row, k in enumerate((STATISTICS.index("Spearman"), STATISTICS.index("slope"))):
                value, low, high = found[:, :, k].T
                x = shares * 1.035 ** (p - 3)  # side by side
                ends = [np.maximum(value - low, 0.0), np.maximum(high - value, 0.0)]
                grid[row, column].errorbar(x, value, ends, color=color, marker=marker, ms=4.5, lw=1.2, capsize=2)
        for row, label in enumerate(("Spearman correlation", "slope: actual on predicted")):
            ax = grid[row, column]
            ax.axhline(1.0, color=MUTED, ls=":", lw=1.0)
            ax.set_xscale("log")
            ax.set_xticks(shares, [f"{share:.2g}" for share in shares])
            ax.minorticks_off()
            ax.set(xlabel="removed, % of the training points (first: one point)")
            if column == 0:
                ax.set_ylabel(label)
        grid[0, column].set_title(case, fontsize=11)
    handles = [plt.Line2D([], [], color=color, marker=marker, label=name) for name, (color, marker) in styles.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(PREDICTORS) if len(cases) > 1 else 4)
    figure.suptitle(
        f"Groups against cold retraining: change of the {_AXIS[settings.measure]}\n+ = removing increases it; "
        f"{settings.level:.0%} intervals",
        fontsize=12, color=INK,
    )  # fmt: skip
    return figure
