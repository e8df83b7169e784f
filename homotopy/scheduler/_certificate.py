"""`Certificate`: a lower bound on the energy of *every* admissible schedule, and where it comes from (mathematics §7)."""

from dataclasses import dataclass
from typing import Literal, get_args

from .._errors import RequestError
from .._extras import missing
from ._dual import dual_bound
from ._grid import grid_bound
from ._linear import Vector
from ._switching import Window
from ._value_function import value_function_bound

CertificateKind = Literal["reached", "dual", "value-function", "hjb", "local"]
Certify = Literal["auto", "dual", "value-function", "hjb", "none"]
# Beyond this many parameters the semi-definite program takes minutes.
_ROUNDED = 1e-8  # of the energies of a window: more than rounding makes of any
_LARGEST_PROGRAM = 24


@dataclass(frozen=True)
class Certificate:
    """`lower_bound` ≤ the objective of every admissible schedule; `gap` = objective − lower_bound ≥ 0.

    A `switch_price` counts in neither: with one, `gap` is energy − lower_bound (plus the price on ∫ε, if there is one),
    and `lower_bound` holds for the whole objective, which is no smaller.

    Mathematics §7, §14. `kind`: "reached" (E = 0: nothing is lower), "dual" (convex dual, the deleted residual keeps
    its sign under every schedule), "value-function" (quadratic value function by a semi-definite program), "hjb"
    (Hamilton–Jacobi–Bellman on a grid), or "local": nothing better than E ≥ 0 is proven, and the Pontryagin residual
    says how close to stationary the schedule is. `margin` is what was subtracted for rounding and solver accuracy; all
    three have the units of the goal.

    Example (continues the package's):

        >>> search(problem, theta0, t1=0.2, family="bang-bang").certificate.kind
        'dual'
    """

    kind: CertificateKind
    lower_bound: float
    gap: float
    margin: float = 0.0


def local(value: float) -> Certificate:
    """Nothing is proven but E ≥ 0."""
    return Certificate("local", 0.0, value)


def certify(window: Window, value: float, best_end: Vector | None, how: str, single_point: bool) -> Certificate:
    """The certificate of the objective `value`; `best_end` is z(T) of the best schedule known, for the dual.

    Raises `RequestError` if a certificate is asked for by name and does not apply.
    """
    if how not in get_args(Certify):
        raise RequestError(f"certify must be one of {', '.join(get_args(Certify))}, but is {how!r}")
    if how == "none":
        return local(value)
    if how in ("auto", "dual"):
        bound = dual_bound(window, best_end) if single_point and best_end is not None else None
        if bound is not None:
            return _made(window, "dual", bound, value, 0.0)
        if how == "dual":
            raise RequestError(
                "certify='dual' does not apply here: the deleted residual may change its sign (or several points, a "
                "price or another target are involved); use certify='value-function' or 'auto'"
            )
    if how == "value-function" or (how == "auto" and len(window.begin) <= _LARGEST_PROGRAM and not missing("certify")):
        bound, margin = value_function_bound(window)
        return _made(window, "value-function", bound, value, margin)
    if how == "hjb" or (how == "auto" and len(window.begin) <= 2):
        bound, margin = grid_bound(window)
        return _made(window, "hjb", bound, value, margin)
    return local(value)


def _made(window: Window, kind: CertificateKind, bound: float, value: float, margin: float) -> Certificate:
    # A bound that lies above what was found is none for it: the schedule is not one of those that the bound is about.
    if bound - max(value, 0.0) > _ROUNDED * 0.5 * window.size**2:
        return local(value)
    # What was subtracted for rounding may be less than what rounds in E itself.
    bound = float(min(max(bound, 0.0), max(value, 0.0)))
    return Certificate(kind, bound, float(max(value, 0.0) - bound), float(margin))
