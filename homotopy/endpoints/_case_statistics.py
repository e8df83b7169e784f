"""The columns of `Diagnostics`: what every point does to a fit, for least squares and for the classification losses.

Notation, least squares: H = QQᵀ the hat matrix of the n rows, Q from a QR of [X; √ρ I] in columns of equal size; h_i
leverage, e_i residual, r_i = e_i/(1 − h_i) deleted residual, p = tr H, m outputs, s² = Σe²/(nm − p), s_(i)² the same
without point i. All of it is exact with a ridge too: Σ_{k≠i}‖e_k + h_ki r_i‖² are the squares that are left.
"""

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float

from .._columns import column_scales
from ..problem import LogisticLoss, Problem
from ._all import leave_one_out_proof
from ._curvature import Curvature, definite
from ._deletion import deletion
from ._endpoint import Outcome
from ._influence import NOTHING_LEFT
from ._leverage import ROUNDING, WITHOUT_DAMPING, changes, freedom_left, is_perfect, rounding_of
from ._points import outputs_per_point

# A difference that keeps less than this part of its terms is summed up term by term instead.
_CANCELLED = 1e-3
# θ → ∞ without such a row; every other outcome but CONVERGED leaves it undefined.
_INFINITE = (int(Outcome.SEPARABLE), int(Outcome.MISSING_CLASS))


class Cases(NamedTuple):
    """Columns by name, numbers of the whole fit by name, masks of undefined rows by reason, and an `Outcome` per row."""

    columns: dict[str, np.ndarray]
    whole: dict[str, float]
    undefined: dict[str, np.ndarray]
    outcome: np.ndarray


def least_squares(problem: Problem, theta: Float[Array, " dim"]) -> Cases:
    """Belsley, Kuh and Welsch (1980, ch. 2) for linear regression, with ridge and several outputs."""
    definite(Curvature(problem, theta), "diagnostics", cure=WITHOUT_DAMPING)
    without = deletion(problem)
    n, m = problem.n, outputs_per_point(problem)
    h, left = np.asarray(without.leverage), np.asarray(without.left)
    freedom = freedom_left(problem, m * float(h.sum()))
    unit = float(np.abs(np.asarray(without.residual)).max()) or 1.0  # so that no square over- or underflows
    e, r = np.asarray(without.residual) / unit, np.asarray(without.deleted_residual) / unit
    q, roots = _hat(problem)
    moved = np.einsum("jk,ik,ic->ijc", roots, q, r).reshape(n, -1) * unit  # θ* − θ*₋ᵢ
    scale = np.repeat(np.linalg.norm(roots, axis=1), m)
    perfect = is_perfect(problem, theta, np.asarray(without.residual))
    rounding = rounding_of(problem, theta) / unit
    with np.errstate(divide="ignore", invalid="ignore"):
        p, squares = n * m - freedom, float(np.sum(e**2))
        s2 = np.nan if perfect else squares / freedom
        rest, p_rest = _without_each(q, e, r, h, left, m, rounding)
        freedom_rest = (n - 1) * m - p_rest
        none_left = freedom_rest <= 1e-9 * n * m
        s2_rest = np.where(none_left | perfect, np.nan, rest / np.where(none_left, 1.0, freedom_rest))
        t = r * np.sqrt(left)[:, None] / np.sqrt(s2_rest)[:, None]
        first, step = h * np.sum(e**2, axis=1), h * np.sum(r**2, axis=1)  # ‖H⁻¹g_i‖² in the metric of B, and corrected
        cook = step / (p * s2)
        columns = {
            "leverage": m * h,
            "residual": e * unit,
            "deleted_residual": r * unit,
            "internally_studentised": r * np.sqrt(left)[:, None] / np.sqrt(s2),
            "externally_studentised": t,
            "cook": cook,
            "cook_influence": first / (p * s2),
            "cook_exact": cook,
            "influence_error": np.where(step > 0, h, np.nan),
            "newton_error": np.where(step > 0, 0.0, np.nan),
            "dffits": t * np.sqrt(h / left)[:, None],
            "covratio": (s2_rest / s2) ** problem.dim / left**m,
            "dfbetas": moved / unit / (np.sqrt(s2_rest)[:, None] * scale),
            "theta_without": np.asarray(theta) - moved,
        }
        total = np.asarray(problem.data.y).reshape(n, m) / unit
        spread = float(np.sum((total - total.mean(axis=0)) ** 2))
        press = float(np.sum(r**2))
        whole = {
            "effective_degrees_of_freedom": p,
            "residual_degrees_of_freedom": freedom,
            "dispersion": squares / freedom * unit**2,
            "press": press * unit**2,
            "predicted_r2": 1.0 - press / spread if spread > 0 else np.nan,
        }
    alike = {name: values.reshape(n, *problem.output_shape) for name, values in columns.items() if name in _PER_OUTPUT}
    outcome = np.asarray(without.outcome)
    undefined = _undefined(outcome, perfect, none_left, rest == 0)
    return Cases({**columns, **alike}, whole, undefined, outcome)


