"""H07, H08, H09, H17: the flow itself. Limits, closed forms, and what has none."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy.linalg import expm
from scipy.special import erfcx

from ..._errors import WorkError
from ...endpoints import leave_one_out
from ...flow import Constant, Step, simulate
from ...problem import MLP, Problem, datasets
from .._evidence import median, rank_correlation, share
from .._hypothesis import Finding, Hypothesis, Rule, Scale, Slip
from .._instances import Batch, batches, over_rows, random_batch

_FAMILY = (
    "random linear problems in d = 1, 2, 5, 20, a quarter with singular H₋, from zero, random and trained starts, and "
    "real data (diabetes, stackloss)"
)
EXACT = 1e-7


def _scale_of(batch: Batch, *thetas: Any) -> Any:
    """The size against which distances of a batch are measured."""
    return 1e-9 + sum(np.linalg.norm(theta, axis=1) for theta in (batch.theta0, *thetas))


def _told(what: str, example: dict[str, Any]) -> dict[str, Any] | None:
    """An example for the report, if one was found."""
    return {"what": what, **example} if example else None


# H07 ----------------------------------------------------------------------------------------------------------------


def stepwise(problem: Problem, s: Any, theta0: Any, t1: Any) -> Any:
    """θ(T, s) of notes eq. 0.9: ε = 1 until s, then 0 until T."""
    return simulate(problem, Step(s), theta0, t1=t1, ts=t1[None]).theta1


def _h07(scale: Scale, progress: Any, *, flow: Any = stepwise) -> Finding:
    regular, inside, outside, over = [], [], [], []
    worst: tuple[float, dict[str, Any]] = (-1.0, {})
    with progress.task("θ(T, s)", len(scale.dims) + 2 + scale.networks) as advance:
        for batch in batches(scale):
            target = batch.optimum(0.0)
            size = _scale_of(batch, target)
            smallest = np.linalg.eigvalsh(batch.moments(0.0)[0])[:, 0]
            mean = np.trace(batch.moments(1.0)[0], axis1=1, axis2=2) / batch.dim
            for part in (0.3, 3.0):
                s = part / mean
                forever = over_rows(flow, batch.problems(), s, batch.theta0, np.full(batch.rows, np.inf))
                gap = np.linalg.norm(forever - target, axis=1) / _scale_of(batch, target, forever)
                regular.append(gap[~batch.singular])
                inside.append(gap[batch.singular & batch.inside])
                off = batch.singular & ~batch.inside
                outside.append(gap[off])
                if off.any() and gap[off].max() > worst[0]:
                    row = int(np.flatnonzero(off)[gap[off].argmax()])
                    told = {"s": float(s[row]), "‖θ(∞, s) − θ*₋‖ / size": float(gap[row])}
                    worst = float(gap[row]), batch.describe(row) | told
                # Finite T: ‖θ(T, s) − θ*₋‖ ≤ e^{−λ_min(H₋)(T−s)} ‖θ(s) − θ*₋‖.
                t1 = s + 2.0 / mean
                rows = ~batch.singular
                at_s = over_rows(flow, batch.problems(), s, batch.theta0, s)
                at_t = over_rows(flow, batch.problems(), s, batch.theta0, t1)
                bound = np.exp(-smallest * (t1 - s)) * np.linalg.norm(at_s - target, axis=1)
                over.append((np.linalg.norm(at_t - target, axis=1) > bound * (1 + 1e-9) + 1e-9 * size)[rows])
            advance(1)
        networks = [gap for seed in scale.seeds(scale.networks) for gap in _network_limits(seed, advance)]
    off_range = np.concatenate(outside)
    evidence = {
        "H₋ regular: largest ‖θ(∞, s) − θ*₋‖ / size": float(np.concatenate(regular).max(initial=0.0)),
        "H₋ singular, x_j outside ran X₋: instances that miss θ*₋": share(off_range > 1e-6),
        "networks: instances that end elsewhere than cold retraining": share(np.array(networks) > 1e-2),
        "H₋ singular, x_j in ran X₋: largest distance": float(np.concatenate(inside).max(initial=0.0)),
        "finite T: violations of ‖θ(T,s) − θ*₋‖ ≤ e^{−λ_min(H₋)(T−s)} ‖θ(s) − θ*₋‖": share(np.concatenate(over)),
        "instances": int(sum(len(part) for part in (*regular, *inside, *outside))),
    }

    def draw(ax: Any) -> None:
        names = ("H₋ regular", "singular,\nx_j in ran X₋", "singular,\nx_j outside", "networks")
        parts = (np.concatenate(regular), np.concatenate(inside), off_range, np.array(networks))
        for k, values in enumerate(parts):
            spread = np.random.default_rng(k).uniform(-0.25, 0.25, len(values))
            ax.semilogy(k + spread, np.maximum(values, 1e-16), ".", ms=4, alpha=0.6)
        ax.set_xticks(range(4), names)
        ax.set(ylabel="‖θ(∞, s) − θ*₋‖, relative")
        ax.set_title("where does ε = 1_[0,s] end as T → ∞?", fontsize=9.5)

    return Finding(evidence, tuple(evidence)[:3], _told("Farthest from θ*₋", worst[1]), (), draw)


def _network_limits(seed: int, advance: Any) -> list[float]:
    """Relative distance, in outputs, of training until s and then without the point, from cold retraining."""
    problem = Problem(MLP(width=3), datasets.teacher_student(n=20, seed=seed), delete=seed % 20, ridge=1e-2)
    theta0 = problem.initial(seed)
    found = []
    try:
        cold = problem.predict(leave_one_out(problem, theta0=theta0).theta)
        for s in (1.0, 30.0):
            begin = simulate(problem, Constant(1.0), theta0, t1=s, ts=[s], rtol=1e-7).theta1
            end = problem.predict(leave_one_out(problem, theta0=begin).theta)
            found.append(float(jnp.linalg.norm(end - cold) / jnp.linalg.norm(cold)))
    except WorkError:  # no minimum from this start
        found = []
    advance(1)
    return found


def _h07_rule(evidence: Any) -> Any:
    if evidence["H₋ regular: largest ‖θ(∞, s) − θ*₋‖ / size"] > EXACT:
        return "fails"
    exceptions = (
        "H₋ singular, x_j outside ran X₋: instances that miss θ*₋",
        "networks: instances that end elsewhere than cold retraining",
    )
    return "depends" if any(evidence[name]["count"] for name in exceptions) else "holds"


H07 = Hypothesis(
    "H07",
    "θ(∞, s) = θ*₋ for every s: however long the point was used, training on without it forgets it",
    "Question at eq. 0.9",
    _h07,
    Rule(
        "fails if θ(∞, s) misses θ*₋ by more than 1e-07 (relative) where H₋ is regular; depends if it misses on singular or "
        "on network instances; holds otherwise",
        _h07_rule,
    ),
    "θ(∞, s) by the exact engine for two s, against θ*₋, the limit of ε = 0 from θ₀; finite T against e^{−λ_min(T−s)}; "
    "networks by the limit of the flow",
    _FAMILY + "; 3-neuron networks on 20 points (ridge 0.01)",
    "True if H₋ ≻ 0, or x_j lies in the span of the kept rows. Otherwise what training put into ker H₋ stays for ever, and a "
    "network may end in another basin. For finite T the distance is at most e^{−λ_min(H₋)(T−s)} ‖θ(s) − θ*₋‖.",
)


# H08 ----------------------------------------------------------------------------------------------------------------


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


def _h08(scale: Scale, progress: Any, *, formula: Any = limit) -> Finding:
    errors, unique, flat, late = [], [], [], []
    worst: tuple[float, dict[str, Any]] = (-1.0, {})
    with progress.task("limits of LRGF", len(scale.dims) + 2) as advance:
        for batch in batches(scale):
            other = batch.theta0 + np.random.default_rng(batch.dim).standard_normal(batch.theta0.shape)
            ends = [over_rows(everything_deleted, batch.problems(), start) for start in (batch.theta0, other)]
            size = _scale_of(batch, ends[0], other)
            errors.append(np.max([np.linalg.norm(end - formula(batch, start), axis=1) / size
                                  for end, start in zip(ends, (batch.theta0, other), strict=True)], axis=0))  # fmt: skip
            apart = np.linalg.norm(ends[0] - ends[1], axis=1) / size
            rates = np.linalg.eigvalsh(batch.moments(1.0)[0])
            singular = rates[:, 0] <= 1e-9 * rates[:, -1]
            unique.append(apart <= 1e-7)
            flat.append(singular)
            if apart.max() > worst[0]:
                row = int(apart.argmax())
                worst = float(apart[row]), batch.describe(row) | {"distance of two limits / size": float(apart[row])}
            late.append(_late(batch, ends[0], rates, singular))
            advance(1)
    one, singular = np.concatenate(unique), np.concatenate(flat)
    evidence = {
        "largest error of the limit formula (relative)": float(np.concatenate(errors).max()),
        "H singular: instances with one limit for both starts": share(one[singular]),
        "H ≻ 0: instances with one limit for both starts": share(one[~singular]),
        "an independent matrix exponential at t = 40/λ differs by at most": float(
            np.concatenate(late).max(initial=0.0)
        ),
        "instances": int(one.size),
    }
    slip = Slip(
        "Lemma 0.0.1 (error: share of instances with two limits)",
        "a unique asymptotically stable equilibrium (tested on singular H)",
        "only if H ≻ 0 (tested on those); else a stable affine family, and θ₀ chooses",
        _part(~one[singular]), _part(~one[~singular]),
    )  # fmt: skip
    return Finding(evidence, tuple(evidence)[:3], {"what": "Two starts, two limits", **worst[1]}, (slip,))


def _part(hits: Any) -> float:
    return float(np.mean(hits)) if len(hits) else 0.0


def _late(batch: Batch, end: Any, rates: Any, singular: Any) -> Any:
    """‖θ(t) − θ(∞)‖ at t = 40 over the smallest rate that is not 0, by SciPy's matrix exponential (small d only)."""
    if batch.dim > 5:
        return np.zeros(0)
    hessian, drive = batch.moments(1.0)
    smallest = np.where(rates > 1e-9 * rates[:, -1:], rates, np.inf).min(axis=1)
    found = []
    for row in range(min(batch.rows, 20)):
        theta = _augmented(hessian[row], drive[row], batch.theta0[row], 40.0 / smallest[row])
        found.append(np.linalg.norm(theta - end[row]) / (1 + np.linalg.norm(end[row])))
    return np.array(found)


