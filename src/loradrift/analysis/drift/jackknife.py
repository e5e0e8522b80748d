"""Row jackknife: how much a statistic would change with other probe rows.

Resampling rows with repetition is wrong for CKA and every other function of pairs of rows: a row
and its copy are perfectly similar, and their pair inflates the value. Leaving rows out has no such
pairs (Efron & Stein 1981, doi:10.1214/aos/1176345462).

Debiased linear CKA needs no recomputation. The unbiased HSIC (Song et al. 2012, JMLR 13, eq. 5) is
made of three sums; without row i they are

    tr(KM)   - 2 r_i                                            r = (K * M) 1
    u'v      - u_i v_i - (K v)_i - (M u)_i + r_i                u = K 1, v = M 1
    1'K1 1'M1 with 1'K1 - 2 u_i, 1'M1 - 2 v_i                   (diagonals are zero)

so that all N values together cost a few passes over the Grams: O(N^2), not O(N^3).
"""

# Shape suffixes: N rows.

import numpy as np
from numpy.typing import ArrayLike

from loradrift.similarity.functional.gram import Gram
from loradrift.statistics.intervals import Variance
from loradrift.statistics.values import Array, finite


def jackknife_variance(replicates: ArrayLike) -> Variance:
    """Variance of a statistic from its values without each row.

    A function of several statistics (the drift reduction of mean drifts, say) is the same function
    of their replicates. A value that is not finite is a ValueError.
    """
    replicates_N = finite(replicates, "replicates")
    df = len(replicates_N) - 1
    return Variance(float(df * replicates_N.var()), df)


def cka_distance_replicates(k: Gram, m: Gram) -> Array:
    """``1 - cka`` (debiased) without each row in turn.

    As exact near zero as ``cka_distance``: only inner products with the difference D of the
    normalised Grams are formed. With p = <D, M>, q = <D, D>, and all norms without row i,

        1 - cka = (|M|^2 q - p^2) / (|K||M| (|K||M| + |M|^2 + p)),  |K|^2 = |M|^2 + 2 p + q.

    Returns:
        One value per row left out (N,); NaN where a side has no variance without it.

    Raises:
        ValueError: If the sides differ in their rows, or have fewer than 5: one more than the
            unbiased HSIC needs.
    """
    if k.num_rows != m.num_rows or k.num_rows < 5:
        counts = f"{k.num_rows} and {m.num_rows}"
        raise ValueError(f"k and m must have the same rows and at least 5, got {counts}")
    kk, mm = k.own.debiased, m.own.debiased
    if not (kk > 0 and mm > 0):
        return np.full(k.num_rows, np.nan)
    left, right = _scaled(k, kk**-0.5), _scaled(m, mm**-0.5)
    difference = Gram(
        left.upper_NN - right.upper_NN,
        left.diagonal_N - right.diagonal_N,
        left.off_diagonal_sums_N - right.off_diagonal_sums_N,
    )
    p, q = _hsic_without_each(difference, right), _hsic_without_each(difference, difference)
    m2 = _hsic_without_each(right, right)
    k2 = m2 + 2 * p + q
    with np.errstate(invalid="ignore", divide="ignore"):
        norms = np.sqrt(k2) * np.sqrt(m2)
        distance_N = (m2 * q - p**2) / (norms * (norms + m2 + p))
    return np.where((k2 > 0) & (m2 > 0), distance_N, np.nan)


def _scaled(gram: Gram, factor: float) -> Gram:
    upper_NN = factor * gram.upper_NN.astype(np.float64)
    return Gram(upper_NN, factor * gram.diagonal_N, factor * gram.off_diagonal_sums_N)


def _hsic_without_each(k: Gram, m: Gram) -> Array:
    """Debiased HSIC without each row, up to a factor of N alone."""
    n = k.num_rows - 1
    u, v = k.off_diagonal_sums_N, m.off_diagonal_sums_N
    products_NN = k.upper_NN * m.upper_NN
    r_N = products_NN.sum(axis=0) + products_NN.sum(axis=1)
    trace_N = r_N.sum() - 2 * r_N
    kv_N = k.upper_NN @ v + v @ k.upper_NN
    mu_N = m.upper_NN @ u + u @ m.upper_NN
    cross_N = u @ v - u * v - kv_N - mu_N + r_N
    totals_N = (u.sum() - 2 * u) * (v.sum() - 2 * v)
    without_N: Array = trace_N - 2 / (n - 2) * cross_N + totals_N / ((n - 1) * (n - 2))
    return without_N
