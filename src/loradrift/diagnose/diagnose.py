"""``analysis=diagnose``: five tests of an adapter's folder, and one diagnosis."""

from dataclasses import asdict, dataclass
from typing import Any

from loradrift.adapters.adapter_files import read_files
from loradrift.adapters.certificate import ordered
from loradrift.adapters.check_result import Check
from loradrift.adapters.shape_checks import check_fit
from loradrift.config import UserError
from loradrift.diagnose.adapter_case import AdapterCase, find_subject, open_case, own_checks
from loradrift.diagnose.advice import Advice, advise
from loradrift.diagnose.load_attempts import LoadAttempt, try_paths
from loradrift.diagnose.merge import TOLERANCE, merge
from loradrift.diagnose.sections import test_sections
from loradrift.diagnose.select_loading import best_path, explain
from loradrift.diagnose.snippets import load_code

HEALTHY, BROKEN, UNJUDGED = 0, 1, 2
"""Exit codes."""


MERGEABLE = ("keys", "placement", "paths")
"""Checks that fail where no path takes an adapter whose files may be whole."""


@dataclass(frozen=True)
class Diagnosis:
    """Tests, and what follows from them."""

    adapter: str
    base: str | None
    kind: str | None
    tests: tuple[Check, ...]
    paths: tuple[LoadAttempt, ...]
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
        tests = test_sections(None, [Check("files", False, str(error))], [])
        unknown = "peft_type must be LORA" in str(error)
        advice = advise(
            str(subject.folder),
            subject.base,
            Check("files", None if unknown else False, str(error)),
        )
        return Diagnosis(adapter, subject.base, None, tests, (), advice)
    own = own_checks(files, subject)
    named = files.config.get("base_model_name_or_path")
    base = subject.base or (str(named) if named else None)
    reason = next((check for check in ordered(own) if not check.passed), None)
    # files that contradict each other are not loaded: what PEFT made of them would say nothing
    if reason is None or reason.name != "consistent":
        try:
            return _with_base(adapter, open_case(files, subject, own))
        except UserError as error:
            reason = reason or Check("base", None, str(error))
    tests = test_sections(files, own, [])
    advice = advise(str(files.folder), base, reason)
    return Diagnosis(adapter, base, None, tests, (), advice)


def _with_base(adapter: str, case: AdapterCase) -> Diagnosis:
    host, folder = case.load(), str(case.files.folder)
    load, kind = load_code(host, case.base), host.kind
    own = [*case.own, *check_fit(case.files, host.model)]
    tried = [path for path, _ in try_paths(case, host)]
    reason = explain(own, tried)
    merged: float | str | None = None
    if reason is not None and reason.name in MERGEABLE and "lacking" not in reason.figures:
        try:
            merged = merge(case.load(), case.files)
        except UserError as error:
            merged = str(error)
    advice = advise(
        folder,
        case.base,
        reason,
        path=best_path(tried),
        merged=merged,
        tolerance=TOLERANCE,
        load=load,
    )
    tests = test_sections(case.files, own, tried)
    return Diagnosis(adapter, case.base, kind, tests, tuple(tried), advice)
