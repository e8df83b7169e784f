"""The staircase of two-layer networks: which degree is learnt when, as ε̄ → 0, and the exponents 1, 1/2, 1/4 (log time).

The reduced system of arXiv 2303.00055 for ε̄ = 1e-2 … 1e-8 and several initial second layers; beside it a network of
finite width, trained by gradient flow in the same set-up (first layer orthogonal to the target direction).
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import matplotlib.pyplot as plt
import numpy as np
import scipy.stats
import xarray as xr

from homotopy import RequestError, theoretical_exponents, two_layer_time_scales
from homotopy.run import Progress, Range, RunResult, Seed, check
from homotopy.viz import INK, MUTED, SERIES


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


def run(settings: Settings, progress: Progress) -> RunResult:
    """Solve, find the times, fit the exponents, draw."""
    check(settings)
    degrees = len(settings.phi)
    if len(settings.sigma) != degrees:
        raise RequestError(f"--sigma must have as many coefficients as --phi, {degrees}, but has {len(settings.sigma)}")
    epsilons = 10.0 ** -np.array(settings.powers, dtype=float)
    solve = partial(two_layer_time_scales, phi=settings.phi, sigma=settings.sigma, t1=settings.t1, count=settings.times)
    learnt, slopes = [], []
    first: Any = None
    with progress.task("initial layers", settings.starts + 1) as advance:
        for start in range(settings.starts):
            rng = np.random.default_rng([settings.seed, start])
            found = solve(epsilons, initial=rng.uniform(-1, 1, settings.neurons))
            first = found if first is None else first
            learnt.append(found.learnt)
            slopes.append(found.exponents(settings.smallest)[:, 0])
            advance()
        rng = np.random.default_rng([settings.seed, 10_000])
        w = rng.standard_normal((settings.network_neurons, settings.network_inputs))
        w[:, 0] = 0.0
        w /= np.linalg.norm(w, axis=1, keepdims=True)
        initial = rng.uniform(-1, 1, settings.network_neurons)
        wide = 10.0 ** -np.array(settings.network_powers, dtype=float)
        network = solve(wide, initial=initial, directions=w, rtol=1e-5, atol=1e-8)
        advance()
    times, exponents = np.array(learnt), np.array(slopes)
    theory = theoretical_exponents(degrees)
    half = scipy.stats.t.ppf(0.975, settings.starts - 1) * exponents.std(axis=0, ddof=1) / np.sqrt(settings.starts)
    mean = exponents.mean(axis=0)
    figure = _draw(settings, epsilons, first, network, times, mean, half, theory)
    lines = [
        f"degree {k}: exponent {mean[k]:.3f} ± {half[k]:.3f} (95 %, {settings.starts} starts, ε̄ ≤ "
        f"{np.sort(epsilons)[settings.smallest - 1]:.0e}), theory {theory[k]:.3f}: {100 * (mean[k] / theory[k] - 1):+.1f} %"
        for k in range(degrees)
    ]
    lost = int((~np.isfinite(times)).sum())
    lines.append(f"{lost} of {times.size} steps of the staircase were not reached by t = {settings.t1:g}")
    for row, epsilon in enumerate(wide):
        shown = ", ".join(f"{time:.3g}" for time in network.learnt[row])
        lines.append(
            f"network of {settings.network_neurons} neurons, ε̄ = {epsilon:g}: degrees learnt at t = {shown} (inf: not by t1)"
        )
    data = xr.Dataset(
        {
            "learnt": (("start", "epsilon", "degree"), times),
            "exponent": (("start", "degree"), exponents),
            "risks": (("epsilon", "time", "degree"), np.asarray(first.risks)),
            "ts": (("epsilon", "time"), np.asarray(first.ts)),
            "network_risks": (("network", "time", "degree"), np.asarray(network.risks)),
            "network_ts": (("network", "time"), np.asarray(network.ts)),
        },
        coords={"epsilon": epsilons, "network": wide},
    )
    return RunResult(
        figures={"learning_time_scales": figure},
        data=data,
        summary="\n".join(lines),
        result_codes={"successful": settings.starts * len(epsilons) + len(wide)},
    )


def _draw(settings, epsilons, first, network, times, mean, half, theory):
    degrees = len(theory)
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(15, 4.6), layout="constrained")
    row = int(np.argmin(epsilons))
    middle_row = int(np.argsort(epsilons)[len(epsilons) // 2])
    for index, style in ((middle_row, "--"), (row, "-")):
        for k in range(degrees):
            share = np.asarray(first.risks[index, :, k] / first.risks[index, 0, k])
            label = f"degree {k}" if style == "-" else None
            left.semilogx(first.ts[index], share, style, color=SERIES[k], lw=1.6, label=label)
    left.set(xlabel="time t", ylabel="component risk R_k(t) / R_k(0)", ylim=(-0.03, 1.25))
    left.set_title(
        f"reduced system: ε̄ = {epsilons[row]:.0e} (solid), {epsilons[middle_row]:.0e} (dashed)", fontsize=10.5
    )
    left.legend(fontsize=9)
    for k in range(degrees):
        centre = np.exp(np.log(times[:, :, k]).mean(axis=0))
        middle.loglog(epsilons, times[:, :, k].T, "o", color=SERIES[k], ms=3, alpha=0.4)
        label = f"degree {k}: {mean[k]:.3f} ± {half[k]:.3f} (theory {theory[k]:g})"
        middle.loglog(epsilons, centre, "-", color=SERIES[k], lw=1.6, label=label)
        at = int(np.argmin(epsilons))
        middle.loglog(epsilons, centre[at] * (epsilons / epsilons[at]) ** theory[k], ":", color=INK, lw=1.0)
    middle.set(xlabel="ε̄", ylabel="time at which R_k halves for good")
    middle.set_title(f"exponents at the {settings.smallest} smallest ε̄; dotted: theory", fontsize=10.5)
    middle.legend(fontsize=8.5)
    for index, style in zip(range(len(network.epsilons)), ("-", "--", ":", "-."), strict=False):
        for k in range(degrees):
            share = np.asarray(network.risks[index, :, k] / network.risks[index, 0, k])
            label = f"degree {k}, ε̄ = {float(network.epsilons[index]):g}"
            right.semilogx(network.ts[index], share, style, color=SERIES[k], lw=1.6, label=label)
    right.axhline(0.5, color=MUTED, lw=0.8)
    right.set(xlabel="time t", ylabel="component risk R_k(t) / R_k(0)", ylim=(-0.03, 1.25))
    right.set_title(f"network: {settings.network_neurons} neurons, {settings.network_inputs} inputs", fontsize=10.5)
    right.legend(fontsize=8)
    return figure
