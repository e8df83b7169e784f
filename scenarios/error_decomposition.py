"""Figure 1: which error stands between leave-one-out retraining and an influence function?

Six endpoints, each differing from the next in one respect (Bae et al. 2022; mathematics §11):

    cold retraining → warm retraining → with ½λ‖θ − θˢ‖² → PBRF → linearised PBRF → an iterative solver's answer

and the five gaps between neighbours: warm-start, proximity, non-convergence, linearisation, solver. The notes say that
the first three dominate. Here the gaps are measured on five pairs of data set and model, over deleted points and seeds,
in the outputs and in the parameters; then the damping λ, the training time of θˢ and the width are swept on one pair.
Whether the first three dominate, by how much and where not is computed from the runs, with bootstrap intervals.

Sub-sampling: linear and logistic regression see all rows of diabetes and breast_cancer (the latter reduced to
`components` principal components); the networks see `rows` rows drawn at random (of the digits 0–4) and `components`
principal components, scaled to variance 1, so that every endpoint can be solved to stationarity with the full Hessian.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from homotopy import (
    MLP,
    Constant,
    CrossEntropyLoss,
    Dataset,
    LinearRegression,
    LogisticRegression,
    Problem,
    RequestError,
    datasets,
    simulate,
)
from homotopy.endpoints import ErrorDecomposition, LiSSA, decompose_error
from homotopy.run import Progress, Range, RunResult, Seed, check
from homotopy.viz import INK, MUTED, SERIES

GAPS = ("warm-start", "proximity", "non-convergence", "linearisation", "solver")
ENDPOINTS = ("cold", "warm", "proximal", "PBRF", "linearised PBRF", "solver")
_COLORS = SERIES[:5]
_FIRST = 3  # the gaps that the notes say dominate
_MINIMISERS = 4  # the endpoints that are minimisers, so that "not converged" is a fault and not what is measured
_DIGITS = 5  # classes 0–4: with all ten a run takes four times as long
_FLOOR = 1e-8  # gaps below are rounding or exactly 0; they are drawn as arrows at the floor of a logarithmic axis
_RESAMPLES = 2000


Pair = Literal["diabetes-linear", "breast_cancer-logistic", "diabetes-mlp", "digits-mlp", "teacher-mlp"]


@dataclass(frozen=True)
class Settings:
    """The pairs, how many runs each has, and what is swept."""

    pairs: Annotated[tuple[Pair, ...], Range(entries=1, once=True)] = (
        "diabetes-linear",
        "breast_cancer-logistic",
        "diabetes-mlp",
        "digits-mlp",
        "teacher-mlp",
    )
    """data set and model, a subset of the default"""
    points: Annotated[int, Range(least=1, most=1000)] = 10
    """deleted points of each pair, drawn at random, each deleted alone"""
    seeds: Annotated[int, Range(least=1, most=1000)] = 5
    """starts θ₀ of each pair"""
    damping: Annotated[float, Range(above=0, most=1e6)] = 0.1
    """λ of the proximity term ½λ‖θ − θˢ‖² and of the damped Hessian (mean convention)"""
    training_time: Annotated[float, Range(above=0, most=1e9)] = 300.0
    """how long θˢ was trained: time of the flow of the mean risk R/n, the same for every pair"""
    retrain_time: Annotated[float, Range(above=0, most=math.inf)] = math.inf
    """how long the cold and warm retrainings run (same unit); inf is to the limit of the flow"""
    weight_decay: Annotated[float, Range(least=1e-9, most=1e3)] = 0.001
    """ρ/n, the ridge of logistic regression and the networks in the mean convention; it makes the limits exist"""
    rows: Annotated[int, Range(least=0, most=537)] = 120
    """rows of diabetes and digits that the networks see"""
    components: Annotated[int, Range(least=0, most=61)] = 5
    """principal components that the networks and logistic regression see"""
    width: Annotated[int, Range(least=1, most=100)] = 4
    """neurons of the networks"""
    solver_steps: Annotated[int, Range(least=1, most=10**6)] = 1000
    """steps of LiSSA, the iterative solver at the end of the chain"""
    solver_batch: Annotated[int, Range(least=0, most=10**6)] = 32
    """points that LiSSA draws for a step, as the papers do; 0 takes all"""
    sweep_pair: Pair = "diabetes-mlp"
    """the pair of the sweeps"""
    sweep_dampings: Annotated[tuple[float, ...], Range(above=0, most=1e6)] = (0.001, 0.01, 0.1, 1.0)
    """values of λ"""
    sweep_times: Annotated[tuple[float, ...], Range(above=0, most=1e9)] = (10.0, 100.0, 1000.0, 10000.0)
    """training times"""
    sweep_widths: Annotated[tuple[int, ...], Range(least=1, most=100)] = (2, 4, 8)
    """widths"""
    level: Annotated[float, Range(above=0, below=1)] = 0.95
    """confidence level of every interval"""
    seed: Seed = 0
    """seed of the rows, the deleted points and the first θ₀"""


QUICK = Settings(
    pairs=("teacher-mlp",),
    points=3,
    seeds=2,
    width=2,
    sweep_pair="teacher-mlp",
    sweep_dampings=(0.01, 1.0),
    sweep_times=(10.0, 1000.0),
    sweep_widths=(),
)


def run(settings: Settings, progress: Progress) -> RunResult:
    """Decompose every pair, sweep one of them, draw both."""
    _check(settings)
    cells: list[tuple[str, str, Problem, Settings]] = [
        ("pair", name, _PAIRS[name](settings), settings) for name in settings.pairs
    ]
    for sweep, field, values in _sweeps(settings):
        for value in values:
            changed = replace(settings, **{field: value})  # type: ignore[arg-type]
            cells.append((sweep, f"{value:g}", _PAIRS[settings.sweep_pair](changed), changed))
    for _, _, problem, changed in cells:
        deleted_points(problem.n, changed)  # too many are refused before any work
    found: dict[tuple[str, str], ErrorDecomposition] = {}
    with progress.task("decomposing", len(cells) * settings.points * settings.seeds) as advance:
        for sweep, label, problem, changed in cells:
            found[sweep, label] = _decompose(problem, changed, advance)
    pairs = {label: found[sweep, label] for sweep, label in found if sweep == "pair"}
    figures = {"error_decomposition": _draw_pairs(pairs, settings)}
    sweeps = {
        sweep: {label: found[kind, label] for kind, label in found if kind == sweep}
        for sweep, _, values in _sweeps(settings)
        if values
    }
    if sweeps:
        figures["error_decomposition_sweeps"] = _draw_sweeps(sweeps, settings)
    failed = sum((~np.asarray(one.converged)[..., :_MINIMISERS]).sum(axis=(0, 1)) for one in found.values())
    runs = len(found) * settings.points * settings.seeds
    codes = {"successful": int(runs * _MINIMISERS - np.sum(failed))}
    codes |= {f"{name} not converged": int(k) for name, k in zip(ENDPOINTS, failed, strict=False) if k}
    return RunResult(
        figures=figures,
        data=_records(pairs, sweeps, cells, settings),
        summary=_summary(pairs, sweeps, settings),
        datasets=tuple(problem.data for sweep, _, problem, _ in cells if sweep == "pair"),
        result_codes=codes,
    )


# The problems ---------------------------------------------------------------------------------------------------------


def reduced(
    name: str, *, classes: int = 0, rows: int = 0, components: int = 0, intercept: bool = False, seed: int = 0
) -> Dataset:
    """A real data set with its first `classes` classes, its first principal components, each scaled to variance 1, and
    `rows` of its rows drawn at random (0: all of them, in each case)."""
    data = datasets.load(name)
    x, y = np.asarray(data.x), np.asarray(data.y)
    label = name
    if classes:
        x, y, label = x[y < classes], y[y < classes], f"{label}, {classes} classes"
    if components:
        left, sizes, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
        if components > (sizes > 1e-9 * sizes[0]).sum():
            raise RequestError(f"components must be at most the rank of {name}, but is {components}")
        x = left[:, :components] * np.sqrt(len(x))
        label += f", {components} components"
    if rows:
        if not 2 <= rows <= len(x):
            raise RequestError(f"rows must lie in 2…{len(x)} for {name}, but is {rows}")
        kept = np.sort(np.random.default_rng(seed).permutation(len(x))[:rows])
        x, y, label = x[kept], y[kept], label + f", {rows} rows"
    if intercept:
        x = np.column_stack([x, np.ones(len(x))])
    return Dataset(x, y, name=label)


def _network(data: Dataset, settings: Settings, **options) -> Problem:
    return Problem(MLP(width=settings.width), data, delete=0, ridge=settings.weight_decay * data.n, **options)


def _diabetes_linear(settings: Settings) -> Problem:
    return Problem(LinearRegression(), datasets.load("diabetes", intercept=True), delete=0)


def _breast_cancer_logistic(settings: Settings) -> Problem:
    data = reduced("breast_cancer", components=settings.components, intercept=True)
    return Problem(LogisticRegression(), data, delete=0, ridge=settings.weight_decay * data.n)


def _diabetes_mlp(settings: Settings) -> Problem:
    data = reduced("diabetes", rows=settings.rows, components=settings.components, seed=settings.seed)
    return _network(data, settings)


def _digits_mlp(settings: Settings) -> Problem:
    data = reduced("digits", classes=_DIGITS, rows=settings.rows, components=settings.components, seed=settings.seed)
    return _network(data, settings, loss=CrossEntropyLoss())


def _teacher_mlp(settings: Settings) -> Problem:
    return _network(datasets.teacher_student(n=30, seed=settings.seed), settings)


_PAIRS: dict[Pair, Callable[[Settings], Problem]] = {
    "diabetes-linear": _diabetes_linear,
    "breast_cancer-logistic": _breast_cancer_logistic,
    "diabetes-mlp": _diabetes_mlp,
    "digits-mlp": _digits_mlp,
    "teacher-mlp": _teacher_mlp,
}


def _sweeps(settings: Settings) -> list[tuple[str, str, Sequence[float]]]:
    return [
        ("damping λ", "damping", settings.sweep_dampings),
        ("training time of θˢ", "training_time", settings.sweep_times),
        ("width", "width", settings.sweep_widths),
    ]


def _check(settings: Settings) -> None:
    check(settings)
    if settings.sweep_widths and settings.sweep_pair in ("diabetes-linear", "breast_cancer-logistic"):
        raise RequestError(f"--sweep-pair {settings.sweep_pair} has no width; leave --sweep-widths empty")


def deleted_points(n: int, settings: Settings) -> np.ndarray:
    """The rows that are deleted, each alone."""
    if settings.points > n:
        raise RequestError(f"points must be at most the {n} rows of the data, but is {settings.points}")
    return np.sort(np.random.default_rng([settings.seed, 1]).permutation(n)[: settings.points])


def start(problem: Problem, seed: int) -> jax.Array:
    """θ₀: the model's own, but N(0, I) for logistic regression, whose own start is 0 for every seed."""
    if isinstance(problem.model, LogisticRegression):
        return jax.random.normal(jax.random.key(seed), (problem.dim,))
    return problem.initial(seed)


