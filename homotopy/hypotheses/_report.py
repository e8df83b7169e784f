"""The HTML report: one self-contained page for a meeting. No script, no font, no picture from elsewhere."""

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ._evidence import in_words
from ._markdown import counts
from ._result import Result

_STYLE = """
:root { --ink: #1d1f21; --soft: #5d6470; --line: #d9dde3; --paper: #ffffff; --wash: #f5f6f8;
  --holds: #00734f; --fails: #b84800; --depends: #00598c; --undecided: #6b2d7b; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.2rem 1rem 3rem; max-width: 60rem; color: var(--ink); background: var(--paper);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .4rem; }
h2 { font-size: 1.15rem; line-height: 1.3; margin: 0; }
p { margin: .5rem 0; }
.lead, .source, footer { color: var(--soft); font-size: .92rem; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; margin: .8rem 0; }
td:first-child { white-space: nowrap; padding-right: .9rem; }
details td:first-child, #slips td:first-child { white-space: normal; }
td, th { text-align: left; vertical-align: top; padding: .35rem .5rem .35rem 0; border-bottom: 1px solid var(--line); }
a { color: inherit; }
.verdict { display: inline-block; padding: .05rem .55rem; border-radius: 1rem; color: #fff; font-size: .85rem;
  font-weight: 600; white-space: nowrap; }
.holds { background: var(--holds); } .fails { background: var(--fails); }
.depends { background: var(--depends); } .undecided { background: var(--undecided); }
article { border-top: 2px solid var(--line); padding: 1.3rem 0 .6rem; margin-top: 1.3rem; }
article header { display: flex; flex-wrap: wrap; gap: .3rem .7rem; align-items: baseline; }
.body { display: grid; grid-template-columns: minmax(0, 1fr); gap: .4rem 2rem; }
@media (min-width: 52rem) { .body.drawn { grid-template-columns: minmax(0, 1fr) minmax(0, 1.05fr); } }
.numbers { display: grid; gap: .45rem; margin: .7rem 0; }
.numbers div { background: var(--wash); border-radius: .4rem; padding: .45rem .7rem; }
.numbers b { display: block; font-size: 1.05rem; }
.numbers span { color: var(--soft); font-size: .88rem; }
figure { margin: .6rem 0; max-width: 34rem; }
figure svg { width: 100%; height: auto; display: block; }
code { font: .86rem/1.45 ui-monospace, "DejaVu Sans Mono", monospace; background: var(--wash); border-radius: .3rem;
  padding: .1rem .35rem; overflow-wrap: anywhere; }
details { margin: .5rem 0; font-size: .92rem; } summary { cursor: pointer; color: var(--soft); }
.instead { border-left: 4px solid var(--holds); padding: .1rem 0 .1rem .8rem; margin: .7rem 0; }
.wrong { color: var(--fails); font-weight: 600; } .right { color: var(--holds); font-weight: 600; }
@media print { body { max-width: none; font-size: 10.5pt; padding: 0; } article { break-inside: avoid; }
  .verdict { print-color-adjust: exact; -webkit-print-color-adjust: exact; } figure { max-width: 11cm; } }
"""


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
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>\n"
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
