"""Mean cosine of corresponding rows, raw and after removing each side's column means."""

# Shape suffixes: N examples, D representation width.

import numpy as np
from torch import Tensor

from loradrift.similarity.functional.inputs import MIN_ROWS, Array, centre, matrices


def cosine(x_ND: Tensor, y_ND: Tensor) -> float:
    """Mean over rows of the cosine between a row of x and the same row of y, in [-1, 1].

    Read it next to :func:`cosine_floor`: in transformers any two rows have a high cosine. Columns
    are aligned as well: the sides are of equal width. NaN if a row is zero.

    >>> x = torch.randn(50, 8)
    >>> round(cosine(x, 3 * x), 5), round(cosine(x, -x), 5)
    (1.0, -1.0)
    """
    return float(np.vecdot(*_units(x_ND, y_ND)).mean())


def row_cosines(x_ND: Tensor, y_ND: Tensor) -> Array:
    """Cosine (N,) of each row of x with the same row of y, for any number of rows.

    >>> row_cosines(torch.tensor([[1.0, 0], [1, 1]]), torch.tensor([[0.0, 1], [2, 2]])).round(3)
    array([0., 1.])
    """
    cosines_N: Array = np.vecdot(*_units(x_ND, y_ND, min_rows=0))
    return cosines_N


def cosine_distance(x_ND: Tensor, y_ND: Tensor) -> float:
    """``1 - cosine`` without cancellation: half the mean squared distance of unit rows.

    >>> x = torch.randn(50, 8)
    >>> cosine_distance(x, x)
    0.0
    """
    return _half_square_distance(*_units(x_ND, y_ND))


def cosine_centered(x_ND: Tensor, y_ND: Tensor) -> float:
    """:func:`cosine` after each side's column means are removed: what tells rows apart.

    >>> x, noise = torch.randn(2, 100, 8, generator=torch.Generator().manual_seed(0))
    >>> abs(cosine_centered(x + 9, noise + 9)) < 0.1 < cosine(x + 9, noise + 9)
    True
    """
    return float(np.vecdot(*_units(x_ND, y_ND, centred=True)).mean())


def cosine_centered_distance(x_ND: Tensor, y_ND: Tensor) -> float:
    """``1 - cosine_centered`` without cancellation.

    >>> x = torch.randn(50, 8)
    >>> cosine_centered_distance(x, x)
    0.0
    """
    return _half_square_distance(*_units(x_ND, y_ND, centred=True))


def cosine_floor(x_ND: Tensor, y_ND: Tensor) -> float:
    """Mean cosine of rows that do not belong together: what :func:`cosine` is worth by itself.

    >>> x = torch.randn(100, 8, generator=torch.Generator().manual_seed(0))
    >>> abs(cosine_floor(x, x)) < 0.1, cosine_floor(x + 9, x + 9) > 0.9
    (True, True)
    """
    left_ND, right_ND = _units(x_ND, y_ND)
    n = len(left_ND)
    together = left_ND.sum(0) @ right_ND.sum(0) - np.vdot(left_ND, right_ND)
    return float(together / (n * (n - 1)))


def _units(
    x_ND: Tensor, y_ND: Tensor, *, centred: bool = False, min_rows: int = MIN_ROWS
) -> tuple[Array, Array]:
    """Both sides, of equal width, with rows of length 1."""
    x, y = matrices(x_ND, y_ND, min_rows)
    if x.shape[1] != y.shape[1]:
        name = "cosine_centered" if centred else "cosine"
        raise ValueError(
            f"{name} compares coordinate by coordinate and needs equal widths, got "
            f"{x.shape[1]} and {y.shape[1]}"
        )
    if centred:
        x, y = centre(x), centre(y)
    return unit_rows(x), unit_rows(y)


def unit_rows(x_ND: Array) -> Array:
    """Rows of length 1 in float64; NaN where a row is zero.

    >>> unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]]))
    array([[0.6, 0.8],
           [nan, nan]])
    """
    x_ND = x_ND.astype(np.float64)
    largest_N1 = np.abs(x_ND).max(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN that is wanted
        x_ND /= largest_N1  # so that no square overflows
        unit_ND: Array = x_ND / np.sqrt(np.vecdot(x_ND, x_ND))[:, None]
    return unit_ND


def _half_square_distance(x_ND: Array, y_ND: Array) -> float:
    difference_ND = x_ND - y_ND
    return float(np.vecdot(difference_ND, difference_ND).mean() / 2)
