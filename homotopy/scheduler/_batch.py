"""Many searches and many trajectories of linear regression in one call: every deleted point, many θ₀.

In NumPy, point by point: a search takes about 2 ms, less than its share of a compiled batch, and nothing is compiled.
"""

import warnings
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from .._arrays import as_floats
from .._checks import (
    Flag,
    Indices,
    Number,
    Theta,
    Values,
    Whole,
    as_time,
    as_window,
    flag,
    indices,
    instance,
    on_host,
    whole,
)
from .._errors import RequestError, WorkError
from ..endpoints import FlaggedRowsWarning
from ..flow import AbstractSchedule
from ..problem import Problem, on_problem
from ._bang_bang import is_reached, search_bang_bang
from ._dual import dual_bound
from ._gain import gains, spoken_gain
from ._linear import LinearControl, bang_bang_ends, linear_control
from ._search import check_horizon, notes_of
from ._search_linear import as_schedule, baseline_energy, precision_notes
from ._switching import Bang, Window, window


@dataclass(frozen=True)
class SearchTable:
    """One bang-bang search per row: `delete` (m,), `energies` E (m,), `baseline_energies` E(1_[0,s]) (m,).

    `lower_bounds` ≤ E* (m,) from the convex dual (mathematics §14); where it does not apply the bound is 0 and
    `certified` (m,) is False. `reached` (m,) says where θ*₋ is reached exactly (E = 0 up to rounding), which certifies
    itself. `switches` (m,) counts the jumps of ε in (s, T), `residuals` (m,) are Pontryagin's; `schedule(row)` is the
    schedule itself.

    `reasons` (m,) says why a row has no answer (its energies are ∞, its bound 0, its residual NaN, its switches −1), and is
    "" for a row that has one; `notes` (m,) are what the search of a row has to say, above all of lost digits.

    Example (continues the package's):

        >>> table = search_all(problem, theta0, t1=0.2, delete=[3, 6])
        >>> print(table.energies.round(4), table.baseline_energies.round(4), table.switches, table.certified)
        [0.2543 0.2381] [0.2569 0.4761] [1 0] [ True  True]
        >>> describe(table.schedule(1))
        'bang-bang:0.2'
    """

    delete: Int[np.ndarray, " m"]
    energies: Float[np.ndarray, " m"]
    baseline_energies: Float[np.ndarray, " m"]
    lower_bounds: Float[np.ndarray, " m"]
    certified: Bool[np.ndarray, " m"]
    reached: Bool[np.ndarray, " m"]
    switches: Int[np.ndarray, " m"]
    residuals: Float[np.ndarray, " m"]
    reasons: tuple[str, ...]
    notes: tuple[tuple[str, ...], ...]
    _found: tuple[tuple[Window, Bang] | None, ...]

    def schedule(self, row: Whole) -> AbstractSchedule:
        """ε(t) of one row. Raises `RequestError` for a row that is not there, `WorkError` for one without an answer."""
        row = whole(row, "row", 0, len(self._found) - 1)
        found = self._found[row]
        if found is None:
            raise WorkError(f"row {row} (point {self.delete[row]}) has no answer: {self.reasons[row]}")
        return as_schedule(*found)

    def __str__(self) -> str:
        answered = np.array([not reason for reason in self.reasons])
        gain = gains(self.baseline_energies[answered], self.energies[answered])
        lacking = int(np.sum(~answered))
        return (
            f"{len(gain)} searches: gain E(1_[0,s])/E* median {spoken_gain(float(np.median(gain)))}, largest "
            f"{spoken_gain(float(gain.max()))}; switches {np.bincount(self.switches[answered]).tolist()} (how many have 0, "
            f"1, …); certified {self.certified.sum()}" + (f"; {lacking} without an answer" if lacking else "")
        )


