"""Sums over rows that suffice for linear CKA: batch by batch, process by process, exact.

All sums are about a shift near the rows' mean, because products of columns whose mean is thousands
of times their spread would keep little of the spread. :func:`moved` changes the shift by
multiplying out (as Chan et al. 1979 do for variances); merging and centring are both that.
"""

# Shape suffixes: N examples, D and E representation widths.

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from loradrift.similarity.functional.gram import Floats
from loradrift.similarity.functional.inputs import Array, has_massive_rows
from loradrift.similarity.functional.products import products_of, square_norms

NARROW = 512
"""Products of sides up to this wide are made in float64: they cost little, and among few columns a
dominant one would show float32's rounding."""

SINGLE = 32_768
"""Rows whose products float32 adds up, in place, before float64 goes on."""


class Cross(NamedTuple):
    """Sums over the rows of two sides; ``p`` and ``q`` stand for a row's squared norms."""

    n: Floats
    x: Floats
    y: Floats
    xy: Array
    """``sum x y^T``, (D, E); of a side with itself, its upper triangle alone. In the rows' dtype
    up to :data:`SINGLE` rows."""

    p: Floats
    q: Floats
    py: Floats
    """``sum p y``, (E,)."""

    qx: Floats
    pq: Floats


class SufficientStats(NamedTuple):
    """All that linear CKA needs of the rows seen so far."""

    shift_x: Floats
    shift_y: Floats
    xx: Cross
    yy: Cross
    xy: Cross


class _Rows(NamedTuple):
    """Both sides minus their shifts, in the dtype that keeps their spread, and squared norms."""

    x_ND: Array
    y_NE: Array
    shift_D: Floats
    shift_E: Floats
    p_N: Floats
    q_N: Floats


def moments(
    x_BND: Sequence[Array], y_BNE: Sequence[Array], shifts: tuple[Floats, Floats] | None = None
) -> SufficientStats:
    """Reduce aligned batches of finite rows, (N, D) and (N, E), to moments about their means.

    Two symmetric products and one general one in the inputs' dtype. Sums that decide the result
    are float64; those that only correct for the distance of shift and mean, which is small, are
    float32. ``shifts`` replace the means.

    >>> total = moments([np.ones((5, 2)), np.ones((3, 2))], [np.ones((5, 4)), np.ones((3, 4))])
    >>> float(total.xy.n), total.shift_x
    (8.0, array([1., 1.]))
    """
    rows = _rows(x_BND, y_BNE, shifts or (_mean(x_BND), _mean(y_BNE)))
    return _sums(rows, products_of(rows.x_ND, rows.y_NE))


def extended(
    total: SufficientStats, x_BND: Sequence[Array], y_BNE: Sequence[Array]
) -> SufficientStats:
    """The moments of more rows, about the same shift. The products of ``total`` are overwritten.

    >>> rows = [np.random.default_rng(0).normal(size=(5, 2))]
    >>> float(extended(moments(rows, rows), rows, rows).xy.n)
    10.0
    """
    rows = _rows(x_BND, y_BNE, (total.shift_x, total.shift_y))
    before = [cross.xy for cross in total[2:]]
    dtypes = {each.dtype for each in (rows.x_ND, rows.y_NE, *before)}
    few = total.xy.n + len(rows.x_ND) <= SINGLE
    if len(dtypes) == 1 and (few or dtypes == {np.dtype(np.float64)}):
        products = products_of(rows.x_ND, rows.y_NE, before)
    else:
        products = [
            np.add(old, new, out=old if old.dtype == np.float64 else None, dtype=np.float64)
            for old, new in zip(before, products_of(rows.x_ND, rows.y_NE), strict=True)
        ]
    sums = zip(total[2:], _sums(rows, products)[2:], products, strict=True)
    return SufficientStats(total.shift_x, total.shift_y, *(_sum(*each) for each in sums))


def _rows(x_BND: Sequence[Array], y_BNE: Sequence[Array], shifts: tuple[Floats, Floats]) -> _Rows:
    if max(x_BND[0].shape[1], y_BNE[0].shape[1]) <= NARROW:
        x_BND, y_BNE = _wide(x_BND), _wide(y_BNE)
    x_ND, shift_D = _shifted(x_BND, shifts[0])
    y_NE, shift_E = _shifted(y_BNE, shifts[1])
    p_N, q_N = square_norms(x_ND), square_norms(y_NE)
    single = np.float32 in (x_ND.dtype, y_NE.dtype)
    if single and (_loses_digits(x_ND, p_N) or _loses_digits(y_NE, q_N)):
        return _rows(_wide(x_BND), _wide(y_BNE), shifts)
    return _Rows(x_ND, y_NE, shift_D, shift_E, p_N, q_N)


def _sums(rows: _Rows, products: Sequence[Array]) -> SufficientStats:
    """The rows' moments with the products that are given."""
    x_ND, y_NE, shift_D, shift_E, p_N, q_N = rows
    weights_3N = np.stack([np.ones(len(x_ND)), p_N, q_N])
    x_D, px_D, qx_D = (weights_3N.astype(x_ND.dtype) @ x_ND).astype(np.float64)
    y_E, py_E, qy_E = (weights_3N.astype(y_NE.dtype) @ y_NE).astype(np.float64)
    if not (np.isfinite(x_D).all() and np.isfinite(y_E).all()):
        raise ValueError("expected finite values, got NaN or infinity")
    n, p, q = np.array(float(len(x_ND))), p_N.sum(), q_N.sum()
    xx_DD, yy_EE, xy_DE = products
    return SufficientStats(
        shift_D,
        shift_E,
        Cross(n, x_D, x_D, xx_DD, p, p, px_D, px_D, p_N @ p_N),
        Cross(n, y_E, y_E, yy_EE, q, q, qy_E, qy_E, q_N @ q_N),
        Cross(n, x_D, y_E, xy_DE, p, q, py_E, qx_D, p_N @ q_N),
    )


