"""`diagnostics`: what every point does to a fit, as an analyst asks it, with the exact leave-one-out beside it.

The sources of the columns: Belsley, Kuh and Welsch (1980), *Regression Diagnostics*, ch. 2; Cook (1977), Technometrics
19; Hoaglin and Welsch (1978), Am. Stat. 32; Allen (1974), Technometrics 16 (PRESS); Pregibon (1981), Ann. Stat. 9;
Hosmer and Lemeshow (1989), *Applied Logistic Regression*, §5.3; mathematics §2 and §3 for the exact ones.
"""

import dataclasses
import math
import warnings
from typing import Any, NamedTuple

import numpy as np
import scipy.stats
import xarray as xr
from jaxtyping import Bool, Int, Shaped

from .._checks import Theta, on_host
from .._errors import RequestError, WorkError
from ..problem import LogisticLoss, Problem, on_problem
from ._case_statistics import Cases, classification, least_squares
from ._endpoint import FlaggedRowsWarning, Outcome, require_dense
from ._leverage import at_optimum, describe, shown
from ._points import outputs_per_point
from ._separation import is_classification

_SHOWN = ("leverage", "studentised", "cook_exact", "cook", "cook_influence", "influence_error")


class Flag(NamedTuple):
    """A rule of thumb: the points whose `values` exceed `cutoff` are worth a look."""

    name: str
    rule: str
    cutoff: float
    source: str
    values: np.ndarray


@dataclasses.dataclass(frozen=True)
class Diagnostics:
    """The table of `diagnostics`; `print` shows what matters in it.

    `data` has the dimensions point, parameter (named `column`, `column → output` for several), flag, and output where a
    point has several. Its attributes are numbers of the whole fit. `undefined` says for every reason which rows hold
    NaN or inf.
    `Diagnostics(data)` of a data set that was saved and read back is the same table.
    Belsley, Kuh and Welsch 1980 and others: see `diagnostics`, which raises.

    Example (continues the package's):

        >>> table = diagnostics(problem)
        >>> print(table.most_influential(3), table.data["leverage"].sizes["point"], len(table.undefined))
        [ 3  5 10] 20 0
        >>> list(table.table())[:3]
        ['point', 'leverage', 'residual']
        >>> table.to_frame().shape[0], table.undefined
        (20, {})
    """

    data: xr.Dataset

    @property
    def undefined(self) -> dict[str, Bool[np.ndarray, " n"]]:
        """For every reason that occurs, which rows hold NaN or inf."""
        if "undefined" not in self.data:
            return {}
        masks = self.data["undefined"].to_numpy()
        return {str(why): rows for why, rows in zip(self.data["reason"].to_numpy(), masks, strict=True)}

    def most_influential(self, count: int = 10) -> Int[np.ndarray, " count"]:
        """The points by exact Cook's distance, largest first (∞ before all; undefined ones are left out)."""
        values = self._column("cook_exact")
        values = np.where(np.isnan(values), self._column("cook"), values)
        order = np.argsort(-values, kind="stable")
        return order[~np.isnan(values[order])][:count]

    def table(self) -> dict[str, Shaped[np.ndarray, " n"]]:
        """One row per point: every column by name, `dfbetas[column]` for the vectors, and the flags as words."""
        columns: dict[str, np.ndarray] = {"point": np.asarray(self.data["point"])}
        for name, values in self.data.data_vars.items():
            if name in ("flags", "outcome") or values.dims[:1] != ("point",):
                continue
            if values.ndim == 1:
                columns[str(name)] = values.to_numpy()
            else:
                for label in values[values.dims[1]].to_numpy():
                    columns[f"{name}[{label}]"] = values.sel({values.dims[1]: label}).to_numpy()
        names = self.data["flag"].to_numpy()
        columns["flags"] = np.array([" ".join(names[row]) for row in self.data["flags"].to_numpy()], dtype=object)
        codes = self.data["outcome"].to_numpy()
        columns["leave_one_out"] = np.array([Outcome(int(code)).words for code in codes], dtype=object)
        return columns

    def to_frame(self) -> Any:
        """`table` as a pandas `DataFrame`, indexed by the point. `RequestError` without pandas."""
        try:
            import pandas
        except ImportError:
            raise WorkError("to_frame needs pandas; `pip install pandas`, or use .table() or .data") from None
        return pandas.DataFrame(self.table()).set_index("point")

    def __str__(self) -> str:
        return "\n".join([*self._head(), *self._flags(), *self._rows(), *self._reasons()])

    def _column(self, name: str) -> np.ndarray:
        return self.data[name].to_numpy()

    def _head(self) -> list[str]:
        whole, sizes = self.data.attrs, self.data.sizes
        lines = [
            f"diagnostics of {whole['kind']}: {sizes['point']} points, {sizes['parameter']} parameters, effective degrees of "
            f"freedom {whole['effective_degrees_of_freedom']:.6g} (trace of the hat matrix)"
        ]
        if "press" in whole:
            lines.append(
                f"dispersion {whole['dispersion']:.6g} from {whole['residual_degrees_of_freedom']:.6g} degrees of freedom, "
                f"PRESS {whole['press']:.6g}, predicted R² {whole['predicted_r2']:.6g}"
            )
        else:
            lines.append(
                f"deviance {whole['deviance']:.6g}, Pearson χ² {whole['pearson_chi2']:.6g}, "
                f"{whole['residual_degrees_of_freedom']:.6g} residual degrees of freedom"
            )
        return lines

    def _flags(self) -> list[str]:
        lines = ["beyond the usual cut-offs:"]
        for flag in self.data["flag"].to_numpy():
            here = self.data.sel(flag=flag)
            rows = np.flatnonzero(here["flags"].to_numpy())
            told = f"{len(rows)} of {self.data.sizes['point']}: {shown(rows)}" if len(rows) else "none"
            lines.append(f"  {here['rule'].item()} ({here['cutoff'].item():.4g}; {here['source'].item()}): {told}")
        return lines

    def _rows(self) -> list[str]:
        chosen = self.most_influential()
        if not len(chosen):
            return []
        columns = {name: values for name in _SHOWN if (values := self._shown(name)) is not None}
        wide = [max(len(name), 10) for name in columns]
        head = " ".join(f"{name:>{size}}" for name, size in zip(columns, wide, strict=True))
        lines = [f"most influential points, by exact Cook's distance:\n  {'point':>6} {head}  flags"]
        names, flags = self.data["flag"].to_numpy(), self.data["flags"].to_numpy()
        for row in chosen:
            cells = " ".join(f"{values[row]:>{size}.4g}" for values, size in zip(columns.values(), wide, strict=True))
            lines.append(f"  {row:>6} {cells}  {' '.join(names[flags[row]])}".rstrip())
        return lines

    def _shown(self, name: str) -> np.ndarray | None:
        found = {"studentised": ("externally_studentised", "studentised_pearson")}.get(name, (name,))
        values = next((self._column(one) for one in found if one in self.data), None)
        return values if values is None or values.ndim == 1 else np.abs(values).max(axis=1)

    def _reasons(self) -> list[str]:
        return [f"NaN or inf: points {describe({why: rows})}" for why, rows in self.undefined.items()]


