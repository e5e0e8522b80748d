"""The runs of a sequence: a step for each task, which starts from the run of the step before."""

from collections.abc import Sequence
from pathlib import Path

from loradrift.cli.resolved_config import resolve_config
from loradrift.config import Config, UserError, load
from loradrift.runs import finished_run
from loradrift.runs.start_names import Upstream, starting
from loradrift.study.cells import StudyCell, seed_cells, with_dumps, without
from loradrift.study.hydra_program import Program
from loradrift.study.sequence import SequenceStudyConfig
from loradrift.sweeping.space import quoted


def sequence_cells(
    program: Program, study: SequenceStudyConfig, typed: Sequence[str]
) -> list[list[StudyCell]]:
    """The runs of each step: every method with every seed; ``typed`` is what they share.

    Raises:
        UserError: If nothing can start from a run that is finished.
    """
    shared = with_dumps(typed, program.settings)
    steps: list[list[StudyCell]] = []
    for task in study.tasks:
        cells = list[StudyCell]()
        for number, method in enumerate(study.methods):
            own = [*shared, f"task={task}", f"method={method}"]
            if not steps:
                cells += seed_cells(program, own, study.seeds)
                continue
            first = number * len(study.seeds)
            before = steps[-1][first : first + len(study.seeds)]
            cells += [next_cell(program, own, cell) for cell in before]
        steps.append(cells)
    return steps


def next_cell(program: Program, overrides: Sequence[str], before: StudyCell) -> StudyCell:
    """The run of a step that starts from a run of the step before, which may not be there yet."""
    model = ["model=local", f"model.path={quoted(str(before.folder))}"]
    typed = [*without(overrides, "model"), *model, f"seed={before.config.seed}"]
    cfg, record = program.compose(typed), None
    if before.record is None:
        config = starting(load(cfg, typed), typed, planned(before.config))
    else:
        config = resolve_config(cfg, typed)
        try:
            record = finished_run(config)
        except UserError:
            record = None  # damaged; the cell's own job says so
    return StudyCell(tuple(typed), config, record)


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
