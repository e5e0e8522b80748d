"""What the trials of a study's searches may be, before they are drawn."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from loradrift.cli.resolved_config import resolve_config
from loradrift.config import AnalysisConfig, Config, StudyConfig, UserError
from loradrift.study.cells import found_values, key_of, without
from loradrift.study.dry_run import Line
from loradrift.study.hydra_program import Program
from loradrift.sweeping.options import validate_launcher, validate_options
from loradrift.sweeping.range_boundary import ends
from loradrift.sweeping.space import read_space


def search_arguments(typed: Sequence[str], task: str, method: str) -> list[str]:
    """The overrides of one search of a study; ``typed`` is what its cells share."""
    space = "full_finetune" if method == "full_finetune" else "lora"
    return [*without(typed, "best"), f"search={space}", f"task={task}", f"method={method}"]


def validate_searches(program: Program, study: StudyConfig, typed: Sequence[str]) -> None:
    """Judge the options of a study's searches, before anything is written."""
    for method in study.methods:
        arguments = search_arguments(typed, study.tasks[0], method)
        validate_options(program.as_search(arguments).config.hydra.sweeper)
    n_jobs = program.config.hydra.sweeper.n_jobs
    counts = "n_jobs" in program.config.hydra.launcher
    validate_launcher(n_jobs, program.in_process, program.at_a_time(n_jobs) if counts else None)


def validate_number(lines: Iterable[Line]) -> None:
    """Refuse fewer trials than a search has behind it."""
    for line in lines:
        if line.done > line.number:
            raise UserError(
                f"study.trials must be at least {line.done}, the trials that the search of "
                f"{line.task}/{line.method} has behind it, got {line.number}"
            )


def validate_found(settings: Config, lines: Iterable[Line]) -> None:
    """Refuse cells with default values where a search has trials and no best values."""
    for line in lines:
        path = found_values(settings, line.task, line.method)
        if line.done and not path.is_file():
            raise UserError(
                f"there is no {path}, though the search of {line.task}/{line.method} has "
                f"{line.done} trials behind it: study.phases=[search] ends it and writes the file; "
                "best=false trains with the scale's own values"
            )


def validate_storage(program: Program, *, reach: bool = False) -> None:
    """Judge the URL of the storage that was typed: the jobs of every phase would keep its password.

    ``reach`` opens it too, so that one that is away ends the study at its beginning.
    """
    if program.storage is None:
        return
    from loradrift.sweeping.storage import open_storage, read_url

    read_url("hydra.sweeper.storage", str(program.storage))
    if reach:
        open_storage(str(program.storage)).engine.dispose()


def settled_trials(runs: Path, study: str, storage: str | None) -> dict[str, int]:
    """How many trials count, by ``<study>/<task>/<method>``; nothing is made by asking.

    None do without a search, or if the storage (None is the study's own file) cannot be read.
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


def largest_trial(program: Program, arguments: Sequence[str]) -> Config:
    """The configuration of a trial with every range at its upper end: it needs the most disk.

    A key among the search's ``arguments`` is not varied.
    """
    typed = set(map(key_of, arguments))
    search = program.as_search(arguments)
    ranges = search.config.hydra.sweeper.params or {}
    searched = [f"{key}={value}" for key, value in ranges.items() if key not in typed]
    space, _, _ = read_space(searched)
    largest = [f"{key}={found[1]}" for key, each in space.items() if (found := ends(each))]
    overrides = [*arguments, *largest]
    return resolve_config(search.compose(overrides), overrides)
