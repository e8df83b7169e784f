"""Descend or rewind? D2D, R2D, the optimal schedule and retraining at equal gradient budgets, in five regimes.

From the iterates θ_t of training, A(t, k) is the model after k steps without the point from θ_t. Then D2D is A(T, K), R2D
A(T − K, K), retraining with the same budget A(0, K), and one table of A holds every comparison: against the budget K,
against s/T = 1 − K/T, and R2D against its bound at every K. The optimal ε(t) on the same stretches is a yardstick.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from homotopy import (
    MLP,
    Constant,
    Dataset,
    LinearRegression,
    LogisticRegression,
    Problem,
    WorkError,
    coupled_descent,
    datasets,
    estimate_constants,
    leave_one_out,
    optimal_schedule,
    rewind_to_delete_sensitivity,
    simulate,
)
from homotopy.run import Progress, Range, RunResult, Seed, check
from homotopy.viz import FULL, INK, MUTED, RETAINED, SERIES

from ._instances import reason


@dataclass(frozen=True)
class Settings:
    """Which problems are unlearned, and for how long."""

    problems: Annotated[int, Range(least=1, most=1000)] = 20
    """random problems in each regime"""
    n: Annotated[int, Range(least=5, most=1000)] = 30
    """points of each"""
    d: Annotated[int, Range(least=1, most=200)] = 4
    """features (over-parameterised: 2n)"""
    train_steps: Annotated[int, Range(least=4, most=100_000)] = 120
    """T, gradient steps of training"""
    step: Annotated[float, Range(above=0, below=2)] = 0.25
    """η·L (networks: with L at the start)"""
    spread: Annotated[float, Range(least=1e-4, most=1)] = 0.1
    """scale of the last feature over that of the first: how badly the linear and logistic risks are conditioned"""
    ridge: Annotated[float, Range(least=1e-9, most=1e3)] = 0.005
    """ρ/n of the strongly convex regimes"""
    budgets: Annotated[tuple[float, ...], Range(above=0, below=1, entries=1)] = (0.1, 0.25, 0.5)
    """K/T at which the optimal schedule is searched"""
    optimal_problems: Annotated[int, Range(least=0, most=1000)] = 8
    """problems of the linear regimes that are searched (exactly)"""
    local_problems: Annotated[int, Range(least=0, most=1000)] = 2
    """problems of each other regime that are searched (local search); 0 for none"""
    width: Annotated[int, Range(least=1, most=100)] = 3
    """neurons of the networks"""
    seed: Seed = 0
    """first seed"""
    regimes: Annotated[
        tuple[Literal["ridge", "logistic", "convex", "interpolation", "network"], ...], Range(entries=1, once=True)
    ] = ("ridge", "logistic", "convex", "interpolation", "network")
    """which regimes are compared"""


QUICK = Settings(
    problems=2, train_steps=12, budgets=(0.25,), optimal_problems=1, local_problems=0,
    regimes=("ridge", "interpolation", "network"),
)  # fmt: skip

REGIMES = {
    "ridge": "ridge regression, μ > 0",
    "logistic": "logistic, μ > 0",
    "convex": "logistic, μ = 0",
    "interpolation": "over-parameterised linear",
    "network": "network, non-convex",
}


LOWEST = 1e-3  # of the distances that are drawn: at K = T some are exactly 0
SHARES = np.linspace(0.0, 1.0, 41)  # s/T of the map


def run(settings: Settings, progress: Progress) -> RunResult:
    """Compute every table, its bounds, the optimal schedules; draw both figures."""
    check(settings)
    regimes: dict[str, dict[str, np.ndarray]] = {}
    used: list[Dataset] = []
    codes: Counter[str] = Counter(successful=0)
    with progress.task("regimes", len(settings.regimes)) as advance:
        for name in settings.regimes:
            regimes[name] = _regime(settings, name, used, codes)
            advance(1)
    figures = {"descend_or_rewind": _draw(settings, regimes), "who_wins": _map(settings, regimes)}
    return RunResult(
        figures=figures,
        data=_records(settings, regimes),
        summary="\n".join(_say(settings, name, facts) for name, facts in regimes.items()),
        datasets=tuple(used),
        result_codes={code: count for code, count in codes.items() if count},
    )


# Problems -----------------------------------------------------------------------------------------------------------


def _problem(settings: Settings, name: str, seed: int) -> tuple[Problem, np.ndarray]:
    """A random problem of a regime, whose point 0 is an outlier to be forgotten, and θ₀."""
    rng = np.random.default_rng([settings.seed, seed, list(REGIMES).index(name)])
    n, d = settings.n, settings.d if name != "interpolation" else 2 * settings.n
    if name == "network":
        data = datasets.teacher_student(n=n, width=settings.width, seed=settings.seed + seed)
        y = np.array(data.y)
        y[0] += 2.0
        problem = Problem(MLP(width=settings.width), Dataset(data.x, y, name=data.name), delete=0)
        return problem, np.asarray(problem.initial(seed))
    x = rng.standard_normal((n, d)) * np.geomspace(1.0, settings.spread if name != "interpolation" else 1.0, d)
    x /= np.sqrt(d)
    signal = x @ (2.0 * rng.standard_normal(d))
    label = f"{name}(n={n}, d={d}, seed={settings.seed + seed})"
    theta0 = np.zeros(d)
    if name in ("ridge", "interpolation"):
        y = signal + 0.3 * rng.standard_normal(n)
        y[0] += 2.0
        rho = settings.ridge * n if name == "ridge" else 0.0
        return Problem(LinearRegression(), Dataset(x, y, name=label), delete=0, ridge=rho), theta0
    labels = (signal + rng.logistic(size=n) > 0).astype(int)
    labels[0] = int(signal[0] <= 0)
    labels[1], labels[2] = 0, 1
    rho = settings.ridge * n if name == "logistic" else 0.0
    return Problem(LogisticRegression(), Dataset(x, labels, name=label), delete=0, ridge=rho), theta0


def _regime(settings: Settings, name: str, used: list[Dataset], codes: Counter[str]) -> dict[str, np.ndarray]:
    train = settings.train_steps
    made: list[tuple[Problem, np.ndarray]] = []
    targets: list[np.ndarray] = []
    seed = 0
    while len(made) < settings.problems:
        problem, theta0 = _problem(settings, name, seed)
        seed += 1
        if seed > 20 * settings.problems:
            raise WorkError(f"too few problems of the regime {name!r} have an optimum; raise n or lower d")
        if name != "network":
            try:  # separable labels have no optimum
                targets.append(np.asarray(leave_one_out(problem, theta0=theta0).theta))
            except WorkError:
                continue
        made.append((problem, theta0))
        used.append(problem.data)
    steps = np.array([_step(settings, problem, theta0) for problem, theta0 in made])
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(problem for problem, _ in made))
    trained, table = (
        np.asarray(part)
        for part in _tables(stacked, jnp.asarray([theta0 for _, theta0 in made]), jnp.asarray(steps), train)
    )
    if name == "network":  # minima are not isolated: what counts is the network trained without the point for as long
        targets = list(table[:, 0, train])
    goal = np.stack(targets)
    away = np.linalg.norm(table - goal[:, None, None, :], axis=-1)
    scale = np.linalg.norm(trained[:, -1] - goal, axis=-1)
    if (scale == 0).any():
        raise WorkError(f"a trained model of the regime {name!r} is its target already; change seed")
    ks = np.arange(train + 1)
    rewound = table[:, train - ks, ks]
    gap = np.linalg.norm(rewound - table[:, 0, train][:, None, :], axis=-1)
    # The target of a shorter training is its own retrained network, where the optimum is not the target.
    own = table[:, 0] if name == "network" else np.broadcast_to(goal[:, None], table[:, 0].shape)
    ratios = np.empty((len(SHARES), train + 1))
    for length in range(train + 1):
        k = np.round((1 - SHARES) * length).astype(int)
        both = table[:, length, k], table[:, length - k, k]
        apart = [np.linalg.norm(part - own[:, length][:, None], axis=-1) for part in both]
        ratios[:, length] = np.median(np.diff(np.log10(np.maximum(apart, 1e-14)), axis=0)[0], axis=0)
    bounds, contraction = [], []
    for row, (problem, _) in enumerate(made):
        seen = np.concatenate([trained[row], table[row, 0]])
        known = estimate_constants(problem, thetas=seen if name == "network" else trained[row])
        slope = _deleted_slope(problem, trained[row])
        convex = {
            "ridge": known.strong_convexity,
            "logistic": known.strong_convexity,
            "convex": 0.0,
            "interpolation": 0.0,
        }
        eta = problem.n * steps[row]
        descends = eta * known.smoothness <= 2 * (1 + 1e-12)  # else the theorem says nothing of this run
        constants = (slope, known.smoothness, eta, train)
        bounds.append([
            rewind_to_delete_sensitivity(problem.n, 1, *constants, int(k), convex.get(name)) if descends else np.inf
            for k in ks
        ])  # fmt: skip
        mu = convex.get(name)
        rate = max(abs(1 - eta * mu), abs(1 - eta * known.smoothness)) if mu else 1.0
        contraction.append(rate**ks)
    found = {
        "distance": away, "scale": scale, "gap": gap, "bound": np.array(bounds), "contraction": np.array(contraction),
        "steps": steps, "ratios": ratios,
    }  # fmt: skip
    return found | _optimal(settings, name, made, goal, steps, codes)


def _step(settings: Settings, problem: Problem, theta0: np.ndarray) -> float:
    """η on the sum R: `step`/(nL), for a network with L measured at the start."""
    return settings.step / (problem.n * estimate_constants(problem, thetas=theta0[None]).smoothness)


@eqx.filter_jit
def _tables(problems: Problem, theta0: jax.Array, steps: jax.Array, train: int):
    def one(problem, theta0, step):
        ts = step * jnp.arange(train + 1, dtype=float)

        def descend(theta, epsilon):
            return simulate(problem, Constant(epsilon), theta, t1=ts[-1], ts=ts, method="descent", step=step).thetas

        trained = descend(theta0, jnp.asarray(1.0))
        return trained, jax.vmap(lambda theta: descend(theta, jnp.asarray(0.0)))(trained)

    return eqx.filter_vmap(one)(problems, theta0, steps)


@eqx.filter_jit
def _slopes(problem: Problem, thetas: jax.Array) -> jax.Array:
    return jnp.max(jax.vmap(lambda theta: jnp.linalg.norm(problem.deleted_gradient(theta)))(thetas))


def _deleted_slope(problem: Problem, thetas: np.ndarray) -> float:
    """G of the deleted point along the run: all that the bound needs for this very run."""
    return float(_slopes(problem, jnp.asarray(thetas)))


def _optimal(settings, name, made, goal, steps, codes) -> dict[str, np.ndarray]:
    """Distances of the optimal schedule from either start, and of ε = 0 on the same stretch, (problems, budgets, 2)."""
    exact = name in ("ridge", "interpolation")
    count = min(settings.optimal_problems if exact else settings.local_problems, len(made))
    shape = (count, len(settings.budgets), 2)
    best, plain, proof = np.full(shape, np.nan), np.full(shape, np.nan), np.full(shape, np.nan)
    train = settings.train_steps
    for row in range(count):
        problem, theta0 = made[row]
        step = float(steps[row])
        for column, share in enumerate(settings.budgets):
            spend = max(1, round(share * train))
            for side, start in enumerate(("trained", "checkpoint")):
                options = {} if exact else {"rtol": 1e-6, "atol": 1e-8}
                try:
                    found = optimal_schedule(
                        problem, theta0, step=step, train_steps=train, unlearn_steps=spend, origin=start,
                        family="bang-bang" if exact else "piecewise-constant", target=goal[row], **options,
                    )  # fmt: skip
                except WorkError as error:
                    codes[reason(error)] += 1
                    continue
                codes["successful"] += 1
                # The schedule is the flow's; it is judged as a descent, like everything else here.
                total = train + spend if start == "trained" else train
                levels = [
                    _averages(found.schedule, step, total),
                    _averages(None, step, total, found.unlearn_from or 0.0),
                ]
                ends = coupled_descent(problem, theta0[None], np.array([[0]]), np.stack(levels), step=step)[0, 0]
                best[row, column, side], plain[row, column, side] = np.linalg.norm(
                    np.asarray(ends) - goal[row], axis=-1
                )
                proof[row, column, side] = "certificate local" not in found.notes[0]
    return {"optimal": best, "plain": plain, "certified": proof}


def _averages(schedule, step: float, steps: int, switch: float = 0.0) -> np.ndarray:
    """The mean of ε over every step, so that a switch inside a step counts by its share."""
    fine = (np.arange(steps * 64) + 0.5) * step / 64
    values = (fine < switch).astype(float) if schedule is None else np.asarray(schedule(fine))
    return values.reshape(steps, 64).mean(axis=1)


# Figures and words --------------------------------------------------------------------------------------------------


def _curves(settings: Settings, facts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Distance to the target over that of the trained model, (problems, K = 0…T)."""
    train = settings.train_steps
    ks = np.arange(train + 1)
    away = facts["distance"] / facts["scale"][:, None, None]
    return {"D2D": away[:, train, ks], "R2D": away[:, train - ks, ks], "retraining": away[:, 0, ks]}


