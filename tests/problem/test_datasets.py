"""Data sets: validation, the synthetic and the real ones, and the user's own tables, faults named by place."""

import numpy as np
import pytest

from homotopy import Dataset, RequestError, datasets


def refusal(function, *arguments, **options) -> str:
    with pytest.raises(RequestError) as error:
        function(*arguments, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("x", "y", "says"),
    [
        (np.ones(3), np.ones(3), "for one feature use x[:, None]"),
        (np.ones((3, 2)), np.ones((3, 1, 1)), "y must have shape (n,) or (n, outputs)"),
        (np.ones((3, 2)), np.ones(4), "x has 3 rows and y has 4"),
        (np.ones((1, 2)), np.ones(1), "at least 2 points, but has 1"),
        (np.ones((3, 0)), np.ones(3), "at least one feature"),
        (np.ones((3, 2)), np.ones((3, 0)), "at least one output"),
        ([[1.0], [np.nan]], [0.0, 1.0], "x must be finite, but x[1, 0] is nan (1 such in all)"),
        ([[1.0], [2.0]], [0.0, np.inf], "y[1] is inf"),
        ([["a"], ["b"]], [0.0, 1.0], "x must hold real numbers, but holds text"),
        ([[1j], [2.0]], [0.0, 1.0], "complex"),
        (np.array([[1.0], [None]]), [0.0, 1.0], "objects"),
    ],
)
def test_bad_data(x, y, says):
    assert says in refusal(Dataset, x, y)


def test_good_data():
    data = Dataset([[1, 2], [3, 4], [5, 6]], [True, False, True], name="three")
    assert (data.n, data.features, data.name) == (3, 2, "three")
    assert data.x.dtype == data.y.dtype == np.float64
    part = data.subset([2, 0])
    np.testing.assert_array_equal(part.x, [[5, 6], [1, 2]])
    np.testing.assert_array_equal(data.subset(np.array([True, False, True])).y, [1, 1])
    assert "rows must be indices or a mask of the 3 points" in refusal(data.subset, [0, 3])
    assert "rows must be" in refusal(data.subset, [0.5, 1.0])


def test_random_linear():
    data = datasets.random_linear(n=50, d=3, noise=0.0, seed=4)
    assert data.x.shape == (50, 3)
    solution, residual, *_ = np.linalg.lstsq(data.x, data.y)
    np.testing.assert_allclose(residual, 0.0, atol=1e-20)
    again, other = datasets.random_linear(n=50, d=3, noise=0.0, seed=4), datasets.random_linear(n=50, d=3, seed=5)
    assert (data.x == again.x).all()
    assert not (data.x == other.x).any()
    del solution


def test_teacher_student():
    data = datasets.teacher_student(n=40, width=3, noise=0.0, seed=1)
    np.testing.assert_allclose(data.y, datasets.teacher(3, 1)(data.x[:, 0]), rtol=1e-14)
    assert (np.diff(data.x[:, 0]) >= 0).all()
    assert np.abs(data.x).max() <= 2
    noisy = datasets.teacher_student(n=400, noise=0.1, seed=1)
    spread = np.std(noisy.y - datasets.teacher(3, 1)(noisy.x[:, 0]))
    assert 0.08 < spread < 0.12


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [
        ("diabetes", (442, 10), None),
        ("wine", (178, 13), 3),
        ("digits", (1797, 64), 10),
        ("stackloss", (21, 3), None),
    ],
)
def test_real_data(name, shape, classes):
    pytest.importorskip("sklearn")
    pytest.importorskip("statsmodels")
    data = datasets.load(name)
    assert data.x.shape == shape
    spread = np.asarray(data.x).std(axis=0)
    np.testing.assert_allclose(np.asarray(data.x).mean(axis=0), 0.0, atol=1e-12)
    assert (np.isclose(spread, 1.0) | (spread == 0.0)).all()
    if classes is None:
        np.testing.assert_allclose([np.mean(data.y), np.std(data.y)], [0.0, 1.0], atol=1e-12)
    else:
        assert set(np.unique(data.y)) == set(range(classes))
    assert (datasets.load(name, intercept=True).x[:, -1] == 1).all()


def test_unknown_data():
    assert "data set must be one of diabetes" in refusal(datasets.load, "mnist")


def test_constant_columns_become_zero():
    """The standard deviation of three times 0.1 is 1e-17, not 0."""
    assert np.full(3, 0.1).std() > 0
    np.testing.assert_array_equal(datasets._standardised(np.array([[0.1, 1.0], [0.1, 2.0], [0.1, 3.0]]))[:, 0], 0.0)


