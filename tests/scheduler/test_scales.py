"""The search on hard data: symmetries to the bit, long and short times, and a table of designs against exact references."""

import exactly
import numpy as np
import pytest

from homotopy import Dataset, LinearRegression, Problem, RequestError, SearchResult, energy, search
from homotopy.scheduler import search_all
from homotopy.scheduler._linear import linear_control
from homotopy.scheduler._phase import factor
from homotopy.scheduler._switching import Bang, window

GOALS = ("parameters", "outputs", "risk")


def given(seed, d=2, n=8):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), 2 * rng.standard_normal(n), 2 * rng.standard_normal(d)


def found(x, y, theta0, t1, ridge=0.0, **options) -> SearchResult:
    problem = Problem(LinearRegression(), Dataset(x, y), delete=0, ridge=ridge)
    options = {"family": "bang-bang", "certify": "auto", "s": 0.1 * t1, **options}
    return search(problem, theta0, t1=t1, **options)


def certified(*args, **options) -> SearchResult:
    """With the dual where it applies, else with none: no semi-definite programme in a table of many searches."""
    try:
        return found(*args, certify="dual", **options)
    except RequestError as error:
        assert "does not apply" in str(error)  # noqa: PT017
        return found(*args, certify="none", **options)


def telling(result):
    """What must not change with units: kinds, counts, notes."""
    return result.certificate.kind, result.switches, result.notes, [arc.kind for arc in result.structure]


# Symmetries ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("goal", GOALS)
def test_powers_of_two_change_nothing(goal):
    """y and θ₀ by 2^m; and all of X by 2^k, time by 4^−k, θ₀ by 2^−k. Energies scale exactly, the rest is the same."""
    for seed in range(6):
        x, y, theta0 = given(seed)
        t1 = (0.3, 2.0)[seed % 2]
        plain = certified(x, y, theta0, t1, goal=goal)
        for m in (-200, -1, 60):
            scaled = certified(x, 2.0**m * y, 2.0**m * theta0, t1, goal=goal)
            assert telling(scaled) == telling(plain)
            assert scaled.energy == 4.0**m * plain.energy
            assert scaled.baseline_energy == 4.0**m * plain.baseline_energy
            assert scaled.certificate.lower_bound == 4.0**m * plain.certificate.lower_bound
            assert scaled.schedule.switches.tolist() == plain.schedule.switches.tolist()
        for k in (-20, 7):
            by_goal = 4.0**-k if goal == "parameters" else 1.0
            scaled = certified(2.0**k * x, y, 2.0**-k * theta0, t1 * 4.0**-k, goal=goal)
            assert telling(scaled) == telling(plain)
            assert scaled.energy == pytest.approx(by_goal * plain.energy, rel=1e-9, abs=1e-24 * plain.baseline_energy)
            assert scaled.baseline_energy == pytest.approx(by_goal * plain.baseline_energy, rel=1e-12)
            np.testing.assert_allclose(
                np.asarray(scaled.schedule.switches) * 4.0**k, plain.schedule.switches, rtol=1e-6, atol=1e-9
            )


@pytest.mark.parametrize("factor", [1e-100, 1e-9, 1e5, 1e100])
def test_y_and_theta0_by_powers_of_ten(factor):
    for seed in range(5):
        x, y, theta0 = given(seed, d=1 + seed % 3)
        plain, scaled = certified(x, y, theta0, 1.5), certified(x, factor * y, factor * theta0, 1.5)
        assert telling(scaled) == telling(plain)
        assert scaled.energy / factor**2 == pytest.approx(plain.energy, rel=1e-8, abs=1e-24 * plain.baseline_energy)
        if plain.certificate.kind == "dual":
            gaps = [one.certificate.gap / one.baseline_energy for one in (plain, scaled)]
            assert gaps == pytest.approx([0.0, 0.0], abs=1e-9)
    tables = [
        search_all(Problem(LinearRegression(), Dataset(x, by * y), delete=0), by * theta0, t1=1.5, delete=[0, 3, 5])
        for by in (1.0, factor)
    ]
    np.testing.assert_array_equal(tables[0].reached, tables[1].reached)
    apart = ~tables[0].reached
    np.testing.assert_array_equal(tables[0].switches[apart], tables[1].switches[apart])
    assert (tables[1].lower_bounds <= tables[1].energies).all()


