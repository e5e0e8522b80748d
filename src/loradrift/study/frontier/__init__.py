"""``study=frontier``: what accuracy costs in drift and forgetting, over a grid of rates."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import ClassVar

from loradrift.config import TASKS, StudyConfig, UserError, check
from loradrift.config.studies import require_some
from loradrift.study.frontier.configurations import CONFIGURATIONS, FROZEN

FRONTIER_PHASES = ("base", "sweep", "report")
"""The study's phases, in the order in which they run."""


@dataclass(kw_only=True)
class FrontierStudyConfig(StudyConfig):
    """One run for each task, configuration, learning rate and seed."""

    all_phases: ClassVar[tuple[str, ...]] = FRONTIER_PHASES
    axes: ClassVar[Mapping[str, str]] = {"task": "tasks", "seed": "seeds"}
    own_keys: ClassVar[Mapping[str, str]] = {
        "method": "study.configurations=[…]",
        "method.rank": "study.configurations=[…]",
        "method.alpha": "study.configurations=[…]",
        "method.optim.lr": "study.factors=[…]",
        "best": "study.factors=[…]",
    }
    idle_keys: ClassVar[tuple[str, ...]] = ("methods", "roundings", "trials")

    phases: list[str] = field(default_factory=lambda: list(FRONTIER_PHASES))
    tasks: list[str] = field(default_factory=lambda: ["sst2"])

    configurations: list[str] = field(default_factory=lambda: list(CONFIGURATIONS))
    """Names of what is compared (``study/frontier/configurations.py``); the report compares all
    others with the first."""

    factors: list[float] = field(default_factory=lambda: [0.0316, 0.1, 0.316, 1.0, 3.16])
    """What each configuration's own rate (``scale.full_finetune_lr``, ``scale.adapter_lr``,
    ``scale.head_lr``) is multiplied by, one run each."""

    def __post_init__(self) -> None:
        # before the tasks of any study: some put no head on the backbone, or dump no activations
        known = [name for name, facts in TASKS.items() if facts.follows]
        require_some("study.tasks", self.tasks, known)
        super().__post_init__()
        key = "study.configurations"
        require_some(key, self.configurations, list(CONFIGURATIONS))
        moving = [name for name in self.configurations if name != FROZEN]
        if len(moving) < 2 or self.configurations[0] == FROZEN:
            got = ", ".join(self.configurations) or "[]"
            raise UserError(
                f"{key} must hold at least two that train the backbone, and begin with the one "
                f"that the others are compared with, got {got}"
            )
        for factor in self.factors:
            check(0 < factor < inf, "study.factors", "positive and finite", factor)
        rule = "at least two: one rate is a point and no curve"
        check(len(self.factors) > 1, "study.factors", rule, self.factors)
        different = len({f"{factor:.5g}" for factor in self.factors}) == len(self.factors)
        check(different, "study.factors", "different to five digits", self.factors)
