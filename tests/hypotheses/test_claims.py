"""Every verdict changes when the thing that it tests is changed."""

import dataclasses
from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

from homotopy import Constant, Dataset, Greedy, LinearDecay, LinearRegression, Problem, energy, leave_one_out, simulate
from homotopy._progress import Progress
from homotopy.hypotheses import Scale, builtin, decide
from homotopy.hypotheses._instances import random_batch
from homotopy.hypotheses._searched import Searched, decay_energies, greedy_energy, searched
from homotopy.hypotheses.claims import _attribution, _decay, _flow, _influence, _steps, _theta_dot
from homotopy.scheduler import linear_control, window
from homotopy.unlearning import hard_removal

SMALL = Scale(instances=12, searches=6, networks=0, dims=(2,), real=False)


def _verdict(id, scale=SMALL, **changed):
    """The verdict of a built-in hypothesis, with keyword arguments of its check replaced."""
    hypothesis = builtin()[id]
    if changed:
        return hypothesis.rule(hypothesis.check(scale, Progress(shown=False), **changed).evidence), None
    result = decide(hypothesis, scale)
    assert result.error is None, result.error
    return result.verdict, result


def _with_correction(problem):
    """Influence with the factor 1/(1 − P), so exact and not first order."""
    x = problem.data.x[problem.delete[0]]
    lever = x @ jnp.linalg.solve(problem.hessian(jnp.zeros(problem.dim)), x)
    here = _influence.influence(problem)
    return here.theta - here.theta_dot / (1.0 - lever)


def _with_the_point(problem):
    """A Newton step whose Hessian still counts the deleted point."""
    return _influence.first_order(problem)


def _never_dropped(problem, s, theta0, t1):
    return simulate(problem, Constant(1.0), theta0, t1=t1, ts=t1[None]).theta1


def _without_kernel(batch, theta0):
    return _flow.limit(batch, np.zeros_like(theta0))


