"""Bang-bang search for linear regression: derivatives, optimality against brute force, exact arrival, prices, batches."""

import json

import numpy as np
import pytest
import scipy.optimize
from problems import Linear, random_ols, scalar
from scipy.linalg import expm

from homotopy import (
    BangBang,
    Dataset,
    FlaggedRowsWarning,
    LinearRegression,
    Problem,
    RequestError,
    SearchResult,
    WorkError,
    energy,
    leave_one_out,
    search,
    simulate,
)  # fmt: skip
from homotopy.flow import PointSchedules
from homotopy.scheduler import BangBangFlow, search_all
from homotopy.scheduler._bang_bang import is_reached, search_bang_bang
from homotopy.scheduler._goals import linear_metric
from homotopy.scheduler._linear import linear_control
from homotopy.scheduler._switching import Bang, Window, flip, tidy, window


def instance(seed: int, d: int, n: int = 20, span: float = 2.0, reach: float = 0.2) -> tuple[Linear, float, float]:
    """Rows with covariance condition 10, noise 0.5, s = 0.2 T, T = 2/λ_min."""
    rng = np.random.default_rng(seed)
    q = np.linalg.qr(rng.standard_normal((d, d)))[0]
    x = rng.standard_normal((n, d)) * np.sqrt(np.geomspace(1, 0.1, d)) @ q.T
    y = x @ rng.standard_normal(d) + 0.5 * rng.standard_normal(n)
    case = Linear(x, y, (int(rng.integers(n)),), rng.standard_normal(d))
    t1 = span / np.linalg.eigvalsh(x.T @ x)[0]
    return case, reach * t1, t1


def opened(case: Linear, s: float, t1: float, price: float = 0.0, goal: str = "parameters") -> Window:
    return window(linear_control(case.problem, case.theta0, metric=linear_metric(case.problem, goal)), s, t1, price)


@pytest.mark.parametrize("goal", ["parameters", "outputs", "risk"])
@pytest.mark.parametrize("first", [0, 1])
def test_gradient_and_hessian(first, goal):
    case = random_ols(n=8, d=3, seed=3, delete=(1, 4))
    here = opened(case, 0.1, 1.0, 0.05, goal)
    at, h = np.array([0.2, 0.45, 0.7]), 1e-5

    def moved(k, size, what):
        return getattr(here, what)(Bang(first, at + size * np.eye(3)[k]))

    value, gradient, hessian = here.evaluate(Bang(first, at))
    assert value == pytest.approx(here.value(Bang(first, at)), rel=1e-13)
    by_hand = [(moved(k, h, "value") - moved(k, -h, "value")) / (2 * h) for k in range(3)]
    np.testing.assert_allclose(gradient, by_hand, rtol=1e-6, atol=1e-10)
    by_hand = [(moved(k, h, "evaluate").gradient - moved(k, -h, "evaluate").gradient) / (2 * h) for k in range(3)]
    np.testing.assert_allclose(hessian, by_hand, rtol=1e-6, atol=1e-9)
    assert not np.allclose(hessian, np.array(by_hand) * 1.001, rtol=1e-6, atol=1e-9)


def test_values_agree_with_matrix_exponentials():
    case = random_ols(n=8, d=3, seed=3, delete=(1, 4))
    here = opened(case, 0.0, 1.0)
    for first in (0, 1):
        switches = np.array([[0.1, 0.3, 0.8], [0.2, 0.2, 0.9]])
        for row, end in zip(switches, here.ends(first, switches), strict=True):
            np.testing.assert_allclose(end + here.control.target, case.bang_bang(row, 1.0, float(first)), atol=1e-12)


def brute_force(here: Window) -> float:
    """Three switches on a fine grid for both first values, the best few polished by SLSQP."""
    grid = np.linspace(here.s, here.t1, 15)
    i, j, k = np.meshgrid(*[np.arange(15)] * 3, indexing="ij")
    keep = (i <= j) & (j <= k)
    rows = np.stack([grid[a[keep]] for a in (i, j, k)], axis=1)
    best = np.inf
    for first in (0, 1):
        values = here.values(first, rows)
        for row in rows[np.argsort(values)[:3]]:
            found = scipy.optimize.minimize(
                lambda x, first=first: 1e6 * here.value(Bang(first, np.clip(np.sort(x), here.s, here.t1))), row,
                method="SLSQP", bounds=[(here.s, here.t1)] * 3, options={"ftol": 1e-14},
            )  # fmt: skip
            best = min(best, 1e-6 * float(found.fun), float(values.min()))
    return best


