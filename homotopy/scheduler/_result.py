"""`SearchResult`: the schedule, how good it is, and what proves it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from .._errors import RequestError
from ..flow import AbstractSchedule, describe
from ._certificate import Certificate


@dataclass(frozen=True)
class Arc:
    """A stretch of time [`start`, `end`] of a schedule: `kind` is "on" (ε = 1), "off" (ε = 0) or "singular" (in between).

    Example (continues the package's):

        >>> search(problem, theta0, t1=0.2, family="bang-bang").structure[0].kind
        'on'
    """

    start: float
    end: float
    kind: str


@dataclass(frozen=True)
class SearchResult:
    """The best `schedule` of one family (mathematics §6, §7).

    `energy` is the goal's value at T (½‖θ(T) − θ*₋‖² for "parameters"), `baseline_energy` that of 1_[0,s], `objective`
    the energy plus the prices of switching and of ∫ε dt. `switches` counts the jumps of ε in the open interval (s, T)
    (so 0 for 1_[0,s] itself), `pontryagin_residual` is ∫|ε − 1[σ<0]||σ|dt / ∫|σ|dt over [s, T]: 0 where Pontryagin's
    principle holds, and where E, or all that this says could be gained, is below rounding. `agreed` of `starts`
    searches ended at this optimum. `stationary` lists every stationary point of a search over one parameter:
    (parameter, energy). `arrival` is the time from which ε = 0 keeps θ at θ*₋ (or within the tolerance), where it is
    reached exactly. `notes` says what a reader must know: what the target is, an unusual number of switches, a missing
    solver. `certificate` is a `Certificate`, `structure` its `Arc`s, `family` and `goal` those of `search`, `seconds`
    what it took.

    Example (continues the package's):

        >>> found = search(problem, theta0, t1=0.2, family="bang-bang")
        >>> found.switches, found.certificate.kind, found.ratio > 1, describe(found.schedule, digits=3)
        (1, 'dual', True, 'bang-bang:0.188')
        >>> SearchResult.from_dict(found.to_dict()).energy == found.energy, found.to_json()[:10]
        (True, '{"schedule')
    """

    schedule: AbstractSchedule
    energy: float
    baseline_energy: float
    pontryagin_residual: float
    switches: int
    certificate: Certificate
    family: str
    seconds: float
    stationary: tuple[tuple[float, float], ...] = ()
    goal: str = "parameters"
    objective: float = 0.0
    structure: tuple[Arc, ...] = ()
    starts: int = 1
    agreed: int = 1
    arrival: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def ratio(self) -> float:
        """E(1_[0,s]) / E: how many times smaller the energy is than the baseline's (∞ if θ*₋ is reached exactly, 1 if
        both reach it)."""
        return self.baseline_energy / self.energy if self.energy > 0 else float("inf") if self.baseline_energy else 1.0

    def __str__(self) -> str:
        proof = self.certificate
        bound = "" if proof.kind == "local" else f": E* ≥ {proof.lower_bound:.6g} (gap {proof.gap:.2g})"
        lines = [
            f"best schedule of the family {self.family}: {describe(self.schedule, 8)}",
            f"  energy E = {self.energy:.6g} ({self.goal})   baseline E(1_[0,s]) = {self.baseline_energy:.6g}   "
            + ("reached" if proof.kind == "reached" or self.energy == 0 else f"gain ×{self.ratio:.4g}"),
            f"  switches {self.switches}   Pontryagin residual {self.pontryagin_residual:.2g}   "
            f"certificate {proof.kind}{bound}   {self.agreed} of {self.starts} starts agreed   {self.seconds * 1e3:.1f} ms",
        ]
        if self.arrival is not None:
            lines.append(f"  reached at t = {self.arrival:.6g}")
        if any(arc.kind == "singular" for arc in self.structure):
            lines.append("  structure " + ", ".join(f"{a.kind} [{a.start:.4g}, {a.end:.4g}]" for a in self.structure))
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])

    def to_dict(self) -> dict[str, Any]:
        """Everything as numbers, texts and lists, for JSON. Raises `RequestError` for a schedule of a class that cannot be
        saved.
        """
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        plain["schedule"] = self.schedule.to_dict()
        plain["certificate"] = asdict(self.certificate)
        plain["structure"] = [asdict(arc) for arc in self.structure]
        return plain

    def to_json(self) -> str:
        """`to_dict` as a text; numbers survive the round trip to the last bit."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> "SearchResult":
        """The result that `to_dict` (or `json.loads` of `to_json`) saved. Raises `RequestError` for what is no saved
        result.
        """
        missing = [field.name for field in fields(cls) if field.name not in saved]
        if missing:
            raise RequestError(
                f"a saved search result must have the entry {missing[0]!r}; was it written by to_dict()?"
            )
        values = {field.name: saved[field.name] for field in fields(cls)}
        values["schedule"] = AbstractSchedule.from_dict(saved["schedule"])
        values["certificate"] = Certificate(**saved["certificate"])
        values["structure"] = tuple(Arc(**arc) for arc in saved["structure"])
        values["stationary"] = tuple((float(a), float(b)) for a, b in saved["stationary"])
        values["notes"] = tuple(saved["notes"])
        return cls(**values)
