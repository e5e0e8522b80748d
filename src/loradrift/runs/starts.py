"""A run that starts from the model of another run: which one, and whether it can."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from loradrift.caching import file_digest
from loradrift.config import Config, FromScratchConfig, UserError
from loradrift.runs.links import PLACE, Link, chain_at, is_method, runs_of, weights_digest
from loradrift.runs.record import RunRecord
from loradrift.runs.start_names import Upstream, starting


def run_folder(path: str) -> Path | None:
    """The folder of the run that ``path`` names, by itself or by its ``model/``; None of others."""
    if not path:
        return None
    folder = Path(path)
    if folder.name == "model" and (folder.parent / "run.json").is_file():
        folder = folder.parent
    return folder if (folder / "run.json").is_file() else None


def start_at_run(config: Config, overrides: Sequence[str]) -> Config:
    """The configuration of a run that starts from another one, if ``model.path`` names a run.

    A run of ``task=pretrain`` is no start: its ``model/`` is a base model like any other.

    Raises:
        UserError: If nothing can start there: the run is not finished, has no certificate, is of
            another model, or is no training; it, or a run before it, is not what it was; or
            ``task`` starts from a base model alone, or was one of the chain's tasks already.
    """
    folder = run_folder(config.model.path)
    if folder is None:
        return config
    what = f"model.path={config.model.path}"
    cache = Path(config.cache)
    links = chain_at(folder, what, cache)
    record = links[-1].record
    if is_method(record, FromScratchConfig):
        config.model = replace(config.model, path=str(folder / "model"))
        return config
    _check_task(config, links, what)
    _check_model(config, links[0].record, what)
    upstream = Upstream(
        folder=str(folder),
        runs=runs_of(folder, record),
        place=_place(record),
        chain=tuple(_place(each.record) for each in links[:-1]),
        attention=str(record.config["model"].get("attention", "sdpa")),
        weights=weights_digest(links[-1], partial(file_digest, cache=cache)),
    )
    return starting(config, overrides, upstream)


def _check_task(config: Config, links: Sequence[Link], what: str) -> None:
    """Refuse a task that cannot come next in a chain."""
    if not config.task.facts.follows:
        known = "a base model, and not from a run: what it makes is compared with that model"
        raise UserError(f"{what} is a run: task={config.task.name} starts from {known}")
    tasks = [link.task for link in links]
    if config.task.name in tasks:
        raise UserError(
            f"task={config.task.name} {what}: a chain has each task once, and up to that run it is "
            f"{' -> '.join(tasks)}"
        )
    if config.model.weights == "random":
        raise UserError(f"{what} is a run, whose weights model.weights=random would not load")


def _check_model(config: Config, first: RunRecord, what: str) -> None:
    """Refuse a model by name, given a run of another one."""
    name, theirs = config.model.name, first.config["model"].get("name")
    if name not in ("local", theirs):
        raise UserError(
            f"model={name} {what}: that run was trained on model={theirs}; model=local "
            f"{what} starts from it"
        )


def _place(record: RunRecord) -> dict[str, Any]:
    return {key: record.coordinates[key] for key in PLACE}
