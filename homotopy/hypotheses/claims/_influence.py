"""H01, H04, H05, H18: influence functions, the Newton estimate and θ̇ against leave-one-out optima."""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..._errors import RequestError, WorkError
from ...endpoints import influence, newton_estimate, optimum, theta_dot, theta_dot_change, weight_jacobian
from ...problem import MLP, Dataset, LogisticRegression, Problem, datasets
from .._evidence import median, rank_correlation, share, within
from .._hypothesis import Finding, Hypothesis, Rule, Scale, Slip
from .._instances import Batch, batches, over_rows, relative

_FAMILY = (
    "random linear problems in d = 1, 2, 5, 20 with low and high leverage, and points of diabetes and stackloss, each "
    "deleted alone"
)
EXACT = 1e-7


# H01 ----------------------------------------------------------------------------------------------------------------


def first_order(problem: Problem) -> Any:
    """θ* − θ̇(1), the influence function's estimate of θ*₋."""
    return influence(problem).estimate


def _h01(scale: Scale, progress: Any, *, estimate: Any = first_order) -> Finding:
    errors, levers, gaps = [], [], []
    worst: tuple[float, dict[str, Any]] = (-1.0, {})
    notes, correct = [], []
    with progress.task("influence against leave-one-out", len(scale.dims) + 2) as advance:
        for batch in batches(scale, singular=False):
            if not batch.rows:
                continue
            full, left = batch.optimum(1.0), batch.optimum(0.0)
            error = relative(over_rows(estimate, batch.problems()) - left, full - left)
            lever = batch.leverage()
            # A point whose removal moves nothing (residual 0) has no relative error.
            keep = np.linalg.norm(full - left, axis=1) > 1e-9 * (1 + np.linalg.norm(full, axis=1))
            gap = np.where(keep, np.abs(error - lever), 0.0)
            if gap.max(initial=-1.0) > worst[0]:
                row = int(gap.argmax())
                worst = float(gap.max()), batch.describe(row) | {
                    "leverage": float(lever[row]), "relative error": float(error[row]),
                }  # fmt: skip
            errors.append(error[keep])
            levers.append(lever[keep])
            gaps.append(gap)
            ours, theirs = _signs(batch, full)
            notes.append(theirs)
            correct.append(ours)
            advance(1)
    error, lever = np.concatenate(errors), np.concatenate(levers)
    slip = Slip(
        "OLS influence: H⁻¹∇ℓ", "+(XᵀX)⁻¹x_i(y_i − x_iᵀθ̂)", "−(XᵀX)⁻¹x_i e_i; removing the point moves θ by its negative",
        float(np.max(notes)), float(np.max(correct)),
    )  # fmt: skip
    evidence = {
        "largest |relative error − leverage|": float(np.concatenate(gaps).max()),
        "relative error of the first-order estimate": median(error),
        "instances where the estimate is within 10 %": share(error <= 0.1),
        "instances": int(error.size),
        "largest leverage": float(lever.max()),
    }

    def draw(ax: Any) -> None:
        order = np.sort(lever)
        ax.loglog(order, order, "-", color="#222222", lw=1, label="leverage P = error")
        ax.loglog(lever, np.maximum(error, 1e-12), ".", color="#0072B2", ms=4, alpha=0.6, label="each instance")
        ax.set(xlabel="leverage P of the deleted point", ylabel="relative error of θ* − θ̇(1)")
        ax.set_title(f"error = leverage, to {evidence['largest |relative error − leverage|']:.0e}", fontsize=9.5)
        ax.legend(fontsize=8)

    return Finding(
        evidence, tuple(evidence)[:3], {"what": "Largest disagreement", **worst[1]}, (slip,), draw,
    )  # fmt: skip


def _signs(batch: Batch, full: Any) -> tuple[float, float]:
    """Relative errors of both closed forms of H⁻¹∇ℓ_j against H⁻¹ applied to a numerical gradient of ℓ_j."""
    xj, yj = batch.deleted()
    hessian, _ = batch.moments(1.0)
    residual = yj - np.einsum("ri,ri->r", xj, full)
    step = 1e-5
    gradient = np.stack(
        [
            (_loss(xj, yj, full + step * unit) - _loss(xj, yj, full - step * unit)) / (2 * step)
            for unit in np.eye(batch.dim)
        ],
        axis=1,
    )
    truth = np.linalg.solve(hessian, gradient[..., None])[..., 0]
    theirs = np.linalg.solve(hessian, (xj * residual[:, None])[..., None])[..., 0]
    seen = np.abs(residual) > 1e-3
    if not seen.any():
        return 0.0, 0.0
    return float(relative(-theirs - truth, truth)[seen].max()), float(relative(theirs - truth, truth)[seen].max())


