"""An adapter and the base model that it is judged on: found, read, and loaded."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loradrift.adapters.adapter_files import CONFIG, HEAD, AdapterFiles
from loradrift.adapters.base_checks import Fingerprints
from loradrift.adapters.base_weights import check_base_name, open_stored
from loradrift.adapters.check_result import Check
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


@dataclass(frozen=True)
class AdapterCase:
    """An adapter, its base, and what a certificate compares them with."""

    files: AdapterFiles
    base: str
    """Folder or hub name."""

    own: Sequence[Check]
    """The checks that need no model."""

    is_run: bool
    reference: Path
    """Folder whose weights the base must have: the one that the adapter names, where it is here."""

    prints: Fingerprints | None
    recorded: Mapping[str, str] | None
    """sha256 of the files when the run certified them."""

    def load(self) -> LoadedBase:
        """The base model, without the adapter.

        Raises:
            UserError: If it cannot be loaded.
        """
        return load_base(self.files, self.base, is_run=self.is_run)


def find_subject(adapter: str, base: str | None) -> Subject:
    """The adapter's folder; of a run, the one in it, and its record.

    Args:
        adapter: Folder of a PEFT adapter, or of a run, whose adapter is in ``model/``.
        base: The base model, where one was named.

    Raises:
        UserError: If there is no such folder, or it holds no adapter.
    """
    folder = Path(adapter)
    if not folder.is_dir():
        raise UserError(f"adapter={adapter} is no folder")
    run = None
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


def own_checks(files: AdapterFiles, subject: Subject) -> list[Check]:
    """The checks that need no model."""
    return file_checks(files, _recorded(subject.run), wants_head=_headed(subject.run))


def open_case(files: AdapterFiles, subject: Subject, own: Sequence[Check]) -> AdapterCase:
    """Find the base model.

    Raises:
        UserError: If nothing names one, or there is none of that name.
    """
    run = subject.run
    if run is not None and run.config["model"].get("weights") == "random":
        raise UserError(
            f"the base model of {files.folder} was drawn at random (model.weights=random) and is "
            "not stored: nothing can be compared with it"
        )
    base = subject.base or files.config.get("base_model_name_or_path")
    if not base:
        raise UserError(
            f"{files.folder / CONFIG} names no base model: give base=<folder or hub name>"
        )
    base = str(base)
    check_base_path(base)
    prints = _fingerprints(run, base)
    return AdapterCase(
        files,
        base,
        [*own, check_base_name(files, base, digested=prints is not None)],
        run is not None,
        _reference(files, base),
        prints,
        _recorded(run),
    )


def _headed(run: RunRecord | None) -> bool:
    """Whether a run's task puts a head on the transformer: its certificate names the file."""
    if run is None:
        return False
    if run.certificate is None:
        return run.has_head
    return HEAD in run.certificate.get("files", {})


def _recorded(run: RunRecord | None) -> dict[str, str] | None:
    return (run.certificate or {}).get("files") if run else None


def _reference(files: AdapterFiles, base: str) -> Path:
    """Of the given base itself, PEFT may still have changed the weights."""
    named = Path(str(files.config.get("base_model_name_or_path") or ""))
    return Path(base) if open_stored(named) is None else named


def _fingerprints(run: RunRecord | None, base: str) -> Fingerprints | None:
    """Digests of the base: in the run's record, and of what is loaded now."""
    recorded = run.fingerprints.get("base_model") if run else None
    if recorded is None:
        return None
    with tempfile.TemporaryDirectory() as cache:
        config = ModelConfig(name="local", path=base)
        return Fingerprints(recorded, model_fingerprint(config, seed=0, cache=Path(cache)))
