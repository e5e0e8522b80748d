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
from typing import Literal, NamedTuple

import numpy as np

from loradrift.analysis.hypotheses import HYPOTHESES, Evidence, Hypothesis, Outcome, Verdict
from loradrift.analysis.statistics import (
    Interval,
    SignFlip,
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
from loradrift.analysis.statistics.values import ROUNDING, Alternative, Array

ALPHA = 0.05
LEVELS = (1 - ALPHA, 1 - 2 * ALPHA)
"""Of the interval that a verdict needs, and of that which shows two sides equal."""


class _Tested(NamedTuple):
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


def judge(
    evidence: Mapping[str, Evidence], hypotheses: Sequence[Hypothesis] = HYPOTHESES
) -> list[Outcome]:
    """A verdict for each hypothesis.

    Args:
        evidence: By the hypothesis's name; those left out have no data.
        hypotheses: The whole family that was planned: it is what p-values are corrected for.

    Raises:
        ValueError: If evidence names no hypothesis, or its sides differ in tasks or seeds.
    """
    names = [hypothesis.name for hypothesis in hypotheses]
    if unknown := sorted(set(evidence) - set(names)):
        raise ValueError(f"evidence must be for one of {names}, got {unknown}")
    tested = {h.name: _test(h, evidence[h.name]) for h in hypotheses if h.name in evidence}

    def p_values(field: Literal["p", "p_opposite"]) -> dict[str, float]:
        found = {name: t for name, t in tested.items() if isinstance(t, _Tested)}
        return {name: getattr(found[name], field) if name in found else np.nan for name in names}

    corrected, opposite = adjust(p_values("p")), adjust(p_values("p_opposite"))
    outcomes = []
    for hypothesis in hypotheses:
        result = tested.get(hypothesis.name, f"no results in {hypothesis.table}")
        if isinstance(result, str):
            outcomes.append(Outcome(hypothesis=hypothesis, verdict=Verdict.NO_DATA, note=result))
            continue
        holm, against = corrected[hypothesis.name].holm, opposite[hypothesis.name].holm
        outcomes.append(
            Outcome(
                hypothesis=hypothesis,
                verdict=_verdict(hypothesis, result, holm, against),
                estimate=result.interval.estimate,
                ci_lower=_number(result.interval.low),
                ci_upper=_number(result.interval.high),
                p=result.p,
                p_bonferroni=corrected[hypothesis.name].bonferroni,
                p_holm=holm,
                p_sign_flip=result.p_sign_flip,
                least_p=result.least_p,
                p_opposite_holm=against,
                p_equivalence=_number(result.p_equivalence),
                num_seeds=result.change_ST.shape[0],
                num_tasks=result.change_ST.shape[1],
                note=result.note,
            )
        )
    return outcomes


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _test(hypothesis: Hypothesis, evidence: Evidence) -> _Tested | str:
    """Everything measured about one hypothesis, or why nothing is."""
    treatment_ST, control_ST = _sides(hypothesis, evidence)
    complete_S = np.isfinite(treatment_ST).all(axis=1) & np.isfinite(control_ST).all(axis=1)
    if not complete_S.any():
        return "no seed has a value for both sides and every task"
    treatment_ST, control_ST = treatment_ST[complete_S], control_ST[complete_S]
    if (control_ST <= 0).any():
        return f"a change in percent of {control_ST.min():g} is undefined"
    measured = _contrast if hypothesis.test == "noninferiority" else _mean_change
    result = measured(hypothesis, treatment_ST, control_ST, evidence.rows)
    notes = [result.note]
    if hypothesis.test == "sign_flip" and result.least_p > ALPHA:
        notes.append(f"{treatment_ST.size} blocks cannot reach p <= {ALPHA}")
    left_out = int((~complete_S).sum())
    notes += [f"{left_out} seeds without a value for every task left out"] if left_out else []
    return result._replace(note="; ".join(filter(None, notes)))


def _mean_change(
    hypothesis: Hypothesis, treatment_ST: Array, control_ST: Array, rows: Variance | None
) -> _Tested:
    """The blocks' mean change: exact test over blocks, interval of the seeds' means."""
    change_ST = _sign(hypothesis) * 100 * (control_ST - treatment_ST) / control_ST
    change_S = change_ST.mean(axis=1)
    intervals = [t_interval(change_S, rows, level) for level in LEVELS]
    p, against = (sign_flip(change_ST, hypothesis.margin, side) for side in _sides_of(hypothesis))
    return _tested(hypothesis, change_ST, intervals, p, against)


def _contrast(
    hypothesis: Hypothesis, treatment_ST: Array, control_ST: Array, rows: Variance | None
) -> _Tested:
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
    p, against = (
        sign_flip(change_ST + excess_ST, hypothesis.margin, side) for side in _sides_of(hypothesis)
    )
    result = _tested(hypothesis, change_ST, intervals, p, against)
    test = noninferiority(treatment_S, control_S, hypothesis.margin / 100)
    if test.note:  # the exact test needs no spread
        return result._replace(note=f"{test.note}; p is the sign-flip test's")
    return result._replace(p=test.p, p_opposite=1 - test.p)


def _tested(
    hypothesis: Hypothesis,
    change_ST: Array,
    intervals: Sequence[Interval],
    exact: SignFlip,
    against: SignFlip,
) -> _Tested:
    interval, inner = intervals
    change_S, margin = change_ST.mean(axis=1), hypothesis.margin
    return _Tested(
        change_ST=change_ST,
        interval=interval,
        p=exact.p,
        p_opposite=against.p,
        p_sign_flip=exact.p,
        least_p=least_p(change_ST.size, "greater"),
        p_equivalence=equivalence(change_S, np.zeros_like(change_S), -margin, margin).p,
        # Two one-sided tests, in the form that needs no spread and contains the rows' part.
        equal=max(-inner.low, inner.high) < margin * (1 - ROUNDING),
        note=interval.note,
    )


def _sign(hypothesis: Hypothesis) -> int:
    return 1 if hypothesis.change == "decrease" else -1


def _sides_of(hypothesis: Hypothesis) -> tuple[Alternative, Alternative]:
    """The side of the margin that the claim is on, and the other."""
    return ("greater", "less") if hypothesis.direction == "at least" else ("less", "greater")


def _sides(hypothesis: Hypothesis, evidence: Evidence) -> tuple[Array, Array]:
    if list(evidence.treatment) != list(evidence.control):
        raise ValueError(
            f"{hypothesis.name} must have the same tasks in the same order on both sides, got "
            f"{list(evidence.treatment)} and {list(evidence.control)}"
        )
    treatment_ST, control_ST = stack(evidence.treatment), stack(evidence.control)
    if treatment_ST.shape != control_ST.shape:
        raise ValueError(
            f"{hypothesis.name} must have the same seeds on both sides, got "
            f"{len(treatment_ST)} and {len(control_ST)}"
        )
    return treatment_ST, control_ST


def _verdict(hypothesis: Hypothesis, result: _Tested, p: float, p_opposite: float) -> Verdict:
    interval = result.interval
    above, below = interval.low >= hypothesis.margin, interval.high <= hypothesis.margin
    holds, fails = (above, below) if hypothesis.direction == "at least" else (below, above)
    if holds and p <= ALPHA:
        return Verdict.SUPPORTED
    if fails and p_opposite <= ALPHA:
        # A claim of a difference fails in two ways: no difference worth the margin, or the reverse.
        return Verdict.EQUIVALENT if result.equal else Verdict.REFUTED
    return Verdict.UNDECIDED
