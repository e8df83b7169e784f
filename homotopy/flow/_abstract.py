"""`AbstractSchedule`: what a weight ε(t) is, how it is saved, and how it says its text form."""

import abc
from collections.abc import Mapping
from os import PathLike
from typing import Annotated, Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._checks import Values
from ._saved import made, plain, read, write
from ._text import own_arguments, register


class AbstractSchedule(eqx.Module):
    """ε(t) ∈ [0, 1] for t ≥ 0, the weight of the deleted points; call it with a time or an array of times.

    Mathematics §6. A class of one's own names `piecewise_constant` and the two methods below, in JAX; `flow.check`
    verifies before anything runs that it keeps what it says (else `RequestError`). `unrestricted = True` allows weights
    outside [0, 1]. Such a class is simulated, searched (`Parametric`), saved, plotted and compared like the package's
    own; with `text` it is also parsed, and named so in legends.

    Example (continues the package's):

        >>> class Hump(AbstractSchedule, text="hump:CENTRE,WIDTH"):
        ...     centre: float
        ...     width: float
        ...     piecewise_constant = False
        ...     def discontinuities(self):
        ...         return jnp.zeros(0)
        ...     def piece(self, index, t):
        ...         return jnp.exp(-(((t - self.centre) / self.width) ** 2))
        >>> hump = parse("hump:0.1,0.1")
        >>> print(hump([0.0, 0.1]).round(4), hump.piece(0, 0.2).round(4), hump.discontinuities().shape, describe(hump))
        [0.3679 1.    ] 0.3679 (0,) hump:0.1,0.1
        >>> print(AbstractSchedule.from_dict(hump.to_dict())(0.0) == hump(0.0), Hump.from_numbers(*hump.to_numbers()).width)
        True 0.1
    """

    piecewise_constant: eqx.AbstractClassVar[bool]
    unrestricted: ClassVar[bool] = False

    def __init_subclass__(cls, *, text: str | tuple[str, ...] = (), **options: Any) -> None:
        super().__init_subclass__(**options)
        register(cls, (text,) if isinstance(text, str) else text)

    @abc.abstractmethod
    def discontinuities(self) -> Float[Array, " k"]:
        """The sorted times where ε or its derivative jumps (∞ for one that never comes)."""

    @abc.abstractmethod
    def piece(self, index: Int[Array, "..."] | int, t: Float[Array, "..."]) -> Float[Array, "..."]:
        """ε(t) by the formula of the arc after `index` discontinuities, elementwise."""

    def __call__(self, t: Annotated[Values, "*times"]) -> Float[Array, "..."]:
        """ε at `t`, one time or an array of them, in the shape of `t`. At a jump it is the value from before."""
        t = jnp.asarray(t, dtype=float)
        values = jnp.asarray(self.piece(jnp.searchsorted(self.discontinuities(), t), t))
        return values if jnp.issubdtype(values.dtype, jnp.inexact) else values.astype(float)

    def to_dict(self) -> dict[str, Any]:
        """The class and the fields in numbers, texts and lists, for JSON; floats survive to the last bit.

        Fields may hold numbers, arrays, texts, tuples, lists and dictionaries of these, and other schedules;
        `RequestError` names the first that holds anything else. A class of one's own is saved with ε at a few times.
        """
        return plain(self, AbstractSchedule)

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> "AbstractSchedule":
        """The schedule that `to_dict` saved, of any class derived from `AbstractSchedule` that has been imported.

        Nothing is imported. The package's classes are rebuilt by their constructors, with what these refuse; one's own
        from its fields, without its constructor. `RequestError` where class, fields or shapes are not what they should
        be, and where a class of one's own gives other weights than the one that was saved.
        """
        return made(saved, AbstractSchedule)

    def save(self, path: str | PathLike[str]) -> None:
        """Write `to_dict` to the file `path` as JSON: aside first, then renamed. `homotopy.load` reads it. `RequestError`
        where it cannot be written.

        Example (continues the package's):

            >>> import pathlib, tempfile
            >>> Step(0.5).save(pathlib.Path(tempfile.mkdtemp()) / "step.json")
        """
        write(path, self.to_dict())

    @classmethod
    def _from_fields(cls, fields: dict[str, Any]) -> "AbstractSchedule":
        """A schedule of this package from what was saved of it, as its constructor makes and refuses it."""
        return cls(**fields)

    # How the class is written, where the numbers of its text are not the constructor's arguments one by one.

    @classmethod
    def from_numbers(cls, name: str, numbers: list[Any]) -> "AbstractSchedule":
        """The schedule of a text that begins with `name`: its numbers, or its lists of numbers."""
        return cls(*numbers)

    def to_numbers(self) -> tuple[str, list[Any]]:
        """The name and the numbers (or lists of numbers) of the text that `parse` turns into this schedule."""
        return own_arguments(self)


def load(path: str | PathLike[str]) -> AbstractSchedule:
    """The schedule that `schedule.save(path)` wrote, of any class derived from `AbstractSchedule` that is imported.

    Loading imports nothing and runs nothing that the file says. Raises `RequestError` for a file that is not there or
    no schedule, another version, a class that is not known here or gives other weights than the one that was saved,
    fields or shapes that do not fit the class, and what a class of the package refuses when it is made.

    Example (continues the package's):

        >>> import pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "step.json"
        >>> Step(0.5).save(file)
        >>> describe(load(file))
        'step:0.5'
    """
    return made(read(path), AbstractSchedule)
