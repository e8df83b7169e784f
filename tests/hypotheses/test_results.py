"""The committed results of the full run: they belong to the hypotheses of this code, and their verdicts follow."""

from pathlib import Path

import pytest

from homotopy.hypotheses import builtin, read_results, verdict_table

PATH = Path(__file__).resolve().parents[2] / "figures" / "hypotheses" / "results.json"
RESULTS = {result.id: result for result in read_results(PATH)}


def test_every_claim_has_a_result():
    assert list(RESULTS) == list(builtin())
    assert all(result.error is None for result in RESULTS.values())


@pytest.mark.parametrize("id", list(RESULTS))
def test_the_statement_is_this_one_and_the_verdict_follows_from_the_evidence(id):
    result, hypothesis = RESULTS[id], builtin()[id]
    assert (result.statement, result.rule) == (hypothesis.statement, hypothesis.rule.text)
    assert hypothesis.rule(result.evidence) == result.verdict


def test_the_page_of_the_claims_shows_these_verdicts():
    page = (PATH.parents[2] / "docs" / "claims.md").read_text(encoding="utf-8")
    assert verdict_table(list(RESULTS.values())).strip() in page
