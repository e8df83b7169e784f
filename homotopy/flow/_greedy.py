"""Greedy ε(t, θ): at every instant the weight that moves θ most towards a target (notes eq. 0.15).

The velocity is affine in ε, so the maximiser of ⟨θ̇, (θ̂ − θ)/‖θ̂ − θ‖⟩ is ε = 1 where the gain
a(θ) = ⟨−∇ℓ_J(θ), θ̂ − θ⟩ is positive, else 0. Where both velocities point at the surface a = 0 the closed loop slides
along it (Filippov), with the equivalent weight ε = ȧ₀/(ȧ₀ − ȧ₁) that keeps ȧ = 0; ȧ_m is the rate of a under ε = m.

Each stretch of one mode is one Diffrax solve that ends at an event; modes: 0, 1 (that ε), 2 (sliding).
"""

from typing import Annotated, Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix
from jaxtyping import Array, Float

from .._arrays import as_floats
from .._checks import Theta, Values, on_host
from .._errors import WorkError
from ..problem import Problem
from . import _diffrax
from ._trajectory import Trajectory

_SLIDING = 2
# Relative to ‖∇ℓ_J‖ (‖θ‖ + ‖target‖): well above the rounding of a(θ), well below any tolerance.
_SLACK = 1e-12
# A trajectory that changes mode more often than this is chattering: an error, not an answer.
_MAX_STRETCHES = 500
_BISECTION: Any = optimistix.Bisection(rtol=1e-13, atol=1e-13, flip="detect")  # type: ignore[call-arg]  # a class variable is taken for an argument


class Greedy(eqx.Module):
    """Feedback schedule ε(t, θ) = 1 where ⟨−∇ℓ_J(θ), θ̂ − θ⟩ > 0, else 0; θ̂ = `target` (dim,) is usually θ*₋.

    Notes eq. 0.15, mathematics §9: the weight that moves θ most towards θ̂ at every instant. Only `simulate` and
    `energy` take it (elsewhere `RequestError`); where the closed loop slides along the switching surface they use the
    equivalent weight, and raise `WorkError` for one that chatters.

    Example (continues the package's):

        >>> greedy = Greedy(leave_one_out(problem).theta)
        >>> print(greedy(0.0, theta0, problem), greedy.gain(theta0, problem).round(4))
        1.0 0.0745
        >>> off, on = greedy.gain_rates(theta0, problem)
        >>> print(off.round(3), on.round(3))
        0.275 -1.0050000000000001
    """

    target: Float[Array, " dim"]

    def __init__(self, target: Theta):
        self.target = as_floats(target, "target")

    def __call__(
        self, t: Annotated[Values, "*times"], theta: Float[Array, " dim"], problem: Problem
    ) -> Float[Array, ""]:
        """ε off the switching surface, 0 or 1, for θ (dim,); time plays no part."""
        return jnp.where(self.gain(theta, problem) > 0, 1.0, 0.0)

    def gain(self, theta: Float[Array, " dim"], problem: Problem) -> Float[Array, ""]:
        """a(θ) = ⟨−∇ℓ_J(θ), target − θ⟩: the rate towards the target that a unit of weight adds, times the distance."""
        return problem.deleted_gradient(theta) @ (theta - self.target)

    def gain_rates(self, theta: Float[Array, " dim"], problem: Problem) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """ȧ under ε = 0 and under ε = 1."""

        def rate(epsilon):
            return jax.jvp(lambda theta: self.gain(theta, problem), (theta,), (-problem.gradient(theta, epsilon),))[1]

        return rate(0.0), rate(1.0)


def _epsilon(mode: Array, schedule: Greedy, theta: Array, problem: Problem) -> Array:
    rate0, rate1 = schedule.gain_rates(theta, problem)
    apart = rate0 - rate1
    equivalent = jnp.clip(rate0 / jnp.where(apart == 0, 1.0, apart), 0.0, 1.0)
    return jnp.where(mode == _SLIDING, equivalent, mode.astype(float))


