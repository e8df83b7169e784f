"""Losses ℓ(ŷ, y), convex in the prediction ŷ, and their Bregman divergences.

Notation: ŷ `prediction` () or (outputs,), y `target`, ŷ′ `reference`.
Everything here is for one point; `Problem` sums over points.

    D(ŷ, ŷ′) = ℓ(ŷ, y) − ℓ(ŷ′, y) − ⟨∇ℓ(ŷ′, y), ŷ − ŷ′⟩ ≥ 0
"""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._errors import RequestError


class AbstractLoss(eqx.Module):
    """A loss ℓ(ŷ, y) of one prediction ŷ () or (outputs,) against one target y; convex in ŷ. Mathematics §1, §2.

    A class of one's own has the three abstract methods below, in JAX and twice differentiable.

    Example (continues the package's):

        >>> class QuarticLoss(AbstractLoss):
        ...     def output_shape(self, y):
        ...         return y.shape[1:]
        ...     def value(self, prediction, target):
        ...         return 0.25 * (prediction - target) ** 4
        ...     def bregman(self, prediction, reference, target):
        ...         tangent = self.value(reference, target) + (reference - target) ** 3 * (prediction - reference)
        ...         return self.value(prediction, target) - tangent
        >>> quartic = Problem(LinearRegression(), data, delete=3, loss=QuarticLoss())
        >>> print(quartic.risk(theta0).round(3))
        59.905
        >>> quartic.loss.check_targets(data.y, (), "y")
    """

    @abc.abstractmethod
    def output_shape(self, y: Float[Array, "n ..."]) -> tuple[int, ...]:
        """Shape of one prediction for targets `y`; raises `RequestError` if `y` does not suit the loss."""

    def check_targets(self, y: Float[Array, "m ..."], output_shape: tuple[int, ...], what: str) -> None:
        """`RequestError` unless `y`, targets of other points than those of the problem (queries, a test set), suit
        predictions of shape `output_shape`; `what` names them. Inside a trace only their shape is checked."""
        found = self.output_shape(y)
        if found != output_shape:
            raise RequestError(
                f"{what} must hold targets of shape {('m', *output_shape)} like the problem's data, but has shape {y.shape}"
            )

    @abc.abstractmethod
    def value(self, prediction: Float[Array, "..."], target: Float[Array, "..."]) -> Float[Array, ""]:
        """ℓ(ŷ, y) of one point."""

    @abc.abstractmethod
    def bregman(
        self, prediction: Float[Array, "..."], reference: Float[Array, "..."], target: Float[Array, "..."]
    ) -> Float[Array, ""]:
        """D(ŷ, ŷ′) ≥ 0 of one point, in a form without cancellation where there is one."""


class SquaredLoss(AbstractLoss):
    """ℓ = ½‖ŷ − y‖² with ŷ and y () or (outputs,), in squared units of y; D = ½‖ŷ − ŷ′‖².

    The half makes the Hessian of linear regression XᵀX (mathematics §1).

    Example (continues the package's):

        >>> SquaredLoss().value(jnp.array([1.0, 3.0]), jnp.array([1.0, 1.0])).item()
        2.0
        >>> SquaredLoss().bregman(jnp.array(1.0), jnp.array(0.5), jnp.array(7.0)).item()
        0.125
    """

    def output_shape(self, y):
        return tuple(y.shape[1:])

    def value(self, prediction, target):
        return 0.5 * jnp.sum((prediction - target) ** 2)

    def bregman(self, prediction, reference, target):
        return 0.5 * jnp.sum((prediction - reference) ** 2)


class LogisticLoss(AbstractLoss):
    """ℓ = log(1 + e^ŷ) − yŷ, in nats, for labels y ∈ {0, 1} and a logit ŷ (), the log-odds of 1.

    D is the KL divergence of σ(ŷ′) from σ(ŷ) (mathematics §2). Raises `RequestError` for other labels, naming them.

    Example (continues the package's):

        >>> print(LogisticLoss().value(jnp.array(0.0), jnp.array(1.0)).round(4))
        0.6931
    """

    def output_shape(self, y):
        self.check_targets(y, (), "y")
        return ()

    def check_targets(self, y, output_shape, what):
        labels = _labels(y, "LogisticLoss", what)
        if labels is not None and not set(labels) <= {0, 1}:
            raise RequestError(
                f"LogisticLoss needs labels 0 and 1, but {what} holds {_show(labels)}; "
                "for several classes use CrossEntropyLoss()"
            )

    def value(self, prediction, target):
        prediction = jnp.asarray(prediction)
        return _softplus(prediction) - target * prediction

    def bregman(self, prediction, reference, target):
        reference = jnp.asarray(reference)
        step = prediction - reference
        return _softplus(prediction) - _softplus(reference) - jax.nn.sigmoid(reference) * step


