"""How long the user has waited: importing and compiling are part of it."""

import time

_since = time.perf_counter()  # a program begins with its imports, of which this is one of the first


def restart() -> None:
    """Count from now: a command begins inside a process that has done other things."""
    global _since
    _since = time.perf_counter()


def waited() -> float:
    """Seconds since the program, or the command, began."""
    return time.perf_counter() - _since
