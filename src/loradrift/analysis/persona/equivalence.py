"""Whether weights and activations reach the same trait: intervals against a margin."""

import math
from collections.abc import Mapping, Sequence

from loradrift.analysis.persona.arms import Arm, main_arm
from loradrift.analysis.persona.findings import Finding, points
from loradrift.analysis.persona.gains import RAISE, Gap
from loradrift.report.verdicts import Verdict
from loradrift.statistics import Interval
from loradrift.statistics.bounded import mean_of


def within(low: float, high: float, margin: float) -> Verdict:
    """The verdict of an interval about equality within a margin; the same for either sign.

    Example:
        >>> [str(within(*ends, margin=10)) for ends in ((-5, 5), (12, 30), (-2, 30))]
        ['supported', 'refuted', 'undecided']
    """
    if -margin < low and high < margin:
        return Verdict.SUPPORTED
    return Verdict.REFUTED if low > margin or high < -margin else Verdict.UNDECIDED


def main_gaps(found: Sequence[Gap], kind: str, against: str, side: int = RAISE) -> list[Gap]:
    """The comparisons of two kinds of arms by their main variants, one per trait."""
    arms: list[Arm] = [each for gap in found for each in (gap.arm.arm, gap.against.arm)]
    pair = main_arm(arms, kind), main_arm(arms, against)
    return [
        each for each in found if (each.arm.arm, each.against.arm) == pair and each.side == side
    ]


def judge_gap(gap: Gap, margin: float, confidence: float = 0.95) -> tuple[Verdict, str]:
    """Whether two arms reach the same trait, and what keeps the data from saying so.

    An arm whose best dose is its largest one may do better at a larger one: nothing is said then
    that more of it could undo. Where it is within the margin of the scale's end it cannot.
    """
    for each in (gap.arm, gap.against):
        if math.isnan(each.dose):
            return Verdict.UNDECIDED, f"{each.arm.text} has no dose that is coherent enough"
        if not each.coherent:
            return Verdict.UNDECIDED, f"no dose of {each.arm.text} is coherent enough but 0"
    interval = gap.difference.interval(gap.num_questions, confidence)
    verdict = within(interval.low, interval.high, margin)
    open_ended = [each.edge and each.best.value < 100 - margin for each in (gap.arm, gap.against)]
    # more of the arm that is behind could undo a difference, more of either an equality
    undone = verdict is Verdict.SUPPORTED and any(open_ended)
    undone |= verdict is Verdict.REFUTED and open_ended[0 if interval.estimate < 0 else 1]
    if undone:
        names = [
            each.arm.text
            for each, is_open in zip((gap.arm, gap.against), open_ended, strict=True)
            if is_open
        ]
        return Verdict.UNDECIDED, f"the largest dose of {' and '.join(names)} is its best one"
    if verdict is Verdict.UNDECIDED:
        return verdict, "the interval holds the margin"
    apart = [each for each in gap.by_seed.values() if not _agrees(each, verdict, interval, margin)]
    if apart:
        told = ", ".join(f"{value:+.3g} of seed {seed}" for seed, value in gap.by_seed.items())
        return Verdict.UNDECIDED, f"directions of several seeds differ ({told})"
    return verdict, ""


def _agrees(value: float, verdict: Verdict, interval: Interval, margin: float) -> bool:
    """Whether one direction alone is on the same side of the margin as all of them."""
    same_side = verdict is Verdict.SUPPORTED or value * interval.estimate > 0
    return within(value, value, margin) is verdict and same_side


def equivalence(
    found: Sequence[Gap], margin: float, coherence: float, lost: Sequence[str]
) -> Finding:
    """Whether weights and activations reach the same trait, in every trait.

    One trait beyond the margin refutes it, at a level for all traits together (Bonferroni).
    """
    name, claim = "Equivalence", (
        f"steering weights and steering activations reach the same trait within {margin:g} points, "
        f"at coherence {coherence:g}"
    )  # fmt: skip
    if lost:
        return Finding(name, claim, Verdict.NO_DATA, f"arm={', '.join(lost)} was not measured")
    own = main_gaps(found, "weight", "activation")
    if not own:
        return Finding(name, claim, Verdict.NO_DATA, "no trait has both arms")
    wide = 1 - 0.05 / len(own)
    judged = {gap.trait: judge_gap(gap, margin) for gap in own}
    far = [gap.trait for gap in own if judge_gap(gap, margin, wide)[0] is Verdict.REFUTED]
    lines = []
    for kind, against in (("weight", "activation"), ("weight", "prompt"), ("activation", "prompt")):
        if pairs := main_gaps(found, kind, against):
            mean = mean_of([gap.difference for gap in pairs])
            least = min(gap.num_questions for gap in pairs)
            words = {"weight": "weights", "activation": "activations", "prompt": "prompt"}
            said = points(mean.interval(least, unbiased=True))
            lines.append(f"{words[kind]} less {words[against]}: {said}")
    if far:
        return Finding(name, claim, Verdict.REFUTED, f"not in {', '.join(far)}", tuple(lines))
    if all(verdict is Verdict.SUPPORTED for verdict, _ in judged.values()):
        return Finding(name, claim, Verdict.SUPPORTED, "", tuple(lines))
    return Finding(name, claim, Verdict.UNDECIDED, _open(judged), tuple(lines))


def _open(judged: Mapping[str, tuple[Verdict, str]]) -> str:
    """What keeps traits from a verdict, each reason once."""
    reasons: dict[str, list[str]] = {}
    for trait, (verdict, why) in judged.items():
        if verdict is not Verdict.SUPPORTED:
            level = "beyond the margin, but not at the level of all traits together"
            reasons.setdefault(why or level, []).append(trait)
    if len(reasons) == 1 and len(judged) == len(next(iter(reasons.values()))):
        return f"in every trait {next(iter(reasons))}"
    return "; ".join(f"{why} ({', '.join(traits)})" for why, traits in reasons.items())
