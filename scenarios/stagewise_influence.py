"""When does a point matter? Its influence along training, and the sensitivity kernel k_j(t), through plateaus and stages.

Two maps of points × time. The influence at T: the change of the test loss at T when the point is left out from the
start, for every T. The kernel: the change of the final test loss per unit of weight added to the point per unit of time
at t. Three trainings: a deep linear network that learns its singular modes one after another, the notes' teacher–student
network, and the two-layer time-scale system, whose "points" are the degrees of the target. Beside the kernel stands what
it adds up to and the influence function at the end; both are held against real retraining.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jax import Array
from matplotlib.axes import Axes
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure

from homotopy import (
    MLP,
    Constant,
    Dataset,
    Problem,
    Step,
    datasets,
    flow_influence_kernel,
    grad_dot,
    influence_matrix,
    rank_agreement,
    sensitivity,
    simulate,
    source_influence,
    tracin,
)
from homotopy._statistics import rank_correlation
from homotopy.run import Progress, Range, Seed, check, record
from homotopy.viz import FULL, INK, MUTED, RETAINED, SERIES

from ._degrees import degree_kernels
from ._parts import joined, part_of
from ._queries import MeanLoss, mean_losses

METHODS = ("flow kernel", "SOURCE", "TracIn", "GradDot", "influence at the end")


@dataclass(frozen=True)
class Settings:
    """The three trainings, and how finely they are looked at."""

    per_mode: Annotated[int, Range(least=1, most=100)] = 6
    """points of each mode of the deep linear network"""
    strengths: Annotated[tuple[float, ...], Range(above=0, most=100, entries=1)] = (3.0, 1.5, 0.7)
    """singular values of its target map"""
    linear_t1: Annotated[float, Range(least=1e-6, most=1e4)] = 1.5
    """end of its training"""
    small: Annotated[float, Range(above=0, most=10)] = 0.03
    """θ₀ of both networks is this times the customary random start: small starts make stages"""
    n: Annotated[int, Range(least=4, most=1000)] = 20
    """points of the teacher–student problem"""
    width: Annotated[int, Range(least=1, most=100)] = 3
    """neurons of its student and of its teacher"""
    student_t1: Annotated[float, Range(above=1e-3, most=1e5)] = 30.0
    """end of its training"""
    times: Annotated[int, Range(least=10, most=10_000)] = 160
    """columns of the maps"""
    epsilon: Annotated[float, Range(least=1e-12, most=0.1)] = 1e-6
    """ε̄ of the time-scale system"""
    scales_t1: Annotated[float, Range(above="epsilon", most=1e3)] = 0.03
    """end of its training: the target can be learnt exactly, and nothing matters for a risk that is 0"""
    neurons: Annotated[int, Range(least=1, most=1000)] = 8
    """its neurons"""
    noise: Annotated[float, Range(least=0, most=1e3)] = 0.1
    """standard deviation of the targets' noise in both networks"""
    damping: Annotated[float, Range(above=0, most=1e6)] = 1e-3
    """λ of the Gauss–Newton influence at the end (mean convention), where the Hessian is singular"""
    seed: Seed = 0
    """of data and starts"""


QUICK = Settings(per_mode=2, strengths=(3.0, 1.0), n=6, width=2, student_t1=20.0, times=40, neurons=4)


def compute(settings: Settings, progress: Progress) -> xr.Dataset:
    """Both maps of every training, their losses, and what the kernel adds up to beside the influence at the end."""
    check(settings)
    parts, used = {}, []
    with progress.task("trainings", 3) as advance:
        for name, make in (("deep_linear", _deep_linear), ("teacher_student", _teacher_student)):
            parts[name], data = make(settings)
            used.append(data)
            advance(1)
        initial = np.random.default_rng([settings.seed, 1]).uniform(-1, 1, settings.neurons)
        ts, kernel, stage, risks, whole = degree_kernels(initial, settings.epsilon, settings.scales_t1, settings.times)
        losses = {"risk": risks.sum(axis=1)} | {f"degree {k}": risk for k, risk in enumerate(risks.T)}
        rows = {"kernel": kernel, "stage": stage, "whole": whole, "groups": np.arange(len(risks.T))}
        parts["time_scales"] = _kept(ts, losses, **rows)
        advance(1)
    return record(joined(parts), *used, codes={"successful": 3})


def _titles(settings: Settings) -> dict[str, str]:
    return {
        "deep_linear": "deep linear network",
        "teacher_student": "teacher–student network",
        "time_scales": f"two-layer time-scales, ε̄ = {settings.epsilon:g}",
    }


def _kept(ts: np.ndarray, losses: dict[str, np.ndarray], **rows: Any) -> xr.Dataset:
    """The numbers of one training: `losses` name → (times,), the others (row,) or (times, row)."""
    found: Any = {name: (("time", "row")[-np.ndim(values) :], np.asarray(values)) for name, values in rows.items()}
    found |= {"ts": ("time", ts), "loss": (("curve", "time"), np.array(list(losses.values())))}
    return xr.Dataset(found, coords={"curve": list(losses)})


