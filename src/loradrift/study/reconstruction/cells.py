"""The runs of a reconstruction study: the sweep over configurations, and the rates."""

from collections.abc import Sequence

from loradrift.runs import Status, read_record
from loradrift.study.cells import StudyCell, is_typed, seed_cells, without
from loradrift.study.hydra_program import Program
from loradrift.study.reconstruction import ReconstructionStudyConfig
from loradrift.study.reconstruction.configurations import BASELINE, CONFIGURATIONS

OF_LORA = ("method", "task.adapt")
"""Keys that the baseline does not have."""


class ReconstructionCell(StudyCell):
    """A run of a reconstruction study."""

    @property
    def listed(self) -> tuple[str, str]:
        """Its configuration, and what that adapts; or how many latents it has."""
        return self.label

    @property
    def place(self) -> str:
        """``r8_a16_l12 (2 of 4 blocks) seed 1``."""
        name, how = self.label
        return f"{name} ({how}) seed {self.config.seed}"

    @property
    def work(self) -> float:
        """Its optimizer steps, about."""
        config, task = self.config, self.config.task
        limits = [] if task.max_steps is None else [float(task.max_steps)]
        if task.epochs is not None and config.data.train_rows is not None:
            size = task.batch_size * config.trainer.accumulate * config.trainer.devices
            limits.append(max(1.0, task.epochs * config.data.train_rows / size))
        return min(limits, default=super().work)

    def state(self) -> str:
        """How many steps it has done, of how many."""
        return f"step {self.work_so_far():.0f} of {self.work:.0f}"

    def outcome(self) -> str:
        """What it reached, or that it collapsed."""
        record = read_record(self.folder)
        collapsed = record is not None and record.status is Status.COLLAPSED
        return "collapsed" if collapsed else super().outcome()


def sweep_cells(
    program: Program, study: ReconstructionStudyConfig, typed: Sequence[str], depth: int
) -> list[ReconstructionCell]:
    """Every configuration with every seed, on a model of so many blocks."""
    shared = shared_overrides(study, typed)
    cells: list[ReconstructionCell] = []
    for name in study.configurations:
        configuration = CONFIGURATIONS[name]
        keys = without(shared, *OF_LORA) if name == BASELINE else shared
        label = name, configuration.adapted(depth)
        made = seed_cells(program, [*keys, *configuration.typed(depth)], study.seeds)
        cells += [ReconstructionCell(*cell[:3], label) for cell in made]
    return cells


def rate_cells(
    program: Program, study: ReconstructionStudyConfig, typed: Sequence[str], swept: int
) -> list[ReconstructionCell]:
    """The baseline with other numbers of latents than the sweep's, which has that point already."""
    shared = without(shared_overrides(study, typed), *OF_LORA, "task.num_latents")
    cells: list[ReconstructionCell] = []
    for number in study.latents:
        if number == swept:
            continue
        keys = [*shared, f"task.num_latents={number}", *CONFIGURATIONS[BASELINE].typed(1)]
        made = seed_cells(program, keys, study.seeds[: study.rate_seeds])
        label = BASELINE, f"{number} latents"
        cells += [ReconstructionCell(*cell[:3], label) for cell in made]
    return cells


def shared_overrides(study: ReconstructionStudyConfig, typed: Sequence[str]) -> list[str]:
    """What all runs are given: rows and passes, beside what was typed."""
    own = [*typed, "task=reconstruction"]
    if study.samples is not None:
        own.append(f"data.train_rows={study.samples}")
    if study.epochs is not None:
        own.append(f"task.epochs={study.epochs:g}")
        if not is_typed("task.max_steps", typed):
            own.append("task.max_steps=null")  # the scale's would end the passes
    return own
