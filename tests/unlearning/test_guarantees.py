"""Every guarantee, with each of its hypotheses broken in turn: it is withdrawn, and says which one, in words."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chi2

from homotopy import (
    Checkpoint,
    Constants,
    CrossEntropyLoss,
    Dataset,
    LinearRegression,
    LogisticRegression,
    Problem,
    RequestError,
    WorkError,
    analytic_gaussian_sigma,
    certified_removal,
    coupled_sensitivity,
    delete_in_sequence,
    descend_to_delete,
    descent_to_delete_sigma,
    estimate_constants,
    gaussian_delta,
    langevin,
    langevin_temperature,
    mini_batches,
    optimum,
    renyi_to_epsilon,
    rewind_to_delete,
    solve_weighted,
    train,
)
from homotopy.unlearning import _certified
from homotopy.unlearning._certified import _remove, _train
from homotopy.unlearning._proof import LOGISTIC_LIPSCHITZ, tail, worst_case
from tests.problems import logistic, random_ols, teacher_student

BUDGET = {"privacy_epsilon": 1.0, "privacy_delta": 1e-5}
STEP = 0.1
ZERO = np.zeros(3)


def other_data() -> Problem:
    problem = logistic()
    x = np.asarray(problem.data.x).copy()
    x[7, 1] += 1e-9  # of a point that stays
    return Problem(problem.model, Dataset(x, problem.data.y), delete=[0, 5], ridge=0.1)


def d2d(problem=None, theta0=ZERO, **options):
    options = {"step": STEP, "train_steps": 400, "unlearn_steps": 60, **BUDGET, **options}
    return descend_to_delete(logistic() if problem is None else problem, theta0, **options)


def r2d(problem=None, theta0=ZERO, **options):
    options = {"step": STEP, "train_steps": 40, "rewind_steps": 30, **BUDGET, **options}
    return rewind_to_delete(logistic() if problem is None else problem, theta0, **options)


def noisy(problem=None, theta0=ZERO, **options):
    options = {"step": STEP, "train_steps": 40, "unlearn_steps": 20, "temperature": 0.05, **options}
    return langevin(logistic() if problem is None else problem, theta0, **options)


def stored(problem=None, theta0=ZERO, **options) -> Checkpoint:
    options = {"step": STEP, "train_steps": 40, "rewind_steps": 30, **options}
    return train(logistic() if problem is None else problem, theta0, **options)


def strong(ridge=60.0, n=30) -> Problem:
    """Rows in the unit ball and a ridge under which the removal of one point is proven for every noise vector."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, 3))
    x /= np.maximum(1.0, np.linalg.norm(x, axis=1))[:, None]
    y = (x[:, 0] + 0.3 * rng.standard_normal(n) > 0).astype(int)
    return Problem(LogisticRegression(), Dataset(x, y), delete=0, ridge=ridge)


def removed(problem=None, requests=(0,), **options):
    options = {"perturbation": 2.0, **BUDGET, **options}
    return certified_removal(strong() if problem is None else problem, list(requests), **options)


SGD = {"method": "sgd", "batch_size": 4, "step": 0.01}
BALL = {"radius": 9.0, "step": 1e-3}


def handwritten(problem=None):
    """The right numbers with nothing that says where they are from."""
    return dataclasses.replace(estimate_constants(logistic() if problem is None else problem), seal="")


def halved():
    known = estimate_constants(logistic())
    return dataclasses.replace(known, lipschitz=0.5 * known.lipschitz)


def measured():
    return estimate_constants(logistic(), thetas=ZERO)


