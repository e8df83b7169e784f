"""Linear regression in decimal arithmetic of any length: the reference where float64 is not enough, for small d."""

from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np

DIGITS = 80


def rational(array) -> list:
    """The floats of an array as fractions: exactly what they are."""
    return [rational(row) if np.ndim(row) else Fraction(float(row)) for row in np.asarray(array)]


def solve(matrix: list, right: list) -> list:
    """The solution of a regular system of fractions, by Gauss–Jordan."""
    size = len(matrix)
    rows = [[*matrix[i], right[i]] for i in range(size)]
    for k in range(size):
        pivot = next(i for i in range(k, size) if rows[i][k])
        rows[k], rows[pivot] = rows[pivot], rows[k]
        rows[k] = [value / rows[k][k] for value in rows[k]]
        for i in range(size):
            if i != k and rows[i][k]:
                rows[i] = [a - rows[i][k] * b for a, b in zip(rows[i], rows[k], strict=True)]
    return [row[size] for row in rows]


def moments(x, y, weights, ridge: float = 0.0) -> tuple[list, list]:
    """XᵀWX + ρI and XᵀWy in fractions."""
    x, y, weights = rational(x), rational(y), rational(weights)
    d, each = len(x[0]), range(len(x))
    hessian = [[sum(weights[i] * x[i][a] * x[i][b] for i in each) for b in range(d)] for a in range(d)]
    for a in range(d):
        hessian[a][a] += Fraction(ridge)
    return hessian, [sum(weights[i] * x[i][a] * y[i] for i in each) for a in range(d)]


def optimum(x, y, weights, ridge: float = 0.0) -> list:
    """argmin R_w, where it is unique, in fractions."""
    return solve(*moments(x, y, weights, ridge))


def flow(x, y, arcs, theta0, ridge: float = 0.0) -> list:
    """θ(T) in decimals through `arcs` of (weights, length), by scaling and squaring of the exponential's series."""
    with localcontext() as context:
        context.prec = DIGITS

        def decimal(value):
            return Decimal(value.numerator) / Decimal(value.denominator)

        state = [*(decimal(Fraction(float(value))) for value in theta0), Decimal(1)]
        unit = max(abs(float(value)) for value in y) or 1.0  # of the last component: y may be huge, and squares of it
        state[-1] = decimal(Fraction(unit))
        for weights, length in arcs:
            hessian, drive = moments(x, y, weights, ridge)
            duration = Fraction(float(length))
            block = [[decimal(-value * duration) for value in row] + [decimal(b * duration / Fraction(unit))]
                     for row, b in zip(hessian, drive, strict=True)]  # fmt: skip
            block.append([Decimal(0)] * len(block[0]))
            state = [sum(a * b for a, b in zip(row, state, strict=True)) for row in _exponential(block)]
        return state[:-1]


def _exponential(matrix: list) -> list:
    size = len(matrix)
    largest = max(sum(abs(value) for value in row) for row in matrix)
    halvings = 0
    while largest > Decimal("1e-3"):
        largest, halvings = largest / 2, halvings + 1
    small = [[value / 2**halvings for value in row] for row in matrix]
    eye = [[Decimal(int(i == j)) for j in range(size)] for i in range(size)]
    total, term = eye, eye
    for k in range(1, 30):
        term = [[value / k for value in row] for row in _product(term, small)]
        total = [[a + b for a, b in zip(*rows, strict=True)] for rows in zip(total, term, strict=True)]
    for _ in range(halvings):
        total = _product(total, total)
    return total


def _product(left: list, right: list) -> list:
    columns = list(zip(*right, strict=True))
    return [[sum(a * b for a, b in zip(row, column, strict=True)) for column in columns] for row in left]
