"""The cells of a report: all that may be compared, with one judge's scores."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from loradrift.analysis.steering_cells.comparable import (
    check_comparable,
    choose_judge,
    same_setting,
)
from loradrift.analysis.steering_cells.judged import Judged, judging_command, read_judged
from loradrift.analysis.steering_cells.reading import SteeringCell, read_cells
from loradrift.config import UserError


class Compared(NamedTuple):
    """The cells of a report, all of one setting and judged by one judge."""

    judged: Sequence[Judged]
    """With ``steering.run`` and ``steering.also`` too."""

    measured: Sequence[SteeringCell]
    """The same, and those that the judge has not read."""

    judge: str
    problems: Sequence[str]


def read_compared(runs: Path, cell: str | None, judge: str | None) -> Compared:
    """Read all cells that may be compared.

    Raises:
        UserError: If there is none, they were made in several ways and none is chosen, or two of
            them cannot be compared.
    """
    cells, problems = read_cells(runs)
    cells, lines = same_setting(cells, cell)
    chosen = choose_judge(cells, judge)
    judged, unjudged = [], []
    for each in cells:
        try:
            judged.append(read_judged(each, chosen))
        except UserError as error:
            unjudged.append(str(error))
    if not judged:
        raise UserError(unjudged[0])
    check_comparable(judged)
    waiting = sum(each.counts(each.cell.trait)["unjudged"] for each in judged)
    if waiting:
        todo = f"`{judging_command(chosen)}` judges them"
        lines.append(f"{waiting} answers are not judged yet, and count as unknown: {todo}")
    return Compared(judged, cells, chosen, [*problems, *lines, *unjudged])
