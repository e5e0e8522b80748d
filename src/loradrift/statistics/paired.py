"""Paired t tests: of no difference, of equivalence; several p-values at once.

Equivalence: two one-sided tests (Schuirmann 1987, doi:10.1007/BF01068419). A t test has no least p:
the assumption that seeds are normal supplies what few of them cannot show.

Corrections: Holm 1979, Scand. J. Statist. 6:65; Benjamini & Hochberg 1995, JRSS B 57:289.
"""

# Shape suffixes: S seeds, N tests.

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from loradrift.statistics.intervals import Interval, t_interval
from loradrift.statistics.values import contrast, pairs


class TTest(NamedTuple):
    """A t test and the interval that goes with it; NaN where pairs do not vary."""

    estimate: float
    interval: Interval
    t: float
    p: float
    df: int
    note: str = ""


def paired_t(treatment: ArrayLike, control: ArrayLike, confidence: float = 0.95) -> TTest:
    """Two-sided test of ``treatment - control`` against 0; a test at 5 % goes with 0.95.

    Example:
        >>> test = paired_t([2, 4, 6], [1, 2, 3])
        >>> round(test.t, 3), round(test.p, 3)
        (3.464, 0.074)
    """
    contrast_S = contrast(*pairs(treatment, control))
    interval, df = t_interval(contrast_S, confidence=confidence), len(contrast_S) - 1
    t = p = np.nan
    if not interval.note:
        t, p = map(float, stats.ttest_1samp(contrast_S, 0.0))
    return TTest(interval.estimate, interval, t, p, df, interval.note)


class Equivalence(NamedTuple):
    """Two one-sided tests; NaN where pairs do not vary."""

    estimate: float
    interval: Interval
    """The interval at level 1 - 2 alpha: inside the bounds exactly when p is below alpha."""

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

    ``alpha`` is the level of each one-sided test: it sets the interval, not the p-value.

    Raises:
        ValueError: If the bounds, which are in the unit of the values, are not in order.

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


class Adjusted(NamedTuple):
    """One p-value among others."""

    p: float
    bonferroni: float
    holm: float
    benjamini_hochberg: float


def adjust(p_values: Mapping[str, float]) -> dict[str, Adjusted]:
    """Correct each p-value for the others.

    A NaN is a test that was planned and could not be made: it counts as 1, so that its result,
    once there, can only make the others' corrected values smaller.

    Raises:
        ValueError: If a p-value is outside [0, 1].

    Example:
        >>> adjust({"drift": 0.01, "score": 0.04})["drift"]
        Adjusted(p=0.01, bonferroni=0.02, holm=0.02, benjamini_hochberg=0.02)
    """
    for name, p in p_values.items():
        if not (np.isnan(p) or 0 <= p <= 1):
            raise ValueError(f"the p-value of {name} must be in [0, 1], got {p}")
    if not p_values:
        return {}
    p_N = np.nan_to_num(np.array(list(p_values.values()), dtype=np.float64), nan=1.0)
    order_N, count = np.argsort(p_N, kind="stable"), len(p_N)
    holm_N = np.empty(count)
    holm_N[order_N] = np.maximum.accumulate(p_N[order_N] * np.arange(count, 0, -1))
    columns = p_N, p_N * count, holm_N, stats.false_discovery_control(p_N)
    rows = zip(p_values, *(np.minimum(column, 1).tolist() for column in columns), strict=True)
    return {name: Adjusted(*values) for name, *values in rows}
