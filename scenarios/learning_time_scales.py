"""The staircase of two-layer networks: which degree is learnt when, as ε̄ → 0, and the exponents 1, 1/2, 1/4 (log time).

The reduced system of arXiv 2303.00055 for ε̄ = 1e-2 … 1e-8 and several initial second layers; beside it a network of
finite width, trained by gradient flow in the same set-up (first layer orthogonal to the target direction).
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from homotopy import RequestError, theoretical_exponents, two_layer_time_scales
from homotopy._statistics import mean
from homotopy.run import Progress, Range, Seed, check, grid, record
from homotopy.viz import INK, MUTED, SERIES, panels


@dataclass(frozen=True)
class Settings:
    """The target, the values of ε̄, and the networks."""

    powers: Annotated[tuple[float, ...], Range(above=0, most=12, entries=2, once=True)] = (2, 3, 4, 5, 6, 7, 8)
    """ε̄ = 10^−power"""
    phi: Annotated[tuple[float, ...], Range(least=-1e3, most=1e3, entries=1)] = (1.0, 1.0, 1.0)
    """Hermite coefficients φ_k of the target, degree 0 first"""
    sigma: Annotated[tuple[float, ...], Range(least=-1e3, most=1e3, entries=1)] = (1.0, 1.0, 1.0)
    """Hermite coefficients σ_k of the activation"""
    neurons: Annotated[int, Range(least=1, most=1000)] = 10
    """m of the reduced system"""
    starts: Annotated[int, Range(least=2, most=1000)] = 8
    """initial second layers a_i(0), uniform on [−1, 1]: the intervals are over them"""
    smallest: Annotated[int, Range(least=2, most="powers")] = 3
    """how many of the smallest ε̄ the exponents are fitted to"""
    network_neurons: Annotated[int, Range(least=1, most=10_000)] = 100
    """m of the network"""
    network_inputs: Annotated[int, Range(least=2, most=10_000)] = 150
    """d of the network"""
    network_powers: Annotated[tuple[float, ...], Range(above=0, most=6, entries=1)] = (1, 2)
    """its ε̄ (an explicit solver takes some 1/ε̄ steps)"""
    t1: Annotated[float, Range(above=1e-3, most=1e6)] = 10.0
    """end of training"""
    times: Annotated[int, Range(least=10, most=10**6)] = 400
    """saved times"""
    seed: Seed = 0
    """of the initial layers"""


QUICK = Settings(
    powers=(2, 4, 6, 8), starts=2, smallest=2, network_neurons=20, network_inputs=30, network_powers=(1,), times=150
)


def compute(settings: Settings, progress: Progress) -> xr.Dataset:
    """The reduced system from every initial second layer, and the network: component risks, learning times, exponents."""
    check(settings)
    degrees = len(settings.phi)
    if len(settings.sigma) != degrees:
        raise RequestError(f"--sigma must have as many coefficients as --phi, {degrees}, but has {len(settings.sigma)}")
    solve = partial(two_layer_time_scales, phi=settings.phi, sigma=settings.sigma, t1=settings.t1, count=settings.times)
    epsilons, wide = (10.0 ** -np.array(powers, dtype=float) for powers in (settings.powers, settings.network_powers))

    def cell(start: int) -> dict[str, Any]:
        rng = np.random.default_rng([settings.seed, start])
        found = solve(epsilons, initial=rng.uniform(-1, 1, settings.neurons))
        return {
            "learnt": (("epsilon", "degree"), found.learnt),
            "exponent": ("degree", found.exponents(settings.smallest)[:, 0]),
            "risks": (("epsilon", "time", "degree"), np.asarray(found.risks)),
            "ts": (("epsilon", "time"), np.asarray(found.ts)),
        }

    data = grid({"start": range(settings.starts)}, cell, progress, "initial layers")
    data = data.assign({name: data[name][0] for name in ("risks", "ts")})  # the first is drawn
    rng = np.random.default_rng([settings.seed, 10_000])
    w = rng.standard_normal((settings.network_neurons, settings.network_inputs))
    w[:, 0] = 0.0
    w /= np.linalg.norm(w, axis=1, keepdims=True)
    initial = rng.uniform(-1, 1, settings.network_neurons)
    network = solve(wide, initial=initial, directions=w, rtol=1e-5, atol=1e-8)
    data = data.assign(
        network_risks=(("network", "time", "degree"), np.asarray(network.risks)),
        network_ts=(("network", "time"), np.asarray(network.ts)),
        network_learnt=(("network", "degree"), network.learnt),
        theory=("degree", theoretical_exponents(degrees)),
    ).assign_coords(epsilon=epsilons, network=wide)
    return record(data, codes={"successful": settings.starts * len(epsilons) + len(wide)})


def draw(data: xr.Dataset, settings: Settings) -> dict[str, Figure]:
    """Two staircases of the reduced system, the learning times against ε̄, and the staircases of the network."""
    figure, axes = panels(1, 3, width=5.0, height=4.5)
    left, middle, right = axes[0]
    epsilons = data["epsilon"].values
    order = np.argsort(epsilons)
    small, typical = order[0], order[len(epsilons) // 2]
    for index, style in ((typical, "--"), (small, "-")):
        _staircase(left, data["ts"][index], data["risks"][index], style, "" if style == "-" else None)
    left.set_title(f"reduced system: ε̄ = {epsilons[small]:.0e} (solid), {epsilons[typical]:.0e} (dashed)")
    slopes, theory = mean(data["exponent"].values), data["theory"].values
    for k, times in enumerate(np.moveaxis(data["learnt"].values, 2, 0)):
        centre = np.exp(np.log(times).mean(axis=0))
        middle.loglog(epsilons, times.T, "o", color=SERIES[k], ms=3, alpha=0.4)
        half = slopes.high[k] - slopes.value[k]
        label = f"degree {k}: {slopes.value[k]:.3f} ± {half:.3f} (theory {theory[k]:g})"
        middle.loglog(epsilons, centre, "-", color=SERIES[k], lw=1.6, label=label)
        middle.loglog(epsilons, centre[small] * (epsilons / epsilons[small]) ** theory[k], ":", color=INK, lw=1.0)
    middle.set(xlabel="ε̄", ylabel="time at which R_k halves for good")
    middle.set_title(f"exponents at the {settings.smallest} smallest ε̄; dotted: theory")
    for index, style in zip(range(data.sizes["network"]), ("-", "--", ":", "-."), strict=False):
        ending = f", ε̄ = {float(data['network'][index]):g}"
        _staircase(right, data["network_ts"][index], data["network_risks"][index], style, ending)
    right.axhline(0.5, color=MUTED, lw=0.8)
    right.set_title(f"network: {settings.network_neurons} neurons, {settings.network_inputs} inputs")
    for ax in axes[0]:
        ax.legend()
    return {"learning_time_scales": figure}


def _staircase(ax: Axes, ts: xr.DataArray, risks: xr.DataArray, style: str, ending: str | None) -> None:
    """R_k(t)/R_k(0) of every degree; without names where `ending` is None."""
    for k, risk in enumerate(risks.values.T):
        label = None if ending is None else f"degree {k}{ending}"
        ax.semilogx(ts.values, risk / risk[0], style, color=SERIES[k], lw=1.6, label=label)
    ax.set(xlabel="time t", ylabel="component risk R_k(t) / R_k(0)", ylim=(-0.03, 1.25))


def tell(data: xr.Dataset, settings: Settings) -> str:
    """The exponents beside theory's, what was never learnt, and the network's learning times."""
    slopes, theory, times = mean(data["exponent"].values), data["theory"].values, data["learnt"].values
    largest = np.sort(data["epsilon"].values)[settings.smallest - 1]
    lines = [
        f"degree {k}: exponent {slope:.3f} ± {slopes.high[k] - slope:.3f} (95 %, {settings.starts} starts, ε̄ ≤ "
        f"{largest:.0e}), theory {theory[k]:.3f}: {100 * (slope / theory[k] - 1):+.1f} %"
        for k, slope in enumerate(slopes.value)
    ]
    lost = int((~np.isfinite(times)).sum())
    lines.append(f"{lost} of {times.size} steps of the staircase were not reached by t = {settings.t1:g}")
    for learnt in data["network_learnt"]:
        shown = ", ".join(f"{time:.3g}" for time in learnt.values)
        lines.append(
            f"network of {settings.network_neurons} neurons, ε̄ = {float(learnt['network']):g}: degrees learnt at t = {shown} "
            "(inf: not by t1)"
        )
    return "\n".join(lines)
