"""What adapters side by side cost in an engine: latency, throughput, memory, and H3's verdict."""

from dataclasses import dataclass, field

from loradrift.analysis.registry import Analysis, register
from loradrift.config import AnalyzeConfig
from loradrift.config.analysis import FiguresConfig


@dataclass(kw_only=True)
class AnalyzeServingConfig(AnalyzeConfig):
    """What adapters side by side cost in an engine, against merged models."""

    analysis: FiguresConfig = field(default_factory=FiguresConfig)


register(Analysis("serving", AnalyzeServingConfig, "tables:tabulate", "page:report"))
