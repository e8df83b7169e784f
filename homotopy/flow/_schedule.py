"""Schedules ε(t): the weight of the deleted points as a function of time.

Notation: ε `epsilon`, t time, τ `switch`, s `start` (ε = 1 until then), t₁ `end` (ε = 0 from then on).

A schedule is a PyTree with differentiable parameters. It is smooth between its `discontinuities()` (jumps of ε or of
its derivative), and `piece(k, t)` is the smooth formula on the arc after k of them: an engine solves one arc at a time
with that arc's own formula, so that it never sees the value beyond a jump. At a jump, ε takes the value from before
it: 1_[0,τ] is closed.
"""

from typing import Annotated, Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._arrays import as_floats
from .._checks import Flag, Key, Number, Values, Whole, as_key, shown, whole
from .._errors import RequestError
from ._abstract import AbstractSchedule
from ._arguments import as_interval, as_jumps, as_weights


class Constant(AbstractSchedule, text="constant:VALUE"):
    """ε(t) = `value` (), in [0, 1] (mathematics §6): 1 trains on everything, 0 leaves J out.

    `unrestricted=True` allows a value outside [0, 1]; without it that is a `RequestError`.

    Example (continues the package's):

        >>> print(Constant(0.5)([0.0, 2.0]))
        [0.5 0.5]
    """

    value: Float[Array, ""]
    unrestricted: bool = eqx.field(static=True)  # type: ignore[misc]
    piecewise_constant: ClassVar[bool] = True

    def __init__(self, value: Number, *, unrestricted: Flag = False):
        self.value = as_weights(value, "value", unrestricted, ndim=0)
        self.unrestricted = bool(unrestricted)

    def discontinuities(self):
        return jnp.zeros(0)

    def piece(self, index, t):
        return jnp.broadcast_to(self.value, jnp.shape(t))


class Step(AbstractSchedule, text="step:SWITCH"):
    """ε(t) = 1_[0,τ](t), closed, with τ = `switch` () ≥ 0; the baseline is τ = s (notes, eq. 0.9).

    Raises `RequestError` for a switch that is negative or no number.

    Example (continues the package's):

        >>> print(Step(0.5)([0.0, 0.5, 0.6]))
        [1. 1. 0.]
    """

    switch: Float[Array, ""]
    piecewise_constant: ClassVar[bool] = True

    def __init__(self, switch: Number):
        self.switch = as_jumps(switch, "switch", ndim=0)

    def discontinuities(self):
        return self.switch[None]

    def piece(self, index, t):
        return jnp.broadcast_to(jnp.where(index == 0, 1.0, 0.0), jnp.shape(t))


class PolynomialDecay(AbstractSchedule, text="polynomial:START,END,POWER"):
    """ε(t) = 1 until s, then ((t₁−t)/(t₁−s))^p down to 0 at t₁ (mathematics §6).

    s = `start`, t₁ = `end`, p = `power`, each (). Raises `RequestError` unless 0 ≤ s < t₁ and p > 0.

    Example (continues the package's):

        >>> print(PolynomialDecay(0.0, 1.0, power=2.0)([0.0, 0.5, 1.0]))
        [1.   0.25 0.  ]
    """

    start: Float[Array, ""]
    end: Float[Array, ""]
    power: Float[Array, ""]
    piecewise_constant: ClassVar[bool] = False

    def __init__(self, start: Number, end: Number, power: Number):
        self.start, self.end = as_interval(start, end)
        self.power = as_floats(power, "power")
        if not isinstance(self.power, jax.core.Tracer) and (self.power.ndim != 0 or self.power <= 0):
            raise RequestError(f"power must be one number > 0, but is {shown(power)}")

    def discontinuities(self):
        return jnp.stack([self.start, self.end])

    def piece(self, index, t):
        remaining = _remaining(t, self.start, self.end)
        positive = remaining > 0  # for power < 1 the slope at 0 is ∞, and ∞ · 0 would spoil every derivative
        return _down(index, jnp.where(positive, jnp.where(positive, remaining, 1.0) ** self.power, 0.0))


