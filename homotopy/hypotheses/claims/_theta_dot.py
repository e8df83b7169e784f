"""H05, H18: θ̇, how it changes along ε, and what it has to do with the Jacobian of θ(𝛆)."""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ...endpoints import influence, theta_dot, theta_dot_change, weight_jacobian
from ...problem import Problem
from .._evidence import median, share
from .._hypothesis import Finding, Rule, Scale, claim
from .._instances import RIDGE, Batch, batches, over_rows, relative, trained
from .._measure import NO_MINIMUM, measure
from .._pictures import Correlation
from ._influence import EXACT, FAMILY

SAME = 0.1
_GRID = np.linspace(0.0, 1.0, 17)
_SIMPSON = np.array([1.0, *[4.0, 2.0] * 7, 4.0, 1.0]) / 48.0


def _h05_rule(evidence: Any) -> Any:
    if evidence["violations of ‖θ̇(1) − θ̇(0)‖ ≤ max ‖θ̈‖"]["count"]:
        return "fails"
    return "holds" if evidence["linear instances where θ̇(0) is within 10 % of θ̇(1)"]["low"] >= 0.9 else "depends"


@claim(
    "H05",
    "θ̇(1) is about θ̇(0) (within 10 %), and their difference is at most max ‖θ̈‖",
    "“How different really is θ̇(1) from θ̇(0)?”",
    rule=Rule(
        "fails if the bound is violated once; holds if besides at least 90 % of the linear instances (95 % confidence) have "
        "θ̇(0) within 10 % of θ̇(1); depends otherwise",
        _h05_rule,
    ),
    computed="θ̇ and θ̈ at 17 values of ε by one factorisation each; for networks along the continued path",
    family=FAMILY + "; six points of each 3-neuron network on 20 points (ridge 0.01)",
    corrected="The bound holds. For least squares θ̇(0) = (1 + h)² θ̇(1), h = P/(1 − P): within 10 % exactly while P ≤ 0.0465.",
)
def H05(scale: Scale, progress: Any, *, second: float = 1.0) -> Finding:
    """`second` scales θ̈ (1 is right)."""

    def along(problem: Problem, thetas: Any) -> Any:
        return jax.vmap(partial(theta_dot, problem))(thetas, jnp.asarray(_GRID))

    def changes(batch: Batch) -> dict[str, Any]:
        moved = batch.moved()[2]
        first, bend = over_rows(along, batch.problems(), np.stack([batch.optimum(e) for e in _GRID], axis=1))
        bend, size = second * bend, np.where(moved, np.linalg.norm(first[:, -1], axis=1), 1.0)
        difference = first[:, -1] - first[:, 0]
        return {
            "change": np.linalg.norm(difference, axis=1) / size, "leverage": batch.leverage(), "counts": moved,
            "bound": np.linalg.norm(bend, axis=2).max(axis=1) / size,
            "unexplained": relative(difference - np.einsum("k,rki->ri", _SIMPSON, bend), difference),
        }  # fmt: skip

    found = measure(changes, batches(scale, singular=False), progress, "θ̇ along ε")
    points = [{"seed": seed, "deleted": int(point)} for seed in scale.seeds(scale.networks)
              for point in np.random.default_rng(seed).choice(20, 6, replace=False)]  # fmt: skip
    networks = measure(_network_change, points, progress, "θ̇ of networks", NO_MINIMUM)
    change, bound, lever = found["change"], found["bound"], found["leverage"]
    h = lever / (1 - lever)
    low = lever < 0.9  # Simpson's rule on 17 points sees no steeper bend
    over = (change > bound * (1 + 1e-9), networks["change"] * (1 - 1e-6) > second * networks["bound"])
    evidence = {
        "violations of ‖θ̇(1) − θ̇(0)‖ ≤ max ‖θ̈‖": share(np.concatenate(over)),
        "linear instances where θ̇(0) is within 10 % of θ̇(1)": share(change <= SAME),
        "networks: ‖θ̇(1) − θ̇(0)‖ / ‖θ̇(1)‖": median(networks["change"]),
        "networks where θ̇(0) is within 10 % of θ̇(1)": share(networks["change"] <= SAME),
        "linear: largest error of (1 + h)² − 1": float(np.abs(change / ((1 + h) ** 2 - 1) - 1)[lever > 1e-6].max()),
        "linear: ∫θ̈ misses the change by (median)": float(np.median(found["unexplained"][low])),
        "leverage up to which 10 % holds (linear)": 1.0 - 1.0 / np.sqrt(1.0 + SAME),
    }
    middle = evidence["networks: ‖θ̇(1) − θ̇(0)‖ / ‖θ̇(1)‖"]["median"]
    picture = Correlation(
        lever, change, ("leverage P of the deleted point", "‖θ̇(1) − θ̇(0)‖ / ‖θ̇(1)‖"), f"networks: median {middle:.2g}",
        floor=1e-12, formula=lambda p: (1 / (1 - np.minimum(p, 0.999))) ** 2 - 1, named="(1 + h)² − 1", level=(SAME, "10 %"),
    )  # fmt: skip
    return Finding(
        evidence, tuple(evidence)[:3], found.extreme(change - bound, "Tightest bound", "change", "bound"), (), picture
    )


