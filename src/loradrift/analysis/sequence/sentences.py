"""What the tables say, in words: the report, the terminal and the JSON have the same."""

import math
from collections.abc import Mapping
from typing import Any

from loradrift.analysis.frontier.ratios import EQUALS, LESS, MORE
from loradrift.analysis.frontier.reading import arm_label
from loradrift.analysis.plain_json import rows as rows_of
from loradrift.analysis.reconstruction.verdicts import LINE
from loradrift.analysis.sequence.along import COSTS
from loradrift.analysis.sequence.tables import NOT_LEARNED, ChainReport, unlearned
from loradrift.analysis.sequence.transfer import MEASURES
from loradrift.report.blocks import interval_text, p_says

Row = Mapping[str, Any]
"""Of the table of comparisons, or of summaries."""

WITHIN, BETWEEN = f"equal, within {LINE:g} points", "equal, between 0.8 and 1.25 times"

WORDS = {
    "accuracy": {LESS: "lower accuracy", MORE: "higher accuracy", EQUALS: WITHIN},
    "backward_transfer": {
        LESS: "less backward transfer, it loses more of earlier tasks",
        MORE: "more backward transfer, it keeps more of earlier tasks",
        EQUALS: WITHIN,
    },
    "forgetting": {LESS: "less forgetting", MORE: "more forgetting", EQUALS: WITHIN},
    "neutral": {LESS: "less forgetting", MORE: "more forgetting", EQUALS: BETWEEN},
    "drift": {LESS: "less drift", MORE: "more drift", EQUALS: BETWEEN},
}
"""Measure -> verdict -> how it is written."""

GAINS = ("accuracy", "backward_transfer")
"""Measures of which more is better."""

OVER = (
    "Intervals are at 95 %: over seeds (t), on these evaluated rows; over evaluated rows "
    "(jackknife, rows paired between a task's own step and the last), for these seeds."
)
"""What the intervals of a page are over."""


def label_of(measure: str) -> str:
    """How a measure is written."""
    return MEASURES[measure].label if measure in MEASURES else COSTS[measure]


def verdict_text(row: Row) -> str:
    """``less drift``, ``undecided: the interval holds 0``."""
    verdict = WORDS[row["measure"]].get(row["verdict"], str(row["verdict"]))
    return f"{verdict}: {row['why']}" if row["why"] else verdict


def points_text(row: Row, name: str, unit: str = "points") -> str:
    """``+4.5 points (95 % over 3 seeds 3 to 6, over evaluated rows 2.9 to 6.1)``.

    What is not known is left out.
    """
    count = row["num_seeds"]
    seeds = interval_text(row[f"{name}_low"], row[f"{name}_high"])
    rows = interval_text(row.get("rows_low"), row.get("rows_high"))
    parts = ["one seed" if count == 1 else f"95 % over {count:.0f} seeds {seeds}"]
    parts += [f"over evaluated rows {rows}"] if rows != "-" else []
    return f"{row[name]:+.3g} {unit} ({', '.join(parts)})"


def ratio_text(row: Row) -> str:
    """``0.7 times (95 % over 3 seeds 0.6 to 0.8)``; of one seed without an interval."""
    count = row["num_seeds"]
    ends = interval_text(row["ratio_low"], row["ratio_high"])
    said = "one seed" if count == 1 else f"95 % over {count:.0f} seeds {ends}"
    return f"{row['ratio']:.3g} times ({said})"


def comparison_text(row: Row) -> str:
    """One arm against the control in one measure, in a sentence without its end."""
    base, measure = arm_label(row["baseline"]), row["measure"]
    if row["verdict"] == NOT_LEARNED:
        return f"{label_of(measure)}: nothing is compared, {row['why']}"
    if not row["num_seeds"]:
        return f"{label_of(measure)}: {row['label']} and {base} share no seed"
    if measure in MEASURES:
        said = f"{label_of(measure)}: {row['label']} minus {base} {points_text(row, 'difference')}"
    elif math.isnan(row["ratio"]):
        said = (
            f"{row['label']} forgets {points_text(row, 'difference', 'nats per token')} of neutral "
            f"text against {base}; no ratio, since some runs forget nothing"
        )
    elif measure == "neutral":
        said = f"{row['label']} forgets {ratio_text(row)} as much of neutral text as {base}"
    else:
        said = f"{row['label']} drifts {ratio_text(row)} as far from the first model as {base}"
    return f"{said}: {verdict_text(row)}"


