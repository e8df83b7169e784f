"""Models: what θ means, how long it is, and the way to an Equinox module and back."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from homotopy import MLP, LinearRegression, LogisticRegression, RequestError

X = jnp.asarray(np.random.default_rng(0).normal(size=(4, 2)))


def test_linear_models_store_w_row_by_row():
    for model in (LinearRegression(), LogisticRegression()):
        assert model.size(2, ()) == 2
        assert model.size(2, (3,)) == 6
        theta = jnp.arange(6.0)
        np.testing.assert_allclose(model.predict(theta, X, (3,)), X @ np.arange(6.0).reshape(2, 3))
        np.testing.assert_allclose(model.predict(theta[:2], X, ()), X @ np.array([0.0, 1.0]))
    assert not LogisticRegression().initial(jax.random.key(0), 2, (3,)).any()
    assert LinearRegression().initial(jax.random.key(0), 2, (3,)).shape == (6,)


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("output_shape", [(), (1,), (3,)])
def test_mlp_is_the_formula(depth, output_shape):
    """By hand: layer by layer, each weight matrix row by row and then its bias."""
    model = MLP(width=4, depth=depth, activation="tanh")
    theta = model.initial(jax.random.key(1), 2, output_shape)
    outputs = int(np.prod(output_shape))
    sizes = [2, *[4] * depth, outputs]
    assert theta.shape == (model.size(2, output_shape),)
    assert theta.size == sum(b * a + b for a, b in itertools.pairwise(sizes))
    values, at = np.asarray(X), 0
    for layer, (a, b) in enumerate(itertools.pairwise(sizes)):
        weight, bias = np.asarray(theta[at : at + a * b]).reshape(b, a), np.asarray(theta[at + a * b : at + a * b + b])
        values, at = values @ weight.T + bias, at + a * b + b
        values = np.tanh(values) if layer < depth else values
    predictions = model.predict(theta, X, output_shape)
    assert predictions.shape == (4, *output_shape)
    np.testing.assert_allclose(predictions, values.reshape(4, *output_shape), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("output_shape", [(), (3,)])
def test_mlp_round_trip(output_shape):
    model = MLP(width=3, depth=2, activation="silu")
    theta = model.initial(jax.random.key(2), 2, output_shape)
    module = model.module(theta, 2, output_shape)
    assert isinstance(module, eqx.nn.MLP)
    assert (model.flatten(module) == theta).all()
    np.testing.assert_allclose(jax.vmap(module)(X), model.predict(theta, X, output_shape), rtol=1e-15)


def test_every_activation_has_two_finite_derivatives():
    from homotopy.problem._models import ACTIVATIONS

    points = jnp.asarray([-30.0, -1.0, 0.0, 0.5, 30.0])
    for name in ACTIVATIONS:
        MLP(activation=name)
        function = ACTIVATIONS[name]
        both = jax.jit(jax.vmap(lambda x, f=function: (jax.grad(f)(x), jax.grad(jax.grad(f))(x))))(points)
        assert jnp.isfinite(jnp.stack(both)).all(), name


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"width": 0}, "width must be a whole number ≥ 1, but is 0"),
        ({"depth": True}, "depth must be a whole number ≥ 1, but is True"),
        ({"activation": "relu"}, "activation must be one of tanh"),
    ],
)
def test_bad_options(options, says):
    with pytest.raises(RequestError, match=says):
        MLP(**options)
