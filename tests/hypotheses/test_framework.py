"""The framework: intervals, rules, verdicts from evidence, saved checks, and pages."""

import dataclasses
import json
import math
import re

import numpy as np
import pytest
from scipy.stats import spearmanr

from homotopy import RequestError, WorkError
from homotopy.hypotheses import (
    Finding,
    Hypothesis,
    Result,
    Rule,
    Scale,
    builtin,
    correlation,
    decide,
    from_file,
    html_report,
    in_words,
    markdown_report,
    median,
    read_results,
    run_checks,
    select,
    share,
    terminal_table,
    usually,
    verdict_table,
    within,
    write_results,
)
from homotopy.hypotheses._sources import PACKAGE, file_of, reached, source_hash

TINY = Scale(2, 2, 0, dims=(1,))


def _hypothesis(check=None, rule=None, id="X1"):
    def found(scale, progress):
        values = np.arange(40.0)
        return Finding(
            {"wins": share([True] * 38 + [False]), "error": 1e-9, "size": median(values)}, ("wins", "error"),
            {"what": "Worst", "seed": 3}, (), lambda ax: ax.plot(values),
        )  # fmt: skip

    return Hypothesis(
        id, "a <claim> & more", "eq. 1", check or found, rule or within("error", 1e-6), corrected="Not so."
    )


def test_share_is_wilsons_interval():
    found = share([True] * 3 + [False] * 7)
    assert (found["count"], found["of"], found["share"]) == (3, 10, 0.3)
    assert found["low"] == pytest.approx(0.10779, abs=1e-5)  # Wilson (1927) for 3 of 10
    assert found["high"] == pytest.approx(0.60322, abs=1e-5)
    assert share([])["high"] == 1.0


def test_median_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    inside = [(found := median(rng.standard_normal(25)))["low"] <= 0.0 <= found["high"] for _ in range(400)]
    assert 0.93 <= np.mean(inside) <= 1.0


def test_correlation_is_spearmans_and_clusters_widen_it():
    rng = np.random.default_rng(1)
    x = np.repeat(rng.standard_normal(6), 20)
    y = x + 0.1 * rng.standard_normal(120)
    plain, grouped = correlation(x, y), correlation(x, y, clusters=np.repeat(np.arange(6), 20))
    assert plain["correlation"] == pytest.approx(spearmanr(x, y).statistic)
    assert plain["low"] < plain["correlation"] < plain["high"]
    assert grouped["high"] - grouped["low"] > plain["high"] - plain["low"]
    assert math.isnan(correlation(np.ones(5), np.arange(5.0))["correlation"])


@pytest.mark.parametrize(("wins", "verdict"), [(100, "holds"), (0, "fails"), (50, "depends"), (91, "depends")])
def test_usually(wins, verdict):
    rule = usually("wins")
    assert rule({"wins": share([True] * wins + [False] * (100 - wins))}) == verdict
    assert "90%" in rule.text


def test_a_rule_must_answer_with_a_verdict():
    with pytest.raises(ValueError, match="'maybe'"):
        Rule("?", lambda evidence: "maybe")({})
    with pytest.raises(RequestError, match="below ≤ above"):
        usually("wins", above=0.1, below=0.5)


def test_the_verdict_is_read_off_the_evidence():
    result = decide(_hypothesis(), TINY)
    assert (result.verdict, result.error) == ("holds", None)
    assert result.example["command"] == "homotopy hypotheses --only X1 --seed 3 --instances 1"
    assert result.figure.count("<svg") == 1
    turned = decide(_hypothesis(rule=within("error", 1e-12)), TINY, options=" --quick", sizes=" --seed 4")
    assert turned.verdict == "fails"
    assert turned.command == "homotopy hypotheses --only X1 --quick --seed 4"


@pytest.mark.parametrize(
    ("check", "says"),
    [
        (lambda scale, progress: 1 / 0, "ZeroDivisionError"),
        (lambda scale, progress: {"wins": 1}, "must give back a Finding, but gave dict"),
        (lambda scale, progress: Finding({"other": 1.0}), "KeyError: 'error'"),
        (lambda scale, progress: Finding({"other": 1.0}, ("wins",)), "headline names 'wins'"),
    ],
)
def test_what_a_check_raises_is_told_and_decides_nothing(check, says):
    result = decide(_hypothesis(check), TINY)
    assert result.verdict is None
    assert says in result.error
    assert result.to_dict()["error"] == result.error


