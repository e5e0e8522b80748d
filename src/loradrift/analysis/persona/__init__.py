"""Do LoRA differences steer a persona as activation vectors do, and do they predict behaviour?"""

from dataclasses import dataclass, field

from loradrift.analysis.registry import Analysis, register
from loradrift.config import AnalyzeConfig, check
from loradrift.config.analysis import FiguresConfig


@dataclass(kw_only=True)
class AnalyzePersonaConfig(AnalyzeConfig):
    """Weights, activations and prompts that steer a trait, compared: [cell=…] [judged_by=…]."""

    analysis: FiguresConfig = field(default_factory=FiguresConfig)

    cell: str | None = None
    """A cell below ``<runs>/steering``, such as ``hf/tiny,arm=none``: the report is about all cells
    of its model, questions and way of answering. Null is the only such setting there is."""

    judged_by: str | None = None
    """Whose scores are read; null is the only judge there is."""

    coherence: float = 75.0
    """Arms are compared at their best dose with at least this coherence, 0 to 100."""

    margin: float = 10.0
    """Two arms are equivalent if their traits differ by less than so many points of 100."""

    def __post_init__(self) -> None:
        check(0 <= self.coherence <= 100, "coherence", "in [0, 100]", self.coherence)
        check(0 < self.margin <= 100, "margin", "in (0, 100]", self.margin)


FIGURES = ("page:PERSONA", "page:PROJECTION")

register(Analysis("persona", AnalyzePersonaConfig, "tables:tabulate", "page:report", FIGURES))
