"""The work of `homotopy search`: the request, checked before anything starts, and the search for one row or group."""

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import SearchResult, costate, leave_one_out, optimum, path, pbrf, search
from .._errors import RequestError, WorkError
from .._progress import Progress
from ..problem import LARGEST, MLP, CrossEntropyLoss, LinearRegression, LogisticRegression, Problem
from ..scheduler import FAMILIES, spoken_gain
from ._record import record
from ._table import read, telling

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_TIME = re.compile(rf"\s*({_NUMBER})\s*(/\s*(?:lambda_min|λ_min))?\s*", re.ASCII)
_WHOLE = re.compile(r"-?\d{1,18}", re.ASCII)
_NAMED = 12  # parameters whose values are printed


class Job:
    """The request of `homotopy search`; `RequestError` where it cannot be done."""

    def __init__(self, options: Any) -> None:
        self.options = options
        self.every = options.delete.strip() == "all"
        data, self.told = read(options.table)
        if options.model in ("logistic", "softmax"):
            _check_labels(np.asarray(data.y), options)
        model: Any = LogisticRegression()
        if options.model in ("linear", "mlp"):
            model = LinearRegression() if options.model == "linear" else MLP(width=options.width)
        self.problem = Problem(
            model, data, delete=0 if self.every else self._rows(data.n), ridge=options.ridge,
            loss=CrossEntropyLoss() if options.model == "softmax" else None,
        )  # fmt: skip
        self.theta0 = self._start()
        self.s, self.t1 = self._times()

    def _rows(self, n: int) -> list[int]:
        text = self.options.delete.strip()
        words = [word.strip() for word in text.split(",")]
        if not all(_WHOLE.fullmatch(word) for word in words):
            raise RequestError(f"--delete must be a row, rows with commas, or `all`, but is {text!r}")
        rows = [int(word) for word in words]
        if any(not 0 <= row < n for row in rows):
            raise RequestError(f"--delete must name rows 0…{n - 1} of {self.options.table.data}, but is {text}")
        return rows

    def _start(self) -> np.ndarray:
        text = self.options.theta0.strip()
        if text == "random" or (text == "auto" and self.options.model == "mlp"):
            return np.asarray(self.problem.initial(self.options.seed))
        if text in ("zeros", "auto"):
            return np.zeros(self.problem.dim)
        words = [word.strip() for word in text.split(",")]
        if not all(re.fullmatch(_NUMBER, word, re.ASCII) for word in words):
            raise RequestError(f"--theta0 must be zeros, random or numbers with commas, but is {text!r}")
        if len(words) != self.problem.dim:
            names = self.problem.parameter_names
            listed = ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
            raise RequestError(f"--theta0 needs {len(names)} numbers ({listed}), but {len(words)} are given")
        numbers = np.array([float(word) for word in words])
        if np.abs(numbers).max() > LARGEST:
            raise RequestError(f"--theta0 must stay below {LARGEST:g}, whose square is a float, but is {text}")
        return numbers

    def _times(self) -> tuple[float, float]:
        """s and T, with λ_min worked out where it is their unit."""
        times, rate = [], None
        for flag in ("s", "t1"):
            text = getattr(self.options, flag)
            match = _TIME.fullmatch(text)
            value = float(match[1]) if match else float("nan")
            if match is None or not np.isfinite(value):
                raise RequestError(f"--{flag} must be a number or a number/lambda_min, but is {text!r}")
            if match[2]:
                rate = self._slowest() if rate is None else rate
                value /= rate
            times.append(value)
        s, t1 = times
        if not 0 <= s < t1:
            raise RequestError(f"--s and --t1 must satisfy 0 ≤ s < T, but s = {s:g} and T = {t1:g}")
        return s, t1

    def _slowest(self) -> float:
        """The smallest non-zero eigenvalue of the Hessian at θ*₋ (for `all`: of R at θ*)."""
        problem, epsilon = self.problem, 1.0 if self.every else 0.0
        if self.options.model == "mlp":
            raise RequestError("a network's flow has no slowest rate to count time in; give --t1 (and --s) as numbers")
        if problem.least_squares:  # from X: of XᵀX half of the digits are gone
            x = np.asarray(problem.design)[np.asarray(problem.weights(epsilon)) > 0]
            singular = np.linalg.svd(x, compute_uv=False)
            kept = singular > max(x.shape) * np.finfo(float).eps * singular[0]
            values = singular[kept] ** 2 + float(problem.ridge)
        else:
            theta = optimum(problem, epsilon, start=self.theta0).theta
            values = np.linalg.eigvalsh(np.asarray(problem.hessian(theta, epsilon)))
            values = values[values > 1e-12 * values[-1]]
        if not len(values):
            raise RequestError("the Hessian is zero: every feature is; λ_min has no meaning")
        return float(values.min())

    def search(self, problem: Problem, target: Any) -> Any:
        """The search that was asked for, of this problem's deleted rows."""
        options = self.options
        chosen = {name: getattr(options, name) for name in ("pieces", "starts", "seed")}
        family = FAMILIES[options.family].having(
            problem.least_squares, **{name: value for name, value in chosen.items() if value is not None}
        )
        with np.errstate(over="ignore", invalid="ignore"):  # seen below
            found = search(
                problem, self.theta0, s=self.s, t1=self.t1, family=family, goal=options.goal, target=target,
                tolerance=options.tolerance, certify=options.certify,
            )  # fmt: skip
        require_finite(found.energy, found.baseline_energy)
        return found

    def target(self, problem: Problem) -> Any:
        """θ*₋ of this model; None for linear regression, where `search` knows it."""
        if self.options.model == "linear":
            return None
        if self.options.model != "mlp" or self.options.endpoint == "cold":
            return np.asarray(leave_one_out(problem, start="cold", theta0=self.theta0).theta)
        trained = optimum(problem, start=self.theta0).theta
        if self.options.endpoint == "pbrf":
            return np.asarray(pbrf(problem, trained, damping=self.options.damping).theta)
        return np.asarray(path(problem, np.linspace(1.0, 0.0, 17), start=trained).thetas[-1])


