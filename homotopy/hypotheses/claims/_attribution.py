"""H20, H21, H22: which points matter, at what price that is known, and when."""

import time
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ...attribution import RefitUtility, exact_shapley
from ...endpoints import influence_matrix
from ...flow import Constant, sensitivity
from ...problem import Dataset, LinearRegression, LogisticRegression, Problem, datasets
from .._evidence import median, rank_correlation, share
from .._hypothesis import Finding, Hypothesis, Rule, Scale
from ._networks import network

# H20 ----------------------------------------------------------------------------------------------------------------

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


def _h20(scale: Scale, progress: Any, *, values: Any = shapley_values) -> Finding:
    kept, found, seconds, told = [], [], [], []
    with progress.task("Shapley values by enumeration", 5 * scale.networks) as advance:
        for seed in scale.seeds(5 * scale.networks):
            problem, queries, test, turned = _noisy(seed)
            began = time.perf_counter()
            first = values(problem, queries)
            between = time.perf_counter()
            second = influence_values(problem, queries)
            seconds.append((between - began, time.perf_counter() - between))
            utility = RefitUtility(problem, test)
            kept.append([float(np.mean(utility(_best(score)))) for score in (first, second)])
            found.append([len(set(np.argsort(score)[:_FLIPPED]) & set(turned)) / _FLIPPED for score in (first, second)])
            told.append(
                {"seed": seed, "test loss of the points kept by Shapley": -kept[-1][0], "by influence": -kept[-1][1]}
            )
            advance(1)
    score, hits = np.array(kept), np.array(found)
    better = score[:, 0] - score[:, 1]
    cost = np.array(seconds)
    evidence = {
        "data sets where the points that Shapley keeps give the lower test loss": share(better > 0),
        "test loss with the points kept by influence − by Shapley": median(better),
        "turned labels among the three lowest: Shapley − influence": median(hits[:, 0] - hits[:, 1]),
        "mean share of turned labels found (Shapley, influence)": [float(v) for v in hits.mean(axis=0)],
        "seconds of Shapley over seconds of influence": float(np.median(cost[:, 0] / cost[:, 1])),
        "data sets": len(score),
    }

    def draw(ax: Any) -> None:
        ax.plot(-score[:, 1], -score[:, 0], ".", ms=6, color="#0072B2", alpha=0.7)
        low, high = (-score).min(), (-score).max()
        ax.plot([low, high], [low, high], "-", color="#222222", lw=0.8)
        ax.set(xlabel="test loss, points kept by influence", ylabel="test loss, points kept by Shapley")
        ax.set_title("below the line Shapley finds the better points", fontsize=9.5)

    worst = max(told, key=lambda row: row["test loss of the points kept by Shapley"] - row["by influence"])
    return Finding(evidence, tuple(evidence)[:3], {"what": "Worst for Shapley", **worst}, (), draw)


def _best(score: Any) -> Any:
    """Masks of the best 5, 7, 9 and 11 points."""
    order = np.argsort(-np.asarray(score))
    masks = np.zeros((4, _N), dtype=bool)
    for row, count in enumerate((5, 7, 9, 11)):
        masks[row, order[:count]] = True
    return masks


H20 = Hypothesis(
    "H20",
    "Shapley values find the informative points better than influence functions",
    "Other interesting things, [3]",
    _h20,
    Rule(
        "holds if on more than half of the data sets (95 % confidence) the 5 to 11 points with the highest Shapley values give "
        "a lower test loss than those with the highest influence; fails if on less than half; depends otherwise",
        lambda evidence: (
            "holds"
            if evidence["data sets where the points that Shapley keeps give the lower test loss"]["low"] > 0.5
            else "fails"
            if evidence["data sets where the points that Shapley keeps give the lower test loss"]["high"] < 0.5
            else "depends"
        ),
    ),
    "exact Shapley values (all 2¹⁴ subsets, refitted) and influence, both on 100 query points; models retrained on the best "
    "points, loss on 1000 others",
    "logistic regressions on 14 points in the plane, three labels turned round (ridge 0.3)",
    "Shapley values average over all orders in which points could arrive, at 2ⁿ refits (or many sampled orders); influence "
    "looks at the trained model only, at one factorisation.",
)


