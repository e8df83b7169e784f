"""`Unlearned`: the model after unlearning, the schedule that it came by, and what it cost and proves."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._checks import Key, as_key
from .._errors import RequestError
from ..flow import AbstractSchedule, describe
from ._checkpoint import Checkpoint, digest
from ._privacy import Guarantee
from ._publish import concrete, release, secret


@dataclass(frozen=True)
class Unlearned:
    """What an unlearning algorithm, `algorithm`, leaves behind: θ, its ε(t), its price and its proof (mathematics §10).

    `theta` (dim,) is the unlearned model before any noise, `start` (dim,) where unlearning set out from (the trained
    model or a checkpoint), `trained` (dim,) the model that had to forget. `schedule` and `t1` are the algorithm as ε(t)
    on the clock of the flow, `unlearn_from` the time from which on it had to work (None for an algorithm that is no
    schedule of one weight). `gradient_evaluations` counts gradients of the whole risk spent on unlearning, a mini-batch
    of b points as b/n; `hessian_evaluations` are apart, `seconds` what it took. `distance_bound` is what theory says of
    the distance to the model that never saw the points (∞: nothing), `bound_of` which model that is; with `measured`
    constants (or others that are not proven for this problem) it is no bound. `checkpoint` is `start` bound to its run
    (Rewind-to-Delete), `run` what a publication is counted by; `guarantee` is a `Guarantee`, `notes` what a reader must
    know.

    Example (continues the package's):

        >>> left = rewind_to_delete(problem, theta0, step=0.01, train_steps=20, rewind_steps=10)
        >>> left.algorithm, describe(left.schedule), left.unlearn_from, left.t1, left.gradient_evaluations
        ('rewind-to-delete (gradient descent)', 'step:0.1', 0.1, 0.2, 10.0)
    """

    algorithm: str
    theta: Float[Array, " dim"]
    trained: Float[Array, " dim"]
    start: Float[Array, " dim"]
    gradient_evaluations: float
    seconds: float
    schedule: AbstractSchedule | None = None
    unlearn_from: float | None = None
    t1: float | None = None
    hessian_evaluations: float = 0.0
    distance_bound: float = float("inf")
    bound_of: str = ""
    measured: bool = False
    guarantee: Guarantee | None = None
    notes: tuple[str, ...] = ()
    checkpoint: Checkpoint | None = field(default=None, repr=False)
    run: str = field(default="", repr=False)

    def publish(self, key: Key) -> Float[Array, " dim"]:
        """θ + σξ: the model with the noise of its guarantee; `key` is a secret.

        Counted: with the same key it is the same model, and nothing more is told; a different one is another publication
        of the run (of this object, or of the same run carried out again in this process), and the guarantee is for
        `guarantee.publications` of them. Raises `RequestError` for more, inside jit or vmap (where nothing can be counted)
        and where there is no guarantee.

        Example (continues the package's):

            >>> budget = {"privacy_epsilon": 1.0, "privacy_delta": 1e-3, "constants": estimate_constants(classes)}
            >>> left = descend_to_delete(classes, jnp.zeros(2), train_steps=50, unlearn_steps=5, **budget)
            >>> left.publish(key=0).shape
            (2,)
        """
        if self.guarantee is None:
            raise RequestError("publish needs a guarantee: pass privacy_epsilon and privacy_delta to the algorithm")
        if not self.guarantee.holds:
            raise RequestError(f"publish has {self.guarantee}")
        concrete(self.theta, key)
        made = secret(as_key(key), "published", self.run, self.theta)
        noisy = self.theta + self.guarantee.sigma * jax.random.normal(made, self.theta.shape)
        return release(self.run or digest(self.theta), noisy, self.guarantee.budget)

    def __str__(self) -> str:
        cost = f"{self.gradient_evaluations:g} gradients"
        cost += f" and {self.hessian_evaluations:g} Hessians" if self.hessian_evaluations else ""
        moved = float(jnp.linalg.norm(self.theta - self.trained))
        lines = [f"{self.algorithm}: {cost}, {self.seconds * 1e3:.1f} ms, moved the trained model by {moved:.4g}"]
        if self.schedule is not None:
            lines.append(
                f"  ε(t) = {describe(self.schedule, 6)} to t = {self.t1:g}, unlearning from {self.unlearn_from:g}"
            )
        if self.bound_of:
            said = "about {:.4g} or less (measured constants, no bound)" if self.measured else "at most {:.4g}"
            lines.append(f"  distance to {self.bound_of} {said.format(self.distance_bound)}")
        if self.guarantee is not None:
            lines.append(f"  {self.guarantee}")
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])
