"""The runs of a chain, as they lie on disk: which one each began with, and what it has left."""

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from loradrift.caching import file_digest
from loradrift.config import METHODS, TASKS, BaselineConfig, FromScratchConfig, UserError
from loradrift.config.methods import HeadOnlyConfig
from loradrift.config.variants import folder_name
from loradrift.runs.model_files import ADAPTER_CONFIG, HEAD
from loradrift.runs.reading import damaged, read_record
from loradrift.runs.record import RunRecord, Status

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
        return (self.model / ADAPTER_CONFIG).is_file()

    @property
    def is_frozen(self) -> bool:
        """Whether it has left the weights as they were."""
        return is_method(self.record, HeadOnlyConfig)


def chain_at(folder: Path, what: str, cache: Path) -> list[Link]:
    """The runs up to the one in ``folder``, the first first.

    Args:
        folder: Of the last one.
        what: How that was typed, for messages.
        cache: Remembers the digests of files.

    Raises:
        UserError: If one of them is not there, has left nothing to start from, or has left
            something else now than when it ended or the next one began.
    """
    links: list[Link] = []
    digest = partial(file_digest, cache=cache)
    here: Path | None = folder
    while here is not None:
        record = read_record(here)
        if record is None:
            raise UserError(f"{what} began with the run {here}, which is not there")
        link = Link(here, record)
        named = what if not links else f"{what} began with {here}, which"
        check_run(link, named)
        _check_files(link, named, cache)
        if links and (why := other_than_recorded(link, links[-1], digest)):
            raise UserError(
                f"{what}: {links[-1].folder} began with the run {here}, and {why}; repeat the "
                "steps after that run with force=true"
            )
        links.append(link)
        here = _before(link, cache)
    return links[::-1]


def other_than_recorded(link: Link, after: Link, digest: Callable[[Path], str]) -> str:
    """Why a run is not the one that the run ``after`` began with; empty if it is.

    Raises:
        UserError: If the record of ``after`` does not say with what it began.
    """
    # a chain gets shorter from run to run, so that the walk along it ends
    number, own = len(_chain_of(after)), len(_chain_of(link))
    if own != number - 1:
        return f"that is step {own + 1} of a chain now, and was step {number}"
    try:
        wanted = after.record.config["start"]["weights"]
    except (LookupError, TypeError) as error:
        raise damaged(after.folder / "run.json", f"config.start: {error}") from None
    if weights_digest(link, digest) == wanted:
        return ""
    return "that run has other weights now: it was trained again, or they were changed"


def weights_digest(link: Link, digest: Callable[[Path], str]) -> str:
    """Digest of what a run left and of what it started from; not of its head, which is new.

    ``digest`` gives the sha256 of a file.
    """
    files = [] if link.is_frozen else sorted(link.model.glob("*.safetensors"))
    if files:
        files.append(link.model / (ADAPTER_CONFIG if link.has_adapter else "config.json"))
    own = [digest(path) for path in files if path.name != HEAD]
    return hashlib.sha256(json.dumps([link.record.started_from, *own]).encode()).hexdigest()


def runs_of(folder: Path, record: RunRecord) -> Path:
    """The folder of all runs; of a run that was moved out of one, its own."""
    place, here = record.coordinates, folder.resolve()
    wanted = [f"seed={place['seed']}", place["task"], place["study"]]
    if len(here.parents) > 3 and [here.name, *(here.parents[i].name for i in (1, 2))] == wanted:
        return here.parents[3]
    return here


def is_method(record: RunRecord, kind: type) -> bool:
    """Whether a run's method is of a kind."""
    facts = METHODS.get(str(record.coordinates.get("method")))
    return facts is not None and issubclass(facts.config, kind)


def _chain_of(link: Link) -> list[dict[str, Any]]:
    """Coordinates of the runs before one."""
    chain = link.record.start.get("chain", [])
    if not isinstance(chain, list) or not all(isinstance(each, dict) for each in chain):
        raise damaged(link.folder / "run.json", "start.chain must be a list of coordinates")
    return chain


