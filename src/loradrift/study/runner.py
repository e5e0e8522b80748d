"""The phases of a study, one after the other; each skips what is done.

State lives only in the run folders: the same command goes on where an earlier one ended.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hydra.core.utils import JobStatus

from loradrift.cli.job_summary import note_finished
from loradrift.study.analyses import analyse
from loradrift.study.arguments import read_arguments
from loradrift.study.cells import CELL_PHASES, is_typed
from loradrift.study.checkpoints import drop_last
from loradrift.study.dry_run import print_listing, print_memory
from loradrift.study.hydra_program import Program
from loradrift.study.plan import StudyPlan
from loradrift.study.progress import Progress
from loradrift.study.trials import (
    reach_storage,
    search_arguments,
    search_options,
    validate_found,
    validate_number,
    validate_searches,
    validate_storage,
)


def run_study(program: Program, arguments: Sequence[str]) -> None:
    """Run the phases that are left, or list them.

    Args:
        program: What Hydra gives.
        arguments: As typed, ``key=value``.

    Raises:
        UserError: If the study is ill defined, does not fit on the disk, or its searches' storage
            is out of reach.
        JobFailed: If a cell failed; the phases after it need it, and do not begin.
    """
    settings = program.settings
    study, typed = read_arguments(settings.study, arguments, program.context.config_loader)
    plan = StudyPlan(program, settings, study, typed)
    validate_storage(program)
    searches = "search" in plan.phases
    if searches:
        validate_searches(program, study, typed)
        validate_number(plan.search_lines)
    elif "production" in plan.phases and not is_typed("best", typed):
        validate_found(settings, plan.search_lines)
    if study.dry_run:
        print_listing(study.name, plan.lines())
        print(f"disk: {plan.disk_text()}")
        plan.warn()
        return
    if searches:
        reach_storage(program)
    _ = program.launcher  # its processes start while the disk is looked at
    plan.check_disk()
    plan.warn()
    run = StudyRun(plan)
    run.announce()
    for phase in plan.phases:
        run.phase(phase)


@dataclass
class StudyRun:
    """A study under way."""

    plan: StudyPlan
    _num_jobs: int = 0

    def phase(self, phase: str) -> None:
        """Do what is left of a phase."""
        match phase:
            case "base":
                self._make_bases()
            case "search":
                self._search()
                self.plan.forget("production")  # it uses what was found
            case "analysis" | "report":
                analyse(phase, self.plan.settings, self.plan.study.name, self.plan.program.storage)
            case _:
                self._run_cells(phase)
        if phase == "sanity":
            print_memory(self.plan.cells(phase))

    def announce(self) -> None:
        """Say how much there is to do, and where it is logged."""
        number, done = self.progress.number, self.progress.done
        print(
            f"study {self.plan.study.name}: {number} cells, {done} finished already; "
            f"full log: {self.plan.program.log}",
            flush=True,
        )

    @cached_property
    def progress(self) -> Progress:
        """Shows how far the cells are."""
        cells = {
            phase: self.plan.cells(phase) for phase in self.plan.phases if phase in CELL_PHASES
        }
        return Progress(cells, self.plan.program.folder, Path(self.plan.settings.cache))

    def _run_cells(self, phase: str) -> None:
        cells = self.plan.cells(phase)
        done = [cell.config.cell for cell in cells if cell.record]
        left = [cell for cell in cells if not cell.record]
        print(f"phase {phase}: {len(cells)} cells, {len(done)} finished already", flush=True)
        if done:
            note_finished(self.plan.program.folder, done)
        for folder in done:
            drop_last(folder)
        if not left:
            return
        jobs = {self._num_jobs + number: cell.config for number, cell in enumerate(left)}
        with self.progress.follow(phase, jobs):
            returns = self.plan.program.launch([cell.overrides for cell in left], self._num_jobs)
        self._num_jobs += len(left)
        errors = [each._return_value for each in returns if each.status is not JobStatus.COMPLETED]
        if errors:
            print(
                f"phase {phase}: {len(errors)} of {len(left)} cells failed; the phases after it "
                "need them, and wait",
                flush=True,
            )
            raise errors[0]

    def _make_bases(self) -> None:
        left = [cell.config for cell in self.plan.cells("production") if not cell.record]
        tasks = {config.task.name: config for config in left}
        if not tasks:
            print("phase base: no cell is left that would need it", flush=True)
            return
        if not {"sanity", "baselines"} <= set(self.plan.phases):  # whose cells need the same
            from loradrift.training import run
            from loradrift.training.prepared_data import prepare

            for config in tasks.values():
                prepare(config, pretrain=run)
        print(
            f"phase base: the base model and the tokens of {', '.join(tasks)} are in "
            f"{self.plan.settings.cache}; its representations are every run's step 0",
            flush=True,
        )

    def _search(self) -> None:
        for task in self.plan.study.tasks:
            for method in self.plan.study.methods:
                arguments = search_arguments(self.plan.typed, task, method)
                self.plan.program.search(arguments, search_options(self.plan.study))
