"""What the numbers say about each hypothesis.

A verdict takes two things that must agree: a one-sided test against the margin, corrected by Holm
over all hypotheses (those without data count: their results, once there, can only help the
others), and the 95 % interval of the seed means, which must lie wholly on one side of the margin.
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
    adjust,
    equivalence,
    least_p,
    noninferiority,
    sign_flip,
    stack,
    t_interval,
)
from loradrift.analysis.statistics.values import Alternative, Array

ALPHA = 0.05


class _Tested(NamedTuple):
    change_ST: Array
    interval: Interval
    p: float
    p_opposite: float
    p_sign_flip: float
    least_p: float
    p_equivalence: float
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
    sign = 1 if hypothesis.change == "decrease" else -1
    change_ST = sign * 100 * (control_ST - treatment_ST) / control_ST
    for_claim: Alternative = "greater" if hypothesis.direction == "at least" else "less"
    against: Alternative = "less" if hypothesis.direction == "at least" else "greater"
    exact = sign_flip(change_ST, hypothesis.margin, for_claim)
    p, p_opposite = exact.p, sign_flip(change_ST, hypothesis.margin, against).p
    change_S = change_ST.mean(axis=1)
    interval = t_interval(change_S, evidence.rows)
    notes = [interval.note]
    if hypothesis.test == "noninferiority":
        test = noninferiority(
            treatment_ST.mean(axis=1), control_ST.mean(axis=1), hypothesis.margin / 100
        )
        if test.note:  # the exact test needs no spread
            notes.append("p is the sign-flip test's")
        else:
            p, p_opposite = test.p, 1 - test.p
    left_out = int((~complete_S).sum())
    floor = least_p(change_ST.size, for_claim)
    if hypothesis.test == "sign_flip" and floor > ALPHA:
        notes.append(f"{change_ST.size} blocks cannot reach p <= {ALPHA}")
    notes += [f"{left_out} seeds without a value for every task left out"] if left_out else []
    equal = equivalence(change_S, np.zeros_like(change_S), -hypothesis.margin, hypothesis.margin)
    note = "; ".join(filter(None, notes))
    return _Tested(change_ST, interval, p, p_opposite, exact.p, floor, equal.p, note)


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
        return Verdict.EQUIVALENT if result.p_equivalence <= ALPHA else Verdict.REFUTED
    return Verdict.UNDECIDED
