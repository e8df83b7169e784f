"""`flow.check`: a schedule of one's own is verified before anything runs, by everything that takes one."""

import itertools
from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
from problems import random_ols

from homotopy import (
    AbstractSchedule,
    BangBang,
    Constant,
    ExponentialDecay,
    Greedy,
    PiecewiseConstant,
    PointSchedules,
    PolynomialDecay,
    RequestError,
    Step,
    costate,
    energy,
    flow_influence_kernel,
    pontryagin_residual,
    sensitivity,
    simulate,
    switching_function,
)
from homotopy.flow import check
from homotopy.viz import plot_schedule

LINEAR = random_ols(n=8, d=2, seed=1, delete=(1, 3))
PROBLEM, THETA0 = LINEAR.problem, LINEAR.theta0


class Own(AbstractSchedule):
    """ε(t) by a formula of the arc and the time."""

    jumps: tuple | float
    formula: Callable = eqx.field(static=True)
    piecewise_constant: bool = eqx.field(static=True)
    unrestricted: bool = eqx.field(static=True)
    as_list: bool = eqx.field(static=True)

    def __init__(self, jumps, formula, *, piecewise_constant=False, unrestricted=False, as_list=False):
        self.jumps, self.formula, self.as_list = jumps, formula, as_list
        self.piecewise_constant, self.unrestricted = piecewise_constant, unrestricted

    def discontinuities(self):
        return list(self.jumps) if self.as_list else jnp.asarray(self.jumps, dtype=float)

    def piece(self, index, t):
        return self.formula(index, t)


def levels(*values):
    return lambda index, t: jnp.asarray(values)[index] + 0.0 * t


RIGHT = {
    "smooth": Own((), lambda k, t: jnp.exp(-3 * t)),
    "a jump, listed": Own((0.3, 0.6), levels(1.0, 0.2, 0.6)),
    "a jump beyond t1": Own((0.3, 7.0), levels(1.0, 0.2, 0.6)),
    "a jump that never comes": Own((0.3, np.inf), levels(1.0, 0.2, 0.6)),
    "two jumps at once": Own((0.3, 0.3), levels(1.0, 0.7, 0.6), piecewise_constant=True),
    "pieces": Own((0.3, 0.6), levels(1.0, 0.2, 0.6), piecewise_constant=True),
    "pieces that round": Own((), lambda k, t: 0.3 + 1e-14 * jnp.sin(1e3 * t), piecewise_constant=True),
    "steep but smooth": Own((), lambda k, t: jax.nn.sigmoid(1e4 * (0.4 - t))),
    "a kink": Own((), lambda k, t: jnp.maximum(1 - 2 * t, 0.0)),
    "whole numbers": Own((0.5,), lambda k, t: jnp.where(k == 0, 1, 0) + jnp.zeros_like(t, int)),
    "one per point": Own((), lambda k, t: jnp.stack([t, 1 - t], axis=-1)),
    "ascent": Own((), lambda k, t: -jnp.ones_like(t), unrestricted=True),
}
WRONG = {
    "not sorted": (Own((0.6, 0.3), levels(1, 0, 1)), "must be sorted from small to large, but 0.3 comes after 0.6"),
    "NaN among the jumps": (Own((0.3, np.nan), levels(1, 0, 1)), "must be times, but number 1 is NaN"),
    "one number": (Own(0.3, levels(1, 0)), r"must be a list of times \(k,\), but has shape \(\)"),
    "a list": (Own((0.3,), levels(1, 0), as_list=True), r"must return an array such as .*, but returns \[0.3\]"),
    "too large": (Own((), lambda k, t: 5.0 + 0 * t), r"lie in \[0, 1\] here, but is 5 at t = 0; a class that means it"),
    "negative later": (Own((), lambda k, t: 1 - 2 * t), r"lie in \[0, 1\] here, but is -\d\S+ at t = 0.50"),
    "NaN": (Own((), lambda k, t: jnp.where(t > 0.5, jnp.nan, 1.0)), "must be finite, but is NaN at t = 0.50"),
    "infinite": (Own((0.2,), lambda k, t: jnp.where(k == 1, 1 / (t - 0.2), 1.0)), "is inf at t = 0.2"),
    "not constant": (
        Own((0.5,), lambda k, t: jnp.exp(-t), piecewise_constant=True),
        r"constant between discontinuities, but on \[0, 0.5\] it varies by 0.393",
    ),
    "a jump of a piecewise constant one": (
        Own((), lambda k, t: jnp.where(t > 0.7, 0.0, 1.0), piecewise_constant=True),
        r"on \[0, 1\] it varies by 1",
    ),
    "a jump that is not listed": (
        Own((), lambda k, t: jnp.where(t > 0.7123, 0.2, 0.5)),
        "jumps by 0.3 at t = 0.7123, which discontinuities",
    ),
    "a small jump on a slope": (
        Own((), lambda k, t: 1 - t + jnp.where((t > 0.61) & (t < 0.9), 2e-3, 0.0)),
        "jumps by 0.002 at t = 0.",
    ),
    "three weights for two points": (
        Own((), lambda k, t: jnp.stack([t, t, t], axis=-1)),
        r"one per deleted point \(2\), but has shape \(3,\)",
    ),
    "complex": (Own((), lambda k, t: jax.lax.complex(t, t)), r"must be real numbers|must be a JAX function of numbers"),
    "an if": (Own((), lambda k, t: 1.0 if t < 0.5 else 0.0), r"\(jnp.where instead of if\), but fails: Tracer"),
    "NumPy": (Own((), lambda k, t: np.exp(-t)), "must be a JAX function"),
    "one value for all times": (Own((), lambda k, t: jnp.asarray(0.3)), "must have one value per time"),
}


