"""What training did to each linear layer, against drift and forgetting."""

from dataclasses import dataclass, field

from loradrift.analysis.registry import Analysis, register
from loradrift.config import AnalyzeConfig
from loradrift.config.analysis import ComparisonConfig


@dataclass(kw_only=True)
class WeightsConfig(AnalyzeConfig):
    """What training did to each linear layer, against drift and forgetting."""

    analysis: ComparisonConfig = field(default_factory=ComparisonConfig)


register(Analysis("weights", WeightsConfig, "tables:tabulate", "page:show"))
