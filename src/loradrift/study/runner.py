"""The phases of a study, one after the other; each skips what is done.

State lives only in the run folders: the same command goes on where an earlier one ended.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hydra.core.utils import JobStatus

from loradrift.cli.job_summary import note_finished
from loradrift.config import UserError
from loradrift.config.job_names import note_shared
from loradrift.runs import Cell
from loradrift.study.arguments import read_arguments
from loradrift.study.bases import check_base
from loradrift.study.cells import key_of
from loradrift.study.hydra_program import Program
from loradrift.study.listing import memory_left, print_listing
from loradrift.study.plans import Plan, plan_of
from loradrift.study.progress import Progress


def run_study(program: Program, arguments: Sequence[str]) -> None:
    """Run the phases that are left, or list them.

    Raises:
        UserError: If the study is ill defined, does not fit on the disk, or what it needs is out
            of reach.
        JobFailed: If a cell failed; the phases after it need it, and do not begin.
    """
    settings = program.settings
    study, typed = read_arguments(settings.study, arguments, program.context.config_loader)
    check_base(settings, study.name)
    plan = plan_of(program, settings, study, typed)
    plan.validate()
    if study.dry_run:
        list_study(plan)
        return
    plan.reach()
    note_shared(program.config, map(key_of, typed))
    _ = program.launcher  # its processes start while the disk is looked at
    plan.check_disk()
    plan.warn()
    cells = {phase: plan.cells(phase) for phase in plan.phases if phase in plan.cell_phases}
    progress = Progress(cells, Path(settings.cache))
    print(
        f"study {study.name}: {progress.number} cells, {progress.done} finished already; "
        f"full log: {program.log}",
        flush=True,
    )
    run = StudyRun(plan, progress)
    for phase in plan.phases:
        plan.run_phase(phase, run.run_cells)


def list_study(plan: Plan) -> None:
    """Print what there is to do, what is done, and the time, memory and disk of the rest."""
    lines = plan.lines()
    at_a_time = plan.program.at_a_time(sum(line.number - line.done for line in lines))
    print_listing(plan.study.name, lines, plan.columns, at_a_time)
    if trained := plan.trained_cells:
        memory = memory_left(trained, plan.estimates, plan.program.at_a_time)
        print(f"memory: {memory}")
    try:
        disk = plan.check_disk()
    except UserError as error:
        disk = str(error)
    print(f"disk: {disk}")
    plan.warn()


@dataclass
class StudyRun:
    """A study under way."""

    plan: Plan
    progress: Progress
    _num_jobs: Counter[Path] = field(default_factory=Counter)
    """How many jobs of a folder have a number."""

    _last: Program | None = None
    """What ran the last cells."""

    def run_cells(self, phase: str) -> None:
        """Run the cells of a phase that are left.

        Raises:
            JobFailed: What the first of them failed with, once all have ended.
        """
        program, cells = self.plan.program_of(phase), self.plan.cells(phase)
        done = [Cell(cell.folder, cell.record) for cell in cells if cell.record]
        left = [cell for cell in cells if not cell.record]
        print(f"phase {phase}: {len(cells)} cells, {len(done)} finished already", flush=True)
        if done and program is self.plan.program:
            note_finished(program.folder, [cell.folder for cell in done])
        for cell in done:
            cell.drop_resume_point()  # of an earlier version, or of a process killed just then
        if not left:
            return
        if self._last is not None and self._last is not program:
            self._last.rest()
        self._last = program
        first = self._num_jobs[program.folder]
        self._num_jobs[program.folder] += len(left)
        with self.progress.follow(phase, dict(enumerate(left, first)), program.folder):
            returns = program.launch([cell.overrides for cell in left], first)
        errors = [
            each._return_value
            for cell, each in zip(left, returns, strict=True)
            if each.status is not JobStatus.COMPLETED and not cell.is_result()
        ]
        if errors:
            failed = f"{len(errors)} of {len(left)} cells failed"
            print(f"phase {phase}: {failed}; the phases after it need them, and wait", flush=True)
            raise errors[0]