def require_finite(energy: float, baseline: float) -> None:
    """`WorkError` where E overflows: θ*₋ is too far from θ₀ in the units of these columns."""
    if not np.isfinite([energy, baseline]).all():
        raise WorkError(
            f"E = {energy:g} beside E(1_[0,s]) = {baseline:g} is no answer: θ*₋ is too far from θ₀; standardise the "
            "features and the target, or change their units"
        )


def compute(job: Job, progress: Progress) -> "xr.Dataset":
    """The search for one row or group: ε(t), σ(t) and θ(t)."""
    import jax
    import jax.numpy as jnp
    import xarray as xr

    problem, s, t1 = job.problem, job.s, job.t1
    with progress.task(f"searching {job.options.family}"), telling(job.told):
        try:
            target = job.target(problem)
            result = job.search(problem, target)
        except WorkError as error:
            rows = "row" if len(problem.delete) == 1 else "rows"
            raise WorkError(f"without {rows} {job.options.delete.strip()}: {error}") from error
    ts = np.linspace(0.0, t1, 401)
    _, thetas, costates = costate(problem, result.schedule, job.theta0, t1=t1, ts=ts, target=target)
    sigma = -np.sum(np.asarray(costates) * np.asarray(jax.vmap(problem.deleted_gradient)(thetas)), axis=1)
    end = np.asarray(leave_one_out(problem, theta0=job.theta0).theta if target is None else target)
    data = xr.Dataset(
        {
            "epsilon": ("time", np.asarray(result.schedule(jnp.asarray(ts)))),
            "sigma": ("time", sigma),
            "theta": (("time", "parameter"), np.asarray(thetas)),
            "target": ("parameter", end),
            "theta0": ("parameter", job.theta0),
        },
        coords={"time": ts, "parameter": list(problem.parameter_names)},
        attrs={"search_result": result.to_json(), "s": s, "t1": t1, "told": job.told},
    )
    return record(data, problem.data)


def draw(data: "xr.Dataset", options: Any) -> "dict[str, Figure]":
    """ε(t), σ(t) and θ(t) under one axis of time."""
    from ..viz import figure_of, plot_control

    result = _result_of(data)
    axs = plot_control(
        result.schedule, data["time"].values, data["theta"].values, data["sigma"].values, t1=data.attrs["t1"],
        s=data.attrs["s"], target=data["target"].values, names=[str(name) for name in data["parameter"].values],
    )  # fmt: skip
    axs[0].set_title(
        f"row {options.delete}: gain E(1_[0,s])/E {spoken_gain(result.ratio)}, certificate {result.certificate.kind}",
        fontsize=10.5,
    )
    return {"search": figure_of(axs[0])}


def tell(data: "xr.Dataset", options: Any) -> str:
    """The table, the times, the result, and θ(T) beside θ*₋."""
    names = tuple(str(name) for name in data["parameter"].values)
    named = _parameters(names, data["theta"].values[-1], data["target"].values)
    told, s, t1 = (data.attrs[name] for name in ("told", "s", "t1"))
    return f"{told}\ns = {s:.6g}, T = {t1:.6g}\n{_result_of(data)}\n{named}"


def _result_of(data: "xr.Dataset") -> SearchResult:
    return SearchResult.from_dict(json.loads(data.attrs["search_result"]))


def _parameters(names: tuple[str, ...], reached: np.ndarray, target: np.ndarray) -> str:
    """θ(T) and θ*₋ by name."""
    width = max(len(name) for name in names[:_NAMED])
    lines = [f"  {'':{width}}  {'θ(T)':>12} {'θ*₋':>12}"]
    lines += [
        f"  {name:{width}}  {a:>12.6g} {b:>12.6g}" for name, a, b in zip(names[:_NAMED], reached, target, strict=False)
    ]
    if len(names) > _NAMED:
        lines.append(f"  … and {len(names) - _NAMED} more parameters in data.nc")
    return "\n".join(lines)


def _check_labels(y: np.ndarray, options: Any) -> None:
    """`RequestError` for targets that are no labels 0, 1 (…), saying how to make them so."""
    labels = np.unique(y)
    classes = len(labels)
    shown = ", ".join(f"{label:g}" for label in labels[:6]) + (", …" if classes > 6 else "")
    place = f"--model {options.model} needs a target of whole numbers"
    if options.model == "logistic" and not set(labels.tolist()) <= {0.0, 1.0}:
        advice = f"for {classes} classes use --model softmax with the labels 0…{classes - 1}"
        if classes == 2:
            advice = f"write {labels[0]:g} as 0 and {labels[1]:g} as 1"
        raise RequestError(f"{place} 0 and 1, but {options.table.target!r} holds {shown}; {advice}")
    if options.model == "softmax" and not np.array_equal(labels, np.arange(classes)):
        advice = f"number its {classes} classes 0…{classes - 1}" if classes <= 20 else "is it a number to predict?"
        raise RequestError(f"{place} 0, 1, 2, …, but {options.table.target!r} holds {shown}; {advice}")
