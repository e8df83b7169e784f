"""Progress: silent without a terminal and for short work; seen on a terminal once the wait is long."""

import os
import pty
import time

import pytest

from homotopy.run import Progress


def _on_a_terminal(launch, *args, **options):
    """Exit code, and what `homotopy` showed on a terminal as standard error."""
    master, slave = pty.openpty()
    process = launch(*args, stderr=slave, env={"TERM": "xterm", "COLUMNS": "100"}, **options)
    os.close(slave)
    shown = b""
    while True:
        try:
            read = os.read(master, 4096)
        except OSError:  # Linux says so when the last writer has gone
            break
        if not read:
            break
        shown += read
    os.close(master)
    process.communicate(timeout=20)
    return process.returncode, shown.decode()


SHORT_THEN_LONG = """
import sys
from homotopy.run import main
assert main(["run", "toy", "--out", "a"], scenarios="toy_scenarios") == 0
print("|", end="", file=sys.stderr, flush=True)
sys.exit(main(["run", "toy", "--out", "a", "--mode", "slow", "--seconds", "3"], scenarios="toy_scenarios"))
"""


def test_a_terminal_sees_long_work_only(launch):
    code, shown = _on_a_terminal(launch, code=SHORT_THEN_LONG)
    short, _, long = shown.partition("|")
    assert (code, short) == (0, "")
    assert "toy steps" in long
    assert "/20" in long
    assert "\n" not in long
    assert long.rpartition("\x1b[2K")[2] == "\x1b[?25h\r"  # wiped when done, and the cursor is back


def test_without_a_terminal_nothing_is_shown(capsys):
    with Progress(delay=0.0).task("work", total=2) as advance:
        time.sleep(0.1)
        advance()
        advance(1)
    assert capsys.readouterr() == ("", "")


def test_a_bar_shown_late_starts_where_the_work_is(capsys, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    progress = Progress(shown=True, delay=0.05)
    with progress.task("work", total=8) as advance:
        advance(6)
        time.sleep(0.4)
        assert progress._display is not None
        (task,) = progress._display.tasks
        assert (task.completed, task.total) == (6, 8)
        with progress.task("part") as inner:  # of unknown length, inside
            inner()
            time.sleep(0.3)
            assert len(progress._display.tasks) == 2
        assert len(progress._display.tasks) == 1
    assert progress._display is None


@pytest.mark.parametrize("attempt", range(20))
def test_a_timer_that_comes_too_late_shows_nothing(capsys, attempt):
    progress = Progress(shown=True, delay=0.0005 * attempt)
    with progress.task("work"):
        time.sleep(0.005)
    time.sleep(0.01)
    assert progress._display is None
