"""H19, H23: unlearning. Descent-to-Delete against Rewind-to-Delete, and soft weights against deletion."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..._errors import WorkError
from ...endpoints import leave_one_out, optimum
from ...flow import Step, simulate
from ...problem import Dataset, LogisticRegression, Problem
from ...unlearning import DemographicParity, Utility, hard_removal, soft_weights, solve_weighted
from .._evidence import median, share
from .._hypothesis import Finding, Hypothesis, Rule, Scale
from ._networks import network, some_points

_SHARES = np.array([0.0, 0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98, 1.0])  # K/T of the rewinding
_LEFT = 0.1  # of the point's effect
_TIME = 60.0  # T of the networks (sum convention)
_POINTS = 3


def _convex(seed: int) -> Problem:
    """Logistic regression on 40 points in three dimensions, with a ridge: strongly convex."""
    rng = np.random.default_rng([seed, 19])
    x = np.column_stack([rng.standard_normal((40, 2)), np.ones(40)])
    y = (x[:, 0] + 0.7 * rng.standard_normal(40) > 0).astype(int)
    y[:2] = 0, 1
    return Problem(LogisticRegression(), Dataset(x, y), delete=2, ridge=0.4)


@eqx.filter_jit
def _rewound(problem: Problem, theta0: Any, switches: Any, t1: Any) -> Any:
    """θ(T) of 1_[0,s] for every s: what R2D gives from the checkpoint at s."""

    def one(s: Any) -> Any:
        return simulate(problem, Step(s), theta0, t1=t1, ts=t1[None], method="diffrax", rtol=1e-7, atol=1e-9).theta1

    return jax.lax.map(one, switches)


def _h19(scale: Scale, progress: Any, *, rewind: Any = _rewound) -> Finding:
    needed: dict[str, list[float]] = {"convex": [], "networks": []}
    curves: dict[str, list[Any]] = {"convex": [], "networks": []}
    limits: dict[str, list[float]] = {"convex": [], "networks": []}
    exact = []
    told: list[dict[str, Any]] = []
    with progress.task("D2D and R2D", 2 * scale.networks) as advance:
        for kind in needed:
            for seed in scale.seeds(scale.networks):
                problem = _convex(seed) if kind == "convex" else network(seed)
                theta0 = jnp.zeros(problem.dim) if kind == "convex" else problem.initial(seed)
                time = 4.0 if kind == "convex" else _TIME
                for point in some_points(seed, problem.n, _POINTS):
                    here = problem.deleting(point)
                    found = _one(here, theta0, time, rewind)
                    if found is None:
                        continue
                    left, gap = found
                    exact.append(left[-1])
                    curves[kind].append(left)
                    needed[kind].append(_enough(left))
                    limits[kind].append(gap)
                    one = {
                        "seed": seed,
                        "kind": kind,
                        "deleted": point,
                        "D2D ends off by": gap,
                        "K/T": needed[kind][-1],
                    }
                    told.append(one)
                advance(1)
    evidence = {
        "networks: K/T that leaves 10 % of the point's effect (R2D)": median(needed["networks"]),
        "convex: K/T that leaves 10 % of the point's effect (R2D)": median(needed["convex"]),
        "networks: D2D for ever ends elsewhere than retraining": share(np.array(limits["networks"]) > _LEFT),
        "convex: D2D for ever ends elsewhere than retraining": share(np.array(limits["convex"]) > 1e-4),
        "R2D at K = T: largest part of the effect that is left": float(max(exact, default=0.0)),
        "instances": len(told),
    }

    def draw(ax: Any) -> None:
        for kind, color in (("convex", "#0072B2"), ("networks", "#D55E00")):
            if curves[kind]:
                low, middle, high = np.quantile(np.maximum(np.array(curves[kind]), 1e-6), [0.25, 0.5, 0.75], axis=0)
                ax.fill_between(_SHARES, low, high, color=color, alpha=0.2, lw=0)
                ax.semilogy(_SHARES, middle, "o-", ms=3, color=color, label=f"{kind} (median, quartiles)")
        ax.axhline(_LEFT, color="#8A8A8A", lw=0.8, ls="--")
        ax.set(xlabel="rewound steps K / training steps T", ylabel="effect of the point that is left", ylim=(1e-6, 3))
        ax.set_title("how far must one rewind?", fontsize=9.5)
        ax.legend(fontsize=8)

    worst = max(told, key=lambda row: row["D2D ends off by"], default=None)
    shown = None if worst is None else {"what": "D2D farthest from retraining", **worst}
    return Finding(evidence, tuple(evidence)[:3], shown, (), draw if told else None)


def _enough(left: Any) -> float:
    """The least K/T from which on at most 10 % of the effect is left."""
    largest_from_here = np.maximum.accumulate(left[::-1])[::-1]
    fine = np.flatnonzero(largest_from_here <= _LEFT)
    return float(_SHARES[fine[0]]) if fine.size else 1.0


def _one(problem: Problem, theta0: Any, time: float, rewind: Any) -> tuple[Any, float] | None:
    """The part of the point's effect (in outputs) that R2D leaves, for each K/T; and that D2D leaves for ever."""
    ends = rewind(problem, theta0, jnp.asarray(time * (1.0 - _SHARES)), jnp.asarray(time))
    outputs = np.asarray(jax.vmap(problem.predict)(ends))
    again = np.asarray(problem.predict(_rewound(problem, theta0, jnp.zeros(1), jnp.asarray(time))[0]))
    effect = float(np.linalg.norm(outputs[0] - again))
    if effect < 1e-9:
        return None
    try:
        cold = problem.predict(leave_one_out(problem, theta0=theta0).theta)
        warm = problem.predict(leave_one_out(problem, theta0=ends[0]).theta)
    except WorkError:  # no limit to compare
        return None
    return np.linalg.norm(outputs - again, axis=1) / effect, float(jnp.linalg.norm(warm - cold)) / effect


