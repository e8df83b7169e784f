"""`homotopy draw`: the same figures from the same numbers, and nothing else touched."""

import json

import pytest


@pytest.fixture
def run(homotopy, tmp_path):
    assert homotopy("run", "toy", "--seed", "3", "--quick", "--out", "made")[0] == 0
    return tmp_path / "made"


def test_a_run_is_drawn_again_byte_for_byte(homotopy, run, contents):
    before = contents(run)
    code, out, _ = homotopy("draw", "made")
    assert code == 0
    assert "the first value is" in out
    assert contents(run) == before
    assert homotopy("draw", "made", "--out", "elsewhere")[0] == 0
    assert contents(run.with_name("elsewhere")) == before


def test_lost_figures_are_made_again(homotopy, run, contents):
    before = contents(run)
    for name in ("curve.png", "curve.svg", "moving.gif"):
        (run / name).unlink()
    (run / "curve.png").write_bytes(b"spoilt")
    assert homotopy("draw", "made")[0] == 0
    assert contents(run) == before


@pytest.mark.parametrize("mode", ["blank", "bad name", "lost"])
def test_a_figure_that_fails_costs_no_numbers(homotopy, tmp_path, mode):
    code, out, err = homotopy("run", "toy", "--mode", mode)
    assert code == 1
    assert "the first value is" in out
    assert "the numbers are in runs/toy/data.nc" in err
    assert "`homotopy draw runs/toy` tries again" in err
    assert sorted(path.name for path in (tmp_path / "runs" / "toy").iterdir()) == ["data.nc", "manifest.json"]
    code, _, err = homotopy("draw", "runs/toy")
    assert code == 1
    assert "runs/toy cannot be drawn" in err


def test_changed_numbers_are_not_drawn(homotopy, run):
    (run / "data.nc").write_bytes((run / "data.nc").read_bytes() + b"0")
    code, _, err = homotopy("draw", "made")
    assert code == 2
    assert "has changed since the run" in err


def test_a_run_of_other_settings_is_not_drawn(homotopy, run):
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["settings"]["scale"] = 2.0  # as if the default had been another one then
    (run / "manifest.json").write_text(json.dumps(manifest))
    code, _, err = homotopy("draw", "made")
    assert code == 2
    assert "reads differently; run it again: homotopy run toy" in err


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ([], "name the folder of a run first"),
        (["nowhere"], "is not a finished run"),
        (["made", "--seed", "1"], "unknown setting `--seed`"),
    ],
)
def test_what_cannot_be_drawn_is_one_line_and_exit_2(homotopy, run, args, says):
    code, _, err = homotopy("draw", *args)
    assert code == 2
    assert says in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("command", ["", "other run toy", "homotopy sing toy", "homotopy list", "homotopy run 'toy"])
def test_a_manifest_without_its_command_is_not_drawn(homotopy, run, command):
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps(manifest | {"command": command}))
    code, _, err = homotopy("draw", "made")
    assert code == 2
    assert "does not say which command made it" in err
