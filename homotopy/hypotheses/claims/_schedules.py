"""H12 to H16: which ε(t) is best? The certified searches of `_searched`, read in five ways."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..._errors import RequestError, WorkError
from ...endpoints import leave_one_out
from ...flow import Greedy, simulate
from ...problem import MLP, Problem, datasets
from ...scheduler import search
from .._evidence import median, share
from .._hypothesis import Finding, Hypothesis, Rule, Scale, Slip
from .._instances import random_batch
from .._searched import Searched, searched

_FAMILY = (
    "random linear problems in d = 1, 2, 5, 20 (a quarter with singular H₋; zero, random and trained starts; low and high "
    "leverage and residual), T·λ_min(H₋) from 0.3 to 5, half with s = 0 and half with s from 0.02 T to 0.5 T; and points "
    "of stackloss"
)
# An energy is lower if it is lower by this much, relatively: far above rounding, far below what anyone cares about.
BETTER = 1e-6
# Staircases stand for decays to about 1e-3.
_DECAY = 5e-3
Table = Callable[[Scale], Searched]


def _lower(a: Any, b: Any, found: Searched, by: float = BETTER) -> Any:
    """Where energy a is lower than energy b."""
    return a + found.floor < b * (1.0 - by)


def _by(found: Searched, hits: Any) -> dict[str, Any]:
    """The share of `hits` in parts of the family."""
    parts: dict[str, Any] = {}
    for d in np.unique(found["d"]):
        parts[f"d = {d}"] = share(hits[found["d"] == d])
    for name, label in (("leverage", "leverage"), ("residual", "|r_j|"), ("horizon", "T·λ_min")):
        low, high = np.quantile(found[name], [1 / 3, 2 / 3])
        parts[f"{label} ≤ {low:.2g}"] = share(hits[found[name] <= low])
        parts[f"{label} > {high:.2g}"] = share(hits[found[name] > high])
    parts["s = 0"], parts["s > 0"] = share(hits[found["s"] == 0]), share(hits[found["s"] > 0])
    for start in np.unique(found["start"]):
        parts[f"start: {start}"] = share(hits[found["start"] == start])
    parts["H₋ singular"] = share(hits[found["singular"]])
    return parts


def _certificates(found: Searched) -> dict[str, int]:
    kinds, counts = np.unique(found["certificate"], return_counts=True)
    return {str(kind): int(count) for kind, count in zip(kinds, counts, strict=True)}


def _ratio(a: Any, b: Any, found: Searched) -> Any:
    """a/b with what is rounding taken as rounding."""
    return np.maximum(a, found.floor) / np.maximum(b, found.floor)


def _extreme(found: Searched, score: Any, what: str, **more: Any) -> dict[str, Any] | None:
    """The row with the largest finite score, identified."""
    score = np.where(np.isfinite(score), score, -np.inf)
    if not len(score) or score.max() == -np.inf:
        return None
    row = int(score.argmax())
    return {"what": what, **found["told"][row], **{name: values[row] for name, values in more.items()}}


# H12 ----------------------------------------------------------------------------------------------------------------


def _h12(scale: Scale, progress: Any, *, table: Table = searched) -> Finding:
    found = table(scale)
    loses = _lower(found["energy"], found["baseline"], found)
    reached = found.reached
    gain = _ratio(found["baseline"], found["energy"], found)
    finite = loses & ~reached
    wins = ~loses & found.certified
    evidence = {
        "instances where another ε(t) beats 1_[0,s]": share(loses),
        "gain E(1_[0,s]) / E* where it loses (and E* > 0)": median(gain[finite]),
        "instances where 1_[0,s] is proven best (to 1 %)": share(wins),
        "instances where θ*₋ is reached exactly in finite time": share(reached),
        "gain of at least 10 %": share(loses & (gain >= 1.1)),
        "certificates": _certificates(found),
        "certified to 1 %": share(found.certified),
        "loses, by part of the family": _by(found, loses),
    }

    def draw(ax: Any) -> None:
        value = np.where(reached, np.nan, np.maximum(gain, 1.0))
        for color, mask, label in (
            ("#0072B2", found.certified, "certified"),
            ("#8A8A8A", ~found.certified, "not certified"),
        ):
            ax.loglog(found["leverage"][mask], value[mask] - 1 + 1e-7, ".", ms=4, alpha=0.6, color=color, label=label)
        ax.set(xlabel="leverage P of the deleted point", ylabel="gain E(1_[0,s])/E* − 1")
        ax.set_title(
            f"1_[0,s] loses on {loses.sum()} of {found.rows}; E* = 0 on {reached.sum()} (not drawn)", fontsize=9.5
        )
        ax.legend(fontsize=8)

    told = _extreme(
        found, np.where(finite & (gain < 1e6), gain, -np.inf), "Largest gain below 10⁶", E_baseline=found["baseline"],
        E_best=found["energy"], best=found["kind"],
    )  # fmt: skip
    return Finding(evidence, tuple(evidence)[:3], told, (), draw)


H12 = Hypothesis(
    "H12",
    "1_[0,s] is not the minimiser for every instance of the problem",
    "Text below Figure 4",
    _h12,
    Rule(
        "holds if an admissible ε(t) with E lower by more than 1e-06 (relative) is found on at least one instance: that "
        "schedule is itself the proof; fails otherwise",
        lambda evidence: "holds" if evidence["instances where another ε(t) beats 1_[0,s]"]["count"] else "fails",
    ),
    "the best bang-bang ε(t) by exact search, with a lower bound on every admissible ε(t) where one applies",
    _FAMILY,
    "1_[0,s] was best on every instance that was searched.",
)


# H13 ----------------------------------------------------------------------------------------------------------------


def _h13(scale: Scale, progress: Any, *, table: Table = searched) -> Finding:
    found = table(scale)
    decay = np.minimum(found["linear"], found["polynomial"])
    decays_win = _lower(decay, found["step"], found, _DECAY)
    steps_win = _lower(found["step"], decay, found, _DECAY)
    matters = _ratio(found["baseline"], found["step"], found) > 1.1  # a step other than 1_[0,s] is worth it
    below = decay < found["lower"] * (1.0 - _DECAY)
    ratio = _ratio(decay, found["step"], found)
    most = np.argsort(-np.where(found.reached, 0.0, _ratio(found["baseline"], found["step"], found)))[
        : max(found.rows // 20, 1)
    ]
    evidence = {
        "instances where no linear or polynomial decay beats the best step": share(~decays_win),
        "the same where some step gains 10 % on 1_[0,s]": share(~decays_win[matters]),
        "E(best decay) / E(best step) − 1": median(ratio[~found.reached] - 1.0),
        "a decay wins among the 5 % of the instances where a step gains most": share(decays_win[most]),
        "instances where the best step beats every decay": share(steps_win),
        "instances where a linear decay alone beats the best step": share(
            _lower(found["linear"], found["step"], found, _DECAY)
        ),
        "decays below the certified bound of all ε(t)": int(below.sum()),
        "a decay wins, by part of the family": _by(found, decays_win),
    }

    def draw(ax: Any) -> None:
        value = ratio[~found.reached]
        bins = np.geomspace(max(value.min(), 0.2), min(max(value.max(), 1.2), 30.0), 40)
        ax.hist(np.clip(value, bins[0], bins[-1]), bins=bins, color="#0072B2", alpha=0.8)
        ax.axvline(1.0, color="#D55E00", lw=1)
        ax.set(xscale="log", xlabel="E(best linear or polynomial decay) / E(best step)", ylabel="instances")
        lost = int(decays_win.sum())
        ax.set_title(f"left of the line a decay is better: {lost} of {found.rows}", fontsize=9.5)

    told = _extreme(
        found, np.where(decays_win & (~found.reached), (found["step"] - decay) / found["baseline"], -np.inf),
        "A decay that beats every single step", E_step=found["step"], E_linear=found["linear"],
        E_polynomial=found["polynomial"], E_best=found["energy"],
    )  # fmt: skip
    return Finding(evidence, tuple(evidence)[:3], told, (), draw)


def _h13_rule(evidence: Any) -> Any:
    if evidence["decays below the certified bound of all ε(t)"]:
        raise WorkError("a decay lies below the certified lower bound: one of the two is wrong")
    everywhere = evidence["instances where no linear or polynomial decay beats the best step"]
    matters = evidence["the same where some step gains 10 % on 1_[0,s]"]
    if everywhere["high"] < 0.5:
        return "fails"
    return "holds" if min(everywhere["low"], matters["low"]) >= 0.9 else "depends"


H13 = Hypothesis(
    "H13",
    "A step is better than a linear or polynomial decay",
    "Figure 4 (d) and the text below it",
    _h13,
    Rule(
        "holds if no decay beats the best step (by 0.5 % of E) on at least 90 % of all instances and of those where a step "
        "gains 10 % on 1_[0,s], with 95 % confidence; fails if decays win on most; depends otherwise",
        _h13_rule,
    ),
    "the best step over τ, the best linear decay over t₁, the best polynomial one over t₁ and powers 1/3, 1/2, 2, 3",
    _FAMILY,
    "The best bang-bang ε(t) is never worse than a decay (where certified, nothing is better). A single step may be: where "
    "the best ε(t) waits first, or E* = 0 is out of reach of one step, a decay that spreads the weight comes nearer.",
)


# H14 ----------------------------------------------------------------------------------------------------------------


def _h14(scale: Scale, progress: Any, *, table: Table = searched) -> Finding:
    found = table(scale)
    zero = found["s"] == 0
    early = found["tau"] < 0.5 * np.array([told["T"] for told in found["told"]])
    late = _ratio(found["late"], found["step"], found)
    beats = zero & _lower(found["step"], found["baseline"], found)
    hurts = zero & ~_lower(found["energy"], found["baseline"], found) & found.certified
    counted = early & (~found.reached)
    evidence = {
        "E(switch at 0.8 T) / E(best step), where the best step ends in the first half": median(late[counted]),
        "s = 0: instances where a well chosen step beats leaving out": share(beats[zero]),
        "s = 0: instances where every ε > 0 is proven no better than leaving out": share(hurts[zero]),
        "late switch at least twice as bad": share(late[counted] >= 2.0),
        "E(leaving out) / E(best step) where the step wins": median(
            _ratio(found["baseline"], found["step"], found)[beats]
        ),
        "every ε > 0 hurts, by part of the family (all s)": _by(
            found, ~_lower(found["energy"], found["baseline"], found)
        ),
    }

    def draw(ax: Any) -> None:
        gain = _ratio(found["baseline"], found["step"], found)[zero]
        cost = _ratio(found["late"], found["baseline"], found)[zero]
        ax.loglog(np.clip(gain, 1, 1e6), np.clip(cost, 1e-6, 1e6), ".", color="#0072B2", ms=4, alpha=0.6)
        ax.axhline(1, color="#8A8A8A", lw=0.8)
        ax.set(
            xlabel="E(leaving out) / E(best step)   (1: every step hurts)", ylabel="E(switch at 0.8 T) / E(leaving out)"
        )
        ax.set_title(f"s = 0: a step wins on {beats.sum()} of {zero.sum()}", fontsize=9.5)

    told = _extreme(found, np.where(counted & (late < 1e6), late, -np.inf), "Switching late costs most", E_late=found["late"],
                    E_step=found["step"], E_baseline=found["baseline"])  # fmt: skip
    return Finding(evidence, tuple(evidence)[:3], told, (), draw)


def _h14_rule(evidence: Any) -> Any:
    far = evidence["E(switch at 0.8 T) / E(best step), where the best step ends in the first half"]["low"] >= 2.0
    beats = evidence["s = 0: instances where a well chosen step beats leaving out"]["count"] > 0
    hurts = evidence["s = 0: instances where every ε > 0 is proven no better than leaving out"]["count"] > 0
    return "holds" if far and beats and hurts else "depends" if beats or hurts else "fails"


H14 = Hypothesis(
    "H14",
    "Switching too late is far worse; a well chosen ε > 0 can beat leaving the point out; from some θ₀ every ε > 0 is worse",
    "Figure 4 (a)–(c)",
    _h14,
    Rule(
        "holds if E of a switch at 0.8 T is at least twice that of the best step in the median (lower end of the interval; "
        "instances whose best step ends in the first half), a step beats ε ≡ 0 somewhere, and ε ≡ 0 is certified best (to 1 %) "
        "somewhere; depends if only one of the last two; fails if neither",
        _h14_rule,
    ),
    "E of the late switch, of the best step and of ε ≡ 0, and the certificate of ε ≡ 0",
    _FAMILY,
)


# H15 ----------------------------------------------------------------------------------------------------------------


def _h15(scale: Scale, progress: Any, *, table: Table = searched) -> Finding:
    found = table(scale)
    beyond = _lower(found["energy"], found["step"], found)
    within_bound = (found["switches"] <= 2 * found["d"] - 1) | (found.reached)
    kinds, counts = np.unique(found["kind"], return_counts=True)
    order = np.argsort(-counts)
    networks = _network_structures(scale, progress)
    gain = _ratio(found["step"], found["energy"], found)
    finite = beyond & (~found.reached)
    evidence = {
        "instances where another ε(t) beats every single step": share(beyond),
        "E(best step) / E* − 1 there": median(gain[finite] - 1.0),
        "instances where bang-bang is certified optimal (to 1 %)": share(found.certified),
        "instances with more than 2d − 1 switches": int((~within_bound).sum()),
        "kinds of the best ε(t) on [s, T]": {str(kinds[k]): int(counts[k]) for k in order[:6]},
        "certificates": _certificates(found),
        "networks whose best ε(t) has a stretch strictly between 0 and 1": share(networks),
        "a step is not enough, by part of the family": _by(found, beyond),
    }

    def draw(ax: Any) -> None:
        names, values = kinds[order[:6]][::-1], counts[order[:6]][::-1]
        ax.barh(range(len(names)), values, color="#0072B2")
        ax.set_yticks(range(len(names)), [str(name) for name in names])
        ax.set(xlabel="instances")
        ax.set_title(f"best ε(t) on [s, T]; a single step loses on {beyond.sum()} of {found.rows}", fontsize=9.5)

    told = _extreme(
        found, np.where(beyond, (found["step"] - found["energy"]) / found["baseline"], -np.inf),
        "Counter-example: one switch is not enough", best=found["kind"], E_step=found["step"], E_best=found["energy"],
        E_baseline=found["baseline"], switches=found["switches"],
    )  # fmt: skip
    return Finding(evidence, tuple(evidence)[:3], told, (), draw)


def _network_structures(scale: Scale, progress: Any) -> list[bool]:
    """Whether the best ε(t) found for small networks has a singular arc."""
    found = []
    count = scale.networks // 5  # they take most of a minute each
    with progress.task("networks", count) as advance:
        for seed in scale.seeds(count):
            problem = Problem(MLP(width=3), datasets.teacher_student(n=12, seed=seed), delete=seed % 12, ridge=1e-2)
            theta0 = problem.initial(seed)
            try:
                target = leave_one_out(problem, theta0=theta0).theta
                best = search(
                    problem, theta0, t1=10.0, family="piecewise-constant", target=target, pieces=10, starts=2, rtol=1e-6
                )
            except (WorkError, RequestError):
                continue
            found.append(any(arc.kind == "singular" for arc in best.structure))
            advance(1)
    return found


H15 = Hypothesis(
    "H15",
    "The optimal ε is a step function: one switch is always enough",
    "General case",
    _h15,
    Rule(
        "fails if on at least one instance an admissible ε(t) has E lower than every single step's by more than 1e-06 "
        "(relative); holds otherwise",
        lambda evidence: (
            "fails" if evidence["instances where another ε(t) beats every single step"]["count"] else "holds"
        ),
    ),
    "the best bang-bang ε(t), certified where possible, against the best step 1_[0,τ]; piecewise-constant searches on networks",
    _FAMILY + "; 3-neuron networks on 12 points",
    "For one deleted point of a linear regression the best ε(t) takes only the values 0 and 1, with at most 2d − 1 switches, "
    "and mostly none or one; but drop–keep–drop and more switches do occur. In networks ε may lie strictly in between.",
)


# H16 ----------------------------------------------------------------------------------------------------------------


def _h16(scale: Scale, progress: Any, *, table: Table = searched) -> Finding:
    found = table(scale)
    reached = found.reached
    # Decided 4000 times, greedy cannot be told from the optimum below 1 %, nor from E = 0 below 1e-6 of the start.
    near = (found["greedy"] <= 1.01 * found["energy"]) | (found["greedy"] <= 1e-6 * found["size"])
    ratio = _ratio(found["greedy"], found["energy"], found)
    worse = _lower(found["baseline"], found["greedy"], found, 0.01) & (found["greedy"] > 1e-6 * found["size"])
    evidence = {
        "instances where greedy is optimal (to 1 %)": share(near),
        "E(greedy) / E* where it is not (E* > 0)": median(ratio[~near & ~reached]),
        "instances where greedy keeps ε = 0 throughout": share(found["greedy_on"] == 0),
        "instances where greedy is worse than 1_[0,s]": share(worse),
        "sampled greedy against the event-driven one: largest relative difference of E": _events(scale),
        "greedy is optimal, by part of the family": _by(found, near),
    }

    def draw(ax: Any) -> None:
        value = np.clip(ratio[~reached], 1.0, 1e4) - 1 + 1e-5
        for d in np.unique(found["d"]):
            ax.plot(np.sort(value[found["d"][~reached] == d]), np.linspace(0, 1, int((found["d"][~reached] == d).sum())),
                    lw=1.4, label=f"d = {d}")  # fmt: skip
        ax.set(xscale="log", xlabel="E(greedy)/E* − 1", ylabel="share of instances below")
        ax.set_title(f"greedy is optimal (to 1 %) on {near.sum()} of {found.rows}", fontsize=9.5)
        ax.legend(fontsize=8)

    told = _extreme(
        found, np.where(~near, (found["greedy"] - found["energy"]) / found["baseline"], -np.inf),
        "Counter-example: greedy is not optimal", E_greedy=found["greedy"], E_best=found["energy"],
        E_baseline=found["baseline"], best=found["kind"],
    )  # fmt: skip
    return Finding(evidence, tuple(evidence)[:3], told, _slips(scale), draw)


def _events(scale: Scale) -> float:
    """E of the sampled greedy schedule against the package's, which finds its switches as events (four problems in d = 2)."""
    from ...scheduler import linear_control, window
    from .._searched import greedy_energy

    batch = random_batch(scale, 2, min(scale.searches, 8))
    batch = batch.take(~batch.singular)
    differences = []
    for row in range(min(batch.rows, 4)):
        problem, theta0 = batch.problem(row), batch.theta0[row]
        t1 = float(1.0 / np.linalg.eigvalsh(batch.moments(0.0)[0][row])[0])
        target = leave_one_out(problem).theta
        end = simulate(problem, Greedy(target), theta0, t1=t1, ts=[t1]).theta1
        energy = 0.5 * float(np.sum((np.asarray(end) - np.asarray(target)) ** 2))
        here = window(linear_control(problem, theta0), 0.0, t1)
        differences.append(abs(greedy_energy(here)[0] - energy) / (energy + 1e-6 * float(here.begin @ here.begin)))
    return float(max(differences, default=0.0))


