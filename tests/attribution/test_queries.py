"""Points other than those of the problem obey its loss, wherever they meet it: one check, one line."""

import equinox as eqx
import jax
import numpy as np
import pytest
from problems import logistic, random_ols, softmax

from homotopy import (
    Dataset,
    RefitUtility,
    RequestError,
    bayesian_influence,
    flow_influence_kernel,
    gaussian_bayesian_influence,
    grad_dot,
    influence_matrix,
    knn_shapley,
    sgd_influence,
    source_influence,
    tracin,
)
from homotopy.attribution import descend
from homotopy.problem import check_queries
from homotopy.unlearning import (
    AdversarialLoss,
    DemographicParity,
    EqualOpportunity,
    Utility,
    accuracy,
    attack_features,
    hard_removal,
    measure,
    soft_weights,
    weight_influences,
)


def run_of(problem):
    return descend(problem, np.zeros(problem.dim), step=1e-3, steps=2)


def zero(problem):
    return np.zeros(problem.dim)


def good_metric(problem):
    return Utility(problem.data)


POSTERIOR = {"inverse_temperature": 1.0, "localisation": 1.0}

# Every public function that takes a second data set: (problem, data) ↦ what it would answer.
JOBS = {
    "check_queries": lambda p, data: check_queries(p, data, "queries"),
    "influence_matrix": lambda p, data: influence_matrix(p, data, theta=zero(p), hessian="gauss-newton", damping=1.0),
    "RefitUtility": RefitUtility,
    "RefitUtility, accuracy": lambda p, data: RefitUtility(p, data, score="accuracy"),
    "tracin": lambda p, data: tracin(p, zero(p)[None], 1.0, data),
    "grad_dot": lambda p, data: grad_dot(p, zero(p), data),
    "sgd_influence": lambda p, data: sgd_influence(p, run_of(p), data),
    "source_influence": lambda p, data: source_influence(p, np.stack([zero(p)] * 2), [0.0, 1.0], data, segments=1),
    "flow_influence_kernel": lambda p, data: flow_influence_kernel(p, zero(p), t1=0.1, queries=data),
    "bayesian_influence": lambda p, data: bayesian_influence(p, zero(p), draws=8, queries=data, **POSTERIOR),
    "Utility.soft": lambda p, data: Utility(data).soft(p, zero(p)),
    "Utility.hard": lambda p, data: Utility(data).hard(p, zero(p)),
    "AdversarialLoss.soft": lambda p, data: AdversarialLoss(data, 0.1).soft(p, zero(p)),
    "AdversarialLoss.hard": lambda p, data: AdversarialLoss(data, 0.1).hard(p, zero(p)),
    "accuracy": lambda p, data: accuracy(p, zero(p), data),
    "measure": lambda p, data: measure(p, zero(p), zero(p), data),
    "attack_features": lambda p, data: attack_features(p, zero(p), data),
    "weight_influences": lambda p, data: weight_influences(p, zero(p), good_metric(p), Utility(data)),
    "soft_weights": lambda p, data: soft_weights(p, zero(p), AdversarialLoss(data, 0.1), good_metric(p)),
    "hard_removal": lambda p, data: hard_removal(p, zero(p), good_metric(p), Utility(data), count=1),
}
BINARY = {"−1/1": [-1, 1, 1, -1], "1/2": [1, 2, 2, 1], "½": [0, 0.5, 1, 1], "(m, 1)": [[0], [1], [1], [0]]}
CLASSES = {"class 7 of 3": [0, 1, 7, 2], "−1": [0, -1, 1, 2], "1.5": [0, 1.5, 1, 2], "(m, 3)": np.eye(4, 3)}
REGRESSION = {"(m, 1)": [[0.0], [1.0], [1.0], [0.0]], "(m, 2)": np.eye(4, 2)}


def ridged(problem):
    """With a ridge, so that the labels are the only thing that is wrong."""
    return eqx.tree_at(lambda p: p.ridge, problem, 0.1 + problem.ridge)