def _loss(xj: Any, yj: Any, theta: Any) -> Any:
    return 0.5 * (yj - np.einsum("ri,ri->r", xj, theta)) ** 2


H01 = Hypothesis(
    "H01",
    "First-order influence approximates leave-one-out; for least squares its relative error is exactly the leverage",
    "Influence Functions vs Leverage; Hayashi's formula",
    _h01,
    within("largest |relative error − leverage|", EXACT),
    "θ* − θ̇(1) by the package against θ*₋ by least squares on the kept rows; leverage P_jj from the pseudo-inverse of X",
    _FAMILY,
    "Without the factor 1/(1 − P_jj) the estimate misses by exactly P_jj of the displacement.",
)


# H04 ----------------------------------------------------------------------------------------------------------------

_RIDGES = (0.0, 0.01, 0.1, 1.0, 10.0, 100.0)


def newton(problem: Problem) -> Any:
    """θ_Nt, one Newton step on R⁻ from θ*."""
    return newton_estimate(problem).theta


def _h04(scale: Scale, progress: Any, *, estimate: Any = newton) -> Finding:
    exact, gaps, lowest = [], [], []
    worst: tuple[float, dict[str, Any]] = (-1.0, {})

    def both(problem: Problem) -> Any:
        return estimate(problem), first_order(problem), optimum(problem).theta

    with progress.task("Newton estimates", (len(scale.dims) + 2) * len(_RIDGES)) as advance:
        for batch in batches(scale, singular=False):
            if not batch.rows:
                continue
            full, left = batch.optimum(1.0), batch.optimum(0.0)
            hessian, _ = batch.moments(1.0)
            largest = np.linalg.eigvalsh(hessian)[:, -1]
            columns = []
            for ridge in _RIDGES:
                problems = batch.problems(ridge * largest)
                step, first, start = over_rows(both, problems)
                columns.append(relative(step - first, step - start))
                if ridge == 0:
                    error = relative(step - left, full - left)
                    seen = np.linalg.norm(full - left, axis=1) > 1e-9 * (1 + np.linalg.norm(full, axis=1))
                    error = np.where(seen, error, 0.0)
                    exact.append(error)
                    if error.max() > worst[0]:
                        row = int(error.argmax())
                        worst = float(error.max()), batch.describe(row) | {"relative error": float(error[row])}
                advance(1)
            gaps.append(np.stack(columns, axis=1)[seen])
            lowest.append(np.linalg.eigvalsh(batch.moments(0.0)[0])[:, 0][seen])
    gap = np.concatenate(gaps)
    logistic = _logistic(scale)
    evidence = {
        "largest relative error for least squares": float(np.concatenate(exact).max()),
        "gap between the two estimates at ρ = 0": median(gap[:, 0]),
        "gap between the two estimates at ρ = 100 λ_max": median(gap[:, -1]),
        "instances where every larger ρ closes the gap further": share((np.diff(gap, axis=1) <= 1e-12).all(axis=1)),
        "rank correlation of the gap with λ_min(H₋), ρ = 0": rank_correlation(gap[:, 0], np.concatenate(lowest)),
        "logistic regression: error of Newton over error of influence": median(logistic),
        "instances": len(gap),
    }

    def draw(ax: Any) -> None:
        quantiles = np.quantile(gap, [0.1, 0.5, 0.9], axis=0)
        at = np.arange(len(_RIDGES))
        ax.fill_between(at, quantiles[0], quantiles[2], color="#0072B2", alpha=0.2, label="10 % to 90 %")
        ax.semilogy(at, np.maximum(quantiles[1], 1e-16), "o-", color="#0072B2", label="median")
        ax.set_xticks(at, [f"{ridge:g}" for ridge in _RIDGES])
        ax.set(xlabel="ridge ρ in units of λ_max(H)", ylabel="‖Newton − influence‖ / ‖Newton step‖")
        ax.set_title(f"Newton is exact to {evidence['largest relative error for least squares']:.0e}", fontsize=9.5)
        ax.legend(fontsize=8)

    return Finding(evidence, tuple(evidence)[:3], {"what": "Largest error", **worst[1]}, (), draw)


