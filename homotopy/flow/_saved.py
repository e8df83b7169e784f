"""Modules as plain data and as files: a class path and fields, to the last bit; nothing in a file is imported or run.

A class path is where the class stands, without the private parts of this package's own (`homotopy.flow.Step`). It is
looked up among the classes derived from `root` that are there already. The package's own are rebuilt by their
constructors, which refuse what they always refuse; one of the user's, whose constructor may take anything, from its
fields as JAX rebuilds a module from its leaves. Two scripts may each have a `__main__.Bell`: with a class of the user's
the file holds ε at a few times, and a class that gives other weights is refused.
"""

import contextlib
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
from jaxtyping import AbstractArray, AnnotationError, jaxtyped

from .._checks import instance, on_host, refuse, shown
from .._errors import RequestError

# Version 2: `unrestricted` is a field of the schedules that have it, and a class of the user's comes with its weights.
_FORMAT, _VERSION = "homotopy schedule", 2
_PACKAGE = __name__.partition(".")[0]
_SIMPLE = (bool, int, str, type(None))
_GROUPS: dict[str, type] = {"tuple": tuple, "list": list}
_SHARES = (0.05, 0.23, 0.41, 0.67, 0.93)  # of a stretch of time, where ε is compared: seldom where it jumps
_CLOSE = 1e-6  # another machine rounds otherwise, another formula differs by more


def plain(module: Any, root: type) -> Any:
    """`module`, one below `root`, as JSON has it."""
    try:
        saved = _plain(module, root)
        if _has_foreign(saved):
            times = _times(module)
            saved["weights"] = {"times": times, "values": _plain(_weights(module, times), root)}
    except RecursionError:
        raise RequestError(f"{type(module).__name__} holds lists within lists too deep to be saved") from None
    return saved


def made(saved: Any, root: type) -> Any:
    """The module below `root` that `plain` saved; `RequestError` if it is none."""
    try:
        module = _made(saved, root)
        if _has_foreign(saved):
            _check_weights(module, saved, root)
    except RecursionError:
        raise RequestError("a saved schedule must not hold lists within lists so deep as this one does") from None
    return module


def _plain(value: Any, root: type) -> Any:
    if isinstance(value, root):
        on_host(value, "saving a schedule")
        hints = _hints(type(value))
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}  # type: ignore[arg-type]  # every module is a dataclass
        for name, entry in fields.items():
            if type(entry) in (bool, int, float) and _is_array_hint(hints.get(name)):
                fields[name] = np.asarray(entry)  # what the class says of it
            if isinstance(fields[name], np.ndarray) and getattr(hints.get(name), "array_type", None) is jax.Array:
                fields[name] = jnp.asarray(fields[name])
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
        return {type(value).__name__: [_plain(entry, root) for entry in value]}
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"dict": {key: _plain(entry, root) for key, entry in value.items()}}
    raise RequestError(
        f"is {shown(value)}; a schedule saves numbers, arrays, texts, lists of them, and other schedules"
    )


def _made(saved: Any, root: type) -> Any:
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
        f"a saved {kind.__name__} must have the fields {', '.join(names)}, but has "
        f"{shown(list(fields) if isinstance(fields, Mapping) and fields else fields)}",
    )
    values = {name: _value(fields[name], f"{kind.__name__}.{name}", root) for name in names}
    _check_shapes(kind, values, root)
    if _is_own(kind):
        try:
            return kind._from_fields(values)
        except RequestError as error:
            raise RequestError(f"a saved {kind.__name__} is not right: {error}") from None
    module = object.__new__(kind)
    for name, value in values.items():
        object.__setattr__(module, name, value)
    return module


def write(path: str | os.PathLike[str], saved: Any) -> None:
    """`saved` as a file of one schedule, whole or not there."""
    target = _as_path(path)
    try:
        text = json.dumps({"format": _FORMAT, "version": _VERSION, "schedule": saved}, allow_nan=False)
    except ValueError:  # Python writes no longer ones
        raise RequestError("a schedule with a whole number of thousands of digits cannot be saved") from None
    aside = target.with_name(f".{target.name}.partial-{os.getpid()}")
    try:
        aside.write_text(text)
        os.replace(aside, target)
    except OSError as error:
        with contextlib.suppress(OSError):  # what could not be made cannot be removed
            aside.unlink()
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