def _augmented(hessian: Any, drive: Any, theta0: Any, t: float) -> Any:
    """θ(t) of θ̇ = b − Hθ from the matrix exponential of [[−H, b], [0, 0]]."""
    d = len(drive)
    block = np.zeros((d + 1, d + 1))
    block[:d, :d], block[:d, d] = -hessian, drive
    return (expm(t * block) @ np.append(theta0, 1.0))[:d]


def _h08_rule(evidence: Any) -> Any:
    if evidence["largest error of the limit formula (relative)"] > EXACT:
        return "fails"
    regular, flat = (evidence[f"{kind}: instances with one limit for both starts"] for kind in ("H ≻ 0", "H singular"))
    if regular["count"] < regular["of"]:
        return "fails"
    return "holds" if flat["count"] == flat["of"] else "depends"


H08 = Hypothesis(
    "H08",
    "LRGF has a unique asymptotically stable equilibrium, H⁺Xᵀy + (I − Xᵀ(XXᵀ)⁺X)θ₀",
    "Lemma 0.0.1",
    _h08,
    Rule(
        "fails if the formula misses the limit of the flow by more than 1e-07 (relative), or if two starts have two limits "
        "although H ≻ 0; depends if they do only where H is singular; holds otherwise",
        _h08_rule,
    ),
    "the limit from two starts by the exact engine, the formula by pseudo-inverses in NumPy, and e^{−Ht} by SciPy",
    _FAMILY,
    "The limit formula is right, but the equilibrium is unique (and asymptotically stable) only if H ≻ 0; else there is a "
    "stable affine family θ* + ker H, and θ₀ chooses its member.",
)


