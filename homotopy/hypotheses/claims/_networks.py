"""H02, H03, H06: networks. What influence functions estimate there, which gap is largest, and how straight θ(ε) is."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..._errors import RequestError, WorkError
from ...endpoints import decompose_errors, leave_one_out, optimum, path, pbrf, pbrf_linearised
from ...problem import MLP, Dataset, LinearRegression, Problem, datasets
from .._evidence import correlation, median, rank_correlation, share
from .._hypothesis import Finding, Hypothesis, Rule, Scale, Slip
from .._instances import Batch, over_rows, random_batch, relative

_RIDGE = 1e-2
_DAMPING = 0.01  # λ, mean convention
_POINTS = 5  # deleted from each network, one at a time


def network(seed: int, width: int = 3, n: int = 20) -> Problem:
    """The notes' Figure 3: a small tanh network on points of another one, with a ridge so that minima exist."""
    data = datasets.teacher_student(n=n, width=width, seed=seed)
    return Problem(MLP(width=width), data, delete=0, ridge=_RIDGE)


def trained(seed: int) -> tuple[Problem, Any, Any] | None:
    """A network, its θ₀ and the limit θ* of its flow; None where it reaches none."""
    problem = network(seed)
    theta0 = problem.initial(seed)
    try:
        return problem, theta0, optimum(problem, start=theta0).theta
    except WorkError:
        return None


def some_points(seed: int, n: int, count: int) -> list[int]:
    """`count` points of n, drawn by the seed."""
    return sorted(int(j) for j in np.random.default_rng([seed, 99]).choice(n, min(count, n), replace=False))


# H02 ----------------------------------------------------------------------------------------------------------------


def estimate(problem: Problem, theta: Any) -> Any:
    """θˢ + (1/n)(G/n + λI)⁻¹g, the damped Gauss–Newton influence estimate."""
    return pbrf_linearised(problem, theta, damping=_DAMPING).theta


def _h02(scale: Scale, progress: Any, *, influence_of: Any = estimate) -> Finding:
    rows: list[tuple[float, ...]] = []
    told: list[dict[str, Any]] = []
    with progress.task("influence, PBRF and retraining", scale.networks) as advance:
        for seed in scale.seeds(scale.networks):
            made = trained(seed)
            for point in some_points(seed, 20, _POINTS) if made is not None else ():
                row = _compare(made[0].deleting(point), made[1], made[2], influence_of) if made else None
                if row is not None:
                    rows.append(row)
                    told.append({"seed": seed, "deleted": point})
            advance(1)
    found = np.array(rows).reshape(-1, 7)  # errors to PBRF, warm, cold (outputs); loss changes: IF, PBRF, warm, cold
    nearer = (found[:, 0] < found[:, 1]) & (found[:, 0] < found[:, 2])
    ranks = [rank_correlation(found[:, 3], found[:, k]) for k in (4, 5, 6)] if len(found) > 2 else [np.nan] * 3
    evidence = {
        "points where influence is nearer to the PBRF than to warm and cold retraining": share(nearer),
        "distance to the PBRF over distance to cold retraining (outputs)": median(_over(found[:, 0], found[:, 2])),
        "rank correlation of loss changes with the PBRF, warm, cold retraining": ranks,
        "distance to the PBRF over distance to warm retraining (outputs)": median(_over(found[:, 0], found[:, 1])),
        "points": len(found),
    }
    worst = None
    if len(found):
        nearest = int(np.argmax(_over(found[:, 0], found[:, 2])))
        distances = dict(zip(("distance to PBRF", "to warm", "to cold"), found[nearest, :3].tolist(), strict=True))
        worst = {"what": "Nearest to cold retraining", **told[nearest], **distances}

    def draw(ax: Any) -> None:
        low = max(found[:, :3].min(), 1e-8)
        curves = (("PBRF", "#009E73"), ("warm retraining", "#0072B2"), ("cold retraining", "#D55E00"))
        for k, (name, color) in enumerate(curves):
            values = np.sort(np.maximum(found[:, k], low))
            ax.plot(values, np.linspace(0, 1, len(values)), color=color, label=name)
        ax.set(xscale="log", xlabel="distance of the influence estimate, in outputs", ylabel="share of points below")
        ax.set_title(f"nearest to the PBRF on {nearer.sum()} of {len(found)}", fontsize=9.5)
        ax.legend(fontsize=8, title="to the")

    return Finding(evidence, tuple(evidence)[:3], worst, _response_slips(scale), draw if len(found) else None)


def _over(a: Any, b: Any) -> Any:
    return a / np.maximum(b, 1e-300)


def _compare(problem: Problem, theta0: Any, theta: Any, influence_of: Any) -> tuple[float, ...] | None:
    try:
        ends = [influence_of(problem, theta), pbrf(problem, theta, damping=_DAMPING).theta,
                leave_one_out(problem, start="warm", theta=theta).theta, leave_one_out(problem, theta0=theta0).theta]  # fmt: skip
    except WorkError:  # a retraining without a limit is no reference
        return None
    outputs = [np.asarray(problem.predict(end)) for end in ends]
    losses = [float(problem.deleted_loss(end)) for end in (theta, *ends)]
    errors = [float(np.linalg.norm(outputs[0] - other)) for other in outputs[1:]]
    return (*errors, *(loss - losses[0] for loss in losses[1:]))


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


