"""`homotopy search`: the user's own table, from the command line to a run folder."""

import csv
import io
import json
from types import SimpleNamespace
from typing import get_args, get_type_hints

import numpy as np
import pytest

from homotopy import (
    Dataset,
    LinearRegression,
    Problem,
    SearchResult,
    WorkError,
    datasets,
    leverage,
    search,
    search_all,
)  # fmt: skip
from homotopy.run import load_run, main
from homotopy.run._search import Options
from homotopy.scheduler import FAMILIES
from homotopy.scheduler._gain import gains, spoken_gain


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOMOTOPY_CACHE", "")
    rng = np.random.default_rng(3)
    x = rng.standard_normal((12, 2))
    y = x @ [1.0, -2.0] + 0.5 * rng.standard_normal(12)
    high = (y + rng.standard_normal(12) > 0).astype(int)
    rows = [f"{a:.6f},{b:.6f},{c:.6f}" for a, b, c in np.column_stack([x, y])]
    (tmp_path / "table.csv").write_text("a,b,y\n" + "\n".join(rows) + "\n")
    rows = [f"{a:.6f},{b:.6f},{c}" for (a, b), c in zip(x, high, strict=True)]
    (tmp_path / "binary.csv").write_text("a,b,high\n" + "\n".join(rows) + "\n")
    kinds = "".join(f"{a},{k % 3},{2 * (k % 2) - 1}\n" for k, (a, _) in enumerate(x.round(3)))
    (tmp_path / "classes.csv").write_text("a,kind,sign\n" + kinds)
    (tmp_path / "header.csv").write_text("a,b,y\n")
    (tmp_path / "huge.csv").write_text("a,y\n1,1e180\n2,3\n3,5\n")
    return "table.csv"


def _search(*args):
    return main(["search", *args])


def test_one_row_is_what_search_finds_and_is_loaded_and_drawn_again(table, capsys, drawn_again):
    args = ["--data", table, "--target", "y", "--delete", "3", "--s", "0.4/lambda_min", "--out", "found"]
    assert _search(*args) == 0
    printed = capsys.readouterr().out
    loaded = load_run("found")
    result = SearchResult.from_dict(json.loads(loaded.data.attrs["search_result"]))
    problem = Problem(
        LinearRegression(), datasets.read_csv(table, target="y", standardise=True, intercept=True), delete=3
    )
    slowest = np.linalg.eigvalsh(problem.hessian(np.zeros(3), 0.0))[0]
    alone = search(problem, np.zeros(3), s=0.4 / slowest, t1=2 / slowest, family="bang-bang")
    assert result.energy == pytest.approx(alone.energy, rel=1e-9, abs=1e-25)
    assert f"{result.energy:.6g}" in printed
    assert result.schedule == alone.schedule or str(result.schedule) == str(alone.schedule)
    assert "table.csv: 12 rows, 3 columns separated by commas" in printed
    assert loaded.data["parameter"].values.tolist() == ["a", "b", "intercept"]
    assert float(loaded.data["target"].sel(parameter="b")) == pytest.approx(float(loaded.data["target"][1]))
    assert [line.split()[0] for line in printed.splitlines() if line.startswith("  ")][-3:] == ["a", "b", "intercept"]
    assert loaded.manifest["command"].endswith("--data=table.csv --target=y --delete=3 --s=0.4/lambda_min")
    # σ on the data's own grid obeys Pontryagin: negative where ε = 1 after s, positive where 0.
    free = loaded.data.sel(time=slice(1.001 * 0.4 / slowest, None))
    inside = np.abs(free["sigma"]) > 1e-6 * float(np.abs(free["sigma"]).max())
    if result.certificate.kind != "reached":
        assert (((free["sigma"] < 0) == (free["epsilon"] == 1)) | ~inside).all()
    drawn_again("found")


