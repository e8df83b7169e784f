"""The public functions, for the tests that walk all of them."""

import enum
import inspect
from collections.abc import Callable

import homotopy


def functions() -> dict[str, Callable]:
    """Every public function, class (what makes one) and method of the package, by its dotted name."""
    found: dict[str, Callable] = {}
    for name in homotopy.__all__:
        value = getattr(homotopy, name)
        if inspect.ismodule(value):
            inside = {key: item for key, item in vars(value).items() if inspect.isfunction(item) and key[0] != "_"}
            found |= {f"{name}.{key}": item for key, item in inside.items() if item.__module__ == value.__name__}
        elif not inspect.isclass(value):
            found[name] = value
        elif value.__module__.startswith("homotopy") and not issubclass(value, Exception | enum.Enum):
            found[name] = value
            for key, item in vars(value).items():
                item = item.__func__ if isinstance(item, classmethod | staticmethod) else item
                if inspect.isfunction(item) and (key[0] != "_" or key == "__call__"):
                    found[f"{name}.{key}"] = item
    return found
