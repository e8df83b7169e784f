"""Random linear problems of the plane, their starts, and where schedules lead there."""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np

from homotopy import (
    AbstractSchedule,
    LinearDecay,
    PiecewiseConstant,
    PolynomialDecay,
    Problem,
    Step,
    WorkError,
    datasets,
    leave_one_out,
    optimum,
    search,
    simulate,
)

from ._instances import most_moving, slowest

_BATCH = 60  # schedules that are simulated at once
# The rivals of ε ≡ 0: (share of T, level until then), and (share of T, power of the decay until then).
HELD = ((0.02, 1.0), (0.1, 1.0), (0.3, 1.0), (0.6, 1.0), (1.0, 1.0), (1.0, 0.05), (1.0, 0.3), (1.0, 1.0))
DECAYS = tuple((share, power) for share in (0.02, 0.1, 0.3, 0.6, 1.0) for power in (1.0, 3.0))


class Instance(NamedTuple):
    """One problem, one start, and what the best step and the late one reach there."""

    problem: Problem
    theta0: np.ndarray
    target: np.ndarray
    t1: float
    leave_out: float
    best: float
    tau: float
    residual: float
    late: float


def looked_through(
    seed: int, rng: np.random.Generator, *, n: int, noise: float, starts: int, horizon: float, late: float
) -> list[Instance]:
    """The problem of one seed with its most influential point deleted, from several starts."""
    problem = most_moving(datasets.random_linear(n=n, d=2, noise=noise, seed=seed))
    target, full = np.asarray(leave_one_out(problem).theta), np.asarray(optimum(problem).theta)
    t1 = horizon / slowest(problem)
    found = []
    for _ in range(starts):
        angle, radius = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 4.0)
        theta0 = target + radius * np.linalg.norm(full - target) * np.array([np.cos(angle), np.sin(angle)])
        best = search(problem, theta0, t1=t1, family="step", target=target, certify="none")
        reached, tau = (best.baseline_energy, best.energy), float(best.schedule.discontinuities()[0])
        found.append(Instance(problem, theta0, target, t1, *reached, tau, best.pontryagin_residual, 0.0))
    steps = [_held(late * t1)] * len(found)
    reached_late = energies(
        _arrivals(problem, steps, np.array([one.theta0 for one in found]).reshape(-1, 2), t1), target
    )
    return [one._replace(late=float(value)) for one, value in zip(found, reached_late, strict=True)]


def _held(until: float, value: float = 1.0) -> PiecewiseConstant:
    """ε = `value` until a time > 0, then 0."""
    return PiecewiseConstant([until], [value, 0.0])


def energies(ends: np.ndarray, target: np.ndarray) -> np.ndarray:
    """E = ½‖θ(T) − θ*₋‖² of each of `ends` (k, 2)."""
    return 0.5 * np.sum((ends - target[None, :]) ** 2, axis=1)


def every_weight_hurts(instances: list[Instance], like: Instance) -> tuple[Instance, float]:
    """A start from which ε ≡ 0 satisfies Pontryagin's principle, and the gentlest rival's E/E(0).

    The same problem as `like` if it has such a start, for comparison; else any.
    """
    zero = [one for one in instances if one.tau == 0 and one.residual == 0]
    candidates = [one for one in zero if one.problem is like.problem] or zero
    if not candidates:
        raise WorkError("no start was found from which ε ≡ 0 is optimal; raise problems or starts, or change seed")
    ratios = [_rival(one) for one in candidates]
    return candidates[int(np.argmax(ratios))], max(ratios)


def _rival(one: Instance) -> float:
    """The least E/E(ε ≡ 0) of schedules of every family with some ε > 0: constant ones until a share of T, and decays."""
    held = [_held(share * one.t1, value) for share, value in HELD]
    decays = [PolynomialDecay(0.0, share * one.t1, power) for share, power in DECAYS]
    ends = np.concatenate([_arrivals(one.problem, kind, one.theta0, one.t1) for kind in (held, decays)])
    return float(energies(ends, one.target).min()) / one.leave_out


def best_linear(one: Instance) -> tuple[LinearDecay, float]:
    """The linear decay from 1 at t = 0 to 0 at t₁ ≤ T with the smallest E, over 60 values of t₁."""
    ends = np.linspace(one.t1 / 60, one.t1, 60)
    decays = [PolynomialDecay(0.0, end, 1.0) for end in ends]
    values = energies(_arrivals(one.problem, decays, one.theta0, one.t1), one.target)
    return LinearDecay(0.0, ends[int(np.argmin(values))]), float(values.min())


def path_of(instance: Instance, schedule: AbstractSchedule, ts: np.ndarray) -> np.ndarray:
    """θ at each of `ts`, the first of which is 0: each by a flow of its own, for which nothing is compiled again."""
    alike: AbstractSchedule
    if isinstance(schedule, Step):
        until = float(schedule.switch)
        alike = _held(until) if until > 0 else _held(instance.t1, 0.0)
    else:
        alike = PolynomialDecay(0.0, float(np.asarray(schedule.discontinuities())[-1]), 1.0)
    later = _arrivals(instance.problem, [alike] * (len(ts) - 1), instance.theta0, ts[1:])
    return np.vstack([instance.theta0, later])


def _arrivals(
    problem: Problem, schedules: Sequence[AbstractSchedule], starts: np.ndarray, times: np.ndarray | float
) -> np.ndarray:
    """θ(T) (k, dim) under each of `schedules` (k,), all of one kind: from its own start (k, dim) and T (k,), or the only one.

    In batches of one size: however many there are, each kind of schedule is compiled once.
    """
    k = len(schedules)
    starts, times = np.broadcast_to(starts, (k, problem.dim)), np.broadcast_to(times, (k,))
    found = [np.zeros((0, problem.dim))]
    for first in range(0, k, _BATCH):
        rows = np.resize(np.arange(first, min(first + _BATCH, k)), _BATCH)  # the last batch is filled up
        batch = jax.tree.map(lambda *leaves: np.stack(leaves), *(schedules[int(row)] for row in rows))
        found.append(_batch_of_arrivals(problem, batch, starts[rows], times[rows]))
    return np.concatenate(found)[:k]


@eqx.filter_jit
def _batch_of_arrivals(problem, schedules, starts, times):
    def one(schedule, theta0, t1):
        return simulate(problem, schedule, theta0, t1=t1, ts=t1[None], rtol=1e-9).theta1

    return jax.vmap(one)(schedules, starts, times)
