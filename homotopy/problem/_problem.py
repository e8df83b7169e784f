"""`Problem`: the weighted risk that everything else moves on.

Notation: θ `theta` (dim,), ε `epsilon`, J `delete`, ρ `ridge`, w `weights` (n,), H `hessian`, G `gauss_newton`.
Sum convention throughout: R_w(θ) = Σ_i w_i ℓ_i(θ) + ½ρ‖θ‖². The mean convention of the papers is R_1/n.
"""

import functools
import math
from collections.abc import Callable
from typing import Annotated, Any, ParamSpec, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .._arrays import as_floats, names_of, unmasked
from .._checks import Epsilon, Indices, Number, Theta, Values, as_key, indices, instance, is_concrete, shown
from .._errors import RequestError
from ._dataset import LARGEST, Dataset
from ._losses import AbstractLoss, SquaredLoss
from ._models import AbstractModel
from ._names import parameter_names


class Problem(eqx.Module):
    """The weighted risk R_ε(θ) = Σ_{i∉J} ℓ_i(θ) + ε Σ_{j∈J} ℓ_j(θ) + ½ρ‖θ‖²  (mathematics §1; notes eq. 0.1).

    `delete` is one index or several (the set J), counted from 0; `ridge` is ρ ≥ 0; `loss` defaults to the model's own.
    `epsilon` is a number, or one per deleted point (k,). A Problem is a PyTree whose data, `delete` and `ridge` are
    arrays, so `jax.vmap` runs over them; θ is a flat vector (dim,), a prediction has the `output_shape`. Raises
    `RequestError` if an index is out of range or repeated, if nothing would be left, or if the loss does not suit the
    targets.

    Example (continues the package's):

        >>> problem.n, problem.dim, problem.parameter_names, problem.least_squares, problem.convex
        (20, 2, ('x0', 'x1'), True, True)
        >>> print(problem.weights(0.5)[:5], problem.deleting([0, 1]).weights(0.0)[:5])
        [1.  1.  1.  0.5 1. ] [0. 0. 1. 1. 1.]
        >>> print(problem.predict(theta0, [[1.0, 1.0]]).round(3), problem.initial(0).round(3))
        [-0.991] [-0.206 -0.785]
        >>> print(problem.losses(theta0).sum().round(3), problem.risk(theta0).round(3))
        21.187 21.187
        >>> print(problem.weighted_risk(theta0, problem.weights(0.0)).round(3), problem.risk(theta0, epsilon=0.0).round(3))
        20.978 20.978
        >>> print(problem.gradient(theta0, epsilon=0.0).round(3), problem.deleted_gradient(theta0).round(3))
        [  9.448 -12.627] [-0.843 -0.612]
        >>> print(problem.deleted_loss(theta0).round(3), problem.hessian(theta0).round(3).tolist())
        0.209 [[14.891, 5.696], [5.696, 10.038]]
        >>> print(problem.hvp(theta0, theta0).round(3), problem.gauss_newton_vp(theta0, theta0).round(3))
        [-7.535 -9.05 ] [-7.535 -9.05 ]
        >>> problem.gauss_newton(theta0).shape, problem.check_theta([0, 0]).dtype
        ((2, 2), dtype('float64'))
    """

    model: AbstractModel
    data: Dataset
    loss: AbstractLoss
    delete: Int[Array, " k"]
    ridge: Float[Array, ""]
    output_shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        model: AbstractModel,
        data: Dataset,
        *,
        delete: Indices,
        loss: AbstractLoss | None = None,
        ridge: Number = 0.0,
    ):
        instance(model, "model", AbstractModel, "a model such as LinearRegression()")
        instance(data, "data", Dataset, "a Dataset(x, y)")
        if loss is not None:
            instance(loss, "loss", AbstractLoss, "a loss such as SquaredLoss()")
        self.model = model
        self.data = data
        self.loss = model.default_loss() if loss is None else loss
        self.delete = _indices(delete, data.n)
        self.ridge = as_floats(ridge, "ridge")
        if not isinstance(self.ridge, jax.core.Tracer) and (self.ridge.ndim != 0 or self.ridge < 0):
            raise RequestError(f"ridge must be one number ≥ 0, but is {shown(ridge)}")
        self.output_shape = self.loss.output_shape(data.y)
        if model.linear and is_concrete((model, data)):
            _require_linear(self)

    # What it is -------------------------------------------------------------------------------------------------

    @property
    def n(self) -> int:
        """Number of points."""
        return self.data.n

    @property
    def dim(self) -> int:
        """Length of θ."""
        return self.model.size(self.data.features, self.output_shape)

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """A name for every entry of θ (dim,), made of the names of the data's columns."""
        return parameter_names(self.model, self.data, self.output_shape)

    @property
    def least_squares(self) -> bool:
        """Whether the risk is quadratic in θ (linear regression), so that closed forms hold."""
        return self.model.linear and isinstance(self.loss, SquaredLoss)

    @property
    def convex(self) -> bool:
        """Whether R_ε is convex for every ε ≥ 0: the losses are convex in a prediction that is linear in θ."""
        return self.model.linear

    @property
    def design(self) -> Float[Array, "n p"]:
        """Φ (n, p) of a model that is linear in θ: its predictions are Φ W, W (p, *outputs) row by row in θ.

        Example (continues the package's):

            >>> problem.design.shape
            (20, 2)
        """
        return self.model.design(self.data.x)

    def deleting(self, delete: Indices) -> "Problem":
        """The same problem with another deleted set; inside a trace, with an index array of shape (k,). Raises as
        `Problem` does.
        """
        return eqx.tree_at(lambda problem: problem.delete, self, _indices(delete, self.n))

    def weights(self, epsilon: Epsilon = 1.0) -> Float[Array, " n"]:
        """w: ε on the deleted points, 1 elsewhere."""
        return jnp.ones(self.n).at[self.delete].set(epsilon)

    # The risk and its derivatives -------------------------------------------------------------------------------

    def predict(
        self, theta: Float[Array | np.ndarray, " dim"], x: Annotated[Values, "m features"] | None = None
    ) -> Float[Array, " m *outputs"]:
        """f(θ; x) for the rows of x (m, features), or of the data when x is not given.

        The columns of a frame must be those of the data, in that order, where those have names (else `RequestError`).
        """
        if x is None:
            x = self.data.x
        else:
            self.data.require_columns(names_of(x))
            x = jnp.asarray(x, dtype=float)
        return self.model.predict(theta, x, self.output_shape)

    def losses(self, theta: Float[Array | np.ndarray, " dim"]) -> Float[Array, " n"]:
        """ℓ_i(θ) for every point."""
        return jax.vmap(self.loss.value)(self.predict(theta), self.data.y)

    def weighted_risk(
        self, theta: Float[Array | np.ndarray, " dim"], weights: Float[Array | np.ndarray, " n"]
    ) -> Float[Array, ""]:
        """R_w(θ) for a weight on every point (Koh et al. 2019)."""
        return jnp.dot(weights, self.losses(theta)) + 0.5 * self.ridge * jnp.dot(theta, theta)

    def risk(self, theta: Float[Array | np.ndarray, " dim"], epsilon: Epsilon = 1.0) -> Float[Array, ""]:
        """R_ε(θ), a sum over points."""
        return self.weighted_risk(theta, self.weights(epsilon))

    def gradient(self, theta: Float[Array | np.ndarray, " dim"], epsilon: Epsilon = 1.0) -> Float[Array, " dim"]:
        """∇R_ε(θ) (dim,); the flow is θ̇ = −∇R_ε(θ)."""
        return jax.grad(self.weighted_risk)(theta, self.weights(epsilon))

    def hvp(
        self,
        theta: Float[Array | np.ndarray, " dim"],
        v: Float[Array | np.ndarray, " dim"],
        epsilon: Epsilon = 1.0,
    ) -> Float[Array, " dim"]:
        """∇²R_ε(θ) v without the matrix: memory O(dim)."""
        return jax.jvp(lambda theta: self.gradient(theta, epsilon), (theta,), (v,))[1]

    def hessian(self, theta: Float[Array | np.ndarray, " dim"], epsilon: Epsilon = 1.0) -> Float[Array, "dim dim"]:
        """∇²R_ε(θ), symmetric to the last bit."""
        hessian = jax.hessian(self.weighted_risk)(theta, self.weights(epsilon))
        return 0.5 * (hessian + hessian.T)

    def gauss_newton_vp(
        self,
        theta: Float[Array | np.ndarray, " dim"],
        v: Float[Array | np.ndarray, " dim"],
        epsilon: Epsilon = 1.0,
    ) -> Float[Array, " dim"]:
        """G_ε(θ) v without the matrix: memory O(dim + n·outputs)."""
        outputs, pushed = jax.jvp(self.predict, (theta,), (v,))
        _, pull = jax.vjp(self.predict, theta)
        weighted = jax.vmap(jnp.multiply)(self.weights(epsilon), self._output_hvp(outputs, pushed))
        return pull(weighted)[0] + self.ridge * v

    def gauss_newton(self, theta: Float[Array | np.ndarray, " dim"], epsilon: Epsilon = 1.0) -> Float[Array, "dim dim"]:
        """G_ε(θ) = Σ_i w_i J_iᵀ (∇²_ŷ ℓ) J_i + ρI, J_i the Jacobian of f(θ; x_i); positive semi-definite for ε ≥ 0."""
        product = jax.vmap(lambda v: self.gauss_newton_vp(theta, v, epsilon))(jnp.eye(self.dim))
        return 0.5 * (product + product.T)

    def _output_hvp(self, outputs: Array, pushed: Array) -> Array:
        """∇²_ŷ ℓ applied to one direction per point."""

        def one(output, direction, target):
            return jax.jvp(jax.grad(lambda value: self.loss.value(value, target)), (output,), (direction,))[1]

        return jax.vmap(one)(outputs, pushed, self.data.y)

    def deleted_loss(self, theta: Float[Array | np.ndarray, " dim"]) -> Float[Array, ""]:
        """ℓ_J(θ) = Σ_{j∈J} ℓ_j(θ)."""
        predictions = self.predict(theta, self.data.x[self.delete])
        return jnp.sum(jax.vmap(self.loss.value)(predictions, self.data.y[self.delete]))

    def deleted_gradient(self, theta: Float[Array | np.ndarray, " dim"]) -> Float[Array, " dim"]:
        """g_J(θ) = ∇ℓ_J(θ) = ∂∇R_ε/∂ε."""
        return jax.grad(self.deleted_loss)(theta)

    def initial(self, key: PRNGKeyArray | int) -> Float[Array, " dim"]:
        """A random θ₀ in the model's customary scale; `key` is a JAX key or a seed."""
        return self.model.initial(as_key(key), self.data.features, self.output_shape)

    def check_theta(self, theta: Theta, what: str = "theta0") -> Float[Array, " dim"]:
        """`theta` as a float vector; `RequestError` unless it is finite and of shape (dim,)."""
        theta = as_floats(theta, what)
        if theta.shape != (self.dim,):
            raise RequestError(
                f"{what} must have shape ({self.dim},) for this problem, but has shape {theta.shape}"
                + ("; a batch goes through jax.vmap or a loop" if theta.ndim == 2 else "")
            )
        largest = float(np.abs(np.asarray(theta)).max(initial=0.0)) if is_concrete(theta) else 0.0
        if largest > LARGEST:
            raise RequestError(
                f"{what} must stay below {LARGEST:g} (squares leave the floats), but reaches {largest:.3g}"
            )
        return theta


Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


