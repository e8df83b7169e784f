"""Designs on which least squares and logistic regression go wrong quietly, and their answers in 60-digit arithmetic.

Every linear design has 12 rows and 3 columns, every logistic one 12 rows and 2, so that each public function compiles
once for all of them: n = d and n < d are made with rows of zeros, which carry no information. `python tests/hard_designs.py`
prints the table of outcomes that stands in docs/hard_designs.md.
"""

import dataclasses
import functools
import itertools
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np

import homotopy
from homotopy import Dataset, LinearRegression, LogisticRegression, Problem

N, LAST = 12, 11
mpmath.mp.dps = 60


@dataclasses.dataclass(frozen=True, eq=False)
class Design:
    """X, y, the deleted row and the ridge; `exact` answers without rounding."""

    x: np.ndarray
    y: np.ndarray
    delete: int = LAST
    ridge: float = 0.0
    logistic: bool = False

    @property
    def problem(self) -> Problem:
        model = LogisticRegression() if self.logistic else LinearRegression()
        return Problem(model, Dataset(self.x, self.y), delete=self.delete, ridge=self.ridge)

    @property
    def matrix(self) -> mpmath.matrix:
        return mpmath.matrix(self.x.tolist())

    def weights(self, without: int | None) -> list[int]:
        return [int(i != without) for i in range(N)]

    def hessian(self, theta: mpmath.matrix, without: int | None = None, shift: float = 0.0) -> mpmath.matrix:
        """XᵀWX + (ρ + shift)I with the curvature of the loss in W."""
        x, dim = self.matrix, self.x.shape[1]
        total = (mpmath.mpf(self.ridge) + mpmath.mpf(shift)) * mpmath.eye(dim)
        for i, weight in enumerate(self.weights(without)):
            total += weight * self._bend(x[i, :], theta) * (x[i, :].T * x[i, :])
        return total

    def gradients(self, theta: mpmath.matrix) -> list[mpmath.matrix]:
        """∇ℓ_i as columns."""
        x = self.matrix
        return [x[i, :].T * (self._mean(x[i, :], theta) - mpmath.mpf(float(self.y[i]))) for i in range(N)]

    @functools.cache  # noqa: B019 (a handful of designs, kept as long as the module)
    def optimum(self, without: int | None = None) -> mpmath.matrix:
        """θ* of the rows but one, by Newton steps (one is enough for least squares)."""
        theta = mpmath.zeros(self.x.shape[1], 1)
        for _ in range(60 if self.logistic else 1):
            slope = mpmath.mpf(self.ridge) * theta
            for weight, gradient in zip(self.weights(without), self.gradients(theta), strict=True):
                slope += weight * gradient
            step = pseudo_inverse(self.hessian(theta, without)) * slope
            theta -= step
            if self.logistic and mpmath.norm(step) <= mpmath.mpf(10) ** -40 * (1 + mpmath.norm(theta)):
                break
        return theta

    def flow(self, theta: mpmath.matrix, epsilon: float, time: float) -> mpmath.matrix:
        """θ(t) of least squares from θ(0) under a constant ε, mode by mode."""
        x, epsilon, time = self.matrix, mpmath.mpf(epsilon), mpmath.mpf(time)
        hessian = self.hessian(theta, self.delete) + epsilon * (x[self.delete, :].T * x[self.delete, :])
        drive = mpmath.zeros(x.cols, 1)
        for i in range(N):
            drive += (epsilon if i == self.delete else 1) * mpmath.mpf(float(self.y[i])) * x[i, :].T
        rates, vectors = mpmath.eigsy(hessian)
        start, pushed = vectors.T * theta, vectors.T * drive
        moved = [-mpmath.expm1(-rate * time) / rate if rate * time > 1e-40 else time for rate in rates]
        modes = [s + m * (p - rate * s) for s, m, p, rate in zip(start, moved, pushed, rates, strict=True)]
        return vectors * mpmath.matrix(modes)

    @functools.cached_property
    def horizon(self) -> float:
        """3/λ_max(XᵀX): long enough to matter, in any units."""
        sizes = mpmath.eigsy(self.hessian(mpmath.zeros(self.x.shape[1], 1)), eigvals_only=True)
        return float(3 / max(sizes))

    def ends(self, switches: list[float], first: float) -> mpmath.matrix:
        """θ(T) from 0 under ε = first, 1 − first, … between the switches."""
        theta, epsilon, edges = mpmath.zeros(self.x.shape[1], 1), first, [0.0, *switches, self.horizon]
        for begin, end in itertools.pairwise(edges):
            theta, epsilon = self.flow(theta, epsilon, mpmath.mpf(end) - mpmath.mpf(begin)), 1.0 - epsilon
        return theta

    def energy(self, switches: list[float], first: float) -> mpmath.mpf:
        """½‖θ(T) − θ*₋‖²."""
        return mpmath.norm(self.ends(switches, first) - self.optimum(self.delete)) ** 2 / 2

    def _mean(self, row, theta):
        value = (row * theta)[0]
        return 1 / (1 + mpmath.exp(-value)) if self.logistic else value

    def _bend(self, row, theta):
        if not self.logistic:
            return 1
        mean = self._mean(row, theta)
        return mean * (1 - mean)


