"""`homotopy search`: the best ε(t) for the user's own table, for one row, a group of rows, or every row in turn."""

import re
import shlex
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .._errors import RequestError
from ._arguments import parse, spelled_out
from ._cache import enable_cache
from ._carry_out import carry_out
from ._progress import Progress
from ._result import RunResult

_ROWS = 20  # of the table of all deleted rows that are printed; data.nc has every one
_TIME = re.compile(r"\s*([-+0-9.eE]+)\s*(/\s*(?:lambda_min|λ_min))?\s*")


@dataclass(frozen=True)
class Options:
    """Which ε(t) reaches the leave-one-out optimum of your data best, and how good can any be?"""

    data: str
    """CSV file whose first line names the columns"""
    target: str
    """column that is predicted; every other column is a feature"""
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
    tolerance: float = 0.0
    """distance ‖θ − θ*₋‖ that counts as reached, for --goal time"""
    certify: Literal["auto", "dual", "value-function", "hjb", "none"] = "auto"
    """lower bound on every admissible ε(t); for every row in turn, `auto` takes the fast one (dual) only"""
    model: Literal["linear", "logistic", "mlp"] = "linear"
    """what is trained"""
    width: int = 3
    """neurons, for --model mlp"""
    ridge: float = 0.0
    """ρ of ½ρ‖θ‖²"""
    endpoint: Literal["cold", "continued", "pbrf", "unsaid"] = "unsaid"
    """which θ*₋ is meant, for --model mlp (there is no default: they differ)"""
    damping: float = 0.1
    """λ of --endpoint pbrf"""
    theta0: str = "zeros"
    """start: `zeros`, `random`, or numbers with commas; an mlp starts at random"""
    seed: int = 0
    """of a random start and of the searches' starts"""
    standardise: bool = True
    """centre and scale the features"""
    standardise_target: bool = False
    """centre and scale the target"""
    intercept: bool = True
    """add a column of ones"""
    pieces: int = 40
    """levels of --family piecewise-constant"""
    starts: int = 8
    """starts of a search that has several"""
    out: str = "runs/search"
    """folder to write; a finished run that is there is replaced"""


def command(args: list[str], scenarios: str) -> int:
    options = parse(Options, args, prog="homotopy search", description=Options.__doc__ or "")
    enable_cache()
    job = _Job(options)
    baseline = Options(data="", target="", delete="", out=options.out)  # where to is a matter of the machine
    words = ["homotopy", "search", *spelled_out(options, baseline)]
    fields = {"search": options.family, "command": shlex.join(words), "seed": options.seed, "settings": options}
    carry_out(options.out, fields, job.every_row if options.delete.strip() == "all" else job.one)
    return 0


