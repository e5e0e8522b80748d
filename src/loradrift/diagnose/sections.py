"""The five tests of a diagnosis, each with its figures and a verdict."""

from collections.abc import Mapping, Sequence

from loradrift.adapters import Check
from loradrift.adapters.check_result import Finding, fails, unjudged
from loradrift.diagnose.load_attempts import SAME, LoadAttempt
from loradrift.diagnose.select_loading import best_path

NAMES = ("embedding difference", "weights", "module structure", "forward pass", "files")
CHECKS = {
    "weights": ("lora_B", "lora_A", "scale", "weights"),
    "module structure": ("placement", "keys", "active", "merged_once"),
    "files": ("files", "consistent", "base", "base_name", "head"),
}
"""Test -> the checks of the certificate that belong to it."""


def sort_into_tests(own: Sequence[Check], tried: Sequence[LoadAttempt]) -> tuple[Check, ...]:
    """Sort what was found into the five tests."""
    best = best_path([path for path in tried if path.certificate])
    found = {check.name: check for check in own}
    if best is not None and best.certificate is not None:
        failed = {name for name, check in found.items() if check.passed is False}
        found |= {c.name: c for c in best.certificate.checks if c.name not in failed}
    share = None if best is None else best.trainable
    tests = (
        _embedding(tried),
        _joined("weights", found, share),
        _joined("module structure", found),
        _forward(best, found),
        _joined("files", found),
    )
    return tuple(Check(name, *test) for name, test in zip(NAMES, tests, strict=True))


def _embedding(tried: Sequence[LoadAttempt]) -> Finding:
    if not tried:
        return unjudged("no model to compare with and without the adapter")
    message = "; ".join(f"{path.name}: {path.found}" for path in tried)
    figures = {path.name: path.cosine for path in tried if path.cosine is not None}
    return Finding(any(path.applied for path in tried), message, figures)


def _joined(test: str, found: Mapping[str, Check], share: float | None = None) -> Finding:
    """One verdict of several checks: the first that fails, or all their lines."""
    checks = [found[name] for name in CHECKS[test] if name in found]
    figures = {f"{c.name}.{key}": value for c in checks for key, value in c.figures.items()}
    said = [check.message for check in checks]
    if share is not None:
        figures["adapter_share"] = share
        said.append(f"the adapter has {100 * share:.2f} % of the parameters")
    if failed := [f"{check.name}: {check.message}" for check in checks if check.passed is False]:
        return Finding(False, "; ".join(failed), figures)
    if not checks:
        return unjudged("nothing could be loaded", **figures)
    essential = [check for check in checks if check.name not in ("base", "merged_once")]
    judged = all(check.passed for check in essential) and len(checks) >= 3
    return Finding(judged or None, "; ".join(said), figures)


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
