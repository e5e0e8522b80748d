r"""Intervals from seed means, and what they gain in width where a claim reaches past the probe.

Seeds vary, and so would the rows of the probe, which all seeds share: the spread of the seeds does
not contain the part of the rows. The variance of the mean over S seeds is then the sum of

    Var = s^2 / S  +  V_rows,

s the standard deviation of the seeds and V_rows the delete-one-row jackknife variance of the *mean
over seeds* (one row leaves every seed at once). The part in which seeds and rows interact is in
both terms: the sum errs on the wide side. Each term keeps its own t quantile,

    half width^2 = t(S - 1)^2 s^2 / S  +  t(df_rows)^2 V_rows,

which covers at least as often as it says (Banerjee 1960, Sankhya 22:357). One quantile at the
Satterthwaite degrees of freedom does not: with 3 seeds it misses in up to 8 % of cases.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from loradrift.statistics.values import NO_VARIANCE, ONE_SEED, constant, pairs, snap, vector

ONE_RATIO = "the ratio is the same in all seeds: they give the interval no width"
UNBOUNDED = "control varies too much over seeds for an interval of the ratio"


class Variance(NamedTuple):
    """Variance of an estimate, and how well it is known."""

    value: float
    df: float


class Interval(NamedTuple):
    """An estimate and its confidence interval; NaN bounds where there is none."""

    estimate: float
    low: float
    high: float
    df: float
    confidence: float
    note: str = ""


def t_interval(
    seed_values: ArrayLike, rows: Variance | None = None, confidence: float = 0.95
) -> Interval:
    """Mean over seeds with its interval: NaN bounds for one seed, no width if all seeds agree.

    Args:
        seed_values: One value per seed (its mean over tasks, where there are several).
        rows: Jackknife variance of the mean over seeds, if the claim is about all text like the
            probe's and not only about these rows.
        confidence: Share of such intervals that contain the truth.

    Example:
        >>> low, high = t_interval([1, 2, 3])[1:3]
        >>> round(low, 2), round(high, 2)
        (-0.48, 4.48)
    """
    values_S = vector(seed_values)
    check_confidence(confidence)
    mean, df = float(values_S.mean()), len(values_S) - 1
    if df == 0:
        return Interval(mean, np.nan, np.nan, 0, confidence, ONE_SEED)
    equal = constant(values_S)
    seeds = Variance(0.0 if equal else float(values_S.var(ddof=1)) / len(values_S), df)
    parts = [part for part in (seeds, rows) if part is not None and part.value > 0]
    upper = (1 + confidence) / 2
    half = float(np.sqrt(sum(stats.t.ppf(upper, part.df) ** 2 * part.value for part in parts)))
    return Interval(mean, mean - half, mean + half, df, confidence, NO_VARIANCE if equal else "")


def ratio_interval(
    treatment: ArrayLike, control: ArrayLike, rows: Variance | None = None, confidence: float = 0.95
) -> Interval:
    """Ratio of the means over seeds, with the interval that goes with the test of a contrast.

    It holds every r whose two-sided paired t test of ``treatment - r control`` does not reject
    (Fieller 1954, J. R. Statist. Soc. B 16:175), so that its ends and such a test cannot contradict
    each other; a mean of the seeds' own ratios can. ``rows`` is the jackknife variance of the
    ratio. The bounds are NaN for one seed, or where the control's mean cannot be told from 0.

    Raises:
        ValueError: If the control's mean is not positive.

    Example:
        >>> ratio_interval([2, 4, 6], [1, 2, 3]).estimate
        2.0
    """
    treatment_S, control_S = pairs(treatment, control)
    check_confidence(confidence)
    mean = control_S.mean()
    if mean <= 0:
        raise ValueError(f"control must be positive for a ratio, got {mean:g}")
    n, ratio = len(control_S), float(treatment_S.mean() / mean)
    if n == 1:
        return Interval(ratio, np.nan, np.nan, 0, confidence, ONE_SEED)
    # In d = r - ratio the equation loses no digits: a d^2 + 2 b d - c <= 0.
    upper = (1 + confidence) / 2
    factor = stats.t.ppf(upper, n - 1) ** 2 / n / (n - 1)
    rest_S = snap(treatment_S - ratio * control_S, treatment_S, control_S)
    spread_S = snap(control_S - mean, control_S)
    a = mean**2 - factor * (spread_S @ spread_S)
    b = factor * (rest_S @ spread_S)
    c = factor * (rest_S @ rest_S)
    if rows is not None and rows.value > 0:
        c += stats.t.ppf(upper, rows.df) ** 2 * rows.value * mean**2
    if a <= 0:
        return Interval(ratio, np.nan, np.nan, n - 1, confidence, UNBOUNDED)
    half = np.sqrt(b**2 + a * c)
    note = "" if rest_S.any() else ONE_RATIO
    low, high = float((-b - half) / a), float((half - b) / a)
    return Interval(ratio, ratio + low, ratio + high, n - 1, confidence, note)


def check_confidence(confidence: float) -> None:
    """Raise ValueError for what is no probability.

    Example:
        >>> check_confidence(0.95)
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1), got {confidence}")


def variance_of_mean(parts: Sequence[Variance]) -> Variance:
    """Variance of the mean over tasks, each with probe rows of its own.

    The degrees of freedom are the least of the parts, the cautious choice.

    Example:
        >>> variance_of_mean([Variance(4.0, 9), Variance(4.0, 5)])
        Variance(value=2.0, df=5)
    """
    return Variance(sum(part.value for part in parts) / len(parts) ** 2, min(p.df for p in parts))