def _deep_linear(settings: Settings) -> tuple[xr.Dataset, Dataset]:
    rng = np.random.default_rng([settings.seed, 0])
    k = len(settings.strengths)
    groups = np.repeat(np.arange(k), settings.per_mode)
    x = np.eye(k)[groups] + 0.05 * rng.standard_normal((len(groups), k))
    target = np.diag(settings.strengths)
    data = Dataset(x, x @ target + settings.noise * rng.standard_normal(x.shape), name=f"modes {settings.strengths}")
    problem = Problem(MLP(width=k + 1, activation="identity"), data, delete=0)
    ts = np.linspace(0.0, settings.linear_t1, settings.times)
    return _network(problem, Dataset(np.eye(k), target), ts, settings, groups), data


def _teacher_student(settings: Settings) -> tuple[xr.Dataset, Dataset]:
    data = datasets.teacher_student(n=settings.n, width=settings.width, noise=settings.noise, seed=settings.seed)
    problem = Problem(MLP(width=settings.width), data, delete=0)
    line = np.linspace(-2, 2, 50)
    test = Dataset(line[:, None], datasets.teacher(settings.width, settings.seed)(line))
    ts = np.concatenate([[0.0], np.geomspace(1e-3, settings.student_t1, settings.times - 1)])
    return _network(problem, test, ts, settings, np.arange(settings.n)), data


def _network(problem: Problem, test: Dataset, ts: np.ndarray, settings: Settings, groups: np.ndarray) -> xr.Dataset:
    theta0, t1 = settings.small * problem.initial(settings.seed), float(ts[-1])
    query = MeanLoss(problem, test)
    found = flow_influence_kernel(problem, theta0, t1=t1, ts=ts, queries=query, rtol=1e-8, atol=1e-10)
    parts, slopes = _course(query, found.thetas)
    curves, thetas, whole = np.asarray(parts), np.asarray(found.thetas), np.asarray(found.removal[0, 0])
    course = curves.mean(axis=1)
    # The stage in which the query falls to half: a point that is left out from there on has taught what it had to till then.
    half = int(np.argmax(course <= 0.5 * (course[0] + course[-1])))

    def retrained(since: float) -> np.ndarray:
        """How the final loss changes by retraining without each point from `since` on."""
        runs = [
            simulate(problem.deleting(j), Step(since), theta0, ts=[t1], t1=t1, method="diffrax")
            for j in range(problem.n)
        ]
        ends = mean_losses(query, jnp.stack([*(run.theta1 for run in runs), found.theta1]))
        return np.asarray(ends[:-1] - ends[-1])

    actual = retrained(0.0)
    end = influence_matrix(problem, query, theta=found.theta1, hessian="gauss-newton", damping=settings.damping)[0]
    estimates = (
        whole,
        source_influence(problem, thetas, ts, query, segments=3)[0],
        np.asarray(tracin(problem, thetas, np.gradient(ts), test)).mean(axis=0),
        np.asarray(grad_dot(problem, thetas[-1], test, scale=t1)).mean(axis=0),
        end,
    )
    agreement = [rank_agreement(np.asarray(each), actual) for each in estimates]
    late = rank_agreement(found.removal[0, half], retrained(ts[half]))
    stage = np.stack([
        -np.sum(slopes * sensitivity(problem.deleting(j), Constant(1.0), theta0, t1=t1, ts=ts).sensitivities, axis=1)
        for j in range(problem.n)
    ], axis=1)  # fmt: skip
    losses = {"test loss": course}
    if curves.shape[1] <= 6:
        losses |= {f"mode {mode}": curves[:, mode] / curves.shape[1] for mode in range(curves.shape[1])}
    rows = _kept(ts, losses, kernel=found.kernel[0], stage=stage, whole=whole, end=end, groups=groups)
    methods = [*METHODS, f"flow kernel, points removed from t = {ts[half]:.3g} on"]
    return rows.assign(agreement=("method", [*agreement, late])).assign_coords(method=methods)


@eqx.filter_jit
def _course(query: MeanLoss, thetas: Array) -> tuple[Array, Array]:
    """The losses (times, points) of the test points along training, and the slope (times, dim) of their mean."""
    return jax.vmap(query.losses)(thetas), jax.vmap(jax.grad(query))(thetas)


def _sign_changes(ts: np.ndarray, values: np.ndarray) -> list[np.ndarray]:
    """Times at which a column of `values` crosses 0 between two stretches that both rise above 1 % of its peak."""
    changes = []
    for row in values.T:
        strong = np.flatnonzero(np.abs(row) > 0.01 * np.abs(row).max())
        turns = np.flatnonzero(np.sign(row[strong[1:]]) != np.sign(row[strong[:-1]]))
        changes.append(0.5 * (ts[strong[turns]] + ts[strong[turns + 1]]))
    return changes