# H21 ----------------------------------------------------------------------------------------------------------------

_DRAWS = 4000
_LOCALISATION = 1.0


def _h21(scale: Scale, progress: Any, *, closed: Any = None) -> Finding:
    """`closed` replaces the closed form of the covariance: a test passes a wrong one."""
    exact = covariances if closed is None else closed
    errors, singular, refused, limits, told = [], [], [], [], []
    seeds = scale.seeds(2 * max(scale.networks, 1))
    with progress.task("localised posteriors", len(seeds)) as advance:
        for seed in seeds:
            rng = np.random.default_rng([seed, 21])
            flat = bool(seed % 2)
            x = rng.standard_normal((20, 4))
            x[:, 3] = x[:, 0] - x[:, 1] if flat else x[:, 3]  # singular H for every other seed
            y = x @ rng.standard_normal(4) + 0.5 * rng.standard_normal(20)
            star = np.linalg.pinv(x) @ y
            truth = exact(x, y, star)
            sampled = _sampled(x, y, star, rng)
            size = np.linalg.norm(truth)
            counts = (400, 1200, len(sampled))
            errors.append([float(np.linalg.norm(-np.cov(sampled[:count].T) - truth) / size) for count in counts])
            singular.append(flat)
            refused.append(np.linalg.matrix_rank(x) < 4)
            # A tight localisation is damped influence: −Cov/β → −gᵀ(H + γI)⁻¹g as β grows.
            limits.append(_limit(x, y, star, exact))
            told.append({"seed": seed, "H singular": flat, "relative error after 4000 draws": errors[-1][-1]})
            advance(1)
    error, flat_rows = np.array(errors), np.array(singular)
    evidence = {
        "H singular: relative error of the sampled influences": median(error[flat_rows, -1]),
        "H ≻ 0: relative error of the sampled influences": median(error[~flat_rows, -1]),
        "draws of the sampler (each one gradient of all points)": _DRAWS,
        "error after 400 draws over error after all": median(error[:, 0] / error[:, -1]),
        "singular instances whose H has no inverse": share(np.array(refused)[flat_rows]),
        "β large: largest relative distance from damped influence": float(max(limits)),
    }

    def draw(ax: Any) -> None:
        for rows, color, name in ((~flat_rows, "#0072B2", "H ≻ 0"), (flat_rows, "#D55E00", "H singular")):
            ax.loglog([400, 1200, _DRAWS], np.median(error[rows], axis=0), "o-", color=color, label=f"{name} (median)")
        ax.set(xlabel="draws (gradients of all points)", ylabel="relative error of −Cov(ℓ_i, ℓ_k)")
        ax.set_title("no inverse is needed, but many gradients", fontsize=9.5)
        ax.legend(fontsize=8)

    worst = max(told, key=lambda row: row["relative error after 4000 draws"])
    return Finding(evidence, tuple(evidence)[:3], {"what": "Largest sampling error", **worst}, (), draw)


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
    for k in range(_DRAWS // chains + 100):
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
    near = [evidence[f"{kind}: relative error of the sampled influences"] for kind in ("H singular", "H ≻ 0")]
    off = max(value["median"] for value in near if value["of"]) > 0.25
    if off or evidence["β large: largest relative distance from damped influence"] > 1e-3:
        return "fails"
    return "holds" if evidence["error after 400 draws over error after all"]["median"] > 1.5 else "depends"


H21 = Hypothesis(
    "H21",
    "Bayesian influence needs no inverse Hessian and survives singular minima, at a sampling cost",
    "Other interesting things, [6]",
    _h21,
    Rule(
        "fails if after 4000 draws the sampled influences are off by more than 25 % in the median, with H singular or not, or "
        "if for large β they are not damped influence to 0.1 %; holds if besides ten times fewer draws are at least 1.5 times "
        "worse (the sampling cost); depends otherwise",
        _h21_rule,
    ),
    "−Cov(ℓ_i, ℓ_k) under the localised posterior (γ = 1, β = 1) by Langevin sampling with gradients only, against the closed "
    "form of least squares",
    "least squares with 20 points and 4 parameters; every other problem has a singular H",
    "−Cov needs gradients only; its error falls like one over the square root of the number of draws.",
)


# H22 ----------------------------------------------------------------------------------------------------------------

_PHASES = np.array([0.02, 0.1, 0.3, 1.0])


@eqx.filter_jit
def _importances(problem: Problem, theta0: Any, ts: Any, queries: Dataset) -> Any:
    """d(mean query loss)/dε_j of the model at each time, for every point j (times, n), by the flow's sensitivity."""

    def loss(theta: Any) -> Any:
        return jnp.mean(jax.vmap(problem.loss.value)(problem.predict(theta, queries.x), queries.y))

    def one(j: Any) -> Any:
        found = sensitivity(problem.deleting(j[None]), Constant(1.0), theta0, t1=ts[-1], ts=ts)
        return jax.vmap(lambda theta, dot: jax.jvp(loss, (theta,), (dot,))[1])(found.thetas, found.sensitivities)

    return jax.lax.map(one, jnp.arange(problem.n)).T


def _h22(scale: Scale, progress: Any, *, phases: Any = _PHASES) -> Finding:
    agreements: dict[str, list[Any]] = {"networks": [], "linear": []}
    turned, told = [], []
    with progress.task("importance during training", 5 * scale.networks) as advance:
        for kind in agreements:
            for seed in scale.seeds(max(scale.networks, 1) if kind == "networks" else max(4 * scale.networks, 1)):
                problem, queries, end = _learner(kind, seed)
                values = np.asarray(_importances(problem, problem.initial(seed), jnp.asarray(phases * end), queries))
                agreements[kind].append([rank_correlation(np.abs(row), np.abs(values[-1])) for row in values[:-1]])
                if kind == "networks":
                    turned.append(np.mean(np.sign(values[1]) != np.sign(values[-1])))
                    told.append(
                        {"seed": seed, "rank correlation of importance at 0.1 T with the end": agreements[kind][-1][1]}
                    )
                advance(1)
    rows = {kind: np.array(values) for kind, values in agreements.items()}
    evidence = {
        "networks: rank correlation of importance at 0.1 T and at T": median(rows["networks"][:, 1]),
        "linear: rank correlation of importance at 0.1 T and at T": median(rows["linear"][:, 1]),
        "networks: share of points whose influence changes its sign between 0.1 T and T": median(turned),
        "networks: the same correlation from 0.02 T": median(rows["networks"][:, 0]),
        "networks: the same correlation from 0.3 T": median(rows["networks"][:, 2]),
        "runs": int(sum(map(len, rows.values()))),
    }

    def draw(ax: Any) -> None:
        for kind, color in (("networks", "#D55E00"), ("linear", "#0072B2")):
            values = np.column_stack([rows[kind], np.ones(len(rows[kind]))])
            ax.plot(phases, values.T, color=color, lw=0.6, alpha=0.35)
            ax.plot(phases, np.median(values, axis=0), "o-", color=color, label=f"{kind} (median)")
        ax.set(xscale="log", xlabel="time of training / T", ylabel="rank correlation of importance with the end")
        ax.set_title("which points matter, over training", fontsize=9.5)
        ax.legend(fontsize=8)

    worst = min(told, key=lambda row: row["rank correlation of importance at 0.1 T with the end"])
    return Finding(evidence, tuple(evidence)[:3], {"what": "Least agreement", **worst}, (), draw)


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
    found = [evidence[f"{kind}: rank correlation of importance at 0.1 T and at T"] for kind in ("networks", "linear")]
    changes = [value["high"] < 0.9 for value in found]
    return "holds" if all(changes) else "depends" if any(changes) else "fails"


H22 = Hypothesis(
    "H22",
    "How important a data point is changes during training",
    "Other interesting things, [7], [1]",
    _h22,
    Rule(
        "holds if for networks and for linear regression the importance of the points at a tenth of the training and at its end "
        "have a rank correlation below 0.9 (upper end of the interval of the median); depends if for one of them; fails if for "
        "neither",
        _h22_rule,
    ),
    "d(mean query loss)/dε_j of the model at 0.02, 0.1, 0.3 T and T, by the exact sensitivity of the flow",
    "3-neuron networks on 20 points (T = 60) and linear regressions on 20 points in three dimensions (T = 2), 50 query points",
    "The sensitivity of the flow becomes the influence function as the flow converges; until then it may differ.",
)