def _draw(settings: Settings, regimes: dict[str, dict[str, np.ndarray]]):
    train = settings.train_steps
    share = np.arange(train + 1) / train
    figure, rows = plt.subplots(
        2, len(regimes), figsize=(3.4 * len(regimes) + 0.5, 7.6), layout="constrained", sharex=True, squeeze=False
    )
    colors = {"D2D": FULL, "R2D": RETAINED, "retraining": INK}
    for (name, facts), upper, lower in zip(regimes.items(), rows[0], rows[1], strict=True):
        for label, values in _curves(settings, facts).items():
            shown = np.maximum(values, 1e-12)
            middle = np.median(shown, axis=0)
            style = "--" if label == "retraining" else "-"
            upper.semilogy(share, middle, style, color=colors[label], lw=1.8, label=label)
            low, high = np.quantile(shown, [0.25, 0.75], axis=0)
            upper.fill_between(share, low, high, color=colors[label], alpha=0.13, lw=0)
        # The searched problems are fewer: their gain over ε = 0 is carried over to the median curve.
        for side, (marker, of) in enumerate((("^", "D2D"), ("v", "R2D"))):
            gains = facts["optimal"][..., side] / np.maximum(facts["plain"][..., side], 1e-300)
            if np.isfinite(gains).any():
                spent = [max(1, round(part * train)) for part in settings.budgets]
                seen = np.nanmedian(gains, axis=0) * np.median(_curves(settings, facts)[of], axis=0)[spent]
                label = f"{of} × (optimal ε(t) / ε = 0)"
                upper.plot(np.array(spent) / train, seen, marker, color=SERIES[2 + side], ms=7, label=label)
        upper.set_ylim(bottom=max(upper.get_ylim()[0], LOWEST))
        upper.axhline(1.0, color=MUTED, lw=0.8)
        upper.set_title(f"{REGIMES[name]}\n{_headline(settings, facts)}", fontsize=9.5)
        gaps = np.where(facts["gap"] > 0, facts["gap"], np.nan)
        bounds = np.where((facts["bound"] > 0) & np.isfinite(facts["bound"]), facts["bound"], np.nan)
        for row in range(len(gaps)):
            lower.semilogy(
                share, gaps[row], color=RETAINED, lw=0.7, alpha=0.45, label="‖R2D − retrained‖" if row == 0 else None
            )
            lower.semilogy(share, bounds[row], color=INK, lw=0.7, alpha=0.45, label="bound Δ(K)" if row == 0 else None)
        lower.set(xlabel="gradient budget K / T  (s/T = 1 − K/T)")
        lower.set_title(f"{_violations(facts)} of {facts['gap'].size} beyond the bound", fontsize=9.5)
    rows[0, 0].set_ylabel("distance to the target / that of the trained model")
    rows[1, 0].set_ylabel("distance in θ")
    handles, labels = [], []
    for axis in rows[0]:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            if label not in labels:
                handles.append(handle)
                labels.append(label)
    rows[0, 0].legend(handles, labels, fontsize=7.5)
    rows[1, 0].legend(fontsize=8)
    return figure


