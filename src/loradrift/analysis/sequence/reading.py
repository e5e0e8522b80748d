"""The runs of a study that follow one another: which step of which chain each of them is."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from loradrift.activations import StoreError
from loradrift.analysis.drift.arms import Run
from loradrift.analysis.drift.budget import rows_per_step
from loradrift.analysis.drift.pairing import CONTRACT, contract, why_unusable
from loradrift.analysis.drift.records import find_records
from loradrift.analysis.frontier.reading import ArmRun, alike, arm_of
from loradrift.config.keys import flatten
from loradrift.runs.links import PLACE, Link

Order = tuple[str, ...]
"""Tasks, the first one first."""

Key = tuple[str, ...]
"""Coordinates of a run."""


def key_of(coordinates: Mapping[str, Any]) -> Key:
    """What one run has and no other."""
    return tuple(str(coordinates.get(name)) for name in PLACE)


def order_text(order: Order) -> str:
    """How messages and pages write an order.

    >>> order_text(("rte", "mrpc"))
    'rte -> mrpc'
    """
    return " -> ".join(order)


def typed_order(order: Iterable[str]) -> str:
    """How an order is typed.

    >>> typed_order(("rte", "mrpc"))
    'order=[rte,mrpc]'
    """
    return f"order=[{','.join(order)}]"


@dataclass(frozen=True, eq=False)
class StepRun(ArmRun):
    """A step of a chain, with the runs that led to its start."""

    before: tuple[Mapping[str, Any], ...]
    """Coordinates of the runs before it, the first one first."""

    @property
    def folder(self) -> Path:
        """Its folder."""
        return self.run.folder

    @property
    def metric(self) -> str:
        """Its task's metric."""
        return str(self.record.config["task"]["metric"])

    @property
    def order(self) -> Order:
        """The tasks up to its own."""
        return (*(str(each.get("task")) for each in self.before), self.task)

    @property
    def from_study(self) -> bool:
        """Whether ``study=sequence`` made it."""
        return "study=sequence" in self.record.overrides

    @property
    def link(self) -> Link:
        """It as a run that others start from."""
        return Link(self.folder, self.record)

    @property
    def place(self) -> str:
        """How messages name it."""
        return f"{order_text(self.order)} seed={self.seed} {self.arm}"


class Chain(NamedTuple):
    """All steps of one arm with one seed."""

    arm: str
    seed: int
    runs: tuple[StepRun, ...]

    @property
    def place(self) -> str:
        """How messages name it."""
        return f"seed={self.seed} {self.arm}"


def read_steps(study: Path, problems: list[str]) -> list[StepRun]:
    """The runs in a study's folder that can be used; a line of ``problems`` for each other one."""
    found = []
    for folder, record in sorted(find_records(study, problems).items()):
        if record.rounding or not record.config["method"].get("optim"):  # a copy, or a baseline
            continue
        before = record.start.get("chain", [])
        if not isinstance(before, list) or not all(isinstance(each, dict) for each in before):
            problems.append(f"{folder}/run.json: start.chain must be a list of coordinates")
            continue
        if not record.higher_is_better:
            metric = record.config["task"]["metric"]
            problems.append(f"{folder}: its metric {metric} is no score in percent")
            continue
        step = StepRun(Run(folder, record), arm_of(record), tuple(before))
        if len(set(step.order)) < len(step.order):
            problems.append(f"{folder}: {order_text(step.order)} has a task twice: left out")
        elif step.diverged or not (why := why_unusable(step.run)):
            found.append(step)
        else:
            problems.append(f"{folder}: {why}")
    return found


def comparable(steps: list[StepRun], problems: list[str]) -> list[StepRun]:
    """The runs that may be compared with each other; a line of ``problems`` for each other one.

    Of each step those with the rows, tokens, metric, probe, first model, place in the chain,
    neutral text and training budget that most have; of each of its seeds those with the training
    rows that most have; of each arm those with the settings that most have.
    """
    steps = alike(steps, lambda step: step.order, _facts, problems)
    steps = alike(steps, lambda step: (step.order, step.seed), _train_rows, problems)
    return alike(steps, lambda step: (step.order, step.arm), _settings, problems)


def _facts(step: StepRun) -> dict[str, Any]:
    """What all runs of a step have in common; one that diverged has no budget and not all dumps."""
    prints = step.record.fingerprints
    if step.diverged:
        there = ("evaluation_rows", "base_model", "chain")
        return {name: prints[name] for name in there if name in prints}
    try:
        known = contract(step.run)
    except StoreError:  # absent or damaged: it costs the chain's drift, and nothing else
        known = {name: prints.get(name) for name in CONTRACT}
    facts = known | {
        "rows seen": round(rows_per_step(step.run) * step.record.steps),
        "neutral_text": prints.get("neutral_text"),
    }  # fmt: skip
    del facts["train_rows"]
    return facts


def _train_rows(step: StepRun) -> dict[str, Any]:
    prints = step.record.fingerprints
    return {"train_rows": prints["train_rows"]} if "train_rows" in prints else {}


def _settings(step: StepRun) -> dict[str, Any]:
    return {f"method.{key}": value for key, value in flatten(step.record.config["method"]).items()}
