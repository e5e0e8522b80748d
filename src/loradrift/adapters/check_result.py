"""What a certificate says: named checks, each with a verdict, a line and figures."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

ESSENTIAL = ("files", "consistent", "placement", "keys", "weights", "effect")
"""Checks without which nothing can be said: one that could not be judged leaves all unjudged."""


@dataclass(frozen=True)
class Check:
    """One question about an adapter, and its answer."""

    name: str
    passed: bool | None
    """None where it could not be judged."""

    message: str
    """One line, with figures."""

    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Certificate:
    """That an adapter is really applied, or which check says that it is not."""

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
    def verdict(self) -> str:
        """One line: that it holds, or the first check that fails or could not be judged."""
        if self.passed:
            return "the adapter is applied"
        for check in (*self.failures, *(c for c in self.checks if c.name in ESSENTIAL)):
            if not check.passed:
                return f"{check.name}: {check.message}"
        return "essential checks are missing"

    def __getitem__(self, name: str) -> Check:
        return next(check for check in self.checks if check.name == name)

    def to_json(self) -> dict[str, Any]:
        """For ``run.json``."""
        checks = [asdict(check) for check in self.checks]
        return {"passed": self.passed, "checks": checks, "files": self.files}


def some(names: Iterable[str]) -> str:
    """The first name, and how many more there are."""
    first, *others = sorted(names)
    return f"{first} and {len(others)} more" if others else first