def draw(data: xr.Dataset, settings: Settings) -> dict[str, Figure]:
    """A column for every training: its losses, the map of influences, the map of kernels, and what they add up to."""
    figure = plt.figure(figsize=(17, 9), layout="constrained")
    titles = _titles(settings)
    parts: Any = figure.subfigures(1, len(titles), squeeze=False)
    for part, (name, title) in zip(parts[0], titles.items(), strict=True):
        here = part_of(data, name)
        ts = here["ts"].values
        places = part.subplots(3, 2, sharex="col", width_ratios=(4, 1.3), height_ratios=(1, 2, 2))
        (top, empty), (upper, corner), (lower, bars) = places
        for ax in (empty, corner):
            ax.axis("off")
        logarithmic = ts[-1] / ts[1] > 1e3
        for curve, color in zip(here["loss"], (INK, *SERIES), strict=False):
            top.plot(ts, curve, "-", color=color, lw=1.8 if color == INK else 1.2, label=str(curve["curve"].values))
        empty.legend(*top.get_legend_handles_labels(), loc="center left", frameon=False)
        top.set(ylabel="loss", title=title)
        # Per unit of log t where time is logarithmic, so that equal areas mean equal effects.
        density = here["kernel"].values * (ts[:, None] if logarithmic else 1.0)
        _draw_map(upper, ts, here["stage"].values, _rows(name), "influence on the loss at T = t, removed from 0")
        per = "log t" if logarithmic else "t"
        image = _draw_map(lower, ts, density, _rows(name), f"kernel k(t) of the final loss, per unit of {per}")
        if logarithmic:
            lower.set(xscale="log", xlim=(ts[ts > 0][0], ts[-1]))
        lower.set_xlabel("time t")
        label = "each row divided by its peak; | sign change"
        part.colorbar(
            image, ax=places[:, 0], location="bottom", shrink=0.8, aspect=35, ticks=(-1, -0.1, 0, 0.1, 1), label=label
        )
        _draw_whole(bars, here)
        bars.set_ylim(lower.get_ylim())
        corner.legend(*bars.get_legend_handles_labels(), loc="lower left", frameon=False)
    return {"stagewise_influence": figure}


def _rows(name: str) -> str:
    return "degrees" if name == "time_scales" else "points"


def _draw_map(ax: Axes, ts: np.ndarray, values: np.ndarray, rows: str, title: str) -> Any:
    """`values` (times, row), every row over its peak, with its changes of sign."""
    n = values.shape[1]
    shown = values / np.abs(values).max(axis=0, keepdims=True)
    # Logarithmic colours down to 1 % of the peak: what happens early is small beside the end, not nothing.
    norm = SymLogNorm(linthresh=0.01, vmin=-1, vmax=1)
    image = ax.pcolormesh(ts, np.arange(n), shown.T, cmap="RdBu_r", norm=norm, shading="nearest")
    for row, times in enumerate(_sign_changes(ts, values)):
        ax.plot(times, np.full(len(times), row), "|", color=INK, ms=6, mew=1.2)
    ax.set(ylabel=rows, yticks=np.arange(n) if n <= 6 else np.arange(0, n, 5), title=title)
    return image


def _draw_whole(ax: Axes, here: xr.Dataset) -> None:
    """What the kernel of every row adds up to, beside the influence at the end."""
    whole = here["whole"].values
    rows = np.arange(len(whole))
    size = max(np.abs(whole).max(), 1e-300)
    ax.barh(rows, whole / size, color=RETAINED, height=0.8, alpha=0.75, label="whole\ntraining, −∫k")
    ax.axvline(0, color=MUTED, lw=0.8)
    if "end" in here:
        end = here["end"].values
        ax.plot(end / np.abs(end).max(), rows, "o", color=FULL, ms=3.5, label="influence\nat the end")
        ax.set_title(f"Spearman {rank_correlation(whole, end):+.2f}")
    ax.set(yticks=[])
    ax.set_xlabel("loss change if row\nremoved / largest", fontsize=8)


def tell(data: xr.Dataset, settings: Settings) -> str:
    """How many points change sides, which estimate agrees with retraining, and when each group matters most."""
    lines = []
    for name, title in _titles(settings).items():
        here = part_of(data, name)
        ts, stage, groups = (here[part].values for part in ("ts", "stage", "groups"))
        turned = [sum(len(times) > 0 for times in _sign_changes(ts, here[part].values)) for part in ("stage", "kernel")]
        lines.append(
            f"{title}: of {here.sizes['row']} {_rows(name)} {turned[0]} change the sign of their influence along "
            f"training, {turned[1]} that of their kernel (beyond 1 % of the peak)"
        )
        if "agreement" in here:
            pairs = zip(here["method"].values, here["agreement"].values, strict=True)
            shown = ", ".join(f"{method} {value:+.2f}" for method, value in pairs)
            lines.append(f"  rank agreement with retraining without the point: {shown}")
        names = np.unique(groups)
        if len(names) < 10:
            strength = [np.abs(stage[:, groups == one]).mean(axis=1) for one in names]
            peaks = ", ".join(f"{ts[np.argmax(one)]:.3g}" for one in strength)
            lines.append(f"  groups {names.tolist()} have most influence on the test loss at T = {peaks}")
    return "\n".join(lines)
