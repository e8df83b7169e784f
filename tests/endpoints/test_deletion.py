"""Each point of a least-squares fit deleted alone, against fits without it in NumPy and in exact arithmetic."""

from fractions import Fraction

import numpy as np
import pytest

from homotopy import Dataset, LinearRegression, LogisticRegression, Problem, RequestError
from homotopy.endpoints._deletion import deletion, deletions
from homotopy.endpoints._endpoint import Outcome


def least_squares(x, y, **options):
    return Problem(LinearRegression(), Dataset(x, y), delete=0, **options)


def refit(x, y, ridge=0.0):
    """The exact minimiser, as fractions: Gaussian elimination on the normal equations."""
    x, y = [[Fraction(float(v)) for v in row] for row in x], [Fraction(float(v)) for v in y]
    d = len(x[0])
    table = [[sum(r[i] * r[j] for r in x) + (i == j) * Fraction(ridge) for j in range(d)] for i in range(d)]
    table = [[*row, sum(r[i] * t for r, t in zip(x, y, strict=True))] for i, row in enumerate(table)]
    for i in range(d):
        table[i] = [v / table[i][i] for v in table[i]]
        for k in range(d):
            if k != i:
                table[k] = [a - table[k][i] * b for a, b in zip(table[k], table[i], strict=True)]
    return np.array([float(row[-1]) for row in table])


@pytest.mark.parametrize("ridge", [0.0, 0.7])
def test_several_outputs(ridge):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((12, 3)), rng.standard_normal((12, 2))
    found, ends = deletions(least_squares(x, y, ridge=ridge))
    hat = np.diag(x @ np.linalg.solve(x.T @ x + ridge * np.eye(3), x.T))
    np.testing.assert_allclose(found.leverage, hat, rtol=1e-12)
    for i in range(12):
        kept = np.delete(x, i, 0)
        theta = np.linalg.solve(kept.T @ kept + ridge * np.eye(3), kept.T @ np.delete(y, i, 0))
        np.testing.assert_allclose(found.deleted_residual[i], y[i] - x[i] @ theta, rtol=1e-11)
        np.testing.assert_allclose(ends.theta[i], theta.reshape(-1), rtol=1e-11)
        value = 0.5 * np.sum((np.delete(y, i, 0) - kept @ theta) ** 2) + 0.5 * ridge * np.sum(theta**2)
        assert float(ends.value[i]) == pytest.approx(value, rel=1e-12)
        assert ends.smallest_eigenvalue[i] <= np.linalg.eigvalsh(kept.T @ kept + ridge * np.eye(3))[0] * (1 + 1e-9)
    assert ends.converged.all()
    assert (ends.prediction_error < 1e-13).all()


@pytest.mark.parametrize("k", [1, 3, 4, 8, 14])
def test_leverage_one_minus_a_power_of_ten(k):
    """Beside exact arithmetic, and with columns in units that are 1e13 apart."""
    rng = np.random.default_rng(k)
    x, y = np.c_[np.ones(7), 10.0 ** (-k / 2) * rng.standard_normal(7)], rng.standard_normal(7)
    x[5, 1] = 1.0
    x = x * [1e8, 1e-5]
    found, ends = deletions(least_squares(x, y))
    exact = np.array([refit(np.delete(x, i, 0), np.delete(y, i)) for i in range(7)])
    np.testing.assert_allclose(found.deleted_residual[:, 0], y - np.sum(x * exact, axis=1), rtol=1e-11)
    np.testing.assert_allclose(ends.theta, exact, rtol=1e-10)
    grown = 1.0 / float(found.left[5]) - 1.0
    kept = np.delete(x, 5, 0) / [1e8, 1e-5 * 10.0 ** (-k / 2)]
    row = x[5] / [1e8, 1e-5 * 10.0 ** (-k / 2)]
    assert grown == pytest.approx(row @ np.linalg.solve(kept.T @ kept, row), rel=1e-10)
    np.testing.assert_allclose(found.residual, found.left[:, None] * found.deleted_residual, rtol=1e-9)
    assert (found.outcome == int(Outcome.CONVERGED)).all()
    assert ends.converged.all()


def test_a_row_that_alone_determines_a_parameter():
    y = np.arange(7.0) ** 2
    x = np.c_[np.ones(7), np.eye(7)[6]]
    found, ends = deletions(least_squares(x, y))
    np.testing.assert_array_equal(np.flatnonzero(found.outcome), [6])
    assert found.outcome[6] == int(Outcome.UNDETERMINED)
    assert float(found.leverage[6]) == 1.0
    assert float(found.residual[6, 0]) == 0.0
    assert np.isnan(found.deleted_residual[6]).all()
    assert np.isnan(ends.theta[6]).all()
    np.testing.assert_allclose(ends.theta[0], refit(x[1:], y[1:]), rtol=1e-12)
    # With a ridge the rest determines everything.
    ridged, _ = deletions(least_squares(x, y, ridge=1e-9))
    assert (ridged.outcome == 0).all()
    np.testing.assert_allclose(ridged.deleted_residual[6, 0], 36.0 - refit(x[:6], y[:6], ridge=1e-9)[0], rtol=1e-9)


def test_no_more_points_than_parameters():
    for x in (np.eye(2), np.ones((7, 2))):
        found, ends = deletions(least_squares(x, np.arange(float(len(x)))))
        assert (ends.outcome == int(Outcome.UNDETERMINED)).all()
        assert np.isnan(ends.theta).all()
    # Of two equal columns no θ is determined, but every prediction is.
    np.testing.assert_allclose(found.deleted_residual[:, 0], np.arange(7.0) - (21.0 - np.arange(7.0)) / 6, atol=1e-14)
    assert (found.outcome == 0).all()


def test_one_target_beside_which_the_others_are_nothing():
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((7, 2)), np.r_[1e12, rng.standard_normal(6)]
    _, ends = deletions(least_squares(x, y))
    np.testing.assert_allclose(ends.theta[0], refit(x[1:], y[1:]), rtol=1e-12)
    assert ends.converged.all()


def test_it_is_for_least_squares():
    problem = Problem(LogisticRegression(), Dataset(np.ones((3, 1)), [0, 1, 1]), delete=0)
    with pytest.raises(RequestError, match="linear regression"):
        deletion(problem)
