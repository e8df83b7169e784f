"""From levels on equal pieces to arcs: which are bang, which singular, and where exactly they begin and end."""

from dataclasses import dataclass, replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize

from ..flow import AbstractSchedule, BangBang, PiecewiseConstant
from ._discrete import Setting, objective
from ._linear import Vector

# A level this near 0 or 1 is a bang; a run of at least this many pieces in between is a singular arc.
_BANG, _SINGULAR_RUN = 0.02, 3
# σ contradicts ε when the Pontryagin residual on bang arcs is above this.
_CONTRADICTION = 1e-7
# Two or more neighbouring bang arcs shorter than this share of [s, T] may imitate one singular arc.
_SHORT = 0.02
# A singular arc is kept as at most this many levels.
_LEVELS = 8


@dataclass(frozen=True)
class Arcs:
    """Arcs of [s, T]: their `lengths` (k,), `levels` (k,) of ε, and which levels are `free` (singular)."""

    lengths: Vector
    levels: Vector
    free: tuple[bool, ...]

    def schedule(self, s: float, t1: float) -> AbstractSchedule:
        """ε = 1 on [0, s], the arcs, 0 from T on."""
        kept = self.lengths > 1e-12 * (t1 - s)
        levels, ends = self.levels[kept], (s + np.cumsum(self.lengths))[kept]
        ends[-1] = t1
        times, values = np.concatenate([[s], ends]), np.concatenate([[1.0], np.clip(levels, 0.0, 1.0), [0.0]])
        changes = np.abs(np.diff(values)) > 0
        times, values = times[changes], np.concatenate([[1.0], values[1:][changes]])
        if any(free for free, keep in zip(self.free, kept, strict=True) if keep):
            return PiecewiseConstant(times, values)
        if len(times) and times[0] == 0:
            return BangBang(times[1:], first=0.0)
        return BangBang(times, first=1.0)

    def described(self) -> list[tuple[float, float, str]]:
        """(start, end, kind) after s, equal neighbours joined."""
        ends = np.cumsum(self.lengths)
        joined: list[tuple[float, float, str]] = []
        for k, (length, end) in enumerate(zip(self.lengths, ends, strict=True)):
            kind = "singular" if self.free[k] else "on" if self.levels[k] > 0.5 else "off"
            if length <= 1e-9 * ends[-1]:
                continue
            if joined and joined[-1][2] == kind:
                joined[-1] = (joined[-1][0], float(end), kind)
            else:
                joined.append((float(end - length), float(end), kind))
        return joined


def detect(levels: Vector, length: float, forced: bool) -> Arcs:
    """The structure of levels on equal pieces; `forced` takes every arc as bang.

    One or two pieces in between are a switch inside them: ε = 1 for the same total time, on the side of the on-arc.
    """
    width = length / len(levels)
    kinds = np.where(levels > 1 - _BANG, 1, np.where(levels < _BANG, 0, 2))
    arcs: list[tuple[float, float, bool]] = []
    k = 0
    while k < len(levels):
        end = k
        while end < len(levels) and kinds[end] == kinds[k]:
            end += 1
        run = end - k
        if kinds[k] < 2:
            arcs.append((run * width, float(kinds[k]), False))
        elif run >= _SINGULAR_RUN and not forced:
            for part in np.array_split(levels[k:end], min(run, _LEVELS)):
                arcs.append((len(part) * width, float(np.mean(part)), True))
        else:
            on = float(np.sum(levels[k:end])) * width
            off = run * width - on
            before = float(kinds[k - 1]) if k and kinds[k - 1] < 2 else 1.0
            arcs += [(on, 1.0, False), (off, 0.0, False)] if before == 1.0 else [(off, 0.0, False), (on, 1.0, False)]
        k = end
    merged: list[tuple[float, float, bool]] = []
    for arc in arcs:
        if merged and not arc[2] and not merged[-1][2] and merged[-1][1] == arc[1]:
            merged[-1] = (merged[-1][0] + arc[0], arc[1], False)
        else:
            merged.append(arc)
    return Arcs(np.array([a[0] for a in merged]), np.array([a[1] for a in merged]), tuple(a[2] for a in merged))


def as_they_are(levels: Vector, length: float) -> Arcs:
    """Levels on equal pieces, each an arc: free wherever it is strictly between 0 and 1."""
    free = (levels >= _BANG) & (levels <= 1 - _BANG)
    widths = np.full(len(levels), length / len(levels))
    return _joined(Arcs(widths, np.where(free, levels, np.rint(levels)), tuple(free.tolist())))


def calmed(arcs: Arcs) -> Arcs | None:
    """The arcs with every cluster of short bang arcs, the imitation of a singular arc, made one; None without a cluster."""
    total = float(arcs.lengths.sum())
    short = (arcs.lengths < _SHORT * total) & ~np.array(arcs.free)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], short.astype(int), [0]]))).tolist()
    clusters = [(low, high) for low, high in zip(edges[::2], edges[1::2], strict=True) if high - low >= 2]
    if not clusters:
        return None
    lengths, levels, free = arcs.lengths.copy(), arcs.levels.copy(), np.array(arcs.free)
    for low, high in clusters:
        part = lengths[low:high]
        levels[low], free[low] = float(part @ levels[low:high]) / float(part.sum()), True
        lengths[low], lengths[low + 1 : high] = part.sum(), 0.0
    kept = lengths > 0
    return _joined(Arcs(lengths[kept], levels[kept], tuple(free[kept].tolist())))


