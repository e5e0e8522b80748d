"""The published formulas, word for word, slow and in float64: what the measures are held against.

Nothing here is shared with :mod:`loradrift.similarity.functional`: other algorithms (explicit
centring matrices, eigenvectors, loops over rows), so that a fault would have to be made twice.
"""

# Shape suffixes: N examples, D and E representation widths.

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, spatial, stats
from torch import Tensor

Floats = NDArray[np.float64]
Formula = Callable[[Floats, Floats], float]


def _cka(x_ND: Floats, y_NE: Floats) -> float:
    """Song et al. 2012, eq. 5, on raw Grams, in the normalisation of CKA."""

    def hsic(k_NN: Floats, l_NN: Floats) -> float:
        n, ones = len(k_NN), np.ones(len(k_NN))
        k_NN, l_NN = k_NN - np.diag(np.diag(k_NN)), l_NN - np.diag(np.diag(l_NN))
        total = np.trace(k_NN @ l_NN)
        total += (ones @ k_NN @ ones) * (ones @ l_NN @ ones) / ((n - 1) * (n - 2))
        total -= 2 / (n - 2) * (ones @ k_NN @ l_NN @ ones)
        return float(total / (n * (n - 3)))

    return _normalised(hsic, _exact_gram(x_ND), _exact_gram(y_NE))


def _cka_biased(x_ND: Floats, y_NE: Floats) -> float:
    """Kornblith et al. 2019, eq. 1-3."""
    return _normalised(_biased_hsic, _exact_gram(x_ND), _exact_gram(y_NE))


def _cka_rbf(x_ND: Floats, y_NE: Floats) -> float:
    """The U-centred inner product (Székely & Rizzo 2014, def. 2) of two Gaussian kernels."""

    def kernel(z_ND: Floats) -> Floats:
        distances_P = spatial.distance.pdist(z_ND, "sqeuclidean")
        squares_NN = spatial.distance.squareform(distances_P)
        return np.asarray(np.exp(-squares_NN / (2 * np.median(distances_P))))

    def u_centred_product(k_NN: Floats, l_NN: Floats) -> float:
        n = len(k_NN)

        def u_centred(a_NN: Floats) -> Floats:
            a_NN = a_NN.copy()
            np.fill_diagonal(a_NN, 0)
            rows, columns = a_NN.sum(1, keepdims=True), a_NN.sum(0, keepdims=True)
            a_NN = a_NN - rows / (n - 2) - columns / (n - 2) + rows.sum() / ((n - 1) * (n - 2))
            np.fill_diagonal(a_NN, 0)
            return a_NN

        return float((u_centred(k_NN) * u_centred(l_NN)).sum())

    return _normalised(u_centred_product, kernel(x_ND), kernel(y_NE))


def _cosine(x_ND: Floats, y_ND: Floats) -> float:
    """Row by row."""
    rows = zip(x_ND, y_ND, strict=True)
    return float(np.mean([1 - spatial.distance.cosine(x, y) for x, y in rows]))


def _cosine_centered(x_ND: Floats, y_ND: Floats) -> float:
    """Row by row, after the column means are removed."""
    return _cosine(x_ND - x_ND.mean(0), y_ND - y_ND.mean(0))


def _procrustes(x_ND: Floats, y_NE: Floats) -> float:
    """``sqrt(2 - 2 |A^T B|_*)``."""
    a_ND, b_NE = x_ND - x_ND.mean(0), y_NE - y_NE.mean(0)
    a_ND, b_NE = a_ND / np.linalg.norm(a_ND), b_NE / np.linalg.norm(b_NE)
    nuclear = np.linalg.svd(a_ND.T @ b_NE, compute_uv=False).sum()
    return float(np.sqrt(max(0.0, 2 - 2 * nuclear)))


def _svcca(x_ND: Floats, y_NE: Floats) -> float:
    """Principal angles (scipy) between the eigenvectors that hold 99 % of the variance."""
    angles = linalg.subspace_angles(_eigenvectors(x_ND, 0.99), _eigenvectors(y_NE, 0.99))
    return float(np.cos(angles).mean())