class LinearDecay(AbstractSchedule, text="linear:START,END"):
    """ε(t) = 1 until s, then (t₁−t)/(t₁−s) down to 0 at t₁ (the notes' ε_lin,t₁, eq. 0.14).

    s = `start` and t₁ = `end`, each (). Raises `RequestError` unless 0 ≤ s < t₁.

    Example (continues the package's):

        >>> print(LinearDecay(0.2, 1.0)([0.0, 0.6, 1.0]))
        [1.  0.5 0. ]
    """

    start: Float[Array, ""]
    end: Float[Array, ""]
    piecewise_constant: ClassVar[bool] = False

    def __init__(self, start: Number, end: Number):
        self.start, self.end = as_interval(start, end)

    def discontinuities(self):
        return jnp.stack([self.start, self.end])

    def piece(self, index, t):
        return _down(index, _remaining(t, self.start, self.end))


class CosineDecay(AbstractSchedule, text="cosine:START,END"):
    """ε(t) = 1 until s, then ½(1 + cos π(t−s)/(t₁−s)) down to 0 at t₁ (mathematics §6).

    s = `start` and t₁ = `end`, each (). Raises `RequestError` unless 0 ≤ s < t₁.

    Example (continues the package's):

        >>> print(CosineDecay(0.0, 1.0)([0.0, 0.5, 1.0]).round(3))
        [1.  0.5 0. ]
    """

    start: Float[Array, ""]
    end: Float[Array, ""]
    piecewise_constant: ClassVar[bool] = False

    def __init__(self, start: Number, end: Number):
        self.start, self.end = as_interval(start, end)

    def discontinuities(self):
        return jnp.stack([self.start, self.end])

    def piece(self, index, t):
        return _down(index, 0.5 * (1.0 - jnp.cos(jnp.pi * _remaining(t, self.start, self.end))))


class ExponentialDecay(AbstractSchedule, text="exponential:START,RATE[,END]"):
    """ε(t) = 1 until s, then e^{−r(t−s)}, and 0 from t₁ on (mathematics §6).

    s = `start`, r = `rate` > 0 per unit of time, t₁ = `end` (∞ unless given), each (). Raises `RequestError` otherwise.

    Example (continues the package's):

        >>> print(ExponentialDecay(0.0, rate=2.0)([0.0, 1.0]).round(4))
        [1.     0.1353]
    """

    start: Float[Array, ""]
    rate: Float[Array, ""]
    end: Float[Array, ""]
    piecewise_constant: ClassVar[bool] = False

    def __init__(self, start: Number, rate: Number, end: Number | None = None):
        if end is None:
            self.start, self.end = as_jumps(start, "start", ndim=0), jnp.asarray(jnp.inf)
        else:
            self.start, self.end = as_interval(start, end)
        self.rate = as_floats(rate, "rate")
        if not isinstance(self.rate, jax.core.Tracer) and (self.rate.ndim != 0 or self.rate <= 0):
            raise RequestError(f"rate must be one number > 0, but is {shown(rate)}")

    @classmethod
    def _from_fields(cls, fields):
        return cls(fields["start"], fields["rate"], None if fields["end"] == jnp.inf else fields["end"])

    def discontinuities(self):
        return jnp.stack([self.start, self.end])

    def piece(self, index, t):
        return _down(index, jnp.exp(-self.rate * jnp.maximum(t - self.start, 0.0)))


