"""What does a method's accuracy cost in drift and in forgetting, over a grid of learning rates?"""

from dataclasses import dataclass, field

from loradrift.analysis.registry import Analysis, register
from loradrift.config import AnalyzeConfig, check
from loradrift.config.analysis import FiguresConfig


@dataclass(kw_only=True)
class AnalyzeFrontierConfig(AnalyzeConfig):
    """Drift and forgetting at equal accuracy, over learning rates: [baseline=full_finetune]."""

    analysis: FiguresConfig = field(default_factory=FiguresConfig)

    baseline: str = "full_finetune"
    """The arm that all others are compared with: a method, with its rank if it has one
    (``lora_r8``)."""

    def __post_init__(self) -> None:
        check(self.baseline != "", "baseline", "the name of an arm", repr(""))


FIGURES = ("page:FRONTIER",)

register(Analysis("frontier", AnalyzeFrontierConfig, "tables:tabulate", "page:report", FIGURES))
