"""Arrays of other libraries: masked, missing, of other types, with indexes and names."""

import jax
import numpy as np
import pytest

from homotopy import MLP, CrossEntropyLoss, Dataset, LinearRegression, LogisticRegression, Problem, RequestError

Y = [1.0, 2.0, 4.0]


def refusal(*arguments, **options) -> str:
    with pytest.raises(RequestError) as error:
        Dataset(*arguments, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_masked_values_are_refused():
    masked = np.ma.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], mask=[[0, 0], [0, 1], [0, 0]])
    assert "x must hold no masked values, but x[1, 1] is masked (1 such in all)" in refusal(masked, Y)
    assert "x[1, 1] is masked" in refusal(list(masked), Y)
    assert "y[2] is masked" in refusal(np.ones((3, 1)), np.ma.masked_greater(Y, 3.0))
    np.testing.assert_array_equal(Dataset(np.ma.array(masked.data), Y).x, masked.data)  # nothing is masked
    data = Dataset(np.ones((3, 2)), Y)
    problem = Problem(LinearRegression(), data, delete=0)
    with pytest.raises(RequestError, match=r"rows must hold no masked values, but rows\[1\] is masked"):
        data.subset(np.ma.masked_equal([0, 2], 2))
    with pytest.raises(RequestError, match="delete must hold no masked values"):
        Problem(LinearRegression(), data, delete=np.ma.masked_equal([0, 2], 2))
    with pytest.raises(RequestError, match="theta0 must hold no masked values"):
        problem.check_theta(np.ma.masked_equal([0.0, 1.0], 1.0))


@pytest.mark.parametrize(
    ("x", "says"),
    [
        (1234567890123456789 + np.arange(3), "x: loses distinct values, 3 of them are 1"),
        (np.array([0, 2**63, 2**63 + 1], dtype=np.uint64), "loses distinct values, 3 of them are 2"),
        (np.longdouble(1) + np.arange(3) * np.finfo(np.longdouble).eps, "loses distinct values"),
        (2**60 + np.array([0, 200, 1000]), "rounding to 64-bit floats"),
    ],
)
def test_numbers_that_floats_cannot_tell_apart_are_refused(x, says):
    if x.dtype == np.longdouble and np.finfo(np.longdouble).eps == np.finfo(float).eps:
        pytest.skip("long floats are ordinary ones here")
    assert says in refusal(x[:, None], Y)
    beside = np.column_stack([np.arange(3, dtype=x.dtype), x])
    assert "x[:, 1]" in refusal(beside, Y)


def test_ragged_rows_are_refused():
    assert "x must hold real numbers, but holds objects (ragged or mixed?)" in refusal([[1.0], [1.0, 2.0], [3.0]], Y)


def test_whole_numbers_among_floats_are_looked_at_before_numpy_rounds_them():
    rows = [[0.5, 1234567890123456789], [1.5, 1234567890123456790], [2.5, 3]]
    assert "x[:, 1]: loses distinct values, 3 of them are 2" in refusal(rows, Y)
    assert Dataset([[0.5, 2**60], [1.5, 1e30], [2.5, 3]], Y).n == 3


def test_long_floats_that_are_no_ordinary_ones_are_refused():
    if np.finfo(np.longdouble).max == np.finfo(float).max:
        pytest.skip("long floats are ordinary ones here")
    assert "must be finite in 64-bit floats, but is as large as 1e+400" in refusal(
        np.array([["1"], ["1e400"], ["2"]], dtype=np.longdouble), Y
    )
    exact = np.array([[1], [0.5], [2.0**-40]], dtype=np.longdouble)
    np.testing.assert_array_equal(Dataset(exact, Y).x, exact.astype(float))


def test_whole_numbers_that_floats_hold_are_kept():
    x = 2**60 + 4096 * np.arange(3)
    np.testing.assert_array_equal(np.asarray(Dataset(x[:, None], Y).x)[:, 0].astype(int), x)


@pytest.mark.parametrize(("size", "says"), [(1e151, "as large as 1e+151: its squares overflow"), (1e-151, "vanish")])
def test_columns_whose_squares_overflow_or_vanish_are_refused(size, says):
    x = np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 0.5]])
    said = refusal(x * [1.0, size], Y, columns=["a", "b"])
    assert "the feature 'b'" in said
    assert says in said
    assert "the target 'y'" in refusal(x, np.array(Y) * size)
    assert "the target 'y1'" in refusal(x, np.column_stack([Y, np.array(Y) * size]))
    # At the bound XᵀX is finite and has its full rank.
    kept = np.asarray(Dataset(x * [1.0, size ** (150 / 151)], Y).x)
    gram = kept.T @ kept
    assert np.isfinite(gram).all()
    assert (np.diag(gram) > 0).all()
    # A small entry beside others is no fault.
    assert Dataset(np.array([[1.0], [1e-200], [0.0]]), Y).n == 3