def test_reached_and_there_have_no_units():
    x, y, theta0 = given(1)
    for k in (-40, 40):
        for goal in ("risk", "outputs"):
            assert certified(2.0**k * x, 2.0**k * y, theta0, 4.0**-k, goal=goal).certificate.kind == (
                certified(x, y, theta0, 1.0, goal=goal).certificate.kind
            )
    result = found(x * 1e6, y * 1e-9, theta0 * 1e-15, 1e-12, certify="none")
    assert not any("already" in note for note in result.notes)
    target = [float(value) for value in exactly.optimum(x[1:], y[1:], np.ones(7))]
    for by in (1e-60, 1.0, 1e60):
        there = found(x, by * y, by * np.array(target), 1.0, s=0.0)
        assert any("already" in note for note in there.notes)
        assert there.certificate.kind == "reached"


def test_what_is_no_number_when_squared_is_refused():
    x, y, theta0 = given(2)
    for size, message in ((1e145, "multiply"), (1e-145, "multiply")):
        with pytest.raises(RequestError, match=message):
            found(x, size * y, size * theta0, 1.0)
        with pytest.raises(RequestError, match=message):
            found(size * x, y, theta0, 1.0)
    with pytest.raises(RequestError, match="in size, so that its square"):
        found(x, y, 1e145 * theta0, 1.0)
    with pytest.raises(RequestError, match="must not exceed 1e\\+08/λ_max"):
        found(x * [1.0, 1e5], y, theta0, 1.0)


# Times --------------------------------------------------------------------------------------------------------------


def test_time_over_24_orders_of_magnitude():
    for seed in (2, 4):
        x, y, theta0 = given(seed, d=3, n=9)
        for exponent in range(-18, 7, 2):
            result = certified(x, y, theta0 * 10.0 ** (seed - 2), 10.0**exponent)
            assert result.switches <= 5
            assert 0 <= result.certificate.gap <= result.energy <= result.baseline_energy * (1 + 1e-13)
            assert result.certificate.kind == "reached" or result.pontryagin_residual <= 1e-9
            if exponent <= -18:
                assert "no switch can matter" in "".join(result.notes)
                assert result.switches == 0
                assert result.energy == result.baseline_energy
    assert found(x, y, theta0, 1e-300, certify="none").switches == 0
    step = found(x, y, theta0, 1e-17, family="step", certify="none")
    assert step.structure[-1].kind == "off"
    assert "reached" in str(found(x, y, theta0, 1e4))
    assert "inf" not in str(found(x, y, theta0, 1e4))


def long_window(seed):
    rng = np.random.default_rng(seed)
    problem = Problem(
        LinearRegression(), Dataset(rng.standard_normal((8, 2)) * 0.1, rng.standard_normal(8) * 3), delete=0, ridge=0.5
    )
    return problem, window(linear_control(problem, np.zeros(2)), 0.0, 20.0)


@pytest.mark.parametrize("seed", [643, 51, 63, 79, 86, 107, 148])
def test_long_windows_do_not_stop_early(seed):
    """z(T) is 1e-5 of z(s): tolerances by E_b, narrow pulses and exact arrivals find what a table cannot see."""
    problem, here = long_window(seed)
    result = search(problem, np.zeros(2), t1=20.0, family="bang-bang", certify="none")
    lasting = np.geomspace(1e-7, 10.0, 50)[:, None]
    starts = np.linspace(0, 1, 120)[None] * (20.0 - lasting)
    pulses = np.stack([starts, np.minimum(starts + lasting, 20.0)], axis=-1).reshape(-1, 2)
    grid = min(here.values(first, pulses).min() for first in (0, 1))
    assert result.energy <= grid
    assert result.pontryagin_residual <= 1e-9
    if seed in (643, 63, 148):
        assert result.certificate.kind == "reached"
    if seed == 643:
        again = energy(problem, result.schedule, np.zeros(2), t1=20.0)
        assert float(again) <= 1e-20 * here.baseline


# Hard designs -------------------------------------------------------------------------------------------------------