def _h02_rule(evidence: Any) -> Any:
    found = evidence["points where influence is nearer to the PBRF than to warm and cold retraining"]
    ranks = evidence["rank correlation of loss changes with the PBRF, warm, cold retraining"]
    if found["high"] <= 0.5:
        return "fails"
    return "holds" if found["low"] >= 0.75 and ranks[0] > ranks[2] else "depends"


H02 = Hypothesis(
    "H02",
    "For networks, influence functions approximate the PBRF and not leave-one-out retraining",
    "Response functions",
    _h02,
    Rule(
        "holds if the influence estimate is nearer (in outputs) to the PBRF than to warm and to cold retraining on at least "
        "75 % of the points (95 % confidence) and ranks loss changes like the PBRF better than like cold retraining; fails if on "
        "at most half; depends otherwise",
        _h02_rule,
    ),
    "damped Gauss–Newton influence, PBRF, warm and cold retraining, each solved to stationarity (λ = 0.01)",
    "five points of each 3-neuron tanh network on 20 points (ridge 0.01)",
    "How near the PBRF is depends on the damping and on the point: where linearisation dominates, retraining is as near.",
)


# H03 ----------------------------------------------------------------------------------------------------------------

_DAMPINGS = (0.1, 0.001)  # λ, mean convention
_GAPS = ("warm-start", "proximity", "non-convergence", "linearisation", "solver")


