"""What a simulation returns: θ and ε at the saved times, how it went, and θ at any other time if asked for."""

from typing import Annotated, Any, TypeAlias

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, Shaped

from .._arrays import as_floats
from .._checks import Values
from .._errors import RequestError

# An item of `diffrax.RESULTS`; type checkers take the members of that enumeration for text.
Result: TypeAlias = Any


class Trajectory(eqx.Module):
    """θ(t, ε(t)) at the times `ts` (k,): `thetas` (k, dim), `epsilons` (k,) or (k, |J|).

    `result` is a Diffrax result code (successful, or why not; then the values from there on are `inf`), `stats` counts
    steps, `method` and `solver` say which engine ran. `theta1` is θ(t1) when `ts` does not end there.
    """

    ts: Float[Array, " k"]
    thetas: Float[Array, "k dim"]
    epsilons: Float[Array, "k ..."]
    theta1: Float[Array, " dim"]
    stats: dict[str, Shaped[Array, "..."]]
    result: Result
    method: str = eqx.field(static=True)
    solver: str = eqx.field(static=True)
    dense: Any = None  # if asked for: θ as a function of t, with its last time `t1`

    def evaluate(self, t: Annotated[Values, "*times"]) -> Float[Array, "*times dim"]:
        """θ at any time or array of times in [0, t1]; the simulation must have been asked for `dense=True`."""
        if self.dense is None:
            raise RequestError("this trajectory was saved at ts only; simulate(…, dense=True) keeps all times")
        t = as_floats(t, "t")
        outside = (t < 0) | (t > self.dense.t1)
        if not isinstance(outside, jax.core.Tracer) and outside.any():
            raise RequestError(f"t must lie in [0, t1] = [0, {float(self.dense.t1):g}], but {t[outside][0]:g} does not")
        values = _at_each(self.dense, t.reshape(-1))
        return values.reshape(*t.shape, self.thetas.shape[1])

    def __str__(self) -> str:
        steps = ", ".join(f"{key.replace('_', ' ')} {np.asarray(value)}" for key, value in self.stats.items())
        end = np.array2string(np.asarray(self.theta1), precision=6, threshold=8)
        return f"Trajectory to t = {float(self.ts[-1]):g} by {self.method} ({self.solver}): {steps}\n  θ(t1) = {end}"


@eqx.filter_jit
def _at_each(dense: Any, ts: Array) -> Array:
    return jax.vmap(dense)(ts)


class Surface(eqx.Module):
    """The homotopy θ(t, ε): `epsilons` (m,), `ts` (k,), `thetas` (m, k, dim); failed rows hold `inf`.

    `failures` maps the index of a failed row to the reason; `stats` holds one count per row.
    """

    epsilons: Float[Array, " m"]
    ts: Float[Array, " k"]
    thetas: Float[Array, "m k dim"]
    stats: dict[str, Shaped[Array, "..."]]
    failures: dict[int, str] = eqx.field(static=True)
    method: str = eqx.field(static=True)
    solver: str = eqx.field(static=True)

    @property
    def result_codes(self) -> dict[str, int]:
        """How many rows ended how."""
        codes: dict[str, int] = {"successful": len(self.epsilons) - len(self.failures)}
        for reason in self.failures.values():
            codes[reason] = codes.get(reason, 0) + 1
        return codes

    def __str__(self) -> str:
        m, k, dim = self.thetas.shape
        lines = [f"Surface of {m} values of ε × {k} times × {dim} parameters by {self.method} ({self.solver})"]
        lines += [f"  ε = {float(self.epsilons[row]):g} failed: {reason}" for row, reason in self.failures.items()]
        return "\n".join(lines)


class Sensitivity(eqx.Module):
    """θ(t) and s(t) = ∂θ(t)/∂ε at the times `ts` (k,): `thetas` and `sensitivities` (k, dim).

    Sign and scale: s is the change of θ(t) per unit of weight *added* to the deleted points over the whole of [0, t];
    removing them moves θ(t) by −s to first order.
    """

    ts: Float[Array, " k"]
    thetas: Float[Array, "k dim"]
    sensitivities: Float[Array, "k dim"]
    stats: dict[str, Shaped[Array, "..."]]
    result: Result
    solver: str = eqx.field(static=True)
