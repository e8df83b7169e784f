"""kNN-Shapley: the Shapley values of a K-nearest-neighbour classifier, in closed form."""

from typing import Annotated

import numpy as np
from jaxtyping import Float
from scipy.spatial.distance import cdist

from .._arrays import as_floats
from .._checks import Values, whole
from .._errors import RequestError

_BLOCK = 256


def knn_shapley(
    x: Annotated[Values, "n features"],
    y: Annotated[Values, "n"],
    queries: Annotated[Values, "m features"],
    targets: Annotated[Values, "m"],
    neighbours: int,
) -> Float[np.ndarray, " n"]:
    """Exact Shapley values (n,) of v(S) = (1/K) Σ_{k ≤ min(K,|S|)} 1[the k-th nearest label in S is right], averaged
    over the queries; + = the point helps. Σ_i φ_i = v([n]) (v(∅) = 0).

    From far to near, points in order of distance to a query (Jia et al. 2019, Theorem 1; mathematics §10):

        φ_n = 1[y_n = t]/max(K, n),   φ_i = φ_{i+1} + (1[y_i = t] − 1[y_{i+1} = t])/max(K, i)

    `x` (n, features), `y` (n,) labels (whole numbers), `queries` (q, features), `targets` (q,) their labels, among those
    of y, `neighbours` K. Equal distances keep the order of the rows. O(q n log n). Raises `RequestError` for shapes and
    labels that do not fit.

    Example (continues the package's):

        >>> print(knn_shapley([[0.0], [1.0], [3.0]], [0, 1, 0], [[0.1]], [0], neighbours=1).round(3))
        [ 0.833 -0.167  0.333]
    """
    x, y, queries, targets = (
        np.asarray(as_floats(values, what))
        for values, what in ((x, "x"), (y, "y"), (queries, "queries"), (targets, "targets"))
    )
    if x.ndim != 2 or queries.ndim != 2 or queries.shape[1] != x.shape[1] or len(x) < 1 or len(queries) < 1:
        raise RequestError(f"x (n, features) and queries (q, features) do not fit: {x.shape} and {queries.shape}")
    if y.shape != x.shape[:1] or targets.shape != queries.shape[:1]:
        raise RequestError(
            f"y must have shape {x.shape[:1]} and targets {queries.shape[:1]}, but have {y.shape} and {targets.shape}"
        )
    known = np.unique(y)
    if (known != np.round(known)).any():
        raise RequestError(f"y must hold class labels, whole numbers, but holds {known[known != np.round(known)][0]:g}")
    strange = targets[~np.isin(targets, known)]
    if strange.size:
        raise RequestError(f"targets must hold labels that y has ({known.size} of them), but hold {strange[0]:g}")
    neighbours = whole(neighbours, "neighbours", 1)
    n = len(x)
    total = np.zeros(n)
    scale = 1.0 / np.maximum(neighbours, np.arange(1, n + 1))
    for start in range(0, len(queries), _BLOCK):
        asked, labels = queries[start : start + _BLOCK], targets[start : start + _BLOCK]
        distances = cdist(asked, x, "sqeuclidean")  # not from norms: equal distances must come out equal
        order = np.argsort(distances, axis=1, kind="stable")
        right = (y[order] == labels[:, None]).astype(float)
        steps = np.concatenate([right[:, :-1] - right[:, 1:], right[:, -1:]], axis=1) * scale[None, :]
        ranked = np.cumsum(steps[:, ::-1], axis=1)[:, ::-1]
        values = np.empty_like(ranked)
        np.put_along_axis(values, order, ranked, axis=1)
        total += values.sum(axis=0)
    return total / len(queries)
