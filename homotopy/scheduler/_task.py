"""One search without a closed form: what is asked, and what a schedule is worth by the accurate engine."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..flow import AbstractSchedule, BangBang, PiecewiseConstant, Step, simulate
from ..problem import Problem
from ._discrete import Setting, steps_needed
from ._goals import goal_value
from ._linear import Vector
from ._pontryagin import pontryagin_residual, residual_times, switching_function

# Numbers of switches that a schedule is padded to before it is simulated.
_SIZES = np.array([8, 48, 128, 400])
_LEAST_STEPS = 120  # of RK4 on [s, T]
_value = eqx.filter_jit(goal_value)


@dataclass(frozen=True, eq=False)
class Task:
    """The arguments of `search`, checked; `price` is that of one unit of ∫ε dt."""

    problem: Problem
    theta0: Float[Array, " dim"]
    target: Float[Array, " dim"]
    s: float
    t1: float
    goal: str
    price: float
    rtol: float
    atol: float

    @property
    def tolerances(self) -> dict[str, Any]:
        """Those of the engines: the exact one takes none."""
        return {} if self.problem.least_squares else {"rtol": self.rtol, "atol": self.atol}

    @property
    def plain(self) -> bool:
        """Whether the objective is ½‖θ(T) − θ*₋‖² alone, of which Pontryagin's principle is computed."""
        return self.goal == "parameters" and not self.price

    @cached_property
    def begin(self) -> Float[Array, " dim"]:
        """θ(s)."""
        if self.s == 0:
            return self.theta0
        end = simulate(self.problem, Step(self.s), self.theta0, t1=self.s, ts=[self.s], **self.tolerances)
        return end.theta1

    @cached_property
    def setting(self) -> Setting:
        """The same for the discrete objective."""
        length, price = jnp.asarray(self.t1 - self.s), jnp.asarray(self.price)
        return Setting(self.problem, self.begin, self.target, length, price)

    @cached_property
    def steps(self) -> int:
        """Steps of RK4 over [s, T] that are stable and fairly accurate."""
        return steps_needed(self.setting, _LEAST_STEPS)

    @cached_property
    def baseline(self) -> float:
        """The energy of 1_[0,s]."""
        return self.value(Step(self.s))[0]

    @property
    def scale(self) -> float:
        """What differences of the objective are measured by."""
        return max(self.baseline, 1e-300)

    def value(self, schedule: AbstractSchedule) -> tuple[float, float]:
        """Energy and objective."""
        end = simulate(
            self.problem, padded(schedule, self.t1), self.theta0, t1=self.t1, ts=[self.t1], **self.tolerances
        )
        energy = float(_value(self.problem, self.goal, end.theta1, self.target))
        return energy, energy + (self.price * _spent(schedule, self.s, self.t1) if self.price else 0.0)

    def sigma(self, schedule: AbstractSchedule) -> tuple[Vector, Vector]:
        """Times of [s, T] and σ there."""
        schedule = padded(schedule, self.t1)
        ts = residual_times(schedule, self.s, self.t1)
        sigma = switching_function(
            self.problem, schedule, self.theta0, t1=self.t1, ts=ts, target=self.target, **self.tolerances
        )
        return ts, np.asarray(sigma)

    def residual(self, schedule: AbstractSchedule) -> float:
        """The Pontryagin residual."""
        return pontryagin_residual(
            self.problem, padded(schedule, self.t1), self.theta0, s=self.s, t1=self.t1, target=self.target,
            **self.tolerances,
        )  # fmt: skip


def padded(schedule: AbstractSchedule, t1: float) -> AbstractSchedule:
    """A piecewise constant schedule with empty arcs at T, so that few numbers of arcs are ever compiled."""
    if not isinstance(schedule, (BangBang, PiecewiseConstant)):
        return schedule
    times = np.asarray(schedule.discontinuities())
    values = np.asarray([schedule.piece(k, 0.0) for k in range(len(times) + 1)], dtype=float)
    more = int(_SIZES[np.searchsorted(_SIZES, len(times))]) - len(times) if len(times) <= _SIZES[-1] else 0
    return PiecewiseConstant(np.append(times, np.full(more, max(t1, times[-1] if len(times) else t1))),
                             np.append(values, np.full(more, values[-1])))  # fmt: skip


def jumps_inside(schedule: AbstractSchedule, s: float, t1: float) -> int:
    """The jumps of ε in the open interval (s, T)."""
    times = schedule.discontinuities()
    arcs = jnp.arange(times.shape[0])
    change = np.abs(np.asarray(schedule.piece(arcs + 1, times) - schedule.piece(arcs, times), dtype=float))
    jump = change.max(axis=tuple(range(1, change.ndim)), initial=0.0) > 1e-9
    return int(np.sum(jump & (np.asarray(times) > s) & (np.asarray(times) < t1)))


def _spent(schedule: AbstractSchedule, s: float, t1: float) -> float:
    """∫_s^T ε dt, of all ε_j together."""
    inner = np.asarray(schedule.discontinuities())
    edges = np.unique(np.concatenate([[s], inner[(inner > s) & (inner < t1)], np.linspace(s, t1, 401)]))
    nodes, weights = np.polynomial.legendre.leggauss(3)
    half = 0.5 * np.diff(edges)
    ts = 0.5 * (edges[1:] + edges[:-1])[:, None] + half[:, None] * nodes
    values = np.asarray(schedule(ts.reshape(-1)))
    return float(np.sum((half[:, None] * weights).reshape(-1) @ values))