GOOD = {
    "D2D": d2d,
    "D2D, projected": lambda: d2d(radius=50.0),
    "D2D, projected linear regression": lambda: d2d(
        random_ols(ridge=0.3).problem, radius=9.0, step=None, train_steps=800, unlearn_steps=200
    ),
    "R2D": r2d,
    "R2D, projected linear regression": lambda: r2d(random_ols(ridge=0.3).problem, **BALL),
    "R2D, stored checkpoint": lambda: r2d(checkpoint=stored()),
    "R2D, stored checkpoint, other points deleted": lambda: r2d(logistic().deleting([3]), checkpoint=stored()),
    "R2D, checkpoint of the projected run": lambda: r2d(radius=9.0, checkpoint=stored(radius=9.0)),
    "R2D, SGD": lambda: r2d(**SGD),
    "R2D, SGD, stored checkpoint": lambda: r2d(checkpoint=stored(**SGD), **SGD),
    "R2D, its own checkpoint again": lambda: r2d(checkpoint=r2d().checkpoint),
    "R2D, going back from its own θ_T": lambda: r2d(
        step=0.02, rewind_steps=3, trained=stored(step=0.02, rewind_steps=0)
    ),
    "R2D at K = T from θ₀": lambda: r2d(rewind_steps=40, checkpoint=ZERO),
    "R2D at K = T of a network": lambda: r2d(teacher_student(), teacher_student().initial(0), step=0.01, rewind_steps=40),
    "Langevin": noisy,
    "certified removal, linear": lambda: removed(random_ols(ridge=0.3).problem),
    "certified removal, logistic": removed,
    "certified removal, logistic, a small budget": lambda: removed(privacy_epsilon=5e-4),
}  # fmt: skip