def flips_text(row: Row) -> str:
    """``sign-flip p = 0.25 (3 seeds reach 0.25 at least)``; of fewer that differ their number.

    >>> flips_text({"num_seeds": 3, "num_differ": 2, "p": 0.5, "least_p": 0.5})
    'sign-flip p = 0.5 (2 of 3 seeds differ, which reach 0.5 at least)'
    """
    count, differ = int(row["num_seeds"]), int(row["num_differ"])
    if differ < count:
        said = f"{differ} of {count} seeds differ, which reach"
    else:
        said = "one seed reaches" if count == 1 else f"{count} seeds reach"
    return f"sign-flip {p_says(row['p'])} ({said} {row['least_p']:.2g} at least)"


def own_transfer(found: ChainReport, arm: str) -> str:
    """An arm's own backward transfer; empty for a chain of one task."""
    for row in rows_of(found.tables["summary"]):
        if (row["arm"], row["measure"]) == (arm, "backward_transfer"):
            return f"{row['value']:+.3g} points with {arm_label(arm)}"
    return ""


def short_text(row: Row) -> str:
    """A comparison as a part of the answer, with the interval over seeds alone."""
    if row["verdict"] == NOT_LEARNED or not row["num_seeds"]:
        return comparison_text(row)
    is_ratio = not math.isnan(row["ratio"])
    unit = "times" if is_ratio else "points" if row["measure"] in MEASURES else "nats per token"
    name = "ratio" if is_ratio else "difference"
    ends = interval_text(row[f"{name}_low"], row[f"{name}_high"])
    value = f"{row[name]:.3g}" if is_ratio else f"{row[name]:+.3g}"
    shown = "" if ends == "-" else f" ({ends})"
    return f"{label_of(row['measure'])} {value} {unit}{shown}, {verdict_text(row)}"


SHOWN = ("backward_transfer", "neutral", "drift")
"""Measures of the answer."""


def answer(found: ChainReport) -> str:
    """The page's answer: each arm's backward transfer, and each arm against the control."""
    chain = " -> ".join(map(found.task_label, found.order))
    own = [text for arm in found.arms if (text := own_transfer(found, arm))]
    said = [
        f"After {chain} backward transfer is {', '.join(own)}." if own else f"One task: {chain}."
    ]
    base = arm_label(found.baseline)
    for arm in found.arms[1:]:
        rows = [row for row in found.compared if row["arm"] == arm and row["measure"] in SHOWN]
        texts = "; ".join(map(short_text, rows)) or "nothing is compared"
        said.append(f"{arm_label(arm)} against {base}: {texts}.")
    if len(found.arms) == 1:
        said.append(f"No other arm to compare with {base}.")
    return f"{' '.join(said)} {rests_on(found)}."


def rests_on(found: ChainReport) -> str:
    """Model, data and seeds, over which there are intervals if there are several."""
    config = found.chains[0].runs[0].record.config
    model, data = (config.get(key, {}).get("name") for key in ("model", "data"))
    seeds = sorted({chain.seed for chain in found.chains})
    if len(seeds) == 1:
        return f"Model {model}, data {data}, seed {seeds[0]}; no interval over seeds"
    shown = ", ".join(map(str, seeds))
    return f"Model {model}, data {data}, seeds {shown}; 95 % intervals over seeds"


def diverged_lines(found: ChainReport) -> list[str]:
    """A line for each step that diverged."""
    return [
        f"seed={step.seed}: {arm_label(step.arm)} diverged at step {len(step.order)} "
        f"({step.record.task_label}), so its chain ends there: {step.record.error}"
        for step in found.diverged
    ]


def unlearned_lines(found: ChainReport) -> list[str]:
    """A line for each arm that was not shown to have learned a task in its own step."""
    lines = []
    for arm in found.arms:
        lost = unlearned(found.tables["learned"], arm)
        if tasks := [found.task_label(task) for task in found.order if task in lost]:
            lines.append(
                f"{arm_label(arm)} was not shown to have learned {', '.join(tasks)} in its own "
                "step (its interval reaches the best constant answer): what it lost of that later "
                "is shown, and no part of a verdict on earlier tasks"
            )
    return lines