def _families(scale: Scale) -> dict[str, tuple[Problem, list[int], list[int], float]]:
    """Problem, points, seeds and training time (of the sum) of each family."""
    seeds = list(scale.seeds(max(scale.networks // 2, 1)))
    data = datasets.load("diabetes", intercept=True)
    rows = np.asarray(data.x)[:60], np.asarray(data.y)[:60]
    few = Dataset(*rows, name="diabetes")
    narrow = Dataset(rows[0][:, [2, 3, 8]], rows[1], name="diabetes")
    teacher = datasets.teacher_student(n=20)
    linear = Problem(LinearRegression(), few, delete=0, ridge=0.06)
    found = {
        "linear regression, diabetes": (linear, some_points(0, 60, 8), seeds[:1], 5.0),
        "network, teacher": (Problem(MLP(width=3), teacher, delete=0, ridge=0.02), some_points(1, 20, 3), seeds, 15.0),
    }
    if len(seeds) > 3:  # half a minute of compilation
        wide = Problem(MLP(width=2), narrow, delete=0, ridge=0.06)
        found["network, diabetes"] = (wide, some_points(2, 60, 3), seeds, 5.0)
    return found


def _h03(scale: Scale, progress: Any, *, last: int = 3) -> Finding:
    """`last` is the number of gaps that are said to dominate (3)."""
    evidence: dict[str, Any] = {}
    parts: dict[str, Any] = {}
    converged: list[Any] = []
    worst: tuple[float, dict[str, Any]] = (2.0, {})
    families = _families(scale)
    with progress.task("decomposing errors", len(families) * len(_DAMPINGS)) as advance:
        for family, (problem, points, seeds, time) in families.items():
            for damping in _DAMPINGS:
                found = decompose_errors(problem, delete=points, seeds=seeds, damping=damping, t1=time)
                gaps = np.asarray(found.outputs).reshape(-1, 5)
                good = np.asarray(found.converged).reshape(-1, 6)[:, :4].all(axis=1) & (gaps.sum(axis=1) > 0)
                gaps = gaps[good]
                converged += list(good)
                first = gaps[:, :last].sum(axis=1) / gaps.sum(axis=1)
                name = f"{family}, λ = {damping:g}"
                evidence[f"{name}: share of the first three gaps"] = median(first)
                parts[name] = gaps / gaps.sum(axis=1, keepdims=True)
                if len(first) and first.min() < worst[0]:
                    row = int(np.flatnonzero(good)[first.argmin()])
                    where = {"seed": seeds[row // len(points)], "family": name, "deleted": points[row % len(points)]}
                    sizes = {gap: float(v) for gap, v in zip(_GAPS, gaps[first.argmin()], strict=True)}
                    worst = float(first.min()), where | sizes
                advance(1)
    evidence["runs whose four minimisers converged"] = share(converged)
    for name, values in parts.items():
        means = values.mean(axis=0) if len(values) else np.zeros(5)
        evidence[f"{name}: mean share of each gap"] = dict(zip(_GAPS, means.tolist(), strict=True))

    def draw(ax: Any) -> None:
        bottom = np.zeros(len(parts))
        colors = ("#0072B2", "#56B4E9", "#009E73", "#D55E00", "#E69F00")
        means = np.array([values.mean(axis=0) if len(values) else np.zeros(5) for values in parts.values()])
        for gap, color, value in zip(_GAPS, colors, means.T, strict=True):
            ax.barh(range(len(parts)), value, left=bottom, color=color, label=gap)
            bottom = bottom + value
        ax.set_yticks(range(len(parts)), [name.replace(", ", ",\n") for name in parts])
        ax.set(xlabel="mean share of the sum of the five gaps (outputs)", xlim=(0, 1))
        ax.legend(fontsize=7.5, ncols=3, loc="lower center", bbox_to_anchor=(0.45, 1.0), frameon=False)

    shown = {"what": "Least dominated by the first three", **worst[1]} if worst[1] else None
    return Finding(evidence, tuple(evidence)[:3], shown, (), draw)


def _h03_rule(evidence: Any) -> Any:
    shares = [
        value for name, value in evidence.items() if name.endswith("share of the first three gaps") and value["of"]
    ]
    if not shares:
        raise WorkError("no run converged; nothing can be said about the gaps")
    if all(value["low"] > 0.5 for value in shares):
        return "holds"
    return "fails" if all(value["high"] < 0.5 for value in shares) else "depends"


H03 = Hypothesis(
    "H03",
    "The warm-start, proximity and non-convergence gaps dominate the linearisation and solver errors",
    "Error decomposition, Figure 1",
    _h03,
    Rule(
        "holds if in every family the first three gaps make up more than half of the sum in the median (lower end of the "
        "interval); fails if in every family less; depends otherwise",
        _h03_rule,
    ),
    "the chain cold → warm → proximal → PBRF → linearised → LiSSA, distances in outputs (Bae et al. 2022), λ = 0.1 and 0.001",
    "linear regression and a 2-neuron network on 60 rows of diabetes, a 3-neuron network on 20 points; several starts, points",
    "It depends on model and damping: which gap is largest is in the figure.",
)


# H06 ----------------------------------------------------------------------------------------------------------------


def _h06(scale: Scale, progress: Any, *, distances: Any = None) -> Finding:
    """`distances(seed)` replaces the distances of the points from the target: a test couples them to the bend."""
    away, bent, owner, told, folds = [], [], [], [], 0
    with progress.task("paths θ(ε)", scale.networks) as advance:
        for seed in scale.seeds(scale.networks):
            made = trained(seed)
            advance(1)
            if made is None:
                continue
            problem, _, theta = made
            x, y = np.asarray(problem.data.x)[:, 0], np.asarray(problem.data.y)
            distance = np.abs(y - datasets.teacher(3, seed)(x)) if distances is None else None
            for point in range(problem.n):
                try:
                    here = path(problem.deleting(point), np.linspace(1.0, 0.0, 17), start=theta)
                except (WorkError, RequestError):  # a fold: the branch does not reach ε = 0
                    folds += 1
                    continue
                bend = float(here.max_deviation)
                away.append(bend if distance is None else distance[point])
                bent.append(bend)
                owner.append(seed)
                told.append(
                    {"seed": seed, "deleted": point, "distance from target": away[-1], "deviation / chord": bend}
                )
    evidence: dict[str, Any] = {
        "rank correlation of distance and bend": correlation(away, bent, owner, scale.seed),
        "largest deviation from the chord / chord": median(bent),
        "points nearer to the target than half of the others, yet more bent than half": share(
            (np.array(bent) > np.median(bent))[np.array(away) < np.median(away)] if bent else []
        ),
        "paths": len(bent),
        "paths that end in a fold": folds,
    }

    def draw(ax: Any) -> None:
        ax.loglog(np.maximum(away, 1e-4), np.maximum(bent, 1e-6), ".", ms=4, alpha=0.6, color="#0072B2")
        found = evidence["rank correlation of distance and bend"]
        ax.set(
            xlabel="distance of the deleted point from the target function", ylabel="largest deviation of θ(ε) / chord"
        )
        ax.set_title(
            f"Spearman {found['correlation']:+.2f} ({found['low']:+.2f} to {found['high']:+.2f})", fontsize=9.5
        )

    worst = None
    if bent:
        near = np.where(np.array(away) < np.median(away), bent, -1.0)
        worst = {"what": "A near point with a bent path", **told[int(near.argmax())]}
    return Finding(evidence, tuple(evidence)[:3], worst, (), draw if bent else None)


def _h06_rule(evidence: Any) -> Any:
    found = evidence["rank correlation of distance and bend"]
    if found["low"] > 0 or found["high"] < 0:
        return "fails"
    return "holds" if max(abs(found["low"]), abs(found["high"])) <= 0.2 else "depends"


H06 = Hypothesis(
    "H06",
    "The distance of a point from the target does not affect how straight the path θ(ε) is",
    "Figure 3 and the remark above it",
    _h06,
    Rule(
        "fails if the 95 % interval of Spearman's correlation (bootstrap over networks, then points) excludes 0; holds if it "
        "lies within ±0.2; depends (on more networks) otherwise",
        _h06_rule,
    ),
    "the continued path of every point at 17 values of ε, its largest deviation from its chord, |y_j − f_target(x_j)|",
    "all 20 points of each 3-neuron network with its own teacher (ridge 0.01)",
    "θ(ε) is straight for a quadratic risk; it bends where the curvature changes along it, and how far a point is from the "
    "target goes with that on average, without deciding it.",
)
