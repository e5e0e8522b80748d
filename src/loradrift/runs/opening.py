"""Open the cell of each kind of work: what it is called, and what makes it what it is."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any

from loradrift.config import Config, UserError, identity, keys
from loradrift.config.benchmarks import BenchmarkConfig
from loradrift.runs.cell import Cell, diverged_record, finished_record, open_cell
from loradrift.runs.record import RunRecord


def open_run(config: Config, overrides: Sequence[str] = ()) -> AbstractContextManager[Cell]:
    """Open the cell of a run (:func:`open_cell`).

    A study's run waits for a process that still saves there, as a search's trial does.
    """
    place = {"study": config.study.name, "task": config.task.name, "method": config.method.name}
    return open_cell(
        config.cell,
        identity(config),
        defaults=keys.defaults(config),
        force=config.force,
        wait=config.search.trial is not None or bool(config.study.tasks),
        phase=config.phase,
        coordinates={**place, "variant": config.variant, "seed": config.seed},
        overrides=overrides,
    )


def open_benchmark(
    config: BenchmarkConfig, facts: Mapping[str, Any], overrides: Sequence[str]
) -> AbstractContextManager[Cell]:
    """Open the cell of a benchmark (:func:`open_cell`), which ``facts`` make what it is."""
    place = {"benchmark": config.benchmark, "engine": config.engine, "model": config.model.name}
    return open_cell(
        config.cell,
        facts,
        defaults=keys.defaults(config),
        force=config.force,
        kind=config.benchmark,
        coordinates={**place, "variant": config.variant},
        overrides=overrides,
    )


def finished_run(config: Config) -> RunRecord | None:
    """The record of a run if it is finished, with this very configuration."""
    return finished_record(config.cell, identity(config), keys.defaults(config))


def diverged_run(config: Config) -> RunRecord | None:
    """The record of a run that failed at a loss that is not finite, with this configuration.

    None where there is no such run, or its record is damaged.
    """
    with suppress(UserError):
        return diverged_record(config.cell, identity(config), keys.defaults(config))
    return None
