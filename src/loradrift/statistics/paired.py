"""Paired t tests: of no difference, of non-inferiority, of equivalence.

Non-inferiority with a relative margin m tests the linear contrast ``treatment - (1 - m) control``
and not the ratio, whose distribution has heavy tails when the denominator varies (Laster & Johnson
2003, doi:10.1002/sim.1137). Equivalence: two one-sided tests (Schuirmann 1987,
doi:10.1007/BF01068419). A t test has no least p: the assumption that seeds are normal supplies what
few of them cannot show.
"""

# Shape suffixes: S seeds.

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from loradrift.statistics.intervals import Interval, t_interval
from loradrift.statistics.values import Alternative, Array, contrast, pairs


class TTest(NamedTuple):
    """A t test and the interval that goes with it; NaN where pairs do not vary."""

    estimate: float
    interval: Interval
    t: float
    p: float
    df: int
    note: str = ""


def paired_t(treatment: ArrayLike, control: ArrayLike, confidence: float = 0.95) -> TTest:
    """Two-sided test of ``treatment - control`` against 0.

    Args:
        treatment: A value per seed (S,).
        control: The value with the same seed (S,).
        confidence: Of the interval; 0.95 goes with a test at 5 %.

    Raises:
        ValueError: If they are not two finite vectors of equal length.

    Example:
        >>> test = paired_t([2, 4, 6], [1, 2, 3])
        >>> round(test.t, 3), round(test.p, 3)
        (3.464, 0.074)
    """
    treatment_S, control_S = pairs(treatment, control)
    return _one_sample(treatment_S, control_S, "two-sided", confidence)


def noninferiority(
    treatment: ArrayLike, control: ArrayLike, margin: float = 0.03, confidence: float = 0.9
) -> TTest:
    """One-sided test of ``treatment - (1 - margin) control > 0``, higher values being better.

    Args:
        treatment: A value per seed (S,), in the unit of ``control``.
        control: The value with the same seed (S,), positive.
        margin: Share of the control's value that may be lost.
        confidence: Of the two-sided interval of the contrast; its lower end is above 0 at 0.9
            exactly when p < 5 %.

    Raises:
        ValueError: If the values are not paired, the control's mean is not positive, or ``margin``
            is not in (0, 1).

    Example:
        >>> noninferiority([0.80, 0.81, 0.79], [0.80, 0.80, 0.80]).p < 0.05
        True
    """
    treatment_S, control_S = pairs(treatment, control)
    if not 0 < margin < 1:
        raise ValueError(f"margin must be in (0, 1), got {margin}")
    if control_S.mean() <= 0:
        raise ValueError(
            f"control must be positive for a relative margin, got {control_S.mean():g}"
        )
    return _one_sample(treatment_S, (1 - margin) * control_S, "greater", confidence)


def _one_sample(left_S: Array, right_S: Array, side: Alternative, level: float) -> TTest:
    contrast_S = contrast(left_S, right_S)
    interval, df = t_interval(contrast_S, confidence=level), len(contrast_S) - 1
    t = p = np.nan
    if not interval.note:
        t, p = map(float, stats.ttest_1samp(contrast_S, 0.0, alternative=side))
    return TTest(interval.estimate, interval, t, p, df, interval.note)


class Equivalence(NamedTuple):
    """Two one-sided tests; NaN where pairs do not vary."""

    estimate: float
    interval: Interval
    """At 1 - 2 alpha: inside the bounds exactly when p is below alpha."""

    p: float
    """The larger of the two."""

    p_above_low: float
    p_below_high: float
    df: int
    note: str = ""


def equivalence(
    treatment: ArrayLike, control: ArrayLike, low: float, high: float, alpha: float = 0.05
) -> Equivalence:
    """Test whether the mean of ``treatment - control`` lies between ``low`` and ``high``.

    Args:
        treatment: A value per seed (S,).
        control: The value with the same seed (S,).
        low: Lower bound, in the unit of the values.
        high: Upper bound.
        alpha: Level of each one-sided test; sets the interval, not the p-value.

    Raises:
        ValueError: If the values are not paired, or the bounds are not in order.

    Example:
        >>> equivalence([0.80, 0.81, 0.79], [0.80, 0.80, 0.80], low=-0.1, high=0.1).p < 0.05
        True
    """
    treatment_S, control_S = pairs(treatment, control)
    if not low < high:
        raise ValueError(f"low must be below high, got {low} and {high}")
    contrast_S = contrast(treatment_S, control_S)
    interval, df = t_interval(contrast_S, confidence=1 - 2 * alpha), len(contrast_S) - 1
    above = below = np.nan
    if not interval.note:
        above = float(stats.ttest_1samp(contrast_S, low, alternative="greater").pvalue)
        below = float(stats.ttest_1samp(contrast_S, high, alternative="less").pvalue)
    p = max(above, below)
    return Equivalence(interval.estimate, interval, p, above, below, df, interval.note)
