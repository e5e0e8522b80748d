"""How much the latents of different rows differ."""

# Shape suffixes: N rows, M latents, Z numbers of a latent, D = M * Z.

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray


def latent_cosine(latents_NMZ: ArrayLike) -> float:
    """The mean cosine between the latents of two rows, over all pairs of rows; in [-1, 1].

    1 where all rows have the same latents. NaN for one row, or where a row's latents are all 0.

    Example:
        >>> latent_cosine([[[1.0, 0.0]], [[0.0, 2.0]], [[3.0, 0.0]]])
        0.3333333333333333
    """
    rows_ND = _flat(latents_NMZ)
    norms_N = np.linalg.norm(rows_ND, axis=1)
    number = len(rows_ND)
    if number < 2 or not norms_N.all():
        return math.nan
    total_D = (rows_ND / norms_N[:, None]).sum(0)
    return float((total_D @ total_D - number) / (number * (number - 1)))


def first_component_share(latents_NMZ: ArrayLike) -> float:
    """The share of the latents' variance over rows that lies along one direction; in (0, 1].

    1 where rows differ in one number alone. NaN for one row, or where all rows are the same.

    Example:
        >>> first_component_share([[[1.0, 0.0]], [[-1.0, 0.0]], [[0.0, 1.0]], [[0.0, -1.0]]])
        0.5
    """
    rows_ND = _flat(latents_NMZ)
    centred_ND = rows_ND - rows_ND.mean(0)
    scale = np.abs(rows_ND).max(initial=0.0)
    if np.abs(centred_ND).max(initial=0.0) <= 1e-12 * scale:  # rounding of the mean
        return math.nan
    variances = np.linalg.svd(centred_ND, compute_uv=False) ** 2
    return float(variances[0] / variances.sum())


def _flat(latents_NMZ: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(latents_NMZ, dtype=np.float64)
    if values.ndim != 3 or not len(values):
        raise ValueError(f"latents must be (N, M, Z) with at least one row, got {values.shape}")
    return values.reshape(len(values), -1)
