"""Run folders: whole or not there, and nobody else's files are ever removed."""

import os
import signal
import subprocess
import sys

import pytest

from homotopy.run import load_run
from homotopy.run._folder import Staging


def test_a_run_replaces_a_finished_run(homotopy, tmp_path):
    assert homotopy("run", "toy", "--out", "a", "--seed", 1)[0] == 0
    first = (tmp_path / "a/curve.png").read_bytes()
    assert homotopy("run", "toy", "--out", "a", "--seed", 2)[0] == 0
    assert (tmp_path / "a/curve.png").read_bytes() != first
    assert load_run("a").manifest["seed"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_the_same_settings_give_the_same_bytes(homotopy, launch, contents, tmp_path):
    assert homotopy("run", "toy", "--out", "a")[0] == 0
    assert homotopy("run", "toy", "--out", "b")[0] == 0
    process = launch("run", "toy", "--out", "c", env={"PYTHONHASHSEED": "7"})
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")  # no terminal: no progress
    assert "wrote c in " in out
    a, b, c = (contents(tmp_path / name) for name in "abc")
    assert set(a) == {"curve.png", "curve.svg", "moving.gif", "data.nc", "manifest.json"}
    for name in ("curve.png", "curve.svg"):
        assert a[name] == b[name] == c[name]


@pytest.mark.parametrize("mode", ["work", "request", "bug", "nothing", "interrupt", "full"])
def test_a_failing_run_leaves_the_earlier_one_untouched(homotopy, contents, tmp_path, mode):
    homotopy("run", "toy", "--out", "deep/er/a")
    before = contents(tmp_path)
    assert homotopy("run", "toy", "--out", "deep/er/a", "--mode", mode)[0] == (2 if mode == "request" else 1)
    assert contents(tmp_path) == before
    homotopy("run", "toy", "--out", "other/one", "--mode", mode)
    assert not (tmp_path / "other").exists()


def test_an_empty_folder_and_litter_may_be_replaced(homotopy, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/.DS_Store").write_bytes(b"")
    assert homotopy("run", "toy", "--out", "a")[0] == 0
    load_run("a")


def test_a_link_to_a_folder_stays_a_link(homotopy, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert homotopy("run", "toy", "--out", "link")[0] == 0
    assert (tmp_path / "link").is_symlink()
    load_run("real")


def _foreign_file(path):
    path.mkdir()
    (path / "thesis.tex").write_text("years of work")


def _foreign_manifest(path):
    path.mkdir()
    (path / "manifest.json").write_text('{"name": "my web page"}')


def _broken_manifest(path):
    path.mkdir()
    (path / "manifest.json").write_text("{")


def _a_file(path):
    path.write_text("text")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (_foreign_file, "is not empty and holds no finished run; --out must name another folder"),
        (_foreign_manifest, "was not written by homotopy"),
        (_broken_manifest, "cannot be read"),
        (_a_file, "is a file; --out must name a folder"),
    ],
)
def test_what_is_not_a_run_is_refused_before_any_work(homotopy, contents, tmp_path, make, says):
    make(tmp_path / "a")
    before = contents(tmp_path)
    code, out, err = homotopy("run", "toy", "--out", "a")
    assert (code, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1
    assert contents(tmp_path) == before


@pytest.mark.parametrize("added", ["note.txt", "sub/note.txt", "moving.gif/note.txt"])
def test_a_run_with_somebodys_file_in_it_is_refused(homotopy, contents, tmp_path, added):
    homotopy("run", "toy", "--out", "a")
    note = tmp_path / "a" / added
    if note.parent.is_file():  # a folder under the name of a file that the run wrote
        note.parent.unlink()
    note.parent.mkdir(exist_ok=True)
    note.write_text("mine")
    before = contents(tmp_path)
    code, _, err = homotopy("run", "toy", "--out", "a")
    assert code == 2
    assert f"holds `{added.partition('/')[0]}`, which no run wrote" in err
    assert contents(tmp_path) == before


def test_a_file_added_during_the_run_is_kept(homotopy, tmp_path):
    homotopy("run", "toy", "--out", "a")
    staging = Staging("a")
    staging.prepare()
    (tmp_path / "a/note.txt").write_text("mine")
    with pytest.raises(RuntimeError, match=r"cannot be put in place.*note\.txt"):
        staging.publish()
    staging.discard()
    assert (tmp_path / "a/note.txt").read_text() == "mine"


@pytest.mark.parametrize("out", [".", "..", "/", "../.", "link"])
def test_the_current_folder_and_its_parents_are_refused(homotopy, monkeypatch, tmp_path, out):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/link").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path / "deep")
    code, _, err = homotopy("run", "toy", "--out", out)
    assert code == 2
    assert "is, or contains, the current folder" in err


@pytest.mark.parametrize("out", ["file/a", "file/a/b", "~no_such_user_here/a", "loop/a", "a\0b", "x" * 300])
def test_what_cannot_be_written_is_refused_before_any_work(homotopy, contents, tmp_path, out):
    (tmp_path / "file").write_text("text")  # a path below a file: also root cannot write there
    (tmp_path / "loop").symlink_to("loop")
    before = contents(tmp_path)
    code, said, err = homotopy("run", "toy", "--out", out)
    assert (code, said) == (2, "")
    assert err.startswith("homotopy: error: cannot write to ")
    assert err.count("\n") == 1
    assert contents(tmp_path) == before


def _dead_pid():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_leftovers_of_dead_processes_go_and_those_of_live_ones_stay(homotopy, tmp_path):
    dead, alive = _dead_pid(), os.getppid()
    for name in (f".a.partial-{dead}", f".a.old-{dead}", f".a.partial-{alive}", f".b.partial-{dead}", ".a.partial-x"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "curve.png").write_bytes(b"")
    (tmp_path / "a").mkdir()
    assert homotopy("run", "toy", "--out", "a")[0] == 0
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"a", f".a.partial-{alive}", f".b.partial-{dead}", ".a.partial-x"}


KILLED_BETWEEN_RENAMES = """
import os, pathlib, signal
from homotopy.run._folder import Staging
rename = pathlib.Path.rename
def last(self, target):
    rename(self, target)
    os.kill(os.getpid(), signal.SIGKILL)
pathlib.Path.rename = last
staging = Staging("a")
staging.prepare()
staging.publish()
"""


def test_a_run_killed_between_the_two_renames_is_put_back(homotopy, launch, contents, tmp_path):
    homotopy("run", "toy", "--out", "a")
    before = contents(tmp_path)
    process = launch(code=KILLED_BETWEEN_RENAMES)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert {path.name for path in tmp_path.iterdir()} == {f".a.{role}-{process.pid}" for role in ("old", "partial")}
    assert homotopy("run", "toy", "--out", "a", "--mode", "work")[0] == 1  # even a run that fails puts it back
    assert contents(tmp_path) == before
