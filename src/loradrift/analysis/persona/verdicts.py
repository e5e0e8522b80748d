"""What the data say about each of the five questions; ``undecided`` is a verdict."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from loradrift.analysis.persona.arms import Arm, main_arm
from loradrift.analysis.persona.composition import Composition
from loradrift.analysis.persona.efficiency import Efficiency, enough, over
from loradrift.analysis.persona.entanglement import Selectivity, mean_selectivity
from loradrift.analysis.persona.gains import RAISE, Gap, Reached
from loradrift.report.blocks import interval_text
from loradrift.report.verdicts import Verdict
from loradrift.statistics import Interval
from loradrift.statistics.bounded import mean_of

COSTLY = 1.05
"""The ratio of times from which merged weights are said to cost something."""


class Finding(NamedTuple):
    """A claim with its verdict."""

    name: str
    claim: str
    verdict: Verdict
    why: str = ""
    """What keeps it from another verdict, or stands behind it; one sentence without its end."""

    lines: tuple[str, ...] = ()


def points(interval: Interval) -> str:
    """``+12 points (5 to 20)``."""
    ends = interval_text(interval.low, interval.high)
    said = "no interval" if ends == "-" else ends
    return f"{interval.estimate:+.3g} points ({said})"


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
    return verdict, "" if verdict is not Verdict.UNDECIDED else "the interval holds the margin"


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
    open_ = [f"{trait}: {why}" for trait, (verdict, why) in judged.items()
             if verdict is not Verdict.SUPPORTED]  # fmt: skip
    why = "; ".join(each if not each.endswith(": ") else f"{each}beyond the margin, but not at the "
                    "level of all traits together" for each in open_)  # fmt: skip
    return Finding(name, claim, Verdict.UNDECIDED, why, tuple(lines))


def steered(reached: Sequence[Reached]) -> dict[str, str]:
    """What each main arm gains on the raising side, on average over traits."""
    said = {}
    for kind in dict.fromkeys(each.arm.kind for each in reached):
        arm = main_arm([each.arm for each in reached], kind)
        own = [each for each in reached if each.arm == arm and each.side == RAISE]
        own = [each for each in own if not math.isnan(each.gain.value)]
        if own and kind != "none":
            least = min(each.curve.num_questions for each in own)
            said[kind] = points(mean_of([each.gain for each in own]).interval(least, unbiased=True))
    return said


def efficiency_finding(found: Efficiency | None) -> Finding:
    """Whether a direction that is merged into the weights costs time."""
    name = "Efficiency"
    claim = f"merged weights take at most {100 * (COSTLY - 1):.0f} % longer per token than none"
    if found is None:
        why = "benchmark=steering_cost was not run with this base model"
        return Finding(name, claim, Verdict.NO_DATA, why)
    lines = []
    for way, words in (("merged", "merged weights"), ("adapter", "an adapter that is not merged"),
                       ("hook", "an activation hook")):  # fmt: skip
        if row := over(found, way, "base"):
            ends = interval_text(row["low"], row["high"])
            lines.append(f"{words}: {row['ratio']:.3g} times as long per token ({ends})")
    row = over(found, "merged", "base")
    if row is None:
        return Finding(name, claim, Verdict.NO_DATA, "merged weights were not timed", tuple(lines))
    if not enough(row["rounds"]):
        why = f"{row['rounds']} rounds are too few"
        return Finding(name, claim, Verdict.UNDECIDED, why, tuple(lines))
    if row["high"] < COSTLY:
        return Finding(name, claim, Verdict.SUPPORTED, "", tuple(lines))
    verdict = Verdict.REFUTED if row["low"] > COSTLY else Verdict.UNDECIDED
    why = "" if verdict is Verdict.REFUTED else f"the interval holds {COSTLY:g}"
    return Finding(name, claim, verdict, why, tuple(lines))


def composition_finding(found: Sequence[Composition], margin: float, coherence: float) -> Finding:
    """Whether two directions of weights keep what each of them does alone."""
    name = "Composition"
    claim = f"two directions at once leave each trait within {margin:g} points of what it is alone"
    main = main_arm([each.arm for each in found], "weight")
    own = [each for each in found if each.arm == main]
    if not own:
        return Finding(name, claim, Verdict.NO_DATA, "no cell with steering.also was measured")
    known = [(each, each.kept.interval(each.num_questions)) for each in own if each.kept]
    lines = [f"{_beside(each)}: {points(interval)} against alone" for each, interval in known]
    if len(known) < len(own):
        lost = ", ".join(sorted({each.judged for each in own if each.kept is None}))
        why = f"{lost} was not steered alone on the same questions"
        return Finding(name, claim, Verdict.UNDECIDED, why, tuple(lines))
    verdicts = [within(interval.low, interval.high, margin) for _, interval in known]
    garbled = [each for each in own if each.coherence < coherence]
    if Verdict.REFUTED in verdicts:
        return Finding(name, claim, Verdict.REFUTED, "", tuple(lines))
    if garbled:
        why = f"the coherence of both together is {garbled[0].coherence:.3g}"
        return Finding(name, claim, Verdict.UNDECIDED, why, tuple(lines))
    if all(each is Verdict.SUPPORTED for each in verdicts):
        return Finding(name, claim, Verdict.SUPPORTED, "", tuple(lines))
    why = "an interval holds the margin"
    return Finding(name, claim, Verdict.UNDECIDED, why, tuple(lines))


def _beside(each: Composition) -> str:
    """``terse beside cheerful``."""
    others = sorted({each.steered, *each.also} - {each.judged})
    return f"{each.judged} beside {' and '.join(others)}"


def interpretability(found: Sequence[Selectivity], spaces: Sequence[str]) -> Finding:
    """Whether a direction moves its own trait more than any other."""
    name = "Interpretability"
    claim = "a direction of weights moves its own trait more than any other"
    main = main_arm([each.arm for each in found], "weight")
    own = [each for each in found if each.arm == main]
    mean = mean_selectivity(own)
    if mean is None:
        why = "no coherent dose of arm=weight is judged for a second trait"
        return Finding(name, claim, Verdict.NO_DATA, why, tuple(spaces))
    interval = mean.interval(min(each.num_questions for each in own))
    lines = (f"own trait less the one moved most beside it: {points(interval)}", *spaces)
    if interval.low > 0:
        return Finding(name, claim, Verdict.SUPPORTED, "", lines)
    verdict = Verdict.REFUTED if interval.high < 0 else Verdict.UNDECIDED
    why = "" if verdict is Verdict.REFUTED else "the interval holds 0"
    return Finding(name, claim, verdict, why, lines)
