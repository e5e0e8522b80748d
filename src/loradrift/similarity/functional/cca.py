"""Canonical correlations of the subspaces that two sides span.

SVCCA: Raghu et al. 2017 (arXiv:1706.05806). PWCCA: Morcos et al. 2018 (arXiv:1806.05759). With N
not much larger than the widths any two subspaces correlate: read them with N several times D.
"""

# Shape suffixes: N examples, D and E representation widths, K directions kept.

import math
from typing import NamedTuple

import numpy as np
from torch import Tensor

from loradrift.similarity.functional.inputs import Array, centre, matrices

KEPT = 0.99
"""Share of the squared singular values that SVCCA keeps."""


def svcca(x_ND: Tensor, y_NE: Tensor) -> float:
    """Mean canonical correlation of what holds 99 % of each side's variance, in [0, 1].

    The mean is over the smaller number of directions.

    >>> x = torch.randn(50, 8)
    >>> round(svcca(x, 3 * x + 1), 5)
    1.0
    """
    pair = _svcca_bases(x_ND, y_NE)
    return float(_correlations(*pair).mean()) if pair else math.nan


def svcca_distance(x_ND: Tensor, y_NE: Tensor) -> float:
    """``1 - svcca`` without cancellation, from the sines of the angles.

    >>> x = torch.randn(50, 8)
    >>> svcca_distance(x, 3 * x + 1) < 1e-9
    True
    """
    pair = _svcca_bases(x_ND, y_NE)
    if not pair:
        return math.nan
    narrow, wide = sorted(pair, key=lambda basis: basis.shape[1])
    sines = np.linalg.svd(narrow - wide @ (wide.T @ narrow), compute_uv=False)
    return float(_one_minus_cosine(sines).mean())


def pwcca(x_ND: Tensor, y_NE: Tensor) -> float:
    """Canonical correlations weighted by how much of x each direction accounts for, in [0, 1].

    Not symmetric: the weights are those of ``x``.

    >>> x, noise = torch.randn(2, 50, 8, generator=torch.Generator().manual_seed(0))
    >>> round(pwcca(x, 3 * x + 1), 5), pwcca(x, noise) == pwcca(noise, x)
    (1.0, False)
    """
    found = _weighted(x_ND, y_NE)
    return float(found.weights_K @ found.cosines_K) if found else math.nan


def pwcca_distance(x_ND: Tensor, y_NE: Tensor) -> float:
    """``1 - pwcca`` without cancellation.

    >>> x = torch.randn(50, 8)
    >>> pwcca_distance(x, 3 * x + 1) < 1e-9
    True
    """
    found = _weighted(x_ND, y_NE)
    return float(found.weights_K @ _one_minus_cosine(found.sines_K)) if found else math.nan


class _Weighted(NamedTuple):
    weights_K: Array
    cosines_K: Array
    sines_K: Array


def _weighted(x_ND: Tensor, y_NE: Tensor) -> _Weighted | None:
    x, y = (centre(side).astype(np.float64) for side in matrices(x_ND, y_NE))
    left, right = _basis(x, 1.0), _basis(y, 1.0)
    if left is None or right is None:
        return None
    rotation, _, _ = np.linalg.svd(left.T @ right)
    # The smaller side's number of canonical directions, each a unit vector over the rows.
    directions_NK = left @ rotation[:, : min(left.shape[1], right.shape[1])]
    weights_K = np.abs(directions_NK.T @ x).sum(1)
    within_NK = right @ (right.T @ directions_NK)
    return _Weighted(
        weights_K / weights_K.sum(),
        np.linalg.norm(within_NK, axis=0),
        np.linalg.norm(directions_NK - within_NK, axis=0),
    )


def _svcca_bases(x_ND: Tensor, y_NE: Tensor) -> tuple[Array, Array] | None:
    left, right = (_basis(centre(side).astype(np.float64), KEPT) for side in matrices(x_ND, y_NE))
    return None if left is None or right is None else (left, right)


def _basis(x_ND: Array, kept: float) -> Array | None:
    """Left singular vectors of what holds ``kept`` of the squares; None if all are 0."""
    u_NK, s_K, _ = np.linalg.svd(x_ND, full_matrices=False)
    if not s_K[0]:
        return None
    rank = int((s_K > s_K[0] * max(x_ND.shape) * np.finfo(np.float32).eps).sum())
    shares_K = np.cumsum(s_K[:rank] ** 2) / (s_K[:rank] ** 2).sum()
    num_kept = min(rank, int(np.searchsorted(shares_K, kept - 1e-12)) + 1)
    basis_NK: Array = u_NK[:, :num_kept]
    return basis_NK


def _correlations(left_NK: Array, right_NK: Array) -> Array:
    correlations: Array = np.linalg.svd(left_NK.T @ right_NK, compute_uv=False).clip(0, 1)
    return correlations


def _one_minus_cosine(sines_K: Array) -> Array:
    squares_K = sines_K.clip(0, 1) ** 2
    result: Array = squares_K / (1 + np.sqrt(1 - squares_K))
    return result
