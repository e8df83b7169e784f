"""Measures: distances and accuracies by hand, an attack that can detect and one that cannot."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from homotopy import (
    CrossEntropyLoss,
    Dataset,
    LogisticRegression,
    Problem,
    RequestError,
    attack_features,
    measure,
    membership_inference,
    optimum,
    relearn_time,
    tug_of_war,
)
from tests.problems import logistic, softmax


def test_measures_by_hand():
    problem = softmax(n=12)
    rng = np.random.default_rng(0)
    theta, other = rng.standard_normal(6), rng.standard_normal(6)
    test = Dataset(rng.standard_normal((9, 2)), np.arange(9) % 3)
    found = measure(problem, theta, other, test)
    logits = np.asarray(test.x) @ theta.reshape(2, 3)
    apart = logits - np.asarray(test.x) @ other.reshape(2, 3)
    assert found.distance == pytest.approx(np.linalg.norm(theta - other))
    assert found.function_distance == pytest.approx(np.sqrt((apart**2).sum(axis=1).mean()))
    assert found.test_accuracy == pytest.approx((logits.argmax(axis=1) == np.arange(9) % 3).mean())
    everyone = np.asarray(problem.data.x) @ theta.reshape(2, 3)
    right = everyone.argmax(axis=1) == np.asarray(problem.data.y)
    keep = np.arange(12) != 1
    assert found.retain_accuracy == pytest.approx(right[keep].mean())
    assert found.forget_accuracy == pytest.approx(float(right[1]))
    losses = np.log(np.exp(everyone).sum(axis=1)) - everyone[np.arange(12), np.asarray(problem.data.y).astype(int)]
    assert found.forget_loss == pytest.approx(losses[1])
    assert found.retain_loss == pytest.approx(losses[keep].mean())
    itself = measure(problem, theta, theta, test)
    assert itself.tug_of_war == 1.0
    assert itself.distance == 0.0
    assert "tug of war" in str(found)
    with pytest.raises(RequestError, match="features"):
        measure(problem, theta, other, Dataset(np.ones((3, 5)), np.arange(3)))


def test_tug_of_war_is_a_product_of_closeness():
    assert tug_of_war([0.5, 0.9, 0.8], [0.6, 0.9, 1.0]) == pytest.approx(0.9 * 1.0 * 0.8)
    with pytest.raises(RequestError, match="same length"):
        tug_of_war([0.5], [0.5, 0.6])


def test_relearning_counts_steps():
    problem = logistic()
    start = jnp.zeros(3)
    level = float(problem.deleted_loss(optimum(problem).theta)) / 2 * 1.02
    steps = relearn_time(problem, start, step=0.02, level=level)
    theta, count = start, 0
    both = jax.jit(lambda theta: (problem.deleted_loss(theta), problem.gradient(theta)))
    while float(both(theta)[0]) / 2 > level:
        theta, count = theta - 0.02 * both(theta)[1], count + 1
    assert steps == count > 0
    assert relearn_time(problem, start, step=0.02, level=level, max_steps=3) == 3
    assert relearn_time(problem, theta, step=0.02, level=level) == 0


def test_the_attack_detects_memory_and_only_memory():
    """60 features, 60 points: the separating model remembers every label."""
    rng = np.random.default_rng(0)
    weights = rng.standard_normal(60) / 8

    def draw(n):
        x = rng.standard_normal((n, 60))
        return Dataset(x, (x @ weights + rng.standard_normal(n) > 0).astype(int))

    train, fresh, other = draw(60), draw(60), draw(60)
    problem = Problem(LogisticRegression(), train, delete=0, ridge=0.1)
    theta = optimum(problem).theta
    inside, outside, stranger = (attack_features(problem, theta, data) for data in (train, fresh, other))
    found = membership_inference(inside, outside, repeats=2, resamples=200)
    assert found.detects
    assert found.auroc > 0.65
    assert found.low <= found.auroc <= found.high
    blind = membership_inference(stranger, outside, repeats=2, resamples=200)
    assert not blind.detects
    assert "cannot tell" in str(blind)
    with pytest.raises(RequestError, match="at least folds"):
        membership_inference(inside[:3], outside)
    multi = softmax()
    seen = attack_features(multi, np.zeros(6), multi.data)
    assert seen.shape == (10, 5)
    np.testing.assert_allclose(seen[:, 0], np.log(3.0))
    assert isinstance(multi.loss, CrossEntropyLoss)
