"""What an installation may leave out: the optional extras of `pyproject.toml`, what each is for, and asking for one."""

import importlib.util
from typing import NamedTuple

from ._errors import RequestError


class Extra(NamedTuple):
    modules: dict[str, str]  # what is imported → the distribution that brings it
    purpose: str


EXTRAS = {
    "data": Extra(
        {"sklearn": "scikit-learn", "statsmodels": "statsmodels"}, "real data sets, and the membership-inference attack"
    ),
    "certify": Extra({"clarabel": "clarabel"}, "the value-function certificate of a search"),
    "docs": Extra({"pdoc": "pdoc", "markdown_it": "markdown-it-py"}, "building the site of the documents"),
    "test": Extra(
        {"mpmath": "mpmath", "pandas": "pandas", "pytest": "pytest", "xdist": "pytest-xdist", "beartype": "beartype"},
        "the project's own tests",
    ),
    "bench": Extra({"casadi": "casadi", "torch": "torch"}, "what scenarios/benchmarks measures beside"),
    "dev": Extra({"ruff": "ruff", "mypy": "mypy", "build": "build"}, "working on the project"),
}


def missing(extra: str) -> list[str]:
    """The distributions of `extra` that are not installed."""
    return [name for module, name in EXTRAS[extra].modules.items() if importlib.util.find_spec(module) is None]


def need(extra: str, what: str) -> None:
    """`RequestError`, before any work, unless everything that `extra` brings is installed; `what` is for which it is needed."""
    absent = missing(extra)
    if absent:
        raise RequestError(
            f"{what}: needs {' and '.join(absent)}, not installed here; pip install 'homotopy[{extra}]' brings it"
        )
