"""(B + nλI)⁻¹v: every solver against the dense answer, each with an honest residual."""

import re
from contextlib import contextmanager

import jax
import jax.numpy as jnp
import numpy as np
import problems
import pytest

from homotopy import MLP, Dataset, LinearRegression, Problem, RequestError, WorkError
from homotopy._progress import Progress
from homotopy.attribution import truncated_monte_carlo_shapley
from homotopy.endpoints import (
    CG,
    EKFAC,
    GMRES,
    Arnoldi,
    Cholesky,
    Curvature,
    LiSSA,
    SolverWarning,
    influence,
    influence_matrix,
    inverse_memory,
    self_influence,
)
from homotopy.endpoints._inverse import solve_all
from homotopy.endpoints._solvers import solve_rows
from homotopy.endpoints._spectrum import lanczos, nystrom


@pytest.fixture(scope="module")
def curvature():
    problem = problems.vector_network()
    return Curvature(problem, problem.initial(0), 1.0, hessian="gauss-newton", damping=0.05)


@pytest.fixture(scope="module")
def rows(curvature):
    return jnp.asarray(np.random.default_rng(0).standard_normal((2, curvature.theta.shape[0])))


@pytest.mark.parametrize(
    ("solver", "tolerance"),
    [
        (Cholesky(), 1e-13), (CG(), 1e-9), (CG(rank=5), 1e-9), (GMRES(), 1e-9), (LiSSA(steps=3000), 1e-9),
        (Arnoldi(rank=18), 1e-9),
    ],
)  # fmt: skip
def test_exact_solvers(curvature, rows, solver, tolerance):
    exact = np.linalg.solve(np.asarray(curvature.matrix()), np.asarray(rows).T).T
    found = solve_all(curvature, rows, solver)
    np.testing.assert_allclose(found.x, exact, rtol=0, atol=tolerance * np.abs(exact).max())
    assert (np.asarray(found.residual) <= 10 * tolerance).all()


@pytest.mark.parametrize("solver", [LiSSA(steps=5), CG(max_steps=2), Arnoldi(rank=3, steps=5), EKFAC()])
def test_inexact_answers_confess(curvature, rows, solver):
    found = solve_all(curvature, rows, solver)
    expected = np.asarray(rows) - np.asarray(found.x) @ np.asarray(curvature.matrix())
    expected = np.linalg.norm(expected, axis=1) / np.linalg.norm(rows, axis=1)
    np.testing.assert_allclose(found.residual, expected, rtol=1e-6)
    assert (np.asarray(found.residual) > 1e-4).all()


def test_low_rank_takes_the_best_step_beyond_its_eigenvectors(curvature, rows):
    matrix, damping = np.asarray(curvature.matrix()), float(curvature.shift)
    values, vectors = np.linalg.eigh(matrix)
    top = vectors[:, -4:]
    for row, x in zip(np.asarray(rows), np.asarray(solve_all(curvature, rows, Arnoldi(rank=4)).x), strict=True):
        exact = np.linalg.solve(matrix, row)
        inside = top @ (top.T @ row / values[-4:])
        rest = row - top @ (top.T @ row)

        def error(x, exact=exact):
            return (x - exact) @ matrix @ (x - exact)

        best = min(error(inside + alpha * rest) for alpha in np.linspace(0, 1, 2001) / damping)
        assert error(x) <= best * (1 + 1e-6)
        assert error(x) < 0.9 * error(inside + rest / damping)  # what B = 0 there would give


def test_stochastic_lissa_comes_close(curvature, rows):
    found = solve_all(curvature, rows[:1], LiSSA(steps=6000, batch_size=3))
    assert found.residual[0] < 0.15
    everything = jnp.arange(curvature.problem.n)
    np.testing.assert_allclose(
        curvature.sampled_product(rows[0], everything), curvature.product(rows[0]), rtol=1e-10, atol=1e-12
    )