@eqx.filter_jit
def _stretch(problem, schedule, theta, start, end, ts, mode, solver, rtol, atol, max_steps):
    """One mode from `start` until its event or `end`: the time reached, θ there, θ and ε at `ts`, what comes next."""

    def field(t, theta, _):
        return -problem.gradient(theta, _epsilon(mode, schedule, theta, problem))

    def valid(t, y, args, **kwargs):
        theta = y
        gain = schedule.gain(theta, problem)
        rate0, rate1 = schedule.gain_rates(theta, problem)
        # Modes 0 and 1 last until the surface is crossed by more than rounding: only a fall through 0 is an event, so
        # that a mode that began on the wrong side of it by rounding would never end.
        scale = jnp.linalg.norm(theta) + jnp.linalg.norm(schedule.target)
        slack = _SLACK * jnp.linalg.norm(problem.deleted_gradient(theta)) * scale
        crossed = jnp.where(mode == 1, gain, -gain) + slack
        # Sliding lasts while the surface attracts from both sides: ȧ₁ < 0 < ȧ₀.
        return jnp.where(mode == _SLIDING, jnp.minimum(rate0, -rate1), crossed)

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(field), solver, start, end, None, theta,
        saveat=diffrax.SaveAt(subs=[diffrax.SubSaveAt(ts=jnp.clip(ts, start, end)), diffrax.SubSaveAt(t1=True)]),
        stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol), max_steps=max_steps, throw=False,
        event=diffrax.Event(valid, _BISECTION, direction=False),
    )  # fmt: skip
    saved, last = solution.ys[0], solution.ys[1][0]
    epsilons = jax.vmap(lambda theta: _epsilon(mode, schedule, theta, problem))(saved)
    rate0, rate1 = schedule.gain_rates(last, problem)
    # Whichever mode the gain's own rate carries on with; where both carry it back to the surface, it slides.
    after0 = jnp.where(rate1 > 0, 1, jnp.where(rate0 > 0, _SLIDING, 0))
    after1 = jnp.where(rate0 < 0, 0, jnp.where(rate1 < 0, _SLIDING, 1))
    after_sliding = jnp.where(rate0 <= -rate1, 0, 1)
    following = jnp.stack([after0, after1, after_sliding])[mode]
    stopped = solution.result == diffrax.RESULTS.event_occurred
    return solution.ts[1][0], last, saved, epsilons, following, stopped, solution.result, solution.stats


def simulate_greedy(
    problem: Problem, schedule: Greedy, theta0: Array, ts: Array, t1: Array, *, solver, rtol, atol, max_steps
) -> Trajectory:
    """The closed loop, stretch by stretch. `stats` adds the number of switches and the time spent sliding."""
    on_host((problem, schedule, theta0, ts, t1), "a feedback schedule")
    problem.check_theta(schedule.target, "target")
    name, chosen = _diffrax.choose_solver(problem, theta0, t1, solver)
    thetas = np.full((ts.shape[0], problem.dim), np.inf)
    epsilons = np.full(ts.shape[0], np.inf)
    mode = int(schedule(0.0, theta0, problem))
    start, theta, steps, switches, sliding = 0.0, theta0, 0, 0, 0.0
    result = diffrax.RESULTS.successful
    for _ in range(_MAX_STRETCHES):
        end, theta, saved, weights, following, stopped, result, stats = _stretch(
            problem, schedule, theta, jnp.asarray(start), t1, ts, jnp.asarray(mode), chosen, rtol, atol, max_steps
        )
        if not (stopped or result == diffrax.RESULTS.successful):
            raise WorkError(_diffrax.advice(result, max_steps))
        end = float(end)
        within = (np.asarray(ts) >= start) & (np.asarray(ts) <= end)
        thetas[within], epsilons[within] = np.asarray(saved)[within], np.asarray(weights)[within]
        steps += int(stats["num_steps"])
        sliding += end - start if mode == _SLIDING else 0.0
        start = end
        if not stopped or start >= float(t1):
            break
        switches += int(following) != mode
        mode = int(following)
    else:
        raise WorkError(
            f"the greedy schedule changed {_MAX_STRETCHES} times before t = {start:g}: it chatters; loosen rtol"
        )
    counts = {"steps": jnp.asarray(steps), "switches": jnp.asarray(switches), "sliding_time": jnp.asarray(sliding)}
    return Trajectory(
        ts, jnp.asarray(thetas), jnp.asarray(epsilons), theta, counts, diffrax.RESULTS.successful, "diffrax", name
    )