def test_every_row_in_turn(table, capsys, drawn_again):
    assert _search("--data", table, "--target", "y", "--delete", "all", "--out", "every") == 0
    assert "12 rows gain" in capsys.readouterr().out
    data = load_run("every").data
    assert data.sizes["row"] == 12
    assert (data["energy"] <= data["baseline"] * (1 + 1e-12)).all()
    assert (data["lower_bound"] <= data["energy"] * (1 + 1e-12) + 1e-25).all()
    with open("every/search.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["row"]) for row in rows] == list(range(12))
    assert [float(row["energy"]) for row in rows] == data["energy"].values.tolist()
    assert "search.csv" in load_run("every").manifest["files"]
    problem = Problem(
        LinearRegression(), datasets.read_csv(table, target="y", standardise=True, intercept=True), delete=7
    )
    assert len(leverage(problem)) == 12
    slowest = np.linalg.eigvalsh(problem.hessian(np.zeros(3), 1.0))[0]
    alone = search(problem, np.zeros(3), t1=2 / slowest, family="bang-bang", certify="none")
    assert float(data["energy"][7]) == pytest.approx(alone.energy, rel=1e-9, abs=1e-25)
    drawn_again("every")


def test_the_families_are_those_of_search():
    assert set(get_args(get_type_hints(Options)["family"])) == set(FAMILIES)


ROW = ["--data", "table.csv", "--target", "y", "--delete", "0"]
NETWORK = [*ROW, "--model", "mlp", "--endpoint", "pbrf", "--t1", "1"]
LOGISTIC = ["--data", "binary.csv", "--target", "high", "--delete", "0", "--model", "logistic"]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--target", "y", "--delete", "0"], "--data"),
        (["--data", "none.csv", "--target", "y", "--delete", "0"], "there is no such file"),
        (["--data", "table.csv", "--target", "z", "--delete", "0"], "there is no column 'z'"),
        (["--data", "table.csv", "--target", "y", "--delete", "12"], "must name rows 0…11"),
        (["--data", "table.csv", "--target", "y", "--delete", "first"], "must be a row, rows with commas, or `all`"),
        (["--data", "table.csv", "--target", "y", "--delete", "0", "--t1", "2x"], "number/lambda_min"),
        (["--data", "table.csv", "--target", "y", "--delete", "0", "--t1", "1", "--s", "2"], "must satisfy 0 ≤ s < T"),
        (["--data", "table.csv", "--target", "y", "--delete", "0", "--t1", "1", "--s", "-2"], "must satisfy 0 ≤ s < T"),
        (["--data", "table.csv", "--target", "y", "--delete", "0", "--model", "mlp"], "needs --endpoint"),
        (["--data", "table.csv", "--target", "y", "--delete", "0", "--endpoint", "cold"], "for --model mlp only"),
        (["--data", "table.csv", "--target", "y", "--delete", "0", "--theta0", "one"], "numbers with commas"),
        (
            ["--data", "table.csv", "--target", "y", "--delete", "0", "--theta0", "1,2"],
            "--theta0 needs 3 numbers (a, b, intercept), but 2 are given",
        ),
        (["--data", "table.csv", "--target", "y", "--delete", "0", "--theta0", "1,2_0,3"], "numbers with commas"),
        (["--data", "table.csv", "--target", "y", "--delete", "0", "--family", "wave"], "--family"),
        ([*ROW[:-1], "3", "--delete", "4"], "`--delete` is given more than once"),
        ([*ROW[:-1], "3", "--delete=4"], "`--delete` is given more than once"),
        ([*ROW, "--standardise", "--no-standardise"], "`--standardise` is given more than once"),
        ([*ROW[:-1], "1_0"], "must be a row, rows with commas, or `all`"),
        ([*ROW[:-1], "٣"], "must be a row, rows with commas, or `all`"),
        ([*ROW, "--ridge", "1_0"], "`--ridge` must be a number in the digits 0–9, but is '1_0'"),
        ([*ROW, "--t1", "٣"], "--t1 must be a number"),
        ([*ROW, "--width", "3"], "`--width` is for --model mlp; leave it out"),
        ([*ROW, "--damping", "0.1"], "`--damping` is for --endpoint pbrf"),
        ([*ROW, "--tolerance", "0"], "`--tolerance` is for --goal time"),
        ([*ROW, "--pieces", "40"], "`--pieces` is for families with levels, not for --model linear --family bang-bang"),
        ([*ROW, "--family", "linear", "--pieces", "4"], "`--pieces` is for families with levels"),
        ([*ROW, "--starts", "3"], "`--starts` is for searches with several starts"),
        ([*ROW, "--seed", "1"], "`--seed` is for what is drawn at random"),
        ([*ROW, "--goal", "time", "--tolerance", "1", "--certify", "dual"], "`--certify` is not for --goal time"),
        ([*LOGISTIC, "--standardise-target"], "`--standardise-target` is for regression"),
        ([*LOGISTIC, "--theta0", "random"], "--model logistic starts at zeros"),
        ([*ROW, "--model", "logistic"], "needs a target of whole numbers 0 and 1, but 'y' holds"),
        ([*ROW, "--delimiter", "tab"], "there is no column 'y'; the columns are a,b,y (separated by tabs); if commas"),
        ([*ROW, "--encoding", "utf-99"], "encoding must name a text encoding"),
        (["--data", "", *ROW[2:]], "--data is empty; it must name a file"),
        (
            ["--data", "classes.csv", "--target", "kind", "--delete", "0", "--model", "logistic"],
            "but 'kind' holds 0, 1, 2; for 3 classes use --model softmax with the labels 0…2",
        ),
        (
            ["--data", "classes.csv", "--target", "sign", "--delete", "0", "--model", "logistic"],
            "but 'sign' holds -1, 1; write -1 as 0 and 1 as 1",
        ),
        (
            ["--data", "classes.csv", "--target", "sign", "--delete", "0", "--model", "softmax"],
            "needs a target of whole numbers 0, 1, 2, …, but 'sign' holds -1, 1; number its 2 classes 0…1",
        ),
        ([*ROW, "--ridge=-1"], "--ridge must be a number ≥ 0, but is -1.0"),
        ([*ROW, "--ridge", "inf"], "--ridge must be a number ≥ 0 and finite, but is inf"),
        ([*ROW, "--goal", "time", "--tolerance=-1"], "--tolerance must be a number ≥ 0, but is -1.0"),
        ([*NETWORK, "--width", "0"], "--width must be a whole number ≥ 1"),
        ([*NETWORK, "--damping", "0"], "--damping must be a number > 0, but is 0.0"),
        ([*NETWORK, "--damping", "nan"], "--damping must be a number > 0, but is nan"),
        ([*NETWORK, "--starts", "0"], "--starts must be a whole number ≥ 1"),
        ([*NETWORK, "--pieces", "1" + 20 * "0"], "--pieces must be a whole number ≥ 1 and ≤ 1000000, but is 1000"),
        ([*ROW, "--theta0", "random", "--seed", "-1"], "--seed must be a whole number ≥ 0 and ≤ 4294967295, but is -1"),
        ([*ROW, "--theta0", "1e200,0,0"], "--theta0 must stay below 1e+150, whose square is a float"),
        (["--data", "header.csv", "--target", "y", "--delete", "0"], "at least 2 points, but has 0"),
        (["--data", "huge.csv", "--target", "y", "--delete", "0"], "the target 'y' is as large as 1e+180"),
        (["--data", "huge.csv", "--target", "a", "--delete", "0"], "the feature 'y' is as large as 1e+180"),
    ],
)
def test_a_wrong_request_is_one_line_and_writes_nothing(table, tmp_path, capsys, args, says):
    before = sorted(tmp_path.iterdir())
    assert _search(*args) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_a_logistic_model_counts_time_at_its_optimum(table, capsys):
    args = ["--data", "binary.csv", "--target", "high", "--delete", "3,4", "--model", "logistic", "--ridge", "1"]
    assert _search(*args, "--family", "step", "--out", "logistic") == 0
    assert "certificate local" in capsys.readouterr().out
    assert load_run("logistic").data.attrs["t1"] > 0


