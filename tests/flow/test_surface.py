"""The surface θ(t, ε): row by row the same as one simulation each, in any order, and no row stops another."""

import numpy as np
import problems
import pytest

from homotopy import Constant, RequestError, simulate, surface

TS = np.array([0.0, 0.5, 2.0])
EPSILONS = np.array([0.7, 0.0, 1.0, 0.2, 0.5])


def test_rows_are_simulations():
    problem = problems.teacher_student()
    theta0 = problem.initial(2)
    options = {"method": "diffrax", "solver": "tsit5"}
    rows = surface(problem, EPSILONS, theta0, ts=TS, batch_size=2, **options)
    assert rows.thetas.shape == (5, 3, problem.dim)
    assert rows.result_codes == {"successful": 5}
    for epsilon, row, steps in zip(EPSILONS, rows.thetas, rows.stats["accepted_steps"], strict=True):
        run = simulate(problem, Constant(epsilon), theta0, t1=2.0, ts=TS, **options)
        np.testing.assert_allclose(row, run.thetas, rtol=0, atol=1e-11)
        assert steps == run.stats["accepted_steps"]
    backwards = surface(problem, EPSILONS[::-1], theta0, ts=TS, batch_size=2, **options)
    np.testing.assert_array_equal(backwards.thetas, rows.thetas[::-1])
    nowhere = surface(problem, EPSILONS, theta0, ts=[0.0, 0.0, 0.0], batch_size=2, **options)
    assert (nowhere.thetas == theta0[None, None]).all()


def test_failed_rows_are_reported_and_the_others_survive():
    linear = problems.random_ols()
    epsilons, ts = [1.0, -20.0, 0.0, -30.0], [0.0, 1.0, 300.0]
    rows = surface(linear.problem, epsilons, linear.theta0, ts=ts, method="diffrax", unrestricted=True)
    assert list(rows.failures) == [1, 3]
    assert all("diverges" in reason for reason in rows.failures.values())
    assert rows.result_codes["successful"] == 2
    assert sum(rows.result_codes.values()) == 4
    assert np.isinf(rows.thetas[[1, 3], -1]).all()
    np.testing.assert_allclose(rows.thetas[1, 0], linear.theta0)
    for row, epsilon in ((0, 1.0), (2, 0.0)):
        np.testing.assert_allclose(rows.thetas[row, -1], linear.flow(epsilon, 300.0), atol=1e-7)
    report = str(rows)
    assert "Surface of 4 values of ε × 3 times × 3 parameters by diffrax" in report
    assert "ε = -20 failed: " in report


@pytest.mark.parametrize(
    ("arguments", "options", "says"),
    [
        (([],), {}, "epsilons must hold at least one value"),
        (([0.5, 1.5],), {}, "epsilons: ε must lie in [0, 1]"),
        ((0.5,), {}, "epsilons must be a list of numbers"),
        (([0.5],), {"ts": [1.0, 0.5]}, "ts must be sorted"),
        (([0.5],), {"ts": [1.0, np.inf]}, "ts must be finite here"),
        (([0.5],), {"method": "exact"}, "method='exact' needs linear regression"),
        (([0.5],), {"batch_size": 0}, "batch_size must be a whole number ≥ 1, but is 0"),
        (([0.5],), {"max_steps": 0}, "max_steps must be a whole number ≥ 1, but is 0"),
        (([0.5],), {"solver": "euler"}, "solver must be one of tsit5, dopri8"),
        (([0.5],), {"rtol": -1.0}, "rtol must be one number > 0, but is -1.0"),
    ],
)
def test_bad_requests(arguments, options, says):
    problem = problems.teacher_student()
    with pytest.raises(RequestError) as error:
        surface(problem, *arguments, problem.initial(0), **{"ts": TS, **options})
    assert says in str(error.value)
    assert "\n" not in str(error.value)
