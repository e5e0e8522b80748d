"""``study=reconstruction``: which LoRA, if any, helps a model to read a compressed context."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from loradrift.config import StudyConfig, UserError, check
from loradrift.config.errors import check_positive
from loradrift.config.studies import require_some
from loradrift.study.reconstruction.configurations import BASELINE, CONFIGURATIONS

RECONSTRUCTION_PHASES = ("base", "sweep", "rate", "report", "export")
"""The study's phases, in the order in which they run."""

EXPORT = "phase1a_lora_sweep"
"""Folder below ``runs`` that other people's readers know."""


@dataclass(kw_only=True)
class ReconstructionStudyConfig(StudyConfig):
    """One run for each configuration and seed, and the baseline with fewer and more latents."""

    all_phases: ClassVar[tuple[str, ...]] = RECONSTRUCTION_PHASES
    axes: ClassVar[Mapping[str, str]] = {"task": "tasks", "seed": "seeds"}
    own_keys: ClassVar[Mapping[str, str]] = {
        "method": "study.configurations=[…]",
        "method.rank": "study.configurations=[…]",
        "method.alpha": "study.configurations=[…]",
        "method.layers": "study.configurations=[…]",
        "data.train_rows": "study.samples=…",
        "task.epochs": "study.epochs=…",
    }
    idle_keys: ClassVar[tuple[str, ...]] = ("methods", "roundings", "trials")

    phases: list[str] = field(default_factory=lambda: list(RECONSTRUCTION_PHASES))
    tasks: list[str] = field(default_factory=lambda: ["reconstruction"])

    configurations: list[str] = field(default_factory=lambda: list(CONFIGURATIONS))
    """Names of what is compared (``study/reconstruction/configurations.py``), ``none`` among
    them."""

    samples: int | None = None
    """``data.train_rows`` of every run; null takes all."""

    epochs: float | None = None
    """``task.epochs`` of every run; null leaves the training's length to ``scale``."""

    latents: list[int] = field(default_factory=list)
    """``task.num_latents`` of the rate phase's runs, which have no LoRA."""

    rate_seeds: int = 1
    """With how many of ``seeds``, from the first on, these are made."""

    def __post_init__(self) -> None:
        super().__post_init__()
        key = "study.configurations"
        require_some(key, self.configurations, list(CONFIGURATIONS))
        if BASELINE not in self.configurations:
            got = ", ".join(self.configurations) or "[]"
            raise UserError(f"{key} must hold none, which all are compared with, got {got}")
        check(self.tasks == ["reconstruction"], "study.tasks", "[reconstruction]", self.tasks)
        check_positive(self, "study", "samples", "epochs", "rate_seeds")
        for number in self.latents:
            check(number > 0, "study.latents", "positive", number)
        different = len(set(self.latents)) == len(self.latents)
        check(different, "study.latents", "different", self.latents)
        rule = f"another folder than {EXPORT}, which is the export's"
        check(self.name != EXPORT, "study.name", rule, self.name)
