"""The parts of the page: what it rests on, the verdicts, the tables."""

import math
from typing import Any

import pandas as pd

from loradrift.analysis.frontier.ratios import LESS, MORE
from loradrift.analysis.frontier.reading import arm_label
from loradrift.analysis.frontier.sections import BAD, GOOD, OPEN
from loradrift.analysis.sequence.sentences import (
    GAINS,
    OVER,
    comparison_text,
    diverged_lines,
    flips_text,
    label_of,
    rests_on,
    unlearned_lines,
    verdict_text,
)
from loradrift.analysis.sequence.tables import NOT_LEARNED, ChainReport
from loradrift.report.blocks import (
    Block,
    Card,
    Cards,
    Facts,
    Paragraph,
    Table,
    interval_text,
    p_text,
)  # fmt: skip

CLAIMS = {
    "backward_transfer": "it keeps more of earlier tasks than {base}",
    "neutral": "it forgets less of neutral text than {base}",
    "drift": "it drifts less from the first model than {base}",
}
"""Measures that have a card, and the claim of each."""


def facts(found: ChainReport) -> Facts:
    """What the figures rest on."""
    runs = [step for chain in found.chains for step in chain.runs]
    arms = []
    for arm in found.arms:
        seeds = sorted(chain.seed for chain in found.chains if chain.arm == arm)
        arms.append(f"{arm_label(arm)} (seeds {', '.join(map(str, seeds))})")
    steps = "; ".join(
        f"{found.task_label(task)} ({step.record.steps:,} steps, "
        f"{step.record.rows.get('train', 0):,} training rows, "
        f"{step.record.rows.get('evaluation', 0):,} evaluated)"
        for task, step in zip(found.order, found.chains[0].runs, strict=True)
    )
    commits = sorted({str(step.record.git.get("commit") or "")[:10] for step in runs} - {""})
    devices = sorted({step.record.device for step in runs} - {""})
    made = [*devices, *(f"commit {commit}" for commit in commits)]
    pairs = [
        ("Study", found.study),
        ("Chain", f"{steps}. Each step starts from the model that the one before left, a task "
                  "keeps the head of its own step"),
        ("Arms", "; ".join(arms)),
        ("Rests on", rests_on(found)),
        ("Measured", "the checkpoint with the best validation score of each step, on rows that "
                     "are not reported"),
        ("Made with", ", ".join(made)),
    ]  # fmt: skip
    return Facts([(name, text) for name, text in pairs if text])


def cards(found: ChainReport) -> Cards:
    """One for each arm and claim."""
    made = []
    for row in found.compared:
        if row["measure"] not in CLAIMS:
            continue
        good, bad = (MORE, LESS) if row["measure"] in GAINS else (LESS, MORE)
        lines = [comparison_text(row)]
        if row["verdict"] != NOT_LEARNED and row["num_seeds"]:
            lines.append(flips_text(row))
        made.append(
            Card(
                f"{row['label']}, {label_of(row['measure'])}",
                CLAIMS[row["measure"]].format(base=arm_label(row["baseline"])),
                verdict_text(row),
                lines,
                {good: GOOD, bad: BAD}.get(row["verdict"], OPEN),
            )
        )
    return Cards(made)


def opening(found: ChainReport) -> list[Block]:
    """What a reader must know before the first number."""
    lines = [f"{text}." for text in [*diverged_lines(found), *unlearned_lines(found)]]
    return [Paragraph(f"{line[0].upper()}{line[1:]}") for line in lines]


def summary_block(found: ChainReport) -> list[Block]:
    """Each arm's own means over tasks."""
    rows = [
        {
            "arm": arm_label(row["arm"]),
            "measure": label_of(row["measure"]),
            "tasks": labels(found, row["tasks"]),
            "points": row["value"],
            "95 %, seeds": interval_text(row["value_low"], row["value_high"]),
            "95 %, rows": interval_text(row["rows_low"], row["rows_high"]),
            "by seed": row["by_seed"],
        }
        for row in found.tables["summary"].to_dict("records")
    ]
    return [
        Table(
            pd.DataFrame(rows),
            "Each arm's means over tasks, in percent of each task's own metric. Backward transfer: "
            "score after the last step less that after the task's own. Forgetting: the best score "
            "before the last step less that after it; chance alone makes it positive, since it is "
            f"a maximum. {OVER}",
        )
    ]


def labels(found: ChainReport, tasks: str) -> str:
    """The labels of comma-separated tasks, separated in the same way."""
    return ", ".join(found.task_label(task) for task in tasks.split(", ") if task)


