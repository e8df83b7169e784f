"""θ(T, s) of eq. 0.9: train on everything until s, drop the point, stop at T — how late can one still forget?

For T = ∞ the answer is always: completely. For finite T the share of the point's effect that is left,
ρ(T, s) = ‖θ(T, s) − θ(T, 0)‖ / ‖θ(T, T) − θ(T, 0)‖, runs from 0 (never used) to 1 (never dropped); it is measured here
against s for several T, on the diabetes data with its most influential point deleted, for linear regression and for a
network, in parameters and in predictions. Beside it, the distance to θ*₋ itself for the linear model.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from homotopy import MLP, LinearRegression, Problem, Step, datasets, simulate, surface
from homotopy.run import Progress, Range, RunResult, Seed, check
from homotopy.viz import INK, MUTED


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


def run(settings: Settings, progress: Progress) -> RunResult:
    """Sweep s for both models and draw what is left of the point."""
    check(settings)
    data = datasets.load("diabetes", intercept=True)
    delete = settings.delete if settings.delete >= 0 else _largest_cook(np.asarray(data.x), np.asarray(data.y))
    linear = Problem(LinearRegression(), data, delete=delete)
    network = Problem(MLP(width=settings.width), datasets.load("diabetes"), delete=delete)
    slowest = float(np.linalg.eigvalsh(np.asarray(linear.hessian(jnp.zeros(linear.dim), 0.0)))[0])
    shares = np.linspace(0.0, 1.0, settings.points)
    records: dict[str, xr.Variable] = {"share": xr.Variable("share", shares, {"long_name": "s/T"})}
    lines = [f"diabetes, row {delete} deleted; forgotten = {settings.forgotten:.0%} of its effect left"]
    figure, grid = plt.subplots(2, 2, figsize=(11.0, 8.4), layout="constrained")
    jobs = [
        ("linear", linear, settings.horizons, np.asarray(settings.horizons) / slowest, "T λ_min = "),
        ("network", network, settings.network_t1, np.asarray(settings.network_t1), "T = "),
    ]
    with progress.task("sweeping s", sum(len(job[2]) for job in jobs)) as advance:
        for row, (kind, problem, names, horizons, prefix) in enumerate(jobs):
            theta0 = problem.initial(settings.seed)
            target = surface(linear, [0.0], theta0, ts=[np.inf]).thetas[0, 0] if kind == "linear" else None
            colors = plt.get_cmap("viridis")(np.linspace(0.05, 0.85, len(horizons)))
            for name, t1, color in zip(names, horizons, colors, strict=True):
                solver = None if kind == "linear" else settings.solver
                thetas, outputs = _sweep(problem, theta0, shares * t1, t1, settings.rtol, solver)
                left, left_outputs = _left(thetas), _left(outputs)
                latest = _latest(shares, left, settings.forgotten)
                label = f"{prefix}{name:g}: forgotten up to s = {latest:.2f} T"
                grid[row, 0].plot(shares, left, color=color, lw=1.8, label=label)
                if target is not None:
                    distance = np.linalg.norm(thetas - np.asarray(target), axis=1)
                    grid[row, 1].semilogy(shares, distance, color=color, lw=1.8, label=f"{prefix}{name:g}")
                    records[f"distance_{kind}_{name:g}"] = xr.Variable("share", distance)
                else:
                    grid[row, 1].plot(shares, left_outputs, color=color, lw=1.8, label=f"{prefix}{name:g}")
                records[f"left_{kind}_{name:g}"] = xr.Variable("share", left, {"t1": float(t1), "latest": latest})
                records[f"left_outputs_{kind}_{name:g}"] = xr.Variable("share", left_outputs)
                lines.append(f"  {kind}, {prefix}{name:g}: forgetting is still possible up to s = {latest:.3f} T")
                advance(1)
            grid[row, 0].axhline(settings.forgotten, color=MUTED, ls=":", lw=1.0)
            grid[row, 0].set(ylabel="share of the effect left, ρ(T, s)", ylim=(0, 1.02))
            grid[row, 0].set_title(f"{kind}: what is left in the parameters", fontsize=11)
            for ax in grid[row]:
                ax.set(xlabel="time s at which the point is dropped, as a share of T", xlim=(0, 1))
                ax.legend(fontsize=8.5)
    linear_size = float(jnp.linalg.norm(_endpoint_gap(linear)))
    grid[0, 1].axhline(linear_size, color=INK, ls="--", lw=1.0, label="‖θ* − θ*₋‖")
    grid[0, 1].legend(fontsize=8.5)
    grid[0, 1].set(ylabel="‖θ(T, s) − θ*₋‖")
    grid[0, 1].set_title("linear: distance to the leave-one-out optimum", fontsize=11)
    grid[1, 1].set(ylabel="share of the effect left, ρ(T, s)", ylim=(0, 1.02))
    grid[1, 1].set_title("network: what is left in the predictions", fontsize=11)
    return RunResult(
        figures={"deleted_step": figure},
        data=xr.Dataset(records, attrs={"deleted_row": delete, "forgotten": settings.forgotten}),
        summary="\n".join(lines),
        datasets=(data,),
        result_codes={"successful": settings.points * sum(len(job[2]) for job in jobs)},
    )


@eqx.filter_jit
def _ends(problem, theta0, switches, t1, rtol, solver):
    def one(switch):
        ended = simulate(problem, Step(switch), theta0, t1=t1, ts=t1[None], rtol=rtol, atol=1e-2 * rtol, solver=solver)
        return ended.theta1

    thetas = jax.vmap(one)(switches)
    return thetas, jax.vmap(problem.predict)(thetas)


def _sweep(
    problem: Problem, theta0, switches: np.ndarray, t1: float, rtol: float, solver: str | None
) -> tuple[np.ndarray, np.ndarray]:
    """θ(T, s) and the predictions there, for every s in `switches`, in one batch."""
    thetas, outputs = _ends(problem, theta0, jnp.asarray(switches), jnp.asarray(t1), jnp.asarray(rtol), solver)
    return np.asarray(thetas), np.asarray(outputs)


def _left(values: np.ndarray) -> np.ndarray:
    """‖v(s) − v(0)‖ / ‖v(T) − v(0)‖ for the rows of `values`, ordered by s."""
    apart = np.linalg.norm(values - values[0], axis=1)
    return apart / apart[-1]


def _latest(shares: np.ndarray, left: np.ndarray, forgotten: float) -> float:
    """The largest s/T (interpolated) up to which no more than `forgotten` is left."""
    above = np.flatnonzero(left > forgotten)
    if len(above) == 0:
        return 1.0
    first = above[0]
    return float(np.interp(forgotten, left[first - 1 : first + 1], shares[first - 1 : first + 1]))


def _largest_cook(x: np.ndarray, y: np.ndarray) -> int:
    """The row with the largest Cook's distance e²h/(1−h)²."""
    q, _ = np.linalg.qr(x)
    leverage = np.sum(q * q, axis=1)
    residual = y - q @ (q.T @ y)
    return int(np.argmax(residual**2 * leverage / (1.0 - leverage) ** 2))


def _endpoint_gap(problem: Problem) -> jax.Array:
    ends = surface(problem, [0.0, 1.0], jnp.zeros(problem.dim), ts=[np.inf]).thetas[:, 0]
    return ends[1] - ends[0]