def _logistic(scale: Scale) -> Any:
    """‖θ_Nt − θ*₋‖/‖θ_IF − θ*₋‖ of logistic regressions with a small ridge."""
    ratios = []
    for seed in scale.seeds(min(scale.instances, 20)):
        rng = np.random.default_rng([seed, 4])
        x = rng.standard_normal((30, 3))
        y = (x[:, 0] + rng.standard_normal(30) > 0).astype(int)
        if 1 < y.sum() < 29:
            problem = Problem(LogisticRegression(), Dataset(x, y), delete=int(rng.integers(30)), ridge=0.1)
            left = optimum(problem, 0.0).theta
            ratios.append(float(jnp.linalg.norm(newton(problem) - left) / jnp.linalg.norm(first_order(problem) - left)))
    return np.array(ratios)


def _h04_rule(evidence: Any) -> Any:
    if evidence["largest relative error for least squares"] > EXACT:
        return "fails"
    closes = evidence["instances where every larger ρ closes the gap further"]["share"] >= 0.99
    return (
        "holds" if closes and evidence["gap between the two estimates at ρ = 100 λ_max"]["median"] < 0.01 else "depends"
    )


H04 = Hypothesis(
    "H04",
    "The Newton estimate is exact for least squares, and close to the influence estimate when the smallest eigenvalue "
    "(or the ridge) is large",
    "Definition 6 and the remark below it",
    _h04,
    Rule(
        "fails if the Newton estimate misses θ*₋ by more than 1e-07 of the displacement; holds if besides the gap between "
        "the two estimates shrinks with every larger ridge on 99 % of the instances, to a median below 1 % at "
        "ρ = 100 λ_max; depends otherwise",
        _h04_rule,
    ),
    "both estimates at six ridges, from none to 100 times the largest eigenvalue; and on logistic regressions",
    _FAMILY + "; logistic regressions with 30 points in three dimensions",
    "Exact for a quadratic risk; the relative gap between the two estimates is the leverage, which a ridge lowers.",
)


# H05 ----------------------------------------------------------------------------------------------------------------

SAME = 0.1
_RIDGE = 1e-2


def _h05(scale: Scale, progress: Any, *, second: float = 1.0) -> Finding:
    """`second` scales θ̈ (1 is right): a test turns it."""
    changes, levers, closed, excess = [], [], [], []
    worst: tuple[float, dict[str, Any]] = (-1.0, {})
    grid = np.linspace(0.0, 1.0, 17)
    simpson = np.where(np.arange(17) % 2 == 1, 4.0, 2.0)
    simpson[[0, -1]] = 1.0
    simpson /= 48.0
    unexplained = []

    def along(problem: Problem, thetas: Any) -> Any:
        return jax.vmap(partial(theta_dot, problem))(thetas, jnp.asarray(grid))

    with progress.task("θ̇ along ε", len(scale.dims) + 2 + scale.networks) as advance:
        for batch in batches(scale, singular=False):
            if not batch.rows:
                continue
            thetas = np.stack([batch.optimum(epsilon) for epsilon in grid], axis=1)

            first, bend = over_rows(along, batch.problems(), thetas)
            bend = second * bend
            size = np.linalg.norm(first[:, -1], axis=1)
            moved = np.linalg.norm(batch.optimum(1.0) - batch.optimum(0.0), axis=1)
            seen = moved > 1e-9 * (1 + np.linalg.norm(thetas[:, -1], axis=1))
            change = np.linalg.norm(first[:, -1] - first[:, 0], axis=1) / np.where(seen, size, 1.0)
            bound = np.linalg.norm(bend, axis=2).max(axis=1) / np.where(seen, size, 1.0)
            lever = batch.leverage()
            h = lever / (1 - lever)
            difference = first[:, -1] - first[:, 0]
            missing = relative(difference - np.einsum("k,rki->ri", simpson, bend), difference)
            over = np.where(seen, change - bound, -1.0)
            if over.max() > worst[0]:
                row = int(over.argmax())
                told = {"change": float(change[row]), "bound": float(bound[row])}
                worst = float(over.max()), batch.describe(row) | told
            low = seen & (lever < 0.9)  # Simpson's rule on 17 points sees no steeper bend
            changes.append(change[seen])
            levers.append(lever[seen])
            excess.append((change - bound * (1 + 1e-9))[seen])
            closed.append(np.abs(change / ((1 + h) ** 2 - 1) - 1)[seen & (lever > 1e-6)])
            unexplained.append(missing[low])
            advance(1)
        networks = [found for seed in scale.seeds(scale.networks) for found in _network_changes(seed, advance)]
    change, lever = np.concatenate(changes), np.concatenate(levers)
    over = np.concatenate(excess)
    bends = np.array([found for found in networks]).reshape(-1, 2)
    evidence = {
        "violations of ‖θ̇(1) − θ̇(0)‖ ≤ max ‖θ̈‖": share(
            np.concatenate([over > 0, bends[:, 0] * (1 - 1e-6) > second * bends[:, 1]])
        ),
        "linear instances where θ̇(0) is within 10 % of θ̇(1)": share(change <= SAME),
        "networks: ‖θ̇(1) − θ̇(0)‖ / ‖θ̇(1)‖": median(bends[:, 0]),
        "networks where θ̇(0) is within 10 % of θ̇(1)": share(bends[:, 0] <= SAME),
        "linear: largest error of (1 + h)² − 1": float(np.concatenate(closed).max()),
        "linear: ∫θ̈ misses the change by (median)": float(np.median(np.concatenate(unexplained))),
        "leverage up to which 10 % holds (linear)": 1.0 - 1.0 / np.sqrt(1.0 + SAME),
    }

    def draw(ax: Any) -> None:
        order = np.sort(lever[lever < 0.999])
        ax.loglog(lever, change, ".", ms=4, alpha=0.6, color="#0072B2", label="linear instances")
        ax.loglog(order, (1 / (1 - order)) ** 2 - 1, "-", color="#222222", lw=1, label="(1 + h)² − 1")
        ax.axhline(SAME, color="#D55E00", lw=1, ls="--", label="10 %")
        ax.set(xlabel="leverage P of the deleted point", ylabel="‖θ̇(1) − θ̇(0)‖ / ‖θ̇(1)‖")
        ax.set_title(f"networks: median {evidence['networks: ‖θ̇(1) − θ̇(0)‖ / ‖θ̇(1)‖']['median']:.2g}", fontsize=9.5)
        ax.legend(fontsize=8)

    return Finding(evidence, tuple(evidence)[:3], {"what": "Tightest bound", **worst[1]}, (), draw)