BROKEN = [
    # which guarantee, what is broken, what it says
    ("D2D: measured constants", lambda: d2d(constants=measured()), "measured, not bounds"),
    ("D2D: constants of other data", lambda: d2d(constants=estimate_constants(other_data())), "other data, ridge"),
    ("D2D: constants of another deleted set", lambda: d2d(constants=estimate_constants(logistic().deleting(3))), "deleted"),
    ("D2D: constants of another ridge", lambda: d2d(
        constants=estimate_constants(Problem(LogisticRegression(), logistic().data, delete=[0, 5], ridge=0.2)), step=0.02
    ), "ridge"),
    ("D2D: constants by hand", lambda: d2d(constants=handwritten()), "by hand"),
    ("D2D: constants changed", lambda: d2d(constants=halved()), "by hand"),
    ("D2D: no ridge", lambda: d2d(
        Problem(LogisticRegression(), logistic().data, delete=[0, 5])
    ), "strongly convex"),
    ("D2D: no Lipschitz constant", lambda: d2d(random_ols(ridge=0.3).problem, step=None), "no Lipschitz constant"),
    ("D2D: mini-batches", lambda: d2d(**SGD), "mini-batches"),
    ("D2D: trained too briefly", lambda: d2d(train_steps=1, unlearn_steps=400), "trained too briefly"),
    ("D2D: retrained too briefly", lambda: d2d(
        theta0=optimum(logistic()).theta, train_steps=1, unlearn_steps=400), "retrained"),
    ("D2D: no contraction", lambda: d2d(
        step=2.0 / (12 * estimate_constants(logistic()).smoothness)), "does not contract"),
    ("D2D: a solver's steps", lambda: d2d(method="flow"), "not the exact flow"),
    ("D2D: a network", lambda: d2d(teacher_student(), teacher_student().initial(0), step=0.001), "network"),
    ("R2D: an array as checkpoint", lambda: r2d(checkpoint=stored().theta), "nothing binds"),
    ("R2D: a checkpoint of other data", lambda: r2d(checkpoint=stored(other_data())), "another run: data differs"),
    ("R2D: of another ridge", lambda: r2d(checkpoint=stored(
        Problem(LogisticRegression(), logistic().data, delete=0, ridge=0.2))), "ridge differs"),
    ("R2D: of another model", lambda: r2d(checkpoint=stored(
        Problem(LinearRegression(), logistic().data, delete=0, ridge=0.1), step=0.01)), "model, step differ"),
    ("R2D: of another start", lambda: r2d(checkpoint=stored(theta0=ZERO + 1e-12)), "theta0 differs"),
    ("R2D: of another step", lambda: r2d(checkpoint=stored(step=0.1 + 1e-15)), "step differs"),
    ("R2D: of another place in the run", lambda: r2d(checkpoint=stored(rewind_steps=29)), "of step 11, not of step 10"),
    ("R2D: of a projected run", lambda: r2d(checkpoint=stored(radius=9.0)), "radius differs"),
    ("R2D: of a flow", lambda: r2d(checkpoint=stored(method="flow")), "method differs"),
    ("R2D: of other mini-batches", lambda: r2d(checkpoint=stored(key=1, **SGD), **SGD), "mini-batches differs"),
    ("R2D: of full gradients", lambda: r2d(checkpoint=stored(step=0.01), **SGD), "method, mini-batches differ"),
    ("R2D: changed since", lambda: r2d(checkpoint=dataclasses.replace(stored(), theta=stored().theta + 1e-6)), "changed"),
    ("R2D: continued, not retrained", lambda: r2d(checkpoint=dataclasses.replace(
        stored(rewind_steps=20), steps=10)), "changed"),
    ("R2D: K = T from elsewhere", lambda: r2d(rewind_steps=40, checkpoint=ZERO + 0.1), "nothing binds"),
    ("R2D: an array to go back from", lambda: r2d(
        step=0.02, rewind_steps=3, trained=stored(step=0.02, rewind_steps=0).theta), "nothing binds"),
    ("R2D: θ_T of other data", lambda: r2d(
        step=0.02, rewind_steps=3, trained=stored(other_data(), step=0.02, rewind_steps=0)), "data differs"),
    ("R2D: going back too far", lambda: r2d(
        step=0.02, train_steps=4000, rewind_steps=3900, trained=stored(step=0.02, train_steps=4000, rewind_steps=0)
    ), "going backwards"),
    ("R2D: measured constants", lambda: r2d(constants=measured()), "measured, not bounds"),
    ("R2D: constants of other data", lambda: r2d(constants=estimate_constants(other_data())), "other data, ridge"),
    ("R2D: constants by hand", lambda: r2d(constants=handwritten()), "by hand"),
    ("R2D: constants changed", lambda: r2d(constants=halved()), "by hand"),
    ("R2D: mini-batches, constants of other data", lambda: r2d(
        constants=estimate_constants(other_data(), per_point=True), **SGD), "other data, ridge"),
    ("R2D: no Lipschitz constant", lambda: r2d(random_ols(ridge=0.3).problem, step=1e-3), "no Lipschitz constant"),
    ("R2D: a solver's steps", lambda: r2d(method="flow"), "not the exact flow"),
    ("R2D: a network", lambda: r2d(teacher_student(), teacher_student().initial(0), step=0.001), "network"),
    ("Langevin: measured constants", lambda: noisy(constants=measured()), "measured, not bounds"),
    ("Langevin: constants of other data", lambda: noisy(constants=estimate_constants(other_data())), "other data"),
    ("Langevin: constants by hand", lambda: noisy(constants=handwritten()), "by hand"),
    ("Langevin: no Lipschitz constant", lambda: noisy(random_ols(ridge=0.3).problem, step=1e-3), "no Lipschitz constant"),
    ("Langevin: a network", lambda: noisy(teacher_student(), teacher_student().initial(0), step=0.001), "network"),
    ("certified: a weak ridge", lambda: removed(strong(ridge=0.5)), "depends on the noise vector"),
    ("certified: little noise", lambda: removed(perturbation=1e-4), "depends on the noise vector"),
    ("certified: a smaller budget", lambda: removed(privacy_epsilon=1e-5), "depends on the noise vector"),
    ("certified: a larger group", lambda: removed(requests=[range(12)], privacy_epsilon=0.005), "depends on the noise vector"),
    ("certified: more requests", lambda: removed(requests=range(12), privacy_epsilon=5e-4), "depends on the noise vector"),
    ("certified: training again", lambda: removed(
        strong(ridge=2.0), range(6), perturbation=0.01, privacy_epsilon=1.0), "training again"),
]  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_a_guarantee_holds_where_all_hypotheses_do(name):
    answer = GOOD[name]()
    assert answer.guarantee.holds, str(answer.guarantee)
    assert "-unlearning with noise" in str(answer)
    assert "for one published model" in str(answer)


