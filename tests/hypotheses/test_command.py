"""`homotopy hypotheses`: what it writes, and what it says when something is wrong."""

import json

import pytest

from homotopy.run import main

FILE = """
from homotopy.hypotheses import Finding, Hypothesis, within


def good(scale, progress):
    return Finding({"error": 1e-9 * scale.seed}, ("error",), {"what": "Worst", "seed": scale.seed})


def bad(scale, progress):
    raise ValueError("no\\nluck")


GOOD = Hypothesis("good", "It is small", "here", good, within("error", 1e-6))
BAD = Hypothesis("bad", "It is broken", "here", bad, within("error", 1e-6))
"""


@pytest.fixture(autouse=True)
def _apart(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOMOTOPY_CACHE", "")
    (tmp_path / "mine.py").write_text(FILE)


@pytest.fixture
def hypotheses(capsys):
    def call(*args):
        code = main(["hypotheses", *map(str, args)])
        return (code, *capsys.readouterr())

    return call


def test_it_writes_everything_and_computes_once(hypotheses, tmp_path):
    args = ("--file", "mine.py", "--only", "good", "--quick", "--seed", 2)
    code, out, err = hypotheses(*args, "--json", "r.json", "--report", "r.html", "--markdown", "r.md")
    assert code == 0
    assert "good  ✓ holds" in out
    assert "[1/1] good holds" in err
    (entry,) = json.loads((tmp_path / "r.json").read_text())
    assert entry["verdict"] == "holds"
    assert entry["command"] == "homotopy hypotheses --only good --quick --file mine.py --seed 2"
    assert (
        entry["example"]["command"] == "homotopy hypotheses --only good --quick --file mine.py --seed 2 --instances 1"
    )
    assert "It is small" in (tmp_path / "r.html").read_text()
    assert "| good | It is small |" in (tmp_path / "r.md").read_text()
    assert "finished before" in hypotheses(*args)[2]
    assert "finished before" not in hypotheses(*args, "--fresh")[2]
    code, out, _ = hypotheses("--from-json", "r.json", "--table")
    assert code == 0
    assert out.startswith("| | claim")


def test_an_undecided_check_is_told_and_the_others_run(hypotheses, tmp_path):
    code, out, err = hypotheses("--file", "mine.py", "--only", "bad", "good", "--json", "r.json")
    assert code == 1
    assert "homotopy: error: bad could not be decided: ValueError: no luck" in err
    entries = {entry["id"]: entry for entry in json.loads((tmp_path / "r.json").read_text())}
    assert entries["good"]["verdict"] == "holds"
    assert entries["bad"]["error"] == "ValueError: no luck"
    assert "1 undecided" in out


def test_a_file_that_raises_is_told_and_the_others_run(hypotheses, tmp_path):
    (tmp_path / "broken.py").write_text("1 / 0\n")
    code, out, err = hypotheses("--file", "broken.py", "mine.py", "--only", "good")
    assert code == 1
    assert "homotopy: error: --file broken.py cannot be read: ZeroDivisionError in line 1" in err
    assert "good  " in out


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--only", "good", "H99"], "unknown hypothesis 'H99'"),
        (["--only", "good", "--report", "no/such/folder/r.html"], "there is no folder no/such/folder"),
        (["--only", "good", "--json", "."], "it is a folder"),
        (["--only", "good", "--file", "missing.py"], "is no file"),
    ],
)
def test_a_wrong_request_is_told_and_the_rest_is_done(hypotheses, args, says):
    code, out, err = (
        hypotheses("--file", "mine.py", *args)
        if "--file" not in args
        else hypotheses(*args[:2], "--file", "mine.py", *args[3:])
    )
    assert code == 2
    assert says in err
    assert "good  " in out


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--only"], "`--only` names nothing; give it a hypothesis"),
        (["--only", "H01", "--file"], "`--file` names nothing; give it a Python file"),
        (["--only", "H99"], "unknown hypothesis 'H99'"),
        (["--quik"], "did you mean `--quick`"),
        (["--instances", "-1"], "--instances must be a whole number ≥ 0"),
        (["--seed", "-1"], "--seed must be a whole number ≥ 0"),
        (["--from-json", "missing.json"], "missing.json cannot be read"),
        (["--from-json", "old.json"], "older version"),
        (["--from-json", "old.json", "--quick"], "--from-json computes nothing"),
    ],
)
def test_a_wrong_request_alone_ends_with_2(hypotheses, tmp_path, args, says):
    (tmp_path / "old.json").write_text('[{"id": "H01", "verdict": "holds"}]')
    code, _, err = hypotheses(*args)
    assert code == 2
    assert says in err
    assert "Traceback" not in err
