"""Ctrl-C and polite termination at any moment, even inside a long compiled computation.

Python runs signal handlers between its own instructions only, and a jitted solve is one of those. So the
handler raises `KeyboardInterrupt` as usual, and a watcher thread, woken by the signal itself, ends the
process when the main thread has not reacted within a moment.
"""

import os
import signal
import socket
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
    """

    def __init__(self, abandon: Callable[[], object], *, grace: float = GRACE) -> None:
        self._abandon, self._grace = abandon, grace
        self._reacted = threading.Event()
        self._shield = threading.Lock()
        self._shielded = False
        self._before: dict[int, Any] = {}
        self._waker: socket.socket | None = None
        self._wakeup_before = -1
        self.interrupted = False  # also when a library turned the `KeyboardInterrupt` into something else

    def __enter__(self) -> "Interruptible":
        if threading.current_thread() is not threading.main_thread():
            return self  # Python handles signals in its main thread only
        woken, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        self._wakeup_before = signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            # What is ignored stays ignored: nohup, and background jobs of a script.
            if number is not None and signal.getsignal(number) not in (signal.SIG_IGN, None):
                self._before[number] = signal.signal(number, self._handle)
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

    def _watch(self, woken: socket.socket) -> None:
        with woken:
            # To the very end: a signal that finds nobody listening would be reported by Python as a fault.
            while received := woken.recv(64):
                if not any(number in self._before for number in received) or self._reacted.wait(self._grace):
                    continue
                with self._shield:
                    if not self._reacted.is_set():
                        self._abandon()
                        os._exit(1)
