"""Tables as people bring them: every number is read as it is written, or refused with what would be right."""

import gzip
import io
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from homotopy import RequestError, datasets
from homotopy._numbers import complaint, is_number


@pytest.fixture
def table(tmp_path):
    def write(text, encoding="utf-8", name="table.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
        return path

    return write


def refusal(path, target="y", **options) -> str:
    with pytest.raises(RequestError) as error:
        datasets.read_csv(path, target=target, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


GOOD = "a,b,y\n1,2,3\n4,5,6\n7,8,10\n"


@pytest.mark.parametrize("text", ["1", "-1.5", "+.5", "5.", "1e3", "1.5E-07", "00012"])
def test_numbers(text):
    assert is_number(text)
    assert not complaint(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1_4", "holds '_' between digits; write 14"),
        ("1_000", "write 1000"),
        ("٣", "is not written in the characters 0–9, + and -; write 3"),
        ("１２", "write 12"),
        ("−5", "write -5"),
        ("1,5", "has a decimal comma; write 1.5"),
        ("-12,75", "has a decimal comma; write -12.75"),
        ("1,234", "write 1234 if it separates thousands, 1.234 if it is a decimal comma"),
        ("1,234,567", "has thousands separators; write 1234567"),
        ("1,234,567.5", "has thousands separators; write 1234567.5"),
        ("1.234.567", "has thousands separators; write 1234567"),
        ("1.234,56", "has thousands separators; write 1234.56"),
        ("1 234", "holds a blank between digits; write 1234"),
        ("1\u00a0234", "write 1234"),
        ("1'234.5", "write 1234.5"),
        ("12 %", "holds a unit; write the number alone, 12"),
        ("$1,234.50", "holds a unit"),
        ("inf", "is not finite"),
        ("-Infinity", "is not finite"),
        ("red", ""),
        ("2020-01-01", ""),
        ("e5", ""),
        ("1-2", ""),
    ],
)
def test_what_is_meant_as_a_number_is_told_how_to_be_one(text, says):
    assert not is_number(text)
    assert says in complaint(text)
    assert bool(says) == bool(complaint(text))


def test_a_loose_number_is_refused_by_place(table):
    said = refusal(table("a;b;y\n1;2;3\n4;1_4;6\n"))
    assert "line 3 (row 1), column 'b': '1_4' holds '_' between digits; write 14" in said
    assert "'1e400' is not finite in 64-bit floats" in refusal(table("a,y\n1,2\n1e400,3\n"))
    assert "1e-400 is too small for a 64-bit float" in refusal(table("a,y\n1,2\n1e-400,3\n"))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (
            [1234567890123456789 + k for k in range(30)],
            "column 'id': loses distinct values, 30 of them are 1 in 64-bit",
        ),
        ([1700000000000000000 + 100 * k for k in range(30)], "loses distinct values"),  # nanosecond stamps
        ([1700000000000000000 + 512 * k + 100 for k in range(30)], "rounding to 64-bit floats"),  # distinct, but moved
        (["0.12345678901234567890", "0.12345678901234567891", "0.5"], "loses distinct values, 3 of them are 2"),
    ],
)
def test_a_column_that_floats_cannot_hold_is_refused_by_name(table, values, says):
    path = table("id,b,y\n" + "".join(f"{value},{k},{k * k}\n" for k, value in enumerate(values)))
    for standardise in (False, True):
        said = refusal(path, standardise=standardise)
        assert says in said
        assert "column 'id'" in said
    assert datasets.read_csv(path, target="y", features=["b"]).columns == ("b",)


def test_large_and_precise_columns_that_floats_can_hold_are_kept(table):
    stamps = [1700000000000000000 + 3_600_000_000_000 * k for k in range(30)]  # hours, in nanoseconds
    path = table("stamp,y\n" + "".join(f"{stamp},{k}\n" for k, stamp in enumerate(stamps)))
    data = datasets.read_csv(path, target="y", standardise=True)
    hours = np.arange(30.0)
    np.testing.assert_allclose(data.x[:, 0], (hours - hours.mean()) / hours.std(), rtol=1e-9)
    for step in (256, 1024):  # whole multiples of what floats resolve there: exact, though the mean is not
        path = table("stamp,y\n" + "".join(f"{1700000000000000000 + step * k},{k}\n" for k in range(30)))
        data = datasets.read_csv(path, target="y", standardise=True)
        np.testing.assert_allclose(data.x[:, 0], (hours - hours.mean()) / hours.std(), rtol=1e-12)
    repeated = datasets.read_csv(table("a,y\n1.50,1\n1.5,2\n15e-1,3\n0,4\n-0.0,5\n"), target="y")
    np.testing.assert_array_equal(repeated.x[:, 0], [1.5, 1.5, 1.5, 0, 0])