def test_sampled_products_of_the_exact_hessian():
    problem = problems.logistic()
    curvature = Curvature(problem, problem.initial(0) + 0.3, 0.0, damping=0.1)
    v = jnp.arange(1.0, 1.0 + problem.dim)
    np.testing.assert_allclose(curvature.sampled_product(v, jnp.arange(problem.n)), curvature.product(v), rtol=1e-12)
    np.testing.assert_allclose(curvature.matrix() @ v, curvature.product(v), rtol=1e-12)


def test_gmres_solves_an_indefinite_system():
    problem = problems.teacher_student()
    theta = problem.initial(3)
    curvature = Curvature(problem, theta, 1.0)
    matrix = np.asarray(curvature.matrix())
    assert np.linalg.eigvalsh(matrix)[0] < -1e-3
    v = problem.deleted_gradient(theta)
    found = solve_all(curvature, v[None], GMRES(rtol=1e-12))
    assert found.residual[0] < 1e-7
    np.testing.assert_allclose(matrix @ np.asarray(found.x[0]), v, atol=1e-6)


def test_spectrum(curvature):
    matrix = np.asarray(curvature.matrix()) - float(curvature.shift) * np.eye(curvature.theta.shape[0])
    exact = np.linalg.eigvalsh(matrix)
    values, vectors = lanczos(curvature, 18)
    np.testing.assert_allclose(values, exact, atol=1e-10 * exact[-1])
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(18), atol=1e-12)
    values, vectors = nystrom(curvature, 18)
    np.testing.assert_allclose((vectors * values[None]) @ vectors.T, matrix, atol=1e-7 * exact[-1])


def test_ekfac_keeps_the_exact_diagonal_in_its_basis(curvature):
    problem, theta = curvature.problem, curvature.theta
    full = np.asarray(problem.gauss_newton(theta)) - float(problem.ridge) * np.eye(problem.dim)
    blocks = jax.tree.map(np.asarray, EKFAC().prepare(curvature))
    at = 0
    for left, right, spectrum in blocks:
        out, width = spectrum.shape[0], spectrum.shape[1] - 1
        # θ lists the weights row by row, then the biases; the Kronecker basis lists each row with its bias.
        weights = at + np.arange(out * width).reshape(out, width)
        biases = at + out * width + np.arange(out)
        order = np.column_stack([weights, biases]).ravel()
        block = full[np.ix_(order, order)]
        basis = np.kron(left, right)
        np.testing.assert_allclose(np.diag(basis.T @ block @ basis).reshape(spectrum.shape), spectrum, atol=1e-11)
        at += out * (width + 1)
    assert at == problem.dim


def test_matrix_free_memory_is_linear_in_the_parameters():
    """Working memory over that of θ at 10⁵ and 10⁶ parameters, and one CG solve at 10⁵."""
    rng = np.random.default_rng(0)

    def make(features):
        data = Dataset(rng.standard_normal((4, features)), rng.standard_normal(4))
        problem = Problem(MLP(width=100), data, delete=0)
        return problem, problem.initial(0)

    small, large = make(1_000), make(10_000)
    assert small[0].dim > 1e5
    assert large[0].dim > 1e6
    ratios = [inverse_memory(*case, LiSSA(steps=50))["ratio"] for case in (small, large)]
    assert max(ratios) < 60
    assert ratios[1] < 1.5 * ratios[0]
    found = influence(small[0], theta=small[1], hessian="gauss-newton", damping=0.1, solver="cg")
    assert found.residual < 1e-8
    # The dense matrix takes dim² numbers: the same account must see that.
    dense = inverse_memory(*make(3), "cholesky")
    assert dense["ratio"] >= dense["dim"]


def test_progress_can_be_shown(capsys):
    problem = problems.logistic()
    watch = _Watch()
    plain, shown, own = (influence(problem, solver="cg", progress=seen).theta_dot for seen in (False, True, watch))
    np.testing.assert_allclose(plain, shown, rtol=1e-12)
    np.testing.assert_allclose(plain, own, rtol=1e-12)
    self_influence(problem, solver="cg", progress=watch)
    truncated_monte_carlo_shapley(lambda mask: mask.sum(), 3, permutations=6, batch_size=2, progress=watch)
    assert watch.seen == [("influence", None, 0), ("influence", None, 0), ("TMC-Shapley", 3, 3)]
    with pytest.raises(RequestError, match="progress must be True, False or a Progress"):
        influence(problem, solver="cg", progress="yes")


