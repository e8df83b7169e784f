"""The command line: exit codes, and one line for everything that is wrong."""

import os
import re
import sys
from types import ModuleType

import pytest

from homotopy.run._cli import COMMANDS, Command


def _one_line(err):
    assert err.startswith("homotopy: error: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["lst"], "did you mean `list`"),
        (["--foo"], "unknown option `--foo`; there are list, run, draw, search"),
        (["list", "more"], "unexpected argument `more`"),
        (["doctor", "--deep"], "unknown setting `--deep`; there are none"),
        (["run"], "name the scenario first"),
        (["run", "--quick"], "name the scenario first"),
        (["run", "tyo"], "unknown scenario `tyo`, did you mean `toy`?"),
        (["run", "_helper"], "unknown scenario `_helper`"),
        (["run", "toy", "--sead", "1"], "did you mean `--seed`?"),
        (["run", "toy", "--xyzzy=1"], "there are --out, --quick, --mode, --seed"),
        (["run", "toy", "--seed", "abc"], "--seed INT"),
        (["run", "toy", "--seed", "1.5"], "--seed INT"),
        (["run", "toy", "--seed"], "Missing value"),
        (["run", "toy", "--sizes", "1", "x"], "--sizes"),
        (["run", "toy", "--mode", "loud"], "fine"),
        (["run", "toy", "--grid", "perhaps"], "unexpected argument `perhaps`"),
        (["run", "toy", "--scale", "nan"], "--scale must be a number, but is nan"),
        (["run", "toy", "stray"], "unexpected argument `stray`"),
        (["run", "toy", "--out", " "], "--out is empty"),
        (["run", "toy", "--mode", "request"], "`scale` must be positive, but is -1"),
    ],
)
def test_a_wrong_request_is_one_line_and_exit_2(homotopy, tmp_path, args, says):
    code, out, err = homotopy(*args)
    assert code == 2
    assert says in _one_line(err)
    assert out in ("", "ready\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["toy", "--mode", "work"], "it diverged; shorten the steps\n"),
        (["toy", "--mode", "bug"], "KeyError: 'a\\nbug long long"),
        (["toy", "--mode", "bug"], "… (HOMOTOPY_TRACEBACK=1 shows the traceback)\n"),
        (["toy", "--mode", "exit"], "leaving"),
        (["toy", "--mode", "nothing"], "must give back an xarray.Dataset, but gave NoneType"),
        (["toy", "--mode", "full"], "cannot be written to runs/toy: No space left on device"),
        (["lacking"], "no_such_package_anywhere"),
        (["unfinished"], "does not define Settings, QUICK, compute, draw, tell"),
        (["clash"], "a setting cannot be called out"),
        (["wrong"], "SyntaxError"),
    ],
)
def test_failed_work_is_one_line_and_exit_1_and_leaves_nothing(homotopy, tmp_path, args, says):
    code, _, err = homotopy("run", *args)
    assert code == 1
    assert says in _one_line(err)
    assert len(err) < 600
    assert not list(tmp_path.iterdir())


FRAMED = """\
╭─ Value error ────────────────────────────╮
│ Error parsing --seed: invalid literal    │
│ for int() with base 10: 'abc'            │
│ ──────────────────────────────────────── │
│ Argument helptext:                       │
│     --seed INT                           │
│     what is drawn (default: 0)           │
│ ──────────────────────────────────────── │
│ For full helptext, see p --help          │
╰──────────────────────────────────────────╯
"""
PLAIN = """\
 Missing argument
 ---------------------------------------------------------
  Missing value for argument '--seed'. Expected 1 values.
  ---------------------------------------------------------
  For full helptext, run p --help

"""


@pytest.mark.parametrize(
    ("box", "line"),
    [
        (FRAMED, "Error parsing --seed: invalid literal for int() with base 10: 'abc'; expected --seed INT"),
        (PLAIN, "Missing value for argument '--seed'. Expected 1 values"),
        ("", "the arguments could not be read"),
    ],
)
def test_what_a_box_says_fits_on_a_line(box, line):
    from homotopy.run._arguments import one_line

    assert one_line(box) == line


def test_the_traceback_is_shown_on_request(homotopy, monkeypatch):
    monkeypatch.setenv("HOMOTOPY_TRACEBACK", "1")
    code, _, err = homotopy("run", "toy", "--mode", "work")
    assert code == 1
    assert "Traceback" in err
    assert err.endswith("homotopy: error: it diverged; shorten the steps\n")
    monkeypatch.setenv("HOMOTOPY_TRACEBACK", "0")
    _one_line(homotopy("run", "toy", "--mode", "work")[2])


@pytest.mark.parametrize("args", [[], ["--help"], ["-h"], ["list", "--help"], ["run", "--help"], ["doctor", "-h"]])
def test_help_is_no_error(homotopy, args):
    code, out, err = homotopy(*args)
    assert code == 0
    assert "usage" in out
    assert not err


def test_help_of_a_scenario_shows_its_settings(homotopy):
    code, out, err = homotopy("run", "toy", "--help")
    assert code == 0
    assert not err
    for word in ("A toy: one figure", "--out", "--quick", "--seed", "what is drawn"):
        assert word in out


def test_version(homotopy):
    from homotopy import __version__

    assert homotopy("--version") == (0, f"homotopy {__version__}\n", "")


def test_list_reads_first_lines_and_imports_nothing(homotopy):
    code, out, err = homotopy("list")
    assert code == 0
    assert not err
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert list(lines) == ["clash", "lacking", "toy", "unfinished", "wordless", "wrong"]
    assert lines["toy"] == "A toy: one figure, one number."
    assert lines["wordless"] == "(no description)"
    assert lines["wrong"].startswith("(cannot be read: ")


