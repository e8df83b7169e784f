"""Progress bars that appear only where somebody is watching, and only once the wait is worth one.

A bar is drawn when standard error is a terminal and its task has lasted `delay` seconds; it is gone when
the task ends. Everywhere else the same code runs in silence. Functions that may take long have an argument `progress`:
True for bars, False for none, or a `Progress` of the caller's own.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar

from ._errors import RequestError

Advance = Callable[..., None]
_Item = TypeVar("_Item")


class _Task:
    """Counts one task's steps from its first moment, so that a bar shown late starts at the right place."""

    def __init__(self, description: str, total: int | float | None) -> None:
        self.description, self.total = description, total
        self.done = 0.0
        self.over = False
        self.bar: Any = None  # rich's task id, once shown


class Progress:
    """`with progress.task("integrating", total=64) as advance: ... advance()`.

    `total=None` is for work of unknown length. `shown=None` asks the terminal; `True` or `False` decides.
    """

    def __init__(self, *, shown: bool | None = None, delay: float = 2.0) -> None:
        self._shown = _is_watched() if shown is None else shown
        self._delay = delay
        self._lock = threading.RLock()
        self._display: Any = None  # rich.progress.Progress, while at least one bar is visible

    @contextmanager
    def task(self, description: str, total: int | float | None = None) -> Iterator[Advance]:
        task = _Task(description, total)

        def advance(steps: int | float = 1) -> None:
            with self._lock:
                task.done += steps
                if task.bar is not None and self._display is not None:
                    self._display.update(task.bar, completed=task.done)

        if not self._shown:
            yield advance
            return
        # A timer, not a check inside `advance`: one long step (a compilation) deserves its bar too.
        timer = threading.Timer(self._delay, self._show, [task])
        timer.daemon = True
        timer.start()
        try:
            yield advance
        finally:
            timer.cancel()
            self._end(task)

    def track(self, items: Iterable[_Item], description: str) -> Iterator[_Item]:
        """The items one by one, a step each."""
        items = list(items)
        with self.task(description, len(items)) as advance:
            for item in items:
                yield item
                advance()

    def _show(self, task: _Task) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        with self._lock:
            if task.over or (task.total is not None and task.done >= task.total):
                return
            if self._display is None:
                self._display = Progress(
                    TextColumn("{task.description}"),
                    BarColumn(),
                    MofNCompleteColumn(),
                    TimeElapsedColumn(),
                    console=Console(file=sys.stderr),
                    transient=True,
                    # A redirected standard output must not be drawn onto the terminal.
                    redirect_stdout=sys.stdout.isatty(),
                )
                self._display.start()
            task.bar = self._display.add_task(task.description, total=task.total, completed=task.done)

    def _end(self, task: _Task) -> None:
        with self._lock:
            task.over = True  # the timer may have gone off already, and be waiting for the lock
            if task.bar is None or self._display is None:
                return
            self._display.remove_task(task.bar)
            task.bar = None
            if not self._display.tasks:
                self.close()

    def close(self) -> None:
        """Take every bar away and give the terminal its cursor back."""
        with self._lock:
            display, self._display = self._display, None
            if display is not None:
                display.stop()


if TYPE_CHECKING:
    Watch: TypeAlias = bool | Progress | None
else:
    Watch = Annotated[object, "True, False or a Progress"]


def as_progress(value: Watch) -> Progress:
    """`value` as the `Progress` that it asks for: shown for True, silent for False and None, or as given."""
    if value is None or isinstance(value, bool):
        return Progress(shown=bool(value))
    if not callable(getattr(value, "task", None)):
        raise RequestError(f"progress must be True, False or a Progress, but is of type {type(value).__name__}")
    return value


def _is_watched() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