class _Watch(Progress):
    """Keeps what it is told: every task with its total and the steps that were made."""

    def __init__(self):
        super().__init__(shown=False)
        self.seen = []

    @contextmanager
    def task(self, description, total=None):
        steps = []
        yield lambda count=1: steps.append(count)
        self.seen.append((description, total, sum(steps)))


def test_refusals():
    problem = problems.logistic()
    with pytest.raises(RequestError, match="solver must be one of"):
        influence(problem, solver="magic")
    with pytest.raises(RequestError, match="MLP"):
        influence(problem, solver="ekfac")
    wide = Problem(MLP(width=2000), problems.random_ols().problem.data, delete=0)
    with pytest.raises(RequestError, match="dense"):
        influence(wide, theta=wide.initial(0), hessian="gauss-newton", damping=0.1)


def test_lissa_refuses_an_indefinite_matrix_and_the_damping_it_names_will_do():
    problem = problems.teacher_student()
    theta = problem.initial(3)
    matrix = np.asarray(problem.hessian(theta))
    lowest = np.linalg.eigvalsh(matrix)[0]
    assert lowest < -1e-3
    vectors = np.random.default_rng(0).standard_normal((1, problem.dim))
    curvature = Curvature(problem, theta)
    with pytest.raises(
        WorkError, match=r"indefinite: an eigenvalue is at most -.*; try damping=(.*) or more"
    ) as caught:
        solve_rows(curvature, jnp.asarray(vectors), "lissa")
    damping = float(re.search(r"damping=(\S+) or more", str(caught.value))[1])
    assert problem.n * damping > -lowest
    damped = Curvature(problem, theta, damping=damping)
    found = solve_rows(damped, jnp.asarray(vectors), LiSSA(steps=20_000))
    exact = np.linalg.solve(matrix + problem.n * damping * np.eye(problem.dim), vectors[0])
    np.testing.assert_allclose(found.x[0], exact, rtol=1e-3, atol=1e-3 * np.abs(exact).max())


def test_lissa_that_must_diverge_or_did_is_refused():
    linear = problems.random_ols(n=20, d=3)
    curvature = Curvature(linear.problem, jnp.zeros(3))
    vectors, largest = jnp.ones((1, 3)), np.linalg.eigvalsh(linear.hessian())[-1]
    for share in (0.1, 0.45):
        with pytest.raises(RequestError, match="scale must be above half of the largest eigenvalue"):
            solve_rows(curvature, vectors, LiSSA(scale=share * largest))
    assert float(solve_rows(curvature, vectors, LiSSA(scale=0.7 * largest)).residual[0]) < 1e-6
    # One point carries the curvature: whenever a batch of one draws it, the iterate is multiplied.
    x = np.concatenate([[[10.0, 0.0]], 0.1 * np.random.default_rng(0).standard_normal((99, 2))])
    outlier = Problem(LinearRegression(), Dataset(x, np.ones(100)), delete=0)
    with pytest.raises(WorkError, match="LiSSA diverged: the residual of the influence is"):
        solve_rows(Curvature(outlier, jnp.zeros(2)), jnp.ones((1, 2)), LiSSA(batch_size=1, scale=60.0))


@pytest.mark.parametrize("solver", [LiSSA(steps=2), CG(max_steps=1)])
def test_answers_without_a_residual_say_where_they_fall_short(solver):
    problem = problems.random_ols(n=12, d=3).problem
    with pytest.warns(SolverWarning, match=r"did not reach the answer for \d+ of 12 right-hand sides"):
        self_influence(problem, solver=solver)
    exact = influence_matrix(problem)
    np.testing.assert_allclose(influence_matrix(problem, solver="cg"), exact, rtol=1e-7, atol=1e-9)
