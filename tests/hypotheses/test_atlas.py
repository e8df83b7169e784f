"""The atlas: each cell against a closed form, and the maps' own axes."""

import numpy as np
import pytest
from scenario_runs import run_scenario

from homotopy import Dataset, LinearRegression, Problem, RequestError, leave_one_out, leverage
from homotopy.scenarios import atlas


def test_a_cell_of_the_scalar_case():
    # Mathematics §8.1: from θ₀ = 0 the step at ½ ln 3 reaches θ*₋ = 1 exactly; before that one can only keep.
    problem = Problem(LinearRegression(), Dataset([[1.0], [1.0]], [2.0, 1.0]), delete=0)
    cell = atlas._chart(problem, np.zeros(1), 1.5)
    assert (cell.kind, cell.proven) == (atlas.REACHED, True)
    assert cell.arrival == pytest.approx(0.5 * np.log(3.0), rel=1e-9)
    short = atlas._chart(problem, np.zeros(1), 0.4)
    assert (short.kind, short.proven) == ("keep", True)
    away = atlas._chart(problem, 1.5 * np.ones(1), 1.0)
    assert (away.kind, away.proven) == ("drop", True)  # the point pulls up, θ*₋ lies below
    assert away.gain == pytest.approx(1.0)


@pytest.mark.parametrize(("lever", "residual"), [(0.1, 1.0), (0.9, -0.5)])
def test_an_added_point_has_the_leverage_and_residual_of_its_place(lever, residual):
    settings = atlas.Settings()
    problem, theta0, _ = atlas._added(settings, lever, residual)
    assert float(leverage(problem)[2]) == pytest.approx(lever)
    theta = leave_one_out(problem).theta
    target = np.asarray(theta)
    np.testing.assert_allclose(target, 0.0, atol=1e-12)
    left = float(problem.data.y[2]) - float(problem.predict(theta)[2])
    scale = np.sqrt(np.linalg.eigvalsh(np.asarray(problem.hessian(theta, 0.0)))[-1]) * np.linalg.norm(theta0 - target)
    assert left / scale == pytest.approx(residual)
    # + pulls from θ₀ towards θ*₋: along it the push of the point, x r, has the sign of the residual.
    push = np.asarray(problem.data.x)[2] * left
    assert np.sign(push @ (target - theta0)) == np.sign(residual)


def test_the_run_counts_what_it_drew():
    result = run_scenario(atlas, cells=3, points=3)
    data = result.data
    assert data.start_kind.shape == (3, 3)
    assert (data.start_gain >= 1.0).all()
    assert data.start_kind[1, 1] == 0  # θ₀ = θ*₋: nothing to gain
    assert "9 starts: " in result.summary
    assert result.result_codes == {"successful": 18}


@pytest.mark.parametrize("wrong", [{"cells": 2}, {"reach": 0.0}, {"condition": 0.5}, {"horizon": -1.0}])
def test_settings_are_checked(wrong):
    with pytest.raises(RequestError):
        run_scenario(atlas, **wrong)
