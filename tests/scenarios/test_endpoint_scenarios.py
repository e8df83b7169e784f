"""The scenarios about endpoints: one number of each is computed again here by other means."""

import importlib
import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from scenario_runs import run_scenario as _run
from scipy.integrate import solve_ivp
from scipy.stats import linregress, pearsonr, spearmanr

from homotopy import Dataset, RequestError, datasets
from homotopy.endpoints import ErrorDecomposition

decomposition = importlib.import_module("homotopy.scenarios.error_decomposition")
gaps = importlib.import_module("homotopy.scenarios._gaps")
agreement = importlib.import_module("homotopy.scenarios._agreement")
against_truth = importlib.import_module("homotopy.scenarios.influence_against_truth")


def test_the_gaps_of_linear_regression_are_those_of_the_closed_forms():
    damping, time = 0.03, 50.0
    result = _run(
        decomposition, pairs=("diabetes-linear",), points=2, seeds=2, damping=damping, training_time=time,
        sweep_pair="diabetes-linear", sweep_dampings=(1.0,), sweep_times=(), sweep_widths=(),
    )  # fmt: skip
    data = datasets.load("diabetes", intercept=True)
    x, y = np.asarray(data.x), np.asarray(data.y)
    n, d = x.shape
    hessian = x.T @ x / n
    problem = decomposition._diabetes_linear(decomposition.Settings())
    rates, vectors = np.linalg.eigh(hessian)
    best = np.linalg.solve(hessian, x.T @ y / n)
    worst = 0.0
    for s in range(2):
        theta0 = np.asarray(decomposition._start(problem, s))
        theta_s = best + vectors @ (np.exp(-rates * time) * (vectors.T @ (theta0 - best)))
        for p in range(2):
            j = int(result.data["deleted_row"][0, p])
            kept = np.arange(n) != j
            left = x[kept].T @ x[kept] / n
            slope = x[j] * (x[j] @ theta_s - y[j])
            proximal = np.linalg.solve(left + damping * np.eye(d), x[kept].T @ y[kept] / n + damping * theta_s)
            chain = [
                np.linalg.solve(left, x[kept].T @ y[kept] / n),
                proximal,
                # The PBRF of least squares: (H/n + λ)(θ − θˢ) = (1/n) x_j (x_jᵀθ − y_j), so θ is on both sides.
                theta_s + np.linalg.solve(left + damping * np.eye(d), slope / n),
                theta_s + np.linalg.solve(hessian + damping * np.eye(d), slope / n),
            ]
            expected = [np.linalg.norm(b - a) for a, b in itertools.pairwise(chain)]
            outputs = [np.linalg.norm(x @ (b - a)) / np.sqrt(n) for a, b in itertools.pairwise(chain)]
            found = result.data.isel(pair=0, seed=s, point=p)
            np.testing.assert_allclose(found["parameters"].values[1:4], expected, rtol=1e-5)
            np.testing.assert_allclose(found["outputs"].values[1:4], outputs, rtol=1e-5)
            worst = max(worst, found["parameters"].values[0])
    assert worst < 1e-10  # cold and warm retraining have one and the same limit
    assert set(result.figures) == {"error_decomposition", "error_decomposition_sweeps"}
    assert result.data["sweep_damping_outputs"].shape == (1, 2, 2, 5)


def _made(outputs, converged=True):
    """A decomposition of (seeds, points) runs with the given gaps (…, 5)."""
    outputs = jnp.asarray(outputs)
    batch = outputs.shape[:2]
    flags = jnp.ones((*batch, 6), bool).at[0, 0, 0].set(converged)
    return ErrorDecomposition(
        outputs, outputs, outputs.sum(axis=-1), outputs.sum(axis=-1), jnp.zeros((*batch, 6, 1)),
        jnp.zeros((*batch, 6)), flags,
    )  # fmt: skip


