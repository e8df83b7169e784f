"""Learning time-scales of two-layer networks: risk falls in a staircase, one degree after another (arXiv 2303.00055).

A network f(x) = (1/m) Σ_i a_i σ(⟨w_i, x⟩), ‖w_i‖ = 1, learns φ(⟨u, x⟩) on Gaussian x by gradient flow, the second layer
1/ε̄ times as fast as the first. With σ = Σ σ_k He_k/√k! and φ = Σ φ_k He_k/√k!, V(s) = Σ φ_kσ_k s^k, U(r) = Σ σ_k² r^k,
s_i = ⟨w_i, u⟩ and r_ij = ⟨w_i, w_j⟩:

    ε̄ ȧ_i = V(s_i) − (1/m) Σ_j a_j U(r_ij),
    ẇ_i   = a_i (I − w_iw_iᵀ) [V′(s_i) u − (1/m) Σ_j a_j U′(r_ij) w_j],
    R     = Σ_k R_k,   R_k = ½φ_k² − φ_kσ_k (1/m) Σ a_i s_i^k + ½σ_k² (1/m²) Σ a_i a_j r_ij^k.

The reduced system (many inputs, s_i(0) = 0) puts r_ij = s_i s_j: then ṡ_i = a_i(1−s_i²)[V′(s_i) − (1/m) Σ a_j s_j U′(s_is_j)]
and R_k = ½(φ_k − σ_k (1/m) Σ a_i s_i^k)² (mathematics §10). Degree 0 is learnt at t ≍ ε̄ and degree l at t ≍ ε̄^{1/(2l)}.

Time runs over many powers of ten, so the system is solved in log t: the reduced one by `Rodas5P` (stiff, few numbers),
the network by Tsit5, some t1/ε̄ steps (many numbers, and moderate ε̄).
"""

from typing import Annotated

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from jaxtyping import Array, Float

from .._arrays import as_floats
from .._checks import Number, Values, Whole, as_time, as_tolerance, shown, whole
from .._errors import RequestError, WorkError
from ..flow import Rodas5P

_FIRST = 1e-3  # the solve starts at t = this·ε̄, with one Euler step, whose error is its square
_MAX_STEPS = {True: 20_000, False: 2_000_000}  # reduced, network


class TimeScales(eqx.Module):
    """Component risks along the flow for each ε̄ in `epsilons` (epsilons,), and when each degree was learnt.

    arXiv 2303.00055. `ts` (epsilons, times), geometric; `risks` (epsilons, times, degrees) are R_k; `a` and `s`
    (epsilons, times, m); `learnt` (epsilons, degrees): the last time at which R_k is above half of its first value,
    `inf` where that is still so at the end. `steps` (epsilons,) are the solver's. Made by `two_layer_time_scales`,
    which raises.

    Example (continues the package's):

        >>> scales = two_layer_time_scales([1e-2, 1e-3], initial=[1.0, -0.5], t1=10.0, count=50)
        >>> print(scales.risks.shape, scales.learnt.shape, scales.exponents(smallest=2).shape)
        (2, 50, 3) (2, 3) (3, 2)
    """

    epsilons: Float[Array, " e"]
    ts: Float[Array, "e times"]
    risks: Float[Array, "e times degrees"]
    a: Float[Array, "e times m"]
    s: Float[Array, "e times m"]
    learnt: Float[np.ndarray, "e degrees"]
    steps: Float[Array, " e"]

    def exponents(self, smallest: Whole = 3) -> Float[np.ndarray, "degrees 2"]:
        """Slope of log t_k against log ε̄ over the `smallest` ε̄, and its standard error (0 for two points)."""
        if len(self.learnt) < 2:
            raise RequestError("a slope needs the learning times of at least two ε̄, but there is one")
        smallest = whole(smallest, "smallest", 2, len(self.learnt))
        order = np.argsort(np.asarray(self.epsilons))[:smallest]
        found = []
        for times in self.learnt[order].T:
            if not np.isfinite(times).all():
                found.append((np.nan, np.nan))
                continue
            fit = scipy.stats.linregress(np.log(np.asarray(self.epsilons)[order]), np.log(times))
            found.append((fit.slope, fit.stderr if smallest > 2 else 0.0))
        return np.array(found)

    def __str__(self) -> str:
        slopes = self.exponents(min(3, len(self.learnt))) if len(self.learnt) > 1 else np.zeros((0, 2))
        shown = ", ".join(f"degree {k}: {slope:.3f} ± {error:.3f}" for k, (slope, error) in enumerate(slopes))
        low, high = float(self.epsilons.min()), float(self.epsilons.max())
        return f"time-scales for ε̄ = {low:g} … {high:g}, exponents at the smallest: {shown}"


