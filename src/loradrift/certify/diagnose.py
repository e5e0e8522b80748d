"""``analysis=diagnose``: five tests of an adapter's folder, and one diagnosis."""

import tempfile
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from loradrift.certify.adapter_files import CONFIG, HEAD, AdapterFiles, read_files
from loradrift.certify.advice import Advice, advise
from loradrift.certify.base_checks import Fingerprints
from loradrift.certify.certificate import file_checks, ordered
from loradrift.certify.code import load_code, paths_of
from loradrift.certify.five_tests import five_tests
from loradrift.certify.loading import load_host
from loradrift.certify.merge import TOLERANCE, merge
from loradrift.certify.paths import Evidence, Tried, try_path
from loradrift.certify.record import Certificate, Check
from loradrift.config import ModelConfig, UserError
from loradrift.models import model_fingerprint
from loradrift.runs import RunRecord, read_record

HEALTHY, BROKEN, UNJUDGED = 0, 1, 2
"""Exit codes."""


@dataclass(frozen=True)
class Subject:
    """What is diagnosed."""

    folder: Path
    """With ``adapter_config.json``."""

    base: str | None
    run: RunRecord | None


@dataclass(frozen=True)
class Diagnosis:
    """Tests, and what follows from them."""

    adapter: str
    base: str | None
    kind: str | None
    tests: tuple[Check, ...]
    paths: tuple[Tried, ...]
    advice: Advice

    @property
    def exit_code(self) -> int:
        """0 applied and healthy, 1 not, 2 not judged."""
        return {True: HEALTHY, False: BROKEN, None: UNJUDGED}[self.advice.healthy]

    def to_json(self) -> dict[str, Any]:
        """For ``diagnosis.json``."""
        best = best_path(self.paths)
        paths = [
            {k: v for k, v in asdict(path).items() if k != "certificate"}
            | {"applied": path.applied}
            for path in self.paths
        ]
        return {
            "schema_version": 1,
            "adapter": self.adapter,
            "base": self.base,
            "kind": self.kind,
            "tests": [asdict(test) for test in self.tests],
            "paths": paths,
            "certificate": best.certificate.to_json() if best and best.certificate else None,
            "diagnosis": asdict(self.advice),
            "exit_code": self.exit_code,
        }


def diagnose(adapter: str, base: str | None) -> Diagnosis:
    """Test an adapter's folder against its base model.

    Args:
        adapter: Folder of a PEFT adapter, or of one of our runs.
        base: Folder or hub name; None is what the adapter names.

    Raises:
        UserError: If there is no such folder, or it holds no adapter.
    """
    subject = find_subject(adapter, base)
    try:
        files = read_files(subject.folder)
    except (UserError, OSError) as error:
        tests = five_tests(None, [Check("files", False, str(error))], [])
        unknown = "peft_type must be LORA" in str(error)
        advice = advise(
            str(subject.folder),
            subject.base,
            Check("files", None if unknown else False, str(error)),
        )
        return Diagnosis(adapter, subject.base, None, tests, (), advice)
    own = _own_checks(files, subject)
    base = subject.base or files.config.get("base_model_name_or_path")
    broken = next((check for check in ordered(own) if not check.passed), None)
    reason = broken or Check("base", None, f"{files.folder / CONFIG} names no base model")
    # files that contradict each other are not loaded: what PEFT made of them would say nothing
    if base is not None and reason.name != "consistent":
        try:
            return _with_base(adapter, base, files, subject, own)
        except UserError as error:
            reason = broken or Check("base", None, str(error))
    tests = five_tests(files, own, [])
    advice = advise(str(files.folder), base, reason)
    return Diagnosis(adapter, base, None, tests, (), advice)


