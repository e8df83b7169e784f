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
from .._evidence import majority, median, share
from .._hypothesis import Finding, Rule, Scale, claim
from .._instances import network, some_points
from .._measure import measure
from .._pictures import Correlation, Curves

_SHARES = np.array([0.0, 0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98, 1.0])  # K/T of the rewinding
_LEFT = 0.1  # of the point's effect
_TIMES = {"convex": 4.0, "networks": 60.0}  # T (sum convention)
_NEEDED = "K/T that leaves 10 % of the point's effect (R2D)"
_ELSEWHERE = "D2D for ever ends elsewhere than retraining"
_REST = "R2D at K = T: largest part of the effect that is left"


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


def _h19_rule(evidence: Any) -> Any:
    convex, networks = (evidence[f"{kind}: {_ELSEWHERE}"]["count"] for kind in ("convex", "networks"))
    if evidence[_REST] > 1e-3 or convex:
        return "fails"
    few = [evidence[f"{kind}: {_NEEDED}"]["high"] <= 0.5 for kind in ("networks", "convex")]
    return "holds" if networks > 0 and all(few) else "depends"


@claim(
    "H19",
    "Descent-to-Delete needs convexity, Rewind-to-Delete does not, and needs far fewer steps than retraining",
    "Algorithm implementations: D2D vs R2D",
    rule=Rule(
        "fails if R2D with K = T is not retraining (more than 0.1 % of the point's effect left) or D2D misses the optimum of a "
        "convex risk; holds if besides D2D ends elsewhere than retraining on some network, and at most half of the steps leave "
        "10 % of the point's effect in both families (upper end of the interval of the median); depends otherwise",
        _h19_rule,
    ),
    computed="θ(T) of 1_[0,T−K] for nine K against retraining (K = T), in outputs; the limit of D2D against the limit of "
    "retraining",
    family="logistic regressions on 40 points (ridge 0.4, T = 4), 3-neuron networks on 20 points (ridge 0.01, T = 60); three "
    "points of each",
    corrected="D2D reaches the optimum of a strictly convex risk; R2D with K = T is retraining, always. With fewer steps R2D "
    "leaves as much of the point's effect as the flow does not contract over the last K.",
)
def H19(scale: Scale, progress: Any) -> Finding:
    units = [{"seed": seed, "kind": kind, "deleted": point} for kind, n in (("convex", 40), ("networks", 20))
             for seed in scale.seeds(scale.networks) for point in some_points(seed, n, 3)]  # fmt: skip
    found = measure(_left, units, progress, "D2D and R2D", (WorkError,))  # without a limit nothing can be compared
    parts = {kind: found.where(found["kind"] == kind) for kind in ("networks", "convex")}
    evidence = {
        **{f"{kind}: {_NEEDED}": median(part["K/T"]) for kind, part in parts.items()},
        f"networks: {_ELSEWHERE}": share(parts["networks"]["D2D ends off by"] > _LEFT),
        f"convex: {_ELSEWHERE}": share(parts["convex"]["D2D ends off by"] > 1e-4),
        _REST: float(found["left"][:, -1].max()) if found.rows else 0.0,
        "instances": found.rows,
    }
    worst = found.extreme(found["D2D ends off by"], "D2D farthest from retraining", "D2D ends off by", "K/T")
    picture = Curves(
        _SHARES, {kind: part["left"] for kind, part in reversed(parts.items())},
        ("rewound steps K / training steps T", "effect of the point that is left"), "how far must one rewind?",
        log="y", floor=1e-6, level=_LEFT,
    )  # fmt: skip
    return Finding(evidence, tuple(evidence)[:3], worst, (), picture if found.rows else None)


