"""How well one number says another: correlations, and the area under the ROC curve.

What a side without variance leaves undefined is NaN.
"""

# Shape suffixes: N points, R resamples, K quantities.

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from loradrift.statistics.values import Array, constant, finite


def pearson(x: ArrayLike, y: ArrayLike) -> float:
    """Linear correlation in [-1, 1].

    Example:
        >>> round(pearson([1, 2, 3], [2, 4, 6]), 6)
        1.0
    """
    x_N, y_N = _points(x, y)
    if constant(x_N) or constant(y_N):
        return np.nan
    x_N, y_N = x_N - x_N.mean(), y_N - y_N.mean()
    return float(x_N @ y_N / (np.linalg.norm(x_N) * np.linalg.norm(y_N)))


def spearman(x: ArrayLike, y: ArrayLike) -> float:
    """Correlation of the ranks; equal values share their mean rank.

    Example:
        >>> round(spearman([1, 2, 3], [1, 4, 9]), 6)
        1.0
    """
    x_N, y_N = _points(x, y)
    if constant(x_N) or constant(y_N):  # up to rounding, which ranks would blow up
        return np.nan
    return pearson(stats.rankdata(x_N), stats.rankdata(y_N))


def auroc(scores: ArrayLike, labels: ArrayLike) -> float:
    """The chance that a point labelled 1 scores above one labelled 0; ties count half.

    Example:
        >>> auroc([1, 2, 3], [0, 0, 1])
        1.0
    """
    scores_N, labels_N = _points(scores, labels)
    ones = float(labels_N.sum())
    zeros = len(labels_N) - ones
    if not ones or not zeros:
        return np.nan
    wins = float(labels_N @ stats.rankdata(scores_N)) - ones * (ones + 1) / 2
    return wins / (ones * zeros)


def resample_clusters(
    clusters: Sequence[ArrayLike],
    measure: Callable[[Array], Sequence[float]],
    rng: np.random.Generator,
    num_resamples: int = 2000,
) -> Array:
    """What ``measure`` gives for clusters drawn with repetition, (R, K).

    Points of one cluster (K coordinates each, (points, K)) depend on each other, and stay together;
    ``measure`` takes the points of all that were drawn, in one table.

    Example:
        >>> points = [[[1.0, 2.0]], [[2.0, 4.0]]]
        >>> drawn = resample_clusters(points, lambda p: [p[:, 0].mean()], np.random.default_rng(0))
        >>> sorted(set(drawn.ravel().tolist()))
        [1.0, 1.5, 2.0]
    """
    if num_resamples <= 0:
        raise ValueError(f"num_resamples must be positive, got {num_resamples}")
    tables = [finite(cluster, "clusters") for cluster in clusters]
    chosen = rng.integers(0, len(tables), (num_resamples, len(tables)))
    return np.array([measure(np.concatenate([tables[i] for i in drawn])) for drawn in chosen])


def _points(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    x_N, y_N = finite(x, "x").ravel(), finite(y, "y").ravel()
    if len(x_N) != len(y_N):
        raise ValueError(f"x and y must have one value per point, got {len(x_N)} and {len(y_N)}")
    return x_N, y_N
