"""Whether weights and activations reach the same trait: intervals against a margin."""

import math
from collections.abc import Mapping, Sequence

from loradrift.analysis.persona.arms import Arm
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


def main_gaps(
    found: Sequence[Gap], main: Mapping[str, Arm], kind: str, against: str, side: int = RAISE
) -> list[Gap]:
    """The comparisons of two kinds of arms by their main variants, one per trait."""
    pair = main.get(kind), main.get(against)
    return [
        each for each in found if (each.arm.arm, each.against.arm) == pair and each.side == side
    ]


def judge_gap(gap: Gap, margin: float, confidence: float = 0.95) -> tuple[Verdict, str]:
    """Whether two arms reach the same trait, and what keeps the data from saying so."""
    if why := _incoherent(gap):
        return Verdict.UNDECIDED, why
    interval = gap.difference.interval(gap.num_questions, confidence)
    if math.isnan(interval.low):
        return Verdict.UNDECIDED, f"there is no interval: {interval.note}"
    verdict = within(interval.low, interval.high, margin)
    if verdict is Verdict.UNDECIDED:
        return verdict, "the interval holds the margin"
    ahead = verdict is Verdict.REFUTED and interval.estimate > 0
    behind = verdict is Verdict.REFUTED and interval.estimate < 0
    why = _at_the_edge(gap, margin, ahead, behind) or _seeds_apart(gap, verdict, interval, margin)
    return (Verdict.UNDECIDED, why) if why else (verdict, "")


def _incoherent(gap: Gap) -> str:
    """Whether an arm has no dose to be compared at."""
    for each in (gap.arm, gap.against):
        if math.isnan(each.dose):
            return f"no dose of {each.arm.text} is coherent enough, not even 0"
        if not each.coherent:
            return f"no dose of {each.arm.text} is coherent enough but 0"
    return ""


def _at_the_edge(gap: Gap, margin: float, ahead: bool, behind: bool) -> str:
    """Whether larger doses, which were not measured, could undo what was found.

    An arm whose best dose is its largest one may do better at a larger one, unless it is within the
    margin of the scale's end. More of the arm that is behind could undo a difference, more of
    either an equality.
    """
    sides = [] if ahead else [gap.arm]
    sides += [] if behind else [gap.against]
    names = [each.arm.text for each in sides if each.edge and each.best.value < 100 - margin]
    return f"the largest dose of {' and '.join(names)} is its best one" if names else ""


def _seeds_apart(gap: Gap, verdict: Verdict, interval: Interval, margin: float) -> str:
    """Whether a direction alone is on another side of the margin than all of them together."""
    for value in gap.by_seed.values():
        same_side = verdict is Verdict.SUPPORTED or value * interval.estimate > 0
        if within(value, value, margin) is not verdict or not same_side:
            told = ", ".join(f"{each:+.3g} of seed {seed}" for seed, each in gap.by_seed.items())
            return f"directions of several seeds differ ({told})"
    return ""


def equivalence(
    found: Sequence[Gap],
    main: Mapping[str, Arm],
    margin: float,
    coherence: float,
    lost: Sequence[str],
) -> Finding:
    """Whether weights and activations reach the same trait, in every trait.

    One trait beyond the margin refutes it, at a level for all traits together (Bonferroni).
    """
    name, claim = "Equivalence", (
        f"steering weights and steering activations reach the same trait within {margin:g} points, "
        f"at coherence {coherence:g}"
    )  # fmt: skip
    if lost:
        return Finding(
            name, claim, Verdict.NO_DATA, f"arm={', '.join(lost)} was not measured and judged"
        )
    own = main_gaps(found, main, "weight", "activation")
    if not own:
        return Finding(name, claim, Verdict.NO_DATA, "no trait has both arms")
    wide = 1 - 0.05 / len(own)
    judged = {gap.trait: judge_gap(gap, margin) for gap in own}
    far = [gap.trait for gap in own if judge_gap(gap, margin, wide)[0] is Verdict.REFUTED]
    lines = []
    for kind, against in (("weight", "activation"), ("weight", "prompt"), ("activation", "prompt")):
        if pairs := main_gaps(found, main, kind, against):
            mean = mean_of([gap.difference for gap in pairs])
            least = min(gap.num_questions for gap in pairs)
            words = {"weight": "weights", "activation": "activations", "prompt": "prompt"}
            said = points(mean.interval(least))
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
