"""The cell of a training run, as its configuration says."""

from collections.abc import Sequence
from contextlib import AbstractContextManager

from loradrift.config import Config, identity
from loradrift.config.keys import defaults
from loradrift.runs.cell import Cell, finished_record, open_cell
from loradrift.runs.record import RunRecord


def open_run(config: Config, overrides: Sequence[str] = ()) -> AbstractContextManager[Cell]:
    """Open the cell of a run (:func:`open_cell`).

    A study's run waits for another process that is at the cell, such as one that still saves since
    its study was killed; a trial of a search waits for one with the same values.
    """
    place = {"study": config.study.name, "task": config.task.name, "method": config.method.name}
    return open_cell(
        config.cell,
        identity(config),
        defaults=defaults(config),
        force=config.force,
        wait=config.search.trial is not None or bool(config.study.tasks),
        phase=config.phase,
        coordinates={**place, "variant": config.variant, "seed": config.seed},
        overrides=overrides,
    )


def finished_run(config: Config) -> RunRecord | None:
    """The record of a run if it is finished, with this very configuration."""
    return finished_record(config.cell, identity(config), defaults(config))
