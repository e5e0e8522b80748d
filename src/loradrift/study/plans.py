"""What every kind of study is to the runner, and the kinds that there are."""

import pkgutil
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from loradrift.config import Config, StudyConfig
from loradrift.study.cells import StudyCell
from loradrift.study.dry_run import Line
from loradrift.study.frontier import FrontierStudyConfig
from loradrift.study.hydra_program import Program
from loradrift.study.persona import PersonaStudyConfig
from loradrift.study.planned import PlannedCell
from loradrift.study.reconstruction import ReconstructionStudyConfig
from loradrift.study.sequence import SequenceStudyConfig

if TYPE_CHECKING:
    from loradrift.study.costs.estimates import Estimates


class Plan(Protocol):
    """The phases, cells and analyses of a study."""

    program: Program
    settings: Config
    study: StudyConfig
    typed: Sequence[str]
    """Overrides that all cells share."""

    columns: tuple[str, str]
    """What the listing calls a cell's first and second place."""

    @property
    def phases(self) -> list[str]:
        """The chosen phases in the order in which they run."""

    @property
    def cell_phases(self) -> Sequence[str]:
        """Those of all phases that are made of cells."""

    def cells(self, phase: str) -> Sequence[PlannedCell]:
        """The cells of a phase, as they were when it was first looked at."""

    def program_of(self, phase: str) -> Program:
        """What runs the cells of a phase."""

    def validate(self) -> None:
        """Judge what was typed, before anything is written."""

    def reach(self) -> None:
        """Try what has to be within reach, before the first phase."""

    def lines(self) -> list[Line]:
        """What there is to do, what is done, and about how long the rest will take."""

    @property
    def estimates(self) -> "Estimates | None":
        """Of cells of which nothing like it is finished; None where none are made."""

    @property
    def trained_cells(self) -> Sequence[StudyCell]:
        """The cells of the chosen phases whose memory is estimated."""

    def check_disk(self) -> str:
        """What is left to write; what does not fit is refused."""

    def warn(self) -> None:
        """Say what a user should know before the first phase."""

    def run_phase(self, phase: str, run_cells: Callable[[str], None]) -> None:
        """Do what is left of a phase; ``run_cells`` runs the cells of one."""


PLANS: dict[type[StudyConfig], str] = {
    StudyConfig: "loradrift.study.plan:StudyPlan",
    FrontierStudyConfig: "loradrift.study.frontier.plan:FrontierPlan",
    PersonaStudyConfig: "loradrift.study.persona.plan:PersonaPlan",
    ReconstructionStudyConfig: "loradrift.study.reconstruction.plan:ReconstructionPlan",
    SequenceStudyConfig: "loradrift.study.sequence.plan:SequencePlan",
}
"""Class of a study's settings -> its plan, ``package.module:class``."""


def plan_of(program: Program, settings: Config, study: StudyConfig, typed: Sequence[str]) -> Plan:
    """The plan of a study."""
    made: Plan = pkgutil.resolve_name(PLANS[type(study)])(program, settings, study, typed)
    return made
