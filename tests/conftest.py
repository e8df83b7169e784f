"""Strict numerics for every test: 64 bits, no silent promotion of types or ranks, shapes checked at run time.

Warnings are errors through `pyproject.toml`. The order matters: Matplotlib's backend and the type checker must be in
place before any module of `homotopy` is imported.
"""

import gc
import os
from pathlib import Path

os.environ["MPLBACKEND"] = "Agg"

import jax
import pytest
from jaxtyping import install_import_hook

# Not the scenarios: their own check of settings is what a caller from Python meets.
_PARTS = (path.stem for path in (Path(__file__).parents[1] / "homotopy").iterdir() if path.stem != "scenarios")
install_import_hook([f"homotopy.{part}" for part in _PARTS], "beartype.beartype")

import homotopy  # noqa: E402, F401  (turns 64-bit floats on)

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# A compiled program takes some ten mappings of memory, of which Linux grants a process 65,530 by default; beyond them
# XLA aborts. What one file of tests compiled is of little use to the next.
_MAPPINGS = 15_000


def pytest_configure(config):
    """Compiled programs are shared by the processes of a run, and kept for the next one."""
    jax.config.update("jax_compilation_cache_dir", str(config.cache.mkdir("programs")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@pytest.fixture(scope="module", autouse=True)
def _room_for_programs():
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > _MAPPINGS:
        jax.clear_caches()
        gc.collect()