def pseudo_inverse(matrix: mpmath.matrix) -> mpmath.matrix:
    """H⁺: what least squares from θ₀ = 0 uses where H is singular."""
    rates, vectors = mpmath.eigsy(matrix)
    floor = mpmath.mpf(10) ** -45 * max(abs(rate) for rate in rates)
    inverse = [1 / rate if rate > floor else mpmath.mpf(0) for rate in rates]
    return vectors * mpmath.diag(inverse) * vectors.T


def floats(values) -> np.ndarray:
    """A matrix of 60 digits, or a list of them as columns, in 64 bits."""
    if isinstance(values, list):
        return np.stack([floats(value) for value in values])
    return np.array([[float(values[i, j]) for j in range(values.cols)] for i in range(values.rows)]).squeeze()


def linear_designs() -> dict[str, Design]:
    """Least squares."""
    rng = np.random.default_rng(0)
    u, v, noise = rng.standard_normal((3, N))
    base = np.column_stack([np.ones(N), u, v])
    y = base @ [1.0, -2.0, 0.5] + 0.3 * noise
    designs = {"plain": Design(base, y)}
    for k in (-8, -3, 3, 5, 8):
        designs[f"a column × 1e{k}"] = Design(base * [1.0, 10.0**k, 1.0], y)
        designs[f"y × 1e{k}"] = Design(base, y * 10.0**k)
    designs["y × 1e100"], designs["y × 1e-100"] = Design(base, y * 1e100), Design(base, y * 1e-100)
    designs["x × 1e100"], designs["x × 1e-100"] = Design(base * 1e100, y), Design(base * 1e-100, y)
    year = np.linspace(1990.0, 2019.0, N)
    designs["1, year, year²"] = Design(np.column_stack([np.ones(N), year, year**2]), 0.5 * (year - 2005) ** 2 + noise)
    for k in (2, 4, 6, 8, 10, 12, 14):
        designs[f"collinear to 1e-{k}"] = Design(np.column_stack([np.ones(N), u, u + 10.0**-k * v]), y)
    for k in (2, 4, 8, 12):
        spike = 10.0 ** (-k / 2) * v
        spike[LAST] = 1.0
        designs[f"leverage 1 − 1e-{k}"] = Design(np.column_stack([np.ones(N), u, spike]), y)
    designs["leverage 1"] = Design(np.column_stack([np.ones(N), u, np.arange(N) == LAST]), y)
    designs["two equal columns"] = Design(np.column_stack([np.ones(N), u, u]), y)
    designs["two equal columns beside one × 1e6"] = Design(np.column_stack([1e6 * v, u, u]), y)
    designs["two constant columns"] = Design(np.column_stack([np.ones(N), u, np.full(N, 7.0)]), y)
    designs["a column of zeros"] = Design(np.column_stack([np.ones(N), u, np.zeros(N)]), y)
    designs["two equal columns, ridge"] = Design(np.column_stack([np.ones(N), u, u]), y, ridge=0.1)
    twice = base.copy()
    twice[LAST] = twice[0]
    designs["a row twice"] = Design(twice, y)
    empty = base.copy()
    empty[LAST] = 0.0
    designs["a row of zeros"] = Design(empty, y)
    few = np.where(np.arange(N)[:, None] < 9, 0.0, base)
    designs["n = d"], designs["n < d"] = Design(few, y), Design(np.where(np.arange(N)[:, None] < 10, 0.0, base), y)
    designs["perfect fit"] = Design(np.column_stack([np.ones(N), u, v]), 2.0 + 3.0 * u)
    designs["y = 0"] = Design(base, np.zeros(N))
    return designs


