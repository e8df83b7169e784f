"""A model of a user's own that is linear in θ: one class, and every closed form holds for it."""

import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from homotopy import (
    BangBang,
    Dataset,
    LinearRegression,
    LogisticRegression,
    Problem,
    RequestError,
    SquaredLoss,
    estimate_constants,
    leave_one_out,
    leave_one_out_all,
    leverage,
    optimum,
    search,
    simulate,
)
from homotopy.problem import AbstractModel

X = np.linspace(-1.0, 1.5, 7)[:, None]
Y = np.array([0.3, -0.1, 0.4, 0.2, 1.1, 0.9, 2.4])
DELETE = 6


class Quadratic(AbstractModel):
    """f(θ; x) = θ₁ + θ₂x + θ₃x² + offset."""

    offset: float = 0.0
    linear: bool = True

    def default_loss(self):
        return SquaredLoss()

    def size(self, features, output_shape):
        return 3

    def predict(self, theta, x, output_shape):
        return jnp.concatenate([jnp.ones_like(x), x, x**2], axis=1) @ theta + self.offset

    def initial(self, key, features, output_shape):
        return jnp.zeros(3)


@pytest.fixture(scope="module")
def pair():
    """The user's model, and linear regression on its features."""
    own = Problem(Quadratic(), Dataset(X, Y), delete=DELETE)
    return own, Problem(LinearRegression(), Dataset(np.hstack([np.ones_like(X), X, X**2]), Y), delete=DELETE)


def test_closed_forms_hold_for_it(pair):
    own, plain = pair
    assert own.least_squares
    assert own.convex
    phi = np.asarray(plain.data.x)
    np.testing.assert_array_equal(own.design, phi)
    best = optimum(own)
    assert best.kind == "closed form"
    np.testing.assert_allclose(best.theta, np.linalg.lstsq(phi, Y, rcond=None)[0], rtol=1e-10)
    without = np.linalg.lstsq(np.delete(phi, DELETE, 0), np.delete(Y, DELETE), rcond=None)[0]
    np.testing.assert_allclose(leave_one_out(own).theta, without, rtol=1e-10)
    np.testing.assert_allclose(leave_one_out_all(own)[DELETE], without, rtol=1e-9)
    np.testing.assert_allclose(leverage(own), np.diag(phi @ np.linalg.pinv(phi)), rtol=1e-9)
    assert estimate_constants(own).smoothness == pytest.approx(np.linalg.norm(phi, 2) ** 2 / len(phi), rel=1e-12)


def test_flow_and_search_see_no_difference(pair):
    ends, best = [], []
    for problem in pair:
        run = simulate(problem, BangBang([0.3]), jnp.ones(3), t1=1.0, ts=[1.0], method="exact")
        ends.append(run.theta1)
        found = search(problem, jnp.ones(3), t1=2.0, family="bang-bang")
        best.append((found.energy, found.certificate.lower_bound))
    np.testing.assert_allclose(*ends, rtol=1e-12)
    np.testing.assert_allclose(*best, rtol=1e-9)
    other = simulate(pair[0], BangBang([0.3]), jnp.ones(3), t1=1.0, ts=[1.0], method="diffrax")
    np.testing.assert_allclose(ends[0], other.theta1, rtol=1e-6)


def test_a_linear_model_with_another_loss_is_convex_without_a_closed_form():
    labels = Dataset(X, (Y > 0.35).astype(float))
    assert not Problem(LogisticRegression(), labels, delete=0).least_squares
    assert Problem(LogisticRegression(), labels, delete=0).convex


def test_what_only_calls_itself_linear_is_refused():
    with pytest.raises(RequestError, match="says that it is linear"):
        Problem(Quadratic(offset=0.5), Dataset(X, Y), delete=0)
    assert not Problem(Quadratic(offset=0.5, linear=False), Dataset(X, Y), delete=0).least_squares


def test_no_model_is_asked_for_by_its_name():
    """Whether predictions are linear in θ is a property; only the layout of θ (its names) is a class's own."""
    asking = {
        file.name
        for file in (Path(__file__).parents[2] / "homotopy").rglob("*.py")
        if re.search(r"isinstance\([^()]*\b(LinearRegression|LogisticRegression)\b", file.read_text(encoding="utf-8"))
    }
    assert asking == {"_names.py"}