def _slips(scale: Scale) -> tuple[Slip, ...]:
    """θ̇(0) and the last example of the notes, against the flow itself."""
    velocity, example = [0.0, 0.0], [0.0, 0.0]
    batch = random_batch(scale, 2)
    batch = batch.take(~batch.singular)
    rng = np.random.default_rng(scale.seed)
    for row in range(batch.rows):
        epsilon = float(rng.uniform(0.1, 1.0))
        hessian, drive = (moment[row] for moment in batch.moments(epsilon))
        theta0, rest = batch.theta0[row], np.linalg.solve(hessian, drive)
        truth = drive - hessian @ theta0
        notes = -hessian @ theta0 + (np.eye(batch.dim) + hessian) @ rest
        for k, value in enumerate((notes, hessian @ (rest - theta0))):
            velocity[k] = max(velocity[k], float(np.linalg.norm(value - truth) / (np.linalg.norm(truth) + 1e-12)))
        y1, y2 = rng.standard_normal(2)
        end = (epsilon * y1 + y2) / (1 + epsilon)  # where ε(y₁ − θ) + (y₂ − θ) = 0
        speed = [epsilon * (y1 - value) + (y2 - value) for value in (epsilon * y1 + y2, end)]
        example = [max(old, abs(new)) for old, new in zip(example, speed, strict=True)]
    return (
        Slip("before the value of 0.15", "(Id + H_ε)(θ_ε − θ₀) + θ₀ as θ̇(0)", "θ̇(0) = H_ε(θ_ε − θ₀)", velocity[0], velocity[1]),
        Slip("last example", "equilibrium εy₁ + y₂", "(εy₁ + y₂)/(1 + ε)", example[0], example[1]),
    )  # fmt: skip


H16 = Hypothesis(
    "H16",
    "Moving at each instant as fast as possible towards θ*₋ (0.15) gives the optimal ε, which is ε = 0 always",
    "General case, eq. 0.15",
    _h16,
    Rule(
        "holds if greedy is optimal (E within 1 %) on at least 99 % of the instances and keeps ε = 0 on as many; fails if on "
        "at least one instance greedy is not optimal and on at least one it uses ε > 0; depends otherwise",
        lambda evidence: (
            "holds"
            if evidence["instances where greedy is optimal (to 1 %)"]["share"] >= 0.99
            and evidence["instances where greedy keeps ε = 0 throughout"]["share"] >= 0.99
            else "fails"
            if evidence["instances where greedy is optimal (to 1 %)"]["share"] < 1
            and evidence["instances where greedy keeps ε = 0 throughout"]["share"] < 1
            else "depends"
        ),
    ),
    "greedy decided 4000 times on [s, T] (sliding is the mean of its decisions), against the certified optimum",
    _FAMILY,
    "Greedy looks one instant ahead: it is often optimal, but where the pull of the point must be timed it is not, and it "
    "does use ε = 1 wherever the deleted residual pulls θ towards θ*₋.",
)
