"""Unlearning: every named algorithm as weights in time of the same flow, with its noise, its proof and its price."""

from ._backward import Rewound as Rewound, rewind as rewind
from ._baselines import (
    fine_tune as fine_tune,
    gradient_ascent as gradient_ascent,
    gradient_difference as gradient_difference,
    infinitesimal_jackknife as infinitesimal_jackknife,
    newton_removal as newton_removal,
    retrain as retrain,
)
from ._certified import CertifiedRemoval as CertifiedRemoval, certified_removal as certified_removal
from ._checkpoint import Checkpoint as Checkpoint
from ._constants import Constants as Constants, estimate_constants as estimate_constants
from ._convex import solve_weighted as solve_weighted
from ._descend import descend_to_delete as descend_to_delete
from ._langevin import (
    langevin as langevin,
    langevin_renyi as langevin_renyi,
    langevin_temperature as langevin_temperature,
)
from ._measures import (
    Measures as Measures,
    measure as measure,
    relearn_time as relearn_time,
    tug_of_war as tug_of_war,
)
from ._membership import (
    MembershipInference as MembershipInference,
    attack_features as attack_features,
    membership_inference as membership_inference,
)
from ._metrics import (
    AbstractMetric as AbstractMetric,
    AdversarialLoss as AdversarialLoss,
    DemographicParity as DemographicParity,
    EqualOpportunity as EqualOpportunity,
    Utility as Utility,
    accuracy as accuracy,
    base_rate as base_rate,
    score as score,
)
from ._optimal import optimal_schedule as optimal_schedule
from ._privacy import (
    Guarantee as Guarantee,
    analytic_gaussian_sigma as analytic_gaussian_sigma,
    descent_to_delete_sigma as descent_to_delete_sigma,
    epsilon_to_renyi as epsilon_to_renyi,
    gaussian_delta as gaussian_delta,
    gaussian_sigma as gaussian_sigma,
    renyi_to_epsilon as renyi_to_epsilon,
    rewind_to_delete_sensitivity as rewind_to_delete_sensitivity,
)
from ._result import Unlearned as Unlearned
from ._rewind import (
    coupled_sensitivity as coupled_sensitivity,
    rewind_to_delete as rewind_to_delete,
    train as train,
)
from ._run import Training as Training
from ._sequence import Deletions as Deletions, delete_in_sequence as delete_in_sequence
from ._sgd import Descending as Descending, coupled_descent as coupled_descent, mini_batches as mini_batches
from ._sisa import SISA as SISA, sisa as sisa
from ._soft_weights import (
    SoftWeights as SoftWeights,
    hard_removal as hard_removal,
    smallest_weights as smallest_weights,
    soft_weights as soft_weights,
    weight_influences as weight_influences,
)
