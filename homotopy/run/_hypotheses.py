"""`homotopy hypotheses`: the notes' claims, and the user's own, decided by computation."""

import dataclasses
import os
import shlex
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from .._errors import RequestError, WorkError
from .._extras import need
from .._progress import Progress
from .._settings import Range, Seed
from ._arguments import parse
from ._cache import enable_cache
from ._manifest import in_utf8
from ._save import plain_style
from ._typed import typed

FOLDER = "runs/hypotheses"


def command(args: list[str], scenarios: str) -> int:
    enable_cache()
    options = _parse(args)
    from ..hypotheses import terminal_table, verdict_table

    outputs, complaints = _outputs(options)
    if options.from_json:
        results, more = _read(options)
    else:
        results, more = _computed(options)
    complaints += more
    print(verdict_table(results) if options.table else terminal_table(results))
    for path, write in outputs:
        try:
            write(results, path)
        except OSError as error:
            raise WorkError(f"{path} cannot be written: {error.strerror or error}") from error
        print(f"wrote {path}", file=sys.stderr)
    if complaints:
        return 2
    return 1 if any(result.error is not None for result in results) else 0


def _parse(args: list[str]) -> Any:
    import tyro

    def option(name: str, kind: Any, default: Any, help: str, metavar: str | None = None) -> tuple[str, Any, Any]:
        return name, Annotated[kind, tyro.conf.arg(help=help, metavar=metavar)], dataclasses.field(default=default)

    flag, counts = tyro.conf.FlagCreatePairsOff[bool], Annotated[int, Range(least=0, most=10**6)]
    kind = dataclasses.make_dataclass(
        "Options",
        [
            option("quick", flag, False, "Fewer instances: all of it in under four minutes."),
            option("only", tuple[str, ...], (), "Only these, for example --only H10 H11.", "ID ..."),
            option("file", tuple[str, ...], (), "Python files that define further hypotheses.", "FILE.py ..."),
            option("json", str, "", "Write the results there.", "FILE"),
            option("report", str, "", "Write the report there: one page of HTML.", "FILE.html"),
            option("markdown", str, "", "Write the one-page Markdown twin there.", "FILE.md"),
            option("table", flag, False, "Print the verdicts as a Markdown table."),
            option("seed", Seed, 0, "Seed of the first instance."),
            option("instances", counts, 0, "As many of everything; 0 leaves each check its own number."),
            option("out", str, FOLDER, "Folder of the finished checks; they are not computed twice.", "DIR"),
            option("fresh", flag, False, "Compute again what is finished."),
            option("from_json", str, "", "Show the results of an earlier --json, without computing.", "FILE"),
        ],
        frozen=True,
    )
    options = parse(kind, args, prog="homotopy hypotheses", description="The notes' claims, decided by computation.")
    for named, what in (("--only", "a hypothesis, for example H10"), ("--file", "a Python file")):
        if typed(args).get(named) == []:
            raise RequestError(f"`{named}` names nothing; give it {what}, or leave it out")
    return options


Writer = Callable[[Any, str], object]


def _outputs(options: Any) -> tuple[list[tuple[str, Writer]], list[str]]:
    """What is to be written where, and a complaint for each place that cannot be written: told before the work."""
    from ..hypotheses import html_report, markdown_report, write_results

    def text(render: Callable[[Any], str]) -> Writer:
        return lambda results, path: Path(path).write_text(render(results), encoding="utf-8")

    asked: list[tuple[str, str, Writer]] = [
        ("--json", options.json, write_results),
        ("--report", options.report, text(html_report)),
        ("--markdown", options.markdown, text(markdown_report)),
    ]
    good, complaints = [], []
    for name, path, write in asked:
        if not path:
            continue
        reason = _unwritable(Path(path).expanduser())
        if reason:
            complaints.append(_complain(f"{name} {path} cannot be written: {reason}; name a file in a writable folder"))
        else:
            good.append((str(Path(path).expanduser()), write))
    return good, complaints


def _unwritable(path: Path) -> str:
    """Why no file can be written at `path`, or nothing."""
    if path.is_dir():
        return "it is a folder"
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    if path.exists() and not os.access(path, os.W_OK):
        return "it is write-protected"
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent):
            return ""
    except OSError as error:
        return str(error.strerror or error)


def _complain(message: str) -> str:
    print(f"homotopy: error: {' '.join(message.split())}", file=sys.stderr, flush=True)
    return message


def _read(options: Any) -> tuple[list[Any], list[str]]:
    from ..hypotheses import read_results, select

    if options.quick or options.file or options.fresh or options.seed or options.instances:
        raise RequestError("--from-json computes nothing: it takes --only, --table, --json, --report and --markdown")
    results = {result.id: result for result in read_results(options.from_json)}
    chosen, unknown = select(options.only, results)
    return list(chosen), [_complain(message) for message in unknown]


def _computed(options: Any) -> tuple[list[Any], list[str]]:
    from ..hypotheses import FULL, QUICK, Result, builtin, from_file, run_checks, select

    scale = dataclasses.replace(QUICK if options.quick else FULL, seed=options.seed)
    if options.instances:
        n = options.instances
        scale = dataclasses.replace(scale, instances=n, searches=n, networks=n)
    known, files, complaints, broken = {}, {}, [], []
    for path in options.file:
        try:
            for hypothesis in from_file(path):
                if hypothesis.id in known or hypothesis.id in builtin():
                    raise RequestError(f"--file {path} defines {hypothesis.id} again; choose another id")
                known[hypothesis.id] = hypothesis
                files[hypothesis.id] = path
        except RequestError as error:
            complaints.append(_complain(str(error)))
        except WorkError as error:
            _complain(str(error))
            broken.append(Result(Path(path).stem, f"the hypotheses of {path}", path, None, {}, error=str(error)))
    known |= builtin()
    chosen, unknown = select(options.only, known)
    complaints += [_complain(message) for message in unknown]
    if options.only and not chosen and not broken:
        raise RequestError(f"--only names no known hypothesis; there are {', '.join(known)}")
    if any(hypothesis.id in builtin() for hypothesis in chosen):
        need("data", "the notes' claims")
    progress = Progress()
    done = 0

    def finished(result: Any, saved: bool) -> None:
        nonlocal done
        done += 1
        verdict = "undecided" if result.error is not None else result.verdict
        how = "finished before" if saved else f"{result.seconds:.1f} s"
        print(f"[{done}/{len(chosen)}] {result.id} {verdict} ({how})", file=sys.stderr, flush=True)
        if result.error is not None:
            print(f"homotopy: error: {result.id} could not be decided: {result.error}", file=sys.stderr, flush=True)

    quick = " --quick" if options.quick else ""
    sizes = f" --seed {options.seed}" if options.seed else ""
    sizes += f" --instances {options.instances}" if options.instances else ""

    def words(hypothesis: Any) -> str:
        return quick + (f" --file {shlex.quote(in_utf8(files[hypothesis.id]))}" if hypothesis.id in files else "")

    try:
        with plain_style():
            results = run_checks(
                chosen, scale, folder=options.out, fresh=options.fresh, progress=progress, finished=finished,
                options=words, sizes=sizes,
            )  # fmt: skip
    finally:
        progress.close()
    return [*broken, *results], complaints