def test_whether_the_first_three_dominate_is_read_off_the_runs():
    cells = {
        "yes": _made(np.broadcast_to([3.0, 2.0, 4.0, 0.5, 0.5], (2, 3, 5))),
        "no": _made(np.broadcast_to([0.1, 0.1, 0.1, 3.0, 0.7], (2, 3, 5)), converged=False),
        "perhaps": _made(np.where(np.arange(4)[None, :, None] % 2, [9.0, 0, 0, 1, 0], np.array([1.0, 0, 0, 9, 0]))),
    }
    assert gaps.first_three(cells["yes"], "outputs", 0.95)[0] == pytest.approx(0.9)
    assert gaps.sentence(cells, "outputs", 0.95) == (
        "outputs: the first three gaps dominate in 1 of 3, not in no (do NOT dominate), perhaps (undecided)"
    )
    line = gaps.line("no", cells["no"], 0.95)
    assert "NOT converged: cold 1/6" in line
    assert "largest linearisation" in line


def test_linear_predictions_and_truths_are_those_of_refits():
    settings = {"cases": ("linear",), "sets": 5, "shares": (0.05,)}
    result = _run(against_truth, **settings)
    data = result.data
    whole = datasets.load("diabetes", intercept=True)
    x, y = np.asarray(whole.x), np.asarray(whole.y)
    order = np.random.default_rng([0, 2]).permutation(len(x))
    held = round(0.2 * len(x))
    queries, train = np.sort(order[:held]), np.sort(order[held:])
    x_q, y_q, x, y = x[queries], y[queries], x[train], y[train]
    full, *_ = np.linalg.lstsq(x, y, rcond=None)
    inverse = np.linalg.inv(x.T @ x)
    before = 0.5 * np.mean((x_q @ full - y_q) ** 2)
    for s in range(2):
        for k in range(5):
            gone = data["removed_linear"].values[s, k].astype(bool)
            assert gone.sum() == data["points"].values[0, s] == (1, 18)[s]
            refit, *_ = np.linalg.lstsq(x[~gone], y[~gone], rcond=None)
            truth = 0.5 * np.mean((x_q @ refit - y_q) ** 2) - before
            own = 0.5 * np.mean((x[gone] @ refit - y[gone]) ** 2 - (x[gone] @ full - y[gone]) ** 2)
            error = x[gone] @ full - y[gone]
            first = full + inverse @ x[gone].T @ error
            scaled = full + inverse @ x[gone].T @ (error / (1 - np.sum((x[gone] @ inverse) * x[gone], axis=1)))
            at = data.isel(case=0, size=s).isel(set=k)
            for name in ("cold", "warm"):
                found = at["actual"].sel(truth=name)
                assert float(found.sel(measure="queries")) == pytest.approx(truth, rel=1e-8, abs=1e-12)
                assert float(found.sel(measure="own")) == pytest.approx(own, rel=1e-8, abs=1e-12)
            predicted = at["predicted"].sel(measure="queries")
            for name, theta in (("IF", first), ("IF/(1−h)", scaled), ("Newton", refit), ("path", refit)):
                expected = 0.5 * np.mean((x_q @ theta - y_q) ** 2) - before
                assert float(predicted.sel(predictor=name)) == pytest.approx(expected, rel=1e-7, abs=1e-12)
    # + = removing increases the loss: for the removed points themselves nothing else is possible.
    assert (data["actual"].sel(measure="own", truth="cold") > 0).all()
    assert set(result.figures) == {"influence_against_truth", "influence_correlations", "influence_groups"}


