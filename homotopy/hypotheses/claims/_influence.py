"""H01, H04: influence functions and the Newton estimate against leave-one-out optima."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from ..._statistics import rank_correlation
from ...endpoints import influence, newton_estimate, optimum
from ...problem import Dataset, LogisticRegression, Problem
from .._evidence import median, share, within
from .._hypothesis import Finding, Rule, Scale, Slip, claim
from .._instances import Batch, batches, over_rows, relative
from .._measure import measure
from .._pictures import Correlation, Curves

FAMILY = (
    "random linear problems in d = 1, 2, 5, 20 with low and high leverage, and points of diabetes and stackloss, each "
    "deleted alone"
)
EXACT = 1e-7


def first_order(problem: Problem) -> Any:
    """θ* − θ̇(1), the influence function's estimate of θ*₋."""
    return influence(problem).estimate


@claim(
    "H01",
    "First-order influence approximates leave-one-out; for least squares its relative error is exactly the leverage",
    "Influence Functions vs Leverage; Hayashi's formula",
    rule=within("largest |relative error − leverage|", EXACT),
    computed="θ* − θ̇(1) by the package against θ*₋ by least squares on the kept rows; leverage P_jj from the pseudo-inverse "
    "of X",
    family=FAMILY,
    corrected="Without the factor 1/(1 − P_jj) the estimate misses by exactly P_jj of the displacement.",
)
def H01(scale: Scale, progress: Any, *, estimate: Any = first_order) -> Finding:
    """`estimate(problem)` is what is called first order."""

    def gap(batch: Batch) -> dict[str, Any]:
        full, left, moved = batch.moved()
        error, lever = relative(over_rows(estimate, batch.problems()) - left, full - left), batch.leverage()
        notes, correct = _signs(batch, full)
        return {"relative error": error, "leverage": lever, "gap": np.abs(error - lever), "counts": moved,
                "notes": notes, "correct": correct}  # fmt: skip

    found = measure(gap, batches(scale, singular=False), progress, "influence against leave-one-out")
    error, lever, largest = found["relative error"], found["leverage"], float(found["gap"].max())
    evidence = {
        "largest |relative error − leverage|": largest,
        "relative error of the first-order estimate": median(error),
        "instances where the estimate is within 10 %": share(error <= 0.1),
        "instances": found.rows,
        "largest leverage": float(lever.max()),
    }
    slip = Slip(
        "OLS influence: H⁻¹∇ℓ", "+(XᵀX)⁻¹x_i(y_i − x_iᵀθ̂)", "−(XᵀX)⁻¹x_i e_i; removing the point moves θ by its negative",
        float(found["notes"].max()), float(found["correct"].max()),
    )  # fmt: skip
    worst = found.extreme(found["gap"], "Largest disagreement", "leverage", "relative error")
    picture = Correlation(
        lever, error, ("leverage P of the deleted point", "relative error of θ* − θ̇(1)"),
        f"error = leverage, to {largest:.0e}", floor=1e-12, formula=np.asarray, named="error = P",
    )  # fmt: skip
    return Finding(evidence, tuple(evidence)[:3], worst, (slip,), picture)


def _signs(batch: Batch, full: Any) -> tuple[Any, Any]:
    """Errors of the notes' and the corrected form of H⁻¹∇ℓ_j, against H⁻¹ applied to a numerical gradient of ℓ_j."""
    (xj, yj), hessian, step = batch.deleted(), batch.moments(1.0)[0], 1e-5

    def residual(theta: Any) -> Any:
        return yj - np.einsum("ri,ri->r", xj, theta)

    units = step * np.eye(batch.dim)
    gradient = [(residual(full + unit) ** 2 - residual(full - unit) ** 2) / (4 * step) for unit in units]
    written = xj * residual(full)[:, None]
    truth, found = (np.linalg.solve(hessian, v[..., None])[..., 0] for v in (np.stack(gradient, axis=1), written))
    seen = np.abs(residual(full)) > 1e-3
    notes, correct = (np.where(seen, relative(sign * found - truth, truth), 0.0) for sign in (1, -1))
    return notes, correct


_RIDGES = (0.0, 0.01, 0.1, 1.0, 10.0, 100.0)