def _left(seed: int, kind: str, deleted: int) -> dict[str, Any] | None:
    """The part of the point's effect (in outputs) that R2D leaves, for each K/T; and that D2D leaves for ever."""
    problem = (_convex(seed) if kind == "convex" else network(seed)).deleting(deleted)
    theta0 = jnp.zeros(problem.dim) if kind == "convex" else problem.initial(seed)
    time = jnp.asarray(_TIMES[kind])
    ends = _rewound(problem, theta0, time * (1.0 - _SHARES), time)
    outputs = np.asarray(jax.vmap(problem.predict)(ends))
    again = np.asarray(problem.predict(_rewound(problem, theta0, jnp.zeros(1), time)[0]))
    effect = float(np.linalg.norm(outputs[0] - again))
    if effect < 1e-9:
        return None
    cold, warm = (problem.predict(leave_one_out(problem, theta0=theta).theta) for theta in (theta0, ends[0]))
    left = np.linalg.norm(outputs - again, axis=1) / effect
    enough = np.flatnonzero(np.maximum.accumulate(left[::-1])[::-1] <= _LEFT)  # from there on little is left
    return {"kind": kind, "left": left, "D2D ends off by": float(jnp.linalg.norm(warm - cold)) / effect,
            "K/T": float(_SHARES[enough[0]]) if enough.size else 1.0}  # fmt: skip


_CHEAPER = "data sets where soft weights cost less test loss than deletion"


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


@claim(
    "H23",
    "Soft weights keep more utility than deletion, for the same gain in fairness",
    "Other interesting things, [10]",
    rule=Rule(
        "holds if on more than half of the data sets (95 % confidence) the soft weights add less test loss than deleting "
        "points that take no more of the fairness gap; fails if on less than half; depends otherwise",
        majority(_CHEAPER),
    ),
    computed="the smallest weights that take half of the demographic-parity gap, and as many deletions as take no more of it; "
    "the model trained again with either, test loss on 1000 new points",
    family="logistic regressions on 120 points of two groups, labels biased towards one (ridge 0.5)",
    corrected="Deletions are the corners of the box of weights: what both change to first order, the smallest weights change "
    "with less.",
)
def H23(scale: Scale, progress: Any, *, soft: Any = soft_weights) -> Finding:
    """`soft` is what is called soft weights."""

    def costs(seed: int) -> dict[str, Any] | None:
        made = problem, fairness, utility, _ = _biased(seed)
        theta = optimum(problem).theta
        if abs(float(fairness.soft(problem, theta))) < 0.02:  # nothing to mend
            return None

        def deleted(count: int) -> tuple[float, float]:
            return _retrained(made, theta, hard_removal(problem, theta, fairness, utility, count=count).weights)

        ours = _retrained(made, theta, soft(problem, theta, fairness, utility, share=0.5).weights)
        # As many deletions as take no more of the gap than the soft weights do, or one: deletion is asked for less.
        theirs = deleted(1)
        for count in range(2, problem.n // 4):
            more = deleted(count)
            if more[1] < ours[1]:
                break
            theirs = more
        return {"loss added by soft weights": ours[0], "by deletion": theirs[0], "gap left": [ours[1], theirs[1]]}

    found = measure(costs, scale.seeds(2 * scale.networks), progress, "soft weights and deletion")
    ours, theirs = found["loss added by soft weights"], found["by deletion"]
    left = found["gap left"].reshape(-1, 2)
    evidence = {
        _CHEAPER: share(ours < theirs),
        "test loss added by soft weights": median(ours),
        "test loss added by deletion": median(theirs),
        "part of the fairness gap that soft weights leave (retrained)": median(left[:, 0]),
        "part of the fairness gap that deletion leaves (retrained)": median(left[:, 1]),
        "data sets": found.rows,
    }
    worst = found.extreme(ours - theirs, "Best for deletion", "loss added by soft weights", "by deletion", "gap left")
    picture = Correlation(
        theirs, ours, ("test loss added by deletion", "test loss added by soft weights"),
        "below the line soft weights keep more utility", formula=np.asarray,
    )  # fmt: skip
    return Finding(evidence, tuple(evidence)[:3], worst, (), picture if found.rows else None)
