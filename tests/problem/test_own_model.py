"""A model of a user's own, one file, goes through flow, endpoints and search."""

import numpy as np
import pytest
from own_model import Waves

from homotopy import (
    Dataset,
    Levels,
    Problem,
    RequestError,
    Step,
    energy,
    influence,
    leave_one_out,
    optimum,
    search,
    simulate,
)


def test_flow_endpoints_and_search():
    x = np.array([[0.5, -1.0], [1.0, 0.3], [-0.7, 0.8], [0.2, 0.9]])
    y = np.sin(x * np.array([0.8, -0.5])).sum(axis=1) + np.array([0.0, 0.1, -0.1, 0.4])
    problem = Problem(Waves(), Dataset(x, y), delete=3, ridge=0.1)
    theta0 = problem.initial(0)

    def risk(theta, rows):
        residual = np.sin(x[rows] * theta).sum(axis=1) - y[rows]
        return 0.5 * residual @ residual + 0.05 * theta @ theta

    assert float(problem.risk(theta0)) == pytest.approx(risk(np.asarray(theta0), slice(None)), rel=1e-12)
    # Endpoints: stationary, by differences of the risk written again; the influence is the change to first order.
    full, target = np.asarray(optimum(problem, start=theta0).theta), leave_one_out(problem, theta0=theta0).theta
    for theta, rows in ((full, slice(None)), (np.asarray(target), slice(3))):
        for k in range(2):
            shift = 1e-5 * np.eye(2)[k]
            assert abs(risk(theta + shift, rows) - risk(theta - shift, rows)) / 2e-5 < 1e-7
    estimate = np.asarray(influence(problem, theta=full).estimate)
    assert np.linalg.norm(estimate - target) < 0.5 * np.linalg.norm(full - target)
    # Flow: without the point it comes to rest at θ*₋.
    rest = simulate(problem, Step(0.0), theta0, t1=200.0, ts=[200.0]).theta1
    np.testing.assert_allclose(rest, target, atol=1e-6)
    # Search: never worse than waiting or than the steps between, local where nothing is proven.
    found = search(problem, theta0, t1=2.0, family=Levels(pieces=6, starts=2), target=target)
    steps = [float(energy(problem, Step(tau), theta0, t1=2.0, target=target)) for tau in (0.0, 0.7, 2.0)]
    assert found.energy <= min(steps) * (1 + 1e-6)
    assert found.certificate.kind == "local"
    with pytest.raises(RequestError, match="target must be given for this model"):
        search(problem, theta0, t1=2.0)
