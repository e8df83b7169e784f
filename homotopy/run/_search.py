"""`homotopy search`: the best ε(t) for the user's own table, for one row, a group of rows, or every row in turn."""

import importlib
import shlex
from dataclasses import dataclass
from types import ModuleType
from typing import Annotated, Literal

import tyro

from .._errors import RequestError
from .._settings import Range, Seed
from ._arguments import parse, spelled_out
from ._cache import enable_cache
from ._carry_out import carry_out
from ._table import TableOptions
from ._typed import typed


@dataclass(frozen=True)
class Options:
    """Which ε(t) reaches the leave-one-out optimum of your data best, and how good can any be?"""

    table: Annotated[TableOptions, tyro.conf.OmitArgPrefixes]
    delete: str
    """row to unlearn (from 0), several as one group (3,7,12), or `all`: every row in turn"""
    t1: str = "2/lambda_min"
    """horizon T: a number, or in units of 1/λ_min of the Hessian at θ*₋ (of XᵀX for `--delete all`)"""
    s: str = "0"
    """ε = 1 until s (the training that has already happened): a number, or in units, 0.4/lambda_min"""
    family: Literal[
        "bang-bang", "step", "piecewise-constant", "linear", "polynomial", "piecewise-linear", "neural", "greedy"
    ] = "bang-bang"
    """schedules to search"""
    goal: Literal["parameters", "outputs", "risk", "time"] = "parameters"
    """½‖θ(T) − θ*₋‖², the same of the outputs, the retained risk gap, or the least time to `tolerance`"""
    tolerance: Annotated[float, Range(least=0)] = 0.0
    """distance ‖θ − θ*₋‖ that counts as reached, for --goal time"""
    certify: Literal["auto", "dual", "value-function", "hjb", "none"] = "auto"
    """lower bound on every admissible ε(t); for every row in turn, `auto` takes the fast one (dual) only"""
    model: Literal["linear", "logistic", "softmax", "mlp"] = "linear"
    """what is trained; logistic for a target of 0 and 1, softmax for classes 0, 1, 2, …"""
    width: Annotated[int, Range(least=1, most=10**6)] = 3
    """neurons, for --model mlp"""
    ridge: Annotated[float, Range(least=0)] = 0.0
    """ρ of ½ρ‖θ‖²"""
    endpoint: Literal["cold", "continued", "pbrf", "unsaid"] = "unsaid"
    """which θ*₋ is meant, for --model mlp (there is no default: they differ)"""
    damping: Annotated[float, Range(above=0)] = 0.1
    """λ of --endpoint pbrf"""
    theta0: str = "auto"
    """start: `zeros`, `random`, or numbers with commas; `auto` is zeros, and random for --model mlp"""
    seed: Seed = 0
    """of a random start and of the searches' starts"""
    pieces: Annotated[int | None, Range(least=1, most=10**6)] = None
    """of --family piecewise-constant (40 unless said) and piecewise-linear (12), and where bang-bang is not exact (40)"""
    starts: Annotated[int | None, Range(least=1, most=10**6)] = None
    """starts of a search that has several (8 unless said, neural 3)"""
    out: str = "runs/search"
    """folder to write; a finished run that is there is replaced"""


def command(args: list[str], scenarios: str) -> int:
    module, options = parts(args, scenarios)
    enable_cache()
    job = module.Job(options)
    # Where to is a matter of the machine.
    baseline = Options(TableOptions(data="", target=""), delete="", out=options.out)
    words = ["homotopy", "search", *spelled_out(options, baseline)]
    fields = {"search": options.family, "command": shlex.join(words), "seed": options.seed, "settings": options}
    carry_out(options.out, fields, lambda progress: module.compute(job, progress), module, options)
    return 0


def parts(args: list[str], scenarios: str) -> tuple[ModuleType, Options]:
    """What searches, draws and tells, for one row or for every row in turn; and the options."""
    options = parse(Options, args, prog="homotopy search", description=Options.__doc__ or "")
    _refuse_ignored(options, set(typed(args)))
    name = "_search_rows" if options.delete.strip() == "all" else "_search_job"
    return importlib.import_module(f".{name}", __package__), options


def _refuse_ignored(options: Options, given: set[str]) -> None:
    """`RequestError` for an option that was typed although this model, family or goal does not use it."""
    has = set[str]()
    if given & {"--pieces", "--starts", "--seed"}:
        from ..scheduler import FAMILIES  # with JAX, which a request without these need not wait for

        has = set(FAMILIES[options.family].options(exact=options.model == "linear"))
    drawn = options.theta0 == "random" or (options.theta0 == "auto" and options.model == "mlp")
    classes = options.model in ("logistic", "softmax")
    chosen = f"--model {options.model} --family {options.family}"
    for flag, used, why in (
        ("--width", options.model == "mlp", "is for --model mlp"),
        ("--damping", options.endpoint == "pbrf", "is for --endpoint pbrf"),
        ("--tolerance", options.goal == "time", "is for --goal time"),
        ("--certify", options.goal != "time", "is not for --goal time, whose least time is its own bound"),
        ("--pieces", "pieces" in has, f"is for families with levels, not for {chosen}"),
        ("--starts", "starts" in has, f"is for searches with several starts, not for {chosen}"),
        ("--seed", drawn or "seed" in has,
         f"is for what is drawn at random, and {chosen} from --theta0 {options.theta0} draws nothing"),
        ("--standardise-target", not classes or not options.table.standardise_target,
         f"is for regression: --model {options.model} needs its labels as they are"),
    ):  # fmt: skip
        if flag in given and not used:
            raise RequestError(f"`{flag}` {why}; leave it out")
    if (options.endpoint == "unsaid") == (options.model == "mlp"):
        raise RequestError(
            "--model mlp needs --endpoint cold, continued or pbrf: its leave-one-out optima differ"
            if options.model == "mlp"
            else "--endpoint is for --model mlp only: this model has one leave-one-out optimum"
        )
    if options.theta0 == "random" and classes:
        raise RequestError(f"--theta0 random: --model {options.model} starts at zeros; give zeros or numbers")