@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_never_worse_than_brute_force(d):
    for seed in range(6):
        case, s, t1 = instance(seed, d)
        here = opened(case, s, t1)
        found = search_bang_bang(here)[0]
        baseline = here.value(Bang(0, np.zeros(0)))
        assert found.value <= brute_force(here) + 1e-12 * baseline
        assert found.residual <= 1e-8 or found.value <= 1e-12 * baseline
        assert len(found.bang.switches) <= 2 * d - 1


def test_newton_ends_where_the_gradient_is_zero():
    case, s, t1 = instance(0, 2)
    here = opened(case, s, t1)
    best = search_bang_bang(here)[0]
    assert len(best.bang.switches) == 1
    for shift in (-1e-3, 1e-3):
        assert here.value(Bang(best.bang.first, best.bang.switches + shift)) > best.value


def test_flip_and_tidy():
    case, s, t1 = instance(0, 2)
    here = opened(case, s, t1)
    on = Bang(1, np.zeros(0))
    middle = flip(here, on, s + 0.1, s + 0.2)
    np.testing.assert_allclose(middle.switches, [s + 0.1, s + 0.2])
    assert flip(here, middle, s + 0.1, s + 0.2).switches.size == 0
    assert flip(here, on, s, s + 0.2).first == 0
    assert flip(here, on, t1 - 0.2, t1).switches.size == 1
    assert tidy(here, Bang(0, np.array([s, s, t1]))).first == 0


def test_the_schedule_is_admissible_and_has_the_energy():
    for seed in range(4):
        case, s, t1 = instance(seed, 2)
        result = search(case.problem, case.theta0, s=s, t1=t1, family="bang-bang", certify="none")
        assert float(result.schedule(0.5 * s)) == 1.0
        assert float(result.schedule(1.01 * t1)) == 0.0
        assert float(energy(case.problem, result.schedule, case.theta0, t1=t1)) == pytest.approx(
            result.energy, rel=1e-9
        )
    case, _, t1 = instance(1, 2)
    result = search(case.problem, -case.theta0, s=0.0, t1=t1, family="bang-bang", certify="none")
    assert float(energy(case.problem, result.schedule, -case.theta0, t1=t1)) == pytest.approx(result.energy, rel=1e-9)


def test_scalar_minimum_time():
    case = scalar()
    result = search(case.problem, case.theta0, s=0.1, t1=2.0, family="bang-bang", goal="time")
    assert result.arrival == pytest.approx(0.5 * np.log(3), rel=1e-10)
    # θ = (1 − e^{−2t})·3/2 = 1 − tol.
    close = search(case.problem, case.theta0, s=0.1, t1=2.0, family="bang-bang", goal="time", tolerance=0.1)
    assert close.arrival == pytest.approx(-0.5 * np.log(1 - 0.9 / 1.5), rel=1e-9)
    with pytest.raises(WorkError, match="no ε\\(t\\) was found"):
        search(case.problem, case.theta0, s=0.1, t1=0.3, family="bang-bang", goal="time")


def test_minimum_time_near_the_target():
    case = scalar()
    # θ = (1 − e^{−2t})·3/2 + e^{−2t}θ₀ = 1, also from where rounding of θ itself is what is left.
    for gap in (1e-2, 1e-4, 1e-8):
        result = search(case.problem, np.array([1.0 - gap]), t1=2.0, family="bang-bang", goal="time")
        assert result.arrival == pytest.approx(0.5 * np.log1p(2 * gap), rel=1e-6)
    there = search(case.problem, np.array([0.9]), t1=2.0, family="bang-bang", goal="time", tolerance=0.2)
    assert there.arrival == 0.0
    assert there.energy == pytest.approx(0.5 * 0.1**2)
    with pytest.raises(RequestError, match="leave-one-out optimum as its target"):
        search(case.problem, case.theta0, t1=2.0, family="bang-bang", goal="time", target=np.array([0.3]))


