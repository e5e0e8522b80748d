"""A run that starts from the model of another run: which one, and whether it can."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from loradrift.caching import file_digest
from loradrift.config import (
    METHODS,
    BaselineConfig,
    Config,
    FromScratchConfig,
    UserError,
)
from loradrift.config.methods import HeadOnlyConfig
from loradrift.config.variants import folder_name
from loradrift.runs.reading import damaged, read_record
from loradrift.runs.record import RunRecord, Status
from loradrift.runs.start_names import Upstream, starting

ADAPTER = "adapter_config.json"
HEAD = "head.safetensors"
PLACE = ("study", "task", "method", "variant", "seed")
"""Coordinates of a run in a chain."""


class Link(NamedTuple):
    """A run of a chain."""

    folder: Path
    record: RunRecord

    @property
    def task(self) -> str:
        """What it was trained on."""
        return str(self.record.coordinates["task"])

    @property
    def model(self) -> Path:
        """The folder of what it learned."""
        return self.folder / "model"

    @property
    def has_adapter(self) -> bool:
        """Whether what it learned is an adapter of the weights that it started from."""
        return (self.model / ADAPTER).is_file()

    @property
    def is_frozen(self) -> bool:
        """Whether it has left the weights as they were."""
        return _is_method(self.record, HeadOnlyConfig)


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
            another model, or is no training; or ``task`` starts from a base model alone.
    """
    folder = run_folder(config.model.path)
    if folder is None:
        return config
    what = f"model.path={config.model.path}"
    links = chain_at(folder, what)
    record = links[-1].record
    if _is_method(record, FromScratchConfig):
        config.model = replace(config.model, path=str(folder / "model"))
        return config
    _check_task(config, what)
    _check_model(config, links[0].record, what)
    upstream = Upstream(
        folder=str(folder),
        runs=_runs_of(folder, record),
        place=_place(record),
        chain=tuple(_place(each.record) for each in links[:-1]),
        attention=str(record.config["model"].get("attention", "sdpa")),
        weights=_weights_digest(links[-1], Path(config.cache)),
    )
    return starting(config, overrides, upstream)


def chain_at(folder: Path, what: str) -> list[Link]:
    """The runs up to the one in ``folder``, the first first.

    ``what`` is how the last one was typed, for messages.

    Raises:
        UserError: If one of them is not there, or has left nothing to start from.
    """
    links: list[Link] = []
    here: Path | None = folder
    while here is not None:
        record = read_record(here)
        if record is None:
            raise UserError(f"{what} began with the run {here}, which is not there")
        link = Link(here, record)
        _check_run(link, what if not links else f"{what} began with {here}, which")
        links.append(link)
        here = _before(link)
    return links[::-1]


def _before(link: Link) -> Path | None:
    """The folder of the run that one started from: beside it, or else as it was typed."""
    start = link.record.start
    if not start:
        return None
    try:
        place, typed = start["chain"][-1], str(start["run"])
        runs = _runs_of(link.folder, link.record)
        name = folder_name(place["method"], place["variant"])
        beside = runs / place["study"] / place["task"] / name / f"seed={place['seed']}"
    except (LookupError, TypeError) as error:
        raise damaged(link.folder / "run.json", f"start: {error}") from None
    return beside if (beside / "run.json").is_file() else Path(typed)


def _check_run(link: Link, what: str) -> None:
    """Refuse a run that has left nothing to start from."""
    record, path = link.record, link.folder / "run.json"
    if record.kind != "training":
        raise UserError(f"{what} is a cell of benchmark={record.kind}: no training to start from")
    if lost := [key for key in PLACE if key not in record.coordinates]:
        raise damaged(path, f"coordinates.{lost[0]} is absent")
    if _is_method(record, BaselineConfig):
        method = record.coordinates["method"]
        raise UserError(f"{what} is the baseline {method}, which trains nothing to start from")
    if record.status is not Status.SUCCESS:
        why = f" ({record.error})" if record.error else ""
        raise UserError(
            f"{what} is {record.status}{why}: a run starts from one that has finished with success"
        )
    if not any((link.model / name).is_file() for name in (ADAPTER, "config.json")):
        raise UserError(f"{what} has left no model: its folder model/ holds none")
    model = record.config.get("model")
    if not isinstance(model, dict) or record.started_from is None:
        raise damaged(path, "config.model or fingerprints.base_model is absent")
    if model.get("weights") == "random" and not _is_method(record, FromScratchConfig):
        raise UserError(
            f"{what} was trained on a base model that was drawn at random (model.weights=random) "
            "and is not stored"
        )
    if link.has_adapter and not (record.certificate or {}).get("passed"):
        found = (record.certificate or {}).get("checks", [])
        failed = [each["name"] for each in found if each.get("passed") is False]
        why = f"does not hold ({', '.join(failed) or 'not judged'})"
        has = why if record.certificate else "is not there (an earlier version made the run)"
        raise UserError(f"{what} cannot be started from: the certificate of its adapter {has}")


def _check_task(config: Config, what: str) -> None:
    if not config.task.facts.follows:
        known = "a base model, and not from a run: what it makes is compared with that model"
        raise UserError(f"{what} is a run: task={config.task.name} starts from {known}")
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


def _is_method(record: RunRecord, kind: type) -> bool:
    facts = METHODS.get(str(record.coordinates.get("method")))
    return facts is not None and issubclass(facts.config, kind)


def _place(record: RunRecord) -> dict[str, Any]:
    return {key: record.coordinates[key] for key in PLACE}


def _runs_of(folder: Path, record: RunRecord) -> Path:
    """The folder of all runs; of a run that was moved out of one, its own."""
    place, here = record.coordinates, folder.resolve()
    wanted = [f"seed={place['seed']}", place["task"], place["study"]]
    if len(here.parents) > 3 and [here.name, *(here.parents[i].name for i in (1, 2))] == wanted:
        return here.parents[3]
    return here


def _weights_digest(link: Link, cache: Path) -> str:
    """Digest of what a run left and of what it started from; not of its head, which is new."""
    files = [] if link.is_frozen else sorted(link.model.glob("*.safetensors"))
    if files:
        files.append(link.model / (ADAPTER if link.has_adapter else "config.json"))
    own = [file_digest(path, cache) for path in files if path.name != HEAD]
    return _sha256([link.record.started_from, *own])


def _sha256(values: object) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()
