"""Which loading path applies an adapter and, if none does, why."""

from collections.abc import Sequence
from typing import NamedTuple

from loradrift.adapters import Certificate, Check, read_files
from loradrift.adapters.check_result import Findings, ordered
from loradrift.adapters.file_checks import check_fit
from loradrift.config import UserError
from loradrift.diagnose.adapter_case import AdapterCase, check_own, find_adapter, open_case
from loradrift.diagnose.advice import diagnose_command
from loradrift.diagnose.load_attempts import LoadAttempt, try_paths
from loradrift.diagnose.loaded_base import LoadedBase

NOTHING_TO_ADD = ("lora_A", "lora_B", "effect")
"""Checks that fail where an adapter is loaded as its files say, and these change nothing."""


class Applied(NamedTuple):
    """A model with the adapter on it."""

    loaded: LoadedBase
    path: LoadAttempt
    problem: str | None
    """One line if it is loaded whole, and yet its certificate does not hold: the files change
    nothing, or something could not be judged."""


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
            raise _refusal(case, check)
    return case


def apply_adapter(case: AdapterCase, loaded: LoadedBase) -> Applied:
    """Load the adapter by the first path of which the certificate holds.

    The first path puts it into ``loaded``, others into a fresh base model. Where all is loaded as
    the files say, but these change nothing (B is zero), the adapter is applied all the same, and
    ``problem`` says so: what comes of it is the finding.

    Raises:
        UserError: If no path applies it; names the check that fails.
    """
    own, tried = case.own | check_fit(case.files, loaded.model), []
    for path, adapted in try_paths(case, loaded):
        tried.append(path)
        if path.certificate is not None and _usable(path.certificate):
            return Applied(adapted, path, None if path.applied else path.certificate.verdict)
    failed = explain(own, tried)
    assert failed is not None
    raise _refusal(case, failed)


def _refusal(case: AdapterCase, check: Check) -> UserError:
    """The error that names a failing check, and how to learn more."""
    command = diagnose_command(str(case.files.folder), case.base)
    return UserError(
        f"the adapter {case.files.folder} is not applied to {case.base}: {check}; `{command}` says "
        "what to change"
    )


def best_path(tried: Sequence[LoadAttempt]) -> LoadAttempt | None:
    """The path that works, or the one that comes nearest."""

    def health(path: LoadAttempt) -> tuple[bool, bool, int]:
        failures = path.certificate.failures if path.certificate else []
        return path.applied, path.certificate is not None, -len(failures)

    return max(tried, key=health, default=None)


def explain(own: Findings, tried: Sequence[LoadAttempt]) -> Check | None:
    """The check that says why the adapter is not applied, or not healthy; None if it is both."""
    checks, best = ordered(own), best_path(tried)
    if broken := [check for check in checks if check.passed is False]:
        return broken[0]
    if best is not None and best.applied:
        return next((check for check in checks if check.passed is None), None)
    if best is not None and best.certificate is not None:
        return best.certificate.first_open
    refused = "; ".join(f"{path.name}: {path.error}" for path in tried)
    if "size mismatch" in refused or "mismatched" in refused:
        return Check("base", False, f"shapes do not fit, an adapter of another base: {refused}")
    return Check("paths", False, f"no loading path works: {refused}")


def _usable(certificate: Certificate) -> bool:
    """Whether the model does what the files say, be it nothing."""
    failed = {check.name for check in certificate.failures}
    if "effect" in failed and certificate["effect"].figures.get("layers") != 0:
        return False
    return failed.issubset(NOTHING_TO_ADD)
