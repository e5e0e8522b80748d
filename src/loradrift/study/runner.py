"""The phases of a study, one after the other; each skips what is done.

State lives only in the run folders: the same command goes on where an earlier one ended.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.core.utils import JobStatus

from loradrift.cli.job_summary import note_finished
from loradrift.config import UserError
from loradrift.config.job_names import note_shared
from loradrift.runs import Cell
from loradrift.study.analyses import analyse
from loradrift.study.arguments import read_arguments
from loradrift.study.cells import CELL_PHASES, SEARCHED, is_typed, key_of
from loradrift.study.dry_run import print_listing, print_memory
from loradrift.study.hydra_program import Program
from loradrift.study.plan import StudyPlan
from loradrift.study.progress import Progress
from loradrift.study.trials import (
    search_arguments,
    validate_found,
    validate_number,
    validate_searches,
    validate_storage,
)


def run_study(program: Program, arguments: Sequence[str]) -> None:
    """Run the phases that are left, or list them.

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
    elif {*SEARCHED} & {*plan.phases} and not is_typed("best", typed):
        validate_found(settings, plan.search_lines)
    if study.dry_run:
        print_listing(study.name, plan.lines())
        try:
            disk = plan.check_disk()
        except UserError as error:
            disk = str(error)
        print(f"disk: {disk}")
        plan.warn()
        return
    if searches:
        validate_storage(program, reach=True)
    note_shared(program.config, map(key_of, typed))
    _ = program.launcher  # its processes start while the disk is looked at
    plan.check_disk()
    plan.warn()
    cells = {phase: plan.cells(phase) for phase in plan.phases if phase in CELL_PHASES}
    progress = Progress(cells, program.folder, Path(settings.cache))
    print(
        f"study {study.name}: {progress.number} cells, {progress.done} finished already; "
        f"full log: {program.log}",
        flush=True,
    )
    run = StudyRun(plan, progress)
    for phase in plan.phases:
        run.phase(phase)


@dataclass
class StudyRun:
    """A study under way."""

    plan: StudyPlan
    progress: Progress
    _num_jobs: int = 0

    def phase(self, phase: str) -> None:
        """Do what is left of a phase."""
        plan = self.plan
        match phase:
            case "base":
                self._make_bases()
            case "search":
                for task in plan.study.tasks:
                    for method in plan.study.methods:
                        plan.program.search(search_arguments(plan.typed, task, method))
                for each in SEARCHED:
                    plan.forget(each)
            case "analysis" | "report":
                analyse(phase, plan.settings, plan.program.storage)
            case _:
                self._run_cells(phase)
        if phase == "sanity":
            print_memory(plan.cells(phase))

    def _run_cells(self, phase: str) -> None:
        program, cells = self.plan.program, self.plan.cells(phase)
        done = [Cell(cell.config.cell, cell.record) for cell in cells if cell.record]
        left = [cell for cell in cells if not cell.record]
        print(f"phase {phase}: {len(cells)} cells, {len(done)} finished already", flush=True)
        if done:
            note_finished(program.folder, [cell.folder for cell in done])
        for cell in done:
            cell.drop_resume_point()  # of an earlier version, or of a process killed just then
        if not left:
            return
        first, self._num_jobs = self._num_jobs, self._num_jobs + len(left)
        jobs = {number: cell.config for number, cell in enumerate(left, first)}
        with self.progress.follow(phase, jobs):
            returns = program.launch([cell.overrides for cell in left], first)
        errors = [each._return_value for each in returns if each.status is not JobStatus.COMPLETED]
        if errors:
            failed = f"{len(errors)} of {len(left)} cells failed"
            print(f"phase {phase}: {failed}; the phases after it need them, and wait", flush=True)
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
