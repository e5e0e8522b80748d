"""The parts of the page: what it rests on, the verdicts, the tables."""

import pandas as pd

from loradrift.analysis.frontier.ratios import LESS, MORE
from loradrift.analysis.frontier.reading import arm_label, is_frozen
from loradrift.analysis.frontier.sentences import (
    Row,
    comparison_text,
    control_text,
    diverged_lines,
    flips_text,
    forgetting_text,
    ratio_text,
    rests_on,
    task_label,
    verdict_text,
    where_text,
)
from loradrift.analysis.frontier.tables import Frontier
from loradrift.report.blocks import (
    Block,
    Card,
    Cards,
    Facts,
    Paragraph,
    Table,
    interval_text,
    p_text,
)
from loradrift.runs import RunRecord

GOOD, BAD, OPEN = "#00694D", "#B34700", "#444444"


def facts(found: Frontier) -> Facts:
    """What the figures rest on."""
    whole = [run.record for run in found.runs if not run.diverged]
    rates = found.tables["rates"]
    arms = [
        f"{arm_label(arm)} ({', '.join(f'{rate:g}' for rate in sorted(set(own['rate'])))})"
        for arm in found.arms
        if len(own := rates[rates["arm"] == arm])
    ]
    length = "; ".join(
        f"{task_label(found, task)}: {_length(found.example(task))}" for task in found.tasks
    )
    commits = sorted({str(record.git.get("commit") or "")[:10] for record in whole} - {""})
    devices = sorted({record.device for record in whole} - {""})
    made = [*devices, *(f"commit {commit}" for commit in commits)]
    pairs = [
        ("Study", f"{found.study}: {', '.join(task_label(found, task) for task in found.tasks)}"),
        ("Rests on", rests_on(found)),
        ("Arms and their rates", "; ".join(arms)),
        ("Training", f"{length}; the checkpoint with the best validation score, on rows that are "
                     "not reported; drift, forgetting and update norm are of that checkpoint"),
        ("Made with", ", ".join(made)),
    ]  # fmt: skip
    return Facts([(name, text) for name, text in pairs if text])


def _length(record: RunRecord) -> str:
    """How long a run trained: ``200 steps, 3,200 rows seen``."""
    seen = record.budget.get("rows_seen")
    steps = f"{record.steps:,} steps" + (f", {seen:,.0f} rows seen" if seen else "")
    return "every run diverged" if record.diverged else steps


def cards(found: Frontier) -> Cards:
    """One for each arm and task."""
    made = []
    for row in found.compared:
        known = pd.notna(row["drift"])
        lines = [f"drifts {ratio_text(row, 'drift')} as far", flips_text(row, "drift")]
        lines += [forgetting_text(row), where_text(found, row)]
        made.append(
            Card(
                f"{row['label']}, {task_label(found, row['task'])}",
                f"at equal scores it drifts less than {arm_label(row['baseline'])}",
                verdict_text(row),
                [each for each in lines if each] if known else [comparison_text(found, row)],
                {LESS: GOOD, MORE: BAD}.get(row["verdict"], OPEN),
            )
        )
    return Cards(made)


def opening(found: Frontier) -> list[Block]:
    """What a reader must know before the first number."""
    unlearned = [task_label(found, task) for task in found.tasks if not found.is_learned(task)]
    lines = [f"{text}." for text in diverged_lines(found)]
    if unlearned:
        lines.append(
            f"Not learned: {', '.join(unlearned)}. No arm that trains the backbone beats the best "
            "constant answer, so it is shown and takes no part in a verdict."
        )
    return [Paragraph(line) for line in lines]


