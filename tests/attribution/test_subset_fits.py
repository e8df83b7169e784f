"""Fits on subsets do not depend on the units of the columns: the year² column, and a regression measured in 1e-9."""

import numpy as np
import pytest

from homotopy import Dataset, LinearRegression, LogisticRegression, Problem
from homotopy.attribution import RefitUtility


def test_a_year_squared_column_does_not_decide_the_rank_of_a_subset():
    rng = np.random.default_rng(9)
    year = np.arange(1990, 2020.0)
    x, y = np.stack([np.ones(30), year, year**2], axis=1), 0.5 * (year - 2005) ** 2 + rng.standard_normal(30)
    utility = RefitUtility(Problem(LinearRegression(), Dataset(x, y), delete=0), Dataset(x, y))
    centred = np.stack([np.ones(30), (year - 2005) / 15, ((year - 2005) / 15) ** 2], axis=1)
    masks = np.stack([np.ones(30, bool), rng.random(30) < 0.5, np.arange(30) < 4])
    for mask, value in zip(masks, utility(masks), strict=True):
        peer = np.linalg.lstsq(centred[mask], y[mask], rcond=None)[0]
        assert value == pytest.approx(-0.5 * np.mean((centred @ peer - y) ** 2), rel=1e-5)


def test_the_least_norm_solution_is_the_users():
    """Fewer points than columns, and columns of different sizes: least ‖θ‖ in the user's own coordinates."""
    rng = np.random.default_rng(10)
    x, y = rng.standard_normal((7, 4)) * [1.0, 30.0, 0.1, 5.0], rng.standard_normal((7, 2))
    utility = RefitUtility(Problem(LinearRegression(), Dataset(x, y), delete=0), Dataset(x, y))
    masks = np.stack([np.arange(7) < k for k in range(8)])
    for mask, theta in zip(masks, utility.fit(masks), strict=True):
        np.testing.assert_allclose(theta.reshape(4, 2), np.linalg.pinv(x[mask]) @ y[mask], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("power", [-30, 30])
def test_logistic_fits_see_no_units(power):
    rng = np.random.default_rng(11)
    x = np.c_[np.ones(20), rng.standard_normal(20)]
    y = (x[:, 1] + rng.standard_normal(20) > 0).astype(int)
    masks = rng.random((3, 20)) < 0.8
    plain = RefitUtility(Problem(LogisticRegression(), Dataset(x, y), delete=0, ridge=0.1), Dataset(x, y))(masks)
    x = x * 2.0**power
    scaled = RefitUtility(Problem(LogisticRegression(), Dataset(x, y), delete=0, ridge=0.1 * 4.0**power), Dataset(x, y))
    np.testing.assert_allclose(scaled(masks), plain, rtol=1e-12)
