"""Centred kernel alignment (CKA), debiased and biased, and its distance without cancellation.

Linear CKA and CKA with a Gaussian kernel: Kornblith et al. 2019 (arXiv:1905.00414), eq. 1-3. The
debiased value replaces HSIC by its unbiased estimate (Song et al. 2012, JMLR 13, eq. 5). It is 0 on
average for independent sides where the biased one is 0.89 at N=256, D=2048, and may be negative.
"""

# Shape suffixes: N examples, D and E representation widths.

import numpy as np
from torch import Tensor

from loradrift.similarity.functional.from_sufficient_stats import cka_of_moments
from loradrift.similarity.functional.gram import (
    Gram,
    Hsic,
    cka_distance_of_grams,
    cka_of_grams,
    linear_gram,
)
from loradrift.similarity.functional.inputs import Array, centre, check_aligned, matrices, matrix
from loradrift.similarity.functional.sufficient_stats import SufficientStats, moments

TALL = 3
"""So many times more rows than columns, and sums over rows cost less than a Gram."""


def cka(x_ND: Tensor, y_NE: Tensor) -> float:
    """Debiased linear CKA, at most 1; around 0, and then also below it, if there is no relation.

    Unchanged by rotation, translation and uniform scaling of either side; changed by any other
    linear map.

    >>> x, noise = torch.randn(2, 100, 8, generator=torch.Generator().manual_seed(0))
    >>> round(cka(x, 3 * x + 1), 5), abs(cka(x, noise)) < 0.1
    (1.0, True)
    """
    return _cka(x_ND, y_NE).debiased


def cka_biased(x_ND: Tensor, y_NE: Tensor) -> float:
    """Linear CKA as first published, in [0, 1]; near 1 for any two sides with N below D and E.

    >>> x, noise = torch.randn(2, 20, 500, generator=torch.Generator().manual_seed(0))
    >>> cka_biased(x, noise) > 0.9
    True
    """
    return _cka(x_ND, y_NE).biased


def cka_distance(x_ND: Tensor, y_NE: Tensor) -> float:
    """``1 - cka``, right where the subtraction would lose its digits.

    >>> x, noise = torch.randn(2, 20, 500, generator=torch.Generator().manual_seed(0))
    >>> 0 < cka_distance(x, x + 1e-5 * noise) < 1e-9
    True
    """
    return _cka_distance(x_ND, y_NE).debiased


def cka_biased_distance(x_ND: Tensor, y_NE: Tensor) -> float:
    """``1 - cka_biased``, right where the subtraction would lose its digits.

    >>> x = torch.randn(20, 500)
    >>> cka_biased_distance(x, x)
    0.0
    """
    return _cka_distance(x_ND, y_NE).biased


def _cka(x_ND: Tensor, y_NE: Tensor) -> Hsic:
    check_aligned(x_ND, y_NE)
    if _is_tall(x_ND, y_NE):
        return cka_of_moments(_centred_moments(matrix(x_ND), matrix(y_NE)))
    return cka_of_grams(linear_gram(x_ND), linear_gram(y_NE))


def _cka_distance(x_ND: Tensor, y_NE: Tensor) -> Hsic:
    check_aligned(x_ND, y_NE)
    if _is_tall(x_ND, y_NE):
        # In float64 the subtraction keeps what a float32 distance would.
        x, y = (matrix(side).astype(np.float64) for side in (x_ND, y_NE))
        debiased, biased = cka_of_moments(_centred_moments(x, y))
        return Hsic(1 - debiased, 1 - biased)
    return cka_distance_of_grams(linear_gram(x_ND), linear_gram(y_NE))


def _is_tall(x_ND: Tensor, y_NE: Tensor) -> bool:
    return len(x_ND) > TALL * max(x_ND.shape[-1], y_NE.shape[-1])


def _centred_moments(x_ND: Array, y_NE: Array) -> SufficientStats:
    x_ND, y_NE = centre(x_ND), centre(y_NE)
    return moments([x_ND], [y_NE], (np.zeros(x_ND.shape[1]), np.zeros(y_NE.shape[1])))


def cka_rbf(x_ND: Tensor, y_NE: Tensor) -> float:
    """Debiased CKA of ``exp(-|x_i - x_j|^2 / (2 s^2))``, at most 1.

    ``s^2`` is the median of the squared distances over pairs i < j, for each side by itself.
    Unchanged by rotation, translation and uniform scaling of either side. NaN also if more than
    half of a side's pairs are equal.

    >>> x = torch.randn(50, 8)
    >>> round(cka_rbf(x, 3 * x + 1), 5)
    1.0
    """
    return cka_of_grams(*map(rbf_gram, matrices(x_ND, y_NE))).debiased


def cka_rbf_distance(x_ND: Tensor, y_NE: Tensor) -> float:
    """``1 - cka_rbf`` without cancellation.

    >>> x = torch.randn(50, 8)
    >>> cka_rbf_distance(x, x)
    0.0
    """
    return cka_distance_of_grams(*map(rbf_gram, matrices(x_ND, y_NE))).debiased


def rbf_gram(x_ND: Array) -> Gram:
    """The Gaussian kernel matrix, in float64; NaN where the median distance is zero.

    >>> gram = rbf_gram(np.array([[0.0], [0.0], [1.0], [1.0]]))
    >>> gram.upper_NN[0].round(3)
    array([0.   , 1.   , 0.607, 0.607])
    """
    x_ND = centre(x_ND).astype(np.float64)
    product_NN = x_ND @ x_ND.T
    norms_N = product_NN.diagonal()
    distances_NN = np.maximum(norms_N[:, None] + norms_N - 2 * product_NN, 0)
    median = np.median(distances_NN[np.triu_indices(len(x_ND), 1)])
    with np.errstate(invalid="ignore", divide="ignore"):
        kernel_NN = np.exp(distances_NN / (-2 * median))
    np.fill_diagonal(kernel_NN, 0)
    ones_N = np.ones(len(x_ND)) if median else np.full(len(x_ND), np.nan)
    return Gram(np.triu(kernel_NN), ones_N, kernel_NN.sum(1))
