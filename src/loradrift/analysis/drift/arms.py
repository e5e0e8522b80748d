"""The two arms of a comparison: which runs each of them holds, and how a report writes it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from loradrift.activations import ActivationStore
from loradrift.report.style import ARM_COLORS, ARM_MARKERS, method_label
from loradrift.runs import RunRecord

OWN = ("method.", "scale.full_finetune_lr=", "scale.adapter_lr=")
"""Overrides that may differ between two arms."""


@dataclass(frozen=True)
class Arm:
    """A method, or a variant of one, on one side of a comparison."""

    name: str
    """The arm as a run's folder is written: ``lora``, or ``lora,method.rank=64``."""

    role: str
    """``control`` or ``treatment``."""

    @property
    def method(self) -> str:
        """The method alone."""
        return self.name.partition(",")[0]

    @property
    def overrides(self) -> list[str]:
        """What makes the variant, one ``key=value`` each."""
        return [part for part in self.name.split(",")[1:] if part]

    @property
    def label(self) -> str:
        """How a text names the arm: ``LoRA``, or ``LoRA (method.rank=64)``."""
        variant = ", ".join(self.overrides)
        return method_label(self.method) + (f" ({variant})" if variant else "")

    @property
    def color(self) -> str:
        """The role's colour, the same in every figure."""
        return ARM_COLORS[self.role]

    @property
    def line(self) -> dict[str, Any]:
        """Colour, marker and label of the arm's line in a figure."""
        return {"color": self.color, "marker": ARM_MARKERS[self.role], "label": self.label}

    def distance(self, record: RunRecord) -> int | None:
        """How far a run is from this arm; None if it belongs to another.

        A run belongs to the arm if it has the arm's method and overrides: by its variant, or, where
        a long variant is cut short in the folder's name, by its configuration.

        Returns:
            0 for the folder that the arm's name spells, 1 for more overrides that both arms may
            share (``task.max_steps=9``), 2 for more overrides of the method itself.
        """
        parts, spelt = variant_of(record), set(self.overrides)
        if record.coordinates["method"] != self.method:
            return None
        if parts == spelt:
            return 0
        if not all(each in parts or _configured(record.config, each) for each in spelt):
            return None
        return 1 + any(part.startswith(OWN) for part in parts - spelt)

    def fits(self, record: RunRecord) -> bool:
        """Whether a run is one of this arm but for overrides that both arms may share."""
        distance = self.distance(record)
        return distance is not None and distance < 2


def variant_of(record: RunRecord) -> set[str]:
    """What was overridden in a run; ``best=<path>``, of which each method has its own, as true.

    Where a long variant is cut short, what was typed for the method is found in the record.
    """
    parts = set(filter(None, str(record.coordinates["variant"]).split(",")))
    keys = {part.partition("=")[0] for part in parts}
    typed = {part for part in record.overrides if part.startswith(OWN)}
    parts |= {part for part in typed if part.partition("=")[0] not in keys}
    return {"best=true" if part.startswith("best=") else part for part in parts}


def arm_names(records: Sequence[RunRecord]) -> list[str]:
    """The arms that runs are of: method, and what was not overridden alike in all of them."""
    variants = [variant_of(record) for record in records]
    shared = set.intersection(*variants) if variants else set()
    return [
        ",".join([record.coordinates["method"], *sorted(p for p in variant - shared if "=" in p)])
        for record, variant in zip(records, variants, strict=True)
    ]


def _configured(config: Any, override: str) -> bool:
    """Whether a configuration has the value of ``key=value``."""
    key, _, typed = override.partition("=")
    for name in key.split("."):
        config = config.get(name) if isinstance(config, dict) else None
    try:
        return not isinstance(config, bool) and float(config) == float(typed)
    except (TypeError, ValueError):
        return config is not None and str(config).lower() == typed.lower()


