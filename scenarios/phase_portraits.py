"""Figure 4: phase portraits of θ(t, ε(t)) for linear regression in the plane — when does ε > 0 beat leaving out?

Four panels, each found by computation among random problems and starts and none asserted: (a) dropping the point too
late is much worse than never using it; (b) a well-chosen switch time beats leave-one-out training; (c) from another
start every ε > 0 is worse; (d) the best linear decay is no match for the best step. E = ½‖θ(T) − θ*₋‖².
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from homotopy import (
    AbstractSchedule,
    LinearDecay,
    Step,
    WorkError,
    describe,
    parse,
    surface,
)
from homotopy.run import Progress, Range, Seed, check, record
from homotopy.viz import (
    FULL,
    RETAINED,
    SERIES,
    Plane,
    animate_phase,
    bounds_of,
    landmark_handles,
    panels,
    phase_plane,
    plot_curve,
    plot_field,
    plot_landmarks,
    plot_levels,
)

from ._portraits import DECAYS, HELD, Instance, best_linear, energies, every_weight_hurts, looked_through, path_of

_RATIOS = ("late_over_leave_out", "best_step_over_leave_out", "best_rival_over_leave_out", "linear_over_step")
_TIMES = 120  # of a curve
_COLORS = {
    "ε ≡ 0": RETAINED, "late step": FULL, "best step": SERIES[2], "short step": FULL, "linear decay": SERIES[3],
    "best linear decay": SERIES[3],
}  # fmt: skip


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


def compute(settings: Settings, progress: Progress) -> xr.Dataset:
    """Look through the problems; the curves, the fields and the level sets of the four panels."""
    check(settings)
    rng = np.random.default_rng(settings.seed)
    instances: list[Instance] = []
    with progress.task("looking for instances", settings.problems) as advance:
        for index in range(settings.problems):
            instances += looked_through(
                settings.seed + index, rng, n=settings.n, noise=settings.noise, starts=settings.starts,
                horizon=settings.horizon, late=settings.late,
            )  # fmt: skip
            advance(1)
    gains = [one for one in instances if 0 < one.tau < one.t1 and one.best > 0]
    if not gains:
        raise WorkError("no instance where a step beats ε ≡ 0 was found; raise problems or starts, or change seed")
    # (a) and (b) show the same instance: the one on which the smaller of both effects is largest.
    gains.sort(key=lambda i: min(i.leave_out / i.best, i.late / i.leave_out), reverse=True)
    chosen = gains[0]
    other, rival = every_weight_hurts(instances, chosen)
    # (d) shows the instance that speaks most clearly; how often the claim fails is counted beside it.
    decays = [best_linear(instance) for instance in gains[: settings.decays]]
    ratios = np.array([value / instance.best for (_, value), instance in zip(decays, gains, strict=False)])
    clearest = int(np.argmax(ratios))
    decayed, leave_out, step = gains[clearest], Step(0.0), Step(chosen.tau)
    shown: dict[str, tuple[Instance, dict[str, AbstractSchedule]]] = {
        "a": (chosen, {"ε ≡ 0": leave_out, "late step": Step(settings.late * chosen.t1)}),
        "b": (chosen, {"ε ≡ 0": leave_out, "best step": step}),
        "c": (other, {"ε ≡ 0": leave_out, "short step": Step(0.1 * other.t1),
                      "linear decay": LinearDecay(0.0, 0.3 * other.t1)}),
        "d": (decayed, {"best step": Step(decayed.tau), "best linear decay": decays[clearest][0]}),
    }  # fmt: skip
    data = _panels(shown).merge(_stored(chosen=chosen, other=other))
    if settings.frames:
        times = np.linspace(0.0, chosen.t1, max(settings.frames, 2))
        data = data.assign(
            frame_time=("frame", times), frame_theta=(("frame", "parameter"), path_of(chosen, step, times))
        )
    over = (chosen.late / chosen.leave_out, chosen.best / chosen.leave_out, rival, float(ratios[clearest]))
    facts = dict(zip(_RATIOS, over, strict=True)) | {
        "pontryagin_residual_of_leave_out": other.residual,
        "linear_decay_better": int(np.sum(ratios < 1)),
        "linear_decay_compared": len(ratios),
        "instances": len(instances),
        "instances_where_a_step_wins": len(gains),
    }
    codes = {"successful": data.sizes["curve"]}
    return record(data.assign_attrs(facts), chosen.problem.data, other.problem.data, codes=codes)


def _panels(shown: dict[str, tuple[Instance, dict[str, AbstractSchedule]]]) -> xr.Dataset:
    """The curves of every panel with their energies, and behind them the plane and the endpoints θ(ε)."""
    curves, planes = [], []
    for name, (instance, schedules) in shown.items():
        ends = surface(instance.problem, np.linspace(0, 1, 33), np.zeros(2), ts=[np.inf])
        segment = np.asarray(ends.thetas[:, 0])
        drawn = [_curve(instance, name, label, schedule) for label, schedule in schedules.items()]
        curves += drawn
        plane = phase_plane(instance.problem, bounds_of([segment, *[curve["theta"].values for curve in drawn]]))
        planes.append(
            xr.Dataset(
                {"bounds": ("edge", np.array(plane.bounds)), "depth": (("v", "u"), plane.depth),
                 "arrows": (("weight", "row", "column", "parameter"), plane.arrows),
                 "endpoints": (("end", "parameter"), segment), "theta0": ("parameter", instance.theta0)},
                coords={"weight": plane.epsilons, "panel": name},
            )
        )  # fmt: skip
    return xr.merge([xr.concat(curves, "curve"), xr.concat(planes, "panel")])


def _curve(instance: Instance, panel: str, label: str, schedule: AbstractSchedule) -> xr.Dataset:
    # The flow is fastest at the start; and the time at which the schedule ends to be what it was is among the others.
    kinks = [float(time) for time in np.asarray(schedule.discontinuities()) if 0 < time < instance.t1]
    ts = np.sort([*(instance.t1 * np.linspace(0.0, 1.0, _TIMES) ** 2), *(kinks or [0.5 * instance.t1])])
    thetas = path_of(instance, schedule, ts)
    kink = thetas[np.searchsorted(ts, kinks[0])] if kinks else np.full(2, np.nan)
    return xr.Dataset(
        {
            "theta": (("time", "parameter"), thetas),
            "epsilon": ("time", np.asarray(schedule(ts))),
            "t": ("time", ts, {"units": "time of the flow, sum convention"}),
            "theta_at_switch": ("parameter", kink),
            "energy": ((), energies(thetas[-1:], instance.target)[0]),
            "schedule": ((), describe(schedule, 17)),
            "of_panel": ((), panel),
            "label": ((), label),
        }
    )


def _stored(**instances: Instance) -> xr.Dataset:
    """The data and the start of an instance, whole."""
    stored: dict[str, tuple[Any, ...]] = {}
    for name, instance in instances.items():
        stored[f"x_{name}"] = (("point", "feature"), np.asarray(instance.problem.data.x))
        stored[f"y_{name}"] = ("point", np.asarray(instance.problem.data.y))
        stored[f"theta0_{name}"] = ("parameter", instance.theta0)
        stored[f"deleted_{name}"] = ((), int(instance.problem.delete[0]))
        stored[f"t1_{name}"] = ((), instance.t1, {"units": "time of the flow, sum convention"})
    return xr.Dataset(stored)


def draw(data: xr.Dataset, settings: Settings) -> dict[str, plt.Figure | Callable[[Path], None]]:
    """The four panels; and the best step as it runs."""
    facts = data.attrs
    late, best, rival, linear = (f"×{facts[name]:.3g}" for name in _RATIOS)
    titles = {
        "a": f"(a) switching too late: E is {late} that of ε ≡ 0",
        "b": f"(b) a well-chosen step: E is {best} that of ε ≡ 0",
        "c": f"(c) another start: the best of {len(HELD + DECAYS)} rivals has {rival} the E of ε ≡ 0",
        "d": f"(d) linear decay: its best E is {linear} that of the best step",
    }
    figure, axes = panels(2, 2, width=5.5, height=4.8)
    for ax, name in zip(axes.flat, titles, strict=True):
        panel, plane = _plane(data, name)
        plot_levels(plane, ax)
        for weight in plane.epsilons:
            plot_field(plane, weight, ax)
        for k in np.flatnonzero(data["of_panel"].values == name):
            curve = data.isel(curve=k)
            at = curve["theta_at_switch"].values[None, :]
            label = str(curve["label"].values)
            text = f"{label} ({describe(parse(str(curve['schedule'].values)), 3)}): E = {float(curve['energy']):.3g}"
            plot_curve(curve["theta"], at[np.isfinite(at).all(axis=1)], ax, color=_COLORS[label], label=text)
        plot_landmarks(panel["theta0"].values, panel["endpoints"].values, ax)
        ax.set(title=titles[name], xlabel="θ₁", ylabel="θ₂", xlim=plane.bounds[:2], ylim=plane.bounds[2:])
        ax.legend(loc="best", framealpha=0.9)
    figure.legend(handles=landmark_handles(), loc="outside lower center", ncols=7, frameon=False)
    if not settings.frames:
        return {"phase_portraits": figure}
    panel, plane = _plane(data, "b")
    step = str(data["schedule"].values[(data["of_panel"] == "b") & (data["label"] == "best step")][0])
    frames = data["frame_time"].values, data["frame_theta"].values, panel["endpoints"].values
    return {"phase_portraits": figure, "best_step": lambda path: animate_phase(path, plane, parse(step), *frames)}


def _plane(data: xr.Dataset, name: str) -> tuple[xr.Dataset, Plane]:
    panel = data.sel(panel=name)
    left, right, bottom, top = map(float, panel["bounds"].values)
    return panel, Plane((left, right, bottom, top), *(panel[part].values for part in ("depth", "weight", "arrows")))


def tell(data: xr.Dataset, settings: Settings) -> str:
    """How often a step wins, and the four ratios."""
    facts = data.attrs
    looked, wins = facts["instances"], facts["instances_where_a_step_wins"]
    late, best, rival, linear = (f"E × {facts[name]:.4g}" for name in _RATIOS)
    return (
        f"{looked} instances of {settings.n} points in the plane; a step beats ε ≡ 0 on {wins} ({wins / looked:.0%})\n"
        f"(a) late step / ε ≡ 0: {late}\n(b) best step / ε ≡ 0: {best}\n"
        f"(c) best rival / ε ≡ 0: {rival} (Pontryagin residual of ε ≡ 0: "
        f"{facts['pontryagin_residual_of_leave_out']:.1g})\n(d) best linear decay / best step: {linear}, but the decay is "
        f"the better one on {facts['linear_decay_better']} of {facts['linear_decay_compared']} instances"
    )