def collinear(ratio):
    x, y, theta0 = given(3)
    x[:, 1] = x[:, 0] + ratio * x[:, 1]
    return x, y, theta0


def leverage(one_minus):
    """The deleted row alone carries nearly all of the second column."""
    x, y, theta0 = given(4)
    x[1:, 1] *= np.sqrt(one_minus)
    x[0, 1] = 1.0
    return x, y, theta0


def changed(seed=5, d=2, n=8, **changes):
    x, y, theta0 = given(seed, d, n)
    for what, change in changes.items():
        {"x": x, "y": y}[what][...] = change({"x": x, "y": y}[what])
    return x, y, theta0


def with_row(row):
    def change(x):
        x[0] = row
        return x

    return change


DESIGNS = {
    # name: (design, a word of the note or None, whether θ*₋ is unique)
    **{
        f"collinear 1e-{k}": (collinear(10.0**-k), "nearly collinear" if k >= 8 else None, True)
        for k in (2, 5, 8, 11, 13)
    },
    "collinear 1e-17": (collinear(1e-17), "singular", False),
    **{f"leverage 1 - 1e-{k}": (leverage(10.0**-k), None, True) for k in (2, 6, 10)},
    "leverage 1": (changed(x=lambda x: np.where(np.arange(8)[:, None] * [0, 1] > 0, 0.0, x)), "singular", False),
    "duplicate rows": (changed(x=lambda x: np.repeat(x[:4], 2, axis=0)), None, True),
    "constant column": (changed(x=lambda x: x * [1, 0] + [0, 5.0]), None, True),
    "n = d": (changed(d=3, n=3), "singular", False),
    "n < d": (changed(d=4, n=3), "singular", False),
    "perfect fit": (changed(x=lambda x: x * [0, 1] + [1, 0], y=lambda y: y * 0), "r = 0", True),
    "x_j = 0": (changed(x=with_row(0.0)), "x = 0", True),
    "huge y": (changed(y=lambda y: y * 1e100), None, True),
    "tiny y": (changed(y=lambda y: y * 1e-100), None, True),
    "salary": (changed(x=lambda x: x * [1, 1e3]), None, True),
}


def line():
    x, _, theta0 = DESIGNS["perfect fit"][0]
    return x, x @ [2.0, 3.0], theta0


DESIGNS["perfect fit"] = (line(), "r = 0", True)


@pytest.mark.parametrize("name", DESIGNS)
def test_hard_designs(name):
    """θ*₋ and E are right to what the condition number leaves (80-digit reference), and what is special is told."""
    (x, y, theta0), word, unique = DESIGNS[name]
    t1 = 3.0 / float(np.linalg.norm(x, 2) ** 2)
    result = certified(x, y, theta0, t1)
    assert result.energy <= result.baseline_energy * (1 + 1e-12)
    assert result.certificate.gap >= 0
    assert all(word in " ".join(result.notes) for word in ([word] if word else []))
    assert word or not result.notes
    control = linear_control(Problem(LinearRegression(), Dataset(x, y), delete=0), theta0)
    if unique:
        target = exactly.optimum(x[1:], y[1:], np.ones(len(y) - 1))
        known = 1e-13 * control.condition
        np.testing.assert_allclose(control.target, [float(v) for v in target], rtol=10 * known)
    else:
        kept = x[1:]
        rank = np.linalg.matrix_rank(kept / np.maximum(np.linalg.norm(kept, axis=0), 1e-300), tol=1e-13)
        basis = np.linalg.svd(kept)[2][:rank].T
        best = theta0 + basis @ np.linalg.lstsq(kept @ basis, y[1:] - kept @ theta0, rcond=None)[0]
        np.testing.assert_allclose(control.target, best, rtol=1e-9, atol=1e-9)
        target, known = [exactly.Fraction(float(v)) for v in control.target], 1e-12
    arcs = [(np.array([float(arc.kind == "on"), *np.ones(len(y) - 1)]), exactly.Fraction(arc.end) - exactly.Fraction(arc.start))
            for arc in result.structure]  # fmt: skip
    end = exactly.flow(x, y, arcs, theta0)
    exact = 0.5 * sum(float(a - exactly.Decimal(b.numerator) / exactly.Decimal(b.denominator)) ** 2
                      for a, b in zip(end, target, strict=True))  # fmt: skip
    assert result.energy == pytest.approx(exact, rel=max(1e-9, 100 * known), abs=1e-26 * result.baseline_energy)


