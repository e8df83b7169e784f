"""What the code says of its documents is true: sections exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_section_that_the_code_names_exists():
    text = (ROOT / "docs" / "mathematics.md").read_text(encoding="utf-8")
    sections = set(re.findall(r"^## (\d+)\.", text, re.MULTILINE))
    assert sections == {str(k) for k in range(1, len(sections) + 1)}
    named = {
        (path.relative_to(ROOT), found)
        for folder in ("homotopy", "scenarios", "tests")
        for path in (ROOT / folder).rglob("*.py")
        for found in re.findall(r"mathematics §(\d+)", path.read_text(encoding="utf-8"))
    }
    assert len(named) > 20
    assert not {place for place in named if place[1] not in sections}
