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

What is known of s from elsewhere bounds it from below: the spread that rounding alone makes is a
part of the spread of the seeds, and three seeds that agree by luck do not undo it.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from loradrift.statistics.values import NO_VARIANCE, ONE_SEED, Array, constant, snap, vector


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
    seed_values: ArrayLike,
    rows: Variance | None = None,
    confidence: float = 0.95,
    least: float = 0.0,
) -> Interval:
    """Mean over seeds with its interval: NaN bounds for one seed, no width if all seeds agree.

    Args:
        seed_values: One value per seed (its mean over tasks, where there are several).
        rows: Jackknife variance of the mean over seeds, if the claim is about all text like the
            probe's and not only about these rows.
        confidence: Share of such intervals that contain the truth.
        least: Variance of one seed's value below which the seeds' own is not believed.

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
    parts = _parts(values_S, rows, least)
    half = _half_width(parts, (1 - confidence) / 2)
    note = NO_VARIANCE if constant(values_S) and not least else ""
    return Interval(mean, mean - half, mean + half, df, confidence, note)


def p_beyond(
    seed_values: ArrayLike,
    bound: float,
    side: Literal["greater", "less"],
    rows: Variance | None = None,
    least: float = 0.0,
) -> float:
    """One-sided p-value of the claim that the mean is ``greater`` or ``less`` than ``bound``.

    It belongs to :func:`t_interval`, whose arguments it takes: the interval of confidence
    ``1 - 2 p`` ends at the bound. NaN for one seed, or where nothing varies.

    Example:
        >>> round(p_beyond([1, 2, 3], 0, "greater"), 4)
        0.0371
    """
    values_S = vector(seed_values)
    parts = _parts(values_S, rows, least) if len(values_S) > 1 else []
    if not parts:
        return np.nan
    gap = float(snap(np.array([values_S.mean() - bound]), values_S, bound)[0])
    gap = gap if side == "greater" else -gap

    def missing(log_tail: float) -> float:
        return _half_width(parts, float(np.exp(log_tail))) - abs(gap)

    least_log = -700.0  # exp() is still a positive number
    if missing(least_log) <= 0:
        tail = 0.0
    else:
        tail = float(np.exp(optimize.brentq(missing, least_log, np.log(0.5), xtol=1e-12)))
    return tail if gap > 0 else 1 - tail


def _parts(values_S: Array, rows: Variance | None, least: float) -> list[Variance]:
    """The variances of the mean over at least two seeds that are not zero."""
    own = 0.0 if constant(values_S) else float(values_S.var(ddof=1))
    seeds = Variance(max(own, least) / len(values_S), len(values_S) - 1)
    return [part for part in (seeds, rows) if part is not None and part.value > 0]


def _half_width(parts: Sequence[Variance], tail: float) -> float:
    """Half the width of the interval that leaves this share out on either side."""
    return math.hypot(*(special.stdtrit(part.df, tail) * math.sqrt(part.value) for part in parts))


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
