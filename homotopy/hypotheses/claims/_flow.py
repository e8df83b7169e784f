"""H07, H08, H09: the flow itself, its limits and its closed form."""

from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy.linalg import expm

from ..._errors import WorkError
from ...endpoints import leave_one_out
from ...flow import Constant, Step, simulate
from ...problem import Problem
from .._evidence import median, share
from .._hypothesis import Finding, Rule, Scale, Slip, claim
from .._instances import Batch, batches, network, over_rows
from .._measure import join, measure
from .._pictures import Ratios

_FAMILY = (
    "random linear problems in d = 1, 2, 5, 20, a quarter with singular H₋, from zero, random and trained starts, and "
    "real data (diabetes, stackloss)"
)
EXACT = 1e-7


def _size(batch: Batch, *thetas: Any) -> Any:
    """The size against which distances of a batch are measured."""
    return 1e-9 + sum(np.linalg.norm(theta, axis=1) for theta in (batch.theta0, *thetas))


def stepwise(problem: Problem, s: Any, theta0: Any, t1: Any) -> Any:
    """θ(T, s) of notes eq. 0.9: ε = 1 until s, then 0 until T."""
    return simulate(problem, Step(s), theta0, t1=t1, ts=t1[None]).theta1


def _h07_rule(evidence: Any) -> Any:
    if evidence["H₋ regular: largest ‖θ(∞, s) − θ*₋‖ / size"] > EXACT:
        return "fails"
    exceptions = (
        "H₋ singular, x_j outside ran X₋: instances that miss θ*₋",
        "networks: instances that end elsewhere than cold retraining",
    )
    return "depends" if any(evidence[name]["count"] for name in exceptions) else "holds"


@claim(
    "H07",
    "θ(∞, s) = θ*₋ for every s: however long the point was used, training on without it forgets it",
    "Question at eq. 0.9",
    rule=Rule(
        "fails if θ(∞, s) misses θ*₋ by more than 1e-07 (relative) where H₋ is regular; depends if it misses on singular or "
        "on network instances; holds otherwise",
        _h07_rule,
    ),
    computed="θ(∞, s) by the exact engine for two s, against θ*₋, the limit of ε = 0 from θ₀; finite T against "
    "e^{−λ_min(T−s)}; networks by the limit of the flow",
    family=_FAMILY + "; 3-neuron networks on 20 points (ridge 0.01)",
    corrected="True if H₋ ≻ 0, or x_j lies in the span of the kept rows. Otherwise what training put into ker H₋ stays for "
    "ever, and a network may end in another basin. For finite T the distance is at most e^{−λ_min(H₋)(T−s)} ‖θ(s) − θ*₋‖.",
)
def H07(scale: Scale, progress: Any, *, flow: Any = stepwise) -> Finding:
    """`flow(problem, s, theta0, t1)` is what is called θ(T, s)."""

    def gaps(batch: Batch, part: float) -> dict[str, Any]:
        target, mean = batch.optimum(0.0), np.trace(batch.moments(1.0)[0], axis1=1, axis2=2) / batch.dim
        s, t1, never = part / mean, (part + 2.0) / mean, np.full(batch.rows, np.inf)
        at_s, at_t, forever = (over_rows(flow, batch.problems(), s, batch.theta0, t) for t in (s, t1, never))
        away, later, end = (np.linalg.norm(theta - target, axis=1) for theta in (at_s, at_t, forever))
        # Finite T: ‖θ(T, s) − θ*₋‖ ≤ e^{−λ_min(H₋)(T−s)} ‖θ(s) − θ*₋‖.
        bound = np.exp(-np.linalg.eigvalsh(batch.moments(0.0)[0])[:, 0] * (t1 - s)) * away
        return {"s": s, "‖θ(∞, s) − θ*₋‖ / size": end / _size(batch, target, forever),
                "over": later > bound * (1 + 1e-9) + 1e-9 * _size(batch, target)}  # fmt: skip

    found = join(measure(partial(gaps, part=part), batches(scale), progress, "θ(∞, s)") for part in (0.3, 3.0))
    networks = measure(_network_limits, scale.seeds(scale.networks), progress, "networks", (WorkError,))
    gap, singular, inside = found["‖θ(∞, s) − θ*₋‖ / size"], found["singular"], found["inside"]
    outside = singular & ~inside
    evidence = {
        "H₋ regular: largest ‖θ(∞, s) − θ*₋‖ / size": float(gap[~singular].max(initial=0.0)),
        "H₋ singular, x_j outside ran X₋: instances that miss θ*₋": share(gap[outside] > 1e-6),
        "networks: instances that end elsewhere than cold retraining": share(networks["gap"] > 1e-2),
        "H₋ singular, x_j in ran X₋: largest distance": float(gap[singular & inside].max(initial=0.0)),
        "finite T: violations of ‖θ(T,s) − θ*₋‖ ≤ e^{−λ_min(H₋)(T−s)} ‖θ(s) − θ*₋‖": share(found["over"][~singular]),
        "instances": found.rows,
    }
    worst = found.extreme(np.where(outside, gap, -np.inf), "Farthest from θ*₋", "s", "‖θ(∞, s) − θ*₋‖ / size")
    groups = {"H₋ regular": gap[~singular], "singular,\nx_j in ran X₋": gap[singular & inside],
              "singular,\nx_j outside": gap[outside], "networks": networks["gap"]}  # fmt: skip
    picture = Ratios(groups, "‖θ(∞, s) − θ*₋‖, relative", "where does ε = 1_[0,s] end as T → ∞?")
    return Finding(evidence, tuple(evidence)[:3], worst, (), picture)


