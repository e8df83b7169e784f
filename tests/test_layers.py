"""Imports go one way along the layers, stay out of other folders' private files, and make no circles."""

import ast
import graphlib
from pathlib import Path
from typing import NamedTuple

import homotopy

ROOT = Path(__file__).parents[1]
# A layer sees itself and what comes before it. The command line and the scenarios see everything.
LAYERS = {
    name: rank
    for rank, names in enumerate(
        (
            ("ground",), ("problem",), ("flow",), ("endpoints",), ("scheduler",), ("unlearning", "attribution"),
            ("viz",), ("hypotheses",), ("run",), ("scenarios",),
        )
    )
    for name in names
}  # fmt: skip
# Imports of another folder's private file, each with its reason: at most two.
EXCUSED: dict[tuple[str, str], str] = {}


class Import(NamedTuple):
    """`file` imports `target` in that line; `late` inside a function."""

    file: Path
    line: int
    target: Path
    late: bool


def _module(parts: list[str]) -> Path | None:
    """The file of a dotted name, of a name in a module, or of a public name of the package."""
    if parts[0] not in ("homotopy", "scenarios"):
        return None
    if len(parts) == 2 and parts[1] in homotopy._HOME:
        parts = ["homotopy", homotopy._HOME[parts[1]]]
    for end in (len(parts), len(parts) - 1):
        path = ROOT.joinpath(*parts[:end])
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file():
                return file
    return None


def _imports(file: Path) -> list[Import]:
    tree, found = ast.parse(file.read_text(encoding="utf-8")), []
    here = file.relative_to(ROOT).with_suffix("").parts
    late = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        names: list[list[str]] = []
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = [*here[: -node.level]] if node.level else []
            base += node.module.split(".") if node.module else []
            names = [[*base, alias.name] for alias in node.names]
        for parts in names:
            target = _module(parts)
            if target is not None and target != file:
                found.append(Import(file, node.lineno, target, id(node) in late))
    return found


def _folder(file: Path) -> str:
    parts = file.relative_to(ROOT).parts
    if parts[0] == "scenarios":
        return "scenarios"
    return parts[1] if len(parts) > 2 else "ground"


FILES = sorted(file for top in ("homotopy", "scenarios") for file in (ROOT / top).rglob("*.py"))
IMPORTS = [found for file in FILES for found in _imports(file)]


def _told(found: Import) -> str:
    return f"{found.file.relative_to(ROOT)}:{found.line} imports {found.target.relative_to(ROOT)}"


def test_there_is_something_to_look_at():
    assert len(IMPORTS) > 500
    assert {_folder(found.file) for found in IMPORTS} == set(LAYERS)


def test_no_import_reaches_into_another_folder_s_private_file():
    reaching = [
        found
        for found in IMPORTS
        if _folder(found.target) not in ("ground", _folder(found.file))
        and found.target.name.startswith("_")
        and found.target.name != "__init__.py"
    ]
    excused = {(str(found.file.relative_to(ROOT)), str(found.target.relative_to(ROOT))) for found in reaching}
    assert excused == set(EXCUSED), "\n".join(map(_told, reaching))
    assert len(EXCUSED) <= 2


def test_imports_go_one_way():
    """Inside functions too. The names of the package itself are their folders'; its start calls the command line."""
    back = [
        found
        for found in IMPORTS
        if LAYERS[_folder(found.target)] > LAYERS[_folder(found.file)]
        or (
            LAYERS[_folder(found.target)] == LAYERS[_folder(found.file)]
            and _folder(found.target) != _folder(found.file)
        )
    ]
    assert [_told(found) for found in back if found.file.name != "__main__.py"] == []


def test_no_files_import_each_other():
    """At module level, where a circle would break on import."""
    graph: dict[Path, set[Path]] = {file: set() for file in FILES}
    for found in IMPORTS:
        if not found.late and found.target != found.file.parent / "__init__.py":
            graph[found.file].add(found.target)
    graphlib.TopologicalSorter(graph).prepare()
