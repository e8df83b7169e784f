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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Any, Literal, get_args

import jax
import jax.numpy as jnp
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
from homotopy.run import Progress, Range, Seed, check, grid, record
from homotopy.viz import panels

from ._data import reduced
from ._gaps import ENDPOINTS, GAPS, MINIMISERS, counts, levels, line, sentence, stack

_DIGITS = 5  # classes 0–4: with all ten a run takes four times as long
_SAVED: dict[str, tuple[str, ...]] = {
    "parameters": ("gap",), "outputs": ("gap",), "total_parameters": (), "total_outputs": (),
    "gradient_norms": ("endpoint",), "converged": ("endpoint",),
}  # fmt: skip

Pair = Literal["diabetes-linear", "breast_cancer-logistic", "diabetes-mlp", "digits-mlp", "teacher-mlp"]


@dataclass(frozen=True)
class Settings:
    """The pairs, how many runs each has, and what is swept."""

    pairs: Annotated[tuple[Pair, ...], Range(entries=1, once=True)] = get_args(Pair)
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
    pairs=("teacher-mlp",), points=3, seeds=2, width=2, sweep_pair="teacher-mlp", sweep_dampings=(0.01, 1.0),
    sweep_times=(10.0, 1000.0), sweep_widths=(),
)  # fmt: skip


def compute(settings: Settings, progress: Progress) -> xr.Dataset:
    """Decompose every pair, sweep one of them."""
    check(settings)
    if settings.sweep_widths and settings.sweep_pair in ("diabetes-linear", "breast_cancer-logistic"):
        raise RequestError(f"--sweep-pair {settings.sweep_pair} has no width; leave --sweep-widths empty")
    made: dict[str, dict[Any, tuple[Problem, Settings]]] = {
        "pair": {name: (_PAIRS[name](settings), settings) for name in settings.pairs}
    }
    for _, field, values in _sweeps(settings):
        changed = {value: replace(settings, **{field: value}) for value in values}  # type: ignore[arg-type]  # a field chosen by its name
        made[field] = {value: (_PAIRS[settings.sweep_pair](here), here) for value, here in changed.items()}
    # Too many are refused before any work.
    deleted = {
        dim: [_deleted_points(problem.n, settings) for problem, _ in cells.values()] for dim, cells in made.items()
    }
    parts = {dim: _decompose(dim, cells, progress) for dim, cells in made.items()}
    flags = np.concatenate([part[f"{_prefix(dim)}converged"].values.reshape(-1, 6) for dim, part in parts.items()])
    failed = (flags[:, :MINIMISERS] != 1).sum(axis=0)
    codes = {"successful": len(flags) * MINIMISERS - int(failed.sum())}
    codes |= {f"{name} not converged": int(count) for name, count in zip(ENDPOINTS, failed, strict=False)}
    data = xr.merge(list(parts.values()), combine_attrs="drop").assign_coords(gap=list(GAPS), endpoint=list(ENDPOINTS))
    data["deleted_row"] = (("pair", "point"), np.stack(deleted["pair"]))
    return record(data, *(problem.data for problem, _ in made["pair"].values()), codes=codes)


def _prefix(dim: str) -> str:
    return "" if dim == "pair" else f"sweep_{dim}_"


def _decompose(dim: str, made: Mapping[Any, tuple[Problem, Settings]], progress: Progress) -> xr.Dataset:
    """The gaps of every value of `dim` (a problem, and its settings), seed and deleted point."""
    _, settings = next(iter(made.values()))

    @cache
    def trained(value: Any, seed: int) -> tuple[jax.Array, jax.Array]:
        problem, here = made[value]
        theta0, t1 = _start(problem, seed), here.training_time / problem.n  # sum convention
        return theta0, simulate(problem, Constant(1.0), theta0, t1=t1, ts=[t1]).theta1

    def cell(seed: int, point: int, **at: Any) -> dict[str, Any]:
        problem, here = made[at[dim]]
        theta0, theta_s = trained(at[dim], seed)
        found = decompose_error(
            problem.deleting(int(_deleted_points(problem.n, here)[point])), theta0, theta_s=theta_s, damping=here.damping,
            retrain_t1=here.retrain_time / problem.n if np.isfinite(here.retrain_time) else None,
            solver=LiSSA(steps=here.solver_steps, batch_size=here.solver_batch or None),
        )  # fmt: skip
        return {
            _prefix(dim) + name: (dims, np.asarray(getattr(found, name), dtype=float)) for name, dims in _SAVED.items()
        }

    seeds = range(settings.seed, settings.seed + settings.seeds)
    axes = {dim: list(made), "seed": seeds, "point": range(settings.points)}
    return grid(axes, cell, progress, f"decomposing, every {dim.replace('_', ' ')}")


def _cells(data: xr.Dataset, dim: str) -> dict[str, ErrorDecomposition]:
    """The decompositions of each value of `dim`, by its name."""
    cells = {}
    for value in data[dim].values:
        at = data.sel({dim: value})
        saved = {name: jnp.asarray(at[_prefix(dim) + name].values) for name in _SAVED}
        saved["converged"] = saved["converged"] == 1
        label = str(value) if dim == "pair" else f"{value:g}"
        cells[label] = ErrorDecomposition(**saved, thetas=jnp.zeros((*saved["converged"].shape, 1)))
    return cells


def _network(data: Dataset, settings: Settings, **options: Any) -> Problem:
    return Problem(MLP(width=settings.width), data, delete=0, ridge=settings.weight_decay * data.n, **options)