def test_minimum_time_in_the_plane_ends_on_the_target():
    case, _, t1 = instance(1, 2)
    keep, full = (np.asarray(case.problem.hessian(np.zeros(2), epsilon)) for epsilon in (0.0, 1.0))
    target = np.asarray(leave_one_out(case.problem).theta)
    push = -np.asarray(case.problem.deleted_gradient(target))
    # Backwards from θ*₋: an arc ε = 1 of length 0.1 t1, before it an arc ε = 0 of the same length.
    before = -np.linalg.solve(full, (expm(full * 0.1 * t1) - np.eye(2)) @ push)
    start = target + expm(keep * 0.1 * t1) @ before
    result = search(case.problem, start, t1=t1, family="bang-bang", goal="time")
    assert result.arrival == pytest.approx(0.2 * t1, rel=1e-6)
    end = simulate(case.problem, result.schedule, start, t1=result.arrival).theta1
    np.testing.assert_allclose(end, target, atol=1e-10 * np.linalg.norm(start - target))


def test_minimum_time_is_the_least():
    case, s, t1 = instance(1, 2)
    tolerance = 0.02
    result = search(case.problem, case.theta0, s=s, t1=20 * t1, family="bang-bang", goal="time", tolerance=tolerance)
    for factor, reached in ((1 + 1e-6, True), (1 - 1e-4, False)):
        value = search(case.problem, case.theta0, s=s, t1=result.arrival * factor, family="bang-bang", certify="none")
        assert bool(np.sqrt(2 * value.energy) <= tolerance * (1 + 1e-9)) is reached


def test_prices():
    case, s, t1 = instance(1, 2)
    free = search(case.problem, case.theta0, s=s, t1=t1, family="bang-bang")
    assert free.structure[-1].kind == "on"
    dear = search(case.problem, case.theta0, s=s, t1=t1, family="bang-bang", weight_price=1.0)
    assert dear.structure[-1].kind == "off"
    assert dear.energy == pytest.approx(free.baseline_energy)
    between = search(case.problem, case.theta0, s=s, t1=t1, family="bang-bang", weight_price=0.03)
    on = sum(arc.end - max(arc.start, s) for arc in between.structure if arc.kind == "on" and arc.end > s)
    assert between.objective == pytest.approx(between.energy + 0.03 * on, rel=1e-12)
    assert between.objective <= min(free.energy + 0.03 * (t1 - s), free.baseline_energy) + 1e-15
    assert between.certificate.lower_bound <= between.objective
    case, s, t1 = instance(0, 2)
    switching = search(case.problem, case.theta0, s=s, t1=t1, family="bang-bang", switch_price=1.0)
    assert switching.switches == 0


def test_result_round_trip_and_report():
    case, s, t1 = instance(0, 2)
    result = search(case.problem, case.theta0, s=s, t1=t1, family="bang-bang")
    again = SearchResult.from_dict(json.loads(result.to_json()))
    assert again.to_dict() == result.to_dict()
    assert isinstance(again.schedule, BangBang)
    for word in ("bang-bang", "E = ", "certificate", "switches", "starts agreed"):
        assert word in str(result)
    with pytest.raises(RequestError, match="must have the entry"):
        SearchResult.from_dict({})


def test_all_points_at_once():
    case, s, t1 = instance(3, 3, n=12)
    table = search_all(case.problem, case.theta0, s=s, t1=t1)
    assert (table.lower_bounds <= table.energies).all()
    assert (table.energies <= table.baseline_energies * (1 + 1e-12)).all()
    for row in (0, 7):
        one = search(case.problem.deleting(row), case.theta0, s=s, t1=t1, family="bang-bang", certify="none")
        assert one.energy == pytest.approx(table.energies[row], rel=1e-12)
        kept = simulate(case.problem.deleting(row), table.schedule(row), case.theta0, t1=t1, ts=[t1]).theta1
        target = Linear(case.x, case.y, (row,), case.theta0).limit(0.0)
        assert 0.5 * np.sum((np.asarray(kept) - target) ** 2) == pytest.approx(one.energy, rel=1e-9)
    starts = np.random.default_rng(0).standard_normal((3, 3))
    assert search_all(case.problem, starts, s=s, t1=t1, delete=[4, 4, 4]).energies.shape == (3,)
    with pytest.raises(RequestError, match="delete must lie in 0…11"):
        search_all(case.problem, case.theta0, t1=t1, delete=[12])
    assert "searches" in str(table)
    assert table.reasons == ("",) * 12


