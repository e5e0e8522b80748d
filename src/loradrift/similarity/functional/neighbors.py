"""What is near what: shared nearest neighbours, and agreement of all dissimilarities."""

# Shape suffixes: N examples, D and E representation widths, P pairs of examples.

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor

from loradrift.similarity.functional.cosine import unit_rows
from loradrift.similarity.functional.inputs import Array, matrices

NUM_NEIGHBORS = 10


def knn(x_ND: Tensor, y_NE: Tensor) -> float:
    """Mean share of each row's 10 nearest rows (by cosine) that both sides agree on, in [0, 1].

    Of equally near rows the earlier ones count. It needs at least 12 rows, and is NaN also if a
    side has a zero row.

    >>> x = torch.randn(50, 8)
    >>> knn(x, 3 * x)
    1.0
    """
    x, y = matrices(x_ND, y_NE)
    if len(x) < NUM_NEIGHBORS + 2:
        raise ValueError(
            f"knn compares {NUM_NEIGHBORS} neighbours and needs at least {NUM_NEIGHBORS + 2} rows, "
            f"got {len(x)}"
        )
    left, right = _neighbors(x), _neighbors(y)
    if left is None or right is None:
        return math.nan
    return float((left & right).sum() / left.sum())


def knn_distance(x_ND: Tensor, y_NE: Tensor) -> float:
    """``1 - knn``, the share of neighbours that change.

    >>> x = torch.randn(50, 8)
    >>> knn_distance(x, 3 * x)
    0.0
    """
    return 1 - knn(x_ND, y_NE)


def _neighbors(x_ND: Array) -> NDArray[np.bool_] | None:
    """Whether each row's neighbours include each other row, (N, N)."""
    unit_ND = unit_rows(x_ND)
    if np.isnan(unit_ND).any() or _constant(x_ND):
        return None
    cosines_NN = unit_ND @ unit_ND.T
    np.fill_diagonal(cosines_NN, -np.inf)
    nearest_NK = np.argsort(-cosines_NN, axis=1, kind="stable")[:, :NUM_NEIGHBORS]
    chosen_NN: NDArray[np.bool_] = np.zeros(cosines_NN.shape, dtype=np.bool_)
    np.put_along_axis(chosen_NN, nearest_NK, True, axis=1)
    return chosen_NN


def _constant(x_ND: Array) -> bool:
    return bool((x_ND.min(0) == x_ND.max(0)).all())


def rsa(x_ND: Tensor, y_NE: Tensor) -> float:
    """Rank correlation of the sides' dissimilarity matrices, in [-1, 1].

    Representational similarity analysis (Kriegeskorte et al. 2008): the dissimilarity of two rows
    is 1 - their Pearson correlation over columns; Spearman's correlation compares the upper
    triangles. NaN also if a row's values are all equal.

    >>> x = torch.randn(50, 8)
    >>> round(rsa(x, 3 * x), 5)
    1.0
    """
    left_P, right_P = (_ranks(side) for side in matrices(x_ND, y_NE))
    return float(left_P @ right_P)


def rsa_distance(x_ND: Tensor, y_NE: Tensor) -> float:
    """``1 - rsa`` without cancellation.

    >>> x = torch.randn(50, 8)
    >>> rsa_distance(x, x)
    0.0
    """
    left_P, right_P = (_ranks(side) for side in matrices(x_ND, y_NE))
    return float(((left_P - right_P) ** 2).sum() / 2)


def _ranks(x_ND: Array) -> Array:
    """Centred ranks of all pairs' dissimilarities, as a unit vector; NaN where there are none."""
    wide_ND = x_ND.astype(np.float64)
    unit_ND = unit_rows(wide_ND - wide_ND.mean(1, keepdims=True))
    pairs = np.triu_indices(len(unit_ND), 1)
    dissimilarity_P = 1 - (unit_ND @ unit_ND.T)[pairs]
    if np.isnan(dissimilarity_P).any() or _constant(x_ND):
        return np.full(len(dissimilarity_P), np.nan)
    ranks_P = rankdata(dissimilarity_P)
    ranks_P -= ranks_P.mean()
    with np.errstate(invalid="ignore"):
        unit_P: Array = ranks_P / np.linalg.norm(ranks_P)
    return unit_P
