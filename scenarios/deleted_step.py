"""θ(T, s) of eq. 0.9: train on everything until s, drop the point, stop at T — how late can one still forget?

For T = ∞ the answer is always: completely. For finite T the share of the point's effect that is left,
ρ(T, s) = ‖θ(T, s) − θ(T, 0)‖ / ‖θ(T, T) − θ(T, 0)‖, runs from 0 (never used) to 1 (never dropped); it is measured here
against s for several T, on the diabetes data with its most influential point deleted, for linear regression and for a
network, in parameters and in predictions. Beside it, the distance to θ*₋ itself for the linear model.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from homotopy import (
    MLP,
    LinearRegression,
    Problem,
    Step,
    cooks_distance,
    datasets,
    leave_one_out,
    optimum,
    simulate,
)
from homotopy.run import Progress, Range, Seed, check, grid, need, record
from homotopy.viz import INK, MUTED, panels

from ._instances import slowest

_PREFIX = {"linear": "T λ_min = ", "network": "T = "}


@dataclass(frozen=True)
class Settings:
    """The horizons, the grid of s and the network."""

    horizons: Annotated[tuple[float, ...], Range(least=1e-6, most=1e4, entries=1)] = (0.1, 0.3, 1.0, 3.0, 10.0)
    """values of T·λ_min(H₋) of the linear model"""
    network_t1: Annotated[tuple[float, ...], Range(least=1e-6, most=1e4, entries=1)] = (0.03, 0.1, 0.3, 1.0, 3.0)
    """values of T for the network (time of the flow in the sum convention)"""
    points: Annotated[int, Range(least=3, most=10_000)] = 41
    """values of s/T in [0, 1]"""
    width: Annotated[int, Range(least=1, most=200)] = 8
    """neurons of the network"""
    forgotten: Annotated[float, Range(above=0, below=1)] = 0.1
    """the point counts as forgotten when this share of its effect is left"""
    solver: Literal["tsit5", "rodas5p"] = "tsit5"
    """solver of the network: for its many parameters steps without a Jacobian are the cheaper ones up to T ≈ 3"""
    delete: Annotated[int, Range(least=-1, below=442)] = -1
    """deleted row of diabetes, from 0; −1 is the one with the largest Cook's distance in the linear fit"""
    rtol: Annotated[float, Range(least=1e-12, most=1e-2)] = 1e-6
    """relative tolerance of the network's solves"""
    seed: Seed = 0
    """seed of θ₀"""


QUICK = Settings(horizons=(0.3, 3.0), network_t1=(0.03, 0.3), points=13, width=3, rtol=1e-5)


def compute(settings: Settings, progress: Progress) -> xr.Dataset:
    """θ(T, s) of both models for every T and s: what is left of the point."""
    check(settings)
    need("data", "the diabetes data")
    data = datasets.load("diabetes", intercept=True)
    linear = Problem(LinearRegression(), data, delete=max(settings.delete, 0))
    if settings.delete < 0:
        linear = linear.deleting(int(np.argmax(cooks_distance(linear))))
    network = Problem(MLP(width=settings.width), datasets.load("diabetes"), delete=linear.delete)
    target = np.asarray(leave_one_out(linear).theta)
    shares = np.linspace(0.0, 1.0, settings.points)

    def left(problem: Problem, t1: float, solver: str | None) -> dict[str, Any]:
        ts = jnp.asarray(shares * t1), jnp.asarray(t1)
        thetas, outputs = _ends(problem, problem.initial(settings.seed), *ts, jnp.asarray(settings.rtol), solver)
        return {
            "thetas": np.asarray(thetas),
            "left": ("share", _left(thetas)),
            "left_outputs": ("share", _left(outputs)),
        }

    def of_linear(horizon_linear: float) -> dict[str, Any]:
        found = left(linear, horizon_linear / slowest(linear), None)
        distance = np.linalg.norm(found.pop("thetas") - target[None, :], axis=1)
        return {"distance_linear": ("share", distance)} | {f"{name}_linear": found[name] for name in found}

    def of_network(horizon_network: float) -> dict[str, Any]:
        found = left(network, horizon_network, settings.solver)
        return {f"{name}_network": found[name] for name in ("left", "left_outputs")}

    parts = [
        grid({"horizon_linear": settings.horizons}, of_linear, progress, "sweeping s, linear"),
        grid({"horizon_network": settings.network_t1}, of_network, progress, "sweeping s, network"),
    ]
    found = xr.merge([part.drop_attrs() for part in parts]).assign_coords(share=shares)
    found["share"].attrs["long_name"] = "s/T"
    moved = float(np.linalg.norm(np.asarray(optimum(linear).theta) - target))
    found.attrs |= {"deleted_row": int(linear.delete[0]), "moved": moved}
    solves = settings.points * (len(settings.horizons) + len(settings.network_t1))
    return record(found, data, codes={"successful": solves})