def test_frames_keep_their_names_and_their_order():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1, 2, 3], "b": [0.5, 1.5, 2.5], "c": [True, False, True]}, index=[7, 8, 9])
    target = pandas.Series(Y, index=[7, 8, 9], name="price")
    data = Dataset(frame, target)
    assert (data.columns, data.targets) == (("a", "b", "c"), ("price",))
    np.testing.assert_array_equal(data.x, [[1, 0.5, 1], [2, 1.5, 0], [3, 2.5, 1]])
    assert data.subset([2, 0]).columns == data.columns
    assert "their indexes are ordered differently; use y.loc[x.index]" in refusal(frame, target.loc[[9, 7, 8]])
    assert "their indexes name different rows" in refusal(frame, target.set_axis([0, 1, 2]))
    np.testing.assert_array_equal(Dataset(frame, target.loc[[9, 7, 8]].loc[frame.index]).y, Y)
    np.testing.assert_array_equal(Dataset(frame, Y).y, Y)  # no index, no order to mistake
    assert "x has 3 rows and y has 2" in refusal(frame, target[:2])
    problem = Problem(LinearRegression(), data, delete=0)
    theta = jax.numpy.array([1.0, 10.0, 100.0])
    np.testing.assert_array_equal(problem.predict(theta, frame[["a", "b", "c"]].astype(float)), problem.predict(theta))
    with pytest.raises(RequestError, match="x must have the columns a, b, c in that order, but has c, b, a"):
        problem.predict(theta, frame[["c", "b", "a"]])
    missing = frame.astype({"a": "Int64"})
    np.testing.assert_array_equal(Dataset(missing, target).x, data.x)
    missing.loc[8, "a"] = pandas.NA
    assert "column 'a' of x must be finite, but row 1 is missing (1 such in all)" in refusal(missing, target)
    assert "row 2 is missing" in refusal(frame, target.where(target < 3))
    assert "column 'd' of x must hold real numbers, but holds text" in refusal(frame.assign(d=["u", "v", "w"]), target)
    assert "column 'd' of x must hold real numbers, but holds dates" in refusal(
        frame.assign(d=pandas.to_datetime(["2020", "2021", "2022"])), target
    )
    assert "column 'id' of x: loses distinct values" in refusal(frame.assign(id=[2**60, 2**60 + 1, 2**60 + 2]), target)
    assert "'a' occurs twice" in refusal(pandas.concat([frame, frame], axis=1), target)


def test_names_are_words_and_never_a_reason_to_compile():
    x = np.arange(6.0).reshape(3, 2)
    first = Dataset(x, Y, name="one", columns=["a", "b"], targets=["price"])
    plain = Dataset(x, Y)
    assert (plain.columns, plain.targets) == (("x0", "x1"), ("y",))
    assert Dataset(x, np.column_stack([Y, Y])).targets == ("y0", "y1")
    traces = []

    @jax.jit
    def total(data):
        traces.append(1)
        return data.x.sum() + data.y.sum()

    for data in (first, plain, Dataset(x, Y, columns=["c", "d"])):
        total(data)
    assert len(traces) == 1
    assert "columns must be 2 names" in refusal(x, Y, columns=["a"])
    assert "columns must be different names, but 'a' occurs twice" in refusal(x, Y, columns=["a", "a"])
    assert "targets must be 1 names" in refusal(x, Y, targets=["a", "b"])


def test_parameters_are_named_after_columns():
    x = np.arange(6.0).reshape(3, 2)
    data = Dataset(x, Y, columns=["a", "b"])
    assert Problem(LinearRegression(), data, delete=0).parameter_names == ("a", "b")
    two = Dataset(x, np.column_stack([Y, Y]), columns=["a", "b"], targets=["u", "v"])
    assert Problem(LinearRegression(), two, delete=0).parameter_names == ("a → u", "a → v", "b → u", "b → v")
    classes = Dataset(x, [0, 1, 2], columns=["a", "b"])
    softmax = Problem(LogisticRegression(), classes, delete=0, loss=CrossEntropyLoss())
    assert softmax.parameter_names[:3] == ("a → class 0", "a → class 1", "a → class 2")
    # The name of a weight says which entry of θ it is: only that neuron's output moves with it.
    problem = Problem(MLP(width=3, depth=2), data, delete=0)
    names = problem.parameter_names
    assert len(names) == problem.dim == len(set(names))
    theta = np.zeros(problem.dim)
    theta[names.index("w1[1, b]")] = 2.0
    theta[names.index("w2[0, 1]")] = 1.0
    theta[names.index("w3[0, 0]")] = 3.0
    theta[names.index("b3[0]")] = 0.5
    np.testing.assert_allclose(problem.predict(theta), 3 * np.tanh(np.tanh(2 * x[:, 1])) + 0.5, rtol=1e-14)