def on_problem(function: Callable[Arguments, Answer]) -> Callable[Arguments, Answer]:
    """`function(problem, …)`, which refuses anything but a `Problem` in its first place before anything else."""

    @functools.wraps(function)
    def checked(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Answer:
        if args or "problem" in kwargs:
            example = "a Problem such as Problem(LinearRegression(), data, delete=0)"
            instance(args[0] if args else kwargs["problem"], "problem", Problem, example)
        return function(*args, **kwargs)

    return checked


def _require_linear(problem: Problem) -> None:
    """`RequestError` for a model that calls itself linear and is not f(θ; x) = Φ(x) W: closed forms would be wrong."""
    phi = problem.design
    if phi is problem.data.x:  # the package's own models
        return
    theta = jax.random.normal(jax.random.key(0), (problem.dim,))
    fits = theta.size == phi.shape[1] * math.prod(problem.output_shape)
    expected = jnp.tensordot(phi, theta.reshape(phi.shape[1], *problem.output_shape), 1) if fits else jnp.nan
    if not np.allclose(expected, problem.predict(theta), rtol=1e-9):
        raise RequestError(
            "model says that it is linear, but its predictions are not Φ(x)W with W (p, *outputs) listed row by row in θ "
            "and no offset; leave `linear` False (nothing but speed is lost), or move the offset into the targets"
        )


def _indices(delete: Any, n: int) -> Int[Array, " k"]:
    """The deleted set as an index array, checked on the host when it is concrete."""
    if isinstance(delete, jax.core.Tracer):
        return jnp.atleast_1d(delete)
    unmasked(delete, "delete")
    array = indices(delete, n, "delete")
    if len(np.unique(array)) != len(array):
        values, counts = np.unique(array, return_counts=True)
        repeated = values[counts > 1][0]
        raise RequestError(f"delete must not repeat an index, but names {repeated} more than once")
    if len(array) >= n:
        raise RequestError(f"delete must leave at least one of the {n} points, but names all of them")
    return jnp.asarray(array)
