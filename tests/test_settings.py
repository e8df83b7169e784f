"""Settings are checked like data: ranges in the annotations, held before any work, told in `--help`."""

import dataclasses
import importlib
import math
from typing import Annotated, Any, Literal, get_args, get_origin

import numpy as np
import pytest
import tyro

from homotopy import RequestError
from homotopy._settings import Range, rules
from homotopy.run import Progress, Seed, check, main
from homotopy.run._arguments import parse, run_options
from homotopy.run._scenarios import find_scenarios

SCENARIOS = sorted(find_scenarios())


@dataclasses.dataclass(frozen=True)
class Inner:
    depth: Annotated[int, Range(least=1, most=3)] = 2
    """levels"""


@dataclasses.dataclass(frozen=True)
class Toy:
    n: Annotated[int, Range(least=2, most=100)] = 20
    """points"""
    delete: Annotated[int, Range(least=-1, below="n")] = -1
    """row"""
    rtol: Annotated[float, Range(least=1e-12, most=1e-2)] = 1e-6
    """tolerance"""
    share: Annotated[float, Range(above=0, below=1)] = 0.5
    """part"""
    until: Annotated[float, Range(above=0, most=math.inf)] = math.inf
    """time"""
    powers: Annotated[tuple[float, ...], Range(above=0, entries=2, once=True)] = (1.0, 2.0)
    """exponents"""
    fitted: Annotated[int, Range(least=2, most="powers")] = 2
    """of the powers"""
    names: Annotated[tuple[Literal["a", "b"], ...], Range(entries=1)] = ("a",)
    """cases"""
    kind: Literal["x", "y"] = "x"
    """of case"""
    free: float = 0.0
    """any number"""
    seed: Seed = 0
    """of everything"""
    inner: Annotated[Inner, tyro.conf.OmitArgPrefixes] = Inner()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"n": 1}, "--n must be a whole number ≥ 2 and ≤ 100, but is 1"),
        ({"n": 2.5}, "--n must be a whole number"),
        ({"n": True}, "--n must be a whole number"),
        ({"n": "many"}, "--n must be a whole number"),
        ({"delete": 20}, r"--delete must be a whole number ≥ -1 and < --n \(= 20\), but is 20"),
        ({"delete": -2}, "--delete must be"),
        ({"rtol": 0}, "--rtol must be a number ≥ 1e-12 and ≤ 0.01, but is 0"),
        ({"rtol": math.nan}, "--rtol must be"),
        ({"share": 1.0}, "--share must be a number > 0 and < 1, but is 1"),
        ({"share": math.inf}, "--share must be"),
        ({"until": -math.inf}, "--until must be"),
        ({"powers": (1.0,)}, "--powers must have at least 2 entries, each once, but has 1"),
        ({"powers": (1.0, 1.0)}, "--powers must name each value once, but names 1.0 twice"),
        ({"powers": (1.0, 0.0)}, "--powers must be a number > 0, but is 0"),
        ({"powers": 3.0}, "--powers must be a list"),
        ({"powers": (1.0, math.inf)}, "--powers must be a number"),
        ({"fitted": 3}, r"--fitted must be a whole number ≥ 2 and ≤ --powers \(= 2\), but is 3"),
        ({"names": ("c",)}, "--names must be one of a, b, but is 'c'"),
        ({"names": ()}, "--names must have at least 1 entry"),
        ({"kind": "z"}, "--kind must be one of x, y"),
        ({"free": math.nan}, "--free must be a number, but is nan"),
        ({"seed": -1}, "--seed must be a whole number ≥ 0"),
        ({"seed": 2**32}, "--seed must be"),
        ({"inner": Inner(4)}, "--depth must be a whole number ≥ 1 and ≤ 3, but is 4"),
    ],
)
def test_what_is_wrong_is_named_with_its_range(change, says):
    with pytest.raises(RequestError, match=says):
        check(dataclasses.replace(Toy(), **change))


def test_what_is_right_passes():
    check(Toy())
    check(Toy(n=np.int64(21), delete=20, rtol=np.float64(1e-2), until=3, powers=[0.5, 2, 3], fitted=3, free=-math.inf))


def test_the_command_line_checks_the_same_and_tells_it():
    assert parse(Toy, ["--n", "21", "--delete=20", "--depth", "3"], prog="toy") == Toy(n=21, delete=20, inner=Inner(3))
    with pytest.raises(RequestError, match="--depth must be"):
        parse(Toy, ["--depth", "0"], prog="toy")


