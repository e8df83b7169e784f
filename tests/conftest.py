"""Strict numerics for every test: 64 bits, no silent promotion of types or ranks, shapes checked at run time.

Warnings are errors through `pyproject.toml`. The order matters: Matplotlib's backend and the type checker must be in
place before any module of `homotopy` is imported.
"""

import os

os.environ["MPLBACKEND"] = "Agg"

import jax
from jaxtyping import install_import_hook

install_import_hook("homotopy", "beartype.beartype")

import homotopy  # noqa: E402, F401  (turns 64-bit floats on)

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
