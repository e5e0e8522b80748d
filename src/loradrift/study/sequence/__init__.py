"""``study=sequence``: a chain of tasks with each method, each step from the model before."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from loradrift.config import TASKS, StudyConfig, check
from loradrift.config.studies import require_some

SEQUENCE_PHASES = ("base", "chain", "report")
"""The study's phases, in the order in which they run; ``chain`` has a step for each task."""


@dataclass(kw_only=True)
class SequenceStudyConfig(StudyConfig):
    """One chain of runs for each method and seed."""

    all_phases: ClassVar[tuple[str, ...]] = SEQUENCE_PHASES
    own_keys: ClassVar[Mapping[str, str]] = {"best": "scale.full_finetune_lr=… scale.adapter_lr=…"}
    idle_keys: ClassVar[tuple[str, ...]] = ("roundings", "trials")

    phases: list[str] = field(default_factory=lambda: list(SEQUENCE_PHASES))
    tasks: list[str] = field(default_factory=lambda: ["rte", "mrpc", "sst2"])
    """The chain, in its order."""

    methods: list[str] = field(default_factory=lambda: ["full_finetune", "lora"])
    """The report compares all others with the first; one alone has its own figures."""

    def __post_init__(self) -> None:
        # before the tasks of any study, of which some start from a base model alone
        known = [name for name, facts in TASKS.items() if facts.follows]
        require_some("study.tasks", self.tasks, known)
        super().__post_init__()
        rule = "a chain of at least one task"
        check(bool(self.tasks), "study.tasks", rule, "[]")
        check(bool(self.methods), "study.methods", "a list of at least one", "[]")