def comparison_block(found: ChainReport) -> list[Block]:
    """Every arm against the control."""
    base = arm_label(found.baseline)
    if not found.compared:
        return [Paragraph(f"No other arm to compare with {base}.")]
    rows = [_compared(found, row) for row in found.compared]
    return [
        Table(
            pd.DataFrame(rows),
            f"Each arm against {base}, of the seeds that both have: the difference (points; of "
            "forgetting on neutral text nats per token), and how many times as much where all are "
            "positive, with the two-sided sign-flip test and the least p that so many seeds can "
            "reach. Tasks that one of the two did not learn take no part in what became of earlier "
            f"tasks. {OVER} Each row is at its own 5 %, of {len(rows)} in all.",
        )
    ]


def _compared(found: ChainReport, row: dict[str, Any]) -> dict[str, Any]:
    costs = row["measure"] == "drift"
    return {
        "arm": row["label"],
        "measure": label_of(row["measure"]),
        "tasks": labels(found, row["tasks"]) or "-",
        "verdict": verdict_text(row),
        "seeds": row["seeds"] or "-",
        "difference": math.nan if costs else row["difference"],
        "95 %, seeds": "-" if costs else interval_text(row["difference_low"],
                                                       row["difference_high"]),
        "95 %, rows": interval_text(row["rows_low"], row["rows_high"]),
        "times": row["ratio"],
        "times, 95 %": interval_text(row["ratio_low"], row["ratio_high"]),
        "p (least)": f"{p_text(row['p'])} ({p_text(row['least_p'])})",
    }  # fmt: skip


def matrix_block(found: ChainReport) -> list[Block]:
    """Scores and drift of every task after every step."""
    rows = [
        {
            "arm": arm_label(row["arm"]),
            "after step": f"{row['step']}: {found.task_label(row['after'])}",
            "task": found.task_label(row["task"]),
            "seeds": row["seeds"],
            "score": row["score"],
            "95 %, seeds": interval_text(row["score_low"], row["score_high"]),
            "95 %, rows": interval_text(row["rows_low"], row["rows_high"]),
            "drift": row["drift"],
            "drift, 95 %": interval_text(row["drift_low"], row["drift_high"]),
            "floor": row["floor"],
        }
        for row in found.tables["matrix"].to_dict("records")
    ]
    return [
        Table(
            pd.DataFrame(rows),
            "Every task after every step: score in percent of its metric, and drift from the very "
            "first model on its probe (geometric mean over seeds), with the floor, the first model "
            f"against itself. {OVER}",
        )
    ]


def along_block(found: ChainReport) -> list[Block]:
    """Forgetting on neutral text and drift after each step."""
    base = arm_label(found.baseline)
    rows = [
        {
            "arm": arm_label(row["arm"]),
            "after step": f"{row['step']}: {found.task_label(row['after'])}",
            "nats per token": row["neutral"],
            "nats, 95 %": interval_text(row["neutral_low"], row["neutral_high"]),
            "minus the control's": row["nats"],
            "minus, 95 %": interval_text(row["nats_low"], row["nats_high"]),
            "drift": row["drift"],
            "drift, 95 %": interval_text(row["drift_low"], row["drift_high"]),
            "times the control's": row["ratio"],
            "times, 95 %": interval_text(row["ratio_low"], row["ratio_high"]),
        }
        for row in found.tables["along"].to_dict("records")
    ]
    return [
        Table(
            pd.DataFrame(rows),
            "After each step, against the very first model: the rise of the loss on neutral text, "
            f"and drift over the probes of the tasks so far; the control is {base}. Intervals over "
            "seeds.",
        )
    ]


def learned_block(found: ChainReport) -> list[Block]:
    """Whether each arm learned each task in its own step."""
    table = found.tables["learned"]
    words = table["learned"].map({True: "yes", False: "no"}).astype(object)
    shown = pd.DataFrame(
        {
            "task": [found.task_label(task) for task in table["task"]],
            "arm": [arm_label(arm) for arm in table["arm"]],
            "score": 100 * table["score"],
            "95 %": [
                interval_text(100 * low, 100 * high)
                for low, high in zip(table["ci_lower"], table["ci_upper"], strict=True)
            ],
            "constant answer": 100 * table["baseline"],
            "learned": words.where(table["learned"].notna(), "not judged"),
        }
    )
    why = [f"{row['arm']}: {row['why_not_judged']}" for row in table.to_dict("records")
           if row["why_not_judged"]]  # fmt: skip
    return [
        Table(
            shown,
            "Each task after its own step: the score in percent with a 95 % interval over rows and "
            "seeds, and whether that lies above the best constant answer.",
        ),
        *([Paragraph(f"Not judged: {'; '.join(why)}.")] if why else []),
    ]
