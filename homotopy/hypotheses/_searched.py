"""The certified searches that H12 to H16 share: one random family, every instance searched once a run.

Each row: the best bang-bang ε(t) with its certificate, the best single step, the baseline 1_[0,s], a late step, the best
linear and polynomial decays, and greedy. Times are in units of 1/λ_min(H₋) (the smallest eigenvalue that is not 0).
"""

from functools import lru_cache
from typing import Any

import numpy as np

from .._errors import RequestError, WorkError
from ..problem import Problem
from ..scheduler import Bang, Window, linear_control, search, window
from ._hypothesis import Scale
from ._instances import Batch, random_batch, real_batch
from ._measure import Table

# The sharpest certificate is sought up to this many parameters; beyond it only where the cheap dual applies.
_SEMIDEFINITE = 5
LATE = 0.8  # of T
_LEVELS = 48  # of ε, in the staircase that stands for a decay
_ENDS = 60  # values of t₁ of each family of decays, before
_BRACKETS, _ROUNDS, _FINE = 2, 5, 17  # the best brackets are divided again and again
POWERS = (1.0 / 3.0, 0.5, 2.0, 3.0)
_SAMPLES = 4000  # decisions of the greedy schedule


class Searched(Table):
    """Columns by name (rows,): `energy` E*, `baseline` E(1_[0,s]), `step`, `late`, `linear`, `polynomial`, `greedy` the E
    of the others, `lower` the certified bound and `certificate` its kind, `switches`, `kind`; `leverage`, `residual` |r_j|,
    `horizon` T·λ_min, `s` as a share of T, `d`, `start`, `singular`, `size` ‖θ(s) − θ*₋‖²; `told` identifies a row."""

    @property
    def certified(self) -> Any:
        """Where E* is proven to be within 1 % of what was found (or is 0)."""
        close = self["energy"] - self["lower"] <= 0.01 * self["energy"]
        return self.reached | ((self["certificate"] != "local") & close)

    @property
    def floor(self) -> Any:
        """E below which energies are rounding: 1e-18 ‖θ(s) − θ*₋‖²."""
        return 1e-18 * self["size"] + 1e-300

    @property
    def reached(self) -> Any:
        """Where θ*₋ is reached: E* = 0 up to rounding."""
        return self["energy"] <= self.floor

    def lower(self, a: Any, b: Any, by: float = 1e-6) -> Any:
        """Where energy a is lower than energy b, relatively by far more than rounding."""
        return a + self.floor < b * (1.0 - by)

    def ratio(self, a: Any, b: Any) -> Any:
        """a/b, with what is rounding taken as rounding."""
        return np.maximum(a, self.floor) / np.maximum(b, self.floor)

    def strata(self) -> dict[str, Any]:
        """The parts of the family (name → mask): by d, leverage, residual, horizon, s, start, and rank of H₋."""
        parts = {f"d = {d}": self["d"] == d for d in np.unique(self["d"])}
        for name, label in (("leverage", "leverage"), ("residual", "|r_j|"), ("horizon", "T·λ_min")):
            low, high = np.quantile(self[name], [1 / 3, 2 / 3])
            parts |= {f"{label} ≤ {low:.2g}": self[name] <= low, f"{label} > {high:.2g}": self[name] > high}
        parts |= {"s = 0": self["s"] == 0, "s > 0": self["s"] > 0}
        parts |= {f"start: {start}": self["start"] == start for start in np.unique(self["start"])}
        return parts | {"H₋ singular": self["singular"]}

    def certificates(self) -> dict[str, int]:
        """How often each kind of certificate was found."""
        kinds, counts = np.unique(self["certificate"], return_counts=True)
        return {str(kind): int(count) for kind, count in zip(kinds, counts, strict=True)}


