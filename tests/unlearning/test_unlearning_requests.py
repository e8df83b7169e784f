"""Whatever is asked of the public functions of unlearning, the answer is an answer, `RequestError` or `WorkError`."""

import warnings

import numpy as np
import pytest
from jaxtyping import TypeCheckError

import homotopy
from homotopy import (
    AdversarialLoss,
    DemographicParity,
    EqualOpportunity,
    NotStationaryWarning,
    RequestError,
    Utility,
    WorkError,
    analytic_gaussian_sigma,
    epsilon_to_renyi,
    estimate_constants,
    gaussian_delta,
    renyi_to_epsilon,
    sisa,
)
from tests.problems import logistic, teacher_student

ODD = [
    None, "a", "", b"1", True, 0, -1, 1, 2.5, 1e-320, 1e-160, 1e160, 1e308, -1e308, -(10**30), np.nan, np.inf, 1j,
    [], [1.0], [[1.0]], {}, (), object(), np.array(3), np.array([0.1, np.nan, 0.2]), np.zeros(3), np.zeros((2, 3)),
    np.array(["x", "y", "z"]), lambda: 1,
]  # fmt: skip
PROBLEM, ZERO = logistic(), np.zeros(3)
KNOWN = estimate_constants(PROBLEM)
PARITY, UTILITY = DemographicParity(PROBLEM.data.x, np.arange(12) % 2), Utility(PROBLEM.data)
RUN = {"step": 0.01, "train_steps": 4}
BUDGET = {"privacy_epsilon": 1.0, "privacy_delta": 1e-5}
SHARD = sisa(PROBLEM, ZERO, shards=2, **RUN)
DONE = homotopy.descend_to_delete(PROBLEM, ZERO, **RUN, unlearn_steps=4, **BUDGET)
REMOVED = homotopy.certified_removal(PROBLEM, [0], perturbation=1.0, **BUDGET)
CONSTANTS = {"n": 50, "deleted": 2, "lipschitz": 1.5, "smoothness": 2.0, "step": 0.3, "train_steps": 20}
SHAPES = {
    "theta0": np.zeros((2, 3)), "delete": np.array([[1]]), "epsilons": np.ones((1, 4)), "step": 0.01,
    "batches": np.zeros((2, 4, 1), dtype=int), "radius": 1.0,
}  # fmt: skip
ROWS = np.random.default_rng(0).standard_normal((6, 2))