def _network_change(seed: int, deleted: int) -> dict[str, Any]:
    """Change and bound, relative to ‖θ̇(1)‖, of a point of a trained network."""
    problem, _, full = trained(seed)
    here = theta_dot_change(problem.deleting(deleted), start=full, count=17)
    size = float(jnp.linalg.norm(here.theta_dot_full))
    return {"change": float(here.change) / size, "bound": float(here.bound) / size}


def slope(problem: Problem) -> Any:
    """θ̇(1) of the deleted point."""
    return influence(problem).theta_dot


def _h18_rule(evidence: Any) -> Any:
    exact = ("largest ‖θ̇ʲ − column j of Jθ‖ / ‖column‖", "largest |Σ columns − ρH⁻¹θ*| / largest entry")
    near = evidence["largest error against a finite difference of θ(ε)"] <= 1e-5
    return "holds" if near and all(evidence[name] <= EXACT for name in exact) else "fails"


@claim(
    "H18",
    "There is a link between θ̇ʲ and Jθ: θ̇ʲ(1) is column j of the Jacobian of θ(𝛆) at 𝛆 = 1",
    "Question after Definition 6",
    rule=Rule(
        "holds if θ̇ʲ equals column j to 1e-07 and a central difference of θ(ε) to 1e-05, and the columns sum to ρH⁻¹θ* to "
        "1e-07; fails otherwise",
        _h18_rule,
    ),
    computed="θ̇ʲ by the influence function, the Jacobian by one factorisation, and central differences of θ(ε)",
    family=FAMILY + "; one point and one pair of each 3-neuron network",
    corrected="Column j of Jθ is −H⁻¹∇ℓ_j(θ*); the columns sum to ρH⁻¹θ*, so to 0 without a ridge.",
)
def H18(scale: Scale, progress: Any, *, theta_dot_of: Any = slope) -> Finding:
    """`theta_dot_of(problem)` is what is called θ̇ʲ."""

    def link(problem: Problem) -> Any:
        jacobian = weight_jacobian(problem)
        largest = jnp.max(jnp.abs(jacobian))
        return jacobian[:, problem.delete[0]], jnp.sum(jacobian, axis=1), largest, theta_dot_of(problem)

    def differences(batch: Batch) -> dict[str, Any]:
        column, total, size, dot = over_rows(link, batch.problems())
        ahead = (batch.optimum(1 + 1e-4) - batch.optimum(1 - 1e-4)) / 2e-4
        seen = np.linalg.norm(dot, axis=1) > 1e-6 * size
        to_column, to_ahead = (np.where(seen, relative(dot - other, other), 0.0) for other in (column, ahead))
        return {"relative difference": to_column, "ahead": to_ahead, "sum": np.linalg.norm(total, axis=1) / size}

    found = measure(differences, batches(scale, singular=False), progress, "the Jacobian of θ(𝛆)")
    networks = measure(_network_link, scale.seeds(scale.networks), progress, "networks", NO_MINIMUM)
    columns = np.append(found["relative difference"], networks["column"])
    evidence = {
        "largest ‖θ̇ʲ − column j of Jθ‖ / ‖column‖": float(columns.max()),
        "largest error against a finite difference of θ(ε)": float(found["ahead"].max()),
        "largest |Σ columns − ρH⁻¹θ*| / largest entry": float(np.append(found["sum"], networks["sum"]).max()),
        "groups of networks: θ̇ of a pair against the sum of columns": float(networks["pair"].max(initial=0.0)),
        "instances": len(columns),
    }
    worst = found.extreme(found["relative difference"], "Largest difference", "relative difference")
    return Finding(evidence, tuple(evidence)[:3], worst)


def _network_link(seed: int) -> dict[str, Any]:
    """Relative differences of θ̇ʲ from its column, of the sum of columns from ρH⁻¹θ*, of a pair from its two columns."""
    problem, _, theta = trained(seed)
    problem = problem.deleting(seed % 20)
    jacobian = np.asarray(weight_jacobian(problem, theta=theta))
    dot, pair = (np.asarray(influence(p, theta=theta).theta_dot) for p in (problem, problem.deleting([0, 1])))
    expected = RIDGE * np.linalg.solve(np.asarray(eqx.filter_jit(problem.hessian)(theta)), np.asarray(theta))
    column, both = jacobian[:, seed % 20], jacobian[:, 0] + jacobian[:, 1]
    return {
        "column": relative(dot - column, column), "pair": relative(pair - both, both),
        "sum": np.linalg.norm(jacobian.sum(axis=1) - expected) / np.abs(jacobian).max(),
    }  # fmt: skip
