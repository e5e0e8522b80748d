"""Schemas that several analyses share; what one analysis alone reads, its folder adds."""

from dataclasses import dataclass, field
from typing import ClassVar

from omegaconf import MISSING

from loradrift.config.errors import UserError, check
from loradrift.config.values import check_seed, folder_field, path_field

MEASURE_NAMES = (
    "cka", "cka_biased", "cka_rbf", "cosine", "cosine_centered", "procrustes", "svcca", "pwcca",
    "knn", "rsa",
)  # fmt: skip


@dataclass(kw_only=True)
class AnalysisConfig:
    """Keys below ``analysis``, of every analysis."""

    name: str = MISSING
    """Chosen by ``analysis=<name>``."""

    runs: str = path_field("runs")
    """Folder of the runs; those made elsewhere are read as well."""

    study: str | None = None
    """Name of the study; null is the only one there is, and with ``analysis=frontier`` and
    ``analysis=sequence`` the one of that name."""

    results: str = folder_field("results")
    """Folder of everything that is written."""

    seed: int = 0
    """Seeds every draw: controls, bootstrap, the data of the self-checks."""

    def __post_init__(self) -> None:
        check_seed("analysis.seed", self.seed)
        check(self.study != "", "analysis.study", "the name of a study, or null", repr(""))


@dataclass(kw_only=True)
class FiguresConfig(AnalysisConfig):
    """An analysis that draws figures."""

    figures: list[str] = field(default_factory=list)
    """Names of the figures to draw; an empty list draws all."""


@dataclass(kw_only=True)
class ComparisonConfig(AnalysisConfig):
    """A comparison of two arms."""

    control: str = "full_finetune"
    """What is compared with: a method, or a variant as its runs' folder is written."""

    treatment: str = "lora"
    """The arm that is compared with the control, written alike: ``lora,method.rank=64``."""

    measures: list[str] = field(default_factory=list)
    """Measures of drift beside CKA and cosine."""

    def __post_init__(self) -> None:
        super().__post_init__()
        arms = {"control": self.control.split(","), "treatment": self.treatment.split(",")}
        for key, (method, *overrides) in arms.items():
            is_arm = bool(method) and "=" not in method and all("=" in each for each in overrides)
            rule = "a method, or a variant such as lora,method.rank=64"
            check(is_arm, f"analysis.{key}", rule, getattr(self, key))
        if set(arms["control"]) == set(arms["treatment"]):
            raise UserError(
                f"analysis.control and analysis.treatment must differ, got {self.control} for both"
            )
        rule = "some of " + ", ".join(MEASURE_NAMES)
        for measure in self.measures:
            check(measure in MEASURE_NAMES, "analysis.measures", rule, measure)


@dataclass(kw_only=True)
class DriftConfig(ComparisonConfig, FiguresConfig):
    """A comparison with its figures."""


@dataclass(kw_only=True)
class AnalyzeConfig:
    """Configuration of ``analyze.py``: each analysis extends it by the keys that it alone reads.

    A field without a default must be given; its metadata say what ``kind`` of value it takes.
    """

    analysis: AnalysisConfig = field(default_factory=AnalysisConfig)

    exit_code: ClassVar[int] = 1
    """The exit code where a key is missing."""
