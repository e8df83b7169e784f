"""Which ε(t) wins? Every family on the same problem, against the certified bound; and every point of diabetes in turn.

A linear problem of the plane (the random one where the best ε(t) gains most, of those where θ*₋ is not reached exactly),
a linear regression on diabetes, a logistic regression on breast_cancer and a 3-neuron network: each gets the baseline
1_[0,s], greedy, and the best schedule of every family. The table has each E, how far it is above the lower bound that
holds for every admissible ε(t) (linear problems) or above the best that was found (others), and the seconds it took.
Then, on diabetes, each point is the deleted one in turn: how much would each gain?
"""

import json
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, get_args

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from homotopy import (
    MLP,
    AbstractFamily,
    LogisticRegression,
    Problem,
    SearchResult,
    Step,
    datasets,
    leave_one_out,
    search,
    search_all,
    simulate,
)
from homotopy.run import Progress, Range, Seed, check, codes_of, grid, need, record
from homotopy.scheduler import FAMILIES as DEFAULTS, gains, spoken_gain
from homotopy.viz import INK, MUTED, RETAINED, SERIES, legend_below, panels, plot_gains, plot_schedule

from ._data import reduced
from ._instances import TRAINED, Instance, most_moving, random_instance, slowest

ProblemName = Literal["plane", "diabetes", "logistic", "network"]
Family = Literal[
    "bang-bang", "step", "piecewise-constant", "polynomial", "piecewise-linear", "linear", "neural", "greedy"
]
PROBLEMS: tuple[ProblemName, ...] = get_args(ProblemName)
FAMILIES: tuple[Family, ...] = get_args(Family)
_CLEAR = 1e-4  # of the baseline: instances whose best energy is below are as good as reached


@dataclass(frozen=True)
class Settings:
    """The problems, the families, and how hard each is searched."""

    problems: Annotated[tuple[ProblemName, ...], Range(entries=1, once=True)] = PROBLEMS
    """a subset of the default"""
    families: Annotated[tuple[Family, ...], Range(entries=1, once=True)] = FAMILIES
    """a subset of the default; the baseline 1_[0,s] is always there"""
    candidates: Annotated[int, Range(least=1, most=10_000)] = 200
    """random problems of the plane that are looked through for the one that is shown"""
    span: Annotated[float, Range(least=1e-6, most=1e4)] = 2.0
    """horizon T in units of 1/λ_min of the retained Hessian"""
    starts: Annotated[int, Range(least=1, most=1000)] = 3
    """starts of a search that has several"""
    pieces: Annotated[int, Range(least=1, most=1000)] = 40
    """levels of the piecewise constant family"""
    gains: Annotated[int, Range(least=0, most=442)] = 442
    """rows of diabetes that are deleted in turn (the first ones)"""
    network_t1: Annotated[float, Range(least=1e-6, most=1e6)] = 4.0
    """horizon T of the network"""
    seed: Seed = 0
    """first seed"""


QUICK = Settings(problems=("plane",), families=("bang-bang", "step", "linear"), candidates=40, gains=60)


class _Case(NamedTuple):
    problem: Problem
    theta0: np.ndarray
    target: np.ndarray | None  # None: `search` knows it
    s: float
    t1: float


def compute(settings: Settings, progress: Progress) -> xr.Dataset:
    """Search every family on every problem, then every row of diabetes."""
    check(settings)
    if settings.gains or {"diabetes", "logistic"} & set(settings.problems):
        need("data", "diabetes and breast_cancer (--problems plane network --gains 0 leaves them out)")
    case = cache(lambda name: _CASES[name](settings))

    def cell(problem: ProblemName, family: Family) -> dict[str, Any]:
        given = case(problem)
        found = search(
            given.problem, given.theta0, s=given.s, t1=given.t1, family=_family(settings, given, family),
            target=given.target,
        )  # fmt: skip
        return {
            "energy": found.energy, "seconds": found.seconds, "switches": float(found.switches),
            "residual": found.pontryagin_residual, "distance": ("time", _distances(given, found.schedule)),
            "result": found.to_json(),
        }  # fmt: skip

    def window(problem: ProblemName) -> dict[str, Any]:
        given = case(problem)
        return {"s": given.s, "t1": given.t1, "distance_baseline": ("time", _distances(given, Step(given.s)))}

    axes = {"problem": settings.problems, "family": settings.families}
    found = grid(axes, cell, progress, "searching")
    data = xr.merge(
        [found, grid({"problem": settings.problems}, window, progress, "baselines")], combine_attrs="override"
    )
    every = [_results(data, name) for name in settings.problems]
    data["baseline"] = ("problem", [next(iter(results.values())).baseline_energy for results in every])
    data["bound"] = ("problem", [_bound(results)[0] for results in every])
    codes = codes_of(found)
    used = [case(name).problem.data for name in settings.problems]
    if settings.gains:
        diabetes = _diabetes(settings)
        rows = np.arange(min(settings.gains, diabetes.problem.n))
        table = search_all(diabetes.problem, diabetes.theta0, s=diabetes.s, t1=diabetes.t1, delete=rows)
        data = data.assign(
            diabetes_energy=("row", table.energies), diabetes_baseline=("row", table.baseline_energies),
            diabetes_lower_bound=("row", table.lower_bounds), diabetes_switches=("row", table.switches),
            diabetes_certified=("row", table.certified.astype(int)),
        )  # fmt: skip
        data.attrs["diabetes"] = f"diabetes, each of {len(rows)} rows deleted in turn: {table}"
        codes["successful"] += len(rows)
    return record(data, *used, codes=codes)


