"""Metrics against scikit-learn and additive utilities, whose right answers are known."""

import numpy as np
import pytest

from homotopy import (
    RequestError,
    addition_curve,
    datamodelling_subsets,
    linear_datamodelling_score,
    mislabel_auc,
    rank_agreement,
    removal_curve,
)


def test_an_additive_utility_is_predicted_perfectly_and_noise_is_not():
    rng = np.random.default_rng(0)
    scores = rng.standard_normal(20)

    def value(mask):
        return float(np.exp(mask @ scores))  # ranks only

    good = linear_datamodelling_score(scores, value, subsets=60)
    assert good.score == pytest.approx(1.0)
    assert good.interval[0] > 0.99
    noise = linear_datamodelling_score(rng.standard_normal(20), value, subsets=60)
    assert noise.interval[0] < noise.score < noise.interval[1] < 0.9
    masks = datamodelling_subsets(20, subsets=60)
    assert (masks.sum(axis=1) == 10).all()
    again = linear_datamodelling_score(scores, None, subsets=60, actual=masks @ scores)
    assert again.score == pytest.approx(1.0)
    assert "60 subsets" in str(good)


def test_curves_remove_and_add_in_order():
    scores = np.array([3.0, -1.0, 2.0, 0.0])
    counts, left = removal_curve(scores, lambda mask: float(mask @ scores))
    np.testing.assert_array_equal(counts, range(5))
    np.testing.assert_allclose(left, [4.0, 1.0, -1.0, -1.0, 0.0])
    _, worst = removal_curve(scores, lambda mask: float(mask @ scores), [1], best_first=False)
    np.testing.assert_allclose(worst, [5.0])
    _, added = addition_curve(scores, lambda masks: masks @ scores, vectorised=True)
    np.testing.assert_allclose(added, [0.0, 3.0, 5.0, 5.0, 4.0])


def test_auc_is_that_of_scikit_learn():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    scores, wrong = np.round(rng.standard_normal(50), 1), rng.random(50) < 0.2
    assert mislabel_auc(scores, wrong) == pytest.approx(roc_auc_score(wrong, -scores))
    assert mislabel_auc(np.where(wrong, -1.0, 1.0), wrong) == 1.0


def test_rank_agreement():
    assert rank_agreement([1.0, 2.0, 3.0], [2.0, 5.0, 9.0]) == pytest.approx(1.0)
    assert rank_agreement([1.0, 2.0, 3.0], [1.0, 1.0, 1.0]) == 0.0


@pytest.mark.parametrize(
    ("job", "match"),
    [
        (lambda: mislabel_auc([1.0, 2.0], [True, True]), "some points and not all"),
        (lambda: mislabel_auc([1.0, 2.0], [1, 0]), "boolean"),
        (lambda: removal_curve([1.0, 2.0], lambda mask: 0.0, [3]), "counts"),
        (lambda: rank_agreement([1.0, 2.0], [1.0, 2.0, 3.0]), "same length"),
        (lambda: datamodelling_subsets(4, fraction=0.0), "fraction"),
        (lambda: mislabel_auc([[1.0]], [True]), "scores must have shape"),
    ],
)
def test_bad_requests_are_refused(job, match):
    with pytest.raises(RequestError, match=match):
        job()