TABLE = [
    *(("logistic", name, kind, BINARY[kind]) for name in JOBS for kind in BINARY),
    *(("softmax", name, kind, CLASSES[kind]) for name in JOBS for kind in CLASSES),
    *(
        ("least squares", name, kind, REGRESSION[kind])
        for name in JOBS
        if name not in ("RefitUtility, accuracy",)
        for kind in REGRESSION
    ),
]


@pytest.fixture(scope="module")
def problems():
    return {
        "logistic": ridged(logistic()),
        "softmax": ridged(softmax()),
        "least squares": ridged(random_ols(n=8, d=2).problem),
    }


@pytest.mark.parametrize(("which", "name", "kind", "y"), TABLE, ids=lambda value: str(value)[:24])
def test_targets_that_the_loss_cannot_judge_are_refused(problems, which, name, kind, y):
    problem = problems[which]
    x = np.random.default_rng(0).standard_normal((4, problem.data.features))
    with pytest.raises(RequestError) as caught:
        JOBS[name](problem, Dataset(x, y))
    message = str(caught.value)
    assert "\n" not in message
    assert "y" in message


@pytest.mark.parametrize("name", JOBS)
def test_other_features_are_refused(problems, name):
    problem = problems["logistic"]
    wide = Dataset(np.ones((4, problem.data.features + 1)), [0, 1, 1, 0])
    with pytest.raises(RequestError, match=f"must have {problem.data.features} features"):
        JOBS[name](problem, wide)


def test_messages_say_what_would_be_right(problems):
    x = np.ones((4, 3))
    with pytest.raises(RequestError, match=r"queries.y holds -1, 1; write the class −1 as 0"):
        check_queries(problems["logistic"], Dataset(x, [-1, 1, 1, 1]), "queries")
    with pytest.raises(RequestError, match=r"test.y must hold classes .* 0…2, but holds 7; leave those rows out"):
        check_queries(problems["softmax"], Dataset(x[:, :2], [0, 7, 1, 1]), "test")
    with pytest.raises(RequestError, match="queries must be a Dataset, but is ndarray"):
        check_queries(problems["logistic"], x, "queries")


def test_good_targets_pass_also_where_a_class_is_missing_and_inside_a_trace(problems):
    problem = problems["softmax"]
    data = Dataset(np.ones((2, 2)), [0, 0])
    assert check_queries(problem, data, "queries") is data
    # Labels cannot be seen inside a trace; the metrics are differentiated there.
    value = jax.jit(lambda data: accuracy(problem, zero(problem), data))(data)
    assert float(value) == 1.0


def test_labels_of_neighbours_and_of_groups():
    x, y = np.ones((3, 2)), [0, 1, 2]
    for targets in ([7], [-1], [0.5]):
        with pytest.raises(RequestError, match="targets must hold labels that y has"):
            knn_shapley(x, y, x[:1], targets, 1)
    with pytest.raises(RequestError, match="whole numbers"):
        knn_shapley(x, [0, 1, 0.5], x[:1], [0], 1)
    for labels in ([1, 2, 1], [-1, 1, 1], [0.5, 1, 1]):
        with pytest.raises(RequestError, match="LogisticLoss needs"):
            EqualOpportunity(x, labels, [0, 1, 1])
    with pytest.raises(RequestError, match="must have one row per point"):
        EqualOpportunity(x, [0, 1, 1], [0, 1])
    problem = logistic()
    with pytest.raises(RequestError, match="must have 3 features"):
        DemographicParity(np.ones((2, 5)), [0, 1]).soft(problem, np.zeros(3))


def test_the_closed_form_takes_queries_that_fit_only(problems):
    problem = problems["least squares"]
    with pytest.raises(RequestError, match=r"queries.y must hold targets"):
        gaussian_bayesian_influence(problem, np.zeros(2), queries=Dataset(np.ones((2, 2)), np.eye(2)), **POSTERIOR)