@lru_cache(maxsize=4)
def searched(scale: Scale) -> Searched:
    """Every instance of the scale: random ones in each dimension, and points of stackloss."""
    rows: list[dict[str, Any]] = []
    for d in scale.dims:
        rows += _rows(random_batch(scale, d, scale.searches))
    if scale.real:
        rows += _rows(real_batch(scale, "stackloss", scale.searches))
    if not rows:
        raise WorkError("every instance starts at θ*₋ already; raise --instances or change --seed")
    told = [row.pop("told") for row in rows]
    return Searched({name: np.array([row[name] for row in rows]) for name in rows[0]} | {"told": told})


def _rows(batch: Batch) -> list[dict[str, Any]]:
    """Every row of a batch, but those that start at θ*₋."""
    levers, hessians = batch.leverage(), batch.moments(0.0)[0]
    rows = [_row(batch, row, float(levers[row]), hessians[row]) for row in range(batch.rows)]
    # Where H₋ leaves θ₀ alone, θ(s) may be θ*₋ already: there is nothing to search.
    return [
        row for row, theta0 in zip(rows, batch.theta0, strict=True) if row["size"] > 1e-18 * (1.0 + theta0 @ theta0)
    ]


def _row(batch: Batch, row: int, lever: float, hessian: Any) -> dict[str, Any]:
    problem, theta0 = batch.problem(row), batch.theta0[row]
    rng = np.random.default_rng([int(batch.seeds[row]), batch.dim, 12])
    rates = np.linalg.eigvalsh(hessian)
    moving = rates[rates > 1e-9 * max(rates[-1], 1e-300)]
    horizon = float(np.exp(rng.uniform(np.log(0.3), np.log(5.0))))
    t1 = horizon / (float(moving[0]) if moving.size else 1.0)
    s = float(rng.choice([0.0, np.exp(rng.uniform(np.log(0.02), np.log(0.5))) * t1]))
    best, step = search_both(problem, theta0, s, t1)
    control = linear_control(problem, theta0)
    here = window(control, s, t1)
    linear, polynomial = decay_energies(here)
    greedy, on = greedy_energy(here)
    certificate = best.certificate
    return {
        "energy": best.energy, "baseline": best.baseline_energy, "step": min(step.energy, best.baseline_energy),
        "tau": float(step.schedule.switch), "late": here.value(Bang(1, np.array([max(LATE * t1, s)]))),
        "linear": linear, "polynomial": polynomial, "greedy": greedy, "greedy_on": on,
        "lower": certificate.lower_bound, "switches": best.switches, "leverage": lever,
        "residual": abs(control.single[1]) if control.single else 0.0, "horizon": horizon, "s": s / t1, "d": batch.dim,
        "seed": int(batch.seeds[row]), "size": float(here.begin @ here.begin), "kind": kind_of(best.structure, s),
        "certificate": certificate.kind, "start": str(batch.start[row]), "singular": bool(batch.singular[row]),
        "told": batch.describe(row) | {"s": s, "T": t1, "T·λ_min": horizon},
    }  # fmt: skip


def search_both(problem: Problem, theta0: Any, s: float, t1: float) -> tuple[Any, Any]:
    """The best bang-bang schedule, certified where that is affordable, and the best single step."""
    how = "auto" if problem.dim <= _SEMIDEFINITE else "dual"
    try:
        best = search(problem, theta0, s=s, t1=t1, family="bang-bang", certify=how)
    except RequestError:  # the dual does not apply: the residual may change its sign
        best = search(problem, theta0, s=s, t1=t1, family="bang-bang", certify="none")
    return best, search(problem, theta0, s=s, t1=t1, family="step", certify="none")


def kind_of(structure: Any, s: float) -> str:
    """The schedule on [s, T] in words: keep is ε = 1, drop is ε = 0."""
    words = {"on": "keep", "off": "drop"}
    return "–".join(words[arc.kind] for arc in structure if arc.end > s * (1 + 1e-12))


# Decays -------------------------------------------------------------------------------------------------------------


