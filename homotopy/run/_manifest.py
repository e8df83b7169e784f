"""`manifest.json`: how a run came about and what it wrote; and reading a run back, with proof that it is whole."""

import dataclasses
import hashlib
import json
import math
from pathlib import Path
from typing import Any, NamedTuple

from .._errors import RequestError

NAME = "manifest.json"
FORMAT = "homotopy-run/1"


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def plain(value: Any) -> Any:
    """`value` in the terms of JSON. Infinity, which JSON lacks, becomes the word."""
    import numpy as np  # here: reading a command line must not wait for it

    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    return in_utf8(str(value))


def in_utf8(text: str) -> str:
    r"""`text` as any text file can hold it: of a file name that is not UTF-8, the odd bytes are spelled out (\xff)."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def write_manifest(folder: Path, fields: dict[str, Any]) -> None:
    """Write the manifest, last of all: it lists every file that is in the folder with its hash."""
    files = {path.name: sha256(path) for path in sorted(folder.iterdir()) if path.name != NAME}
    content = plain({"format": FORMAT, **fields, "files": files})
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / NAME).write_text(text + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a run folder; `RequestError` if there is none, or if it is not one of ours."""
    try:
        content = json.loads((folder / NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RequestError(f"{folder} is not a finished run: it has no {NAME}") from None
    except (OSError, ValueError) as error:
        raise RequestError(f"{folder / NAME} cannot be read: {error}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise RequestError(f"{folder / NAME} was not written by homotopy (no `format: {FORMAT}`)")
    if not isinstance(content.get("files"), dict):
        raise RequestError(f"{folder / NAME} does not list the files of its run")
    return content


class LoadedRun(NamedTuple):
    manifest: dict[str, Any]
    data: Any  # xarray.Dataset, in memory


def load_run(path: str | Path, *, only: str | None = None) -> LoadedRun:
    """The manifest and data of a run folder.

    `RequestError` if the folder is not a finished run, or if one of its files (or the one that is named) is missing or
    has changed since (sha256 against the manifest).
    """
    folder = Path(path)
    manifest = read_manifest(folder)
    for name, expected in manifest["files"].items():
        if only is not None and name != only:
            continue
        file = folder / name
        if Path(name).name != name:
            raise RequestError(f"{folder / NAME} names a file outside its folder: {name}")
        try:
            found = sha256(file)
        except OSError as error:
            raise RequestError(f"{file} cannot be read: {error.strerror}; run the scenario again") from None
        if found != expected:
            raise RequestError(f"{file} has changed since the run (its sha256 differs); run the scenario again")
    if "data.nc" not in manifest["files"]:
        raise RequestError(f"{folder / NAME} lists no data.nc")
    from ._save import read_data  # here: the command line answers before NumPy is imported

    return LoadedRun(manifest, read_data(folder / "data.nc"))
