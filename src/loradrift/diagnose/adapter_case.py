"""An adapter and the base model that it is judged on: found, read, and loaded."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loradrift.adapters import AdapterFiles, Check, Fingerprints, read_files
from loradrift.adapters.adapter_config import CONFIG
from loradrift.adapters.base_checks import open_stored
from loradrift.adapters.check_result import (
    NOTHING_TO_ADD,
    Finding,
    Findings,
    holds,
    ordered,
    unjudged,
)
from loradrift.adapters.file_checks import check_files
from loradrift.config import ModelConfig, UserError
from loradrift.diagnose.advice import diagnose_command
from loradrift.diagnose.loaded_base import LoadedBase
from loradrift.diagnose.loading import check_base_path, load_base
from loradrift.models import model_fingerprint
from loradrift.models.soft_prompt.adapting import ENCODER
from loradrift.runs import RunRecord, read_record
from loradrift.runs.model_files import HEAD


@dataclass(frozen=True)
class AdapterCase:
    """An adapter, its base, and what a certificate compares them with."""

    files: AdapterFiles
    base: str
    """Folder or hub name."""

    run: RunRecord | None
    own: Findings
    """The checks that need no model."""

    reference: Path
    """Folder whose weights the base must have: the one that the adapter names, where it is here."""

    prints: Fingerprints | None

    def load(self) -> LoadedBase:
        """Load the base model, without the adapter."""
        return load_base(self.files, self.base, is_run=self.run is not None)


def find_adapter(adapter: str) -> tuple[Path, RunRecord | None]:
    """Find the adapter's folder; of a run, the one in it, and its record."""
    folder, run = Path(adapter), None
    if not folder.is_dir():
        raise UserError(f"adapter={adapter} is no folder")
    if not (folder / CONFIG).is_file():
        run = _read_run(folder)
        folder = folder if run is None else folder / "model"
    elif folder.name == "model":
        run = _read_run(folder.parent)
    elif folder.name == ENCODER and folder.parent.name == "model":
        owner = folder.parent.parent
        if run := _read_run(owner):
            raise UserError(_on_encoder(adapter, owner, run))
    if not (folder / CONFIG).is_file():
        if run is not None and (folder / ENCODER / CONFIG).is_file():
            raise UserError(_on_encoder(adapter, folder.parent, run))
        lacks = f"adapter={adapter} holds no adapter: there is no {CONFIG} in {folder}"
        if run is not None:
            lacks += f"; the run's method is {run.coordinates['method']}, its status {run.status}"
        if below := sorted(path.parent.name for path in folder.glob(f"*/{CONFIG}")):
            lacks += f"; the folders below it that hold one are {', '.join(below)}"
        raise UserError(lacks)
    return folder, run


def _on_encoder(adapter: str, folder: Path, run: RunRecord) -> str:
    """What is said of LoRA on a soft prompt's encoder, which only its own run can judge."""
    certificate = run.certificate or {}
    passed = certificate.get(ENCODER, certificate).get("passed")
    verdict = {True: "passes", False: "fails"}.get(passed, "is not judged")
    return (
        f"adapter={adapter}: the adapter in {folder / 'model' / ENCODER} is on the encoder of a "
        "soft prompt (model/head.safetensors), and on no language model that could be loaded "
        f"here; its certificate, in {folder / 'run.json'}, {verdict}"
    )


def _read_run(folder: Path) -> RunRecord | None:
    """A run's record, with all that is read of it here."""
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
        damage = f"{wrong[0]} is missing or of another type"
        raise UserError(f"{folder / 'run.json'} is damaged: {damage}")
    return run


def recorded_files(run: RunRecord | None) -> dict[str, str]:
    """sha256 of the files when the run certified them."""
    files: dict[str, str] = ((run and run.certificate) or {}).get("files", {})
    return files


def check_own(files: AdapterFiles, run: RunRecord | None) -> Findings:
    """The checks that need no model."""
    recorded = recorded_files(run)
    headed = HEAD in recorded
    if run is not None and run.certificate is None:
        headed = run.has_head
    return check_files(files, recorded, wants_head=headed)


def open_case(
    files: AdapterFiles, base: str | None, run: RunRecord | None, own: Findings
) -> AdapterCase:
    """Find the base model: the typed one, or the one that the adapter names."""
    named = str(files.config.get("base_model_name_or_path") or "")
    base = base or named
    if run is not None and run.config["model"].get("weights") == "random":
        raise UserError(
            f"the base model of {files.folder} was drawn at random (model.weights=random) and is "
            "not stored: nothing can be compared with it"
        )
    if not base:
        what = f"{files.folder / CONFIG} names no base model"
        raise UserError(f"{what}: give base=<folder or hub name>")
    check_base_path(base)
    recorded = run.started_from if run else None
    prints = None if recorded is None else Fingerprints(recorded, _fingerprint(base))
    # of the given base itself, PEFT may still have changed the weights
    reference = Path(named if named and open_stored(Path(named)) is not None else base)
    base_name = _base_name(named, base, digested=prints is not None)
    return AdapterCase(files, base, run, own | {"base_name": base_name}, reference, prints)


def _fingerprint(base: str) -> str:
    with tempfile.TemporaryDirectory() as cache:
        return model_fingerprint(ModelConfig(name="local", path=base), seed=0, cache=Path(cache))


def _base_name(named: str, base: str, *, digested: bool) -> Finding:
    """Whether the base is the one that the adapter names, where weights cannot be compared.

    A run that recorded the base's digest, ``digested``, says more than a name.
    """
    here = Path(named).exists() and Path(base).exists()
    if digested:
        return holds("the run recorded the base model's digest")
    if not named:
        return holds(f"{CONFIG} names no base model: base={base} is believed")
    if Path(named).samefile(base) if here else named == base:
        return holds(f"the base is the one that {CONFIG} names")
    if open_stored(Path(named)) is not None:
        return holds(f"the base that {CONFIG} names is {named}, compared above")
    if _model_name(named).casefold() == _model_name(base).casefold():
        return holds(f"{CONFIG} names {named}, which is not here; base={base} is called alike")
    return unjudged(
        f"{CONFIG} names {named}, base={base} is called otherwise, and the former is not here to "
        "compare their weights"
    )


def _model_name(model: str) -> str:
    """The end of a path or hub name, also of a snapshot in the hub's cache."""
    cached = [part for part in Path(model).parts if part.startswith("models--")]
    return cached[0].rpartition("--")[2] if cached else Path(model).name


def find_case(adapter: str, base: str | None) -> AdapterCase:
    """Find and read an adapter that is to be used, not diagnosed, as ``diagnose`` does.

    Raises:
        UserError: If there is no adapter or no base, or the files are not whole; names the check.
    """
    folder, run = find_adapter(adapter)
    try:
        files = read_files(folder)
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error}") from None
    own = check_own(files, run)
    case = open_case(files, base, run, own)
    for check in ordered(own):
        if check.passed is False and check.name not in NOTHING_TO_ADD:
            raise refusal(case, check)
    return case


def refusal(case: AdapterCase, check: Check) -> UserError:
    """The error that names a failing check, and how to learn more."""
    command = diagnose_command(str(case.files.folder), case.base)
    what = f"the adapter {case.files.folder} is not applied to {case.base}: {check}"
    return UserError(f"{what}; `{command}` says what to change")
