"""What ``study.dry_run=true`` prints: a table of what is left, its time and its memory."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from loradrift.progress import duration
from loradrift.runs import finished_run
from loradrift.study.cells import StudyCell
from loradrift.study.costs.rates import side_by_side
from loradrift.study.disk import size
from loradrift.study.dry_run import Line, whole_records

if TYPE_CHECKING:
    from loradrift.study.costs.estimates import Estimates


def print_listing(
    name: str, lines: Sequence[Line], places: tuple[str, str], at_a_time: int = 1
) -> None:
    """A table, and the sum; ``places`` are what its second and third column are called."""
    columns = ["phase", *places, "cells", "done", "time left"]
    rows = [(*line[:5], _estimate(line.seconds_left)) for line in lines]
    _print_table(rows, columns, f"study={name}", groups=2)
    print(f"time left: {time_left(lines, at_a_time)}")


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


def time_left(lines: Sequence[Line], at_a_time: int = 1) -> str:
    """The sum as text, and how long so many cells side by side take.

    It says of what there is no estimate, and why.
    """
    known = sum(line.seconds_left or 0.0 for line in lines)
    text = duration(known) if known else ""
    if known and at_a_time > 1:
        phases: dict[str, list[float]] = defaultdict(list)
        for line in lines:
            left = max(1, line.number - line.done)
            phases[line.phase] += [(line.seconds_left or 0.0) / left] * left
        side = sum(side_by_side(each, at_a_time) for each in phases.values())
        text += f" one after the other, {duration(side)} with {at_a_time} at a time"
    unknown: dict[str, dict[str, None]] = defaultdict(dict)
    for line in lines:
        if line.seconds_left is None:
            unknown[line.why][line.phase] = None
    reasons = [f"unknown for {', '.join(phases)} ({why})" for why, phases in unknown.items()]
    return ", and ".join([text, *reasons] if text else reasons) or duration(known)


def memory_left(
    cells: Sequence[StudyCell],
    estimates: "Estimates | None",
    at_a_time: Callable[[int], int],
) -> str:
    """Memory of one process, for each way of training that is left: the most over its tasks.

    ``at_a_time`` says how many of so many jobs run side by side.

    A task's own finished runs say what it takes. Estimates are for those that have none: what was
    measured of a method may be the batches of another task.
    """
    found: dict[str, float] = {}
    why: dict[str, None] = {}
    peaks: dict[tuple[str, str], float] = defaultdict(float)
    for cell in cells:
        for record in whole_records([cell]):
            kin = _kin(cell)
            peaks[kin] = max(peaks[kin], record.performance["peak_memory_bytes"])
    left = [cell for cell in cells if cell.trains and not cell.record]
    for cell in left:
        kin = _kin(cell)
        peak: float | str = "nothing like it is finished"
        if kin in peaks:
            peak = peaks[kin]
        elif estimates is not None:
            peak = estimates.peak_bytes(cell.config)
        if isinstance(peak, str):
            why[peak] = None
        else:
            found[kin[1]] = max(peak, found.get(kin[1], 0.0))
    if not found:
        return f"unknown ({'; '.join(why)})" if why else "nothing is left to train"
    each = ", ".join(f"{size(int(peak))} with {name}" for name, peak in found.items())
    number = at_a_time(len(left))
    most = size(int(number * max(found.values())))
    side = f"; {number} at a time need up to {most}" if number > 1 else ""
    rest = f"; unknown for the rest ({'; '.join(why)})" if why else ""
    return f"about {each} in a process{side}{rest}"


def _estimate(seconds: float | None) -> str:
    return "unknown" if seconds is None else duration(seconds)


def _kin(cell: StudyCell) -> tuple[str, str]:
    """Task, and how a cell trains without the learning rate that a frontier names beside it."""
    task, training = cell.listed
    return task, training.partition(" x ")[0]
