"""Whether the comparison is a fair one: training, settings, and what was learned."""

import pandas as pd

from loradrift.analysis.drift.budget import unequal_training
from loradrift.analysis.drift.learned import not_learned
from loradrift.analysis.drift.tables import DriftTables
from loradrift.report.blocks import Block, Heading, Paragraph, Table, interval_text


def first_words(tables: DriftTables) -> list[Block]:
    """What a reader must know before the first number."""
    lines = unequal_training(tables.arms, tables.budget)
    if unlearned := not_learned(tables.learned):
        lines.append(
            f"not learned: {', '.join(unlearned)}. Neither arm beats the best constant answer, so "
            "there is no part in H1 and H2 for it"
        )
    return [Paragraph(f"{line[0].upper()}{line[1:]}.") for line in lines]


def task_words(tables: DriftTables) -> dict[str, str]:
    """Task -> its name in a table, which says if it was not learned."""
    return {task: f"{task} (not learned)" for task in not_learned(tables.learned)}


def fairness_blocks(tables: DriftTables) -> list[Block]:
    """What was learned, what differs between the arms, and what each run was trained with."""
    differs = tables.arms.labelled(tables.differences)
    return [
        Heading("What was learned"),
        Table(
            _learned(tables),
            "Learned: the 95 % interval of the score, over rows and seeds, lies above the score of "
            "the best constant answer to the same rows. A task that neither arm learned takes no "
            "part in H1 and H2.",
        ),
        *_not_judged(tables),
        Heading("What differs between the arms"),
        Table(
            differs.assign(over_seeds=differs["over_seeds"].map({True: "yes", False: ""})),
            "Every setting that is not the same in both arms, or in all seeds of one (over seeds).",
        ),
        Table(
            _budget(tables),
            "The training budget. A batch is rows x micro-batches x devices. Rows that were not "
            "counted follow from the configuration, in which every batch is full. Runs are "
            "compared at equal rows seen.",
        ),
    ]


def _budget(tables: DriftTables) -> pd.DataFrame:
    budget = tables.arms.labelled(tables.budget)
    dumps = zip(budget["dump_before"], budget["dump_after"], strict=True)
    shown = budget.assign(
        counted=budget["counted"].map({True: "yes", False: "no"}),
        dumps=[" and ".join(dict.fromkeys(map(str, around))) for around in dumps],
    )
    names = {
        "rows_seen": "rows seen", "tokens_seen": "tokens seen", "compared_step": "compared at step",
        "compared_rows": "compared at rows", "dumps": "dumps there", "best_step": "best step",
    }  # fmt: skip
    kept = ["task", "method", "seed", "steps", "batch", "epochs", "counted", *names]
    return shown[kept].rename(columns=names)


def _learned(tables: DriftTables) -> pd.DataFrame:
    table = tables.arms.labelled(tables.learned)
    ends = zip(table["ci_lower"], table["ci_upper"], strict=True)
    words = table["learned"].map({True: "yes", False: "no"}).astype(object)
    shown = table.assign(learned=words.where(table["learned"].notna(), "not judged"))
    shown.insert(5, "95 % interval", [interval_text(low, high) for low, high in ends])
    return shown.drop(columns=["ci_lower", "ci_upper", "why_not_judged"])


def _not_judged(tables: DriftTables) -> list[Block]:
    """Why nobody can tell whether some tasks were learned; these take part like others."""
    unknown = tables.arms.labelled(tables.learned[tables.learned["why_not_judged"] != ""])
    columns = (unknown[name] for name in ("task", "method", "why_not_judged"))
    lines = [f"{task}, {method}: {why}" for task, method, why in zip(*columns, strict=True)]
    return [Paragraph(f"Not judged, and not left out: {'; '.join(lines)}.")] if lines else []
