"""`homotopy diagnose`: the user's own table, from the command line to a run folder, with rows that have no value."""

import csv

import numpy as np
import pytest

from homotopy import LinearRegression, Problem, datasets, diagnostics
from homotopy.run import load_run, main


@pytest.fixture
def tables(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOMOTOPY_CACHE", "")
    rng = np.random.default_rng(3)
    x = rng.standard_normal(12)
    y = 1 + 2 * x + 0.5 * rng.standard_normal(12)
    rows = [f"{a:.6f},{int(row == 7)},{b:.6f},{row % 3}" for row, (a, b) in enumerate(zip(x, y, strict=True))]
    (tmp_path / "table.csv").write_text("a,only7,y,kind\n" + "\n".join(rows) + "\n")
    x, c = [-3, -2, -1.5, -1, 2.5, 1, 1.5, 2, 3, 0.5], [0] * 5 + [1] * 5
    (tmp_path / "constant.csv").write_text("a,flat,y\n" + "".join(f"{k},7,{k * k}\n" for k in range(9)))
    (tmp_path / "nearly.csv").write_text("x,c\n" + "\n".join(f"{a},{b}" for a, b in zip(x, c, strict=True)) + "\n")
    return tmp_path


def test_a_table_with_a_row_of_leverage_one(tables, capsys, drawn_again):
    assert main(["diagnose", "--data", "table.csv", "--target", "y", "--no-standardise", "--out", "found"]) == 0
    said = capsys.readouterr()
    assert "7 (0/0" in said.out
    assert "most influential" in said.out
    assert "11 successful, 1 undetermined" in said.out
    assert "Warning" not in said.err
    run = load_run("found")
    problem = Problem(LinearRegression(), datasets.read_csv("table.csv", target="y", intercept=True), delete=0)
    with pytest.warns(UserWarning, match="points 7"):
        alone = diagnostics(problem).data
    np.testing.assert_allclose(run.data["cook"], alone["cook"], rtol=1e-12)
    assert list(run.data["parameter"].to_numpy()) == list(problem.data.columns)
    with open("found/diagnose.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["point"] for row in rows] == [str(row) for row in range(12)]
    assert rows[7]["cook"] == "nan"
    assert float(rows[3]["cook"]) == float(alone["cook"][3])
    assert (tables / "found" / "diagnose.png").stat().st_size < 300_000
    assert run.manifest["command"] == "homotopy diagnose --data=table.csv --target=y --no-standardise"
    drawn_again("found")


def test_a_row_that_keeps_the_classes_together(tables, capsys):
    assert main(["diagnose", "--data", "nearly.csv", "--target", "c", "--model", "logistic", "--out", "found"]) == 0
    assert "9 successful, 1 separable" in capsys.readouterr().out
    data = load_run("found").data
    assert np.isposinf(data["cook_exact"][4])
    assert np.isinf(data["theta_without"][4]).all()
    assert np.isfinite(np.delete(data["cook_exact"].to_numpy(), 4)).all()
    assert np.isfinite(data["cook"]).all()  # the one-step values exist, and say nothing of it


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--target", "kind", "--model", "logistic"], "make a column that is 1 for the class in question"),
        (["--target", "y", "--ridge", "-1"], "--ridge must be a number ≥ 0, but is -1.0"),
        (["--target", "y", "--ridge", "nan"], "--ridge must be a number ≥ 0, but is nan"),
        (["--target", "y", "--ridge", "inf"], "--ridge must be a number ≥ 0 and finite, but is inf"),
        (
            ["--target", "only7", "--model", "logistic", "--standardise-target"],
            "`--standardise-target` is for regression",
        ),
        (["--target", "y", "--model", "mlp"], "--model"),
    ],
)
def test_a_wrong_request_is_one_line(tables, capsys, args, says):
    assert main(["diagnose", "--data", "table.csv", *args, "--out", "found"]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
    assert not (tables / "found").exists()


def test_a_constant_column_is_named_where_the_fit_is_singular(tables, capsys):
    assert main(["diagnose", "--data", "constant.csv", "--target", "y", "--out", "found"]) == 1
    said = capsys.readouterr().err
    assert "column 'flat' is constant (7)" in said
    assert "it is singular" in said
    assert said.count("\n") == 1