@pytest.mark.parametrize(
    ("mark", "word"), [(",", "commas"), (";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")]
)
def test_the_separator_is_found_and_told(table, mark, word):
    path = table(GOOD.replace(",", mark))
    data, told = datasets.read_csv_told(path, target="y")
    np.testing.assert_array_equal(data.x, [[1, 2], [4, 5], [7, 8]])
    assert told == [f"{path}: 3 rows, 3 columns separated by {word}"]
    np.testing.assert_array_equal(datasets.read_csv(path, target="y", delimiter=mark).x, data.x)


def test_the_separator_holds_the_target_and_agrees_on_every_line(table):
    text = 'size, cm;"weight; kg";y\n1;2;3\n4;5;6\n'  # both ; and , occur in the names
    assert datasets.read_csv(table(text), target="y").columns == ("size, cm", "weight; kg")
    assert "may be separated by commas or by semicolons; say which" in refusal(table("a,b;c\n1,2;3\n4,5;7\n"), "z")
    assert "'1,5' has a decimal comma; write 1.5" in refusal(table("a;y\n1,5;2\n3;4\n"))
    said = refusal(table("a,b,y\n1,5,2,3\n1,2,3\n"))
    assert "line 2: has 4 cells, but the first line names 3 (separated by commas); a comma inside a cell" in said
    assert "the columns are a;b;y (separated by commas); if semicolons separate them" in refusal(
        table(GOOD.replace(",", ";")), delimiter=","
    )
    said = refusal(table("a b y\n1 2 3\n4 5 6\n"))
    assert "if blanks (--delimiter blank) separate them" in said
    assert datasets.read_csv(table("a b y\n1 2 3\n4 5 6\n"), target="y", delimiter=" ").columns == ("a", "b")
    for bad in ("", ";;", "1", '"', "."):
        assert "delimiter must be one character" in refusal(table(GOOD), delimiter=bad)
    assert "a quotation mark is opened and never closed" in refusal(table('a,y\n"1,2\n3,4\n'), delimiter=",")


def test_encodings_are_named(table):
    latin = table("größe,y\n1,2\n3,4\n", "latin-1")
    said = refusal(latin)
    assert "line 1 holds the byte 0xf6, which is 'ö' in Latin-1" in said
    assert "say encoding='latin-1' (--encoding latin-1)" in said
    assert datasets.read_csv(latin, target="y", encoding="latin-1").columns == ("größe",)
    assert "which is '€' in Windows-1252; if that is right, say encoding='cp1252'" in refusal(
        table("preis in €,y\n1,2\n3,4\n", "cp1252")
    )
    wide = table(GOOD, "utf-16")
    assert "is written in UTF-16, as its first two bytes say" in refusal(wide)
    assert datasets.read_csv(wide, target="y", encoding="utf-16").n == 3
    assert "holds null characters" in refusal(table(GOOD, "utf-16-le"))
    assert "is not written in ascii: line 1 holds the byte 0xc3" in refusal(table("größe,y\n1,2\n"), encoding="ascii")
    for bad in ("utf-99", "hex", ""):
        assert "encoding must name a text encoding" in refusal(table(GOOD), encoding=bad)


def test_compressed_files_and_standard_input(table, monkeypatch):
    packed = gzip.compress(GOOD.encode())
    data = datasets.read_csv(table(packed, name="sales.csv.gz"), target="y")
    np.testing.assert_array_equal(data.y, [3, 6, 10])
    assert data.name == "sales"
    for raw in (packed, GOOD.encode()):
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(raw)))
        data, told = datasets.read_csv_told("-", target="y")
        np.testing.assert_array_equal(data.y, [3, 6, 10])
        assert data.name == "stdin"
        assert told[0].startswith("standard input: 3 rows")
    assert (
        len(refusal(table(GOOD * 90, name="wide.csv"), encoding="utf-16")) < 400
    )  # letters of no language, in one line
    monkeypatch.setattr("sys.stdin", None)  # closed by the shell: `<&-`
    assert refusal("-") == "standard input: is closed; give it a table, or name a file"
    assert "is a damaged gzip file" in refusal(table(packed[:-6], name="cut.csv.gz"))
    assert "is a ZIP archive or an Excel workbook, not text" in refusal(table(b"PK\x03\x04rest", name="book.xlsx"))


