"""CKA with a Gaussian kernel as wide as the data (Kornblith et al. 2019, arXiv:1905.00414)."""

# Shape suffixes: N examples, D and E representation widths.

import numpy as np
from torch import Tensor

from loradrift.similarity.functional.gram import Gram, Hsic, cka_distance_of_grams, cka_of_grams
from loradrift.similarity.functional.inputs import Array, centre, matrices


def cka_rbf(x_ND: Tensor, y_NE: Tensor) -> float:
    """Debiased CKA of ``exp(-|x_i - x_j|^2 / (2 s^2))``, at most 1.

    ``s^2`` is the median of the squared distances over pairs i < j, for each side by itself.
    Unchanged by rotation, translation and uniform scaling of either side. NaN also if more than
    half of a side's pairs are equal.

    >>> x = torch.randn(50, 8)
    >>> round(cka_rbf(x, 3 * x + 1), 5)
    1.0
    """
    return _cka(x_ND, y_NE).debiased


def cka_rbf_biased(x_ND: Tensor, y_NE: Tensor) -> float:
    """The biased form of :func:`cka_rbf`, in [0, 1].

    >>> x, noise = torch.randn(2, 20, 500, generator=torch.Generator().manual_seed(0))
    >>> cka_rbf(x, noise) < cka_rbf_biased(x, noise)
    True
    """
    return _cka(x_ND, y_NE).biased


def cka_rbf_distance(x_ND: Tensor, y_NE: Tensor) -> float:
    """``1 - cka_rbf`` without cancellation.

    >>> x = torch.randn(50, 8)
    >>> cka_rbf_distance(x, x)
    0.0
    """
    k, m = map(rbf_gram, matrices(x_ND, y_NE))
    return cka_distance_of_grams(k, m).debiased


def _cka(x_ND: Tensor, y_NE: Tensor) -> Hsic:
    x, y = matrices(x_ND, y_NE)
    return cka_of_grams(rbf_gram(x), rbf_gram(y))


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
