"""The products that sums over rows are made of, by BLAS, in place where there are some already."""

# Shape suffixes: N rows, D and E representation widths.

from collections.abc import Sequence

import numpy as np
from scipy.linalg import blas

from loradrift.similarity.functional.gram import Floats
from loradrift.similarity.functional.inputs import Array

SEGMENT = 64
"""Columns whose squares float32 adds up before float64 goes on."""


def square_norms(x_ND: Array) -> Floats:
    """The squared norm of each row, in float64.

    >>> square_norms(np.array([[3.0, 4.0]]))
    array([25.])
    """
    n, d = x_ND.shape
    whole = d // SEGMENT * SEGMENT
    segments = x_ND[:, :whole].reshape(n, -1, SEGMENT)
    norms_N: Floats = np.vecdot(segments, segments).sum(1, dtype=np.float64)
    norms_N += np.vecdot(x_ND[:, whole:], x_ND[:, whole:])
    return norms_N


def products_of(x_ND: Array, y_NE: Array, onto: Sequence[Array] | None = None) -> Sequence[Array]:
    """``x^T x`` and ``y^T y``, their upper triangles alone, and ``x^T y``.

    They are added to ``onto``, in place, if that is given.

    >>> products_of(np.ones((5, 1)), np.full((5, 1), 2.0))
    (array([[5.]]), array([[20.]]), array([[10.]]))
    """
    xx_DD, yy_EE, xy_DE = onto or (None, None, None)
    cross_DE = x_ND.T @ y_NE if xy_DE is None else _add_product(x_ND, y_NE, xy_DE)
    return _upper_product(x_ND, xx_DD), _upper_product(y_NE, yy_EE), cross_DE


def _upper_product(x_ND: Array, onto_DD: Array | None) -> Array:
    syrk = blas.ssyrk if x_ND.dtype == np.float32 else blas.dsyrk
    # BLAS counts in columns: its lower triangle is the upper one of our rows.
    if onto_DD is None:
        upper_DD: Array = syrk(1.0, x_ND.T, lower=1).T
        return upper_DD
    syrk(1.0, x_ND.T, lower=1, beta=1.0, c=onto_DD.T, overwrite_c=1)
    return onto_DD


def _add_product(x_ND: Array, y_NE: Array, onto_DE: Array) -> Array:
    gemm = blas.sgemm if onto_DE.dtype == np.float32 else blas.dgemm
    gemm(1.0, y_NE.T, x_ND.T, trans_b=1, beta=1.0, c=onto_DE.T, overwrite_c=1)
    return onto_DE