def _mean(batches: Sequence[Array]) -> Floats:
    total_D: Floats = np.sum([batch.sum(0, dtype=np.float64) for batch in batches], axis=0)
    return total_D / sum(map(len, batches))


def _wide(batches: Sequence[Array]) -> list[Array]:
    return [batch.astype(np.float64, copy=False) for batch in batches]


def _loses_digits(x_ND: Array, p_N: Floats) -> bool:
    """Whether massive rows, or a mean far from the shift, would hide the spread in float32."""
    if not np.isfinite(p_N).all():
        return False  # is refused below
    offset = np.square(x_ND.mean(0, dtype=np.float64)).sum()
    return has_massive_rows(p_N) or bool(offset * len(x_ND) > p_N.sum() / 2)


def _shifted(batches: Sequence[Array], shift_D: Floats) -> tuple[Array, Floats]:
    """All rows minus the shift, and the shift as it was taken away: rounded to the rows' dtype."""
    dtype = np.result_type(*batches)
    rounded_D = shift_D.astype(dtype)
    rows_ND = np.empty((sum(map(len, batches)), len(shift_D)), dtype)
    start = 0
    for batch_ND in batches:
        np.subtract(batch_ND, rounded_D, out=rows_ND[start : start + len(batch_ND)])
        start += len(batch_ND)
    return rows_ND, rounded_D.astype(np.float64)


def merge(a: SufficientStats, b: SufficientStats) -> SufficientStats:
    """The moments of both sets of rows, about the shift of the larger one.

    A set of a single massive row would give a shift that hides the others' spread.

    >>> few, many = (moments([np.ones((n, 2))], [np.zeros((n, 2))]) for n in (1, 9))
    >>> merge(few, many).shift_x
    array([1., 1.])
    """
    if b.xy.n > a.xy.n:
        a, b = b, a
    t_D, u_E = b.shift_x - a.shift_x, b.shift_y - a.shift_y
    xx, yy, xy = b.xx, b.yy, b.xy
    if t_D.any() or u_E.any():
        xx, yy = (moved(_mirrored(c), t, t) for c, t in ((b.xx, t_D), (b.yy, u_E)))
        xx, yy = (c._replace(xy=np.triu(c.xy)) for c in (xx, yy))
        xy = moved(xy, t_D, u_E)
    crosses = [
        _sum(one, other, np.add(one.xy, other.xy, dtype=np.float64))
        for one, other in zip(a[2:], (xx, yy, xy), strict=True)
    ]
    return SufficientStats(a.shift_x, a.shift_y, *crosses)


def _mirrored(c: Cross) -> Cross:
    return c._replace(xy=c.xy + np.triu(c.xy, 1).T)


def _sum(a: Cross, b: Cross, products_DE: Array) -> Cross:
    rest = {name: getattr(a, name) + getattr(b, name) for name in Cross._fields if name != "xy"}
    return Cross(xy=products_DE, **rest)


def moved(c: Cross, t_D: Floats, u_E: Floats) -> Cross:
    """The sums after ``t`` is added to each row of x, and ``u`` to each row of y.

    A row's squared norm ``p`` becomes ``p + 2 x.t + t.t``; the rest is multiplying out.

    >>> zeros = moments([np.zeros((4, 1))], [np.zeros((4, 1))]).xy
    >>> moved(zeros, np.array([2.0]), np.array([3.0])).xy
    array([[24.]])
    """
    tau, ups = t_D @ t_D, u_E @ u_E
    p = c.p + 2 * c.x @ t_D + c.n * tau
    q = c.q + 2 * c.y @ u_E + c.n * ups
    return Cross(
        n=c.n,
        x=c.x + c.n * t_D,
        y=c.y + c.n * u_E,
        xy=c.xy + np.outer(c.x, u_E) + np.outer(t_D, c.y + c.n * u_E),
        p=p,
        q=q,
        py=c.py + 2 * t_D @ c.xy + tau * c.y + p * u_E,
        qx=c.qx + 2 * c.xy @ u_E + ups * c.x + q * t_D,
        pq=c.pq
        + 2 * (c.py @ u_E + c.qx @ t_D + 2 * t_D @ c.xy @ u_E)
        + ups * (c.p + 2 * c.x @ t_D)
        + tau * (c.q + 2 * c.y @ u_E)
        + c.n * tau * ups,
    )


def centred(m: SufficientStats) -> tuple[Cross, Cross, Cross]:
    """``xx``, ``yy`` (whole) and ``xy`` of the rows without their means.

    >>> x = np.array([[1.0], [2], [3], [6]])
    >>> [float(cross.xy.item()) for cross in centred(moments([x], [-x]))]
    [14.0, 14.0, -14.0]
    """
    whole = (_mirrored(m.xx), _mirrored(m.yy), m.xy)
    xx, yy, xy = (moved(c, -c.x / c.n, -c.y / c.n) for c in whole)
    return xx, yy, xy
