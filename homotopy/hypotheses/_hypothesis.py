"""`Hypothesis`: a claim with the computation that decides it. `Finding`: what the computation found.

The verdict is never written by hand: `Hypothesis.rule` reads it off the evidence.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .._errors import RequestError

Verdict = Literal["holds", "fails", "depends"]
VERDICTS: tuple[Verdict, ...] = ("holds", "fails", "depends")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Scale:
    """How much is computed: the settings that every check shares.

    `instances` random linear problems for each of `dims`, `searches` certified searches for each of them, `networks`
    trained networks, and as many points of real data if `real`; instance k has the seed `seed` + k, so
    `Scale(1, 1, 1, seed=k)` is that instance alone.
    """

    instances: int = 300
    searches: int = 400
    networks: int = 30
    dims: tuple[int, ...] = (1, 2, 5, 20)
    real: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("instances", 1), ("searches", 1), ("networks", 0)):
            if getattr(self, name) < least:
                raise RequestError(f"{name} must be at least {least}, but is {getattr(self, name)}")
        if self.seed < 0:
            raise RequestError(f"seed must be ≥ 0, but is {self.seed}")

    def seeds(self, count: int) -> range:
        """The seeds of the first `count` instances."""
        return range(self.seed, self.seed + count)


FULL = Scale()
QUICK = Scale(instances=50, searches=25, networks=3)


@dataclass(frozen=True)
class Rule:
    """How the evidence becomes a verdict: `decide(evidence)`, and the same in words, tolerance included."""

    text: str
    decide: Callable[[Mapping[str, Any]], Verdict]

    def __call__(self, evidence: Mapping[str, Any]) -> Verdict:
        verdict = self.decide(evidence)
        if verdict not in VERDICTS:
            raise ValueError(f"a rule must answer {', '.join(VERDICTS)}, but answered {verdict!r}")
        return verdict


@dataclass(frozen=True)
class Slip:
    """A formula of the notes beside the corrected one, and how far each is from the truth on the same instances."""

    place: str
    notes: str
    correct: str
    notes_error: float
    correct_error: float


@dataclass(frozen=True)
class Finding:
    """What a check found.

    `evidence`: name → number, text, or what `share`, `median` and `correlation` make (effect sizes with intervals).
    `headline`: the three entries that matter. `example`: the worst or the counter-example instance, with its `seed`.
    `slips`: formulas of the notes that were held against corrected ones. `draw(ax)` draws the figure, if one helps.
    """

    evidence: Mapping[str, Any]
    headline: tuple[str, ...] = ()
    example: Mapping[str, Any] | None = None
    slips: tuple[Slip, ...] = ()
    draw: Callable[[Any], object] | None = None

    def __post_init__(self) -> None:
        missing = [name for name in self.headline if name not in self.evidence]
        if missing:
            raise ValueError(f"the headline names {missing[0]!r}, which is not among the evidence")


@dataclass(frozen=True)
class Hypothesis:
    """A claim, where it comes from, and `check(scale, progress) -> Finding`, from which `rule` reads the verdict.

    `computed` and `family` say in words what is computed, and over which instances; `corrected` is the statement that
    holds instead, shown where the claim does not. Raises `RequestError` for an id that cannot be a file name.
    """

    id: str
    statement: str
    source: str
    check: Callable[[Scale, Any], Finding]
    rule: Rule
    computed: str = ""
    family: str = ""
    corrected: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not _ID.fullmatch(self.id):
            raise RequestError(f"the id of a hypothesis must be letters, digits, - _ or ., but is {self.id!r}")
        if not callable(self.check) or not isinstance(self.rule, Rule):
            raise RequestError(f"hypothesis {self.id}: check must be a function and rule a Rule (say usually('wins'))")


def claim(
    id: str, statement: str, source: str, *, rule: Rule, computed: str = "", family: str = "", corrected: str = ""
) -> Callable[[Callable[..., Finding]], Hypothesis]:
    """Makes the function below it the check of a `Hypothesis`: the claim in words first, then how it is decided."""
    return lambda check: Hypothesis(id, statement, source, check, rule, computed, family, corrected)