def _is_own(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == _PACKAGE


def _has_foreign(saved: Any) -> bool:
    """Whether a class of the user's is in what `plain` makes."""
    if isinstance(saved, Mapping):
        path = saved.get("class")
        foreign = isinstance(path, str) and path.partition(".")[0] != _PACKAGE
        return foreign or any(_has_foreign(entry) for entry in saved.values())
    return isinstance(saved, list) and any(_has_foreign(entry) for entry in saved)


def _known(root: type) -> dict[str, Any]:
    """The classes below `root` by their paths.

    Of several of one path (a cell of a notebook that ran twice) it is the last that is met: those derived from one class
    in the order of their definition, each followed by those derived from it. Whether it is the class that was saved,
    `_check_weights` says.
    """

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
        return _plain(fields[name], root)
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
            return _made(saved, root)
        if saved.keys() == {"float"}:
            return float(_array([saved["float"]], [], "float64", what))
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
    kind, values = known[dtype], _numbers(numbers, what)
    allowed: Any = {"b": bool, "i": int, "u": int}.get(kind.kind, (bool, int, float))
    try:
        refuse(not all(isinstance(value, allowed) for value in values), "")
        return np.asarray(values, dtype=kind).reshape(shape)
    except (RequestError, ValueError, OverflowError):
        raise RequestError(
            f"{what} of a saved schedule must hold numbers of the type {dtype} in the shape {shown(tuple(shape))}, but "
            f"holds {shown(numbers)}"
        ) from None


def _numbers(numbers: list[Any], what: str) -> list[Any]:
    words = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}
    for number in numbers:
        if type(number) not in (bool, int, float) and not (isinstance(number, str) and number in words):
            raise RequestError(f"{what} of a saved schedule must hold numbers, but holds {shown(number)}")
    return [words[number] if isinstance(number, str) else number for number in numbers]


def _hints(kind: type) -> dict[str, Any]:
    try:
        return get_type_hints(kind)
    except Exception:  # annotations that cannot be looked up say nothing
        return {}


def _is_array_hint(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, AbstractArray)


def _check_shapes(kind: type, values: dict[str, Any], root: type) -> None:
    """Arrays and schedules where the class is annotated with them, the arrays of shapes that go together."""
    hints = _hints(kind)
    with jaxtyped("context"):
        for name, value in values.items():
            hint = hints.get(name, object)
            array = isinstance(value, jax.Array | np.ndarray)
            if not (array or _is_array_hint(hint) or (isinstance(hint, type) and issubclass(hint, root))):
                continue
            try:
                fits = isinstance(value, hint)
            except (TypeError, AnnotationError):  # a hint that is no class, or that needs an axis of a later field
                continue
            if not fits:
                is_ = f"has the shape {value.shape} and the type {value.dtype}" if array else f"is {shown(value)}"
                raise RequestError(f"{kind.__name__}.{name} of a saved schedule must be {hint.__name__}, but {is_}")


# Weights --------------------------------------------------------------------------------------------------------------


def _times(module: Any) -> list[float]:
    """Where the weights are compared: within [0, 1], and up to half as long again as the last jump."""
    try:
        jumps = np.asarray(module.discontinuities(), dtype=float)
    except Exception:  # the user's own method; `check` names what is wrong with it
        jumps = np.zeros(0)
    last = float(max(jumps[np.isfinite(jumps)], default=0.0))
    return [span * share for span in (1.0, 1.5 * last) if span > 0 for share in _SHARES]


def _weights(module: Any, times: list[float]) -> np.ndarray | None:
    """ε at `times`; None where the class gives none."""
    try:
        with jax.ensure_compile_time_eval():
            return np.asarray(module(jnp.asarray(times)), dtype=float)
    except Exception:  # whatever the user's own method raises
        return None


def _check_weights(module: Any, saved: Mapping[str, Any], root: type) -> None:
    """`RequestError` unless `module` has the weights that were saved with it."""
    name, weights = type(module).__name__, saved.get("weights")
    if not isinstance(weights, Mapping) or weights.keys() != {"times", "values"}:
        raise RequestError(f"a saved {name} must have its weights ε at a few times; save it again")
    times = weights["times"]
    refuse(not isinstance(times, list), f"the times of the weights of a saved {name} must be a list of numbers")
    there = _weights(module, _array(times, [len(times)], "float64", f"{name}.weights").tolist())
    then = _value(weights["values"], f"{name}.weights", root)
    if there is None or not isinstance(then, np.ndarray):
        same = there is None and then is None
    else:
        same = there.shape == then.shape and np.allclose(there, then, rtol=_CLOSE, atol=_CLOSE, equal_nan=True)
    if not same:
        raise RequestError(f"the class {shown(saved['class'])} gives other weights than the one that was saved")