def test_columns_in_any_units_have_one_rank_and_one_prediction():
    """θ*₋ predicts the same whatever the units, and a column of 1e-8 is no missing direction."""
    x, y, theta0 = given(6, d=3, n=9)
    plain = linear_control(Problem(LinearRegression(), Dataset(x, y), delete=0), theta0)
    years = np.stack([np.ones(30), 1990.0 + np.arange(30), (1990.0 + np.arange(30)) ** 2], axis=1)
    for units in ([1e8, 1.0, 1e-8], [1e-3, 1e5, 1.0], [1e-100, 1.0, 1e100]):
        units = np.array(units)
        control = linear_control(Problem(LinearRegression(), Dataset(x * units, y), delete=0), theta0 / units)
        assert not control.deficient
        np.testing.assert_allclose(control.target * units, plain.target, rtol=1e-12)
        assert control.single[1] == pytest.approx(plain.single[1], rel=1e-12)
    target = 0.5 * (years[:, 1] - 2005) ** 2 + np.random.default_rng(0).standard_normal(30)
    control = linear_control(Problem(LinearRegression(), Dataset(years, target), delete=3), np.zeros(3))
    kept = np.delete(np.arange(30), 3)
    exact = [float(value) for value in exactly.optimum(years[kept], target[kept], np.ones(29))]
    assert np.abs(years @ control.target - years @ exact).max() <= 1e-7


def test_rates_keep_their_relative_digits():
    """Singular values of sorted columns against fractions: det(XᵀX) is the product of the rates."""
    rng = np.random.default_rng(0)
    for x, known in ((rng.standard_normal((6, 2)) * [1e6, 1e-6], 1e-13), (collinear(1e-10)[0], 1e-5)):
        sizes = factor(x, np.zeros((len(x), 1))).sizes
        (a, b), (_, c) = exactly.moments(x, np.zeros(len(x)), np.ones(len(x)))[0]
        assert (sizes[0] * sizes[1]) ** 2 == pytest.approx(float(a * c - b * b), rel=known, abs=0)
    # Of the second design XᵀX knows nothing but the longest axis.
    assert abs(np.linalg.eigvalsh(x.T @ x)[0]) != pytest.approx(sizes[1] ** 2, rel=0.5, abs=0)


def test_flow_is_right_far_before_and_after_every_mode():
    """Two-term advance: no cancellation against a far equilibrium (leverage near 1), nor in the last decimals."""
    x, y, theta0 = leverage(1e-12)
    control = linear_control(Problem(LinearRegression(), Dataset(x, y), delete=0), theta0)
    for t1 in (1e-9, 1.0, 1e6):
        end = window(control, 0.0, t1).ends(1, np.array([[0.4 * t1]]))[0] + control.target
        on, off = np.ones(8), np.array([0.0, *np.ones(7)])
        switch = exactly.Fraction(0.4 * t1)
        exact = exactly.flow(x, y, [(on, switch), (off, exactly.Fraction(t1) - switch)], theta0)
        np.testing.assert_allclose(end, [float(v) for v in exact], rtol=1e-9)


def test_no_gain_below_rounding_is_claimed():
    here = window(linear_control(Problem(LinearRegression(), Dataset(*given(1)[:2]), delete=0), given(1)[2]), 0.0, 1.0)
    bang = Bang(0, np.zeros(0))
    assert 0 < here.noise(bang, here.baseline) < 1e-13 * here.baseline
    assert here.rounding(Bang(1, np.linspace(0.1, 0.9, 9))) > here.rounding(bang)


def test_the_value_function_sees_no_units():
    x, y, theta0 = given(7)
    for goal in ("risk", "outputs"):
        bounds = [
            found(size * x, size * y, theta0, size**-2, goal=goal, certify="value-function").certificate.lower_bound
            / size**2
            for size in (1.0, 1e6, 1e-6)
        ]
        assert bounds[0] > 0
        assert bounds == pytest.approx([bounds[0]] * 3, rel=1e-3)
