"""The five tests of a diagnosis, each with its figures and a verdict."""

from collections.abc import Sequence

from loradrift.adapters.adapter_files import AdapterFiles
from loradrift.adapters.check_result import Check
from loradrift.diagnose.load_attempts import NOT_APPLIED, LoadAttempt

NAMES = ("embedding difference", "weights", "module structure", "forward pass", "files")
SAME = 0.9999
"""Least cosine of the high-level call and the forward pass by hand."""

OF_TEST = {
    "weights": ("lora_B", "lora_A", "scale", "weights"),
    "module structure": ("placement", "keys", "active", "merged_once"),
    "files": ("files", "consistent", "base", "base_name", "head"),
}
"""Checks of the certificate -> the test that they belong to."""


def test_sections(
    files: AdapterFiles | None, own: Sequence[Check], tried: Sequence[LoadAttempt]
) -> tuple[Check, ...]:
    """Sort what was found into the five tests.

    Args:
        files: None where they cannot be read.
        own: The checks that need no model.
        tried: The loading paths; none where no base model is to be had.
    """
    certified = [path for path in tried if path.certificate]
    best = max(certified, key=_health, default=None)
    found = {check.name: check for check in own}
    if best is not None and best.certificate is not None:
        failed = {name for name, check in found.items() if check.passed is False}
        found |= {c.name: c for c in best.certificate.checks if c.name not in failed}
    return (
        _embedding(tried),
        _joined("weights", found, best),
        _joined("module structure", found, best),
        _forward(best),
        _joined("files", found, None),
    )


def _health(path: LoadAttempt) -> tuple[bool, int]:
    assert path.certificate is not None
    return path.applied, -len(path.certificate.failures)


def _embedding(tried: Sequence[LoadAttempt]) -> Check:
    if not tried:
        return Check(NAMES[0], None, "not judged: no model to compare with and without the adapter")
    message = "; ".join(f"{path.name}: {path.found}" for path in tried)
    figures = {path.name: path.cosine for path in tried if path.cosine is not None}
    return Check(NAMES[0], any(path.applied for path in tried), message, figures)


def _joined(test: str, found: dict[str, Check], best: LoadAttempt | None) -> Check:
    """One verdict of several checks: the first that fails, or all their lines."""
    checks = [found[name] for name in OF_TEST[test] if name in found]
    figures = {
        f"{check.name}.{key}": value for check in checks for key, value in check.figures.items()
    }
    if test == "weights" and best is not None and best.trainable is not None:
        figures["adapter_share"] = best.trainable
    failed = [check for check in checks if check.passed is False]
    if failed:
        return Check(test, False, "; ".join(f"{c.name}: {c.message}" for c in failed), figures)
    if not checks:
        return Check(test, None, "not judged: nothing could be loaded", figures)
    message = "; ".join(check.message for check in checks)
    if "adapter_share" in figures:
        message += f"; the adapter has {100 * figures['adapter_share']:.2f} % of the parameters"
    essential = [check for check in checks if check.name not in ("base", "merged_once")]
    judged = all(check.passed for check in essential) and len(checks) >= 3
    return Check(test, True if judged else None, message, figures)


def _forward(best: LoadAttempt | None) -> Check:
    if best is None or best.certificate is None:
        return Check(NAMES[3], None, "not judged: nothing could be loaded")
    try:
        effect = best.certificate["effect"]
    except StopIteration:
        return Check(NAMES[3], None, "not judged: the adapter is nowhere in the model")
    figures = dict(effect.figures)
    if best.by_hand is None:
        by_hand = "the model's inside cannot be called by hand"
    else:
        figures["by_hand"] = best.by_hand
        by_hand = f"the high-level call and a forward pass by hand: cosine {best.by_hand:.6f}"
        if best.by_hand < SAME:
            return Check(NAMES[3], False, f"{by_hand}: the call goes around the adapter", figures)
    return Check(NAMES[3], effect.passed, f"{by_hand}; {effect.message}", figures)


assert NOT_APPLIED == SAME  # one threshold: the same text, the same output
