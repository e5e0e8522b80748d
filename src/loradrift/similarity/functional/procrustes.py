"""Orthogonal Procrustes distance (Schönemann 1966; Ding et al. 2021, arXiv:2108.01661).

``sqrt(2 - 2 |A^T B|_*)`` for the centred sides A and B of Frobenius norm 1: the distance that is
left after the best rotation.
"""

# Shape suffixes: N examples, D and E representation widths, R = min(N, D).

import math

import numpy as np
from torch import Tensor

from loradrift.similarity.functional.inputs import Array, centre, matrices


def procrustes(x_ND: Tensor, y_NE: Tensor) -> float:
    """Distance in [0, sqrt(2)] after the best rotation; 0 for equal sides.

    Unchanged by rotation, translation and uniform scaling of either side. The narrower side is
    filled up with zeros. Computed as the length of what the best rotation leaves over, so that
    distances far below float32's rounding are right.

    >>> x = torch.randn(50, 8)
    >>> procrustes(x, 3 * x @ torch.linalg.qr(torch.randn(8, 8)).Q + 1) < 1e-5
    True
    """
    a_NR, b_NR = (_coordinates(side) for side in matrices(x_ND, y_NE))
    if a_NR is None or b_NR is None:
        return math.nan
    width = max(a_NR.shape[1], b_NR.shape[1])
    a_NR, b_NR = (np.pad(side, ((0, 0), (0, width - side.shape[1]))) for side in (a_NR, b_NR))
    left, _, right = np.linalg.svd(b_NR.T @ a_NR)
    return float(np.linalg.norm(a_NR - b_NR @ (left @ right)))


def _coordinates(x_ND: Array) -> Array | None:
    """The centred side at norm 1, rotated into at most N columns; None without variance."""
    x_ND = centre(x_ND).astype(np.float64)
    norm = np.linalg.norm(x_ND)
    if not norm:
        return None
    n, d = x_ND.shape
    if d > n:  # a rotation of the columns leaves all but N of them empty
        x_ND = np.linalg.qr(x_ND.T).R.T
    unit_NR: Array = x_ND / norm
    return unit_NR