@on_problem
def diagnostics(problem: Problem, *, theta: Theta | None = None) -> Diagnostics:
    """Leverage, residuals and influence of every single point, by exact deletion and by the usual approximations.

    For linear regression (any number of outputs, any ridge) and for logistic regression and softmax. `theta` is θ*
    (dim,) if it is known already; another θ is refused. The deleted set of `problem` plays no part. With p = Σh_i, the
    trace of the hat matrix and never dim θ, φ the dispersion and δ_i = θ*₋ᵢ − θ*, the columns of `.data` are

    * `leverage` h_i, `residual` y − ŷ (for classes y − probability);
    * `cook_exact` δᵀBδ/(pφ) of the exact leave-one-out optimum, unit-free; beside it `cook`, of the leverage-corrected
      step (Newton's step: exact for least squares), and `cook_influence`, of the plain influence function; and
      `influence_error`, `newton_error`: ‖δ_estimate − δ‖/‖δ‖ in the same metric (least squares: h_i, and 0);
    * `dfbetas` (point, parameter), (θ* − θ*₋ᵢ)_j beside its standard error (one-step for classes; a softmax without a
      ridge: of every logit beside the mean of all), `theta_without` θ*₋ᵢ in the data's units, `outcome` an `Outcome`;
    * least squares: `deleted_residual` y_i − x_iᵀθ*₋ᵢ, `internally_studentised`, `externally_studentised`, `dffits`,
      `covratio`; attributes `press` Σ(deleted residual)², `predicted_r2` 1 − PRESS/Σ(y − ȳ)², `dispersion` s². With a
      ridge all deletions stay exact; residuals are still studentised by 1 − h_i (Walker and Birch 1988);
    * classes: `pearson_residual`, `deviance_residual` and (two classes) the same divided by √(1 − h_i), `delta_chi2`
      and `delta_deviance`, by how much χ² and the deviance fall without the point, one-step (Pregibon 1981);
    * `flags` (point, flag) with `cutoff`, `rule` and `source` of each.

    At ridge 0 none of them but `residual`, `deleted_residual`, `theta_without`, `press` and `dispersion` depends on the
    units of y, and none but `theta_without` on those of the columns. NaN stands where a value is 0/0, inf where θ → ∞,
    and one `FlaggedRowsWarning` names these rows and why; a perfect fit has leverages only. Raises `RequestError` for a
    network and where no degrees of freedom are left, `WorkError` for a singular Hessian (collinear columns, separable
    classes) or when no row can be left out.

    Example (continues the package's):

        >>> found = diagnostics(problem).data
        >>> print(found["leverage"].values[3].round(3), found["cook_exact"].values[3].round(3), found["dfbetas"].shape)
        0.14 0.135 (20, 2)
    """
    on_host((problem, theta), "diagnostics")
    if not problem.least_squares and not (problem.model.linear and is_classification(problem)):
        raise RequestError(
            "diagnostics is for linear regression with squared loss and for logistic regression; for a network use "
            "leverage(theta=), cooks_distance(theta=) and leave_one_out_all(theta=)"
        )
    require_dense(problem, "diagnostics")
    theta = at_optimum(problem, theta)
    cases = (least_squares if problem.least_squares else classification)(problem, theta)
    failed = cases.outcome != int(Outcome.CONVERGED)
    if failed.all():
        raise WorkError(f"no point can be left out: {describe(cases.undefined)}; give the problem a ridge")
    told = describe(cases.undefined)
    if told:
        warnings.warn(f"some values are undefined, for points {told}", FlaggedRowsWarning, stacklevel=2)
    data = _dataset(problem, cases).assign_attrs(kind=_kind(problem))
    reasons = {why: np.asarray(rows) for why, rows in cases.undefined.items() if np.any(rows)}
    if reasons:
        data["undefined"] = (("reason", "point"), np.stack(list(reasons.values())))
        data = data.assign_coords(reason=list(reasons))
    return Diagnostics(data)


