"""The attribution scenarios at their smallest: their numbers agree with what they claim to measure."""

import numpy as np
import pytest
from scenario_runs import run_scenario as _run

from homotopy import RequestError


def test_shapley_against_influence_scores_what_it_says():
    result = _run(
        "shapley_against_influence", sets=("breast_cancer",), repeats=2, n=16, components=2, permutations=10, draws=30,
        subsets=20,
    )  # fmt: skip
    data = result.data
    assert data["auc"].dims == ("set", "repeat", "method")
    assert ((data["auc"] >= 0) & (data["auc"] <= 1)).all()
    # Every curve that removes starts from the same model; every one that adds, from the empty one.
    for name in ("curve_worst_first", "curve_best_first"):
        assert np.ptp(data[name].values[0, :, :, 0], axis=1).max() == 0
    assert (data["curve_addition"].values[..., 0] == 0.5).all()
    # (`sel(method=…)` would be an option of `sel`, not the dimension.)
    aucs = {name: data["auc"].sel({"method": name}).mean() for name in ("influence", "random")}
    assert aucs["influence"] > aucs["random"] - 0.5
    assert "TMC-Shapley − influence" in result.summary


def test_learning_time_scales_order_the_degrees():
    result = _run(
        "learning_time_scales", powers=(4, 6, 8), neurons=4, starts=2, smallest=2, network_neurons=6, network_inputs=8,
        network_powers=(0.5,), times=80,
    )  # fmt: skip
    learnt = result.data["learnt"].values
    assert (np.diff(learnt, axis=2) > 0).all()
    np.testing.assert_allclose(result.data["exponent"].mean("start"), [1.0, 0.5, 0.25], rtol=0.2)


def test_stagewise_influence_says_the_same_forwards_and_backwards():
    result = _run(
        "stagewise_influence", per_mode=2, strengths=(3.0, 1.0), n=4, width=1, student_t1=3.0, times=20, neurons=2,
        epsilon=1e-3,
    )  # fmt: skip
    # Forward sensitivities (or derivatives) at the end, and the integral of the adjoint kernel.
    for name in ("deep_linear", "teacher_student", "time_scales"):
        stage, whole = result.data[f"stage_{name}"].values, result.data[f"whole_{name}"].values
        np.testing.assert_allclose(stage[-1], whole, rtol=1e-3, atol=1e-6 * np.abs(stage).max())
    assert result.data["kernel_teacher_student"].shape == (20, 4)


def test_bayesian_influence_is_near_its_closed_form_where_there_is_one():
    result = _run(
        "bayesian_influence", n=8, d=2, draws=(50, 400), grid_draws=100, inverse_temperatures=(10.0,),
        localisations=(1.0,), singular_n=4, singular_d=6,
    )  # fmt: skip
    rows = result.data["linear_langevin"].values
    assert rows[1, 2] > 0.95
    assert rows[1, 3] == pytest.approx(1.0, abs=0.15)
    assert result.data["linear_cg"].values[-1, 1] < 1e-8
    assert result.result_codes["plain influence undefined"] == 2
    assert np.isfinite(result.data["removal_network"]).all()


@pytest.mark.parametrize(
    ("name", "settings", "match"),
    [
        ("shapley_against_influence", {"sets": ("moon",)}, "sets must be"),
        ("learning_time_scales", {"smallest": 1}, "smallest"),
        ("stagewise_influence", {"times": 2}, "times"),
        ("bayesian_influence", {"singular_d": 3}, "singular-d"),
    ],
)
def test_settings_that_make_no_sense_are_refused(name, settings, match):
    with pytest.raises(RequestError, match=match):
        _run(name, **settings)
