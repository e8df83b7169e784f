"""H17: a linear decay of ε, and the closed form that it has where H₋ and x_jx_jᵀ commute."""

from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import expm
from scipy.special import erfcx

from ..._statistics import rank_correlation
from .._evidence import median
from .._hypothesis import Finding, Rule, Scale, Slip, claim
from .._instances import Batch, random_batch
from .._measure import measure
from .._pictures import Correlation

_EXACT = "scalar and commuting cases: largest error of the closed form"


class Decay(NamedTuple):
    """θ̇ = b₋ − H₋θ + ε(t) x_j(y_j − x_jᵀθ), ε = (t₁−t)/(t₁−s), from s to t₁, from θ(s) = start; one problem a row."""

    hessian: Any
    drive: Any
    x: Any
    y: Any
    start: Any
    s: Any
    t1: Any

    @classmethod
    def of(cls, batch: Batch) -> "Decay":
        """Decays over about the time in which the risk falls."""
        (hessian, drive), (x, y) = batch.moments(0.0), batch.deleted()
        length = 2.0 / (np.trace(hessian, axis1=1, axis2=2) / batch.dim + np.sum(x * x, axis=1))
        return cls(hessian, drive, x, y, batch.theta0, 0.2 * length, 1.2 * length)

    @property
    def length(self) -> Any:
        """t₁ − s."""
        return self.t1 - self.s

    @property
    def outer(self) -> Any:
        """x_jx_jᵀ."""
        return self.x[:, :, None] * self.x[:, None, :]

    def commuting(self) -> "Decay":
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


@claim(
    "H17",
    "Linear decay (0.14) has no closed-form solution",
    "Eq. 0.14",
    rule=Rule(
        "depends if a closed form matches the integrated flow to 1e-08 in the scalar and the commuting cases; holds if none "
        "does. (That the general case has none is not something a computation can show.)",
        lambda evidence: "holds" if evidence[_EXACT] > 1e-8 else "depends",
    ),
    computed="Gaussian integrals (error function) in the scalar and commuting cases, e^{−∫H} in the general one, against "
    "Runge–Kutta",
    family="random linear problems in d = 1, 2, 5, 20; for the commuting case x_j is turned into an eigenvector of H₋",
    corrected="There is one, by error functions, if d = 1 or x_j is an eigenvector of H₋. Where H₋ and x_jx_jᵀ do not commute, "
    "the same form is wrong.",
)
def H17(scale: Scale, progress: Any, *, closed: Any = scalar_decay) -> Finding:
    """`closed` is the closed form of the scalar equation."""

    def errors(batch: Batch) -> dict[str, Any]:
        one = Decay.of(batch)
        turned = one.commuting()
        found = {"exact": turned.error(turned.modewise(closed), turned.integrated())}
        if batch.dim == 1:
            return found | dict.fromkeys(("commutator", "naive", "as written", "finer"), np.zeros(batch.rows))
        truth = one.integrated()
        ends = {"naive": one.frozen(), "as written": one.integrated(as_written=True), "finer": one.integrated(finer=2)}
        return found | {"commutator": one.commutator()} | {name: one.error(end, truth) for name, end in ends.items()}

    regular = (batch.take(~batch.singular) for batch in (random_batch(scale, d) for d in scale.dims))
    found = measure(errors, (batch for batch in regular if batch.rows), progress, "linear decay")
    general = found.where(found["d"] > 1)
    wrong, apart = general["naive"], general["commutator"]
    evidence: dict[str, Any] = {
        _EXACT: float(found["exact"].max(initial=0.0)),
        "general case: error of the form that would hold if H₋ and x_jx_jᵀ commuted": median(wrong),
        "general case: rank correlation of that error with the commutator": rank_correlation(wrong, apart),
        "scalar and commuting instances": found.rows,
        "general instances": general.rows,
    }
    slip = Slip(
        "0.14", "coefficient −Σ_{i≠j}x_ix_iᵀ + x_jx_jᵀ r/(s−t₁)",
        "with the constant −t₁/(t₁−s)·x_jx_jᵀ too: ε = (t₁−t)/(t₁−s)",
        float(general["as written"].max(initial=0.0)), float(general["finer"].max(initial=0.0)),
    )  # fmt: skip
    shown = {"commutator (relative)": apart, "error of the naive form": wrong}
    worst = general.extreme(wrong, "Largest error of the naive form", **shown)
    picture = Correlation(
        apart, wrong, ("‖[H₋, x_jx_jᵀ]‖ / (‖H₋‖ ‖x_jx_jᵀ‖)", "relative error of e^{−∫H}"),
        "the closed form needs H₋ and x_jx_jᵀ to commute", floor=1e-14,
        level=(max(evidence[_EXACT], 1e-16), "scalar and commuting (largest)"),
    )  # fmt: skip
    return Finding(evidence, tuple(evidence)[:3], worst, (slip,), picture)