def _h19_rule(evidence: Any) -> Any:
    convex = evidence["convex: D2D for ever ends elsewhere than retraining"]
    if evidence["R2D at K = T: largest part of the effect that is left"] > 1e-3 or convex["count"]:
        return "fails"
    needs = evidence["networks: D2D for ever ends elsewhere than retraining"]["count"] > 0
    name = "K/T that leaves 10 % of the point's effect (R2D)"
    few = [evidence[f"{kind}: {name}"]["high"] <= 0.5 for kind in ("networks", "convex")]
    return "holds" if needs and all(few) else "depends"


H19 = Hypothesis(
    "H19",
    "Descent-to-Delete needs convexity, Rewind-to-Delete does not, and needs far fewer steps than retraining",
    "Algorithm implementations: D2D vs R2D",
    _h19,
    Rule(
        "fails if R2D with K = T is not retraining (more than 0.1 % of the point's effect left) or D2D misses the optimum of a "
        "convex risk; holds if besides D2D ends elsewhere than retraining on some network, and at most half of the steps leave "
        "10 % of the point's effect in both families (upper end of the interval of the median); depends otherwise",
        _h19_rule,
    ),
    "θ(T) of 1_[0,T−K] for nine K against retraining (K = T), in outputs; the limit of D2D against the limit of retraining",
    "logistic regressions on 40 points (ridge 0.4, T = 4), 3-neuron networks on 20 points (ridge 0.01, T = 60); three points "
    "of each",
    "D2D reaches the optimum of a strictly convex risk; R2D with K = T is retraining, always. With fewer steps R2D leaves as "
    "much of the point's effect as the flow does not contract over the last K.",
)


# H23 ----------------------------------------------------------------------------------------------------------------


def _biased(seed: int) -> tuple[Problem, DemographicParity, Utility, Dataset]:
    """Logistic regression on 120 points of two groups, one favoured by the labels; its fairness gap and utility on others."""
    rng = np.random.default_rng([seed, 23])

    def draw(n: int) -> tuple[Any, Any, Any]:
        group = rng.integers(0, 2, n)
        x = np.column_stack([rng.standard_normal((n, 3)), group, np.ones(n)])
        logit = x[:, 0] - 0.7 * x[:, 1] + 1.2 * (group - 0.5)
        return x, (logit + rng.logistic(size=n) > 0).astype(int), group

    x, y, _ = draw(120)
    vx, vy, vg = draw(300)
    tx, ty, _ = draw(1000)
    problem = Problem(LogisticRegression(), Dataset(x, y), delete=0, ridge=0.5)
    return problem, DemographicParity(vx, vg), Utility(Dataset(vx, vy)), Dataset(tx, ty)