def _hardest(problem, theta, fairness, utility, share):
    """Half of the points deleted, called soft weights."""
    return hard_removal(problem, theta, fairness, utility, count=problem.n // 2)


def _best_as_greedy(scale):
    found = searched(scale)
    return Searched(found | {"greedy": found["energy"], "greedy_on": np.zeros(found.rows)})


def _baseline_as_best(scale):
    found = searched(scale)
    return Searched(found | {"energy": found["baseline"], "step": found["baseline"]})


@pytest.mark.parametrize(
    ("id", "verdict", "changed", "other"),
    [
        ("H01", "holds", {"estimate": _with_correction}, "fails"),
        ("H04", "holds", {"estimate": _with_the_point}, "fails"),
        ("H05", "depends", {"second": 0.5}, "fails"),
        ("H07", "depends", {"flow": _never_dropped}, "fails"),
        ("H08", "depends", {"formula": _without_kernel}, "fails"),
        ("H09", "fails", {"row_scale": np.sqrt}, "holds"),
        ("H10", "fails", {"equation": _steps.corrected_equation}, "holds"),
        ("H11", "fails", {"condition": lambda one: False}, "holds"),
        ("H12", "holds", {"table": _baseline_as_best}, "fails"),
        ("H15", "fails", {"table": _baseline_as_best}, "holds"),
        ("H16", "fails", {"table": _best_as_greedy}, "holds"),
        ("H17", "depends", {"closed": lambda *args: _decay.scalar_decay(*args) + 1e-3}, "holds"),
        ("H18", "holds", {"theta_dot_of": lambda problem: -_theta_dot.slope(problem)}, "fails"),
        ("H20", "holds", {"values": _attribution.influence_values}, "fails"),
        ("H21", "holds", {"closed": lambda *args: -_attribution.covariances(*args)}, "fails"),
        ("H23", "holds", {"soft": _hardest}, "fails"),
    ],
)
def test_the_verdict_follows_what_is_computed(id, verdict, changed, other):
    scale = dataclasses.replace(SMALL, searches=12, dims=(2, 5)) if id in ("H15", "H16") else SMALL
    scale = dataclasses.replace(scale, networks={"H20": 4, "H21": 2, "H23": 3}.get(id, 0))
    assert _verdict(id, scale)[0] == verdict
    assert _verdict(id, scale, **changed)[0] == other


def test_a_wrong_corrected_lemma_leaves_the_notes_unjudged():
    hypothesis = builtin()["H10"]
    wrong = dataclasses.replace(hypothesis, check=partial(hypothesis.check, corrected=lambda one: one.s))
    assert "neither can judge" in decide(wrong, SMALL).error


def test_one_seed_alone_gives_the_instance_of_the_example():
    _, result = _verdict("H10")
    seed = result.example["seed"]
    _, alone = _verdict("H10", Scale(1, 1, 1, dims=(result.example["d"],), seed=seed))
    assert alone.example["X"] == result.example["X"]
    assert alone.example["tau*"] == result.example["tau*"]


def test_the_random_family_has_every_kind():
    batch = random_batch(Scale(), 2)
    assert 0.1 < batch.singular.mean() < 0.4
    assert set(batch.start) == {"zero", "random", "trained", "near"}
    assert 0 < (~batch.inside).sum() < batch.singular.sum()
    rates = np.linalg.eigvalsh(batch.moments(0.0)[0])
    np.testing.assert_array_equal(rates[:, 0] < 1e-9 * rates[:, -1].clip(1e-300), batch.singular)
    lever = batch.leverage()[~batch.singular]
    assert lever.min() < 0.02
    assert lever.max() > 0.5


def test_the_closed_forms_of_a_batch_are_the_packages():
    batch = random_batch(Scale(4, 1, 1), 2)
    for row in range(batch.rows):
        problem = batch.problem(row)
        expected = leave_one_out(problem, theta0=batch.theta0[row]).theta
        np.testing.assert_allclose(batch.optimum(0.0)[row], expected, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(batch.moments(0.3)[0][row], problem.hessian(expected, 0.3), rtol=1e-12, atol=1e-12)


def _instance():
    rng = np.random.default_rng(3)
    problem = Problem(LinearRegression(), Dataset(rng.standard_normal((8, 2)), rng.standard_normal(8)), delete=2)
    return problem, 2.0 * rng.standard_normal(2)


def test_the_staircase_is_the_decay():
    problem, theta0 = _instance()
    here = window(linear_control(problem, theta0), 0.1, 1.0)
    ends = 0.1 + 0.9 * np.geomspace(1e-3, 1.0, 60)
    exact = min(float(energy(problem, LinearDecay(0.1, end), theta0, t1=1.0)) for end in ends)
    assert decay_energies(here)[0] == pytest.approx(exact, rel=1e-3)


def test_the_sampled_greedy_is_the_one_with_events():
    problem, theta0 = _instance()
    target = leave_one_out(problem).theta
    end = simulate(problem, Greedy(target), theta0, t1=1.0, ts=[1.0]).theta1
    found, on = greedy_energy(window(linear_control(problem, theta0), 0.0, 1.0))
    size = float(np.sum((theta0 - np.asarray(target)) ** 2))
    assert found == pytest.approx(0.5 * float(np.sum((np.asarray(end) - target) ** 2)), rel=5e-3, abs=1e-6 * size)
    assert 0.0 <= on <= 1.0


def test_no_schedule_lies_below_a_certified_bound():
    found = searched(SMALL)
    for name in ("energy", "baseline", "step", "late", "linear", "polynomial", "greedy"):
        assert (found[name] >= found["lower"] * (1 - 1e-9) - found.floor).all()
    assert (found["energy"] <= found["step"] * (1 + 1e-9) + found.floor).all()
    assert found.reached[found["certificate"] == "reached"].all()


def _of(value, low=None, high=None, count=1, of=10):
    """A piece of evidence with every name that rules read."""
    low, high = value if low is None else low, value if high is None else high
    return {"share": value, "median": value, "correlation": value, "low": low, "high": high, "count": count, "of": of}


NEARER = "points where influence is nearer to the PBRF than to warm and cold retraining"
RANKS = "rank correlation of loss changes with the PBRF, warm, cold retraining"
FIRST = "x: share of the first three gaps", "y: share of the first three gaps"
BEND = "rank correlation of distance and bend"
NEEDS = [f"{kind}: K/T that leaves 10 % of the point's effect (R2D)" for kind in ("networks", "convex")]
ENDS = [f"{kind}: D2D for ever ends elsewhere than retraining" for kind in ("networks", "convex")]
LEFT = "R2D at K = T: largest part of the effect that is left"
TENTH = [f"{kind}: rank correlation of importance at 0.1 T and at T" for kind in ("networks", "linear")]


@pytest.mark.parametrize(
    ("id", "evidence", "verdict"),
    [
        ("H02", {NEARER: _of(0.9), RANKS: [0.9, 0.8, 0.7]}, "holds"),
        ("H02", {NEARER: _of(0.9), RANKS: [0.7, 0.8, 0.9]}, "depends"),
        ("H02", {NEARER: _of(0.4), RANKS: [0.9, 0.8, 0.7]}, "fails"),
        ("H03", {FIRST[0]: _of(0.9), FIRST[1]: _of(0.8)}, "holds"),
        ("H03", {FIRST[0]: _of(0.9), FIRST[1]: _of(0.2)}, "depends"),
        ("H03", {FIRST[0]: _of(0.1), FIRST[1]: _of(0.2)}, "fails"),
        ("H06", {BEND: _of(0.0, -0.1, 0.1)}, "holds"),
        ("H06", {BEND: _of(0.1, -0.3, 0.4)}, "depends"),
        ("H06", {BEND: _of(-0.3, -0.4, -0.1)}, "fails"),
        ("H19", {**dict.fromkeys(NEEDS, _of(0.3)), ENDS[0]: _of(0.1), ENDS[1]: _of(0.0, count=0), LEFT: 0.0}, "holds"),
        (
            "H19",
            {**dict.fromkeys(NEEDS, _of(0.9)), ENDS[0]: _of(0.1), ENDS[1]: _of(0.0, count=0), LEFT: 0.0},
            "depends",
        ),
        ("H19", {**dict.fromkeys(NEEDS, _of(0.3)), ENDS[0]: _of(0.1), ENDS[1]: _of(0.1), LEFT: 0.0}, "fails"),
        ("H19", {**dict.fromkeys(NEEDS, _of(0.3)), ENDS[0]: _of(0.1), ENDS[1]: _of(0.0, count=0), LEFT: 0.5}, "fails"),
        ("H22", dict.fromkeys(TENTH, _of(0.5)), "holds"),
        ("H22", {TENTH[0]: _of(0.5), TENTH[1]: _of(0.95)}, "depends"),
        ("H22", dict.fromkeys(TENTH, _of(0.95)), "fails"),
    ],
)
def test_the_rules_of_the_networks(id, evidence, verdict):
    assert builtin()[id].rule(evidence) == verdict
