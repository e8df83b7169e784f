"""Do the chains agree, and how much do they say? Split-R̂ and effective sample size (Vehtari et al. 2021), in NumPy."""

import numpy as np
import scipy.stats
from jaxtyping import Float

from .._arrays import as_floats
from .._errors import RequestError


def split_rhat(draws: Float[np.ndarray, "chains draws k"]) -> Float[np.ndarray, " k"]:
    """Rank-normalised split-R̂ (k,) of k quantities from `draws` (chains, draws, k) (Vehtari et al. 2021).

    √(variance of all halves together / variance within them), the larger of the bulk and the folded one. 1 where the
    chains agree; above 1.01 they have not mixed well, above 1.1 not at all. Raises `RequestError` for fewer than 4
    draws.

    Example (continues the package's):

        >>> draws = np.random.default_rng(0).normal(size=(4, 100, 2))
        >>> print(split_rhat(draws) < 1.05, split_rhat(draws + 3.0 * np.arange(4)[:, None, None]) > 1.1)
        [ True  True] [ True  True]
    """
    halves = _halves(draws)
    folded = np.abs(halves - np.median(halves, axis=(0, 1), keepdims=True))
    return np.maximum(_rhat(_normal_scores(halves)), _rhat(_normal_scores(folded)))


def effective_sample_size(draws: Float[np.ndarray, "chains draws k"]) -> Float[np.ndarray, " k"]:
    """How many independent draws say as much about the mean as `draws` (chains, draws, k), for each quantity (k,).

    Over all (split) chains, by Geyer's initial monotone sequence of autocorrelations (Vehtari et al. 2021). Raises
    `RequestError` for fewer than 4 draws.

    Example (continues the package's):

        >>> draws = np.random.default_rng(0).normal(size=(4, 100, 2))
        >>> print(effective_sample_size(draws) > 200, effective_sample_size(np.repeat(draws, 10, axis=1)) < 1000)
        [ True  True] [ True  True]
    """
    halves = _halves(draws)
    m, n, _ = halves.shape
    size = 2 ** int(np.ceil(np.log2(2 * n)))
    away = halves - halves.mean(axis=1, keepdims=True)
    spectrum = np.fft.rfft(away, n=size, axis=1)
    covariance = np.fft.irfft(np.abs(spectrum) ** 2, n=size, axis=1)[:, :n] / n
    within = covariance[:, 0].mean(axis=0) * n / (n - 1)
    together = within * (n - 1) / n + (halves.mean(axis=1).var(axis=0, ddof=1) if m > 1 else 0.0)
    safe = np.where(together > 0, together, 1.0)
    rho = 1.0 - (within[None, :] - covariance.mean(axis=0) * n / (n - 1)) / safe[None, :]
    rho[0] = 1.0
    pairs = rho[: n - n % 2].reshape(n // 2, 2, -1).sum(axis=1)
    pairs = np.minimum.accumulate(np.where(np.minimum.accumulate(pairs > 0, axis=0), pairs, 0.0), axis=0)
    time = np.maximum(-1.0 + 2.0 * pairs.sum(axis=0), 1.0 / np.log10(m * n))
    return np.where(together > 0, m * n / time, m * n)


def _halves(draws: np.ndarray) -> np.ndarray:
    draws = np.asarray(as_floats(draws, "draws"))
    if draws.ndim != 3 or draws.shape[1] < 4:
        raise RequestError(f"draws must have shape (chains, draws ≥ 4, quantities), but has shape {draws.shape}")
    half = draws.shape[1] // 2
    return np.concatenate([draws[:, :half], draws[:, -half:]])


def _normal_scores(draws: np.ndarray) -> np.ndarray:
    ranks = scipy.stats.rankdata(draws.reshape(-1, draws.shape[2]), axis=0).reshape(draws.shape)
    return scipy.stats.norm.ppf((ranks - 0.375) / (draws.shape[0] * draws.shape[1] + 0.25))


def _rhat(draws: np.ndarray) -> np.ndarray:
    n = draws.shape[1]
    within = draws.var(axis=1, ddof=1).mean(axis=0)
    between = draws.mean(axis=1).var(axis=0, ddof=1)
    moving = within > 0
    inside = np.where(moving, within, 1.0)
    return np.where(moving, np.sqrt((inside * (n - 1) / n + between) / inside), np.where(between > 0, np.inf, 1.0))