@pytest.mark.parametrize(("job", "words"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_a_broken_hypothesis_withdraws_the_guarantee(job, words):
    answer = job()
    assert not answer.guarantee.holds
    assert words in "; ".join(answer.guarantee.unmet)
    assert "no guarantee" in str(answer)
    assert "-unlearning with noise" not in str(answer)
    if hasattr(answer, "distance_bound") and math.isfinite(answer.distance_bound):
        proven = all(hint not in words for hint in ("measured", "hand", "other data", "deleted", "ridge"))
        assert ("at most" in str(answer)) == proven  # a number of other constants is labelled as no bound
    with pytest.raises(RequestError, match="no guarantee"):
        answer.publish(-1)


def test_a_solver_s_error_is_said_to_come_on_top():
    for answer in (d2d(method="flow"), r2d(method="flow")):
        assert "solver's error comes on top" in str(answer)
    for answer in (d2d(), r2d(), r2d(method="flow", rewind_steps=40)):
        assert "on top" not in str(answer)


def test_a_foreign_checkpoint_has_no_bound_either():
    """Of the very run: Δ holds. Of another: the distance from retraining exceeds what was printed before."""
    here = r2d(rewind_steps=20)
    strange = r2d(rewind_steps=20, checkpoint=np.full(3, 300.0))
    retrained = r2d(rewind_steps=40).theta
    assert float(jnp.linalg.norm(strange.theta - retrained)) > here.distance_bound
    assert math.isinf(strange.distance_bound)
    assert "no bound" in str(strange)
    assert strange.checkpoint is None
    np.testing.assert_array_equal(r2d(checkpoint=stored()).theta, r2d().theta)


# How often may it be published? --------------------------------------------------------------------------------------


def test_the_noise_of_several_publications_composes():
    """k Gaussians of σ√k tell as much as one of σ: δ of their mean."""
    for job in (d2d, r2d):
        one, four = job().guarantee, job(publications=4).guarantee
        assert four.sigma == pytest.approx(2 * one.sigma)
        assert "4 published models" in str(four)
        mean_noise = four.sigma / math.sqrt(4)
        assert gaussian_delta(four.sensitivity, mean_noise, 1.0) <= 1e-5 * (1 + 1e-9)
    once, thrice = noisy().guarantee, noisy(publications=3).guarantee
    rho = (math.sqrt(math.log(1e5) + once.privacy_epsilon) - math.sqrt(math.log(1e5))) ** 2
    assert thrice.privacy_epsilon == pytest.approx(renyi_to_epsilon(3 * rho, 1e-5))
    problem = logistic()
    options = {"step": STEP, "train_steps": 40, "unlearn_steps": 20, **BUDGET}
    tau = langevin_temperature(problem, estimate_constants(problem), publications=3, **options)
    assert noisy(temperature=tau, publications=3).guarantee.privacy_epsilon == pytest.approx(1.0)


@pytest.mark.parametrize("job", [d2d, r2d, noisy])
def test_publishing_a_run_again_is_counted(job):
    """Whatever object, whatever key: what was given away is told apart by the model alone."""
    start = ZERO + {d2d: 0.01, r2d: 0.02, noisy: 0.03}[job]  # a run of this test's own
    first = job(theta0=start)
    out = first.publish(3)
    np.testing.assert_array_equal(job(theta0=start).publish(3), out)
    draw = {"key": 5} if job is noisy else {}
    with pytest.raises(RequestError, match="pays for 1 published model"):
        job(theta0=start, **draw).publish(4)
    with pytest.raises(RequestError, match="published before under"):
        job(theta0=start, publications=2, **draw).publish(4)
    planned = [job(theta0=start + 1.0, publications=2, **({"key": k} if job is noisy else {})) for k in range(3)]
    pair = [planned[k].publish(k) for k in range(2)]
    assert float(jnp.linalg.norm(pair[0] - pair[1])) > 0
    with pytest.raises(RequestError, match="pays for 2 published models"):
        planned[2].publish(2)
    with pytest.raises(RequestError, match="jit or vmap"):
        jax.vmap(first.publish)(jax.random.split(jax.random.key(0), 2))


def test_noise_does_not_come_from_the_key_of_the_mini_batches():
    answer = r2d(theta0=ZERO + 0.04, key=7, **SGD)
    noise = (answer.publish(7) - answer.theta) / answer.guarantee.sigma
    assert not np.allclose(noise, jax.random.normal(jax.random.key(7), (3,)))


def test_one_key_makes_independent_noise_for_different_runs():
    """Else the difference of two published models would have none."""
    noises = []
    for start in (0.05, 0.06):
        answer = r2d(theta0=ZERO + start)
        noises.append((answer.publish(0) - answer.theta) / answer.guarantee.sigma)
    assert float(jnp.linalg.norm(noises[0] - noises[1])) > 0.1
    tilts = [-strong().gradient(removed(requests=requests).trained) for requests in ([0], [1], [0, 1])]
    assert min(float(jnp.linalg.norm(tilts[i] - tilts[j])) for i, j in ((0, 1), (0, 2), (1, 2))) > 0.1
    np.testing.assert_array_equal(noisy().theta, noisy(logistic().deleting([5, 0])).theta)
    assert float(jnp.linalg.norm(noisy(unlearn_steps=21).trained - noisy().trained)) > 1e-3


def test_certified_removal_is_published_once():
    problem = strong(ridge=400.0)
    found = removed(problem, [0, 1])
    assert found.guarantee.holds
    np.testing.assert_array_equal(found.publish(), found.thetas[-1])
    np.testing.assert_array_equal(found.publish(1), found.thetas[-1])
    with pytest.raises(RequestError, match="same noise b"):
        found.publish(0)
    with pytest.raises(RequestError, match="same noise b"):
        removed(problem, [0, 1]).publish(0)
    with pytest.raises(RequestError, match="pays for 1"):
        removed(problem, [0, 1], key=1).publish()
    both = [removed(problem, [2, 3], key=k, publications=2) for k in range(3)]
    assert both[0].allowed == pytest.approx(2.0 / analytic_gaussian_sigma(1.0, 0.5, 5e-6))
    for one in both[:2]:
        one.publish()
    with pytest.raises(RequestError, match="pays for 2"):
        both[2].publish()
    with pytest.raises(RequestError, match="request"):
        found.publish(2)


# One notion of how far the secret model may be ------------------------------------------------------------------------


def test_sensitivity_is_the_distance_that_the_noise_hides():
    problem, known = logistic(), estimate_constants(logistic())
    answer = d2d(step=None)
    rate = (known.smoothness - known.strong_convexity) / (known.smoothness + known.strong_convexity)
    jump, power = 2 * 2 * known.lipschitz / (known.strong_convexity * 12), rate**60
    reach = 0.0
    for _ in range(20000):  # e ← γ(e + jump) for ever
        reach = power * (reach + jump)
    assert answer.guarantee.sensitivity == pytest.approx(2 * reach, rel=1e-9)
    # both models start from no farther than it allows, so they end no farther apart
    again = descend_to_delete(problem, ZERO, train_steps=460, unlearn_steps=1, **BUDGET)
    retrained = r2d(step=answer.unlearn_from / 400, train_steps=400, rewind_steps=400).theta
    assert float(jnp.linalg.norm(answer.theta - retrained)) <= answer.guarantee.sensitivity
    assert again.guarantee.sensitivity > answer.guarantee.sensitivity
    # the published formula, twice what Rényi's bound of two Gaussians asks of that distance
    sigma = 2 * descent_to_delete_sigma(
        12, known.lipschitz, known.smoothness, known.strong_convexity, 60, *BUDGET.values()
    )
    assert answer.guarantee.sigma == pytest.approx(sigma, rel=1e-9)
    spread = math.sqrt(math.log(1e5) + 1.0) - math.sqrt(math.log(1e5))
    assert answer.guarantee.sigma == pytest.approx(2 * answer.guarantee.sensitivity / (math.sqrt(2) * spread), rel=1e-9)
    assert gaussian_delta(answer.guarantee.sensitivity, answer.guarantee.sigma, 1.0) < 1e-5


def test_strong_convexity_is_none_where_columns_depend_on_each_other():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20, 3))
    x = np.column_stack([x, x @ [1.0, 2.0, 3.0]])
    problem = Problem(LinearRegression(), Dataset(x, rng.standard_normal(20)), delete=0)
    assert estimate_constants(problem, radius=1.0).strong_convexity == 0.0