def test_a_row_without_an_answer_costs_only_itself(table, tmp_path, capsys, monkeypatch):
    """Without row 4 the classes are separable and θ*₋ is at infinity; the other nine have an answer."""
    x = [-3, -2, -1.5, -1, 2.5, 1, 1.5, 2, 3, 0.5]
    lines = [f"{value},{int(k > 4)}" for k, value in enumerate(x)]
    (tmp_path / "ten.csv").write_text("\n".join(["x,y", *lines]))
    found = SimpleNamespace(
        energy=1.0,
        baseline_energy=2.0,
        switches=1,
        notes=(),
        certificate=SimpleNamespace(kind="local", lower_bound=0.0),
    )
    monkeypatch.setattr("homotopy.run._search_job.search", lambda problem, theta0, **options: found)
    args = ["--data", "ten.csv", "--target", "y", "--model", "logistic", "--family", "step", "--t1", "5"]
    assert _search(*args, "--delete", "all", "--out", "ten") == 0
    out, err = capsys.readouterr()
    assert not err
    assert "     4         inf         inf  no answer: the classes are separable" in out
    assert "9 of 9 rows gain more than 0.1 %, median gain ×2" in out
    assert "solves: 9 successful, 1 without an answer" in out
    loaded = load_run("ten")
    bad = loaded.data.sel(row=4)
    assert float(bad["energy"]) == float(bad["baseline"]) == np.inf
    assert np.isnan(float(bad["gain"]))
    assert "separable" in str(bad["reason"].values)
    assert (loaded.data["energy"].drop_sel(row=4) == 1.0).all()
    assert loaded.manifest["result_codes"] == {"successful": 9, "without an answer": 1}
    with open("ten/search.csv", newline="") as file:
        assert "separable" in list(csv.DictReader(file))[4]["reason"]
    # A single request for that row is refused, and so is one in which no row has an answer.
    assert _search(*args, "--delete", "4", "--out", "one") == 1
    assert "error: without row 4: the classes are separable" in capsys.readouterr().err

    def never(problem, theta0, **options):
        raise WorkError("it did not settle")

    monkeypatch.setattr("homotopy.run._search_job.search", never)
    assert _search(*args, "--delete", "all", "--ridge", "1", "--out", "none") == 1
    assert "error: no row has an answer; row 0: it did not settle" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_a_table_from_standard_input_with_text_and_a_constant(table, capsys, monkeypatch):
    text = "c;colour;a;y\n5;red;1;2\n5;blue;3;1\n5;red;0;4\n5;blue;2;0.5\n5;red;4;1\n"
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(text.encode())))
    assert (
        _search("--data", "-", "--target", "y", "--dummies", "--delete", "1", "--certify", "none", "--out", "in") == 0
    )
    out, err = capsys.readouterr()
    assert not err
    assert "standard input: 5 rows, 4 columns separated by semicolons" in out
    assert "column 'colour' is text: 0/1 columns colour=red; 'blue' is the level left out" in out
    assert "column 'c' is constant (5): standardised it is 0, and its parameter moves nothing; drop it" in out
    loaded = load_run("in")
    assert loaded.data["parameter"].values.tolist() == ["c", "colour=red", "a", "intercept"]
    assert "--data=- --target=y --dummies --delete=1" in loaded.manifest["command"]


