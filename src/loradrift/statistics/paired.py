"""Paired t tests: of no difference, of non-inferiority, of equivalence.

Non-inferiority with a relative margin m tests the linear contrast ``lora - (1 - m) full`` and not
the ratio, whose distribution has heavy tails when the denominator varies (Laster & Johnson 2003,
doi:10.1002/sim.1137). Equivalence: two one-sided tests (Schuirmann 1987,
doi:10.1007/BF01068419). A t test has no least p: the assumption that seeds are normal supplies what
few of them cannot show. The least p of the exact test on the same pairs stands beside it.
"""

# Shape suffixes: S seeds.

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from loradrift.statistics.corrections import adjust
from loradrift.statistics.effect_size import cohens_d
from loradrift.statistics.intervals import Interval, t_interval
from loradrift.statistics.sign_flip import least_p
from loradrift.statistics.values import Alternative, Array, contrast, pairs


class TTest(NamedTuple):
    """A t test and the interval that goes with it; NaN where pairs do not vary."""

    estimate: float
    interval: Interval
    t: float
    p: float
    df: int
    num_pairs: int
    least_exact_p: float
    """What the sign-flip test could reach at best with these pairs."""

    note: str = ""


def paired_t(lora: ArrayLike, full: ArrayLike, confidence: float = 0.95) -> TTest:
    """Two-sided test of ``lora - full`` against 0.

    Args:
        lora: A value per seed (S,).
        full: The value of full fine-tuning with the same seed (S,).
        confidence: Of the interval; 0.95 goes with a test at 5 %.

    Raises:
        ValueError: If they are not two finite vectors of equal length.
    """
    lora_S, full_S = pairs(lora, full)
    return _one_sample(lora_S, full_S, "two-sided", confidence)


def noninferiority(
    lora: ArrayLike, full: ArrayLike, margin: float = 0.03, confidence: float = 0.9
) -> TTest:
    """One-sided test of ``lora - (1 - margin) full > 0``, higher values being better.

    Args:
        lora: A value per seed (S,), in the unit of ``full``.
        full: The value of full fine-tuning with the same seed (S,), positive.
        margin: Share of full fine-tuning's value that may be lost.
        confidence: Of the two-sided interval of the contrast; its lower end is above 0 at 0.9
            exactly when p < 5 %.

    Raises:
        ValueError: If the values are not paired, full's mean is not positive, or ``margin`` is not
            in (0, 1).
    """
    lora_S, full_S = pairs(lora, full)
    if not 0 < margin < 1:
        raise ValueError(f"margin must be in (0, 1), got {margin}")
    if full_S.mean() <= 0:
        raise ValueError(
            f"full_finetune must be positive for a relative margin, got {full_S.mean():g}"
        )
    return _one_sample(lora_S, (1 - margin) * full_S, "greater", confidence)


def _one_sample(left_S: Array, right_S: Array, side: Alternative, level: float) -> TTest:
    contrast_S = contrast(left_S, right_S)
    n = len(contrast_S)
    interval, floor = t_interval(contrast_S, confidence=level), least_p(n, side)
    if interval.note:
        return TTest(interval.estimate, interval, np.nan, np.nan, n - 1, n, floor, interval.note)
    test = stats.ttest_1samp(contrast_S, 0.0, alternative=side)
    return TTest(
        interval.estimate, interval, float(test.statistic), float(test.pvalue), n - 1, n, floor
    )


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
    num_pairs: int
    least_exact_p: float
    note: str = ""


def equivalence(
    lora: ArrayLike, full: ArrayLike, low: float, high: float, alpha: float = 0.05
) -> Equivalence:
    """Test whether the mean of ``lora - full`` lies between ``low`` and ``high``.

    Args:
        lora: A value per seed (S,).
        full: The value of full fine-tuning with the same seed (S,).
        low: Lower bound, in the unit of the values.
        high: Upper bound.
        alpha: Level of each one-sided test; sets the interval, not the p-value.

    Raises:
        ValueError: If the values are not paired, or the bounds are not in order.
    """
    from statsmodels.stats.weightstats import ttost_paired  # takes 1.5 s to import

    lora_S, full_S = pairs(lora, full)
    if not low < high:
        raise ValueError(f"low must be below high, got {low} and {high}")
    n = len(lora_S)
    interval = t_interval(contrast(lora_S, full_S), confidence=1 - 2 * alpha)
    parts = (np.nan, np.nan, np.nan)
    if not interval.note:
        p, above, below = ttost_paired(lora_S, full_S, low, high)
        parts = (float(p), float(above[1]), float(below[1]))
    floor = least_p(n, "greater")
    return Equivalence(interval.estimate, interval, *parts, n - 1, n, floor, interval.note)


class TaskComparison(NamedTuple):
    """What earlier notebooks reported for one task."""

    test: TTest
    cohens_d: float
    """Pooled, without small-sample factor."""

    p_bonferroni: float
    """Times the number of tasks."""

    significant_at_05: bool
    """Of the corrected p-value."""


def per_task(
    lora: Mapping[str, ArrayLike], full: Mapping[str, ArrayLike]
) -> dict[str, TaskComparison]:
    """Paired t test, Cohen's d and Bonferroni over tasks. Secondary: see :func:`sign_flip`.

    Raises:
        ValueError: If the methods differ in their tasks, or a task in its seeds.
    """
    if set(lora) != set(full):
        raise ValueError(
            f"lora and full_finetune must have the same tasks, got {sorted(lora)} "
            f"and {sorted(full)}"
        )
    tests = {task: paired_t(lora[task], full[task]) for task in lora}
    corrected = adjust({task: test.p for task, test in tests.items()})
    return {
        task: TaskComparison(
            test,
            cohens_d(lora[task], full[task]),
            corrected[task].bonferroni,
            corrected[task].bonferroni < 0.05,
        )
        for task, test in tests.items()
    }