def test_text_becomes_columns_of_its_levels_but_one(table):
    path = table("colour,a,kind,y\nred,1,u,1\nblue,2,v,2\ngreen,3,u,3\nred,4,v,5\n")
    assert "'red' is not a number; say dummies=True (--dummies)" in refusal(path)
    data, told = datasets.read_csv_told(path, target="y", dummies=True, intercept=True)
    assert data.columns == ("colour=green", "colour=red", "a", "kind=v", "intercept")
    np.testing.assert_array_equal(data.x, [[0, 1, 1, 0, 1], [0, 0, 2, 1, 1], [1, 0, 3, 0, 1], [0, 1, 4, 1, 1]])
    assert told[1] == "column 'colour' is text: 0/1 columns colour=green, colour=red; 'blue' is the level left out"
    classes, told = datasets.read_csv_told(path, target="colour", features=["a"], dummies=True)
    np.testing.assert_array_equal(classes.y, [2, 0, 1, 2])
    assert "the target 'colour' is text: class 0 = 'blue', 1 = 'green', 2 = 'red'" in told


def test_the_column_of_ones_has_a_name_of_its_own(table):
    path = table("intercept,a,y\n2,1,3\n4,3,6\n7,8,10\n")
    data, told = datasets.read_csv_told(path, target="y", intercept=True, dummies=True)
    assert data.columns == ("intercept", "a", "(intercept)")
    assert "no column is text: dummies changed nothing" in told


def test_text_that_is_no_category_is_refused(table):
    assert "holds another text in every row" in refusal(table("name,y\nann,1\nbob,2\neve,3\n"), dummies=True)
    said = refusal(table("grade,y\nA,1\n3,2\nA,3\n"), dummies=True)
    assert "line 3 (row 1), column 'grade': holds the number 3 beside texts such as 'A'" in said
    assert "has a decimal comma; write 1.5" in refusal(table("a;y\n1,5;1\n1,5;2\n2,5;3\n"), dummies=True)
    with pytest.warns(UserWarning, match="column 'c' is constant \\('x'\\) and left out"):
        assert datasets.read_csv(table("c,a,y\nx,1,1\nx,2,2\n"), target="y", dummies=True).columns == ("a",)
    assert "every other column holds one text only" in refusal(table("c,y\nx,1\nx,2\n"), dummies=True)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "column 'c' is constant \\(5\\)"),
        ({"intercept": True}, "column 'c' is constant \\(5\\): it duplicates the intercept"),
        ({"standardise": True, "intercept": True}, "column 'c' is constant \\(5\\): standardised it is 0"),
    ],
)
def test_a_constant_column_is_named(table, options, says):
    with pytest.warns(UserWarning, match=says):
        datasets.read_csv(table("c,a,y\n5,1,1\n5.0,2,2\n5,4,3\n"), target="y", **options)
    with pytest.warns(UserWarning, match="the target 'y' is constant"):
        datasets.read_csv(table("a,y\n1,2\n2,2\n"), target="y")


def test_a_column_far_from_zero_is_not_constant(table):
    """Its deviation is 1e-13 of its size, and yet every digit of the differences is there."""
    path = table("a,y\n" + "".join(f"{10**13 + k},{k}\n" for k in range(5)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = datasets.read_csv(path, target="y", standardise=True)
    np.testing.assert_allclose(data.x[:, 0], (np.arange(5.0) - 2) / np.sqrt(2), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,b,y\n", "must have at least 2 points, but has 0: the file ends after the line that names the columns"),
        ("a,b,y\n1,2,3\n", "must have at least 2 points, but has 1"),
        ("a,b,y\n1,1.7e308,3\n4,-1.7e308,6\n", "the feature 'b' is as large as 1.7e+308"),
        ("a,b,y\n1,1e200,3\n4,1,6\n", "the feature 'b' is as large as 1e+200: its squares overflow"),
        ("a,b,y\n1,2,3\n4,1,1e180\n", "the target 'y' is as large as 1e+180: its squares overflow"),
        ("a,b,y\n1,1e-200,3\n4,0,2\n", "the feature 'b' is nowhere larger than 1e-200: its squares vanish"),
        ("a,b,y\n1,2,3\n4,<NA>,6\n", "the value is missing ('<NA>')"),
    ],
)
@pytest.mark.parametrize("standardise", [False, True])
def test_tables_without_an_answer_say_so_in_one_line(table, text, says, standardise):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        said = refusal(table(text), standardise=standardise, standardise_target=standardise, intercept=standardise)
    assert says in said


def test_a_first_line_of_numbers_is_questioned(table):
    told = datasets.read_csv_told(table("1,2,3\n4,5,6\n7,8,10\n"), target="3")[1]
    assert any("holds numbers only: is it a row?" in note for note in told)
    assert "features must be a list of names, but is 'ab'" in refusal(table(GOOD), features="ab")
