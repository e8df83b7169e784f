"""Scenarios: each runs at its smallest and its numbers agree with what they claim to measure."""

import importlib

import numpy as np
import pytest
from scenario_runs import run_scenario as _run

from homotopy import Constant, Dataset, LinearRegression, Problem, RequestError, Step, WorkError, energy, simulate


def test_phase_portraits_show_what_their_titles_say():
    result = _run("phase_portraits", problems=3, starts=4, frames=0)
    facts, data = result.data.attrs, result.data
    assert facts["late_over_leave_out"] > 1
    assert facts["best_step_over_leave_out"] < 1
    assert facts["best_rival_over_leave_out"] > 1
    assert facts["linear_over_step"] > 1
    # The instance is stored whole: one ratio is computed again from the file alone.
    points = Dataset(data["x_chosen"].values, data["y_chosen"].values)
    problem = Problem(LinearRegression(), points, delete=int(data["deleted_chosen"]))
    t1 = float(data["t1_chosen"])
    late, leave_out = (
        float(energy(problem, Step(switch), data["theta0_chosen"].values, t1=t1)) for switch in (0.8 * t1, 0.0)
    )
    assert late / leave_out == pytest.approx(facts["late_over_leave_out"], rel=1e-9)


def test_phase_portraits_say_so_when_nothing_is_found():
    with pytest.raises(WorkError, match="raise problems"):
        _run("phase_portraits", problems=1, starts=0, frames=0)


def test_the_surface_of_the_network_is_that_of_single_runs():
    result = _run("homotopy_surface", epsilons=3, times=4, network_t1=20.0, rtol=1e-8)
    assert result.result_codes == {"successful": 6}
    data = result.data
    row = data["theta_network"].values[1]
    module = importlib.import_module("homotopy.scenarios.homotopy_surface")
    problem, theta0, _ = module._network(module.Settings(network_t1=20.0))
    alone = simulate(problem, Constant(0.5), theta0, t1=20.0, ts=data["time_network"].values, rtol=1e-9)
    np.testing.assert_allclose(row, alone.thetas, atol=1e-6)
    assert np.isfinite(data["endpoint_network"].values).all()


def test_deleted_step_runs_from_never_used_to_never_dropped():
    result = _run("deleted_step", horizons=(1.0,), network_t1=(0.01,), points=5, width=2, rtol=1e-5)
    for name, left in result.data.items():
        if str(name).startswith("left_"):
            assert (left[:, 0] == 0).all()
            np.testing.assert_allclose(left[:, -1], 1.0)
            assert (np.diff(left) > 0).all()


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(RequestError, match="points"):
        _run("deleted_step", points=2)
    with pytest.raises(RequestError, match="epsilons"):
        _run("homotopy_surface", epsilons=1)