def _network_changes(seed: int, advance: Any) -> list[tuple[float, float]]:
    """(change, bound), relative to ‖θ̇(1)‖, for a few points of one trained 3-neuron network."""
    problem = Problem(MLP(width=3), datasets.teacher_student(n=20, seed=seed), delete=0, ridge=_RIDGE)
    advance(1)
    try:
        full = optimum(problem, start=problem.initial(seed)).theta
    except WorkError:
        return []
    found = []
    for point in np.random.default_rng(seed).choice(20, 6, replace=False):
        try:
            here = theta_dot_change(problem.deleting(int(point)), start=full, count=17)
        except (WorkError, RequestError):  # a fold on the way: there is no θ(0) on this branch
            continue
        size = float(jnp.linalg.norm(here.theta_dot_full))
        found.append((float(here.change) / size, float(here.bound) / size))
    return found


def _h05_rule(evidence: Any) -> Any:
    if evidence["violations of ‖θ̇(1) − θ̇(0)‖ ≤ max ‖θ̈‖"]["count"]:
        return "fails"
    same = evidence["linear instances where θ̇(0) is within 10 % of θ̇(1)"]
    return "holds" if same["low"] >= 0.9 else "depends"


H05 = Hypothesis(
    "H05",
    "θ̇(1) is about θ̇(0) (within 10 %), and their difference is at most max ‖θ̈‖",
    "“How different really is θ̇(1) from θ̇(0)?”",
    _h05,
    Rule(
        "fails if the bound is violated once; holds if besides at least 90 % of the linear instances (95 % confidence) have "
        "θ̇(0) within 10 % of θ̇(1); depends otherwise",
        _h05_rule,
    ),
    "θ̇ and θ̈ at 17 values of ε by one factorisation each; for networks along the continued path",
    _FAMILY + "; six points of each 3-neuron network on 20 points (ridge 0.01)",
    "The bound holds. For least squares θ̇(0) = (1 + h)² θ̇(1), h = P/(1 − P): within 10 % exactly while P ≤ 0.0465.",
)


# H18 ----------------------------------------------------------------------------------------------------------------


def slope(problem: Problem) -> Any:
    """θ̇(1) of the deleted point."""
    return influence(problem).theta_dot