# H09 ----------------------------------------------------------------------------------------------------------------


def as_in_the_notes(epsilon: float) -> float:
    """By what the row x_j and the target y_j are scaled in 0.11."""
    return epsilon


def _h09(scale: Scale, progress: Any, *, row_scale: Any = as_in_the_notes) -> Finding:
    theirs: list[Any] = []
    ours: list[Any] = []
    used = []
    worst: tuple[float, dict[str, Any]] = (-1.0, {})
    with progress.task("eq. 0.11", len(scale.dims) + 2) as advance:
        for batch in batches(scale):
            mean = np.trace(batch.moments(1.0)[0], axis1=1, axis2=2) / batch.dim
            t = 1.5 / mean
            for epsilon in (0.0, 0.1, 0.5, 0.9, 1.0):
                moments = zip(*batch.moments(epsilon), batch.theta0, t, strict=True)
                truth = np.stack([_augmented(*one) for one in moments])
                size = np.linalg.norm(truth - batch.theta0, axis=1) + 1e-6 * (1 + np.linalg.norm(truth, axis=1))
                for scaled, found in ((row_scale(epsilon), theirs), (np.sqrt(epsilon), ours)):
                    found.append(np.linalg.norm(_closed_form(batch, scaled, t) - truth, axis=1) / size)
                used.append(np.full(batch.rows, epsilon))
                if theirs[-1].max() > worst[0]:
                    row = int(theirs[-1].argmax())
                    told = {"epsilon": epsilon, "t": float(t[row]), "relative error": float(theirs[-1][row])}
                    worst = float(theirs[-1][row]), batch.describe(row) | told
            advance(1)
    error, correct, epsilons = np.concatenate(theirs), np.concatenate(ours), np.concatenate(used)
    between = (epsilons > 0) & (epsilons < 1)
    evidence = {
        "largest relative error of 0.11 as written": float(error.max()),
        "largest relative error with row and target scaled by √ε": float(correct.max()),
        "error of 0.11 as written, 0 < ε < 1": median(error[between]),
        "largest error of 0.11 as written at ε = 0 and 1": float(error[~between].max(initial=0.0)),
        "instances": int(error.size),
    }
    slip = Slip(
        "0.11: X_ε, y_ε",
        "x_j and y_j scaled by ε",
        "x_j and y_j scaled by √ε",
        float(error.max()),
        float(correct.max()),
    )

    def draw(ax: Any) -> None:
        for k, epsilon in enumerate(np.unique(epsilons)):
            here = epsilons == epsilon
            spread = np.random.default_rng(k).uniform(-0.03, 0.03, int(here.sum()))
            for values, color, name in (
                (error, "#D55E00", "scaled by ε (notes)"),
                (correct, "#0072B2", "scaled by √ε"),
            ):
                ax.semilogy(epsilon + spread, np.maximum(values[here], 1e-16), ".", ms=3, alpha=0.5, color=color,
                            label=name if k == 0 else None)  # fmt: skip
        ax.set(xlabel="ε", ylabel="relative error of θ(t, ε)")
        ax.set_title("closed form against the matrix exponential", fontsize=9.5)
        ax.legend(fontsize=8)

    return Finding(evidence, tuple(evidence)[:3], {"what": "Largest error of 0.11", **worst[1]}, (slip,), draw)


