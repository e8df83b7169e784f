"""Without the optional extras: everything runs, or says which one it needs before it starts."""

import importlib
import re
import sys
import tomllib
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from homotopy import LinearRegression, Problem, RequestError, datasets, membership_inference, search
from homotopy._extras import EXTRAS, missing, need
from homotopy.run import Progress
from homotopy.run._scenarios import find_scenarios

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def without(monkeypatch):
    """`without("certify")`: as though what the extra brings were not installed."""

    def hide(*extras):
        for module in (module for extra in extras for module in EXTRAS[extra].modules):
            for name in [name for name in sys.modules if name == module or name.startswith(f"{module}.")]:
                monkeypatch.setitem(sys.modules, name, None)
            monkeypatch.setitem(sys.modules, module, None)

    return hide


def test_the_extras_are_those_of_the_project():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert set(listed) == set(EXTRAS)
    for name, words in listed.items():
        own = {re.split("[<>=!]", word)[0] for word in words if not word.startswith("homotopy[")}
        assert own == set(EXTRAS[name].modules.values())


def test_what_is_missing_is_named_with_its_remedy(without):
    need("data", "anything")
    without("data")
    assert missing("data") == ["scikit-learn", "statsmodels"]
    with pytest.raises(
        RequestError, match=r"^this: needs scikit-learn and statsmodels.*pip install 'homotopy\[data\]'"
    ):
        need("data", "this")
    assert not missing("certify")


def test_a_certificate_that_is_asked_for_is_refused_before_the_search(without):
    problem = Problem(LinearRegression(), datasets.random_linear(n=8), delete=0)
    without("certify")
    with pytest.raises(RequestError, match=r"clarabel, not installed here; pip install 'homotopy\[certify\]'"):
        search(problem, np.zeros(2), t1=0.2, family="bang-bang", certify="value-function")
    assert search(problem, np.zeros(2), t1=0.2, family="bang-bang").certificate.kind != "value-function"


def test_the_membership_attack_is_refused_without_scikit_learn(without):
    without("data")
    with pytest.raises(RequestError, match="membership_inference: needs scikit-learn"):
        membership_inference(np.zeros((8, 2)), np.ones((8, 2)))


class _WorkBegan(Exception):
    pass


class _Watch(Progress):
    """The progress of a scenario that is stopped where its work begins."""

    @contextmanager
    def task(self, description, total=None):
        raise _WorkBegan
        yield


def _begins(name, settings):
    """None if the scenario comes to its work, else why it refuses."""
    module = importlib.import_module(f"homotopy.scenarios.{name}")
    try:
        module.compute(getattr(module, settings) if settings == "QUICK" else module.Settings(), _Watch())
    except _WorkBegan:
        return None
    except RequestError as error:
        return str(error)
    raise AssertionError("the work was over without a task")


OPTIONAL = re.compile(r"datasets\.load\(|reduced\(|sklearn|statsmodels|clarabel|membership_inference")


@pytest.mark.parametrize("settings", ["QUICK", "full"])
@pytest.mark.parametrize("name", sorted(find_scenarios()))
def test_every_scenario_runs_without_extras_or_says_which_before_it_starts(without, name, settings):
    without("data", "certify")
    refusal = _begins(name, settings)
    if refusal is None and name not in ("error_decomposition", "schedule_shootout"):  # some of their parts need none
        source = (ROOT / "scenarios" / f"{name}.py").read_text(encoding="utf-8")
        assert not OPTIONAL.search(source)
    else:
        assert refusal is None or re.search(r"homotopy\[(data|certify)\]", refusal)


def test_certificates_that_a_scenario_asks_for_are_refused_with_the_setting_that_does_without(without):
    without("certify")
    assert re.search(r"--programs \(0 leaves them out\): needs clarabel", _begins("optimal_structure", "QUICK"))
    module = importlib.import_module("homotopy.scenarios.optimal_structure")
    with pytest.raises(_WorkBegan):
        module.compute(module.Settings(programs=0), _Watch())


def test_hypotheses_say_which_extra_they_need_before_they_start(without, homotopy):
    without("data")
    code, out, err = homotopy("hypotheses", "--only", "H01", "--quick")
    assert (code, out) == (2, "")
    assert "the notes' claims: needs scikit-learn and statsmodels" in err


def test_doctor_lists_every_extra(without, homotopy):
    without("certify")
    code, out, err = homotopy("doctor")
    assert (code, err) == (0, ""), out
    for name, extra in EXTRAS.items():
        line = next(line for line in out.splitlines() if f"[{name}]" in line)
        assert extra.purpose in line
        assert line.startswith("- " if missing(name) else "ok ")
        if missing(name):
            assert f"without {', '.join(missing(name))}: pip install 'homotopy[{name}]'" in line
