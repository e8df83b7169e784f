"""What does the best ε(t) look like? Switches, gain and proof over random problems, and singular arcs of networks.

The notes hold that "the optimal solution should be a step function". For linear regression with one deleted point the
best ε(t) takes the values 0 and 1 only, with at most 2d − 1 switches. How many it needs, what 1_[0,s], the best single
step and the best linear decay lose to it, and how often a lower bound certifies it, is counted over dimensions d,
horizons T·λ_min, and a random or the highest-leverage deleted point. Networks may need ε strictly between 0 and 1 on an
arc ("singular"): how often is counted over seeds, and one is shown with its switching function.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from homotopy import (
    MLP,
    Levels,
    Problem,
    RequestError,
    SearchResult,
    WorkError,
    datasets,
    leave_one_out,
    search,
    switching_function,
)
from homotopy.run import Progress, Range, RunResult, Seed, check, need
from homotopy.scheduler import gains, spoken_gain
from homotopy.viz import FULL, INK, MUTED, RETAINED, SERIES, plot_schedule

from ._instances import random_instance, reason

DELETED = ("random", "high-leverage")
KINDS = ("reached", "dual", "value-function", "local")
LOST = 1e-3  # a family loses where its energy is above the best by this fraction of it


@dataclass(frozen=True)
class Settings:
    """How many problems of each kind."""

    dims: Annotated[tuple[int, ...], Range(least=1, most=200, entries=1, once=True)] = (1, 2, 5, 10, 20)
    """dimensions d; each problem has 20 + 4 d rows"""
    spans: Annotated[tuple[float, ...], Range(least=1e-6, most=1e4, entries=1, once=True)] = (1.0, 2.0, 3.0)
    """horizons T in units of 1/λ_min"""
    instances: Annotated[int, Range(least=1, most=10_000)] = 40
    """problems per dimension, horizon and kind of deleted point"""
    programs: Annotated[int, Range(least=0, most=10_000)] = 6
    """per dimension, horizon and kind: problems without a dual that get the semi-definite program (d ≤ 10)"""
    decays: Annotated[int, Range(least=0, most=10_000)] = 10
    """per dimension: problems whose best linear decay is searched"""
    networks: Annotated[int, Range(least=0, most=1000)] = 6
    """3-neuron networks on 20 points that are searched"""
    ridge: Annotated[float, Range(least=0, most=1e6)] = 1e-2
    """ρ of the networks"""
    network_t1: Annotated[float, Range(least=1e-6, most=1e6)] = 3.0
    """horizon T of the networks; they start untrained (s = 0), and the point with the largest target is deleted"""
    seed: Seed = 0
    """first seed"""


QUICK = Settings(dims=(1, 2, 5), spans=(2.0,), instances=20, programs=2, decays=0, networks=0)


def run(settings: Settings, progress: Progress) -> RunResult:
    """Search every problem, count, draw."""
    check(settings)
    if settings.programs:
        need("certify", "the certificates of --programs (0 leaves them out)")
    shape = (len(settings.dims), len(settings.spans), len(DELETED), settings.instances)
    names = ("energy", "baseline", "step", "lower_bound", "residual")
    numbers = {name: np.full(shape, np.nan) for name in names}
    switches, kinds = np.zeros(shape, int), np.zeros(shape, int)
    beyond = []
    with progress.task("linear problems", kinds.size) as advance:
        for at in np.ndindex(shape):
            given = _given(settings, at)
            window = {"s": given.s, "t1": given.t1}
            best = search(given.problem, given.theta0, **window, family="bang-bang", certify="auto" if _program(
                settings, at) else "none")  # fmt: skip
            if best.certificate.kind == "local":
                best = _dual(given, best)
            step = search(given.problem, given.theta0, **window, family="step", certify="none")
            for name, value in zip(
                names,
                (
                    best.energy,
                    best.baseline_energy,
                    step.energy,
                    best.certificate.lower_bound,
                    best.pontryagin_residual,
                ),
                strict=True,
            ):
                numbers[name][at] = value
            switches[at], kinds[at] = best.switches, KINDS.index(best.certificate.kind)
            if best.switches > 2 * settings.dims[at[0]] - 1 and best.certificate.kind != "reached":
                beyond.append(f"seed {_seed(settings, at)}, d = {settings.dims[at[0]]}")
            advance()
    decays = _decays(settings, progress)
    codes = Counter(successful=kinds.size)
    networks = _networks(settings, progress, codes)
    data = _records(settings, numbers, switches, kinds, decays, networks)
    return RunResult(
        figures={"optimal_structure": _draw(settings, data, networks)},
        data=data,
        summary=_summary(settings, data, beyond, networks),
        result_codes=codes,
    )


def _seed(settings: Settings, at: tuple[int, ...]) -> int:
    return settings.seed + at[3] + 10_000 * at[0]


def _given(settings: Settings, at: tuple[int, ...]):
    d = settings.dims[at[0]]
    return random_instance(_seed(settings, at), d, 20 + 4 * d, settings.spans[at[1]], deleted=DELETED[at[2]])


def _program(settings: Settings, at: tuple[int, ...]) -> bool:
    return settings.dims[at[0]] <= 10 and at[3] < settings.programs


def _dual(given, best: SearchResult) -> SearchResult:
    """The same search with the convex dual, where that applies."""
    try:
        return search(given.problem, given.theta0, s=given.s, t1=given.t1, family="bang-bang", certify="dual")
    except RequestError:  # the deleted residual changes its sign under some schedule
        return best


def _decays(settings: Settings, progress: Progress) -> np.ndarray:
    """E of the best linear decay over E* (dims, decays), at the middle horizon."""
    found = np.full((len(settings.dims), settings.decays), np.nan)
    span = settings.spans[len(settings.spans) // 2]
    with progress.task("linear decays", found.size) as advance:
        for i, d in enumerate(settings.dims):
            for k in range(settings.decays):
                given = random_instance(settings.seed + k + 10_000 * i, d, 20 + 4 * d, span)
                best, linear = (
                    search(given.problem, given.theta0, s=given.s, t1=given.t1, family=family, certify="none")
                    for family in ("bang-bang", "linear")
                )
                found[i, k] = linear.energy / best.energy if best.energy > 0 else np.inf
                advance()
    return found


def _networks(
    settings: Settings, progress: Progress, codes: Counter[str]
) -> list[tuple[Problem, np.ndarray, np.ndarray, SearchResult]]:
    """(problem, θ₀, θ*₋, result) of every network whose cold leave-one-out optimum exists."""
    found = []
    with progress.task("networks", settings.networks) as advance:
        for seed in range(settings.seed, settings.seed + settings.networks):
            data = datasets.teacher_student(seed=seed)
            row = int(np.argmax(np.abs(np.asarray(data.y))))
            problem = Problem(MLP(width=3), data, delete=row, ridge=settings.ridge)
            theta0 = np.asarray(problem.initial(seed))
            try:
                target = np.asarray(leave_one_out(problem, start="cold", theta0=theta0).theta)
                result = search(
                    problem, theta0, t1=settings.network_t1, family=Levels(starts=6, seed=seed), target=target
                )  # fmt: skip
            except WorkError as error:
                codes[f"network {seed}: {reason(error)}"] += 1
                advance()
                continue
            codes["successful"] += 1
            found.append((problem, theta0, target, result))
            advance()
    return found


def _is_singular(result: SearchResult) -> bool:
    return any(arc.kind == "singular" for arc in result.structure)


def _records(settings, numbers, switches, kinds, decays, networks) -> xr.Dataset:
    dims = ("d", "span", "deleted", "instance")
    variables: dict[str, Any] = {name: (dims, values) for name, values in numbers.items()}
    variables |= {
        "switches": (dims, switches),
        "certificate": (dims, kinds),
        "linear_decay": (("d", "decay"), decays),
        "network_ratio": (("network",), [result.ratio for *_, result in networks]),
        "network_switches": (("network",), [result.switches for *_, result in networks]),
        "network_singular": (("network",), [int(_is_singular(result)) for *_, result in networks]),
    }
    data = xr.Dataset(
        variables,
        coords={"d": list(settings.dims), "span": list(settings.spans), "deleted": list(DELETED)},
        attrs={f"network_{k}": result.to_json() for k, (*_, result) in enumerate(networks)},
    )
    data["certificate"].attrs["kinds"] = ", ".join(f"{k} {kind}" for k, kind in enumerate(KINDS))
    data["linear_decay"].attrs["long_name"] = "E(best linear decay) / E*"
    return data


def _loses(values: np.ndarray, best: np.ndarray, baseline: np.ndarray) -> np.ndarray:
    """Where a family is above the best by more than `LOST` of it, and by more than rounding."""
    return values - best > LOST * best + 1e-12 * baseline


def _draw(settings: Settings, data: xr.Dataset, networks) -> plt.Figure:
    rows = 2 if networks else 1
    figure = plt.figure(figsize=(13.2, 4.3 * rows), layout="constrained")
    grid = figure.add_gridspec(rows, 4)
    labels = [str(d) for d in settings.dims]
    every = range(len(settings.dims))
    counts = _switch_counts(data)
    ax = figure.add_subplot(grid[0, 0])
    shares = counts / counts.sum(axis=1, keepdims=True)
    _stacked(ax, labels, shares, [f"{k}" for k in range(counts.shape[1])], "switches")
    ax.set(title=f"switches inside (s, T) ({int(counts.sum())} problems)", ylabel="share of the problems")
    ax = figure.add_subplot(grid[0, 1])
    for i, d in enumerate(settings.dims):
        ratio = (data["baseline"] / data["energy"].clip(min=1e-300)).values[i].ravel()
        x = np.sort(np.clip(ratio, 1.0, 1e6))
        ax.plot(x, 1.0 - np.arange(len(x)) / len(x), "-", drawstyle="steps-post", color=SERIES[i % 7], label=f"d = {d}")
    ax.set(xscale="log", xlabel="gain E(1_[0,s]) / E*  (∞ drawn at 10⁶)", ylabel="share of problems with a larger gain")
    ax.set_title("dropping at s loses to the best ε(t)")
    ax.legend(fontsize=8)
    ax = figure.add_subplot(grid[0, 2])
    kinds = np.stack([np.bincount(data["certificate"].values[i].ravel(), minlength=len(KINDS)) for i in every])
    _stacked(ax, labels, kinds / kinds.sum(axis=1, keepdims=True), list(KINDS), "certificate")
    ax.set(title="what proves it", ylabel="share of the problems")
    ax = figure.add_subplot(grid[0, 3])
    lost = _lost(data)
    width = 0.8 / len(lost)
    for k, (name, shares) in enumerate(lost.items()):
        ax.bar(np.arange(len(labels)) + (k - 1) * width, shares, width, color=SERIES[k], label=name)
    ax.set_xticks(range(len(labels)), labels)
    ax.set(ylim=(0, 1), xlabel="dimension d", ylabel=f"share that loses > {LOST:.1%} of E*")
    ax.set_title("which family is not enough")
    ax.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.13))
    if networks:
        _draw_network(figure, grid, networks)
    return figure


def _switch_counts(data: xr.Dataset) -> np.ndarray:
    most = int(data["switches"].max()) + 1
    return np.stack([np.bincount(row.ravel(), minlength=most) for row in data["switches"].values])


def _lost(data: xr.Dataset) -> dict[str, np.ndarray]:
    """Share of the problems of each d that each family loses."""
    best, base, step = (data[name].values for name in ("energy", "baseline", "step"))
    found = {
        "1_[0,s]": _loses(base, best, base).mean(axis=(1, 2, 3)),
        "best single step": _loses(step, best, base).mean(axis=(1, 2, 3)),
    }
    if data.sizes["decay"]:
        found["best linear decay"] = (data["linear_decay"].values > 1 + LOST).mean(axis=1)
    return found


def _stacked(ax: Axes, labels: list[str], shares: np.ndarray, names: list[str], title: str) -> None:
    colors = [SERIES[k % 7] for k in range(len(names))]
    bottom = np.zeros(len(labels))
    for k, name in enumerate(names):
        ax.bar(labels, shares[:, k], bottom=bottom, color=colors[k], label=name, width=0.75)
        for i, share in enumerate(shares[:, k]):
            if share > 0.06:
                ax.text(i, bottom[i] + 0.5 * share, f"{share:.0%}", ha="center", va="center", fontsize=8, color="white")
        bottom += shares[:, k]
    ax.set_xlabel("dimension d")
    ax.legend(title=title, fontsize=8, title_fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.13))


def _draw_network(figure: plt.Figure, grid, networks) -> None:
    """The networks' schedules, and σ(t) of the one that a single step serves worst."""
    shown = max(networks, key=lambda found: (_is_singular(found[3]), found[3].ratio))
    problem, theta0, target, result = shown
    t1 = result.structure[-1].end
    ax = figure.add_subplot(grid[1, :2])
    edges = np.linspace(0.0, t1, 601)
    levels = np.stack([np.asarray(other.schedule(0.5 * (edges[1:] + edges[:-1]))) for *_, other in networks])
    two = LinearSegmentedColormap.from_list("epsilon", [RETAINED, "#F2F2F2", FULL])
    shade = ax.pcolormesh(edges, np.arange(len(networks) + 1), levels, cmap=two, vmin=0.0, vmax=1.0, rasterized=True)
    ax.hlines(np.arange(1, len(networks)), 0.0, t1, color="white", lw=3)
    ax.set_yticks(
        np.arange(len(networks)) + 0.5,
        [f"{spoken_gain(other.ratio, 3)}\n{other.switches} switches" for *_, other in networks], fontsize=8,
    )  # fmt: skip
    figure.colorbar(shade, ax=ax, label="weight ε(t)", shrink=0.8)
    singular = sum(_is_singular(found[3]) for found in networks)
    ax.set(xlabel="time t", ylabel="gain over ε ≡ 0")
    ax.set_title(f"best ε(t) of {len(networks)} networks: {singular} with a singular arc (0 < ε < 1)")
    ax = figure.add_subplot(grid[1, 2:])
    ts = np.linspace(0.0, t1, 401)
    sigma = np.asarray(switching_function(problem, result.schedule, theta0, t1=t1, ts=ts, target=target))
    size = max(float(np.abs(sigma).max()), 1e-300)
    ax.axhline(0.0, color=MUTED, lw=0.8)
    ax.plot(ts, sigma / size, color=INK, lw=1.4, label="σ(t), scaled")
    below, above = (np.where(sign * sigma > 0, sigma / size, 0.0) for sign in (-1, 1))
    ax.fill_between(ts, below, 0.0, color=FULL, alpha=0.25, lw=0, label="σ < 0: ε = 1 is better")
    ax.fill_between(ts, above, 0.0, color=RETAINED, alpha=0.25, lw=0, label="σ > 0: ε = 0 is better")
    plot_schedule(result.schedule, t1, ax, color=SERIES[3], label="ε(t)")
    ax.set(ylim=(-1.15, 1.15), ylabel="ε(t) and σ(t)/max|σ|")
    ax.set_title(f"one of them: gain {spoken_gain(result.ratio)}, Pontryagin residual {result.pontryagin_residual:.1e}")
    ax.legend(fontsize=8, loc="lower right")


