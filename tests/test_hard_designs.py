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
    # A cell that was right and is refused now is a loss, and a gain is worth a line: `python tests/hard_designs.py`.
    assert hard_designs.report(*tables) in DOCUMENT.read_text(encoding="utf-8")


def test_the_suite_sees_a_wrong_number():
    design = hard_designs.linear_designs()["plain"]
    truth = hard_designs.QUESTIONS["leverage"].truth
    careless = hard_designs.Question(lambda p: (truth(design) * (1 + 1e-5 * np.arange(hard_designs.N)), False), truth)
    assert hard_designs.outcome(careless, design).startswith("WRONG")
