"""Standardised effect sizes with their small-sample factor and noncentral-t interval.

The factor (Hedges 1981, doi:10.3102/10769986006002107, eq. 6d) is

    J(df) = Gamma(df / 2) / (sqrt(df / 2) Gamma((df - 1) / 2)),

with the degrees of freedom of the standard deviation in the denominator: S - 1 for d_z (one spread
of S differences), S1 + S2 - 2 for the pooled d. With 3 pairs they are 0.564 and 0.798: the wrong
one is off by 41 %. The interval inverts the noncentral t distribution (Cumming & Finch 2001,
doi:10.1177/0013164401614002).
"""

# Shape suffixes: S seeds.

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from loradrift.statistics.intervals import check_confidence
from loradrift.statistics.values import NO_VARIANCE, ONE_SEED, constant, contrast, pairs, snap


class EffectSize(NamedTuple):
    """A difference in standard deviations; NaN where there is none to divide by."""

    d: float
    """The plain value, which is biased away from zero in small samples."""

    g: float
    """Times the small-sample factor."""

    low: float
    high: float
    """The interval of the true effect."""

    df: int
    confidence: float
    note: str = ""


def hedges_factor(df: float) -> float:
    """What makes a standardised difference unbiased; NaN for 1 df, where it has no mean to correct.

    Example:
        >>> round(hedges_factor(2), 3)
        0.564
    """
    if df < 2:
        return np.nan
    return float(np.exp(special.gammaln(df / 2) - special.gammaln((df - 1) / 2)) / np.sqrt(df / 2))


def paired_d(treatment: ArrayLike, control: ArrayLike, confidence: float = 0.95) -> EffectSize:
    """d_z: the mean of the paired differences in their own standard deviations.

    Example:
        >>> paired_d([2, 4, 6], [1, 2, 3]).d
        2.0
    """
    differences_S = contrast(*pairs(treatment, control))
    n = len(differences_S)
    spread = 0.0 if n == 1 or constant(differences_S) else differences_S.std(ddof=1)
    d = float(differences_S.mean() / spread) if spread > 0 else np.nan
    return _effect(d, np.sqrt(n), n - 1, n, confidence)


def pooled_d(treatment: ArrayLike, control: ArrayLike, confidence: float = 0.95) -> EffectSize:
    """The difference of the means in pooled standard deviations, seeds taken as independent.

    Methods that share a seed's luck make the interval too wide, never too narrow, and ``g`` up to
    17 % too large (3 seeds, correlation 0.9): d_z uses the pairs. ``d`` is Cohen's.

    Example:
        >>> pooled_d([3, 4, 5], [1, 2, 3]).d
        2.0
    """
    arms = treatment_S, control_S = pairs(treatment, control)
    residuals = np.concatenate([snap(arm_S - arm_S.mean(), arm_S) for arm_S in arms])
    n = len(treatment_S)
    df = 2 * (n - 1)
    spread = np.sqrt(np.square(residuals).sum() / df) if df else 0.0
    d = float((treatment_S.mean() - control_S.mean()) / spread) if spread > 0 else np.nan
    return _effect(d, np.sqrt(n / 2), df, n, confidence)


def _effect(d: float, per_t: float, df: int, n: int, confidence: float) -> EffectSize:
    check_confidence(confidence)
    if np.isnan(d):
        note = ONE_SEED if n == 1 else NO_VARIANCE
        return EffectSize(d, np.nan, np.nan, np.nan, df, confidence, note)
    tail = (1 - confidence) / 2
    low, high = (special.nctdtrinc(df, p, d * per_t) / per_t for p in (1 - tail, tail))
    return EffectSize(d, hedges_factor(df) * d, float(low), float(high), df, confidence)