# name: (function, a request that is fine; every argument of it is replaced in turn)
CALLS = {
    "descend_to_delete": {"problem": PROBLEM, "theta0": ZERO, **RUN, "unlearn_steps": 4, "method": "descent", "radius": 5.0,
                          "batch_size": None, "key": 0, **BUDGET, "constants": None, "publications": 1},
    "rewind_to_delete": {"problem": PROBLEM, "theta0": ZERO, **RUN, "rewind_steps": 2, "method": "sgd", "radius": 5.0,
                         "batch_size": 2, "key": 0, **BUDGET, "constants": None, "publications": 1, "checkpoint": ZERO},
    "train": {"problem": PROBLEM, "theta0": ZERO, **RUN, "rewind_steps": 2, "method": "descent", "key": 0},
    "rewind": {"problem": PROBLEM, "trained": ZERO, "step": 0.01, "steps": 2, "method": "descent"},
    "langevin": {"problem": PROBLEM, "theta0": ZERO, **RUN, "unlearn_steps": 4, "temperature": 0.1, "method": "descent",
                 "radius": 5.0, "key": 0, "privacy_delta": 1e-5, "publications": 1},
    "langevin_temperature": {"problem": PROBLEM, "constants": KNOWN, **RUN, "unlearn_steps": 4, **BUDGET},
    "langevin_renyi": {**CONSTANTS, "unlearn_steps": 5, "noise": 0.1, "strong_convexity": 0.1},
    "certified_removal": {"problem": PROBLEM, "delete": [0, 1], "perturbation": 1.0, **BUDGET, "key": 0, "publications": 1},
    "delete_in_sequence": {"problem": PROBLEM, "theta0": ZERO, "delete": [0, 1], "algorithm": "rewind", **RUN, "unlearn_steps": 2,
                           "batch_size": None, "radius": 5.0, "key": 0, "sensitivity": None},
    "coupled_descent": {"problem": PROBLEM, **SHAPES},
    "coupled_sensitivity": {"problem": PROBLEM, "batches": np.zeros((4, 2), dtype=int), "step": 0.001, "rewind_steps": 2,
                            "constants": estimate_constants(PROBLEM, per_point=True)},
    "mini_batches": {"key": 0, "n": 5, "steps": 4, "batch_size": 2},
    "optimal_schedule": {"origin": "trained", "step": 0.1, "train_steps": 3, "unlearn_steps": 2, "theta0": ZERO,
                         "problem": PROBLEM, "goal": "time"},
    "estimate_constants": {"problem": PROBLEM, "radius": 1.0, "thetas": ZERO[None], "per_point": False},
    "descent_to_delete_sigma": {"n": 100, "lipschitz": 1.0, "smoothness": 4.0, "strong_convexity": 0.1,
                                "unlearn_steps": 5, **BUDGET},
    "rewind_to_delete_sensitivity": {**CONSTANTS, "rewind_steps": 3, "strong_convexity": 0.1},
    "gaussian_sigma": {"sensitivity": 1.0, "privacy_epsilon": 0.5, "privacy_delta": 1e-5},
    "gaussian_delta": {"sensitivity": 1.0, "sigma": 1.0, "privacy_epsilon": 0.5},
    "analytic_gaussian_sigma": {"sensitivity": 1.0, **BUDGET},
    "renyi_to_epsilon": {"rho": 0.1, "privacy_delta": 1e-5},
    "epsilon_to_renyi": BUDGET,
    "solve_weighted": {"problem": PROBLEM, "weights": np.ones(12), "start": ZERO, "tilt": ZERO},
    "infinitesimal_jackknife": {"problem": PROBLEM, "trained": ZERO},
    "newton_removal": {"problem": PROBLEM, "trained": ZERO, "hessian": "gauss-newton", "damping": 0.1},
    "gradient_ascent": {"problem": PROBLEM, "trained": ZERO, "step": 0.01, "steps": 2},
    "gradient_difference": {"problem": PROBLEM, "trained": ZERO, "step": 0.01, "steps": 2, "ascent": 0.5},
    "fine_tune": {"problem": PROBLEM, "trained": ZERO, "step": 0.01, "steps": 2, "radius": 4.0, "batch_size": 2, "key": 0},
    "retrain": {"problem": PROBLEM, "theta0": ZERO, "step": 0.01, "steps": 2, "trained": ZERO},
    "sisa": {"problem": PROBLEM, "theta0": ZERO, "shards": 2, "step": 0.01, "train_steps": 4, "seed": 0},
    "soft_weights": {"problem": PROBLEM, "trained": ZERO, "metric": PARITY, "utility": UTILITY, "share": 0.1,
                     "utility_tolerance": 0.1, "lower": -1.0, "upper": 1.0, "damping": 0.1},
    "hard_removal": {"problem": PROBLEM, "trained": ZERO, "metric": PARITY, "utility": UTILITY, "count": 2, "share": 0.1,
                     "damping": 0.1},
    "weight_influences": {"problem": PROBLEM, "trained": ZERO, "metric": PARITY, "utility": UTILITY, "damping": 0.1},
    "smallest_weights": {"a": np.array([1.0, -1.0]), "u": np.array([0.1, 0.2]), "change": -0.5, "budget": 0.1,
                         "lower": -1.0, "upper": 1.0},
    "tug_of_war": {"accuracies": [0.5], "retrained": [0.6]},
    "relearn_time": {"problem": PROBLEM, "theta": ZERO, "step": 0.01, "level": 0.1, "max_steps": 5},
    "measure": {"problem": PROBLEM, "theta": ZERO, "retrained": ZERO, "test": PROBLEM.data},
    "attack_features": {"problem": PROBLEM, "theta": ZERO, "data": PROBLEM.data},
    "membership_inference": {"members": ROWS, "others": ROWS + 0.1, "folds": 2, "repeats": 1, "resamples": 2, "seed": 0},
    "base_rate": {"y": [0, 1]},
    "DemographicParity": {"x": ROWS, "group": [0, 1, 0, 1, 0, 1]},
    "EqualOpportunity": {"x": ROWS, "y": [1, 1, 0, 1, 0, 1], "group": [0, 1, 0, 1, 0, 1]},
    "AdversarialLoss": {"data": PROBLEM.data, "radius": 0.1, "coordinates": np.ones(3)},
}  # fmt: skip
METHODS = {
    "SISA.delete": (SHARD.delete, {"delete": [1]}),
    "SISA.predict": (SHARD.predict, {"x": np.ones((2, 3))}),
    "Unlearned.publish": (DONE.publish, {"key": 0}),
    "CertifiedRemoval.publish": (REMOVED.publish, {"request": 0}),
}
# A full-sized answer to an odd but sensible request takes long, and is no question of this test.
LARGE = {"steps", "train_steps", "unlearn_steps", "max_steps", "resamples", "repeats"}