# Certified removal, for every noise vector ----------------------------------------------------------------------------


def test_the_removal_changes_the_law_of_the_noise_by_no_more_than_is_proven():
    """T(b) = −∇R⁻(F(θ_b)): its shift and the logarithm of its volume, by automatic differentiation, for many b."""
    tightest = np.zeros(2)
    for seed, ridge in ((0, 16.0), (1, 60.0)):
        rng = np.random.default_rng(seed)
        x = 1.5 * rng.standard_normal((12, 2))
        far = int(np.argmax(np.linalg.norm(x, axis=1)))
        y = (x[:, 0] + rng.standard_normal(12) > 0).astype(int)
        problem = Problem(LogisticRegression(), Dataset(x, y), delete=0, ridge=ridge)
        alive, after = jnp.ones(12), jnp.ones(12).at[far].set(0.0)
        (shift,), (volume,) = worst_case(problem, np.array([[far]]), ridge)
        assert 0 < volume < 1

        def effective(b, problem=problem, alive=alive, after=after):
            theta, _, _ = _minimum(problem, alive, b)
            moved, _, _ = _remove(problem, theta, b, alive, after, LOGISTIC_LIPSCHITZ)
            return -jax.grad(problem.weighted_risk)(moved, after)

        draws = jnp.asarray(rng.standard_normal((25, 2)) * rng.uniform(0, 40, (25, 1)))
        shifts = jnp.linalg.norm(draws - jax.lax.map(effective, draws), axis=1)
        volumes = jax.lax.map(lambda b: jnp.linalg.slogdet(_jacobian(effective, b))[1], draws)
        assert float(shifts.max()) <= shift
        assert float(jnp.abs(volumes).max()) <= volume
        tightest = np.maximum(tightest, [float(shifts.max()) / shift, float(jnp.abs(volumes).max()) / volume])
        # DT = (I + E H₋⁻¹)(I − M H⁻¹), worked out in NumPy
        theta, keep = np.asarray(_minimum(problem, alive, draws[0])[0]), np.arange(12) != far
        p = 1 / (1 + np.exp(-x @ theta))
        step = np.linalg.solve(
            (x[keep].T * (p * (1 - p))[keep]) @ x[keep] + ridge * np.eye(2), x[far] * (p[far] - y[far])
        )
        q = 1 / (1 + np.exp(-x @ (theta + step)))

        def matrix(bend, rows, x=x):
            return (x[rows].T * bend[rows]) @ x[rows]

        rest, full = (matrix(p * (1 - p), rows) + ridge * np.eye(2) for rows in (keep, np.arange(12)))
        change = matrix(q * (1 - q) - p * (1 - p), keep)
        third = matrix(p * (1 - p) * (1 - 2 * p) * (x @ step), keep)
        exact = (np.eye(2) + change @ np.linalg.inv(rest)) @ (np.eye(2) - third @ np.linalg.inv(full))
        np.testing.assert_allclose(_jacobian(effective, draws[0]), exact, atol=1e-8)
    assert tightest[0] > 0.05  # bounds that could be violated
    assert tightest[1] > 0.005
    assert (worst_case(random_ols(ridge=0.1).problem, np.array([[0]]), 0.1)[0] == 0).all()