def _map(settings: Settings, regimes: dict[str, dict[str, np.ndarray]]):
    """Who is nearer to the target: D2D or R2D, against T and s/T, at the same budget K."""
    train = settings.train_steps
    size = (2.7 * len(regimes) + 1.0, 3.5)
    figure, grid = plt.subplots(1, len(regimes), figsize=size, layout="constrained", sharey=True, squeeze=False)
    axes = grid[0]
    lengths = np.arange(4, train + 1)
    for (name, facts), axis in zip(regimes.items(), axes, strict=True):
        ratio = facts["ratios"][:, lengths]
        picture = axis.pcolormesh(
            lengths, SHARES, ratio, cmap="RdBu", vmin=-1.0, vmax=1.0, shading="nearest", rasterized=True
        )
        wins = float((ratio < -1e-9).mean())
        axis.set(xlabel="training steps T")
        axis.set_title(f"{REGIMES[name]}\nR2D is nearer on {wins:.0%} of the map", fontsize=9)
    axes[0].set_ylabel("s/T of R2D (budget K = T − s)")
    figure.colorbar(picture, ax=axes, label="log₁₀ distance R2D / D2D\n(< 0, red: R2D is nearer)")
    return figure


def _violations(facts: dict[str, np.ndarray]) -> int:
    return int((facts["gap"] > facts["bound"] * (1 + 1e-9) + 1e-12).sum())


