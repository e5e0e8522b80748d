"""What a certificate says: named checks, each with a verdict, a line and figures."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

ORDER = (
    "files", "consistent", "head", "placement", "base", "keys", "lora_B", "lora_A", "parts",
    "merged_once", "active", "scale", "weights", "effect", "base_name",
)  # fmt: skip
"""Names of the checks: a failure further up explains those further down."""

ESSENTIAL = (
    "files", "consistent", "placement", "keys", "merged_once", "weights", "effect",
)  # fmt: skip
"""Checks without which nothing can be said: one that could not be judged leaves all unjudged."""

NOTHING_TO_ADD = ("lora_A", "lora_B", "effect")
"""Checks that fail where an adapter is loaded as its files say, and these change nothing."""


class Finding(NamedTuple):
    """A check's answer, before it has the check's name."""

    passed: bool | None
    message: str
    figures: dict[str, float]


Findings = dict[str, Finding]
"""Name of the check -> its answer."""


def holds(message: str, **figures: float) -> Finding:
    """The check passes."""
    return Finding(True, message, figures)


def fails(message: str, **figures: float) -> Finding:
    """The check fails."""
    return Finding(False, message, figures)


def unjudged(why: str, **figures: float) -> Finding:
    """The check can neither pass nor fail."""
    return Finding(None, f"not judged: {why}", figures)


@dataclass(frozen=True)
class Check:
    """One question about an adapter, and its answer."""

    name: str
    passed: bool | None
    """None where it could not be judged."""

    message: str
    """One line, with figures."""

    figures: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name}: {self.message}"


def ordered(findings: Mapping[str, Finding]) -> tuple[Check, ...]:
    """The checks in the order in which their failures should be fixed."""
    return tuple(Check(name, *findings[name]) for name in ORDER if name in findings)


@dataclass(frozen=True)
class Certificate:
    """That adapters are really applied, or which check says that they are not.

    Example:
        >>> zero = Check("lora_B", False, "B is zero in 6 of 6 modules")
        >>> Certificate((zero,)).verdict
        'lora_B: B is zero in 6 of 6 modules'
    """

    checks: tuple[Check, ...]
    files: dict[str, str] = field(default_factory=dict)
    """sha256 of each file of the adapter, by name."""

    @property
    def passed(self) -> bool | None:
        """False if a check failed; None if one of :data:`ESSENTIAL` could not be judged."""
        if self.failures:
            return False
        judged = {check.name for check in self.checks if check.passed}
        return True if judged.issuperset(ESSENTIAL) else None

    @property
    def failures(self) -> list[Check]:
        """The checks that failed, in the order in which they should be fixed."""
        return [check for check in self.checks if check.passed is False]

    @property
    def first_open(self) -> Check | None:
        """The first check that failed or, without one, is essential and could not be judged."""
        essential = [c for c in self.checks if c.name in ESSENTIAL and not c.passed]
        return next(iter([*self.failures, *essential]), None)

    @property
    def verdict(self) -> str:
        """One line: that it holds, or the first check that fails or could not be judged."""
        if self.passed:
            return "the adapter is applied"
        return str(self.first_open or "essential checks are missing")

    def __getitem__(self, name: str) -> Check:
        return next(check for check in self.checks if check.name == name)

    def to_json(self) -> dict[str, Any]:
        """The certificate as ``run.json`` holds it."""
        checks = [asdict(check) for check in self.checks]
        return {"passed": self.passed, "checks": checks, "files": self.files}


def some(names: Iterable[str]) -> str:
    """The first name, and how many more there are."""
    first, *others = sorted(names)
    return f"{first} and {len(others)} more" if others else first