def logistic_designs() -> dict[str, Design]:
    """Logistic regression."""
    rng = np.random.default_rng(1)
    u = np.sort(rng.standard_normal(N))
    labels = np.array([0, 0, 0, 1, 0, 0, 1, 1, 0, 1, 1, 1.0])
    ones = np.ones(N)

    def make(x, y, **options):
        return Design(np.column_stack([ones, x]), y, logistic=True, **options)

    steps = np.array([-6.0, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6])
    sides = (steps > 0).astype(float)
    crossing = np.where(np.arange(N) == LAST, -4.5, steps)
    designs = {"plain": make(u, labels)}
    for k in (-8, -3, 3, 5, 8):
        designs[f"a column × 1e{k}"] = make(u * 10.0**k, labels)
    designs["far from its origin"] = make(u + 1e6, labels)
    designs["collinear to 1e-4"] = make(1.0 + 1e-4 * u, labels)
    designs["collinear to 1e-10"] = make(1.0 + 1e-10 * u, labels)
    designs["separable"] = make(steps, sides)
    designs["separable, ridge"] = make(steps, sides, ridge=0.5)
    designs["apart by 1e-7"] = make(np.where(steps > 0, steps, steps + 2 - 1e-7), sides)
    designs["overlapping by 1e-7"] = make(np.where(np.arange(N) == 5, 1 + 1e-7, steps), sides)
    designs["touching"] = make(np.where(np.arange(N) == 5, 1.0, steps), sides)
    designs["separable without a row"] = make(crossing, sides)
    designs["one class"] = make(u, np.ones(N))
    designs["a class of one point"] = make(u, (np.arange(N) == LAST).astype(float))
    designs["a constant column twice"] = make(2.0 * ones, labels)
    return designs


# What is asked: numbers that have no units of the columns (predictions, leverages, influences on losses) ---------------


@dataclasses.dataclass(frozen=True)
class Question:
    """A public function: `ask` gives its numbers and which are flagged; `truth` the same numbers in 60 digits."""

    ask: Callable[[Problem], tuple[Any, Any]]
    truth: Callable[[Design], np.ndarray]
    logistic: bool = True
    floor: Callable[[Design], float] = lambda d: 1e-9 * float(np.abs(d.y).max())  # below it a number counts as 0


def _endpoint(problem: Problem, endpoint) -> tuple[Any, Any]:
    return problem.predict(endpoint.theta), not bool(endpoint.converged)


def _kept(problem: Problem, endpoint) -> tuple[Any, Any]:
    """The predictions of the rows that are left: that of a row of leverage 1 is not determined without it."""
    value, flagged = _endpoint(problem, endpoint)
    return np.delete(np.asarray(value), LAST), flagged


def _every_row(problem: Problem) -> tuple[Any, Any]:
    found = homotopy.leave_one_out_proof(problem)
    predictions = np.asarray(jax.vmap(problem.predict)(jnp.nan_to_num(found.theta, posinf=0.0, neginf=0.0)))
    return predictions, np.broadcast_to(~np.asarray(found.converged)[:, None], (N, N))


def _inverse(design: Design, without: int | None = None) -> tuple[mpmath.matrix, mpmath.matrix]:
    theta = design.optimum()
    return theta, pseudo_inverse(design.hessian(theta, without))


def _estimate(design: Design, without: int | None = None) -> np.ndarray:
    theta, inverse = _inverse(design, without)
    return floats(design.matrix * (theta + inverse * design.gradients(theta)[design.delete]))


def _corrected(design: Design) -> np.ndarray:
    return _estimate(design, design.delete)  # one point, one output: the corrected influence is the Newton step


def _matrix(design: Design) -> np.ndarray:
    theta, inverse = _inverse(design)
    gradients = design.gradients(theta)
    return np.array([[float((a.T * inverse * b)[0]) for b in gradients] for a in gradients])


def _jacobian(design: Design) -> np.ndarray:
    theta, inverse = _inverse(design)
    return -np.stack([floats(design.matrix * inverse * gradient) for gradient in design.gradients(theta)], axis=1)


def _leverages(design: Design) -> np.ndarray:
    theta, inverse = _inverse(design)
    x = design.matrix
    return np.array([float(design._bend(x[i, :], theta) * (x[i, :] * inverse * x[i, :].T)[0]) for i in range(N)])


def _cook(design: Design) -> np.ndarray:
    theta = design.optimum()
    hessian, x = design.hessian(theta), design.matrix
    freedom, dispersion = sum(_leverages(design)), mpmath.mpf(1)
    if not design.logistic:
        squares = sum((float(design.y[i]) - (x[i, :] * theta)[0]) ** 2 for i in range(N))
        dispersion = squares / (N - mpmath.nint(freedom) if design.ridge == 0 else N - freedom)
    values = []
    for i, gradient in enumerate(design.gradients(theta)):
        change = pseudo_inverse(hessian - design._bend(x[i, :], theta) * (x[i, :].T * x[i, :])) * gradient
        values.append(float((change.T * hessian * change)[0] / (freedom * dispersion)))
    return np.array(values)


