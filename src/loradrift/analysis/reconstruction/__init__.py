"""Does LoRA help a language model to read a compressed context, and at what cost?"""

from dataclasses import dataclass, field

from loradrift.analysis.registry import Analysis, register
from loradrift.config import AnalyzeConfig, check
from loradrift.config.analysis import FiguresConfig


@dataclass(kw_only=True)
class AnalyzeReconstructionConfig(AnalyzeConfig):
    """Answers from compressed contexts, by arm: [baseline=…] [setting=[task.num_latents=16]]."""

    analysis: FiguresConfig = field(default_factory=FiguresConfig)

    baseline: str = "head_only"
    """Method of the runs that all other arms are compared with."""

    setting: list[str] = field(default_factory=list)
    """What the compared runs have in common, one ``key=value`` each; an empty list takes the
    setting that most arms have."""

    def __post_init__(self) -> None:
        check(self.baseline != "", "baseline", "the name of a method", repr(""))


FIGURES = ("page:RECONSTRUCTION",)

register(
    Analysis(
        "reconstruction", AnalyzeReconstructionConfig, "tables:tabulate", "page:report", FIGURES
    )
)