@pytest.mark.parametrize("name", [*CALLS, *METHODS])
def test_odd_requests_are_refused_in_our_own_words(name):
    function, fine = METHODS[name] if name in METHODS else (getattr(homotopy, name), CALLS[name])
    wrong = []
    for argument in fine:
        for odd in ODD:
            if argument in LARGE and isinstance(odd, int) and not isinstance(odd, bool) and odd >= 0:
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                warnings.simplefilter("ignore", NotStationaryWarning)
                try:
                    function(**{**fine, argument: odd})
                except (
                    RequestError,
                    WorkError,
                    TypeCheckError,
                ):  # the last: what the types of the arguments already say
                    pass
                except Exception as error:  # every other one is the finding
                    wrong.append((argument, repr(odd)[:40], type(error).__name__, str(error)[:150]))
    assert not wrong, "\n".join(map(str, wrong))


def test_every_public_function_is_asked():
    from homotopy import unlearning

    public = {name for name in vars(unlearning) if not name.startswith("_") and callable(getattr(unlearning, name))}
    results = {
        "Rewound", "CertifiedRemoval", "Constants", "Checkpoint", "Measures", "MembershipInference", "AbstractMetric",
        "Guarantee", "Unlearned", "Deletions", "SISA", "SoftWeights", "Utility", "accuracy", "score",
        "Training",
        "Descending",
    }  # fmt: skip
    assert public - results == set(CALLS)


@pytest.mark.parametrize("epsilon", [1e-300, 1e-12, 1e-3, 1.0, 1e3, 1e9])
@pytest.mark.parametrize("delta", [5e-324, 1e-100, 1e-5, 0.5, 1 - 1e-12])
def test_budgets_of_every_size(epsilon, delta):
    sigma = analytic_gaussian_sigma(1.0, epsilon, delta)
    assert gaussian_delta(1.0, sigma, epsilon) == pytest.approx(delta, rel=1e-4)
    assert gaussian_delta(1.0, 1.01 * sigma, epsilon) < delta or delta == 5e-324
    rho = epsilon_to_renyi(epsilon, delta)
    if rho > 1e-290:
        assert renyi_to_epsilon(rho, delta) == pytest.approx(epsilon, rel=1e-9)


def test_metrics_refuse_what_does_not_match():
    with pytest.raises(RequestError, match="one row per point"):
        EqualOpportunity(ROWS, [1, 1], [0, 1, 0, 1, 0, 1])
    with pytest.raises(RequestError, match="coordinates must have shape"):
        AdversarialLoss(PROBLEM.data, 0.1, [1.0])


def test_relearning_that_diverges_is_no_success():
    network = teacher_student()
    with pytest.raises(WorkError, match="relearning diverged"):
        homotopy.relearn_time(network, network.initial(0), step=1e3, level=1e-9)


def test_singular_corrections_are_errors():
    rows = np.column_stack([np.ones(12), np.arange(12.0), 2 * np.arange(12.0)])
    flat = homotopy.Problem(homotopy.LogisticRegression(), homotopy.Dataset(rows, np.arange(12) % 2), delete=0)
    with pytest.raises(WorkError, match="singular"):
        homotopy.soft_weights(flat, ZERO, PARITY, UTILITY, share=0.1)
    # units alone are no reason: the same influence with a column in other units
    parts = []
    for unit in (1.0, 1e8):
        scaled = homotopy.Dataset(np.asarray(PROBLEM.data.x) * [1.0, unit, 1.0], PROBLEM.data.y)
        there = homotopy.Problem(homotopy.LogisticRegression(), scaled, delete=0)
        metric = DemographicParity(scaled.x, np.arange(12) % 2)
        parts.append(homotopy.weight_influences(there, ZERO, metric, Utility(scaled))[1])
    np.testing.assert_allclose(parts[0], parts[1], rtol=1e-9)
