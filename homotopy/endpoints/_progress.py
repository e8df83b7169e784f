"""A progress bar for what takes long: counts the matrix products of a compiled solve, or the rounds of a loop."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, track

_Item = TypeVar("_Item")
_bars: list[tuple[Progress, object]] = []


@contextlib.contextmanager
def counting(show: bool, what: str) -> Iterator[None]:
    """While open, every `tick` advances a bar that says how many products have been made."""
    if not show:
        yield
        return
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, transient=True) as progress:
        _bars.append((progress, progress.add_task(what, total=None)))
        try:
            yield
        finally:
            _bars.pop()


def tick() -> None:
    """One matrix product more (called from compiled code)."""
    if _bars:
        progress, task = _bars[-1]
        progress.advance(task)  # type: ignore[arg-type]


def tracked(items: Iterable[_Item], show: bool, what: str) -> Iterable[_Item]:
    """The items, with a bar if asked for."""
    return track(list(items), description=what, transient=True) if show else items