def _decompose(problem: Problem, settings: Settings, advance: Callable[..., None]) -> ErrorDecomposition:
    """Every seed and deleted point, with leading axes (seeds, points)."""
    solver = LiSSA(steps=settings.solver_steps, batch_size=settings.solver_batch or None)
    t1 = settings.training_time / problem.n  # sum convention
    retrain = settings.retrain_time / problem.n if np.isfinite(settings.retrain_time) else None
    rows = []
    for seed in range(settings.seed, settings.seed + settings.seeds):
        theta0 = start(problem, seed)
        theta_s = simulate(problem, Constant(1.0), theta0, t1=t1, ts=[t1]).theta1
        for j in deleted_points(problem.n, settings):
            rows.append(
                decompose_error(
                    problem.deleting(int(j)), theta0, theta_s=theta_s, damping=settings.damping,
                    retrain_t1=retrain, solver=solver,
                )
            )  # fmt: skip
            advance(1)
    return jax.tree.map(
        lambda *leaves: jnp.stack(leaves).reshape(settings.seeds, settings.points, *leaves[0].shape), *rows
    )


# What came out --------------------------------------------------------------------------------------------------------


def _cumulative(one: ErrorDecomposition, of: str, level: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Share of the first 1, 2, … 5 gaps in the sum of the five: mean over the runs, and its interval (each (5,)).

    A percentile bootstrap that draws seeds and points anew, independently, since runs that share either are related.
    """
    shares = np.cumsum(np.asarray(one.shares(of)), axis=-1)
    rng = np.random.default_rng(0)
    rows = rng.integers(shares.shape[0], size=(_RESAMPLES, shares.shape[0]))
    columns = rng.integers(shares.shape[1], size=(_RESAMPLES, shares.shape[1]))
    means = np.stack([shares[r][:, c].mean(axis=(0, 1)) for r, c in zip(rows, columns, strict=True)])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return shares.mean(axis=(0, 1)), low, high


def _first_three(one: ErrorDecomposition, of: str, level: float) -> tuple[float, float, float]:
    """Mean share of the first three gaps, and its interval."""
    mean, low, high = (float(values[_FIRST - 1]) for values in _cumulative(one, of, level))
    return mean, low, high


def _verdict(low: float, high: float) -> str:
    return "dominate" if low > 0.5 else "do NOT dominate" if high < 0.5 else "undecided"


def _unconverged(one: ErrorDecomposition) -> list[str]:
    """The minimisers that did not always converge, such as `cold 3/50`."""
    done = np.asarray(one.converged)[..., :_MINIMISERS].reshape(-1, _MINIMISERS)
    return [f"{name} {k}/{len(done)}" for name, k in zip(ENDPOINTS, (~done).sum(axis=0), strict=False) if k]


def _line(label: str, one: ErrorDecomposition, settings: Settings) -> str:
    parts = []
    for of in ("outputs", "parameters"):
        share, low, high = _first_three(one, of, settings.level)
        means = np.asarray(getattr(one, of)).mean(axis=(0, 1))
        ratio = means[:_FIRST].sum() / max(means[_FIRST:].sum(), np.finfo(float).tiny)
        parts.append(
            f"{of} {share:.1%} [{low:.1%}, {high:.1%}], {ratio:.3g} × the rest, largest {GAPS[int(means.argmax())]}: "
            f"{_verdict(low, high)}"
        )
    failed = _unconverged(one)
    return f"  {label}: " + "; ".join(parts) + (f"; NOT converged: {', '.join(failed)}" if failed else "")


def _counts(cells: dict[str, ErrorDecomposition], of: str, settings: Settings) -> tuple[int, list[str]]:
    """How many cells the first three dominate, and the labels of the others with their verdict."""
    verdicts = {label: _verdict(*_first_three(one, of, settings.level)[1:]) for label, one in cells.items()}
    others = [f"{label} ({verdict})" for label, verdict in verdicts.items() if verdict != "dominate"]
    return len(verdicts) - len(others), others


def _sentence(cells: dict[str, ErrorDecomposition], of: str, settings: Settings) -> str:
    yes, others = _counts(cells, of, settings)
    return f"{of}: the first three gaps dominate in {yes} of {len(cells)}" + (
        f", not in {', '.join(others)}" if others else ""
    )


def _summary(pairs, sweeps, settings: Settings) -> str:
    lines = [
        f"share of warm-start + proximity + non-convergence in the sum of the five gaps, {settings.points} points × "
        f"{settings.seeds} seeds, λ = {settings.damping:g}, {settings.level:.0%} intervals",
        *(_line(label, one, settings) for label, one in pairs.items()),
    ]
    for sweep, cells in sweeps.items():
        lines.append(f"{settings.sweep_pair}, sweeping {sweep}")
        lines += [_line(f"{sweep} = {label}", one, settings) for label, one in cells.items()]
    everything = dict(pairs)
    for sweep, cells in sweeps.items():
        everything |= {f"{settings.sweep_pair} at {sweep} = {label}": one for label, one in cells.items()}
    return "\n".join(lines + [f"in the {_sentence(everything, of, settings)}" for of in ("outputs", "parameters")])


def _records(pairs, sweeps, cells, settings: Settings) -> xr.Dataset:
    labels = list(pairs)
    seeds = np.arange(settings.seed, settings.seed + settings.seeds)
    variables: dict[str, tuple] = {}
    runs = ("seed", "point")

    def store(prefix: str, dim: str, some: Sequence[ErrorDecomposition]) -> None:
        for name, dims in (
            ("parameters", ("gap",)), ("outputs", ("gap",)), ("total_parameters", ()), ("total_outputs", ()),
            ("gradient_norms", ("endpoint",)), ("converged", ("endpoint",)),
        ):  # fmt: skip
            variables[prefix + name] = ((dim, *runs, *dims), np.stack([np.asarray(getattr(one, name)) for one in some]))

    store("", "pair", list(pairs.values()))
    coordinates: dict[str, object] = {"pair": labels, "seed": seeds, "gap": list(GAPS), "endpoint": list(ENDPOINTS)}
    deleted = [deleted_points(problem.n, settings) for sweep, _, problem, _ in cells if sweep == "pair"]
    variables["deleted_row"] = (("pair", "point"), np.stack(deleted))
    for sweep, field, values in _sweeps(settings):
        if sweep in sweeps:
            store(f"sweep_{field}_", field, list(sweeps[sweep].values()))
            coordinates[field] = list(values)
    return xr.Dataset(variables, coordinates, attrs={"sweep_pair": settings.sweep_pair, "damping": settings.damping})


# The pictures ---------------------------------------------------------------------------------------------------------


def _draw_pairs(pairs: dict[str, ErrorDecomposition], settings: Settings) -> Figure:
    figure, grid = plt.subplots(2, 2, figsize=(7.0 + 1.5 * len(pairs), 9.8), layout="constrained")
    for column, of in enumerate(("outputs", "parameters")):
        _stack(grid[0, column], pairs, of, settings)
        _levels(grid[1, column], pairs, of, settings)
        space = "function space (outputs on the data, rms)" if of == "outputs" else "parameter space (‖·‖ of θ)"
        yes, _ = _counts(pairs, of, settings)
        grid[0, column].set_title(f"{space}\nthe first three gaps dominate in {yes} of {len(pairs)} pairs", fontsize=11)
    _legend(figure, grid[0, 0])
    figure.suptitle(
        f"From leave-one-out retraining to an influence function: {settings.points} deleted points × {settings.seeds} "
        f"seeds, λ = {settings.damping:g}\n{settings.level:.0%} intervals; dotted: half of the sum; ✗: retrainings "
        "that did not converge",
        fontsize=12,
    )
    return figure


def _draw_sweeps(sweeps: dict[str, dict[str, ErrorDecomposition]], settings: Settings) -> Figure:
    figure, grid = plt.subplots(
        3, len(sweeps), figsize=(3.0 + 4.4 * len(sweeps), 11.5), layout="constrained", squeeze=False
    )
    for column, (sweep, cells) in enumerate(sweeps.items()):
        _stack(grid[0, column], cells, "outputs", settings)
        _stack(grid[1, column], cells, "parameters", settings)
        _levels(grid[2, column], cells, "outputs", settings)
        for row, of in ((0, "outputs"), (1, "parameters")):
            yes, _ = _counts(cells, of, settings)
            grid[row, column].set_title(f"{of}: first three dominate in {yes} of {len(cells)}", fontsize=11)
        for ax in grid[:, column]:
            ax.set_xlabel(sweep)
    _legend(figure, grid[0, 0])
    figure.suptitle(
        f"{settings.sweep_pair}: else λ = {settings.damping:g}, training time {settings.training_time:g}, "
        f"width {settings.width}; {settings.points} points × {settings.seeds} seeds",
        fontsize=12,
    )
    return figure


def _legend(figure: Figure, ax: Axes) -> None:
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(GAPS), fontsize=10, title="gap")


def _stack(ax: Axes, cells: dict[str, ErrorDecomposition], of: str, settings: Settings) -> None:
    """One bar per cell: the mean share of each gap, and at each boundary the interval of the share below it."""
    for place, one in enumerate(cells.values()):
        mean, low, high = _cumulative(one, of, settings.level)
        bottom = 0.0
        for k, name in enumerate(GAPS):
            style: dict[str, Any] = {"color": _COLORS[k], "edgecolor": "white", "label": name if place == 0 else None}
            ax.bar(place, mean[k] - bottom, 0.72, bottom=bottom, **style)
            bottom = mean[k]
        for k in range(len(GAPS) - 1):  # side by side, or they would hide one another
            if high[k] - low[k] > 2e-3:
                x = place + 0.12 * (k - 1.5)
                ax.errorbar(x, mean[k], [[mean[k] - low[k]], [high[k] - mean[k]]], color=INK, lw=1.1, capsize=2.5)
        total = float(np.asarray(getattr(one, of)).sum(axis=-1).mean())
        ax.text(place, 1.02, f"Σ {total:.2g}", ha="center", fontsize=9)
    ax.axhline(0.5, color=MUTED, ls=":", lw=1.0)
    ax.set(ylabel=f"share of the sum Σ of the gaps, {of}", ylim=(0.0, 1.08), yticks=np.linspace(0, 1, 5))
    ax.set_xlim(-0.5, len(cells) - 0.5)
    _ticks(ax, cells)


def _levels(ax: Axes, cells: dict[str, ErrorDecomposition], of: str, settings: Settings) -> None:
    """The gaps themselves on a logarithmic axis; arrows stand for gaps below the floor."""
    top = _FLOOR
    for place, one in enumerate(cells.values()):
        mean, low, high = one.interval(of, level=settings.level)
        top = max(top, float(high.max()))
        for k in range(len(GAPS)):
            x = place + 0.14 * (k - 2)
            if mean[k] < _FLOOR:
                ax.plot(x, 1.6 * _FLOOR, marker="v", color=_COLORS[k], ms=6, ls="")
            else:
                ends = [[max(mean[k] - low[k], 0.0)], [max(high[k] - mean[k], 0.0)]]
                ax.errorbar(x, mean[k], ends, fmt="o", color=_COLORS[k], ms=5, lw=1.4, capsize=2.5)
    ax.set_yscale("log")
    ax.set(ylabel=f"gap, {of} (▾: below {_FLOOR:.0e})", ylim=(_FLOOR, 4 * top))
    ax.set_xlim(-0.5, len(cells) - 0.5)
    ax.grid(axis="y", color=MUTED, alpha=0.25)
    _ticks(ax, cells)


def _ticks(ax: Axes, cells: dict[str, ErrorDecomposition]) -> None:
    labels = []
    for label, one in cells.items():
        failed = [part.replace(" ", " ✗ ") for part in _unconverged(one)]
        labels.append("\n".join([label.replace("-", "\n"), *failed]))
    ax.set_xticks(range(len(cells)), labels, fontsize=9)
