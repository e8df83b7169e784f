"""Carrying checks out: each finished one is saved at once, and not repeated unless its code or settings change.

A saved check is one JSON file, `FOLDER/ID-SETTINGS.json`, that holds a key: a hash over the file that defines the
hypothesis and all that it imports from this package, over the settings and over the versions of the libraries. It is
written aside and renamed, so a killed run leaves finished checks and nothing that could be taken for one.
"""

import contextlib
import hashlib
import importlib.metadata
import io
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from .._errors import RequestError, WorkError
from .._progress import as_progress
from ._hypothesis import Finding, Hypothesis, Scale
from ._result import Result, plain
from ._sources import source_hash

_LIBRARIES = ("jax", "jaxlib", "numpy", "scipy", "diffrax", "optimistix", "equinox", "scikit-learn", "clarabel")
_LONGEST = 400  # characters of an error's message
_MOST_POINTS, _DPI = 300, 220  # of a scatter that is drawn as vectors; dots per inch of one that is not
_WIDTH, _HEIGHT = 4.5, 3.2  # inches of a figure: its text stays readable on a telephone; a picture may ask to be higher


def run_checks(
    hypotheses: Sequence[Hypothesis],
    scale: Scale,
    *,
    folder: str | Path | None = None,
    fresh: bool = False,
    progress: Any = None,
    finished: Callable[[Result, bool], object] | None = None,
    options: str | Callable[[Hypothesis], str] = "",
    sizes: str = "",
) -> list[Result]:
    """Every hypothesis decided, in order; a check that raises is undecided and does not stop the others.

        `folder` keeps finished checks (None keeps nothing), `fresh=True` repeats them. `finished(result, saved)` is called
        after each, `saved` telling whether it was read from the folder. The commands that are shown end with `options` (words
    of the command line that choose the kind of run) and `sizes` (--seed and --instances, where given).
    """
    results = []
    # Now, as long as the source on the disk is the source that was imported: somebody may edit it during the run.
    keys = [key_of(hypothesis, scale) for hypothesis in hypotheses]
    for hypothesis, key in zip(hypotheses, keys, strict=True):
        path = None if folder is None else Path(folder) / f"{hypothesis.id}-{_digest(repr(scale))[:8]}.json"
        result = None if fresh or path is None else _load(path, key)
        saved = result is not None
        if result is None:
            words = options if isinstance(options, str) else options(hypothesis)
            result = decide(hypothesis, scale, progress, words, sizes)
            if path is not None and result.error is None:
                _save(path, key, result)
        results.append(result)
        if finished is not None:
            finished(result, saved)
    return results


def decide(hypothesis: Hypothesis, scale: Scale, progress: Any = None, options: str = "", sizes: str = "") -> Result:
    """Check one hypothesis and read its verdict off the evidence; what goes wrong is told in `error`."""
    began = time.perf_counter()
    base = f"homotopy hypotheses --only {hypothesis.id}{options}"
    told: dict[str, Any] = {
        name: getattr(hypothesis, name) for name in ("id", "statement", "source", "computed", "family", "corrected")
    }
    told |= {"rule": hypothesis.rule.text, "scale": plain(asdict(scale)), "command": base + sizes}
    try:
        finding = hypothesis.check(scale, as_progress(progress))
        if not isinstance(finding, Finding):
            raise WorkError(f"the check must give back a Finding, but gave {type(finding).__name__}")
        verdict = hypothesis.rule(finding.evidence)
        figure = "" if finding.draw is None else _drawn(finding.draw, hypothesis.id)
    except Exception as error:  # whatever a check raises is its own: the others go on
        said = " ".join(f"{type(error).__name__}: {error}".split())
        told["seconds"] = time.perf_counter() - began
        return Result(verdict=None, evidence={}, error=said if len(said) <= _LONGEST else said[:_LONGEST] + "…", **told)
    example = None if finding.example is None else plain(finding.example)
    if example is not None and "seed" in example:
        example["command"] = f"{base} --seed {example['seed']} --instances 1"
    return Result(
        verdict=verdict, evidence=plain(finding.evidence), headline=finding.headline, example=example,
        slips=tuple(plain(slip) for slip in finding.slips), figure=figure,
        seconds=round(time.perf_counter() - began, 3), **told,
    )  # fmt: skip


def key_of(hypothesis: Hypothesis, scale: Scale) -> str:
    """Changes whenever something that the finding rests on does."""
    told = [hypothesis.id, hypothesis.statement, hypothesis.rule.text, repr(scale), _versions()]
    return _digest("\n".join([*told, source_hash(hypothesis.check)]))


@cache
def _versions() -> str:
    found = []
    for name in _LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{name} {importlib.metadata.version(name)}")
    return ", ".join(found)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _load(path: Path, key: str) -> Result | None:
    """A saved check of this very key; anything else counts as not there."""
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        return Result.from_dict(saved["result"]) if saved["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError, RequestError):
        return None


def _save(path: Path, key: str, result: Result) -> None:
    """Whole or not at all. A folder that cannot be written costs the memory of this check, not the check."""
    aside = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("w", encoding="utf-8") as file:
            json.dump({"key": key, "result": result.to_dict()}, file, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise WorkError(
            f"the finished check {result.id} cannot be saved in {path.parent}: {error.strerror or error}; choose "
            "another folder with --out"
        ) from error


def _drawn(draw: Callable[[Any], object], name: str) -> str:
    """The figure as an SVG whose identifiers no other figure on the page shares."""
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, max(_HEIGHT, getattr(draw, "height", 0.0))), layout="constrained")
    with matplotlib.rc_context({"svg.hashsalt": name, "font.size": 9.0}):
        ax = figure.add_subplot()
        draw(ax)
        for line in ax.lines:  # a thousand dots are a megabyte of vectors, and a small picture
            line.set_rasterized(
                np.size(line.get_xdata()) > _MOST_POINTS and line.get_linestyle() in ("None", "none", "")
            )
        text = io.StringIO()
        figure.savefig(text, format="svg", dpi=_DPI, metadata={"Date": None, "Creator": None})
    return text.getvalue()