def _closed_form(batch: Batch, scaled: float, t: Any) -> Any:
    """e^{−Ht}θ₀ + (I − e^{−Ht})H⁺b with the deleted row and target multiplied by `scaled`, singular H included."""
    hessian, drive = batch.moments(scaled**2)
    rates, vectors = np.linalg.eigh(hessian)
    still = rates <= 1e-12 * np.maximum(rates[:, -1:], 1e-300)
    decay = np.exp(-np.where(still, 0.0, rates) * t[:, None])
    start, push = (np.einsum("rij,ri->rj", vectors, v) for v in (batch.theta0, drive))
    moved = np.where(still, 0.0, -np.expm1(-rates * t[:, None]) / np.where(still, 1.0, rates)) * push
    return np.einsum("rij,rj->ri", vectors, decay * start + moved)


def _h09_rule(evidence: Any) -> Any:
    if evidence["largest relative error of 0.11 as written"] <= 1e-6:
        return "holds"
    if evidence["largest relative error with row and target scaled by √ε"] > 1e-6:
        raise WorkError("neither form of 0.11 matches the matrix exponential: the computation itself is wrong")
    return "fails"


H09 = Hypothesis(
    "H09",
    "For constant ε the flow has the closed form 0.11, with the row x_j and the target y_j scaled by ε",
    "Eq. 0.11",
    _h09,
    Rule(
        "holds if the form as written matches the flow to 1e-06 (relative) on every instance and ε; fails otherwise, provided "
        "that the corrected form does match (else nothing is decided)",
        _h09_rule,
    ),
    "both closed forms at ε = 0, 0.1, 0.5, 0.9, 1 against SciPy's matrix exponential of the flow",
    _FAMILY,
    "The form is right with row and target scaled by √ε; scaled by ε the weight in the risk is ε².",
)


