"""How reports write tasks: one spelling, which says where rows were generated.

Tables on disk name tasks as they are typed. Whatever is shown is made of the same tables with
labels in their place.
"""

import re
from collections.abc import Mapping
from typing import Any, TypeVar, cast

import pandas as pd

from loradrift.runs import TASK_LABELS

Tables = TypeVar("Tables", bound=tuple[Any, ...])
"""A named tuple of tables."""


def task_labels(table: pd.DataFrame) -> dict[str, str]:
    """Task -> how it is written, as ``task_label`` of its rows says; both where these differ.

    No two tasks are written alike.
    """
    labels = {}
    for task, own in table.groupby("task", sort=False):
        known = own.get("task_label", pd.Series(dtype=object)).dropna().unique()
        labels[str(task)] = " and ".join(known) or TASK_LABELS.get(str(task), str(task))
    written = list(labels.values())
    return {
        task: f"{label}, {task}" if written.count(label) > 1 else label
        for task, label in labels.items()
    }


def labelled(tables: Tables, labels: Mapping[str, str]) -> Tables:
    """The same tables with labels for tasks; a cell may hold several, parted by commas."""
    fields = cast(Any, tables)._asdict()
    return cast(Tables, cast(Any, tables)._replace(
        **{name: with_labels(table, labels) for name, table in fields.items()}
    ))  # fmt: skip


def with_labels(table: pd.DataFrame, labels: Mapping[str, str]) -> pd.DataFrame:
    """A table with labels for tasks in its column ``task``, if it has one.

    Of a table with a column ``task_label``, a column ``typed`` keeps the names of the command line.
    """
    if "task" not in table:
        return table
    if "task_label" in table:
        table = table.drop(columns="task_label").assign(typed=table["task"])
    tasks = {
        cell: ", ".join(labels.get(task, task) for task in cell.split(", "))
        for cell in map(str, table["task"].unique())
    }
    return table.assign(task=table["task"].map(tasks))


def spelt(text: str, labels: Mapping[str, str]) -> str:
    """A line about runs, such as ``mrpc seed=1: …``, with labels for tasks; commands stay."""
    tasks = "|".join(map(re.escape, labels))
    named = re.compile(rf"(?<![\w=/,.-])({tasks})(?= seed=)")
    return named.sub(lambda found: labels[found[0]], text) if labels else text
