"""Measuring: an estimand on every unit of a family, its numbers in one table, and a count of the units without an answer."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from .._errors import RequestError, WorkError
from ._evidence import share

STRATA = ("start", "singular", "inside")
NO_MINIMUM = (WorkError, RequestError)
"""What stands for "no answer" on a network: no minimum from this start, or a fold before ε = 0."""


class Table(dict[str, Any]):
    """Columns by name, (rows, …), one instance a row; `told` (rows,) identifies each. Of no rows, every column is empty.

    `failures` says of each unit without an answer why there is none.
    """

    def __init__(self, columns: Any = (), failures: Iterable[str] = ()) -> None:
        super().__init__(columns)
        self.failures = list(failures)

    def __missing__(self, name: str) -> Any:
        if self.rows:
            raise KeyError(name)
        return np.zeros(0)

    @property
    def rows(self) -> int:
        """How many instances."""
        return len(self.get("told", ()))

    def where(self, mask: Any) -> "Table":
        """The rows of a mask."""
        kept = np.flatnonzero(mask)
        columns = {name: value[kept] for name, value in self.items() if name != "told"}
        return Table(columns | {"told": [self["told"][k] for k in kept]}, self.failures)

    def extreme(self, score: Any, what: str, *names: str, **more: Any) -> dict[str, Any] | None:
        """The row with the largest finite score, identified, with its entries of the columns `names` and `more`."""
        score = np.where(np.isfinite(score), score, -np.inf)
        if not self.rows or score.max() == -np.inf:
            return None
        row = int(score.argmax())
        shown = {name: self[name] for name in names} | more
        return {"what": what, **self["told"][row], **{name: values[row] for name, values in shown.items()}}

    def shares(self, hits: Any, strata: Mapping[str, Any]) -> dict[str, Any]:
        """The share of `hits` in each stratum (name → mask)."""
        return {name: share(hits[mask]) for name, mask in strata.items()}


def measure(
    estimand: Callable[..., Mapping[str, Any] | None],
    units: Iterable[Any],
    progress: Any,
    task: str,
    skip: tuple[type[Exception], ...] = (),
) -> Table:
    """`estimand(unit)` of every unit: the numbers of a row by name.

    A unit is a `Batch` (whose numbers are columns: a row for each problem, beside its strata), a seed, a mapping (handed
    over as keyword arguments, and telling which unit it is), or has a method `told`; an estimand may also answer with a
    `Table`. Rows where the entry `counts` is false, and units whose estimand is None, are not of the family; those that
    raise one of `skip` are kept in `failures`.
    """
    units, tables, failures = list(units), [], []
    with progress.task(task, len(units)) as advance:
        for unit in units:
            try:
                found = estimand(**unit) if isinstance(unit, Mapping) else estimand(unit)
            except skip as error:
                failures.append(f"{unit}: {error}")
            else:
                if found is not None:
                    tables.append(_table(unit, found))
            advance(1)
    return join(tables, failures)


def join(tables: Iterable[Table], failures: Iterable[str] = ()) -> Table:
    """The rows of all tables."""
    tables = list(tables)
    told = [row for table in tables for row in table["told"]]
    names = [name for name in (tables[0] if tables else ()) if name != "told"]
    columns = {name: np.concatenate([table[name] for table in tables]) for name in names}
    return Table(columns | {"told": told}, [*failures, *(said for table in tables for said in table.failures)])


def _table(unit: Any, found: Mapping[str, Any]) -> Table:
    if isinstance(found, Table):
        return found
    if hasattr(unit, "describe"):  # a `Batch`
        strata = {name: getattr(unit, name) for name in STRATA} | {"d": np.full(unit.rows, unit.dim)}
        columns = strata | {name: np.asarray(value) for name, value in found.items()}
        told = [unit.describe(row) for row in range(unit.rows)]
    else:
        columns = {name: np.asarray(value)[None] for name, value in found.items()}
        told = [{"seed": unit} if isinstance(unit, int) else dict(unit) if isinstance(unit, Mapping) else unit.told()]
    counts = columns.pop("counts", None)
    table = Table(columns | {"told": told})
    return table if counts is None else table.where(counts)
