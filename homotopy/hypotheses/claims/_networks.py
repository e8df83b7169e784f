"""H02, H03, H06: networks. What influence functions estimate there, which gap is largest, and how straight θ(ε) is."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..._errors import WorkError
from ..._statistics import rank_correlation
from ...endpoints import GAPS, decompose_errors, leave_one_out, path, pbrf, pbrf_linearised
from ...problem import MLP, Dataset, LinearRegression, Problem, datasets
from .._evidence import correlation, median, share
from .._hypothesis import Finding, Rule, Scale, Slip, claim
from .._instances import Batch, network, over_rows, random_batch, relative, some_points, trained
from .._measure import NO_MINIMUM, Table, measure
from .._pictures import Correlation, Ratios, Shares

_DAMPING = 0.01  # λ, mean convention


_NEARER = "points where influence is nearer to the PBRF than to warm and cold retraining"
_RANKS = "rank correlation of loss changes with the PBRF, warm, cold retraining"


def _h02_rule(evidence: Any) -> Any:
    if evidence[_NEARER]["high"] <= 0.5:
        return "fails"
    return "holds" if evidence[_NEARER]["low"] >= 0.75 and evidence[_RANKS][0] > evidence[_RANKS][2] else "depends"


@claim(
    "H02",
    "For networks, influence functions approximate the PBRF and not leave-one-out retraining",
    "Response functions",
    rule=Rule(
        "holds if the influence estimate is nearer (in outputs) to the PBRF than to warm and to cold retraining on at least "
        "75 % of the points (95 % confidence) and ranks loss changes like the PBRF better than like cold retraining; fails if on "
        "at most half; depends otherwise",
        _h02_rule,
    ),
    computed="damped Gauss–Newton influence, PBRF, warm and cold retraining, each solved to stationarity (λ = 0.01)",
    family="five points of each 3-neuron tanh network on 20 points (ridge 0.01)",
    corrected="How near the PBRF is depends on the damping and on the point: where linearisation dominates, retraining is as "
    "near.",
)
def H02(scale: Scale, progress: Any) -> Finding:
    def distances(seed: int, deleted: int) -> dict[str, Any]:
        problem, theta0, theta = trained(seed)
        here = problem.deleting(deleted)
        # The damped Gauss–Newton influence estimate θˢ + (1/n)(G/n + λI)⁻¹g is the linearised PBRF.
        found = (pbrf_linearised(here, theta, damping=_DAMPING), pbrf(here, theta, damping=_DAMPING),
                 leave_one_out(here, start="warm", theta=theta), leave_one_out(here, theta0=theta0))  # fmt: skip
        ends = [end.theta for end in found]
        outputs = [np.asarray(here.predict(end)) for end in ends]
        to_pbrf, warm, cold = (float(np.linalg.norm(outputs[0] - other)) for other in outputs[1:])
        losses = [float(here.deleted_loss(end) - here.deleted_loss(theta)) for end in ends]
        return {"distance to PBRF": to_pbrf, "to warm": warm, "to cold": cold, "losses": losses}

    points = [
        {"seed": seed, "deleted": point} for seed in scale.seeds(scale.networks) for point in some_points(seed, 20, 5)
    ]
    found = measure(distances, points, progress, "influence, PBRF and retraining", NO_MINIMUM[:1])
    near, warm, cold, losses = (found[name] for name in ("distance to PBRF", "to warm", "to cold", "losses"))
    nearer = (near < warm) & (near < cold)
    over_warm, over_cold = (near / np.maximum(other, 1e-300) for other in (warm, cold))
    evidence = {
        _NEARER: share(nearer),
        "distance to the PBRF over distance to cold retraining (outputs)": median(over_cold),
        _RANKS: [rank_correlation(losses[:, 0], losses[:, k]) if found.rows > 2 else np.nan for k in (1, 2, 3)],
        "distance to the PBRF over distance to warm retraining (outputs)": median(over_warm),
        "points": found.rows,
    }
    worst = found.extreme(over_cold, "Nearest to cold retraining", "distance to PBRF", "to warm", "to cold")
    picture = Ratios(
        {"to the PBRF": near, "to warm\nretraining": warm, "to cold\nretraining": cold},
        "distance of the influence estimate, in outputs", f"nearest to the PBRF on {nearer.sum()} of {found.rows}",
        limits=(1e-8, 1e8),
    )  # fmt: skip
    return Finding(evidence, tuple(evidence)[:3], worst, _response_slips(scale), picture if found.rows else None)


def _response_slips(scale: Scale) -> tuple[Slip, ...]:
    """The notes' Bregman example, their condition for a definite Gauss–Newton matrix, and their PBRF of least squares."""
    rng = np.random.default_rng(scale.seed)
    y, other, target = rng.standard_normal((3, 200))
    truth = 0.5 * (y - other) ** 2
    start = 0.5 * (y - target) ** 2 - 0.5 * (other - target) ** 2
    notes, correct = start - (other - target) * (y - target), start - (other - target) * (y - other)
    # G + λI where H is indefinite: at random θ of small networks.
    indefinite, definite = 0, 0
    problem = network(scale.seed)
    matrices = eqx.filter_jit(jax.vmap(lambda theta: (problem.hessian(theta), problem.gauss_newton(theta))))
    hessians, gauss = matrices(jnp.stack([problem.initial(seed) for seed in scale.seeds(20)]))
    for hessian, matrix in zip(np.asarray(hessians), np.asarray(gauss), strict=True):
        if np.linalg.eigvalsh(hessian)[0] < 0:
            indefinite += 1
            definite += np.linalg.eigvalsh(matrix + 20 * _DAMPING * np.eye(problem.dim))[0] > 0
    batch = random_batch(scale, 2)
    batch = batch.take(~batch.singular)
    ours, theirs = _least_squares_pbrf(batch)
    return (
        Slip("Bregman example", "last inner product with y − y_i", "with y − y′: D = ½‖y − y′‖²",
             float(np.abs(notes - truth).max()), float(np.abs(correct - truth).max())),
        Slip("damped Gauss–Newton", "positive definite as long as H is",
             "G + λI ≻ 0 for any λ > 0, whatever H is (error: share of indefinite H where the statement errs)",
             definite / max(indefinite, 1), 1 - definite / max(indefinite, 1)),
        Slip("PBRF of least squares", "½ argmin(…)", "argmin ½[(1/n)Σ(x_iᵀ(θ − θ̂))² − (1/n)(y_j − x_jᵀθ)² + λ‖θ − θ̂‖²]",
             theirs, ours),
    )  # fmt: skip


