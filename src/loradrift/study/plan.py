"""``study=drift`` and any grid of tasks, methods and seeds: what it consists of, and its phases."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from loradrift.config import PHASES, Config, StudyConfig
from loradrift.study.analyses import analyse, step_of
from loradrift.study.bases import make_bases
from loradrift.study.cells import (
    CELL_PHASES,
    SEARCHED,
    StudyCell,
    check_dumps,
    is_typed,
    plan_cells,
)
from loradrift.study.disk import check_disk, study_sizes
from loradrift.study.dry_run import (
    Line,
    base_lines,
    cell_lines,
    estimates_of,
    search_lines,
    step_line,
    unlike,
)
from loradrift.study.hydra_program import Program
from loradrift.study.listing import print_memory
from loradrift.study.trials import (
    largest_trial,
    search_arguments,
    settled_trials,
    validate_found,
    validate_number,
    validate_searches,
    validate_storage,
)

if TYPE_CHECKING:
    from loradrift.study.costs.estimates import Estimates


@dataclass
class StudyPlan:
    """The cells, searches and analyses of a study."""

    columns: ClassVar = ("task", "method")
    cell_phases: ClassVar = CELL_PHASES

    program: Program
    settings: Config
    study: StudyConfig
    typed: Sequence[str]
    """Overrides that all cells share."""

    _planned: dict[str, list[StudyCell]] = field(default_factory=dict)

    @property
    def phases(self) -> list[str]:
        """The chosen phases in the order in which they run."""
        left_out = () if self.study.roundings else ("rounding",)
        return [each for each in PHASES if each in self.study.phases and each not in left_out]

    def cells(self, phase: str) -> list[StudyCell]:
        """The cells of a phase, as they were when it was first looked at."""
        if phase not in self._planned:
            self._planned[phase] = plan_cells(phase, self.program, self.study, self.typed)
        return self._planned[phase]

    def program_of(self, phase: str) -> Program:
        """The command's own."""
        return self.program

    def validate(self) -> None:
        """Judge what was typed, and the searches' storage and trials."""
        if {*SEARCHED} & {*self.phases}:
            check_dumps(self.settings, self.study.name)
        validate_storage(self.program)
        if "search" in self.phases:
            validate_searches(self.program, self.study, self.typed)
            validate_number(self.search_lines)
        elif {*SEARCHED} & {*self.phases} and not is_typed("best", self.typed):
            validate_found(self.settings, self.search_lines)

    def reach(self) -> None:
        """Open the searches' storage."""
        if "search" in self.phases:
            validate_storage(self.program, reach=True)

    def run_phase(self, phase: str, run_cells: Callable[[str], None]) -> None:
        """Do what is left of a phase."""
        match phase:
            case "base":
                # sanity checks and baselines need the same
                made = {"sanity", "baselines"} <= set(self.phases)
                make_bases(self.cells("production"), self.settings.cache, made=made)
            case "search":
                for task in self.study.tasks:
                    for method in self.study.methods:
                        self.program.search(search_arguments(self.typed, task, method))
                for each in SEARCHED:
                    self.forget(each)
            case "analysis" | "report":
                analyse(phase, self.settings, self.program.storage)
            case _:
                run_cells(phase)
        if phase == "sanity":
            print_memory(self.cells(phase))

    def forget(self, phase: str) -> None:
        """Have the cells of a phase looked at anew."""
        self._planned.pop(phase, None)

    def lines(self) -> list[Line]:
        """What there is to do, what is done, and about how long the rest will take."""
        lines: list[Line] = []
        for phase in self.phases:
            match phase:
                case "base":
                    lines += base_lines(self.cells("production"), self.estimates)
                case "search":
                    lines += self.search_lines
                case "analysis" | "report":
                    lines.append(step_line(phase, step_of(phase, self.settings)))
                case "rounding":
                    lines += cell_lines(
                        phase,
                        self.cells(phase),
                        self.cells("production"),
                        estimates=self.estimates,
                    )
                case _:
                    lines += cell_lines(phase, self.cells(phase), estimates=self.estimates)
        return lines

    @cached_property
    def estimates(self) -> "Estimates | None":
        """Of the cells of which nothing like it is finished."""
        cells: list[StudyCell] = []
        for phase in self.phases:
            if phase in CELL_PHASES:
                alike = self.cells("production") if phase == "rounding" else ()
                cells += unlike(self.cells(phase), alike)
        return estimates_of(self.program, cells)

    @property
    def trained_cells(self) -> list[StudyCell]:
        """The cells of all chosen phases."""
        return [cell for each in self.phases if each in CELL_PHASES for cell in self.cells(each)]

    @cached_property
    def search_lines(self) -> list[Line]:
        """One for each search, as they were when they were first looked at."""
        runs = Path(self.settings.runs)
        settled = settled_trials(runs, self.study.name, self.program.storage)
        return search_lines(self.study, runs, settled)

    def warn(self) -> None:
        """Say so if trials that are left may find other values than finished cells have."""
        phases = [phase for phase in self.phases if phase in SEARCHED]
        if "search" not in self.phases or not phases:
            return
        left = {(line.task, line.method) for line in self.search_lines if line.done < line.number}
        made = [cell for phase in phases for cell in self.cells(phase) if cell.record]
        made = [cell for cell in made if is_typed("best", cell.overrides)]
        if left & {(cell.config.task.name, cell.config.method.name) for cell in made}:
            print(
                f"{' and '.join(phases)} cells have the best values so far; where the trials that "
                f"are left find others, they are refused, and study.phases=[{','.join(phases)}] "
                "force=true makes them anew"
            )

    def check_disk(self) -> str:
        """What is left to write; what does not fit is refused."""
        phases = [phase for phase in self.phases if phase in CELL_PHASES]
        left = [cell.config for phase in phases for cell in self.cells(phase) if not cell.record]
        for line in self.search_lines if "search" in self.phases else ():
            if number := max(0, line.number - line.done):  # each as large as it may be
                arguments = search_arguments(self.typed, line.task, line.method)
                left += [largest_trial(self.program, arguments)] * number
        if not left:
            return "nothing is left to write but tables and figures"
        sizes = study_sizes(left, self.program.at_a_time(len(left)))
        return check_disk(Path(self.settings.runs), sizes, self.study.name)
