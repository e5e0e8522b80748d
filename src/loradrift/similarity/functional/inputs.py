"""What every measure asks of its two matrices, and how it centres them."""

# Shape suffixes: N examples, D and E representation widths.

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]
"""float32 or float64."""

MASSIVE = 100.0
"""A row whose squared norm is this many times the median one leaves float32 products too few digits
for the others: what debiasing takes away of it is larger than what is left."""

FEW = 64
"""Rows; products of fewer are float64, and cost little."""

BLOCK = 16
"""Rows centred together."""

SMALLEST, LARGEST = 1e-8, 1e8
"""Squared norms whose squares float32 still adds up without loss."""

MIN_ROWS = 4
"""The unbiased HSIC divides by N - 3."""


def matrices(x_ND: Tensor, y_NE: Tensor, min_rows: int = MIN_ROWS) -> tuple[Array, Array]:
    """Both sides as arrays on the CPU; ValueError unless they are aligned, finite matrices.

    >>> x, y = matrices(torch.ones(4, 2).bfloat16(), torch.ones(4, 3))
    >>> x.dtype, y.shape
    (dtype('float32'), (4, 3))
    """
    check_aligned(x_ND, y_NE)
    return refuse_infinite(matrix(x_ND, min_rows)), refuse_infinite(matrix(y_NE, min_rows))


def check_aligned(x_ND: Tensor, y_NE: Tensor) -> None:
    """Raise ValueError for anything but two matrices with equally many rows.

    >>> check_aligned(torch.ones(4, 2), torch.ones(4, 3))
    """
    if x_ND.ndim != 2 or y_NE.ndim != 2 or len(x_ND) != len(y_NE):
        shapes = f"{tuple(x_ND.shape)} and {tuple(y_NE.shape)}"
        raise ValueError(f"expected two matrices with one row per example, got shapes {shapes}")


def matrix(x_ND: Tensor, min_rows: int = MIN_ROWS) -> Array:
    """One side as an array on the CPU; ValueError if it has too few rows or no columns.

    >>> matrix(torch.ones(4, 2)).shape
    (4, 2)
    """
    shape = tuple(x_ND.shape)
    if len(shape) != 2 or shape[0] < min_rows or not shape[1]:
        wanted = f"a matrix with at least {min_rows} rows and a column"
        raise ValueError(f"expected {wanted}, got shape {shape}")
    return float_array(x_ND)


def refuse_infinite(x_ND: Array) -> Array:
    """Return the same array if all its values are finite, else raise ValueError.

    >>> refuse_infinite(np.ones(2))
    array([1., 1.])
    """
    # A finite sum has finite terms, and is ten times cheaper than asking each.
    with np.errstate(over="ignore", invalid="ignore"):
        suspicious = not np.isfinite(x_ND.sum())
    if suspicious and not np.isfinite(x_ND).all():
        raise ValueError("expected finite values, got NaN or infinity")
    return x_ND


def float_array(x_ND: Tensor) -> Array:
    """A tensor as an array on the CPU; float16 and bfloat16 become float32.

    >>> float_array(torch.ones(2).half())
    array([1., 1.], dtype=float32)
    """
    if not isinstance(x_ND, Tensor):
        raise ValueError(f"expected a torch.Tensor, got {type(x_ND).__name__}")
    x_ND = x_ND.detach().cpu()
    array: Array = (x_ND if x_ND.dtype is torch.float64 else x_ND.float()).numpy()
    return array


def has_massive_rows(square_norms_N: NDArray[np.float64]) -> bool:
    """Whether some rows may dwarf the others, so that products have to be float64.

    Among few rows a massive one moves the mean so far that all are far from it: they cannot tell.

    >>> has_massive_rows(np.ones(100)), has_massive_rows(np.append(np.ones(99), 1e6))
    (False, True)
    """
    few = len(square_norms_N) < FEW
    return few or bool(square_norms_N.max() > MASSIVE * np.median(square_norms_N))


class Shifted(NamedTuple):
    """Rows minus their rounded column means, up to a common power of two."""

    rows_ND: Array
    rest_D: NDArray[np.float64]
    """What is left of the column means: below the rounding of the means themselves."""

    square_norms_N: NDArray[np.float64]


def shifted(x_ND: Array) -> Shifted:
    """Take the rounded column means away; same dtype, C order. ValueError if one is not finite.

    The means are float64, and what their rounding leaves is kept, so that columns whose mean is
    thousands of times their spread lose no digit. Values whose products could overflow or vanish
    are divided by a power of two: every measure that centres ignores scale. A column of equal
    values becomes exactly zero.

    >>> shifted(np.array([[1.0, 7.0], [3.0, 7.0]])).rows_ND
    array([[-1.,  0.],
           [ 1.,  0.]])
    """
    with np.errstate(over="ignore", invalid="ignore"):  # is seen below
        mean_D = x_ND.mean(axis=0, dtype=np.float64)
        if not np.isfinite(mean_D).all():
            return shifted(refuse_infinite(x_ND) * x_ND.dtype.type(2.0**-64))
        if x_ND.dtype == np.float64:
            # Rounded, unlike a float64 sum of equal float32 numbers, which is exact.
            mean_D = np.where(x_ND.min(axis=0) == x_ND.max(axis=0), x_ND[0], mean_D)
        shift_D = mean_D.astype(x_ND.dtype)
        rest_D = mean_D - shift_D
        rows_ND, norms_N = np.empty(x_ND.shape, x_ND.dtype), np.empty(len(x_ND))
        for start in range(0, len(x_ND), BLOCK):  # a few rows at a time stay in the cache
            block = slice(start, start + BLOCK)
            np.subtract(x_ND[block], shift_D, out=rows_ND[block])
            wide_BD = rows_ND[block].astype(np.float64)
            np.vecdot(wide_BD, wide_BD, out=norms_N[block])
    largest = norms_N.max()
    if not np.isfinite(largest):
        return shifted(x_ND * x_ND.dtype.type(2.0**-64))
    if largest and not SMALLEST < largest < LARGEST:
        scale = 2.0 ** -np.floor(np.log2(largest) / 2)
        rows_ND *= x_ND.dtype.type(scale)
        rest_D, norms_N = rest_D * scale, norms_N * scale**2
    return Shifted(rows_ND, rest_D, norms_N)


def centre(x_ND: Array) -> Array:
    """Rows without their column means, up to a power of two; see :func:`shifted`.

    >>> centre(np.array([[1.0], [3.0]]))
    array([[-1.],
           [ 1.]])
    """
    rows_ND, rest_D, _ = shifted(x_ND)
    rows_ND -= rest_D.astype(rows_ND.dtype)
    return rows_ND
