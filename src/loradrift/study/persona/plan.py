"""``study=persona``: its phases, which of them are done, and what the rest will take."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from loradrift.config import Config, UserError
from loradrift.config.job_names import note_shared
from loradrift.runs.cell import hold
from loradrift.study.analyses import do_step
from loradrift.study.cells import key_of
from loradrift.study.disk import check_disk, study_sizes
from loradrift.study.dry_run import Line, cell_lines, step_line
from loradrift.study.hydra_program import Program
from loradrift.study.persona import PERSONA_PHASES, PersonaStudyConfig
from loradrift.study.persona.analyses import Analyses
from loradrift.study.persona.cells import SteeringCell, run_steering, shared
from loradrift.study.persona.steering import SteeringPlan
from loradrift.study.persona.training import PersonaCell, finetuned_cells, side_cells

TRAININGS = ("sides", "finetunings")
STEERINGS = ("steering", "behaviour", "cost")


@dataclass
class PersonaPlan:
    """The cells and analyses of a persona study."""

    columns: ClassVar = ("trait", "arm")
    cell_phases: ClassVar = (*TRAININGS, *STEERINGS)

    estimates: ClassVar = None  # what is generated is not measured
    trained_cells: ClassVar = ()

    program: Program
    settings: Config
    study: PersonaStudyConfig
    typed: Sequence[str]
    """Overrides that all cells share."""

    _trained: dict[str, list[PersonaCell]] = field(default_factory=dict)
    _steered: dict[str, list[SteeringCell]] = field(default_factory=dict)

    @property
    def phases(self) -> list[str]:
        """The chosen phases in the order in which they run."""
        return [each for each in PERSONA_PHASES if each in self.study.phases]

    @cached_property
    def benchmark(self) -> Program:
        """``benchmark.py``, with the launcher of this command."""
        program = self.program.as_benchmark("steering", run_steering)
        note_shared(program.config, map(key_of, shared(self.typed)))
        return program

    @cached_property
    def _steering(self) -> SteeringPlan:
        return SteeringPlan(self.benchmark, self.study, self.typed)

    def cells(self, phase: str) -> Sequence[PersonaCell] | Sequence[SteeringCell]:
        """The cells of a phase, as they were when it was first looked at."""
        return self.trained(phase) if phase in TRAININGS else self.steered(phase)

    def trained(self, phase: str) -> list[PersonaCell]:
        """The trainings of a phase."""
        if phase not in self._trained:
            make = side_cells if phase == "sides" else finetuned_cells
            self._trained[phase] = make(self.program, self.study, self.typed)
        return self._trained[phase]

    def steered(self, phase: str) -> list[SteeringCell]:
        """The cells of a benchmark in a phase."""
        if phase not in self._steered:
            plan = self._steering
            if phase == "steering":
                cells = plan.steering()
            elif phase == "cost":
                cells = plan.cost()
            else:
                cells = plan.behaviour([cell for each in TRAININGS for cell in self.trained(each)])
            self._steered[phase] = cells
        return self._steered[phase]

    def program_of(self, phase: str) -> Program:
        """``train.py`` or ``benchmark.py``."""
        return self.program if phase in TRAININGS else self.benchmark

    def validate(self) -> None:
        """Refuse a source of data that has no personas."""
        if self.settings.data.name == "hub":
            raise UserError(
                "study=persona has nothing on the hub; use data=embedded, or data=local "
                "data.root=<folder that holds persona/>"
            )

    def reach(self) -> None:
        """Everything is on this machine."""

    def warn(self) -> None:
        """There is nothing to say."""

    @cached_property
    def analyses(self) -> Analyses:
        """The phases that read what the cells have left."""
        answered = [cell.folder for each in STEERINGS[:2] for cell in self.steered(each)]
        return Analyses(
            self.settings, self.study, self.benchmark, self.typed,
            [cell for each in TRAININGS for cell in self.trained(each)], answered,
            [cell.folder for cell in self.steered("behaviour")],
        )  # fmt: skip

    def lines(self) -> list[Line]:
        """What there is to do, what is done, and about how long the rest will take."""
        lines: list[Line] = []
        for phase in self.phases:
            if phase in TRAININGS:
                trained = [cell for each in TRAININGS for cell in self.trained(each)]
                lines += cell_lines(phase, self.trained(phase), trained, lambda place: place[1])
            elif phase in STEERINGS:
                cells = self.steered(phase)
                lines += cell_lines(phase, cells, cells, lambda place: None)
            else:
                lines.append(step_line(phase, self.analyses.step(phase)))
        return lines

    def check_disk(self) -> str:
        """What is left to write; what does not fit is refused."""
        phases = [phase for phase in self.phases if phase in TRAININGS]
        left = [cell.config for each in phases for cell in self.trained(each) if not cell.record]
        if not left:
            return "nothing is left to write but answers, tables and figures"
        sizes = study_sizes(left, self.program.at_a_time(len(left)))
        return check_disk(Path(self.settings.runs), sizes, self.study.name)

    def run_phase(self, phase: str, run_cells: Callable[[str], None]) -> None:
        """Do what is left of a phase."""
        if phase not in self.cell_phases:
            do_step(phase, self.analyses.step(phase), self.analyses.maker(phase))
            return
        if phase in STEERINGS:
            self._steered.clear()  # what runs and directions they are of is known now
            for cell in self.steered(phase):
                if not cell.record and cell.folder.is_dir():
                    with hold(cell.folder, wait=True):
                        pass  # a job of a command that was killed may still save there
        run_cells(phase)
        self._trained.clear()