class CrossEntropyLoss(AbstractLoss):
    """ℓ = log Σ_k e^{ŷ_k} − ŷ_y, in nats, for class labels y ∈ {0, …, C−1} and logits ŷ (C,).

    D is the KL divergence of softmax(ŷ′) from softmax(ŷ) (mathematics §2). C is the largest label + 1. Raises
    `RequestError` for labels that are not whole numbers ≥ 0, and where there is one class only.

    Example (continues the package's):

        >>> print(CrossEntropyLoss().value(jnp.zeros(3), jnp.array(2)).round(4))
        1.0986
    """

    def output_shape(self, y):
        labels = _labels(y, "CrossEntropyLoss", "y")
        if labels is None:
            raise RequestError("CrossEntropyLoss counts the classes in y, so Problem must be built outside jit")
        classes = int(labels[-1]) + 1
        if classes < 2:
            raise RequestError("CrossEntropyLoss needs at least two classes, but every label is 0")
        return (classes,)

    def check_targets(self, y, output_shape, what):
        labels = _labels(y, "CrossEntropyLoss", what)
        classes = output_shape[0]
        if labels is not None and labels[-1] >= classes:
            raise RequestError(
                f"{what} must hold classes that the problem's data have, 0…{classes - 1}, but holds {labels[-1]:g}; "
                "leave those rows out, or train on that class too"
            )

    def value(self, prediction, target):
        return jax.nn.logsumexp(prediction) - jnp.asarray(prediction)[jnp.asarray(target).astype(int)]

    def bregman(self, prediction, reference, target):
        reference = jnp.asarray(reference)
        step = prediction - reference
        return jax.nn.logsumexp(prediction) - jax.nn.logsumexp(reference) - jax.nn.softmax(reference) @ step


# Terms of the series below: its next one is 1e-18 of the first.
_TERMS = 17


@jax.custom_jvp
def _softplus(x: Array) -> Array:
    """log(1 + eˣ) whose derivative is one sigmoid; JAX's own costs three times as much, and its derivative five times.

    With t = e^{−|x|} it is max(x, 0) + 2 artanh s, s = t/(2 + t) ≤ ⅓, by the odd series of artanh to the last bits:
    products only, ten times faster on a CPU than a logarithm of an exponential, which is not vectorised there.
    """
    tail = jnp.exp(-jnp.abs(x))
    ratio = tail / (2.0 + tail)
    square, series = ratio * ratio, jnp.zeros_like(ratio)
    for k in reversed(range(_TERMS)):
        series = series * square + 1.0 / (2 * k + 1)
    return jnp.maximum(x, 0.0) + 2.0 * ratio * series


@_softplus.defjvp
def _softplus_jvp(primals, tangents):
    return _softplus(primals[0]), _sigmoid(primals[0]) * tangents[0]


@jax.custom_jvp
def _sigmoid(x: Array) -> Array:
    """σ(x), whose derivative σ(x)σ(−x) keeps its digits where σ(x)(1 − σ(x)) has lost those of 1 − σ."""
    return jax.nn.sigmoid(x)


@_sigmoid.defjvp
def _sigmoid_jvp(primals, tangents):
    return _sigmoid(primals[0]), _sigmoid(primals[0]) * _sigmoid(-primals[0]) * tangents[0]


def _labels(y: Array | np.ndarray, loss: str, what: str) -> np.ndarray | None:
    """The sorted distinct class labels in y, or None inside a trace."""
    if y.ndim != 1:
        raise RequestError(f"{loss} needs one label per point, {what} of shape (n,), but {what} has shape {y.shape}")
    if isinstance(y, jax.core.Tracer):
        return None
    labels = np.unique(np.asarray(y))
    if labels.size == 0:
        raise RequestError(f"{loss} needs at least one label, but {what} is empty")
    if (labels != np.round(labels)).any() or labels[0] < 0:
        advice = "; write the class −1 as 0, (y + 1)/2" if set(labels) == {-1, 1} else ""
        raise RequestError(f"{loss} needs class labels 0, 1, …, but {what} holds {_show(labels)}{advice}")
    return labels


def _show(labels: np.ndarray) -> str:
    shown = ", ".join(f"{value:g}" for value in labels[:6])
    return shown + (", …" if len(labels) > 6 else "")
