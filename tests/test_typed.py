"""What type checkers and editors see of `homotopy`: every public name with its type, and calls that are checked."""

import re
from importlib import resources
from pathlib import Path

import pytest

import homotopy

ROOT = Path(homotopy.__file__).parents[1]
# A user's script: the lines marked with an error code are wrong, and no other.
SCRIPT = """\
import homotopy
from homotopy import Dataset, LinearRegression, Problem, Step, search, simulate

homotopy.serch  # attr-defined
problem = Problem(LinearRegression(), Dataset([[0.0], [1.0], [3.0]], [0.0, 1.0, 2.0]), delete=0)
problem.dimension  # attr-defined
run = simulate(problem, Step(0.5), [0.0, 0.0], t1=1.0)
simulate(problem, Step(0.5), [0.0, 0.0], time=1.0)  # call-arg
simulate(problem, 0.5, [0.0, 0.0], t1=1.0)  # arg-type
run.theta2  # attr-defined
found = search(problem, [0.0, 0.0], t1=1.0, family="bang-bang")
search(problem, t1=1.0)  # call-arg
found.energy.upper()  # attr-defined
print(float(found.energy), run.thetas.shape, found.certificate.lower_bound)
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What mypy says of the script and of every public name, one run for all tests: [(line, kind, message)]."""
    api = pytest.importorskip("mypy.api")
    script = tmp_path_factory.mktemp("user") / "script.py"
    script.write_text(SCRIPT + "".join(f"reveal_type(homotopy.{name})\n" for name in homotopy.__all__))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MYPYPATH", str(ROOT))
        options = ["--config-file", ROOT / "pyproject.toml", "--cache-dir", ROOT / ".mypy_cache"]
        out, err, _ = api.run([*map(str, options), "--follow-imports=silent", "--no-pretty", str(script)])
    assert not err, err
    found = re.findall(r"^\S*script\.py:(\d+): (error|note): (.*)$", out, flags=re.MULTILINE)
    return [(int(line), kind, message) for line, kind, message in found]


def test_the_package_says_that_it_is_typed():
    assert resources.files("homotopy").joinpath("py.typed").is_file()


def test_a_user_s_mistakes_are_errors_and_nothing_else_is(told):
    marked = {(line, text.split("# ")[1]) for line, text in enumerate(SCRIPT.splitlines(), start=1) if "  # " in text}
    errors = {(line, message.rsplit("[", 1)[1].rstrip("]")) for line, kind, message in told if kind == "error"}
    assert errors == marked


def test_every_public_name_has_a_type(told):
    first = len(SCRIPT.splitlines()) + 1
    seen = {line: message for line, kind, message in told if kind == "note" and line >= first}
    types = {name: seen[first + k] for k, name in enumerate(homotopy.__all__)}
    untyped = [name for name, shown in types.items() if re.search(r'type is "(Any|builtins\.object)"', shown)]
    assert not untyped
    assert re.search(r"def \(problem: homotopy\.\S*Problem, theta0: .*, t1: .*\) -> \S*SearchResult", types["search"])


def test_every_listed_name_is_there_at_run_time():
    for name in homotopy.__all__:  # and not something else that `__init__.py` imports under that name
        home = getattr(homotopy, name)
        assert getattr(home, "__module__", home.__name__).startswith("homotopy."), name