def _h18(scale: Scale, progress: Any, *, theta_dot_of: Any = slope) -> Finding:
    columns, sums, differences, groups = [], [], [], []
    worst: tuple[float, dict[str, Any]] = (-1.0, {})
    step = 1e-4

    def link(problem: Problem) -> Any:
        jacobian = weight_jacobian(problem)
        largest = jnp.max(jnp.abs(jacobian))
        return jacobian[:, problem.delete[0]], jnp.sum(jacobian, axis=1), largest, theta_dot_of(problem)

    with progress.task("the Jacobian of θ(𝛆)", len(scale.dims) + 2 + scale.networks) as advance:
        for batch in batches(scale, singular=False):
            if not batch.rows:
                continue
            column, total, size, dot = over_rows(link, batch.problems())
            ahead = (batch.optimum(1 + step) - batch.optimum(1 - step)) / (2 * step)
            seen = np.linalg.norm(dot, axis=1) > 1e-6 * size
            error = np.where(seen, relative(dot - column, column), 0.0)
            columns.append(error)
            sums.append(np.linalg.norm(total, axis=1) / size)
            differences.append(np.where(seen, relative(dot - ahead, ahead), 0.0))
            if error.max() > worst[0]:
                row = int(error.argmax())
                worst = float(error.max()), batch.describe(row) | {"relative difference": float(error[row])}
            advance(1)
        for seed in scale.seeds(scale.networks):
            found = _network_link(seed)
            if found is not None:
                columns.append(np.array([found[0]]))
                sums.append(np.array([found[1]]))
                groups.append(found[2])
            advance(1)
    evidence = {
        "largest ‖θ̇ʲ − column j of Jθ‖ / ‖column‖": float(np.concatenate(columns).max()),
        "largest error against a finite difference of θ(ε)": float(np.concatenate(differences).max()),
        "largest |Σ columns − ρH⁻¹θ*| / largest entry": float(np.concatenate(sums).max()),
        "groups of networks: θ̇ of a pair against the sum of columns": max(groups, default=0.0),
        "instances": int(sum(len(part) for part in columns)),
    }
    return Finding(evidence, tuple(evidence)[:3], {"what": "Largest difference", **worst[1]})


def _network_link(seed: int) -> tuple[float, float, float] | None:
    problem = Problem(MLP(width=3), datasets.teacher_student(n=20, seed=seed), delete=seed % 20, ridge=_RIDGE)
    try:
        theta = optimum(problem, start=problem.initial(seed)).theta
        jacobian = np.asarray(weight_jacobian(problem, theta=theta))
        dot = np.asarray(influence(problem, theta=theta).theta_dot)
        pair = np.asarray(influence(problem.deleting([0, 1]), theta=theta).theta_dot)
    except (WorkError, RequestError):  # no minimum from this start
        return None
    expected = _RIDGE * np.linalg.solve(np.asarray(eqx.filter_jit(problem.hessian)(theta)), np.asarray(theta))
    column, both = jacobian[:, seed % 20], jacobian[:, 0] + jacobian[:, 1]
    return (
        float(np.linalg.norm(dot - column) / np.linalg.norm(column)),
        float(np.linalg.norm(jacobian.sum(axis=1) - expected) / np.abs(jacobian).max()),
        float(np.linalg.norm(pair - both) / np.linalg.norm(both)),
    )


H18 = Hypothesis(
    "H18",
    "There is a link between θ̇ʲ and Jθ: θ̇ʲ(1) is column j of the Jacobian of θ(𝛆) at 𝛆 = 1",
    "Question after Definition 6",
    _h18,
    Rule(
        "holds if θ̇ʲ equals column j to 1e-07 and a central difference of θ(ε) to 1e-05, and the columns sum to ρH⁻¹θ* to "
        "1e-07; fails otherwise",
        lambda evidence: (
            "holds"
            if evidence["largest ‖θ̇ʲ − column j of Jθ‖ / ‖column‖"] <= EXACT
            and evidence["largest |Σ columns − ρH⁻¹θ*| / largest entry"] <= EXACT
            and evidence["largest error against a finite difference of θ(ε)"] <= 1e-5
            else "fails"
        ),
    ),
    "θ̇ʲ by the influence function, the Jacobian by one factorisation, and central differences of θ(ε)",
    _FAMILY + "; one point and one pair of each 3-neuron network",
    "Column j of Jθ is −H⁻¹∇ℓ_j(θ*); the columns sum to ρH⁻¹θ*, so to 0 without a ridge.",
)