def theoretical_exponents(degrees: Whole) -> Float[np.ndarray, " degrees"]:
    """What `TimeScales.exponents` should find, (degrees,): 1 for degree 0 and 1/(2l) for degree l (arXiv 2303.00055).

    Raises `RequestError` for fewer than one degree. Mathematics §10.

    Example (continues the package's):

        >>> theoretical_exponents(3)
        array([1.  , 0.5 , 0.25])
    """
    degrees = whole(degrees, "degrees", 1, 10**6)
    return np.array([1.0 if k == 0 else 1.0 / (2.0 * k) for k in range(degrees)])


def two_layer_time_scales(
    epsilons: Annotated[Values, "m"],
    *,
    phi: Annotated[Values, "degrees"] = (1.0, 1.0, 1.0),
    sigma: Annotated[Values, "degrees"] = (1.0, 1.0, 1.0),
    initial: Annotated[Values, "m"],
    directions: Annotated[Values, "m d"] | None = None,
    t1: Number = 10.0,
    count: Whole = 400,
    rtol: Number = 1e-8,
    atol: Number = 1e-10,
) -> TimeScales:
    """The reduced system for every ε̄ in `epsilons`, or the whole network when `directions` are given.

    Gradient flow of a two-layer network whose second layer learns 1/ε̄ times as fast as the first (arXiv 2303.00055).

    `phi` and `sigma` (degrees,) are the Hermite coefficients φ_k of the target and σ_k of the activation; `initial` (m,)
    are the a_i(0); `directions` (m, d) the w_i(0), unit rows, u being the first axis (the network; None is the reduced
    system, s_i(0) = 0). `count` saved times, geometric from 10⁻³ε̄ to `t1`. Raises `RequestError` for what does not fit,
    `WorkError` if a solve fails.

    Example (continues the package's):

        >>> scales = two_layer_time_scales([1e-2, 1e-3], initial=[1.0, -0.5], t1=10.0, count=50)
        >>> print(scales.ts.shape, scales.risks.shape, bool((scales.risks[:, -1] <= scales.risks[:, 0]).all()))
        (2, 50) (2, 50, 3) True
    """
    epsilons, phi, sigma, initial = (
        jnp.atleast_1d(as_floats(values, what))
        for values, what in ((epsilons, "epsilons"), (phi, "phi"), (sigma, "sigma"), (initial, "initial"))
    )
    if initial.ndim != 1 or initial.size == 0:
        raise RequestError(f"initial must be a list of at least one number (m,), but has shape {initial.shape}")
    if phi.shape != sigma.shape or phi.ndim != 1:
        raise RequestError(
            f"phi and sigma must have one entry per degree, but have shapes {phi.shape} and {sigma.shape}"
        )
    if epsilons.ndim != 1 or epsilons.size == 0 or float(epsilons.min()) <= 0:
        raise RequestError(f"epsilons must be a list of numbers > 0, but is {shown(np.asarray(epsilons))}")
    t1, count = as_time(t1, finite="learning times are those of a finite run"), whole(count, "count", 2, 10**6)
    rtol, atol = as_tolerance(rtol, "rtol"), as_tolerance(atol, "atol")
    if not float(t1) > _FIRST * float(epsilons.max()):
        raise RequestError(f"t1 must be beyond the first time {_FIRST}·ε̄, but is {float(t1):g}")
    m = initial.shape[0]
    if directions is None:
        first = jnp.zeros((m, 1))
    else:
        first = as_floats(directions, "directions")
        if first.ndim != 2 or first.shape[0] != m or first.shape[1] < 2:
            raise RequestError(
                f"directions must have shape ({m}, d ≥ 2), one row per entry of initial, but has {first.shape}"
            )
        if not np.allclose(np.sum(np.asarray(first) ** 2, axis=1), 1.0, atol=1e-9):
            raise RequestError("directions must have rows of length 1")
    ts, a, w, risks, steps = _solve(
        epsilons, phi, sigma, initial, first, directions is None, t1, count, rtol, atol,
    )  # fmt: skip
    if not np.isfinite(np.asarray(a)).all():
        bad = np.flatnonzero(~np.isfinite(np.asarray(a)).all(axis=(1, 2)))
        raise WorkError(f"the solve failed for ε̄ = {float(epsilons[bad[0]]):g}; try a looser rtol or a shorter t1")
    return TimeScales(epsilons, ts, risks, a, w[..., 0], _learnt(np.asarray(ts), np.asarray(risks)), steps)