def _pbrf(design: Design) -> np.ndarray:
    """argmin (1/n)Σ½(x_iᵀ(θ − θ*))² + ½(λ + ρ/n)‖θ − θ*‖² − (1/n)½(x_jᵀθ − y_j)², for least squares."""
    theta = design.optimum()
    hessian = design.hessian(theta, design.delete, shift=DAMPING * N)
    return floats(design.matrix * (theta + pseudo_inverse(hessian) * design.gradients(theta)[design.delete]))


def _linearised_pbrf(design: Design) -> np.ndarray:
    theta = design.optimum()
    inverse = pseudo_inverse(design.hessian(theta, shift=DAMPING * N))
    return floats(design.matrix * (theta + inverse * design.gradients(theta)[design.delete]))


def _second_derivative(design: Design) -> np.ndarray:
    """θ̈ = 2 H⁻¹x_jx_jᵀH⁻¹g_j for least squares."""
    theta, inverse = _inverse(design)
    row = design.matrix[design.delete, :]
    return floats(design.matrix * (2 * inverse * row.T * (row * inverse * design.gradients(theta)[design.delete])))


def _loo(design: Design) -> np.ndarray:
    return np.delete(floats(design.matrix * design.optimum(design.delete)), LAST)


def _every_loo(design: Design) -> np.ndarray:
    rows = []
    for i in range(N):
        try:
            rows.append(floats(design.matrix * design.optimum(i)))
        except (ZeroDivisionError, OverflowError):
            rows.append(np.full(N, np.nan))
    return np.stack(rows)


def _search(family: str) -> Callable[[Problem], tuple[Any, Any]]:
    """E of the schedule that was found and of ε ≡ 0, in units of the latter, by 60 digits beside the search's own."""

    def ask(problem):
        design = Design(np.asarray(problem.data.x), np.asarray(problem.data.y), ridge=float(problem.ridge))
        result = homotopy.search(problem, np.zeros(3), t1=design.horizon, family=family)
        switches, first = _as_switches(result.schedule)
        baseline = design.energy([], 0.0)
        if baseline == 0:
            return [float(result.energy), float(result.baseline_energy), 0.0], False
        blurred = any("digits" in note for note in result.notes)
        best, scale = design.energy(switches, first) / baseline, float(baseline)
        # Off by what the search says of its own schedule; a bound above the energy; worse than doing nothing.
        off = abs(float(result.energy / scale) - float(best))
        over = max(0.0, float(result.certificate.lower_bound) / scale - float(best))
        return [off, abs(result.baseline_energy / scale - 1.0), over + max(0.0, float(best) - 1.0)], blurred

    return ask


def _as_switches(schedule) -> tuple[list[float], float]:
    edges = [float(t) for t in np.asarray(schedule.discontinuities())]
    return edges, float(schedule(0.0 if not edges else 0.5 * edges[0]))


def _simulated(problem: Problem) -> tuple[Any, Any]:
    design = Design(np.asarray(problem.data.x), np.asarray(problem.data.y), ridge=float(problem.ridge))
    end = homotopy.simulate(problem, homotopy.Step(0.4 * design.horizon), np.zeros(3), t1=design.horizon, ts=[0.0])
    return problem.predict(end.theta1), False


def _plain(function: Callable, *names: str) -> Callable[[Problem], tuple[Any, Any]]:
    def ask(problem):
        value = function(problem)
        for name in names:
            value = getattr(value, name)
        return value, False

    return ask


