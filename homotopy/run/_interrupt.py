"""Ctrl-C and polite termination at any moment, even inside a long compiled computation.

Python runs signal handlers between its own instructions only, and a jitted solve is one of those. So the
handler raises `KeyboardInterrupt` as usual, and a watcher thread, woken by the signal itself, ends the
process when the main thread has not reacted within a moment.

Where Python cannot raise (a callback of the garbage collector, a finaliser, many of them while modules are imported) it
drops the exception and prints "Exception ignored in"; NumPy prints one that comes while its own modules are imported.
Those reports are kept off the screen, and the watcher does the rest.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

GRACE = 1.0  # seconds that the main thread has to react by itself


class Interruptible:
    """`with Interruptible(abandon): work` — SIGINT, SIGTERM and SIGHUP become one `KeyboardInterrupt`.

    `abandon()` is called from the watcher thread, just before it ends the process with exit code 1. Call
    `reacted()` first thing when unwinding, and do what must not be cut in two inside `shielded()`.
    May be nested: the innermost is in charge. Outside the main thread it does nothing.

    A shell starts the background jobs of a script with SIGINT ignored; whoever sends it all the same means it. An ignored
    SIGHUP stays ignored, for that is all that `nohup` does.
    """

    def __init__(self, abandon: Callable[[], object], *, grace: float = GRACE) -> None:
        self._abandon, self._grace = abandon, grace
        self._reacted = threading.Event()
        self._shield = threading.Lock()
        self._shielded = False
        self._before: dict[int, Any] = {}
        self._waker: socket.socket | None = None
        self._wakeup_before = -1
        self._hooks_before: Any = None
        self.interrupted = False  # also when a library turned the `KeyboardInterrupt` into something else

    def __enter__(self) -> "Interruptible":
        if threading.current_thread() is not threading.main_thread():
            return self  # Python handles signals in its main thread only
        woken, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        self._wakeup_before = signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            present = None if number is None else signal.getsignal(number)  # None: set by something else than Python
            if number is not None and present is not None and (name != "SIGHUP" or present != signal.SIG_IGN):
                self._before[number] = signal.signal(number, self._handle)
        self._hooks_before = sys.unraisablehook, sys.excepthook
        sys.unraisablehook, sys.excepthook = self._unraisable, self._printed
        threading.Thread(target=self._watch, args=(woken,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reacted.set()
        if self._waker is None:
            return
        for number, handler in self._before.items():
            signal.signal(number, handler)
        sys.unraisablehook, sys.excepthook = self._hooks_before
        signal.set_wakeup_fd(self._wakeup_before)
        self._waker.close()  # ends the watcher

    def reacted(self) -> None:
        self._reacted.set()

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """Signals that arrive inside are dropped: what is inside takes an instant and completes the work."""
        with self._shield:
            self._shielded = True
            try:
                yield
            finally:
                self._reacted.set()
                self._shielded = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        # Once only: an impatient second Ctrl-C must not cut the clearing-up short.
        if not (self._shielded or self.interrupted or self._reacted.is_set()):
            self.interrupted = True
            raise KeyboardInterrupt

    def _unraisable(self, unraisable: Any) -> None:
        if not self.interrupted:
            self._hooks_before[0](unraisable)

    def _printed(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not self.interrupted:
            self._hooks_before[1](kind, error, trace)

    def _watch(self, woken: socket.socket) -> None:
        with woken:
            # To the very end: a signal that finds nobody listening would be reported by Python as a fault.
            while received := woken.recv(64):
                if not any(number in self._before for number in received) or self._reacted.wait(self._grace):
                    continue
                with self._shield:
                    if not self._reacted.is_set():
                        try:
                            self._abandon()
                        finally:
                            os._exit(1)
