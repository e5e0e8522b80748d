"""What the numbers say about each hypothesis.

A seed's value is the logarithm of a ratio, treatment to control: its mean over tasks. The verdict
is read from the 99 % interval of the mean over seeds: wholly on the claim's side of the margin it
is supported; wholly on the other side refuted, or, if it also lies between the margin and its
reciprocal, equivalent; anything else is undecided. The p-value is one-sided and of the same
interval. At 99 % the worst simulated study of three tasks (noise that is skewed on the log scale
and shared by all tasks) stays below 5 % with 3 seeds too (one task alone: ``docs/method.md``), and
Holm's correction for three hypotheses is met by itself.

Where tasks differ by more than noise the mean over them answers nothing: the verdict then has to
hold in each task by itself.

Few seeds are mostly undecided. That is the honest answer.
"""

# Shape suffixes: S seeds, T tasks.

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from loradrift.analysis.drift.contrasts import Side, by_task, over_tasks
from loradrift.analysis.drift.hypotheses import HYPOTHESES, Evidence, Hypothesis, Outcome
from loradrift.report.blocks import p_says
from loradrift.report.verdicts import Verdict
from loradrift.statistics import (
    Interval,
    adjust,
    least_p,
    sign_flip,
    stack,
    task_differences,
)
from loradrift.statistics.paired import Adjusted
from loradrift.statistics.values import ROUNDING, Array

SHOWN, DECISIVE = 0.95, 0.99
"""Confidence of the interval that is shown, and of the one from which the verdict is read."""

SIDES: tuple[Side, Side] = ("greater", "less")

DISAGREE = 0.05
"""At a smaller p-value tasks disagree."""


class _Tested(NamedTuple):
    """What is measured about one hypothesis, before p is corrected."""

    outcome: Outcome
    decisive: Sequence[Interval] = ()
    """The intervals that must agree on a side; none if there is nothing to test."""

    p_opposite: float = np.nan


