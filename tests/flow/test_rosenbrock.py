"""Rodas5P: order 5, dense output of order 4, L-stability, on problems with known solutions."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from homotopy import Rodas5P

MIX = jnp.asarray([[1.0, 0.5], [-0.3, 1.0]])
UNMIX = jnp.linalg.inv(MIX)
START = jnp.asarray([1.0, -0.4])


def field(t, u, _):
    """u = M y with y′ = −y² cos t: non-linear, non-autonomous, with a full Jacobian."""
    return MIX @ (-((UNMIX @ u) ** 2) * jnp.cos(t))


def solution(t):
    return MIX @ (1 / (1 / START + jnp.sin(t)))


@jax.jit
def constant_steps(h):
    """The errors at the end and of the dense output between the steps, with constant steps h on [0, 1]."""
    run = diffrax.diffeqsolve(
        diffrax.ODETerm(field), Rodas5P(), 0.0, 1.0, h, MIX @ START,
        saveat=diffrax.SaveAt(t1=True, dense=True), stepsize_controller=diffrax.ConstantStepSize(), max_steps=128,
    )  # fmt: skip
    between = jnp.linspace(0.01, 0.99, 197)
    errors = jax.vmap(lambda t: jnp.abs(run.evaluate(t) - solution(t)).max())(between)
    return jnp.abs(run.ys[0] - solution(1.0)).max(), errors.max()


def test_orders():
    ends, dense = np.transpose([constant_steps(1.0 / steps) for steps in (8, 16, 32)])
    end_orders, dense_orders = np.log2(ends[:-1] / ends[1:]), np.log2(dense[:-1] / dense[1:])
    assert (end_orders > 4.6).all()
    assert (end_orders < 5.6).all()
    assert (dense_orders > 3.6).all()
    assert ends[-1] < 1e-8


def test_one_coefficient_matters():
    """The test of the order can fail: without the ∂f/∂t term the method falls to a lower order."""
    ends, _ = np.transpose([_without_time_derivative(1.0 / steps) for steps in (8, 16, 32)])
    assert (np.log2(ends[:-1] / ends[1:]) < 3.5).all()


@jax.jit
def _without_time_derivative(h):
    # stop_gradient hides t from the derivative of the field and leaves its values alone
    hidden = diffrax.ODETerm(lambda t, u, _: field(jax.lax.stop_gradient(t), u, _))
    run = diffrax.diffeqsolve(
        hidden, Rodas5P(), 0.0, 1.0, h, MIX @ START,
        stepsize_controller=diffrax.ConstantStepSize(), max_steps=128,
    )  # fmt: skip
    return jnp.abs(run.ys[0] - solution(1.0)).max(), jnp.zeros(())


def test_l_stability():
    """One step over y′ = −λy damps y by |R(λh)| → 0; an explicit method would multiply it by 10⁴⁰."""
    term, h = diffrax.ODETerm(lambda t, y, rate: -rate * y), jnp.asarray(1.0)

    @jax.jit
    def factor(rate):
        return Rodas5P().step(term, jnp.asarray(0.0), h, jnp.ones(1), rate, None, False)[0][0]

    factors = np.abs([factor(jnp.asarray(10.0**k)) for k in (1, 2, 4, 6, 8)])
    assert (factors < 1).all()
    assert factors[-1] < 1e-6
    assert (np.diff(factors[1:]) < 0).all()


def test_stiff_problem_takes_few_steps():
    """y′ = −10⁶(y − cos t) − sin t, y = cos t: the steps follow the solution and not the transient."""
    run = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, y, _: -1e6 * (y - jnp.cos(t)) - jnp.sin(t)), Rodas5P(), 0.0, 2.0, None, jnp.ones(1),
        stepsize_controller=diffrax.PIDController(rtol=1e-7, atol=1e-9), max_steps=4096,
    )  # fmt: skip
    assert run.stats["num_steps"] < 100
    np.testing.assert_allclose(run.ys[0, 0], np.cos(2.0), atol=1e-7)