def newton(problem: Problem) -> Any:
    """θ_Nt, one Newton step on R⁻ from θ*."""
    return newton_estimate(problem).theta


def _h04_rule(evidence: Any) -> Any:
    if evidence["largest relative error for least squares"] > EXACT:
        return "fails"
    closes = evidence["instances where every larger ρ closes the gap further"]["share"] >= 0.99
    small = evidence["gap between the two estimates at ρ = 100 λ_max"]["median"] < 0.01
    return "holds" if closes and small else "depends"


@claim(
    "H04",
    "The Newton estimate is exact for least squares, and close to the influence estimate when the smallest eigenvalue "
    "(or the ridge) is large",
    "Definition 6 and the remark below it",
    rule=Rule(
        "fails if the Newton estimate misses θ*₋ by more than 1e-07 of the displacement; holds if besides the gap between "
        "the two estimates shrinks with every larger ridge on 99 % of the instances, to a median below 1 % at "
        "ρ = 100 λ_max; depends otherwise",
        _h04_rule,
    ),
    computed="both estimates at six ridges, from none to 100 times the largest eigenvalue; and on logistic regressions",
    family=FAMILY + "; logistic regressions with 30 points in three dimensions",
    corrected="Exact for a quadratic risk; the relative gap between the two estimates is the leverage, which a ridge lowers.",
)
def H04(scale: Scale, progress: Any, *, estimate: Any = newton) -> Finding:
    """`estimate(problem)` is what is called the Newton estimate."""

    def both(problem: Problem) -> Any:
        return estimate(problem), first_order(problem), optimum(problem).theta

    def gaps(batch: Batch) -> dict[str, Any]:
        full, left, moved = batch.moved()
        rates, kept = (np.linalg.eigvalsh(batch.moments(epsilon)[0]) for epsilon in (1.0, 0.0))
        ends = [over_rows(both, batch.problems(ridge * rates[:, -1])) for ridge in _RIDGES]
        gap = np.stack([relative(step - first, step - start) for step, first, start in ends], axis=1)
        error = relative(ends[0][0] - left, full - left)
        return {"gap": gap, "relative error": error, "λ_min(H₋)": kept[:, 0], "counts": moved}

    found = measure(gaps, batches(scale, singular=False), progress, "Newton estimates")
    gap, largest = found["gap"], float(found["relative error"].max())
    logistic = measure(_logistic, scale.seeds(min(scale.instances, 20)), progress, "logistic")
    evidence = {
        "largest relative error for least squares": largest,
        "gap between the two estimates at ρ = 0": median(gap[:, 0]),
        "gap between the two estimates at ρ = 100 λ_max": median(gap[:, -1]),
        "instances where every larger ρ closes the gap further": share((np.diff(gap, axis=1) <= 1e-12).all(axis=1)),
        "rank correlation of the gap with λ_min(H₋), ρ = 0": rank_correlation(gap[:, 0], found["λ_min(H₋)"]),
        "logistic regression: error of Newton over error of influence": median(logistic["ratio"]),
        "instances": found.rows,
    }
    worst = found.extreme(found["relative error"], "Largest error", "relative error")
    picture = Curves(
        np.arange(len(_RIDGES)), {"linear instances": gap},
        ("ridge ρ in units of λ_max(H)", "‖Newton − influence‖ / ‖Newton step‖"), f"Newton is exact to {largest:.0e}",
        quantiles=(0.1, 0.9), log="y", ticks=tuple(f"{ridge:g}" for ridge in _RIDGES),
    )  # fmt: skip
    return Finding(evidence, tuple(evidence)[:3], worst, (), picture)


def _logistic(seed: int) -> dict[str, Any] | None:
    """‖θ_Nt − θ*₋‖/‖θ_IF − θ*₋‖ of a logistic regression with a small ridge."""
    rng = np.random.default_rng([seed, 4])
    x = rng.standard_normal((30, 3))
    y = (x[:, 0] + rng.standard_normal(30) > 0).astype(int)
    if not 1 < y.sum() < 29:
        return None
    problem = Problem(LogisticRegression(), Dataset(x, y), delete=int(rng.integers(30)), ridge=0.1)
    left = optimum(problem, 0.0).theta
    return {"ratio": float(jnp.linalg.norm(newton(problem) - left) / jnp.linalg.norm(first_order(problem) - left))}
