"""Which points matter, and when: Shapley values, Bayesian influence, influence along a trajectory, time-scales."""

from ._estimate import ShapleyEstimate as ShapleyEstimate
from ._monte_carlo import (
    gradient_shapley as gradient_shapley,
    truncated_monte_carlo_shapley as truncated_monte_carlo_shapley,
)
from ._nearest import knn_shapley as knn_shapley
from ._shapley import exact_shapley as exact_shapley, leave_one_out_values as leave_one_out_values
from ._utility import RefitUtility as RefitUtility
