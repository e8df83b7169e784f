"""Many searches and many trajectories of linear regression in one call: every deleted point, many θ₀.

In NumPy, point by point: a search takes about 2 ms, less than its share of a compiled batch, and nothing is compiled.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from .._checks import Flag, Number, Whole, as_time, as_window, flag, indices, instance, on_host, whole
from .._errors import RequestError
from ..flow import AbstractSchedule
from ..problem import Problem, on_problem
from ..problem._arrays import as_floats
from ._bang_bang import is_reached, search_bang_bang
from ._dual import dual_bound
from ._linear import LinearControl, Vector, bang_bang_ends, linear_control
from ._search import check_horizon
from ._search_linear import as_schedule, baseline_energy
from ._switching import Bang, Window, window


@dataclass(frozen=True)
class SearchTable:
    """One bang-bang search per row: `deletes` (m,), `energies` E (m,), `baseline_energies` E(1_[0,s]) (m,).

    `lower_bounds` ≤ E* (m,) from the convex dual; where it does not apply the bound is 0 and `certified` (m,) is False.
    `reached` (m,) says where θ*₋ is reached exactly (E = 0 up to rounding), which certifies itself.
    `switches` counts the jumps of ε in (s, T), `residuals` are Pontryagin's; `schedule(row)` is the schedule itself.
    """

    deletes: np.ndarray
    energies: Vector
    baseline_energies: Vector
    lower_bounds: Vector
    certified: np.ndarray
    reached: np.ndarray
    switches: np.ndarray
    residuals: Vector
    _windows: tuple[Window, ...]
    _bangs: tuple[Bang, ...]

    def schedule(self, row: Whole) -> AbstractSchedule:
        """ε(t) of one row."""
        row = whole(row, "row", 0, len(self._windows) - 1)
        return as_schedule(self._windows[row], self._bangs[row])

    def __str__(self) -> str:
        some = self.energies > 0
        gain = np.where(some, self.baseline_energies / np.where(some, self.energies, 1.0), np.inf)
        gain[~some & (self.baseline_energies == 0)] = 1.0
        return (
            f"{len(self.energies)} searches: gain E(1_[0,s])/E* median ×{np.median(gain):.4g}, largest ×{gain.max():.4g}; "
            f"switches {np.bincount(self.switches).tolist()} (how many have 0, 1, …); certified {self.certified.sum()}"
        )


@on_problem
def search_all(
    problem: Problem, theta0: Any, *, s: Number = 0.0, t1: Number, deletes: Any = None, certify: Flag = True
) -> SearchTable:
    """The best bang-bang schedule for each deleted point of a linear regression problem, on 0 ≤ s < T = `t1`.

    `deletes` (m,) are the points, all n when not given; `theta0` is (dim,), or (m, dim): one start per row. The deleted
    set of `problem` plays no part. `certify=False` leaves the dual bounds out.
    """
    if not problem.least_squares or problem.data.y.ndim != 1:
        raise RequestError("search_all is for linear regression with one output; for other models loop over search()")
    on_host((problem, theta0, s, t1), "search_all")
    s, t1 = as_window(s, t1)
    flag(certify, "certify")
    points = np.arange(problem.n) if deletes is None else indices(deletes, problem.n, "deletes")
    starts = np.asarray(as_floats(theta0, "theta0"))
    if starts.shape not in ((problem.dim,), (len(points), problem.dim)):
        raise RequestError(
            f"theta0 must have shape ({problem.dim},) or ({len(points)}, {problem.dim}), but has shape {starts.shape}"
        )
    starts = np.broadcast_to(starts, (len(points), problem.dim))
    controls = [linear_control(problem, z, delete=point) for point, z in zip(points, starts, strict=True)]
    for control in controls:
        check_horizon(control, t1)
    rows = [_row(window(control, s, t1), certify) for control in controls]
    windows, bangs, *numbers = zip(*rows, strict=True)
    energies, baselines, bounds, residuals = (np.array(column) for column in numbers)
    certified = bounds > -np.inf
    return SearchTable(
        points, energies, baselines, np.where(certified, np.maximum(bounds, 0.0), 0.0), certified,
        np.array([is_reached(*row) for row in zip(windows, energies.tolist(), bangs, strict=True)]),
        np.array([len(bang.switches) for bang in bangs]), residuals, windows, bangs,
    )  # fmt: skip


def _row(here: Window, certify: bool) -> tuple[Window, Bang, float, float, float, float]:
    best = search_bang_bang(here)[0]
    bound: float | None = None
    if is_reached(here, best.value, best.bang):
        bound = 0.0
    elif certify:
        bound = dual_bound(here, here.ends(best.bang.first, best.bang.switches[None])[0])
    return here, best.bang, best.value, baseline_energy(here), -np.inf if bound is None else bound, best.residual


class BangBangFlow:
    """θ(T) of many bang-bang schedules for linear regression: two eigendecompositions, made once.

    `flow = BangBangFlow(problem); flow(theta0, switches, t1=T)` gives θ(T) (rows, dim) for sorted `switches`
    (rows, k) in [0, T] and ε = first, 1 − first, …; exact to rounding, in NumPy.
    """

    _control: LinearControl

    def __init__(self, problem: Problem):
        instance(problem, "problem", Problem, "a Problem of linear regression")
        if not problem.least_squares:
            raise RequestError("BangBangFlow is for linear regression; use simulate for other models")
        self._control = linear_control(problem, np.zeros(problem.dim), np.zeros(problem.dim))

    def __call__(self, theta0: Any, switches: Any, *, t1: Number, first: Whole = 1) -> Float[np.ndarray, "rows dim"]:
        """θ(T) for each row of `switches`."""
        t1 = float(as_time(t1, finite="θ(∞) is leave_one_out(problem) or optimum(problem)"))
        first = whole(first, "first", 0, 1)
        switches, theta0 = np.asarray(as_floats(switches, "switches")), np.asarray(as_floats(theta0, "theta0"))
        if switches.ndim != 2 or theta0.shape != self._control.start.shape:
            raise RequestError(
                f"switches must have shape (rows, k) and theta0 {self._control.start.shape}, but they are {switches.shape} "
                f"and {theta0.shape}"
            )
        edges = np.concatenate([np.zeros((len(switches), 1)), switches, np.full((len(switches), 1), t1)], axis=1)
        if (np.diff(edges, axis=1) < 0).any():
            raise RequestError(f"switches must be sorted and lie in [0, t1] = [0, {t1:g}]")
        return bang_bang_ends(self._control, theta0, first, switches, 0.0, t1)
