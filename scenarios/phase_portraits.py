"""Figure 4: phase portraits of θ(t, ε(t)) for linear regression in the plane — when does ε > 0 beat leaving out?

Four panels, each found by computation among random problems and starts and none asserted: (a) dropping the point too
late is much worse than never using it; (b) a well-chosen switch time beats leave-one-out training; (c) from another
start every ε > 0 is worse; (d) the best linear decay is no match for the best step. E = ½‖θ(T) − θ*₋‖².
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import equinox as eqx
import jax
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from homotopy import (
    AbstractSchedule,
    Constant,
    LinearDecay,
    LinearRegression,
    PolynomialDecay,
    Problem,
    Step,
    Trajectory,
    WorkError,
    datasets,
    describe,
    energy,
    leave_one_out,
    pontryagin_residual,
    search,
    simulate,
    surface,
)
from homotopy.run import Progress, Range, RunResult, Seed, check
from homotopy.viz import (
    FULL,
    RETAINED,
    SERIES,
    animate_phase,
    bounds_of,
    landmark_handles,
    plot_field,
    plot_landmarks,
    plot_levels,
    plot_trajectory,
)


@dataclass(frozen=True)
class Settings:
    """Which random problems are looked through, and how the panels are drawn."""

    n: Annotated[int, Range(least=3, most=10_000)] = 20
    """number of points (rows of X, in two dimensions)"""
    noise: Annotated[float, Range(least=0, most=1e3)] = 0.5
    """standard deviation of the noise in y"""
    problems: Annotated[int, Range(least=1, most=10_000)] = 40
    """random problems looked through"""
    starts: Annotated[int, Range(least=0, most=10_000)] = 12
    """random starts θ₀ tried on each problem"""
    horizon: Annotated[float, Range(least=1e-6, most=1e4)] = 1.0
    """T in units of 1/λ_min(H₋)"""
    late: Annotated[float, Range(above=0, below=1)] = 0.8
    """the late switch of panel (a), as a fraction of T"""
    decays: Annotated[int, Range(least=1, most=10_000)] = 20
    """instances on which the best linear decay is held against the best step, those of the largest effect first"""
    seed: Seed = 0
    """seed of the problems and the starts"""
    frames: Annotated[int, Range(least=0, most=1000)] = 24
    """frames of the animation; 0 leaves it out"""


QUICK = Settings(problems=8, starts=6, decays=5, frames=0)


@dataclass(frozen=True)
class Instance:
    """One problem, one start, and what the best step gains there."""

    problem: Problem
    theta0: np.ndarray
    t1: float
    leave_out: float
    best: float
    tau: float
    late: float


def run(settings: Settings, progress: Progress) -> RunResult:
    """Look through the problems, then draw the four panels and the animation."""
    check(settings)
    rng = np.random.default_rng(settings.seed)
    instances: list[Instance] = []
    with progress.task("looking for instances", settings.problems) as advance:
        for index in range(settings.problems):
            instances += _instances(settings, settings.seed + index, rng)
            advance(1)
    gains = [instance for instance in instances if 0 < instance.tau < instance.t1 and instance.best > 0]
    if not gains:
        raise WorkError("no instance where a step beats ε ≡ 0 was found; raise problems or starts, or change seed")
    # (a) and (b) show the same instance: the one on which the smaller of both effects is largest.
    gains.sort(key=lambda i: min(i.leave_out / i.best, i.late / i.leave_out), reverse=True)
    other = _every_weight_hurts(instances, gains[0])
    decays = [_best_linear(instance) for instance in gains[: settings.decays]]
    return _draw(settings, gains, other, decays, len(instances))


def _instances(settings: Settings, seed: int, rng: np.random.Generator) -> list[Instance]:
    """The problem of one seed with its most influential point deleted, from several starts."""
    data = datasets.random_linear(n=settings.n, d=2, noise=settings.noise, seed=seed)
    every = [Problem(LinearRegression(), data, delete=j) for j in range(data.n)]
    ends = [_endpoints(problem, 2) for problem in every]
    j = int(np.argmax([np.linalg.norm(end[-1] - end[0]) for end in ends]))
    problem, (target, full) = every[j], ends[j]
    hessian = np.asarray(problem.hessian(target, 0.0))
    t1 = settings.horizon / np.linalg.eigvalsh(hessian)[0]
    found = []
    for _ in range(settings.starts):
        angle, radius = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 4.0)
        theta0 = target + radius * np.linalg.norm(full - target) * np.array([np.cos(angle), np.sin(angle)])
        result = search(problem, theta0, t1=t1, family="step", target=target, certify="none")
        late = float(energy(problem, Step(settings.late * t1), theta0, t1=t1, target=target))
        tau = float(result.schedule.discontinuities()[0])
        found.append(Instance(problem, theta0, t1, result.baseline_energy, result.energy, tau, late))
    return found


def _endpoints(problem: Problem, m: int) -> np.ndarray:
    """θ(ε) at m weights from 0 to 1: the limit of the exact flow."""
    return np.asarray(surface(problem, np.linspace(0, 1, m), np.zeros(problem.dim), ts=[np.inf]).thetas[:, 0])


def _catalogue(t1: float) -> list[AbstractSchedule]:
    """Schedules of every family with some ε > 0, to hold against ε ≡ 0."""
    shares = (0.02, 0.1, 0.3, 0.6, 1.0)
    return [
        *[Step(share * t1) for share in shares],
        *[Constant(value) for value in (0.05, 0.3, 1.0)],
        *[LinearDecay(0.0, share * t1) for share in shares],
        *[PolynomialDecay(0.0, share * t1, 3.0) for share in shares],
    ]


def _every_weight_hurts(instances: list[Instance], like: Instance) -> tuple[Instance, float, float]:
    """A start from which ε ≡ 0 satisfies Pontryagin's principle, the gentlest rival's E/E(0), and the residual.

    The same problem as `like` if it has such a start, for comparison; else any.
    """
    zero = [instance for instance in instances if instance.tau == 0]
    same = [instance for instance in zero if instance.problem is like.problem]
    return _hurt_most(same) or _hurt_most(zero) or _none_found()


def _hurt_most(instances: list[Instance]) -> tuple[Instance, float, float] | None:
    best = None
    for instance in instances:
        residual = pontryagin_residual(instance.problem, Step(0.0), instance.theta0, t1=instance.t1)
        rivals = [
            float(energy(instance.problem, schedule, instance.theta0, t1=instance.t1, rtol=1e-9))
            for schedule in _catalogue(instance.t1)
        ]
        ratio = min(rivals) / instance.leave_out
        if residual == 0 and (best is None or ratio > best[1]):
            best = (instance, ratio, residual)
    return best


def _none_found() -> tuple[Instance, float, float]:
    raise WorkError("no start was found from which ε ≡ 0 is optimal; raise problems or starts, or change seed")


def _best_linear(instance: Instance) -> tuple[LinearDecay, float]:
    """The linear decay from 1 at t = 0 to 0 at t₁ ≤ T with the smallest E, over 60 values of t₁."""
    ends = np.linspace(instance.t1 / 60, instance.t1, 60)
    values = np.asarray(_decay_energies(instance.problem, ends, instance.theta0, instance.t1))
    return LinearDecay(0.0, ends[int(np.argmin(values))]), float(values.min())


@eqx.filter_jit
def _decay_energies(problem, ends, theta0, t1):
    target = leave_one_out(problem).theta
    return jax.vmap(lambda end: energy(problem, LinearDecay(0.0, end), theta0, t1=t1, target=target))(ends)


def _draw(
    settings: Settings,
    gains: list[Instance],
    other_found: tuple[Instance, float, float],
    decays: list[tuple[LinearDecay, float]],
    looked: int,
) -> RunResult:
    chosen = gains[0]
    other, rival_ratio, residual = other_found
    # (d) shows the instance that speaks most clearly; how often the claim fails is counted beside it.
    ratios = np.array([value / instance.best for (_, value), instance in zip(decays, gains, strict=False)])
    clearest = int(np.argmax(ratios))
    decayed, (linear, _) = gains[clearest], decays[clearest]
    better = int(np.sum(ratios < 1))
    leave_out, step = Step(0.0), Step(chosen.tau)
    late = Step(settings.late * chosen.t1)
    panels: dict[str, tuple[Instance, list[tuple[AbstractSchedule, str, str]], str]] = {
        "a": (chosen, [(leave_out, "ε ≡ 0", RETAINED), (late, "late step", FULL)],
              f"(a) switching too late: E is ×{chosen.late / chosen.leave_out:.3g} that of ε ≡ 0"),
        "b": (chosen, [(leave_out, "ε ≡ 0", RETAINED), (step, "best step", SERIES[2])],
              f"(b) a well-chosen step: E is ×{chosen.best / chosen.leave_out:.3g} that of ε ≡ 0"),
        "c": (other, [(leave_out, "ε ≡ 0", RETAINED), (Step(0.1 * other.t1), "short step", FULL),
                      (LinearDecay(0.0, 0.3 * other.t1), "linear decay", SERIES[3])],
              f"(c) another start: the best of {len(_catalogue(1.0))} rivals has ×{rival_ratio:.3g} the E of ε ≡ 0"),
        "d": (decayed, [(Step(decayed.tau), "best step", SERIES[2]), (linear, "best linear decay", SERIES[3])],
              f"(d) linear decay: its best E is ×{ratios[clearest]:.3g} that of the best step"),
    }  # fmt: skip
    figure, grid = plt.subplots(2, 2, figsize=(11.0, 9.6), layout="constrained")
    records: dict[str, xr.Variable] = {}
    for ax, (name, (instance, curves, title)) in zip(grid.flat, panels.items(), strict=True):
        drawn = [(schedule, _simulate(instance, schedule), label, color) for schedule, label, color in curves]
        segment = _endpoints(instance.problem, 33)
        bounds = bounds_of([segment, *[np.asarray(trajectory.thetas) for _, trajectory, _, _ in drawn]])
        plot_levels(instance.problem, bounds, ax)
        plot_field(instance.problem, 0.0, bounds, ax)
        plot_field(instance.problem, 1.0, bounds, ax)
        for schedule, trajectory, label, color in drawn:
            value = float(energy(instance.problem, schedule, instance.theta0, t1=instance.t1))
            text = f"{label} ({describe(schedule, 3)}): E = {value:.3g}"
            plot_trajectory(trajectory, schedule, ax, color=color, label=text)
            key = f"{name}_{label.replace(' ', '_').replace('ε_≡_0', 'leave_out')}"
            records[f"theta_{key}"] = xr.Variable(("time", "parameter"), np.asarray(trajectory.thetas))
            records[f"epsilon_{key}"] = xr.Variable("time", np.asarray(trajectory.epsilons))
            records[f"energy_{key}"] = xr.Variable((), value, {"schedule": describe(schedule, 17)})
        plot_landmarks(instance.theta0, segment, ax)
        ax.set(title=title, xlabel="θ₁", ylabel="θ₂", xlim=bounds[:2], ylim=bounds[2:])
        ax.title.set_fontsize(10.5)
        ax.legend(loc="best", fontsize=8.5, framealpha=0.9)
    figure.legend(handles=landmark_handles(), loc="outside lower center", ncols=7, fontsize=8.5, frameon=False)
    for name, instance in (("chosen", chosen), ("other", other)):
        records[f"x_{name}"] = xr.Variable(("point", "feature"), np.asarray(instance.problem.data.x))
        records[f"y_{name}"] = xr.Variable("point", np.asarray(instance.problem.data.y))
        records[f"theta0_{name}"] = xr.Variable("parameter", instance.theta0)
        records[f"deleted_{name}"] = xr.Variable((), int(instance.problem.delete[0]))
        records[f"t1_{name}"] = xr.Variable((), instance.t1, {"units": "time of the flow, sum convention"})
    attributes = {
        "late_over_leave_out": chosen.late / chosen.leave_out,
        "best_step_over_leave_out": chosen.best / chosen.leave_out,
        "best_rival_over_leave_out": rival_ratio,
        "pontryagin_residual_of_leave_out": residual,
        "linear_over_step": float(ratios[clearest]),
        "linear_decay_better": better,
        "linear_decay_compared": len(ratios),
        "instances": looked,
        "instances_where_a_step_wins": len(gains),
    }
    share = len(gains) / looked
    summary = (
        f"{looked} instances of {settings.n} points in the plane; a step beats ε ≡ 0 on {len(gains)} ({share:.0%})\n"
        f"(a) late step / ε ≡ 0: E × {attributes['late_over_leave_out']:.4g}\n"
        f"(b) best step / ε ≡ 0: E × {attributes['best_step_over_leave_out']:.4g}\n"
        f"(c) best rival / ε ≡ 0: E × {rival_ratio:.4g} (Pontryagin residual of ε ≡ 0: {residual:.1g})\n"
        f"(d) best linear decay / best step: E × {attributes['linear_over_step']:.4g}, "
        f"but the decay is the better one on {better} of {len(ratios)} instances"
    )
    animations = {}
    if settings.frames:
        dense = _simulate(chosen, step)
        segment = _endpoints(chosen.problem, 33)
        animations["best_step"] = partial(
            animate_phase, problem=chosen.problem, schedule=step, trajectory=dense, segment=segment,
            frames=settings.frames,
        )  # fmt: skip
    return RunResult(
        figures={"phase_portraits": figure},
        data=xr.Dataset(records, attrs=attributes),
        summary=summary,
        datasets=(chosen.problem.data, other.problem.data),
        result_codes={"successful": sum(len(curves) for _, curves, _ in panels.values())},
        animations=animations,
    )


def _simulate(instance: Instance, schedule: AbstractSchedule) -> Trajectory:
    ts = instance.t1 * np.linspace(0.0, 1.0, 401) ** 2  # the flow is fastest at the start
    return simulate(instance.problem, schedule, instance.theta0, t1=instance.t1, ts=ts, dense=True)
