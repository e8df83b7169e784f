"""The manifest says how a run came about, and proves that the folder is as it was written."""

import hashlib
import json
import os
import re
import socket
from datetime import datetime
from types import ModuleType

import numpy as np
import pytest

from homotopy import RequestError, WorkError, __version__
from homotopy.run import load_run
from homotopy.run._manifest import plain
from homotopy.run._parts import drawn


@pytest.fixture
def run(homotopy, tmp_path):
    assert homotopy("run", "toy", "--out", "a", "--seed", "3")[0] == 0
    return tmp_path / "a"


def test_it_says_how_the_run_came_about(run):
    manifest = load_run(run).manifest
    assert manifest["format"] == "homotopy-run/1"
    assert (manifest["scenario"], manifest["quick"], manifest["seed"]) == ("toy", False, 3)
    assert manifest["command"] == "homotopy run toy --seed=3"
    assert manifest["settings"]["sizes"] == [1, 2]
    assert manifest["result_codes"] == {"successful": 3, "max steps reached": 1}
    assert manifest["float64"] is True
    assert manifest["versions"]["homotopy"] == __version__
    assert manifest["versions"]["jax"]
    assert manifest["git"] is None or re.fullmatch("[0-9a-f]{40}", manifest["git"]["revision"])
    assert manifest["wall_seconds"] > 0
    assert datetime.fromisoformat(manifest["started"]).tzinfo is not None
    (data,) = manifest["datasets"]
    assert (data["name"], data["shape"]) == ("toy", {"x": [4, 2], "y": [4]})
    assert set(manifest["files"]) == {"curve.png", "curve.svg", "moving.gif", "data.nc"}
    for name, digest in manifest["files"].items():
        assert digest == hashlib.sha256((run / name).read_bytes()).hexdigest()


def test_the_hash_of_the_data_follows_the_data(run, homotopy):
    def digest():
        return load_run("a").manifest["datasets"][0]["sha256"]

    first = digest()
    homotopy("run", "toy", "--out", "a", "--seed", "3", "--scale", "2")
    assert digest() == first
    homotopy("run", "toy", "--out", "a", "--seed", "4")
    assert digest() != first


def test_it_names_no_machine_and_no_path(run, tmp_path):
    for path in (run / "manifest.json", run / "curve.svg"):
        text = path.read_text(encoding="utf-8")
        for word in (str(tmp_path), "/home/", "/root", "/tmp", "/usr", socket.gethostname()):
            assert word not in text


def test_the_data_come_back(run):
    y = load_run(run).data["y"]
    assert y.dims == ("point",)
    np.testing.assert_array_equal(y.values, _y(3))


def _y(seed):
    rng = np.random.default_rng(seed)
    rng.normal(size=(4, 2))
    return rng.normal(size=4)


@pytest.mark.parametrize("name", ["curve.png", "curve.svg", "data.nc"])
def test_a_changed_file_is_found_out(run, name):
    content = bytearray((run / name).read_bytes())
    content[len(content) // 2] ^= 1
    (run / name).write_bytes(content)
    with pytest.raises(RequestError, match=f"{name} has changed since the run"):
        load_run(run)


def test_a_missing_file_is_found_out(run):
    (run / "curve.svg").unlink()
    with pytest.raises(RequestError, match=r"curve\.svg cannot be read: No such file"):
        load_run(run)


def _edit(run, **fields):
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps(manifest | fields))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"format": "other"}, "was not written by homotopy"),
        ({"files": ["data.nc"]}, "does not list the files"),
        ({"files": {}}, r"lists no data\.nc"),
        ({"files": {"../b": "0"}}, "outside its folder"),
    ],
)
def test_a_manifest_of_another_kind_is_refused(run, fields, says):
    _edit(run, **fields)
    with pytest.raises(RequestError, match=says):
        load_run(run)


def test_without_a_manifest_it_is_no_run(run):
    (run / "manifest.json").unlink()
    with pytest.raises(RequestError, match="not a finished run"):
        load_run(run)


def test_json_has_a_word_for_every_value():
    found = plain({"a": np.float64("inf"), 1: (np.int64(3), np.bool_(True), None), "b": float("nan")})
    assert found == {"a": "inf", "1": [3, True, None], "b": "nan"}


def test_a_file_name_that_is_not_utf8_is_told_by_its_bytes():
    found = plain({"data": os.fsdecode(b"caf\xe9.csv"), "column": "café"})
    assert found == {"data": "caf\\xe9.csv", "column": "café"}
    json.dumps(found, ensure_ascii=False).encode()


@pytest.mark.parametrize("stem", ["", "../up", "a/b", ".hidden", "with space"])
def test_a_figure_needs_a_name_that_can_be_a_file(stem):
    drawing = ModuleType("drawing")
    drawing.draw = lambda data, settings: {stem: None}
    with pytest.raises(WorkError, match="cannot be one"):
        drawn(drawing, None, None)
