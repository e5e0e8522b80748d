"""Sums over rows that suffice for linear CKA: batch by batch, process by process, exact.

All sums are about a shift near the rows' mean, because products of columns whose mean is thousands
of times their spread would keep little of the spread. :func:`moved` changes the shift by
multiplying out (as Chan et al. 1979 do for variances); merging and centring are both that.
"""

# Shape suffixes: N examples, D and E representation widths.

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas

from loradrift.similarity.functional.cka import Hsic, ratios
from loradrift.similarity.functional.inputs import BLOCK, Array

Floats = NDArray[np.float64]


NARROW = 512
"""Products of sides up to this wide are made in float64: they cost little, and among few columns a
dominant one would show float32's rounding."""


class Cross(NamedTuple):
    """Sums over the rows of two sides; ``p`` and ``q`` stand for a row's squared norms."""

    n: Floats
    x: Floats
    y: Floats
    xy: Floats
    """``sum x y^T``, (D, E)."""

    p: Floats
    q: Floats
    py: Floats
    """``sum p y``, (E,)."""

    qx: Floats
    pq: Floats


class Moments(NamedTuple):
    """All that linear CKA needs of the rows seen so far."""

    shift_x: Floats
    shift_y: Floats
    xx: Cross
    yy: Cross
    xy: Cross


def moments(x_ND: Array, y_NE: Array, shifts: tuple[Floats, Floats] | None = None) -> Moments:
    """Reduce rows to their moments.

    Two symmetric products and one general one in the inputs' dtype; all other sums in float64.

    Args:
        x_ND: Rows (N, D).
        y_NE: Rows (N, E), aligned.
        shifts: What the sums are about; by default the rows' own means.
    """
    if max(x_ND.shape[1], y_NE.shape[1]) <= NARROW:
        x_ND, y_NE = x_ND.astype(np.float64), y_NE.astype(np.float64)
    if shifts is None:
        shifts = x_ND.mean(0, dtype=np.float64), y_NE.mean(0, dtype=np.float64)
    # in the rows' own dtype, so that what is taken away is what is recorded
    shift_D, shift_E = shifts[0].astype(x_ND.dtype), shifts[1].astype(y_NE.dtype)
    x_ND, y_NE = x_ND - shift_D, y_NE - shift_E
    n, sums = len(x_ND), _row_sums(x_ND, y_NE)
    x_D, y_E, p, q, pp, qq, pq, px_D, py_E, qx_D, qy_E = sums
    return Moments(
        shift_D.astype(np.float64),
        shift_E.astype(np.float64),
        Cross(np.array(float(n)), x_D, x_D, _symmetric_product(x_ND), p, p, px_D, px_D, pp),
        Cross(np.array(float(n)), y_E, y_E, _symmetric_product(y_NE), q, q, qy_E, qy_E, qq),
        Cross(
            np.array(float(n)), x_D, y_E, (x_ND.T @ y_NE).astype(np.float64), p, q, py_E, qx_D, pq
        ),
    )


def _row_sums(x_ND: Array, y_NE: Array) -> list[Any]:
    """Sums of x, y, p, q, p^2, q^2, p q, p x, p y, q x and q y, in float64."""
    totals: list[Any] = [0.0] * 11
    for start in range(0, len(x_ND), BLOCK):  # a few rows at a time stay in the cache
        x = x_ND[start : start + BLOCK].astype(np.float64)
        y = y_NE[start : start + BLOCK].astype(np.float64)
        p, q = np.vecdot(x, x), np.vecdot(y, y)
        parts = (
            x.sum(0),
            y.sum(0),
            p.sum(),
            q.sum(),
            p @ p,
            q @ q,
            p @ q,
            p @ x,
            p @ y,
            q @ x,
            q @ y,
        )
        totals = [total + part for total, part in zip(totals, parts, strict=True)]
    return totals


def _symmetric_product(x_ND: Array) -> Floats:
    syrk = blas.ssyrk if x_ND.dtype == np.float32 else blas.dsyrk
    upper_DD = syrk(1.0, x_ND.T, lower=0)
    product_DD: Floats = upper_DD.astype(np.float64)
    product_DD += np.triu(upper_DD, 1).T
    return product_DD


def merge(a: Moments, b: Moments) -> Moments:
    """The moments of both sets of rows, about the first one's shift."""
    t_D, u_E = b.shift_x - a.shift_x, b.shift_y - a.shift_y
    xx, yy, xy = b.xx, b.yy, b.xy
    if t_D.any() or u_E.any():
        xx, yy, xy = moved(xx, t_D, t_D), moved(yy, u_E, u_E), moved(xy, t_D, u_E)
    return Moments(a.shift_x, a.shift_y, _sum(a.xx, xx), _sum(a.yy, yy), _sum(a.xy, xy))


def _sum(a: Cross, b: Cross) -> Cross:
    return Cross(*(one + other for one, other in zip(a, b, strict=True)))


def moved(c: Cross, t_D: Floats, u_E: Floats) -> Cross:
    """The sums after ``t`` is added to each row of x, and ``u`` to each row of y.

    A row's squared norm ``p`` becomes ``p + 2 x.t + t.t``; the rest is multiplying out.
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


def hsic_of_cross(c: Cross) -> Hsic:
    """Both estimates of HSIC from the sums of two sides."""
    c = moved(c, -c.x / c.n, -c.y / c.n)
    biased = np.vdot(c.xy, c.xy)
    # Without its diagonal, each row of a Gram of centred rows sums to minus the squared norm.
    corrections = c.p * c.q / ((c.n - 1) * (c.n - 2)) - 2 / (c.n - 2) * c.pq
    return Hsic(float(biased - c.pq + corrections), float(biased))


def cka_of_moments(m: Moments) -> Hsic:
    """Debiased and biased CKA of all rows; NaN where a side has no variance."""
    return ratios(*(hsic_of_cross(cross) for cross in (m.xy, m.xx, m.yy)))