def _kind(problem: Problem) -> str:
    if problem.least_squares:
        name = "linear regression"
    else:
        name = "logistic regression" if isinstance(problem.loss, LogisticLoss) else "softmax regression"
    return name + (f" with ridge {float(problem.ridge):g}" if float(problem.ridge) > 0 else "")


def _dataset(problem: Problem, cases: Cases) -> xr.Dataset:
    variables: dict[str, Any] = {}
    for name, values in cases.columns.items():
        across = "parameter" if name in ("dfbetas", "theta_without") else "output"
        variables[name] = (("point", across)[: values.ndim], values)
    flags = _flagged(problem, cases)
    hits = [flag.values > flag.cutoff for flag in flags]
    variables["flags"] = (("point", "flag"), np.stack(hits, axis=1))
    for field in ("rule", "cutoff", "source"):
        variables[field] = ("flag", np.array([getattr(flag, field) for flag in flags]))
    variables["outcome"] = ("point", cases.outcome.astype(int))
    coordinates: dict[str, Any] = {
        "point": np.arange(problem.n),
        "parameter": _parameters(problem),
        "flag": [flag.name for flag in flags],
    }
    if problem.output_shape:
        coordinates["output"] = _outputs(problem)
    return xr.Dataset(variables, coordinates, cases.whole)


def _flagged(problem: Problem, cases: Cases) -> list[Flag]:
    columns, n, m = cases.columns, problem.n, outputs_per_point(problem)
    p, freedom = cases.whole["effective_degrees_of_freedom"], cases.whole["residual_degrees_of_freedom"]

    def largest(name: str) -> np.ndarray:
        values = np.nan_to_num(np.abs(columns[name]), nan=0.0, posinf=np.inf)
        return values.reshape(n, -1).max(axis=1)

    welsch = "Belsley, Kuh and Welsch 1980"
    found = [
        Flag("leverage", "leverage > 2p/n", 2 * p / n, "Hoaglin and Welsch 1978", largest("leverage")),
        Flag("dfbetas", "|DFBETAS| > 2/√n", 2 / math.sqrt(n), welsch, largest("dfbetas")),
    ]
    if problem.least_squares:
        median = float(scipy.stats.f.median(p, freedom))
        return [
            *found,
            Flag("cook", "Cook's distance > median of F(p, n − p)", median, "Cook 1977", largest("cook")),
            Flag("residual", "|externally studentised residual| > 2", 2.0, welsch, largest("externally_studentised")),
            Flag("dffits", "|DFFITS| > 2√(p/n)", 2 * math.sqrt(p / (n * m)), welsch, largest("dffits")),
            Flag("covratio", "|COVRATIO − 1| > 3p/n", 3 * p / n, welsch,
                 np.nan_to_num(np.abs(columns["covratio"] - 1.0), nan=0.0, posinf=np.inf)),
        ]  # fmt: skip
    median = float(scipy.stats.chi2.median(p)) / p
    hosmer = "Hosmer and Lemeshow 1989"
    return [
        *found,
        Flag("cook", "Cook's distance > median of χ²(p)/p", median, "Pregibon 1981", largest("cook_exact")),
        Flag("delta_chi2", "Δχ² > 4", 4.0, hosmer, largest("delta_chi2")),
        Flag("delta_deviance", "Δdeviance > 4", 4.0, hosmer, largest("delta_deviance")),
    ]


def _outputs(problem: Problem) -> list[str]:
    if is_classification(problem):
        return [f"class {label}" for label in range(outputs_per_point(problem))]
    return list(problem.data.targets)


def _parameters(problem: Problem) -> list[str]:
    """Names of the entries of θ: the columns, once per output where there are several."""
    if not problem.output_shape:
        return list(problem.data.columns)
    return [f"{column} → {output}" for column in problem.data.columns for output in _outputs(problem)]