def test_the_network_stopped_early_is_retrained_for_as_long_by_another_solver():
    settings = {"cases": ("mlp-early",), "sets": 4, "shares": (), "rows": 30, "width": 2, "components": 2}
    result = _run(against_truth, **settings, early_time=2.0, rtol=1e-8)
    data = result.data.isel(case=0, size=0).sel(measure="queries")
    assert np.isnan(data["predicted"].sel(predictor=["IF", "Newton", "path"])).all()
    assert "Newton" not in result.summary
    case = against_truth._case("mlp-early", against_truth.Settings(**settings, early_time=2.0))
    x, y = (np.asarray(values) for values in (case.problem.data.x, case.problem.data.y))
    x_q, y_q = (np.asarray(values) for values in (case.queries.x, case.queries.y))
    n, ridge = len(x), float(case.problem.ridge)

    def predict(theta, x):
        return np.tanh(x @ theta[:4].reshape(2, 2).T + theta[4:6]) @ theta[6:8] + theta[8]

    def velocity(weights):
        def field(t, theta):
            hidden = np.tanh(x @ theta[:4].reshape(2, 2).T + theta[4:6])
            pull = weights * (predict(theta, x) - y)
            back = (1 - hidden**2) * np.outer(pull, theta[6:8])
            parts = (back.T @ x).ravel(), back.sum(axis=0), hidden.T @ pull, [pull.sum()]
            return -np.concatenate(parts) - ridge * theta

        return field

    def loss(weights):
        span, start = (0, 2.0 / n), np.asarray(case.theta0)
        theta = solve_ivp(velocity(weights), span, start, method="DOP853", rtol=1e-11, atol=1e-13).y[:, -1]
        return theta, 0.5 * np.mean((predict(theta, x_q) - y_q) ** 2)

    full, before = loss(np.ones(n))
    for k in range(4):
        kept = 1.0 - data["removed_mlp-early"].values[k]
        _, without = loss(kept)
        assert float(data["actual"].sel(truth="cold")[k]) == pytest.approx(without - before, rel=1e-4, abs=1e-9)
        # ∂θ(T)/∂ε by a central difference in the weight of the removed point.
        up, down = (loss(1.0 + step * (1.0 - kept))[0] for step in (1e-4, -1e-4))
        moved = full - (up - down) / 2e-4
        expected = 0.5 * np.mean((predict(moved, x_q) - y_q) ** 2) - before
        found = data["predicted"].sel(predictor="flow sensitivity")[k]
        assert float(found) == pytest.approx(expected, rel=1e-4, abs=1e-8)


def test_slope_and_correlations_are_those_of_scipy():
    rng = np.random.default_rng(0)
    predicted = rng.normal(size=(3, 20))
    actual = 2.0 * predicted + rng.normal(size=(3, 20))
    actual[:, 3] = actual[:, 4]  # a tie
    for row, (x, y) in zip(agreement.compare(predicted, actual), zip(predicted, actual, strict=True), strict=True):
        expected = linregress(x, y).slope, pearsonr(x, y).statistic, spearmanr(x, y).statistic
        np.testing.assert_allclose(row, expected, rtol=1e-12)
    value, low, high = agreement.intervals(predicted[0], actual[0], 0.95)
    assert (low < value).all()
    assert (value < high).all()
    assert np.isnan(agreement.compare(np.zeros(5), np.arange(5.0))).all()


def test_components_are_orthonormal_and_rows_are_kept_whole():
    data = decomposition.reduced("breast_cancer", components=3)
    x = np.asarray(data.x)
    np.testing.assert_allclose(x.T @ x / data.n, np.eye(3), atol=1e-10)
    some = decomposition.reduced("breast_cancer", components=3, rows=50, intercept=True)
    assert isinstance(some, Dataset)
    rows = {tuple(row) for row in np.column_stack([x, data.y])}
    assert all((*row[:3], label) in rows for row, label in zip(np.asarray(some.x), np.asarray(some.y), strict=True))


@pytest.mark.parametrize(
    ("module", "settings", "message"),
    [
        (decomposition, {"pairs": ("iris",)}, "pairs must be one of"),
        (decomposition, {"pairs": ()}, "pairs must have at least 1"),
        (decomposition, {"points": 0}, "points must be a whole number ≥ 1"),
        (decomposition, {"training_time": float("inf")}, "training-time"),
        (decomposition, {"solver_steps": 0}, "solver-steps"),
        (decomposition, {"sweep_pair": "diabetes-linear"}, "has no width"),
        (decomposition, {"pairs": ("diabetes-linear",), "points": 1000, "sweep_dampings": ()}, "at most the 442"),
        (against_truth, {"cases": ("tree",)}, "cases must be one of"),
        (against_truth, {"sets": 2}, "sets must be a whole number ≥ 4"),
        (against_truth, {"shares": (0.9,)}, "shares"),
        (against_truth, {"measure": "accuracy"}, "measure"),
        (against_truth, {"held_out": 1.0}, "held-out"),
    ],
)
def test_settings_that_make_no_sense_are_refused(module, settings, message):
    with pytest.raises(RequestError, match=message):
        _run(module, **settings)
