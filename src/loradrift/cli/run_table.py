"""The table that closes a multirun."""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from loradrift.config import UserError
from loradrift.runs import RunRecord, Status, read_record

COLUMNS = ("task", "method", "seeds", "metric", "trainable", "tokens/s", "peak memory", "wall time")


def print_closing_table(notes: Sequence[dict[str, Any]]) -> None:
    """Print one row per task, method and variant, then which jobs failed and why.

    Args:
        notes: ``name`` (of its cell, or its overrides where it has none), ``cell`` (the folder or
            null) and ``error`` of each job.
    """
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console = Console(width=140)  # a log file has no edge to fold at
    cells = dict.fromkeys(note["cell"] for note in notes if note["cell"])  # each once
    records = [_record(Path(cell)) for cell in cells]
    done = [record for record in records if record and record.status is Status.SUCCESS]
    if done:
        variants = [set(record.coordinates["variant"].split(",")) for record in done]
        shared = set.intersection(*variants) - {""}  # they tell no row from another
        caption = f"all with {' '.join(sorted(shared))}" if shared else None
        table = Table(*COLUMNS, title="Finished runs", caption=caption)
        for row in summary_rows(done, shared):
            table.add_row(*row)
        console.print(table)
    pruned = sum(record is not None and record.status is Status.PRUNED for record in records)
    if pruned:
        console.print(f"{pruned} of {len(records)} runs pruned")
    failed = [note for note in notes if note["error"]]
    stopped = [note for note in failed if note["error"].startswith("KeyboardInterrupt")]
    for note in stopped:
        failed.remove(note)
        console.print(f"interrupted {note['name']}", markup=False, highlight=False, soft_wrap=True)
    for note in failed:
        line = f"failed: {note['error']} (in {note['name']})"
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if failed:
        console.print(f"{len(failed)} of {len(notes)} jobs failed")


def _record(cell: Path) -> RunRecord | None:
    try:
        return read_record(cell)
    except UserError:  # damaged; the job itself failed by it, and said so
        return None


def summary_rows(records: Iterable[RunRecord], hidden: set[str]) -> list[tuple[str, ...]]:
    """Mean ± standard deviation over seeds, one row per (task, method, variant without hidden)."""
    groups: dict[tuple[str, str], list[RunRecord]] = defaultdict(list)
    for record in records:
        place = record.coordinates
        own = [part for part in place["variant"].split(",") if part and part not in hidden]
        groups[place["task"], " ".join([place["method"], *own])].append(record)
    return [(task, method, *_figures(group)) for (task, method), group in groups.items()]


def _figures(group: list[RunRecord]) -> tuple[str, ...]:
    metric = group[0].config["task"]["metric"]
    name, shown = f"evaluation/{metric}", metric
    if all(name not in record.metrics for record in group):  # trials know no other
        name, shown = f"validation/{metric}", f"validation {metric}"
    values = [value for record in group if (value := record.metrics.get(name)) is not None]
    rows = {record.fingerprints.get("evaluation_rows") for record in group}
    if len(rows) > 1:
        shown, values = f"{shown} of different rows:", []  # no mean of what is not comparable
    percent = 100 if not metric.endswith("loss") else 1
    mean = percent * statistics.fmean(values) if values else float("nan")
    spread = f" ± {percent * statistics.stdev(values):.2f}" if len(values) > 1 else ""
    tokens = [record.performance.get("tokens_per_s", 0) for record in group]
    memory = [record.performance.get("peak_memory_bytes", 0) for record in group]
    seconds = [record.performance.get("wall_time_s", 0) for record in group]
    trainable = group[0].parameters.get("trainable", 0)
    return (
        ",".join(str(record.coordinates["seed"]) for record in group),
        f"{shown} {mean:.2f}{spread}",
        f"{trainable:,}" if trainable else "-",
        f"{statistics.median(tokens):,.0f}" if any(tokens) else "-",
        f"{max(memory) / 2**30:.2f} GiB",
        f"{statistics.median(seconds):.1f} s",
    )
