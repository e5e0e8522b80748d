"""Gram matrices of one side's rows, and HSIC between two of them: what CKA is made of.

HSIC is estimated without bias (Song et al. 2012, JMLR 13, eq. 5), as the inner product of U-centred
Grams (Székely & Rizzo 2014, arXiv:1310.2926, def. 2), and with it, as first published.
"""

# Shape suffixes: N examples, D and E representation widths, L layers.

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas
from torch import Tensor

from loradrift.similarity.functional.inputs import Array, has_massive_rows, matrix, shifted

Floats = NDArray[np.float64]

BAND = 128
"""Rows of a Gram that are multiplied together; what lies below their diagonal is left out."""

GRID_BAND = 16
"""The same where all layers are multiplied at once: float32 adds up few terms before float64."""


class Hsic(NamedTuple):
    """Both estimates of the Hilbert-Schmidt independence criterion, up to a factor of N alone."""

    debiased: float
    biased: float


@dataclass(frozen=True)
class Gram:
    """Inner products of one side's rows, and the sums that centre them. Made once per layer."""

    upper_NN: Array
    """The elements above the diagonal; zero on and below it."""

    diagonal_N: Floats
    off_diagonal_sums_N: Floats
    """Sum of each row without its diagonal element."""

    @property
    def num_rows(self) -> int:
        """N."""
        return len(self.upper_NN)

    @cached_property
    def own(self) -> Hsic:
        """HSIC with itself: the squared norm."""
        return hsic(self, self)


def linear_gram(x_ND: Tensor) -> Gram:
    """Gram of the centred rows. One symmetric product in the dtype of ``x``; sums in float64.

    >>> linear_gram(torch.tensor([[1.0], [2], [3], [6]])).diagonal_N
    array([4., 1., 0., 9.])
    """
    [gram] = linear_grams([x_ND])
    return gram


def linear_grams(sides: Sequence[Tensor]) -> list[Gram]:
    """Grams of several layers of the same rows, all in one dtype; ValueError as for any measure.

    The columns are centred but for the rounding of their means, whose products with the rows are
    the sums of a Gram's rows: these need no pass over it, and correct what the rounding left.

    >>> [gram.num_rows for gram in linear_grams([torch.randn(5, 2), torch.randn(5, 3)])]
    [5, 5]
    """
    arrays = [matrix(side) for side in sides]
    n, dtype = len(arrays[0]), np.result_type(*arrays)
    syrk = blas.ssyrk if dtype == np.float32 else blas.dsyrk
    grams = []
    for array_ND in arrays:
        x_ND, rest_D, norms_N = shifted(array_ND.astype(dtype, copy=False))
        if dtype == np.float32 and has_massive_rows(norms_N):
            return linear_grams([side.double() for side in sides])
        # BLAS counts in columns: our rows' transpose is its matrix, and its lower triangle, which
        # it makes faster, our upper one.
        upper_NN = np.zeros((n, n), dtype)
        syrk(1.0, x_ND.T, trans=1, lower=1, c=upper_NN.T, overwrite_c=1)
        np.fill_diagonal(upper_NN, 0)
        sums_N = n * (x_ND @ rest_D.astype(dtype)).astype(np.float64)
        grams.append(Gram(upper_NN, norms_N, sums_N - norms_N))
    return grams


def hsic(k: Gram, m: Gram) -> Hsic:
    """Inner product of the U-centred Grams, and of the doubly centred ones.

    >>> gram = linear_gram(torch.randn(20, 3))
    >>> hsic(gram, gram) == gram.own
    True
    """
    below = 0.0
    for start in range(0, k.num_rows, BAND):
        band = slice(start, start + BAND), slice(start, None)
        below += float(np.vecdot(k.upper_NN[band], m.upper_NN[band]).sum(dtype=np.float64))
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


def cka_of_grams(k: Gram, m: Gram) -> Hsic:
    """Debiased and biased CKA of the same rows; NaN where a side has no variance.

    >>> gram = linear_gram(torch.randn(20, 3))
    >>> [round(value, 5) for value in cka_of_grams(gram, gram)]
    [1.0, 1.0]
    """
    return ratios(hsic(k, m), k.own, m.own)


def ratios(km: Hsic, kk: Hsic, mm: Hsic) -> Hsic:
    """``km / sqrt(kk mm)`` of both estimates.

    >>> ratios(Hsic(1.0, 2.0), Hsic(1.0, 4.0), Hsic(4.0, 4.0))
    Hsic(debiased=0.5, biased=0.5)
    """

    def ratio(cross: float, left: float, right: float) -> float:
        return cross / math.sqrt(left) / math.sqrt(right) if left > 0 and right > 0 else math.nan

    return Hsic(*map(ratio, km, kk, mm))


def cka_distance_of_grams(k: Gram, m: Gram) -> Hsic:
    """``1 - CKA``, as half the squared distance of the normalised centred Grams.

    Subtracting CKA from 1 loses all digits of a drift below float32's 6e-8; this keeps them.

    >>> gram = linear_gram(torch.randn(20, 3))
    >>> cka_distance_of_grams(gram, gram)
    Hsic(debiased=0.0, biased=0.0)
    """

    def distance(which: int) -> float:
        if not (k.own[which] > 0 and m.own[which] > 0):
            return math.nan
        a, b = k.own[which] ** -0.5, m.own[which] ** -0.5
        dtype = np.result_type(k.upper_NN, m.upper_NN).type
        upper_NN = k.upper_NN * dtype(a)
        upper_NN -= m.upper_NN * dtype(b)
        diagonal_N = a * k.diagonal_N - b * m.diagonal_N
        sums_N = a * k.off_diagonal_sums_N - b * m.off_diagonal_sums_N
        return Gram(upper_NN, diagonal_N, sums_N).own[which] / 2

    return Hsic(distance(0), distance(1))


def cka_grid(ks: Sequence[Gram], ms: Sequence[Gram]) -> Floats:
    """Debiased CKA (K, M) of each of ``ks`` with each of ``ms``, all of the same rows.

    One product over flattened Grams, a band of their rows at a time.

    >>> grams = linear_grams([torch.randn(20, 3) for _ in range(4)])
    >>> cka_grid(grams, grams[:2]).shape
    (4, 2)
    """
    grid_KM = np.zeros((len(ks), len(ms)))
    for start in range(0, ks[0].num_rows, GRID_BAND):
        band = slice(start, start + GRID_BAND), slice(start, None)
        left_KB, right_MB = (
            np.stack([gram.upper_NN[band].ravel() for gram in grams]) for grams in (ks, ms)
        )
        grid_KM += left_KB @ right_MB.T
    own = [np.sqrt([gram.own.debiased for gram in grams]) for grams in (ks, ms)]
    with np.errstate(invalid="ignore", divide="ignore"):  # without variance it is NaN
        for i, j in np.ndindex(grid_KM.shape):
            grid_KM[i, j] = _hsic(2 * float(grid_KM[i, j]), ks[i], ms[j]).debiased
        grid_KM /= np.outer(*own)
    return grid_KM
