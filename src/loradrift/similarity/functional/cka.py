"""Linear centred kernel alignment, debiased and biased, and its distance without cancellation.

CKA: Kornblith et al. 2019 (arXiv:1905.00414), eq. 1-3. The debiased value replaces HSIC by its
unbiased estimate (Song et al. 2012, JMLR 13, eq. 5), as the inner product of U-centred Grams
(Székely & Rizzo 2014, arXiv:1310.2926, def. 2). It is 0 on average for independent sides where the
biased one is 0.89 at N=256, D=2048, and may be negative.
"""

# Shape suffixes: N examples, D and E representation widths, L layers.

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas
from torch import Tensor

from loradrift.similarity.functional.inputs import Array, centre, matrices

Floats = NDArray[np.float64]

BAND = 2**16
"""Elements of all Grams that are multiplied together."""


class Gram(NamedTuple):
    """Inner products of one side's rows, and the sums that centre them. Made once per layer."""

    lower_NN: Array
    """Below the diagonal; zero on and above it."""

    diagonal_N: NDArray[np.float64]
    off_diagonal_sums_N: NDArray[np.float64]
    """Sum of each row without its diagonal element."""

    @property
    def num_rows(self) -> int:
        """N."""
        return len(self.lower_NN)


def linear_gram(x_ND: Array) -> Gram:
    """Gram of the centred rows. One symmetric product in the dtype of ``x``; sums in float64."""
    [gram] = linear_grams([x_ND])
    return gram


def linear_grams(sides: Sequence[Array]) -> list[Gram]:
    """Grams of several layers of the same rows, one after the other in memory.

    Centred columns make each row of a Gram sum to zero: the sums need no pass over it.
    """
    n, dtype = len(sides[0]), np.result_type(*sides)
    syrk = blas.ssyrk if dtype == np.float32 else blas.dsyrk
    lower_LNN = np.zeros((len(sides), n, n), dtype)
    grams = []
    for lower_NN, side_ND in zip(lower_LNN, sides, strict=True):
        x_ND, norms_N = centre(side_ND.astype(dtype, copy=False))
        # BLAS counts in columns: the transpose of our rows is what it calls a matrix.
        syrk(1.0, x_ND.T, trans=1, lower=0, c=lower_NN.T, overwrite_c=1)
        np.fill_diagonal(lower_NN, 0)
        grams.append(Gram(lower_NN, norms_N, -norms_N))
    return grams


class Hsic(NamedTuple):
    """Both estimates of the Hilbert-Schmidt independence criterion, up to a factor of N alone."""

    debiased: float
    biased: float


def hsic(k: Gram, m: Gram) -> Hsic:
    """Inner product of the U-centred Grams, and of the doubly centred ones."""
    below = float(np.vecdot(k.lower_NN, m.lower_NN).sum(dtype=np.float64))
    return _hsic(2 * below, k, m)


def _hsic(off_diagonal: float, k: Gram, m: Gram) -> Hsic:
    """Both estimates, given the inner product of the elements off the diagonal."""
    n = k.num_rows
    u, v = k.off_diagonal_sums_N, m.off_diagonal_sums_N
    p, q = u + k.diagonal_N, v + m.diagonal_N  # zero if the Gram is of centred rows
    debiased = off_diagonal - 2 / (n - 2) * (u @ v) + u.sum() * v.sum() / ((n - 1) * (n - 2))
    diagonal = k.diagonal_N @ m.diagonal_N
    biased = off_diagonal + diagonal - 2 / n * (p @ q) + p.sum() * q.sum() / n**2
    return Hsic(float(debiased), float(biased))


def cka_of_grams(k: Gram, m: Gram, kk: Hsic | None = None, mm: Hsic | None = None) -> Hsic:
    """Debiased and biased CKA; NaN where a side has no variance.

    Args:
        k: One side.
        m: The other side, of the same rows.
        kk: ``hsic(k, k)`` where it is known already.
        mm: Likewise.
    """
    return ratios(hsic(k, m), kk or hsic(k, k), mm or hsic(m, m))


def ratios(km: Hsic, kk: Hsic, mm: Hsic) -> Hsic:
    """``km / sqrt(kk mm)`` of both estimates."""

    def ratio(cross: float, left: float, right: float) -> float:
        return cross / math.sqrt(left) / math.sqrt(right) if left > 0 and right > 0 else math.nan

    return Hsic(*map(ratio, km, kk, mm))


