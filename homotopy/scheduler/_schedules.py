"""Schedules as plain dictionaries and back, and a schedule with one ε_j(t) for every deleted point."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .. import flow
from .._checks import Values
from .._errors import RequestError
from ..flow import AbstractSchedule, Greedy, NeuralSchedule, as_jumps, as_weights


class PointSchedules(AbstractSchedule):
    """One schedule per deleted point: ε(t) (k,) = (ε_1(t), …, ε_k(t)), in the order of `problem.delete`.

    Its parts are bang-bang or otherwise piecewise constant: `switches` (m,) are the times of all jumps, `values`
    (m + 1, k) the weights between them.
    """

    switches: Float[Array, " m"]
    values: Float[Array, "m+1 k"]
    piecewise_constant: ClassVar[bool] = True

    def __init__(self, switches: Annotated[Values, "k"], values: Annotated[Values, "k+1 deleted"]):
        self.switches, self.values = as_jumps(switches, "switches", 1), as_weights(values, "values", False, 2)
        if self.values.ndim != 2 or self.values.shape[0] != self.switches.shape[0] + 1:
            raise RequestError(
                f"values must have shape (switches + 1, points), but has shape {self.values.shape} for "
                f"{self.switches.shape[0]} switches"
            )

    def discontinuities(self):
        return self.switches

    def piece(self, index: Int[Array, "..."] | int, t: Float[Array, "..."]) -> Float[Array, "... k"]:
        here = self.values[index]
        return jnp.broadcast_to(here, (*jnp.shape(t), here.shape[-1]))


_KINDS = {
    kind.__name__: kind
    for kind in (
        flow.Constant, flow.Step, flow.LinearDecay, flow.PolynomialDecay, flow.CosineDecay, flow.ExponentialDecay,
        flow.PiecewiseConstant, flow.BangBang, flow.PiecewiseLinear, Greedy, PointSchedules,
    )
}  # fmt: skip


def schedule_to_dict(schedule: AbstractSchedule | Greedy) -> dict[str, Any]:
    """The name of the schedule's class and its arrays as lists."""
    kind = type(schedule).__name__
    if isinstance(schedule, NeuralSchedule):
        weights = [np.asarray(leaf).tolist() for leaf in jax.tree.leaves(eqx.filter(schedule.network, eqx.is_array))]
        size = {"width": schedule.network.width_size, "depth": schedule.network.depth}
        return {"kind": kind, "start": float(schedule.start), "end": float(schedule.end), **size, "weights": weights}
    if kind not in _KINDS:
        raise RequestError(f"a schedule of kind {kind} cannot be saved; known are {', '.join(_KINDS)}, NeuralSchedule")
    return {"kind": kind, **{name: np.asarray(value).tolist() for name, value in vars(schedule).items()}}


def schedule_from_dict(saved: Mapping[str, Any]) -> AbstractSchedule | Greedy:
    """The schedule that `schedule_to_dict` saved."""
    rest = {name: value for name, value in saved.items() if name != "kind"}
    kind = saved.get("kind")
    if kind == "NeuralSchedule":
        made = NeuralSchedule(rest["start"], rest["end"], width=rest["width"], depth=rest["depth"])
        leaves = [jnp.asarray(weight) for weight in rest["weights"]]
        arrays, other = eqx.partition(made.network, eqx.is_array)
        network = eqx.combine(jax.tree.unflatten(jax.tree.structure(arrays), leaves), other)
        return eqx.tree_at(lambda schedule: schedule.network, made, network)
    if kind not in _KINDS:
        raise RequestError(f"a saved schedule must name its kind, one of {', '.join(_KINDS)}, but names {kind!r}")
    return _KINDS[kind](**rest)