def _diabetes_linear(settings: Settings) -> Problem:
    return Problem(LinearRegression(), datasets.load("diabetes", intercept=True), delete=0)


def _breast_cancer_logistic(settings: Settings) -> Problem:
    data = reduced("breast_cancer", components=settings.components, intercept=True)
    return Problem(LogisticRegression(), data, delete=0, ridge=settings.weight_decay * data.n)


def _some(name: str, settings: Settings, classes: int = 0) -> Dataset:
    """The rows and components that a network sees."""
    return reduced(name, classes=classes, rows=settings.rows, components=settings.components, seed=settings.seed)


_PAIRS: dict[Pair, Callable[[Settings], Problem]] = {
    "diabetes-linear": _diabetes_linear,
    "breast_cancer-logistic": _breast_cancer_logistic,
    "diabetes-mlp": lambda it: _network(_some("diabetes", it), it),
    "digits-mlp": lambda it: _network(_some("digits", it, classes=_DIGITS), it, loss=CrossEntropyLoss()),
    "teacher-mlp": lambda it: _network(datasets.teacher_student(n=30, seed=it.seed), it),
}


def _sweeps(settings: Settings) -> list[tuple[str, str, Sequence[float]]]:
    """Name, setting and values of each sweep that has values."""
    sweeps: list[tuple[str, str, Sequence[float]]] = [
        ("damping λ", "damping", settings.sweep_dampings),
        ("training time of θˢ", "training_time", settings.sweep_times),
        ("width", "width", settings.sweep_widths),
    ]
    return [sweep for sweep in sweeps if sweep[2]]


def _deleted_points(n: int, settings: Settings) -> np.ndarray:
    """The rows that are deleted, each alone."""
    if settings.points > n:
        raise RequestError(f"points must be at most the {n} rows of the data, but is {settings.points}")
    return np.sort(np.random.default_rng([settings.seed, 1]).permutation(n)[: settings.points])


def _start(problem: Problem, seed: int) -> jax.Array:
    """θ₀: the model's own, but N(0, I) for logistic regression, whose own start is 0 for every seed."""
    if isinstance(problem.model, LogisticRegression):
        return jax.random.normal(jax.random.key(seed), (problem.dim,))
    return problem.initial(seed)


def draw(data: xr.Dataset, settings: Settings) -> dict[str, Figure]:
    """Shares and sizes of the gaps, in both spaces: of the pairs, and along the sweeps."""
    pairs, both = _cells(data, "pair"), ("outputs", "parameters")
    figure, axes = panels(2, 2, width=3.5 + 0.75 * len(pairs), height=4.9)
    for of, (shares, sizes) in zip(both, axes.T, strict=True):
        stack(shares, pairs, of, settings.level)
        levels(sizes, pairs, of, settings.level)
        space = "function space (outputs on the data, rms)" if of == "outputs" else "parameter space (‖·‖ of θ)"
        yes, _ = counts(pairs, of, settings.level)
        shares.set_title(f"{space}\nthe first three gaps dominate in {yes} of {len(pairs)} pairs")
    title = f"{settings.points} deleted points × {settings.seeds} seeds"
    figure.suptitle(
        f"From leave-one-out retraining to an influence function: {title}, λ = {settings.damping:g}\n{settings.level:.0%} "
        "intervals; dotted: half of the sum; ✗: retrainings that did not converge",
        fontsize=12,
    )
    figures, sweeps = {"error_decomposition": _with_legend(figure, axes[0, 0])}, _sweeps(settings)
    if not sweeps:
        return figures
    figure, axes = panels(3, len(sweeps), width=5.2, height=3.9)
    for (sweep, field, _), column in zip(sweeps, axes.T, strict=True):
        cells = _cells(data, field)
        for ax, of in zip(column, both, strict=False):
            stack(ax, cells, of, settings.level)
            ax.set_title(f"{of}: first three dominate in {counts(cells, of, settings.level)[0]} of {len(cells)}")
        levels(column[2], cells, "outputs", settings.level)
        for ax in column:
            ax.set_xlabel(sweep)
    figure.suptitle(
        f"{settings.sweep_pair}: else λ = {settings.damping:g}, training time {settings.training_time:g}, width "
        f"{settings.width}; {title}",
        fontsize=12,
    )
    return figures | {"error_decomposition_sweeps": _with_legend(figure, axes[0, 0])}


def _with_legend(figure: Figure, ax: Axes) -> Figure:
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=len(GAPS), title="gap")
    return figure


def tell(data: xr.Dataset, settings: Settings) -> str:
    """Whether the first three gaps dominate, for every pair and along every sweep."""
    pairs = _cells(data, "pair")
    lines = [
        f"share of warm-start + proximity + non-convergence in the sum of the five gaps, {settings.points} points × "
        f"{settings.seeds} seeds, λ = {settings.damping:g}, {settings.level:.0%} intervals",
        *(line(label, one, settings.level) for label, one in pairs.items()),
    ]
    everything = dict(pairs)
    for sweep, field, _ in _sweeps(settings):
        cells = _cells(data, field)
        lines.append(f"{settings.sweep_pair}, sweeping {sweep}")
        lines += [line(f"{sweep} = {label}", one, settings.level) for label, one in cells.items()]
        everything |= {f"{settings.sweep_pair} at {sweep} = {label}": one for label, one in cells.items()}
    return "\n".join(lines + [f"in the {sentence(everything, of, settings.level)}" for of in ("outputs", "parameters")])
