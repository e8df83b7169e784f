"""A package of toy scenarios, without JAX: they test what surrounds a scenario, not the mathematics."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

PACKAGE = "toy_scenarios"
ROOT = Path(__file__).resolve().parents[2]
MAIN = f"import sys; from homotopy.run import main; sys.exit(main(sys.argv[1:], scenarios={PACKAGE!r}))"

TOY = '''
"""A toy: one figure, one number."""

import hashlib
import os
import signal
import sys
import time
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Literal

import numpy as np
import xarray
from matplotlib.figure import Figure

from homotopy import RequestError, WorkError
from homotopy.run import record


@dataclass(frozen=True)
class Settings:
    mode: Literal[
        "fine", "work", "request", "bug", "exit", "nothing", "interrupt", "swallow", "full", "slow", "stuck",
        "blank", "bad name", "lost"
    ] = "fine"
    """how it ends"""
    seed: int = 0
    """what is drawn"""
    scale: float = 1.0
    """of the vertical axis"""
    sizes: tuple[int, ...] = (1, 2)
    """what is written"""
    label: str = "toy"
    """of the curve"""
    grid: bool = True
    """behind the curve"""
    seconds: float = 3.0
    """that `slow` takes"""


QUICK = Settings(sizes=(1,), scale=0.5)


def compute(settings, progress):
    print("ready", flush=True)
    if settings.mode == "work":
        raise WorkError("it diverged;\\n  shorten the steps")
    if settings.mode == "request":
        raise RequestError("`scale` must be positive, but is -1")
    if settings.mode == "bug":
        raise KeyError("a\\nbug " + "long " * 1000)
    if settings.mode == "exit":
        sys.exit("leaving")
    if settings.mode == "nothing":
        return None
    if settings.mode == "interrupt":
        raise KeyboardInterrupt
    if settings.mode == "swallow":  # as a library may that calls back into Python
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        except KeyboardInterrupt:
            raise RuntimeError("callback failed") from None
    if settings.mode == "slow":
        with progress.task("toy steps", total=20) as advance:
            for _ in range(20):
                time.sleep(settings.seconds / 20)
                advance()
    if settings.mode == "stuck":  # outside Python, where its signal handlers do not run
        hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
    rng = np.random.default_rng(settings.seed)
    x, y = rng.normal(size=(4, 2)), rng.normal(size=4)
    return record(
        xarray.Dataset({"y": ("point", y)}),
        SimpleNamespace(name="toy", x=x, y=y),
        codes={"successful": 3, "max steps reached": 1},
    )


def draw(data, settings):
    if settings.mode == "blank":
        raise KeyError("no such curve")
    if settings.mode == "lost":
        raise FileNotFoundError(2, "No such file", "logo.png")
    if settings.mode == "lost":
        raise FileNotFoundError(2, "No such file", "logo.png")
    figure = Figure(figsize=(3, 2))
    axes = figure.add_subplot()
    y = data["y"].values
    axes.plot(settings.scale * y, label=settings.label)
    axes.fill_between(range(4), y, hatch="//")  # hatches and clips carry identifiers in SVG
    axes.grid(settings.grid)
    axes.legend()

    def animation(path):
        if settings.mode == "full":
            raise OSError(28, "No space left on device")
        path.write_bytes(b"GIF89a")

    return {"../curve" if settings.mode == "bad name" else "curve": figure, "moving": animation}


def tell(data, settings):
    return f"the first value is {data['y'].values[0]:.3f}"
'''

FILES = {
    "__init__.py": "",
    "toy.py": TOY,
    "_helper.py": '"""Not a scenario."""',
    "lacking.py": '"""Imports what is not there."""\nimport no_such_package_anywhere',
    "unfinished.py": '"""Has no settings yet."""\n',
    "clash.py": '"""Has a setting that every run has."""\n'
    "from dataclasses import dataclass\n\n@dataclass(frozen=True)\nclass Settings:\n    out: int = 1\n\n"
    "QUICK = Settings()\n\ncompute = draw = tell = print\n",
    "wordless.py": "x = 1\n",
    "wrong.py": "def (\n",
}


@pytest.fixture(scope="session")
def package_parent(tmp_path_factory):
    """The folder that holds the toy package."""
    parent = tmp_path_factory.mktemp("packages")
    (parent / PACKAGE).mkdir()
    for name, text in FILES.items():
        (parent / PACKAGE / name).write_text(text.lstrip())
    return parent


@pytest.fixture(autouse=True)
def _apart(monkeypatch, package_parent, tmp_path):
    """In a folder of its own, the toys importable, and no cache written or left on for other tests."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(package_parent))
    monkeypatch.setenv("HOMOTOPY_CACHE", "")
    monkeypatch.setenv("EQX_ON_ERROR", os.environ.get("EQX_ON_ERROR", "raise"))
    chosen = jax.config.values["jax_compilation_cache_dir"]
    jax.config.update("jax_compilation_cache_dir", None)
    for name in ("HOMOTOPY_TRACEBACK", "JAX_COMPILATION_CACHE_DIR", "JAX_PLATFORMS"):  # the parent's own choices
        monkeypatch.delenv(name, raising=False)
    yield
    jax.config.update("jax_compilation_cache_dir", chosen)


@pytest.fixture
def homotopy(capsys):
    """`homotopy(*args)` in this process → (exit code, standard output, standard error)."""
    from homotopy.run import main

    def call(*args):
        code = main([str(arg) for arg in args], scenarios=PACKAGE)
        return (code, *capsys.readouterr())

    return call


@pytest.fixture
def launch(package_parent):
    """`launch(*args)` starts `homotopy` in a process of its own; those still alive at the end are killed."""
    started = []

    def call(*args, code=MAIN, **options):
        environment = os.environ | options.pop("env", {})
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(package_parent)])
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
        command = [sys.executable, "-c", code, *map(str, args)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment, **options)
        started.append(process)
        return process

    yield call
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def contents():
    """Every file below a folder with its bytes, hidden ones included."""

    def read(folder):
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    return read


@pytest.fixture
def drawn_again(contents):
    """`drawn_again(folder)`: `homotopy draw` leaves every byte of a run as it is."""
    from homotopy.run import main

    def draw(folder):
        before = contents(Path(folder))
        assert main(["draw", str(folder)]) == 0
        assert contents(Path(folder)) == before

    return draw
