"""The weights of a run that starts from another run: found or merged, once for all that need them.

An adapter is merged into the weights that its own run started from, in float32 and rounded once;
the outputs of what is written are compared with those of base and adapter before it is used.
"""

import hashlib
import json
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch

from loradrift.caching import cached, entry, file_digest, folder_with
from loradrift.config import Config, ModelConfig, TinyModelConfig, UserError
from loradrift.config.recorded import recorded
from loradrift.models import model_fingerprint
from loradrift.runs.links import Link, chain_at, weights_digest
from loradrift.runs.model_files import ADAPTER_CONFIG, HEAD
from loradrift.runs.reading import damaged
from loradrift.training.base_model import Pretrain, pretrained_tiny
from loradrift.training.resources import reset_peak_memory

T = TypeVar("T")

VERSION = 1
"""Of how adapters are merged: another one makes them again."""


class Started(NamedTuple):
    """Where a run starts."""

    model: ModelConfig
    """With the folder of its weights."""

    links: Sequence[Link]
    """The runs before, the first first."""

    @property
    def base_print(self) -> str:
        """Fingerprint of the base model with which the chain began."""
        return _recorded_start(self.links[0])


def started(config: Config, pretrain: Pretrain) -> Started:
    """The weights that ``config.start`` names; an adapter is merged on first use.

    Raises:
        UserError: If a base model is not here or another one now, a run before has left something
            else than was recorded, or an adapter cannot be merged.
    """
    links = links_of(config)
    base = first_base(links, config.cache, pretrain)
    folder = _weights_after(links, Path(base.path), Path(config.cache))
    model = ModelConfig(name="local", path=str(folder), attention=config.model.attention)
    return Started(model, links)


def links_of(config: Config) -> list[Link]:
    """The runs before a run of a chain, the first first.

    Raises:
        UserError: If they are not there, or left something else than when ``config`` was made: a
            job may have waited for the lock meanwhile, and its identity names what they left then.
    """
    typed, cache = config.start["run"], Path(config.cache)
    links = chain_at(Path(typed), f"model.path={typed}", cache)
    if weights_digest(links[-1], partial(file_digest, cache=cache)) != config.start["weights"]:
        raise UserError(
            f"model.path={typed} has other weights now than when this job was made: it was trained "
            "again, or they were changed; repeat the command"
        )
    return links


def chain_fingerprint(links: Sequence[Link]) -> str:
    """Digest (sha256) of a place in a chain: the tasks before, in order."""
    return hashlib.sha256(json.dumps([link.task for link in links]).encode()).hexdigest()


def first_base(links: Sequence[Link], cache: str, pretrain: Pretrain) -> ModelConfig:
    """The base model with which a chain began, as it was then.

    Raises:
        UserError: If it is not here, or another model now.
    """
    link, values = links[0], links[0].record.config["model"]
    where, attention = (
        f"{link.folder / 'run.json'}: its model",
        str(values.get("attention", "sdpa")),
    )
    if "pretraining" in values:
        seed = _recorded_value(link, "data", "seed", int)
        tiny = recorded(TinyModelConfig, values | {"path": ""}, where)
        folder = str(pretrained_tiny(tiny, seed, cache, pretrain))
    else:
        named = _recorded_value(link, "model", "path", str)
        beside = link.folder.resolve().parents[4:5]
        places = [Path(named), *(place / named for place in beside)]
        # else a name on the hub
        folder = next((str(each) for each in places if each.is_dir()), named)
    model = ModelConfig(name="local", path=folder, attention=attention)
    try:
        _check_print(link, model, cache)
    except UserError as error:
        raise UserError(f"the base model of {link.folder} is needed: {error}") from None
    return model


def _recorded_value(link: Link, group: str, key: str, kind: type[T]) -> T:
    """A value of a run's configuration; a UserError if it is absent or of another type."""
    values = link.record.config.get(group)
    found = values.get(key) if isinstance(values, dict) else None
    if not isinstance(found, kind):
        why = f"config.{group}.{key} is absent or of another type"
        raise damaged(link.folder / "run.json", why)
    return found


def _weights_after(links: Sequence[Link], base: Path, cache: Path) -> Path:
    """The folder of the weights that the last run left; ``base`` is what the first began with."""
    *before, last = links
    if not last.has_adapter and not last.is_frozen:
        return last.model
    below = _weights_after(before, base, cache) if before else base
    if before:
        try:
            _check_print(last, ModelConfig(name="local", path=str(below)), str(cache))
        except UserError as error:
            raise UserError(f"{error}{_other_version(last)}") from None
    return below if last.is_frozen else _merged(last, below, cache)


def _check_print(link: Link, model: ModelConfig, cache: str) -> None:
    """Refuse weights that are not those that a run started from."""
    found, wanted = model_fingerprint(model, seed=0, cache=Path(cache)), _recorded_start(link)
    if found != wanted:
        raise UserError(
            f"{link.folder} was trained on a model with digest {wanted[:12]}, and {model.path} "
            f"has digest {found[:12]}"
        )


def _other_version(link: Link) -> str:
    """That a merged model is another one if another transformers merges it; empty if none has."""
    then, here = link.record.versions.get("transformers"), version("transformers")
    if then in (None, here):
        return ""
    return (
        f"; that run had transformers {then} and this is {here}, and a merged model is the same "
        "again with the same version alone"
    )


def _recorded_start(link: Link) -> str:
    assert link.record.started_from is not None  # judged at the door
    return link.record.started_from


def _merged(link: Link, base: Path, cache: Path) -> Path:
    """The folder of a base model with a run's adapter merged into it."""
    files = [link.model / ADAPTER_CONFIG, *sorted(link.model.glob("adapter_model*.safetensors"))]
    digests = [file_digest(path, cache) for path in files]
    folder = entry(cache / "started", [VERSION, _recorded_start(link), digests])

    def make(new: Path) -> None:
        from loradrift.diagnose import find_case, merge_adapter

        print(f"merging the adapter of {link.folder} into its base, once", flush=True)
        try:
            find_case(str(link.folder), str(base))  # they are whole and consistent
            merge_adapter(link.model, str(base), new, dtype=torch.float32)
        except UserError as error:
            raise UserError(f"nothing can start from {link.folder}: {error}") from None
        (new / HEAD).unlink(missing_ok=True)  # it is its own task's
        reset_peak_memory()  # what the run that asked for it goes on measuring

    return cached(folder, make, folder_with("config.json"))
