"""∂θ(t)/∂ε: against differences of re-weighted training, and against the influence function in the limit."""

import numpy as np
import problems
import pytest

from homotopy import Constant, PiecewiseConstant, RequestError, Step, WorkError, sensitivity, simulate

TS = np.array([0.0, 0.2, 0.5, 1.0])


def test_linear_regression_under_a_step():
    """The perturbation is added on the whole of [0, t], where the step is 0 as well."""
    linear = problems.random_ols()
    here = sensitivity(linear.problem, Step(0.5), linear.theta0, t1=1.0, ts=TS)

    def shifted(delta):
        schedule = PiecewiseConstant([0.5], [1.0 + delta, delta], unrestricted=True)
        return simulate(linear.problem, schedule, linear.theta0, t1=1.0, ts=TS).thetas

    np.testing.assert_allclose(here.sensitivities, (shifted(1e-5) - shifted(-1e-5)) / 2e-5, rtol=0, atol=1e-7)
    np.testing.assert_allclose(here.thetas, shifted(0.0), rtol=0, atol=1e-7)
    assert (here.sensitivities[0] == 0).all()


def test_network():
    problem = problems.teacher_student()
    theta0, options = problem.initial(3), {"t1": 1.0, "ts": TS, "solver": "tsit5", "rtol": 1e-10, "atol": 1e-12}
    here = sensitivity(problem, Constant(0.5), theta0, **options)
    ends = [simulate(problem, Constant(0.5 + delta), theta0, **options).thetas for delta in (1e-4, -1e-4)]
    numeric = (ends[0] - ends[1]) / 2e-4
    np.testing.assert_allclose(here.sensitivities, numeric, rtol=0, atol=1e-6)
    assert np.abs(numeric).max() > 1e-2


def test_limit_is_the_influence_function():
    linear = problems.random_ols()
    for epsilon in (0.0, 1.0):
        here = sensitivity(linear.problem, Constant(epsilon), linear.theta0, t1=300.0, ts=[300.0])
        theta = linear.limit(epsilon)
        x, y = linear.x[2], linear.y[2]
        influence = -np.linalg.solve(linear.hessian(epsilon), x * (x @ theta - y))
        np.testing.assert_allclose(here.sensitivities[0], influence, rtol=1e-6)


@pytest.mark.parametrize(
    ("schedule", "options", "says"),
    [
        (Constant(1.0), {"t1": np.inf, "ts": [1.0]}, "t1 must be finite here; the limit t → ∞ is influence(problem)"),
        (Constant(1.0), {"t1": 1.0, "ts": [2.0]}, "ts must lie in [0, t1] = [0, 1], but ends at 2"),
        (Constant(1.0), {"t1": 1.0, "atol": 0.0}, "atol must be one number > 0, but is 0.0"),
    ],
)
def test_bad_requests(schedule, options, says):
    linear = problems.random_ols()
    with pytest.raises(RequestError) as error:
        sensitivity(linear.problem, schedule, linear.theta0, **options)
    assert says in str(error.value)


def test_failure_says_what_to_try():
    linear = problems.random_ols()
    with pytest.raises(WorkError, match="max_steps = 2 steps"):
        sensitivity(linear.problem, Step(0.5), linear.theta0, t1=1.0, ts=TS, max_steps=2)