class PiecewiseConstant(AbstractSchedule, text="piecewise-constant:T1,…;V0,V1,…"):
    """ε(t) = values[k] between times[k−1] and times[k]: `times` (k,) sorted, `values` (k+1,) in [0, 1].

    Mathematics §6. `unrestricted=True` allows values outside [0, 1]; without it that is a `RequestError`, as are
    unsorted times and lengths that do not match.

    Example (continues the package's):

        >>> print(PiecewiseConstant([0.2, 0.4], [1.0, 0.3, 0.0])([0.1, 0.3, 0.5]))
        [1.  0.3 0. ]
    """

    times: Float[Array, " k"]
    values: Float[Array, " k+1"]
    unrestricted: bool = eqx.field(static=True)  # type: ignore[misc]
    piecewise_constant: ClassVar[bool] = True

    def __init__(self, times: Annotated[Values, "k"], values: Annotated[Values, "k+1"], *, unrestricted: Flag = False):
        self.times = as_jumps(times, "times", ndim=1)
        self.values = as_weights(values, "values", unrestricted, ndim=1)
        self.unrestricted = bool(unrestricted)
        if self.values.shape[0] != self.times.shape[0] + 1:
            raise RequestError(
                f"values must have one entry more than times, but there are {self.values.shape[0]} values and "
                f"{self.times.shape[0]} times"
            )

    def discontinuities(self):
        return self.times

    def piece(self, index, t):
        return jnp.broadcast_to(self.values[index], jnp.shape(t))


class BangBang(AbstractSchedule, text=("bang-bang:T1,T2,… (from 1)", "bang-bang-from-0:T1,T2,…")):
    """ε(t) = first, 1 − first, first, … , changing at the sorted `switches` (k,); `first` () is 0 or 1.

    The optimal form for linear regression and one deleted point (mathematics §7). Raises `RequestError` for unsorted or
    negative switches and another `first`.

    Example (continues the package's):

        >>> print(BangBang([0.1, 0.3])([0.05, 0.2, 0.4]))
        [1. 0. 1.]
    """

    switches: Float[Array, " k"]
    first: Float[Array, ""]
    piecewise_constant: ClassVar[bool] = True

    def __init__(self, switches: Annotated[Values, "k"], first: Number = 1.0):
        self.switches = as_jumps(switches, "switches", ndim=1)
        self.first = as_floats(first, "first")
        if not isinstance(self.first, jax.core.Tracer) and (self.first.ndim != 0 or self.first not in (0.0, 1.0)):
            raise RequestError(f"first must be 0 or 1, but is {shown(first)}")

    def discontinuities(self):
        return self.switches

    def piece(self, index, t):
        value = jnp.where(jnp.asarray(index) % 2 == 0, self.first, 1.0 - self.first)
        return jnp.broadcast_to(value, jnp.shape(t))

    @classmethod
    def from_numbers(cls, name, numbers):
        return cls(numbers[0], 0.0 if name == "bang-bang-from-0" else 1.0)

    def to_numbers(self):
        return "bang-bang" if self.first == 1 else "bang-bang-from-0", [self.switches]


class PiecewiseLinear(AbstractSchedule, text="piecewise-linear:T1,T2,…;V1,V2,…"):
    """ε(t) interpolates `values` (k,) at the sorted knots `times` (k,), k ≥ 2, and is constant outside them.

    Mathematics §6. `unrestricted=True` allows values outside [0, 1]; without it that is a `RequestError`, as are knots
    out of order and lengths that do not match.

    Example (continues the package's):

        >>> print(PiecewiseLinear([0.0, 1.0], [1.0, 0.0])([0.25, 2.0]))
        [0.75 0.  ]
    """

    times: Float[Array, " k"]
    values: Float[Array, " k"]
    unrestricted: bool = eqx.field(static=True)  # type: ignore[misc]
    piecewise_constant: ClassVar[bool] = False

    def __init__(self, times: Annotated[Values, "k"], values: Annotated[Values, "k"], *, unrestricted: Flag = False):
        self.times = as_jumps(times, "times", ndim=1)
        self.values = as_weights(values, "values", unrestricted, ndim=1)
        self.unrestricted = bool(unrestricted)
        if self.values.shape != self.times.shape or self.times.shape[0] < 2:
            raise RequestError(
                f"times and values must have the same length ≥ 2, but have {self.times.shape[0]} and "
                f"{self.values.shape[0]}"
            )
        if not isinstance(self.times, jax.core.Tracer) and (np.diff(np.asarray(self.times)) <= 0).any():
            raise RequestError("times must increase strictly in a piecewise linear schedule; for a jump use another")

    def discontinuities(self):
        return self.times

    def piece(self, index, t):
        knots = self.times.shape[0]
        left = jnp.clip(jnp.asarray(index) - 1, 0, knots - 2)
        t0, t1 = self.times[left], self.times[left + 1]
        inside = self.values[left] + (self.values[left + 1] - self.values[left]) * (t - t0) / (t1 - t0)
        return jnp.where(index == 0, self.values[0], jnp.where(index == knots, self.values[-1], inside))


