"""`RefitUtility`: v(S), what a model trained on the points S is worth on the queries, for many subsets at once.

Notation: S ⊂ [n] as a boolean mask (n,), v `value`, P = (X_SᵀX_S + ρI)⁻¹. A batch of masks has shape (m, n).

How θ(S) = argmin Σ_{i∈S} ℓ_i + ½ρ‖θ‖² is found (the ridge ρ is that of the problem, whatever the size of S):

* linear regression: rank-one updates of P point by point (ρ > 0), or the least-norm solution (ρ = 0) by an SVD;
* logistic regression, two or more classes (ρ > 0): Newton's method on all subsets of a batch together, warm-started
  along a permutation from the subset before;
* networks: `steps` steps of gradient descent of size `step` from θ₀, always from the same θ₀: the learning algorithm is
  part of the utility.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._checks import Number, Theta, choice, instance, number, whole
from .._errors import RequestError, WorkError
from ..endpoints import least_norm_fits, weighted_minima
from ..flow import PointWeights, descent
from ..problem import CrossEntropyLoss, Dataset, LogisticLoss, Problem, check_queries

SCORES = ("loss", "accuracy")
_ROWS = 256  # subsets fitted together: enough to fill the vector units, little enough for the cache
_REACHED = 1e-6  # the relative ‖∇‖ at which a fit that has not converged still counts
_RANK_ONE_RIDGE = 1e-6  # below this part of the mean eigenvalue, updates from I/ρ lose too many digits


class RefitUtility(eqx.Module):
    """v(S) = score on `queries` of the model of `problem` trained on the points S alone.

    Ghorbani and Zou 2019; mathematics §10. `score`: "loss" is minus the mean loss of the queries, "accuracy" the share
    of them that is classified rightly, where a query whose C largest logits are equal counts 1/C. Call it with one mask
    (n,) or with many (m, n); it gives one number or (m,). Larger is better. `problem`, `queries`, `theta0` (dim,),
    `step` and `steps` are as given, `method` how θ(S) is found.

    Defined values. S = ∅: θ = 0 (a network: θ₀), so accuracy is 1/classes. A class that is missing from S: the ridge
    keeps θ(S) finite, and the fit then favours the classes that are there; its score counts as it is. Raises
    `RequestError` for queries that the problem's loss cannot judge, for logistic regression without a ridge, where such
    fits do not exist, and for options that would be ignored; `WorkError` if a fit diverges.

    Example (continues the package's):

        >>> game = RefitUtility(Problem(LinearRegression(), data.subset(range(6)), delete=3, ridge=1.0), data)
        >>> everyone, nobody = np.ones(6, bool), np.zeros(6, bool)
        >>> print(game.n, float(game(everyone)) > float(game(nobody)), game.fit(np.stack([everyone, nobody])).shape)
        6 True (2, 2)
        >>> print(game.every_subset().shape, game.at(theta0[None]).shape)
        (64,) (1,)
        >>> values, added = game.walk(np.array([[5, 4, 3, 2, 1, 0]]), float(game(everyone)), margin=0.0, patience=1)
        >>> print(values.shape, added)
        (1, 7) [6]
    """

    problem: Problem
    queries: Dataset
    theta0: Float[Array, " dim"]
    step: Float[Array, ""]
    score: str = eqx.field(static=True)
    method: str = eqx.field(static=True)
    steps: int = eqx.field(static=True)

    def __init__(
        self,
        problem: Problem,
        queries: Dataset,
        *,
        score: str = "loss",
        theta0: Theta | None = None,
        step: Number | None = None,
        steps: int | None = None,
    ):
        instance(problem, "problem", Problem, "a Problem such as Problem(LinearRegression(), data, delete=0)")
        choice(score, "score", SCORES)
        check_queries(problem, queries, "queries")
        if score == "accuracy" and not isinstance(problem.loss, LogisticLoss | CrossEntropyLoss):
            raise RequestError("score='accuracy' needs class labels (LogisticLoss or CrossEntropyLoss); use 'loss'")
        self.problem, self.queries, self.score = problem, queries, score
        if problem.convex:
            if step is not None or steps is not None or theta0 is not None:
                raise RequestError("theta0, step and steps are for networks; a convex risk has one minimiser")
            if problem.least_squares:
                mean = jnp.sum(problem.design**2) / problem.design.shape[1]
                self.method = "rank-one" if float(problem.ridge) > _RANK_ONE_RIDGE * float(mean) else "least-norm"
            else:
                if float(problem.ridge) <= 0:
                    raise RequestError(
                        "ridge must be > 0: on a subset with one class, or with separable ones, logistic regression "
                        "has no minimiser; give the problem a ridge, say 1e-2"
                    )
                self.method = "newton"
            self.theta0, self.step, self.steps = jnp.zeros(problem.dim), jnp.zeros(()), 0
            return
        if theta0 is None or step is None or steps is None:
            raise RequestError("a network's utility needs theta0=, step= and steps=: the training that is repeated")
        step, steps = number(step, "step", above=0.0), whole(steps, "steps", 1, 10**9)
        self.method = "descent"
        self.theta0, self.step, self.steps = problem.check_theta(theta0), jnp.asarray(step), steps

    @property
    def n(self) -> int:
        """Number of points."""
        return self.problem.n

    def __call__(self, masks: Bool[Array | np.ndarray, "*m n"]) -> Float[np.ndarray, "*m"]:
        masks = np.asarray(masks)
        if masks.shape[-1] != self.n or masks.dtype != bool:
            raise RequestError(f"masks must be boolean with a last axis of {self.n}, but have shape {masks.shape}")
        rows = masks.reshape(-1, self.n)
        values = np.concatenate([self._in_blocks(_values_of, rows), np.zeros(0)])
        return values.reshape(masks.shape[:-1])

    def fit(self, masks: Bool[Array | np.ndarray, "m n"]) -> Float[np.ndarray, "m dim"]:
        """θ(S) of every subset."""
        return self._in_blocks(_fit, np.asarray(masks))

    def at(self, thetas: Float[Array | np.ndarray, "m dim"]) -> Float[np.ndarray, " m"]:
        """The score of given parameters."""
        return np.asarray(_score(self, jnp.asarray(thetas)))

    def walk(
        self, orders: Int[np.ndarray, "p n"], full: float, margin: float, patience: int
    ) -> tuple[Float[np.ndarray, "p n+1"], Int[np.ndarray, " p"]]:
        """v of every prefix of p permutations, and how many points each one added before it was truncated.

        A permutation stops once |v − `full`| ≤ `margin` for `patience` points in a row; its later values repeat the
        last.
        """
        values, used = _walk(self, jnp.asarray(orders), jnp.asarray(full), jnp.asarray(margin), jnp.asarray(patience))
        return np.asarray(values), np.asarray(used)

    def every_subset(self) -> Float[np.ndarray, " subsets"]:
        """v of all 2ⁿ subsets; bit i of the index says whether point i is in."""
        if self.method == "rank-one":
            return np.asarray(_enumerate(self))
        return self(all_masks(self.n))

    def _in_blocks(self, job: Any, rows: np.ndarray) -> np.ndarray:
        found = []
        for start in range(0, len(rows), _ROWS):
            block = rows[start : start + _ROWS]
            # Filled up to a power of two, so that few sizes are compiled.
            size = min(_ROWS, 1 << (len(block) - 1).bit_length()) if len(block) > 1 else 1
            filled = np.concatenate([block, np.repeat(block[-1:], size - len(block), axis=0)])
            found.append(np.asarray(job(self, jnp.asarray(filled)))[: len(block)])
        if not found:
            return np.zeros(0)
        values = np.concatenate(found)
        if not np.isfinite(values).all():
            raise WorkError(
                "training on a subset diverged: "
                + ("a smaller step= is needed" if self.method == "descent" else "give the problem a larger ridge")
            )
        return values


def all_masks(n: int) -> Bool[np.ndarray, "subsets n"]:
    """All 2ⁿ subsets; row k holds the bits of k, point 0 first."""
    return (np.arange(1 << n)[:, None] >> np.arange(n)[None, :]) % 2 == 1


# Score -----------------------------------------------------------------------------------------------------------


@eqx.filter_jit
def _score(utility: RefitUtility, thetas: Array) -> Array:
    problem, queries = utility.problem, utility.queries

    def one(theta):
        logits = problem.predict(theta, queries.x)
        if utility.score == "loss":
            return -jnp.mean(jax.vmap(problem.loss.value)(logits, queries.y))
        if logits.ndim == 1:
            right = jnp.where(queries.y > 0.5, logits > 0, logits < 0)
            return jnp.mean(jnp.where(logits == 0, 0.5, right.astype(float)))
        best = logits == jnp.max(logits, axis=1, keepdims=True)
        classes = jnp.arange(logits.shape[1])
        hit = jnp.any(best & (classes[None, :] == queries.y.astype(int)[:, None]), axis=1)
        return jnp.mean(hit.astype(float) / jnp.sum(best, axis=1).astype(float))

    return jax.vmap(one)(thetas)


# Fits of a batch of subsets ----------------------------------------------------------------------------------------


@eqx.filter_jit
def _fit(utility: RefitUtility, masks: Array) -> Array:
    start = jnp.broadcast_to(utility.theta0[None, :], (masks.shape[0], utility.theta0.shape[0]))
    if utility.method == "newton":
        return _minima(utility, masks, start)
    if utility.method == "descent":
        return _descent(utility, masks)
    return least_norm_fits(utility.problem, masks)


def _minima(utility: RefitUtility, masks: Array, start: Array) -> Array:
    """θ(S) by Newton's method; NaN where it was not reached."""
    thetas, residual = weighted_minima(utility.problem, masks.astype(float), start)
    return jnp.where((residual <= _REACHED)[:, None], thetas, jnp.nan)


@eqx.filter_jit
def _values_of(utility: RefitUtility, masks: Array) -> Array:
    return _score(utility, _fit(utility, masks))


def _descent(utility: RefitUtility, masks: Array) -> Array:
    def one(mask):
        weights, ks = PointWeights(mask.astype(float)), jnp.arange(utility.steps)
        end, _ = descent(utility.problem, utility.theta0, weights, utility.step, ks)
        # Nobody trains on nothing: the empty set's model is θ₀, with a ridge too.
        return jnp.where(jnp.any(mask), end, utility.theta0)

    return jax.vmap(one)(masks)


# Along permutations, and all subsets -------------------------------------------------------------------------------


def _grown(utility: RefitUtility, index: Array, masks: Array, state: Any) -> tuple[Array, Any]:
    """θ of every subset after its point `index` (p,) was added (it is in `masks` already), and the fit's new state."""
    problem, x = utility.problem, utility.problem.design
    if utility.method == "newton":
        thetas = _minima(utility, masks, state)
        return thetas, thetas
    if utility.method != "rank-one":
        return _fit(utility, masks), state
    inverse, right = state
    row, target = x[index], _targets(problem)[index]
    pushed = jnp.einsum("pij,pj->pi", inverse, row)
    scale = 1.0 + jnp.sum(row * pushed, axis=1)
    inverse = inverse - pushed[:, :, None] * (pushed / scale[:, None])[:, None, :]
    right = right + row[:, :, None] * target[:, None, :]
    return jnp.einsum("pij,pjc->pic", inverse, right).reshape(index.shape[0], -1), (inverse, right)


def _targets(problem: Problem) -> Float[Array, "n outputs"]:
    """y with an axis of outputs."""
    return problem.data.y.reshape(problem.n, -1)


def _start(utility: RefitUtility, p: int) -> Any:
    problem = utility.problem
    d = problem.design.shape[1]
    if utility.method == "rank-one":
        identity = jnp.broadcast_to(jnp.eye(d)[None, :, :], (p, d, d))
        return identity / problem.ridge, jnp.zeros((p, d, problem.dim // d))
    return jnp.zeros((p, problem.dim))


@eqx.filter_jit
def _walk(
    utility: RefitUtility, orders: Int[Array, "p n"], full: Array, margin: Array, patience: Array
) -> tuple[Array, Array]:
    p, n = orders.shape
    rows = jnp.arange(p)
    empty = _score(utility, utility.theta0[None, :])[0]

    def step(carry):
        k, masks, state, values, near, used = carry
        index = orders[:, k]
        live = near < patience
        masks = masks.at[rows, index].set(True)
        thetas, state = _grown(utility, index, masks, state)
        value = jnp.where(live, _score(utility, thetas), values[:, k])
        values = values.at[:, k + 1].set(value)
        near = jnp.where(jnp.abs(value - full) <= margin, near + 1, jnp.where(live, 0, near))
        return k + 1, masks, state, values, near, used + live.astype(int)

    def unfinished(carry):
        return (carry[0] < n) & jnp.any(carry[4] < patience)

    zero = jnp.zeros((), int)
    values = jnp.full((p, n + 1), jnp.nan).at[:, 0].set(empty)
    carry = (zero, jnp.zeros((p, n), bool), _start(utility, p), values, jnp.zeros(p, int), jnp.zeros(p, int))
    last, _, _, values, _, used = jax.lax.while_loop(unfinished, step, carry)
    # Positions that no permutation reached repeat the last value.
    return jnp.where(jnp.arange(n + 1)[None, :] > last, values[rows, last][:, None], values), used


@eqx.filter_jit
def _enumerate(utility: RefitUtility) -> Array:
    """All subsets by doubling: those with point k are those without it, each by one rank-one update."""
    x, y = utility.problem.design, _targets(utility.problem)
    inverse, right = _start(utility, 1)
    for k in range(utility.n):
        pushed = inverse @ x[k]
        scale = 1.0 + pushed @ x[k]
        grown = inverse - pushed[:, :, None] * (pushed / scale[:, None])[:, None, :]
        inverse = jnp.concatenate([inverse, grown])
        right = jnp.concatenate([right, right + (x[k][:, None] * y[k][None, :])[None, :, :]])
    thetas = jnp.einsum("sij,sjc->sic", inverse, right).reshape(inverse.shape[0], -1)
    return _score(utility, thetas)
