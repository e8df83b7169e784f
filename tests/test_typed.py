"""What type checkers and editors see of `homotopy`: every public name with its type, and calls that are checked."""

import inspect
import re
from importlib import resources
from pathlib import Path
from typing import Any, get_args

import jax
import numpy as np
import pytest

import homotopy
from homotopy._checks import Values
from tests.public import functions

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


# Annotations with `Any` in them, each with its reason.
ANY = {
    "energy": "options of simulate, whose signature holds them",
    "optimal_schedule": "options of search, whose signature holds them",
    "infinitesimal_jackknife": "options of newton_removal, whose signature holds them",
    "AbstractInverse.prepare": "what a solver prepares is its own affair",
    "AbstractInverse.solve": "the same",
    "Trajectory": "an item of diffrax.RESULTS, which type checkers take for text; a function of time",
    "Sensitivity": "an item of diffrax.RESULTS",
    "AbstractSchedule.to_dict": "JSON",
    "AbstractSchedule.from_dict": "JSON",
    "AbstractSchedule.from_numbers": "numbers, or lists of them, as the class of the text has it",
    "AbstractSchedule.to_numbers": "the same",
    "AbstractFamily": "options of whichever family it is; each names its own",
    "AbstractFamily.having": "the same",
    "Parametric": "numbers of any library, kept as an array",
    "SearchResult.to_dict": "JSON",
    "SearchResult.from_dict": "JSON",
    "Finding": "evidence is whatever a check found, and a figure is drawn on Axes that need not be installed",
    "Hypothesis": "the progress that a check is handed",
    "Rule": "evidence",
    "Rule.__call__": "evidence",
    "Diagnostics.to_frame": "pandas need not be installed",
}


def _inside(annotation):
    """Its arguments; those of a function's type are a list of them and the result."""
    return [part for given in get_args(annotation) for part in (given if isinstance(given, list) else [given])]


def _is_any(annotation):
    """Whether `Any` is in it."""
    return annotation in (Any, "Any", inspect.Parameter.empty) or any(map(_is_any, _inside(annotation)))


def _is_bare_array(annotation):
    """Whether an array without a shape is in it."""
    return annotation in (np.ndarray, jax.Array, Values) or (
        "jaxtyping" not in str(type(annotation)) and any(map(_is_bare_array, _inside(annotation)))
    )


def _overridden(name):
    """Whether a method's abstract one carries the annotations, as in the closed hierarchies of schedules and losses."""
    owner, _, method = name.rpartition(".")
    kind = getattr(homotopy, owner, None)
    return inspect.isclass(kind) and any(method in vars(base) for base in kind.__mro__[1:])


def test_every_public_parameter_and_result_is_annotated_with_its_shape():
    loose, bare = set(), set()
    for name, function in functions().items():
        if _overridden(name):
            continue
        signature = inspect.signature(function)
        annotations = {p.name: p.annotation for p in signature.parameters.values() if p.name != "self"}
        if not inspect.isclass(function):
            annotations["return"] = signature.return_annotation
        loose |= {name for annotation in annotations.values() if _is_any(annotation)}
        bare |= {f"{name}: {what}" for what, annotation in annotations.items() if _is_bare_array(annotation)}
    assert loose == set(ANY)
    assert bare == set()