def _minimum(problem, weights, b):
    from homotopy.unlearning._convex import weighted_minimum

    return weighted_minimum(problem, weights, jnp.zeros(2), b)


def _jacobian(function, b, h=1e-5):
    return jnp.stack([(function(b + h * e) - function(b - h * e)) / (2 * h) for e in jnp.eye(2)], axis=1)


def test_the_tail_of_the_privacy_loss_is_that_of_the_noise():
    dim, sigma, shift, volume, epsilon = 4, 2.0, 0.3, 0.2, 1.0
    radius = (sigma**2 * (epsilon - volume) - shift**2 / 2) / shift
    assert tail(shift, volume, sigma, epsilon, dim) == pytest.approx(chi2.sf((radius / sigma) ** 2, dim), rel=1e-9)
    # never less than a shift that does not depend on b would take
    assert tail(shift, 0.0, sigma, epsilon, dim) >= gaussian_delta(shift, sigma, epsilon)
    assert tail(0.0, 0.5, sigma, 0.4, dim) == 1.0
    assert tail(0.0, 0.0, sigma, 0.4, dim) == 0.0


def test_the_ridge_that_is_advised_does():
    weak = removed(strong(ridge=0.5))
    ridge = float(weak.guarantee.unmet[0].split("a ridge of ")[1].split(" ")[0])
    assert removed(strong(ridge=ridge)).guarantee.holds
    assert not removed(strong(ridge=0.7 * ridge)).guarantee.holds


def test_training_that_does_not_arrive_is_an_error(monkeypatch):
    assert _train(strong(), jnp.ones(30), jnp.zeros(3), jnp.zeros(3))[1] < 1e-10
    monkeypatch.setattr(_certified, "_solve", lambda *_: (jnp.zeros(3), jnp.asarray(0.0), jnp.asarray(False)))
    with pytest.raises(WorkError, match="did not reach its minimum"):
        removed()


# Solvers that stop without an answer ----------------------------------------------------------------------------------


