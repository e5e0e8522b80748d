"""A finished run as the analysis sees it: what it is, what made it, and whether it is certified."""

import shlex
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

from loradrift.activations import ActivationStore
from loradrift.runs import RunRecord

OWN = ("method.", "scale.full_finetune_lr=", "scale.adapter_lr=")
"""Overrides that may differ between the two methods."""


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run."""

    folder: Path
    record: RunRecord

    @property
    def task(self) -> str:
        """Its task's name."""
        return str(self.record.coordinates["task"])

    @property
    def method(self) -> str:
        """Its method's name."""
        return str(self.record.coordinates["method"])

    @property
    def seed(self) -> int:
        """Its seed."""
        return int(self.record.coordinates["seed"])

    @property
    def setting(self) -> str:
        """What was overridden, but for what belongs to the method alone.

        ``best=<path>`` counts as ``best=true``: each method has a file of its own.
        """
        parts = str(self.record.coordinates["variant"]).split(",")
        shared = [part for part in parts if part and not part.startswith(OWN)]
        return ",".join("best=true" if part.startswith("best=") else part for part in shared)

    @property
    def store(self) -> ActivationStore:
        """Its activations."""
        return ActivationStore(self.folder / "activations")


def overrides(run: Run) -> str:
    """What else a command needs that trains another run like this one, as typed.

    Overrides that belong to the run's method alone are left out.
    """
    parts = [f"study.name={run.record.coordinates['study']}"]
    for part in filter(None, run.setting.split(",")):
        key, _, value = part.partition("=")
        # A path is in the variant as its last part and a digest: the configuration has it whole.
        parts.append(f"{key}={_setting(run.record.config, key)}" if "~" in value else part)
    runs = run.folder.parents[3]
    parts += [] if runs == Path("runs") else [f"runs={runs}"]
    return shlex.join(parts)


def _setting(config: dict[str, Any], key: str) -> Any:
    return reduce(lambda values, name: values.get(name, {}), key.split("."), config)


def certified(record: RunRecord) -> bool:
    """Whether a run of an adapter has shown that the adapter was really applied."""
    return bool(record.certificate and record.certificate.get("passed") is True)


def why_uncertified(record: RunRecord) -> str:
    """What is wrong with a run that is not :func:`certified`, and what fixes it."""
    again = "move it away, and its own command makes it again"
    if record.certificate is None:
        return f"no certificate that its adapter was applied (an earlier version made it); {again}"
    failed = [c["name"] for c in record.certificate.get("checks", []) if c.get("passed") is False]
    return f"its adapter's certificate does not hold ({', '.join(failed) or 'not judged'}); {again}"
