"""The phases of a study, one after the other; each skips what is done.

Nothing is kept but what the phases leave: whoever gives the same command goes on with the study.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from hydra.core.utils import JobStatus

from loradrift.cli.job_summary import note_finished
from loradrift.config import PHASES, Config, StudyConfig, UserError
from loradrift.runs import finished_run
from loradrift.study.analyses import analyse, step_of
from loradrift.study.arguments import read_arguments
from loradrift.study.cells import CELL_PHASES, StudyCell, is_typed, plan
from loradrift.study.checkpoints import drop_last
from loradrift.study.disk import Sizes, check_disk, disk_text, study_sizes
from loradrift.study.dry_run import (
    Line,
    base_lines,
    cell_lines,
    print_listing,
    search_lines,
    step_line,
)
from loradrift.study.hydra_program import Program
from loradrift.study.trials import (
    largest_trial,
    reach_storage,
    search_arguments,
    search_options,
    settled_trials,
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
    driver = Driver(program, settings, study, typed)
    validate_storage(program)
    searches = "search" in driver.phases
    if searches:
        validate_searches(program, study, typed)
        validate_number(driver.search_lines)
    elif "production" in driver.phases and not is_typed("best", typed):
        validate_found(program.settings, driver.search_lines)
    if study.dry_run:
        print_listing(study.name, driver.lines())
        print(f"disk: {driver.disk_text()}")
        driver.warn()
        return
    if searches:
        reach_storage(program)
    driver.check_disk()
    driver.warn()
    for phase in driver.phases:
        driver.run(phase)


@dataclass
class Driver:
    """A study under way."""

    program: Program
    settings: Config
    study: StudyConfig
    typed: Sequence[str]
    """Overrides that all cells share."""

    _planned: dict[str, list[StudyCell]] = field(default_factory=dict)
    _num_jobs: int = 0

    @property
    def phases(self) -> list[str]:
        """In their own order."""
        return [phase for phase in PHASES if phase in self.study.phases]

    def cells(self, phase: str) -> list[StudyCell]:
        """Of a phase, as they were when it was first looked at."""
        if phase not in self._planned:
            self._planned[phase] = plan(phase, self.program, self.study, self.typed)
        return self._planned[phase]

    def run(self, phase: str) -> None:
        """Do what is left of a phase."""
        match phase:
            case "base":
                self._make_bases()
            case "search":
                self._search()
                self._planned.pop("production", None)  # it uses what was found
            case "analysis" | "report":
                analyse(phase, self.settings, self.study.name, self.program.storage)
            case _:
                self._run_cells(phase)
        if phase == "sanity":
            self._print_memory()

    def lines(self) -> list[Line]:
        """What there is to do, what is done, and about how long the rest will take."""
        lines: list[Line] = []
        for phase in self.phases:
            match phase:
                case "base":
                    lines += base_lines(self.cells("production"))
                case "search":
                    lines += self.search_lines
                case "analysis" | "report":
                    step = step_of(phase, self.settings, self.study.name)
                    lines.append(step_line(phase, step))
                case _:
                    lines += cell_lines(phase, self.cells(phase))
        return lines

    @cached_property
    def search_lines(self) -> list[Line]:
        """One for each search, as they were when they were first looked at."""
        runs = Path(self.settings.runs)
        settled = settled_trials(runs, self.study.name, self.program.storage)
        return search_lines(self.study, runs, settled)

    def warn(self) -> None:
        """Say so if trials that are left may find other values than finished cells have."""
        if "search" not in self.phases or "production" not in self.phases:
            return
        left = {(line.task, line.method) for line in self.search_lines if line.done < line.number}
        made = [cell for cell in self.cells("production") if cell.record]
        made = [cell for cell in made if is_typed("best", cell.overrides)]
        if left & {(cell.config.task.name, cell.config.method.name) for cell in made}:
            print(
                "production cells have the best values so far; where the trials that are left find "
                "others, they are refused, and study.phases=[production] force=true makes them anew"
            )

    def check_disk(self) -> None:
        """Refuse to begin what does not fit.

        Raises:
            UserError: With the figures.
        """
        if left := self._runs_left():
            check_disk(Path(self.settings.runs), self._sizes(left), self.study.name)

    def disk_text(self) -> str:
        """What is left to write, and whether it fits."""
        left = self._runs_left()
        if not left:
            return "nothing is left to write but tables and figures"
        try:
            sizes = self._sizes(left)
            check_disk(Path(self.settings.runs), sizes, self.study.name)
        except UserError as error:
            return str(error)
        return disk_text(Path(self.settings.runs), sizes)

    def _runs_left(self) -> list[Config]:
        phases = [phase for phase in self.phases if phase in CELL_PHASES]
        left = [cell.config for phase in phases for cell in self.cells(phase) if not cell.record]
        return left + (self._trials_left() if "search" in self.phases else [])

    def _sizes(self, left: Sequence[Config]) -> Sizes:
        return study_sizes(left, self.program.at_a_time(len(left)))

    def _trials_left(self) -> list[Config]:
        """A configuration for each, as large as it may be."""
        left: list[Config] = []
        for line in self.search_lines:
            if number := max(0, line.number - line.done):
                arguments = search_arguments(self.typed, line.task, line.method)
                left += [largest_trial(self.program, arguments)] * number
        return left

    def _run_cells(self, phase: str) -> None:
        cells = self.cells(phase)
        done = [cell.config.cell for cell in cells if cell.record]
        left = [cell.overrides for cell in cells if not cell.record]
        print(f"phase {phase}: {len(cells)} cells, {len(done)} finished already", flush=True)
        if done:
            note_finished(self.program.folder, done)
        for folder in done:
            drop_last(folder)
        if not left:
            return
        returns = self.program.launch(left, self._num_jobs)
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
        left = [cell.config for cell in self.cells("production") if not cell.record]
        tasks = {config.task.name: config for config in left}
        if not tasks:
            print("phase base: no cell is left that would need it", flush=True)
            return
        from loradrift.training import run
        from loradrift.training.prepared_data import prepare

        for config in tasks.values():
            prepare(config, pretrain=run)
        print(
            f"phase base: the base model and the tokens of {', '.join(tasks)} are in "
            f"{self.settings.cache}; its representations are every run's step 0",
            flush=True,
        )

    def _search(self) -> None:
        for task in self.study.tasks:
            for method in self.study.methods:
                arguments = search_arguments(self.typed, task, method)
                self.program.search(arguments, search_options(self.study))

    def _print_memory(self) -> None:
        """What each task and method need; the production needs about the same."""
        import pandas as pd

        from loradrift.report.terminal import print_table

        rows = []
        for cell in self.cells("sanity"):
            config = cell.config
            record = cell.record or finished_run(config)
            assert record is not None
            peak = record.performance["peak_memory_bytes"] / 2**20
            trainable = record.parameters["trainable"]
            rows.append((config.task.name, config.method.name, f"{trainable:,}", f"{peak:.0f} MiB"))
        columns = ["task", "method", "trainable", "peak memory"]
        print_table(pd.DataFrame(rows, columns=columns), "Memory of each task and method")
