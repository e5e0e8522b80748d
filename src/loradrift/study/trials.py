"""What the trials of a study's searches may be, before they are drawn."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from loradrift.cli.resolved_config import resolve_config
from loradrift.config import AnalysisConfig, Config, StudyConfig, UserError
from loradrift.study.cells import best_file, key_of, without
from loradrift.study.dry_run import Line
from loradrift.study.hydra_program import Program
from loradrift.sweeping.options import validate_launcher, validate_options

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


def search_arguments(typed: Sequence[str], task: str, method: str) -> list[str]:
    """The overrides of one search of a study.

    Args:
        typed: What its cells share.
        task: What it searches for,
        method: and with.
    """
    space = "full_finetune" if method == "full_finetune" else "lora"
    return [*without(typed, "best"), f"search={space}", f"task={task}", f"method={method}"]


def validate_searches(program: Program, study: StudyConfig, typed: Sequence[str]) -> None:
    """Judge the options of a study's searches, before anything is written.

    Raises:
        UserError: If one is illegal.
    """
    for method in study.methods:
        arguments = search_arguments(typed, study.tasks[0], method)
        options = program.as_search(arguments, search_options(study)).config.hydra.sweeper
        validate_options(options)
    n_jobs = program.config.hydra.sweeper.n_jobs
    counts = "n_jobs" in program.config.hydra.launcher
    validate_launcher(n_jobs, program.in_process, program.at_a_time(n_jobs) if counts else None)


def validate_number(lines: Iterable[Line]) -> None:
    """Refuse fewer trials than a search has behind it.

    Args:
        lines: Of the searches.

    Raises:
        UserError: Naming the search.
    """
    for line in lines:
        if line.done > line.number:
            raise UserError(
                f"study.trials must be at least {line.done}, the trials that the search of "
                f"{line.task}/{line.method} has behind it, got {line.number}"
            )


def validate_found(settings: Config, lines: Iterable[Line]) -> None:
    """Refuse cells with default values where a search has trials and its best values are missing.

    Args:
        settings: The command's own.
        lines: Of the searches.

    Raises:
        UserError: Naming the file that is missing.
    """
    for line in lines:
        path = best_file(settings, line.task, line.method)
        if line.done and not path.is_file():
            raise UserError(
                f"there is no {path}, though the search of {line.task}/{line.method} has "
                f"{line.done} trials behind it: study.phases=[search] ends it and writes the file; "
                "best=false trains with the scale's own values"
            )


def validate_storage(program: Program) -> None:
    """Judge the URL of the storage: the jobs of every phase would keep its password.

    Raises:
        UserError: If it is malformed, or holds one.
    """
    if program.storage is not None:
        from loradrift.sweeping.storage import read_url

        read_url("hydra.sweeper.storage", str(program.storage))


def reach_storage(program: Program) -> None:
    """Open the storage that was typed, so that one that is away ends the study at its beginning.

    Raises:
        UserError: If it cannot be opened.
    """
    if program.storage is not None:
        from loradrift.sweeping.storage import open_storage

        open_storage(str(program.storage)).engine.dispose()


def settled_trials(runs: Path, study: str, storage: str | None) -> dict[str, int]:
    """How many trials of each search of a study count; nothing is made by asking.

    Args:
        runs: Folder of the runs.
        study: Its name.
        storage: URL of its searches' storage; None is their own file.

    Returns:
        By ``<study>/<task>/<method>``; empty without a search, or if the storage cannot be read.
    """
    if storage is None and not (runs / ".search" / f"{study}.db").is_file():
        return {}
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    from loradrift.analysis.search.search_storage import open_searches
    from loradrift.sweeping.completion import settled

    config = AnalysisConfig(name="search", runs=str(runs), study=study)
    try:
        searches = open_searches(config, storage)
        return {each.study_name: len(settled(each.get_trials(deepcopy=False))) for each in searches}
    except (UserError, SQLAlchemyError, StorageInternalError):
        return {}


def search_options(study: StudyConfig) -> list[str]:
    """Overrides of ``hydra.sweeper`` that a study makes itself."""
    return [f"hydra.sweeper.n_trials={study.trials}"]


def largest_trial(program: Program, arguments: Sequence[str]) -> Config:
    """The configuration of a trial with every range at its upper end: it needs the most disk.

    Args:
        program: Composes the configurations.
        arguments: The search's; a key among them is not varied.

    Raises:
        UserError: If a value is illegal.
    """
    from hydra_plugins.hydra_optuna_sweeper._impl import create_params_from_overrides

    typed = set(map(key_of, arguments))
    search = program.as_search(arguments)
    ranges = search.config.hydra.sweeper.params or {}
    searched = [f"{key}={value}" for key, value in ranges.items() if key not in typed]
    space, _, _ = create_params_from_overrides(searched)
    ends = [f"{key}={end}" for key, each in space.items() if (end := _end(each)) is not None]
    overrides = [*arguments, *ends]
    return resolve_config(search.compose(overrides), overrides)


def _end(space: "BaseDistribution") -> int | float | None:
    """The upper end of a range; None of choices that have no order."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(space, CategoricalDistribution):
        numbers = [each for each in space.choices if isinstance(each, int | float)]
        return max(numbers) if len(numbers) == len(space.choices) else None
    assert isinstance(space, FloatDistribution | IntDistribution)
    return space.high