def _network_limits(seed: int) -> dict[str, Any]:
    """Relative distance, in outputs, of training until s and then without the point, from cold retraining; two s."""
    problem = network(seed).deleting(seed % 20)
    theta0 = problem.initial(seed)
    cold = problem.predict(leave_one_out(problem, theta0=theta0).theta)
    begins = [simulate(problem, Constant(1.0), theta0, t1=s, ts=[s], rtol=1e-7).theta1 for s in (1.0, 30.0)]
    ends = [problem.predict(leave_one_out(problem, theta0=begin).theta) for begin in begins]
    return {"gap": [float(jnp.linalg.norm(end - cold) / jnp.linalg.norm(cold)) for end in ends]}


def limit(batch: Batch, theta0: Any) -> Any:
    """H⁺Xᵀy + (I − Xᵀ(XXᵀ)⁺X) θ₀, as Lemma 0.0.1 writes it."""
    x = batch.x[:1] if batch.x.strides[0] == 0 else batch.x  # real data: one X for all rows
    outer = np.linalg.pinv(x @ x.swapaxes(1, 2), rcond=1e-12, hermitian=True)
    kernel = np.broadcast_to(np.eye(batch.dim) - x.swapaxes(1, 2) @ outer @ x, (batch.rows, batch.dim, batch.dim))
    moments = np.linalg.pinv(batch.moments(1.0)[0], rcond=1e-12, hermitian=True)
    return np.einsum("rij,rnj,rn->ri", moments, batch.x, batch.y) + np.einsum("rij,rj->ri", kernel, theta0)


def everything_deleted(problem: Problem, theta0: Any) -> Any:
    """θ(∞) of LRGF by the exact engine."""
    return simulate(problem, Constant(1.0), theta0, t1=jnp.inf, ts=jnp.full(1, jnp.inf)).theta1


def _h08_rule(evidence: Any) -> Any:
    if evidence["largest error of the limit formula (relative)"] > EXACT:
        return "fails"
    regular, flat = (evidence[f"{kind}: instances with one limit for both starts"] for kind in ("H ≻ 0", "H singular"))
    if regular["count"] < regular["of"]:
        return "fails"
    return "holds" if flat["count"] == flat["of"] else "depends"


