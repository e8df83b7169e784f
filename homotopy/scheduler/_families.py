"""Families of schedules that `search` looks through: objects that own their options.

Every family keeps ε = 1 on [0, s] and ends at 0 from T on. All but `Switches` (bang-bang, exact for linear regression)
and `GreedyFeedback` (a closed loop, which has no parameters) are `Parametric`: p ↦ schedule within a box.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._arrays import as_floats
from .._checks import Flag, Number, Whole, choice, flag, is_concrete, number, refuse, whole
from .._errors import RequestError
from ..flow import AbstractSchedule, NeuralSchedule
from ..problem import Problem
from ._linear import Vector
from ._makers import MakeKnots, MakeLevels, MakeLinear, MakeNeural, MakePolynomial, level_starts

_SHORTEST = 1e-3  # of a decay, as a share of [s, T]
_WEIGHTS = 40.0  # the largest of a neural schedule
_MOST = 10**6
# The options, and what each may be: a whole number from … on, or True and False.
_LEAST: dict[str, int] = {"most": 1, "pieces": 1, "starts": 1, "seed": 0, "width": 1}


@dataclasses.dataclass(frozen=True)
class AbstractFamily:
    """A set of schedules; its fields are the options of its search, and a wrong one is refused by name.

    Mathematics §6. Raises `RequestError` for an option that the family does not have, and for a value outside its
    range.

    Example (continues the package's):

        >>> family = Levels(pieces=4, starts=2)
        >>> family.options(exact=True), family.having(True, pieces=8).pieces
        (('pieces', 'starts', 'seed', 'per_point'), 8)
        >>> family.parametric(problem, 0.0, 0.2).begins.shape
        (2, 4)
    """

    def __new__(cls, *values: Any, **options: Any) -> Any:
        own = [field.name for field in dataclasses.fields(cls)]
        for name in options:
            if name not in own:
                has = f"has {', '.join(own)}" if own else "has none"
                raise RequestError(f"{cls.__name__} has no option {name!r} (it {has}){_owners(name)}")
        return super().__new__(cls)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in _LEAST and not (value is None and field.default is None):
                most = 2**32 - 1 if field.name == "seed" else _MOST
                whole(value, field.name, _LEAST[field.name], most)

    def __str__(self) -> str:
        """The short name of the default, or the constructor with what differs from it."""
        for name, family in FAMILIES.items():
            if type(family) is type(self) and family == self:
                return name
        given = [field for field in dataclasses.fields(self) if getattr(self, field.name) != field.default]
        return f"{type(self).__name__}({', '.join(f'{field.name}={getattr(self, field.name)!r}' for field in given)})"

    def options(self, exact: bool) -> tuple[str, ...]:
        """The names of the options that count; `exact` where every bang-bang flow has a closed form."""
        return tuple(field.name for field in dataclasses.fields(self))

    def having(self, exact: bool, **options: Any) -> "AbstractFamily":
        """The family with those of `options` that it has and that count (`exact`: see `options`)."""
        return dataclasses.replace(self, **{name: options[name] for name in self.options(exact) if name in options})

    def parametric(self, problem: Problem, s: float, t1: float) -> "Parametric":
        """The family as schedules with parameters, on [s, T]."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Switches(AbstractFamily):
    """ε ∈ {0, 1}: at most `most` jumps on [s, T), any number if None (mathematics §6, §7).

    Exact for linear regression. Other models: one step is found by batches of simulations; more switches begin with
    `pieces` equal levels, searched from `starts` starts (random ones from `seed`), which are then turned into arcs.

    Mathematics §7.

    Example (continues the package's):

        >>> search(problem, theta0, t1=0.2, family=Switches(most=1)).switches
        1
    """

    most: Whole | None = None
    pieces: Whole = 40
    starts: Whole = 8
    seed: Whole = 0

    def options(self, exact):
        return ("most",) if exact or self.most == 1 else super().options(exact)

    def parametric(self, problem, s, t1):
        return Levels(self.pieces, self.starts, self.seed).parametric(problem, s, t1)


@dataclasses.dataclass(frozen=True)
class Levels(AbstractFamily):
    """Piecewise constant: `pieces` equal pieces of [s, T], refined where it is bang-bang or singular (mathematics §6).

    `starts` starts (random ones from `seed`). `per_point=True` gives every deleted point its own ε_j(t), which stays on
    the equal pieces.

    Mathematics §6, §7; `per_point` §14. Raises `RequestError` for options out of range.

    Example (continues the package's):

        >>> Levels(pieces=4).parametric(problem, 0.0, 0.2).make(jnp.array([1.0, 0.5, 0.5, 0.0]))(0.1).item()
        0.5
    """

    pieces: Whole = 40
    starts: Whole = 8
    seed: Whole = 0
    per_point: Flag = False

    def __post_init__(self):
        super().__post_init__()
        flag(self.per_point, "per_point")

    def parametric(self, problem, s, t1):
        points = problem.delete.shape[0] if self.per_point else 0
        begins = level_starts(self.pieces, self.starts, self.seed)
        if points:
            # The first two starts are common to all points, the others drawn point by point.
            rng, common = np.random.default_rng(self.seed), min(2, self.starts)
            others = [[b] + [begins[rng.integers(len(begins))] for _ in range(points - 1)] for b in begins]
            tables = [points * [b] for b in begins[:common]] + others[common:]
            begins = [np.stack(table, axis=1).reshape(-1) for table in tables]
        return _boxed(MakeLevels(jnp.linspace(s, t1, self.pieces + 1), points), begins, 0.0, 1.0)


@dataclasses.dataclass(frozen=True)
class Knots(AbstractFamily):
    """Piecewise linear: `pieces` equal pieces of [s, T]; 1 at s where s > 0 (ε is continuous there), 0 at T.

    `starts` starts (random ones from `seed`). Mathematics §6.

    Example (continues the package's):

        >>> Knots(pieces=2).parametric(problem, 0.0, 0.2).make(jnp.array([1.0, 0.5]))(0.1).item()
        0.5
    """

    pieces: Whole = 12
    starts: Whole = 8
    seed: Whole = 0

    def parametric(self, problem, s, t1):
        fixed = s > 0 and self.pieces > 1
        begins = [start[int(fixed) :] for start in level_starts(self.pieces, self.starts, self.seed)]
        return _boxed(MakeKnots(jnp.linspace(s, t1, self.pieces + 1), fixed), begins, 0.0, 1.0)


@dataclasses.dataclass(frozen=True)
class Linear(AbstractFamily):
    """1 − (t − s)/(end − s): the end of the decay in (s, T], from `starts` starts.

    Notes, eq. 0.14.

    Example (continues the package's):

        >>> Linear().parametric(problem, 0.0, 0.2).bounds.shape
        (1, 2)
    """

    starts: Whole = 8

    def parametric(self, problem, s, t1):
        ends = np.linspace(0.05, 1.0, max(self.starts, 2))
        return _boxed(MakeLinear(jnp.asarray(s), jnp.asarray(t1)), ends[:, None], _SHORTEST, 1.0)


@dataclasses.dataclass(frozen=True)
class Polynomial(AbstractFamily):
    """(1 − (t − s)/(end − s))^power: the end of the decay in (s, T] and the power in `powers`, from `starts` starts.

    Mathematics §6. Raises `RequestError` unless 0 < lowest < highest.

    Example (continues the package's):

        >>> Polynomial(powers=(0.5, 2.0)).parametric(problem, 0.0, 0.2).bounds.shape
        (2, 2)
    """

    powers: tuple[Number, Number] = (1 / 16, 16.0)
    starts: Whole = 8

    def __post_init__(self):
        super().__post_init__()
        refuse(
            not isinstance(self.powers, tuple) or len(self.powers) != 2, "powers must be two numbers, (lowest, highest)"
        )
        number(self.powers[1], "powers[1]", above=number(self.powers[0], "powers[0]", above=0.0))

    def parametric(self, problem, s, t1):
        ends, (low, high) = np.linspace(0.1, 1.0, max(self.starts, 2)), np.log2(np.asarray(self.powers, dtype=float))
        middle, quarter = 0.5 * (low + high), 0.25 * (high - low)
        powers = np.resize([middle, middle - quarter, middle + quarter], len(ends))
        bounds = ([_SHORTEST, low], [1.0, high])
        return _boxed(MakePolynomial(jnp.asarray(s), jnp.asarray(t1)), np.stack([ends, powers], axis=1), *bounds)


@dataclasses.dataclass(frozen=True)
class Neural(AbstractFamily):
    """The sigmoid of a network of `width` tanh neurons (`NeuralSchedule`), from `starts` random weights (`seed`).

    Mathematics §6.

    Example (continues the package's):

        >>> Neural(width=4).parametric(problem, 0.0, 0.2).begins.shape
        (3, 13)
    """

    width: Whole = 8
    starts: Whole = 3
    seed: Whole = 0

    def parametric(self, problem, s, t1):
        made = MakeNeural(NeuralSchedule(s, t1, width=self.width, key=self.seed))
        flat = np.asarray(jax.flatten_util.ravel_pytree(made.template.network)[0])
        begins = flat + np.random.default_rng(self.seed).standard_normal((self.starts, len(flat)))
        return _boxed(made, np.clip(begins, -_WEIGHTS, _WEIGHTS), -_WEIGHTS, _WEIGHTS)


@dataclasses.dataclass(frozen=True)
class GreedyFeedback(AbstractFamily):
    """The closed loop of `Greedy` towards θ*₋ from θ(s) on; the result's schedule is the ε(t) that it produced.

    Notes, eq. 0.15; mathematics §9.

    Example (continues the package's):

        >>> str(GreedyFeedback())
        'greedy'
    """


@dataclasses.dataclass(frozen=True, eq=False)
class Parametric(AbstractFamily):
    """p ↦ `make(p)`, any `AbstractSchedule`, one's own included, for p (k,) within `bounds` (mathematics §6).

    - `make`: a JAX function of p; the schedule that it makes is 1 on [0, s] and within [0, 1], wherever p is.
    - `start` (k,), or several of them (m, k); `bounds` (k, 2), a row (lowest, highest) for every parameter.
    - `starts`: how many starts are tried, all of them `begins` (starts, k); those beyond the given ones are drawn in the
      box, from `seed`.

    Mathematics §6. Raises `RequestError` for shapes that do not fit and for a start outside the box.

    Example (continues the package's):

        >>> family = Parametric(lambda p: LinearDecay(0.0, p[0]), start=[0.5], bounds=[[0.1, 1.0]])
        >>> family.make(jnp.asarray([0.3])).end.item(), family.begins.shape
        (0.3, (8, 1))
    """

    make: Callable[[Float[Array, " k"]], AbstractSchedule]
    start: Any
    bounds: Any
    starts: Whole = 8
    seed: Whole = 0

    def __post_init__(self):
        super().__post_init__()
        refuse(not callable(self.make), "make must be a function of p that returns a schedule")
        refuse(not is_concrete((self.start, self.bounds)), "start and bounds must be numbers, not traced ones")
        start, bounds = np.atleast_2d(as_floats(self.start, "start")), np.asarray(as_floats(self.bounds, "bounds"))
        if start.ndim != 2 or bounds.shape != (start.shape[1], 2) or not start.size:
            raise RequestError(
                "start must have shape (k,) or (m, k) and bounds (k, 2), a row (lowest, highest) for every parameter, but "
                f"they have {np.shape(self.start)} and {bounds.shape}"
            )
        refuse((bounds[:, 0] >= bounds[:, 1]).any(), "bounds must rise: (lowest, highest) for every parameter")
        inside = (start >= bounds[:, 0]) & (start <= bounds[:, 1])
        refuse(
            not inside.all(), f"start must lie within bounds, but number {int(np.argmin(inside.all(axis=0)))} does not"
        )
        object.__setattr__(self, "start", start)
        object.__setattr__(self, "bounds", bounds)

    def __str__(self):
        return "Parametric"

    def parametric(self, problem, s, t1):
        return self

    @property
    def begins(self) -> Vector:
        """All starts (starts, k)."""
        low, high = self.bounds.T
        more = max(self.starts - len(self.start), 0)
        drawn = np.random.default_rng(self.seed).uniform(low, high, (more, len(low)))
        return np.concatenate([self.start[: self.starts], drawn])


def _boxed(make: Callable[[Array], AbstractSchedule], begins: Any, low: Any, high: Any) -> Parametric:
    """The starts (m, k), all of them tried, in the box from `low` to `high`."""
    begins = np.asarray(begins, dtype=float)
    bounds = np.stack(np.broadcast_arrays(low, high, begins[0])[:2], axis=1)
    return Parametric(make, begins, bounds, starts=len(begins))


FAMILIES: dict[str, AbstractFamily] = {
    "step": Switches(most=1), "bang-bang": Switches(), "piecewise-constant": Levels(), "linear": Linear(),
    "polynomial": Polynomial(), "piecewise-linear": Knots(), "neural": Neural(), "greedy": GreedyFeedback(),
}  # fmt: skip


def as_family(family: Any) -> AbstractFamily:
    """`family`, or the default that a name stands for."""
    if isinstance(family, AbstractFamily):
        return family
    return FAMILIES[choice(family, "family", FAMILIES, " or a family such as Levels(pieces=16)")]


def refuse_option(name: str) -> None:
    """`RequestError` that says which families have the option `name`, if any has."""
    owners = _owners(name)
    refuse(owners, f"{name!r} is an option of a family, as in family=Levels(pieces=16){owners}")


def _owners(name: str) -> str:
    kinds = [Switches, Levels, Knots, Linear, Polynomial, Neural, Parametric]
    owners = [kind.__name__ for kind in kinds if name in (field.name for field in dataclasses.fields(kind))]
    return f"; {', '.join(owners)} {'have' if len(owners) > 1 else 'has'} {name}" if owners else ""
