"""The persistent compile cache: what JAX compiled in one command, the next command loads.

On only in the command line; a library must not write into a home folder unasked. `HOMOTOPY_CACHE` names
another folder, and set to nothing switches the cache off.
"""

import functools
import hashlib
import logging
import os
import platform
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._provenance import device


@dataclass(frozen=True)
class Cache:
    """`folder` is where compiled programs are kept; None when the cache is off, and `reason` says why."""

    folder: Path | None
    reason: str = ""
    failed: bool = False  # off although it was wanted


def cache_folder() -> Path | None:
    """Where the cache belongs: `$HOMOTOPY_CACHE`, or `homotopy/jax` in the user's cache folder."""
    named = os.environ.get("HOMOTOPY_CACHE")
    if named is not None:
        return Path(named).expanduser() if named else None
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path("~/.cache").expanduser()) / "homotopy" / "jax"


def enable_cache() -> Cache:
    """Switch the cache on for this process, and see that JAX has a device to compute on.

    An unwritable folder switches the cache off, silently: see `doctor`.
    """
    # An `error_if` inside a program is a host callback, and JAX does not cache programs with callbacks. As
    # "nan" Equinox leaves them out; every solve then reports through its result code. Must precede Equinox.
    os.environ.setdefault("EQX_ON_ERROR", "nan")
    import jax

    device()
    chosen = jax.config.values["jax_compilation_cache_dir"]
    if chosen:  # the user's own choice, by JAX's own variable
        _quieten_loader()
        return Cache(Path(chosen))
    try:
        root = cache_folder()
    except RuntimeError as error:  # a user without a home
        return Cache(None, f"{str(error).rstrip('.')}; set HOMOTOPY_CACHE", failed=True)
    if root is None:
        return Cache(None, "HOMOTOPY_CACHE is empty")
    folder = root / _machine_code()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return Cache(None, f"cannot write to {root} ({error.strerror}); set HOMOTOPY_CACHE", failed=True)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # JAX keeps only what took a second to compile; our many small programs add up to half of the wait.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    _quieten_loader()
    return Cache(folder)


def _machine_code() -> str:
    """A short code of this processor's features: programs compiled for one may crash on another."""
    features = platform.machine() + platform.processor()
    try:
        with open("/proc/cpuinfo") as lines:
            features += next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    except OSError:
        pass  # not Linux: the architecture must do
    return hashlib.sha256(features.encode()).hexdigest()[:12]


@functools.cache  # listeners add up
def _quieten_loader() -> None:
    """Keep XLA's log quiet while it loads a cached program, and then only.

    Every load logs, in thousands of characters, that it "could lead to SIGILL": XLA compares tuning preferences
    as though they were instructions (openxla/xla issue 44565). Real mismatches are kept apart by `_machine_code`,
    and what goes wrong in a load or a compilation is raised as well as logged.
    """
    import jax

    # Leave it if the user asked for another level, by either variable ("1" is what JAX itself sets).
    if os.environ.get("JAX_LOGGING_LEVEL") or os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1") != "1":
        return

    def listen(event: str, **_: Any) -> None:
        if event == "/jax/compilation_cache/compile_requests_use_cache":
            _set_level("CRITICAL")
        elif event in ("/jax/compilation_cache/cache_hits", "/jax/compilation_cache/cache_misses"):
            _set_level("WARNING")

    jax.monitoring.register_event_listener(listen)


def _set_level(level: str) -> None:
    """The level of XLA's own log, by the one public switch for it, which must not silence Python's `jax` loggers."""
    import jax

    jax.config.update("jax_logging_level", level)
    for name in ("jax", "jaxlib"):
        logging.getLogger(name).setLevel(logging.WARNING)