def test_the_help_of_nested_settings_shows_docstring_range_and_default(capsys):
    with pytest.raises(SystemExit):
        parse(run_options(Toy(), out="runs/toy"), ["--help"], prog="toy")
    said = " ".join(word for word in capsys.readouterr().out.replace("│", " ").split())
    for words in (
        "tolerance (≥ 1e-12 and ≤ 0.01; default: 1e-06)",
        "row (≥ -1 and < --n; default: -1)",
        "exponents (> 0, at least 2 entries, each once; default: 1.0 2.0)",
        "levels (≥ 1 and ≤ 3; default: 2)",
        "any number (default: 0.0)",
    ):
        assert words in said


def _edges(kind: Any, rule: Range, value: Any, settings: Any) -> tuple[list[Any], list[Any]]:
    """Values of one number just inside and just outside its range."""
    whole, good, bad = kind is int, [], [math.nan, "many", None]
    for name, way, closed in (("least", -1, True), ("above", -1, False), ("most", 1, True), ("below", 1, False)):
        bound = getattr(rule, name)
        if isinstance(bound, str):
            bound = getattr(settings, bound)
            bound = len(bound) if isinstance(bound, tuple) else bound
        if bound is None or (bound == math.inf and closed):
            continue
        step = (lambda x, w: int(x) + w) if whole else (lambda x, w: float(np.nextafter(float(x), w * math.inf)))
        good.append((int(bound) if whole else float(bound)) if closed else step(bound, -way))
        bad.append(step(bound, way) if closed else bound)
    bad += [1.5, True] if whole else [True, -math.inf]
    bad += [math.inf] if rule.most != math.inf else []
    return good, bad


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_setting_of_every_scenario_at_its_edges(name):
    module = importlib.import_module(f"homotopy.scenarios.{name}")
    for settings in (module.Settings(), module.QUICK):
        check(settings)
    settings, said = module.Settings(), 0
    for field, kind, rule in rules(module.Settings):
        many, value = get_origin(kind) is tuple, getattr(settings, field.name)
        inner = get_args(kind)[0] if many else kind
        if inner in (int, float):
            assert rule is not None, f"{field.name} has no range"
            assert any(getattr(rule, bound) is not None for bound in ("least", "above")), f"{field.name} has no floor"
            assert any(getattr(rule, bound) is not None for bound in ("most", "below")), f"{field.name} has no ceiling"
            good, bad = _edges(inner, rule, value, settings)
        elif get_origin(inner) is Literal:
            good, bad = list(get_args(inner)), ["moon", 3, None]
        else:
            good, bad = [value], [3, None]
        for one in good:
            row = (one, *(other for other in value[1:] if other != one)) if many else one
            check(dataclasses.replace(settings, **{field.name: row}, **_follow(module.Settings, field.name, row)))
        bad_rows = [()] if many and rule is not None and rule.entries else []
        if many and rule is not None and rule.once:
            bad_rows.append((*value, value[0]))
        bad_rows += [((one, *value[1:]) if many else one) for one in bad]
        for row in bad_rows:
            with pytest.raises(RequestError, match=f"^--{field.name.replace('_', '-')} must "):
                check(dataclasses.replace(settings, **{field.name: row}))
            said += 1
    assert said > len(dataclasses.fields(module.Settings))


def _follow(kind: Any, name: str, value: Any) -> dict[str, Any]:
    """The settings that are bounded by `name`, set to what its new value allows."""
    limit = len(value) if isinstance(value, tuple) else value
    follow = {}
    for field, _, rule in rules(kind):
        if rule is None:
            continue
        if rule.most == name:
            follow[field.name] = limit
        elif rule.below == name:
            follow[field.name] = limit - 1
        elif rule.above == name:
            follow[field.name] = limit + 1
    return follow


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_called_from_python_checks_first(name):
    module = importlib.import_module(f"homotopy.scenarios.{name}")
    with pytest.raises(RequestError, match="--seed must be"):
        module.compute(dataclasses.replace(module.QUICK, seed=-1), Progress())


@pytest.mark.parametrize(
    "words",
    [
        "deleted_step --rtol 0", "deleted_step --rtol 1e20", "homotopy_surface --rtol=-1", "deleted_step --horizons 0",
        "homotopy_surface --network-t1=-1", "phase_portraits --noise=-1", "deleted_step --delete=-2",
        "deleted_step --delete 442", "homotopy_surface --quick --delete 20", "atlas --seed=-1", "neuron_paths --n=-1",
        "neuron_paths --width=-1", "phase_portraits --decays 0", "neuron_paths --resamples 0", "atlas --seed 1e20",
    ],
)  # fmt: skip
def test_what_made_no_sense_is_one_line_with_exit_code_2(words, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOMOTOPY_CACHE", "")
    assert main(["run", *words.split()]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.count("\n") == 1
    assert words.split("--")[-1].split("=")[0].split()[0] in err
    assert not list(tmp_path.iterdir())
