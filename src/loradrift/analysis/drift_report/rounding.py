"""What the report says of rounding: how far the same run moves by its last bits."""

import numpy as np
import pandas as pd

from loradrift.analysis.drift.rounding import rounding_variance
from loradrift.analysis.drift.tables import DriftTables
from loradrift.report.blocks import Block, Heading, Paragraph, Table


def rounding_blocks(tables: DriftTables) -> list[Block]:
    """The floor of any difference between runs, or the commands that measure it."""
    blocks: list[Block] = [Heading("Rounding is another seed")]
    tasks = list(dict.fromkeys(tables.runs["task"]))
    if len(tables.rounding):
        blocks += [Paragraph(_in_words(tables, tasks)), _table(tables)]
    arms = tables.rounding.groupby("task")["method"].nunique()
    missing = [task for task in tasks if arms.get(task, 0) < len(tables.arms)]
    if missing:
        commands = "; ".join(f"`{_command(tables, task)}`" for task in missing)
        blocks.append(
            Paragraph(
                f"How far rounding alone moves the drift of both arms was not measured on "
                f"{', '.join(missing)}. The same runs with their first weights moved in the last "
                f"bit show it: {commands}."
            )
        )
    return blocks


def _in_words(tables: DriftTables, tasks: list[str]) -> str:
    rounding = tables.rounding
    least, most = rounding["roundings"].min(), rounding["roundings"].max()
    times = f"{least} to {most} times" if least < most else "once" if most == 1 else f"{most} times"
    parts = []
    for arm in tables.arms:
        own = rounding[rounding["method"] == arm.name]
        if len(own):
            parts.append(f"{arm.label}'s drift by a factor of {_factor(own['sd_log_drift'])}")
    variances = [rounding_variance(rounding, [task]) for task in tasks]
    both = [variance.value**0.5 for variance in variances if variance is not None]
    if both:
        parts.append(f"the ratio of the arms on one task by {_factor(pd.Series(both))}")
    return (
        f"The same runs, with their first weights moved in the last bit, {times}: rounding "
        f"alone changes {', '.join(parts[:-1])}{' and ' if parts[1:] else ''}{parts[-1]} (one "
        "standard deviation, over all tasks that were measured). Another processor does the same, "
        "so no smaller difference between two runs says anything."
    )


def _factor(deviations: pd.Series) -> str:
    """The mean variance as a factor."""
    return f"{np.exp(np.sqrt((deviations**2).mean())):.3g}"


def _table(tables: DriftTables) -> Table:
    rounding = tables.rounding
    shown = tables.arms.labelled(rounding[["task", "method", "seed", "drift"]]).copy()
    shown["drift of its copies"] = [
        ", ".join(f"{drift:.3g}" for drift in own) for own in rounding["nudged_drifts"]
    ]
    shown["factor"] = np.exp(rounding["sd_log_drift"])
    variances = {task: rounding_variance(rounding, [task]) for task in rounding["task"].unique()}
    ratios = {task: np.exp(each.value**0.5) for task, each in variances.items() if each}
    shown["factor, ratio of the arms"] = [ratios.get(task, np.nan) for task in shown["task"]]
    shown["score, sd"] = rounding["sd_score"]
    return Table(
        shown,
        "Runs and their copies that differ in rounding alone (trainer.rounding), where the runs "
        "are compared. A factor is one standard deviation of the logarithm, over a run and its "
        "copies.",
    )


def _command(tables: DriftTables, task: str) -> str:
    """What makes the copies of a task's first runs."""
    first = tables.runs[tables.runs["task"] == task].iloc[0]
    typed = first.get("typed", task)
    methods = [f"{each} seed={first['seed']} {first['overrides']}" for each in tables.arms.typed]
    return "`, `".join(
        f"python train.py -m task={typed} {method} trainer.rounding=1,2" for method in methods
    )
