"""How well one number says another: correlations, and the area under the ROC curve.

Each takes, beside its points, how often every point is drawn in each resample, and gives one value
per resample: the value of the points repeated so often. What a side without variance leaves
undefined is NaN.
"""

# Shape suffixes: N points, R resamples, U different values of the points.

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from loradrift.statistics.values import ROUNDING, Array, finite


def pearson(x: ArrayLike, y: ArrayLike, counts_RN: ArrayLike | None = None) -> Array:
    """Linear correlation in [-1, 1] of each resample (R,); ``x`` and ``y`` are (N,) or (R, N).

    Example:
        >>> pearson([1, 2, 3], [2, 4, 6]).round(6).tolist()
        [1.0]
    """
    x, y, counts_RN = _points(x, y, counts_RN)
    total_R1 = counts_RN.sum(axis=-1, keepdims=True)
    parts = []
    for values in (x, y):
        mean_R1 = (counts_RN * values).sum(axis=-1, keepdims=True) / total_R1
        centred_RN = values - mean_R1
        size_R = np.sqrt((counts_RN * centred_RN**2).sum(axis=-1))
        least_R = ROUNDING * np.abs(values).max() * np.sqrt(total_R1[:, 0])
        parts.append((centred_RN, np.where(size_R > least_R, size_R, np.nan)))
    (x_RN, sx_R), (y_RN, sy_R) = parts
    found_R: Array = (counts_RN * x_RN * y_RN).sum(axis=-1) / (sx_R * sy_R)
    return np.clip(found_R, -1.0, 1.0)


def spearman(x: ArrayLike, y: ArrayLike, counts_RN: ArrayLike | None = None) -> Array:
    """Correlation of the ranks (R,); equal values share their mean rank.

    Example:
        >>> spearman([1, 2, 3], [1, 4, 9]).round(6).tolist()
        [1.0]
    """
    x_N, y_N, counts_RN = _points(x, y, counts_RN)
    return pearson(ranks(x_N, counts_RN), ranks(y_N, counts_RN), counts_RN)


def ranks(x_N: ArrayLike, counts_RN: ArrayLike) -> Array:
    """The rank of each point among the points of each resample (R, N), counted from 1.

    Values that differ by rounding alone are equal.

    Example:
        >>> ranks([5.0, 7.0], [[1, 1], [3, 1]]).tolist()
        [[1.0, 2.0], [2.0, 4.0]]
    """
    x_N, counts_RN = np.asarray(x_N, dtype=np.float64), np.asarray(counts_RN, dtype=np.float64)
    order_N = np.argsort(x_N, kind="stable")
    steps = np.diff(x_N[order_N]) > ROUNDING * max(np.abs(x_N).max(), np.finfo(float).tiny)
    place_N = np.empty(len(x_N), dtype=int)
    place_N[order_N] = np.concatenate([[0], np.cumsum(steps)])
    each_NU = np.eye(place_N.max() + 1)[place_N]
    counts_RU = counts_RN @ each_NU
    ranks_RU = np.cumsum(counts_RU, axis=1) - (counts_RU - 1) / 2
    found: Array = ranks_RU[:, place_N]
    return found


def auroc(scores: ArrayLike, labels: ArrayLike, counts_RN: ArrayLike | None = None) -> Array:
    """The chance that a point labelled 1 scores above one labelled 0 (R,); ties count half.

    Example:
        >>> auroc([1, 2, 3], [0, 0, 1]).tolist()
        [1.0]
    """
    scores_N, labels_N, counts_RN = _points(scores, labels, counts_RN)
    ones_R = counts_RN @ labels_N
    zeros_R = counts_RN.sum(axis=1) - ones_R
    ranks_RN = ranks(scores_N, counts_RN)
    wins_R = (counts_RN * labels_N * ranks_RN).sum(axis=1) - ones_R * (ones_R + 1) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Array = wins_R / (ones_R * zeros_R)
    return found


def cluster_counts(
    clusters: Sequence[Hashable], rng: np.random.Generator, num_resamples: int
) -> Array:
    """How often each point is drawn, (R, N), where the points of a cluster are drawn together.

    Example:
        >>> cluster_counts(["a", "a", "b"], np.random.default_rng(0), 1).tolist()
        [[1.0, 1.0, 1.0]]
    """
    if num_resamples <= 0:
        raise ValueError(f"num_resamples must be positive, got {num_resamples}")
    names = {name: place for place, name in enumerate(dict.fromkeys(clusters))}
    drawn_RC = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), num_resamples)
    return drawn_RC[:, [names[each] for each in clusters]].astype(np.float64)


def _points(x: ArrayLike, y: ArrayLike, counts_RN: ArrayLike | None) -> tuple[Array, Array, Array]:
    x, y = finite(x, "x"), finite(y, "y")
    if x.shape[-1] != y.shape[-1]:
        sizes = f"{x.shape[-1]} and {y.shape[-1]}"
        raise ValueError(f"x and y must have one value per point, got {sizes}")
    counts = np.ones((1, x.shape[-1])) if counts_RN is None else finite(counts_RN, "counts_RN")
    return x, y, counts
