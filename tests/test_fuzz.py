"""Every public function refuses every wrong argument in one line: `tests/fuzz.py`, run as a user's program is."""

import json
import os
import subprocess
import sys
from pathlib import Path

import fuzz

import homotopy


def test_every_public_function_is_in_the_table():
    """`homotopy.unlearning` has its own checks; everything else is called, or takes nothing that could be wrong."""
    elsewhere = {name for name, folder in homotopy._HOME.items() if folder == "unlearning"}
    called = {name.split(" ")[0] for name in fuzz.CASES if "." not in name}
    assert set(homotopy.__all__) == called | fuzz.WITHOUT_ARGUMENTS | fuzz.RESULTS | elsewhere
    assert not called & (fuzz.WITHOUT_ARGUMENTS | fuzz.RESULTS | elsewhere)


def test_wrong_arguments_are_refused_in_one_line():
    root = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}
    run = subprocess.run(
        [sys.executable, str(root / "tests" / "fuzz.py")], capture_output=True, text=True, env=environment, check=False
    )
    assert run.returncode == 0, run.stderr[-2000:] + run.stdout[-500:]
    offences = [json.loads(line) for line in run.stdout.splitlines()]
    assert not offences, "\n".join(" | ".join(offence) for offence in offences)
    assert "calls" in run.stderr
