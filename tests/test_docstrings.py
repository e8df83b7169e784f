"""What `help(name)` says of every public name: shapes, errors, source, fields, and an example that runs.

One module, so that what the examples compile is shared. They all continue the lines in the docstring of the package.
"""

import dataclasses
import doctest
import inspect
import re

import pytest

import homotopy

HEADING = "Example (continues the package's):\n\n    >>> "
_SIZE = r"(?:[\w…|]+(?: ?[·+] ?\w+)?)"
SHAPE = re.compile(rf"\((?:{_SIZE},|{_SIZE}(?:, {_SIZE})+,?)\)")
DIMENSIONS = {
    "n", "m", "k", "d", "h", "q", "c", "R", "T", "C", "dim", "features", "outputs", "queries", "subsets", "rows", "steps",
    "degrees", "epsilons", "seeds", "shards", "chains",
}  # fmt: skip
SOURCE = re.compile(r"[Mm]athematics §\d|\b[Nn]otes(?:,|'| eq| \(eq)|arXiv|\b(?:18|19|20)\d\d\b")
ERRORS = re.compile(r"`(?:RequestError|WorkError|ValueError)`|\braises?\b|\bRaises?\b")
ARRAY = re.compile(r"\b(?:Float|Int|Bool)\[[^']*' ?[^' ]")  # jaxtyping with at least one dimension

TAKE_NUMBERS_ONLY = {"langevin_temperature"}
CANNOT_FAIL = {"datasets.teacher", "AbstractSchedule"}
MADE_BY_SOLVERS_ONLY = {"LiSSA.check"}  # it takes the matrix, for which there is no public name
# Software and not science: what they do has no source but this project.
OURS = {
    "RequestError", "WorkError", "Dataset", "Checkpoint", "load", "parse", "describe", "Arc", "Trajectory",
    "NotStationaryWarning", "FlaggedRowsWarning", "SolverWarning", "ChainsWarning", "Outcome", "inverse_memory",
    "attack_features", "accuracy", "base_rate", "Guarantee", "datasets.load", "datasets.read_csv",
    "datasets.read_csv_told", "datasets.random_linear", "datasets.teacher",
}  # fmt: skip

PUBLIC = {name: getattr(homotopy, name) for name in homotopy.__all__}
DATASETS = {
    f"datasets.{name}": value
    for name, value in vars(homotopy.datasets).items()
    if inspect.isfunction(value) and value.__module__ == homotopy.datasets.__name__ and not name.startswith("_")
}
NAMES = PUBLIC | DATASETS
FUNCTIONS = {name: value for name, value in NAMES.items() if inspect.isfunction(value)}
CLASSES = {name: value for name, value in NAMES.items() if inspect.isclass(value)}


def _own_methods(kind: type) -> list[str]:
    """Public methods and properties that `kind` adds; one that overrides another is documented there."""
    return [
        name
        for name, value in vars(kind).items()
        if (not name.startswith("_") or (name == "__call__"))
        and (callable(value) or isinstance(value, property | classmethod))
        and not inspect.isclass(value)
        and not any(name in vars(base) for base in kind.__mro__[1:])
    ]


METHODS = {f"{name}.{method}": (kind, method) for name, kind in CLASSES.items() for method in _own_methods(kind)}


def _words(thing) -> str:
    return inspect.getdoc(thing) or ""


def _has_shape(text: str) -> bool:
    return any(set(re.findall(r"\w+", found)) & DIMENSIONS for found in SHAPE.findall(text))


def _source(example: str) -> str:
    return "\n".join(part.source for part in doctest.DocTestParser().get_examples(example))


def test_every_public_name_has_a_docstring_with_an_example():
    assert len(PUBLIC) > 160
    assert not [name for name, value in NAMES.items() if HEADING not in _words(value)]


def test_every_public_method_is_described_and_used_by_an_example():
    assert len(METHODS) > 70
    for name, (kind, method) in METHODS.items():
        own = _words(getattr(kind, method))
        assert own, name
        # An example of an abstract class defines what a class of one's own must have.
        used = rf"(?:\.|def ){method}\b" if method != "__call__" else r"\w\("
        assert name in MADE_BY_SOLVERS_ONLY or re.search(used, _source(_words(kind) + "\n\n" + own)), name


def test_every_public_field_is_described():
    def told(kind, field):
        return any(re.search(rf"`[^`]*\b{field}\b[^`]*`", _words(base)) for base in kind.__mro__[:-1])

    fields = {(name, field.name) for name in CLASSES for field in _fields(CLASSES[name])}
    assert len(fields) > 150
    assert not [(name, field) for name, field in sorted(fields) if not told(CLASSES[name], field)]


def _fields(kind: type) -> list[dataclasses.Field]:
    return [
        field
        for field in (dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ())
        if not field.name.startswith("_") and field.name in vars(kind).get("__annotations__", {})
    ]


def test_arrays_have_their_shapes_said():
    assert {
        name
        for name, function in FUNCTIONS.items()
        if ("Problem" in str(inspect.signature(function)) or ARRAY.search(str(inspect.signature(function))))
        and not _has_shape(_words(function))
    } == TAKE_NUMBERS_ONLY
    assert not [
        name
        for name, kind in CLASSES.items()
        if any(ARRAY.search(str(field.type)) for field in _fields(kind)) and not _has_shape(_words(kind))
    ]


def test_errors_are_said():
    written = re.compile(r"def __(?:init|post_init|check_init)__")
    checked = {name: kind for name, kind in CLASSES.items() if written.search(inspect.getsource(kind))}
    assert len(checked) > 20
    assert not {name for name, value in (FUNCTIONS | checked).items() if not ERRORS.search(_words(value))} - CANNOT_FAIL


def test_sources_are_named():
    assert {name for name, value in NAMES.items() if not SOURCE.search(_words(value))} == OURS


@pytest.fixture(scope="module")
def lines():
    """The names that the lines in the docstring of the package make."""
    names: dict = {}
    _run("homotopy", homotopy.__doc__, names)
    return names


def _run(name: str, text: str, names: dict) -> None:
    told: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    test = doctest.DocTestParser().get_doctest(text, {}, name, None, 0)
    test.globs = names
    assert test.examples, name
    result = runner.run(test, out=told.append, clear_globs=False)
    assert result.failed == 0, "".join(told)


@pytest.mark.parametrize("name", NAMES)
def test_the_example_runs(name, lines):
    _run(name, _words(NAMES[name]), dict(lines))


@pytest.mark.parametrize(
    "name", [name for name, (kind, method) in METHODS.items() if ">>> " in _words(getattr(kind, method))]
)
def test_the_example_of_a_method_runs(name, lines):
    kind, method = METHODS[name]
    _run(name, _words(getattr(kind, method)), dict(lines))
