"""Unlearning scenarios: each runs at its smallest, and its numbers agree with what they claim to measure."""

import importlib

import numpy as np
import pytest
from scenario_runs import run_scenario as _run

from homotopy import RequestError


def test_descend_or_rewind_stays_within_its_bounds():
    result = _run(
        "descend_or_rewind", problems=1, n=12, train_steps=6, budgets=(0.5,), optimal_problems=1, local_problems=0, width=2,
        regimes=("ridge", "network"),
    )  # fmt: skip
    data = result.data
    for name in ("ridge", "network"):
        assert data.attrs[f"violations_{name}"] == 0
        gap, bound = data[f"gap_{name}"].values, data[f"bound_{name}"].values
        assert (gap <= bound * (1 + 1e-9) + 1e-12).all()
        assert (gap[:, -1] < 1e-13).all()
        assert (gap[:, :-1] > 0).all()
        # at K = T rewinding and retraining are the same run; at K = 0 both algorithms leave the trained model
        np.testing.assert_allclose(data[f"R2D_{name}"][:, -1], data[f"retraining_{name}"][:, -1], rtol=1e-9, atol=1e-14)
        np.testing.assert_allclose(data[f"R2D_{name}"][:, 0], data[f"D2D_{name}"][:, 0], rtol=1e-12)
    assert np.isfinite(data["optimal_ridge"].values).all()
    # the flow's optimum, run as a descent, may lose a little to rounding of its switches, not more
    assert (data["optimal_ridge"].values <= 1.05 * data["plain_ridge"].values + 1e-9).all()


def test_sequential_deletions_keep_their_books():
    result = _run(
        "sequential_deletions", deletions=12, train_steps=60, rewind_steps=15, sensitivity=5, perturbation=0.3
    )
    data = result.data
    assert data.attrs["broken_bounds"] == 0
    assert data.attrs["broken_residuals"] == 0
    assert (data["error_D2D"].values <= data["bound_D2D"].values).all()
    np.testing.assert_array_equal(np.flatnonzero(data["retrained_R2D"].values), [5, 11])
    assert (data["residual_booked"].values <= data.attrs["allowed"]).all()
    assert data["error_D2D"].values[-1] < data["error_doing_nothing"].values[-1]


def test_soft_weights_report_the_base_rate():
    result = _run("soft_weights", shares=(0.5,), splits=1, rows=800)
    data = result.data
    assert "base rate" in result.summary
    assert 0.5 < float(data["base_rate"][0]) < 1.0
    soft = float(abs(data["metric"].sel(kind="parity", model="soft, corrected")[0, 0]))
    assert soft < float(abs(data["metric_before"].sel(kind="parity")[0]))


def test_certified_unlearning_publishes_and_attacks():
    result = _run(
        "certified_unlearning", data=("breast_cancer",), budgets=(3.0,), ridge=0.05, deleted=2, train_steps=60,
        unlearn_steps=20, draws=2, attack_splits=0,
    )  # fmt: skip
    accuracies = result.data["accuracy"].values
    assert np.isfinite(accuracies).all()
    assert ((accuracies >= 0) & (accuracies <= 1)).all()
    # two points of 398 are easily hidden: every algorithm beats a constant
    assert (np.median(accuracies[0, :, 0], axis=1) > result.data["baseline"].sel(model="base rate").item()).all()
    assert "guaranteed" in result.result_codes


def test_mlp_unlearning_measures_everything_beside_retraining():
    module = importlib.import_module("homotopy.scenarios.mlp_unlearning")
    result = _run(
        "mlp_unlearning", points=100, test=40, width=2, forget=5, train_steps=12, batch_size=10, seeds=1, ascent_steps=2,
        algorithms=("R2D", "gradient difference"), kinds=("random",),
    )  # fmt: skip
    measures = result.data["measure"]
    retrained = measures.sel(algorithm="retrained")
    assert (retrained.sel(column="distance") == 0).all()
    assert (retrained.sel(column="tug_of_war") == 1).all()
    assert (measures.sel(algorithm="R2D", column="gradients") == 6).all()
    assert set(module.COLUMNS) == set(measures["column"].values)
    assert (measures.sel(algorithm="trained", column="distance") > 0).all()


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("descend_or_rewind", {"problems": 0}, "problems"),
        ("descend_or_rewind", {"budgets": (1.0,)}, "budgets"),
        ("descend_or_rewind", {"regimes": ("magic",)}, "regimes"),
        ("sequential_deletions", {"deletions": 560}, "deletions"),
        ("sequential_deletions", {"data": "wine"}, "labels 0 and 1"),
        ("soft_weights", {"shares": (0.0,)}, "shares"),
        ("soft_weights", {"rows": 10}, "rows"),
        ("certified_unlearning", {"budgets": (0.0,)}, "budgets"),
        ("certified_unlearning", {"attack_forget": 500}, "attack-forget"),
        ("mlp_unlearning", {"forget": 300}, "quarter"),
        ("mlp_unlearning", {"algorithms": ("magic",)}, "magic"),
        ("mlp_unlearning", {"points": 1700, "forget": 20}, "fit into"),
    ],
)
def test_settings_that_make_no_sense_are_refused(name, settings, message):
    with pytest.raises(RequestError, match=message):
        _run(name, **settings)
