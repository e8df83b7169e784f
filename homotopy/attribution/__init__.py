"""Which points matter, and when: Shapley values, Bayesian influence, influence along a trajectory, time-scales."""

from ._bayesian import (
    BayesianInfluence as BayesianInfluence,
    ChainsWarning as ChainsWarning,
    bayesian_influence as bayesian_influence,
)
from ._chains import effective_sample_size as effective_sample_size, split_rhat as split_rhat
from ._descent_influence import (
    DescentRun as DescentRun,
    descend as descend,
    grad_dot as grad_dot,
    sgd_influence as sgd_influence,
    source_influence as source_influence,
    tracin as tracin,
)
from ._estimate import ShapleyEstimate as ShapleyEstimate
from ._flow_kernel import FlowKernel as FlowKernel, flow_influence_kernel as flow_influence_kernel
from ._gaussian import gaussian_bayesian_influence as gaussian_bayesian_influence
from ._metrics import (
    DatamodellingScore as DatamodellingScore,
    addition_curve as addition_curve,
    datamodelling_subsets as datamodelling_subsets,
    linear_datamodelling_score as linear_datamodelling_score,
    mislabel_auc as mislabel_auc,
    rank_agreement as rank_agreement,
    removal_curve as removal_curve,
)
from ._monte_carlo import (
    gradient_shapley as gradient_shapley,
    truncated_monte_carlo_shapley as truncated_monte_carlo_shapley,
)
from ._nearest import knn_shapley as knn_shapley
from ._shapley import exact_shapley as exact_shapley, leave_one_out_values as leave_one_out_values
from ._time_scales import (
    TimeScales as TimeScales,
    theoretical_exponents as theoretical_exponents,
    two_layer_time_scales as two_layer_time_scales,
)
from ._utility import RefitUtility as RefitUtility
