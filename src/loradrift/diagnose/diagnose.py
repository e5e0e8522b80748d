"""``analysis=diagnose``: five tests of an adapter's folder, and one diagnosis."""

from dataclasses import asdict, dataclass
from typing import Any

from loradrift.adapters import Check, read_files
from loradrift.adapters.certificate import ordered
from loradrift.adapters.shape_checks import check_fit
from loradrift.config import UserError
from loradrift.diagnose.adapter_case import AdapterCase, find_subject, open_case
from loradrift.diagnose.advice import Advice, advise, advise_merge
from loradrift.diagnose.load_attempts import LoadAttempt, try_paths
from loradrift.diagnose.merge import TOLERANCE, merge
from loradrift.diagnose.sections import sort_into_tests
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
        paths = [asdict(path) | {"applied": path.applied} for path in self.paths]
        for path in paths:
            del path["certificate"]
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
        failed = Check("files", False, str(error))
        tests = sort_into_tests([failed], [])
        if "peft_type must be LORA" in str(error):
            failed = Check("files", None, str(error))
        return Diagnosis(adapter, base, None, tests, (), advise(str(subject.folder), failed))
    own = subject.own_checks(files)
    reason = next((check for check in ordered(own) if not check.passed), None)
    # files that contradict each other are not loaded: what PEFT made of them would say nothing
    if reason is None or reason.name != "consistent":
        try:
            return _with_base(adapter, open_case(files, subject, own))
        except UserError as error:
            reason = reason or Check("base", None, str(error))
    named = base or files.config.get("base_model_name_or_path") or None
    tests = sort_into_tests(own, [])
    return Diagnosis(adapter, named, None, tests, (), advise(str(files.folder), reason))


def _with_base(adapter: str, case: AdapterCase) -> Diagnosis:
    loaded, folder = case.load(), str(case.files.folder)
    load, kind = load_code(loaded, case.base), loaded.kind
    own = [*case.own, *check_fit(case.files, loaded.model)]
    tried = [path for path, _ in try_paths(case, loaded)]
    tests = sort_into_tests(own, tried)
    reason, best = explain(own, tried), best_path(tried)
    if reason is None:
        assert best is not None
        advice = Advice(True, f"the adapter is applied {best.name}", best.code)
    else:
        advice = _try_merge(case, reason) or advise(folder, reason, load=load)
    return Diagnosis(adapter, case.base, kind, tests, tuple(tried), advice)


def _try_merge(case: AdapterCase, reason: Check) -> Advice | None:
    """The way out where no path takes the adapter, if there is this one."""
    if reason.name not in MERGEABLE or "lacking" in reason.figures:
        return None
    try:
        gap = merge(case.load(), case.files)
    except UserError:
        return None
    return (
        advise_merge(str(case.files.folder), case.base, reason, gap) if gap <= TOLERANCE else None
    )