def _distances(case: _Case, schedule: Any) -> np.ndarray:
    """‖θ(t) − θ*₋‖ at 241 times from 0 to T."""
    target = np.asarray(leave_one_out(case.problem, theta0=case.theta0).theta if case.target is None else case.target)
    ts = np.linspace(0.0, case.t1, 241)
    thetas = np.asarray(simulate(case.problem, schedule, case.theta0, t1=case.t1, ts=ts).thetas)
    return np.linalg.norm(thetas - target[None, :], axis=1)


def _family(settings: Settings, case: _Case, name: Family) -> AbstractFamily:
    """The family with the settings that it has; knots keep their own number of pieces."""
    options = {"starts": settings.starts, "seed": settings.seed}
    if name != "piecewise-linear":
        options["pieces"] = settings.pieces
    return DEFAULTS[name].having(case.problem.least_squares, **options)


def _results(data: xr.Dataset, name: str) -> dict[str, SearchResult]:
    """What each family found on a problem, of those that did."""
    texts = zip(data["family"].values, data["result"].sel(problem=name).values, strict=True)
    return {str(family): SearchResult.from_dict(json.loads(text)) for family, text in texts if text}


def _plane(settings: Settings) -> _Case:
    """The random problem of the plane whose best ε(t) gains most without reaching θ*₋."""

    def instance(seed: int) -> Instance:
        return random_instance(seed, 2, 20, settings.span, deleted="high-leverage")

    def gain(seed: int) -> tuple[float, int]:
        given = instance(seed)
        best = search(given.problem, given.theta0, s=given.s, t1=given.t1, family="bang-bang", certify="none")
        return (best.ratio if best.ratio < 1 / _CLEAR else 0.0), seed

    given = instance(max(map(gain, range(settings.seed, settings.seed + settings.candidates)))[1])
    return _Case(given.problem, given.theta0, None, given.s, given.t1)


def _diabetes(settings: Settings) -> _Case:
    """diabetes standardised, from θ₀ = 0; the row that moves the optimum most."""
    data = datasets.load("diabetes", intercept=True)
    problem = most_moving(data)
    t1 = settings.span / slowest(problem)
    return _Case(problem, np.zeros(problem.dim), None, TRAINED * t1, t1)


def _logistic(settings: Settings) -> _Case:
    """breast_cancer on four principal components; the row whose loss at the optimum is largest."""
    data = reduced("breast_cancer", components=4, intercept=True)
    problem = Problem(LogisticRegression(), data, delete=0, ridge=0.1)
    theta = leave_one_out(problem).theta
    problem = problem.deleting(int(np.argmax(np.asarray(problem.losses(theta)))))
    target = np.asarray(leave_one_out(problem).theta)
    t1 = settings.span / float(np.linalg.eigvalsh(np.asarray(problem.hessian(target, 0.0)))[0])
    return _Case(problem, np.zeros(problem.dim), target, TRAINED * t1, t1)


def _network(settings: Settings) -> _Case:
    """Three tanh neurons on 20 points; θ*₋ is the cold endpoint; the point with the largest target."""
    data = datasets.teacher_student(seed=settings.seed)
    row = int(np.argmax(np.abs(np.asarray(data.y))))
    problem = Problem(MLP(width=3), data, delete=row, ridge=1e-2)
    theta0 = np.asarray(problem.initial(settings.seed))
    target = np.asarray(leave_one_out(problem, start="cold", theta0=theta0).theta)
    return _Case(problem, theta0, target, TRAINED * settings.network_t1, settings.network_t1)


