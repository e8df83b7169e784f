"""`homotopy search`: the user's own table, from the command line to a run folder."""

import json

import numpy as np
import pytest

from homotopy import LinearRegression, Problem, SearchResult, datasets, leverage, search
from homotopy.run import load_run, main


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
    return "table.csv"


def _search(*args):
    return main(["search", *args])


def test_one_row_is_what_search_finds_and_is_loaded_again(table, capsys):
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
    assert loaded.manifest["command"].endswith("--data=table.csv --target=y --delete=3 --s=0.4/lambda_min")
    # σ on the data's own grid obeys Pontryagin: negative where ε = 1 after s, positive where 0.
    free = loaded.data.sel(time=slice(1.001 * 0.4 / slowest, None))
    inside = np.abs(free["sigma"]) > 1e-6 * float(np.abs(free["sigma"]).max())
    if result.certificate.kind != "reached":
        assert (((free["sigma"] < 0) == (free["epsilon"] == 1)) | ~inside).all()


def test_every_row_in_turn(table, capsys):
    assert _search("--data", table, "--target", "y", "--delete", "all", "--out", "every") == 0
    assert "12 rows gain" in capsys.readouterr().out
    data = load_run("every").data
    assert data.sizes["row"] == 12
    assert (data["energy"] <= data["baseline"] * (1 + 1e-12)).all()
    assert (data["lower_bound"] <= data["energy"] * (1 + 1e-12) + 1e-25).all()
    problem = Problem(
        LinearRegression(), datasets.read_csv(table, target="y", standardise=True, intercept=True), delete=7
    )
    assert len(leverage(problem)) == 12
    slowest = np.linalg.eigvalsh(problem.hessian(np.zeros(3), 1.0))[0]
    alone = search(problem, np.zeros(3), t1=2 / slowest, family="bang-bang", certify="none")
    assert float(data["energy"][7]) == pytest.approx(alone.energy, rel=1e-9, abs=1e-25)


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
        (["--data", "table.csv", "--target", "y", "--delete", "0", "--theta0", "1,2"], "theta0"),
        (["--data", "table.csv", "--target", "y", "--delete", "0", "--family", "wave"], "--family"),
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
