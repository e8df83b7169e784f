"""The value-function certificate: a lower bound on E* from a quadratic V(t, z), for linear regression of any sign and size.

V(t, z) = vᵀW(t)v, v = (z, 1), with W polynomial in time, such that

    V(T, z) ≤ ½ zᵀMz,   ∂V/∂t + ∇V·(b_ε − H_ε z) + c ε ≥ 0   for every z, t ∈ [s, T] and vertex ε of [0, 1]^m,

gives E* ≥ V(s, z(s)) (mathematics §7). Each condition is a matrix polynomial that must be positive semi-definite on an
interval: exactly a sum of squares, L(u) = S₀(u) + u(1−u) S₁(u) for even degree. Clarabel solves the semi-definite
program; then the Gram matrices are made positive by clipping, what they leave of L is bounded, and that bound times the
largest reachable ‖v‖² is subtracted, so that the number returned is a bound whatever the solver's accuracy.
"""

import numpy as np
from scipy import sparse

from .._extras import need
from ._dual import reach
from ._linear import Vector
from ._switching import Window


def value_function_bound(window: Window, degree: int | None = None) -> tuple[float, float]:
    """(lower bound on E*, the safety margin it already contains). `degree` of W in time: even, 2 or 4 unless given."""
    need("certify", "certify='value-function'")
    import clarabel

    size = len(window.begin) + 1
    degree = (4 if size <= 6 else 2) if degree is None else degree
    scale = float(np.linalg.norm(window.begin)) or 1.0
    metric = window.control.metric
    # The programme sees numbers near 1: z in units of ‖z(s)‖, V in those times the size of M.
    unit = scale**2 * (1.0 if metric is None else float(np.exp2(np.frexp(np.linalg.norm(metric, 2))[1])))
    generators, prices = _generators(window, scale, unit)
    final = np.zeros((size, size))
    final[:-1, :-1] = 0.5 * (np.eye(size - 1) if metric is None else metric * (scale**2 / unit))
    basis = _Basis(size)
    half = degree // 2
    counts = [(half + 1) * size, half * size]
    per_vertex = [n * (n + 1) // 2 for n in counts]
    coefficients = (degree + 1) * basis.count
    unknowns = coefficients + len(generators) * sum(per_vertex)
    start = np.append(window.begin / scale, 1.0)
    objective = np.zeros(unknowns)
    objective[: basis.count] = -basis.inner(np.outer(start, start))

    rows, offsets = [], []
    squares = [_square(basis, counts[0], [(0, 1.0)]), _square(basis, counts[1], [(1, 1.0), (2, -1.0)])]
    for vertex, (generator, price) in enumerate(zip(generators, prices, strict=True)):
        carried = basis.operator(lambda e, a=generator: a.T @ e + e @ a)
        column = coefficients + vertex * sum(per_vertex)
        for power in range(degree + 1):
            blocks = []
            for k in range(degree + 1):
                blocks.append(
                    carried if k == power
                    else (power + 1) * np.eye(basis.count) if k == power + 1
                    else np.zeros((basis.count, basis.count))
                )  # fmt: skip
            row = [sparse.csc_matrix(np.hstack(blocks))]
            row.append(sparse.csc_matrix((basis.count, column - coefficients)))
            row += [-square[power] for square in squares]
            row.append(sparse.csc_matrix((basis.count, unknowns - column - sum(per_vertex))))
            rows.append(sparse.hstack(row, format="csc"))
            constant = np.zeros((size, size))
            constant[-1, -1] = price if power == 0 else 0.0
            offsets.append(-basis.svec(constant))
    equalities = len(rows) * basis.count
    # W(T) + slack = final; the Gram matrices themselves.
    grams = unknowns - coefficients
    final_rows = [np.eye(basis.count)] * (degree + 1) + [np.zeros((basis.count, grams))]
    rows.append(sparse.csc_matrix(np.hstack(final_rows)))
    offsets.append(basis.svec(final))
    rows.append(sparse.hstack([sparse.csc_matrix((grams, coefficients)), -sparse.eye(grams)]))
    offsets.append(np.zeros(grams))
    cones = [clarabel.ZeroConeT(equalities), clarabel.PSDTriangleConeT(size)]
    cones += [clarabel.PSDTriangleConeT(n) for _ in generators for n in counts]
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.max_iter = 100
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-9
    solution = clarabel.DefaultSolver(
        sparse.csc_matrix((unknowns, unknowns)), objective, sparse.vstack(rows, format="csc"),
        np.concatenate(offsets), cones, settings,
    ).solve()  # fmt: skip
    x = np.asarray(solution.x)
    if not np.isfinite(x).all():
        return 0.0, 0.0

    # What follows trusts nothing of the solver: W is whatever it is, and the defect of each condition is measured.
    weights = [basis.matrix(x[k * basis.count : (k + 1) * basis.count]) for k in range(degree + 1)]
    furthest = 1.0 + (reach(window) / scale) ** 2
    defect = max(0.0, float(np.linalg.eigvalsh(sum(weights) - final)[-1]))
    worst = 0.0
    for vertex, (generator, price) in enumerate(zip(generators, prices, strict=True)):
        at = coefficients + vertex * sum(per_vertex)
        left = []
        for power in range(degree + 1):
            derivative = (power + 1) * weights[power + 1] if power < degree else np.zeros((size, size))
            left.append(derivative + generator.T @ weights[power] + weights[power] @ generator)
        left[0][-1, -1] += price
        for n, length, square in zip(counts, per_vertex, squares, strict=True):
            gram = _clip(_Basis(n).matrix(x[at : at + length]))
            at += length
            for power in range(degree + 1):
                left[power] = left[power] - basis.matrix(square[power] @ _Basis(n).svec(gram))
        worst = max(worst, sum(float(np.linalg.norm(rest, 2)) for rest in left))
    size_of = sum(float(np.linalg.norm(w, 2)) for w in weights)
    rounding = 1e-14 * size * (1 + max(float(np.linalg.norm(g, 2)) for g in generators)) * size_of
    margin = (defect + worst + rounding) * furthest * unit
    bound = float(start @ weights[0] @ start) * unit - margin
    return (max(bound, 0.0), margin) if window.price >= 0 else (bound, margin)


def _generators(window: Window, scale: float, unit: float) -> tuple[list[Vector], list[float]]:
    """d/du (y, 1) = A (y, 1) for y = z/scale, u = (t − s)/(T − s), at ε = 0 and ε = 1; c·ε in the units of V."""
    generators, prices = [], []
    for epsilon, phase in enumerate((window.control.keep, window.control.full)):
        dim = len(phase.drive)
        generator = np.zeros((dim + 1, dim + 1))
        generator[:dim, :dim], generator[:dim, dim] = -phase.hessian, phase.drive / scale
        generators.append(generator * window.length)
        prices.append(epsilon * window.price * window.length / unit)
    return generators, prices


class _Basis:
    """Symmetric matrices of one size as vectors: the upper triangle column by column, off-diagonal times √2."""

    def __init__(self, size: int):
        self.size = size
        columns, rows = np.tril_indices(size)
        self.rows, self.columns = rows, columns
        self.count = len(rows)
        self.factor = np.where(rows == columns, 1.0, np.sqrt(2.0))

    def svec(self, matrix: Vector) -> Vector:
        """The vector of a symmetric matrix; inner products are kept."""
        return matrix[self.rows, self.columns] * self.factor

    inner = svec

    def matrix(self, vector: Vector) -> Vector:
        """The symmetric matrix of a vector."""
        full = np.zeros((self.size, self.size))
        full[self.rows, self.columns] = full[self.columns, self.rows] = vector / self.factor
        return full

    def operator(self, function) -> Vector:
        """The matrix of a linear map between symmetric matrices."""
        return np.stack([self.svec(function(self.matrix(unit))) for unit in np.eye(self.count)], axis=1)


def _square(basis: _Basis, count: int, weight: list[tuple[int, float]]) -> list[sparse.csc_matrix]:
    """Per power of u, svec(Gram) → svec of that coefficient of weight(u)·(m(u) ⊗ I)ᵀ Gram (m(u) ⊗ I)."""
    size, gram = basis.size, _Basis(count)
    place = np.zeros((size, size), dtype=int)
    place[basis.rows, basis.columns] = np.arange(basis.count)
    degree = 2 * (count // size - 1) + max(power for power, _ in weight)
    entries: list[tuple[list[int], list[int], list[float]]] = [([], [], []) for _ in range(degree + 3)]
    for column, (i, j) in enumerate(zip(gram.rows, gram.columns, strict=True)):
        a, b = i % size, j % size
        power = i // size + j // size
        # Gram_ij stands at (i, j) and (j, i): both fall on block entry (a, b) or (b, a).
        value = (1.0 if i == j else 2.0 if a == b else 1.0) / gram.factor[column]
        low, high = min(a, b), max(a, b)
        row = place[low, high]
        for extra, sign in weight:
            rows, columns, values = entries[power + extra]
            rows.append(row)
            columns.append(column)
            values.append(sign * value * basis.factor[row])
    return [
        sparse.csc_matrix((values, (rows, columns)), shape=(basis.count, gram.count))
        for rows, columns, values in entries
    ]


def _clip(matrix: Vector) -> Vector:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.maximum(values, 0.0)) @ vectors.T