@eqx.filter_jit
def _ends(problem, theta0, switches, t1, rtol, solver):
    def one(switch):
        ended = simulate(problem, Step(switch), theta0, t1=t1, ts=t1[None], rtol=rtol, atol=1e-2 * rtol, solver=solver)
        return ended.theta1

    thetas = jax.vmap(one)(switches)
    return thetas, jax.vmap(problem.predict)(thetas)


def _left(values: Any) -> np.ndarray:
    """‖v(s) − v(0)‖ / ‖v(T) − v(0)‖ for the rows of `values`, ordered by s."""
    apart = np.linalg.norm(np.asarray(values - values[:1]), axis=1)
    return apart / apart[-1]


def _latest(shares: np.ndarray, left: np.ndarray, forgotten: float) -> float:
    """The largest s/T (interpolated) up to which no more than `forgotten` is left."""
    above = np.flatnonzero(left > forgotten)
    if len(above) == 0:
        return 1.0
    first = above[0]
    return float(np.interp(forgotten, left[first - 1 : first + 1], shares[first - 1 : first + 1]))


def draw(data: xr.Dataset, settings: Settings) -> dict[str, plt.Figure]:
    """What is left in the parameters, the distance to θ*₋ (linear), and what is left in the predictions (network)."""
    figure, axes = panels(2, 2, width=5.5)
    beside = {"linear": "distance_linear", "network": "left_outputs_network"}
    for row, kind in zip(axes, _PREFIX, strict=True):
        horizons = data[f"horizon_{kind}"].values
        colors = plt.get_cmap("viridis")(np.linspace(0.05, 0.85, len(horizons)))
        for k, color in enumerate(colors):
            latest = _latest(data["share"].values, data[f"left_{kind}"].values[k], settings.forgotten)
            label = f"{_PREFIX[kind]}{horizons[k]:g}"
            style = {"color": color, "lw": 1.8}
            row[0].plot(
                data["share"], data[f"left_{kind}"][k], label=f"{label}: forgotten up to s = {latest:.2f} T", **style
            )
            row[1].plot(data["share"], data[beside[kind]][k], label=label, **style)
        row[0].axhline(settings.forgotten, color=MUTED, ls=":", lw=1.0)
        row[0].set(ylabel="share of the effect left, ρ(T, s)", ylim=(0, 1.02))
        row[0].set_title(f"{kind}: what is left in the parameters")
    distance, outputs = axes[:, 1]
    distance.axhline(data.attrs["moved"], color=INK, ls="--", lw=1.0, label="‖θ* − θ*₋‖")
    distance.set(yscale="log", ylabel="‖θ(T, s) − θ*₋‖", title="linear: distance to the leave-one-out optimum")
    outputs.set(ylabel="share of the effect left, ρ(T, s)", ylim=(0, 1.02))
    outputs.set_title("network: what is left in the predictions")
    for ax in axes.flat:
        ax.set(xlabel="time s at which the point is dropped, as a share of T", xlim=(0, 1))
        ax.legend()
    return {"deleted_step": figure}


def tell(data: xr.Dataset, settings: Settings) -> str:
    """Until when the point can still be forgotten, for each model and horizon."""
    lines = [
        f"diabetes, row {data.attrs['deleted_row']} deleted; forgotten = {settings.forgotten:.0%} of its effect left"
    ]
    for kind, prefix in _PREFIX.items():
        for horizon, left in zip(data[f"horizon_{kind}"].values, data[f"left_{kind}"].values, strict=True):
            latest = _latest(data["share"].values, left, settings.forgotten)
            lines.append(f"  {kind}, {prefix}{horizon:g}: forgetting is still possible up to s = {latest:.3f} T")
    return "\n".join(lines)
