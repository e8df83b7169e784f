"""Intervals against SciPy's, and against how often they hold the truth."""

import numpy as np
import pytest
import scipy.stats

from homotopy import RequestError
from homotopy._statistics import bootstrap, mean, median, rank_correlation, wilson


def test_wilson_is_the_score_interval():
    p, n, z = 7 / 20, 20, scipy.stats.norm.ppf(0.975)
    found = wilson(7, 20)
    for end in (found.low, found.high):  # both ends solve |p − q| = z √(q (1 − q)/n)
        assert abs(p - end) == pytest.approx(z * np.sqrt(end * (1 - end) / n), rel=1e-9)
    assert wilson(0, 5).low == 0.0
    assert wilson(5, 5).high == 1.0
    assert wilson(0, 0)[1:] == (0.0, 1.0)


def test_the_interval_of_a_median_holds_it_as_often_as_it_says():
    rng = np.random.default_rng(0)
    found = [median(rng.exponential(size=15)) for _ in range(1000)]
    held = np.mean([low <= np.log(2) <= high for _, low, high in found])
    assert 0.94 <= held <= 0.99


def test_the_interval_of_a_mean_is_students_along_the_first_axis():
    values = np.random.default_rng(3).standard_normal((7, 2))
    found = mean(values, level=0.9)
    expected = scipy.stats.ttest_1samp(values, 0.0, axis=0).confidence_interval(0.9)
    np.testing.assert_allclose(found.value, values.mean(axis=0))
    np.testing.assert_allclose([found.low, found.high], [expected.low, expected.high])


def test_rank_correlation_is_spearmans_along_the_last_axis():
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((2, 3, 9)).round(1)
    expected = [scipy.stats.spearmanr(a, b).statistic for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(rank_correlation(x, y), expected, rtol=1e-12)
    assert np.isnan(rank_correlation([1.0, 1.0], [1.0, 2.0]))


def test_the_bootstrap_of_rows_is_scipys():
    values = np.random.default_rng(2).standard_normal(40)
    found = bootstrap(lambda i: values[i].mean(), 40, resamples=4000)
    expected = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(3)
    ).confidence_interval
    assert found.value == values.mean()
    np.testing.assert_allclose([found.low, found.high], expected, atol=0.02)


def test_clusters_are_drawn_as_wholes_and_crossed_factors_apart():
    rng = np.random.default_rng(4)
    shift = np.repeat(rng.standard_normal(8), 30)
    values = shift + 0.01 * rng.standard_normal(240)
    rows = bootstrap(lambda i: values[i].mean(), 240)
    wholes = bootstrap(lambda i: values[i].mean(), 240, clusters=np.repeat(np.arange(8), 30))
    assert wholes.high - wholes.low > 3 * (rows.high - rows.low)  # √30 wider: 8 independent numbers, not 240
    table = values.reshape(8, 30)
    crossed = bootstrap(lambda i, j: table[i][:, j].mean(), 8, 30)
    np.testing.assert_allclose(crossed.high - crossed.low, wholes.high - wholes.low, rtol=0.2)
    for counts, labels in (((8, 30), np.zeros(8)), ((10,), np.zeros(3))):
        with pytest.raises(RequestError, match="label the rows of one count"):
            bootstrap(lambda *rows: 0.0, *counts, clusters=labels)


def test_what_is_not_finite_is_left_out_and_arrays_stay_arrays():
    values = np.random.default_rng(5).standard_normal((20, 3))
    found = bootstrap(lambda i: values[i].mean(axis=0) if i[0] % 2 == 0 else np.full(3, np.nan), 20)
    assert found.low.shape == found.high.shape == (3,)
    assert np.isfinite(found.low).all()
    assert np.isnan(bootstrap(lambda i: np.nan, 5).low)
    # No interval of the draws that happen to miss what is not known; other components keep theirs.
    values[3, 1] = np.nan
    found = bootstrap(lambda i: values[i].mean(axis=0), 20)
    np.testing.assert_array_equal(np.isfinite(found), [[True, False, True]] * 3)


def test_of_nothing_nothing_is_known():
    assert np.isnan(bootstrap(lambda i: i.sum(), 0)).all()
    assert np.isnan(median([1.0, np.nan])).all()
    assert np.isnan(mean([2.0])[1:]).all()
