"""What is minimised: data sets, models, losses, the weighted risk."""

from . import datasets as datasets
from ._dataset import LARGEST as LARGEST, Dataset as Dataset
from ._losses import (
    AbstractLoss as AbstractLoss,
    CrossEntropyLoss as CrossEntropyLoss,
    LogisticLoss as LogisticLoss,
    SquaredLoss as SquaredLoss,
)
from ._models import (
    ACTIVATIONS as ACTIVATIONS,
    MLP as MLP,
    AbstractModel as AbstractModel,
    LinearRegression as LinearRegression,
    LogisticRegression as LogisticRegression,
)
from ._problem import Problem as Problem, on_problem as on_problem
from ._queries import Queries as Queries, check_features as check_features, check_queries as check_queries
