"""The best single step against closed forms (mathematics §8), brute force and finite differences."""

import numpy as np
import pytest
from problems import Linear, identity, isotropic, logistic, random_ols, rank_deficient, scalar, teacher_student

from homotopy import RequestError, Step, energy, leave_one_out, search, simulate
from homotopy.scheduler._linear import linear_control
from homotopy.scheduler._step import stationary_steps, step_energy
from homotopy.scheduler._switching import window


def best_step(case: Linear, s: float, t1: float) -> tuple[float, float]:
    found = stationary_steps(window(linear_control(case.problem, case.theta0), s, t1))
    return min(found, key=lambda pair: pair[1])


def brute_force(case: Linear, s: float, t1: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    """E of a fine grid of steps by the exponential of the augmented matrix: no code of the package."""
    taus = np.linspace(s, t1, count)
    target = case.limit(0.0)
    ends = np.array([case.flow(0.0, t1 - tau, case.flow(1.0, tau)) for tau in taus])
    return taus, 0.5 * np.sum((ends - target) ** 2, axis=1)


def test_scalar_reaches_the_target_in_finite_time():
    case = scalar()
    result = search(case.problem, case.theta0, s=0.1, t1=1.5)
    assert float(result.schedule.switch) == pytest.approx(0.5 * np.log(3), abs=1e-14)
    assert result.energy < 1e-30
    assert result.certificate.kind == "reached"
    # §8.1: with ε = 0 throughout E = ½e^{−2T}.
    waiting = search(case.problem, case.theta0, s=0.0, t1=1.5).baseline_energy
    assert waiting == pytest.approx(0.5 * np.exp(-3.0), rel=1e-13)


def isotropic_step(case: Linear, s: float, t1: float) -> float:
    """§8.2 in closed form."""
    j = case.delete[0]
    leverage = case.x[j] @ case.x[j]
    u = case.x[j] / np.sqrt(leverage)
    star, kept = case.limit(1.0), case.limit(0.0)
    c, delta = u @ (case.theta0 - star), u @ (star - kept)
    if c * delta < 0 and abs(c) > abs(delta):
        tau = np.log(-c / delta)
    elif c * delta > 0 and abs(leverage * c) > abs((1 - leverage) * delta):
        tau = np.log(leverage * c / ((1 - leverage) * delta))
    else:
        tau = s
    return float(np.clip(tau, s, t1))


def test_isotropic_lemma_on_200_cases():
    rng = np.random.default_rng(0)
    for seed in range(200):
        d = int(rng.integers(1, 5))
        case = isotropic(n=d + int(rng.integers(1, 6)), d=d, seed=seed)
        s, t1 = float(rng.uniform(0, 0.5)), float(rng.uniform(0.6, 3.0))
        tau, value = best_step(case, s, t1)
        w = window(linear_control(case.problem, case.theta0), s, t1)
        closed = isotropic_step(case, s, t1)
        assert step_energy(w)(np.array([closed]))[0][0] == pytest.approx(value, rel=1e-12, abs=1e-30)
        assert tau == pytest.approx(closed, abs=1e-6)


def test_notes_corollary_is_false_where_x_is_the_identity():
    # §8.3: E rises with τ, so τ* = s whatever ‖y‖ is; the notes ask for 1 < ‖y‖² < 2/(1 + e^{−τ}).
    for seed in range(20):
        case = identity(d=3, seed=seed)
        case = Linear(case.x, case.y / np.linalg.norm(case.y) * np.sqrt(1.2), case.delete, np.zeros(3))
        result = search(case.problem, case.theta0, s=0.3, t1=2.0)
        assert float(result.schedule.switch) == 0.3
        assert any("singular" in note for note in result.notes)


INSTANCES = {
    **{f"ols d={d}": (lambda d=d: random_ols(n=d + 4, d=d, seed=d)) for d in range(1, 6)},
    "group": lambda: random_ols(n=9, d=3, seed=7, delete=(1, 4, 5)),
    "ridge": lambda: random_ols(n=8, d=3, seed=8, ridge=0.7),
    "singular": lambda: rank_deficient(n=3, d=5),
}


@pytest.mark.parametrize("name", INSTANCES)
def test_never_worse_than_a_fine_grid(name):
    case = INSTANCES[name]()
    s, t1 = 0.1, 1.2
    _, values = brute_force(case, s, t1, 600)
    tau, value = best_step(case, s, t1)
    assert value <= values.min() * (1 + 1e-12) + 1e-28
    assert value >= values.min() - 0.02 * (values.max() - values.min())
    one = 0.5 * np.sum((case.flow(0.0, t1 - tau, case.flow(1.0, tau)) - case.limit(0.0)) ** 2)
    assert one == pytest.approx(value, rel=1e-9, abs=1e-28)


def test_derivative_by_finite_differences():
    case = random_ols(n=8, d=3, seed=5, delete=(1, 3))
    evaluate = step_energy(window(linear_control(case.problem, case.theta0), 0.1, 1.2))
    taus, h = np.linspace(0.2, 1.1, 7), 1e-5
    slopes = (evaluate(taus + h)[0] - evaluate(taus - h)[0]) / (2 * h)
    np.testing.assert_allclose(evaluate(taus)[1], slopes, rtol=1e-7, atol=1e-11)
    # e^{−(T−τ)H₋} once instead of twice would not be it.
    assert not np.allclose(evaluate(taus)[1] * np.exp(0.3 * (1.2 - taus)), slopes, rtol=1e-3)


def test_network_steps():
    problem = teacher_student(n=8, width=2)
    theta0 = problem.initial(0)
    target = simulate(problem, Step(0.0), theta0, t1=300.0, ts=[300.0], rtol=1e-6, atol=1e-8).theta1
    result = search(problem, theta0, s=0.1, t1=2.0, target=target, rtol=1e-7)
    for tau in (0.1, 0.5, 1.0, 2.0):
        assert result.energy <= float(energy(problem, Step(tau), theta0, t1=2.0, target=target, rtol=1e-7)) * (1 + 1e-5)
    assert result.certificate.kind == "local"
    assert result.certificate.lower_bound == 0.0


def test_bad_input():
    case, problem = random_ols(), random_ols().problem
    for options, message in (
        ({"s": 2.0, "t1": 1.0}, "0 ≤ s < t1"),
        ({"s": -0.1, "t1": 1.0}, "0 ≤ s < t1"),
        ({"t1": float("inf")}, "0 ≤ s < t1"),
        ({"t1": float("nan")}, "t1 must be one number"),
        ({"t1": 1e12}, "must not exceed"),
        ({"t1": 1.0, "family": "triangle"}, "family must be one of"),
        ({"t1": 1.0, "goal": "fame"}, "goal must be one of"),
        ({"t1": 1.0, "certify": "magic"}, "certify must be one of"),
        ({"t1": 1.0, "certify": "hjb"}, "at most 2 parameters"),
        ({"t1": 1.0, "switch_price": -1.0}, "switch_price must be"),
        ({"t1": 1.0, "tolerance": 0.1}, "would be ignored"),
        ({"t1": 1.0, "goal": "time"}, "family='bang-bang'"),
        ({"t1": 1.0, "target": [0.0]}, "target must have shape"),
        ({"t1": 1.0, "goal": "risk", "target": [0.0, 0.0, 0.0]}, "leave-one-out"),
    ):
        with pytest.raises(RequestError, match=message):
            search(problem, case.theta0, **options)
    with pytest.raises(RequestError, match="theta0 must have shape"):
        search(problem, [0.0], t1=1.0)
    with pytest.raises(RequestError, match="target must be given"):
        search(logistic(), logistic().initial(0), t1=1.0)
    with pytest.raises(RequestError, match="does not apply"):
        search(random_ols(delete=(1, 2)).problem, case.theta0, t1=1.0, certify="dual")


def test_starting_at_the_target():
    case = random_ols()
    start = leave_one_out(case.problem).theta
    result = search(case.problem, start, t1=1.0)
    assert result.energy < 1e-28
    assert float(result.schedule.switch) == 0.0
    assert any("already" in note for note in result.notes)