def _check_files(link: Link, what: str, cache: Path) -> None:
    """Refuse weights, or the head beside them, that are not those that the run has written."""
    certified = (link.record.certificate or {}).get("files", {})
    # both: the certificate must be of the adapter that the run wrote
    for name, digest in [*certified.items(), *link.record.exported.items()]:
        path = link.model / name
        found = file_digest(path, cache) if path.is_file() else "nothing"
        if found != digest:
            raise UserError(
                f"{what} cannot be started from: {path} is not the file that the run wrote: its "
                f"sha256 was {str(digest)[:12]}, and is {found[:12]}"
            )


def _before(link: Link, cache: Path) -> Path | None:
    """The folder of the run that one started from: beside it, or else as it was typed."""
    start = link.record.start
    if not start:
        return None
    try:
        place, typed = _chain_of(link)[-1], Path(str(start["run"]))
        runs = runs_of(link.folder, link.record)
        name = folder_name(place["method"], place["variant"])
        beside = runs / place["study"] / place["task"] / name / f"seed={place['seed']}"
    except (LookupError, TypeError) as error:
        raise damaged(link.folder / "run.json", f"start: {error}") from None
    there = [each for each in (beside, typed) if (each / "run.json").is_file()]
    fitting = [each for each in there if _fits(each, link, cache)]
    return next(iter([*fitting, *there, typed]))


def _fits(folder: Path, after: Link, cache: Path) -> bool:
    """Whether the run in a folder is the one that the run ``after`` began with."""
    with suppress(UserError):  # which is said where there is no other
        record = read_record(folder)
        assert record is not None
        digest = partial(file_digest, cache=cache)
        return not other_than_recorded(Link(folder, record), after, digest)
    return False


def check_run(link: Link, what: str) -> None:
    """Refuse a run that has left nothing to start from."""
    record, path = link.record, link.folder / "run.json"
    if record.kind != "training":
        raise UserError(f"{what} is a cell of benchmark={record.kind}: no training to start from")
    if lost := [key for key in PLACE if key not in record.coordinates]:
        raise damaged(path, f"coordinates.{lost[0]} is absent")
    if link.task not in TASKS:
        raise UserError(f"{what} is of task={link.task}, which this version does not know")
    if is_method(record, BaselineConfig):
        method = record.coordinates["method"]
        raise UserError(f"{what} is the baseline {method}, which trains nothing to start from")
    if record.status is not Status.SUCCESS:
        why = f" ({record.error})" if record.error else ""
        raise UserError(
            f"{what} is {record.status}{why}: a run starts from one that has finished with success"
        )
    if not any((link.model / name).is_file() for name in (ADAPTER_CONFIG, "config.json")):
        raise UserError(f"{what} has left no model: its folder model/ holds none")
    model = record.config.get("model")
    if not isinstance(model, dict) or record.started_from is None:
        raise damaged(path, "config.model or fingerprints.base_model is absent")
    if model.get("weights") == "random" and not is_method(record, FromScratchConfig):
        raise UserError(
            f"{what} was trained on a base model that was drawn at random (model.weights=random) "
            "and is not stored"
        )
    certificate = _certificate(record, path)
    if link.has_adapter and not certificate.get("passed"):
        found = certificate.get("checks", [])
        failed = [each["name"] for each in found if each.get("passed") is False]
        why = f"does not hold ({', '.join(failed) or 'not judged'})"
        has = why if certificate else "is not there (an earlier version made the run)"
        raise UserError(f"{what} cannot be started from: the certificate of its adapter {has}")


def _certificate(record: RunRecord, path: Path) -> dict[str, Any]:
    """What a record says of its adapter, in the form of a certificate; empty without one."""
    found: Any = {} if record.certificate is None else record.certificate
    known = found if isinstance(found, dict) else {"checks": None}
    checks, files = known.get("checks", []), known.get("files", {})
    whole = (
        isinstance(checks, list)
        and all(isinstance(each, dict) and "name" in each for each in checks)
        and isinstance(files, dict)
        and all(isinstance(digest, str) for digest in files.values())
    )
    if not whole:
        raise damaged(path, "certificate is of another form")
    return known
