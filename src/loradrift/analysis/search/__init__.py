"""What the searches of a study found, and where they should look further."""

from dataclasses import dataclass, field

from loradrift.analysis.registry import Analysis, register
from loradrift.config import AnalyzeConfig
from loradrift.config.analysis import FiguresConfig
from loradrift.config.values import path_field


@dataclass(kw_only=True)
class SearchReportConfig(AnalyzeConfig):
    """What the searches of a study found: history, importance, best values. [storage=<url>]."""

    analysis: FiguresConfig = field(default_factory=FiguresConfig)

    storage: str | None = path_field(None)
    """URL of the searches' Optuna storage; null is ``sqlite:///<runs>/.search/<study>.db``."""


FIGURES = ("page:SEARCHES",)

register(Analysis("search", SearchReportConfig, "tables:tabulate", "page:report", FIGURES))