# H17 ----------------------------------------------------------------------------------------------------------------


def _h17(scale: Scale, progress: Any, *, closed: Any = None) -> Finding:
    """`closed` replaces the closed form of the scalar equation: a test passes a wrong one."""
    solve = scalar_decay if closed is None else closed
    exact, naive, apart = [], [], []
    worst: tuple[float, dict[str, Any]] = (-1.0, {})
    slip = [0.0, 0.0]
    with progress.task("linear decay", len(scale.dims)) as advance:
        for d in scale.dims:
            batch = random_batch(scale, d)
            batch = batch.take(~batch.singular)
            one = _Decay.of(batch)
            turned = one.commuting()
            exact.append(turned.error(turned.modewise(solve), turned.integrated()))
            if d > 1:
                truth = one.integrated()
                naive.append(one.error(one.frozen(), truth))
                slip[0] = max(slip[0], float(one.error(one.integrated(as_written=True), truth).max()))
                slip[1] = max(slip[1], float(one.error(one.integrated(finer=2), truth).max()))
                apart.append(one.commutator())
                if naive[-1].max() > worst[0]:
                    row = int(naive[-1].argmax())
                    told = {"commutator (relative)": apart[-1][row], "error of the naive form": naive[-1][row]}
                    worst = float(naive[-1][row]), batch.describe(row) | told
            advance(1)
    none = [np.zeros(0)]
    errors, wrong, apart_all = (np.concatenate([*none, *parts]) for parts in (exact, naive, apart))
    evidence: dict[str, Any] = {
        "scalar and commuting cases: largest error of the closed form": float(errors.max(initial=0.0)),
        "general case: error of the form that would hold if H₋ and x_jx_jᵀ commuted": median(wrong),
        "general case: rank correlation of that error with the commutator": rank_correlation(wrong, apart_all),
        "scalar and commuting instances": int(errors.size),
        "general instances": int(wrong.size),
    }
    slips = (
        Slip("0.14", "coefficient −Σ_{i≠j}x_ix_iᵀ + x_jx_jᵀ r/(s−t₁)",
             "with the constant −t₁/(t₁−s)·x_jx_jᵀ too: ε = (t₁−t)/(t₁−s)", *slip),
    )  # fmt: skip

    def draw(ax: Any) -> None:
        floor = max(evidence["scalar and commuting cases: largest error of the closed form"], 1e-16)
        ax.loglog(np.maximum(apart_all, 1e-6), np.maximum(wrong, 1e-14), ".", color="#D55E00", ms=4, alpha=0.6)
        ax.axhline(floor, color="#0072B2", lw=1)
        ax.annotate("scalar and commuting cases (largest error)", (0.02, floor), xycoords=("axes fraction", "data"),
                    xytext=(0, 4), textcoords="offset points", fontsize=8, color="#0072B2")  # fmt: skip
        ax.set(xlabel="‖[H₋, x_jx_jᵀ]‖ / (‖H₋‖ ‖x_jx_jᵀ‖)", ylabel="relative error of e^{−∫H}")
        ax.set_title("the closed form needs H₋ and x_jx_jᵀ to commute", fontsize=9.5)

    return Finding(evidence, tuple(evidence)[:3], _told("Largest error of the naive form", worst[1]), slips, draw)


