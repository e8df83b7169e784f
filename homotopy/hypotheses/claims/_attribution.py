"""H20, H21, H22: which points matter, at what price that is known, and when."""

import time
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..._statistics import rank_correlation
from ...attribution import RefitUtility, exact_shapley
from ...endpoints import influence_matrix
from ...flow import Constant, sensitivity
from ...problem import Dataset, LinearRegression, LogisticRegression, Problem, datasets
from .._evidence import majority, median, share
from .._hypothesis import Finding, Rule, Scale, claim
from .._instances import network
from .._measure import measure
from .._pictures import Correlation, Curves

_BETTER = "data sets where the points that Shapley keeps give the lower test loss"
_N = 14  # training points: 2¹⁴ subsets are enumerated
_FLIPPED = 3


def _noisy(seed: int) -> tuple[Problem, Dataset, Dataset, Any]:
    """A small logistic regression with three labels turned round; query and test points; which were turned."""
    rng = np.random.default_rng([seed, 20])

    def draw(n: int) -> tuple[Any, Any]:
        x = np.column_stack([rng.standard_normal((n, 2)), np.ones(n)])
        return x, (2.0 * x[:, 0] + x[:, 1] + 0.5 * rng.logistic(size=n) > 0).astype(int)

    x, y = draw(_N)
    y[:4] = 0, 1, 0, 1
    turned = rng.choice(_N, _FLIPPED, replace=False)
    y[turned] = 1 - y[turned]
    if y.min() == y.max():
        y[0] = 1 - y[0]
    problem = Problem(LogisticRegression(), Dataset(x, y), delete=0, ridge=0.3)
    return problem, Dataset(*draw(100)), Dataset(*draw(1000)), turned


def shapley_values(problem: Problem, queries: Dataset) -> Any:
    """Exact Data Shapley of minus the mean query loss; + = the point helps."""
    return exact_shapley(RefitUtility(problem, queries), problem.n)


def influence_values(problem: Problem, queries: Dataset) -> Any:
    """Influence of removing each point on the mean query loss; + = the point helps."""
    return np.asarray(influence_matrix(problem, queries)).mean(axis=0)


def _best(score: Any) -> Any:
    """Masks of the best 5, 7, 9 and 11 points."""
    order = np.argsort(-np.asarray(score))
    masks = np.zeros((4, _N), dtype=bool)
    for row, count in enumerate((5, 7, 9, 11)):
        masks[row, order[:count]] = True
    return masks


@claim(
    "H20",
    "Shapley values find the informative points better than influence functions",
    "Other interesting things, [3]",
    rule=Rule(
        "holds if on more than half of the data sets (95 % confidence) the 5 to 11 points with the highest Shapley values give "
        "a lower test loss than those with the highest influence; fails if on less than half; depends otherwise",
        majority(_BETTER),
    ),
    computed="exact Shapley values (all 2¹⁴ subsets, refitted) and influence, both on 100 query points; models retrained on the "
    "best points, loss on 1000 others",
    family="logistic regressions on 14 points in the plane, three labels turned round (ridge 0.3)",
    corrected="Shapley values average over all orders in which points could arrive, at 2ⁿ refits (or many sampled orders); "
    "influence looks at the trained model only, at one factorisation.",
)
def H20(scale: Scale, progress: Any, *, values: Any = shapley_values) -> Finding:
    """`values(problem, queries)` is what is called Shapley values."""

    def compare(seed: int) -> dict[str, Any]:
        problem, queries, test, turned = _noisy(seed)
        times = [time.perf_counter()]
        scores = []
        for method in (values, influence_values):
            scores.append(method(problem, queries))
            times.append(time.perf_counter())
        utility = RefitUtility(problem, test)
        losses = [-float(np.mean(utility(_best(score)))) for score in scores]
        hits = [len(set(np.argsort(score)[:_FLIPPED]) & set(turned)) / _FLIPPED for score in scores]
        return {"test loss of the points kept by Shapley": losses[0], "by influence": losses[1], "hits": hits,
                "cost": (times[1] - times[0]) / (times[2] - times[1])}  # fmt: skip

    found = measure(compare, scale.seeds(5 * scale.networks), progress, "Shapley values by enumeration")
    ours, theirs, hits = found["test loss of the points kept by Shapley"], found["by influence"], found["hits"]
    evidence = {
        _BETTER: share(ours < theirs),
        "test loss with the points kept by influence − by Shapley": median(theirs - ours),
        "turned labels among the three lowest: Shapley − influence": median(hits[:, 0] - hits[:, 1]),
        "mean share of turned labels found (Shapley, influence)": [float(v) for v in hits.mean(axis=0)],
        "seconds of Shapley over seconds of influence": float(np.median(found["cost"])),
        "data sets": found.rows,
    }
    worst = found.extreme(ours - theirs, "Worst for Shapley", "test loss of the points kept by Shapley", "by influence")
    picture = Correlation(
        theirs, ours, ("test loss, points kept by influence", "test loss, points kept by Shapley"),
        "below the line Shapley finds the better points", formula=np.asarray,
    )  # fmt: skip
    return Finding(evidence, tuple(evidence)[:3], worst, (), picture)