def decide(
    evidence: Mapping[str, Evidence], hypotheses: Sequence[Hypothesis] = HYPOTHESES, seed: int = 0
) -> list[Outcome]:
    """A verdict for each hypothesis; those that ``evidence`` leaves out have no data.

    P-values are corrected for all of ``hypotheses``, the whole family that was planned. ``seed``
    draws the flips of the exact test where there are too many seeds to count them.

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
    outcome = tested.outcome
    if not tested.decisive:
        return outcome
    verdict = _verdict(outcome.hypothesis, tested.decisive)
    zone = abs(outcome.hypothesis.log_margin)
    if any(abs(math.log(ratio)) >= zone for ratio in outcome.task_ratios.values()):
        # equal on the mean alone, by tasks on either side
        verdict = Verdict.REFUTED if verdict == Verdict.EQUIVALENT else verdict
    notes = [outcome.note]
    low, high, margin = outcome.ci_lower, outcome.ci_upper, outcome.hypothesis.log_margin
    past = low is not None and high is not None and not low <= margin <= high
    if past and verdict == Verdict.UNDECIDED and not outcome.tasks_disagree:
        notes.append("the 95 % interval is past the margin, the 99 % one of a verdict is not")
    outcome = replace(outcome, verdict=verdict, note="; ".join(filter(None, notes)))
    if outcome.p is None:
        return outcome
    return replace(
        outcome,
        p_bonferroni=p.bonferroni,
        p_holm=p.holm,
        p_benjamini_hochberg=p.benjamini_hochberg,
        p_opposite_holm=p_opposite,
    )


def _verdict(hypothesis: Hypothesis, intervals: Sequence[Interval]) -> Verdict:
    """On which side of the margin all intervals lie; NaN ends lie on none."""
    margin, slack = hypothesis.log_margin, ROUNDING
    above = all(each.low > margin + slack for each in intervals)
    below = all(each.high < margin - slack for each in intervals)
    at_least = hypothesis.direction == "at least"
    holds, fails = (above, below) if at_least else (below, above)
    if holds:
        return Verdict.SUPPORTED
    if not fails:
        return Verdict.UNDECIDED
    # A claim of a difference fails in two ways: no difference worth the margin, or the reverse.
    furthest = max(max(-each.low, each.high) for each in intervals)
    return Verdict.EQUIVALENT if furthest < abs(margin) - slack else Verdict.REFUTED


def _test(hypothesis: Hypothesis, evidence: Evidence | None, seed: int) -> _Tested:
    """Everything measured about one hypothesis, or why nothing is."""
    if evidence is None:
        return _untested(hypothesis, f"no results in {hypothesis.table}")
    treatment_ST, control_ST = _sides(hypothesis, evidence)
    complete_S = np.isfinite(treatment_ST).all(axis=1) & np.isfinite(control_ST).all(axis=1)
    if not complete_S.any():
        reasons = ["no seed has a value for both sides and every task", evidence.missing]
        return _untested(hypothesis, ": ".join(filter(None, reasons)), evidence.missing)
    sides = treatment_ST[complete_S], control_ST[complete_S]
    means = [side.mean(axis=1) if hypothesis.of_means else side for side in sides]
    least = min(side.min() for side in means)
    if least <= 0:
        reason = f"the ratio to a value of {least:g} is undefined"
        return _untested(hypothesis, reason, evidence.missing)
    tested = _compare(hypothesis, *sides, evidence, seed)
    notes = [tested.outcome.note]
    if left_out := int((~complete_S).sum()):
        seeds = "1 seed" if left_out == 1 else f"{left_out} seeds"
        notes.append(f"{seeds} without a value for every task left out")
        notes.append(evidence.missing)
    if evidence.rows is not None and tested.outcome.ratio_lower is not None:
        own = "those evaluated" if hypothesis.of_means else "the probe's"
        notes.append(f"the interval also holds for other rows than {own}")
    note = "; ".join(filter(None, notes))
    return tested._replace(outcome=replace(tested.outcome, note=note))


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
    hypothesis: Hypothesis, treatment_ST: Array, control_ST: Array, evidence: Evidence, seed: int
) -> _Tested:
    """The interval and its test: of all tasks together, or of each where they disagree."""
    margin = hypothesis.log_margin
    whole = over_tasks(hypothesis, treatment_ST, control_ST, evidence)
    tasks = by_task(treatment_ST, control_ST, evidence)
    difference = task_differences(
        np.stack([task.values_S for task in tasks], axis=1),
        [task.rows for task in tasks if task.rows is not None],
    )
    disagree = bool(difference.p <= DISAGREE)
    decisive = tasks if disagree else [whole]
    side, other = SIDES if hypothesis.direction == "at least" else SIDES[::-1]
    p, p_opposite = (_largest(each.p(margin, way) for each in decisive) for way in (side, other))
    shown, judged = whole.interval(SHOWN), whole.interval(DECISIVE)
    flips = sign_flip(whole.values_S, margin, side, np.random.default_rng(seed))
    far = abs(margin)
    ratios = {
        name: float(np.exp(task.values_S.mean()))
        for name, task in zip(evidence.treatment, tasks, strict=True)
        if np.isfinite(task.values_S).all()
    }
    notes = [shown.note]
    if disagree:
        notes.append(
            f"tasks disagree ({p_says(difference.p)}): no mean answers for all, and a verdict "
            "has to hold in each"
        )
    outcome = Outcome(
        hypothesis=hypothesis,
        verdict=Verdict.UNDECIDED,
        estimate=shown.estimate,
        ci_lower=_number(shown.low),
        ci_upper=_number(shown.high),
        ratio=float(np.exp(shown.estimate)),
        ratio_lower=_number(np.exp(shown.low)),
        ratio_upper=_number(np.exp(shown.high)),
        verdict_lower=_number(np.exp(judged.low)),
        verdict_upper=_number(np.exp(judged.high)),
        task_ratios=ratios,
        p_tasks=_number(difference.p),
        tasks_disagree=disagree,
        p=_number(p),
        p_equivalence=_number(
            _largest(p for each in decisive for p in (each.p(-far, "greater"), each.p(far, "less")))
        ),
        p_opposite=_number(p_opposite),
        p_sign_flip=flips.p,
        least_p=least_p(len(whole.values_S), "greater") if flips.exact else flips.least_p,
        row_standard_error=None if whole.rows is None else whole.rows.value**0.5,
        rounding_deviation=None if evidence.rounding is None else whole.rounding**0.5,
        num_seeds=treatment_ST.shape[0],
        num_tasks=treatment_ST.shape[1],
        note="; ".join(filter(None, notes)),
    )
    return _Tested(outcome, [each.interval(DECISIVE) for each in decisive], p_opposite)


def _largest(p_values: Iterable[float]) -> float:
    """The largest p-value; NaN if one is, in whatever order they come."""
    return float(np.max([*p_values]))


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