@pytest.mark.parametrize("wrong", [{"id": "a b"}, {"id": ""}, {"id": "../up"}])
def test_a_hypothesis_is_checked_when_it_is_made(wrong):
    made = {"id": "X1", "statement": "", "source": "", "check": print, "rule": within("error", 1.0)} | wrong
    with pytest.raises(RequestError, match="the id of a hypothesis"):
        Hypothesis(**made)


def test_scale_is_checked():
    with pytest.raises(RequestError, match="instances must be at least 1"):
        Scale(instances=0)
    with pytest.raises(RequestError, match="seed must be ≥ 0"):
        Scale(seed=-1)


def test_finished_checks_are_kept_and_repeated_only_when_something_changes(tmp_path):
    calls = []

    def check(scale, progress):
        calls.append(scale.seed)
        return Finding({"error": 0.0})

    hypothesis = _hypothesis(check)

    def run(hypothesis=hypothesis, scale=TINY, **options):
        seen = []
        run_checks([hypothesis], scale, folder=tmp_path, finished=lambda result, saved: seen.append(saved), **options)
        return seen[0]

    assert [run(), run(), run(fresh=True)] == [False, True, False]
    assert [run(scale=Scale(3, 2, 0)), run(), run(scale=Scale(3, 2, 0))] == [False, True, True]
    assert not run(dataclasses.replace(hypothesis, rule=within("error", 1e-3)))  # the rule is code, too
    assert not run()  # … and its result took the place of the other
    assert len(calls) == 5
    # What a killed run left half-written is no result.
    for path in tmp_path.glob("*.json"):
        path.write_text(path.read_text()[:-20])
    assert not run()


def test_a_check_rests_on_what_it_imports():
    found = {str(path.relative_to(PACKAGE)) for path in reached(file_of(builtin()["H10"].check))}
    assert {
        "hypotheses/claims/_steps.py",
        "scheduler/_bang_bang.py",
        "hypotheses/_evidence.py",
        "flow/_exact.py",
    } <= found
    assert not any(name.startswith(("unlearning/", "attribution/", "run/", "viz/")) for name in found)
    assert "hypotheses/_report.py" not in found
    named = {str(path.relative_to(PACKAGE)) for path in reached(file_of(builtin()["H19"].check))}
    assert "unlearning/_soft_weights.py" in named
    assert source_hash(builtin()["H10"].check) != source_hash(builtin()["H19"].check)


def test_an_undecided_check_is_not_kept_and_does_not_stop_the_others(tmp_path):
    broken = _hypothesis(lambda scale, progress: 1 / 0, id="X0")
    results = run_checks([broken, _hypothesis()], TINY, folder=tmp_path)
    assert [result.verdict for result in results] == [None, "holds"]
    assert [path.name[:2] for path in tmp_path.iterdir()] == ["X1"]