def _headline(settings: Settings, facts: dict[str, np.ndarray]) -> str:
    curves = _curves(settings, facts)
    half = settings.train_steps // 2
    better = float((curves["R2D"][:, half] < curves["D2D"][:, half]).mean())
    return f"K = T/2: R2D nearer than D2D in {better:.0%}"


def _gains(facts: dict[str, np.ndarray]) -> str:
    words = []
    for side, label in enumerate(("D2D", "R2D")):
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = facts["plain"][..., side] / facts["optimal"][..., side]
        gain = gain[np.isfinite(gain)]
        if gain.size:
            words.append(f"×{np.median(gain):.3g} (largest ×{gain.max():.3g}) over {label} in {gain.size} searches")
    if not words:
        return "the optimal schedule was not searched"
    kind = "certified" if np.nanmin(facts["certified"]) == 1 else "local, not certified,"
    return f"the {kind} optimal schedule ends nearer by " + " and ".join(words)


def _say(settings: Settings, name: str, facts: dict[str, np.ndarray]) -> str:
    curves = _curves(settings, facts)
    half = settings.train_steps // 2
    medians = ", ".join(f"{label} {np.median(values[:, half]):.3g}" for label, values in curves.items())
    train = settings.train_steps
    d2d = facts["distance"][:, train, :]
    excess = float(((d2d - 1e-12) / (facts["contraction"] * facts["scale"][:, None])).max())  # 1e-12: rounding
    contraction = (
        f"; D2D distance is at most {excess:.4f} of c^K × its start" if (facts["contraction"] < 1).any() else ""
    )
    return (
        f"{REGIMES[name]} ({len(facts['scale'])} problems): distance left at K = T/2, over that of the trained model: {medians}; "
        f"R2D beyond its bound at {_violations(facts)} of {facts['gap'].size} K, at K = T {facts['gap'][:, -1].max():.1e} from "
        f"retraining{contraction}; {_gains(facts)}"
    )


def _records(settings: Settings, regimes: dict[str, dict[str, np.ndarray]]) -> xr.Dataset:
    records: dict[str, xr.Variable] = {}
    for name, facts in regimes.items():
        for label, values in _curves(settings, facts).items():
            records[f"{label}_{name}"] = xr.Variable(("problem", "k"), values)
        for what in ("gap", "bound"):
            records[f"{what}_{name}"] = xr.Variable(("problem", "k"), facts[what])
        for what in ("optimal", "plain"):
            records[f"{what}_{name}"] = xr.Variable((f"searched_{name}", "budget", "start"), facts[what])
    for name, facts in regimes.items():
        records[f"log10_ratio_{name}"] = xr.Variable(("s_over_T", "training"), facts["ratios"])
    attributes = {f"violations_{name}": _violations(facts) for name, facts in regimes.items()}
    coordinates = {
        "k": np.arange(settings.train_steps + 1),
        "budget": list(settings.budgets),
        "start": ["trained", "checkpoint"],
    }
    return xr.Dataset(records, coords=coordinates, attrs=attributes)
