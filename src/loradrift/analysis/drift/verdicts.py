"""What the numbers say about each hypothesis.

A verdict takes two things that must agree: a one-sided test against the margin, corrected by Holm
over all hypotheses (those without data count: their results, once there, can only help the
others), and the 95 % interval of the same contrast, which must lie wholly on one side of the
margin.
On the claim's side: supported; on the other side, with the test turned round: refuted, or, if
both sides are also equal within the margin, equivalent; anything else: undecided.

Few seeds are mostly undecided. That is the honest answer: 3 seeds of one task cannot reach a
one-sided exact p below 0.125.
"""

# Shape suffixes: S seeds, T tasks.

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from loradrift.analysis.drift.hypotheses import HYPOTHESES, Evidence, Hypothesis, Outcome, Verdict
from loradrift.statistics import (
    Interval,
    Variance,
    adjust,
    equivalence,
    least_p,
    noninferiority,
    ratio_interval,
    sign_flip,
    stack,
    t_interval,
)
from loradrift.statistics.paired import Adjusted
from loradrift.statistics.values import ROUNDING, Alternative, Array

ALPHA = 0.05
LEVELS = (1 - ALPHA, 1 - 2 * ALPHA)
"""Levels of the interval that a verdict needs, and of the one that shows two sides equal."""


class _Tested(NamedTuple):
    """What is measured about one hypothesis, before p is corrected."""

    outcome: Outcome
    interval: Interval | None = None
    """None if there is nothing to test."""

    p_opposite: float = np.nan
    equal: bool = False
    """The 90 % interval lies strictly within the margin on both sides."""


def decide(
    evidence: Mapping[str, Evidence], hypotheses: Sequence[Hypothesis] = HYPOTHESES, seed: int = 0
) -> list[Outcome]:
    """A verdict for each hypothesis; those that ``evidence`` leaves out have no data.

    P-values are corrected for all of ``hypotheses``, the whole family that was planned. ``seed``
    draws the flips where there are too many blocks to count them.

    Raises:
        ValueError: If evidence names no hypothesis, or its sides differ in tasks or seeds.
    """
    names = [hypothesis.name for hypothesis in hypotheses]
    if unknown := sorted(set(evidence) - set(names)):
        raise ValueError(f"evidence must be for one of {names}, got {unknown}")
    tested = {each.name: _test(each, evidence.get(each.name), seed) for each in hypotheses}
    p_values = {name: each.outcome.p for name, each in tested.items()}
    corrected = adjust({name: np.nan if p is None else p for name, p in p_values.items()})
    opposite = adjust({name: each.p_opposite for name, each in tested.items()})
    return [_decided(tested[name], corrected[name], opposite[name].holm) for name in names]


def _decided(tested: _Tested, p: Adjusted, p_opposite: float) -> Outcome:
    outcome, interval = tested.outcome, tested.interval
    if interval is None:
        return outcome
    margin = outcome.hypothesis.margin
    above, below = interval.low >= margin, interval.high <= margin
    at_least = outcome.hypothesis.direction == "at least"
    holds, fails = (above, below) if at_least else (below, above)
    verdict = Verdict.UNDECIDED
    if holds and p.holm <= ALPHA:
        verdict = Verdict.SUPPORTED
    elif fails and p_opposite <= ALPHA:
        # A claim of a difference fails in two ways: no difference worth the margin, or the reverse.
        verdict = Verdict.EQUIVALENT if tested.equal else Verdict.REFUTED
    return replace(
        outcome,
        verdict=verdict,
        p_bonferroni=p.bonferroni,
        p_holm=p.holm,
        p_benjamini_hochberg=p.benjamini_hochberg,
        p_opposite_holm=p_opposite,
    )


def _test(hypothesis: Hypothesis, evidence: Evidence | None, seed: int) -> _Tested:
    """Everything measured about one hypothesis, or why nothing is."""
    if evidence is None:
        return _untested(hypothesis, f"no results in {hypothesis.table}")
    treatment_ST, control_ST = _sides(hypothesis, evidence)
    complete_S = np.isfinite(treatment_ST).all(axis=1) & np.isfinite(control_ST).all(axis=1)
    if not complete_S.any():
        reasons = ["no seed has a value for both sides and every task", evidence.missing]
        return _untested(hypothesis, ": ".join(filter(None, reasons)), evidence.missing)
    treatment_ST, control_ST = treatment_ST[complete_S], control_ST[complete_S]
    if (control_ST <= 0).any():
        reason = f"a change in percent of {control_ST.min():g} is undefined"
        return _untested(hypothesis, reason, evidence.missing)
    tested = _compare(hypothesis, treatment_ST, control_ST, evidence.rows, seed)
    outcome, notes = tested.outcome, [tested.outcome.note]
    if hypothesis.test == "sign_flip" and outcome.least_p is not None and outcome.least_p > ALPHA:
        notes.append(f"{treatment_ST.size} blocks cannot reach p <= {ALPHA}")
    if left_out := int((~complete_S).sum()):
        notes.append(f"{left_out} seeds without a value for every task left out")
        notes.append(evidence.missing)
    if evidence.rows is not None:
        notes.append("the interval also holds for other rows than the probe's")
    return tested._replace(outcome=replace(outcome, note="; ".join(filter(None, notes))))