def _cases():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((30, 3))
    apart, mixed = (x[:, 0] > 0).astype(int), (x[:, 0] + rng.standard_normal(30) > 0).astype(int)
    softmax = Problem(LogisticRegression(), Dataset(x, np.arange(30) % 3), delete=0, loss=CrossEntropyLoss())
    return {
        "separable": (Problem(LogisticRegression(), Dataset(x, apart), delete=0), np.ones(30), ZERO),
        "separable, far away": (
            Problem(LogisticRegression(), Dataset(x, apart), delete=0),
            np.ones(30),
            [1e4, 0.0, 0.0],
        ),
        "n < d": (Problem(LinearRegression(), Dataset(x[:2], x[:2, 0]), delete=0), np.ones(2), ZERO),
        "shifts of softmax": (softmax, np.ones(30), np.zeros(9)),
        "no weight at all": (Problem(LogisticRegression(), Dataset(x, mixed), delete=0), np.zeros(30), ZERO),
        "unbounded below": (Problem(LinearRegression(), Dataset(x, x[:, 0]), delete=0), -np.ones(30), ZERO),
    }


@pytest.mark.parametrize("name", _cases())
def test_a_weighted_minimum_that_does_not_exist_is_not_returned(name):
    problem, weights, start = _cases()[name]
    with pytest.raises(WorkError, match="no unique minimum"):
        solve_weighted(problem, weights, start)
    traced = jax.jit(lambda w: solve_weighted(problem, w, jnp.asarray(start)))(jnp.asarray(weights))
    assert np.isnan(traced[0]).all()
    assert np.isnan(traced[1])


@pytest.mark.parametrize("power", [-8, -3, 3, 8])
def test_a_weighted_minimum_does_not_depend_on_units(power):
    rng = np.random.default_rng(1)
    x = np.column_stack([np.ones(30), rng.standard_normal((30, 2))])
    y = (x[:, 1] + rng.standard_normal(30) > 0).astype(int)
    units = np.array([1.0, 10.0**power, 1.0])
    plain, scaled = (Problem(LogisticRegression(), Dataset(z, y), delete=0) for z in (x, x * units))
    weights = rng.uniform(0, 2, 30)
    theta, other = (np.asarray(solve_weighted(p, weights, ZERO)[0]) for p in (plain, scaled))
    np.testing.assert_allclose(other * units, theta, rtol=1e-9)
    year = np.arange(1990.0, 2020.0)
    z = np.column_stack([np.ones(30), year, year**2])
    target = 0.5 * (year - 2005) ** 2 + rng.standard_normal(30)
    found = solve_weighted(Problem(LinearRegression(), Dataset(z, target), delete=0), np.ones(30), ZERO)[0]
    norms = np.linalg.norm(z, axis=0)
    exact = z @ (np.linalg.lstsq(z / norms, target, rcond=None)[0] / norms)
    np.testing.assert_allclose(z @ np.asarray(found), exact, atol=1e-6)


def test_sequences_say_why_they_have_no_bound():
    problem = logistic()
    options = {"step": STEP, "train_steps": 40, "unlearn_steps": 10}
    good = delete_in_sequence(problem, ZERO, [0, 1], **options)
    assert not good.unmet
    assert "no bound" not in str(good)
    for more, words in (
        ({"constants": estimate_constants(problem.deleting([0]))}, "deleted"),
        ({"constants": handwritten()}, "by hand"),
        ({"batch_size": 3, "step": 0.01}, "mini-batches"),
    ):
        for algorithm in ("descend", "rewind"):
            found = delete_in_sequence(problem, ZERO, [0, 1], **{**options, "algorithm": algorithm, **more})
            assert words in " ".join(found.unmet)
            assert "no bound" in str(found)


def test_pure_formulas_refuse_constants_of_another_problem():
    problem, rows = logistic(), mini_batches(0, 12, 10, 3)
    foreign = estimate_constants(other_data(), per_point=True)
    with pytest.raises(RequestError, match="another problem"):
        coupled_sensitivity(problem, rows, foreign, step=1e-3, rewind_steps=5)
    with pytest.raises(RequestError, match="2/smoothness"):
        coupled_sensitivity(problem, rows, estimate_constants(problem, per_point=True), step=10.0, rewind_steps=5)
    options = {"step": 0.01, "train_steps": 10, "unlearn_steps": 5, **BUDGET}
    for known in (estimate_constants(other_data()), Constants(1.0, 1.0, 0.1, math.inf, True, "by hand")):
        with pytest.raises(RequestError, match="very problem"):
            langevin_temperature(problem, known, **options)
