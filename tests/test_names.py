"""Parameters of the public functions: one name for one notion (docs/names.md)."""

import inspect
import re
from pathlib import Path

import pytest

from tests.public import functions

TABLE = Path(__file__).parents[1] / "docs" / "names.md"


def _rows() -> list[tuple[list[str], list[str]]]:
    cells = [line.split("|")[1:-1] for line in TABLE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    return [(re.findall(r"`(\w+)`", row[1]), re.findall(r"`(\w+)`", row[2])) for row in cells[1:]]


@pytest.fixture(scope="module")
def parameters():
    """Where every parameter name occurs."""
    found: dict[str, list[str]] = {}
    for where, function in functions().items():
        for name in inspect.signature(function).parameters:
            found.setdefault(name, []).append(where)
    return found


def test_every_notion_of_the_table_is_somewhere_called_so(parameters):
    rows = _rows()
    assert len(rows) > 20
    assert [name for names, _ in rows for name in names if name not in parameters] == []


def test_no_notion_has_another_name(parameters):
    others = {other: names for names, others in _rows() for other in others}
    assert not set(others) & {name for names, _ in _rows() for name in names}
    found = {f"{where}: {name} is called {others[name][0]}" for name in others for where in parameters.get(name, [])}
    assert found == set()


def test_a_seed_is_a_whole_number_and_a_key_may_be_more():
    for where, function in functions().items():
        annotation = {
            name: str(parameter.annotation) for name, parameter in inspect.signature(function).parameters.items()
        }
        assert "Key" not in annotation.get("seed", ""), where
        assert annotation.get("key", "Key") not in ("int", "<class 'int'>"), where
