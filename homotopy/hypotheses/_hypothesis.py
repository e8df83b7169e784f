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
    `Scale(1, 1, 1, seed=k)` is that instance alone. Mathematics §16. Raises `RequestError` for a count or a seed that
    is too small.

    Example (continues the package's):

        >>> small = Scale(instances=2, searches=1, networks=0, dims=(2,), real=False, seed=7)
        >>> list(small.seeds(small.instances))
        [7, 8]
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
    """How the evidence becomes a verdict: `decide(evidence)`, and the same in words, `text`, tolerance included.

    A verdict is "holds", "fails" or "depends" (mathematics §16).

    Example (continues the package's):

        >>> rule = Rule("holds where `error` ≤ 1e-6", lambda evidence: "holds" if evidence["error"] <= 1e-6 else "fails")
        >>> rule({"error": 1e-9})
        'holds'
    """

    text: str
    decide: Callable[[Mapping[str, Any]], Verdict]

    def __call__(self, evidence: Mapping[str, Any]) -> Verdict:
        """The verdict; `ValueError` for another word than the three."""
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
    Mathematics §16. Raises `ValueError` for a headline that is not among the evidence.

    Example (continues the package's):

        >>> Finding({"error": 1e-9, "instances": 2}, headline=("error",)).evidence["error"]
        1e-09
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

    `id`, `statement` and `source` are texts.

    `computed` and `family` say in words what is computed, and over which instances; `corrected` is the statement that
    holds instead, shown where the claim does not. Mathematics §12, §16. Raises `RequestError` for an id that
    cannot be a file name, and for a check or a rule that is none.

    Example (continues the package's):

        >>> def check(scale, progress):
        ...     problems = [Problem(LinearRegression(), datasets.random_linear(seed=seed), delete=3) for seed in scale.seeds(2)]
        ...     apart = [newton_estimate(each).theta - leave_one_out(each).theta for each in problems]
        ...     return Finding({"error": float(jnp.abs(jnp.stack(apart)).max())}, headline=("error",))
        >>> exact = Rule("error ≤ 1e-6", lambda evidence: "holds" if evidence["error"] <= 1e-6 else "fails")
        >>> claim = Hypothesis("N01", "Newton's estimate is exact for least squares", "notes, Def. 6", check, exact)
        >>> claim.rule(claim.check(Scale(), None).evidence)
        'holds'
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
