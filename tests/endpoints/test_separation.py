"""Whether a classification risk has a minimiser: the linear programme, its margin, and the exact check of its answer."""

import numpy as np
import pytest

from homotopy import CrossEntropyLoss, Dataset, LogisticRegression, Problem, RequestError, WorkError
from homotopy.endpoints import leave_one_out, optimum
from homotopy.endpoints._endpoint import Outcome
from homotopy.endpoints._separation import separation


def classifier(x, y, **options):
    return Problem(LogisticRegression(), Dataset(x, y), delete=0, **options)


def two_classes(gap, units=(1.0, 1.0)):
    """Classes on a line with an intercept; `gap` > 0 is between them, < 0 is how far they overlap."""
    x = np.array([-3.0, -2, -1, -gap, 0, 1, 2, 3])
    x = np.sort(x) if gap >= 0 else x
    return np.c_[np.ones(8), x] * units, np.array([0, 0, 0, 0, 1, 1, 1, 1])


@pytest.mark.parametrize("units", [(1.0, 1.0), (1e5, 1e-8), (1e-8, 1e8)])
@pytest.mark.parametrize("gap", [1e-3, 1e-7, 1e-9, 0.0, -1e-9, -1e-7, -1e-3])
def test_a_tiny_gap_or_overlap_decides(gap, units):
    found = separation(classifier(*two_classes(gap, units)))
    assert found.separable == (gap >= 0)
    # Best: a threshold in the middle of the gap, the smallest margin gap/2, the mean of the four distances 1.5 + gap/8 …
    x, y = two_classes(gap)
    theta = np.array([gap / 2, 1.0])
    margins = (x @ theta) * (2 * y - 1)
    assert found.margin == pytest.approx(margins.min() / margins.mean(), rel=1e-3, abs=2e-10)


def test_many_columns_and_a_far_origin():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 8))
    normal = rng.standard_normal(8)
    y = (x @ normal > 0).astype(int)
    far = np.c_[np.ones(60), 1e6 + x]  # collinear with the constant to six digits
    assert separation(classifier(far, y)).separable
    worst = np.argmin(np.abs(x @ normal))
    wrong = np.where(np.arange(60) == np.argmax(x @ normal), 0, y)
    found = separation(classifier(far, wrong))
    assert not found.separable
    assert found.margin < -0.1
    twice = np.r_[far, far[[worst]]]  # one point with both labels, everything else apart: touching
    touching = separation(classifier(twice, np.r_[y, 1 - y[worst]]))
    assert not touching.separable or touching.margin == pytest.approx(0.0, abs=1e-9)


def test_touching_on_a_plane_that_floats_miss():
    # Every point with x₁ + 3x₂ = 0.1·k on the plane itself carries both labels; its rows vanish exactly, or not at all.
    plane = np.array([[3.0, -1.0], [-6.0, 2.0], [0.75, -0.25]]) / 7
    apart = np.array([[1.0, 1.0], [0.3, 0.1], [-1.0, 0.2], [-0.4, -0.5]])
    x = np.r_[plane, plane, apart]
    y = np.r_[0, 0, 0, 1, 1, 1, 1, 1, 0, 0]
    found = separation(classifier(x, y))
    exactly = np.linalg.matrix_rank(plane) == 1 and all(a * 1.0 == -3.0 * b for a, b in plane)
    assert found.separable == exactly
    assert found.margin == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("gap", [1e-7, -1e-1])
def test_three_classes(gap):
    x = np.array([-3.0, -2, -1 - gap, -1, 0, 1, 1 + gap, 2, 3])
    y = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2])
    problem = classifier(np.c_[np.ones(9), x], y, loss=CrossEntropyLoss())
    assert separation(problem).separable == (gap > 0)
    found = optimum(problem, throw=False)
    if gap > 0:
        assert found.outcome == int(Outcome.SEPARABLE)
        assert not found.converged
    else:  # without a ridge a minimum up to shifts of all classes
        assert found.converged
        assert not found.isolated
        shift = np.asarray(found.theta).reshape(2, 3).sum(axis=1)
        np.testing.assert_allclose(shift, 0.0, atol=1e-10)


def test_endpoints_say_which():
    x, y = two_classes(1e-3)
    with pytest.raises(WorkError, match=r"separable .* margin is .* ridge"):
        optimum(classifier(x, y))
    assert optimum(classifier(x, y), throw=False).outcome == int(Outcome.SEPARABLE)
    assert optimum(classifier(*two_classes(-0.5))).converged
    for loss, labels, name in ((None, np.ones(8), "class 0"), (CrossEntropyLoss(), 2 * y, "class 1")):
        with pytest.raises(RequestError, match=f"no point of {name}"):
            optimum(classifier(x, labels, loss=loss))
        found = optimum(classifier(x, labels, loss=loss), throw=False)
        assert found.outcome == int(Outcome.MISSING_CLASS)
        assert "without points" in str(found)
        assert optimum(classifier(x, labels, loss=loss, ridge=1.0)).converged
    with pytest.raises(RequestError, match="empties class 1"):
        leave_one_out(classifier(x, np.r_[1, 0, 0, 0, 0, 0, 0, 0]))
