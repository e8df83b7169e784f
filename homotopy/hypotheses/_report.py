"""The HTML report: one self-contained page for a meeting. No script, no font, no picture from elsewhere."""

import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from ._evidence import in_words
from ._markdown import counts
from ._result import Result

_STYLE = (Path(__file__).parent / "report.css").read_text(encoding="utf-8")


def html_report(results: Sequence[Result], *, title: str = "The notes' claims, decided by computation") -> str:
    """The whole page as a string: every claim with its verdict, three numbers, figure, and the command that repeats it."""
    rows = "".join(
        f'<tr><td><a href="#{escape(result.id)}">{escape(result.id)}</a></td><td>{escape(result.statement)}</td>'
        f"<td>{_badge(result)}</td></tr>"
        for result in results
    )
    scale = results[0].scale if results else {}
    amount = ", ".join(f"{name} {in_words(value)}" for name, value in scale.items())
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>\n{_STYLE}</style></head><body>\n"
        f"<h1>{escape(title)}</h1><p class=\"lead\">{escape(counts(results))}. Every verdict is read off the numbers by "
        f"the rule that is printed with it. Intervals are of 95 %. {escape(amount)}.</p>\n"
        f"<table><tbody>{rows}</tbody></table>\n" + "\n".join(map(_article, results)) + _slips(results)
        + "\n<footer><p>Sums over points, no 1/n; squared loss ½‖ŷ − y‖²; E = ½‖θ(T) − θ*₋‖². ε = 1 keeps the deleted "
        "point, ε = 0 leaves it out. θ*₋ is the optimum without it.</p></footer>\n</body></html>\n"
    )  # fmt: skip


def _badge(result: Result) -> str:
    kind = result.verdict or "undecided"
    return f'<span class="verdict {kind}">{kind}</span>'


def _article(result: Result) -> str:
    parts = [
        f'<article id="{escape(result.id)}"><header><h2>{escape(result.id)} · {escape(result.statement)}</h2>'
        f'{_badge(result)}</header><p class="source">Notes: {escape(result.source)}</p>'
    ]
    left = []
    if result.error is not None:
        left.append(f'<p class="wrong">Could not be decided: {escape(result.error)}</p>')
    if result.headline:
        numbers = "".join(
            f"<div><b>{escape(in_words(result.evidence[name]))}</b><span>{escape(name)}</span></div>"
            for name in result.headline
        )
        left.append(f'<div class="numbers">{numbers}</div>')
    if result.corrected and result.verdict not in ("holds", None):
        left.append(f'<p class="instead">{escape(result.corrected)}</p>')
    if result.example:
        left.append(_example(result.example))
    right = f"<figure>{_inline(result.figure, result.id)}</figure>" if result.figure else ""
    parts.append(f'<div class="body{" drawn" if right else ""}"><div>{"".join(left)}</div>{right}</div>')
    parts.append(_details(result))
    if result.command:
        parts.append(f"<p><code>{escape(result.command)}</code></p>")
    return "".join(parts) + "</article>"


def _example(example: Mapping[str, Any]) -> str:
    shown = {name: value for name, value in example.items() if name not in ("command", "what")}
    said = "; ".join(f"{name} = {in_words(value)}" for name, value in shown.items())
    title = str(example.get("what", "An instance that shows it"))
    command = f"<br><code>{escape(example['command'])}</code>" if "command" in example else ""
    return f"<p><strong>{escape(title)}:</strong> {escape(said)}{command}</p>"


def _details(result: Result) -> str:
    told = [("computed", result.computed), ("instances", result.family), ("rule", result.rule)]
    rows = [(name, text) for name, text in told if text]
    rows += [(name, in_words(value)) for name, value in result.evidence.items() if name not in result.headline]
    if not rows:
        return ""
    cells = "".join(f"<tr><td>{escape(name)}</td><td>{escape(text)}</td></tr>" for name, text in rows)
    return f"<details><summary>How it was decided, and all numbers</summary><table><tbody>{cells}</tbody></table></details>"


def _slips(results: Sequence[Result]) -> str:
    """Every formula of the notes that was held against a corrected one."""
    rows = [
        f"<tr><td>{escape(str(slip['place']))} ({escape(result.id)})</td><td>{escape(str(slip['notes']))}<br>"
        f'<span class="wrong">error {escape(in_words(slip["notes_error"]))}</span></td>'
        f"<td>{escape(str(slip['correct']))}<br>"
        f'<span class="right">error {escape(in_words(slip["correct_error"]))}</span></td></tr>'
        for result in results
        for slip in result.slips
    ]
    if not rows:
        return ""
    return (
        '<article id="slips"><h2>Where a formula slips</h2><p class="source">Both forms on the same instances, against '
        "what integration or minimisation gives.</p><table><thead><tr><th>place</th><th>the notes</th><th>corrected</th>"
        f"</tr></thead><tbody>{''.join(rows)}</tbody></table></article>"
    )


def _inline(svg: str, name: str) -> str:
    """An SVG without prologue and metadata, its identifiers made its own."""
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.S)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'href="#', f'href="#{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    return svg.replace("<svg ", f'<svg role="img" aria-label="figure of {escape(name)}" ', 1)
