"""The whole study in one report: drift, verdicts, weights, and the flags of its search."""

from dataclasses import dataclass, field

from loradrift.analysis.registry import Analysis, register
from loradrift.config import AnalyzeConfig
from loradrift.config.analysis import ComparisonConfig, DriftConfig, FiguresConfig


@dataclass(kw_only=True)
class AnalyzeDriftConfig(AnalyzeConfig):
    """Everything about drift, with the report."""

    analysis: DriftConfig = field(default_factory=DriftConfig)


@dataclass(kw_only=True)
class ReportConfig(AnalyzeConfig):
    """Figures, page and PDF again, from the tables in results/ alone."""

    analysis: FiguresConfig = field(default_factory=FiguresConfig)


@dataclass(kw_only=True)
class HypothesesConfig(AnalyzeConfig):
    """The verdicts alone."""

    analysis: ComparisonConfig = field(default_factory=ComparisonConfig)


FIGURES = "page:DRIFT", "page:HYPOTHESES", "page:WEIGHTS"

register(Analysis("drift", AnalyzeDriftConfig, "tables:tabulate", "page:write", FIGURES))
register(Analysis("report", ReportConfig, "tables:read", "page:write", FIGURES))
register(Analysis("hypotheses", HypothesesConfig, "tables:find", "tables:show"))
