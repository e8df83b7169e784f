"""What does the best ε(t) look like? Switches, gain and proof over random problems, and singular arcs of networks.

The notes hold that "the optimal solution should be a step function". For linear regression with one deleted point the
best ε(t) takes the values 0 and 1 only, with at most 2d − 1 switches. How many it needs, what 1_[0,s], the best single
step and the best linear decay lose to it, and how often a lower bound certifies it, is counted over dimensions d,
horizons T·λ_min, and a random or the highest-leverage deleted point. Networks may need ε strictly between 0 and 1 on an
arc ("singular"): how often is counted over seeds, and one is shown with its switching function.
"""

import json
from collections import Counter
from contextlib import suppress
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
    datasets,
    leave_one_out,
    search,
    switching_function,
)
from homotopy.run import Progress, Range, Seed, check, codes_of, grid, need, record
from homotopy.scheduler import gains, spoken_gain
from homotopy.viz import (
    FULL,
    INK,
    MUTED,
    RETAINED,
    SERIES,
    legend_below,
    plot_bars,
    plot_exceedance,
    plot_schedule,
    plot_stacked,
)

from ._instances import Instance, random_instance

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


def compute(settings: Settings, progress: Progress) -> xr.Dataset:
    """Search every problem; the linear decays; the networks."""
    check(settings)
    if settings.programs:
        need("certify", "the certificates of --programs (0 leaves them out)")

    def given(d: int, instance: int, span: float, deleted: str) -> Instance:
        seed = settings.seed + instance + 10_000 * settings.dims.index(d)
        return random_instance(seed, d, 20 + 4 * d, span, deleted=deleted)

    def cell(d: int, span: float, deleted: str, instance: int) -> dict[str, float]:
        problem, theta0, s, t1 = given(d, instance, span, deleted)
        program = d <= 10 and instance < settings.programs
        best = search(problem, theta0, s=s, t1=t1, family="bang-bang", certify="auto" if program else "none")
        if best.certificate.kind == "local":
            with suppress(RequestError):  # the deleted residual changes its sign under some schedule
                best = search(problem, theta0, s=s, t1=t1, family="bang-bang", certify="dual")
        step = search(problem, theta0, s=s, t1=t1, family="step", certify="none")
        return {
            "energy": best.energy, "baseline": best.baseline_energy, "step": step.energy,
            "lower_bound": best.certificate.lower_bound, "residual": best.pontryagin_residual,
            "switches": best.switches, "certificate": KINDS.index(best.certificate.kind),
        }  # fmt: skip

    def decay(d: int, decay: int) -> dict[str, float]:
        problem, theta0, s, t1 = given(d, decay, settings.spans[len(settings.spans) // 2], "random")
        best, linear = (
            search(problem, theta0, s=s, t1=t1, family=family, certify="none") for family in ("bang-bang", "linear")
        )
        return {"linear_decay": linear.energy / best.energy if best.energy > 0 else np.inf}

    instances = {"instance": range(settings.instances)}
    axes = {"d": settings.dims, "span": settings.spans, "deleted": DELETED} | instances
    parts = [grid(axes, cell, progress, "linear problems")]
    if settings.decays:
        parts.append(grid({"d": settings.dims, "decay": range(settings.decays)}, decay, progress, "linear decays"))
    if settings.networks:
        seeds = range(settings.seed, settings.seed + settings.networks)
        parts.append(grid({"network": seeds}, lambda network: _network(settings, network), progress, "networks"))
    data = xr.merge(parts, combine_attrs="drop")
    data["certificate"].attrs["kinds"] = ", ".join(f"{k} {kind}" for k, kind in enumerate(KINDS))
    if settings.decays:
        data["linear_decay"].attrs["long_name"] = "E(best linear decay) / E*"
    return record(data, codes=sum((Counter(codes_of(part)) for part in parts), Counter()))


def _network(settings: Settings, seed: int) -> dict[str, Any]:
    """The best ε(t) of a network whose cold leave-one-out optimum exists, and its switching function."""
    data = datasets.teacher_student(seed=seed)
    row = int(np.argmax(np.abs(np.asarray(data.y))))
    problem = Problem(MLP(width=3), data, delete=row, ridge=settings.ridge)
    theta0, t1 = np.asarray(problem.initial(seed)), settings.network_t1
    target = np.asarray(leave_one_out(problem, start="cold", theta0=theta0).theta)
    found = search(problem, theta0, t1=t1, family=Levels(starts=6, seed=seed), target=target)
    edges = np.linspace(0.0, t1, 601)
    sigma = switching_function(problem, found.schedule, theta0, t1=t1, ts=np.linspace(0.0, t1, 401), target=target)
    return {
        "network_ratio": found.ratio,
        "network_residual": found.pontryagin_residual,
        "network_switches": float(found.switches),
        "network_singular": float(any(arc.kind == "singular" for arc in found.structure)),
        "network_epsilon": ("middle", np.asarray(found.schedule(0.5 * (edges[1:] + edges[:-1])))),
        "network_sigma": ("time", np.asarray(sigma)),
        "network_result": found.to_json(),
    }


def _networks(data: xr.Dataset) -> xr.Dataset | None:
    """Those of the networks that have an answer."""
    if "network" not in data.dims or not (known := np.isfinite(data["network_ratio"].values)).any():
        return None
    return data[[name for name in data if str(name).startswith("network_")]].isel(network=known)


def _loses(values: np.ndarray, best: np.ndarray, baseline: np.ndarray) -> np.ndarray:
    """Where a family is above the best by more than `LOST` of it, and by more than rounding."""
    return values - best > LOST * best + 1e-12 * baseline


def _certified(data: xr.Dataset) -> np.ndarray:
    return data["certificate"].values != KINDS.index("local")


def _switch_counts(data: xr.Dataset) -> np.ndarray:
    switches = data["switches"].values.astype(int)
    return np.stack([np.bincount(row.ravel(), minlength=switches.max() + 1) for row in switches])


def _lost(data: xr.Dataset) -> dict[str, np.ndarray]:
    """Share of the problems of each d that each family loses."""
    best, base, step = (data[name].values for name in ("energy", "baseline", "step"))
    found = {
        "1_[0,s]": _loses(base, best, base).mean(axis=(1, 2, 3)),
        "best single step": _loses(step, best, base).mean(axis=(1, 2, 3)),
    }
    if "linear_decay" in data:
        found["best linear decay"] = (data["linear_decay"].values > 1 + LOST).mean(axis=1)
    return found


def draw(data: xr.Dataset, settings: Settings) -> dict[str, plt.Figure]:
    """How many switches, what they gain, what proves it, which family is not enough; the networks."""
    networks = _networks(data)
    figure = plt.figure(figsize=(13.2, 4.6 if networks is None else 8.6), layout="constrained")
    places = figure.add_gridspec(1 if networks is None else 2, 4)
    switching, gaining, proving, losing = (figure.add_subplot(places[0, k]) for k in range(4))
    labels = [str(d) for d in settings.dims]
    counts = _switch_counts(data)
    _stacked(switching, labels, counts, [f"{k}" for k in range(counts.shape[1])], "switches")
    switching.set_title(f"switches inside (s, T) ({int(counts.sum())} problems)")
    gain = (data["baseline"] / data["energy"].clip(min=1e-300)).values
    for i, d in enumerate(settings.dims):
        plot_exceedance(np.clip(gain[i].ravel(), 1.0, 1e6), gaining, color=SERIES[i % 7], label=f"d = {d}")
    gaining.set(xscale="log", xlabel="gain E(1_[0,s]) / E*  (∞ drawn at 10⁶)")
    gaining.set(ylabel="share of problems with a larger gain", title="dropping at s loses to the best ε(t)")
    gaining.legend()
    kinds = [np.bincount(row.ravel().astype(int), minlength=len(KINDS)) for row in data["certificate"].values]
    _stacked(proving, labels, np.stack(kinds), list(KINDS), "certificate")
    proving.set_title("what proves it")
    plot_bars(labels, _lost(data), losing)
    losing.set(ylim=(0, 1), xlabel="dimension d", ylabel=f"share that loses > {LOST:.1%} of E*")
    losing.set_title("which family is not enough")
    legend_below(losing, columns=1)
    if networks is not None:
        _draw_weights(figure.add_subplot(places[1, :2]), networks, settings)
        _draw_sigma(figure.add_subplot(places[1, 2:]), networks, settings)
    return {"optimal_structure": figure}


def _stacked(ax: Axes, labels: list[str], counts: np.ndarray, names: list[str], title: str) -> None:
    """The share of each of `names` among the problems of each dimension, from `counts` (dimensions, names)."""
    plot_stacked(labels, dict(zip(names, (counts / counts.sum(axis=1, keepdims=True)).T, strict=True)), ax)
    ax.set(xlabel="dimension d", ylabel="share of the problems")
    legend_below(ax).set_title(title)


def _draw_weights(ax: Axes, networks: xr.Dataset, settings: Settings) -> None:
    """ε(t) of every network, a strip each."""
    count, t1 = networks.sizes["network"], settings.network_t1
    edges = np.linspace(0.0, t1, networks.sizes["middle"] + 1)
    two = LinearSegmentedColormap.from_list("epsilon", [RETAINED, "#F2F2F2", FULL])
    levels = networks["network_epsilon"].values
    shade = ax.pcolormesh(edges, np.arange(count + 1), levels, cmap=two, vmin=0.0, vmax=1.0, rasterized=True)
    ax.hlines(np.arange(1, count), 0.0, t1, color="white", lw=3)
    told = zip(networks["network_ratio"].values, networks["network_switches"].values, strict=True)
    ax.set_yticks(
        np.arange(count) + 0.5, [f"{spoken_gain(ratio, 3)}\n{switches:g} switches" for ratio, switches in told]
    )
    ax.figure.colorbar(shade, ax=ax, label="weight ε(t)", shrink=0.8)
    singular = int(networks["network_singular"].sum())
    ax.set(xlabel="time t", ylabel="gain over ε ≡ 0")
    ax.set_title(f"best ε(t) of {count} networks: {singular} with a singular arc (0 < ε < 1)")


def _draw_sigma(ax: Axes, networks: xr.Dataset, settings: Settings) -> None:
    """σ(t) of the network that a single step serves worst."""
    rank = zip(networks["network_singular"].values, networks["network_ratio"].values, strict=True)
    shown = networks.isel(network=max(enumerate(rank), key=lambda pair: pair[1])[0])
    result = SearchResult.from_dict(json.loads(str(shown["network_result"].values)))
    sigma, t1 = shown["network_sigma"].values, settings.network_t1
    sigma = sigma / max(float(np.abs(sigma).max()), 1e-300)
    ts = np.linspace(0.0, t1, len(sigma))
    ax.axhline(0.0, color=MUTED, lw=0.8)
    ax.plot(ts, sigma, color=INK, lw=1.4, label="σ(t), scaled")
    for color, side, label in ((FULL, sigma.clip(max=0.0), "σ < 0: ε = 1 is better"),
                               (RETAINED, sigma.clip(min=0.0), "σ > 0: ε = 0 is better")):  # fmt: skip
        ax.fill_between(ts, side, 0.0, color=color, alpha=0.25, lw=0, label=label)
    plot_schedule(result.schedule, t1, ax, color=SERIES[3], label="ε(t)")
    ax.set(ylim=(-1.15, 1.15), ylabel="ε(t) and σ(t)/max|σ|")
    ax.set_title(f"one of them: gain {spoken_gain(result.ratio)}, Pontryagin residual {result.pontryagin_residual:.1e}")
    legend_below(ax, columns=4)


def tell(data: xr.Dataset, settings: Settings) -> str:
    """What loses to the best ε(t) and how often, by dimension and horizon; the bound on the switches; the networks."""
    best, base, certified = data["energy"].values, data["baseline"].values, _certified(data)
    loses, counts, lost = _loses(base, best, base), _switch_counts(data), _lost(data)
    lines = [
        f"{best.size} linear problems: 1_[0,s] loses on {loses.mean():.0%} "
        f"(certified ones: {loses[certified].mean():.0%} of {int(certified.sum())}), "
        f"median gain {spoken_gain(float(np.median(gains(base, best))))}; "
        f"largest Pontryagin residual {np.nanmax(data['residual'].values):.1e}; "
        f"bounds above the energy: {int(np.sum(data['lower_bound'].values > best * (1 + 1e-9) + 1e-13 * base))}"
    ]
    for i, d in enumerate(settings.dims):
        shares = ", ".join(f"{k} on {count / counts[i].sum():.1%}" for k, count in enumerate(counts[i]) if count)
        families = ", ".join(f"{name} {values[i]:.0%}" for name, values in lost.items())
        lines.append(f"  d = {d}: switches {shares}; loses: {families}; certified {certified[i].mean():.0%}")
    for j, span in enumerate(settings.spans):
        told = (f"{kind} point {loses[:, j, k].mean():.0%}" for k, kind in enumerate(DELETED))
        lines.append(f"  T·λ_min = {span:g}: 1_[0,s] loses with a {', a '.join(told)}")
    most = 2 * np.array(settings.dims)[:, None, None, None] - 1
    many = (data["switches"].values > most) & (data["certificate"].values != KINDS.index("reached"))
    beyond = [f"seed {settings.seed + k + 10_000 * i}, d = {settings.dims[i]}" for i, _, _, k in np.argwhere(many)]
    lines.append(f"more than 2d − 1 switches: {', '.join(beyond) or 'none'} (bound of the theory for E* > 0)")
    if (networks := _networks(data)) is not None:
        lines.append(
            f"{networks.sizes['network']} networks: {int(networks['network_singular'].sum())} with a singular arc; gains "
            + ", ".join(map(spoken_gain, networks["network_ratio"].values.tolist()))
            + f"; largest Pontryagin residual {networks['network_residual'].values.max():.1e} (local optima: no bound is "
            "proven for networks)"
        )
    return "\n".join(lines)
