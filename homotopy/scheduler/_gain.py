"""The gain E(1_[0,s]) / E of a schedule over dropping the points at s, in numbers and in words."""

from typing import Any

import numpy as np


def gains(baselines: Any, energies: Any) -> np.ndarray:
    """E(1_[0,s]) / E elementwise: ∞ where only E is 0, 1 where both are (there is nothing to gain)."""
    baselines, energies = np.asarray(baselines, dtype=float), np.asarray(energies, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((baselines == 0) & (energies == 0), 1.0, baselines / energies)


def spoken_gain(gain: float, digits: int = 4) -> str:
    """`×1.5`, and words where θ*₋ is reached."""
    return "×∞ (θ*₋ is reached)" if np.isinf(gain) else f"×{gain:.{digits}g}"
