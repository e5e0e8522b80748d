"""What does a model forget of earlier tasks, of neutral text and of its first representations?"""

from dataclasses import dataclass, field

from loradrift.analysis.registry import Analysis, register
from loradrift.config import AnalyzeConfig, UserError, check
from loradrift.config.analysis import FiguresConfig


@dataclass(kw_only=True)
class AnalyzeSequenceConfig(AnalyzeConfig):
    """Forgetting and drift along a chain of tasks: [baseline=full_finetune order=[rte,mrpc]]."""

    analysis: FiguresConfig = field(default_factory=FiguresConfig)

    baseline: str = "full_finetune"
    """The arm that all others are compared with: a method, with its rank where chains have
    several (``lora_r8``)."""

    order: list[str] = field(default_factory=list)
    """Tasks of the chains to report, the first first; an empty list is the longest chains, and of
    these the order that most have."""

    def __post_init__(self) -> None:
        check(self.baseline != "", "baseline", "the name of an arm", repr(""))
        if len(set(self.order)) < len(self.order):
            raise UserError(f"order must name each task once, got [{','.join(self.order)}]")


FIGURES = ("page:SEQUENCE",)

register(Analysis("sequence", AnalyzeSequenceConfig, "tables:tabulate", "page:report", FIGURES))
