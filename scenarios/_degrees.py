"""The two-layer time-scale system with a weight on every component risk at every time, and the slopes by them."""

from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from homotopy import Rodas5P

DEGREES = 3


def degree_kernels(
    initial: np.ndarray, epsilon: float, t1: float, times: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(ts, kernel, stage, risks, whole): the middles of `times` logarithmic cells up to `t1`, and three (times, degree).

    `kernel` is the derivative of the final risk by the weights of the component risks, per unit of time, by reverse
    differentiation through the solver; `stage` that of the risk at t by less weight from the start on; `whole` (degree,) what
    the kernel adds up to without it. `initial` (m,) is the second layer at t = 0.
    """
    m = len(initial)
    edges = jnp.asarray(np.log(np.geomspace(1e-2 * epsilon, t1, times + 1)))

    def component_risks(y: Array) -> Array:
        a, s = y[:m], y[m:]
        moments = jnp.stack([jnp.mean(a), jnp.mean(a * s), jnp.mean(a * s * s)])
        return 0.5 * (1.0 - moments) ** 2

    def velocity(y: Array, weights: Array) -> Array:
        slope = jax.grad(lambda y: weights @ component_risks(y))(y)
        return -m * jnp.concatenate([slope[:m] / epsilon, (1.0 - y[m:] ** 2) * slope[m:]])

    def train(weights: Array, adjoint: Any) -> tuple[Array, Array]:
        def cell(y: Array, here: Any) -> tuple[Array, Array]:
            start, stop, weight = here
            solution = diffrax.diffeqsolve(
                diffrax.ODETerm(lambda x, y, _: jnp.exp(x) * velocity(y, weight)), Rodas5P(), start, stop, None, y,
                stepsize_controller=diffrax.PIDController(rtol=1e-7, atol=1e-9), max_steps=64, adjoint=adjoint,
            )  # fmt: skip
            return solution.ys[0], component_risks(solution.ys[0])

        y0 = jnp.concatenate([jnp.asarray(initial), jnp.zeros(m)])
        last, risks = jax.lax.scan(cell, y0, (edges[:-1], edges[1:], weights))
        return jnp.sum(component_risks(last)), risks

    weights = jnp.ones((times, DEGREES))
    backward, forward = diffrax.RecursiveCheckpointAdjoint(), diffrax.ForwardMode()
    slope, risks = jax.jit(jax.grad(lambda weights: train(weights, backward), has_aux=True))(weights)
    along = jax.jit(jax.jacfwd(lambda weight: jnp.sum(train(weights + weight[None, :], forward)[1], axis=1)))
    stage = -np.asarray(along(jnp.zeros(DEGREES)))
    ts = np.exp(np.asarray(0.5 * (edges[1:] + edges[:-1])))
    kernel = np.asarray(slope) / np.diff(np.exp(np.asarray(edges)))[:, None]
    return ts, kernel, stage, np.asarray(risks), -np.asarray(slope).sum(axis=0)
