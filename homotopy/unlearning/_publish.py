"""How often a run has been published: a budget pays for so many different models, and no more.

The same vector again tells nothing new. Another one (other noise, or a later model with the same noise) does, also if the
same run was carried out again: so what counts is the run, not the object that holds its answer. Counted in this process.
"""

import threading
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from .._errors import RequestError
from ._checkpoint import digest
from ._privacy import Budget

_released: dict[str, tuple[Budget, set[str]]] = {}
_lock = threading.Lock()


def secret(key: Any, *purpose: Any) -> Any:
    """A key for one purpose: noise of another run or model, or of mini-batches, that has the same key tells nothing of it."""
    bits = int(digest(*purpose)[:16], 16)
    return jax.random.fold_in(jax.random.fold_in(key, bits >> 32), bits & 0xFFFFFFFF)


def concrete(*values: object) -> None:
    """Refuse to publish inside a trace, where nothing can be counted."""
    if any(isinstance(value, jax.core.Tracer) for value in values):
        raise RequestError("publish counts what it gives away and cannot run inside jit or vmap: call it on its own")


def released(run: str, theta: Float[Array, " dim"]) -> bool:
    """Whether this very model went out before."""
    with _lock:
        return run in _released and digest(np.asarray(theta)) in _released[run][1]


def release(run: str, theta: Float[Array, " dim"], plan: Budget) -> Float[Array, " dim"]:
    """`theta`, if it was published before or the plan still pays for it; `RequestError` if not."""
    mark = digest(np.asarray(theta))
    with _lock:
        first, out = _released.setdefault(run, (plan, set()))
        if mark not in out and first != plan:
            raise RequestError(
                f"publish: this run was published before under (ε, δ, publications) = {tuple(first)}; its budget "
                f"cannot be changed to {tuple(plan)} afterwards"
            )
        if mark not in out and len(out) >= plan.publications:
            several = "s" if plan.publications > 1 else ""
            raise RequestError(
                f"publish: the budget pays for {plan.publications} published model{several} of this run, and {len(out)} went "
                "out already; another would spend it again (plan for more with publications= before the first)"
            )
        out.add(mark)
    return theta
