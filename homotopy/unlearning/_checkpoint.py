"""What a stored model belongs to: the run that made it, told apart by data, settings and step.

Rewind-to-Delete's bound compares two runs that part at the checkpoint θ_{T−K}; of any other vector it says nothing. So a
`Checkpoint` carries a hash of the data, of θ₀ and of every setting that moves the iterates, and a seal over the whole.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from ..problem import Problem


def digest(*parts: Any) -> str:
    """SHA-256 of arrays (type, shape, bytes) and of the text of everything else."""
    made = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray | jax.Array):
            array = np.ascontiguousarray(part)
            made.update(f"{array.dtype}{array.shape}".encode())
            made.update(array.tobytes())
        else:
            made.update(repr(part).encode())
        made.update(b";")
    return made.hexdigest()


def identity(problem: Problem) -> dict[str, str]:
    """What the risk of everything is made of: data, model, loss and ridge (not which points are deleted)."""
    leaves = jax.tree_util.tree_leaves((problem.model, problem.loss))
    return {
        "data": digest(problem.data.x, problem.data.y),
        "model": digest(repr(problem.model), repr(problem.loss), *leaves),
        "ridge": float(problem.ridge).hex(),
    }


def fingerprint(problem: Problem) -> str:
    """A hash of the problem with its deleted set (in whatever order)."""
    return digest(sorted(identity(problem).items()), np.sort(np.asarray(problem.delete)).tolist())


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """`theta` (dim,) after `steps` steps of one very run, made by `train` (or kept by `rewind_to_delete`).

    `settings` names what the run depends on: hashes of the data, the model and θ₀, the ridge, the step, the method, the
    radius, and for SGD the batches. `seal` is a hash of all of it and of θ: it finds a vector put in the place of another,
    or another step, not a forger. Plain fields: to keep one in a file, store the four and build it again.

    Example (continues the package's):

        >>> kept = train(problem, theta0, step=0.01, train_steps=20, rewind_steps=5)
        >>> kept.steps, sorted(kept.settings)[:3]
        (15, ['data', 'method', 'model'])
        >>> moved = Checkpoint(kept.theta + 1.0, kept.steps, kept.settings, kept.seal)
        >>> moved.seal == moved.bound().seal
        False
    """

    theta: Float[Array, " dim"]
    steps: int
    settings: dict[str, str] = field(repr=False)
    seal: str = field(default="", repr=False)

    def bound(self) -> "Checkpoint":
        """The same with its seal: for who has made θ."""
        return Checkpoint(self.theta, self.steps, self.settings, self._stamp())

    def _stamp(self) -> str:
        return digest(np.asarray(self.theta, dtype=float), self.steps, sorted(self.settings.items()))


def foreign(given: Any, settings: dict[str, str], steps: int, what: str) -> tuple[str, ...]:
    """Why `given` is not the model after `steps` steps of the run with `settings`, in words; () if it is."""
    if not isinstance(given, Checkpoint):
        return (f"the {what} is an array that nothing binds to this run: pass what train() returned",)
    if given.seal != given._stamp():
        return (f"the {what} is not what train() returned: its θ, step or settings were changed",)
    names = sorted(settings.keys() | given.settings.keys())
    other = [name for name in names if settings.get(name) != given.settings.get(name)]
    if other:
        return (f"the {what} is of another run: {', '.join(other)} {'differ' if len(other) > 1 else 'differs'}",)
    if given.steps != steps:
        return (f"the {what} is of step {given.steps}, not of step {steps}",)
    return ()
