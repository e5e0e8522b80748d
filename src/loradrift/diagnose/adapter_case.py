"""An adapter and the base model that it is judged on: found, read, and loaded."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loradrift.adapters import AdapterFiles, Check, Fingerprints
from loradrift.adapters.adapter_files import CONFIG, HEAD
from loradrift.adapters.base_weights import check_base_name, open_stored
from loradrift.adapters.file_checks import file_checks
from loradrift.config import ModelConfig, UserError
from loradrift.diagnose.loaded_base import LoadedBase
from loradrift.diagnose.loading import check_base_path, load_base
from loradrift.models import model_fingerprint
from loradrift.runs import RunRecord, read_record


@dataclass(frozen=True)
class Subject:
    """What is judged."""

    folder: Path
    """With ``adapter_config.json``."""

    base: str | None
    """As typed."""

    run: RunRecord | None

    @property
    def recorded(self) -> dict[str, str]:
        """sha256 of the files when the run certified them."""
        certificate = self.run.certificate if self.run else None
        files: dict[str, str] = (certificate or {}).get("files", {})
        return files

    def own_checks(self, files: AdapterFiles) -> list[Check]:
        """The checks that need no model."""
        headed = HEAD in self.recorded
        if self.run is not None and self.run.certificate is None:
            headed = self.run.has_head
        return file_checks(files, self.recorded, wants_head=headed)


@dataclass(frozen=True)
class AdapterCase:
    """An adapter, its base, and what a certificate compares them with."""

    files: AdapterFiles
    base: str
    """Folder or hub name."""

    own: Sequence[Check]
    """The checks that need no model."""

    subject: Subject
    reference: Path
    """Folder whose weights the base must have: the one that the adapter names, where it is here."""

    prints: Fingerprints | None

    def load(self) -> LoadedBase:
        """The base model, without the adapter.

        Raises:
            UserError: If it cannot be loaded.
        """
        return load_base(self.files, self.base, is_run=self.subject.run is not None)


def find_subject(adapter: str, base: str | None) -> Subject:
    """The adapter's folder; of a run, the one in it, and its record.

    Raises:
        UserError: If there is no such folder, or it holds no adapter.
    """
    folder, run = Path(adapter), None
    if not folder.is_dir():
        raise UserError(f"adapter={adapter} is no folder")
    if not (folder / CONFIG).is_file():
        run = _read_run(folder)
        folder = folder if run is None else folder / "model"
    elif folder.name == "model":
        run = _read_run(folder.parent)
    if not (folder / CONFIG).is_file():
        why = ""
        if run is not None:
            why = f"; the run's method is {run.coordinates['method']}, its status {run.status}"
        raise UserError(
            f"adapter={adapter} holds no adapter: there is no {CONFIG} in {folder}{why}"
        )
    return Subject(folder, base, run)


def _read_run(folder: Path) -> RunRecord | None:
    """A run's record, with all that is read of it here.

    Raises:
        UserError: If it is damaged.
    """
    run = read_record(folder)
    if run is None:
        return None
    certificate: Any = {} if run.certificate is None else run.certificate
    files = certificate.get("files", {}) if isinstance(certificate, dict) else None
    right = {
        "coordinates.method": isinstance(run.coordinates.get("method"), str),
        "coordinates.task": isinstance(run.coordinates.get("task"), str),
        "config.model": isinstance(run.config.get("model"), dict),
        "fingerprints.base_model": isinstance(run.fingerprints.get("base_model", ""), str),
        "certificate.files": isinstance(files, dict)
        and all(isinstance(digest, str) for digest in files.values()),
    }
    if wrong := [key for key, holds in right.items() if not holds]:
        raise UserError(
            f"{folder / 'run.json'} is damaged: {wrong[0]} is missing or of another type"
        )
    return run


def open_case(files: AdapterFiles, subject: Subject, own: Sequence[Check]) -> AdapterCase:
    """Find the base model.

    Raises:
        UserError: If nothing names one, or there is none of that name.
    """
    run, named = subject.run, files.config.get("base_model_name_or_path")
    base = str(subject.base or named or "")
    if run is not None and run.config["model"].get("weights") == "random":
        raise UserError(
            f"the base model of {files.folder} was drawn at random (model.weights=random) and is "
            "not stored: nothing can be compared with it"
        )
    if not base:
        raise UserError(
            f"{files.folder / CONFIG} names no base model: give base=<folder or hub name>"
        )
    check_base_path(base)
    recorded = run.fingerprints.get("base_model") if run else None
    prints = None if recorded is None else Fingerprints(recorded, _fingerprint(base))
    # of the given base itself, PEFT may still have changed the weights
    reference = Path(base) if open_stored(Path(str(named or ""))) is None else Path(str(named))
    own = [*own, check_base_name(files, base, digested=prints is not None)]
    return AdapterCase(files, base, own, subject, reference, prints)


def _fingerprint(base: str) -> str:
    with tempfile.TemporaryDirectory() as cache:
        return model_fingerprint(ModelConfig(name="local", path=base), seed=0, cache=Path(cache))
