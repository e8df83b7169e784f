"""Ctrl-C, termination and murder: one line, exit code 1, and the disk as it was."""

import signal
import time

import pytest

from homotopy.run import load_run

UNTOUCHED = "homotopy: error: interrupted: nothing was written to a; the earlier run there is untouched\n"


def test_a_keyboard_interrupt_says_what_remains(homotopy):
    assert homotopy("run", "toy", "--out", "a", "--mode", "interrupt")[::2] == (
        1,
        "homotopy: error: interrupted: nothing was written to a\n",
    )
    homotopy("run", "toy", "--out", "a")
    assert homotopy("run", "toy", "--out", "a", "--mode", "interrupt")[2] == UNTOUCHED


def test_an_interrupt_in_another_guise_is_still_one(homotopy):
    code, _, err = homotopy("run", "toy", "--out", "a", "--mode", "swallow")
    assert (code, err) == (1, "homotopy: error: interrupted: nothing was written to a\n")


def test_handlers_are_put_back(homotopy):
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    homotopy("run", "toy", "--mode", "interrupt")
    homotopy("list")
    assert [signal.getsignal(number) for number in numbers] == before
    assert signal.set_wakeup_fd(-1) == -1


@pytest.mark.parametrize(("mode", "number", "times"), [("slow", signal.SIGINT, 3), ("stuck", signal.SIGTERM, 2)])
def test_a_signal_ends_a_run_cleanly(homotopy, launch, contents, tmp_path, mode, number, times):
    homotopy("run", "toy", "--out", "a")
    before = contents(tmp_path)
    process = launch("run", "toy", "--out", "a", "--mode", mode, "--seconds", 60)
    assert process.stdout.readline() == "ready\n"
    for _ in range(times):  # an impatient user
        process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (1, UNTOUCHED)
    assert contents(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_killed_run_is_never_taken_for_a_finished_one(homotopy, launch, tmp_path):
    process = launch("run", "toy", "--out", "a", "--mode", "slow", "--seconds", 60)
    assert process.stdout.readline() == "ready\n"
    process.kill()
    process.communicate(timeout=20)
    assert [path.name for path in tmp_path.iterdir()] == [f".a.partial-{process.pid}"]
    with pytest.raises(ValueError, match="not a finished run"):
        load_run("a")
    assert homotopy("run", "toy", "--out", "a")[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


EXTRA = """
import os, signal, sys, time, types
from homotopy.run import main
from homotopy.run._cli import COMMANDS, Command

def command(args, scenarios):
    {body}

extra = sys.modules["homotopy.run._extra"] = types.ModuleType("extra")
extra.command = command
COMMANDS["extra"] = Command("_extra", "")
sys.argv = ["homotopy", "extra"]
sys.exit(main())
"""
INTERRUPTED = (1, "homotopy: error: interrupted\n")


def test_termination_outside_a_run_is_one_line_too(launch):
    process = launch(code=EXTRA.format(body="print('ready', flush=True); time.sleep(60)"))
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == INTERRUPTED


HIT = "os.kill(os.getpid(), signal.SIGINT); time.sleep(9)"
FINALISER = f"type('Late', (), {{'__del__': lambda self: exec({HIT!r})}})(); time.sleep(60)"  # Python drops it there
PRINTED = f"""
    try:
        {HIT}
    except KeyboardInterrupt:
        sys.excepthook(*sys.exc_info())  # as NumPy does while it is imported
        raise ImportError("no extension") from None
"""


@pytest.mark.parametrize(
    "body", [HIT, f"exec({HIT!r})", FINALISER, PRINTED], ids=["plain", "exec", "dropped", "printed"]
)
def test_an_interrupt_is_one_line_wherever_python_was(launch, body):
    _, err = (process := launch(code=EXTRA.format(body=body))).communicate(timeout=30)
    assert (process.returncode, err) == INTERRUPTED


def test_an_interrupt_before_there_is_a_command_is_one_line(launch):
    code = (
        "import os, signal, sys, time\n"
        "class Hit:\n"
        "    def find_spec(self, name, path, target=None):\n"
        f"        if name == 'homotopy.run._cli': {HIT}\n"
        "sys.meta_path.insert(0, Hit())\n"
        "from homotopy.__main__ import program\n"
        "sys.exit(program())"
    )
    _, err = (process := launch("list", code=code)).communicate(timeout=30)
    assert (process.returncode, err) == INTERRUPTED


def test_a_parent_that_ignores_interrupts_changes_nothing_but_a_hang_up(launch):
    """A script starts its background jobs with SIGINT ignored, `nohup` its command with SIGHUP ignored."""
    ignore = "import signal; [signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGHUP)]\n"
    process = launch(code=ignore + EXTRA.format(body="print('ready', flush=True); time.sleep(60)"))
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == INTERRUPTED
