"""The verdicts as Markdown: the table of docs/claims.md, and the one-page twin of the report."""

from collections.abc import Sequence

from ._evidence import in_words
from ._result import Result

_MARKS = {"holds": "✓ holds", "fails": "✗ fails", "depends": "~ depends", None: "? undecided"}


def verdict_table(results: Sequence[Result]) -> str:
    """A Markdown table with a row for each result: id, claim, verdict, and the first number that matters."""
    rows = ["| | claim of the notes | verdict | measured |", "|---|---|---|---|"]
    for result in results:
        rows.append(f"| {result.id} | {_cell(result.statement)} | {_verdict(result)} | {_cell(_first(result))} |")
    return "\n".join(rows) + "\n"


def markdown_report(results: Sequence[Result], title: str = "The notes' claims, decided by computation") -> str:
    """One page: the counts, the table, and what holds instead of each claim that does not."""
    lines = [f"# {title}", "", counts(results) + ".", "", verdict_table(results).rstrip(), ""]
    instead = [result for result in results if result.corrected and result.verdict not in ("holds", None)]
    if instead:
        lines += ["## What holds instead", ""]
        lines += [f"* **{result.id}** {result.corrected}" for result in instead]
        lines.append("")
    commands = sorted({result.command.split(" --only ")[0] for result in results if result.command})
    lines += [f"Reproduce one claim: `{commands[0] if commands else 'homotopy hypotheses'} --only ID`.", ""]
    return "\n".join(lines)


def counts(results: Sequence[Result]) -> str:
    """How many hold, fail, depend, and are undecided."""
    found = [(kind, sum(result.verdict == kind for result in results)) for kind in ("holds", "fails", "depends", None)]
    words = {"holds": "hold", "fails": "fail", "depends": "depend on the instance", None: "undecided"}
    said = ", ".join(f"{count} {words[kind]}" for kind, count in found if count)
    return f"{len(results)} claims: {said}" if results else "no claims"


def terminal_table(results: Sequence[Result], width: int = 118) -> str:
    """The verdicts in columns, for a terminal."""
    size = max([len(result.id) for result in results], default=3)
    lines = []
    for result in results:
        head = f"{result.id:<{size}}  {_verdict(result):<11}  "
        lines.append(head + _cut(result.statement, width - len(head)))
        said = result.error or _first(result)
        if said:
            lines.append(" " * (size + 15) + _cut(said, width - size - 15))
    return "\n".join([*lines, "", counts(results)])


def _verdict(result: Result) -> str:
    return _MARKS[result.verdict]


def _first(result: Result) -> str:
    if result.error is not None:
        return result.error
    return f"{result.headline[0]}: {in_words(result.evidence[result.headline[0]])}" if result.headline else ""


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _cut(text: str, width: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"