def contradicted(arcs: Arcs, ts: Vector, sigma: Vector) -> Arcs | None:
    """The arcs with ε flipped on the interval of a bang arc that σ contradicts most; None where it contradicts none.

    `ts` are times after s, `sigma` is σ there. Where σ < 0, ε should be 1.
    """
    ends = np.cumsum(arcs.lengths)
    middle, width = 0.5 * (ts[1:] + ts[:-1]), np.diff(ts)
    mean = 0.5 * (sigma[1:] + sigma[:-1])
    at = np.minimum(np.searchsorted(ends, middle), len(ends) - 1)
    bang = ~np.array(arcs.free)[at]
    wrong = np.where(bang & ((mean < 0) != (arcs.levels[at] > 0.5)), np.abs(mean) * width, 0.0)
    if wrong.sum() <= _CONTRADICTION * float(np.sum(np.abs(mean) * width)):
        return None
    edges = np.flatnonzero(np.diff(np.concatenate([[0], (wrong > 0).astype(int), [0]]))).tolist()
    low, high = max(zip(edges[::2], edges[1::2], strict=True), key=lambda run: wrong[run[0] : run[1]].sum())
    start, stop = float(ts[low]), float(ts[high])
    cuts = np.unique(np.concatenate([[0.0], ends, [start, stop]]))
    cuts = cuts[np.concatenate([[True], np.diff(cuts) > 1e-12 * ends[-1]])]
    inside = 0.5 * (cuts[1:] + cuts[:-1])
    place = np.minimum(np.searchsorted(ends, inside), len(ends) - 1)
    free, levels = np.array(arcs.free)[place], arcs.levels[place].copy()
    flips = (inside > start) & (inside < stop) & ~free
    levels[flips] = 1.0 - levels[flips]
    return _joined(Arcs(np.diff(cuts), levels, tuple(free.tolist())))


def limited(arcs: Arcs, most: int) -> Arcs:
    """Bang arcs with at most `most` jumps, the one at the start of a first arc at 0 included: the shortest are flipped."""
    arcs = _joined(arcs)
    while (count := len(arcs.lengths)) - 1 + (first_off := int(arcs.levels[0] < 0.5)) > most:
        # To flip a first arc that is on only moves its jump to the start.
        flips = range(1 - first_off, count)
        k = min(flips, key=lambda k: arcs.lengths[k])
        levels = arcs.levels.copy()
        levels[k] = 1.0 - levels[k]
        arcs = _joined(replace(arcs, levels=levels))
    return arcs


def refine(setting: Setting, goal: str, arcs: Arcs, steps: int) -> list[Arcs]:
    """The arcs with lengths and free levels optimised (SLSQP); arcs that shrink to nothing are left out, and again."""
    found = []
    for _ in range(4):
        arcs = _optimise(setting, goal, arcs, steps)
        found.append(arcs)
        kept = arcs.lengths > 1e-6 * float(setting.length)
        if kept.all():
            break
        lengths, levels = arcs.lengths[kept], arcs.levels[kept]
        free = tuple(np.array(arcs.free)[kept].tolist())
        arcs = _joined(Arcs(lengths * float(setting.length) / lengths.sum(), levels, free))
    return found


def _joined(arcs: Arcs) -> Arcs:
    lengths, levels, free = [arcs.lengths[0]], [arcs.levels[0]], [arcs.free[0]]
    for k in range(1, len(arcs.lengths)):
        if not arcs.free[k] and not free[-1] and arcs.levels[k] == levels[-1]:
            lengths[-1] += arcs.lengths[k]
        else:
            lengths.append(arcs.lengths[k])
            levels.append(arcs.levels[k])
            free.append(arcs.free[k])
    return Arcs(np.array(lengths), np.array(levels), tuple(free))


@eqx.filter_jit
def _evaluate(setting, lengths, levels, goal, per_arc):
    def value(lengths, levels):
        epsilon = jnp.broadcast_to(jnp.repeat(levels, per_arc)[:, None], (len(levels) * per_arc, 3))
        return objective(setting, goal, jnp.repeat(lengths / float(per_arc), per_arc), epsilon)

    return jax.value_and_grad(value, argnums=(0, 1))(lengths, levels)


def _optimise(setting: Setting, goal: str, arcs: Arcs, steps: int) -> Arcs:
    count, total = len(arcs.lengths), float(setting.length)
    free = np.flatnonzero(arcs.free)
    if count == 1 and not len(free):
        return arcs
    # An arc may grow to several times its length while steps per arc are fixed: each gets a generous share.
    per_arc = int(2 ** np.ceil(np.log2(max(8, min(steps, 3 * steps / count)))))

    def both(x):
        levels = arcs.levels.copy()
        levels[free] = x[count:]
        value, (by_length, by_level) = _evaluate(
            setting, jnp.asarray(x[:count] * total), jnp.asarray(levels), goal, per_arc
        )
        if not np.isfinite(value):
            return 1e10, np.zeros(len(x))
        gradient = np.concatenate([np.asarray(by_length) * total, np.asarray(by_level)[free]])
        return float(value) / scale, gradient / scale

    start = np.concatenate([arcs.lengths / total, arcs.levels[free]])
    scale = 1.0
    scale = both(start)[0] or 1.0

    unity = np.concatenate([np.ones(count), np.zeros(len(free))])
    end = minimize(
        both, start, jac=True, method="SLSQP", bounds=[(0.0, 1.0)] * len(start),
        constraints=[{"type": "eq", "fun": lambda x: x[:count].sum() - 1.0, "jac": lambda x: unity}],
        options={"maxiter": 200, "ftol": 1e-14},
    )  # fmt: skip
    x = np.clip(end.x, 0.0, 1.0)
    if not end.fun <= 1.0:
        return arcs
    levels = arcs.levels.copy()
    levels[free] = x[count:]
    return replace(arcs, lengths=x[:count] / x[:count].sum() * total, levels=levels)
