"""What a model can be asked for besides a small loss: fairness between groups, robustness against attack.

Every metric has a differentiable form `soft`, whose influence is computed, and a `hard` one, which is reported. Sign:
0 is what is wanted, and a fairness gap is the excess of group 1 over group 0.
"""

import abc
from typing import Annotated, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._arrays import as_floats
from .._checks import Values, number
from .._errors import RequestError
from ..problem import Dataset, LogisticLoss, Problem, check_features, check_queries


class AbstractMetric(eqx.Module):
    """A number M(θ) of a model θ (dim,) that weights on the training points are to bring towards 0 (arXiv 2505.18783).

    A class of one's own has the two methods below; `soft` in JAX, differentiable in θ. 0 is what is wanted.

    Example (continues the package's):

        >>> class Size(AbstractMetric):
        ...     def soft(self, problem, theta):
        ...         return jnp.sum(theta**2)
        ...     def hard(self, problem, theta):
        ...         return self.soft(problem, theta)
        >>> print(Size().soft(classes, jnp.array([3.0, 4.0])), Size().hard(classes, jnp.zeros(2)))
        25.0 0.0
    """

    @abc.abstractmethod
    def soft(self, problem: Problem, theta: Float[Array | np.ndarray, " dim"]) -> Float[Array, ""]:
        """The differentiable form."""

    @abc.abstractmethod
    def hard(self, problem: Problem, theta: Float[Array | np.ndarray, " dim"]) -> Float[Array, ""]:
        """The reported form: of decisions, not of probabilities."""


class Utility(AbstractMetric):
    """Mean loss (1/m) Σ ℓ_i(θ) on the m points of `data`; `hard` is the error rate, 1 − accuracy (arXiv 2505.18783).

    Raises `RequestError`, when it is evaluated, for points that the problem's loss cannot judge.

    Example (continues the package's):

        >>> theta = optimum(classes).theta
        >>> print(Utility(classes.data).soft(classes, theta).round(3), Utility(classes.data).hard(classes, theta).round(2))
        0.382 0.1
    """

    data: Dataset

    def soft(self, problem, theta):
        data = check_queries(problem, self.data, "data")
        return jnp.mean(jax.vmap(problem.loss.value)(problem.predict(jnp.asarray(theta), data.x), data.y))

    def hard(self, problem, theta):
        return 1.0 - accuracy(problem, theta, self.data)


class DemographicParity(AbstractMetric):
    """P(ŷ = 1 | group 1) − P(ŷ = 1 | group 0), of binary logistic models: + = group 1 is favoured.

    `x` (m, features) are the points, `group` (m,) is 0 or 1; `soft` takes mean probabilities in place of decisions.
    Raises `RequestError` for other shapes, a group without points and problems without a logistic loss.
    Source: Calders et al. 2009.

    Example (continues the package's):

        >>> gap = DemographicParity(classes.data.x, classes.data.x[:, 1] > 0)
        >>> print(gap.hard(classes, optimum(classes).theta).round(3))
        0.125
    """

    x: Float[Array, "m features"]
    group: Float[Array, " m"]

    def __init__(self, x: Annotated[Values, "m features"], group: Annotated[Values, "m"]):
        self.x = as_floats(x, "x")
        if self.x.ndim != 2:
            raise RequestError(f"x must have shape (points, features), but has shape {self.x.shape}")
        self.group = _group(group, self.x.shape[0])

    def soft(self, problem, theta):
        return _excess(jax.nn.sigmoid(_logits(problem, theta, self.x)), self.group)

    def hard(self, problem, theta):
        return _excess(jnp.where(_logits(problem, theta, self.x) > 0, 1.0, 0.0), self.group)


class EqualOpportunity(AbstractMetric):
    """P(ŷ = 1 | y = 1, group 1) − P(ŷ = 1 | y = 1, group 0): the gap in true positive rates.

    + = group 1 is favoured (Hardt et al. 2016). `x` is (m, features), `y` and `group` (m,) are 0 or 1; `parity` is the
    demographic parity of the points with y = 1. Raises as `DemographicParity`, and `RequestError` where no y is 1.

    Example (continues the package's):

        >>> gap = EqualOpportunity(classes.data.x, classes.data.y, classes.data.x[:, 1] > 0)
        >>> print(gap.hard(classes, optimum(classes).theta).round(3))
        0.167
    """

    parity: DemographicParity

    def __init__(
        self, x: Annotated[Values, "m features"], y: Annotated[Values, "m *outputs"], group: Annotated[Values, "m"]
    ):
        rows, labels, members = (np.asarray(as_floats(v, w)) for v, w in ((x, "x"), (y, "y"), (group, "group")))
        LogisticLoss().check_targets(labels, (), "y")
        if rows.shape[:1] != labels.shape or members.shape != labels.shape:
            raise RequestError(
                f"x, y and group must have one row per point, but have shapes {rows.shape}, {labels.shape}, {members.shape}"
            )
        positive = labels == 1
        if not positive.any():
            raise RequestError("equal opportunity compares positive points, but y holds no 1")
        self.parity = DemographicParity(rows[positive], members[positive])

    def soft(self, problem, theta):
        return self.parity.soft(problem, theta)

    def hard(self, problem, theta):
        return self.parity.hard(problem, theta)


