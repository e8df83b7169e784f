"""`homotopy doctor`: what is installed, and whether what the numbers and the waiting depend on works."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from .._errors import RequestError
from .._extras import EXTRAS, missing
from . import _provenance
from ._arguments import NoOptions, parse
from ._cache import Cache, enable_cache

_OPTIONAL = {name for extra in EXTRAS.values() for name in extra.modules.values()}
_TIMEOUT = 300  # seconds for one trial compilation, many times what it takes


def command(args: list[str], scenarios: str) -> int:
    """Print the report; 0 if everything is right, 1 otherwise."""
    parse(NoOptions, args, prog="homotopy doctor", description="Is this installation sound?")
    problems: list[str] = []

    def line(topic: str, text: str, *, problem: bool = False) -> None:
        print(f"{'PROBLEM' if problem else 'ok':<8}{topic:<15}{text}", flush=True)
        if problem:
            problems.append(topic)

    found = {name: version for name, version in _provenance.versions().items() if name not in _OPTIONAL}
    line("python", found.pop("python") or "")
    jax_version = found["jax"] or ""
    reason = _provenance.KNOWN_BAD_JAX.get(jax_version)
    for name, version in found.items():
        if name == "jax" and reason:
            line(name, f"{version}: {reason}; pip install -U 'jax!={version}'", problem=True)
        else:
            line(name, version or "not installed (reinstall homotopy)", problem=version is None)
    for extra, (_, purpose) in EXTRAS.items():
        absent = missing(extra)
        state = f"without {', '.join(absent)}: pip install 'homotopy[{extra}]'" if absent else "installed"
        print(f"{'-' if absent else 'ok':<8}{f'[{extra}]':<15}{state} ({purpose})", flush=True)
    bad = ", ".join(_provenance.KNOWN_BAD_JAX)
    line("JAX version", "known to be bad" if reason else f"not among the known-bad ones ({bad})", problem=bool(reason))
    float64 = _provenance.float64_is_on()
    line("float64", "on" if float64 else "off: unset JAX_ENABLE_X64", problem=not float64)
    try:
        here = _provenance.machine()
    except RequestError as error:
        line("machine", str(error), problem=True)
    else:
        line("machine", f"{here['system']} {here['machine']}, {here['cores']} cores, JAX on {here['device']}")
        _report_cache(enable_cache(), line)
    print(f"\n{len(problems)} to mend: {', '.join(problems)}" if problems else "\nall is right")
    return 1 if problems else 0


def _report_cache(cache: Cache, line: Any) -> None:
    if cache.folder is None:
        line("compile cache", f"off: {cache.reason}", problem=cache.failed)
        return
    try:
        kept = [path.stat().st_size for path in cache.folder.glob("*") if path.is_file()]
        line("compile cache", f"{cache.folder} ({len(kept)} files, {sum(kept) / 1e6:.1f} MB; may be deleted any time)")
        first, second = _trial()
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        line("cache trial", f"failed: {error}", problem=True)
        return
    times = f"a small solve took {first['seconds']:.2f} s in a first process, {second['seconds']:.2f} s in a second"
    works = first["misses"] > 0 and second["misses"] == 0
    advice = "" if works or os.environ.get("EQX_ON_ERROR") == "nan" else "; unset EQX_ON_ERROR"
    line("cache trial", f"{'works' if works else 'does not work'}: {times}{advice}", problem=not works)


def _trial() -> tuple[dict[str, float], dict[str, float]]:
    """Solve the same small equation in two processes that share a fresh cache."""
    with tempfile.TemporaryDirectory(prefix="homotopy-doctor-") as fresh:
        environment = {key: value for key, value in os.environ.items() if key != "JAX_COMPILATION_CACHE_DIR"}
        environment["HOMOTOPY_CACHE"] = fresh
        root = str(Path(__file__).resolve().parents[2])
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, environment.get("PYTHONPATH")]))
        results = []
        for _ in range(2):
            done = subprocess.run(
                [sys.executable, "-c", "from homotopy.run._doctor import probe; probe()"],
                capture_output=True,
                text=True,
                timeout=_TIMEOUT,
                env=environment,
                stdin=subprocess.DEVNULL,
                check=False,
            )
            if done.returncode:
                raise ValueError((done.stderr.strip().splitlines() or ["no message"])[-1])
            results.append(json.loads(done.stdout.splitlines()[-1]))
    return results[0], results[1]


def probe() -> None:
    """Run in a process of its own: compile one solve, print how long that took and how often the cache helped."""
    enable_cache()
    import diffrax
    import jax
    import jax.numpy as jnp

    misses = 0

    def count(event: str, **_: Any) -> None:
        nonlocal misses  # JAX's own event for them leaves out programs that it cannot store
        misses += event == "/jax/compilation_cache/compile_requests_use_cache"
        misses -= event == "/jax/compilation_cache/cache_hits"

    jax.monitoring.register_event_listener(count)

    @jax.jit
    def solve(y0: jax.Array) -> jax.Array:
        return diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, y, args: -(y**3)),
            diffrax.Tsit5(),
            t0=0.0,
            t1=1.0,
            dt0=None,
            y0=y0,
            stepsize_controller=diffrax.PIDController(rtol=1e-6, atol=1e-8),
            throw=True,  # can be stored only while `enable_cache` keeps host callbacks out
        ).ys

    start = time.perf_counter()
    solve(jnp.ones(3)).block_until_ready()
    print(json.dumps({"seconds": time.perf_counter() - start, "misses": misses}))
