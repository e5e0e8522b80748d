"""The runs of a frontier: every configuration at every rate. One that diverges is a result."""

from collections.abc import Sequence

from loradrift.runs import diverged_run
from loradrift.study.cells import StudyCell, seed_cells, with_dumps
from loradrift.study.frontier import FrontierStudyConfig
from loradrift.study.frontier.configurations import CONFIGURATIONS
from loradrift.study.hydra_program import Program


class FrontierCell(StudyCell):
    """A run of a frontier; its record is there too if it has diverged."""

    @property
    def listed(self) -> tuple[str, str]:
        """Its task, and its configuration with the factor."""
        return self.label

    @property
    def place(self) -> str:
        """``sst2 lora_r8 x 0.1 seed 1``."""
        return f"{' '.join(self.label)} seed {self.config.seed}"

    def is_result(self) -> bool:
        """A loss that is not finite is what this rate comes to."""
        return diverged_run(self.config) is not None

    def outcome(self) -> str:
        """What it reached, or that it diverged."""
        return "diverged" if self.is_result() else super().outcome()


def kind(place: tuple[str, str]) -> tuple[str, str]:
    """Task and configuration, which take as long at every rate.

    >>> kind(("sst2", "lora_r8 x 0.1"))
    ('sst2', 'lora_r8')
    """
    task, setting = place
    return task, setting.partition(" ")[0]


def frontier_cells(
    program: Program, study: FrontierStudyConfig, typed: Sequence[str]
) -> list[FrontierCell]:
    """Every task, configuration and factor with every seed; ``typed`` is what they share."""
    settings, cells = program.settings, list[FrontierCell]()
    shared = with_dumps(typed, settings)
    for task in study.tasks:
        for name in study.configurations:
            for factor in study.factors:
                own = CONFIGURATIONS[name].typed(settings.scale, factor)
                label = task, f"{name} x {factor:g}"
                for cell in seed_cells(program, [*shared, f"task={task}", *own], study.seeds):
                    record = cell.record or diverged_run(cell.config)
                    cells.append(FrontierCell(cell.overrides, cell.config, record, label))
    return cells
