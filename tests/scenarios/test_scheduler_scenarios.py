"""The scenarios about the best ε(t), at their smallest: their numbers agree with independent ones."""

import json

import numpy as np
import pytest
from scenario_runs import run_scenario as _run

from homotopy import Dataset, LinearRegression, Problem, RequestError, SearchResult, simulate


def test_the_shootout_ranks_what_it_found():
    result = _run("schedule_shootout", problems=("plane",), families=("bang-bang", "step"), candidates=8, gains=5)
    data = result.data
    assert set(result.figures) == {"schedule_shootout", "diabetes_gains"}
    assert (data["energy"].values >= data["bound"].values[:, None] * (1 - 1e-9)).all()
    assert float(data["energy"].sel(family="bang-bang")[0]) <= float(data["energy"].sel(family="step")[0]) * (1 + 1e-9)
    saved = SearchResult.from_dict(json.loads(data["result"].sel(problem="plane", family="step").item()))
    assert saved.energy == float(data["energy"].sel(family="step")[0])
    assert (data["diabetes_lower_bound"] <= data["diabetes_energy"] * (1 + 1e-9) + 1e-25).all()


def test_the_structure_of_the_best_schedule_is_counted():
    result = _run("optimal_structure", dims=(1, 2), spans=(2.0,), instances=6, programs=1, decays=0, networks=0)
    data = result.data
    assert (data["energy"] <= data["step"] * (1 + 1e-9) + 1e-20).all()
    assert (data["step"] <= data["baseline"] * (1 + 1e-9)).all()
    assert (data["lower_bound"] <= data["energy"] * (1 + 1e-9) + 1e-20).all()
    reached = data["certificate"].values == 0
    assert (data["switches"].values[~reached] <= (2 * data["d"].values - 1)[:, None, None, None].repeat(
        data.sizes["deleted"], 2).repeat(data.sizes["instance"], 3)[~reached]).all()  # fmt: skip
    assert "12 linear problems" not in result.summary  # 2 dimensions × 2 kinds × 6 problems
    assert "24 linear problems" in result.summary


def test_greedy_never_beats_the_best():
    data = _run("greedy_gap", dims=(1,), instances=4).data
    assert (data["greedy"] >= data["best"] * (1 - 1e-6) - 1e-14 * data["baseline"]).all()


def test_a_start_that_is_called_reachable_is_brought_onto_the_optimum():
    result = _run("finite_time_unlearning", points=3, tolerances=2)
    data = result.data
    assert np.isfinite(data["arrival"]).any()
    assert np.isnan(data["arrival"]).any()
    # The mirror image of a reachable start is not reachable: the push goes one way only.
    seen = np.isfinite(data["arrival"].values)
    seen[1, 1] = False  # the centre is θ*₋ itself
    assert not (seen & seen[::-1, ::-1]).any()
    problem = Problem(
        LinearRegression(), Dataset(data["x"].values, data["y"].values), delete=int(data.attrs["deleted"])
    )
    row, column = np.argwhere(seen)[0]
    from homotopy import search

    theta0 = np.array([data["theta_1"].values[column], data["theta_2"].values[row]])
    best = search(problem, theta0, t1=data.attrs["t1"], family="bang-bang", goal="time", certify="none")
    assert best.arrival == pytest.approx(float(data["arrival"][row, column]), rel=1e-9)
    end = simulate(problem, best.schedule, theta0, t1=best.arrival).theta1
    np.testing.assert_allclose(end, data["theta_star_minus"].values, atol=1e-9 * np.linalg.norm(theta0))
    assert (data["least_time"].sel(schedule="best") <= data["least_time"].sel(schedule="wait") * (1 + 1e-9)).all()


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("schedule_shootout", {"problems": ("moon",)}, "problems must be one of"),
        ("schedule_shootout", {"families": ("step", "step")}, "each value once"),
        ("optimal_structure", {"dims": (0,)}, "dims must be a whole number ≥ 1"),
        ("greedy_gap", {"deleted": "all"}, "deleted must be"),
        ("greedy_gap", {"trained": 1.0}, "trained must be a number ≥ 0 and < 1"),
        ("finite_time_unlearning", {"points": 1}, "points must be a whole number ≥ 2"),
    ],
)
def test_settings_that_make_no_sense_are_refused(name, settings, says):
    with pytest.raises(RequestError, match=says):
        _run(name, **settings)
