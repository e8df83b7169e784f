"""`ShapleyEstimate`: the running mean of marginal contributions over random permutations, and when to stop.

Permutation k of seed s is always the same, whatever the batches, so that a resumed run is the run that was never
interrupted. Criteria: mean relative change over the last 100 permutations (Ghorbani and Zou 2019, §3), or a half-width
of the confidence intervals that was asked for.

Stopping when an interval is narrow is a look at the data after every batch, so the intervals are a confidence sequence:
each holds at all permutation counts at once, hence at whichever one the run stopped or was resumed. See `half_width`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from .._checks import Number, instance, number, whole
from .._errors import RequestError, WorkError
from .._progress import as_progress

WINDOW = 100  # permutations between the two estimates whose change is judged
# Where the intervals are tightest: about the first count at which a run can stop. They depend on it weakly (at a tenth or
# at a hundred times of it, they are 1.3 times as wide as the tightest), and fixed in advance is what makes them valid.
_TIGHTEST = 2 * WINDOW

Marginals = Callable[[np.ndarray], tuple[np.ndarray, int]]  # permutations (p, n) → contributions (p, n), evaluations


@dataclass(frozen=True)
class ShapleyEstimate:
    """Shapley values from `permutations` random orders; pass it back as `state=` to go on.

    `values` (n,) in the units of the utility, + = the point raises it; `standard_errors` (n,), in which the largest
    contribution seen of any point (`farthest`) counts as one more of every point's, so that a rare one not seen yet is
    allowed for; `change` is the mean relative change over the last 100 permutations (∞ before there are 200);
    `converged` says whether the criterion that was asked for was met, and `reason` which one or what is missing;
    `evaluations` counts trained subsets (or gradient steps). `counts` (h,) and `running` (h, n) are the estimates after
    each batch. `method` and `seed` are the run's, `squares` (n,) what the errors are made of. Ghorbani and Zou 2019.

    Example (continues the package's):

        >>> game = lambda mask: float(np.arange(20.0)[mask].sum() ** 2)
        >>> found = truncated_monte_carlo_shapley(game, 20, permutations=50, truncation=0.0)
        >>> print(found.values.shape, found.permutations, found.converged, found.interval().shape)
        (20,) 50 False (20, 2)
        >>> more = truncated_monte_carlo_shapley(game, 20, permutations=100, truncation=0.0, state=found)
        >>> print(more.permutations, more.counts.shape == (len(more.running),))
        100 True
    """

    values: Float[np.ndarray, " n"]
    standard_errors: Float[np.ndarray, " n"]
    permutations: int
    change: float
    converged: bool
    reason: str
    evaluations: int
    counts: Int[np.ndarray, " h"]
    running: Float[np.ndarray, "h n"]
    method: str
    seed: int
    squares: Float[np.ndarray, " n"]
    farthest: float

    def interval(self, level: Number = 0.95, *, simultaneous: bool = False) -> Float[np.ndarray, "n 2"]:
        """Intervals of the values, one by one, or together covering all n (Bonferroni), valid at any stopping time.

        Hypotheses in `half_width`. They are of the game that was played: with `truncation` > 0, of the truncated one.
        """
        level = number(level, "level")
        if not 0 < level < 1:
            raise RequestError(f"level must lie between 0 and 1, but is {level}")
        half = half_width(self.standard_errors, self.permutations, level, len(self.values) if simultaneous else 1)
        return np.stack([self.values - half, self.values + half], axis=1)

    def __str__(self) -> str:
        half = half_width(self.standard_errors, self.permutations, 0.95, 1)
        return (
            f"{self.method}: {self.permutations} permutations of {len(self.values)} points, {self.evaluations} "
            f"evaluations; sum {self.values.sum():.6g}, largest anytime 95 % half-width {half.max():.3g}, change over the last "
            f"{WINDOW} {self.change:.3g}\n  {'converged' if self.converged else 'NOT converged'}: {self.reason}"
        )


def half_width(errors: np.ndarray, count: int, level: float, together: int) -> np.ndarray:
    """Half-widths w_k of a confidence sequence: P(|mean − φ| ≤ w_k at every count k ≥ 2) ≥ `level`, from the standard
    errors s_k after k permutations; ∞ while there are too few.

        w_k = s_k √((k − 1)(K − 1)/(1 − K/r)),   r = 1 + kg,   K = (r/α²)^(1/k),   α = (1 − level)/`together`

    These are the means that Student's mixture martingale, the t statistic's likelihood ratio under effects N(0, g), does
    not reject at 1/α (Ville's inequality; Lai 1976, Wang and Ramdas 2024, arXiv 2310.03722). Hypothesis: contributions
    are independent between permutations, which they are, and normal, which they are not; otherwise the level holds in
    the limit of narrow intervals, for contributions with a finite moment above the second (Waudby-Smith et al. 2024,
    arXiv 2103.06476: w_k → s_k √((1 + 1/(kg)) log((1 + kg)/α²)), about 1.5 to 1.8 times Student's at a single count).
    """
    alpha = (1 - level) / together
    wide = -2 * np.log(alpha)
    effect = (wide + np.log1p(wide)) / _TIGHTEST
    ratio = 1.0 + count * effect
    power = np.exp((wide + np.log(ratio)) / max(count, 1))
    if count < 2 or power >= ratio:
        return np.full(len(errors), np.inf)
    return errors * np.sqrt((count - 1) * (power - 1.0) / (1.0 - power / ratio))


def check_sampling(
    n: int, permutations: int, batch_size: int, tolerance: float | None, width: float | None, state: ShapleyEstimate | None,
    method: str, seed: int,
) -> None:  # fmt: skip
    """`RequestError` for what could not be done or would be ignored."""
    whole(permutations, "permutations", 1, 10**9), whole(batch_size, "batch_size", 1, 10**9), whole(seed, "seed", 0)
    for name, bound in (("stop_change", tolerance), ("stop_width", width)):
        if bound is not None:
            number(bound, f"{name} (None for no such criterion)", above=0.0)
    if state is not None:
        instance(state, "state", ShapleyEstimate, "what an earlier run gave")
    if state is not None and (len(state.values), state.method, state.seed) != (n, method, seed):
        raise RequestError(
            f"state must come from the same run: {method}, n = {n}, seed = {seed}; but it is {state.method}, "
            f"n = {len(state.values)}, seed = {state.seed}"
        )


def sample(
    marginals: Marginals,
    n: int,
    *,
    permutations: int,
    batch_size: int,
    stop_change: float | None,
    stop_width: float | None,
    seed: int,
    state: ShapleyEstimate | None,
    method: str,
    progress: Any,
) -> ShapleyEstimate:
    """Average `marginals` over permutations until a criterion is met or `permutations` in all were drawn."""
    check_sampling(n, permutations, batch_size, stop_change, stop_width, state, method, seed)
    done = 0 if state is None else state.permutations
    mean = np.zeros(n) if state is None else state.values.copy()
    squares = np.zeros(n) if state is None else state.squares.copy()  # Σ (contribution − mean)², Welford
    farthest = 0.0 if state is None else state.farthest
    evaluations = 0 if state is None else state.evaluations
    counts = [] if state is None else list(state.counts)
    running = [] if state is None else list(state.running)
    edges = [*range(done, permutations, batch_size)]
    change = np.inf if state is None else state.change
    for start in as_progress(progress).track(edges, method):
        stop = min(start + batch_size, permutations)
        orders = np.stack([np.random.default_rng([seed, k]).permutation(n) for k in range(start, stop)])
        found, used = marginals(orders)
        evaluations += used
        if not np.isfinite(found).all():
            raise WorkError("a marginal contribution is not finite; is the step too large?")
        farthest = max(farthest, float(np.abs(found).max()))
        for row in found:
            done += 1
            away = row - mean
            mean += away / done
            squares += away * (row - mean)
        counts.append(done)
        running.append(mean.copy())
        change = _change(counts, running)
        if _met(_errors(squares, done, farthest), done, change, stop_change, stop_width):
            break
    errors = _errors(squares, done, farthest)
    converged = _met(errors, done, change, stop_change, stop_width)
    reason = _reason(errors, done, change, stop_change, stop_width, converged)
    return ShapleyEstimate(
        mean, errors, done, float(change), converged, reason, evaluations, np.array(counts, dtype=int),
        np.array(running).reshape(-1, n), method, seed, squares, farthest,
    )  # fmt: skip


def _errors(squares: np.ndarray, count: int, farthest: float) -> np.ndarray:
    """Standard errors with one more contribution `farthest` away: k equal ones do not prove that all are."""
    if count < 2:
        return np.full(len(squares), np.inf)
    with np.errstate(over="ignore"):  # then nothing is known: ∞
        return np.sqrt((squares + np.square(farthest)) / (count * (count - 1)))


def _met(errors, done, change, stop_change, stop_width) -> bool:
    if stop_width is not None:  # who asks for an interval is not content with a rule of thumb
        return bool(half_width(errors, done, 0.95, 1).max() <= stop_width)
    return stop_change is not None and change <= stop_change


def _change(counts: list, running: list) -> float:
    """Mean |φ_k − φ_{k−100}| / |φ_k| (Ghorbani and Zou 2019), ∞ before there are 200 permutations."""
    if counts[-1] < 2 * WINDOW:
        return np.inf
    before = np.searchsorted(counts, counts[-1] - WINDOW, side="right") - 1
    if before < 0:
        return np.inf
    now = running[-1]
    return float(np.mean(np.abs(now - running[before]) / np.maximum(np.abs(now), np.finfo(float).tiny)))


def _reason(errors, done, change, stop_change, stop_width, converged) -> str:
    if stop_width is not None:
        width = float(half_width(errors, done, 0.95, 1).max())
        if converged:
            return f"every 95 % interval, valid at any stopping time, is within ±{stop_width:g}"
        needed = f"about {int(np.ceil(done * min(width / stop_width, 1e9) ** 2))}" if np.isfinite(width) else "more"
        return (
            f"too few permutations for the interval ±{stop_width:g} that was asked for: it is ±{width:.3g} after "
            f"{done}, and {needed} permutations are needed"
        )
    if stop_change is None:
        return f"the {done} permutations that were asked for (no criterion)"
    if converged:
        return f"mean relative change over the last {WINDOW} permutations ≤ {stop_change:g}"
    return (
        f"too few permutations for a mean relative change ≤ {stop_change:g} over the last {WINDOW}: it is {change:.3g} "
        f"after {done}; go on with state= and more permutations"
    )
