"""The path θ(ε): closed forms, refits at every ε, folds that are reported, and its straightness."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import problems
import pytest

from homotopy import (
    AbstractModel,
    Dataset,
    LinearRegression,
    LogisticRegression,
    Problem,
    RequestError,
    SquaredLoss,
    WorkError,
)
from homotopy.endpoints import Outcome, Path, influence, leave_one_out, optimum, path
from homotopy.endpoints._straightness import chord_over_arc, largest_deviation

GRID = np.linspace(1.0, 0.0, 9)


def test_least_squares_is_a_straight_segment():
    case = problems.random_ols(n=10, d=3)
    found = path(case.problem, GRID)
    for epsilon, theta in zip(GRID, found.thetas, strict=True):
        np.testing.assert_allclose(theta, case.limit(epsilon), rtol=1e-10, atol=1e-12)
    assert found.straightness == pytest.approx(1.0, abs=1e-12)
    assert found.max_deviation < 1e-10
    eigenvalues = [np.linalg.eigvalsh(case.hessian(e))[0] for e in GRID]
    np.testing.assert_allclose(found.smallest_eigenvalues, eigenvalues, rtol=1e-10)
    assert not found.folded


@pytest.mark.parametrize("make", [problems.logistic, problems.softmax])
def test_convex_paths_equal_refits(make):
    problem = make()
    found = path(problem, GRID)
    for epsilon, theta in zip(GRID, found.thetas, strict=True):
        np.testing.assert_allclose(theta, optimum(problem, epsilon).theta, atol=1e-9)
    assert (found.gradient_norms < 1e-11).all()
    assert found.straightness < 1.0
    # From one end to the other in one request, and back.
    down = path(problem, [1.0, 0.0]).thetas[-1]
    np.testing.assert_allclose(down, leave_one_out(problem).theta, atol=1e-9)
    np.testing.assert_allclose(path(problem, [0.0, 1.0], start=down).thetas[-1], found.thetas[0], atol=1e-9)


def test_along_a_vector_of_weights():
    problem = problems.logistic()  # deletes two points: first one, then the other
    corners = np.array([[1.0, 1.0], [0.0, 1.0], [0.0, 0.0]])
    found = path(problem, corners)
    for corner, theta in zip(corners, found.thetas, strict=True):
        np.testing.assert_allclose(theta, optimum(problem, corner).theta, atol=1e-9)
    np.testing.assert_allclose(found.thetas[-1], path(problem, [1.0, 0.0]).thetas[-1], atol=1e-9)
    one = leave_one_out(problem.deleting(int(problem.delete[0]))).theta
    np.testing.assert_allclose(found.thetas[1], one, atol=1e-9)


def test_a_network_s_path_is_the_retrained_optimum():
    problem = problems.teacher_student(ridge=0.01)
    theta = optimum(problem, start=problem.initial(0)).theta
    found = path(problem, GRID, start=theta)
    assert (found.gradient_norms < 1e-10).all()
    # Independent: the flow at ε = 0.5, from a θ that is off the path but in its basin.
    middle = optimum(problem, 0.5, start=theta + 0.01, method="flow")
    np.testing.assert_allclose(found.thetas[4], middle.theta, atol=1e-8)
    # Its direction at ε = 1 is θ̇(1).
    near = path(problem, [1.0, 1.0 - 1e-6], start=theta).thetas
    np.testing.assert_allclose(
        (near[0] - near[1]) / 1e-6, influence(problem, theta=theta).theta_dot, rtol=1e-3, atol=1e-4
    )


class Well(AbstractModel):
    """f(θ; x) = x₀θ + x₁(θ² − 1) with one parameter: a double well, whose right-hand minimum can vanish."""

    def default_loss(self):
        return SquaredLoss()

    def size(self, features, output_shape):
        return 1

    def predict(self, theta, x, output_shape):
        return x[:, 0] * theta[0] + x[:, 1] * (theta[0] ** 2 - 1.0)

    def initial(self, key, features, output_shape):
        return jnp.ones(1)


def fold_problem():
    # R_ε = ½(θ² − 1)² + ½·0.6(θ + 1)² + ½ε·9(θ − 1)²: without the last term only the left minimum is left.
    tilt = np.sqrt(0.6)
    return Problem(Well(), Dataset([[0.0, 1.0], [tilt, 0.0], [3.0, 0.0]], [0.0, -tilt, 3.0]), delete=2)


def fold_by_hand():
    """R′ = 0 is ε(θ) = (θ+1)(2θ(θ−1)+0.6)/(9(1−θ)); the right-hand branch ends where that is smallest."""
    theta = np.linspace(0.1, 0.95, 2_000_001)
    return np.min((theta + 1) * (2 * theta * (theta - 1) + 0.6) / (9 * (1 - theta)))


def test_a_fold_is_reported_and_never_jumped():
    problem, grid = fold_problem(), np.linspace(1.0, 0.0, 11)
    with pytest.raises(WorkError, match=r"fold near ε = 0\.0"):
        path(problem, grid, start=[0.9])
    found = path(problem, grid, start=[0.9], on_fold="stop")
    assert found.folded
    assert found.outcome[-1] == int(Outcome.FOLD)
    # Near a fold θ ~ √(ε − ε_fold), so a smallest step of 1e-5·0.1 stops about there.
    assert float(found.fold_epsilon) == pytest.approx(fold_by_hand(), abs=1e-4)
    reached = np.isfinite(np.asarray(found.thetas[:, 0]))
    assert reached.sum() == np.sum(grid > fold_by_hand())
    assert (np.asarray(found.thetas)[reached] > 0.3).all()  # the left minimum at −1 is another branch
    assert (np.asarray(found.smallest_eigenvalues)[reached] > 0).all()


def test_a_switch_of_branch_is_counted():
    found = path(fold_problem(), np.linspace(1.0, 0.0, 11), start=[0.9], on_fold="switch")
    assert found.branches[0] == 0
    assert found.branches[-1] == 1
    assert found.thetas[-1, 0] == pytest.approx(-1.0, abs=1e-9)
    assert found.folded
    assert float(found.fold_epsilon) == pytest.approx(fold_by_hand(), abs=1e-4)


def test_a_path_to_infinity_is_no_fold():
    x = np.c_[np.ones(10), [-3.0, -2, -1.5, -1, 2.5, 1, 1.5, 2, 3, 0.5]]
    problem = Problem(LogisticRegression(), Dataset(x, [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]), delete=4)
    with pytest.raises(WorkError, match=r"to infinity before ε = 0\.0, where the classes are separable"):
        path(problem, [1.0, 0.5, 0.0])
    found = path(problem, [1.0, 0.5, 0.0], on_fold="stop")
    assert not found.folded
    assert "infinity" in str(found)
    np.testing.assert_array_equal(found.outcome, [0, 0, int(Outcome.INFINITE)])
    np.testing.assert_allclose(found.thetas[1], optimum(problem, 0.5).theta, rtol=1e-9)


def test_rounding_is_neither():
    rng = np.random.default_rng(0)
    x = np.c_[np.ones(10), rng.standard_normal((10, 1))]
    problem = Problem(
        LinearRegression(), Dataset(np.c_[x, x[:, 1:] + 1e-8 * rng.standard_normal((10, 1))], x[:, 1]), delete=0
    )
    found = path(problem, [1.0, 0.5, 0.0], on_fold="stop")
    assert not found.folded
    assert set(np.asarray(found.outcome).tolist()) <= {
        int(Outcome.CONVERGED),
        int(Outcome.IMPRECISE),
        int(Outcome.NOT_STATIONARY),
    }
    assert np.isfinite(found.thetas[np.asarray(found.outcome) == 0]).all()


def test_straightness_of_known_curves():
    angle = np.linspace(0.0, np.pi, 2001)
    circle = jnp.asarray(np.column_stack([np.cos(angle), np.sin(angle), 0 * angle]))
    assert chord_over_arc(circle) == pytest.approx(2 / np.pi, rel=1e-5)
    assert largest_deviation(circle) == pytest.approx(0.5, rel=1e-5)
    still = jnp.ones((3, 2))
    assert chord_over_arc(still) == 1.0
    assert largest_deviation(still) == 0.0
    assert isinstance(path(problems.random_ols().problem, [1.0]), Path)


def test_it_traces():
    problem = problems.logistic()
    theta = optimum(problem).theta

    @eqx.filter_jit
    @eqx.filter_vmap
    def ends(j):
        return path(problem.deleting(j[None]), jnp.array([1.0, 0.0]), start=theta).thetas[-1]

    found = ends(jnp.arange(3))
    np.testing.assert_allclose(found[1], leave_one_out(problem.deleting(1)).theta, atol=1e-9)


def test_refusals():
    problem = problems.logistic()
    with pytest.raises(RequestError, match=r"\[0, 1\]"):
        path(problem, [1.0, -0.5])
    with pytest.raises(RequestError, match="shape"):
        path(problem, np.ones((3, 3)))
    with pytest.raises(RequestError, match="on_fold"):
        path(problem, [1.0, 0.0], on_fold="jump")
    with pytest.raises(RequestError, match="start="):
        path(problems.teacher_student(), [1.0, 0.0])