@claim(
    "H08",
    "LRGF has a unique asymptotically stable equilibrium, H⁺Xᵀy + (I − Xᵀ(XXᵀ)⁺X)θ₀",
    "Lemma 0.0.1",
    rule=Rule(
        "fails if the formula misses the limit of the flow by more than 1e-07 (relative), or if two starts have two limits "
        "although H ≻ 0; depends if they do only where H is singular; holds otherwise",
        _h08_rule,
    ),
    computed="the limit from two starts by the exact engine, the formula by pseudo-inverses in NumPy, and e^{−Ht} by SciPy",
    family=_FAMILY,
    corrected="The limit formula is right, but the equilibrium is unique (and asymptotically stable) only if H ≻ 0; else there "
    "is a stable affine family θ* + ker H, and θ₀ chooses its member.",
)
def H08(scale: Scale, progress: Any, *, formula: Any = limit) -> Finding:
    """`formula(batch, theta0)` is the limit that is claimed."""

    def limits(batch: Batch) -> dict[str, Any]:
        other = batch.theta0 + np.random.default_rng(batch.dim).standard_normal(batch.theta0.shape)
        starts = (batch.theta0, other)
        ends = [over_rows(everything_deleted, batch.problems(), start) for start in starts]
        size, rates = _size(batch, ends[0], other), np.linalg.eigvalsh(batch.moments(1.0)[0])
        missed = [np.linalg.norm(end - formula(batch, start), axis=1) for end, start in zip(ends, starts, strict=True)]
        return {
            "error": np.max(missed, axis=0) / size, "late": _late(batch, ends[0], rates),
            "distance of two limits / size": np.linalg.norm(ends[0] - ends[1], axis=1) / size,
            "flat": rates[:, 0] <= 1e-9 * rates[:, -1],
        }  # fmt: skip

    found = measure(limits, batches(scale), progress, "limits of LRGF")
    apart, flat = found["distance of two limits / size"], found["flat"]
    one = apart <= 1e-7
    evidence = {
        "largest error of the limit formula (relative)": float(found["error"].max()),
        "H singular: instances with one limit for both starts": share(one[flat]),
        "H ≻ 0: instances with one limit for both starts": share(one[~flat]),
        "an independent matrix exponential at t = 40/λ differs by at most": float(found["late"].max()),
        "instances": found.rows,
    }
    slip = Slip(
        "Lemma 0.0.1 (error: share of instances with two limits)",
        "a unique asymptotically stable equilibrium (tested on singular H)",
        "only if H ≻ 0 (tested on those); else a stable affine family, and θ₀ chooses",
        *(float(np.mean(~one[mask])) if mask.any() else 0.0 for mask in (flat, ~flat)),
    )  # fmt: skip
    picture = Ratios(
        {"H ≻ 0": apart[~flat], "H singular": apart[flat]}, "distance of the limits from two starts, relative",
        "is the equilibrium unique?",
    )  # fmt: skip
    worst = found.extreme(apart, "Two starts, two limits", "distance of two limits / size")
    return Finding(evidence, tuple(evidence)[:3], worst, (slip,), picture)


def _late(batch: Batch, end: Any, rates: Any) -> Any:
    """‖θ(t) − θ(∞)‖ at t = 40 over the smallest rate that is not 0, by SciPy's matrix exponential (some rows, small d only)."""
    hessian, drive = batch.moments(1.0)
    smallest = np.where(rates > 1e-9 * rates[:, -1:], rates, np.inf).min(axis=1)
    found = np.zeros(batch.rows)
    for row in range(min(batch.rows, 20) if batch.dim <= 5 else 0):
        theta = _augmented(hessian[row], drive[row], batch.theta0[row], 40.0 / smallest[row])
        found[row] = np.linalg.norm(theta - end[row]) / (1 + np.linalg.norm(end[row]))
    return found


def _augmented(hessian: Any, drive: Any, theta0: Any, t: float) -> Any:
    """θ(t) of θ̇ = b − Hθ from the matrix exponential of [[−H, b], [0, 0]]."""
    d = len(drive)
    block = np.zeros((d + 1, d + 1))
    block[:d, :d], block[:d, d] = -hessian, drive
    return (expm(t * block) @ np.append(theta0, 1.0))[:d]


_EPSILONS = np.array([0.0, 0.1, 0.5, 0.9, 1.0])


def as_in_the_notes(epsilon: float) -> float:
    """By what the row x_j and the target y_j are scaled in 0.11."""
    return epsilon