def test_killed_in_the_middle_nothing_finished_is_lost(tmp_path):
    def interrupted(scale, progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_checks([_hypothesis(), _hypothesis(interrupted, id="X2")], TINY, folder=tmp_path)
    assert [path.name[:2] for path in tmp_path.iterdir()] == ["X1"]
    seen = []
    run_checks([_hypothesis()], TINY, folder=tmp_path, finished=lambda result, saved: seen.append(saved))
    # The check function above is made anew, its file is the same: that is what counts.
    assert seen == [True]


def test_json_round_trip_and_what_is_refused(tmp_path):
    results = [decide(_hypothesis(), TINY), decide(_hypothesis(lambda s, p: 1 / 0, id="X2"), TINY)]
    path = tmp_path / "results.json"
    write_results(results, path)
    plain = json.loads(path.read_text())
    assert {"id", "statement", "source", "verdict", "evidence"} <= set(plain[0])
    assert "error" not in plain[0]
    assert plain[1]["error"]
    again = read_results(path)
    assert [(a.verdict, a.evidence, a.headline) for a in again] == [
        (r.verdict, r.evidence, r.headline) for r in results
    ]
    path.write_text(json.dumps([plain[0] | {"format": "homotopy-hypotheses/0"}]))
    with pytest.raises(RequestError, match="homotopy-hypotheses/0, but homotopy-hypotheses/1 is needed"):
        read_results(path)
    path.write_text(json.dumps([{name: value for name, value in plain[0].items() if name != "evidence"}]))
    with pytest.raises(RequestError, match="lacks the entry 'evidence'"):
        read_results(path)
    for text in ('{"H01": "holds"}', "[1]", "not json"):
        path.write_text(text)
        with pytest.raises(RequestError, match="results"):
            read_results(path)


def test_the_page_stands_alone():
    results = [decide(_hypothesis(), TINY), decide(_hypothesis(lambda s, p: 1 / 0, id="X2"), TINY)]
    page = html_report(results)
    assert page.count("<svg") == 1
    assert "&lt;claim&gt; &amp; more" in page
    assert "<claim>" not in page
    assert not re.search(r"<(script|link|img|iframe)\b", page)
    assert not re.search(r"""(src|href)\s*=\s*["'](?!#)""", page)
    assert not re.search(r"url\((?!#)|@import", page)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    references = set(re.findall(r'href="#([^"]+)"', page)) | set(re.findall(r"url\(#([^)]+)\)", page))
    assert references <= set(ids)
    assert "could not be decided" in page.lower()
    assert "ZeroDivisionError" in page


def test_the_tables():
    held, failed = decide(_hypothesis(), TINY), decide(_hypothesis(rule=within("error", 1e-12), id="X2"), TINY)
    row = verdict_table([held]).splitlines()[2]
    assert row == "| X1 | a <claim> & more | ✓ holds | wins: 38 of 39 (97.4 %, 86.8 % to 99.5 %) |"
    page = markdown_report([held, failed])
    assert "* **X2** Not so." in page
    assert "* **X1**" not in page
    assert "2 claims: 1 hold, 1 fail" in page
    assert all(len(line) <= 118 for line in terminal_table([held, failed]).splitlines())


def test_in_words():
    assert in_words(median([1.0, 2.0, 4.0])) == "2 (1 to 4, n = 3)"
    assert in_words({"dual": 3, "local": 1.5}) == "dual: 3, local: 1.5"
    assert in_words([0.12345, "x"]) == "[0.123, x]"
    assert in_words(float("inf")) == "inf"


def test_every_claim_of_the_notes_is_there_once():
    found = builtin()
    assert all(hypothesis.rule.text and hypothesis.computed and hypothesis.family for hypothesis in found.values())
    assert list(found) == sorted(found)
    chosen, complaints = select(["h01", "H12", "H011"], found)
    assert [hypothesis.id for hypothesis in chosen] == ["H01", "H12"]
    assert "did you mean H01" in complaints[0] or "did you mean H11" in complaints[0]


MINE = """
import jax.numpy as jnp
from homotopy import AbstractSchedule, Finding, Hypothesis, LinearDecay, LinearRegression, Problem, datasets, energy
from homotopy.hypotheses import share, usually


class Bell(AbstractSchedule):  # a new ε(t): e^{−(t/width)²}
    width: float
    piecewise_constant = False

    def discontinuities(self):
        return jnp.zeros(0)

    def piece(self, index, t):
        return jnp.exp(-((t / self.width) ** 2))


def check(scale, progress):
    wins = []
    for seed in scale.seeds(scale.networks):
        problem = Problem(LinearRegression(), datasets.random_linear(seed=seed), delete=0)
        bell, linear = (energy(problem, epsilon, problem.initial(seed), t1=0.2) for epsilon in (Bell(0.1), LinearDecay(0.0, 0.2)))
        wins.append(bool(bell < linear))
    return Finding({"wins": share(wins)}, headline=("wins",))


BELL = Hypothesis("bell", "A bell ends nearer to θ*₋ than a linear decay", "my notebook", check, usually("wins"))
"""


def test_a_users_own_hypothesis(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    (mine,) = from_file(path)
    result = decide(mine, Scale(1, 1, 1))
    assert result.error is None
    assert result.evidence["wins"]["of"] == 1


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        ("x = 1", RequestError, "defines no Hypothesis"),
        ("\n1 / 0", WorkError, "ZeroDivisionError in line 2: division by zero"),
        ("def (", WorkError, "SyntaxError"),
        ("import no_such_module_anywhere", WorkError, "ModuleNotFoundError in line 1"),
        (None, RequestError, "is no file"),
    ],
)
def test_a_users_file_that_does_not_work(tmp_path, text, kind, says):
    path = tmp_path / "mine.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(kind, match=says):
        from_file(path)


def test_a_result_tells_itself():
    assert str(Result("H01", "claim", "", "holds", {})) == "H01  holds  claim"
    assert str(Result("H01", "claim", "", None, {}, error="no")) == "H01  no  claim"