def _learnt(ts: np.ndarray, risks: np.ndarray) -> np.ndarray:
    """The last time above half of the first value, by linear interpolation in log t."""
    found = np.full((risks.shape[0], risks.shape[2]), np.inf)
    for row in range(risks.shape[0]):
        for degree in range(risks.shape[2]):
            curve = risks[row, :, degree] - 0.5 * risks[row, 0, degree]
            above = np.flatnonzero(curve > 0)
            if above.size == 0 or above[-1] == len(curve) - 1:
                continue
            k = above[-1]
            share = curve[k] / (curve[k] - curve[k + 1])
            found[row, degree] = np.exp((1 - share) * np.log(ts[row, k]) + share * np.log(ts[row, k + 1]))
    return found


@eqx.filter_jit
def _solve(epsilons, phi, sigma, initial, first, reduced, t1, count, rtol, atol):
    m, d = first.shape
    degrees = phi.shape[0]

    def series(coefficients, s):
        value = jnp.zeros_like(s)
        for k in reversed(range(degrees)):
            value = value * s + coefficients[k]
        return value

    def powers(s):
        """1, s, s², … by products: the general power is slow, and its derivative at 0 is NaN."""
        found = [jnp.ones_like(s)]
        for _ in range(degrees - 1):
            found.append(found[-1] * s)
        return jnp.stack(found)

    def derivative(coefficients, s):
        return jax.jvp(lambda s: series(coefficients, s), (s,), (jnp.ones_like(s),))[1]

    forward, back = phi * sigma, sigma**2

    def overlaps(w):
        s = w[:, 0]
        return s, (s[:, None] * s[None, :] if reduced else w @ w.T)

    def velocity(y, epsilon):
        a, w = y[:m], y[m:].reshape(m, d)
        s, r = overlaps(w)
        a_dot = (series(forward, s) - series(back, r) @ a / m) / epsilon
        pull = derivative(back, r) * a[None, :] / m
        if reduced:
            w_dot = (a * (1.0 - s**2) * (derivative(forward, s) - pull @ s))[:, None]
        else:
            force = -pull @ w
            force = force.at[:, 0].add(derivative(forward, s))
            w_dot = a[:, None] * (force - jnp.sum(force * w, axis=1)[:, None] * w)
        return jnp.concatenate([a_dot, w_dot.reshape(-1)])

    def component_risks(y):
        a, w = y[:m], y[m:].reshape(m, d)
        s, r = overlaps(w)
        linear = powers(s) @ a / m
        if reduced:
            return 0.5 * (phi - sigma * linear) ** 2
        square = jnp.einsum("i,kij,j->k", a, powers(r), a) / m**2
        return 0.5 * phi**2 - phi * sigma * linear + 0.5 * sigma**2 * square

    def one(epsilon):
        start, end = jnp.log(_FIRST * epsilon), jnp.log(t1)
        grid = jnp.linspace(start, end, count)

        def field(x, y, _):
            t = jnp.exp(x)
            return t * velocity(y, epsilon)

        y0 = jnp.concatenate([initial, first.reshape(-1)])
        y0 = y0 + _FIRST * epsilon * velocity(y0, epsilon)
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(field), Rodas5P() if reduced else diffrax.Tsit5(), start, end, None, y0,
            saveat=diffrax.SaveAt(ts=grid),
            stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol), max_steps=_MAX_STEPS[reduced], throw=False,
        )  # fmt: skip
        ys = solution.ys
        w = ys[:, m:].reshape(count, m, d)
        return jnp.exp(grid), ys[:, :m], w, jax.vmap(component_risks)(ys), solution.stats["num_steps"]

    ts, a, w, risks, steps = jax.lax.map(one, epsilons)
    return ts, a, w, risks, steps.astype(float)
