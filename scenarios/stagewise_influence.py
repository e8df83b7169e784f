"""When does a point matter? Its influence along training, and the sensitivity kernel k_j(t), through plateaus and stages.

Two maps of points × time. The influence at T: the change of the test loss at T when the point is left out from the
start, for every T. The kernel: the change of the final test loss per unit of weight added to the point per unit of time
at t. Three trainings: a deep linear network that learns its singular modes one after another, the notes' teacher–student
network, and the two-layer time-scale system, whose "points" are the degrees of the target. Beside the kernel stands what
it adds up to and the influence function at the end; both are held against real retraining.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.colors import SymLogNorm

from homotopy import (
    MLP,
    Constant,
    Dataset,
    Problem,
    Rodas5P,
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
from homotopy.run import Progress, Range, RunResult, Seed, check
from homotopy.viz import FULL, INK, MUTED, RETAINED, SERIES

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


class _TestLoss(eqx.Module):
    """θ ↦ mean loss on test points without noise."""

    problem: Problem
    test: Dataset

    def __call__(self, theta):
        return jnp.mean(self.losses(theta))

    def losses(self, theta):
        return jax.vmap(self.problem.loss.value)(self.problem.predict(theta, self.test.x), self.test.y)


@dataclass(frozen=True)
class _Map:
    """One heat map and what stands above and beside it."""

    title: str
    ts: np.ndarray
    kernel: np.ndarray  # (times, rows)
    stage: np.ndarray  # (times, rows)
    losses: dict[str, np.ndarray]
    whole: np.ndarray
    end: np.ndarray | None
    rows: str
    agreement: dict[str, float]
    groups: np.ndarray


def run(settings: Settings, progress: Progress) -> RunResult:
    """Solve forward and back, retrain, compare, draw."""
    check(settings)
    maps, used = [], []
    with progress.task("trainings", 3) as advance:
        for make in (_deep_linear, _teacher_student):
            found, data = make(settings)
            maps.append(found)
            used.append(data)
            advance(1)
        maps.append(_degrees(settings))
        advance(1)
    records: dict[str, Any] = {}
    lines = []
    for name, found in zip(("deep_linear", "teacher_student", "time_scales"), maps, strict=True):
        records[f"kernel_{name}"] = ((f"time_{name}", f"row_{name}"), found.kernel)
        records[f"stage_{name}"] = ((f"time_{name}", f"row_{name}"), found.stage)
        records[f"ts_{name}"] = ((f"time_{name}",), found.ts)
        records[f"whole_{name}"] = ((f"row_{name}",), found.whole)
        turned = [
            sum(len(times) > 0 for times in _sign_changes(found.ts, values)) for values in (found.stage, found.kernel)
        ]
        lines.append(
            f"{found.title}: of {len(found.whole)} {found.rows} {turned[0]} change the sign of their influence along "
            f"training, {turned[1]} that of their kernel (beyond 1 % of the peak)"
        )
        if found.agreement:
            shown = ", ".join(f"{method} {value:+.2f}" for method, value in found.agreement.items())
            lines.append(f"  rank agreement with retraining without the point: {shown}")
        names = np.unique(found.groups)
        if len(names) < 10:
            strength = np.stack([np.abs(found.stage[:, found.groups == name]).mean(axis=1) for name in names])
            peaks = ", ".join(f"{found.ts[peak]:.3g}" for peak in strength.argmax(axis=1))
            lines.append(f"  groups {names.tolist()} have most influence on the test loss at T = {peaks}")
    return RunResult(
        figures={"stagewise_influence": _draw(maps)},
        data=xr.Dataset(records),
        summary="\n".join(lines),
        datasets=tuple(used),
        result_codes={"successful": 3},
    )


def _deep_linear(settings: Settings) -> tuple[_Map, Dataset]:
    rng = np.random.default_rng([settings.seed, 0])
    k = len(settings.strengths)
    groups = np.repeat(np.arange(k), settings.per_mode)
    x = np.eye(k)[groups] + 0.05 * rng.standard_normal((len(groups), k))
    target = np.diag(settings.strengths)
    data = Dataset(x, x @ target + settings.noise * rng.standard_normal(x.shape), name=f"modes {settings.strengths}")
    problem = Problem(MLP(width=k + 1, activation="identity"), data, delete=0)
    test = Dataset(np.eye(k), target)
    ts = np.linspace(0.0, settings.linear_t1, settings.times)
    return _network("deep linear network", problem, test, ts, settings, groups), data


def _teacher_student(settings: Settings) -> tuple[_Map, Dataset]:
    data = datasets.teacher_student(n=settings.n, width=settings.width, noise=settings.noise, seed=settings.seed)
    problem = Problem(MLP(width=settings.width), data, delete=0)
    grid = np.linspace(-2, 2, 50)
    test = Dataset(grid[:, None], datasets.teacher(settings.width, settings.seed)(grid))
    ts = np.concatenate([[0.0], np.geomspace(1e-3, settings.student_t1, settings.times - 1)])
    return _network("teacher–student network", problem, test, ts, settings, np.arange(settings.n)), data


def _network(
    title: str, problem: Problem, test: Dataset, ts: np.ndarray, settings: Settings, groups: np.ndarray
) -> _Map:
    theta0, t1 = settings.small * problem.initial(settings.seed), float(ts[-1])
    query = _TestLoss(problem, test)
    found = flow_influence_kernel(problem, theta0, t1=t1, ts=ts, queries=query, rtol=1e-8, atol=1e-10)
    thetas, final = np.asarray(found.thetas), float(_value(query, found.theta1))
    options: Any = {"t1": t1, "method": "diffrax"}
    # The stage in which the query falls to half: a point that is left out from there on has taught what it had to till then.
    parts, slopes = _course(query, found.thetas)
    curves = np.asarray(parts)
    course = curves.mean(axis=1)
    half = int(np.argmax(course <= 0.5 * (course[0] + course[-1])))
    actual, late = (
        np.array([
            float(_value(query, simulate(problem.deleting(j), Step(start), theta0, ts=[t1], **options).theta1)) - final
            for j in range(problem.n)
        ])
        for start in (0.0, ts[half])
    )  # fmt: skip
    end = np.asarray(influence_matrix(
        problem, query, theta=found.theta1, hessian="gauss-newton", damping=settings.damping
    ))[0]  # fmt: skip
    spread = np.gradient(ts)
    estimates = (
        found.removal[0, 0],
        np.asarray(source_influence(problem, thetas, ts, query, segments=3))[0],
        np.asarray(tracin(problem, thetas, spread, test)).mean(axis=0),
        np.asarray(grad_dot(problem, thetas[-1], test, scale=t1)).mean(axis=0),
        end,
    )
    agreement = {
        method: rank_agreement(np.asarray(each), actual) for method, each in zip(METHODS, estimates, strict=True)
    }
    agreement[f"flow kernel, points removed from t = {ts[half]:.3g} on"] = rank_agreement(found.removal[0, half], late)
    stage = np.stack([
        -np.sum(slopes * sensitivity(problem.deleting(j), Constant(1.0), theta0, t1=t1, ts=ts).sensitivities, axis=1)
        for j in range(problem.n)
    ], axis=1)  # fmt: skip
    losses = {"test loss": curves.mean(axis=1)}
    if curves.shape[1] <= 6:
        losses |= {f"mode {mode}": curves[:, mode] / curves.shape[1] for mode in range(curves.shape[1])}
    kernel = np.asarray(found.kernel[0])
    return _Map(title, ts, kernel, stage, losses, np.asarray(found.removal[0, 0]), end, "points", agreement, groups)


@eqx.filter_jit
def _value(query: _TestLoss, theta):
    return query(theta)


@eqx.filter_jit
def _course(query: _TestLoss, thetas):
    """The losses (times, points) of the test points along training, and the slope (times, dim) of their mean."""
    return jax.vmap(query.losses)(thetas), jax.vmap(jax.grad(query))(thetas)


def _degrees(settings: Settings) -> _Map:
    """k of the three component risks in the time-scale system: the derivative of the final risk by their weights, one
    logarithmic cell of time after another, by reverse differentiation through the solver."""
    m, degrees, epsilon = settings.neurons, 3, settings.epsilon
    initial = jnp.asarray(np.random.default_rng([settings.seed, 1]).uniform(-1, 1, m))
    edges = jnp.asarray(np.log(np.geomspace(1e-2 * epsilon, settings.scales_t1, settings.times + 1)))

    def component_risks(y):
        a, s = y[:m], y[m:]
        moments = jnp.stack([jnp.mean(a), jnp.mean(a * s), jnp.mean(a * s * s)])
        return 0.5 * (1.0 - moments) ** 2

    def velocity(y, weights):
        slope = jax.grad(lambda y: weights @ component_risks(y))(y)
        return -m * jnp.concatenate([slope[:m] / epsilon, (1.0 - y[m:] ** 2) * slope[m:]])

    def train(weights, adjoint):
        def cell(y, here):
            start, stop, weight = here
            solution = diffrax.diffeqsolve(
                diffrax.ODETerm(lambda x, y, _: jnp.exp(x) * velocity(y, weight)), Rodas5P(), start, stop, None, y,
                stepsize_controller=diffrax.PIDController(rtol=1e-7, atol=1e-9), max_steps=64, adjoint=adjoint,
            )  # fmt: skip
            return solution.ys[0], component_risks(solution.ys[0])

        y0 = jnp.concatenate([initial, jnp.zeros(m)])
        last, risks = jax.lax.scan(cell, y0, (edges[:-1], edges[1:], weights))
        return jnp.sum(component_risks(last)), risks

    weights = jnp.ones((settings.times, degrees))
    backward, forward = diffrax.RecursiveCheckpointAdjoint(), diffrax.ForwardMode()
    slope, risks = jax.jit(jax.grad(lambda weights: train(weights, backward), has_aux=True))(weights)
    along = jax.jit(jax.jacfwd(lambda weight: jnp.sum(train(weights + weight[None, :], forward)[1], axis=1)))
    stage = -np.asarray(along(jnp.zeros(degrees)))
    ts = np.exp(np.asarray(0.5 * (edges[1:] + edges[:-1])))
    kernel = np.asarray(slope) / np.diff(np.exp(np.asarray(edges)))[:, None]
    losses = {"risk": np.asarray(risks).sum(axis=1)} | {f"degree {k}": np.asarray(risks)[:, k] for k in range(degrees)}
    title = f"two-layer time-scales, ε̄ = {epsilon:g}"
    return _Map(
        title, ts, kernel, stage, losses, -np.asarray(slope).sum(axis=0), None, "degrees", {}, np.arange(degrees)
    )


def _sign_changes(ts: np.ndarray, values: np.ndarray) -> list[np.ndarray]:
    """Times at which a column of `values` crosses 0 between two stretches that both rise above 1 % of its peak."""
    changes = []
    for row in values.T:
        strong = np.flatnonzero(np.abs(row) > 0.01 * np.abs(row).max())
        turns = np.flatnonzero(np.sign(row[strong[1:]]) != np.sign(row[strong[:-1]]))
        changes.append(0.5 * (ts[strong[turns]] + ts[strong[turns + 1]]))
    return changes


def _draw(maps: list[_Map]):
    figure = plt.figure(figsize=(17, 9), layout="constrained")
    parts: Any = figure.subfigures(1, len(maps), squeeze=False)
    for part, found in zip(parts[0], maps, strict=True):
        grid = part.subplots(3, 2, sharex="col", width_ratios=(4, 1.3), height_ratios=(1, 2, 2))
        (top, empty), (upper, corner), (lower, bars) = grid
        for axis in (empty, corner):
            axis.axis("off")
        logarithmic = found.ts[-1] / found.ts[1] > 1e3
        for index, (name, values) in enumerate(found.losses.items()):
            colour = INK if index == 0 else SERIES[index - 1]
            top.plot(found.ts, values, "-", color=colour, lw=1.8 if index == 0 else 1.2, label=name)
        if len(found.losses) > 1:
            top.legend(fontsize=7.5, loc="lower left" if logarithmic else "upper right")
        top.set(ylabel="loss", title=found.title)
        top.title.set_fontsize(10.5)
        # Per unit of log t where time is logarithmic, so that equal areas mean equal effects.
        density = found.kernel * (found.ts[:, None] if logarithmic else 1.0)
        n = density.shape[1]
        per = "log t" if logarithmic else "t"
        titles = ("influence on the loss at T = t, removed from 0", f"kernel k(t) of the final loss, per unit of {per}")
        for axis, values, title in zip((upper, lower), (found.stage, density), titles, strict=True):
            shown = values / np.abs(values).max(axis=0, keepdims=True)
            # Logarithmic colours down to 1 % of the peak: what happens early is small beside the end, not nothing.
            norm = SymLogNorm(linthresh=0.01, vmin=-1, vmax=1)
            image = axis.pcolormesh(found.ts, np.arange(n), shown.T, cmap="RdBu_r", norm=norm, shading="nearest")
            for row, times in enumerate(_sign_changes(found.ts, values)):
                axis.plot(times, np.full(len(times), row), "|", color=INK, ms=6, mew=1.2)
            axis.set(ylabel=found.rows, yticks=np.arange(n) if n <= 6 else np.arange(0, n, 5))
            axis.set_title(title, fontsize=9)
        if logarithmic:
            lower.set_xscale("log")
            lower.set_xlim(found.ts[found.ts > 0][0], found.ts[-1])
        lower.set_xlabel("time t")
        label = "each row divided by its peak; | sign change"
        part.colorbar(
            image, ax=grid[:, 0], location="bottom", shrink=0.8, aspect=35, ticks=(-1, -0.1, 0, 0.1, 1), label=label
        )
        rows = np.arange(n)
        size = max(np.abs(found.whole).max(), 1e-300)
        bars.barh(rows, found.whole / size, color=RETAINED, height=0.8, alpha=0.75, label="whole\ntraining, −∫k")
        bars.axvline(0, color=MUTED, lw=0.8)
        if found.end is not None:
            bars.plot(found.end / np.abs(found.end).max(), rows, "o", color=FULL, ms=3.5, label="influence\nat the end")
            bars.set_title(f"Spearman {rank_agreement(found.whole, found.end):+.2f}", fontsize=9)
        bars.set(ylim=lower.get_ylim(), yticks=[], xlabel="loss change if row\nremoved / largest")
        bars.xaxis.label.set_fontsize(8)
        corner.legend(*bars.get_legend_handles_labels(), loc="lower left", fontsize=7.5, frameon=False)
    return figure
