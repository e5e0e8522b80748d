"""What a study has done and has left, and about how long that will take."""

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from loradrift.config import StudyConfig, UserError
from loradrift.config.studies import phase_folder
from loradrift.progress import duration
from loradrift.runs import RunRecord, Status, finished_run, read_record
from loradrift.study.analyses import Step
from loradrift.study.cells import StudyCell
from loradrift.study.planned import PlannedCell


class Line(NamedTuple):
    """Cells, trials or analyses of one kind."""

    phase: str
    task: str
    method: str
    number: int
    done: int
    seconds_left: float | None
    """Estimated from the finished ones; None where there are none."""


def same_place(place: tuple[str, str]) -> object:
    """Cells take as long as those of the same place alone."""
    return place


def cell_lines(
    phase: str,
    cells: Iterable[PlannedCell],
    alike: Iterable[PlannedCell] = (),
    kin: Callable[[tuple[str, str]], object] = same_place,
) -> list[Line]:
    """One line for each place; cells that are ``alike`` and of the same ``kin`` take as long."""
    groups: dict[tuple[str, str], list[RunRecord | None]] = defaultdict(list)
    for cell in cells:
        groups[cell.listed].append(cell.record)
    others: dict[object, list[RunRecord]] = defaultdict(list)
    for cell in alike:
        if cell.record:
            others[kin(cell.listed)].append(cell.record)
    lines = []
    for place, records in groups.items():
        finished = [record for record in records if record]
        lines.append(
            _line(phase, place, len(records), len(finished), finished or others[kin(place)])
        )
    return lines


def search_lines(study: StudyConfig, runs: Path, settled: Mapping[str, int]) -> list[Line]:
    """One line for each search; its trials are cells too, and say how long one takes."""
    folder = runs / phase_folder(study.name, "search")
    lines = []
    for task in study.tasks:
        for method in study.methods:
            patterns = (f"{task}/{method}/seed=*/run.json", f"{task}/{method},*/seed=*/run.json")
            paths = [path for pattern in patterns for path in folder.glob(pattern)]
            records = [record for path in paths if (record := _ended(path.parent))]
            done = settled.get(f"{study.name}/{task}/{method}", 0)
            lines.append(_line("search", (task, method), study.trials, done, records))
    return lines


def base_lines(production: Sequence[StudyCell]) -> list[Line]:
    """One line for each task; its base is there once one of its cells is."""
    tasks = dict.fromkeys(cell.config.task.name for cell in production)
    there = {cell.config.task.name for cell in production if cell.record}
    return [
        Line("base", task, "", 1, int(task in there), 0.0 if task in there else None)
        for task in tasks
    ]


def step_line(phase: str, step: Step) -> Line:
    """The line of an analysis."""
    seconds = 0.0 if step.done else step.remembered.get("seconds")
    return Line(phase, "", "", 1, int(step.done), seconds)


def _line(
    phase: str, place: tuple[str, str], number: int, done: int, finished: list[RunRecord]
) -> Line:
    left = max(0, number - done)
    # a process that died while it recorded an early end left no time
    known = [record.performance.get("wall_time_s") for record in finished]
    seconds = [each for each in known if each is not None]
    estimate = left * statistics.median(seconds) if seconds else None
    return Line(phase, *place, number, done, estimate if left else 0.0)


def _ended(folder: Path) -> RunRecord | None:
    """The record of a trial that came to its end, was pruned, or collapsed."""
    try:
        record = read_record(folder)
    except UserError:
        return None
    if record is None or not (record.status.is_finished or record.status is Status.PRUNED):
        return None
    return record


def print_listing(name: str, lines: Sequence[Line], places: tuple[str, str]) -> None:
    """A table, and the sum; ``places`` are what its second and third column are called."""
    columns = ["phase", *places, "cells", "done", "time left"]
    rows = [(*line[:5], _estimate(line.seconds_left)) for line in lines]
    _print_table(rows, columns, f"study={name}", groups=2)
    print(f"time left: {time_left(lines)}")


def print_memory(cells: Iterable[StudyCell]) -> None:
    """A table of what each task and method needed in its sanity check, and will in production."""
    rows = []
    for cell in cells:
        config = cell.config
        record = cell.record or finished_run(config)
        assert record is not None
        peak = record.performance["peak_memory_bytes"] / 2**20
        trainable = record.parameters["trainable"]
        rows.append((config.task.name, config.method.name, f"{trainable:,}", f"{peak:.0f} MiB"))
    columns = ["task", "method", "trainable", "peak memory"]
    _print_table(rows, columns, "Memory of each task and method")


def _print_table(rows: list[Any], columns: list[str], title: str, groups: int = 0) -> None:
    import pandas as pd

    from loradrift.report.terminal import print_table

    print_table(pd.DataFrame(rows, columns=columns), title, groups=groups)


def time_left(lines: Sequence[Line]) -> str:
    """The sum as text; it says of what there is no estimate."""
    known = sum(line.seconds_left or 0.0 for line in lines)
    unknown = dict.fromkeys(line.phase for line in lines if line.seconds_left is None)
    if not unknown:
        return duration(known)
    rest = f"unknown for {', '.join(unknown)} (nothing like it is finished)"
    return f"{duration(known)}, and {rest}" if known else rest


def _estimate(seconds: float | None) -> str:
    return "unknown" if seconds is None else duration(seconds)
