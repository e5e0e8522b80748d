"""What is to be exported: a finished run, or the folder of a PEFT adapter, and its base model."""

import hashlib
import json
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from loradrift.config import ModelConfig, UserError
from loradrift.diagnose import AdapterCase, find_case
from loradrift.diagnose.adapter_case import find_adapter
from loradrift.models import model_fingerprint
from loradrift.runs import RunRecord, Status, read_record

VERSION = 1
"""Of what an export writes; a change of it makes earlier exports others."""


@dataclass(frozen=True)
class Source:
    """A run or an adapter, found and read."""

    folder: Path
    """As typed: of a run, or of an adapter."""

    model: Path
    """The folder with the weights."""

    run: RunRecord | None
    case: AdapterCase
    base: Path
    """Folder of the base model, also where it was named by its hub name."""

    base_fingerprint: str

    @property
    def name(self) -> str:
        """The task of a run, or the name of the adapter's folder."""
        return self.folder.name if self.run is None else str(self.run.coordinates["task"])

    @property
    def label(self) -> str:
        """What reports write."""
        return self.folder.name if self.run is None else self.run.task_label

    @property
    def sha256(self) -> dict[str, str]:
        """Digests of the files that go in."""
        return self.case.files.sha256

    @cached_property
    def digest(self) -> str:
        """Of everything that goes in."""
        parts = [VERSION, sorted(self.sha256.items()), self.base_fingerprint, str(self.base)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def find_source(folder: Path, base: str | None) -> Source:
    """Find and read what is to be exported.

    Raises:
        UserError: If it is neither a finished run nor an adapter, or its base is not here.
    """
    try:
        record = read_record(folder)
        if record is not None:
            _refuse_unfinished(folder, record)
        model, run = find_adapter(str(folder))
    except UserError as error:
        raise UserError(str(error).replace("adapter=", "run=", 1)) from None
    case = find_case(str(folder), base)
    where = _base_folder(case.base)
    prints = case.prints
    fingerprint = _fingerprint(where) if prints is None else prints.loaded
    return Source(folder, model, run, case, where, fingerprint)


def _refuse_unfinished(folder: Path, record: RunRecord) -> None:
    if record.status is not Status.SUCCESS:
        why = f" ({record.error})" if record.error else ""
        raise UserError(
            f"run={folder} has not finished: its status is {record.status}{why}; only finished "
            "runs are exported"
        )


def _base_folder(base: str) -> Path:
    """The folder of the base, be it the hub's copy on this machine."""
    if Path(base).is_dir():
        return Path(base).resolve()
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(base, allow_patterns=["*.json", "*.safetensors"]))


def _fingerprint(base: Path) -> str:
    with tempfile.TemporaryDirectory() as cache:
        model = ModelConfig(name="local", path=str(base))
        return model_fingerprint(model, seed=0, cache=Path(cache))