def test_nothing_to_gain_is_no_infinite_gain():
    x, y = np.eye(3), np.array([1.0, 2.0, 3.0])
    problem = Problem(LinearRegression(), Dataset(x, y), delete=0)
    result = search(problem, [0.0, 2.0, 3.0], t1=1.0, family="bang-bang")  # θ₀ is θ*₋: 0/0
    assert (result.energy, result.baseline_energy, result.ratio) == (0.0, 0.0, 1.0)
    assert "reached" in str(result)
    assert "inf" not in str(result)
    table = search_all(problem, [0.0, 2.0, 3.0], t1=1.0)
    assert "inf" not in str(table)
    assert gains([0.0, 1.0, 2.0], [0.0, 0.0, 1.0]).tolist() == [1.0, np.inf, 2.0]
    assert spoken_gain(np.inf) == "×∞ (θ*₋ is reached)"


def test_an_energy_that_overflows_is_no_answer(table, tmp_path, capsys):
    """Every number of the table is in range, and θ*₋ = 1e200 is not."""
    (tmp_path / "far.csv").write_text("a,y\n1e-100,1e100\n2e-100,1e100\n3e-100,3e100\n")
    args = ["--data", "far.csv", "--target", "y", "--no-standardise", "--no-intercept", "--out", "far"]
    for delete in ("1", "all"):
        assert _search(*args, "--delete", delete) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert "so that its square is a number, but is" in said
    assert not (tmp_path / "far").exists()
    assert _search("--data", "far.csv", "--target", "y", "--standardise-target", "--delete", "1", "--out", "far") == 0


def test_every_row_says_how_many_digits_are_left(table, tmp_path, capsys):
    """What a search of one row notes, the table of all rows notes too: once, with its rows in search.csv."""
    rows = [f"{k},{k + 1e-9 * k * k!r},{k % 4}" for k in range(8)]
    (tmp_path / "near.csv").write_text("a,b,y\n" + "\n".join(rows) + "\n")
    args = ["--data", "near.csv", "--target", "y", "--delete", "all", "--t1", "1", "--certify", "none", "--out", "near"]
    assert _search(*args) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert len(lines) == 1
    assert "nearly collinear" in lines[0]
    assert lines[0].endswith("(row 0 and 7 more, in search.csv)")
    with open("near/search.csv", newline="") as file:
        assert all("nearly collinear" in row["note"] for row in csv.DictReader(file))
