"""Does a weight change's projection on a persona's direction foretell how behaviour changes?"""

from dataclasses import dataclass, field

from loradrift.analysis.registry import Analysis, register
from loradrift.config import AnalyzeConfig, check
from loradrift.config.analysis import FiguresConfig


@dataclass(kw_only=True)
class AnalyzeProjectionConfig(AnalyzeConfig):
    """Projections of fine-tuned runs on directions, and behaviour: [cell=…] [judged_by=…]."""

    analysis: FiguresConfig = field(default_factory=FiguresConfig)
    """``analysis.study`` names the study whose directions are used."""

    cell: str | None = None
    """A cell below ``<runs>/steering``, such as ``hf/tiny,arm=none``: all cells of its model,
    questions and way of answering are read. Null is the only such setting there is."""

    judged_by: str | None = None
    """Whose scores are read; null is the only judge there is."""

    gain: float = 10.0
    """A run gains a trait if its score rises by at least so many points of 100."""

    def __post_init__(self) -> None:
        check(0 < self.gain <= 100, "gain", "in (0, 100]", self.gain)


FIGURES = ("page:PROJECTION",)

register(
    Analysis(
        "persona_projection", AnalyzeProjectionConfig, "tables:tabulate", "page:report", FIGURES
    )
)
