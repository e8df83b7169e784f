"""`homotopy search --delete all`: each row deleted alone, in one table; a row without an answer costs only itself."""

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import search_all
from .._errors import RequestError, WorkError
from .._progress import Progress
from ..scheduler import gains, spoken_gain
from ._record import record
from ._search_job import Job as Job, require_finite
from ._table import telling

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

_ROWS = 20  # that are printed; data.nc and search.csv have every one
_PROVEN = ["dual", "reached", "value-function", "hjb"]
# What stands for a row that has no answer: θ*₋ does not exist, or was not found.
_NO_ANSWER = {
    "energy": np.inf, "baseline": np.inf, "gain": np.nan, "lower_bound": np.nan, "switches": -1, "certificate": "none",
    "note": "",
}  # fmt: skip


def compute(job: Job, progress: Progress) -> "xr.Dataset":
    """How much would the best schedule of each row gain?"""
    import xarray as xr

    with telling(job.told):
        columns = _columns(job, progress)
    data = xr.Dataset(
        {name: ("row", column) for name, column in columns.items() if name != "row"},
        coords={"row": columns["row"]},
        attrs={"s": job.s, "t1": job.t1, "family": str(job.options.family), "told": job.told},
    )
    answered = int(np.sum(columns["reason"] == ""))
    lacking = len(columns["row"]) - answered
    return record(
        data, job.problem.data, codes={"successful": answered, "without an answer": lacking} if lacking else {}
    )


def draw(data: "xr.Dataset", options: Any) -> "dict[str, Figure]":
    """The sorted gains of the rows that have an answer."""
    from ..viz import plot_gains

    good = data.isel(row=data["reason"].values == "")
    proven = np.isin(good["certificate"].values, _PROVEN)
    lacking = data.sizes["row"] - good.sizes["row"]
    unit = f"row ({lacking} without an answer left out)" if lacking else "row"
    return {"search": plot_gains(good["gain"].values, good["switches"].values, proven, unit=unit)}


def tell(data: "xr.Dataset", options: Any) -> str:
    """The rows that gain most, the rows without an answer, and the whole in a line."""
    columns = _columns_of(data)
    report = _report(columns, columns["reason"] == "", data.attrs["s"], data.attrs["t1"])
    return "\n".join([data.attrs["told"], *report])


def tabulate(data: "xr.Dataset", options: Any) -> dict[str, dict[str, np.ndarray]]:
    """Every row."""
    return {"search": _columns_of(data)}


def _columns_of(data: "xr.Dataset") -> dict[str, np.ndarray]:
    return {"row": data["row"].values, **{str(name): data[name].values for name in data.data_vars}}


def _columns(job: Job, progress: Progress) -> dict[str, np.ndarray]:
    rows: list[dict[str, Any]] = []
    errors: list[RequestError | WorkError] = []
    with progress.task(f"searching {job.options.family}", job.problem.n) as advance:
        for row in range(job.problem.n):
            try:
                rows.append({"row": row, **_row(job, row), "reason": ""})
            except (RequestError, WorkError) as error:
                errors.append(error)
                rows.append({"row": row, **_NO_ANSWER, "reason": " ".join(str(error).split())})
            advance()
    if len(errors) == len(rows):
        raise type(errors[0])(f"no row has an answer; row 0: {errors[0]}") from errors[0]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _row(job: Job, row: int) -> dict[str, Any]:
    options = job.options
    quick = (
        options.model == "linear" and options.family == "bang-bang" and options.goal == "parameters"
        and options.certify in ("auto", "dual", "none")
    )  # fmt: skip
    if quick:
        with np.errstate(over="ignore", invalid="ignore"):  # seen below
            found = search_all(
                job.problem, job.theta0, s=job.s, t1=job.t1, delete=[row], certify=options.certify != "none"
            )
        energy, baseline, bound = found.energies[0], found.baseline_energies[0], found.lower_bounds[0]
        kind = "reached" if found.reached[0] else "dual" if found.certified[0] else "local"
        switches, notes = found.switches[0], found.notes[0]
        require_finite(energy, baseline)
    else:
        problem = job.problem.deleting(row)
        result = job.search(problem, job.target(problem))
        energy, baseline, bound = result.energy, result.baseline_energy, result.certificate.lower_bound
        kind, switches, notes = result.certificate.kind, result.switches, result.notes
    return {
        "energy": float(energy), "baseline": float(baseline), "gain": float(gains(baseline, energy)),
        "lower_bound": float(bound), "switches": int(switches), "certificate": kind,
        "note": "; ".join(notes),
    }  # fmt: skip


def _report(columns: dict[str, np.ndarray], answered: np.ndarray, s: float, t1: float) -> list[str]:
    order = [row for row in np.argsort(-columns["gain"], kind="stable") if answered[row]]
    lines = [f"{'row':>6} {'E':>11} {'E(1_[0,s])':>11} {'gain':>9} {'bound on E*':>12} {'switches':>8}  certificate"]
    for row in order[:_ROWS]:
        value = {name: column[row] for name, column in columns.items()}
        lines.append(
            f"{row:>6} {value['energy']:>11.4g} {value['baseline']:>11.4g} {value['gain']:>9.4g} "
            f"{value['lower_bound']:>12.4g} {value['switches']:>8}  {value['certificate']}"
        )
    if len(order) > _ROWS:
        lines.append(f"… and {len(order) - _ROWS} more rows in search.csv")
    failed = np.flatnonzero(~answered)
    for row in failed[:_ROWS]:
        lines.append(f"{row:>6} {'inf':>11} {'inf':>11}  no answer: {columns['reason'][row]}")
    if len(failed) > _ROWS:
        lines.append(f"… and {len(failed) - _ROWS} more rows without an answer in search.csv")
    lines += _notes(columns["note"])
    gain, kinds = columns["gain"][answered], columns["certificate"][answered]
    lines.append(
        f"s = {s:.6g}, T = {t1:.6g}: {int(np.sum(gain > 1.001))} of {len(gain)} rows gain more than 0.1 %, "
        f"median gain {spoken_gain(float(np.median(gain)))}; θ*₋ is reached exactly for {int(np.sum(kinds == 'reached'))}; "
        f"{int(np.isin(kinds, _PROVEN).sum())} certified"
        + (f"; {len(failed)} without an answer" if len(failed) else "")
    )
    return lines


def _notes(notes: np.ndarray) -> list[str]:
    """Each kind of note once, as its first row has it: the numbers in it differ from row to row."""
    kinds: dict[str, list[int]] = {}
    for row, note in enumerate(notes):
        if note:
            kinds.setdefault(re.sub(r"[-+.\d]+", "", note), []).append(row)
    return [
        f"note: {notes[rows[0]]} (row {rows[0]}{f' and {len(rows) - 1} more, in search.csv' if len(rows) > 1 else ''})"
        for rows in kinds.values()
    ]