class Arms(NamedTuple):
    """What is compared: the treatment against the control."""

    control: Arm
    treatment: Arm

    @classmethod
    def of(cls, control: str = "full_finetune", treatment: str = "lora") -> "Arms":
        """The arms of these names."""
        return cls(Arm(control, "control"), Arm(treatment, "treatment"))

    @classmethod
    def read(cls, compared: pd.DataFrame) -> "Arms":
        """The arms of the table ``compared``."""
        names = compared.set_index("role")["arm"]
        return cls.of(names["control"], names["treatment"])

    def table(self, others: Sequence[str]) -> pd.DataFrame:
        """The table ``compared``: roles and names of the arms, and of those not compared."""
        rows = [(arm.role, arm.name) for arm in self] + [("not compared", name) for name in others]
        return pd.DataFrame(rows, columns=["role", "arm"])

    @property
    def names(self) -> tuple[str, str]:
        """Both names, the control's first: the values of ``method`` in every table."""
        return self.control.name, self.treatment.name

    def of_run(self, record: RunRecord) -> Arm | None:
        """The arm that a run belongs to, the nearer one; None if it is no part of this."""
        near = {arm: arm.distance(record) for arm in self}
        ranks = {arm: (far, -len(arm.overrides)) for arm, far in near.items() if far is not None}
        return min(ranks, key=ranks.__getitem__, default=None)

    @property
    def versus(self) -> str:
        """``LoRA against full fine-tuning``."""
        return f"{self.treatment.label} against {self.control.label}"

    @property
    def minus(self) -> str:
        """``LoRA minus full fine-tuning``."""
        return f"{self.treatment.label} minus {self.control.label}"

    @property
    def keys(self) -> str:
        """What selects these arms on the command line; empty for the default pair."""
        return "" if self == Arms.of() else "".join(f" analysis.{a.role}={a.name}" for a in self)

    @property
    def typed(self) -> list[str]:
        """What trains them: ``method=full_finetune,lora``, or one command for each variant."""
        if any(arm.overrides for arm in self):
            return [f"method={arm.name.replace(',', ' ')}" for arm in self]
        return [f"method={','.join(self.names)}"]

    def labelled(self, table: pd.DataFrame) -> pd.DataFrame:
        """A table for readers: the arms' labels in its heading, and in its column ``method``."""
        labels = {arm.name: arm.label for arm in self}
        return table.rename(columns=labels).replace({"method": labels})


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run."""

    folder: Path
    record: RunRecord
    arm: Arm | None = None
    """What it belongs to in a comparison."""

    end: float | None = None
    """The step at which it is compared; None is its last dump."""

    @property
    def ends(self) -> dict[int, float]:
        """The dumps that are compared, with their weights: two where ``end`` lies between."""
        steps = self.store.steps
        if self.end is None:
            return {steps[-1]: 1.0}
        before = max(step for step in steps if step <= self.end)
        after = min(step for step in steps if step >= self.end)
        if before == after:
            return {before: 1.0}
        share = (self.end - before) / (after - before)
        return {before: 1 - share, after: share}

    @property
    def task(self) -> str:
        """Its task's name."""
        return str(self.record.coordinates["task"])

    @property
    def method(self) -> str:
        """Name of its arm: its ``method`` in every table."""
        assert self.arm is not None
        return self.arm.name

    @property
    def distance(self) -> int:
        """How far it is from what its arm's name spells."""
        distance = None if self.arm is None else self.arm.distance(self.record)
        assert distance is not None
        return distance

    @property
    def seed(self) -> int:
        """Its seed."""
        return int(self.record.coordinates["seed"])

    @property
    def store(self) -> ActivationStore:
        """Its activations."""
        return ActivationStore(self.folder / "activations")

    @property
    def trains_adapter(self) -> bool:
        """Whether it trained low-rank updates of frozen weights."""
        return "rank" in self.record.config.get("method", {})


def why_uncertified(run: Run) -> str:
    """Why nobody can tell that a run's adapter was really applied, and what fixes it.

    Empty if the run has shown it, or trained no adapter.
    """
    certificate = run.record.certificate
    if not run.trains_adapter or (certificate and certificate.get("passed") is True):
        return ""
    again = "move it away, and its own command makes it again"
    if certificate is None:
        return f"no certificate that its adapter was applied (an earlier version made it); {again}"
    failed = [c["name"] for c in certificate.get("checks", []) if c.get("passed") is False]
    return f"its adapter's certificate does not hold ({', '.join(failed) or 'not judged'}); {again}"
