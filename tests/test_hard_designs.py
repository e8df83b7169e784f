"""Designs on which least squares and logistic regression go wrong quietly: every number is right, flagged or refused."""

from pathlib import Path

import hard_designs
import numpy as np
import pytest

DOCUMENT = Path(__file__).parents[1] / "docs" / "hard_designs.md"


@pytest.fixture(scope="module")
def tables():
    return hard_designs.outcomes(hard_designs.linear_designs()), hard_designs.outcomes(hard_designs.logistic_designs())


def test_no_number_is_wrong_without_a_word(tables):
    wrong = [
        f"{design}, {function}: {value}"
        for table in tables
        for design, row in table.items()
        for function, value in row.items()
        if value.startswith("WRONG")
    ]
    assert not wrong, "\n".join(wrong)


def test_the_document_shows_what_is_the_case(tables):
    """`python tests/hard_designs.py` prints it. A cell on the edge of a tolerance may fall otherwise on another machine."""
    made, written = (cells(text) for text in (hard_designs.report(*tables), DOCUMENT.read_text(encoding="utf-8")))
    assert made.keys() == written.keys()
    other = [f"{place}: {made[place]}, not {written[place]}" for place in made if made[place] != written[place]]
    assert len(other) <= 0.01 * len(made), "\n".join(other)


def cells(text: str) -> dict[tuple[str, str, str], str]:
    """Every cell of the tables, by table, design and function."""
    found, title, functions = {}, "", []
    for line in text.splitlines():
        if line.startswith("## "):
            title = line
        elif line.startswith("| design"):
            functions = [word.strip(" `") for word in line.split("|")[2:-1]]
        elif line.startswith("| "):
            design, *marks = (word.strip() for word in line.split("|")[1:-1])
            found |= {(title, design, name): mark for name, mark in zip(functions, marks, strict=True)}
    return found


def test_the_suite_sees_a_wrong_number():
    design = hard_designs.linear_designs()["plain"]
    truth = hard_designs.QUESTIONS["leverage"].truth
    careless = hard_designs.Question(lambda p: (truth(design) * (1 + 1e-5 * np.arange(hard_designs.N)), False), truth)
    assert hard_designs.outcome(careless, design).startswith("WRONG")