def _undefined(
    outcome: np.ndarray, perfect: bool, none_left: np.ndarray, perfect_without: np.ndarray
) -> dict[str, np.ndarray]:
    """Rows of a least-squares fit that have no value, by reason."""
    there = outcome == int(Outcome.CONVERGED)
    noisy = there & (not perfect)
    why = "so its externally studentised residual, DFFITS, DFBETAS and COVRATIO are 0/0"
    return {
        **_lost(outcome),
        "perfect fit: the residuals are rounding, and what is divided by them is 0/0": there & perfect,
        f"no degrees of freedom are left without it, {why}": noisy & none_left,
        "without it the fit is perfect, so its externally studentised residual is infinite": noisy
        & perfect_without
        & ~none_left,
    }


def classification(problem: Problem, theta: Float[Array, " dim"]) -> Cases:
    """Pregibon (1981) for logistic regression; for a softmax the same with matrices W_i (Lesaffre and Albert 1989)."""
    curvature = Curvature(problem, theta, hessian="gauss-newton")
    found = definite(curvature, "diagnostics", shifts=True, cure=WITHOUT_DAMPING)
    rows = jax.tree.map(np.asarray, changes(curvature, found))
    proof = leave_one_out_proof(problem, theta=theta)
    outcome, n = np.asarray(proof.outcome), problem.n
    roots = np.asarray(found.scale[:, None] * found.vectors)
    rates, flat = np.sqrt(np.asarray(found.rates)), np.asarray(found.flat)
    known = (outcome == int(Outcome.CONVERGED))[:, None]
    apart = np.where(known, np.asarray(proof.theta), np.nan) - np.asarray(theta)
    exact = (apart / np.asarray(found.scale)) @ np.asarray(found.vectors) * np.where(flat, 0.0, rates)
    roots = np.where(flat, 0.0, roots / np.where(flat, 1.0, rates))
    if flat.any():  # shifts change nothing: every feature's logits are told from their mean over the classes
        roots = _centred(roots, problem)
    none_left = rows.left <= NOTHING_LEFT
    p = float(rows.leverage.sum())
    chi2, deviance, signs = _pearson(problem, theta)
    size = np.linalg.norm(exact, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        step = np.where(none_left[:, None], np.nan, rows.step)
        gain = np.where(none_left, np.nan, rows.gain)
        left = np.where(none_left, np.nan, 1.0 - rows.leverage)
        infinite = np.isin(outcome, _INFINITE)
        columns = {
            "leverage": rows.leverage,
            "residual": np.asarray(_residual(problem, theta)),
            "pearson_residual": signs * np.sqrt(chi2),
            "deviance_residual": signs * np.sqrt(deviance),
            "cook": np.sum(step**2, axis=1) / p,
            "cook_influence": np.sum(rows.first**2, axis=1) / p,
            "cook_exact": np.where(infinite, np.inf, size**2 / p),
            "influence_error": np.linalg.norm(rows.first - exact, axis=1) / size,
            "newton_error": np.linalg.norm(step - exact, axis=1) / size,
            "delta_chi2": chi2 + gain,
            "delta_deviance": deviance + gain,
            "dfbetas": -(step @ roots.T) / np.linalg.norm(roots, axis=1),
            "theta_without": np.where(
                infinite[:, None], np.inf, np.where(np.isnan(exact[:, :1]), np.nan, np.asarray(proof.theta))
            ),
        }
        if isinstance(problem.loss, LogisticLoss):
            columns["studentised_pearson"] = columns["pearson_residual"] / np.sqrt(left)
            columns["studentised_deviance"] = columns["deviance_residual"] / np.sqrt(left)
    undefined = {**_lost(outcome), "leverage 1, so its one-step change is 0/0": none_left}
    whole = {
        "effective_degrees_of_freedom": p,
        "residual_degrees_of_freedom": n * max(1, outputs_per_point(problem) - 1) - p,
        "dispersion": 1.0,
        "deviance": float(deviance.sum()),
        "pearson_chi2": float(chi2.sum()),
    }
    return Cases(columns, whole, undefined, outcome)


_PER_OUTPUT = ("residual", "deleted_residual", "internally_studentised", "externally_studentised", "dffits")


def _hat(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Q of the n rows, and D R⁻¹, whose rows are B^{−½} in the user's units (features, features)."""
    x, ridge = np.asarray(problem.design), float(problem.ridge)
    rows = np.concatenate([x, np.sqrt(ridge) * np.eye(x.shape[1])]) if ridge > 0 else x
    scales = column_scales(rows)
    q, triangle = np.linalg.qr(rows / scales)
    return q[: len(x)], np.linalg.solve(triangle, np.eye(len(triangle))) / scales[:, None]


def _without_each(
    q: np.ndarray, e: np.ndarray, r: np.ndarray, h: np.ndarray, left: np.ndarray, m: int, rounding: float
) -> tuple[np.ndarray, np.ndarray]:
    """Σ_{k≠i}‖e_k + h_ki r_i‖², 0 where that is rounding, and tr of the hat matrix without i (all outputs)."""
    squares, total = np.sum(r**2, axis=1), float(np.sum(e**2))
    twice = np.sum((q @ (q.T @ q)) * q, axis=1)  # (H²)_ii
    others = twice - h**2
    rest = total + 2.0 * np.sum(r * (q @ (q.T @ e)), axis=1) + squares * (twice - 1.0)
    poor = (rest < _CANCELLED * (total + squares)) | (others < _CANCELLED * h)
    for row in np.flatnonzero(poor & np.isfinite(squares)):
        here = np.delete(q, row, axis=0) @ q[row]
        rest[row] = np.sum((np.delete(e, row, axis=0) + here[:, None] * r[row]) ** 2)
        others[row] = here @ here
    rest = np.where(rest <= (rounding + ROUNDING * np.sqrt(squares)) ** 2, 0.0, rest)
    return rest, m * (h.sum() - h + others / left)


def _lost(outcome: np.ndarray) -> dict[str, np.ndarray]:
    """Rows whose leave-one-out optimum is not known, by what became of it."""
    codes = sorted(set(outcome.tolist()) - {int(Outcome.CONVERGED)})
    return {Outcome(code).words: outcome == code for code in codes}


def _pearson(problem: Problem, theta: Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """χ²_i = 1/p_y − 1 = e^ℓ − 1 and deviance 2ℓ of every point, and the sign of y − p (1 for several classes)."""
    losses = np.asarray(problem.losses(theta))
    signs: Any = 1.0
    if isinstance(problem.loss, LogisticLoss):
        signs = 2.0 * np.asarray(problem.data.y) - 1.0
    return np.expm1(losses), 2.0 * losses, np.broadcast_to(signs, losses.shape)


def _residual(problem: Problem, theta: Array) -> Array:
    """y − p: −∇_ŷ ℓ."""
    return -jax.vmap(jax.grad(problem.loss.value))(problem.predict(theta), problem.data.y)


def _centred(roots: np.ndarray, problem: Problem) -> np.ndarray:
    blocks = roots.reshape(problem.design.shape[1], -1, roots.shape[1])
    return (blocks - blocks.mean(axis=1, keepdims=True)).reshape(roots.shape)