def cka_distance_of_grams(k: Gram, m: Gram, kk: Hsic, mm: Hsic) -> Hsic:
    """``1 - CKA``, as half the squared distance of the normalised centred Grams.

    Subtracting CKA from 1 loses all digits of a drift below float32's 6e-8; this keeps them.
    """

    def distance(which: int) -> float:
        if not (kk[which] > 0 and mm[which] > 0):
            return math.nan
        a, b = 1 / math.sqrt(kk[which]), 1 / math.sqrt(mm[which])
        difference = _difference(k, m, a, b)
        return hsic(difference, difference)[which] / 2

    return Hsic(distance(0), distance(1))


def _difference(k: Gram, m: Gram, a: float, b: float) -> Gram:
    dtype = np.result_type(k.lower_NN, m.lower_NN).type
    lower_NN = k.lower_NN * dtype(a)
    lower_NN -= m.lower_NN * dtype(b)
    return Gram(
        lower_NN,
        a * k.diagonal_N - b * m.diagonal_N,
        a * k.off_diagonal_sums_N - b * m.off_diagonal_sums_N,
    )


def cka_grid(ks: Sequence[Gram], ms: Sequence[Gram]) -> Floats:
    """Debiased CKA (K, M) of each of ``ks`` with each of ``ms``, all of the same rows.

    One product over flattened Grams, a band of rows at a time: float32 adds up few terms before
    float64 does.

    Args:
        ks: Of one :func:`linear_grams`.
        ms: Likewise.
    """
    left, right = _flattened(ks), _flattened(ms)
    products_KM = np.zeros((len(ks), len(ms)))
    for start in range(0, left.shape[1], BAND):
        products_KM += left[:, start : start + BAND] @ right[:, start : start + BAND].T
    own = [np.sqrt([hsic(gram, gram).debiased for gram in grams]) for grams in (ks, ms)]
    with np.errstate(invalid="ignore", divide="ignore"):  # without variance it is NaN
        crosses_KM = np.array(
            [
                [_hsic(2 * products_KM[i, j], k, m).debiased for j, m in enumerate(ms)]
                for i, k in enumerate(ks)
            ]
        )
        grid_KM: Floats = crosses_KM / np.outer(*own)
    return grid_KM


def _flattened(grams: Sequence[Gram]) -> Array:
    """The Grams of one :func:`linear_grams` as rows of a matrix, without a copy."""
    block_LNN = grams[0].lower_NN.base
    assert block_LNN is not None and len(block_LNN) == len(grams)
    flat: Array = block_LNN.reshape(len(grams), -1)
    return flat


def cka(x_ND: Tensor, y_NE: Tensor) -> float:
    """Debiased linear CKA, at most 1; around 0, and then also below it, if there is no relation.

    Unchanged by rotation, translation and uniform scaling of either side; changed by any other
    linear map.

    Args:
        x_ND: Activations (N, D) of any floating dtype.
        y_NE: Activations (N, E), row-aligned.

    Returns:
        NaN if a side has no variance.

    Raises:
        ValueError: If the inputs are not aligned, finite matrices with at least 4 rows.
    """
    return _cka(x_ND, y_NE).debiased


def cka_biased(x_ND: Tensor, y_NE: Tensor) -> float:
    """Linear CKA as first published, in [0, 1]; near 1 for any two sides with N below D and E."""
    return _cka(x_ND, y_NE).biased


def cka_distance(x_ND: Tensor, y_NE: Tensor) -> float:
    """``1 - cka``, right where the subtraction would lose its digits."""
    return _cka_distance(x_ND, y_NE).debiased


def cka_biased_distance(x_ND: Tensor, y_NE: Tensor) -> float:
    """``1 - cka_biased``, right where the subtraction would lose its digits."""
    return _cka_distance(x_ND, y_NE).biased


def _cka(x_ND: Tensor, y_NE: Tensor) -> Hsic:
    x, y = matrices(x_ND, y_NE)
    return cka_of_grams(linear_gram(x), linear_gram(y))


def _cka_distance(x_ND: Tensor, y_NE: Tensor) -> Hsic:
    k, m = map(linear_gram, matrices(x_ND, y_NE))
    return cka_distance_of_grams(k, m, hsic(k, k), hsic(m, m))
