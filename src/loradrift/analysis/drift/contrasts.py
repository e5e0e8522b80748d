"""The contrast that a hypothesis is about: its test and its interval, made to agree."""

# Shape suffixes: S seeds, T tasks.

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from loradrift.analysis.drift.hypotheses import Hypothesis
from loradrift.statistics import (
    Interval,
    Variance,
    equivalence,
    least_p,
    noninferiority,
    ratio_interval,
    sign_flip,
    t_interval,
)
from loradrift.statistics.values import ROUNDING, Alternative, Array

ALPHA = 0.05
LEVELS = (1 - ALPHA, 1 - 2 * ALPHA)
"""Of the interval that a verdict needs, and of that which shows two sides equal."""


class Tested(NamedTuple):
    """Everything measured about one hypothesis."""

    change_ST: Array
    interval: Interval
    p: float
    p_opposite: float
    p_sign_flip: float
    least_p: float
    p_equivalence: float
    equal: bool
    """The 90 % interval lies strictly within the margin on both sides."""

    note: str


def mean_change(
    hypothesis: Hypothesis,
    treatment_ST: Array,
    control_ST: Array,
    rows: Variance | None,
    rng: np.random.Generator,
) -> Tested:
    """The blocks' mean change: exact test over blocks, interval of the seeds' means."""
    sign = 1 if hypothesis.change == "decrease" else -1
    change_ST = sign * 100 * (control_ST - treatment_ST) / control_ST
    intervals = [t_interval(change_ST.mean(axis=1), rows, level) for level in LEVELS]
    return _tested(hypothesis, change_ST, change_ST, intervals, rng)


def contrast(
    hypothesis: Hypothesis,
    treatment_ST: Array,
    control_ST: Array,
    rows: Variance | None,
    rng: np.random.Generator,
) -> Tested:
    """The means' ratio: paired t of ``treatment - (1 - margin) control``, and its own interval."""
    treatment_S, control_S = treatment_ST.mean(axis=1), control_ST.mean(axis=1)
    ratio_rows = rows and Variance(rows.value / 100**2, rows.df)
    ratios = [ratio_interval(treatment_S, control_S, ratio_rows, level) for level in LEVELS]
    intervals = [
        each._replace(
            estimate=100 * (1 - each.estimate),
            low=100 * (1 - each.high),
            high=100 * (1 - each.low),
        )
        for each in ratios
    ]
    # Blocks in percent of one number, so that their mean is on the margin when the contrast is 0.
    change_ST = 100 * (control_ST - treatment_ST) / control_ST.mean()
    excess_ST = hypothesis.margin * (1 - control_ST / control_ST.mean())
    result = _tested(hypothesis, change_ST, change_ST + excess_ST, intervals, rng)
    test = noninferiority(treatment_S, control_S, hypothesis.margin / 100)
    if test.note:  # the exact test needs no spread
        return result._replace(note=f"{test.note}; p is the sign-flip test's")
    return result._replace(p=test.p, p_opposite=1 - test.p)


def _tested(
    hypothesis: Hypothesis,
    change_ST: Array,
    blocks_ST: Array,
    intervals: Sequence[Interval],
    rng: np.random.Generator,
) -> Tested:
    """The exact tests of ``blocks_ST`` on both sides of the margin, and what goes with them."""
    sides: tuple[Alternative, Alternative] = ("greater", "less")
    if hypothesis.direction == "at most":
        sides = ("less", "greater")
    test, against = (sign_flip(blocks_ST, hypothesis.margin, side, rng) for side in sides)
    interval, inner = intervals
    drawn = "" if test.exact else "flips were drawn: too many blocks to count them all"
    change_S, margin = change_ST.mean(axis=1), hypothesis.margin
    return Tested(
        change_ST=change_ST,
        interval=interval,
        p=test.p,
        p_opposite=against.p,
        p_sign_flip=test.p,
        least_p=least_p(change_ST.size, "greater") if test.exact else test.least_p,
        p_equivalence=equivalence(change_S, np.zeros_like(change_S), -margin, margin).p,
        # Two one-sided tests, in the form that needs no spread and contains the rows' part.
        equal=max(-inner.low, inner.high) < margin * (1 - ROUNDING),
        note="; ".join(filter(None, [interval.note, drawn])),
    )
