"""Modules as plain data and as files: a class path and fields, to the last bit; nothing in a file is imported or run.

A class path is where the class stands, without the private parts of this package's own (`homotopy.flow.Step`). It is
looked up among the classes derived from `root` that are there already; a module is rebuilt from its fields as JAX
rebuilds one from its leaves, so no constructor sees a file's numbers.
"""

import dataclasses
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_type_hints

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import AnnotationError, jaxtyped

from .._checks import instance, on_host, refuse, shown
from .._errors import RequestError

_FORMAT, _VERSION = "homotopy schedule", 1
_PACKAGE = __name__.partition(".")[0]
_SIMPLE = (bool, int, str, type(None))
_GROUPS: dict[str, type] = {"tuple": tuple, "list": list}


def plain(value: Any, root: type) -> Any:
    """`value`, a module below `root` or what one may hold, as JSON has it."""
    if isinstance(value, root):
        on_host(value, "saving a schedule")
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}  # type: ignore[arg-type]  # every module is a dataclass
        return {"class": _path(type(value)), "fields": {name: _field(value, name, fields, root) for name in fields}}
    if isinstance(value, jax.Array | np.ndarray) and value.dtype in _dtypes():
        array = np.asarray(value)
        kind = "array" if isinstance(value, jax.Array) else "numpy"
        return {
            kind: [_number(x) for x in array.ravel().tolist()],
            "shape": list(array.shape),
            "dtype": str(array.dtype),
        }
    if isinstance(value, float):
        return {"float": _number(value)}
    if type(value) in _SIMPLE:
        return value
    if type(value) in _GROUPS.values():
        return {type(value).__name__: [plain(entry, root) for entry in value]}
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"dict": {key: plain(entry, root) for key, entry in value.items()}}
    raise RequestError(
        f"is {shown(value)}; a schedule saves numbers, arrays, texts, lists of them, and other schedules"
    )


def made(saved: Any, root: type) -> Any:
    """The module below `root` that `plain` saved; `RequestError` if it is none."""
    instance(saved, "a saved schedule", Mapping, "what to_dict() or save() wrote")
    path, fields = saved.get("class"), saved.get("fields")
    kind = _known(root).get(path) if isinstance(path, str) else None
    if kind is None:
        raise RequestError(
            f"the class {shown(path)} of a saved schedule is not known here: it must be derived from {root.__name__}, and "
            "its module imported first"
        )
    names = [field.name for field in dataclasses.fields(kind)]
    refuse(
        not isinstance(fields, Mapping) or set(fields) != set(names),
        f"a saved {kind.__name__} must have the fields {', '.join(names)}, but has {shown(fields and list(fields))}",
    )
    values = {name: _value(fields[name], f"{kind.__name__}.{name}", root) for name in names}
    _check_shapes(kind, values)
    module = object.__new__(kind)
    for name, value in values.items():
        object.__setattr__(module, name, value)
    return module


def write(path: str | os.PathLike[str], saved: Any) -> None:
    """`saved` as a file of one schedule, whole or not there."""
    target = _as_path(path)
    aside = target.with_name(f".{target.name}.partial-{os.getpid()}")
    try:
        aside.write_text(json.dumps({"format": _FORMAT, "version": _VERSION, "schedule": saved}, allow_nan=False))
        os.replace(aside, target)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise RequestError(f"{target} cannot be written: {error.strerror}") from None


