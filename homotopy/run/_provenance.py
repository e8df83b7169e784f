"""Where a result comes from: versions, revision, machine, data. No host names, no absolute paths."""

import hashlib
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from .._errors import RequestError
from .._extras import EXTRAS

_PACKAGES = (
    "jax",
    "jaxlib",
    "equinox",
    "diffrax",
    "optimistix",
    "lineax",
    "optax",
    "numpy",
    "scipy",
    "xarray",
    "h5netcdf",
    "h5py",
    "matplotlib",
    "pillow",
    *(name for extra in ("data", "certify") for name in EXTRAS[extra].modules.values()),
)

KNOWN_BAD_JAX = {
    "0.7.0": "it breaks Equinox and Diffrax",
    "0.7.1": "it breaks Equinox and Diffrax",
    "0.10.2": "it miscompiles on the CPU: wrong numbers, no error",
}


def versions() -> dict[str, str | None]:
    """Versions of Python, of this package and of what its numbers depend on; None where not installed."""
    from homotopy import __version__

    found: dict[str, str | None] = {"python": platform.python_version(), "homotopy": __version__}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def collect() -> dict[str, Any]:
    """All of it that does not depend on the work, for the manifest."""
    return {"versions": versions(), "float64": float64_is_on(), "git": git_state(), "platform": machine()}


def float64_is_on() -> bool:
    import jax

    return bool(jax.config.values["jax_enable_x64"])


def device() -> str:
    """The platform that JAX computes on; `RequestError` if the one that is asked for is not there."""
    import jax

    try:
        return str(jax.devices()[0].platform)
    except (RuntimeError, AssertionError) as error:
        asked = os.environ.get("JAX_PLATFORMS")
        if not asked:
            raise
        said = " ".join(str(error).split()) or "no such backend"
        raise RequestError(
            f"JAX_PLATFORMS={asked} asks for a platform that JAX does not find here ({said}); unset it, or set it to cpu"
        ) from None


def machine() -> dict[str, Any]:
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "device": device(),
    }


def git_state() -> dict[str, Any] | None:
    """Revision of the checkout that this package runs from, and whether its code differs from it.

    None outside a checkout, also when the package is installed into an environment that lies inside one.
    """
    root = Path(__file__).resolve().parents[2]
    # Inside a git hook these variables would point at the repository of the hook.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(root), *words],
                capture_output=True,
                text=True,
                timeout=20,
                stdin=subprocess.DEVNULL,
                env=environment,
                check=False,
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    revision = git("rev-parse", "--verify", "HEAD")
    if revision is None or git("ls-files", "--error-unmatch", "homotopy/__init__.py") is None:
        return None
    # Only what made the result counts: new figures in the checkout do not make its code dirty.
    changes = git("status", "--porcelain", "--", "homotopy", "scenarios", "pyproject.toml")
    return {"revision": revision, "dirty": changes is None or bool(changes)}


def describe_dataset(data: Any) -> dict[str, Any]:
    """Names, shapes and a hash of the content: sha256 over type, shape and little-endian bytes of x, then y."""
    import numpy as np

    digest = hashlib.sha256()
    shapes: dict[str, list[int]] = {}
    for part in ("x", "y"):
        values = np.ascontiguousarray(getattr(data, part))
        values = values.astype(values.dtype.newbyteorder("<"))
        digest.update(f"{part} {values.dtype.str} {values.shape}\n".encode())
        digest.update(values.tobytes())
        shapes[part] = list(values.shape)
    names = {part: list(getattr(data, part)) for part in ("columns", "targets") if hasattr(data, part)}
    return {"name": str(getattr(data, "name", "")), "shape": shapes, **names, "sha256": digest.hexdigest()}