def comparison_block(found: Frontier) -> list[Block]:
    """Ratios at equal scores."""
    if not found.compared:
        return [Paragraph(f"No other arm to compare with {arm_label(found.baseline)}.")]
    rows = [
        {
            "task": task_label(found, row["task"]),
            "arm": row["label"],
            "drift, seeds": row["seeds"] or "-",
            "scores": interval_text(row["from"], row["to"]),
            "drift, times": row["drift"],
            "drift, 95 %": interval_text(row["drift_low"], row["drift_high"]),
            "drift, p (least)": _p(row, "drift"),
            "verdict": verdict_text(row),
            "forgetting, seeds": row["forgetting_seeds"] or "-",
            "forgetting, times": row["forgetting"],
            "forgetting, 95 %": interval_text(row["forgetting_low"], row["forgetting_high"]),
            "forgetting, p (least)": _p(row, "forgetting"),
            "nats more": row["nats"],
            "nats, 95 %": interval_text(row["nats_low"], row["nats_high"]),
            "nats, p (least)": _p(row, "nats"),
        }
        for row in found.compared
    ]
    base = arm_label(found.baseline)
    return [
        Table(
            pd.DataFrame(rows),
            f"Drift and forgetting as a multiple of {base}'s, at the scores that both reach (mean "
            "over seeds of their ends): geometric mean over seeds, 95 % t interval, two-sided "
            "sign-flip test and the least p that so many seeds can reach. A ratio of forgetting "
            "needs forgetting at each of these scores; nats more are the difference. Each row is "
            f"at its own 5 %, of {len(rows)} in all.",
        )
    ]


def _p(row: Row, name: str) -> str:
    """A p-value and the least that its seeds can reach: ``0.25 (0.25)``."""
    least = p_text(row[f"{name}_least_p"])
    return "-" if least == "-" else f"{p_text(row[f'{name}_p'])} ({least})"


def parts_block(found: Frontier) -> list[Block]:
    """Ratios in each third of the scores."""
    table = found.tables["parts"]
    if table.empty:
        return [
            Paragraph(
                "Thirds take two seeds of both arms, and scores that both reach with each of them."
            )
        ]
    rows = [
        {
            "task": task_label(found, row["task"]),
            "arm": row["label"],
            "scores": f"{row['part']}: {interval_text(row['from'], row['to'])}",
            "drift, times": row["drift"],
            "98.3 %": interval_text(row["drift_low"], row["drift_high"]),
            "verdict": row["verdict"],
        }
        for row in table.to_dict("records")
    ]
    return [
        Table(
            pd.DataFrame(rows),
            "The same in each third of the scores that every seed compared reaches with both, its "
            "interval at a level for all three together. Curves cross where one third has less and "
            "another more.",
        )
    ]


def rates_block(found: Frontier) -> list[Block]:
    """Every arm and rate."""
    table = found.tables["rates"]
    frozen = table["arm"].map(is_frozen)
    shown = pd.DataFrame(
        {
            "task": [task_label(found, task) for task in table["task"]],
            "arm": [arm_label(arm) for arm in table["arm"]],
            "rate": [f"{rate:g}" for rate in table["rate"]],
            "seeds": table["seeds"],
            "diverged": table["diverged"],
            "score": table["score"],
            "validation": table["validation"],
            "drift": table["drift"].mask(frozen, 0.0),
            "forgetting": table["forgetting"],
            "update norm": table["norm"],
        }
    )
    return [
        Table(
            shown,
            "Every rate: mean over the seeds that did not diverge (drift: geometric mean). "
            "Forgetting in nats per token.",
        )
    ]


def learned_block(found: Frontier) -> list[Block]:
    """Whether each arm learned, and the control."""
    table = found.tables["learned"]
    words = table["learned"].map({True: "yes", False: "no"}).astype(object)
    shown = pd.DataFrame(
        {
            "task": [task_label(found, task) for task in table["task"]],
            "arm": [arm_label(arm) for arm in table["arm"]],
            "rate": [f"{rate:g}" for rate in table["rate"]],
            "score": table["score"],
            "95 %": [
                interval_text(low, high)
                for low, high in zip(table["ci_lower"], table["ci_upper"], strict=True)
            ],
            "constant answer": table["baseline"],
            "learned": words.where(table["learned"].notna(), "not judged"),
        }
    )
    why = [f"{row['arm']}: {row['why_not_judged']}" for row in table.to_dict("records")
           if row["why_not_judged"]]  # fmt: skip
    controls = [
        f"{task_label(found, task)}: {text}."
        for task in found.tasks
        if (text := control_text(found, task))
    ]
    return [
        *map(Paragraph, controls),
        Table(
            shown,
            "Each arm at the rate with the best mean validation score: its reported score with a "
            "95 % interval over rows and seeds, and whether that lies above the best constant "
            "answer. Two arms are not compared on a task that either of them did not learn.",
        ),
        *([Paragraph(f"Not judged: {'; '.join(why)}.")] if why else []),
    ]