@on_problem
def search_all(
    problem: Problem, theta0: Theta, *, s: Number = 0.0, t1: Number, delete: Indices | None = None, certify: Flag = True
) -> SearchTable:
    """The best bang-bang schedule for each deleted point of a linear regression problem, on 0 ≤ s < T = `t1`.

    `delete` (m,) are the points, all n when not given; `theta0` is (dim,), or (m, dim): one start per row. The deleted
    set of `problem` plays no part. `certify=False` leaves the dual bounds out. A point without an answer costs its row
    only, with one `FlaggedRowsWarning` that names such rows and why; raises what the first one met if that is every
    row. Raises `RequestError` for other models and as `search` does. Mathematics §7.

    Example (continues the package's):

        >>> table = search_all(problem, theta0, t1=0.2)
        >>> table.energies.shape, bool((table.lower_bounds <= table.energies).all())
        ((20,), True)
    """
    if not problem.least_squares or problem.data.y.ndim != 1:
        raise RequestError("search_all is for linear regression with one output; for other models loop over search()")
    on_host((problem, theta0, s, t1), "search_all")
    s, t1 = as_window(s, t1)
    flag(certify, "certify")
    points = np.arange(problem.n) if delete is None else indices(delete, problem.n, "delete")
    starts = np.asarray(as_floats(theta0, "theta0"))
    if starts.shape not in ((problem.dim,), (len(points), problem.dim)):
        raise RequestError(
            f"theta0 must have shape ({problem.dim},) or ({len(points)}, {problem.dim}), but has shape {starts.shape}"
        )
    starts = np.broadcast_to(starts, (len(points), problem.dim))
    rows, errors = [], dict[int, RequestError | WorkError]()
    for point, start in zip(points, starts, strict=True):
        try:
            control = linear_control(problem, start, delete=point)
            check_horizon(control, t1)
            rows.append(_row(window(control, s, t1), certify))
        except (RequestError, WorkError) as error:
            errors[len(rows)] = error
            rows.append(_Row(reason=" ".join(str(error).split())))
    if len(errors) == len(rows):
        raise errors[0]
    if errors:
        _warn(points, rows)
    energies, baselines, bounds, certified, reached, switches, residuals = (
        np.array([getattr(row, name) for row in rows]) for name in _Row._fields[:7]
    )
    return SearchTable(
        points, energies, baselines, bounds, certified, reached, switches, residuals,
        tuple(row.reason for row in rows), tuple(row.notes for row in rows), tuple(row.found for row in rows),
    )  # fmt: skip


class _Row(NamedTuple):
    """One row of the table; as it stands, of a point without an answer."""

    energy: float = np.inf
    baseline: float = np.inf
    bound: float = 0.0
    certified: bool = False
    reached: bool = False
    switches: int = -1
    residual: float = np.nan
    reason: str = ""
    notes: tuple[str, ...] = ()
    found: tuple[Window, Bang] | None = None


def _row(here: Window, certify: bool) -> _Row:
    best = search_bang_bang(here)[0]
    bound: float | None = None
    reached = is_reached(here, best.value, best.bang)
    if reached:
        bound = 0.0
    elif certify:
        bound = dual_bound(here, here.ends(best.bang.first, best.bang.switches[None])[0])
    return _Row(
        best.value, baseline_energy(here), 0.0 if bound is None else max(bound, 0.0), bound is not None, reached,
        len(best.bang.switches), best.residual, notes=(*notes_of(here), *precision_notes(here)), found=(here, best.bang),
    )  # fmt: skip


def _warn(points: np.ndarray, rows: list[_Row]) -> None:
    """One `FlaggedRowsWarning` that names the points without an answer, and why."""
    why: dict[str, list[str]] = {}
    for point, row in zip(points, rows, strict=True):
        if row.reason:
            why.setdefault(row.reason, []).append(str(point))
    told = "; ".join(
        f"point{'s' if len(some) > 1 else ''} {', '.join(some[:10])}{', …' if len(some) > 10 else ''}: {reason}"
        for reason, some in why.items()
    )
    count = sum(map(len, why.values()))
    warnings.warn(f"{count} of {len(rows)} searches have no answer: {told}", FlaggedRowsWarning, stacklevel=4)


class BangBangFlow:
    """θ(T) of many bang-bang schedules for linear regression: two eigendecompositions, made once.

    `flow = BangBangFlow(problem); flow(theta0, switches, t1=T)` gives θ(T) (rows, dim) for sorted `switches` (rows, k)
    in [0, T] and ε = first, 1 − first, …; exact to rounding, in NumPy (mathematics §5). Raises `RequestError` for other
    models, and switches that are unsorted or outside [0, T].

    Example (continues the package's):

        >>> flow_of = BangBangFlow(problem)
        >>> print(flow_of(theta0, [[0.0, 0.1], [0.05, 0.2]], t1=0.2).round(4))
        [[-1.1976  0.7142]
         [-1.2305  0.6897]]
    """

    _control: LinearControl

    def __init__(self, problem: Problem):
        instance(problem, "problem", Problem, "a Problem of linear regression")
        if not problem.least_squares:
            raise RequestError("BangBangFlow is for linear regression; use simulate for other models")
        self._control = linear_control(problem, np.zeros(problem.dim), np.zeros(problem.dim))

    def __call__(
        self, theta0: Theta, switches: Annotated[Values, "k"], *, t1: Number, first: Whole = 1
    ) -> Float[np.ndarray, "rows dim"]:
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
