"""`optimum` and `leave_one_out`: the minimiser of R_ε, and of R⁻ = R_0, with their proof.

Which minimiser. Linear regression: the limit of the flow from `start`, H⁺b + (I − H⁺H)θ₀ (Lemma 0.0.1, corrected; it
depends on θ₀ only where H is singular). Other convex risks: the minimiser, by Newton's method. Networks: the *cold*
endpoint, lim_{t→∞} θ(t, ε) from θ₀, by the flow itself (mathematics §1).
"""

import dataclasses
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._checks import Epsilon, Theta, choice, flag
from .._errors import RequestError
from .._factorise import null_part
from ..problem import Problem, on_problem
from . import _separation
from ._endpoint import Endpoint, Outcome, as_epsilon, checked, is_concrete, require_dense
from ._frame import frame, spectrum
from ._limit import flow_limit
from ._newton import judge, minimise
from ._objectives import WeightedRisk


@on_problem
def optimum(
    problem: Problem,
    epsilon: Epsilon = 1.0,
    *,
    start: Theta | None = None,
    method: str = "auto",
    throw: bool = True,
) -> Endpoint:
    """θ(ε) = argmin R_ε (mathematics §1; notes, θ* at ε = 1 and θ*₋ at ε = 0).

    `epsilon` in [0, 1], or one per deleted point; `start` θ₀ (dim,): optional for linear and logistic regression (0),
    needed for a network. `method`: "closed-form" (linear regression), "newton" (trust region: the basin that its steps
    reach from θ₀), "flow" (the limit of the gradient flow from θ₀); "auto" takes the closed form, else Newton for
    convex risks, else the flow. Raises `RequestError` for a missing start or a class without points, `WorkError` when
    the classes are separable or the minimum was not reached; `throw=False` returns what was reached instead, with an
    `outcome` that says so. Softmax without a ridge has a minimum up to one shift common to all classes: it counts as
    converged and not isolated, and θ keeps the shift of θ₀.

    Example (continues the package's):

        >>> arrived = optimum(problem, 0.5)
        >>> print(arrived.theta.round(3), arrived.converged)
        [-1.604  1.305] True
    """
    flag(throw, "throw")
    epsilon = as_epsilon(problem, epsilon)
    require_dense(problem, "optimum")
    theta0 = _start(problem, start)
    if throw and is_concrete((problem, epsilon)):
        _separation.require_all_classes(problem, epsilon)
    choice(method, "method", ("auto", *_JOBS))
    if method == "auto":
        method = "closed-form" if problem.least_squares else "newton" if problem.convex else "flow"
    if method == "closed-form" and not problem.least_squares:
        raise RequestError("method='closed-form' is for linear regression with squared loss; use 'newton' or 'flow'")
    endpoint = _JOBS[method](problem, epsilon, theta0)
    if is_concrete((problem, epsilon, endpoint)):
        outcome, margin = _separation.judged(problem, epsilon, endpoint.theta, _separation.doubtful(endpoint))
        if throw and outcome is Outcome.SEPARABLE:
            _separation.refuse_separable(margin)
        if outcome is not None:
            endpoint = dataclasses.replace(endpoint, outcome=jnp.asarray(int(outcome)))
    return checked(endpoint, throw, _ADVICE)


@on_problem
def leave_one_out(
    problem: Problem,
    *,
    start: str = "cold",
    theta0: Theta | None = None,
    theta: Theta | None = None,
    method: str = "auto",
    throw: bool = True,
) -> Endpoint:
    """θ*₋ = argmin R⁻ (dim,), the optimum without the points J (mathematics §1; notes, θ(0)).

    "cold": from θ₀ (`theta0`, needed for a network), as if J had never been seen. "warm": from θ*, that is `theta` if
    given and else `optimum(problem, start=theta0)`. For a strictly convex risk both are the same point; where minima
    are not isolated they differ, and `kind` names which one it is. Raises as `optimum` does.

    Example (continues the package's):

        >>> print(leave_one_out(problem).theta.round(3), leave_one_out(problem, start="warm").theta.round(3))
        [-1.623  1.288] [-1.623  1.288]
    """
    choice(start, "start", ("cold", "warm"))
    if start == "cold":
        if theta is not None:
            raise RequestError("theta= is the trained model of start='warm'; a cold start takes theta0=")
        begin = theta0
    elif theta is not None:
        begin = problem.check_theta(theta, "theta")
    else:
        begin = optimum(problem, 1.0, start=theta0, method=method, throw=throw).theta
    endpoint = optimum(problem, 0.0, start=begin, method=method, throw=throw)
    return dataclasses.replace(endpoint, kind=f"{start} leave-one-out ({endpoint.kind})")


def trained(problem: Problem, theta: Any, epsilon: Any = 1.0) -> Float[Array, " dim"]:
    """`theta` as given, or the optimum at ε where it needs no start (linear and logistic regression)."""
    if theta is not None:
        return problem.check_theta(theta, "theta")
    if not problem.convex:
        raise RequestError(
            "theta must be given for a network: train it first, for example optimum(problem, start=theta0).theta"
        )
    return optimum(problem, epsilon).theta


_ADVICE = "try a ridge, another θ₀, a smooth start nearer to the minimum, or throw=False to go on with what was reached"


def _start(problem: Problem, start: Any) -> Float[Array, " dim"]:
    if start is not None:
        return problem.check_theta(start, "start")
    if problem.convex:
        return jnp.zeros(problem.dim)
    raise RequestError(
        "a network has many minima, so its endpoint needs a start: pass theta0 (or start=), say problem.initial(0)"
    )


@eqx.filter_jit
def closed_form(problem: Problem, epsilon: Array, theta0: Array) -> Endpoint:
    """Linear regression: H⁺b + (I − H⁺H)θ₀, by a QR of the rows, never of XᵀX.

    Where H is singular the part of θ₀ in its null space stays, orthogonal in the user's own coordinates, as in the flow.
    """
    objective = WeightedRisk(problem, epsilon)
    here = frame(objective, problem.dim)
    found = spectrum(objective, here, jnp.zeros(problem.dim), targets=True)
    inside = found.vectors @ jnp.where(found.flat, 0.0, found.half / jnp.sqrt(jnp.where(found.flat, 1.0, found.rates)))
    left = null_part(found.vectors, found.flat, here.scale, theta0 - here.scale * inside)
    inside = inside + jnp.where(jnp.any(found.flat), left / here.scale, 0.0)
    return judge(objective, here, inside, found, theta0, 0, "closed form")


@eqx.filter_jit
def newton(problem: Problem, epsilon: Array, theta0: Array) -> Endpoint:
    """The minimiser that trust-region Newton steps reach from θ₀."""
    return minimise(WeightedRisk(problem, epsilon), theta0, kind="Newton from θ₀")


@eqx.filter_jit
def flow(problem: Problem, epsilon: Array, theta0: Array) -> Endpoint:
    """The limit of the flow from θ₀."""
    return flow_limit(WeightedRisk(problem, epsilon), theta0, kind="limit of the flow")


_JOBS = {"closed-form": closed_form, "newton": newton, "flow": flow}