DAMPING = 0.1
QUESTIONS = {
    "optimum": Question(
        lambda p: _endpoint(p, homotopy.optimum(p, throw=False)), lambda d: floats(d.matrix * d.optimum())
    ),
    "leave_one_out": Question(lambda p: _kept(p, homotopy.leave_one_out(p, throw=False)), _loo),
    "leave_one_out_proof": Question(_every_row, _every_loo),
    "path": Question(
        lambda p: (np.delete(np.asarray(p.predict(homotopy.path(p, [1.0, 0.0]).thetas[-1])), LAST), False), _loo
    ),
    "response": Question(lambda p: _kept(p, homotopy.response(p, throw=False)), _loo),
    "newton_estimate": Question(lambda p: (p.predict(homotopy.newton_estimate(p).theta), False), _corrected),
    "corrected_influence": Question(lambda p: (p.predict(homotopy.corrected_influence(p).estimate), False), _corrected),
    "influence": Question(lambda p: (p.predict(homotopy.influence(p).estimate), False), _estimate),
    "influence_matrix": Question(_plain(homotopy.influence_matrix), _matrix),
    "self_influence": Question(_plain(homotopy.self_influence), lambda d: np.diag(_matrix(d))),
    "weight_jacobian": Question(lambda p: (p.data.x @ homotopy.weight_jacobian(p), False), _jacobian),
    "leverage": Question(_plain(homotopy.leverage), _leverages),
    "cooks_distance": Question(_plain(homotopy.cooks_distance), _cook),
    "theta_ddot": Question(lambda p: (p.predict(homotopy.theta_ddot(p)), False), _second_derivative, logistic=False),
    "pbrf": Question(
        lambda p: _endpoint(p, homotopy.pbrf(p, homotopy.optimum(p).theta, damping=DAMPING, throw=False)),
        _pbrf,
        logistic=False,
    ),
    "pbrf_linearised": Question(
        lambda p: (p.predict(homotopy.pbrf_linearised(p, homotopy.optimum(p).theta, damping=DAMPING).theta), False),
        _linearised_pbrf,
        logistic=False,
    ),
}

ENGINES = {
    "simulate": Question(_simulated, lambda d: floats(d.matrix * d.ends([0.4 * d.horizon], 1.0)), logistic=False),
    "search step": Question(_search("step"), lambda d: np.zeros(3), logistic=False, floor=lambda d: 1.0),
    "search bang-bang": Question(_search("bang-bang"), lambda d: np.zeros(3), logistic=False, floor=lambda d: 1.0),
}
QUESTIONS |= ENGINES

TOLERANCE = 1e-6  # six right digits


def outcome(question: Question, design: Design) -> str:
    """`right`, `flagged` (some numbers say that they are not to be used; the others are right), `refused`, or `WRONG`."""
    with warnings.catch_warnings(record=True) as said, np.errstate(all="ignore"):
        warnings.simplefilter("always")
        try:
            value, flagged = question.ask(design.problem)
        except (homotopy.RequestError, homotopy.WorkError):
            return "refused"
        except Exception as error:
            return f"WRONG: {type(error).__name__}: {error}"
    value = np.asarray(value, dtype=float)
    silent = ~np.broadcast_to(flagged, value.shape) & np.isfinite(value)
    if (~np.isfinite(value) & ~np.broadcast_to(flagged, value.shape)).any() and not said:
        return f"WRONG: {value} without a word"
    if silent.any():
        truth = np.asarray(question.truth(design), dtype=float)
        # What is held against the truth: predictions beside the targets, other numbers beside the largest of them.
        scale = max(np.abs(truth[np.isfinite(truth)]).max(initial=0.0), question.floor(design))
        wrong = silent & ~(np.abs(value - truth) <= TOLERANCE * scale)
        if wrong.any():
            return f"WRONG: {value[wrong][:3]} for {truth[wrong][:3]}"
    return "right" if silent.all() and not said else "flagged"


def outcomes(designs: dict[str, Design]) -> dict[str, dict[str, str]]:
    """The table: design → function → outcome."""
    return {
        name: {
            function: outcome(question, design)
            for function, question in QUESTIONS.items()
            if question.logistic or not design.logistic
        }
        for name, design in designs.items()
    }


SIGNS = {"right": "✓", "flagged": "⚑", "refused": "–"}


def report(linear: dict[str, dict[str, str]], logistic: dict[str, dict[str, str]]) -> str:
    """The tables of docs/hard_designs.md, and how many cells have which outcome."""
    lines = []
    for title, table in (("Least squares", linear), ("Logistic regression", logistic)):
        functions = list(next(iter(table.values())))
        lines += [f"## {title}", "", "| design | " + " | ".join(f"`{name}`" for name in functions) + " |"]
        lines += ["|---" * (1 + len(functions)) + "|"]
        lines += [
            f"| {name} | " + " | ".join(SIGNS.get(v, v) for v in row.values()) + " |" for name, row in table.items()
        ]
        cells = [value for row in table.values() for value in row.values()]
        counts = ", ".join(f"{cells.count(value)} {value}" for value in SIGNS)
        lines += ["", f"{len(cells)} cells: {counts}.", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    print(report(outcomes(linear_designs()), outcomes(logistic_designs())))
