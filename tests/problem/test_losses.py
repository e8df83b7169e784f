"""Losses: values, and Bregman divergences against their definition and their known forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from homotopy import CrossEntropyLoss, LogisticLoss, RequestError, SquaredLoss

RNG = np.random.default_rng(0)
CASES = {
    "squared": (SquaredLoss(), jnp.asarray(RNG.normal(size=(6, 2))), jnp.asarray(1.3)),
    "squared, several": (SquaredLoss(), jnp.asarray(RNG.normal(size=(6, 2, 3))), jnp.asarray(RNG.normal(size=3))),
    "logistic 0": (LogisticLoss(), jnp.asarray(3 * RNG.normal(size=(6, 2))), jnp.asarray(0.0)),
    "logistic 1": (LogisticLoss(), jnp.asarray(3 * RNG.normal(size=(6, 2))), jnp.asarray(1.0)),
    "softmax": (CrossEntropyLoss(), jnp.asarray(2 * RNG.normal(size=(6, 2, 4))), jnp.asarray(2.0)),
}


def _softmax(logits):
    weights = np.exp(logits - np.max(logits))
    return weights / weights.sum()


def test_values():
    assert SquaredLoss().value(jnp.asarray(3.0), jnp.asarray(1.0)) == 2.0
    assert SquaredLoss().value(jnp.asarray([3.0, 0.0]), jnp.asarray([1.0, 1.0])) == 2.5
    for y in (0.0, 1.0):
        logit = 0.7
        probability = 1 / (1 + np.exp(-logit))
        expected = -np.log(probability if y else 1 - probability)
        np.testing.assert_allclose(LogisticLoss().value(jnp.asarray(logit), jnp.asarray(y)), expected, rtol=1e-14)
    logits = np.array([0.3, -1.0, 2.0])
    for label in range(3):
        value = CrossEntropyLoss().value(jnp.asarray(logits), jnp.asarray(float(label)))
        np.testing.assert_allclose(value, -np.log(_softmax(logits)[label]), rtol=1e-14)


def test_the_logistic_loss_is_right_to_the_last_bits():
    logits = np.concatenate([np.linspace(-700.0, 700.0, 2801), np.linspace(-3.0, 3.0, 2801)])
    wide = logits.astype(np.longdouble)
    expected = np.maximum(wide, 0) + np.log1p(np.exp(-np.abs(wide)))
    found = np.asarray(jax.vmap(lambda logit: LogisticLoss().value(logit, jnp.asarray(0.0)))(jnp.asarray(logits)))
    np.testing.assert_array_less(np.abs(found / expected - 1), 8 * np.finfo(float).eps)


def test_extreme_logits_stay_finite():
    for loss, prediction in ((LogisticLoss(), jnp.asarray(800.0)), (CrossEntropyLoss(), jnp.asarray([800.0, -800.0]))):
        assert loss.value(prediction, jnp.asarray(1.0)) < 1700
        assert jnp.isfinite(loss.bregman(prediction, -prediction, jnp.asarray(1.0)))


@pytest.mark.parametrize("case", CASES)
def test_bregman_is_its_definition(case):
    loss, pairs, target = CASES[case]
    for prediction, reference in pairs:
        slope = jax.grad(loss.value)(reference, target)
        definition = (
            loss.value(prediction, target) - loss.value(reference, target) - jnp.sum(slope * (prediction - reference))
        )
        divergence = loss.bregman(prediction, reference, target)
        np.testing.assert_allclose(divergence, definition, rtol=1e-11, atol=1e-13)
        assert divergence > 0
        assert abs(loss.bregman(reference, reference, target)) < 1e-15


def test_bregman_is_a_divergence_between_distributions():
    """KL of the reference's distribution from the prediction's, not the other way round."""
    loss, pairs, target = CASES["softmax"]
    prediction, reference = np.asarray(pairs[0])
    p, q = _softmax(prediction), _softmax(reference)
    divergence = loss.bregman(jnp.asarray(prediction), jnp.asarray(reference), target)
    np.testing.assert_allclose(divergence, np.sum(q * np.log(q / p)), rtol=1e-12)
    assert abs(divergence - np.sum(p * np.log(p / q))) > 1e-3
    p, q = 1 / (1 + np.exp(-0.4)), 1 / (1 + np.exp(1.1))
    divergence = LogisticLoss().bregman(jnp.asarray(0.4), jnp.asarray(-1.1), jnp.asarray(0.0))
    np.testing.assert_allclose(divergence, q * np.log(q / p) + (1 - q) * np.log((1 - q) / (1 - p)), rtol=1e-12)


@pytest.mark.parametrize(
    ("loss", "y", "says"),
    [
        (LogisticLoss(), [0.0, 1.0, 2.0], "labels 0 and 1, but y holds 0, 1, 2"),
        (LogisticLoss(), [[0.0], [1.0]], "one label per point"),
        (LogisticLoss(), [-1.0, 1.0], "class labels 0, 1, …, but y holds -1, 1"),
        (CrossEntropyLoss(), [0.0, 0.5], "class labels 0, 1, …, but y holds 0, 0.5"),
        (CrossEntropyLoss(), [0.0, 0.0], "at least two classes"),
    ],
)
def test_targets_that_do_not_suit(loss, y, says):
    with pytest.raises(RequestError) as error:
        loss.output_shape(jnp.asarray(y))
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_output_shapes():
    assert SquaredLoss().output_shape(jnp.zeros(4)) == ()
    assert SquaredLoss().output_shape(jnp.zeros((4, 3))) == (3,)
    assert LogisticLoss().output_shape(jnp.asarray([0.0, 1.0])) == ()
    assert CrossEntropyLoss().output_shape(jnp.asarray([0.0, 4.0])) == (5,)


def test_the_curvature_of_the_logistic_loss_keeps_its_digits():
    """W = σ(ŷ)σ(−ŷ): at ŷ = 30 the usual σ(1 − σ) has three digits left."""
    loss = LogisticLoss()
    second = jax.vmap(jax.hessian(lambda logit: loss.value(logit, jnp.asarray(1.0))))
    logits = jnp.array([-40.0, -17.0, 0.0, 17.0, 30.0])
    decay = np.exp(-np.abs(np.asarray(logits)))
    np.testing.assert_allclose(second(logits), decay / (1.0 + decay) ** 2, rtol=1e-14)
