"""What the searches of a study found, and where they should look further."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from loradrift.analysis.registry import Analysis, register
from loradrift.config import AnalyzeConfig
from loradrift.config.analysis import FiguresConfig

if TYPE_CHECKING:
    from loradrift.analysis.search.tables import Found


@dataclass(kw_only=True)
class SearchReportConfig(AnalyzeConfig):
    """What the searches of a study found: history, importance, best values. [storage=<url>]."""

    analysis: FiguresConfig = field(default_factory=FiguresConfig)

    storage: str | None = None
    """URL of the searches' Optuna storage; null is ``sqlite:///<runs>/.search/<study>.db``."""


def tabulate(settings: SearchReportConfig) -> "Found":
    """Read the searches, write their tables and best values."""
    from loradrift.analysis.search.figures import SEARCHES
    from loradrift.analysis.search.tables import tabulate_searches
    from loradrift.report.figures import check_figures

    check_figures(settings.analysis.figures, SEARCHES)
    return tabulate_searches(settings.analysis, settings.storage)


def report(settings: SearchReportConfig, found: "Found") -> None:
    """Write the figures and the page."""
    from loradrift.analysis.search.page import report_search

    report_search(settings.analysis, found)


register(Analysis("search", SearchReportConfig, tabulate, report))
