"""Gradient-flow homotopies θ(t, ε(t)): train while the weight of some points changes in time.

    θ̇ = −∇R⁻(θ) − ε(t) ∇ℓ_J(θ),   θ(0) = θ₀

ε ≡ 1 trains on everything, ε ≡ 0 leaves the points J out, and every way of unlearning them is some ε(t)
in between. Importing this package turns JAX's 64-bit floats on: every claim here is about small differences.

The public names, and JAX itself, are loaded on first use: the command line answers `--help` before the solvers are
imported, can set their switches first, and listens to Ctrl-C before anything takes long.

Every public name has an example, and all of them continue these lines: three models of 20 points, of which J = {3} is
to be deleted, and a start θ₀ for the first.

    >>> import jax.numpy as jnp, numpy as np
    >>> from homotopy import *
    >>> data = datasets.random_linear(n=20, d=2, seed=0)
    >>> problem = Problem(LinearRegression(), data, delete=3)
    >>> classes = Problem(LogisticRegression(), Dataset(data.x, data.y > 0), delete=3, ridge=1.0)
    >>> network = Problem(MLP(width=3), datasets.teacher_student(n=20), delete=3, ridge=0.1)
    >>> theta0 = problem.initial(0)
"""

import ast
import importlib
import os
import pathlib
import sys

from ._errors import RequestError as RequestError, WorkError as WorkError

if "jax" in sys.modules:
    sys.modules["jax"].config.update("jax_enable_x64", True)
else:
    os.environ["JAX_ENABLE_X64"] = "true"  # JAX's own switch, which it reads when it is imported

# `__init__.pyi` beside this file is the one list of the public names: type checkers read it, and so does this.
_PUBLIC: dict[str, tuple[str, ...]] = {
    node.module: tuple(alias.name for alias in node.names)
    for node in ast.parse(pathlib.Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8")).body
    if isinstance(node, ast.ImportFrom) and node.module and not node.module.startswith("_")
}
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}

__version__ = "0.1.0"
__all__ = ["RequestError", "WorkError", *_HOME]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'homotopy' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"homotopy.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
