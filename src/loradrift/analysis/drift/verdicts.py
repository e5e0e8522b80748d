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
from typing import Literal

import numpy as np

from loradrift.analysis.drift.contrasts import ALPHA, Tested, contrast, mean_change
from loradrift.analysis.drift.hypotheses import HYPOTHESES, Evidence, Hypothesis, Outcome, Verdict
from loradrift.statistics import Variance, adjust, stack
from loradrift.statistics.values import Array


def decide(
    evidence: Mapping[str, Evidence],
    hypotheses: Sequence[Hypothesis] = HYPOTHESES,
    seed: int = 0,
) -> list[Outcome]:
    """A verdict for each hypothesis.

    Args:
        evidence: By the hypothesis's name; those left out have no data.
        hypotheses: The whole family that was planned: it is what p-values are corrected for.
        seed: Draws the flips where there are too many blocks to count them.

    Raises:
        ValueError: If evidence names no hypothesis, or its sides differ in tasks or seeds.
    """
    names = [hypothesis.name for hypothesis in hypotheses]
    if unknown := sorted(set(evidence) - set(names)):
        raise ValueError(f"evidence must be for one of {names}, got {unknown}")
    tested = {h.name: _test(h, evidence[h.name], seed) for h in hypotheses if h.name in evidence}

    def p_values(field: Literal["p", "p_opposite"]) -> dict[str, float]:
        found = {name: t for name, t in tested.items() if isinstance(t, Tested)}
        return {name: getattr(found[name], field) if name in found else np.nan for name in names}

    corrected, opposite = adjust(p_values("p")), adjust(p_values("p_opposite"))
    outcomes = []
    for hypothesis in hypotheses:
        result = tested.get(hypothesis.name, f"no results in {hypothesis.table}")
        if isinstance(result, str):
            # Blocks that are not enough are no lack of data: what is missing can be added.
            some = hypothesis.name in evidence and evidence[hypothesis.name].missing
            verdict = Verdict.UNDECIDED if some else Verdict.NO_DATA
            outcomes.append(Outcome(hypothesis=hypothesis, verdict=verdict, note=result))
            continue
        p, against = corrected[hypothesis.name], opposite[hypothesis.name].holm
        outcomes.append(
            Outcome(
                hypothesis=hypothesis,
                verdict=_verdict(hypothesis, result, p.holm, against),
                estimate=result.interval.estimate,
                ci_lower=_number(result.interval.low),
                ci_upper=_number(result.interval.high),
                p=result.p,
                p_bonferroni=p.bonferroni,
                p_holm=p.holm,
                p_benjamini_hochberg=p.benjamini_hochberg,
                p_sign_flip=result.p_sign_flip,
                least_p=result.least_p,
                p_opposite_holm=against,
                p_equivalence=_number(result.p_equivalence),
                num_seeds=result.change_ST.shape[0],
                num_tasks=result.change_ST.shape[1],
                row_standard_error=_row_error(evidence[hypothesis.name].rows),
                note=result.note,
            )
        )
    return outcomes


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _row_error(rows: Variance | None) -> float | None:
    return None if rows is None else float(np.sqrt(rows.value))


def _test(hypothesis: Hypothesis, evidence: Evidence, seed: int) -> Tested | str:
    """Everything measured about one hypothesis, or why nothing is."""
    treatment_ST, control_ST = _sides(hypothesis, evidence)
    complete_S = np.isfinite(treatment_ST).all(axis=1) & np.isfinite(control_ST).all(axis=1)
    if not complete_S.any():
        reason = "no seed has a value for both sides and every task"
        return f"{reason}: {evidence.missing}" if evidence.missing else reason
    treatment_ST, control_ST = treatment_ST[complete_S], control_ST[complete_S]
    if (control_ST <= 0).any():
        return f"a change in percent of {control_ST.min():g} is undefined"
    measure = contrast if hypothesis.test == "noninferiority" else mean_change
    rng = np.random.default_rng(seed)
    result = measure(hypothesis, treatment_ST, control_ST, evidence.rows, rng)
    notes = [result.note]
    if hypothesis.test == "sign_flip" and result.least_p > ALPHA:
        notes.append(f"{treatment_ST.size} blocks cannot reach p <= {ALPHA}")
    left_out = int((~complete_S).sum())
    if left_out:
        notes.append(f"{left_out} seeds without a value for every task left out")
        notes.append(evidence.missing)
    if evidence.rows is not None:
        notes.append("the interval also holds for other rows than the probe's")
    return result._replace(note="; ".join(filter(None, notes)))


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


def _verdict(hypothesis: Hypothesis, result: Tested, p: float, p_opposite: float) -> Verdict:
    interval = result.interval
    above, below = interval.low >= hypothesis.margin, interval.high <= hypothesis.margin
    holds, fails = (above, below) if hypothesis.direction == "at least" else (below, above)
    if holds and p <= ALPHA:
        return Verdict.SUPPORTED
    if fails and p_opposite <= ALPHA:
        # A claim of a difference fails in two ways: no difference worth the margin, or the reverse.
        return Verdict.EQUIVALENT if result.equal else Verdict.REFUTED
    return Verdict.UNDECIDED
