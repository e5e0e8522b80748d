"""``study=frontier``: its phases, which of them are done, and what the rest will take."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from loradrift.config import Config
from loradrift.study.analyses import READ, Step, analyse_study, do_step, stamp_of
from loradrift.study.bases import make_bases
from loradrift.study.cells import check_dumps
from loradrift.study.disk import check_disk, study_sizes
from loradrift.study.dry_run import (
    Line,
    base_lines,
    cell_lines,
    estimates_of,
    step_line,
    unlike,
)
from loradrift.study.frontier import FRONTIER_PHASES, FrontierStudyConfig
from loradrift.study.frontier.cells import FrontierCell, frontier_cells, kind
from loradrift.study.hydra_program import Program

if TYPE_CHECKING:
    from loradrift.study.costs.estimates import Estimates

REPORTS = ("frontier.json", "report.html")


@dataclass
class FrontierPlan:
    """The cells of a frontier and their report."""

    columns: ClassVar = ("task", "configuration")
    cell_phases: ClassVar = ("sweep",)

    program: Program
    settings: Config
    study: FrontierStudyConfig
    typed: Sequence[str]
    """Overrides that all cells share."""

    @property
    def phases(self) -> list[str]:
        """The chosen phases in the order in which they run."""
        return [each for each in FRONTIER_PHASES if each in self.study.phases]

    @cached_property
    def _planned(self) -> list[FrontierCell]:
        return frontier_cells(self.program, self.study, self.typed)

    def cells(self, phase: str) -> list[FrontierCell]:
        """The cells, as they were when they were first looked at."""
        return self._planned

    def program_of(self, phase: str) -> Program:
        """The command's own."""
        return self.program

    def validate(self) -> None:
        """Judge every cell, before anything is written."""
        check_dumps(self.settings, self.study.name)
        self.cells("sweep")

    def reach(self) -> None:
        """Everything is on this machine."""

    def warn(self) -> None:
        """Nothing is to be said."""

    @property
    def step(self) -> Step:
        """What the report reads and writes."""
        results = Path(self.settings.results, "frontier")
        reads = [cell.folder / name for cell in self.cells("sweep") for name in READ]
        return Step(stamp_of("report", self.settings), reads, [results / name for name in REPORTS])

    def lines(self) -> list[Line]:
        """What there is to do, what is done, and about how long the rest will take."""
        lines, cells = list[Line](), self.cells("sweep")
        for phase in self.phases:
            match phase:
                case "base":
                    lines += base_lines(cells, self.estimates)
                case "sweep":
                    lines += cell_lines(phase, cells, cells, kind, self.estimates)
                case _:
                    lines.append(step_line(phase, self.step))
        return lines

    @cached_property
    def estimates(self) -> "Estimates | None":
        """Of the configurations of which no rate is finished."""
        cells = self.trained_cells
        return estimates_of(self.program, unlike(cells, cells, kind))

    @property
    def trained_cells(self) -> list[FrontierCell]:
        """The cells, where they are to be run."""
        return self.cells("sweep") if "sweep" in self.phases else []

    def check_disk(self) -> str:
        """What is left to write; what does not fit is refused."""
        left = [cell.config for cell in self.trained_cells if not cell.record]
        if not left:
            return "nothing is left to write but tables and figures"
        sizes = study_sizes(left, self.program.at_a_time(len(left)))
        return check_disk(Path(self.settings.runs), sizes, self.study.name)

    def run_phase(self, phase: str, run_cells: Callable[[str], None]) -> None:
        """Do what is left of a phase."""
        match phase:
            case "base":
                make_bases(self.cells("sweep"), self.settings.cache)
            case "sweep":
                run_cells(phase)
            case _:
                do_step(phase, self.step, self._report)

    def _report(self) -> None:
        analyse_study("frontier", self.settings, baseline=self.study.configurations[0])