class AdversarialLoss(AbstractMetric):
    """Mean loss on `data` when every x moves by `radius` (Euclidean) the way that raises its loss most, to first order.

    Exact worst case for models of one output linear in x (with several, as softmax, it may fall short). `coordinates`
    (features,) is 1 where x may be attacked (0 on the intercept). `hard` is the error rate under that attack
    (Goodfellow et al. 2015). Raises `RequestError` for radius ≤ 0 and for coordinates of another shape.

    Example (continues the package's):

        >>> attacked = AdversarialLoss(classes.data, radius=0.1)
        >>> theta = optimum(classes).theta
        >>> print(attacked.soft(classes, theta) > Utility(classes.data).soft(classes, theta))
        True
    """

    data: Dataset
    radius: Float[Array, ""]
    coordinates: Float[Array, " features"]

    def __init__(self, data: Dataset, radius: float, coordinates: Annotated[Values, "features"] | None = None):
        self.data = data
        self.radius = jnp.asarray(number(radius, "radius", above=0.0))
        self.coordinates = jnp.ones(data.features) if coordinates is None else as_floats(coordinates, "coordinates")
        if self.coordinates.shape != (data.features,):
            raise RequestError(
                f"coordinates must have shape ({data.features},), one per feature, but has {self.coordinates.shape}"
            )

    def _attacked(self, problem, theta):
        check_queries(problem, self.data, "data")

        def loss(x, y):
            return problem.loss.value(problem.predict(jnp.asarray(theta), x[None, :])[0], y)

        slopes = jax.vmap(jax.grad(loss))(self.data.x, self.data.y) * self.coordinates[None, :]
        norms = jnp.sqrt(jnp.sum(slopes**2, axis=1) + 1e-24)
        return self.data.x + self.radius * slopes / norms[:, None]

    def soft(self, problem, theta):
        predictions = problem.predict(jnp.asarray(theta), self._attacked(problem, theta))
        return jnp.mean(jax.vmap(problem.loss.value)(predictions, self.data.y))

    def hard(self, problem, theta):
        moved = eqx.tree_at(lambda data: data.x, self.data, self._attacked(problem, theta))
        return 1.0 - accuracy(problem, theta, moved)


def accuracy(problem: Problem, theta: Float[Array | np.ndarray, " dim"], data: Dataset) -> Float[Array, ""]:
    """The share of right decisions: the sign of the logit, or the largest logit; NaN for regression. θ is (dim,).

    Raises `RequestError` for points that the problem's loss cannot judge, as every function does that takes test data.

    Example (continues the package's):

        >>> print(accuracy(classes, optimum(classes).theta, classes.data).round(3))
        0.9
    """
    check_queries(problem, data, "data")
    return score(problem, problem.predict(jnp.asarray(theta), data.x), data.y)


def score(
    problem: Problem, predictions: Float[Array, " m *outputs"], y: Float[Array, " m *targets"]
) -> Float[Array, ""]:
    """`accuracy` of predictions already made."""
    if isinstance(problem.loss, LogisticLoss):  # a logit of 0 decides for class 0
        return jnp.mean(jnp.where((predictions > 0) == (y > 0.5), 1.0, 0.0))
    if predictions.ndim == 2 and y.ndim == 1:
        return jnp.mean(jnp.where(jnp.argmax(predictions, axis=1) == y.astype(int), 1.0, 0.0))
    return jnp.asarray(jnp.nan)


def base_rate(y: Annotated[Values, "m *outputs"]) -> float:
    """The accuracy of the best constant prediction: what a classifier must exceed to have learnt anything.

    `y` (m,) are labels; `RequestError` where there are none.

    Example (continues the package's):

        >>> base_rate([0, 1, 1, 1])
        0.75
    """
    labels = np.asarray(as_floats(y, "y"))
    if labels.size == 0:
        raise RequestError("y must hold at least one label, but is empty")
    return float(np.unique(labels, return_counts=True)[1].max() / labels.size)


def _logits(problem: Problem, theta: Float[Array | np.ndarray, " dim"], x: Array) -> Array:
    if not isinstance(problem.loss, LogisticLoss):
        raise RequestError("fairness metrics are of binary decisions: use a problem with LogisticLoss")
    check_features(problem, x, "x")
    return problem.predict(jnp.asarray(theta), x)


def _excess(values: Array, group: Array) -> Array:
    return jnp.dot(values, group) / jnp.sum(group) - jnp.dot(values, 1.0 - group) / jnp.sum(1.0 - group)


def _group(group: Any, m: int) -> Array:
    values = np.asarray(as_floats(group, "group"))
    if values.shape != (m,) or not set(np.unique(values)) == {0.0, 1.0}:
        raise RequestError(f"group must hold 0 and 1 (both) for each of the {m} points, but has shape {values.shape}")
    return jnp.asarray(values)
