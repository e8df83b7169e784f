"""The membership attack of two scenarios: pooled over splits or networks, and kept as numbers."""

from collections.abc import Mapping, Sequence

import numpy as np

from homotopy import membership_inference

Rows = Sequence[tuple[np.ndarray, np.ndarray]]
QUANTILES = ("low", "auroc", "high")


def pooled_attacks(rows: Mapping[str, Rows], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """AUROC with its interval, (models, QUANTILES), and whether the attack detects, (models,), for every model.

    `rows`: model → (features of its members, features of others), one pair per split; no pair: NaN and false.
    """
    aurocs, detects = np.full((len(rows), 3), np.nan), np.zeros(len(rows), dtype=bool)
    for index, pairs in enumerate(rows.values()):
        if pairs:
            inside, outside = (np.concatenate(side) for side in zip(*pairs, strict=True))
            found = membership_inference(inside, outside, repeats=5, seed=seed)
            aurocs[index], detects[index] = (found.low, found.auroc, found.high), found.detects
    return aurocs, detects
