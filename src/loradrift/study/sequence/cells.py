"""The runs of a sequence: a step for each task, which starts from the run of the step before.

A step that diverges is a result, and ends its chain.
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from loradrift.cli.resolved_config import resolve_config
from loradrift.config import Config, UserError, load
from loradrift.runs import diverged_run, finished_run, read_record
from loradrift.runs.start_names import Upstream, starting
from loradrift.study.cells import StudyCell, seed_cells, with_dumps, without
from loradrift.study.hydra_program import Program
from loradrift.study.sequence import SequenceStudyConfig
from loradrift.sweeping.space import quoted


class SequenceCell(StudyCell):
    """A step of a chain; its record is there too if it has diverged."""

    @property
    def chain(self) -> tuple[str, int]:
        """Method and seed, which all steps of a chain share."""
        return self.config.method.name, self.config.seed

    def is_result(self) -> bool:
        """A loss that is not finite is where this chain ends."""
        if not is_planned(self.config):
            return diverged_run(self.config) is not None
        with suppress(UserError):  # it was planned before the weights were there that name it
            record = read_record(self.folder)
            return record is not None and record.diverged
        return False

    def outcome(self) -> str:
        """What it reached, or that it diverged."""
        return "diverged" if self.is_result() else super().outcome()


def is_planned(config: Config) -> bool:
    """Whether a run starts from one that was not there when its configuration was made."""
    return bool(config.start) and "weights" not in config.start


def sequence_cells(
    program: Program, study: SequenceStudyConfig, typed: Sequence[str]
) -> list[list[SequenceCell]]:
    """The runs of each step: every method with every seed; ``typed`` is what they share.

    A chain ends at a step that has diverged.

    Raises:
        UserError: If steps are to be made, and nothing can start from a run that is finished.
    """
    shared = with_dumps(typed, program.settings)
    makes_steps = "chain" in study.phases and not study.dry_run
    steps: list[list[SequenceCell]] = []
    for task in study.tasks:
        cells = list[SequenceCell]()
        for method in study.methods:
            own = [*shared, f"task={task}", f"method={method}"]
            if not steps:
                for cell in seed_cells(program, own, study.seeds):
                    record = cell.record or diverged_run(cell.config)
                    cells.append(SequenceCell(cell.overrides, cell.config, record))
                continue
            for before in steps[-1]:
                if before.config.method.name == method and not _has_diverged(before):
                    cells.append(next_cell(program, own, before, must_start=makes_steps))
        steps.append(cells)
    return steps


def _has_diverged(cell: SequenceCell) -> bool:
    return cell.record is not None and cell.record.diverged


def next_cell(
    program: Program, overrides: Sequence[str], before: SequenceCell, *, must_start: bool
) -> SequenceCell:
    """The run of a step that starts from a run of the step before, which may not be there yet.

    Raises:
        UserError: If it is not finished and nothing can start from the run before, which is
            finished; not unless it ``must_start``.
    """
    model = ["model=local", f"model.path={quoted(str(before.folder))}"]
    typed = [*without(overrides, "model"), *model, f"seed={before.config.seed}"]
    cfg, error = program.compose(typed), None
    config = starting(load(cfg, typed), typed, planned(before.config))
    if before.record is None:
        return SequenceCell(tuple(typed), config, None)
    try:
        config = resolve_config(cfg, typed)
    except UserError as unusable:  # its model may have been deleted; a finished step needs none
        error = unusable
        config.start |= _recorded_weights(config.cell)
    try:
        record = finished_run(config) or diverged_run(config)
    except UserError:
        record = None  # damaged; the cell's own job says so
    if record is None and error is not None and must_start:
        raise error
    return SequenceCell(tuple(typed), config, record)


def _recorded_weights(folder: Path) -> dict[str, str]:
    """What the record of a step says of the weights that it began with."""
    with suppress(UserError, LookupError, TypeError):
        record = read_record(folder)
        return {} if record is None else {"weights": record.config["start"]["weights"]}
    return {}


def planned(config: Config) -> Upstream:
    """A run that is planned, as the start of another one."""
    place = {"study": config.study.name, "task": config.task.name, "method": config.method.name}
    return Upstream(
        folder=str(config.cell),
        runs=Path(config.runs).resolve(),
        place={**place, "variant": config.variant, "seed": config.seed},
        chain=tuple(config.start.get("chain", ())),
        attention=config.model.attention,
        weights="",
    )