def _least_squares_pbrf(batch: Batch) -> tuple[float, float]:
    """Relative errors of both closed forms against the package's minimiser."""
    n, full = batch.x.shape[1], batch.optimum(1.0)
    found = over_rows(lambda problem, theta: pbrf(problem, theta, damping=_DAMPING).theta, batch.problems(), full)
    xj, yj = batch.deleted()
    matrix = (batch.moments(1.0)[0] - xj[:, :, None] * xj[:, None, :]) / n + _DAMPING * np.eye(batch.dim)
    push = xj * (np.einsum("ri,ri->r", xj, full) - yj)[:, None] / n
    closed = full + np.linalg.solve(matrix, push[..., None])[..., 0]
    return float(relative(closed - found, found).max()), float(relative(0.5 * closed - found, found).max())


_FIRST = "share of the first three gaps"


def _families(scale: Scale) -> list[dict[str, Any]]:
    """Problem, points, seeds and training time (of the sum) of each family, with each of two λ (mean convention)."""
    seeds = list(scale.seeds(max(scale.networks // 2, 1)))
    data = datasets.load("diabetes", intercept=True)
    x, y = np.asarray(data.x)[:60], np.asarray(data.y)[:60]
    wide, narrow = (Dataset(part, y, name="diabetes") for part in (x, x[:, [2, 3, 8]]))
    found = [
        ("linear regression, diabetes", LinearRegression(), wide, 0.06, some_points(0, 60, 8), seeds[:1], 5.0),
        ("network, teacher", MLP(width=3), datasets.teacher_student(n=20), 0.02, some_points(1, 20, 3), seeds, 15.0),
    ]
    if len(seeds) > 3:  # half a minute of compilation
        found.append(("network, diabetes", MLP(width=2), narrow, 0.06, some_points(2, 60, 3), seeds, 5.0))
    return [
        {"family": f"{name}, λ = {damping:g}", "problem": Problem(model, points, delete=0, ridge=ridge), "points": rows,
         "seeds": starts, "time": time, "damping": damping}
        for name, model, points, ridge, rows, starts, time in found for damping in (0.1, 0.001)
    ]  # fmt: skip


def _h03_rule(evidence: Any) -> Any:
    shares = [value for name, value in evidence.items() if name.endswith(_FIRST) and value["of"]]
    if not shares:
        raise WorkError("no run converged; nothing can be said about the gaps")
    if all(value["low"] > 0.5 for value in shares):
        return "holds"
    return "fails" if all(value["high"] < 0.5 for value in shares) else "depends"


@claim(
    "H03",
    "The warm-start, proximity and non-convergence gaps dominate the linearisation and solver errors",
    "Error decomposition, Figure 1",
    rule=Rule(
        "holds if in every family the first three gaps make up more than half of the sum in the median (lower end of the "
        "interval); fails if in every family less; depends otherwise",
        _h03_rule,
    ),
    computed="the chain cold → warm → proximal → PBRF → linearised → LiSSA, distances in outputs (Bae et al. 2022), λ = 0.1 and "
    "0.001",
    family="linear regression and a 2-neuron network on 60 rows of diabetes, a 3-neuron network on 20 points; several starts, "
    "points",
    corrected="It depends on model and damping: which gap is largest is in the figure.",
)
def H03(scale: Scale, progress: Any) -> Finding:
    def runs(family: str, problem: Problem, points: list[int], seeds: list[int], time: float, damping: float) -> Table:
        found = decompose_errors(problem, delete=points, seeds=seeds, damping=damping, t1=time)
        gaps = np.asarray(found.outputs).reshape(-1, 5)
        told = [{"seed": seed, "family": family, "deleted": point} for seed in seeds for point in points]
        good = np.asarray(found.converged).reshape(-1, 6)[:, :4].all(axis=1) & (gaps.sum(axis=1) > 0)
        return Table({**dict(zip(GAPS, gaps.T, strict=True)), "good": good,
                      "parts": gaps / np.maximum(gaps.sum(axis=1, keepdims=True), 1e-300),
                      "family": np.full(len(told), family), "told": told})  # fmt: skip

    families = _families(scale)
    every = measure(runs, families, progress, "decomposing errors")
    found = every.where(every["good"])
    first = found["parts"][:, :3].sum(axis=1)
    of = {made["family"]: found["family"] == made["family"] for made in families}
    evidence: dict[str, Any] = {f"{name}: {_FIRST}": median(first[rows]) for name, rows in of.items()}
    evidence["runs whose four minimisers converged"] = share(every["good"])
    means = {name: found["parts"][rows].mean(axis=0) if rows.any() else np.zeros(5) for name, rows in of.items()}
    parts = {name: dict(zip(GAPS, mean.tolist(), strict=True)) for name, mean in means.items()}
    evidence |= {f"{name}: mean share of each gap": values for name, values in parts.items()}
    picture = Shares({name.replace(", ", ",\n"): values for name, values in parts.items()},
                     "mean share of the sum of the five gaps (outputs)", "")  # fmt: skip
    worst = found.extreme(-first, "Least dominated by the first three", *GAPS)
    return Finding(evidence, tuple(evidence)[:3], worst, (), picture)


_BEND = "rank correlation of distance and bend"


def _h06_rule(evidence: Any) -> Any:
    low, high = evidence[_BEND]["low"], evidence[_BEND]["high"]
    if low > 0 or high < 0:
        return "fails"
    return "holds" if max(abs(low), abs(high)) <= 0.2 else "depends"


@claim(
    "H06",
    "The distance of a point from the target does not affect how straight the path θ(ε) is",
    "Figure 3 and the remark above it",
    rule=Rule(
        "fails if the 95 % interval of Spearman's correlation (bootstrap over networks, then points) excludes 0; holds if it "
        "lies within ±0.2; depends (on more networks) otherwise",
        _h06_rule,
    ),
    computed="the continued path of every point at 17 values of ε, its largest deviation from its chord, |y_j − f_target(x_j)|",
    family="all 20 points of each 3-neuron network with its own teacher (ridge 0.01)",
    corrected="θ(ε) is straight for a quadratic risk; it bends where the curvature changes along it, and how far a point is from "
    "the target goes with that on average, without deciding it.",
)
def H06(scale: Scale, progress: Any) -> Finding:
    def bend(seed: int, deleted: int) -> dict[str, Any]:
        problem, _, theta = trained(seed)
        away = np.abs(np.asarray(problem.data.y) - datasets.teacher(3, seed)(np.asarray(problem.data.x)[:, 0]))[deleted]
        found = path(problem.deleting(deleted), np.linspace(1.0, 0.0, 17), start=theta)
        return {"seed": seed, "distance from target": away, "deviation / chord": float(found.max_deviation)}

    seeds = [seed for seed in scale.seeds(scale.networks) if _trains(seed)]
    points = [{"seed": seed, "deleted": point} for seed in seeds for point in range(20)]
    # A fold: the branch does not reach ε = 0.
    found = measure(bend, points, progress, "paths θ(ε)", NO_MINIMUM)
    away, bent = found["distance from target"], found["deviation / chord"]
    near = away < np.median(away) if found.rows else np.zeros(0, bool)
    rho = correlation(away, bent, found["seed"], scale.seed)
    evidence: dict[str, Any] = {
        _BEND: rho,
        "largest deviation from the chord / chord": median(bent),
        "points nearer to the target than half of the others, yet more bent than half": share(
            (bent > np.median(bent))[near] if found.rows else []
        ),
        "paths": found.rows,
        "paths that end in a fold": len(found.failures),
    }
    picture = Correlation(
        away, bent, ("distance of the deleted point from the target function", "largest deviation of θ(ε) / chord"),
        floor=1e-6, rho=rho,
    )  # fmt: skip
    worst = found.extreme(
        np.where(near, bent, -1.0), "A near point with a bent path", "distance from target", "deviation / chord"
    )
    return Finding(evidence, tuple(evidence)[:3], worst, (), picture if found.rows else None)


def _trains(seed: int) -> bool:
    """Whether the flow of a network has a limit."""
    try:
        trained(seed)
    except WorkError:
        return False
    return True