class _Job:
    """The request, checked before any work starts."""

    def __init__(self, options: Options) -> None:
        from ..problem import MLP, LinearRegression, LogisticRegression, Problem, datasets

        self.options = options
        if (options.endpoint == "unsaid") == (options.model == "mlp"):
            raise RequestError(
                "--model mlp needs --endpoint cold, continued or pbrf: its leave-one-out optima differ"
                if options.model == "mlp"
                else "--endpoint is for --model mlp only: this model has one leave-one-out optimum"
            )
        data = datasets.read_csv(
            options.data, target=options.target, standardise=options.standardise,
            standardise_target=options.standardise_target, intercept=options.intercept,
        )  # fmt: skip
        model = {"linear": LinearRegression, "logistic": LogisticRegression}.get(options.model)
        self.problem = Problem(
            model() if model else MLP(width=options.width), data, delete=self._rows(data.n), ridge=options.ridge
        )
        self.theta0 = self._start()
        rate = None
        self.times = []
        for flag, text in (("s", options.s), ("t1", options.t1)):
            read = _TIME.fullmatch(text)
            try:
                value = float(read[1]) if read else float("nan")
            except ValueError:
                value = float("nan")
            if read is None or not np.isfinite(value):
                raise RequestError(f"--{flag} must be a number or a number/lambda_min, but is {text!r}")
            if read[2]:
                rate = self._slowest() if rate is None else rate
                value /= rate
            self.times.append(value)
        s, t1 = self.times
        if not 0 <= s < t1:
            raise RequestError(f"--s and --t1 must satisfy 0 ≤ s < T, but s = {s:g} and T = {t1:g}")

    def _rows(self, n: int) -> Any:
        text = self.options.delete.strip()
        if text == "all":
            return 0
        try:
            rows = [int(word) for word in text.split(",")]
        except ValueError:
            raise RequestError(f"--delete must be a row, rows with commas, or `all`, but is {text!r}") from None
        if any(not 0 <= row < n for row in rows):
            raise RequestError(f"--delete must name rows 0…{n - 1} of {self.options.data}, but is {text}")
        return rows[0] if len(rows) == 1 else rows

    def _start(self) -> Any:
        text = self.options.theta0.strip()
        if text == "random" or (text == "zeros" and self.options.model == "mlp"):
            return np.asarray(self.problem.initial(self.options.seed))
        if text == "zeros":
            return np.zeros(self.problem.dim)
        try:
            return np.asarray(self.problem.check_theta(np.array([float(word) for word in text.split(",")])))
        except ValueError:
            raise RequestError(f"--theta0 must be zeros, random or numbers with commas, but is {text!r}") from None

    def _slowest(self) -> float:
        """The smallest non-zero eigenvalue of the Hessian at θ*₋ (for `all`: of R at θ*)."""
        from .. import optimum

        if self.options.model == "mlp":
            raise RequestError("a network's flow has no slowest rate to count time in; give --t1 (and --s) as numbers")
        epsilon = 1.0 if self.options.delete.strip() == "all" else 0.0
        linear = self.options.model == "linear"
        theta = self.theta0 if linear else optimum(self.problem, epsilon, start=self.theta0).theta
        values = np.linalg.eigvalsh(np.asarray(self.problem.hessian(theta, epsilon)))
        positive = values[values > 1e-12 * values[-1]]
        if not len(positive):
            raise RequestError("the Hessian is zero: every feature is; λ_min has no meaning")
        return float(positive[0])

    def one(self, progress: Progress) -> RunResult:
        """The search for one row or group: the report, ε(t), σ(t) and θ(t)."""
        import jax
        import jax.numpy as jnp
        import xarray as xr

        from .. import costate, leave_one_out
        from ..viz import plot_control

        s, t1 = self.times
        target = self._target(self.problem)
        with progress.task(f"searching {self.options.family}"):
            result = self._search(self.problem, target)
        ts = np.linspace(0.0, t1, 401)
        _, thetas, costates = costate(self.problem, result.schedule, self.theta0, t1=t1, ts=ts, target=target)
        sigma = -np.sum(np.asarray(costates) * np.asarray(jax.vmap(self.problem.deleted_gradient)(thetas)), axis=1)
        end = np.asarray(leave_one_out(self.problem, theta0=self.theta0).theta if target is None else target)
        axs = plot_control(result.schedule, ts, np.asarray(thetas), sigma, t1=t1, s=s, target=end)
        axs[0].set_title(
            f"row {self.options.delete}: gain E(1_[0,s])/E = {result.ratio:.4g}, certificate {result.certificate.kind}",
            fontsize=10.5,
        )
        data = xr.Dataset(
            {
                "epsilon": ("time", np.asarray(result.schedule(jnp.asarray(ts)))),
                "sigma": ("time", sigma),
                "theta": (("time", "parameter"), np.asarray(thetas)),
                "target": ("parameter", end),
                "theta0": ("parameter", np.asarray(self.theta0)),
            },
            coords={"time": ts},
            attrs={"search_result": result.to_json(), "s": s, "t1": t1},
        )
        return RunResult({"search": axs[0].figure}, data, f"s = {s:.6g}, T = {t1:.6g}\n{result}", (self.problem.data,))

    def every_row(self, progress: Progress) -> RunResult:
        """Each row deleted alone: how much would the best schedule gain?"""
        import xarray as xr

        from ..viz import plot_gains

        s, t1 = self.times
        quick = (
            self.options.model == "linear" and self.options.family == "bang-bang"
            and self.options.goal == "parameters" and self.options.certify in ("auto", "dual", "none")
        )  # fmt: skip
        columns = self._table() if quick else self._one_by_one(progress)
        order = np.argsort(-columns["gain"])
        lines = [
            f"{'row':>6} {'E':>11} {'E(1_[0,s])':>11} {'gain':>9} {'bound on E*':>12} {'switches':>8}  certificate"
        ]
        for row in order[:_ROWS]:
            value = {name: column[row] for name, column in columns.items()}
            lines.append(
                f"{row:>6} {value['energy']:>11.4g} {value['baseline']:>11.4g} {value['gain']:>9.4g} "
                f"{value['lower_bound']:>12.4g} {value['switches']:>8}  {value['certificate']}"
            )
        if len(order) > _ROWS:
            lines.append(f"… and {len(order) - _ROWS} more rows in data.nc")
        certified = np.isin(columns["certificate"], ["dual", "reached", "value-function", "hjb"])
        reached = columns["certificate"] == "reached"
        gain = columns["gain"]
        lines.append(
            f"s = {s:.6g}, T = {t1:.6g}: {int(np.sum(gain > 1.001))} of {len(gain)} rows gain more than 0.1 %, median gain "
            f"×{np.median(gain):.4g}; θ*₋ is reached exactly for {int(reached.sum())}; {int(certified.sum())} certified"
        )
        data = xr.Dataset(
            {name: ("row", column) for name, column in columns.items()},
            attrs={"s": s, "t1": t1, "family": self.options.family},
        )
        figure = plot_gains(gain, columns["switches"], certified, unit="row")
        return RunResult({"search": figure}, data, "\n".join(lines), (self.problem.data,))

    def _table(self) -> dict[str, np.ndarray]:
        from .. import search_all

        s, t1 = self.times
        table = search_all(self.problem, self.theta0, s=s, t1=t1, certify=self.options.certify != "none")
        kinds = np.where(table.reached, "reached", np.where(table.certified, "dual", "local"))
        return _columns(table.energies, table.baseline_energies, table.lower_bounds, table.switches, kinds)

    def _one_by_one(self, progress: Progress) -> dict[str, np.ndarray]:
        results = []
        with progress.task(f"searching {self.options.family}", self.problem.n) as advance:
            for row in range(self.problem.n):
                problem = self.problem.deleting(row)
                results.append(self._search(problem, self._target(problem)))
                advance()
        return _columns(
            np.array([result.energy for result in results]),
            np.array([result.baseline_energy for result in results]),
            np.array([result.certificate.lower_bound for result in results]),
            np.array([result.switches for result in results]),
            np.array([result.certificate.kind for result in results]),
        )

    def _search(self, problem: Any, target: Any) -> Any:
        from .. import search

        options, (s, t1) = self.options, self.times
        return search(
            problem, self.theta0, s=s, t1=t1, family=options.family, goal=options.goal, target=target,
            tolerance=options.tolerance, certify=options.certify, pieces=options.pieces, starts=options.starts,
            seed=options.seed,
        )  # fmt: skip

    def _target(self, problem: Any) -> Any:
        """θ*₋ of this model; None for linear regression, where `search` knows it."""
        from .. import leave_one_out, optimum, path, pbrf

        if self.options.model == "linear":
            return None
        if self.options.model == "logistic" or self.options.endpoint == "cold":
            return np.asarray(leave_one_out(problem, start="cold", theta0=self.theta0).theta)
        trained = optimum(problem, start=self.theta0).theta
        if self.options.endpoint == "pbrf":
            return np.asarray(pbrf(problem, trained, damping=self.options.damping).theta)
        return np.asarray(path(problem, np.linspace(1.0, 0.0, 17), start=trained).thetas[-1])


def _columns(energy, baseline, bound, switches, kinds) -> dict[str, np.ndarray]:
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = np.where(energy > 0, baseline / energy, np.inf)
    return {
        "energy": energy, "baseline": baseline, "gain": np.where(baseline == 0, 1.0, gain), "lower_bound": bound,
        "switches": switches, "certificate": kinds,
    }  # fmt: skip
