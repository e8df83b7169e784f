"""Real data sets cut to a size at which every endpoint can be solved to stationarity."""

import numpy as np

from homotopy import Dataset, RequestError, datasets


def reduced(
    name: str, *, classes: int = 0, rows: int = 0, components: int = 0, intercept: bool = False, seed: int = 0
) -> Dataset:
    """A real data set with its first `classes` classes, its first principal components, each scaled to variance 1, and
    `rows` of its rows drawn at random (0: all of them, in each case)."""
    data = datasets.load(name)
    x, y = np.asarray(data.x), np.asarray(data.y)
    label = name
    if classes:
        x, y, label = x[y < classes], y[y < classes], f"{label}, {classes} classes"
    if components:
        left, sizes, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
        if components > (sizes > 1e-9 * sizes[0]).sum():
            raise RequestError(f"components must be at most the rank of {name}, but is {components}")
        x = left[:, :components] * np.sqrt(len(x))
        label += f", {components} components"
    if rows:
        if not 2 <= rows <= len(x):
            raise RequestError(f"rows must lie in 2…{len(x)} for {name}, but is {rows}")
        kept = np.sort(np.random.default_rng(seed).permutation(len(x))[:rows])
        x, y, label = x[kept], y[kept], label + f", {rows} rows"
    if intercept:
        x = np.column_stack([x, np.ones(len(x))])
    return Dataset(x, y, name=label)
