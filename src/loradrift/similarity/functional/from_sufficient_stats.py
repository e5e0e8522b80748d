"""CKA, Procrustes and canonical correlations from moments alone, for streams of rows."""

# Shape suffixes: D and E representation widths, K directions kept.

import math
from typing import NamedTuple

import numpy as np

from loradrift.similarity.functional.cca import KEPT
from loradrift.similarity.functional.gram import BAND, Floats, Hsic, ratios
from loradrift.similarity.functional.sufficient_stats import Cross, SufficientStats, centred


def cka_of_moments(total: SufficientStats) -> Hsic:
    """Debiased and biased CKA of all rows; NaN where a side has no variance.

    >>> x = [np.random.default_rng(0).normal(size=(20, 3))]
    >>> [round(value, 5) for value in cka_of_moments(moments(x, x))]
    [1.0, 1.0]
    """
    return ratios(_hsic(total.xy, own=False), _hsic(total.xx, own=True), _hsic(total.yy, own=True))


def _hsic(c: Cross, *, own: bool) -> Hsic:
    """Both estimates of the centred rows, by multiplying out: no centred product is formed."""
    n, x, y = c.n, c.x, c.y
    square = between = 0.0
    for start in range(0, len(x), BAND):  # not all at once: float64 of it all is fresh memory
        band = slice(start, start + BAND)
        xy: Floats = c.xy[band].astype(np.float64, copy=False)
        square += float(np.vdot(xy, xy))
        between += float(x[band] @ xy @ y)
    if own:  # only the upper triangle is there
        diagonal = c.xy.diagonal().astype(np.float64)
        square = 2 * square - float(diagonal @ diagonal)
        between = 2 * between - float(diagonal @ (x * y))
    x2, y2 = x @ x, y @ y
    biased = square - 2 * between / n + x2 * y2 / n**2
    p, q = c.p - x2 / n, c.q - y2 / n
    pq = c.pq - 2 * (c.py @ y + c.qx @ x) / n + 4 * between / n**2
    pq += (y2 * c.p + x2 * c.q) / n**2 - 3 * x2 * y2 / n**3
    # Without its diagonal, each row of a Gram of centred rows sums to minus the squared norm.
    corrections = p * q / ((n - 1) * (n - 2)) - 2 / (n - 2) * pq
    return Hsic(float(biased - pq + corrections), float(biased))


def procrustes_of_moments(total: SufficientStats) -> float:
    """:func:`~loradrift.similarity.functional.procrustes.procrustes` of all rows.

    It subtracts from 2: distances below 1e-7 are lost.

    >>> x = [np.random.default_rng(0).normal(size=(20, 3))]
    >>> procrustes_of_moments(moments(x, x)) < 1e-6
    True
    """
    *_, c = centred(total)
    if not (c.p > 0 and c.q > 0):
        return math.nan
    nuclear = np.linalg.svd(c.xy, compute_uv=False).sum() / math.sqrt(c.p * c.q)
    return math.sqrt(max(0.0, 2 - 2 * nuclear))


def svcca_of_moments(total: SufficientStats) -> float:
    """:func:`~loradrift.similarity.functional.cca.svcca` of all rows.

    >>> x = [np.random.default_rng(0).normal(size=(20, 3))]
    >>> round(svcca_of_moments(moments(x, x)), 5)
    1.0
    """
    xx, yy, xy = centred(total)
    pair = _Axes.of(xx, KEPT), _Axes.of(yy, KEPT)
    if not all(len(axes.lengths_K) for axes in pair):
        return math.nan
    product_KK = _correlate(*pair, xy)
    return float(np.linalg.svd(product_KK, compute_uv=False).clip(0, 1).mean())


def pwcca_of_moments(total: SufficientStats) -> float:
    """:func:`~loradrift.similarity.functional.cca.pwcca` of all rows.

    >>> x = [np.random.default_rng(0).normal(size=(20, 3))]
    >>> round(pwcca_of_moments(moments(x, x)), 5)
    1.0
    """
    xx, yy, xy = centred(total)
    pair = x_axes, y_axes = _Axes.of(xx, 1.0), _Axes.of(yy, 1.0)
    if not all(len(axes.lengths_K) for axes in pair):
        return math.nan
    rotation, correlations_K, _ = np.linalg.svd(_correlate(*pair, xy))
    num = min(len(x_axes.lengths_K), len(y_axes.lengths_K))
    # What each canonical direction has in common with each column of x.
    shares_KD = rotation[:, :num].T @ (x_axes.lengths_K[:, None] * x_axes.columns_DK.T)
    weights_K = np.abs(shares_KD).sum(1)
    return float(weights_K @ correlations_K[:num].clip(0, 1) / weights_K.sum())


class _Axes(NamedTuple):
    """Right singular vectors and singular values of a centred side."""

    columns_DK: Floats
    lengths_K: Floats

    @classmethod
    def of(cls, c: Cross, kept: float) -> "_Axes":
        squares_D, vectors_DD = np.linalg.eigh(c.xy)
        squares_D, vectors_DD = squares_D[::-1], vectors_DD[:, ::-1]
        smallest = squares_D[0] * (len(squares_D) * np.finfo(np.float32).eps) ** 2
        rank = int((squares_D > max(smallest, 0)).sum())
        shares_K = np.cumsum(squares_D[:rank]) / squares_D[:rank].sum()
        num_kept = min(rank, int(np.searchsorted(shares_K, kept - 1e-12)) + 1)
        return cls(vectors_DD[:, :num_kept], np.sqrt(squares_D[:num_kept]))


def _correlate(x: _Axes, y: _Axes, c: Cross) -> Floats:
    product_KK: Floats = x.columns_DK.T @ c.xy @ y.columns_DK
    return product_KK / np.outer(x.lengths_K, y.lengths_K)