def _with_base(
    adapter: str, base: str, files: AdapterFiles, subject: Subject, own: list[Check]
) -> Diagnosis:
    evidence = Evidence(
        files,
        _reference(files, base),
        None,
        _fingerprints(subject.run, base),
        _recorded(subject.run),
    )
    load = partial(load_host, files, base, is_run=subject.run is not None)
    host, folder = load(), str(files.folder)
    tried = [
        try_path(load, name, code, evidence) for name, code in paths_of(host, folder, base).items()
    ]
    tests = five_tests(files, own, tried)
    best = best_path(tried)
    broken = [check for check in own if not check.passed]
    if best is not None and best.applied and not broken:
        advice = advise(folder, base, None, path=best)
        return Diagnosis(adapter, base, host.kind, tests, tuple(tried), advice)
    reason = ordered(broken)[0] if broken else _reason(best, tried)
    merged: float | str | None = None
    if reason.name in ("keys", "placement", "paths"):
        try:
            merged = merge(load(), files)
        except UserError as error:
            merged = str(error)
    advice = advise(
        folder,
        base,
        reason,
        path=best,
        merged=merged,
        tolerance=TOLERANCE,
        load=load_code(host, base),
    )
    return Diagnosis(adapter, base, host.kind, tests, tuple(tried), advice)


def best_path(tried: list[Tried] | tuple[Tried, ...]) -> Tried | None:
    """The path that works, or the one that comes nearest."""
    if not tried:
        return None
    return max(
        tried,
        key=lambda path: (
            path.applied,
            path.certificate is not None,
            -len(path.certificate.failures) if path.certificate else 0,
        ),
    )


def _reason(best: Tried | None, tried: list[Tried]) -> Check:
    """The check that says why no path works."""
    if best is None or best.certificate is None:
        refused = "; ".join(f"{path.name}: {path.error}" for path in tried)
        if "size mismatch" in refused or "mismatched" in refused:
            return Check("base", False, f"shapes do not fit, an adapter of another base: {refused}")
        return Check("paths", False, f"no loading path works: {refused}")
    return first_open(best.certificate)


def first_open(certificate: Certificate) -> Check:
    """The first check that failed or, without one, could not be judged."""
    failures = certificate.failures
    return failures[0] if failures else next(c for c in certificate.checks if c.passed is None)


def _own_checks(files: AdapterFiles, subject: Subject) -> list[Check]:
    return file_checks(files, _recorded(subject.run), wants_head=_headed(subject.run))


def _headed(run: RunRecord | None) -> bool:
    """Whether a run's task puts a head on the transformer: its certificate names the file."""
    if run is None:
        return False
    if run.certificate is None:
        return bool(run.coordinates["task"] != "pretrain")
    return HEAD in run.certificate["files"]


def find_subject(adapter: str, base: str | None) -> Subject:
    """The adapter's folder; of a run, the one in it, and its record.

    Raises:
        UserError: If there is no such folder, or it holds no adapter.
    """
    folder = Path(adapter)
    if not folder.is_dir():
        raise UserError(f"adapter={adapter} is no folder")
    run = None
    for place in (folder, folder.parent):  # a run, or the model/ in it
        if (place / "run.json").is_file() and (place / "model").is_dir():
            run, folder = read_record(place), place / "model"
            break
    if not (folder / CONFIG).is_file():
        what = f"of {run.coordinates['method']} " if run else ""
        raise UserError(
            f"adapter={adapter} {what}holds no adapter: there is no {CONFIG} in {folder}"
        )
    return Subject(folder, base, run)


def _recorded(run: RunRecord | None) -> dict[str, str] | None:
    return (run.certificate or {}).get("files") if run else None


def _reference(files: AdapterFiles, base: str) -> Path | None:
    """The base that the adapter names, if it is here: what the given one is compared with."""
    named = files.config.get("base_model_name_or_path")
    if named and Path(str(named)).is_dir():
        return Path(str(named))
    return Path(base) if named and Path(str(named)).name == Path(base).name else None


def _fingerprints(run: RunRecord | None, base: str) -> Fingerprints | None:
    """Digests of the base: in the run's record, and of what is loaded now."""
    recorded = run.fingerprints.get("base_model") if run else None
    if recorded is None:
        return None
    with tempfile.TemporaryDirectory() as cache:
        config = ModelConfig(name="local", path=base)
        return Fingerprints(recorded, model_fingerprint(config, seed=0, cache=Path(cache)))