class Liar(AbstractSchedule):
    """schedule(t) says one thing and the engines see another."""

    piecewise_constant: ClassVar[bool] = False

    def discontinuities(self):
        return jnp.zeros(0)

    def piece(self, index, t):
        return 1.0 - 0.5 * t

    def __call__(self, t):
        return 1.0 - 0.4 * jnp.asarray(t)


class Broken(Liar):
    def discontinuities(self):
        return self.no_such_thing


WRONG |= {
    "schedule(t) is another": (Liar(), r"schedule\(t\) and its piece\(index, t\) must agree, but at t = 0.001"),
    "an error of its own": (Broken(), r"Broken.discontinuities\(\) fails: AttributeError"),
    "text": ("step:0.5", r"must be a schedule such as Step\(0.5\), but is 'step:0.5'; parse\('step:0.5'\) reads text"),
    "a class": (Step, "must be a schedule such as"),
    "None": (None, "must be a schedule such as"),
    "feedback": (Greedy(np.zeros(2)), "feedback schedule Greedy: simulate it"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_passes(name):
    check(RIGHT[name], 1.0, points=2)


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(name):
    schedule, says = WRONG[name]
    with pytest.raises(RequestError, match=says) as caught:
        check(schedule, 1.0, points=2)
    assert "\n" not in str(caught.value)


def test_beyond_the_last_jump_where_the_horizon_is_infinite():
    falls_late = Own((3.0,), lambda k, t: jnp.where(k == 1, 1 - t / 5, 1.0))
    check(falls_late, 3.5)
    with pytest.raises(RequestError, match="but is -"):
        check(falls_late, np.inf)


CONSUMERS = {
    "simulate": lambda schedule: simulate(PROBLEM, schedule, THETA0, t1=1.0),
    "descent": lambda schedule: simulate(PROBLEM, schedule, THETA0, t1=1.0, method="descent", step=0.01),
    "sensitivity": lambda schedule: sensitivity(PROBLEM, schedule, THETA0, t1=1.0),
    "energy": lambda schedule: energy(PROBLEM, schedule, THETA0, t1=1.0),
    "costate": lambda schedule: costate(PROBLEM, schedule, THETA0, t1=1.0),
    "switching_function": lambda schedule: switching_function(PROBLEM, schedule, THETA0, t1=1.0),
    "pontryagin_residual": lambda schedule: pontryagin_residual(PROBLEM, schedule, THETA0, t1=1.0),
    "flow_influence_kernel": lambda schedule: flow_influence_kernel(PROBLEM, THETA0, t1=1.0, schedule=schedule),
    "plot_schedule": lambda schedule: plot_schedule(schedule, 1.0, plt.gca()),
}


@pytest.mark.parametrize(
    ("consumer", "wrong"), list(itertools.product(CONSUMERS, ["not sorted", "too large", "NaN", "not constant"]))
)
def test_everything_that_takes_a_schedule_checks_it(consumer, wrong):
    schedule, says = WRONG[wrong]
    with pytest.raises(RequestError, match=says.replace("; a class that means it", "")):
        CONSUMERS[consumer](schedule)


def test_a_schedule_of_ones_own_is_the_package_s_where_it_says_the_same():
    own, theirs = RIGHT["pieces"], PiecewiseConstant([0.3, 0.6], [1.0, 0.2, 0.6])
    np.testing.assert_allclose(
        simulate(PROBLEM, own, THETA0, t1=1.0).thetas, simulate(PROBLEM, theirs, THETA0, t1=1.0).thetas, rtol=1e-13
    )


def test_ascent_is_for_the_flow_and_not_for_energies():
    for ascent in (Constant(-1.0, unrestricted=True), RIGHT["ascent"]):
        end = simulate(PROBLEM, ascent, THETA0, t1=0.1, ts=[0.1]).theta1
        np.testing.assert_allclose(end, LINEAR.flow(-1.0, 0.1), rtol=1e-7)
        for name in ("energy", "pontryagin_residual"):
            with pytest.raises(RequestError, match=r"lie in \[0, 1\] here, but is -1"):
                CONSUMERS[name](ascent)


def test_the_package_s_own_schedules_are_looked_at_where_an_optimiser_moved_them():
    crossed = eqx.tree_at(lambda s: s.switches, BangBang([0.2, 0.7]), jnp.asarray([0.7, 0.2]))
    with pytest.raises(RequestError, match=r"BangBang.discontinuities.* must be sorted"):
        simulate(PROBLEM, crossed, THETA0, t1=1.0)
    lost = eqx.tree_at(lambda s: s.value, Constant(0.5), jnp.asarray(jnp.nan))
    with pytest.raises(RequestError, match="Constant must have finite parameters, but one of them holds NaN"):
        simulate(PROBLEM, lost, THETA0, t1=1.0)
    with pytest.raises(RequestError, match=r"one per deleted point \(2\), but has shape \(3,\)"):
        simulate(PROBLEM, PointSchedules([0.5], np.ones((2, 3))), THETA0, t1=1.0)
    for schedule, field, value, says in (
        (Constant(0.5), "value", 5.0, "but is 5; pass unrestricted=True if that is meant$"),
        (PiecewiseConstant([0.5], [1.0, 0.0]), "values", [1.0, 7.0], "but is 7; pass unrestricted"),
        (PointSchedules([0.5], np.ones((2, 2))), "values", [[1.0, 1.0], [-2.0, 1.0]], "but is -2$"),
        (BangBang([0.2]), "first", 3.0, "but is 3$"),
        (PolynomialDecay(0.0, 1.0, 2.0), "power", -1.0, "but rises above it where its power is -1"),
        (ExponentialDecay(0.0, 1.0), "rate", -1.0, "but rises above it where its rate is -1"),
    ):
        moved = eqx.tree_at(lambda s, field=field: getattr(s, field), schedule, jnp.asarray(value))
        with pytest.raises(RequestError, match=r"ε\(t\) must lie in \[0, 1\] here, " + says):
            check(moved, 1.0, points=2)
    check(eqx.tree_at(lambda s: s.value, Constant(0.5, unrestricted=True), jnp.asarray(5.0)), 1.0)


def test_nothing_is_sampled_inside_a_trace():
    wrong = WRONG["too large"][0]
    end = jax.jit(lambda t1: simulate(PROBLEM, wrong, THETA0, t1=t1, ts=jnp.ones(1), method="diffrax").theta1)(1.0)
    assert np.isfinite(end).all()
    slope = jax.grad(lambda tau: energy(PROBLEM, Step(tau), THETA0, t1=1.0, target=THETA0))(0.3)
    assert np.isfinite(slope)


def test_one_compilation_for_all_instances_of_a_class():
    traced = []

    def formula(index, t):
        traced.append(index)
        return jnp.asarray([1.0, 0.2])[index] + 0.0 * t

    check(Own((jnp.asarray(0.1),), formula, piecewise_constant=True), 1.0)
    before = len(traced)
    for start in (0.2, 0.3, 0.4):
        check(Own((jnp.asarray(start),), formula, piecewise_constant=True), 2.0 * start + 0.1)
    assert len(traced) == before