class _Decay(NamedTuple):
    """θ̇ = b₋ − H₋θ + ε(t) x_j(y_j − x_jᵀθ), ε = (t₁−t)/(t₁−s), from s to t₁, from θ(s) = start; one problem a row."""

    hessian: Any
    drive: Any
    x: Any
    y: Any
    start: Any
    s: Any
    t1: Any

    @classmethod
    def of(cls, batch: Batch) -> "_Decay":
        """Decays over about the time in which the risk falls."""
        (hessian, drive), (x, y) = batch.moments(0.0), batch.deleted()
        length = 2.0 / (np.trace(hessian, axis1=1, axis2=2) / batch.dim + np.sum(x * x, axis=1))
        return cls(hessian, drive, x, y, batch.theta0, 0.2 * length, 1.2 * length)

    @property
    def length(self) -> Any:
        return self.t1 - self.s

    @property
    def outer(self) -> Any:
        return self.x[:, :, None] * self.x[:, None, :]

    def commuting(self) -> "_Decay":
        """The same with x_j turned into an eigenvector of H₋."""
        vectors = np.linalg.eigh(self.hessian)[1]
        return self._replace(x=np.linalg.norm(self.x, axis=1)[:, None] * vectors[:, :, 0])

    def commutator(self) -> Any:
        """‖[H₋, x_jx_jᵀ]‖ over the product of the norms."""
        apart = np.linalg.norm(self.hessian @ self.outer - self.outer @ self.hessian, axis=(1, 2))
        return apart / (np.linalg.norm(self.hessian, axis=(1, 2)) * np.linalg.norm(self.outer, axis=(1, 2)))

    def modewise(self, solve: Any) -> Any:
        """θ(t₁) in closed form, mode by mode of H₋; x_j lies along the first."""
        rates, vectors = np.linalg.eigh(self.hessian)
        start, drive = (np.einsum("rij,ri->rj", vectors, v) for v in (self.start, self.drive))
        decay = rates * self.length[:, None]
        end = np.exp(-decay) * start - np.expm1(-decay) / rates * drive
        along = np.einsum("ri,ri->r", vectors[:, :, 0], self.x)
        end[:, 0] = solve(rates[:, 0], along**2, drive[:, 0], along * self.y, start[:, 0], self.length)
        return np.einsum("rij,rj->ri", vectors, end)

    def frozen(self) -> Any:
        """e^{−∫H} with the integral of H_ε(t) in one exponential: right if all H_ε(t) commute."""
        nodes, weights = np.polynomial.legendre.leggauss(24)

        def decay(left: Any) -> Any:  # over the last `left` units of time
            bent = left**2 / (2.0 * self.length)
            return expm(-(self.hessian * left[:, None, None] + self.outer * bent[:, None, None]))

        theta = np.einsum("rij,rj->ri", decay(self.length), self.start)
        for node, weight in zip(nodes, weights, strict=True):
            left = 0.5 * self.length * (node + 1.0)
            push = self.drive + (left / self.length * self.y)[:, None] * self.x
            theta = theta + (0.5 * self.length * weight)[:, None] * np.einsum("rij,rj->ri", decay(left), push)
        return theta

    def integrated(self, *, as_written: bool = False, finer: int = 1) -> Any:
        """θ(t₁) by Runge–Kutta; `as_written` with the coefficient of 0.14, which lacks its constant term."""
        fastest = np.linalg.norm(self.hessian, 2, axis=(1, 2)) + np.sum(self.x**2, axis=1)
        steps = finer * int(300 + 20 * float((self.length * fastest).max(initial=0.0)))
        h = self.length / steps

        def speed(done: float, theta: Any) -> Any:
            epsilon = 1.0 - done
            t = self.s + done * self.length
            weight = -t / self.length if as_written else epsilon
            residual = epsilon * self.y - weight * np.einsum("ri,ri->r", self.x, theta)
            return h[:, None] * (self.drive - np.einsum("rij,rj->ri", self.hessian, theta) + residual[:, None] * self.x)

        theta = self.start
        for k in range(steps):
            k1 = speed(k / steps, theta)
            k2 = speed((k + 0.5) / steps, theta + 0.5 * k1)
            k3 = speed((k + 0.5) / steps, theta + 0.5 * k2)
            k4 = speed((k + 1.0) / steps, theta + k3)
            theta = theta + (k1 + 2 * k2 + 2 * k3 + k4) / 6.0
        return theta

    def error(self, found: Any, truth: Any) -> Any:
        """‖found − truth‖ relative to how far θ moved."""
        size = np.linalg.norm(truth - self.start, axis=1) + 1e-6 * (1 + np.linalg.norm(truth, axis=1))
        return np.linalg.norm(found - truth, axis=1) / size


