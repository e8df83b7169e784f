"""Schedules: values on a grid against formulas written again, discontinuities, derivatives, refusals, text."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from homotopy import (
    BangBang,
    Constant,
    CosineDecay,
    ExponentialDecay,
    LinearDecay,
    NeuralSchedule,
    PiecewiseConstant,
    PiecewiseLinear,
    PolynomialDecay,
    RequestError,
    Step,
    describe,
    parse,
)

T = np.linspace(0.0, 1.2, 25)  # hits 0.2, 0.5, 0.7 and 1.0, where the schedules below jump


def _decay(between):
    return np.where(T <= 0.2, 1.0, np.where(T > 1.0, 0.0, between(np.clip((1.0 - T) / 0.8, 0.0, 1.0))))


CASES = {
    "constant": (Constant(0.3), np.full(25, 0.3), []),
    "step": (Step(0.5), np.where(T <= 0.5, 1.0, 0.0), [0.5]),
    "step at 0": (Step(0.0), np.where(T <= 0.0, 1.0, 0.0), [0.0]),
    "linear": (LinearDecay(0.2, 1.0), _decay(lambda r: r), [0.2, 1.0]),
    "polynomial": (PolynomialDecay(0.2, 1.0, 3.0), _decay(lambda r: r**3), [0.2, 1.0]),
    "root": (PolynomialDecay(0.2, 1.0, 0.5), _decay(np.sqrt), [0.2, 1.0]),
    "cosine": (CosineDecay(0.2, 1.0), _decay(lambda r: 0.5 * (1 + np.cos(np.pi * (1 - r)))), [0.2, 1.0]),
    "exponential": (ExponentialDecay(0.2, 2.0), np.exp(-2.0 * np.maximum(T - 0.2, 0.0)), [0.2, np.inf]),
    "exponential to 1": (
        ExponentialDecay(0.2, 2.0, 1.0),
        np.where(T > 1.0, 0.0, np.exp(-2.0 * np.maximum(T - 0.2, 0.0))),
        [0.2, 1.0],
    ),
    "levels": (
        PiecewiseConstant([0.2, 0.7], [0.1, 0.9, 0.4]),
        np.where(T <= 0.2, 0.1, np.where(T <= 0.7, 0.9, 0.4)),
        [0.2, 0.7],
    ),
    "bang-bang": (BangBang([0.2, 0.7]), np.where((T > 0.2) & (T <= 0.7), 0.0, 1.0), [0.2, 0.7]),
    "bang-bang from 0": (BangBang([0.2, 0.7], 0), np.where((T > 0.2) & (T <= 0.7), 1.0, 0.0), [0.2, 0.7]),
    "bang-bang, twice at once": (BangBang([0.5, 0.5]), np.ones(25), [0.5, 0.5]),
    "bang-bang without a switch": (BangBang([]), np.ones(25), []),
    "knots": (
        PiecewiseLinear([0.2, 0.5, 1.0], [1.0, 0.2, 0.6]),
        np.interp(T, [0.2, 0.5, 1.0], [1.0, 0.2, 0.6]),
        [0.2, 0.5, 1.0],
    ),
    "out of range": (Constant(-2.0, unrestricted=True), np.full(25, -2.0), []),
    "levels out of range": (
        PiecewiseConstant([0.5], [-1.0, 2.0], unrestricted=True),
        np.where(T <= 0.5, -1.0, 2.0),
        [0.5],
    ),
}
values_and_gradients = eqx.filter_jit(eqx.filter_value_and_grad(lambda schedule, t: jnp.sum(schedule(t))))


@pytest.mark.parametrize("name", CASES)
def test_values(name):
    schedule, expected, discontinuities = CASES[name]
    np.testing.assert_allclose(schedule(T), expected, rtol=1e-14, atol=1e-15)
    np.testing.assert_array_equal(schedule.discontinuities(), discontinuities)
    assert schedule(0.3).shape == ()
    assert schedule.piecewise_constant == (isinstance(schedule, Constant | Step | PiecewiseConstant | BangBang))


@pytest.mark.parametrize("name", CASES)
def test_pieces_are_what_the_schedule_is_between_its_discontinuities(name):
    schedule, _, discontinuities = CASES[name]
    edges = np.minimum([0.0, *discontinuities, 1.5], 1.5)
    for k, (start, end) in enumerate(itertools.pairwise(edges)):
        if end > start:
            inside = np.linspace(start, end, 7)[1:-1]
            np.testing.assert_allclose(schedule.piece(k, jnp.asarray(inside)), schedule(inside), rtol=1e-13)


@pytest.mark.parametrize("name", CASES)
def test_derivatives_by_parameters(name):
    """Finite everywhere (also where a power below 1 is vertical), and right off the discontinuities."""
    schedule = CASES[name][0]
    t = jnp.asarray([0.1, 0.35, 0.6, 0.9, 1.1])
    _, gradients = values_and_gradients(schedule, t)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(values_and_gradients(schedule, jnp.asarray(T))[1]))
    leaves, tree = jax.tree.flatten(schedule)
    for at, (leaf, gradient) in enumerate(zip(leaves, jax.tree.leaves(gradients), strict=True)):
        for index in np.ndindex(leaf.shape):
            if not np.isfinite(leaf[index]):
                continue

            def total(shift, at=at, index=index, leaf=leaf):
                changed = [*leaves[:at], leaf.at[index].add(shift), *leaves[at + 1 :]]
                return float(jnp.sum(jax.tree.unflatten(tree, changed)(t)))

            numeric = (total(1e-6) - total(-1e-6)) / 2e-6
            np.testing.assert_allclose(gradient[index], numeric, rtol=1e-6, atol=1e-8)


def test_neural_schedule():
    schedule = NeuralSchedule(0.2, 1.0, width=4, key=3)
    values = schedule(T)
    assert (values[T <= 0.2] == 1).all()
    assert (values[T > 1.0] == 0).all()
    network = [np.asarray(leaf) for leaf in jax.tree.leaves(schedule.network) if eqx.is_array(leaf)]
    phase = (0.6 - 0.2) / 0.8
    output = network[2] @ np.tanh(network[0][:, 0] * phase + network[1]) + network[3]
    np.testing.assert_allclose(schedule(0.6), 1 / (1 + np.exp(-output[0])), rtol=1e-13)
    gradients = values_and_gradients(schedule, jnp.asarray(T))[1]
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
    assert any(leaf.any() for leaf in jax.tree.leaves(gradients.network))
    assert describe(schedule) == "NeuralSchedule"


def test_schedules_batch():
    schedules = jax.vmap(Step)(jnp.asarray([0.2, 0.8]))
    values = jax.vmap(lambda schedule: schedule(0.5))(schedules)
    np.testing.assert_array_equal(values, [0.0, 1.0])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Constant(1.5), "value: ε must lie in [0, 1], but is 1.5; pass unrestricted=True if that is meant"),
        (lambda: Constant([0.5]), "value must be one number"),
        (lambda: Constant(np.nan), "value must be finite, but value is nan"),
        (lambda: Constant("1"), "value must hold real numbers, but holds text"),
        (lambda: Step(-0.1), "switch must not be negative (time starts at 0), but is -0.1"),
        (lambda: Step(np.inf), "switch must be finite"),
        (lambda: LinearDecay(0.5, 0.5), "start must be before end, but start is 0.5 and end is 0.5"),
        (lambda: PolynomialDecay(0.0, 1.0, 0.0), "power must be one number > 0, but is 0.0"),
        (lambda: CosineDecay(1.0, 0.5), "start must be before end"),
        (lambda: ExponentialDecay(0.0, -1.0), "rate must be one number > 0"),
        (lambda: ExponentialDecay(1.0, 1.0, 0.5), "start must be before end"),
        (lambda: PiecewiseConstant([0.5, 0.2], [1, 0, 1]), "times must be sorted"),
        (lambda: PiecewiseConstant([0.5], [1.0]), "one entry more than times, but there are 1 values and 1 times"),
        (lambda: PiecewiseConstant([0.5], [1.0, -0.1]), "values: ε must lie in [0, 1]"),
        (lambda: BangBang(0.5), "switches must be a list of numbers"),
        (lambda: BangBang([0.5], 0.5), "first must be 0 or 1, but is 0.5"),
        (lambda: PiecewiseLinear([0.5], [1.0]), "the same length ≥ 2, but have 1 and 1"),
        (lambda: PiecewiseLinear([0.5, 0.5], [1.0, 0.0]), "times must increase strictly"),
        (lambda: NeuralSchedule(1.0, 0.0), "start must be before end"),
    ],
)
def test_bad_parameters(make, says):
    with pytest.raises(RequestError) as error:
        make()
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", [name for name in CASES if "out of range" not in name])
def test_text_round_trip(name):
    schedule = CASES[name][0]
    again = parse(describe(schedule, digits=17))
    assert type(again) is type(schedule)
    assert jax.tree.structure(again) == jax.tree.structure(schedule)
    assert all((a == b).all() for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(schedule), strict=True))


def test_text():
    assert describe(Step(1 / 3)) == "step:0.3333"
    assert describe(PiecewiseConstant([0.5], [1.0, 0.25])) == "piecewise-constant:0.5;1,0.25"
    assert parse(" linear:0.2, 0.8 ").end == 0.8
    for text, says in {
        "stepp:0.5": "the family must be one of constant, step",
        "step": "cannot be read; write step:SWITCH",
        "step:a": "cannot be read; write step:SWITCH",
        "step:1,2": "cannot be read; write step:SWITCH",
        "step:-1": "schedule 'step:-1': switch must not be negative",
        "constant:2": "ε must lie in [0, 1]",
        "linear:1,0": "start must be before end",
        "bang-bang:0.5;1": "cannot be read; write bang-bang:T1,T2",
        "piecewise-constant:0.5": "cannot be read; write piecewise-constant:T1,…;V0,V1,…",
    }.items():
        with pytest.raises(RequestError) as error:
            parse(text)
        assert says in str(error.value)
        assert "\n" not in str(error.value)
