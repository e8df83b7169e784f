"""`homotopy diagnose`: which rows of the user's own table move the fit, and how well the approximations know it."""

import shlex
import sys
import warnings
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import tyro

from .._errors import RequestError
from .._progress import Progress
from .._settings import Range
from ._arguments import parse, spelled_out
from ._cache import enable_cache
from ._carry_out import carry_out
from ._record import record
from ._table import TableOptions, read, telling

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Options:
    """Leverage, residuals, Cook's distance and exact deletion of every row of your table: which rows move the fit?"""

    table: Annotated[TableOptions, tyro.conf.OmitArgPrefixes]
    model: Literal["linear", "logistic"] = "linear"
    """what is fitted; logistic: a target of 0 and 1"""
    ridge: Annotated[float, Range(least=0)] = 0.0
    """ρ of ½ρ‖θ‖²"""
    out: str = "runs/diagnose"
    """folder to write; a finished run that is there is replaced"""


def command(args: list[str], scenarios: str) -> int:
    module, options = parts(args, scenarios)
    enable_cache()
    problem, told = _problem(options)
    baseline = Options(TableOptions(data="", target=""), out=options.out)  # where to is a matter of the machine
    words = ["homotopy", "diagnose", *spelled_out(options, baseline)]
    fields = {"diagnose": options.model, "command": shlex.join(words), "settings": options}
    carry_out(options.out, fields, lambda progress: _compute(problem, told, progress), module, options)
    return 0


def parts(args: list[str], scenarios: str) -> tuple[ModuleType, Options]:
    """What draws and tells, and the options."""
    return sys.modules[__name__], parse(Options, args, prog="homotopy diagnose", description=Options.__doc__ or "")


def _problem(options: Options) -> tuple[Any, str]:
    from ..problem import LinearRegression, LogisticRegression, Problem

    if options.model == "logistic" and options.table.standardise_target:
        raise RequestError(
            "`--standardise-target` is for regression: --model logistic needs its labels as they are; leave it out"
        )
    data, told = read(options.table)
    labels = np.unique(np.asarray(data.y))
    if options.model == "logistic" and not set(labels.tolist()) <= {0.0, 1.0}:
        shown = ", ".join(f"{label:g}" for label in labels[:6]) + (", …" if len(labels) > 6 else "")
        raise RequestError(
            f"--model logistic needs a target of 0 and 1, but {options.table.target!r} holds {shown}; for several classes "
            "make a column that is 1 for the class in question and 0 for the others"
        )
    model = LogisticRegression() if options.model == "logistic" else LinearRegression()
    return Problem(model, data, delete=0, ridge=options.ridge), told


def _compute(problem: Any, told: str, progress: Progress) -> "xr.Dataset":
    from .. import FlaggedRowsWarning, Outcome, diagnostics

    with progress.task("leaving out every row"), telling(told), warnings.catch_warnings():
        warnings.simplefilter("ignore", FlaggedRowsWarning)  # the report says the same
        data = diagnostics(problem).data
    codes, counts = np.unique(data["outcome"].to_numpy(), return_counts=True)
    ended = {Outcome(int(code)).name.lower().replace("_", " "): int(n) for code, n in zip(codes, counts, strict=True)}
    ended = {"successful" if name == "converged" else name: count for name, count in ended.items()}
    return record(data.assign_attrs(told=told), problem.data, codes=ended)


def draw(data: "xr.Dataset", options: Options) -> "dict[str, Figure]":
    """Leverage against the studentised residual."""
    from .. import Diagnostics
    from ..viz import figure_of, plot_leverage

    studentised = "studentised_pearson" if options.model == "logistic" else "internally_studentised"
    ax = plot_leverage(
        data["leverage"].to_numpy(), data[studentised].to_numpy(), data.attrs["effective_degrees_of_freedom"],
        named=Diagnostics(data).most_influential(), infinite=np.isinf(data["cook_exact"].to_numpy()),
        ylabel="studentised Pearson residual" if options.model == "logistic" else "internally studentised residual",
    )  # fmt: skip
    return {"diagnose": figure_of(ax)}


def tell(data: "xr.Dataset", options: Options) -> str:
    """The report, and in which units its numbers are."""
    from .. import Diagnostics

    lines = [data.attrs["told"], str(Diagnostics(data))]
    if options.table.standardise:
        lines.append(
            "θ and DFBETAS are those of centred and scaled features (--no-standardise keeps the table's units)"
        )
    return "\n".join(line for line in lines if line)


def tabulate(data: "xr.Dataset", options: Options) -> dict[str, dict[str, np.ndarray]]:
    """Every row."""
    from .. import Diagnostics

    return {"diagnose": Diagnostics(data).table()}
