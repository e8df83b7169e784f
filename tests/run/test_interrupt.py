"""Ctrl-C, termination and murder: one line, exit code 1, and the disk as it was."""

import signal

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


def test_termination_outside_a_run_is_one_line_too(launch):
    code = (
        "import sys, time, types; from homotopy.run import main; from homotopy.run._cli import COMMANDS, Command\n"
        "extra = sys.modules['homotopy.run._extra'] = types.ModuleType('extra')\n"
        "extra.command = lambda args, scenarios: print('ready', flush=True) or time.sleep(60)\n"
        "COMMANDS['extra'] = Command('_extra', '')\n"
        "sys.exit(main(['extra']))"
    )
    process = launch(code=code)
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (1, "homotopy: error: interrupted\n")
