"""The instances on which claims about linear regression are tested: random ones of every kind, and real data.

A `Batch` holds problems of one shape, one a row. Random ones mix, row by row: regular and singular H₋ (the kept rows of
lower rank, the deleted row inside or outside their span), low and high leverage, small and large residual, and starts
θ₀ at zero, at random, trained (the flow of ε = 1 from a random start), and near: at 0.5 to 4 times ‖θ* − θ*₋‖ from θ*₋.
Row k depends on (seed + k, d) alone.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from .._errors import WorkError
from ..endpoints import optimum
from ..problem import MLP, Dataset, LinearRegression, Problem, datasets
from ._hypothesis import Scale

Vector = NDArray[np.float64]
STARTS = ("zero", "random", "trained", "near")
REAL = ("diabetes", "stackloss")
RIDGE = 1e-2  # of the networks
_POINTS = {1: 8, 2: 20, 5: 20, 20: 40}
_SINGULAR = 0.25  # of the random instances
_TRAINED_FOR = 3.0  # in units of 1/(mean eigenvalue of H)


class Batch(NamedTuple):
    """Linear problems of one shape, one a row."""

    name: str
    seeds: NDArray[np.int64]
    x: Vector
    """(rows, n, d)"""
    y: Vector
    """(rows, n)"""
    delete: NDArray[np.int64]
    theta0: Vector
    """(rows, d)"""
    start: NDArray[np.str_]
    singular: NDArray[np.bool_]
    """whether H₋ is singular"""
    inside: NDArray[np.bool_]
    """whether x_j lies in the span of the kept rows"""

    @property
    def rows(self) -> int:
        """How many problems."""
        return len(self.seeds)

    @property
    def dim(self) -> int:
        """d."""
        return self.x.shape[2]

    def take(self, mask: Any) -> "Batch":
        """The rows of a mask."""
        return self._replace(**{name: getattr(self, name)[mask] for name in self._fields[1:]})

    def problem(self, row: int) -> Problem:
        """One row as a problem."""
        data = Dataset(self.x[row], self.y[row], name=self.name)
        return Problem(LinearRegression(), data, delete=int(self.delete[row]))

    def problems(self, ridge: Any = 0.0) -> Problem:
        """All rows as one problem with a leading axis on every array, for `over_rows`."""
        leaves = [jnp.asarray(self.x), jnp.asarray(self.y), jnp.asarray(self.delete)[:, None],
                  jnp.broadcast_to(jnp.asarray(ridge, dtype=float), (self.rows,))]  # fmt: skip
        return eqx.tree_at(_leaves, self.problem(0), leaves)

    def deleted(self) -> tuple[Vector, Vector]:
        """x_j (rows, d) and y_j (rows,)."""
        at = np.arange(self.rows)
        return self.x[at, self.delete], self.y[at, self.delete]

    def moments(self, epsilon: Any) -> tuple[Vector, Vector]:
        """H_ε (rows, d, d) and b_ε (rows, d) for one ε or one per row, in NumPy: independent of the package."""
        xj, yj = self.deleted()
        weight = np.broadcast_to(np.asarray(epsilon, dtype=float), (self.rows,)) - 1.0
        hessian = np.einsum("rni,rnj->rij", self.x, self.x) + weight[:, None, None] * xj[:, :, None] * xj[:, None, :]
        return hessian, np.einsum("rni,rn->ri", self.x, self.y) + (weight * yj)[:, None] * xj

    def optimum(self, epsilon: Any = 1.0, theta0: Any = None) -> Vector:
        """θ(ε) (rows, d): H⁺b + (I − H⁺H)θ₀, from `theta0` (the batch's own when not given), by least squares.

        Least squares on the rows, √ε on the deleted one, and not on H: half the digits would be lost.
        """
        scale = np.ones((self.rows, self.x.shape[1]))
        scale[np.arange(self.rows), self.delete] = np.sqrt(np.broadcast_to(epsilon, (self.rows,)))
        x, y = self.x * scale[:, :, None], self.y * scale
        start = self.theta0 if theta0 is None else np.asarray(theta0, dtype=float)
        left = y - np.einsum("rni,ri->rn", x, start)
        return start + np.einsum("rin,rn->ri", np.linalg.pinv(x, rcond=1e-11), left)

    def moved(self) -> tuple[Vector, Vector, NDArray[np.bool_]]:
        """θ* and θ*₋ (rows, d), and where they differ: an error relative to their distance has no meaning elsewhere."""
        full, left = self.optimum(1.0), self.optimum(0.0)
        return full, left, np.linalg.norm(full - left, axis=1) > 1e-9 * (1 + np.linalg.norm(full, axis=1))

    def leverage(self) -> Vector:
        """P_jj (rows,)."""
        xj, _ = self.deleted()
        hat = np.einsum("rin,rjn->rij", *(2 * [np.linalg.pinv(self.x, rcond=1e-11)]))  # H⁺
        return np.einsum("ri,rij,rj->r", xj, hat, xj)

    def describe(self, row: int) -> dict[str, Any]:
        """What identifies a row, for a report; problems in at most two dimensions in full."""
        found: dict[str, Any] = {
            "seed": int(self.seeds[row]), "data": self.name, "d": self.dim, "n": self.x.shape[1],
            "deleted": int(self.delete[row]), "start": str(self.start[row]),
        }  # fmt: skip
        if self.dim <= 2:
            found["theta0"] = [round(float(v), 6) for v in self.theta0[row]]
        return found


def over_rows(function: Any, problems: Problem, *args: Any) -> Any:
    """`function(problem, *args)` for every row, compiled once for each shape; arrays come back as NumPy.

    Row after row: batched factorisations of XLA were seen to wait for each other for ever (`_factorise.py`).
    """
    found = _compiled(function)(problems, *(jnp.asarray(arg) for arg in args))
    return jax.tree.map(np.asarray, found)


def _leaves(problem: Problem) -> list[Any]:
    """What has a leading axis in `Batch.problems`."""
    return [problem.data.x, problem.data.y, problem.delete, problem.ridge]


@cache
def _compiled(function: Any) -> Any:
    def rows(problems: Problem, *args: Any) -> Any:
        moving, fixed = eqx.partition((problems, *args), eqx.is_array)
        return jax.lax.map(lambda row: function(*eqx.combine(row, fixed)), moving)

    return eqx.filter_jit(rows)


def batches(scale: Scale, *, singular: bool = True) -> Iterator[Batch]:
    """A random batch for each dimension of the scale, then real data; without the singular rows if asked."""
    for d in scale.dims:
        batch = random_batch(scale, d)
        batch = batch if singular else batch.take(~batch.singular)
        if batch.rows:
            yield batch
    if scale.real:
        for name in REAL:
            yield real_batch(scale, name)


def random_batch(scale: Scale, d: int, count: int | None = None) -> Batch:
    """`count` random problems with d parameters (`scale.instances` when not given)."""
    n = _POINTS.get(d, 2 * d + 8)
    seeds = scale.seeds(scale.instances if count is None else count)
    rows = [_random_row(seed, n, d) for seed in seeds]
    x, y, delete, theta0, start, flat, inside = (np.array(column) for column in zip(*rows, strict=True))
    return Batch(f"random, d = {d}", np.array(seeds), x, y, delete, theta0, start, flat, inside)


def _random_row(seed: int, n: int, d: int) -> tuple[Any, ...]:
    rng = np.random.default_rng([seed, d])
    x = rng.standard_normal((n, d)) * np.exp(rng.uniform(-1.0, 1.0, d))
    j = int(rng.integers(n))
    inside = True
    flat = bool(rng.random() < _SINGULAR)
    if flat:
        rank = int(rng.integers(0, d)) if d > 1 else 0
        basis = np.linalg.qr(rng.standard_normal((d, d)))[0][:, :rank]
        inside = bool(rng.random() < 0.5) and rank > 0
        moved = x[j].copy()
        x = x @ basis @ basis.T
        if not inside:
            x[j] = moved
    x[j] *= np.exp(rng.uniform(-0.7, 1.0))  # low and high leverage
    noise = np.exp(rng.uniform(np.log(0.1), np.log(1.0)))
    truth = rng.standard_normal(d)
    y = x @ truth + noise * rng.standard_normal(n)
    y[j] += rng.choice([0.0, 3.0]) * rng.standard_normal()  # an outlier in half of the cases
    return x, y, j, *_start(rng, x, y, j), flat, inside


def _start(rng: np.random.Generator, x: Vector, y: Vector, j: int) -> tuple[Vector, str]:
    kind = STARTS[int(rng.integers(len(STARTS)))]
    theta0: Any = np.zeros(x.shape[1]) if kind == "zero" else rng.standard_normal(x.shape[1])
    if kind == "trained":
        rates, vectors = np.linalg.eigh(x.T @ x)
        rates = np.maximum(rates, 0.0)
        time = _TRAINED_FOR / rates.mean()
        drive = vectors.T @ (x.T @ y)
        still = rates <= 1e-11 * rates[-1]
        moved = np.where(still, 0.0, -np.expm1(-rates * time) / np.where(still, 1.0, rates)) * drive
        theta0 = vectors @ (np.exp(-rates * time) * (vectors.T @ theta0) + moved)
    if kind == "near":
        full, left = (np.linalg.pinv(a, rcond=1e-11) @ b for a, b in ((x, y), (np.delete(x, j, 0), np.delete(y, j))))
        away = rng.uniform(0.5, 4.0) * np.linalg.norm(full - left) / np.linalg.norm(theta0)
        theta0 = np.asarray(left + away * theta0)
    return theta0, kind


def real_batch(scale: Scale, name: str, count: int | None = None) -> Batch:
    """Points of a real data set (with an intercept), one deleted in each row, in order from the scale's seed."""
    data = datasets.load(name, intercept=True)
    x, y = np.asarray(data.x), np.asarray(data.y)
    m = min(scale.instances if count is None else count, data.n)
    seeds = np.array(scale.seeds(m))
    starts = [_start(np.random.default_rng([seed, 7]), x, y, int(seed % data.n)) for seed in seeds]
    none = np.zeros(m, dtype=bool)
    return Batch(
        name, seeds, np.broadcast_to(x, (m, *x.shape)), np.broadcast_to(y, (m, len(y))), seeds % data.n,
        np.array([theta for theta, _ in starts]), np.array([kind for _, kind in starts]), none, ~none,
    )  # fmt: skip


def network(seed: int, width: int = 3, n: int = 20) -> Problem:
    """The notes' Figure 3: a small tanh network on points of another one, with a ridge so that minima exist."""
    data = datasets.teacher_student(n=n, width=width, seed=seed)
    return Problem(MLP(width=width), data, delete=0, ridge=RIDGE)


def trained(seed: int) -> tuple[Problem, Any, Any]:
    """A network, its θ₀ and the limit θ* of its flow; `WorkError` where it reaches none."""
    problem, theta0, theta = _trained(seed)
    if isinstance(theta, WorkError):
        raise theta
    return problem, theta0, theta


@cache
def _trained(seed: int) -> tuple[Problem, Any, Any]:
    problem = network(seed)
    theta0 = problem.initial(seed)
    try:
        return problem, theta0, optimum(problem, start=theta0).theta
    except WorkError as error:
        return problem, theta0, error


def some_points(seed: int, n: int, count: int) -> list[int]:
    """`count` points of n, drawn by the seed."""
    return sorted(int(j) for j in np.random.default_rng([seed, 99]).choice(n, min(count, n), replace=False))


def relative(difference: Vector, size: Vector) -> Vector:
    """‖difference‖/‖size‖ row by row; 0 where both are 0."""
    a, b = np.linalg.norm(difference, axis=-1), np.linalg.norm(size, axis=-1)
    return np.where(a == 0, 0.0, a / np.maximum(b, 1e-300))
