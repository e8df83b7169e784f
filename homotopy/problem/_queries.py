"""Other points than those of the problem: queries, test and validation sets, checked where they meet its loss."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from jaxtyping import Array

from .._checks import Values
from .._errors import RequestError
from ._dataset import Dataset
from ._problem import Problem

if TYPE_CHECKING:
    Queries: TypeAlias = Dataset | Callable[[Array], Array] | Values
else:
    Queries = Annotated[object, "a Dataset, a function of theta with values (queries,), or gradients (queries, dim)"]


def check_queries(problem: Problem, dataset: Any, what: str) -> Dataset:
    """`dataset` as it is, if the model can predict its points and the loss can judge its targets.

    `RequestError`, naming it as `what`, unless it is a `Dataset` with the problem's features and with targets that the
    problem's loss accepts for the problem's outputs: for class labels, classes that the problem's data have. Inside a
    trace only shapes are checked.
    """
    if not isinstance(dataset, Dataset):
        raise RequestError(f"{what} must be a Dataset, but is {type(dataset).__name__}")
    check_features(problem, dataset.x, what)
    problem.loss.check_targets(dataset.y, problem.output_shape, f"{what}.y")
    return dataset


def check_features(problem: Problem, x: Array, what: str) -> None:
    """`RequestError` unless the rows of `x` are points of the problem's model."""
    features = problem.data.features
    if x.ndim != 2 or x.shape[1] != features:
        raise RequestError(f"{what} must have {features} features, like the problem's data, but x has shape {x.shape}")