def _h09_rule(evidence: Any) -> Any:
    if evidence["largest relative error of 0.11 as written"] <= 1e-6:
        return "holds"
    if evidence["largest relative error with row and target scaled by √ε"] > 1e-6:
        raise WorkError("neither form of 0.11 matches the matrix exponential: the computation itself is wrong")
    return "fails"


@claim(
    "H09",
    "For constant ε the flow has the closed form 0.11, with the row x_j and the target y_j scaled by ε",
    "Eq. 0.11",
    rule=Rule(
        "holds if the form as written matches the flow to 1e-06 (relative) on every instance and ε; fails otherwise, provided "
        "that the corrected form does match (else nothing is decided)",
        _h09_rule,
    ),
    computed="both closed forms at ε = 0, 0.1, 0.5, 0.9, 1 against SciPy's matrix exponential of the flow",
    family=_FAMILY,
    corrected="The form is right with row and target scaled by √ε; scaled by ε the weight in the risk is ε².",
)
def H09(scale: Scale, progress: Any, *, row_scale: Any = as_in_the_notes) -> Finding:
    """`row_scale(ε)` is the factor that is claimed."""

    def errors(batch: Batch) -> dict[str, Any]:
        t = 1.5 * batch.dim / np.trace(batch.moments(1.0)[0], axis1=1, axis2=2)
        found = []
        for epsilon in _EPSILONS:
            rows = zip(*batch.moments(epsilon), batch.theta0, t, strict=True)
            truth = np.stack([_augmented(*row) for row in rows])
            size = np.linalg.norm(truth - batch.theta0, axis=1) + 1e-6 * (1 + np.linalg.norm(truth, axis=1))
            forms = (_closed_form(batch, scaled, t) for scaled in (row_scale(epsilon), np.sqrt(epsilon)))
            found.append([np.linalg.norm(form - truth, axis=1) / size for form in forms])
        notes, correct = np.moveaxis(np.array(found), 0, -1)  # (rows, ε) each
        worst = {"epsilon": _EPSILONS[notes.argmax(axis=1)], "t": t, "relative error": notes.max(axis=1)}
        return {"notes": notes, "correct": correct, **worst}

    found = measure(errors, batches(scale), progress, "eq. 0.11")
    notes, correct = found["notes"], found["correct"]
    evidence = {
        "largest relative error of 0.11 as written": float(notes.max()),
        "largest relative error with row and target scaled by √ε": float(correct.max()),
        "error of 0.11 as written, 0 < ε < 1": median(notes[:, 1:-1]),
        "largest error of 0.11 as written at ε = 0 and 1": float(notes[:, [0, -1]].max()),
        "instances": int(notes.size),
    }
    slip = Slip(
        "0.11: X_ε, y_ε",
        "x_j and y_j scaled by ε",
        "x_j and y_j scaled by √ε",
        float(notes.max()),
        float(correct.max()),
    )
    groups = {f"ε = {epsilon:g}": {"scaled by √ε": correct[:, k], "scaled by ε (notes)": notes[:, k]}
              for k, epsilon in enumerate(_EPSILONS)}  # fmt: skip
    picture = Ratios(groups, "relative error of θ(t, ε)", "closed form against the matrix exponential")
    worst = found.extreme(found["relative error"], "Largest error of 0.11", "epsilon", "t", "relative error")
    return Finding(evidence, tuple(evidence)[:3], worst, (slip,), picture)


def _closed_form(batch: Batch, scaled: float, t: Any) -> Any:
    """e^{−Ht}θ₀ + (I − e^{−Ht})H⁺b with the deleted row and target multiplied by `scaled`, singular H included."""
    hessian, drive = batch.moments(scaled**2)
    rates, vectors = np.linalg.eigh(hessian)
    still = rates <= 1e-12 * np.maximum(rates[:, -1:], 1e-300)
    decay = np.exp(-np.where(still, 0.0, rates) * t[:, None])
    start, push = (np.einsum("rij,ri->rj", vectors, v) for v in (batch.theta0, drive))
    moved = np.where(still, 0.0, -np.expm1(-rates * t[:, None]) / np.where(still, 1.0, rates)) * push
    return np.einsum("rij,rj->ri", vectors, decay * start + moved)