def _untested(hypothesis: Hypothesis, reason: str, missing: str = "") -> _Tested:
    # Blocks that are not enough are no lack of data: what is missing can be added.
    verdict = Verdict.UNDECIDED if missing else Verdict.NO_DATA
    return _Tested(Outcome(hypothesis=hypothesis, verdict=verdict, note=reason))


def _sides(hypothesis: Hypothesis, evidence: Evidence) -> tuple[Array, Array]:
    same = f"{hypothesis.name} must have the same"
    tasks, others = list(evidence.treatment), list(evidence.control)
    if tasks != others:
        raise ValueError(f"{same} tasks in the same order on both sides, got {tasks} and {others}")
    treatment_ST, control_ST = stack(evidence.treatment), stack(evidence.control)
    if treatment_ST.shape != control_ST.shape:
        counts = f"{len(treatment_ST)} and {len(control_ST)}"
        raise ValueError(f"{same} seeds on both sides, got {counts}")
    return treatment_ST, control_ST


def _compare(
    hypothesis: Hypothesis, treatment_ST: Array, control_ST: Array, rows: Variance | None, seed: int
) -> _Tested:
    """The tests on both sides of the margin, and the intervals that go with them."""
    margin, rng = hypothesis.margin, np.random.default_rng(seed)
    of_means = hypothesis.test == "noninferiority"
    contrast = _means_ratio if of_means else _mean_change
    change_ST, blocks_ST, intervals = contrast(hypothesis, treatment_ST, control_ST, rows)
    interval, inner = intervals
    sides: list[Alternative] = ["greater", "less"]
    if hypothesis.direction == "at most":
        sides.reverse()
    test, against = (sign_flip(blocks_ST, margin, side, rng) for side in sides)
    p, p_opposite = test.p, against.p
    drawn = "" if test.exact else "flips were drawn: too many blocks to count them all"
    note = "; ".join(filter(None, [interval.note, drawn]))
    if of_means:
        of_seeds = noninferiority(treatment_ST.mean(axis=1), control_ST.mean(axis=1), margin / 100)
        if of_seeds.note:  # the exact test needs no spread
            note = f"{of_seeds.note}; p is the sign-flip test's"
        else:
            p, p_opposite = of_seeds.p, 1 - of_seeds.p
    change_S = change_ST.mean(axis=1)
    equal = equivalence(change_S, np.zeros_like(change_S), -margin, margin)
    outcome = Outcome(
        hypothesis=hypothesis,
        verdict=Verdict.UNDECIDED,
        estimate=interval.estimate,
        ci_lower=_number(interval.low),
        ci_upper=_number(interval.high),
        p=p,
        p_sign_flip=test.p,
        least_p=least_p(treatment_ST.size, "greater") if test.exact else test.least_p,
        p_equivalence=_number(equal.p),
        num_seeds=treatment_ST.shape[0],
        num_tasks=treatment_ST.shape[1],
        row_standard_error=None if rows is None else float(np.sqrt(rows.value)),
        note=note,
    )
    # Two one-sided tests, in the form that needs no spread and contains the rows' part.
    within = max(-inner.low, inner.high) < margin * (1 - ROUNDING)
    return _Tested(outcome, interval, p_opposite, within)


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _mean_change(
    hypothesis: Hypothesis, treatment_ST: Array, control_ST: Array, rows: Variance | None
) -> tuple[Array, Array, list[Interval]]:
    """Mean change of the blocks: the changes, what the exact test takes, the intervals."""
    sign = 1 if hypothesis.change == "decrease" else -1
    change_ST = sign * 100 * (control_ST - treatment_ST) / control_ST
    intervals = [t_interval(change_ST.mean(axis=1), rows, level) for level in LEVELS]
    return change_ST, change_ST, intervals


def _means_ratio(
    hypothesis: Hypothesis, treatment_ST: Array, control_ST: Array, rows: Variance | None
) -> tuple[Array, Array, list[Interval]]:
    """Ratio of the means, likewise; its interval is of ``treatment - (1 - margin) control``."""
    means = treatment_ST.mean(axis=1), control_ST.mean(axis=1)
    ratio_rows = rows and Variance(rows.value / 100**2, rows.df)
    intervals = []
    for level in LEVELS:
        ratio = ratio_interval(*means, ratio_rows, level)
        estimate, low, high = (100 * (1 - end) for end in (ratio.estimate, ratio.high, ratio.low))
        intervals.append(ratio._replace(estimate=estimate, low=low, high=high))
    # Blocks in percent of one number, so that their mean is on the margin when the contrast is 0.
    change_ST = 100 * (control_ST - treatment_ST) / control_ST.mean()
    excess_ST = hypothesis.margin * (1 - control_ST / control_ST.mean())
    return change_ST, change_ST + excess_ST, intervals
