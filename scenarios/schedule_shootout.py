"""Which ε(t) wins? Every family on the same problem, against the certified bound; and every point of diabetes in turn.

A linear problem of the plane (the random one where the best ε(t) gains most, of those where θ*₋ is not reached exactly),
a linear regression on diabetes, a logistic regression on breast_cancer and a 3-neuron network: each gets the baseline
1_[0,s], greedy, and the best schedule of every family. The table has each E, how far it is above the lower bound that
holds for every admissible ε(t) (linear problems) or above the best that was found (others), and the seconds it took.
Then, on diabetes, each point is the deleted one in turn: how much would each gain?
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, get_args

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from homotopy import (
    MLP,
    Dataset,
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
from homotopy.run import Progress, Range, RunResult, Seed, check, need
from homotopy.scheduler import FAMILIES as DEFAULTS, AbstractFamily, gains, spoken_gain
from homotopy.viz import INK, MUTED, RETAINED, SERIES, plot_gains, plot_schedule

from ._instances import TRAINED, most_moving, random_instance
from .error_decomposition import reduced

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


def run(settings: Settings, progress: Progress) -> RunResult:
    """Search every family on every problem, then every row of diabetes; draw."""
    _check(settings)
    cases: dict[str, _Case] = {name: _CASES[name](settings) for name in settings.problems}
    found: dict[str, dict[str, SearchResult]] = {}
    with progress.task("searching", len(cases) * len(settings.families)) as advance:
        for name, case in cases.items():
            found[name] = {}
            for family in settings.families:
                found[name][family] = search(
                    case.problem, case.theta0, s=case.s, t1=case.t1, family=_family(settings, case, family),
                    target=case.target,
                )  # fmt: skip
                advance()
    data, table = _records(settings, found), None
    figures = {"schedule_shootout": _draw(settings, cases, found)}
    summary = [_summary(settings, found)]
    if settings.gains:
        diabetes = _diabetes(settings)
        rows = np.arange(min(settings.gains, diabetes.problem.n))
        table = search_all(diabetes.problem, diabetes.theta0, s=diabetes.s, t1=diabetes.t1, delete=rows)
        gained = gains(table.baseline_energies, table.energies)
        figures["diabetes_gains"] = plot_gains(gained, table.switches, table.certified, unit="row of diabetes")
        data = data.merge(
            xr.Dataset({
                "diabetes_energy": ("row", table.energies), "diabetes_baseline": ("row", table.baseline_energies),
                "diabetes_lower_bound": ("row", table.lower_bounds), "diabetes_switches": ("row", table.switches),
                "diabetes_certified": ("row", table.certified.astype(int)),
            })
        )  # fmt: skip
        summary.append(f"diabetes, each of {len(rows)} rows deleted in turn: {table}")
    return RunResult(
        figures=figures, data=data, summary="\n".join(summary),
        datasets=tuple(case.problem.data for case in cases.values()),
        result_codes={"successful": sum(len(results) for results in found.values()) + (len(rows) if table else 0)},
    )  # fmt: skip


def _family(settings: Settings, case: _Case, name: Family) -> AbstractFamily:
    """The family with the settings that it has; knots keep their own number of pieces."""
    options = {"starts": settings.starts, "seed": settings.seed}
    if name != "piecewise-linear":
        options["pieces"] = settings.pieces
    return DEFAULTS[name].having(case.problem.least_squares, **options)


def _check(settings: Settings) -> None:
    check(settings)
    if settings.gains or {"diabetes", "logistic"} & set(settings.problems):
        need("data", "diabetes and breast_cancer (--problems plane network --gains 0 leaves them out)")


# The problems ---------------------------------------------------------------------------------------------------------


def _plane(settings: Settings) -> _Case:
    """The random problem of the plane whose best ε(t) gains most without reaching θ*₋."""
    best: tuple[float, int] | None = None
    for seed in range(settings.seed, settings.seed + settings.candidates):
        given = random_instance(seed, 2, 20, settings.span, deleted="high-leverage")
        result = search(given.problem, given.theta0, s=given.s, t1=given.t1, family="bang-bang", certify="none")
        ratio = min(result.ratio, 1 / _CLEAR) if result.ratio < 1 / _CLEAR else 0.0
        best = max(best or (ratio, seed), (ratio, seed))
    assert best is not None
    given = random_instance(best[1], 2, 20, settings.span, deleted="high-leverage")
    return _Case(given.problem, given.theta0, None, given.s, given.t1)


def _diabetes(settings: Settings) -> _Case:
    """diabetes standardised, from θ₀ = 0; the row that moves the optimum most."""
    data = datasets.load("diabetes", intercept=True)
    problem = most_moving(data)
    t1 = settings.span / float(np.linalg.eigvalsh(np.asarray(problem.hessian(np.zeros(problem.dim), 0.0)))[0])
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
    data: Dataset = datasets.teacher_student(seed=settings.seed)
    row = int(np.argmax(np.abs(np.asarray(data.y))))
    problem = Problem(MLP(width=3), data, delete=row, ridge=1e-2)
    theta0 = np.asarray(problem.initial(settings.seed))
    target = np.asarray(leave_one_out(problem, start="cold", theta0=theta0).theta)
    return _Case(problem, theta0, target, TRAINED * settings.network_t1, settings.network_t1)


_CASES = {"plane": _plane, "diabetes": _diabetes, "logistic": _logistic, "network": _network}


# What was found -------------------------------------------------------------------------------------------------------


def _bound(results: dict[str, SearchResult]) -> tuple[float, str]:
    """The largest lower bound on every ε(t), or the best energy found where nothing is proven; and which."""
    proven = [result.certificate for result in results.values() if result.certificate.kind != "local"]
    if proven:
        sharpest = max(proven, key=lambda certificate: certificate.lower_bound)
        return sharpest.lower_bound, f"lower bound ({sharpest.kind})"
    return min(result.energy for result in results.values()), "best found (no bound is proven)"


def _records(settings: Settings, found: dict[str, dict[str, SearchResult]]) -> xr.Dataset:
    def table(value) -> np.ndarray:
        return np.array([[value(found[name][family]) for family in settings.families] for name in found])

    dims = ("problem", "family")
    return xr.Dataset(
        {
            "energy": (dims, table(lambda result: result.energy)),
            "seconds": (dims, table(lambda result: result.seconds)),
            "switches": (dims, table(lambda result: result.switches)),
            "residual": (dims, table(lambda result: result.pontryagin_residual)),
            "baseline": ("problem", [next(iter(results.values())).baseline_energy for results in found.values()]),
            "bound": ("problem", [_bound(results)[0] for results in found.values()]),
        },
        coords={"problem": list(found), "family": list(settings.families)},
        attrs={f"{name}/{family}": result.to_json() for name in found for family, result in found[name].items()},
    )


def _draw(settings: Settings, cases: dict[str, _Case], found) -> plt.Figure:
    figure, grid = plt.subplots(
        len(cases), 3, figsize=(14.0, 0.7 + 3.6 * len(cases)), layout="constrained", squeeze=False,
        width_ratios=(1.1, 1.2, 1.0),
    )  # fmt: skip
    colors = {family: (*SERIES, MUTED)[k] for k, family in enumerate(FAMILIES)}
    for (bars, curves, paths), (name, case) in zip(grid, cases.items(), strict=True):
        results = found[name]
        base = next(iter(results.values())).baseline_energy
        bound, kind = _bound(results)
        shown = {"1_[0,s]": base, **{family: result.energy for family, result in results.items()}}
        order = sorted(shown, key=shown.__getitem__)
        ratios = np.array([shown[label] / base for label in order])
        bars.barh(range(len(order)), ratios, color=[colors.get(label, INK) for label in order], height=0.7)
        bars.set_yticks(range(len(order)), order, fontsize=8.5)
        bars.invert_yaxis()
        bars.axvline(bound / base, color=INK, ls="--", lw=1.2, label=kind)
        if ratios.max() > 5 * ratios.min():
            bars.set_xscale("log")
        else:
            low, high = min(ratios.min(), bound / base), ratios.max()
            bars.set_xlim(low - 0.25 * (high - low) - 1e-9, high + 0.1 * (high - low) + 1e-9)
        bars.set(xlabel="E / E(1_[0,s])")
        bars.legend(fontsize=8, loc="lower right")
        bars.set_title(f"{name}: best gain {spoken_gain(float(gains(base, min(shown.values()))))}")
        for family, result in results.items():
            width = 2.4 if family == order[0] else 1.2
            plot_schedule(result.schedule, case.t1, curves, color=colors[family], label=family)
            curves.lines[-1].set_linewidth(width)
        curves.axvline(case.s, color=MUTED, ls=":", lw=1)
        curves.set_title("ε(t) of each family (dotted: s)")
        curves.legend(fontsize=7.5, ncols=2)
        _draw_paths(paths, case, results, colors)
    return figure


def _draw_paths(ax, case: _Case, results: dict[str, SearchResult], colors: Mapping[Any, str]) -> None:
    """‖θ(t) − θ*₋‖ of the baseline and of every family."""
    target = np.asarray(leave_one_out(case.problem, theta0=case.theta0).theta if case.target is None else case.target)
    ts = np.linspace(0.0, case.t1, 241)
    everyone = {"1_[0,s]": Step(case.s), **{family: result.schedule for family, result in results.items()}}
    for label, schedule in everyone.items():
        thetas = np.asarray(simulate(case.problem, schedule, case.theta0, t1=case.t1, ts=ts).thetas)
        color, style = (RETAINED, "--") if label == "1_[0,s]" else (colors[label], "-")
        ax.semilogy(ts, np.linalg.norm(thetas - target[None, :], axis=1), style, color=color, lw=1.3, label=label)
    ax.axvline(case.s, color=MUTED, ls=":", lw=1)
    ax.set(xlabel="time t", ylabel="‖θ(t) − θ*₋‖")
    ax.set_title("who is near θ*₋ when (dashed: 1_[0,s])")


def _summary(settings: Settings, found: dict[str, dict[str, SearchResult]]) -> str:
    lines = []
    for name, results in found.items():
        base = next(iter(results.values())).baseline_energy
        bound, kind = _bound(results)
        lines.append(f"{name}: E(1_[0,s]) = {base:.6g}, {kind} {bound:.6g}")
        for family, result in sorted(results.items(), key=lambda pair: pair[1].energy):
            above = (result.energy - bound) / bound if bound > 0 else np.nan
            gap = f"{above:.1e} above it" if np.isfinite(above) else f"{result.energy - bound:.1e} above it"
            lines.append(
                f"  {family:<18} E = {result.energy:.6g}, {gap}, {result.switches} switches, Pontryagin residual "
                f"{result.pontryagin_residual:.1e}, {result.seconds:.2g} s (the first of its kind compiles)"
            )
    return "\n".join(lines)
