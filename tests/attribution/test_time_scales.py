"""The reduced system of two-layer networks against SciPy, its exponents, and the network in the same set-up."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from homotopy import RequestError, theoretical_exponents, two_layer_time_scales


def initial(m=6):
    return np.random.default_rng(0).uniform(-1, 1, m)


def test_the_reduced_system_is_that_of_scipy():
    m, epsilon = 6, 1e-2
    phi, sigma = np.array([0.7, 1.0, 0.5]), np.array([1.0, 0.8, 1.2])
    found = two_layer_time_scales([epsilon, 0.1, 0.2, 0.3], phi=phi, sigma=sigma, initial=initial(m), t1=2.0, count=200)

    def velocity(t, y):
        a, s = y[:m], y[m:]
        a_dot, s_dot = np.empty(m), np.empty(m)
        for i in range(m):
            v = sum(phi[k] * sigma[k] * s[i] ** k for k in range(3))
            dv = sum(k * phi[k] * sigma[k] * s[i] ** (k - 1) for k in (1, 2))
            u = [sum(sigma[k] ** 2 * (s[i] * s[j]) ** k for k in range(3)) for j in range(m)]
            du = [sum(k * sigma[k] ** 2 * (s[i] * s[j]) ** (k - 1) for k in (1, 2)) for j in range(m)]
            a_dot[i] = (v - np.mean(a * u)) / epsilon
            s_dot[i] = a[i] * (1 - s[i] ** 2) * (dv - np.mean(a * s * du))
        return np.concatenate([a_dot, s_dot])

    ts = np.asarray(found.ts[0])
    start = np.concatenate([initial(m), np.zeros(m)])
    truth = solve_ivp(velocity, (0, 2.0), start, method="Radau", t_eval=ts[5:-1], rtol=1e-9, atol=1e-11).y.T
    np.testing.assert_allclose(found.a[0, 5:-1], truth[:, :m], atol=2e-5)
    np.testing.assert_allclose(found.s[0, 5:-1], truth[:, m:], atol=2e-5)
    a, s = truth[-1, :m], truth[-1, m:]
    risks = [0.5 * (phi[k] - sigma[k] * np.mean(a * s**k)) ** 2 for k in range(3)]
    np.testing.assert_allclose(found.risks[0, -2], risks, atol=1e-5)


def test_exponents_are_within_fifteen_per_cent_of_theory():
    found = two_layer_time_scales([1e-4, 1e-6, 1e-7, 1e-8], initial=initial(), count=200)
    slopes = found.exponents(3)[:, 0]
    np.testing.assert_allclose(slopes, theoretical_exponents(3), rtol=0.15)
    assert np.all(np.diff(found.learnt, axis=1) > 0)
    assert "degree 2" in str(found)


def test_the_network_starts_as_the_reduced_system_and_its_risk_falls():
    m, d = 24, 60
    rng = np.random.default_rng(1)
    w = rng.standard_normal((m, d))
    w[:, 0] = 0.0
    w /= np.linalg.norm(w, axis=1, keepdims=True)
    a = rng.uniform(0.5, 1.0, m)
    options = {"phi": [1.0, 0.8], "sigma": [1.0, 1.0], "initial": a, "t1": 1.0, "count": 50}
    network = two_layer_time_scales([0.05], directions=w, **options)
    reduced = two_layer_time_scales([0.05], **options)
    total = np.asarray(network.risks[0]).sum(axis=1)
    assert np.all(np.diff(total) <= 1e-9)
    np.testing.assert_allclose(network.learnt[0, 0], reduced.learnt[0, 0], rtol=0.3)  # finite width
    # Against a plain Euler integration of the same gradient flow.
    here, directions, ts = a.copy(), w.copy(), 2e-5
    for _ in range(5000):
        r, s = directions @ directions.T, directions[:, 0]
        a_dot = (1.0 + 0.8 * s - (1.0 + r) @ here / m) / 0.05
        force = -np.broadcast_to(here @ directions / m, (m, d)).copy()
        force[:, 0] += 0.8
        w_dot = here[:, None] * (force - np.sum(force * directions, axis=1)[:, None] * directions)
        here, directions = here + ts * a_dot, directions + ts * w_dot
    at = np.array([np.interp(0.1, network.ts[0], network.a[0, :, i]) for i in range(m)])
    np.testing.assert_allclose(at, here, atol=5e-3)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"epsilons": [0.0]}, "epsilons must be"),
        ({"phi": [1.0]}, "phi and sigma"),
        ({"t1": 1e-9}, "t1 must be"),
        ({"directions": np.ones((6, 2))}, "length 1"),
        ({"directions": np.ones((2, 2))}, "directions must have shape"),
    ],
)
def test_bad_requests_are_refused(options, match):
    with pytest.raises(RequestError, match=match):
        two_layer_time_scales(**{"epsilons": [1e-2], "initial": initial(), **options})
