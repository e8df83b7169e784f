"""H12 to H15: which ε(t) is best? The certified searches of `_searched`, read in four ways."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..._errors import WorkError
from ...endpoints import leave_one_out
from ...scheduler import Levels, search
from .._evidence import median, once, share
from .._hypothesis import Finding, Rule, Scale, claim
from .._instances import network
from .._measure import NO_MINIMUM, measure
from .._pictures import Ratios, Shares
from .._searched import LATE, Searched, searched

FAMILY = (
    "random linear problems in d = 1, 2, 5, 20 (a quarter with singular H₋; zero, random and trained starts; low and high "
    "leverage and residual), T·λ_min(H₋) from 0.3 to 5, half with s = 0 and half with s from 0.02 T to 0.5 T; and points "
    "of stackloss"
)
# Staircases stand for decays to about 1e-3.
_DECAY = 5e-3
Table = Callable[[Scale], Searched]


_LOSES = "instances where another ε(t) beats 1_[0,s]"


@claim(
    "H12",
    "1_[0,s] is not the minimiser for every instance of the problem",
    "Text below Figure 4",
    rule=Rule(
        "holds if an admissible ε(t) with E lower by more than 1e-06 (relative) is found on at least one instance: that "
        "schedule is itself the proof; fails otherwise",
        once(_LOSES, "holds", "fails"),
    ),
    computed="the best bang-bang ε(t) by exact search, with a lower bound on every admissible ε(t) where one applies",
    family=FAMILY,
    corrected="1_[0,s] was best on every instance that was searched.",
)
def H12(scale: Scale, progress: Any, *, table: Table = searched) -> Finding:
    """`table(scale)` is what was searched."""
    found = table(scale)
    gain, loses = found.ratio(found["baseline"], found["energy"]), found.lower(found["energy"], found["baseline"])
    finite = loses & ~found.reached
    evidence = {
        _LOSES: share(loses),
        "gain E(1_[0,s]) / E* where it loses (and E* > 0)": median(gain[finite]),
        "instances where 1_[0,s] is proven best (to 1 %)": share(~loses & found.certified),
        "instances where θ*₋ is reached exactly in finite time": share(found.reached),
        "gain of at least 10 %": share(loses & (gain >= 1.1)),
        "certificates": found.certificates(),
        "certified to 1 %": share(found.certified),
        "loses, by part of the family": found.shares(loses, found.strata()),
    }
    worst = found.extreme(
        np.where(finite & (gain < 1e6), gain, -np.inf), "Largest gain below 10⁶", E_baseline=found["baseline"],
        E_best=found["energy"], best=found["kind"],
    )  # fmt: skip
    picture = Shares(
        evidence["loses, by part of the family"], "share of instances where another ε(t) beats 1_[0,s]",
        f"1_[0,s] loses on {loses.sum()} of {found.rows}",
    )  # fmt: skip
    return Finding(evidence, tuple(evidence)[:3], worst, (), picture)


_NEVER, _MATTERS = (
    "instances where no linear or polynomial decay beats the best step",
    "the same where some step gains 10 % on 1_[0,s]",
)
_BELOW = "decays below the certified bound of all ε(t)"


def _h13_rule(evidence: Any) -> Any:
    if evidence[_BELOW]:
        raise WorkError("a decay lies below the certified lower bound: one of the two is wrong")
    if evidence[_NEVER]["high"] < 0.5:
        return "fails"
    return "holds" if min(evidence[_NEVER]["low"], evidence[_MATTERS]["low"]) >= 0.9 else "depends"


@claim(
    "H13",
    "A step is better than a linear or polynomial decay",
    "Figure 4 (d) and the text below it",
    rule=Rule(
        "holds if no decay beats the best step (by 0.5 % of E) on at least 90 % of all instances and of those where a step "
        "gains 10 % on 1_[0,s], with 95 % confidence; fails if decays win on most; depends otherwise",
        _h13_rule,
    ),
    computed="the best step over τ, the best linear decay over t₁, the best polynomial one over t₁ and powers 1/3, 1/2, 2, 3",
    family=FAMILY,
    corrected="The best bang-bang ε(t) is never worse than a decay (where certified, nothing is better). A single step may be: "
    "where the best ε(t) waits first, or E* = 0 is out of reach of one step, a decay that spreads the weight comes nearer.",
)
def H13(scale: Scale, progress: Any, *, table: Table = searched) -> Finding:
    """`table(scale)` is what was searched."""
    found = table(scale)
    step, decay = found["step"], np.minimum(found["linear"], found["polynomial"])
    wins = found.lower(decay, step, _DECAY)
    gain, ratio = found.ratio(found["baseline"], step), found.ratio(decay, step)
    most = np.argsort(-np.where(found.reached, 0.0, gain))[: max(found.rows // 20, 1)]
    evidence = {
        _NEVER: share(~wins),
        _MATTERS: share(~wins[gain > 1.1]),
        "E(best decay) / E(best step) − 1": median(ratio[~found.reached] - 1.0),
        "a decay wins among the 5 % of the instances where a step gains most": share(wins[most]),
        "instances where the best step beats every decay": share(found.lower(step, decay, _DECAY)),
        "instances where a linear decay alone beats the best step": share(found.lower(found["linear"], step, _DECAY)),
        _BELOW: int((decay < found["lower"] * (1.0 - _DECAY)).sum()),
        "a decay wins, by part of the family": found.shares(wins, found.strata()),
    }
    worst = found.extreme(
        np.where(wins & ~found.reached, (step - decay) / found["baseline"], -np.inf), "A decay that beats every single step",
        E_step=step, E_linear=found["linear"], E_polynomial=found["polynomial"], E_best=found["energy"],
    )  # fmt: skip
    groups = {f"d = {d}": ratio[~found.reached & (found["d"] == d)] for d in np.unique(found["d"])}
    picture = Ratios(
        groups, "E(best linear or polynomial decay) / E(best step)",
        f"left of the line a decay is better: {wins.sum()} of {found.rows}", limits=(0.2, 30.0), line=1.0,
    )  # fmt: skip
    return Finding(evidence, tuple(evidence)[:3], worst, (), picture)


_FAR = "E(switch at 0.8 T) / E(best step), where the best step ends in the first half"
_BEATS = "s = 0: instances where a well chosen step beats leaving out"
_HURTS = "s = 0: instances where every ε > 0 is proven no better than leaving out"


def _h14_rule(evidence: Any) -> Any:
    beats, hurts = (evidence[name]["count"] > 0 for name in (_BEATS, _HURTS))
    return "holds" if evidence[_FAR]["low"] >= 2.0 and beats and hurts else "depends" if beats or hurts else "fails"


@claim(
    "H14",
    "Switching too late is far worse; a well chosen ε > 0 can beat leaving the point out; from some θ₀ every ε > 0 is worse",
    "Figure 4 (a)–(c)",
    rule=Rule(
        "holds if E of a switch at 0.8 T is at least twice that of the best step in the median (lower end of the interval; "
        "instances whose best step ends in the first half), a step beats ε ≡ 0 somewhere, and ε ≡ 0 is certified best (to 1 %) "
        "somewhere; depends if only one of the last two; fails if neither",
        _h14_rule,
    ),
    computed="E of the late switch, of the best step and of ε ≡ 0, and the certificate of ε ≡ 0",
    family=FAMILY,
)
def H14(scale: Scale, progress: Any, *, table: Table = searched) -> Finding:
    """`table(scale)` is what was searched."""
    found = table(scale)
    zero, step, out = found["s"] == 0, found["step"], found["baseline"]
    early = found["tau"] < 0.5 * np.array([told["T"] for told in found["told"]])
    counted, late, gain = early & ~found.reached, found.ratio(found["late"], step), found.ratio(out, step)
    beats, hurts = found.lower(step, out), ~found.lower(found["energy"], out)
    evidence = {
        _FAR: median(late[counted]),
        _BEATS: share(beats[zero]),
        _HURTS: share((hurts & found.certified)[zero]),
        "late switch at least twice as bad": share(late[counted] >= 2.0),
        "E(leaving out) / E(best step) where the step wins": median(gain[zero & beats]),
        "every ε > 0 hurts, by part of the family (all s)": found.shares(hurts, found.strata()),
    }
    worst = found.extreme(
        np.where(counted & (late < 1e6), late, -np.inf), "Switching late costs most", E_late=found["late"], E_step=step,
        E_baseline=out,
    )  # fmt: skip
    groups = {f"switch at {LATE} T\n(best step ends early)": late[counted], "leaving out\n(s = 0)": gain[zero],
              "leaving out, where\na step wins (s = 0)": gain[zero & beats]}  # fmt: skip
    picture = Ratios(groups, "E / E(best step)", f"s = 0: a step wins on {(zero & beats).sum()} of {zero.sum()}",
                     limits=(1e-1, 1e6), line=1.0)  # fmt: skip
    return Finding(evidence, tuple(evidence)[:3], worst, (), picture)


_BEYOND = "instances where another ε(t) beats every single step"


@claim(
    "H15",
    "The optimal ε is a step function: one switch is always enough",
    "General case",
    rule=Rule(
        "fails if on at least one instance an admissible ε(t) has E lower than every single step's by more than 1e-06 "
        "(relative); holds otherwise",
        once(_BEYOND, "fails", "holds"),
    ),
    computed="the best bang-bang ε(t), certified where possible, against the best step 1_[0,τ]; piecewise-constant searches "
    "on networks",
    family=FAMILY + "; 3-neuron networks on 12 points",
    corrected="For one deleted point of a linear regression the best ε(t) takes only the values 0 and 1, with at most 2d − 1 "
    "switches, and mostly none or one; but drop–keep–drop and more switches do occur. In networks ε may lie strictly in between.",
)
def H15(scale: Scale, progress: Any, *, table: Table = searched) -> Finding:
    """`table(scale)` is what was searched."""
    found = table(scale)
    step, best = found["step"], found["energy"]
    beyond = found.lower(best, step)
    kinds, counts = np.unique(found["kind"], return_counts=True)
    seeds = scale.seeds(scale.networks // 5)  # they take most of a minute each
    networks = measure(_network_structure, seeds, progress, "networks", NO_MINIMUM)
    evidence: dict[str, Any] = {
        _BEYOND: share(beyond),
        "E(best step) / E* − 1 there": median((found.ratio(step, best) - 1.0)[beyond & ~found.reached]),
        "instances where bang-bang is certified optimal (to 1 %)": share(found.certified),
        "instances with more than 2d − 1 switches": int(
            ((found["switches"] > 2 * found["d"] - 1) & ~found.reached).sum()
        ),
        "kinds of the best ε(t) on [s, T]": {str(kinds[k]): int(counts[k]) for k in np.argsort(-counts)[:6]},
        "certificates": found.certificates(),
        "networks whose best ε(t) has a stretch strictly between 0 and 1": share(networks["singular arc"]),
        "a step is not enough, by part of the family": found.shares(beyond, found.strata()),
    }
    worst = found.extreme(
        np.where(beyond, (step - best) / found["baseline"], -np.inf), "Counter-example: one switch is not enough",
        best=found["kind"], E_step=step, E_best=best, E_baseline=found["baseline"], switches=found["switches"],
    )  # fmt: skip
    picture = Shares(
        evidence["a step is not enough, by part of the family"], "share of instances where every single step loses",
        f"a single step loses on {beyond.sum()} of {found.rows}",
    )  # fmt: skip
    return Finding(evidence, tuple(evidence)[:3], worst, (), picture)


def _network_structure(seed: int) -> dict[str, Any]:
    """Whether the best ε(t) found for a small network has a singular arc."""
    problem = network(seed, n=12).deleting(seed % 12)
    theta0 = problem.initial(seed)
    target = leave_one_out(problem, theta0=theta0).theta
    best = search(problem, theta0, t1=10.0, family=Levels(pieces=10, starts=2), target=target, rtol=1e-6)
    return {"singular arc": any(arc.kind == "singular" for arc in best.structure)}