def read(path: str | os.PathLike[str]) -> Any:
    """What `write` wrote, not yet looked at."""
    target = _as_path(path)
    try:
        saved = json.loads(target.read_bytes())
    except OSError as error:
        raise RequestError(f"{target} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        saved = None
    if not isinstance(saved, dict) or saved.get("format") != _FORMAT:
        raise RequestError(f"{target} is no saved schedule; schedule.save(path) writes one")
    if saved.get("version") != _VERSION:
        raise RequestError(
            f"{target} is of version {shown(saved.get('version'))}, but this release reads version {_VERSION}; save the "
            "schedule again"
        )
    return saved.get("schedule")


def _as_path(path: str | os.PathLike[str]) -> Path:
    instance(path, "path", (str, os.PathLike), "the name of a file")
    target = Path(path)
    refuse(not target.name or "\0" in str(target), f"path must be the name of a file, but is {shown(path)}")
    return target


# Classes --------------------------------------------------------------------------------------------------------------


def _path(kind: type) -> str:
    path = f"{kind.__module__}.{kind.__qualname__}"
    if path.partition(".")[0] != _PACKAGE:
        return path
    return ".".join(part for part in path.split(".") if not part.startswith("_"))


def _known(root: type) -> dict[str, Any]:
    """The classes below `root` by their paths; of two of one path, the one that was defined last."""

    def below(kind: type[Any]) -> Iterator[type[Any]]:
        for child in kind.__subclasses__():
            yield child
            yield from below(child)

    return {_path(kind): kind for kind in below(root) if not getattr(kind, "__abstractmethods__", None)}


# Values ---------------------------------------------------------------------------------------------------------------


def _dtypes() -> tuple[np.dtype, ...]:
    """What a file may hold: real numbers and truth values, of every width."""
    return tuple(np.dtype(code) for code in "?bhilBHILefd")


def _field(module: Any, name: str, fields: dict[str, Any], root: type) -> Any:
    try:
        return plain(fields[name], root)
    except RequestError as error:
        owner = f"{type(module).__name__}.{name}"
        raise RequestError(f"{owner} {error}" if str(error).startswith("is ") else str(error)) from None


def _number(value: Any) -> Any:
    """JSON has no ∞ and no NaN."""
    return value if math.isfinite(value) else str(value)


def _value(saved: Any, what: str, root: type) -> Any:
    """What `plain` saved of one field."""
    if type(saved) in _SIMPLE:
        return saved
    if isinstance(saved, Mapping):
        if "class" in saved:
            return made(saved, root)
        if saved.keys() == {"float"}:
            return float(_numbers([saved["float"]], what)[0])
        if saved.keys() == {"dict"} and isinstance(saved["dict"], Mapping):
            return {key: _value(entry, what, root) for key, entry in saved["dict"].items()}
        for word, group in _GROUPS.items():
            if saved.keys() == {word} and isinstance(saved[word], list):
                return group(_value(entry, what, root) for entry in saved[word])
        for word in ("array", "numpy"):
            if saved.keys() == {word, "shape", "dtype"}:
                array = _array(saved[word], saved["shape"], saved["dtype"], what)
                return jnp.asarray(array) if word == "array" else array
    raise RequestError(
        f"{what} of a saved schedule must be a number, an array, a text or a schedule, but is {shown(saved)}"
    )


def _array(numbers: Any, shape: Any, dtype: Any, what: str) -> np.ndarray:
    known = {str(kind): kind for kind in _dtypes()}
    fits = isinstance(shape, list) and all(type(size) is int and size >= 0 for size in shape)
    if not isinstance(dtype, str) or dtype not in known or not fits or not isinstance(numbers, list):
        raise RequestError(
            f"{what} of a saved schedule must be an array of real numbers, but says {shown((shape, dtype))}"
        )
    if math.prod(shape) != len(numbers):
        raise RequestError(f"{what} of a saved schedule has the shape {tuple(shape)}, but {len(numbers)} numbers")
    return np.asarray(_numbers(numbers, what), dtype=known[dtype]).reshape(shape)


def _numbers(numbers: list[Any], what: str) -> list[Any]:
    words = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}
    for number in numbers:
        if type(number) not in (bool, int, float) and not (isinstance(number, str) and number in words):
            raise RequestError(f"{what} of a saved schedule must hold numbers, but holds {shown(number)}")
    return [words[number] if isinstance(number, str) else number for number in numbers]


def _check_shapes(kind: type, values: dict[str, Any]) -> None:
    """Arrays of the shapes and types that the class is annotated with, consistent with each other."""
    try:
        hints = get_type_hints(kind)
    except Exception:  # annotations that cannot be looked up say nothing
        return
    arrays = {name: value for name, value in values.items() if isinstance(value, jax.Array | np.ndarray)}
    with jaxtyped("context"):
        for name, value in arrays.items():
            try:
                fits = isinstance(value, hints.get(name, object))
            except (TypeError, AnnotationError):  # a hint that is no class, or that needs an axis of a later field
                continue
            if not fits:
                raise RequestError(
                    f"{kind.__name__}.{name} of a saved schedule must be {hints[name].__name__}, but has the shape "
                    f"{value.shape} and the type {value.dtype}"
                )