def _pwcca(x_ND: Floats, y_NE: Floats) -> float:
    """Morcos et al. 2018, eq. 1 and section 2.1, with canonical directions from projections."""
    a_ND = x_ND - x_ND.mean(0)
    p_NK, q_NK = _eigenvectors(x_ND, 1.0), _eigenvectors(y_NE, 1.0)
    within = p_NK @ p_NK.T @ q_NK @ q_NK.T @ p_NK @ p_NK.T
    squares_N, directions_NN = np.linalg.eigh(within)
    num = min(p_NK.shape[1], q_NK.shape[1])
    directions_NK = directions_NN[:, ::-1][:, :num]
    weights_K = np.abs(directions_NK.T @ a_ND).sum(1)
    correlations_K = np.sqrt(squares_N[::-1][:num].clip(0, 1))
    return float(weights_K @ correlations_K / weights_K.sum())


def _knn(x_ND: Floats, y_NE: Floats) -> float:
    """Ten nearest by cosine, one row at a time."""

    def nearest(z_ND: Floats) -> list[set[int]]:
        distances_NN = spatial.distance.cdist(z_ND, z_ND, "cosine")
        np.fill_diagonal(distances_NN, np.inf)
        return [set(row.argsort(kind="stable")[:10].tolist()) for row in distances_NN]

    pairs = zip(nearest(x_ND), nearest(y_NE), strict=True)
    return float(np.mean([len(left & right) / 10 for left, right in pairs]))


def _rsa(x_ND: Floats, y_NE: Floats) -> float:
    """Spearman's correlation (scipy) of the correlation distances."""
    left, right = (spatial.distance.pdist(side, "correlation") for side in (x_ND, y_NE))
    return float(stats.spearmanr(left, right).statistic)


REFERENCES: dict[str, Formula] = {
    "cka": _cka, "cka_biased": _cka_biased, "cka_rbf": _cka_rbf, "cosine": _cosine,
    "cosine_centered": _cosine_centered, "procrustes": _procrustes, "svcca": _svcca,
    "pwcca": _pwcca, "knn": _knn, "rsa": _rsa,
}  # fmt: skip
"""Measure -> its published formula."""


def reference(name: str, x_ND: Tensor, y_NE: Tensor) -> float:
    """The formula of a measure, on the same numbers in float64.

    >>> x = torch.randn(20, 3)
    >>> round(reference("cka", x, 3 * x + 1), 5)
    1.0
    """
    return REFERENCES[name](x_ND.double().numpy(), y_NE.double().numpy())


def _exact_gram(x_ND: Floats) -> Floats:
    # Centring first changes neither estimate and keeps float64's digits for large means.
    a_ND = x_ND - x_ND.mean(0)
    gram_NN: Floats = a_ND @ a_ND.T
    return gram_NN


def _biased_hsic(k_NN: Floats, l_NN: Floats) -> float:
    h_NN = np.eye(len(k_NN)) - 1 / len(k_NN)
    return float(np.trace(k_NN @ h_NN @ l_NN @ h_NN) / (len(k_NN) - 1) ** 2)


def _normalised(hsic: Callable[[Floats, Floats], float], k_NN: Floats, l_NN: Floats) -> float:
    return hsic(k_NN, l_NN) / float(np.sqrt(hsic(k_NN, k_NN) * hsic(l_NN, l_NN)))


def _eigenvectors(x_ND: Floats, kept: float) -> Floats:
    """The Gram's, by descending eigenvalue, as many as hold ``kept`` of their sum."""
    values_N, vectors_NN = np.linalg.eigh(_exact_gram(x_ND))
    values_N, vectors_NN = values_N[::-1], vectors_NN[:, ::-1]
    rank = int((values_N > values_N[0] * 1e-9).sum())
    num = int((np.cumsum(values_N[:rank]) < kept * values_N[:rank].sum() * (1 - 1e-12)).sum()) + 1
    return vectors_NN[:, : min(rank, num)]