def _summary(settings: Settings, data: xr.Dataset, beyond: list[str], networks) -> str:
    best, base = data["energy"].values, data["baseline"].values
    certified = data["certificate"].values != KINDS.index("local")
    lines = [
        f"{best.size} linear problems: 1_[0,s] loses on {_loses(base, best, base).mean():.0%} "
        f"(certified ones: {_loses(base, best, base)[certified].mean():.0%} of {int(certified.sum())}), "
        f"median gain {spoken_gain(float(np.median(gains(base, best))))}; "
        f"largest Pontryagin residual {np.nanmax(data['residual'].values):.1e}; "
        f"bounds above the energy: {int(np.sum(data['lower_bound'].values > best * (1 + 1e-9) + 1e-13 * base))}"
    ]
    counts, lost = _switch_counts(data), _lost(data)
    for i, d in enumerate(settings.dims):
        shares = ", ".join(f"{k} on {count / counts[i].sum():.1%}" for k, count in enumerate(counts[i]) if count)
        families = ", ".join(f"{name} {values[i]:.0%}" for name, values in lost.items())
        lines.append(f"  d = {d}: switches {shares}; loses: {families}; certified {certified[i].mean():.0%}")
    for j, span in enumerate(settings.spans):
        told = (f"{kind} point {_loses(base[:, j, k], best[:, j, k], base[:, j, k]).mean():.0%}"
                for k, kind in enumerate(DELETED))  # fmt: skip
        lines.append(f"  T·λ_min = {span:g}: 1_[0,s] loses with a {', a '.join(told)}")
    lines.append(
        f"more than 2d − 1 switches: {', '.join(beyond) if beyond else 'none'} (bound of the theory for E* > 0)"
    )
    if networks:
        singular = sum(_is_singular(found[3]) for found in networks)
        worst = max(found[3].pontryagin_residual for found in networks)
        lines.append(
            f"{len(networks)} networks: {singular} with a singular arc; gains "
            + ", ".join(spoken_gain(found[3].ratio) for found in networks)
            + f"; largest Pontryagin residual {worst:.1e} (local optima: no bound is proven for networks)"
        )
    return "\n".join(lines)