def _retrained(made: Any, theta: Any, changes: Any) -> tuple[float, float]:
    """Test loss added, and part of the fairness gap that is left, when trained again with the weights 1 + w."""
    problem, fairness, _, test = made
    again, _ = solve_weighted(problem, jnp.asarray(1.0 + np.asarray(changes)), theta)
    before, after = (float(Utility(test).soft(problem, at)) for at in (theta, again))
    return after - before, float(fairness.soft(problem, again)) / float(fairness.soft(problem, theta))


def _h23(scale: Scale, progress: Any, *, soft: Any = soft_weights) -> Finding:
    costs, gaps = [], []
    told: list[dict[str, Any]] = []
    with progress.task("soft weights and deletion", scale.networks) as advance:
        for seed in scale.seeds(scale.networks * 2):
            made = problem, fairness, utility, _ = _biased(seed)
            theta = optimum(problem).theta
            if abs(float(fairness.soft(problem, theta))) < 0.02:  # nothing to mend
                continue
            ours = _retrained(made, theta, soft(problem, theta, fairness, utility, share=0.5).weights)
            # As many deletions as take no more of the gap than the soft weights do, or one: deletion is asked for less.
            theirs = _retrained(made, theta, hard_removal(problem, theta, fairness, utility, count=1).weights)
            for count in range(2, problem.n // 4):
                more = _retrained(made, theta, hard_removal(problem, theta, fairness, utility, count=count).weights)
                if more[1] < ours[1]:
                    break
                theirs = more
            costs.append((ours[0], theirs[0]))
            gaps.append((ours[1], theirs[1]))
            told.append({"seed": seed, "loss added by soft weights": ours[0], "by deletion": theirs[0],
                         "gap left": [ours[1], theirs[1]]})  # fmt: skip
            advance(0.5)
    cost, left = np.array(costs).reshape(-1, 2), np.array(gaps).reshape(-1, 2)
    evidence = {
        "data sets where soft weights cost less test loss than deletion": share(cost[:, 0] < cost[:, 1]),
        "test loss added by soft weights": median(cost[:, 0]),
        "test loss added by deletion": median(cost[:, 1]),
        "part of the fairness gap that soft weights leave (retrained)": median(left[:, 0]),
        "part of the fairness gap that deletion leaves (retrained)": median(left[:, 1]),
        "data sets": len(cost),
    }

    def draw(ax: Any) -> None:
        ax.plot(cost[:, 1], cost[:, 0], ".", ms=6, alpha=0.7, color="#0072B2")
        low, high = min(cost.min(), 0.0), cost.max()
        ax.plot([low, high], [low, high], "-", color="#222222", lw=0.8)
        ax.set(xlabel="test loss added by deletion", ylabel="test loss added by soft weights")
        ax.set_title("below the line soft weights keep more utility", fontsize=9.5)

    worst = max(told, key=lambda row: row["loss added by soft weights"] - row["by deletion"], default=None)
    shown = None if worst is None else {"what": "Best for deletion", **worst}
    return Finding(evidence, tuple(evidence)[:3], shown, (), draw if told else None)


H23 = Hypothesis(
    "H23",
    "Soft weights keep more utility than deletion, for the same gain in fairness",
    "Other interesting things, [10]",
    _h23,
    Rule(
        "holds if on more than half of the data sets (95 % confidence) the soft weights add less test loss than deleting "
        "points that take no more of the fairness gap; fails if on less than half; depends otherwise",
        lambda evidence: (
            "holds"
            if evidence["data sets where soft weights cost less test loss than deletion"]["low"] > 0.5
            else "fails"
            if evidence["data sets where soft weights cost less test loss than deletion"]["high"] < 0.5
            else "depends"
        ),
    ),
    "the smallest weights that take half of the demographic-parity gap, and as many deletions as take no more of it; the model "
    "trained again with either, test loss on 1000 new points",
    "logistic regressions on 120 points of two groups, labels biased towards one (ridge 0.5)",
    "Deletions are the corners of the box of weights: what both change to first order, the smallest weights change with less.",
)
