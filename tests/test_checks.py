"""Checks of arguments: one wording each, and every entry point with times or tolerances goes through them."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import random_ols

from homotopy import (
    BangBangFlow,
    Dataset,
    Levels,
    RequestError,
    Step,
    costate,
    energy,
    flow_influence_kernel,
    path,
    pontryagin_residual,
    search,
    search_all,
    sensitivity,
    simulate,
    surface,
    switching_function,
)
from homotopy._checks import as_key, as_time, as_times, as_tolerance, as_window, choice, indices, number, shown, whole

LINEAR = random_ols(n=8, d=2, seed=1)
PROBLEM, THETA0 = LINEAR.problem, LINEAR.theta0
CALLS = {
    "simulate": lambda **options: simulate(PROBLEM, Step(0.3), THETA0, **options),
    "sensitivity": lambda **options: sensitivity(PROBLEM, Step(0.3), THETA0, **options),
    "costate": lambda **options: costate(PROBLEM, Step(0.3), THETA0, **options),
    "switching_function": lambda **options: switching_function(PROBLEM, Step(0.3), THETA0, **options),
    "flow_influence_kernel": lambda **options: flow_influence_kernel(PROBLEM, THETA0, **options),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"t1": 1.0, "ts": [0.5, 2.0]}, r"ts must lie in \[0, t1\] = \[0, 1\], but ends at 2"),
        ({"t1": 1.0, "ts": [0.5, 0.2]}, "ts must be sorted"),
        ({"t1": 1.0, "ts": [np.nan]}, "ts must not be negative or NaN"),
        ({"t1": 0.0}, "t1 must be one number > 0, but is 0.0"),
        ({"t1": "1"}, "t1 must be one number > 0, but is '1'"),
        ({"t1": 1.0, "rtol": -1.0}, "rtol must be one number > 0, but is -1.0"),
        ({"t1": 1.0, "rtol": 1e20}, "rtol must be < 1 "),
        ({"t1": 1.0, "atol": np.nan}, "atol must be one number > 0, but is nan"),
    ],
)
def test_times_and_tolerances(name, options, says):
    """Also where they would not have been used: linear regression under a step is solved exactly."""
    with pytest.raises(RequestError, match=says):
        CALLS[name](**options)


def _search(**options):
    return search(PROBLEM, THETA0, **({"t1": 1.0} | options))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (
            lambda: pontryagin_residual(PROBLEM, Step(0.3), THETA0, s=2.0, t1=1.0),
            "0 ≤ s < t1 < ∞, but s = 2 and t1 = 1",
        ),
        (lambda: _search(s=1.0), "0 ≤ s < t1 < ∞"),
        (lambda: _search(s="a"), "s must be one number, but is 'a'"),
        (lambda: search_all(PROBLEM, THETA0, s="a", t1=1.0), "s must be one number, but is 'a'"),
        (lambda: search_all(PROBLEM, THETA0, s=-0.1, t1=1.0), "0 ≤ s < t1 < ∞"),
        (lambda: search_all(PROBLEM, THETA0, t1=1e12), r"t1 must not exceed .*/λ_max"),
        (lambda: _search(t1=1e12), r"t1 must not exceed .*/λ_max"),
        (lambda: Levels(seed="a"), "seed must be a whole number in 0…4294967295, but is 'a'"),
        (
            lambda: _search(family="bang-bang", goal="time", tolerance=0.1, certify="x"),
            "certify must be one of auto, dual",
        ),
        (
            lambda: _search(family="bang-bang", goal="time", tolerance=0.1, certify="dual"),
            "goal='time' takes no certify",
        ),
        (lambda: _search(rtol=-1), "rtol must be one number > 0"),
        (lambda: energy(PROBLEM, Step(0.3), THETA0, t1=1.0, rtol=-1), "rtol must be one number > 0"),
        (lambda: surface(PROBLEM, [0.0], THETA0, ts=[1.0], rtol=-1), "rtol must be one number > 0"),
        (lambda: surface(PROBLEM, [0.0], THETA0, ts=[1.0], max_steps=0), "max_steps must be a whole number ≥ 1"),
        (
            lambda: simulate(PROBLEM, Step(0.3), THETA0, t1=1.0, method="descent", step=1e-300),
            "must be at most 1e.08 steps",
        ),
        (lambda: costate(PROBLEM, Step(0.3), THETA0, t1=np.inf, ts=[1.0]), "t1 must be finite here"),
        (lambda: path(PROBLEM, [1.0, 2.0]), r"epsilons must lie in \[0, 1\]"),
        (lambda: BangBangFlow(PROBLEM)(THETA0, [[0.2]], t1=np.nan), "t1 must be one number > 0, but is nan"),
        (
            lambda: Dataset(np.full((3, 2), [1.0, 1e160]), np.ones(3)),
            r"feature .* large as 1e\+160: its squares overflow",
        ),
        (
            lambda: Dataset(np.ones((3, 1)), np.full(3, -1e180)),
            r"target .* large as 1e\+180: its squares overflow",
        ),
    ],
)
def test_options_that_were_ignored_or_crashed(call, says):
    with pytest.raises(RequestError, match=says) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_numbers():
    assert number(Fraction(1, 4), "x") == 0.25
    assert number(jnp.asarray(2), "x", least=2.0, most=2.0) == 2.0
    assert whole(np.int32(3), "k", 1) == 3
    for value in (10**400, "1", None, True, np.nan, [1.0], 1j, np.ones(1), Fraction(10**400, 3)):
        with pytest.raises(RequestError, match="x must be one number > 0 and ≤ 3, but is "):
            number(value, "x", above=0.0, most=3.0)
    for value in (1.0, True, 0, 10**400, "1", np.ones(())):
        with pytest.raises(RequestError, match="k must be a whole number ≥ 1, but is "):
            whole(value, "k", 1)
    with pytest.raises(RequestError, match="k must be a whole number in 1…3, but is 4"):
        whole(4, "k", 1, 3)


def test_words_indices_and_keys():
    assert choice("a", "word", {"a": 1, "b": 2}) == "a"
    for value in ("c", None, np.zeros(3), ["a"]):
        with pytest.raises(RequestError, match="word must be one of a, b or an object, but is "):
            choice(value, "word", ("a", "b"), " or an object")
    np.testing.assert_array_equal(indices(2, 3, "rows"), [2])
    for value, says in (
        ([3], "lie in 0…2"),
        ([], "is empty"),
        ([0.5], "whole number"),
        ([[1], [2, 3]], "whole number"),
    ):
        with pytest.raises(RequestError, match=says):
            indices(value, 3, "rows")
    assert as_key(3) == jax.random.key(3)
    assert as_key(jax.random.key(4)) == jax.random.key(4)
    for value in (-1, 0.5, "a", [1, 2], np.zeros((2, 3))):
        with pytest.raises(RequestError, match="key must be a whole number ≥ 0"):
            as_key(value)


def test_inside_a_trace_nothing_is_looked_at():
    def traced(value):
        return as_time(value) + as_times(jnp.stack([value, value]), value).sum() + as_tolerance(value, "rtol")

    assert jax.jit(traced)(-1.0) == -4.0
    with pytest.raises(RequestError):
        as_window(jnp.asarray(1.0), 0.5)


def test_a_message_quotes_one_line():
    assert shown(np.zeros((20, 20))).count("\n") == 0
    assert len(shown("x" * 1000)) == 60
    assert shown("step") == "'step'"
