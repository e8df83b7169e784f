"""Descend or rewind? D2D, R2D, the optimal schedule and retraining at equal gradient budgets, in five regimes.

From the iterates θ_t of training, A(t, k) is the model after k steps without the point from θ_t. Then D2D is A(T, K), R2D
A(T − K, K), retraining with the same budget A(0, K), and one table of A holds every comparison: against the budget K,
against s/T = 1 − K/T, and R2D against its bound at every K. The optimal ε(t) on the same stretches is a yardstick.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from homotopy import (
    Dataset,
    Levels,
    Problem,
    Switches,
    WorkError,
    coupled_descent,
    estimate_constants,
    optimal_schedule,
    rewind_to_delete_sensitivity,
)
from homotopy.run import Progress, Range, Seed, check, record
from homotopy.viz import FULL, INK, MUTED, RETAINED, SERIES, panels, plot_band

from ._instances import reason
from ._parts import joined, part_of
from ._regimes import REGIMES, SHARES, Drawn, descents, problems_of, ratios


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

COLORS = {"D2D": FULL, "R2D": RETAINED, "retraining": INK}
STARTS = {"D2D": "trained", "R2D": "checkpoint"}
LOWEST = 1e-3  # of the distances that are drawn: at K = T some are exactly 0


def compute(settings: Settings, progress: Progress) -> xr.Dataset:
    """The table of every regime, its bounds, and the optimal schedules."""
    check(settings)
    regimes: dict[str, xr.Dataset] = {}
    used: list[Dataset] = []
    codes: Counter[str] = Counter(successful=0)
    with progress.task("regimes", len(settings.regimes)) as advance:
        for name in settings.regimes:
            made, targets = problems_of(settings, name)
            used += [problem.data for problem, _ in made]
            regimes[name] = _regime(settings, name, made, targets, codes)
            advance(1)
    violated = {f"violations_{name}": int(_violated(here).sum()) for name, here in regimes.items()}
    data = joined(regimes, shared=("problem", "k", "budget", "start", "s_over_T", "training"))
    coordinates = {
        "k": np.arange(settings.train_steps + 1),
        "budget": list(settings.budgets),
        "start": list(STARTS.values()),
    }
    return record(data.assign_coords(coordinates).assign_attrs(violated), *used, codes=codes)


def _regime(settings: Settings, name: str, made: Drawn, targets: list[np.ndarray], codes: Counter[str]) -> xr.Dataset:
    train = settings.train_steps
    ks = np.arange(train + 1)
    first = [estimate_constants(problem, thetas=theta0[None]).smoothness for problem, theta0 in made]
    steps = np.array([settings.step / (problem.n * known) for (problem, _), known in zip(made, first, strict=True)])
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(problem for problem, _ in made))
    trained, table = (
        np.asarray(part)
        for part in descents(stacked, jnp.asarray([theta0 for _, theta0 in made]), jnp.asarray(steps), train)
    )
    # Minima of networks are not isolated: what counts is the network trained without the point for as long.
    goal = table[:, 0, train] if name == "network" else np.stack(targets)
    away = np.linalg.norm(table - goal[:, None, None, :], axis=-1)
    scale = np.linalg.norm(trained[:, -1] - goal, axis=-1)
    if (scale == 0).any():
        raise WorkError(f"a trained model of the regime {name!r} is its target already; change seed")
    gap = np.linalg.norm(table[:, train - ks, ks] - table[:, 0, train][:, None, :], axis=-1)
    # The target of a shorter training is its own retrained network, where the optimum is not the target.
    own = table[:, 0] if name == "network" else np.broadcast_to(goal[:, None], table[:, 0].shape)
    both = [
        _bounds(*one, name, step, path, bare[0])
        for one, step, path, bare in zip(made, steps, trained, table, strict=True)
    ]
    bound, contraction = np.moveaxis(np.array(both), 1, 0)
    excess = ((away[:, train] - 1e-12) / (contraction * scale[:, None])).max()  # 1e-12: rounding
    relative = away / scale[:, None, None]
    curves = {"D2D": relative[:, train, ks], "R2D": relative[:, train - ks, ks], "retraining": relative[:, 0, ks]}
    return xr.Dataset(
        {label: (("problem", "k"), values) for label, values in (curves | {"gap": gap, "bound": bound}).items()}
        | {
            "excess": excess if (contraction < 1).any() else np.nan,
            "log10_ratio": (("s_over_T", "training"), ratios(table, own)),
        }
        | _optimal(settings, name, made, goal, steps, codes)
    )


def _bounds(
    problem: Problem, theta0: np.ndarray, name: str, step: float, trained: np.ndarray, bare: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """R2D's bound and c^K of D2D's contraction (1: none), for every K."""
    known = estimate_constants(problem, thetas=np.concatenate([trained, bare]) if name == "network" else trained)
    # G of the deleted point along the run: all that the bound needs for this very run.
    slope = float(_slopes(problem, jnp.asarray(trained)))
    mu = {"ridge": known.strong_convexity, "logistic": known.strong_convexity, "network": None}.get(name, 0.0)
    eta, ks = problem.n * step, np.arange(len(trained))
    constants = (slope, known.smoothness, eta, len(trained) - 1)
    descends = eta * known.smoothness <= 2 * (1 + 1e-12)  # else the theorem says nothing of this run
    bound = [rewind_to_delete_sensitivity(problem.n, 1, *constants, int(k), mu) if descends else np.inf for k in ks]
    rate = max(abs(1 - eta * mu), abs(1 - eta * known.smoothness)) if mu else 1.0
    return np.array(bound), rate**ks


@eqx.filter_jit
def _slopes(problem: Problem, thetas: jax.Array) -> jax.Array:
    return jnp.max(jax.vmap(lambda theta: jnp.linalg.norm(problem.deleted_gradient(theta)))(thetas))


def _optimal(
    settings: Settings, name: str, made: Drawn, goal: np.ndarray, steps: np.ndarray, codes: Counter[str]
) -> dict[str, Any]:
    """Distances of the optimal schedule from either start, and of ε = 0 on the same stretch; and whether it is proven."""
    exact = name in ("ridge", "interpolation")
    count = min(settings.optimal_problems if exact else settings.local_problems, len(made))
    found = np.full((3, count, len(settings.budgets), 2), np.nan)
    options = {} if exact else {"rtol": 1e-6, "atol": 1e-8}
    family, train = Switches() if exact else Levels(pieces=16, starts=2), settings.train_steps
    for row, column, side in np.ndindex(*found.shape[1:]):
        (problem, theta0), step = made[row], float(steps[row])
        spend = _spent(settings, settings.budgets[column])
        try:
            best = optimal_schedule(
                problem, theta0, step=step, train_steps=train, unlearn_steps=spend, origin=list(STARTS.values())[side],
                family=family, target=goal[row], **options,
            )  # fmt: skip
        except WorkError as error:
            codes[reason(error)] += 1
            continue
        codes["successful"] += 1
        # The schedule is the flow's; it is judged as a descent, like everything else here.
        total = train if side else train + spend
        levels = [_averages(best.schedule, step, total), _averages(None, step, total, best.unlearn_from or 0.0)]
        ends = coupled_descent(problem, theta0[None], np.array([[0]]), np.stack(levels), step=step)[0, 0]
        distances = np.linalg.norm(np.asarray(ends) - goal[row], axis=-1)
        found[:, row, column, side] = (*distances, "certificate local" not in best.notes[0])
    return {
        label: (("searched", "budget", "start"), values)
        for label, values in zip(("optimal", "plain", "certified"), found, strict=True)
    }


def _spent(settings: Settings, share: float) -> int:
    return max(1, round(share * settings.train_steps))


def _averages(schedule: Any, step: float, steps: int, switch: float = 0.0) -> np.ndarray:
    """The mean of ε over every step, so that a switch inside a step counts by its share."""
    fine = (np.arange(steps * 64) + 0.5) * step / 64
    values = (fine < switch).astype(float) if schedule is None else np.asarray(schedule(fine))
    return values.reshape(steps, 64).mean(axis=1)


def draw(data: xr.Dataset, settings: Settings) -> dict[str, Figure]:
    """Distances and bounds against the budget; and who is nearer at the same budget K, against T and s/T."""
    figure, rows = panels(2, len(settings.regimes), width=3.7, height=3.8, sharex=True)
    for name, upper, lower in zip(settings.regimes, *rows, strict=True):
        here = part_of(data, name)
        _draw_distances(upper, here, settings)
        upper.set_title(f"{REGIMES[name]}\n{_headline(here, settings)}")
        share = np.arange(here.sizes["k"]) / settings.train_steps
        for what, color, label in (("gap", RETAINED, "‖R2D − retrained‖"), ("bound", INK, "bound Δ(K)")):
            shown = here[what].where((here[what] > 0) & np.isfinite(here[what])).values
            lower.semilogy(share, shown.T, color=color, lw=0.7, alpha=0.45, label=[label, *[""] * (len(shown) - 1)])
        lower.set(xlabel="gradient budget K / T  (s/T = 1 − K/T)")
        lower.set_title(f"{data.attrs[f'violations_{name}']} of {here['gap'].size} beyond the bound")
    rows[0, 0].set_ylabel("distance to the target / that of the trained model")
    rows[1, 0].set_ylabel("distance in θ")
    known = {label: handle for ax in rows.flat for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(known.values(), known, loc="outside lower center", ncols=7)
    return {"descend_or_rewind": figure, "who_wins": _draw_map(data, settings)}


def _draw_distances(ax: Axes, here: xr.Dataset, settings: Settings) -> None:
    share = np.arange(here.sizes["k"]) / settings.train_steps
    ax.set_yscale("log")
    for label, color in COLORS.items():
        style = "--" if label == "retraining" else "-"
        values = np.maximum(here[label].values, 1e-12).T
        plot_band(share, values, ax, quantiles=(0.25, 0.5, 0.75), color=color, label=label, style=style)
    # The searched problems are fewer: their gain over ε = 0 is carried over to the median curve.
    spent = [_spent(settings, part) for part in settings.budgets]
    for side, (of, marker) in enumerate((("D2D", "^"), ("R2D", "v"))):
        ratios = (here["optimal"] / np.maximum(here["plain"], 1e-300)).sel(start=STARTS[of])
        if ratios.notnull().any():
            seen = ratios.median("searched").values * here[of].median("problem").values[spent]
            label = f"{of} × (optimal ε(t) / ε = 0)"
            ax.plot(np.array(spent) / settings.train_steps, seen, marker, color=SERIES[2 + side], ms=7, label=label)
    ax.set_ylim(bottom=max(ax.get_ylim()[0], LOWEST))
    ax.axhline(1.0, color=MUTED, lw=0.8)


def _draw_map(data: xr.Dataset, settings: Settings) -> Figure:
    figure, rows = panels(1, len(settings.regimes), width=3.5, height=3.5, sharey=True)
    lengths = np.arange(4, settings.train_steps + 1)
    for name, ax in zip(settings.regimes, rows[0], strict=True):
        ratio = data[f"log10_ratio_{name}"].values[:, lengths]
        picture = ax.pcolormesh(
            lengths, SHARES, ratio, cmap="RdBu", vmin=-1.0, vmax=1.0, shading="nearest", rasterized=True
        )
        wins = float((ratio < -1e-9).mean())
        ax.set(xlabel="training steps T", title=f"{REGIMES[name]}\nR2D is nearer on {wins:.0%} of the map")
    rows[0, 0].set_ylabel("s/T of R2D (budget K = T − s)")
    figure.colorbar(picture, ax=rows[0], label="log₁₀ distance R2D / D2D\n(< 0, red: R2D is nearer)")
    return figure


def _violated(here: xr.Dataset) -> xr.DataArray:
    return here["gap"] > here["bound"] * (1 + 1e-9) + 1e-12


def _headline(here: xr.Dataset, settings: Settings) -> str:
    half = settings.train_steps // 2
    better = float((here["R2D"] < here["D2D"])[:, half].mean())
    return f"K = T/2: R2D nearer than D2D in {better:.0%}"


def _gains(here: xr.Dataset) -> str:
    words = []
    for label in STARTS:
        gain = (here["plain"] / here["optimal"]).sel(start=STARTS[label]).values
        gain = gain[np.isfinite(gain)]
        if gain.size:
            words.append(f"×{np.median(gain):.3g} (largest ×{gain.max():.3g}) over {label} in {gain.size} searches")
    if not words:
        return "the optimal schedule was not searched"
    kind = "certified" if float(here["certified"].min()) == 1 else "local, not certified,"
    return f"the {kind} optimal schedule ends nearer by " + " and ".join(words)


def tell(data: xr.Dataset, settings: Settings) -> str:
    """What is left at half the budget in every regime, whether the bounds hold, and what the optimal schedule gains."""
    lines = []
    for name in settings.regimes:
        here = part_of(data, name)
        medians = ", ".join(
            f"{label} {float(here[label][:, settings.train_steps // 2].median()):.3g}" for label in COLORS
        )
        excess = float(here["excess"])
        contraction = f"; D2D distance is at most {excess:.4f} of c^K × its start" if np.isfinite(excess) else ""
        lines.append(
            f"{REGIMES[name]} ({here.sizes['problem']} problems): distance left at K = T/2, over that of the trained model: "
            f"{medians}; R2D beyond its bound at {data.attrs[f'violations_{name}']} of {here['gap'].size} K, at K = T "
            f"{float(here['gap'][:, -1].max()):.1e} from retraining{contraction}; {_gains(here)}"
        )
    return "\n".join(lines)
