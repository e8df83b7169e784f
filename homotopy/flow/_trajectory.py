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
    steps, `method` and `solver` say which engine ran. `theta1` (dim,) is θ(t1), at which `ts` need not end; `dense`
    what `evaluate` reads.

    Example (continues the package's):

        >>> run = simulate(problem, Step(0.1), theta0, t1=0.2, dense=True)
        >>> print(run.ts.shape, run.thetas.shape, run.epsilons[0], run.method, bool((run.thetas[-1] == run.theta1).all()))
        (101,) (101, 2) 1.0 exact True
        >>> print(run.evaluate(0.05).round(4))
        [-0.5762 -0.2172]
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
        """θ at any time or array of times in [0, t1]; `RequestError` unless the simulation was asked for `dense=True`."""
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

    `failures` maps the index of a failed row to the reason; `stats` holds one count per row, `method` and
    `solver` say which engine ran. Notes, Figure 2; made by `surface`, which raises.

    Example (continues the package's):

        >>> sheet = surface(problem, [0.0, 0.5, 1.0], theta0, ts=[0.0, 0.1, jnp.inf])
        >>> sheet.thetas.shape, sheet.method, sheet.failures, sheet.result_codes
        ((3, 3, 2), 'exact', {}, {'successful': 3})
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
    removing them moves θ(t) by −s to first order (mathematics §10). `result`, `stats` and `solver` as in `Trajectory`.

    Example (continues the package's):

        >>> moved = sensitivity(problem, Constant(1.0), theta0, t1=20.0)
        >>> moved.thetas.shape, moved.sensitivities.shape
        ((101, 2), (101, 2))
    """

    ts: Float[Array, " k"]
    thetas: Float[Array, "k dim"]
    sensitivities: Float[Array, "k dim"]
    stats: dict[str, Shaped[Array, "..."]]
    result: Result
    solver: str = eqx.field(static=True)