def test_a_new_command_is_a_module_and_a_row(homotopy, monkeypatch):
    extra = ModuleType("homotopy.run._extra")
    extra.command = lambda args, scenarios: 7 + len(args)
    monkeypatch.setitem(sys.modules, "homotopy.run._extra", extra)
    monkeypatch.setitem(COMMANDS, "extra", Command("_extra", "what it does"))
    assert homotopy("extra", "word")[0] == 8
    assert "  extra       what it does\n" in homotopy("--help")[1]


def test_quick_settings_are_a_start_that_words_override(homotopy):
    from homotopy.run import load_run

    assert homotopy("run", "toy", "--quick", "--seed", "4", "--no-grid")[0] == 0
    manifest = load_run("runs/toy").manifest
    settings = manifest["settings"]
    assert (settings["sizes"], settings["scale"], settings["seed"], settings["grid"]) == ([1], 0.5, 4, False)
    assert manifest["command"] == "homotopy run toy --quick --seed=4 --no-grid"


@pytest.mark.parametrize(
    "words",
    [
        ["--scale", "-1e-05", "--seed", "-3"],
        ["--scale=inf"],
        ["--label=-x y'z"],
        ["--sizes", "5", "6", "7"],
        ["--no-grid"],
    ],
)
def test_the_command_in_the_manifest_does_it_again(homotopy, words):
    import shlex

    from homotopy.run import _run

    scenario, module, options = _run._request(["toy", *words], "toy_scenarios")
    spelled = shlex.split(_run._spelled(scenario, module, options))
    assert spelled[:3] == ["homotopy", "run", "toy"]
    assert len(spelled) > 3
    assert _run.parts(spelled[2:], "toy_scenarios") == (module, options.settings)


def test_light_commands_import_no_solver(launch):
    code = (
        "import sys; from homotopy.run import main\n"
        "for args in (['--help'], ['--version'], ['list']): assert main(args) == 0\n"
        "heavy = {'jax', 'numpy', 'equinox', 'diffrax', 'optimistix', 'lineax', 'xarray', 'matplotlib', 'rich'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or None)"
    )
    process = launch(code=code)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no device that is always full")
@pytest.mark.parametrize("args", [["list"], ["--help"], ["run", "toy", "--help"]])
def test_a_full_standard_output_is_one_line(launch, args):
    with open("/dev/full", "w") as full:
        process = launch(*args, stdout=full)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "standard output cannot be written: No space left" in _one_line(err)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no device that is always full")
def test_the_exit_code_tells_where_standard_error_cannot(launch):
    with open("/dev/full", "w") as full:
        process = launch("lst", stderr=full)
        process.communicate(timeout=60)
    assert process.returncode == 2


def test_a_reader_that_leaves_early_is_no_fault(launch):
    reading, writing = os.pipe()
    os.close(reading)
    process = launch("list", stdout=writing)
    os.close(writing)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1, "")


def test_the_time_that_is_told_begins_with_the_program(launch):
    code = (
        "import sys, time; from homotopy.run import main\n"
        "time.sleep(0.7)  # imports may take as long\n"
        "sys.exit(main(scenarios='toy_scenarios'))"
    )
    out, err = (process := launch("run", "toy", "--out", "a", code=code)).communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert float(re.search(r"wrote a in ([0-9.]+) s", out)[1]) >= 0.7


def test_inside_a_longer_process_it_begins_with_the_command(homotopy, monkeypatch):
    from homotopy.run import _clock

    monkeypatch.setattr(_clock, "_since", -1e6)
    out = homotopy("run", "toy", "--out", "a")[1]
    assert float(re.search(r"wrote a in ([0-9.]+) s", out)[1]) < 1e3


def test_a_platform_that_is_not_there_is_one_line(launch):
    process = launch("run", "toy", env={"JAX_PLATFORMS": "cuda"})
    _, err = process.communicate(timeout=60)
    if process.returncode == 0:
        pytest.skip("this machine has a GPU")
    assert process.returncode == 2
    assert "JAX_PLATFORMS=cuda asks for a platform that JAX does not find here" in _one_line(err)
    out, err = (process := launch("doctor", env={"JAX_PLATFORMS": "cuda"})).communicate(timeout=60)
    assert (process.returncode, err) == (1, "")
    assert "PROBLEM machine        JAX_PLATFORMS=cuda" in out


def test_the_users_matplotlib_and_home_do_not_show(launch, tmp_path):
    (tmp_path / "rc").mkdir()
    (tmp_path / "rc/matplotlibrc").write_text("text.usetex: true\nfont.family: No Such Font\nno.such.key: 1\n")
    for name, env in (("a", {}), ("b", {"MPLCONFIGDIR": str(tmp_path / "rc")}), ("c", {"HOME": os.devnull})):
        _, err = (process := launch("run", "toy", "--out", name, env=env)).communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
    assert (tmp_path / "a/curve.svg").read_bytes() == (tmp_path / "b/curve.svg").read_bytes()


def test_a_folder_whose_name_is_not_utf8_can_be_written(homotopy):
    from homotopy.run import load_run

    code, _, err = homotopy("run", "toy", "--out", os.fsdecode(b"out\xe9"))
    assert (code, err) == (0, "")
    load_run(os.fsdecode(b"out\xe9"))


@pytest.mark.parametrize("first", ["homotopy", "jax"])
def test_float64_is_on_whichever_is_imported_first(launch, first):
    code = f"import sys, {first}, homotopy, jax.numpy as jnp; sys.exit(str(jnp.zeros(1).dtype))"
    _, err = (process := launch(code=code, env={"JAX_ENABLE_X64": "0"})).communicate(timeout=60)
    assert (process.returncode, err) == (1, "float64\n")
