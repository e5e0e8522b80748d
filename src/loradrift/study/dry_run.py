"""What a study has done and has left, and about how long that will take."""

import re
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from loradrift.config import StudyConfig, UserError
from loradrift.config.studies import phase_folder
from loradrift.runs import RunRecord, Status, read_record
from loradrift.study.analyses import Step
from loradrift.study.cells import StudyCell
from loradrift.study.hydra_program import Program
from loradrift.study.planned import PlannedCell

if TYPE_CHECKING:
    from loradrift.study.costs.estimates import Estimates


class Line(NamedTuple):
    """Cells, trials or analyses of one kind."""

    phase: str
    task: str
    method: str
    number: int
    done: int
    seconds_left: float | None
    """Estimated from the finished ones or by what is measured; None where there is neither."""

    why: str = "nothing like it is finished"
    """Why there is no estimate."""


def same_place(place: tuple[str, str]) -> object:
    """Cells take as long as those of the same place alone."""
    return place


def cell_lines(
    phase: str,
    cells: Iterable[PlannedCell],
    alike: Iterable[PlannedCell] = (),
    kin: Callable[[tuple[str, str]], object] = same_place,
    estimates: "Estimates | None" = None,
) -> list[Line]:
    """One line for each place; cells that are ``alike`` and of the same ``kin`` take as long.

    Where none of these is finished, ``estimates`` say how long they take.
    """
    groups: dict[tuple[str, str], list[PlannedCell]] = defaultdict(list)
    for cell in cells:
        groups[cell.listed].append(cell)
    others: dict[object, list[RunRecord]] = defaultdict(list)
    for cell in alike:
        others[kin(cell.listed)] += whole_records([cell])
    lines = []
    for place, own in groups.items():
        done = sum(1 for cell in own if cell.record)
        finished = whole_records(own)
        line = _line(phase, place, len(own), done, finished or others[kin(place)])
        if line.seconds_left is None and estimates is not None:
            line = _estimated(line, own, estimates)
        lines.append(line)
    return lines


def whole_records(cells: Iterable[PlannedCell]) -> list[RunRecord]:
    """The records that say how long such a cell takes: one that diverged ended early."""
    return [cell.record for cell in cells if cell.record and not cell.record.diverged]


def _estimated(line: Line, cells: Iterable[PlannedCell], estimates: "Estimates") -> Line:
    left = [cell for cell in cells if not cell.record and isinstance(cell, StudyCell)]
    found = [estimates.seconds(cell.config) for cell in left]
    known = [each for each in found if not isinstance(each, str)]
    if len(known) == len(found):
        return line._replace(seconds_left=sum(known))
    return line._replace(why=next(each for each in found if isinstance(each, str)))


def unlike(
    cells: Sequence[StudyCell],
    alike: Iterable[StudyCell] = (),
    kin: Callable[[tuple[str, str]], object] = same_place,
) -> list[StudyCell]:
    """The cells that are left and of which nothing like it is finished (:func:`cell_lines`)."""
    done = {kin(cell.listed) for cell in alike if whole_records([cell])}
    places = {cell.listed for cell in cells if whole_records([cell])}
    left = (cell for cell in cells if not cell.record)
    return [cell for cell in left if kin(cell.listed) not in done and cell.listed not in places]


def estimates_of(program: Program, cells: Sequence[StudyCell]) -> "Estimates | None":
    """Estimates of these cells, with rates that are measured now if need be."""
    if not cells:
        return None
    from loradrift.study.costs.estimates import Estimates  # imports all of training

    estimates = Estimates(program.threads)
    estimates.measure(cell.config for cell in cells)
    return estimates


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


def base_lines(production: Sequence[StudyCell], estimates: "Estimates | None" = None) -> list[Line]:
    """One line for each task; its base is there once one of its cells is."""
    tasks = {cell.config.task.name: cell.config for cell in production}
    there = {cell.config.task.name for cell in production if cell.record}
    lines = []
    for task, config in tasks.items():
        line = Line("base", task, "", 1, int(task in there), 0.0 if task in there else None)
        if task not in there and estimates is not None:
            found = estimates.lengths(config)
            line = (
                line._replace(why=found)
                if isinstance(found, str)
                else line._replace(seconds_left=found.read_s)
            )
        lines.append(line)
    return lines


def step_line(phase: str, step: Step) -> Line:
    """The line of an analysis."""
    seconds = 0.0 if step.done else step.remembered.get("seconds")
    return Line(phase, "", "", 1, int(step.done), seconds)


def _line(
    phase: str, place: tuple[str, str], number: int, done: int, finished: list[RunRecord]
) -> Line:
    left = max(0, number - done)
    seconds = [each for record in finished if (each := idle_seconds(record)) is not None]
    estimate = left * statistics.median(seconds) if seconds else None
    return Line(phase, *place, number, done, estimate if left else 0.0)


def idle_seconds(record: RunRecord) -> float | None:
    """Seconds that a run takes on an idle machine, as far as its record says.

    On a CPU other work on the machine stretches the wall time, and hardly the CPU seconds. None if
    the process died while it recorded an early end.
    """
    threads = re.fullmatch(r"cpu \((\d+) threads\)", record.device)
    cpu = record.performance.get("cpu_time_s")
    if threads and cpu is not None:
        return cpu / int(threads[1])
    return record.performance.get("wall_time_s")


def _ended(folder: Path) -> RunRecord | None:
    """The record of a trial that came to its end, was pruned, or collapsed."""
    try:
        record = read_record(folder)
    except UserError:
        return None
    if record is None or not (record.status.is_finished or record.status is Status.PRUNED):
        return None
    return record