GOOD = "a,b,y\n1,2,3\n4,5,6\n7,8,10\n"


@pytest.fixture
def table(tmp_path):
    def write(text, encoding="utf-8"):
        path = tmp_path / "table.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return write


def test_reading_a_table(table):
    data = datasets.read_csv(table(GOOD), target="y")
    np.testing.assert_array_equal(data.x, [[1, 2], [4, 5], [7, 8]])
    np.testing.assert_array_equal(data.y, [3, 6, 10])
    assert data.name == "table"
    both = datasets.read_csv(table(GOOD), target=["y", "a"])
    np.testing.assert_array_equal(both.y, [[3, 1], [6, 4], [10, 7]])
    np.testing.assert_array_equal(both.x, [[2], [5], [8]])
    chosen = datasets.read_csv(table(GOOD), target="y", features=["b"], intercept=True)
    np.testing.assert_array_equal(chosen.x, [[2, 1], [5, 1], [8, 1]])
    scaled = datasets.read_csv(table(GOOD), target="y", standardise=True, standardise_target=True)
    np.testing.assert_allclose(np.std(scaled.x, axis=0), 1.0)
    np.testing.assert_allclose(np.mean(scaled.y), 0.0, atol=1e-15)


def test_tables_as_spreadsheets_write_them(table):
    expected = datasets.read_csv(table(GOOD), target="y")
    for text in (
        GOOD.replace("\n", "\r\n"),
        "\ufeff" + GOOD,
        GOOD.replace("a,b,y", ' a , "b" ,y'),
        GOOD.replace("4,5,6", "\n4, 5.0 ,6e0"),
        GOOD.rstrip("\n"),
    ):
        data = datasets.read_csv(table(text.replace('"b" ', "b ")), target="y")
        np.testing.assert_array_equal(data.x, expected.x)
    semicolons = datasets.read_csv(table(GOOD.replace(",", ";")), target="y", delimiter=";")
    np.testing.assert_array_equal(semicolons.x, expected.x)
    # A column that is not used may hold anything.
    other = datasets.read_csv(table("name,b,y\nx,2,3\n,5,6\n?,8,10\n"), target="y", features=["b"])
    np.testing.assert_array_equal(other.x[:, 0], [2, 5, 8])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty; its first line must name the columns"),
        ("a,b,y\n1,2\n", "line 2: has 2 cells, but the first line names 3"),
        ("a,b,y\n1,2,3\n\n4,,6\n", "line 4 (row 1), column 'b': the value is missing ('')"),
        ("a,b,y\n1,2,3\n4,NA,6\n", "line 3 (row 1), column 'b': the value is missing ('NA')"),
        ("a,b,y\n1,2,3\n4,red,6\n", "line 3 (row 1), column 'b': 'red' is not a number"),
        ("a,b,y\n1,2,3\n4,inf,6\n", "line 3 (row 1), column 'b': 'inf' is not finite"),
        ("a,a,y\n1,2,3\n", "line 1: the name 'a' is used for columns 1 and 2"),
        ("a,,y\n1,2,3\n", "line 1: column 2 has no name"),
        ("a,b\n1,2\n3,4\n", "there is no column 'y'; the columns are a, b"),
        ("y\n1\n2\n", "no feature is left beside the target"),
        ("a,b,y\n", "at least 2 points, but has 0"),
        ('a,b,y\n"1\n",2,3\n4,5,"6\n"\nx,1,2\n', "line 6 (row 2), column 'a'"),
    ],
)
def test_bad_tables(table, text, says):
    assert says in refusal(datasets.read_csv, table(text), target="y")


def test_bad_requests_for_tables(table, tmp_path):
    path = table(GOOD)
    assert "there is no such file" in refusal(datasets.read_csv, tmp_path / "none.csv", target="y")
    assert "is a folder" in refusal(datasets.read_csv, tmp_path, target="y")
    assert "is not a text file in UTF-8" in refusal(datasets.read_csv, table("é,y\n1,2\n", "latin-1"), target="y")
    path = table(GOOD)
    assert "there is no column 'c'" in refusal(datasets.read_csv, path, target="y", features=["c"])
    assert "not the target, but names 'y'" in refusal(datasets.read_csv, path, target="y", features=["a", "y"])
    assert "once and not the target, but names 'a'" in refusal(datasets.read_csv, path, target="y", features=["a", "a"])
    assert "at least one column" in refusal(datasets.read_csv, path, target=[])
    assert "delimiter must be one character" in refusal(datasets.read_csv, path, target="y", delimiter="tab")
