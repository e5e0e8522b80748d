"""The runs of a frontier: which arm and rate each is of, and which of them may be compared."""

import json
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from loradrift.analysis.drift.arms import Run
from loradrift.analysis.drift.budget import rows_per_step
from loradrift.analysis.drift.pairing import contract, is_usable
from loradrift.analysis.drift.records import find_records, without_started
from loradrift.config import UserError
from loradrift.config.keys import flatten
from loradrift.report.style import method_label
from loradrift.runs import RunRecord

FROZEN = "head_only"
"""The method whose backbone does not move: the control, which is in no ratio."""

RATE = "optim.lr"


@dataclass(frozen=True, eq=False)
class ArmRun:
    """A finished run, or one that diverged, and the arm that it is of."""

    run: Run
    arm: str
    """Its method, with the rank if it has one: ``lora_r8``."""

    @property
    def record(self) -> RunRecord:
        """Its record."""
        return self.run.record

    @property
    def task(self) -> str:
        """Its task's name."""
        return self.run.task

    @property
    def seed(self) -> int:
        """Its seed."""
        return self.run.seed

    @property
    def diverged(self) -> bool:
        """Whether its loss was NaN or infinite: it has no score."""
        return self.record.diverged


@dataclass(frozen=True, eq=False)
class FrontierRun(ArmRun):
    """A run at one rate."""

    rate: float
    """Peak learning rate of the backbone's own parameters; of the head where it is frozen."""

    @property
    def place(self) -> str:
        """How messages name it."""
        return f"{self.task} seed={self.seed} {self.arm} at rate {self.rate:g}"


def arm_of(record: RunRecord) -> str:
    """The arm of a run."""
    method, rank = record.coordinates["method"], record.config["method"].get("rank")
    return str(method) if rank is None else f"{method}_r{rank}"


def arm_label(arm: str) -> str:
    """How reports write an arm.

    >>> arm_label("lora_r8"), arm_label("full_finetune")
    ('LoRA r=8', 'full fine-tuning')
    """
    method, _, rank = arm.rpartition("_r")
    return f"{method_label(method)} r={rank}" if method and rank.isdigit() else method_label(arm)


def is_frozen(arm: str) -> bool:
    """Whether the arm's backbone does not move."""
    return arm == FROZEN


def read_runs(study: Path, problems: list[str]) -> list[FrontierRun]:
    """The runs in a study's folder that can be used; a line of ``problems`` for each other one."""
    found = []
    records = without_started(find_records(study, problems), problems)
    for folder, record in sorted(records.items()):
        rate = flatten(record.config["method"]).get(RATE)
        if record.rounding or rate is None:  # a copy, or a baseline without training
            continue
        run = FrontierRun(Run(folder, record), arm_of(record), float(rate))
        if run.diverged or is_usable(run.run, problems):
            found.append(run)
    return found


def comparable(runs: Sequence[FrontierRun], problems: list[str]) -> list[FrontierRun]:
    """The runs that may be compared with each other; a line of ``problems`` for each other one.

    Of each task those with the rows, tokens, metric, probe, base model and training budget that
    most have; of each of its seeds those with the training rows that most have; of each arm those
    with the settings that most have.
    """
    groups: tuple[tuple[Place[FrontierRun], Facts[FrontierRun]], ...] = (
        (lambda run: run.task, _facts),
        (lambda run: (run.task, run.seed), _train_rows),
        (lambda run: (run.task, run.arm), _settings),
    )
    kept = list(runs)
    for place, facts in groups:
        kept = alike(kept, place, facts, problems)
    return kept


class Placed(Protocol):
    """A run that messages can name."""

    @property
    def place(self) -> str:
        """How messages name it."""


Each = TypeVar("Each", bound=Placed)
Place = Callable[[Each], Hashable]
Facts = Callable[[Each], Mapping[str, Any]]


def _facts(run: FrontierRun) -> dict[str, Any]:
    """What a task's runs have in common; one that diverged ended early and has not all dumps."""
    facts: dict[str, Any]
    if run.diverged:
        prints, limits = run.record.fingerprints, run.record.config["task"]
        facts = {name: prints[name] for name in ("evaluation_rows", "base_model") if name in prints}
        if limits.get("max_steps") and not limits.get("epochs"):  # what it would have seen
            facts["rows seen"] = round(rows_per_step(run.run) * limits["max_steps"])
        return facts
    facts = contract(run.run) | {"rows seen": round(rows_per_step(run.run) * run.record.steps)}
    del facts["train_rows"]
    return facts


def _train_rows(run: FrontierRun) -> dict[str, Any]:
    prints = run.record.fingerprints
    return {"train_rows": prints["train_rows"]} if "train_rows" in prints else {}


def _settings(run: FrontierRun) -> dict[str, Any]:
    settings = flatten(run.record.config["method"])
    return {f"method.{key}": value for key, value in settings.items() if key != RATE}


def alike(
    runs: Sequence[Each], place: Place[Each], facts: Facts[Each], problems: list[str]
) -> list[Each]:
    """The runs of each ``place`` that have the ``facts`` that most have.

    A line of ``problems`` names each other one, with the facts in which it differs or why it has
    none.
    """
    known: dict[Each, Mapping[str, Any]] = {}
    for run in runs:
        try:
            known[run] = facts(run)
        except UserError as error:
            problems.append(str(error))
    runs = [run for run in runs if run in known]
    most: dict[Hashable, dict[str, Any]] = {}
    for where in dict.fromkeys(map(place, runs)):
        own = [known[run] for run in runs if place(run) == where]
        texts = Counter(json.dumps(each) for each in own if each)
        whole = max(texts, key=lambda text: (len(json.loads(text)), texts[text]), default="{}")
        most[where] = json.loads(whole)
    kept = []
    for run in runs:
        facts_of_run, usual = json.loads(json.dumps(known[run])), most[place(run)]
        if unequal := [key for key, value in facts_of_run.items() if usual.get(key) != value]:
            problems.append(
                f"{run.place}: {', '.join(unequal)} differ from the others': not compared with "
                "them; give it a study of its own (study.name=…)"
            )
        else:
            kept.append(run)
    return kept