_CASES = {"plane": _plane, "diabetes": _diabetes, "logistic": _logistic, "network": _network}


def _bound(results: dict[str, SearchResult]) -> tuple[float, str]:
    """The largest lower bound on every ε(t), or the best energy found where nothing is proven; and which."""
    proven = [result.certificate for result in results.values() if result.certificate.kind != "local"]
    if proven:
        sharpest = max(proven, key=lambda certificate: certificate.lower_bound)
        return sharpest.lower_bound, f"lower bound ({sharpest.kind})"
    return min(result.energy for result in results.values()), "best found (no bound is proven)"


def draw(data: xr.Dataset, settings: Settings) -> dict[str, plt.Figure]:
    """For each problem the energies, ε(t) of each family, and the distances; the gains of the rows of diabetes."""
    figure, axes = panels(len(settings.problems), 3, width=4.7, height=3.8, width_ratios=(1.1, 1.2, 1.0))
    colors = {family: (*SERIES, MUTED)[k] for k, family in enumerate(FAMILIES)} | {"1_[0,s]": INK}
    for (bars, curves, paths), name in zip(axes, settings.problems, strict=True):
        here, results = data.sel(problem=name), _results(data, name)
        s, t1 = float(here["s"]), float(here["t1"])
        base, least = float(here["baseline"]), min(result.energy for result in results.values())
        _draw_energies(bars, base, results, colors)
        bars.set_title(f"{name}: best gain {spoken_gain(float(gains(base, min(base, least))))}")
        ts = np.linspace(0.0, t1, data.sizes["time"])
        paths.semilogy(ts, here["distance_baseline"], "--", color=RETAINED, lw=1.3, label="1_[0,s]")
        for family, result in results.items():
            plot_schedule(result.schedule, t1, curves, color=colors[family], label=family)
            paths.semilogy(ts, here["distance"].sel(family=family), color=colors[family], lw=1.3, label=family)
        curves.set(title="ε(t) of each family (dotted: s)", xlabel="time t", ylabel="weight ε(t)")
        curves.legend(ncols=2)
        paths.set(xlabel="time t", ylabel="‖θ(t) − θ*₋‖", title="who is near θ*₋ when (dashed: 1_[0,s])")
        for ax in (curves, paths):
            ax.axvline(s, color=MUTED, ls=":", lw=1)
    figures = {"schedule_shootout": figure}
    if settings.gains:
        gained = gains(data["diabetes_baseline"].values, data["diabetes_energy"].values)
        switches, certified = data["diabetes_switches"].values, data["diabetes_certified"].values.astype(bool)
        figures["diabetes_gains"] = plot_gains(gained, switches, certified, unit="row of diabetes")
    return figures


def _draw_energies(ax: Axes, base: float, results: dict[str, SearchResult], colors: dict[str, str]) -> None:
    """E of every family in units of the baseline's, and the bound."""
    bound, kind = _bound(results)
    ratios = {"1_[0,s]": 1.0, **{family: result.energy / base for family, result in results.items()}}
    order = sorted(ratios, key=ratios.__getitem__)
    values = np.array([ratios[label] for label in order])
    ax.barh(order, values, color=[colors[label] for label in order], height=0.7)
    ax.invert_yaxis()
    ax.axvline(bound / base, color=INK, ls="--", lw=1.2, label=kind)
    if values.max() > 5 * values.min():
        ax.set_xscale("log")
    else:
        low, high = min(values.min(), bound / base), values.max()
        ax.set_xlim(low - 0.25 * (high - low) - 1e-9, high + 0.1 * (high - low) + 1e-9)
    ax.set(xlabel="E / E(1_[0,s])")
    legend_below(ax)


def tell(data: xr.Dataset, settings: Settings) -> str:
    """Each energy, how far above the bound it is, and what it took."""
    lines = []
    for name in settings.problems:
        results, base = _results(data, name), float(data["baseline"].sel(problem=name))
        bound, kind = _bound(results)
        lines.append(f"{name}: E(1_[0,s]) = {base:.6g}, {kind} {bound:.6g}")
        for family, result in sorted(results.items(), key=lambda pair: pair[1].energy):
            above = (result.energy - bound) / bound if bound > 0 else result.energy - bound
            seconds = float(data["seconds"].sel(problem=name, family=family))
            lines.append(
                f"  {family:<18} E = {result.energy:.6g}, {above:.1e} above it, {result.switches} switches, Pontryagin "
                f"residual {result.pontryagin_residual:.1e}, {seconds:.2g} s (the first of its kind compiles)"
            )
    return "\n".join([*lines, data.attrs["diabetes"]] if settings.gains else lines)
