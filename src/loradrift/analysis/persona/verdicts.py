"""What the data say about prediction, efficiency, composition and interpretability."""

import math
from collections.abc import Sequence

import pandas as pd

from loradrift.analysis.persona.arms import Arm
from loradrift.analysis.persona.composition import Composition
from loradrift.analysis.persona.efficiency import Efficiency, enough, over
from loradrift.analysis.persona.entanglement import Selectivity, mean_selectivity
from loradrift.analysis.persona.equivalence import within
from loradrift.analysis.persona.findings import Finding, points
from loradrift.analysis.persona.gains import RAISE, Reached
from loradrift.analysis.persona.prevention import prevention_verdict
from loradrift.analysis.persona_projection.prediction import claim
from loradrift.analysis.persona_projection.tables import Prediction, figure_texts
from loradrift.report.blocks import interval_text
from loradrift.report.verdicts import Verdict
from loradrift.statistics import Interval
from loradrift.statistics.bounded import mean_of

COSTLY = 1.05
"""The ratio of times from which merged weights are said to cost something."""


def arm_means(reached: Sequence[Reached]) -> dict[Arm, Interval]:
    """What each arm gains on the raising side, on average over the traits where that is defined."""
    found = {}
    for arm in sorted({each.arm for each in reached}, key=lambda arm: arm.order):
        own = [each for each in reached if each.arm == arm and each.side == RAISE]
        own = [each for each in own if not math.isnan(each.gain.value)]
        if own and arm.kind != "none":
            least = min(each.curve.num_questions for each in own)
            found[arm] = mean_of([each.gain for each in own]).interval(least)
    return found


def prediction_finding(found: Prediction | None, why: str, prevention: pd.DataFrame) -> Finding:
    """Whether projections foretell behaviour, and whether training on a direction prevents it."""
    name, lines = "Prediction", []
    if len(prevention):
        verdict = prevention_verdict(prevention)
        lines.append(f"the trait is lower after training with the direction merged: {verdict}")
    if found is None:
        return Finding(name, claim(), Verdict.NO_DATA, why, tuple(lines))
    said = [f"{found.runs} fine-tunings"]
    if found.estimates:
        said += figure_texts(found, "pearson", "spearman", "norm_pearson", "auroc")
    return Finding(name, claim(), found.verdict, found.why, (*said, *lines))


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


def composition_finding(
    found: Sequence[Composition], main: Arm | None, margin: float, coherence: float
) -> Finding:
    """Whether two directions of weights keep what each of them does alone."""
    name = "Composition"
    claim = f"two directions at once leave each trait within {margin:g} points of what it is alone"
    arms = [each.arm for each in found if each.arm.kind == "weight"]
    own = [each for each in found if each.arm == (main if main in arms else (*arms, None)[0])]
    if not own:
        why = "no cell of arm=weight with steering.also was measured"
        return Finding(name, claim, Verdict.NO_DATA, why)
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


def interpretability(
    found: Sequence[Selectivity], main: Arm | None, spaces: Sequence[str]
) -> Finding:
    """Whether a direction moves its own trait more than any other."""
    name = "Interpretability"
    claim = "a direction of weights moves its own trait more than any other"
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