class NeuralSchedule(AbstractSchedule):
    """ε(t) = 1 until `start`, σ(network((t − start)/(end − start))) until `end`, then 0 (mathematics §6).

    The network has `depth` hidden layers of `width` tanh neurons, made from `key` (a seed or a JAX key) as Equinox
    makes an MLP; `network` holds weights (m, k) and biases (m,) layer by layer: the parameters to learn. `start` and
    `end` are (). Raises `RequestError` unless 0 ≤ start < end.

    Example (continues the package's):

        >>> print(NeuralSchedule(0.1, 1.0, width=4, key=0)([0.0, 2.0]))
        [1. 0.]
    """

    start: Float[Array, ""]
    end: Float[Array, ""]
    network: tuple[tuple[Float[Array, "_ _"], Float[Array, " _"]], ...]
    piecewise_constant: ClassVar[bool] = False

    def __init__(self, start: Number, end: Number, *, width: Whole = 8, depth: Whole = 1, key: Key = 0):
        self.start, self.end = as_interval(start, end)
        width, depth = whole(width, "width", 1), whole(depth, "depth", 0)
        made = eqx.nn.MLP("scalar", "scalar", width, depth, key=as_key(key))
        leaves = jax.tree.leaves(eqx.filter(made.layers, eqx.is_array))
        self.network = tuple(zip(leaves[::2], leaves[1::2], strict=True))

    @classmethod
    def _from_fields(cls, fields):
        network, inputs = fields["network"], 1
        if not isinstance(network, tuple) or not network:
            raise RequestError(f"network must be pairs of weights and biases, but is {shown(network)}")
        for layer in network:
            shapes = [getattr(part, "shape", None) for part in layer] if isinstance(layer, tuple) else []
            if len(shapes) != 2 or not shapes[1] or shapes != [(shapes[1][0], inputs), shapes[1][:1]]:
                raise RequestError(
                    f"network must be weights (m, {inputs}) and biases (m,) here, but has {shown(shapes)}"
                )
            inputs = shapes[1][0]
        if inputs != 1:
            raise RequestError(f"network must end in one number, but ends in {inputs}")
        network = tuple((as_floats(weights, "weights"), as_floats(biases, "biases")) for weights, biases in network)
        return eqx.tree_at(lambda schedule: schedule.network, cls(fields["start"], fields["end"], depth=0), network)

    def discontinuities(self):
        return jnp.stack([self.start, self.end])

    def piece(self, index, t):
        signal = ((t - self.start) / (self.end - self.start)).reshape(-1, 1)
        for depth, (weights, biases) in enumerate(self.network):
            signal = (signal if depth == 0 else jnp.tanh(signal)) @ weights.T + biases[None]
        return _down(index, jax.nn.sigmoid(signal.reshape(jnp.shape(t))))


# Parts of the formulas -------------------------------------------------------------------------------------------------


def _down(index: Any, between: Array) -> Array:
    """1 on the first arc, `between` on the second, 0 on the third."""
    return jnp.where(index == 0, 1.0, jnp.where(index == 1, between, 0.0))


def _remaining(t: Array, start: Array, end: Array) -> Array:
    """(t₁ − t)/(t₁ − s), kept in [0, 1] so that the arcs on which it is not used stay differentiable."""
    return jnp.clip((end - t) / (end - start), 0.0, 1.0)
