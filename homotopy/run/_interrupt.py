"""Ctrl-C and polite termination in the middle of a run, even inside a long compiled computation.

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
    """`with Interruptible(abandon): work` — SIGINT, SIGTERM and SIGHUP become `KeyboardInterrupt`.

    `abandon()` is called from the watcher thread, just before it ends the process with exit code 1. Call
    `reacted()` first thing when unwinding, and do what must not be cut in two inside `shielded()`.
    """

    def __init__(self, abandon: Callable[[], object], *, grace: float = GRACE) -> None:
        self._abandon, self._grace = abandon, grace
        self._reacted = threading.Event()
        self._shield = threading.Lock()
        self._shielded = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interruptible":
        if threading.current_thread() is not threading.main_thread():
            return self  # Python handles signals in its main thread only
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            # What is ignored stays ignored: nohup, and background jobs of a script.
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._handle)
        self._woken, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        self._wakeup_before = signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reacted.set()
        if not self._before and not hasattr(self, "_waker"):
            return
        signal.set_wakeup_fd(self._wakeup_before)
        for number, handler in self._before.items():
            signal.signal(number, handler)
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
        if not self._shielded and not self._reacted.is_set():
            raise KeyboardInterrupt

    def _watch(self) -> None:
        with self._woken:
            while received := self._woken.recv(1):
                if received[0] in self._before:
                    break
            else:
                return
        if self._reacted.wait(self._grace):
            return
        with self._shield:
            if not self._reacted.is_set():
                self._abandon()
                os._exit(1)
