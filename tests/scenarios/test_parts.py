"""Every scenario is four plain functions, and its pictures and words are made of what was saved, not computed again."""

import ast
from pathlib import Path

import pytest

from homotopy.run._scenarios import find_scenarios

SCENARIOS = Path(__file__).resolve().parents[2] / "scenarios"
PARTS = ("Settings", "compute", "draw", "tell")
COMPUTES = ("homotopy.problem", "homotopy.flow", "homotopy.endpoints", "homotopy.scheduler", "homotopy.unlearning",
            "homotopy.attribution", "homotopy.hypotheses", "homotopy")  # fmt: skip
# What is read back from data.nc, or says it in words: none of these computes.
READS = {
    "AbstractSchedule", "Arc", "Certificate", "ErrorDecomposition", "RequestError", "SearchResult", "Surface", "WorkError",
    "describe", "gains", "parse", "spoken_gain",
}  # fmt: skip
LIBRARIES = {"jax", "eqx", "diffrax", "optimistix", "lineax", "optax"}


def _parsed(stem):
    return ast.parse((SCENARIOS / f"{stem}.py").read_text(encoding="utf-8"))


def _imported(tree):
    """Local name → (module, name there) of everything that is imported, and name → module of whole modules."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            names |= {alias.asname or alias.name: (module, alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.asname or alias.name: (alias.name, "") for alias in node.names}
    return names


def _computing(stem, functions):
    """What the functions of a module, and those of the scenarios' own that they call, use of what computes."""
    found, seen, left = set(), set(), [(stem, name) for name in functions]
    while left:
        place = module, name = left.pop()
        if place in seen:
            continue
        seen.add(place)
        tree = _parsed(module)
        imported = _imported(tree)
        defined = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        if name not in defined:
            continue  # a constant, or a part that the scenario leaves out
        for node in ast.walk(defined[name]):
            if not isinstance(node, ast.Name):
                continue
            if node.id in defined:
                left.append((module, node.id))
            source, original = imported.get(node.id, ("", ""))
            if source.startswith("._"):
                left.append((source[1:], original))
            elif node.id in LIBRARIES or (source in COMPUTES and original not in READS) or original == "phase_plane":
                found.add(node.id)
    return found


@pytest.mark.parametrize("name", sorted(find_scenarios()))
def test_a_scenario_is_settings_compute_draw_and_tell_in_this_order(name):
    tree = _parsed(name)
    assert ast.get_docstring(tree)
    public = [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    ]
    assert tuple(part for part in public if part != "tabulate") == PARTS
    assigned = [target.id for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]
    assert "QUICK" in assigned
    assert len((SCENARIOS / f"{name}.py").read_text(encoding="utf-8").splitlines()) <= 300


@pytest.mark.parametrize("name", sorted(find_scenarios()))
def test_pictures_and_words_see_only_what_is_saved(name):
    assert not _computing(name, ("draw", "tell", "tabulate"))


def test_a_picture_that_computes_would_be_seen():
    assert {"leave_one_out", "search"} <= _computing("atlas", ("compute",))
    assert "phase_plane" in _computing("phase_portraits", ("compute",))
    assert "decompose_error" in _computing("error_decomposition", ("compute",))