_DRAWS = (400, 1200, 4000)
_LOCALISATION = 1.0
_SAMPLED = "relative error of the sampled influences"
_DAMPED = "β large: largest relative distance from damped influence"
_COST = "error after 400 draws over error after all"


def covariances(x: Any, y: Any, star: Any, beta: float = 1.0) -> Any:
    """−β Cov(ℓ_i, ℓ_k) under ∝ exp(−βR − ½γ‖θ − θ*‖²) for least squares: −β(g_iᵀΣg_k + ½(x_iᵀΣx_k)²)."""
    sigma = np.linalg.inv(beta * x.T @ x + _LOCALISATION * np.eye(x.shape[1]))
    gradients = -x * (y - x @ star)[:, None]
    inner = x @ sigma @ x.T
    return -beta * (gradients @ sigma @ gradients.T + 0.5 * inner**2)


def _sampled(x: Any, y: Any, star: Any, rng: Any) -> Any:
    """Losses (draws, n) along Metropolis-adjusted Langevin chains: gradients only."""
    hessian = x.T @ x + _LOCALISATION * np.eye(x.shape[1])
    step = 0.4 / np.linalg.eigvalsh(hessian)[-1]
    chains = 8
    theta = np.tile(star, (chains, 1))

    def energy(theta: Any) -> tuple[Any, Any]:
        residual = y - theta @ x.T
        away = theta - star
        value = 0.5 * np.sum(residual**2, axis=1) + 0.5 * _LOCALISATION * np.sum(away**2, axis=1)
        return value, -residual @ x + _LOCALISATION * away

    value, slope = energy(theta)
    kept = []
    for k in range(_DRAWS[-1] // chains + 100):
        noise = rng.standard_normal(theta.shape)
        trial = theta - step * slope + np.sqrt(2 * step) * noise
        new_value, new_slope = energy(trial)
        back = theta - trial + step * new_slope
        ratio = value - new_value + 0.5 * np.sum(noise**2, axis=1) - np.sum(back**2, axis=1) / (4 * step)
        accept = np.log(rng.random(chains)) < ratio
        theta = np.where(accept[:, None], trial, theta)
        value, slope = np.where(accept, new_value, value), np.where(accept[:, None], new_slope, slope)
        if k >= 100:
            kept.append(0.5 * (y - theta @ x.T) ** 2)
    return np.concatenate(kept)


def _limit(x: Any, y: Any, star: Any, exact: Any) -> float:
    """−β Cov at β = 10⁶ against −g_iᵀ(H + γ/β I)⁻¹g_k, relative."""
    beta = 1e6
    gradients = -x * (y - x @ star)[:, None]
    damped = -gradients @ np.linalg.solve(x.T @ x + _LOCALISATION / beta * np.eye(x.shape[1]), gradients.T)
    return float(np.linalg.norm(exact(x, y, star, beta) - damped) / np.linalg.norm(damped))


def _h21_rule(evidence: Any) -> Any:
    near = [evidence[f"{kind}: {_SAMPLED}"] for kind in ("H singular", "H ≻ 0")]
    if max(value["median"] for value in near if value["of"]) > 0.25 or evidence[_DAMPED] > 1e-3:
        return "fails"
    return "holds" if evidence[_COST]["median"] > 1.5 else "depends"


@claim(
    "H21",
    "Bayesian influence needs no inverse Hessian and survives singular minima, at a sampling cost",
    "Other interesting things, [6]",
    rule=Rule(
        "fails if after 4000 draws the sampled influences are off by more than 25 % in the median, with H singular or not, or "
        "if for large β they are not damped influence to 0.1 %; holds if besides ten times fewer draws are at least 1.5 times "
        "worse (the sampling cost); depends otherwise",
        _h21_rule,
    ),
    computed="−Cov(ℓ_i, ℓ_k) under the localised posterior (γ = 1, β = 1) by Langevin sampling with gradients only, against the "
    "closed form of least squares",
    family="least squares with 20 points and 4 parameters; every other problem has a singular H",
    corrected="−Cov needs gradients only; its error falls like one over the square root of the number of draws.",
)
def H21(scale: Scale, progress: Any, *, closed: Any = covariances) -> Finding:
    """`closed` is the closed form of the covariance."""

    def errors(seed: int) -> dict[str, Any]:
        rng, flat = np.random.default_rng([seed, 21]), bool(seed % 2)
        x = rng.standard_normal((20, 4))
        x[:, 3] = x[:, 0] - x[:, 1] if flat else x[:, 3]  # singular H for every other seed
        y = x @ rng.standard_normal(4) + 0.5 * rng.standard_normal(20)
        star = np.linalg.pinv(x) @ y
        truth, sampled = closed(x, y, star), _sampled(x, y, star, rng)
        found = [float(np.linalg.norm(-np.cov(sampled[:count].T) - truth) / np.linalg.norm(truth)) for count in _DRAWS]
        return {"H singular": flat, "errors": found, "relative error after 4000 draws": found[-1],
                "refused": np.linalg.matrix_rank(x) < 4, "limit": _limit(x, y, star, closed)}  # fmt: skip

    found = measure(errors, scale.seeds(2 * max(scale.networks, 1)), progress, "localised posteriors")
    error, flat = found["errors"], found["H singular"]
    evidence = {
        f"H singular: {_SAMPLED}": median(error[flat, -1]),
        f"H ≻ 0: {_SAMPLED}": median(error[~flat, -1]),
        "draws of the sampler (each one gradient of all points)": _DRAWS[-1],
        _COST: median(error[:, 0] / error[:, -1]),
        "singular instances whose H has no inverse": share(found["refused"][flat]),
        _DAMPED: float(found["limit"].max()),
    }
    worst = found.extreme(error[:, -1], "Largest sampling error", "H singular", "relative error after 4000 draws")
    picture = Curves(
        _DRAWS, {"H ≻ 0": error[~flat], "H singular": error[flat]},
        ("draws (gradients of all points)", "relative error of −Cov(ℓ_i, ℓ_k)"), "no inverse is needed, but many gradients",
        ticks=tuple(map(str, _DRAWS)),
    )  # fmt: skip
    return Finding(evidence, tuple(evidence)[:3], worst, (), picture)


_PHASES = np.array([0.02, 0.1, 0.3, 1.0])
_TENTH = "rank correlation of importance at 0.1 T and at T"


@eqx.filter_jit
def _importances(problem: Problem, theta0: Any, ts: Any, queries: Dataset) -> Any:
    """d(mean query loss)/dε_j of the model at each time, for every point j (times, n), by the flow's sensitivity."""

    def loss(theta: Any) -> Any:
        return jnp.mean(jax.vmap(problem.loss.value)(problem.predict(theta, queries.x), queries.y))

    def one(j: Any) -> Any:
        found = sensitivity(problem.deleting(j[None]), Constant(1.0), theta0, t1=ts[-1], ts=ts)
        return jax.vmap(lambda theta, dot: jax.jvp(loss, (theta,), (dot,))[1])(found.thetas, found.sensitivities)

    return jax.lax.map(one, jnp.arange(problem.n)).T


def _learner(kind: str, seed: int) -> tuple[Problem, Dataset, float]:
    """A problem, query points, and how long it trains."""
    rng = np.random.default_rng([seed, 22])
    if kind == "networks":
        problem = network(seed)
        x = rng.uniform(-2.0, 2.0, 50)
        return problem, Dataset(x[:, None], datasets.teacher(3, seed)(x)), 60.0
    x = rng.standard_normal((20, 3)) * np.array([2.0, 1.0, 0.5])
    truth = rng.standard_normal(3)
    data = Dataset(x, x @ truth + 0.5 * rng.standard_normal(20))
    queries = rng.standard_normal((50, 3)) * np.array([2.0, 1.0, 0.5])
    return Problem(LinearRegression(), data, delete=0), Dataset(queries, queries @ truth), 2.0


def _h22_rule(evidence: Any) -> Any:
    changes = [evidence[f"{kind}: {_TENTH}"]["high"] < 0.9 for kind in ("networks", "linear")]
    return "holds" if all(changes) else "depends" if any(changes) else "fails"


@claim(
    "H22",
    "How important a data point is changes during training",
    "Other interesting things, [7], [1]",
    rule=Rule(
        "holds if for networks and for linear regression the importance of the points at a tenth of the training and at its end "
        "have a rank correlation below 0.9 (upper end of the interval of the median); depends if for one of them; fails if for "
        "neither",
        _h22_rule,
    ),
    computed="d(mean query loss)/dε_j of the model at 0.02, 0.1, 0.3 T and T, by the exact sensitivity of the flow",
    family="3-neuron networks on 20 points (T = 60) and linear regressions on 20 points in three dimensions (T = 2), 50 query "
    "points",
    corrected="The sensitivity of the flow becomes the influence function as the flow converges; until then it may differ.",
)
def H22(scale: Scale, progress: Any) -> Finding:
    def agreement(kind: str, seed: int) -> dict[str, Any]:
        problem, queries, end = _learner(kind, seed)
        values = np.asarray(_importances(problem, problem.initial(seed), jnp.asarray(_PHASES * end), queries))
        rho = rank_correlation(np.abs(values), np.abs(values[-1:]) * np.ones((len(_PHASES), 1)))
        return {"network": kind == "networks", "rho": rho, "rank correlation of importance at 0.1 T with the end": rho[1],
                "turned": np.mean(np.sign(values[1]) != np.sign(values[-1]))}  # fmt: skip

    counts = {"networks": max(scale.networks, 1), "linear": max(4 * scale.networks, 1)}
    units = [{"kind": kind, "seed": seed} for kind, count in counts.items() for seed in scale.seeds(count)]
    found = measure(agreement, units, progress, "importance during training")
    networks, linear = (found.where(found["network"] == wanted) for wanted in (True, False))
    evidence = {
        f"networks: {_TENTH}": median(networks["rho"][:, 1]),
        f"linear: {_TENTH}": median(linear["rho"][:, 1]),
        "networks: share of points whose influence changes its sign between 0.1 T and T": median(networks["turned"]),
        "networks: the same correlation from 0.02 T": median(networks["rho"][:, 0]),
        "networks: the same correlation from 0.3 T": median(networks["rho"][:, 2]),
        "runs": found.rows,
    }
    tenth = "rank correlation of importance at 0.1 T with the end"
    picture = Curves(
        _PHASES, {"networks": networks["rho"], "linear": linear["rho"]},
        ("time of training / T", "rank correlation with the end"), "which points matter, over training", log="x",
        ticks=tuple(map(str, _PHASES)),
    )  # fmt: skip
    return Finding(
        evidence, tuple(evidence)[:3], networks.extreme(-networks[tenth], "Least agreement", tenth), (), picture
    )
