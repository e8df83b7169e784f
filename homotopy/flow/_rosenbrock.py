"""`Rodas5P`: a stiff solver for Diffrax that needs one linear factorisation per step and no root finder.

Gradient flow of a network is stiff as a rule (eigenvalues of the Hessian spread over 10⁶ and more), and its vector
field has an exact, cheap Jacobian −∇²R_ε. A Rosenbrock method uses it directly:

    (I/(hγ) − J) k_i = f(t₀ + c_i h, y₀ + Σ_j a_ij k_j) + Σ_j C_ij k_j / h + d_i h ∂f/∂t,   y₁ = y₀ + Σ_j a_8j k_j + k_8

Coefficients: G. Steinebach, "Construction of Rosenbrock–Wanner method Rodas5P and numerical benchmarks within the
Julia Differential Equations package", BIT Numerical Mathematics 63:27 (2023). Order 5, L-stable, stiffly accurate,
dense output of order 4. The tests check the orders.
"""

from typing import ClassVar

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_GAMMA = 0.21193756319429014


def _lower(*rows: tuple[float, ...]) -> np.ndarray:
    """An 8×8 matrix from the rows of its strictly lower triangle (the first row is empty)."""
    matrix = np.zeros((8, 8))
    for i, row in enumerate(rows, start=1):
        matrix[i, : len(row)] = row
    return matrix


_A6 = (-7.502846399306121, 2.561846144803919, -11.627539656261098, -0.18268767659942256, 0.030198172008377946)
_A = _lower(
    (3.0,),
    (2.849394379747939, 0.45842242204463923),
    (-6.954028509809101, 2.489845061869568, -10.358996098473584),
    (2.8029986275628964, 0.5072464736228206, -0.3988312541770524, -0.04721187230404641),
    _A6,
    (*_A6, 1.0),
    (*_A6, 1.0, 1.0),
)
_C = _lower(
    (-14.155112264123755,),
    (-17.97296035885952, -2.859693295451294),
    (147.12150275711716, -1.41221402718213, 71.68940251302358),
    (165.43517024871676, -0.4592823456491126, 42.90938336958603, -5.961986721573306),
    (24.854864614690072, -3.0009227002832186, 47.4931110020768, 5.5814197821558125, -0.6610691825249471),
    (30.91273214028599, -3.1208243349937974, 77.79954646070892, 34.28646028294783, -19.097331116725623,
     -28.087943162872662),
    (37.80277123390563, -3.2571969029072276, 112.26918849496327, 66.9347231244047, -40.06618937091002,
     -54.66780262877968, -9.48861652309627),
)  # fmt: skip
_TIMES = np.array([0.0, 0.6358126895828704, 0.4095798393397535, 0.9769306725060716, 0.4288403609558664, 1.0, 1.0, 1.0])
_D = np.array([_GAMMA, -0.42387512638858027, -0.3384627126235924, 1.8046452872882734, 2.325825639765069, 0.0, 0.0, 0.0])
_DENSE = np.array([
    [25.948786856663858, -2.5579724845846235, 10.433815404888879, -2.3679251022685204, 0.524948541321073,
     1.1241088310450404, 0.4272876194431874, -0.17202221070155493],
    [-9.91568850695171, -0.9689944594115154, 3.0438037242978453, -24.495224566215796, 20.176138334709044,
     15.98066361424651, -6.789040303419874, -6.710236069923372],
    [11.419903575922262, 2.8879645146136994, 72.92137995996029, 80.12511834622643, -52.072871366152654,
     -59.78993626266729, -0.15582684282751913, 4.883087185713722],
])  # fmt: skip


class _Dense(diffrax.AbstractLocalInterpolation):
    """y(t₀ + s h) = (1−s) y₀ + s (y₁ + (1−s)(d₀ + s(d₁ + s d₂))), order 4."""

    t0: Array  # type: ignore[misc]  # Equinox's abstract fields are class variables to mypy
    t1: Array  # type: ignore[misc]  # the same
    y0: Float[Array, " dim"]
    y1: Float[Array, " dim"]
    dense: Float[Array, "3 dim"]

    def evaluate(self, t0, t1=None, left=True):
        del left
        if t1 is not None:
            return self.evaluate(t1) - self.evaluate(t0)
        length = self.t1 - self.t0
        s = (t0 - self.t0) / jnp.where(length == 0, 1.0, length)
        d0, d1, d2 = self.dense
        return (1 - s) * self.y0 + s * (self.y1 + (1 - s) * (d0 + s * (d1 + s * d2)))


class Rodas5P(diffrax.AbstractAdaptiveSolver):
    """Rosenbrock method of order 5 for stiff problems, as a Diffrax solver of an `ODETerm` whose state is one vector.

    The Jacobian is taken by forward differentiation of the vector field: dim columns. For more than a few hundred
    parameters an explicit solver is the better choice. L-stable, dense output of order 4; its methods are Diffrax's.
    `simulate` raises `WorkError` where its steps fail. Source: Steinebach, BIT Numerical Mathematics 63:27 (2023).

    Example (continues the package's):

        >>> simulate(problem, Step(0.1), theta0, t1=0.2, solver=Rodas5P()).solver
        'rodas5p'
    """

    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar = _Dense

    def order(self, terms):
        return 5

    def init(self, terms, t0, t1, y0, args):
        return None

    def func(self, terms, t0, y0, args):
        return terms.vf(t0, y0, args)

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        # Rows of a batch that have arrived wait with h = 0: what they compute is thrown away, but the derivative of 1/h
        # there would make every gradient NaN.
        h = jnp.where(t1 == t0, 1.0, t1 - t0)

        def field(t, y):
            return terms.vf(t, y, args)

        jacobian = jax.jacfwd(field, argnums=1)(t0, y0)
        _, by_time = jax.jvp(lambda t: field(t, y0), (t0,), (jnp.ones_like(t0),))
        # One inverse and eight products beat eight pairs of triangular solves at the sizes this is for.
        inverse = jnp.linalg.inv(jnp.eye(y0.size) / (_GAMMA * h) - jacobian)

        # A loop keeps one copy of the vector field in the graph instead of eight: compile time is the user's time.
        def stage(i, ks):
            a, c, time, d = (jnp.asarray(table)[i] for table in (_A, _C, _TIMES, _D))
            slope = field(t0 + time * h, y0 + a @ ks) + (c @ ks) / h + d * h * by_time
            return ks.at[i].set(inverse @ slope)

        ks = jax.lax.fori_loop(0, 8, stage, jnp.zeros((8, y0.size)))
        y1 = y0 + jnp.asarray(_A)[7] @ ks + ks[7]
        dense_info = {"y0": y0, "y1": y1, "dense": jnp.asarray(_DENSE) @ ks}
        return y1, ks[7], dense_info, None, diffrax.RESULTS.successful
