"""``analysis=diagnose``: five tests of an adapter's folder, and one diagnosis."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loradrift.adapters import Check, read_files
from loradrift.adapters.check_result import Finding, Findings, fails, ordered, unjudged
from loradrift.adapters.file_checks import check_fit
from loradrift.config import UserError
from loradrift.diagnose.adapter_case import AdapterCase, check_own, find_adapter, open_case
from loradrift.diagnose.advice import Advice, advise, advise_merge, load_code
from loradrift.diagnose.load_attempts import SAME, LoadAttempt, best_path, explain, try_paths
from loradrift.diagnose.loading import load_base
from loradrift.diagnose.merge import TOLERANCE, merge
from loradrift.diagnose.merge_weights import merge_weights, relative_gap

MERGEABLE = ("keys", "placement", "paths")
"""Checks that fail where no path takes an adapter whose files may be whole."""

EMBEDDING = "embedding difference"
CHECKS = {
    "weights": ("lora_B", "lora_A", "scale", "weights"),
    "module structure": ("placement", "keys", "active", "merged_once"),
    "files": ("files", "consistent", "base", "base_name", "head"),
}
"""Test -> the checks of the certificate that belong to it."""


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
        return {True: 0, False: 1, None: 2}[self.advice.healthy]

    def to_json(self) -> dict[str, Any]:
        """The diagnosis as ``diagnosis.json`` holds it."""
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
    """Test the folder of a PEFT adapter, or of one of our runs, against its base model.

    The base is a folder or hub name; None is what the adapter names.

    Raises:
        UserError: If there is no such folder, or it holds no adapter.
    """
    folder, run = find_adapter(adapter)
    try:
        files = read_files(folder)
    except (UserError, OSError) as error:
        tests = _sort_into_tests({"files": fails(str(error))}, [])
        passed = None if "peft_type must be LORA" in str(error) else False
        advice = advise(str(folder), Check("files", passed, str(error)))
        return Diagnosis(adapter, base, None, tests, (), advice)
    own = check_own(files, run)
    reason = next((check for check in ordered(own) if not check.passed), None)
    # files that contradict each other are not loaded: what PEFT made of them would say nothing
    if reason is None or reason.name != "consistent":
        try:
            return _with_base(adapter, open_case(files, base, run, own))
        except UserError as error:
            reason = reason or Check("base", None, str(error))
    named = base or files.config.get("base_model_name_or_path") or None
    advice = advise(str(folder), reason)
    return Diagnosis(adapter, named, None, _sort_into_tests(own, []), (), advice)


def _with_base(adapter: str, case: AdapterCase) -> Diagnosis:
    loaded, folder = case.load(), str(case.files.folder)
    load, kind = load_code(loaded, case.base), loaded.kind
    own = case.own | check_fit(case.files, loaded.model)
    tried = [path for path, _ in try_paths(case, loaded)]
    reason, best = explain(own, tried), best_path(tried)
    if reason is None:
        assert best is not None
        advice = Advice(True, f"the adapter is applied {best.name}", best.code)
    else:
        once = reason.name == "merged_once" and _holds_once(case, reason)
        advice = _try_merge(case, reason) or advise(folder, reason, load=load, holds_once=once)
    return Diagnosis(adapter, case.base, kind, _sort_into_tests(own, tried), tuple(tried), advice)


def _try_merge(case: AdapterCase, reason: Check) -> Advice | None:
    """The way out where no path takes the adapter, if there is this one."""
    if reason.name not in MERGEABLE or "lacking" in reason.figures:
        return None
    try:
        gap = merge(case.load(), case.files)
    except UserError:
        return None
    return None if gap > TOLERANCE else advise_merge(str(case.files.folder), case.base, reason, gap)


def _holds_once(case: AdapterCase, reason: Check) -> bool:
    """Whether the base is what one merge makes of the unmerged one, be that only by its shares."""
    if case.reference == Path(case.base):
        return reason.figures.get("least", 0) > 0.75 and reason.figures.get("most", 2) < 1.25
    try:
        unmerged = load_base(case.files, str(case.reference), is_run=case.run is not None)
        off = unmerged.everything()
        wanted = merge_weights(unmerged, case.files).wanted
    except UserError:
        return False
    return relative_gap(case.load().everything(), wanted, off) < 0.1  # it may have been rounded


def _sort_into_tests(own: Findings, tried: Sequence[LoadAttempt]) -> tuple[Check, ...]:
    """Sort what was found into the five tests."""
    best = best_path([path for path in tried if path.certificate])
    found = {check.name: check for check in ordered(own)}
    if best is not None and best.certificate is not None:
        failed = {name for name, check in found.items() if check.passed is False}
        found |= {c.name: c for c in best.certificate.checks if c.name not in failed}
    return (
        Check(EMBEDDING, *_embedding(tried)),
        _joined("weights", found, None if best is None else best.trainable),
        _joined("module structure", found),
        Check("forward pass", *_forward(best, found)),
        _joined("files", found),
    )


def _embedding(tried: Sequence[LoadAttempt]) -> Finding:
    if not tried:
        return unjudged("no model to compare with and without the adapter")
    message = "; ".join(f"{path.name}: {path.found}" for path in tried)
    figures = {path.name: path.cosine for path in tried if path.cosine is not None}
    return Finding(any(path.applied for path in tried), message, figures)


def _joined(test: str, found: Mapping[str, Check], share: float | None = None) -> Check:
    """One verdict of several checks: the first that fails, or all their lines."""
    checks = [found[name] for name in CHECKS[test] if name in found]
    figures = {f"{c.name}.{key}": value for c in checks for key, value in c.figures.items()}
    said = [check.message for check in checks]
    if share is not None:
        figures["adapter_share"] = share
        said.append(f"the adapter has {100 * share:.2f} % of the parameters")
    if failed := [str(check) for check in checks if check.passed is False]:
        return Check(test, False, "; ".join(failed), figures)
    if not checks:
        return Check(test, *unjudged("nothing could be loaded", **figures))
    essential = [check for check in checks if check.name not in ("base", "merged_once")]
    judged = all(check.passed for check in essential) and len(checks) >= 3
    return Check(test, judged or None, "; ".join(said), figures)


def _forward(best: LoadAttempt | None, found: Mapping[str, Check]) -> Finding:
    if best is None:
        return unjudged("nothing could be loaded")
    if "effect" not in found:
        return unjudged("the adapter is nowhere in the model")
    effect = found["effect"]
    if best.by_hand is None:
        by_hand, figures = "the model's inside cannot be called by hand", effect.figures
    else:
        by_hand = f"the high-level call and a forward pass by hand: cosine {best.by_hand:.6f}"
        figures = effect.figures | {"by_hand": best.by_hand}
        if best.by_hand < SAME:
            return fails(f"{by_hand}: the call goes around the adapter", **figures)
    return Finding(effect.passed, f"{by_hand}; {effect.message}", figures)
