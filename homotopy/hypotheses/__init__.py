"""The notes' claims as runnable checks: each is decided by computation, and the verdict is read off the evidence."""

from ._catalogue import builtin as builtin, from_file as from_file, select as select
from ._evidence import (
    correlation as correlation,
    in_words as in_words,
    median as median,
    share as share,
    usually as usually,
    within as within,
)
from ._hypothesis import (
    FULL as FULL,
    QUICK as QUICK,
    Finding as Finding,
    Hypothesis as Hypothesis,
    Rule as Rule,
    Scale as Scale,
    Slip as Slip,
    claim as claim,
)
from ._markdown import (
    counts as counts,
    markdown_report as markdown_report,
    terminal_table as terminal_table,
    verdict_table as verdict_table,
)
from ._measure import Table as Table, join as join, measure as measure
from ._pictures import (
    Correlation as Correlation,
    CounterExample as CounterExample,
    Curves as Curves,
    Ratios as Ratios,
    Shares as Shares,
)
from ._report import html_report as html_report
from ._result import Result as Result, read_results as read_results, write_results as write_results
from ._run_checks import decide as decide, run_checks as run_checks