def scalar_decay(rate: Any, extra: Any, drive: Any, push: Any, start: Any, length: Any) -> Any:
    """z(L) of ż = b − λz + (1 − u/L)(c − gz), elementwise: Gaussian integrals, by the error function.

    λ `rate`, g `extra`, b `drive`, c `push`, v = L − u the time that is left:
    z(L) = e^{−λL − gL/2} z(0) + ∫₀ᴸ e^{−λv − gv²/2L} (b + cv/L) dv.
    """
    shape, total = extra / (2.0 * length), rate * length + 0.5 * extra * length
    root = np.sqrt(shape)
    low = rate / (2.0 * root)
    # erfcx = e^{z²} erfc(z) keeps the digits where λ is large beside g.
    zeroth = 0.5 * np.sqrt(np.pi) / root * (erfcx(low) - np.exp(-total) * erfcx(low + root * length))
    first = (-np.expm1(-total) - rate * zeroth) / (2.0 * shape)
    return np.exp(-total) * start + drive * zeroth + push / length * first


def _h17_rule(evidence: Any) -> Any:
    if evidence["scalar and commuting cases: largest error of the closed form"] > 1e-8:
        return "holds"
    return "depends"


H17 = Hypothesis(
    "H17",
    "Linear decay (0.14) has no closed-form solution",
    "Eq. 0.14",
    _h17,
    Rule(
        "depends if a closed form matches the integrated flow to 1e-08 in the scalar and the commuting cases; holds if none "
        "does. (That the general case has none is not something a computation can show.)",
        _h17_rule,
    ),
    "Gaussian integrals (error function) in the scalar and commuting cases, e^{−∫H} in the general one, against Runge–Kutta",
    "random linear problems in d = 1, 2, 5, 20; for the commuting case x_j is turned into an eigenvector of H₋",
    "There is one, by error functions, if d = 1 or x_j is an eigenvector of H₋. Where H₋ and x_jx_jᵀ do not commute, the same "
    "form is wrong.",
)