def test_a_point_without_an_answer_costs_its_row_only():
    """Without point 0 the minimiser is about 1e200, whose square is no number; without the others it is 7 or 6."""
    data = Dataset(np.array([[1.0], [1e-100], [2e-100]]), np.array([1.0, 1e100, 3e100]))
    problem = Problem(LinearRegression(), data, delete=0)
    with pytest.warns(FlaggedRowsWarning, match=r"1 of 3 searches have no answer: point 0: .*must be between"):
        table = search_all(problem, [0.0], t1=1.0)
    assert [bool(reason) for reason in table.reasons] == [True, False, False]
    assert table.energies[0] == table.baseline_energies[0] == np.inf
    assert np.isnan(table.residuals[0])
    assert (table.lower_bounds[0], table.switches[0], table.certified[0], table.reached[0]) == (0, -1, False, False)
    for row in (1, 2):
        alone = search(problem.deleting(row), [0.0], t1=1.0, family="bang-bang")
        assert table.energies[row] == pytest.approx(alone.energy, rel=1e-12, abs=1e-25)
    assert "2 searches" in str(table)
    assert "; 1 without an answer" in str(table)
    with pytest.raises(WorkError, match=r"row 0 \(point 0\) has no answer: θ\(s\) − θ\*₋ must be between"):
        table.schedule(0)
    with pytest.raises(RequestError, match="must be between"):
        search_all(problem, [0.0], t1=1.0, delete=[0, 0])


def test_the_table_says_how_many_digits_are_left():
    x = np.column_stack([np.ones(6), 1 + 1e-9 * np.arange(6.0) ** 2])
    problem = Problem(LinearRegression(), Dataset(x, np.array([1.0, 2.0, 0.0, 1.0, 3.0, 2.0])), delete=0)
    table = search_all(problem, np.zeros(2), t1=1.0)
    one = search(problem, np.zeros(2), t1=1.0, family="bang-bang")
    assert "nearly collinear" in table.notes[0][0]
    assert table.notes[0][0] in one.notes


def test_many_trajectories():
    case, _, t1 = instance(3, 4, n=12)
    switches = np.sort(np.random.default_rng(0).uniform(0, t1, (16, 3)), axis=1)
    ends = BangBangFlow(case.problem)(case.theta0, switches, t1=t1)
    by_hand = [case.bang_bang(row, t1) for row in switches]
    np.testing.assert_allclose(ends, by_hand, rtol=1e-11, atol=1e-12)
    with pytest.raises(RequestError, match="sorted"):
        BangBangFlow(case.problem)(case.theta0, switches[:, ::-1], t1=t1)


def test_reached_is_told_apart():
    case = scalar()
    here = opened(case, 0.1, 1.0)
    assert is_reached(here, search_bang_bang(here)[0].value)
    assert not is_reached(here, here.value(Bang(0, np.zeros(0))))


def test_one_schedule_per_point():
    schedule = PointSchedules([0.5, 1.0], [[1.0, 1.0], [0.0, 1.0], [0.0, 0.0]])
    np.testing.assert_array_equal(schedule(np.array([0.2, 0.7, 2.0])), [[1, 1], [0, 1], [0, 0]])
    case = random_ols(n=8, d=3, seed=3, delete=(1, 4))
    moved = simulate(case.problem, schedule, case.theta0, t1=1.5, ts=[1.5]).theta1
    first = case.flow(1.0, 0.5)
    only = Linear(np.delete(case.x, 1, axis=0), np.delete(case.y, 1), (3,), case.theta0).flow(1.0, 0.5, first)
    np.testing.assert_allclose(moved, case.flow(0.0, 0.5, only), atol=1e-12)
