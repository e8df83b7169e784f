"""Gradient-flow homotopies θ(t, ε(t)): train while the weight of some points changes in time.

    θ̇ = −∇R⁻(θ) − ε(t) ∇ℓ_J(θ),   θ(0) = θ₀

ε ≡ 1 trains on everything, ε ≡ 0 leaves the points J out, and every way of unlearning them is some ε(t)
in between. Importing this package turns JAX's 64-bit floats on: every claim here is about small differences.

The public names, and JAX itself, are loaded on first use: the command line answers `--help` before the solvers are
imported, can set their switches first, and listens to Ctrl-C before anything takes long.
"""

import importlib
import os
import sys
from typing import Any

from ._errors import RequestError as RequestError, WorkError as WorkError

if "jax" in sys.modules:
    sys.modules["jax"].config.update("jax_enable_x64", True)
else:
    os.environ["JAX_ENABLE_X64"] = "true"  # JAX's own switch, which it reads when it is imported

_PUBLIC: dict[str, tuple[str, ...]] = {
    "problem": (
        "Dataset", "datasets", "Problem",
        "AbstractModel", "LinearRegression", "LogisticRegression", "MLP",
        "AbstractLoss", "SquaredLoss", "LogisticLoss", "CrossEntropyLoss",
    ),
    "flow": (
        "AbstractSchedule", "Constant", "Step", "LinearDecay", "PolynomialDecay", "CosineDecay", "ExponentialDecay",
        "PiecewiseConstant", "BangBang", "PiecewiseLinear", "NeuralSchedule", "Greedy", "parse", "describe",
        "simulate", "surface", "sensitivity", "Trajectory", "Surface", "Sensitivity", "Rodas5P",
    ),
    "endpoints": (
        "optimum", "leave_one_out", "leave_one_out_all", "leave_one_out_proof", "Endpoint", "NotStationaryWarning",
        "influence", "Influence", "corrected_influence", "newton_estimate", "influence_matrix", "self_influence",
        "SolverWarning", "weight_jacobian", "leverage", "cooks_distance", "diagnostics", "Diagnostics",
        "FlaggedRowsWarning", "Outcome", "theta_ddot", "theta_dot_change", "ThetaDotChange",
        "AbstractInverse", "Cholesky", "CG", "GMRES", "LiSSA", "Arnoldi", "EKFAC", "inverse_memory",
        "bregman", "response", "pbrf", "pbrf_linearised", "path", "Path", "align",
        "decompose_error", "decompose_errors", "ErrorDecomposition",
    ),
    "scheduler": (
        "energy", "search", "search_all", "switching_function", "costate", "pontryagin_residual",
        "SearchResult", "SearchTable", "Certificate", "Arc", "BangBangFlow", "PointSchedules",
    ),
    "unlearning": (
        "descend_to_delete", "rewind_to_delete", "train", "Checkpoint", "optimal_schedule", "langevin", "certified_removal",
        "delete_in_sequence", "rewind", "coupled_descent", "mini_batches", "Unlearned", "Deletions", "Rewound",
        "CertifiedRemoval", "descent_to_delete_sigma", "rewind_to_delete_sensitivity", "coupled_sensitivity",
        "gaussian_sigma", "gaussian_delta", "analytic_gaussian_sigma", "renyi_to_epsilon", "epsilon_to_renyi",
        "langevin_renyi", "langevin_temperature", "Guarantee", "Constants", "estimate_constants", "solve_weighted",
        "infinitesimal_jackknife", "newton_removal", "gradient_ascent", "gradient_difference", "fine_tune", "retrain",
        "sisa", "SISA", "soft_weights", "hard_removal", "weight_influences", "smallest_weights", "SoftWeights",
        "AbstractMetric", "Utility", "DemographicParity", "EqualOpportunity", "AdversarialLoss", "accuracy",
        "base_rate", "measure", "Measures", "tug_of_war", "relearn_time", "membership_inference", "attack_features",
        "MembershipInference",
    ),
    "hypotheses": ("Hypothesis", "Finding", "Rule", "Scale"),
    "attribution": (
        "exact_shapley", "leave_one_out_values", "truncated_monte_carlo_shapley", "gradient_shapley", "knn_shapley",
        "ShapleyEstimate", "RefitUtility", "bayesian_influence", "gaussian_bayesian_influence", "BayesianInfluence",
        "ChainsWarning", "split_rhat", "effective_sample_size", "flow_influence_kernel", "FlowKernel", "descend",
        "DescentRun", "sgd_influence", "tracin", "grad_dot", "source_influence", "two_layer_time_scales", "TimeScales",
        "theoretical_exponents", "linear_datamodelling_score", "datamodelling_subsets", "DatamodellingScore",
        "removal_curve", "addition_curve", "mislabel_auc", "rank_agreement",
    ),
}  # fmt: skip
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}

__version__ = "0.1.0"
__all__ = ["RequestError", "WorkError", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'homotopy' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"homotopy.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
