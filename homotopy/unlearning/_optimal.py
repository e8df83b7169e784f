"""The optimal schedule as an unlearning algorithm: the best ε(t) that the same gradients can buy.

D2D and R2D both put ε = 0 on the stretch that unlearning has: [ηT, η(T + I)] from the trained model, [η(T − K), ηT] from
the checkpoint. `search` finds the best ε(t) on that stretch, with its certificate. It is told the model to reach, so it is
a yardstick of what a schedule can gain, not an algorithm for whoever does not know that model.
"""

import time
from typing import Any

from .._checks import Number, Theta, Whole, number
from .._errors import RequestError
from ..flow import Constant, simulate
from ..problem import Problem, on_problem
from ..scheduler import AbstractFamily, search
from . import _checks
from ._result import Unlearned


@on_problem
def optimal_schedule(
    problem: Problem,
    theta0: Theta,
    *,
    step: Number,
    train_steps: Whole,
    unlearn_steps: Whole,
    origin: str = "trained",
    family: AbstractFamily | str = "bang-bang",
    target: Theta | None = None,
    **options: Any,
) -> Unlearned:
    """The best ε(t) of `family` on the stretch that D2D ("trained") or R2D ("checkpoint") spends its I steps on.

    Training sets out from θ₀ (dim,).

    `target` (dim,) is the model to reach, by default θ*₋ of linear regression (`search` asks for it otherwise);
    `options` go to `search`. The horizon is the flow's: ηI of it counts as I gradients. The certificate and how many
    times nearer in distance than ε = 0 it ends are among the `notes`. Raises as `search` does, and for other goals than
    the distance and for prices, of which these notes would be false. Mathematics §7, §10.

    Example (continues the package's):

        >>> best = optimal_schedule(problem, theta0, step=0.01, train_steps=5, unlearn_steps=15)
        >>> print(best.theta.shape, best.t1, best.unlearn_from)
        (2,) 0.2 0.05
    """
    train, spend = _checks.count(train_steps, "train_steps", 1), _checks.count(unlearn_steps, "unlearn_steps", 1)
    eta = number(step, "step", above=0.0)
    if origin not in ("trained", "checkpoint"):
        raise RequestError(f"origin must be 'trained' or 'checkpoint', but is {origin!r}")
    if origin == "checkpoint" and spend > train:
        raise RequestError(
            f"unlearn_steps must lie in [1, train_steps] = [1, {train}] from a checkpoint, but is {spend}"
        )
    for name, only in (("goal", "parameters"), ("switch_price", 0.0), ("weight_price", 0.0)):
        given = options.get(name, only)
        if not isinstance(given, str | int | float) or given != only:
            raise RequestError(f"{name} must be {only!r} here, where distance is what counts; search() has others")
    s = eta * (train if origin == "trained" else train - spend)
    t1 = s + eta * spend
    theta0 = problem.check_theta(theta0)
    began = time.perf_counter()
    found = search(problem, theta0, s=s, t1=t1, family=family, target=target, **options)
    seconds = time.perf_counter() - began
    ends = simulate(problem, found.schedule, theta0, t1=t1, ts=[s, t1])
    trained = simulate(problem, Constant(1.0), theta0, t1=eta * train, ts=[eta * train]).theta1
    proof = found.certificate
    bound = (
        ""
        if proof.kind == "local"
        else f", no ε(t) of E_s ends nearer than {(2 * max(proof.lower_bound, 0.0)) ** 0.5:.4g}"
    )
    nearer = (
        "the target is reached"
        if found.energy == 0
        else f"{found.ratio**0.5:.4g} times nearer to the target than ε = 0"
    )
    note = f"{nearer}; certificate {proof.kind}{bound}; the search knows the target"
    return Unlearned(
        algorithm=f"optimal schedule from the {'trained model' if origin == 'trained' else 'checkpoint'} ({family})",
        theta=ends.theta1,
        trained=trained,
        start=ends.thetas[0],
        gradient_evaluations=float(spend),
        seconds=seconds,
        schedule=found.schedule,
        unlearn_from=s,
        t1=t1,
        notes=(note,),
    )