def decay_energies(here: Window) -> tuple[float, float]:
    """The smallest E of a linear decay, and of a polynomial one (powers 1/3, 1/2, 2, 3), over t₁ ∈ (s, T].

    ε falls from 1 at s to 0 at t₁. It is replaced by a staircase of 48 levels with the same mean on each step (second
    order: E is good to about 1e-3), whose flow is exact. Every bracket of the best t₁ is narrowed to 1e-5 of itself: the
    rival, a step, is optimised to rounding.
    """
    values = [_best_decay(_Staircase(here, power)) for power in (1.0, *POWERS)]
    return values[0], min(values[1:])


def _best_decay(stairs: "_Staircase") -> float:
    ends = stairs.here.length * np.geomspace(1e-3, 1.0, _ENDS)
    values = stairs.energies(ends)
    found = float(values.min())
    lowest = np.flatnonzero((values <= np.append(values[1:], np.inf)) & (values <= np.insert(values[:-1], 0, np.inf)))
    for start in lowest[np.argsort(values[lowest])][:_BRACKETS]:
        here, middle = ends, int(start)
        for _ in range(_ROUNDS):
            here = np.linspace(here[max(middle - 1, 0)], here[min(middle + 1, len(here) - 1)], _FINE)
            fine = stairs.energies(here)
            middle = int(fine.argmin())
            found = min(found, float(fine[middle]))
    return found


class _Staircase:
    """E of the staircase of ((t₁−t)/(t₁−s))^power for many t₁: 48 eigendecompositions, made once."""

    def __init__(self, here: Window, power: float) -> None:
        self.here, control = here, here.control
        left = (1.0 - np.arange(_LEVELS + 1) / _LEVELS) ** (
            1.0 / power
        )  # phase of the time that is left, at each level
        self.widths = -np.diff(left)
        levels = -np.diff(left ** (power + 1.0)) / (power + 1.0) / self.widths
        rates, self.vectors = np.linalg.eigh(control.keep.hessian + levels[:, None, None] * control.deleted_hessian)
        self.rates = np.where(rates <= 1e-13 * np.abs(rates).max(axis=1, keepdims=True), 0.0, rates)
        drive = np.einsum("kij,ki->kj", self.vectors, control.keep.drive + levels[:, None] * control.pull)
        moving = self.rates > 0
        self.rests = np.where(moving, drive / np.where(moving, self.rates, 1.0), 0.0)

    def energies(self, ends: Any) -> Any:
        """E for each t₁ − s in `ends`."""
        z = np.broadcast_to(self.here.begin, (len(ends), len(self.here.begin)))
        for width, rates, vectors, rest in zip(self.widths, self.rates, self.vectors, self.rests, strict=True):
            z = (rest + np.exp(-np.multiply.outer(ends * width, rates)) * (z @ vectors - rest)) @ vectors.T
        keep = self.here.control.keep
        rest = keep.vectors.T @ keep.rest
        last = np.exp(-np.multiply.outer(self.here.length - ends, keep.rates))
        return np.asarray(self.here.control.energy((rest + last * (z @ keep.vectors - rest)) @ keep.vectors.T))


# Greedy -------------------------------------------------------------------------------------------------------------


def greedy_energy(here: Window) -> tuple[float, float]:
    """(E, share of [s, T] with ε = 1) of 0.15 decided 4000 times: ε = 1 where the point pulls towards θ*₋.

    Where the closed loop slides along its switching surface, the decisions alternate and their mean is the sliding ε.
    """
    control = here.control
    length = here.length / _SAMPLES
    flows = [(phase.propagator(length), phase.flow(np.zeros_like(here.begin), np.array([length]))[0])
             for phase in (control.keep, control.full)]  # fmt: skip
    coupling, pull = control.deleted_hessian, control.pull
    z, on = here.begin, 0
    for _ in range(_SAMPLES):
        keep = int((coupling @ z - pull) @ z > 0)  # ⟨−∇ℓ_J, θ*₋ − θ⟩ > 0
        on += keep
        matrix, moved = flows[keep]
        z = matrix @ z + moved
    return float(control.energy(z)), on / _SAMPLES
